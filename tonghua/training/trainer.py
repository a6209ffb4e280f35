"""Take optimizer steps; each one is exact, whatever goes wrong inside it.

    rows of the step  --pack-->  micro-batches  --backward-->  one gradient  -->  update | skipped
                                     |                            |
                       out of memory: repeat the step     non-finite: no update, the rows are named
                       in smaller pieces, same rows

The number of a step gives its rows: their order is a function of (seed, epoch), so a resumed run reads the rows that
it would have read. `files` holds all else that the next step depends on.
"""

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from ..config.schema import Config
from ..core.example import Example
from ..core.forward import hidden_states
from ..core.lora import Adapter
from ..core.loss import linear_cross_entropy
from ..core.model import Decoder
from ..core.packing import pack
from ..data.samples.samples import Samples
from ..errors import DivergedError
from ..evaluation.losses import TOKENS_PER_BATCH, Losses, losses
from ..models.peft import PEFT_PREFIX, adapter_files
from ..runs.checkpoint import Checkpoint
from ..system import device as devices
from ..system.device import DevicePlace
from ..system.memory import PeakMemory, give_back_memory, is_out_of_memory
from ..system.signals import Stop
from ..text import Text
from .optimizer import Optimizer, learning_rate
from .plan import FEW_STEPS, Plan, machine, no_memory_left
from .progress import STATE, TENSORS, Note, StepRecord, TrainingProgress, TrainingResult, state_of

SPIKE = 20.0
"""A loss above this multiple of the median of the last 50 steps is reported; nothing else happens."""

MOST_ROWS_NAMED = 20


@dataclass(frozen=True, slots=True)
class _Gradient:
    loss: float
    tokens: int
    wrong: list[int] = field(default_factory=list)  # indices in the step of the samples in non-finite micro-batches


