"""A run that answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config.load import resampled
from ..config.schema import Sampling
from ..errors import UsageError
from ..models.scan import ModelFiles
from ..prompt.conversation import Message
from ..runs.folder import Run
from ..text import shown
from .engine import AnswerPiece, Engine, Pieces
from .torch_engine import TorchEngine

History = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Teller:
    """An opened run that answers: `tell("写一个关于月亮的故事")`, or `pieces` for the text as it comes."""

    run: Run
    base: ModelFiles
    engine: Engine

    def __repr__(self) -> str:
        return f"Teller({self.run!r}, engine={self.engine.name!r})"

    @property
    def torch(self) -> TorchEngine:
        """The engine, which must be ours: what measures losses needs the decoder."""
        assert isinstance(self.engine, TorchEngine)
        return self.engine

    def tell(self, text: str, *, tuned: bool = True, history: History = (), **sampling: Any) -> str:
        """Return the answer to one message; arguments and errors as in `pieces`."""
        return "".join(self.pieces(text, tuned=tuned, history=history, **sampling))

    def pieces(self, text: str, *, tuned: bool = True, history: History = (), **sampling: Any) -> Iterator[str]:
        """Return an iterator over the pieces of the answer as they come.

        text      the message of the user
        tuned     False: the base answers, without the adapter
        history   earlier messages: [{"role": "user", "content": …}, {"role": "assistant", …}, …]
        sampling  values such as `temperature=0.8` that replace those of the run

        Any number of threads may read answers at the same time. Raises UsageError at once if a sampling value is out
        of bounds or the history has another shape; raises DataError at the first piece if no room is left for an
        answer.
        """
        # Not a generator function itself, so that wrong arguments raise at the call and not at the first piece.
        messages = [*map(_message, history), Message("user", text)]
        stream = self.stream(messages, resampled(self.run.config.sampling, sampling), tuned)
        return (piece.text for piece in stream if isinstance(piece, AnswerPiece) and piece.text)

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, tuned: bool = True, likeliest: int | None = None
    ) -> Pieces:
        """Yield what `Engine.stream` yields."""
        return self.engine.stream(messages, sampling, tuned, likeliest)


def _message(said: Mapping[str, Any]) -> Message:
    """Return one message of a history; its content is a text, or a list of parts of text, which are joined.

    Raises UsageError for any other shape, and for a part that is no text: nothing that was said is left out.
    """
    content = said.get("content")
    if isinstance(content, list) and all(isinstance(part, Mapping) for part in content):
        content = "".join(map(_part, content))
    if said.get("role") not in ("user", "assistant") or not isinstance(content, str):
        raise UsageError(
            'history 里每一条应是 {"role": "user" 或 "assistant", "content": "文字"}；系统提示词在训练时就定下了',
            'each item of history must be {"role": "user" or "assistant", "content": "text"}; '
            "the system prompt was settled in training",
        )
    return Message(said["role"], content)


def _part(part: Mapping[str, Any]) -> str:
    text = part.get("text")
    if part.get("type", "text") != "text" or not isinstance(text, str):
        kind = shown(str(part.get("type", "?")), 40)
        raise UsageError(
            f"history 里有一段不是文字（{kind}），模型看不到它；请去掉它，或写成文字",
            f"a part of history is no text ({kind}), and the model cannot see it; take it out, or put it into words",
        )
    return text
