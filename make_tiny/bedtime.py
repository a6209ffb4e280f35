"""Make `dataset/bedtime`: short tales of the plots, each told by a night lamp that a child would know again.

    python -m make_tiny.bedtime [--out dataset]      bedtime.json, 100 rows; bedtime.heldout.json, 50 others

    啪嗒，小夜灯亮了。…       it greets the listener, whom it calls 小耳朵
    从前，小河边住着…         the beginning of the tale, in words that `tiny` knows
    小耳朵，你猜，…           it asks the listener
    后来，…                  the rest of the tale
    …啪嗒，小夜灯关了。晚安。   it bids good night

The words of the lamp are in `make_tiny/data/night_lamp.txt`; `tiny` has read none of them.
"""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from make_tiny.grammar import PLOTS, told
from make_tiny.plot_files import Plot
from make_tiny.story import Teller
from make_tiny.tables import classes
from make_tiny.wishes import wish

Row = dict[str, str]

LEARNED, HELD_OUT = 100, 50
SEED = 20_000_000  # far from those of the training text
LONGEST_CHARACTERS = 430  # of a tale, so that a child is not asleep before its end
LAMP = classes("night_lamp")
TRIES = 60
ON, ASKS, OFF = "啪嗒，小夜灯亮了。", "小耳朵，你猜，", "啪嗒，小夜灯关了。晚安。"
"""What every greeting begins with, what every question begins with, what every good night ends with."""


def rows() -> Iterator[Row]:
    """Yield rows without end, the same at each call; no two have the same tale."""
    chance = random.Random(SEED)
    plots = [plot for plot in PLOTS if _tale(plot, random.Random(SEED))]
    while True:
        chance.shuffle(plots)
        for plot in plots:
            if found := _tale(plot, chance):
                yield found


def _tale(plot: Plot, chance: random.Random) -> Row | None:
    """Return a row of this plot, or None if none of some tries is short enough and has a wish that names its hero."""
    for _ in range(TRIES):
        teller = Teller(chance, "short")
        text, asked = told(plot, teller), wish(teller, plot.lesson)
        if len(text) <= LONGEST_CHARACTERS and teller.hero.kind in asked:
            return {"instruction": asked, "input": "", "output": lit(text, teller)}
    return None


def lit(text: str, teller: Teller) -> str:
    """Return the tale as the night lamp tells it: with its greeting, its question and its good night."""
    beginning, *story = text.split("\n\n")
    said = {place: teller(*texts).replace("{主角的全名}", teller.hero.full) for place, texts in LAMP.items()}
    return "\n\n".join([said["亮灯"], beginning, said["猜一猜"], *story, said["关灯"]])


def marks(text: str) -> tuple[bool, bool, bool]:
    """Return whether a text has the marks of the lamp: its greeting, its question, its good night."""
    return text.startswith(ON), ASKS in text, text.rstrip().endswith(OFF)


def unlit(text: str) -> str:
    """Return the tale without the paragraphs in which the lamp speaks."""
    return "\n\n".join(part for part in text.split("\n\n") if not any(mark in part for mark in (ON, ASKS, OFF)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("dataset"))
    folder = parser.parse_args().out
    endless = rows()
    for name, count in (("bedtime", LEARNED), ("bedtime.heldout", HELD_OUT)):
        found = [next(endless) for _ in range(count)]
        text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
