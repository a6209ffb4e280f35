"""Rows of about 640 tokens, for measuring only: deterministic, of the length of a short children's story.

    python benchmarks/long_rows.py long.json

The sentences are drawn from a small grammar; they are there to be counted, not to be learned.
"""

import argparse
import json
import random
import statistics
from pathlib import Path

import report

WHO = ["小刺猬", "老乌龟", "一只云雀", "磨坊的猫", "铁皮水壶", "半个月亮", "卖伞的爷爷", "会发光的石头"]
WHERE = ["河湾的芦苇丛里", "屋顶的烟囱旁", "山谷尽头的小站", "结了冰的湖面上", "外婆的阁楼", "集市最安静的角落"]
WHAT = [
    "丢了一把很小的钥匙",
    "听见风在哼一支没唱完的歌",
    "捡到一封没有写地址的信",
    "想给雪人找一条围巾",
    "数错了星星的数目",
]
SAID = ["别着急，我们一起想办法", "天黑之前一定能找到", "你先听，再说话", "这件事要慢慢做才好", "谢谢你愿意等我"]
THEN = ["走过三座桥", "敲了七扇门", "在灯下坐了很久", "把口袋翻了又翻", "顺着脚印往回走", "给路边的花让了路"]


def story(random_: random.Random, characters: int) -> str:
    """Sentences until there are so many characters, and a closing one."""
    hero, place = random_.choice(WHO), random_.choice(WHERE)
    text = f"从前，{hero}住在{place}。"
    while len(text) < characters:
        friend = random_.choice(WHO)
        text += f"有一天，{hero}{random_.choice(WHAT)}，便{random_.choice(THEN)}，又{random_.choice(THEN)}。"
        text += f"{friend}说：“{random_.choice(SAID)}。”{hero}点点头，{random_.choice(THEN)}。"
    return text + "从那以后，大家都记得，帮别人的时候，自己的路也亮了。"


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("out", type=Path, help="the file to write")
    made.add_argument("--rows", type=int, default=256, help="how many (default: %(default)s)")
    return made


def main() -> None:
    options = parser().parse_args()
    random_ = random.Random(7)  # noqa: S311
    rows = [
        {
            "instruction": f"请写一个关于{random_.choice(WHO)}的童话，要有一个道理。",
            "input": "",
            "output": story(random_, random_.randint(560, 860)),
        }
        for _ in range(options.rows)
    ]
    options.out.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    lengths = [len(row["output"]) for row in rows]
    mean = statistics.mean(lengths)
    report.header("rows", "characters of an answer", "shortest", "longest")
    report.row(len(rows), f"{mean:.0f}", min(lengths), max(lengths))
    report.finish("long_rows", {"rows": len(rows), "characters": [min(lengths), mean, max(lengths)]})


if __name__ == "__main__":
    main()
