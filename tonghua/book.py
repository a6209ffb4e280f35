"""Everything that one training run writes, from its first file to the contract that makes it complete."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import runs
from .checkpoint import adapter_files
from .config import Config, to_yaml
from .core.lora import Adapter
from .prepare import from_anywhere
from .prompt import JOIN, Contract, Renderer
from .shipped import tiny
from .sources import user_path


@dataclass(slots=True)
class Book:
    """Everything that a run writes."""

    config: Config
    name: str
    base: Path
    base_name: str  # the repository's, or the folder's
    adapter: Adapter
    renderer: Renderer
    fingerprint: dict[str, str]
    run: Path = field(init=False)
    best_loss: float | None = None
    best: dict[str, bytes] = field(default_factory=dict)
    best_step: int = 0
    kept: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        size = self.adapter.flat.numel() * 4 * (self.config.save_total_limit + 2) + 50_000_000
        self.run = runs.create(Path(self.config.output_dir).expanduser(), self.name, size)
        try:
            runs.copy_tokenizer(self.base, self.run)
            runs.write_files(self.run, {"config.yaml": to_yaml(self._resolved()).encode()})
        except BaseException:
            self.abandon()
            raise

    def _resolved(self) -> Config:
        """The config with paths that hold from any folder."""
        named = {key: getattr(self.config, key) for key in ("dataset", "eval_dataset")}
        paths = {key: _resolved(value) for key, value in named.items() if value is not None}
        paths["output_dir"] = str(user_path(self.config.output_dir).resolve())
        return self.config.model_copy(update={"model": self._model(), "run_name": self.name, **paths})

    def _model(self) -> str:
        """A folder from the root, or a name, which holds on any machine."""
        by_path = self.base.name == self.base_name and self.base != tiny()
        return str(self.base) if by_path else self.base_name

    def log(self, values: dict[str, Any]) -> None:
        path = self.run / "metrics.jsonl"
        with runs.writing(path), path.open("a", encoding="utf-8", newline="\n") as opened:
            opened.write(json.dumps(values, ensure_ascii=False) + "\n")

    def keep(self, step: int, epoch: float, loss: float | None) -> bool:
        """Note the held-out loss, and keep the adapter: always as the last, and as the best if it is."""
        best = self.best_loss
        better = best is None or (loss is not None and loss < best)
        if loss is not None:
            self.log({"step": step, "epoch": epoch, "heldout_loss": loss})
        if step == 0:
            return False
        files = adapter_files(self.adapter, self.config.lora_alpha, self.base_name)
        runs.write_checkpoint(self.run, step, files, {"epoch": epoch, "heldout_loss": loss})
        if better:
            self.best, self.best_loss, self.best_step = files, loss, step
        self.kept = [s for s in self.kept if s != step] + [step]
        while len(self.kept) > self.config.save_total_limit:
            oldest = next(s for s in self.kept if s != self.best_step)
            self.kept.remove(oldest)
            runs.remove_checkpoint(self.run, oldest)
        return better

    def finish(self) -> None:
        """Put the best adapter at the root; the contract, written last, makes the run complete."""
        contract = Contract(
            system=self.config.system,
            join=JOIN,
            stop_ids=self.renderer.stop_ids,
            template_sha256=self.renderer.template_sha256,
            tokenizer_sha256=self.renderer.tokenizer_sha256,
            base={"name": self.base_name, **self.fingerprint},
            persona=self.name,
            sampling=self.config.sampling.model_dump(),
        )
        runs.write_files(self.run, {**self.best, runs.CONTRACT: contract.to_json().encode()})

    def abandon(self) -> None:
        """After a failure nothing stays that is not whole: without a checkpoint the folder goes."""
        runs.remove_unless_checkpointed(self.run)


def _resolved(paths: str | tuple[str, ...]) -> str | tuple[str, ...]:
    """One dataset or several, as they can be named from any folder."""
    return from_anywhere(paths) if isinstance(paths, str) else tuple(map(from_anywhere, paths))
