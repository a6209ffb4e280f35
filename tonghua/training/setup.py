"""Prepare all that training needs in memory, before the run folder is made.

device, settings, rows, base, adapter, plan    cheap checks first, so that an error comes early
"""

import math
import platform
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..config.load import Loaded
from ..config.schema import Config
from ..core.lora import Adapter
from ..core.model import Decoder
from ..data.names import named, weight_of
from ..data.samples.prepare import Prepared, open_model, prepare, require_usable, split
from ..data.samples.samples import Samples
from ..errors import UsageError
from ..events import Doing, Happened, ReadingRows
from ..inference.loading import check_contract
from ..models import store
from ..models.manifest import sha256_of
from ..models.peft import load_adapter
from ..models.same_base import base_note
from ..models.scan import ModelFiles
from ..models.scan_adapter import AdapterFiles
from ..models.weights import load_base
from ..runs.adapters import find_adapter
from ..runs.book import Book
from ..runs.checkpoint import Checkpoint
from ..system import device as devices
from ..system.device import DevicePlace
from ..system.memory import keep_freed_memory
from ..system.signals import Stop
from ..text import Text
from ..version import __version__
from . import plan
from .diary import Diary, PromptMessages, choose_prompts
from .events import Started, Tell
from .progress import Note, state_of
from .resume import order_sha256, require_settled, settled
from .trainer import Trainer

