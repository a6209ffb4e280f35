"""From a run folder to something that answers, after checking that it and its base belong together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from . import device as devices
from .checkpoint import load_adapter, load_base
from .config import Sampling
from .core.lora import Adapter
from .download import fetch_if_needed
from .errors import DataError
from .generate import Answer, Engine
from .hub import fingerprint
from .prompt import Contract, Message, Renderer
from .runs import Run
from .scan import ModelFiles, scan_adapter, scan_model, scan_tokenizer


@dataclass(frozen=True, slots=True)
class Teller:
    """A run, ready to talk: `tell("写一个关于月亮的故事")`, or `stream` for the words as they come."""

    run: Run
    base: ModelFiles
    engine: Engine
    adapter: Adapter

    def tell(self, text: str, sampling: Sampling | None = None) -> str:
        """The answer to one message."""
        *_, answer = self.stream([Message("user", text)], sampling)
        assert isinstance(answer, Answer)
        return answer.text

    def stream(self, messages: Sequence[Message], sampling: Sampling | None = None) -> Iterator[str | Answer]:
        """Pieces of text as they come, then the `Answer`."""
        return self.engine.stream(messages, sampling or self.run.config.sampling)


def open_teller(run: Run, model: str | None = None, device: str = "auto", dtype: str = "auto") -> Teller:
    """An opened run on its base, or on `model` if the base has moved.

    A base that is named and not on this machine is downloaded. Raises DataError where base, tokenizer or template
    are not the ones it was trained on, naming what differs.
    """
    adapter = scan_adapter(run.folder)
    base = scan_model(fetch_if_needed(model or run.config.model))
    scan_tokenizer(run.folder)
    renderer = Renderer(run.folder)
    check_contract(run.contract, base, renderer)
    decoder = load_base(base, devices.choose(device, dtype), run.config.quantization_bit)
    return Teller(run, base, Engine(decoder, renderer, run.contract), load_adapter(adapter, decoder))


def check_contract(contract: Contract, base: ModelFiles, renderer: Renderer) -> None:
    """Raises DataError naming everything in which the base or the run folder's own files differ from the contract."""
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
