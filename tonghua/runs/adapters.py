"""Find the adapter that `adapter=` or `chat` names.

runs/daiyu-…/                           the adapter of a run of ours      ─┐ contract.json says how to prompt it,
runs/daiyu-…/checkpoints/step-000120/   that of one of its checkpoints    ─┘ and on which base
saves/qwen/lora/checkpoint-300/         made elsewhere, in PEFT's format     only adapter_config.json is known
"""

from dataclasses import dataclass
from pathlib import Path

from ..models.scan_adapter import AdapterFiles, scan_adapter
from ..prompt.contract import Contract
from ..system.files import is_folder, user_path
from .folder import CONTRACT, FACTS, run_of


@dataclass(frozen=True, slots=True)
class NamedAdapter:
    """An adapter that passed the scan, and the run of ours that it belongs to; None if it was made elsewhere."""

    files: AdapterFiles
    run: Path | None

    @property
    def contract(self) -> Contract | None:
        """The contract of its run. Raises DataError if that is damaged."""
        if self.run is None:
            return None
        return Contract.from_json((self.run / CONTRACT).read_text(encoding="utf-8", errors="replace"))


def find_adapter(named: str, output_dir: Path) -> NamedAdapter:
    """Return the adapter in this folder, or in that of this name in `output_dir`. Raises as `scan_adapter` does."""
    folder = user_path(named)
    if not is_folder(folder) and is_folder(output_dir / named):
        folder = output_dir / named
    return NamedAdapter(scan_adapter(folder), run_of(folder))


def made_elsewhere(named: str | Path | None, output_dir: Path) -> AdapterFiles | None:
    """Return the adapter that this names if it is no run of ours, else None. Raises as `scan_adapter` does."""
    places = (user_path(str(named)), output_dir / named) if named else ()
    for folder in filter(is_folder, places):
        ours = run_of(folder) is not None or (folder / FACTS).is_file()
        if (folder / "adapter_config.json").is_file() and not ours:
            return scan_adapter(folder)
    return None
