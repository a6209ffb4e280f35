"""Open a run folder for generation, after a check that the run and its base belong together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..config.load import resampled
from ..config.schema import Sampling
from ..errors import DataError, UsageError
from ..models.peft import load_adapter
from ..models.scan import ModelFiles, scan_model, scan_tokenizer
from ..models.scan_adapter import scan_adapter
from ..models.store import find, fingerprint
from ..models.weights import load_base
from ..prompt.contract import Contract
from ..prompt.conversation import Message
from ..prompt.renderer import Renderer
from ..runs.folder import Run
from ..system import device as devices
from ..text import shown
from .engine import Answer, Engine
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
        return (piece for piece in stream if isinstance(piece, str))

    def stream(self, messages: Sequence[Message], sampling: Sampling, tuned: bool = True) -> Iterator[str | Answer]:
        """Yield pieces of text as they come, then the `Answer`."""
        return self.engine.stream(messages, sampling, tuned)


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


def open_teller(run: Run, model: str | None = None, device: str = "auto", dtype: str = "auto") -> Teller:
    """Open a run on its base, or on `model` if the base has moved.

    Raises UsageError if the base is not on this machine, DataError if base, tokenizer or template are not those of
    the training, naming what differs.
    """
    adapter = scan_adapter(run.adapter)
    base = scan_model(find(model or run.config.model))
    scan_tokenizer(run.folder)
    renderer = Renderer(run.folder)
    # Before loading, which takes long: files that do not belong together fail at once.
    check_contract(run.contract, base, renderer)
    decoder = load_base(base, devices.choose_place(device, dtype), run.config.quantization_bit)
    return Teller(run, base, TorchEngine(decoder, renderer, run.contract, load_adapter(adapter, decoder)))


def check_contract(contract: Contract, base: ModelFiles, renderer: Renderer) -> None:
    """Raise DataError if files of the base, or else of the run folder, differ from the contract; name all of these."""
    found = fingerprint(base)
    names = {"config_sha256": "config.json", "weights_sha256": "model.safetensors"}
    differing = [name for key, name in names.items() if found[key] != contract.base[key]]
    if differing:
        raise DataError(
            f"基座 {base.folder.name} 与训练时的 {contract.base['name']} 不是同一个"
            f"（不同的有：{'、'.join(differing)}）；请用 model=原来的模型文件夹",
            f"base {base.folder.name} is not the {contract.base['name']} that this run was trained on"
            f" (different: {', '.join(differing)}); write model=FOLDER of that one",
        )
    own = {"tokenizer.json": renderer.tokenizer_sha256, "chat_template": renderer.template_sha256}
    promised = {"tokenizer.json": contract.tokenizer_sha256, "chat_template": contract.template_sha256}
    changed = [name for name in own if own[name] != promised[name]]
    if changed:
        raise DataError(
            f"{renderer.folder.name} 里的 {'、'.join(changed)} 在训练之后被改过；请从基座的文件夹里复制原来的回来",
            f"{', '.join(changed)} in {renderer.folder.name} has changed since training;"
            " copy it from the base's folder",
        )
