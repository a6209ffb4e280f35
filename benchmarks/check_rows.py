"""How fast and how large the data doctor is: rows of about 200 characters, one in ten a near or an exact copy.

    python benchmarks/check_rows.py

Says what was found, the seconds, and the peak memory that the examination added.
"""

import argparse
import random
import time
from collections.abc import Iterator

import psutil
import report

from tonghua.data.checkup.quality import examine
from tonghua.prompt.conversation import Conversation, Message

COMMON = (
    "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家"
)
COPY_SHARE = 0.1


def conversations(count: int) -> Iterator[Conversation]:
    """Rows of random common characters: the hardest case, since nearly every 5-gram is a new one."""
    random_ = random.Random(7)  # noqa: S311
    earlier: list[str] = []
    for line in range(1, count + 1):
        if earlier and random_.random() < COPY_SHARE:
            answer = random_.choice(earlier)
            if random_.random() < 0.5:
                place = random_.randrange(len(answer))
                answer = answer[:place] + random_.choice(COMMON) + answer[place + 1 :]
        else:
            answer = "，".join("".join(random_.choices(COMMON, k=12)) for _ in range(14)) + "。"
            earlier.append(answer)
        question = f"请讲一个{answer[:8]}的故事"
        yield Conversation((Message("user", question), Message("assistant", answer)), line)


def examined(rows: list[Conversation]) -> tuple[dict[str, int], float, float]:
    """How often each kind was found, the seconds, and the MB that it took."""
    process = psutil.Process()
    before = peak = process.memory_info().rss

    def watched() -> Iterator[Conversation]:
        nonlocal peak
        yield from rows
        # What is kept of the rows is all there now, and is let go when the examination ends.
        peak = process.memory_info().rss

    started = time.perf_counter()
    findings = examine(watched())
    seconds = time.perf_counter() - started
    return {finding.kind: finding.count for finding in findings.found}, seconds, (peak - before) / 1e6


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("--rows", type=int, default=50_000, help="how many rows (default: %(default)s)")
    return made


def main() -> None:
    options = parser().parse_args()
    found, seconds, added_mb = examined(list(conversations(options.rows)))
    report.header("found", "rows")
    for kind, count in found.items():
        report.row(kind, count)
    print()
    report.header("rows", "s", "rows/s", "MB added")
    report.row(options.rows, f"{seconds:.2f}", f"{options.rows / seconds:.0f}", f"{added_mb:.1f}")
    report.finish("check_rows", {"rows": options.rows, "found": found, "seconds": seconds, "added_mb": added_mb})


if __name__ == "__main__":
    main()
