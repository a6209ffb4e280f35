"""What a run that cannot be lost costs: checkpoints, log, rehearsal, watch and diary beside the steps themselves.

    python benchmarks/overhead.py --model qwen2.5-0.5b --data zhenhuan.json max_steps=60

One run at the settings given, everything else at its default: in seconds, and as a share of the time that all steps
took. The last line is all that is neither a step nor an evaluation, so that nothing can hide.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import report

from tonghua import train
from tonghua.runs.book import Book
from tonghua.training import train as training
from tonghua.training.diary import Diary
from tonghua.training.trainer import Trainer

WHOLE, STEPS, EVALUATIONS = "from the rehearsal to the end", "steps", "evaluations"
PARTS: tuple[tuple[str, Any, str], ...] = (
    (WHOLE, training, "_learn"),
    (STEPS, Trainer, "step"),
    (EVALUATIONS, Trainer, "evaluate"),
    ("rehearsal", Trainer, "rehearse"),
    ("checkpoints", Book, "save"),
    ("their content", Trainer, "files"),
    ("log", Book, "log"),
    ("diary", Diary, "entry"),
)


def timed(spent: Counter[str], times: Counter[str], name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def around(*given: Any, **named: Any) -> Any:
        start = time.perf_counter()
        try:
            return real(*given, **named)
        finally:
            spent[name] += time.perf_counter() - start
            times[name] += 1

    return around


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("--model", required=True, help="name or folder of the model")
    made.add_argument("--data", required=True, help="rows to train on")
    made.add_argument("--recipe", default="zhenhuan", help="recipe of the run (default: %(default)s)")
    made.add_argument("settings", nargs="*", help="key=value for the run")
    return made


def main() -> None:
    options = parser().parse_intermixed_args()
    spent: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for name, owner, method in PARTS:
        setattr(owner, method, timed(spent, times, name, getattr(owner, method)))
    with tempfile.TemporaryDirectory() as folder:
        given = {"model": options.model, "dataset": options.data, "output_dir": folder}
        train(options.recipe, quiet=True, **{**given, **report.settings(options.settings)})
    steps = spent[STEPS]
    cost = spent[WHOLE] - steps - spent[EVALUATIONS]
    report.header("part", "times", "s", "share of the steps' time")
    for name, _, _ in PARTS:
        report.row(name, times[name], f"{spent[name]:.2f}", f"{spent[name] / steps:.2%}")
    report.row("neither steps nor evaluations", "", f"{cost:.2f}", f"{cost / steps:.2%}")
    report.finish("overhead", {"times": times, "seconds": spent, "cost_s": cost, "cost_share": cost / steps})


if __name__ == "__main__":
    main()
