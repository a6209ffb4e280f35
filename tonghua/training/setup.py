"""Everything that training needs, in memory and before anything is written.

device, rows, base, adapter, plan    in this order, so that what is refused is refused early
"""

import json
import math
import platform
from dataclasses import asdict, dataclass
from typing import Any

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
from ..models import store
from ..models.scan import ModelFiles
from ..models.weights import load_base
from ..runs.book import Book
from ..runs.checkpoint import Checkpoint
from ..system import device as devices
from ..system.device import DevicePlace
from ..system.memory import keep_freed_memory
from ..system.signals import Stop
from ..text import Text
from ..version import __version__
from . import plan
from .diary import Diary, choose_prompts
from .events import Started, Tell
from .progress import STATE, Note
from .resume import order_sha256, require_settled, settled
from .trainer import Trainer


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """What is learned, and on what it is measured."""

    ready: Prepared
    training: Samples
    heldout: Samples

    @property
    def longest(self) -> int:
        return int(max(side.tokens.max(initial=0) for side in (self.training, self.heldout)))


@dataclass(frozen=True, slots=True)
class ReadyRun:
    """All that training needs, in memory and before anything is written."""

    config: Config
    rows: TrainingRows
    place: DevicePlace
    decoder: Decoder
    adapter: Adapter
    plan: plan.Plan

    @property
    def checkpoint_bytes(self) -> int:
        """The masters and both moments, in fp32, and some."""
        return self.adapter.flat.numel() * 4 * 3 + 1_000_000

    def trainer(self, stop: Stop, note: Note) -> Trainer:
        steps = count_steps(self.config, len(self.rows.training))
        return Trainer(self.config, self.decoder, self.adapter, self.rows.training, steps, self.plan, stop, note)

    def diary(self) -> Diary:
        """Of questions that are not learned, where there are such."""
        asked = self.rows.heldout if len(self.rows.heldout) else self.rows.training
        prompts = choose_prompts(conversation.messages[:-1] for conversation in asked.conversations)
        return Diary(self.decoder, self.rows.ready.renderer, self.config.system, self.config.sampling, prompts)


def get_ready(config: Config, tell: Tell, found: Checkpoint | None = None) -> ReadyRun:
    """In this order, so that what is refused is refused early. `found`: the checkpoint to go on from."""
    place = _choose_device(config, found)
    if found is not None:
        require_settled(found, config)
    rows = training_rows(config, tell)
    keep_freed_memory()
    torch.manual_seed(config.seed)
    tell(Doing(Text("载入模型", "loading the model")))
    decoder = load_base(rows.ready.model, place, config.quantization_bit)
    adapter = _new_adapter(config, decoder)
    planned = plan.plan(config, decoder.shape, place, rows.longest)
    return ReadyRun(config, rows, place, decoder, adapter, planned)


def _choose_device(config: Config, found: Checkpoint | None) -> DevicePlace:
    """Where to compute; a run goes on in the type that it began with, which was measured then, if the device is one."""
    place = devices.choose_place(config.device, config.dtype)
    if found is None or config.dtype != "auto":
        return place
    device, _, dtype = str(json.loads(found.read(STATE))["place"]).partition(" ")
    return DevicePlace(place.device, devices.DTYPES[dtype]) if device == place.device.type else place


def run_facts(started: Started, base_name: str) -> dict[str, Any]:
    tokens = started.train.tokens
    datasets = started.config.dataset
    return {
        "versions": {"tonghua": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "system": f"{platform.system()} {platform.machine()}",
        "place": str(started.place),
        "base": {"name": base_name, "parameters": started.parameters},
        "trainable": started.trainable,
        "rows": asdict(started.ready.table),
        "dataset": [datasets] if isinstance(datasets, str) else list(datasets or ()),
        "eval_dataset": started.config.eval_dataset,
        "train": len(started.train),
        "heldout": len(started.heldout),
        "tokens": {"mean": round(float(tokens.mean()), 1), "longest": int(tokens.max())},
        "steps": started.steps,
        "samples_per_step": started.config.samples_per_step,
        "tokens_per_micro_batch": started.plan.tokens,
        "recomputed_layers": started.plan.recomputed_layers,
    }


def training_rows(config: Config, tell: Tell) -> TrainingRows:
    """Rows to learn and rows held out: a file of their own, or a share of the dataset."""
    files, renderer = open_model(config.model)
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
    return TrainingRows(ready, split(ready, 0, config.seed)[0], held.samples)


def _require_context(max_length: int, files: ModelFiles) -> None:
    positions = int(files.config.get("max_position_embeddings", max_length))
    if max_length > positions:
        raise UsageError(
            f"max_length={max_length} 超过了 {files.folder.name} 能读的 {positions} 个 token；请改小",
            f"max_length={max_length} is more than the {positions} tokens that {files.folder.name} can read;"
            " set a smaller one",
        )


def _new_adapter(config: Config, decoder: Decoder) -> Adapter:
    return Adapter(
        decoder.linears(),
        config.lora_modules,
        config.lora_rank,
        config.lora_alpha / config.lora_rank,
        config.lora_dropout,
        torch.Generator().manual_seed(config.seed),
    )


def open_book(loaded: Loaded, ready: ReadyRun, tell: Tell) -> Book:
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
    )


def trained_on(ready: ReadyRun, book: Book) -> dict[str, Any]:
    """What must be the same when a run goes on."""
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
    """Optimizer steps of the run; the last of an epoch takes what is left."""
    per_epoch = math.ceil(samples / config.samples_per_step)
    steps = math.ceil(config.num_train_epochs * per_epoch)
    return min(steps, config.max_steps) if config.max_steps else steps
