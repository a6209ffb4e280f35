"""Which measure by a reader puts texts of known order right? Tales and what was made of them, and stories of models.

    python benchmarks/sense.py --reader qwen2.5-0.5b --tales 12
    python benchmarks/sense.py --reader qwen2.5-1.5b --tales 12 --only surprise

Of each tale of `fairytale.heldout`, from the most sense to the least; the loop stands outside of this order:

    original    as it was written
    names       from its middle on the names of two of its characters, in sense.json, change places
    shuffled    its sentences in another order
    words       30 % of all four characters in a row change places two by two
    loop        its first half, then the last three sentences of it four times

sense.json also holds stories of models to the first wishes. Every measure is turned so that more is better:

    plain       - mean surprise per token, in nats; with every repetition and the end of the turn
    surprise    the same without what the text has said before, as `tonghua eval` measures it
    explained   surprise of the sentences, each after the wish alone, minus that in their places; per token
    share       the same, as a share of the surprise after the wish alone
    both        surprise + explained
    order       surprise of the sentences in another order minus that in their own; per token (the mean of --shuffles)
"""

import argparse
import json
import random
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import report

from tonghua.data.names import dataset_path
from tonghua.evaluation.losses import losses
from tonghua.evaluation.reader import Reader, open_reader, sentences
from tonghua.models.store import find
from tonghua.prompt.conversation import JOIN, Conversation, Message
from tonghua.system.device import choose_place

LEVELS = ("original", "names", "shuffled", "words")
MEASURES = ("plain", "surprise", "explained", "share", "both", "order")
_FOUR = re.compile("[\u4e00-\u9fff]{4}")
_END = re.compile("[。！？]")

Texts = dict[str, list[tuple[str, str]]]
"""kind: [(wish, text), …]"""
Scores = dict[str, list[float]]
"""measure: a score of each text"""


def shuffled(text: str, seed: int) -> str:
    """The sentences in another order, if there are two different ones."""
    own = list(sentences(text))
    order = list(range(len(own)))
    random_ = random.Random(seed)  # noqa: S311
    for _ in range(20):
        random_.shuffle(order)
        if order != sorted(order):
            break
    return "".join(own[i] for i in order)


def names_swapped(text: str, one: str, other: str) -> str:
    half = len(text) // 2
    end = next((match.end() for match in _END.finditer(text) if match.end() >= half), half)
    return text[:end] + text[end:].replace(one, "\0").replace(other, one).replace("\0", other)


def words_swapped(text: str, seed: int) -> str:
    random_ = random.Random(seed)  # noqa: S311
    return _FOUR.sub(lambda found: found[0][2:] + found[0][:2] if random_.random() < 0.3 else found[0], text)


