"""What a run that cannot be lost costs: checkpoints, log, rehearsal, watch and diary beside the steps themselves.

    python benchmarks/overhead.py --model qwen2.5-0.5b --data ROWS [--recipe zhenhuan] [key=value …]

One run at the settings given, everything else at its default. Prints a table, in seconds and as a share of the time
that all steps took. The last line is all that is neither a step nor an evaluation, so that nothing can hide.
"""

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from tonghua.api import train
from tonghua.runs.book import Book
from tonghua.training import train as training
from tonghua.training.diary import Diary
from tonghua.training.trainer import Trainer

PARTS: tuple[tuple[str, Any, str], ...] = (
    ("from the rehearsal to the end", training, "_learn"),
    ("steps", Trainer, "step"),
    ("evaluations", Trainer, "evaluate"),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", default="zhenhuan")
    parser.add_argument("settings", nargs="*", help="key=value for the run")
    options = parser.parse_intermixed_args()
    spent: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for name, owner, method in PARTS:
        setattr(owner, method, timed(spent, times, name, getattr(owner, method)))
    with tempfile.TemporaryDirectory() as folder:
        given = dict(setting.split("=", 1) for setting in options.settings)
        train(options.recipe, model=options.model, dataset=options.data, output_dir=folder, quiet=True, **given)
    steps = spent["steps"]
    print("| | times | s | share of the steps' time |\n|---|---|---|---|")
    for name, _, _ in PARTS:
        print(f"| {name} | {times[name]} | {spent[name]:.2f} | {spent[name] / steps:.2%} |")
    cost = spent[PARTS[0][0]] - steps - spent["evaluations"]
    print(f"| neither steps nor evaluations | | {cost:.2f} | {cost / steps:.2%} |")


if __name__ == "__main__":
    main()
