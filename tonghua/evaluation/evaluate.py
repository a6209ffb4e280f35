"""Compare a run with its base: loss, knowledge, and answers of both; then the verdict, kept in the run folder.

    rows of --data, or those held out in training  ->  loss of both, with an interval      ─┐
    general questions and texts that come along    ->  the same: what it still knows        ├─> evaluation.json,
    the first prompts of the rows                  ->  answers of both: do they end well?   │   report.html
    these answers, read by another model           ->  do they make sense?                 ─┘

What cannot be measured says why, and the rest is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ..config.schema import Sampling
from ..data.samples.prepare import prepare, require_usable, split
from ..data.samples.samples import Samples
from ..errors import ResourceError, UsageError, UserError
from ..events import Counting
from ..inference.teller import Teller
from ..prompt.conversation import Conversation
from ..runs.folder import Run, run_of
from ..runs.pages import write_evaluation, write_pages
from ..runs.verdict import judge
from ..text import Text
from .bootstrap import not_measured
from .choice import read_answers
from .compare import compare_answers, compare_losses
from .knowledge import compare_knowledge

Tell = Callable[[Counting], None]

NO_ANSWERS: Mapping[str, Any] = {
    **{name: not_measured(Text("没有让它们写回答", "no answers were written")) for name in ("sense", "endings")},
    "generated": {},
    "answers": [],
}


def evaluate_teller(teller: Teller, data: str | None, generate: int, sampling: Sampling, tell: Tell) -> dict[str, Any]:
    """Return the comparison of base and tuned on `data`, or on the held-out rows if it is None.

    Both also answer the questions of the first `generate` rows. Raises what `held_out` raises.
    """
    samples = held_out(teller, data)
    # Only the first part of a row asks what the row asks; the others say "go on".
    return compared(teller, samples, samples.first_parts.conversations[:generate], sampling, tell, data)


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
    teller: Teller,
    samples: Samples,
    asked: Sequence[Conversation],
    sampling: Sampling,
    tell: Tell,
    data: str | None = None,
) -> dict[str, Any]:
    """Return what `settled` returns, on these samples and on the answers to the last questions of `asked`.

    Writes it and the pages into the run folder.
    """
    advance = counting(2 * len(samples), Text("计算损失", "measuring the loss"), tell)
    found: dict[str, Any] = {"data": data, "loss": compare_losses(teller.torch, samples, advance), **NO_ANSWERS}
    found["knowledge"] = knowledge_kept(teller)
    if asked:
        advance = counting(2 * len(asked), Text("生成回答", "writing answers"), tell)
        found |= compare_answers(teller.engine, asked, sampling, advance)
        # What people answered to such questions; a wish that stands in no row has none.
        rows = [(c.messages[-2].content, c.messages[-1].content) for c in asked if c.messages[-1].content]
        advance = counting(2 * len(asked) + len(rows), Text("另一个模型读这些回答", "another model reads them"), tell)
        found["sense"] = read_answers(teller, found["answers"], rows, advance)
    found = settled(found)
    _keep(teller.run, found)
    return found


def knowledge_kept(teller: Teller) -> dict[str, Any]:
    """Return what `compare_knowledge` returns, or why the model's template takes no such question."""
    try:
        return compare_knowledge(teller.torch)
    except UserError as error:
        return not_measured(error.text)


def settled(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the comparison with its verdict.

    {"loss", "sense", "endings", "knowledge": as in `bootstrap`, "data", "generated", "answers", "verdict"}
    """
    return {**found, "verdict": judge(found).as_json()}


def _keep(run: Run, found: Mapping[str, Any]) -> None:
    """Write evaluation.json and report.html into the folder of the run whose adapter this is."""
    # A checkpoint is not the adapter that the page tells of, and an adapter made elsewhere has no page.
    if run.adapter == run.folder and run_of(run.folder) is not None:
        with suppress(ResourceError):  # somebody else's folder, or a full disk: the figures are still shown
            write_evaluation(run.folder, found)
            write_pages(run.folder)


def counting(total: int, what: Text, tell: Tell) -> Callable[[int], None]:
    """Return a callback that takes the number of newly done parts and reports the total done so far."""
    done = 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        tell(Counting(what, done, total))

    return advance