LEAST_MEASURED_ROWS, MEASURED_SHARE = 16, 1 / 8
"""A run that ends within its first epoch measures the loss on so many held-out rows, or on a share of those it learns.

On all of them it would measure longer than it learns: 5 steps of 16 rows, and 186 rows before and after."""


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows to train on, and rows held out to measure the loss."""

    ready: Prepared
    training: Samples
    heldout: Samples

    @property
    def asked(self) -> Samples:
        """The samples whose questions the model answers for people: the held-out ones if there are any."""
        return self.heldout if len(self.heldout) else self.training

    @property
    def longest(self) -> int:
        """Tokens of the longest sample on either side; 0 if there is none."""
        return int(max(side.tokens.max(initial=0) for side in (self.training, self.heldout)))


@dataclass(frozen=True, slots=True)
class ReadyRun:
    """All that training needs, in memory."""

    config: Config
    rows: TrainingRows
    place: DevicePlace
    decoder: Decoder
    adapter: Adapter
    plan: plan.Plan
    begun_at: AdapterFiles | None = None  # the adapter that a new run begins at

    @property
    def checkpoint_bytes(self) -> int:
        """Estimated size of a checkpoint, in bytes: masters and both AdamW moments in fp32, plus 1 MB."""
        return self.adapter.flat.numel() * 4 * 3 + 1_000_000

    def trainer(self, stop: Stop, note: Note) -> Trainer:
        """Return a trainer at step 0."""
        steps = count_steps(self.config, len(self.rows.training))
        return Trainer(self.config, self.decoder, self.adapter, self.rows.training, steps, self.plan, stop, note)

    @property
    def measured(self) -> Samples:
        """The held-out samples on which the run measures its loss: all, unless it ends within its first epoch."""
        heldout, training = self.rows.heldout, self.rows.training
        learned = count_steps(self.config, len(training)) * self.config.samples_per_step
        rows, most = heldout.row_count, max(LEAST_MEASURED_ROWS, int(MEASURED_SHARE * learned))
        if learned >= len(training) or rows <= most:
            return heldout
        # Evenly spread: the rows of a file may be in any order.
        return heldout.of_rows(np.arange(most) * rows // most)

    @property
    def prompts(self) -> list[PromptMessages]:
        """The first prompts of `rows.asked` whose questions differ."""
        # Only the first part of a row asks what the row asks; the others say "go on".
        return choose_prompts(talk.messages[:-1] for talk in self.rows.asked.first_parts.conversations)

    def diary(self) -> Diary:
        """Return the diary."""
        ready, config = self.rows.ready, self.config
        return Diary(self.decoder, ready.renderer, config.system, config.sampling, self.prompts, ready.thinking)


def get_ready(config: Config, tell: Tell, found: Checkpoint | None = None) -> ReadyRun:
    """Return what training needs; `found` is the checkpoint to resume from. Writes no run.

    Raises a UserError for faulty settings, rows or model files.
    """
    place = _choose_device(config, found)
    if found is not None:
        require_settled(found, config)
    # Rows before the base: their faults show without loading gigabytes of weights.
    rows = training_rows(config, tell)
    _tell_warm_up(config, len(rows.training), tell)
    begun_at = None if found is not None or config.adapter is None else _beginning(config, rows.ready, tell)
    # Before the large allocations: a step takes 1.87 instead of 2.04 s if glibc keeps freed memory.
    keep_freed_memory()
    # Seeds dropout alone: the adapter and the order of the samples have generators of their own.
    torch.manual_seed(config.seed)
    tell(Doing(Text("载入模型", "loading the model")))
    decoder = load_base(rows.ready.model, place, config.quantization_bit)
    adapter = (
        _new_adapter(config, decoder) if begun_at is None else load_adapter(begun_at, decoder, config.lora_dropout)
    )
    # After the base: what is free now is free for activations.
    planned = plan.plan(config, decoder.shape, place, rows.longest)
    ready = ReadyRun(config, rows, place, decoder, adapter, planned, begun_at)
    _tell_measured(ready, tell)
    return ready


def _beginning(config: Config, ready: Prepared, tell: Tell) -> AdapterFiles:
    """Return the adapter that a run begins at. Raises DataError if it was trained on another base."""
    found = find_adapter(str(config.adapter), Path(config.output_dir))
    contract = found.contract
    if contract is not None:
        check_contract(contract, ready.model, ready.renderer)
    else:
        note = base_note(found.files, config.model, ready.model.folder)
        if note is not None:
            tell(Happened("adapter", note))
    return found.files


def _choose_device(config: Config, found: Checkpoint | None) -> DevicePlace:
    """Return where to compute. A resumed run keeps the dtype of its checkpoint if the device type is the same."""
    place = devices.choose_place(config.device, config.dtype)
    if found is None or config.dtype != "auto":
        return place
    # "auto" times both dtypes: measured again on a busy machine, it could choose the other one and change the bits.
    device, _, dtype = str(state_of(found)["place"]).partition(" ")
    return DevicePlace(place.device, devices.DTYPES[dtype]) if device == place.device.type else place


def run_facts(started: Started, base_name: str, begun_at: AdapterFiles | None) -> dict[str, Any]:
    """Return the content of facts.json: versions, device, base, the adapter it began at, rows and sizes."""
    beginning = None
    if begun_at is not None:
        digest = sha256_of(begun_at.folder / "adapter_model.safetensors")
        beginning = {"path": str(begun_at.folder), "sha256": digest}
    tokens = started.train.row_tokens
    datasets = started.config.dataset
    return {
        "versions": {"tonghua": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "system": f"{platform.system()} {platform.machine()}",
        "place": str(started.place),
        "base": {"name": base_name, "parameters": started.parameters},
        "adapter": beginning,
        "trainable": started.trainable,
        "rows": asdict(started.ready.table),
        "dataset": [datasets] if isinstance(datasets, str) else list(datasets or ()),
        "eval_dataset": started.config.eval_dataset,
        "train": started.train.row_count,
        "heldout": started.heldout.row_count,
        "tokens": {"mean": round(float(tokens.mean()), 1), "longest": int(tokens.max())},
        "steps": started.steps,
        "samples_per_step": started.config.samples_per_step,
        "tokens_per_micro_batch": started.plan.tokens,
        "recomputed_layers": started.plan.recomputed_layers,
    }


def training_rows(config: Config, tell: Tell) -> TrainingRows:
    """Return the rows to train on and the rows held out: those of `eval_dataset`, or a share of the dataset.

    Raises UsageError if the model is not here, if `max_length` is above its context, or if `eval_dataset` has a
    weight; DataError if rows cannot be used.
    """
    files, renderer = open_model(config.model)
    # Needs only the model's config, so it comes before a million rows are read.
    _require_context(config.max_length, files)
    ready = prepare(config, files, renderer, advance=lambda rows: tell(ReadingRows(rows)))
    require_usable(ready, named(config.dataset), config.skip_bad_rows)
    if config.eval_dataset is None:
        return TrainingRows(ready, *split(ready, config.val_size, config.seed))
    if weight_of(config.eval_dataset) != 1:
        raise UsageError(
            f"验证数据不能带倍数：eval_dataset={config.eval_dataset}",
            f"validation rows are seen once: eval_dataset={config.eval_dataset} must have no number after *",
        )
    held = prepare(config, ready.model, ready.renderer, config.eval_dataset)
    require_usable(held, config.eval_dataset, config.skip_bad_rows)
    of_rows = [note for note in held.notes if note not in files.notes]
    notes = (Text(f"eval_dataset：{note.zh}", f"eval_dataset: {note.en}") for note in of_rows)
    ready = replace(ready, notes=(*ready.notes, *notes))
    return TrainingRows(ready, split(ready, 0, config.seed)[0], held.samples)


def _require_context(max_length: int, files: ModelFiles) -> None:
    positions = files.config.context
    if max_length > positions:
        raise UsageError(
            f"max_length={max_length} 超过了 {files.folder.name} 能读的 {positions} 个 token；请改小",
            f"max_length={max_length} is more than the {positions} tokens that {files.folder.name} can read;"
            " set a smaller one",
        )


def _tell_warm_up(config: Config, samples: int, tell: Tell) -> None:
    """Say if the run ends before its warm-up does: its learning rate then stays below the one that was asked for."""
    warm, steps = config.warmup_steps, count_steps(config, samples)
    if warm is not None and warm >= steps:
        what = Text(
            f"warmup_steps={warm}，而训练只有 {steps} 步：学习率到不了 {config.learning_rate:g}；"
            "请改小，或写 warmup_ratio=0.03",
            f"warmup_steps={warm}, and the run has {steps} steps: the learning rate never gets to"
            f" {config.learning_rate:g}; set fewer, or write warmup_ratio=0.03",
        )
        tell(Happened("setting", what))


def _tell_measured(ready: ReadyRun, tell: Tell) -> None:
    """Say if only a part of the held-out rows is measured."""
    measured, heldout = ready.measured.row_count, ready.rows.heldout.row_count
    if measured < heldout:
        what = Text(
            f"训练不到一轮：验证损失只量 {heldout} 条里的 {measured} 条，省下的时间留给训练；tonghua eval 量全部",
            f"the run ends within its first epoch: its held-out loss is that of {measured} rows out of {heldout}"
            " (else it would measure longer than it learns); tonghua eval measures all",
        )
        tell(Happened("setting", what))


def _new_adapter(config: Config, decoder: Decoder) -> Adapter:
    return Adapter(
        decoder.linears(),
        config.lora_modules,
        config.lora_rank,
        config.lora_scale,
        config.lora_dropout,
        torch.Generator().manual_seed(config.seed),  # its own: the start depends on the seed alone
    )


def open_book(loaded: Loaded, ready: ReadyRun, tell: Tell) -> Book:
    """Return the writer of the run folder; its `open` makes the folder."""
    config, files = loaded.config, ready.rows.ready.model
    return Book(
        config,
        config.run_name or loaded.name,
        files.folder,
        store.name_of(config.model, files.folder),
        ready.rows.ready.renderer,
        store.fingerprint(files),
        ready.checkpoint_bytes,
        tell=lambda kind, text: tell(Happened(kind, text)),
        thinking=ready.rows.ready.thinking,
    )


def trained_on(ready: ReadyRun, book: Book) -> dict[str, Any]:
    """Return what must be the same on resume, as JSON values: settings, and hashes of base and rows."""
    rows = ready.rows
    return {
        "settings": settled(ready.config),
        "base": book.fingerprint,
        "tokenizer": book.renderer.tokenizer_sha256,
        "template": book.renderer.template_sha256,
        "rows": list(rows.training.keys),
        "rows_order": order_sha256(rows.training),
        "heldout": list(rows.heldout.keys),
        "heldout_order": order_sha256(rows.heldout),
    }


def count_steps(config: Config, samples: int) -> int:
    """Return the number of optimizer steps of the run. The last step of an epoch has the samples that are left."""
    per_epoch = math.ceil(samples / config.samples_per_step)
    steps = math.ceil(config.num_train_epochs * per_epoch)
    return min(steps, config.max_steps) if config.max_steps else steps
