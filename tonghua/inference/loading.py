"""Load runs to answer: check that files belong together, then one base for all runs that have it.

run, base  ──check_run──►  CheckedRun  ──torch_tellers──►  a decoder, an adapter for each run  ──►  Tellers
                                       ──llama_tellers──►  GGUF files of both, made once       ──►  Tellers
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from filelock import FileLock

from ..errors import DataError
from ..models.about import About, about
from ..models.gguf_file import write_adapter, write_base
from ..models.manifest import sha256_of
from ..models.peft import load_adapter
from ..models.scan import ModelFiles, scan_model, scan_tokenizer
from ..models.scan_adapter import AdapterFiles, scan_adapter
from ..models.store import find, fingerprint
from ..models.weights import load_base
from ..prompt.contract import Contract
from ..prompt.renderer import Renderer
from ..runs.folder import Run
from ..system.device import DevicePlace, choose_place
from ..system.environment import home
from .llama_engine import CONTEXT_TOKENS, Llama, LlamaEngine
from .teller import Teller
from .torch_engine import TorchEngine
from .turns import FairLock

KIND = "q8_0"
"""Type of a base in llama.cpp: as fast as it gets without changing what is said (benchmarks/LOG.md)."""

FORMAT = 1
"""Raise it if the files come out otherwise: those of before are then not used again."""


@dataclass(frozen=True, slots=True)
class CheckedRun:
    """A run whose files belong together, and all that loading it needs."""

    run: Run
    base: ModelFiles
    renderer: Renderer
    contract: Contract
    adapter: AdapterFiles

    @property
    def name(self) -> str:
        """The name of the folder of the run."""
        return self.run.folder.name or self.run.folder.resolve().name

    @property
    def described(self) -> About:
        """Name, origin and licence, as files made of the run tell them."""
        base = about(self.base.folder)
        known = base.base if base.url else self.contract.base["name"]
        return About(self.name, known, base.url, base.licence)

    @property
    def base_id(self) -> str:
        """Equal for runs that can share a loaded base."""
        found = fingerprint(self.base)
        parts = (found["config_sha256"], found["weights_sha256"], self.renderer.tokenizer_sha256)
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:32]


def check_run(run: Run, model: str | None = None) -> CheckedRun:
    """Check a run and its base, or `model` if the base has moved. Loads no weights, so that faults come at once.

    Raises UsageError if the base is not on this machine, DataError if base, tokenizer or template are not those of
    the training, naming what differs.
    """
    adapter = scan_adapter(run.adapter)
    base = scan_model(find(model or run.config.model))
    scan_tokenizer(run.folder)
    renderer = Renderer(run.folder)
    check_contract(run.contract, base, renderer)
    return CheckedRun(run, base, renderer, run.contract, adapter)


def open_teller(run: Run, model: str | None = None, device: str = "auto", dtype: str = "auto") -> Teller:
    """Open one run on torch. Raises what `check_run` raises."""
    return torch_tellers([check_run(run, model)], choose_place(device, dtype))[0]


def torch_tellers(checked: Sequence[CheckedRun], place: DevicePlace) -> list[Teller]:
    """Open runs of one base on torch: the base once, and an adapter for each run."""
    first = checked[0]
    decoder = load_base(first.base, place, first.run.config.quantization_bit)
    turns = FairLock()
    engines = [
        TorchEngine(decoder, each.renderer, each.contract, load_adapter(each.adapter, decoder), turns)
        for each in checked
    ]
    return [Teller(each.run, each.base, engine) for each, engine in zip(checked, engines, strict=True)]


def llama_tellers(checked: Sequence[CheckedRun], converting: Callable[[], None] = lambda: None) -> list[Teller]:
    """Open runs of one base in llama.cpp; calls `converting` if the base must be converted first, which takes a while.

    Raises what `write_base` raises, and DataError if llama.cpp cannot open a file.
    """
    first = checked[0]
    base = _converted_base(first, converting)
    adapters = [_converted_adapter(each) for each in checked]
    # As many as PyTorch would take, which OMP_NUM_THREADS sets; two on one core wait for each other at every layer.
    threads = min(torch.get_num_threads(), psutil.cpu_count(logical=False) or torch.get_num_threads())
    llama = Llama(base, adapters, min(CONTEXT_TOKENS, first.base.config.context), threads)
    return [
        Teller(each.run, each.base, LlamaEngine(llama, index, KIND, each.renderer, each.contract))
        for index, each in enumerate(checked)
    ]


def gguf_folder() -> Path:
    """Return the folder of converted files. Everything in it can be made again."""
    return home() / "gguf"


def _converted_base(checked: CheckedRun, converting: Callable[[], None]) -> Path:
    file = gguf_folder() / f"{checked.base_id}-{KIND}-{FORMAT}.gguf"
    stop_ids = checked.contract.stop_ids

    def write() -> None:
        converting()
        # Our engine hands over ids, so the file needs no template.
        write_base(checked.base, checked.renderer.folder, "", stop_ids, KIND, file)

    return _made_once(file, write)


def _converted_adapter(checked: CheckedRun) -> Path:
    weights, config = (sha256_of(checked.adapter.folder / f"adapter_{n}") for n in ("model.safetensors", "config.json"))
    named = hashlib.sha256(f"{weights} {config} {checked.base_id}".encode()).hexdigest()[:32]
    file = gguf_folder() / f"{named}-lora-{FORMAT}.gguf"
    return _made_once(file, lambda: write_adapter(checked.adapter, checked.base, file))


def _made_once(file: Path, write: Callable[[], None]) -> Path:
    """Return `file`, written first if it is not there; two programs do not write it twice."""
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = file.with_suffix(".lock")
        with FileLock(lock):
            if not file.is_file():
                write()
        with suppress(OSError):  # another program waits for it
            lock.unlink()
    return file


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
