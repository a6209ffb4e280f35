"""Compare a run with its base model on held-out rows.

rows of --data, or those held out in training  ->  loss of both, with an interval
the first of their prompts                     ->  answers of both, if requested
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..config.schema import Sampling
from ..data.samples.prepare import prepare, require_usable, split
from ..data.samples.samples import Samples
from ..errors import UsageError
from ..events import Counting
from ..inference.teller import Teller
from ..prompt.conversation import Conversation
from ..text import Text
from .compare import compare_answers, compare_losses

Tell = Callable[[Counting], None]


def evaluate_teller(teller: Teller, data: str | None, generate: int, sampling: Sampling, tell: Tell) -> dict[str, Any]:
    """Return the comparison of base and tuned on `data`, or on the held-out rows if it is None.

    Both also answer the questions of the first `generate` rows. Raises what `held_out` raises, and DataError if all
    rows ask the same.
    """
    samples = held_out(teller, data)
    # Only the first part of a row asks what the row asks; the others say "go on".
    return compared(teller, samples, samples.first_parts.conversations[:generate], sampling, tell)


def held_out(teller: Teller, data: str | None = None) -> Samples:
    """Return the rows of `data`, else those that the training held out. Raises UsageError if it held out none."""
    config = teller.run.config
    source = data or config.eval_dataset or config.dataset
    if source is None:  # an adapter made elsewhere
        raise _nothing_held_out()
    ready = prepare(config, teller.base, teller.engine.renderer, source)
    require_usable(ready, str(source), config.skip_bad_rows)
    if data is not None or config.eval_dataset is not None:
        return ready.samples
    samples = split(ready, config.val_size, config.seed)[1]
    if not len(samples):
        raise _nothing_held_out()
    return samples


def _nothing_held_out() -> UsageError:
    return UsageError(
        "训练时没有留出验证数据；请用 --data 给出没训练过的数据",
        "nothing was held out in training; give rows with --data",
    )


def compared(
    teller: Teller, samples: Samples, asked: Sequence[Conversation], sampling: Sampling, tell: Tell
) -> dict[str, Any]:
    """Return the comparison of the losses of the samples, and of the answers to the last questions of `asked`."""
    engine, adapter = teller.engine, teller.adapter
    advance = _counting(2 * len(samples), Text("计算损失", "measuring the loss"), tell)
    found = compare_losses(engine, adapter, samples, advance)
    found["generated"] = {}
    if asked:
        advance = _counting(2 * len(asked), Text("生成回答", "writing answers"), tell)
        found["generated"], found["answers"] = compare_answers(engine, adapter, asked, sampling, advance)
    return found


def _counting(total: int, what: Text, tell: Tell) -> Callable[[int], None]:
    """Return a callback that takes the number of newly done parts and reports the total done so far."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        tell(Counting(what, done, total))

    return advance
