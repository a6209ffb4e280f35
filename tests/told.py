"""A run that answers from a script: what it was asked is kept, and no model is loaded."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tonghua.config.schema import Persona, Sampling
from tonghua.inference.dialogue import Dialogue, Speaker
from tonghua.inference.engine import Answer, AnswerPiece, Pieces
from tonghua.prompt.conversation import Message


@dataclass
class Scripted:
    """Stands in for a `Teller`. `script`: the answers in turn, each a list of pieces; an error among them is raised."""

    script: list[Any]
    system: str | None = "你是黛玉。"
    stop: str = "stop"
    asked: list[tuple[list[tuple[str, str]], Sampling, bool]] = field(default_factory=list)
    closed: int = 0

    @property
    def run(self) -> Any:
        base = {"name": "qwen"}
        contract = SimpleNamespace(system=self.system, persona="daiyu", base=base, card=None)
        return SimpleNamespace(contract=contract, folder=SimpleNamespace(name="daiyu-1"))

    def stream(self, messages: Sequence[Message], sampling: Sampling, tuned: bool = True) -> Pieces:
        self.asked.append(([(m.role, m.content) for m in messages], sampling, tuned))
        pieces = self.script.pop(0)
        try:
            for piece in pieces:
                if isinstance(piece, BaseException):
                    raise piece
                yield AnswerPiece(0, piece, False)
            yield Answer(
                text="".join(pieces),
                stop=self.stop,  # type: ignore[arg-type]
                tokens=len(pieces),
                prompt_tokens=1,
                first_token_s=0.1,
                tokens_per_s=10.0,
            )
        finally:
            self.closed += 1

    @property
    def heard(self) -> list[tuple[str, str]]:
        """The messages of the last prompt."""
        return self.asked[-1][0]


def dialogue(
    *tellers: Scripted, names: Sequence[str] = ("黛玉", "甄嬛", "宝玉"), sampling: Any = None, card: Any = None
) -> Dialogue:
    drawn = sampling or Sampling()
    return Dialogue(
        [
            Speaker(name, f"run-{at}", teller, drawn, card or Persona())
            for at, (name, teller) in enumerate(zip(names, tellers, strict=False))
        ]  # type: ignore[arg-type]
    )