def looped(text: str) -> str:
    half = text[: len(text) // 2]
    return half + "".join(list(sentences(half))[-3:]) * 4


def tales(count: int, names: Sequence[Sequence[str]]) -> Texts:
    """So many tales, each in all its forms."""
    rows = json.loads(dataset_path("fairytale.heldout").read_text(encoding="utf-8"))[:count]
    made: Texts = {kind: [] for kind in (*LEVELS, "loop")}
    for seed, (row, pair) in enumerate(zip(rows, names, strict=False)):
        wish = JOIN.join(filter(None, (row["instruction"], row["input"])))
        tale = row["output"]
        forms = (tale, names_swapped(tale, *pair), shuffled(tale, seed), words_swapped(tale, seed), looped(tale))
        for kind, text in zip(made, forms, strict=True):
            made[kind].append((wish, text))
    return made


def scores(reader: Reader, texts: Sequence[tuple[str, str]], only: Sequence[str], shuffles: int) -> Scores:
    """The measures of each text; a text without a word has none, and is left out."""
    texts = [(wish, text) for wish, text in texts if text.strip()]
    read = reader.read(texts)
    found: Scores = {"surprise": [-each.per_token for each in read]}
    if "plain" in only:
        talks = [Conversation((Message("user", wish), Message("assistant", text))) for wish, text in texts]
        whole = losses(reader.decoder, reader.renderer.examples(talks, None))
        found["plain"] = [-nats / targets for nats, targets in zip(whole.nll, whole.targets, strict=True)]
    if {"explained", "share", "both"} & set(only):
        alone = [alone_nats(reader, wish, text) for wish, text in texts]
        found["explained"] = [(a - each.nats) / each.tokens for a, each in zip(alone, read, strict=True)]
        found["share"] = [1 - each.nats / a for a, each in zip(alone, read, strict=True)]
        found["both"] = [x + y for x, y in zip(found["surprise"], found["explained"], strict=True)]
    if "order" in only:
        other = [reader.read([(w, shuffled(text, 1001 + turn)) for w, text in texts]) for turn in range(shuffles)]
        means = [sum(each.nats for each in turns) / shuffles for turns in zip(*other, strict=True)]
        found["order"] = [(mean - each.nats) / each.tokens for mean, each in zip(means, read, strict=True)]
    return {name: found[name] for name in only}


def alone_nats(reader: Reader, wish: str, text: str) -> float:
    """The summed surprise of the different sentences of a text, each read after the wish alone."""
    different = {"".join(sentence.split()): sentence for sentence in reversed(list(sentences(text)))}
    return sum(each.nats for each in reader.read([(wish, sentence) for sentence in different.values()]))


def right(better: Sequence[float], worse: Sequence[float], paired: bool) -> float:
    """The share of pairs in which the first is the better: a text and what was made of it, or any two of both."""
    pairs = zip(better, worse, strict=True) if paired else ((b, w) for b in better for w in worse)
    outcomes = [b > w for b, w in pairs]
    return sum(outcomes) / len(outcomes)


def table(
    found: dict[str, Scores], only: Sequence[str], pairs: Sequence[tuple[str, str]], paired: bool
) -> dict[str, dict[str, float]]:
    """Print and return the share of pairs in the right order, a line for each measure; `all` is their mean."""
    report.header("measure", *(f"{better} > {worse}" for better, worse in pairs))
    shares: dict[str, dict[str, float]] = {}
    for name in only:
        line = {f"{b} > {w}": right(found[b][name], found[w][name], paired) for b, w in pairs}
        shares[name] = line
        report.row(name, *(f"{share:.0%}" for share in line.values()))
    print()
    return shares


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("--reader", required=True, help="name or folder of the model that reads")
    made.add_argument("--tales", type=int, default=50, help="how many tales (default: %(default)s)")
    made.add_argument("--stories", type=int, default=12, help="how many stories of each model (default: %(default)s)")
    made.add_argument("--shuffles", type=int, default=1, help="orders of the measure `order` (default: %(default)s)")
    made.add_argument("--only", default=",".join(MEASURES), help="measures, by commas (default: %(default)s)")
    return made


def main(opened: Callable[[str], Reader] = lambda name: open_reader(find(name), choose_place())) -> None:
    options = parser().parse_args()
    only = options.only.split(",")
    held = json.loads((Path(__file__).parent / "sense.json").read_text(encoding="utf-8"))
    texts = tales(options.tales, held["names"])
    for kind, stories in held["stories"].items():
        texts[kind] = [(each["wish"], each["text"]) for each in stories[: options.stories]]
    texts["people"] = texts["original"][: options.stories]
    reader = opened(options.reader)
    found = {kind: scores(reader, each, only, options.shuffles) for kind, each in texts.items()}
    report.header("texts", "number", *only)
    means = {kind: {name: sum(s[name]) / len(s[name]) for name in only} for kind, s in found.items()}
    for kind, line in means.items():
        report.row(kind, len(found[kind][only[0]]), *(f"{mean:.3f}" for mean in line.values()))
    print()
    within = table(found, only, [*combinations(LEVELS, 2), ("original", "loop")], paired=True)
    across = table(found, only, list(combinations(("people", *held["stories"]), 2)), paired=False)
    size = {"reader": reader.name, "tales": len(texts["original"]), "shuffles": options.shuffles}
    report.finish("sense", {**size, "means": means, "within": within, "across": across})


if __name__ == "__main__":
    main()
