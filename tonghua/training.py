"""Training: from a config to a run folder, in the order in which it happens.

    check the model and the rows -> load the base -> add LoRA -> steps, a held-out loss each epoch -> the best adapter

`train` is the whole of it; what happens on the way goes to `tell` as events, for a progress bar or for nobody.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from . import device as devices
from . import hub, plan
from .book import Book
from .checkpoint import load_base
from .config import Config, Loaded
from .core.lora import Adapter
from .core.loss import linear_cross_entropy
from .core.model import Decoder
from .core.packing import pack
from .device import PeakMemory, Place
from .errors import DivergedError, Stopped, UsageError
from .evaluate import hidden_states, losses
from .example import Example
from .optimizer import Optimizer, learning_rate
from .prepare import Prepared, Samples, named, open_model, prepare, require_usable, split, weight_of


@dataclass(frozen=True, slots=True)
class Reading:
    """So many rows have been prepared until now."""

    rows: int


@dataclass(frozen=True, slots=True)
class Started:
    """Before the first step: what will be trained, on what, where."""

    config: Config
    ready: Prepared
    place: Place
    plan: plan.Plan
    trainable: int
    parameters: int
    train: Samples
    heldout: Samples
    steps: int
    run: Path


@dataclass(frozen=True, slots=True)
class Stepped:
    step: int
    steps: int
    epoch: float
    loss: float
    grad_norm: float
    learning_rate: float
    samples: int
    tokens: int
    targets: int
    step_s: float
    samples_per_s: float
    remaining_s: float


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out loss after `step` steps; `best` so far or not."""

    step: int
    loss: float
    best: bool


@dataclass(frozen=True, slots=True)
class Result:
    """What `train --json` prints."""

    run: str
    steps: int
    samples: int
    train_loss: float
    heldout_loss: float | None
    samples_per_s: float
    peak_memory_gb: float
    trainable_parameters: int


Event = Reading | Started | Stepped | HeldOut
Tell = Callable[[Event], None]


def train(loaded: Loaded, tell: Tell = lambda event: None) -> Result:
    """Train and write a run folder. Every fault of the input is found before anything is written.

    Raises the `UserError`s of the config, the rows, the model, the disk; DivergedError; Stopped after Ctrl-C,
    with the run saved as far as it came.
    """
    config = loaded.config
    files, renderer = open_model(config.model)
    ready = prepare(config, files, renderer, advance=lambda rows: tell(Reading(rows)))
    require_usable(ready, named(config.dataset), config.skip_bad_rows)
    training, heldout = _sides(config, ready)
    place = devices.choose(config.device, config.dtype)
    devices.keep_freed_memory()
    torch.manual_seed(config.seed)

    decoder = load_base(files, place, config.quantization_bit)
    adapter = Adapter(
        decoder.linears(),
        config.lora_modules,
        config.lora_rank,
        config.lora_alpha / config.lora_rank,
        config.lora_dropout,
        torch.Generator().manual_seed(config.seed),
    )
    longest = int(max(side.tokens.max(initial=0) for side in (training, heldout)))
    planned = plan.plan(config, decoder.shape, place, longest)
    decoder.recompute = planned.recompute
    steps = count_steps(config, len(training))
    name = hub.name_of(config.model, files.folder)
    book = Book(config, config.run_name or loaded.name, files.folder, name, adapter, renderer, hub.fingerprint(files))
    size = sum(slot.numel() for _, slot in decoder.slots())
    trainer = Trainer(config, decoder, adapter, planned.tokens, training.examples, steps)
    try:
        trainable = adapter.flat.numel()
        tell(Started(config, ready, place, planned, trainable, size, training, heldout, steps, book.run))
        _hold_out(book, trainer, heldout, tell)
        for stepped in trainer.run():
            book.log(asdict(stepped))
            tell(stepped)
            if trainer.epoch_ends(stepped.step):
                _hold_out(book, trainer, heldout, tell)
    except KeyboardInterrupt:
        if not trainer.done:
            book.abandon()
            raise
        book.keep(trainer.done, trainer.epoch, None)
        book.finish()
        raise Stopped(
            f"已停在第 {trainer.done} 步；到此为止最好的适配器保存在 {book.run}",
            f"stopped at step {trainer.done}; the best adapter so far is in {book.run}",
        ) from None
    except BaseException:
        book.abandon()
        raise
    finally:
        trainer.memory.stop()
    book.finish()
    return trainer.result(book)


def _sides(config: Config, ready: Prepared) -> tuple[Samples, Samples]:
    """Rows to learn and rows held out: a file of their own, or a share of the dataset."""
    if config.eval_dataset is None:
        return split(ready, config.val_size, config.seed)
    if weight_of(config.eval_dataset) != 1:
        raise UsageError(
            f"验证数据不能带倍数：eval_dataset={config.eval_dataset}",
            f"validation rows are seen once: eval_dataset={config.eval_dataset} must have no number after *",
        )
    held = prepare(config, ready.model, ready.renderer, config.eval_dataset)
    require_usable(held, config.eval_dataset, config.skip_bad_rows)
    return split(ready, 0, config.seed)[0], held.samples


