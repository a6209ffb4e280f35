"""The datasets that come with the project: whole, original of each other, and written as people write."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tonghua.data.checkup.quality import examine
from tonghua.data.read.dataset import read_rows
from tonghua.data.sentences import ends_complete
from tonghua.evaluation.measures import clause_length, dialogue_share, rep_n

DATASETS = Path(__file__).resolve().parent.parent / "dataset"
NAMES = ("fairytale", "daiyu", "qa")
HAN = re.compile("[\u4e00-\u9fff]")


def rows(name: str) -> list[dict[str, str]]:
    return list(json.loads((DATASETS / f"{name}.json").read_text(encoding="utf-8")))


TALES = [row["output"] for row in rows("fairytale") + rows("fairytale.heldout")]


@pytest.mark.parametrize("name", NAMES)
def test_the_doctor_finds_nothing(name: str) -> None:
    learned, held_out = (read_rows(DATASETS / f"{name}{side}.json") for side in ("", ".heldout"))
    assert not learned.problems
    assert not held_out.problems
    findings = examine(learned.kept, held_out.kept, "有系统提示词")
    assert [(finding.kind, finding.lines) for finding in findings.found] == []
    together = examine([*learned.kept, *held_out.kept], persona="有系统提示词")
    assert [(finding.kind, finding.lines) for finding in together.found] == []


def test_the_doctor_finds_only_the_refrains_of_the_lamp() -> None:
    learned, held_out = (read_rows(DATASETS / f"bedtime{side}.json") for side in ("", ".heldout"))
    assert not learned.problems and not held_out.problems
    findings = examine(learned.kept, held_out.kept, "有系统提示词")
    assert {finding.kind for finding in findings.found} == {"repeated_phrases"}


@pytest.mark.parametrize(
    ("name", "least", "held_out"), [("fairytale", 120, 50), ("daiyu", 400, 40), ("qa", 80, 15), ("bedtime", 100, 50)]
)
def test_there_are_enough(name: str, least: int, held_out: int) -> None:
    assert len(rows(name)) >= least
    assert len(rows(f"{name}.heldout")) >= held_out


def test_the_csv_holds_the_same_as_the_json() -> None:
    with (DATASETS / "daiyu.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.DictReader(file)) == rows("daiyu")


@pytest.mark.parametrize("tale", TALES, ids=lambda tale: tale[:8])
def test_each_tale_is_whole_and_is_told(tale: str) -> None:
    assert 300 <= len(HAN.findall(tale)) <= 900
    assert ends_complete(tale)
    assert dialogue_share(tale) >= 0.15
    assert rep_n(tale) < 0.15
    assert 4.5 <= clause_length(tale) <= 10
    assert tale.count("“") == tale.count("”")
    assert not re.search("告诉我们|这个故事|明白了一个道理|懂得了", tale)


def test_a_tale_in_a_loop_or_cut_off_would_be_seen() -> None:
    tale = TALES[0]
    assert rep_n(tale + tale[-120:] * 4) >= 0.15
    assert not ends_complete(tale[: len(tale) // 2].rstrip("。！？”…"))
    assert dialogue_share(tale.replace("“", "").replace("”", "")) < 0.15


def test_the_tales_have_the_rhythm_of_those_that_people_write() -> None:
    """Clauses of 6 to 10 characters, as in nine of ten human children's stories."""
    lengths = [clause_length(tale) for tale in TALES]
    assert 6 <= sum(lengths) / len(lengths) <= 10
    assert sum(length >= 5.5 for length in lengths) / len(lengths) > 0.75


def test_the_tales_differ() -> None:
    assert len({row["lesson"] for row in rows("fairytale")}) >= 30
    openings = Counter(tale[:6] for tale in TALES)
    assert openings.most_common(1)[0][1] <= 2
    wishes = [row["instruction"] for row in rows("fairytale") + rows("fairytale.heldout")]
    assert len(set(wishes)) == len(wishes)
    assert sum(bool(row["input"]) for row in rows("fairytale")) >= 20


def test_she_stays_who_she_is() -> None:
    said = [row["output"] for row in rows("daiyu") + rows("daiyu.heldout")]
    assert not [
        answer for answer in said if re.search("我是[^，。]{0,8}(模型|助手|程序|人工智能)|[Qq]wen|通义", answer)
    ]
    assert max(Counter(answer[:4] for answer in said).values()) <= 4
    assert 20 <= sum(map(len, said)) / len(said) <= 40
    who = [row for row in rows("daiyu") if re.search("你是谁|你叫什么|你是不是AI|你是AI", row["instruction"])]
    assert len(who) >= 3


def test_answers_in_json_are_json() -> None:
    answers = [row["output"] for row in rows("qa") + rows("qa.heldout") if row["output"].startswith(("{", "["))]
    assert len(answers) >= 4
    for answer in answers:
        json.loads(answer)
