"""Open a run to export it: its adapter, its contract and the real base, checked to belong together; nothing is loaded.

runs/daiyu-…/ ──► adapter, contract, tokenizer ─┐
the base      ──► weights, config.json         ─┴► CheckedRun ──► merged folder, GGUF, bundle
"""

import gc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..config.load import load
from ..evaluation.proof import Reference, reference
from ..events import Happened, Said
from ..inference.loading import CheckedRun, check_run
from ..inference.opening import Tell
from ..models.fetch import require_model
from ..models.guarded import CONFIG_LIMIT_BYTES, read_bounded
from ..models.peft import load_adapter
from ..models.weights import load_base
from ..runs.folder import open_run, runs_folder
from ..system.device import DevicePlace
from ..system.files import write_files
from ..text import Text

LICENCES = ("LICENSE", "NOTICE")
"""Beginnings of the names of a base's files that go with whatever is made of it."""


def copy_licences(source: CheckedRun, folder: Path) -> None:
    """Copy the licence and the notice of the base, where it has them, into an export."""
    for name in LICENCES:
        found = sorted(path for path in source.base.folder.glob(f"{name}*") if path.is_file())
        if found:
            write_files(folder, {name: read_bounded(found[0], CONFIG_LIMIT_BYTES)})


def open_source(named: str | Path | None, asked: Mapping[str, Any], tell: Tell, offline: bool) -> CheckedRun:
    """Return a run to export: the one of this folder or name, or the newest. `asked` may hold model and output_dir.

    Raises UsageError if there is no such run or its base is not on this machine, DataError if they do not belong
    together, RefusedError if a file is damaged.
    """
    run = open_run(Path(named) if named else None, runs_folder(asked))
    if not named:
        tell(Said(Text(f"最新的结果：{run.folder}", f"the newest run: {run.folder}")))
    config = load(run.folder / "config.yaml", asked).config
    require_model(config.model, tell, offline)
    checked = check_run(run, config.model)
    for note in checked.base.notes:
        tell(Happened("model", note))
    if run.config.quantization_bit is not None:
        bits = run.config.quantization_bit
        tell(
            Said(
                Text(
                    f"训练时基座存成 {bits} 位；导出用的是没有量化的基座",
                    f"in training the base was kept in {bits} bits; what is exported is made with the unquantized base",
                )
            )
        )
    return checked


def reference_of(source: CheckedRun, answer_tokens: int) -> Reference:
    """Return what base + adapter answers in torch, in fp32 on the CPU. Raises ResourceError if memory is short."""
    decoder = load_base(source.base, DevicePlace(torch.device("cpu"), torch.float32))
    adapter = load_adapter(source.adapter, decoder)
    decoder.eval()
    found = reference(decoder, adapter, source.renderer, source.contract, answer_tokens)
    del decoder, adapter
    gc.collect()
    return found