def count_steps(config: Config, samples: int) -> int:
    """Optimizer steps of the run; the last of an epoch takes what is left."""
    per_epoch = math.ceil(samples / config.samples_per_step)
    steps = math.ceil(config.num_train_epochs * per_epoch)
    return min(steps, config.max_steps) if config.max_steps else steps


def _hold_out(book: Book, trainer: "Trainer", heldout: Samples, tell: Tell) -> None:
    """Measure the held-out loss, if rows are held out, and keep the adapter as it is now."""
    start = time.perf_counter()
    loss = losses(trainer.decoder, heldout.examples).per_token if len(heldout) else None
    trainer.evaluation_s = time.perf_counter() - start
    best = book.keep(trainer.done, trainer.epoch, loss)
    if loss is not None:
        tell(HeldOut(trainer.done, loss, best))


class Trainer:
    """The loop. Order of samples: a permutation that depends on (seed, epoch) alone."""

    def __init__(
        self,
        config: Config,
        decoder: Decoder,
        adapter: Adapter,
        tokens_per_micro_batch: int,
        examples: Sequence[Example],
        steps: int,
    ):
        self.config, self.decoder, self.adapter, self.examples = config, decoder, adapter, examples
        self.tokens_per_micro_batch, self.steps, self.done = tokens_per_micro_batch, steps, 0
        self.per_epoch = math.ceil(len(examples) / config.samples_per_step)
        self.history: list[Stepped] = []
        self.memory = PeakMemory(decoder.device)
        self.evaluation_s = 0.0

    def run(self) -> Iterator[Stepped]:
        """Every step of the training. Raises DivergedError when the loss or the gradient is not finite."""
        half = self.decoder.dtype == torch.float16
        optimizer = Optimizer(self.config, self.adapter, half)
        self.decoder.train()
        for step in range(self.steps):
            start = time.perf_counter()
            samples = self.samples_of(step)
            targets = sum(e.targets for e in samples)
            total, tokens = torch.zeros((), device=self.decoder.device), 0
            for packed in pack(samples, self.tokens_per_micro_batch):
                batch = packed.to(self.decoder.device)
                hidden = hidden_states(self.decoder, batch)
                part = linear_cross_entropy(hidden, self.decoder.head, batch.target) / targets
                optimizer.backward(part)
                total += part.detach()
                tokens += len(batch.ids)
            loss = float(total)
            rate = learning_rate(self.config, step, self.steps)
            norm = optimizer.step(rate)
            if not (math.isfinite(loss) and (half or math.isfinite(norm))):
                raise _diverged(step + 1)
            self.done = step + 1
            elapsed = time.perf_counter() - start
            yield self._stepped(loss, norm, rate, len(samples), tokens, targets, elapsed)
            if step == 0:
                self.memory.start()

    @property
    def epoch(self) -> float:
        return self.done / self.per_epoch

    def samples_of(self, step: int) -> list[Example]:
        epoch, place = divmod(step, self.per_epoch)
        order = torch.randperm(
            len(self.examples), generator=torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
        )
        size = self.config.samples_per_step
        return [self.examples[i] for i in order[place * size : (place + 1) * size].tolist()]

    def epoch_ends(self, step: int) -> bool:
        return step % self.per_epoch == 0 or step == self.steps

    def _stepped(
        self,
        loss: float,
        norm: float,
        rate: float,
        samples: int,
        tokens: int,
        targets: int,
        elapsed: float,
    ) -> Stepped:
        recent = [s.step_s for s in self.history[-20:]] + [elapsed]
        evaluations = math.ceil((self.steps - self.done) / self.per_epoch)
        remaining = statistics.mean(recent) * (self.steps - self.done) + self.evaluation_s * evaluations
        stepped = Stepped(
            step=self.done,
            steps=self.steps,
            epoch=self.epoch,
            loss=loss,
            grad_norm=norm,
            learning_rate=rate,
            samples=samples,
            tokens=tokens,
            targets=targets,
            step_s=elapsed,
            samples_per_s=samples / elapsed,
            remaining_s=remaining,
        )
        self.history.append(stepped)
        return stepped

    def result(self, book: Book) -> Result:
        steady = self.history[1:] or self.history
        last = self.history[-self.per_epoch :]
        return Result(
            run=str(book.run),
            steps=self.done,
            samples=sum(s.samples for s in self.history),
            train_loss=sum(s.loss * s.targets for s in last) / sum(s.targets for s in last),
            heldout_loss=book.best_loss,
            samples_per_s=sum(s.samples for s in steady) / sum(s.step_s for s in steady),
            peak_memory_gb=self.memory.peak_bytes() / 1e9,
            trainable_parameters=self.adapter.flat.numel(),
        )


def _diverged(step: int) -> DivergedError:
    return DivergedError(
        f"第 {step} 步的损失或梯度不再是有限的数；请调小 learning_rate 再试",
        f"the loss or gradient of step {step} is not finite; try a smaller learning_rate",
    )
