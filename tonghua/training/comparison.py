"""The comparison of base and tuned at the end of a run: as much of it as a small share of the training time allows.

    loss         of the evaluations before the first step and after the best one: free
    knowledge    one pass of both over about a thousand tokens
    answers      whole ones of both to the first prompts
    sense        left to `tonghua eval`, as whatever does not fit into the share

The training is over and saved: nothing here changes it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from ..data.samples.samples import Samples
from ..errors import UserError
from ..evaluation.bootstrap import not_measured
from ..evaluation.compare import compare_answers, compare_losses, loss_difference
from ..evaluation.evaluate import NO_ANSWERS, settled
from ..evaluation.knowledge import compare_knowledge, knowledge_examples
from ..evaluation.losses import Losses
from ..inference.teller import Teller
from ..inference.torch_engine import TorchEngine
from ..models.peft import load_adapter
from ..models.scan_adapter import scan_adapter
from ..prompt.conversation import Conversation, Message
from ..runs.folder import open_run
from ..runs.verdict import NAMES
from ..system.memory import give_back_memory, is_out_of_memory
from ..system.signals import Asked
from ..text import Text
from .setup import ReadyRun
from .trainer import Trainer

SHARE = 0.1
"""The comparison takes at most this share of the time of the steps."""

FORWARD = 0.5
"""A forward pass takes less than this share of a step on as many tokens (about a third)."""

PROMPTS_ASKED = 3
"""Prompts that both answer."""


_LATER = not_measured(Text("训练结束时没有量；tonghua eval 会量", "not at the end of training; tonghua eval does"))


class _Late(Exception):
    """The share of the time is used up."""


def compare_at_end(
    ready: ReadyRun,
    trainer: Trainer,
    run: Path,
    measured: Mapping[int, Losses],
    token_s: float,
    look: Callable[[], None],
) -> dict[str, Any] | None:
    """Return what `settled` returns, or None if nothing could be measured.

    measured  held-out losses of this run, by step; token_s: see `Diary`; `look` raises Asked after a signal, which ends
    the comparison and keeps what it has. Loads the run's best adapter into the model.
    """
    comparison = _Comparison(ready, trainer, run, token_s, look)
    found = comparison.of_training(measured)
    try:
        comparison.fill(found)
    except (Asked, _Late, UserError):
        pass  # the run is complete without it
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    give_back_memory(trainer.decoder.device)  # not above: the error holds the tensors until its block ends
    return settled(found) if any("why" not in found[name] for name in NAMES) else None


class _Comparison:
    """What is measured, and the time that is left for it."""

    def __init__(self, ready: ReadyRun, trainer: Trainer, run: Path, token_s: float, look: Callable[[], None]):
        self._ready, self._trainer, self._token_s, self._look = ready, trainer, token_s, look
        self._run = run
        self._end = perf_counter() + SHARE * trainer.training_s

    def of_training(self, measured: Mapping[int, Losses]) -> dict[str, Any]:
        """Return a comparison with the loss alone, if the evaluations during training give it."""
        found = {**NO_ANSWERS, "data": None, **dict.fromkeys(NAMES, _LATER)}
        # A run that began at an adapter measured that one before its first step, and not the base.
        base = measured.get(0) if self._ready.config.adapter is None else None
        best = self._trainer.progress.best_step
        if not len(self._heldout):
            found["loss"] = not_measured(Text("没有留出验证数据", "nothing was held out"))
        elif base is not None and best in measured and best:
            renderer = self._ready.rows.ready.renderer
            found["loss"] = loss_difference(renderer, self._heldout, base, measured[best])
        return found

    def fill(self, found: dict[str, Any]) -> None:
        """Add to it what there is time for. Raises _Late if it passed meanwhile, and what `look` raises."""
        teller: Teller | None = None
        if self._affords(2 * sum(len(example.ids) for example in knowledge_examples(self._ready.rows.ready.renderer))):
            teller = self._opened()
            found["knowledge"] = compare_knowledge(teller.torch)
        heldout = self._heldout
        if found["loss"] is _LATER and self._affords(2 * int(heldout.tokens.sum())):
            teller = teller or self._opened()
            found["loss"] = compare_losses(teller.torch, heldout, lambda done: self._look())
        if self._expected_answers_s() < self._left:
            found |= self._answers(teller or self._opened())

    @property
    def _heldout(self) -> Samples:
        return self._ready.measured

    @property
    def _left(self) -> float:
        """Seconds left."""
        return self._end - perf_counter()

    def _affords(self, tokens: int) -> bool:
        """True if there is time to read so many tokens, by the time of the steps."""
        self._look()
        read = sum(stepped.tokens for stepped in self._trainer.history)
        return bool(read) and FORWARD * self._trainer.training_s / read * tokens < self._left

    def _opened(self) -> Teller:
        """Return the model with the run's best adapter, which may not be the last one."""
        run, decoder = open_run(self._run, self._run.parent), self._trainer.decoder
        adapter = load_adapter(scan_adapter(run.adapter), decoder)
        engine = TorchEngine(decoder, self._ready.rows.ready.renderer, run.contract, adapter)
        return Teller(run, self._ready.rows.ready.model, engine)

    def _expected_answers_s(self) -> float:
        """Return the seconds in which both write answers as long as those of the rows; infinite if not known."""
        return 2 * self._token_s * float(self._ready.rows.asked.row_targets.mean()) if self._token_s else float("inf")

    def _answers(self, teller: Teller) -> dict[str, Any]:
        """Return what `compare_answers` returns. Raises _Late if there is no time left."""
        prompts = self._ready.prompts[:PROMPTS_ASKED]
        asked = [Conversation((*messages, Message("assistant", ""))) for messages in prompts]
        sampling = self._ready.config.sampling

        def look() -> None:
            self._look()
            if self._left < 0:
                raise _Late

        return compare_answers(teller.engine, asked, sampling, look=look)
