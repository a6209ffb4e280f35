"""Do the stories of `tiny`, and those of the demo, do what their wishes ask? Read off the text, for 50 wishes of each.

    tonghua train demo
    python benchmarks/stories.py runs/demo-20261201-120000 --out benchmarks/answers

wishes of all plots, each with a hero and a lesson     ->  stories of the base
held-out wishes of dataset/bedtime                     ->  stories of base and tuned, and the marks of the night lamp

`make_tiny/exam.py` says what each mark is, and what it cannot see. `--out` writes the first stories of each for people.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import report

import tonghua
from make_tiny import bedtime, exam
from make_tiny.grammar import PLOTS
from make_tiny.story import Teller as Characters
from make_tiny.wishes import WISH, parts
from tonghua.data.names import dataset_path
from tonghua.data.sentences import without_space
from tonghua.evaluation.measures import rep_n
from tonghua.inference.teller import Teller
from tonghua.prompt.conversation import Message

AT_A_TIME = 10
SEED = 30_000_000
SHOWN = 20


@dataclass(frozen=True)
class Told:
    wish: str
    story: str
    stopped: bool


def wishes(count: int) -> Iterator[str]:
    """Yield wishes with a hero and a lesson, of all plots in turn."""
    chance = random.Random(SEED)  # noqa: S311 - wishes for a measurement
    for number in range(count):
        plot = PLOTS[number * 29 % len(PLOTS)]
        yield WISH.asked(chance, "谁和道理", parts(Characters(chance), plot.lesson))


def stories(teller: Teller, asked: Sequence[str], tuned: bool) -> list[Told]:
    sampling = teller.run.config.sampling.model_copy(update={"seed": 0})
    told: dict[int, Told] = {}
    for start in range(0, len(asked), AT_A_TIME):
        prompts = [[Message("user", wish)] for wish in asked[start : start + AT_A_TIME]]
        for row, text, stop in teller.engine.answers(prompts, sampling, tuned=tuned):
            told[start + row] = Told(asked[start + row], text, stop == "stop")
    return [told[number] for number in sorted(told)]


def figures(told: Sequence[Told], lit: bool) -> dict[str, float]:
    """The share of stories with each mark. `lit`: the paragraphs of the lamp are taken out before the exam."""
    marks = [exam.examine(one.wish, bedtime.unlit(one.story) if lit else one.story, one.stopped) for one in told]
    lamp = [bedtime.marks(one.story) for one in told]
    asked = [mark.lesson for mark in marks if mark.lesson is not None]
    count = len(told)
    return {
        "hero": sum(mark.hero for mark in marks) / count,
        "one_name": sum(mark.one_name for mark in marks) / count,
        "lesson": sum(asked) / max(1, len(asked)),
        "ended": sum(mark.ended for mark in marks) / count,
        "all": sum(mark.hero and mark.one_name and mark.lesson is not False and mark.ended for mark in marks) / count,
        "lamp": sum(all(each) for each in lamp) / count,
        "rep4": sum(rep_n(one.story) for one in told) / count,
        "chars": sum(len(without_space(one.story)) for one in told) / count,
    }


def write(told: Sequence[Told], file: Path, heading: str) -> None:
    parts = [f"# {heading}\n"]
    for number, one in enumerate(told[:SHOWN], 1):
        end = "" if one.stopped else "\n\n(cut off)"
        parts.append(f"\n## {number}. {one.wish.replace(chr(10), ' ')}\n\n{one.story}{end}\n")
    file.write_text("".join(parts), encoding="utf-8", newline="\n")


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("run", help="folder of a run of the recipe `demo`")
    made.add_argument("--wishes", type=int, default=50, help="wishes of each kind (default: %(default)s)")
    made.add_argument("--out", type=Path, help="folder for the first stories of each")
    return made


def main() -> None:
    options = parser().parse_args()
    teller = tonghua.load(options.run)
    own = [*wishes(options.wishes)]
    rows = report.read_rows(dataset_path("bedtime.heldout"), 1)[: options.wishes]
    held_out = [row["instruction"] for row in rows]
    told = {
        "tiny, wishes of all plots": stories(teller, own, tuned=False),
        "before, bedtime": stories(teller, held_out, tuned=False),
        "after, bedtime": stories(teller, held_out, tuned=True),
    }
    found = {name: figures(some, lit=name.startswith("after")) for name, some in told.items()}
    report.header("stories", *next(iter(found.values())))
    for name, some in found.items():
        report.row(name, *(f"{value:.2f}" for value in some.values()))
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        write(told["tiny, wishes of all plots"], options.out / "tiny.md", "Stories of `tiny`")
        write(told["after, bedtime"], options.out / "demo.md", "Stories of `tiny` after the demo's training")
    report.finish("stories", {"wishes": len(own), "stories": found})


if __name__ == "__main__":
    main()