class Trainer:
    """The state of training; `step` takes the next step."""

    def __init__(
        self,
        config: Config,
        decoder: Decoder,
        adapter: Adapter,
        samples: Samples,
        steps: int,
        plan: Plan,
        stop: Stop,
        note: Note,
    ):
        self.config, self.decoder, self.adapter, self.samples = config, decoder, adapter, samples
        self.steps, self.stop, self.note = steps, stop, note
        self._plan, self._asked = plan, [config.tokens_per_micro_batch, config.gradient_checkpointing]
        self.tokens_per_evaluation = TOKENS_PER_BATCH
        self.per_epoch = math.ceil(len(samples) / config.samples_per_step)
        self.optimizer = Optimizer(config, adapter, half=decoder.dtype == torch.float16)
        self.progress = TrainingProgress(tokens_per_micro_batch=plan.tokens, recomputed_layers=plan.recomputed_layers)
        decoder.recomputed_layers = plan.recomputed_layers
        self.between_steps = True  # True if weights, optimizer and `progress` belong together
        self.history: list[StepRecord] = []
        self.memory = PeakMemory(decoder.device)
        self.evaluation_s = 0.0

    @property
    def tokens_per_micro_batch(self) -> int:
        """Maximum tokens per micro-batch, unless one row has more; less than planned after running out of memory."""
        return self.progress.tokens_per_micro_batch

    @property
    def done(self) -> int:
        """Number of finished steps, skipped ones included."""
        return self.progress.step

    @property
    def epoch(self) -> float:
        """Number of finished epochs, with a fraction."""
        return self.done / self.per_epoch

    @property
    def is_evaluation_due(self) -> bool:
        """True before the first step, at the end of each epoch, and at the end of the run."""
        return self.done % self.per_epoch == 0 or self.done == self.steps

    def rehearse(self) -> float:
        """Run the longest micro-batch forward and backward, so that a lack of memory shows before the first step. Keep
        weights and random states; return the seconds per token. Raises Asked and ResourceError."""
        examples = [self.samples.examples[place] for place in self.places(self._longest_step())]
        largest = max(pack(examples, self.tokens_per_micro_batch), key=lambda batch: len(batch.ids))
        return self.measure([examples[i] for i in largest.order], times=1 if self.steps < FEW_STEPS else 2)

    def _longest_step(self) -> int:
        """Return the step with the longest micro-batch of the run."""
        size, most, found = self.config.samples_per_step, (0, 0), 0
        for epoch in range(math.ceil(self.steps / self.per_epoch)):
            tokens = self.samples.tokens[self._order(epoch).numpy()]
            for place in range(min(self.per_epoch, self.steps - epoch * self.per_epoch)):
                own = tokens[place * size : (place + 1) * size]
                longest = int(own.max())
                # Micro-batches are filled up to the bound, which one long sample alone may pass.
                reached = max(longest, min(self.tokens_per_micro_batch, int(own.sum())))
                if (reached, longest) > most:
                    most, found = (reached, longest), epoch * self.per_epoch + place
        return found

    def measure(self, examples: Sequence[Example], times: int = 1) -> float:
        """Return the seconds per token, forward and backward, of the last of `times` runs. Keeps the random states."""
        random = devices.random_states(self.decoder.device)
        for _ in range(times):
            start = time.perf_counter()
            tokens = self._gradient(examples).tokens
            self.optimizer.forget()
            elapsed = time.perf_counter() - start
        devices.restore_random(random, self.decoder.device)
        return elapsed / tokens

    def step(self) -> StepRecord:
        """Take the next step. Raises ResourceError, and Asked; after Asked the step is as if it had never begun."""
        start = time.perf_counter()
        places = self.places(self.done)
        examples = [self.samples.examples[place] for place in places]
        found = self._gradient(examples)
        norm = self.optimizer.gradient_norm()
        rate = learning_rate(self.config, self.done, self.steps) * self.progress.learning_rate_scale
        self.between_steps = False  # an error from here to True must not save a half-made step
        if math.isfinite(found.loss) and math.isfinite(norm):
            self.optimizer.step(rate, norm)
            self.progress.skipped_in_a_row = 0
        else:
            self._skip(found, norm, places)
        self.progress.step += 1
        self.progress.samples += len(places)
        self.progress.evaluated = False
        self.between_steps = True
        targets = sum(example.targets for example in examples)
        return self._stepped(found, norm, rate, len(places), targets, time.perf_counter() - start)

    def places(self, step: int) -> list[int]:
        """Return the indices of the samples of a step: the next ones of a permutation that only (seed, epoch) gives."""
        epoch, place = divmod(step, self.per_epoch)
        size = self.config.samples_per_step
        return self._order(epoch)[place * size : (place + 1) * size].tolist()

    def _order(self, epoch: int) -> Tensor:
        # A generator of its own: what dropout draws does not change the order, and a resume needs no state for it.
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
        return torch.randperm(len(self.samples), generator=generator)

    def _gradient(self, examples: Sequence[Example]) -> _Gradient:
        """Gather the gradient of all examples, in pieces that fit into memory."""
        random = devices.random_states(self.decoder.device)  # a repeated step draws the same dropout again
        self.decoder.train()
        while True:
            try:
                return self._accumulate(examples)
            except BaseException as error:  # Asked too: a stop leaves no half gradient
                self.optimizer.forget()
                devices.restore_random(random, self.decoder.device)
                if not is_out_of_memory(error):
                    raise
            # After the `except` block: until its end the error holds the tensors of the failed step.
            give_back_memory(self.decoder.device)
            self._take_less(examples)

    def _accumulate(self, examples: Sequence[Example]) -> _Gradient:
        # Of the whole step: then the cut into micro-batches changes neither the loss nor the gradient.
        targets = sum(example.targets for example in examples)
        parts, orders, tokens = [], [], 0
        for packed in pack(examples, self.tokens_per_micro_batch):
            self.stop.look()
            batch = packed.to(self.decoder.device)
            hidden = hidden_states(self.decoder, batch)
            part = linear_cross_entropy(hidden, self.decoder.head, batch.target) / targets
            self.optimizer.backward(part)
            parts.append(part.detach())  # no item(): the host would wait for each backward pass
            orders.append(batch.order)
            tokens += len(batch.ids)
        values = torch.stack(parts).cpu()  # waits for the device once for all of them
        finite = values.isfinite().tolist()
        wrong = [i for fine, order in zip(finite, orders, strict=True) if not fine for i in order]
        return _Gradient(float(values.sum()), tokens, wrong)

    def _take_less(self, examples: Sequence[Example]) -> None:
        """Halve the micro-batches; if each has one row, recompute all layers. Raises ResourceError if neither helps."""
        layers = self.decoder.shape.layers
        if any(len(batch.order) > 1 for batch in pack(examples, self.tokens_per_micro_batch)):
            most = max(len(example.ids) for example in examples)
            # The limit may be far above what the step has: halve the smaller of both, or nothing would change.
            fewer = min(self.tokens_per_micro_batch, most * len(examples)) // 2
            self.progress.tokens_per_micro_batch = max(8, fewer)
            self.note(
                "smaller_micro_batch",
                Text(
                    f"内存不够：每次改为打包 {self.tokens_per_micro_batch} 个 token，每步的样本不变",
                    f"out of memory: {self.tokens_per_micro_batch} tokens at a time from here on,"
                    " the samples of a step stay the same",
                ),
            )
        elif self.decoder.recomputed_layers < layers and self.config.gradient_checkpointing is not False:
            self.decoder.recomputed_layers = self.progress.recomputed_layers = layers
            self.note(
                "smaller_micro_batch",
                Text(
                    "内存不够：从这里起重算激活（慢约三分之一，结果不变）",
                    "out of memory: activations are recomputed from here on (a third slower, same result)",
                ),
            )
        else:
            raise no_memory_left(self.config, max(len(example.ids) for example in examples))

    def _skip(self, found: _Gradient, norm: float, places: Sequence[int]) -> None:
        """Make no update. A too large loss scale of fp16 is normal; any other non-finite number is reported."""
        expected = math.isfinite(found.loss) and self.optimizer.may_overflow
        self.optimizer.skip()
        if expected:
            return
        self.progress.skipped_in_a_row += 1
        rows = sorted({self.samples.row(places[i]) for i in found.wrong or range(len(places))})
        named = ", ".join(map(str, rows[:MOST_ROWS_NAMED])) + (" …" if len(rows) > MOST_ROWS_NAMED else "")
        what = Text("损失", "loss") if not math.isfinite(found.loss) else Text("梯度", "gradient")
        step = self.done + 1
        self.note(
            "skipped",
            Text(
                f"第 {step} 步的{what.zh}不是有限的数，这一步没有更新；用到的数据是第 {named} 条",
                f"step {step}: the {what.en} is not finite, so nothing was updated; rows of the dataset: {named}",
            ),
        )

    def evaluate(self, heldout: Samples, tell: Callable[[int], None]) -> Losses | None:
        """Return the losses of the held-out samples, None if there are none; `tell` gets the samples done so far.

        Raises Asked and ResourceError.
        """
        start, done = time.perf_counter(), 0

        def advance(more: int) -> None:
            nonlocal done
            done += more
            self.stop.look()
            tell(done)

        while len(heldout):
            try:
                found = losses(self.decoder, heldout.examples, self.tokens_per_evaluation, advance)
                self.evaluation_s = time.perf_counter() - start
                return found
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            give_back_memory(self.decoder.device)
            done, longest = 0, int(heldout.tokens.max())
            if self.tokens_per_evaluation <= longest:
                raise no_memory_left(self.config, longest)
            self.tokens_per_evaluation = max(longest, self.tokens_per_evaluation // 2)
        return None

    def note_best(self, loss: float | None) -> bool:
        """Record the held-out loss after this step; return True if it is the best, or if nothing is held out."""
        best = self.progress.best_loss
        usable = self.done > 0 and (loss is None or math.isfinite(loss))  # step 0 is the base
        better = usable and (loss is None or self.progress.best_step == 0 or best is None or loss < best)
        if better:
            self.progress.best_step, self.progress.best_loss = self.done, loss
        return better

    def files(self, base_name: str, trained_on: Mapping[str, Any]) -> dict[str, bytes]:
        """Return the files of a checkpoint, {name: content}. Raises DivergedError if a number is not finite."""
        tensors = {**self.optimizer.state(), **devices.random_states(self.decoder.device)}
        if not all(bool(t.isfinite().all()) for t in (self.adapter.flat, *tensors.values())):
            raise DivergedError(
                f"第 {self.done} 步的权重不再是有限的数，没有保存；请调小 learning_rate 重新训练",
                f"the weights after step {self.done} are not finite and were not saved;"
                " train again with a smaller learning_rate",
            )
        state = {
            **asdict(self.progress),
            "asked": self._asked,
            "place": str(DevicePlace(self.decoder.device, self.decoder.dtype)),
            "machine": machine(self.decoder.device),
            "trained_on": trained_on,
        }
        return {
            **adapter_files(self.adapter, self.config.lora_alpha, self.config.use_rslora, base_name),
            TENSORS: save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}),
            STATE: (json.dumps(state, indent=2, ensure_ascii=False) + "\n").encode(),
        }

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore the state of the trainer that wrote the checkpoint."""
        state = state_of(checkpoint)
        self.between_steps = False  # an error before True must not save a mixed state
        self.progress = TrainingProgress(**{key: state[key] for key in asdict(TrainingProgress())})
        self._fit_here(state)
        masters = load(checkpoint.read("adapter_model.safetensors"))
        for name, master in self.adapter.masters.items():
            master.copy_(masters[PEFT_PREFIX + name])
        tensors: dict[str, Tensor] = load(checkpoint.read(TENSORS))
        self.optimizer.restore(tensors)  # after the masters: it also refreshes the layers' copies of them
        devices.restore_random(tensors, self.decoder.device)
        self.history = [stepped for stepped in self.history if stepped.step <= self.done]  # for a rollback
        self.between_steps = True

    def _fit_here(self, state: Mapping[str, Any]) -> None:
        """Cut the steps as this machine needs it. The same machine keeps its cut, so that it comes to the same bits."""
        progress, (tokens, layers) = self.progress, self._plan
        if (state["asked"], state.get("machine")) == (self._asked, machine(self.decoder.device)):
            # What running out of memory has changed stays too.
            tokens = min(tokens, progress.tokens_per_micro_batch)
            layers = max(layers, progress.recomputed_layers)
        progress.tokens_per_micro_batch, progress.recomputed_layers = tokens, layers
        self.decoder.recomputed_layers = layers

    @property
    def step_s(self) -> float:
        """Median seconds of the last 20 steps; 0 before the first."""
        recent = [stepped.step_s for stepped in self.history[-20:]]
        return statistics.median(recent) if recent else 0.0

    @property
    def training_s(self) -> float:
        """Seconds of all steps together."""
        return sum(stepped.step_s for stepped in self.history)

    def result(self, run: Path) -> TrainingResult:
        """Return the figures of the run; `train_loss` is the mean over the last epoch."""
        steady = self.history[1:] or self.history  # the first step also makes kernels
        last = [s for s in self.history[-self.per_epoch :] if s.loss is not None]
        return TrainingResult(
            run=str(run),
            steps=self.done,
            samples=self.progress.samples,
            train_loss=sum((s.loss or 0.0) * s.targets for s in last) / max(1, sum(s.targets for s in last)),
            heldout_loss=self.progress.best_loss,
            samples_per_s=sum(s.samples for s in steady) / max(1e-9, sum(s.step_s for s in steady)),
            peak_memory_gb=self.memory.peak_bytes() / 1e9,
            trainable_parameters=self.adapter.flat.numel(),
        )

    def _stepped(
        self, found: _Gradient, norm: float, rate: float, samples: int, targets: int, elapsed: float
    ) -> StepRecord:
        recent = [s.step_s for s in self.history[-20:]] + [elapsed]
        evaluations = math.ceil((self.steps - self.done) / self.per_epoch)
        stepped = StepRecord(
            step=self.done,
            steps=self.steps,
            epoch=self.epoch,
            loss=_finite(found.loss),
            grad_norm=_finite(norm),
            learning_rate=rate,
            samples=samples,
            tokens=found.tokens,
            targets=targets,
            step_s=elapsed,
            samples_per_s=samples / elapsed,
            remaining_s=statistics.mean(recent) * (self.steps - self.done) + self.evaluation_s * evaluations,
            memory_gb=self.memory.peak_bytes() / 1e9,
        )
        self._watch_for_spikes(stepped)  # before the append: the median is of the steps before
        self.history.append(stepped)
        return stepped

    def _watch_for_spikes(self, stepped: StepRecord) -> None:
        before = [s.loss for s in self.history[-50:] if s.loss is not None]
        if stepped.loss is None or len(before) < 10 or stepped.loss <= SPIKE * statistics.median(before):
            return
        self.note(
            "spike",
            Text(
                f"第 {stepped.step} 步的损失突然升到 {stepped.loss:.3f}",
                f"step {stepped.step}: the loss leapt to {stepped.loss:.3f}",
            ),
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
