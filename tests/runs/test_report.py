"""report and curves: a page that is whole for every run and says what its numbers say, in which texts are only text."""

import json
import math
import os
import random
import re
import shlex
import subprocess
import sys
import warnings as python_warnings
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy
import pytest
from matplotlib.image import imread
from written_runs import FILES, diary_line, event_line, write_run

from tonghua.runs import curves
from tonghua.runs.curves import Series, draw, evenly, smooth, thin, write_loss_plot
from tonghua.runs.folder import CONTRACT
from tonghua.runs.record import read_record
from tonghua.runs.report import report_page, write_report
from tonghua.runs.verdict import headline
from tonghua.runs.warnings import FALL, RISE, SPIKE, warnings
from tonghua.text import Language, Text

HOSTILE = (
    "<script>alert(1)</script>\"'><img src=x onerror='alert(2)'>{{ 7*7 }}{% raw %}&amp;</p></pre></style><!--"
    "\u202eedoc\u2066\ud800"
)
VOID = ("meta", "input", "br")
SECTIONS = ["stories", "state", "curves", "events", "trained", "use", "diary"]
FALLING = [3.3 - 0.01 * step for step in range(60)]
HELD_OUT = [(0, 3.3), (30, 3.0), (60, 2.8)]


class Page(HTMLParser):
    """A document taken apart: elements with attributes, texts with the elements they stand in, whether all were closed.

    `open` holds each open element as its name and class: ("span", "zh").
    """

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[tuple[str, str], ...], str]] = []
        self.faults: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        self.faults += map(str, self._open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("class") or ""))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop()[0] != tag:
            self.faults.append(f"/{tag}")

    def handle_comment(self, data: str) -> None:
        self.faults.append(data)

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def inside(self, *element: str) -> str:
        """All text in elements of this name, and of this class if one is given."""
        return "".join(data for open_, data in self.texts if any(each[: len(element)] == element for each in open_))

    def read_in(self, language: Language) -> str:
        """What people see in one language."""
        hidden = {("span", "zh" if language == "en" else "en"), ("style", ""), ("head", "")}
        return "".join(data for open_, data in self.texts if not hidden & set(open_))


def page_of(run: Path, language: Language = "zh") -> Page:
    return Page(report_page(read_record(run), language))


def a_run(folder: Path, losses: Sequence[float | None] = FALLING, **more: Any) -> Path:
    return write_run(folder / "run", losses, **{"heldout": HELD_OUT, **more})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run in which a bit of everything happened."""
    events = [event_line(7, "resumed", "从检查点接着训练", "resumed from a checkpoint")]
    diary = [
        diary_line(0, "从前"),
        diary_line(30, "后来"),
        diary_line(45, "再后来"),
        diary_line(60, "末了", stop="length"),
    ]
    losses = [*FALLING[:20], None, *FALLING[21:]]
    return a_run(tmp_path / "我的 runs", losses, events=events, diary=diary)


# The page as a whole


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_page_is_whole_and_opens_in_its_language(run: Path, language: Language) -> None:
    path = write_report(read_record(run), language)
    assert path == run / "report.html"
    page = Page(path.read_text(encoding="utf-8"))
    assert page.faults == []
    assert page.all("html") == [{"lang": {"zh": "zh-CN", "en": "en"}[language]}]
    assert [each["id"] for each in page.all("section")] == SECTIONS
    assert [button["id"] for button in page.all("input") if "checked" in button] == [language]
    assert "#zh:checked ~ * .en, #en:checked ~ * .zh { display: none; }" in page.inside("style")


def test_a_page_fetches_and_runs_nothing(run: Path) -> None:
    html = report_page(read_record(run), "en")
    page = Page(html)
    assert not {tag for tag, _ in page.elements} & {
        *("script", "img", "image", "use", "link", "iframe", "object", "embed", "form", "a", "base", "foreignobject")
    }
    names = {name for _, attributes in page.elements for name in attributes}
    assert not {name for name in names if name.startswith("on")} | names & {"src", "href", "style", "action", "srcset"}
    assert not re.search(r"https?:|//\w|@import|url\(", html)
    policy = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]


def runs_of_every_kind(folder: Path) -> Iterator[Path]:
    """Whole, without anything held out, with every warning, stopped, with a long history, not begun, empty."""
    diary = [diary_line(0, "1", "12"), diary_line(5, "2", "12"), diary_line(60, "3" * 2000, "12", stop="length")]
    yield a_run(folder / "1", diary=diary)
    yield a_run(folder / "2", heldout=(), kept=False)
    bad = [*[3.0] * 20, None, 9.0, *[2.9] * 20, *[3.5] * 10]
    yield a_run(folder / "3", bad, heldout=[(0, 3.0), (30, 2.0), (52, 4.0)])
    yield a_run(folder / "4", bad[::-1], heldout=[(0, 2.0), (52, 4.0)], finished=False, facts={"steps": None})
    yield a_run(folder / "5", [None] * 40, heldout=[(3, 1.0)], events=[event_line(3, "x", "三", "three")] * 300)
    yield a_run(folder / "6", (), heldout=(), finished=False, kept=False)
    empty = folder / "7"
    empty.mkdir()
    yield empty


def test_every_text_is_there_in_both_languages(tmp_path: Path) -> None:
    for run in runs_of_every_kind(tmp_path):
        page = page_of(run)
        assert page.faults == []
        spans = [
            (attributes["class"], attributes["lang"])
            for tag, attributes in page.elements
            if tag == "span" and "lang" in attributes
        ]
        assert spans == [("zh", "zh-CN"), ("en", "en")] * (len(spans) // 2)
        assert (
            len(re.findall(r'<span class="(?:zh|en)" lang="[\w-]+">\s*</span>', report_page(read_record(run), "zh")))
            == 0
        )
        assert re.search("[\u4e00-\u9fff]", page.inside("span", "en")) is None
        apart = "".join(
            data
            for open_, data in page.texts
            if not {("span", "zh"), ("span", "en"), ("label", ""), ("head", ""), ("pre", ""), ("title", "")}
            & set(open_)
        )
        assert set(re.findall(r"[^\W\d_]+", apart)) <= {"run", "T", "e"}  # name, time, exponent


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("part", [0.0, 0.5, None])
def test_files_that_are_missing_empty_or_half_written_give_a_page(run: Path, name: str, part: float | None) -> None:
    written = (run / name).read_bytes()
    (run / name).unlink()
    if part is not None:
        (run / name).write_bytes(written[: int(part * len(written))])
    page = page_of(run)
    assert page.faults == []
    assert [each["id"] for each in page.all("section")] == SECTIONS


def test_an_empty_folder_gives_a_page_that_says_so(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert "No step has been trained yet." in page.read_in("en")
    assert "Nothing out of the ordinary." in page.read_in("en")
    assert "No adapter has been kept yet" in page.read_in("en")
    assert page.all("svg") == []


def test_whatever_rows_models_and_files_hold_stays_text(tmp_path: Path) -> None:
    def built(name: str, words: str) -> Path:
        facts = {
            **{
                "name": words,
                "place": words,
                "system": words,
                "started": words,
                "dataset": [words],
                "eval_dataset": words,
            },
            **{"base": {"name": words, "parameters": 10}, "versions": {words: words}},
        }
        diary = [diary_line(step, words, [words]) for step in (0, 5, 60)]
        return a_run(tmp_path / name, facts=facts, diary=diary, events=[event_line(3, words, words, words)])

    def shape(page: Page) -> list[tuple[str, list[str]]]:
        return [(tag, list(attributes)) for tag, attributes in page.elements]

    page, plain = page_of(built("hostile", HOSTILE)), page_of(built("plain", "words"))
    assert page.faults == []
    assert shape(page) == shape(plain)
    assert page.inside("p", "told").count(HOSTILE.split("\u202e")[0]) == 3
    for words in (page.inside("h3"), page.inside("li"), page.inside("p", "told")):
        assert "⟨U+202E⟩edoc⟨U+2066⟩⟨U+D800⟩" in words
    assert not re.search("[\u202e\u2066\ud800]", page.read_in("zh"))


def test_a_hundred_thousand_steps_stay_under_a_megabyte(tmp_path: Path) -> None:
    chance = random.Random(0)
    losses: list[float | None] = [3 * math.exp(-step / 50_000) + chance.random() for step in range(100_000)]
    losses[77_777] = 0.25
    diary = [diary_line(step, "很长的故事" * 1000) for step in range(0, 100_000, 500)]
    many = [event_line(step, "resumed", "接着训练", "resumed") for step in range(1, 100_000, 50)]
    heldout = [(step, 3.0 + chance.random()) for step in range(0, 100_000, 20)]
    run = a_run(tmp_path, losses, heldout=heldout, diary=diary, events=many)
    path = write_report(read_record(run), "zh")
    assert path.stat().st_size < 1_000_000
    page = Page(path.read_text(encoding="utf-8"))
    assert max(len((line["points"] or "").split()) for line in page.all("polyline")) == curves.MOST_POINTS
    assert "1800" in page.inside("section")  # earlier events are counted
    assert "3502 more characters are in samples.jsonl" in page.read_in("en")


# What it says


NOT_MEASURED = Text("训练开始后还没有在没学过的数据上量过", "have not been measured since training began")


@pytest.mark.parametrize(
    ("heldout", "facts", "said"),
    [
        (
            [(0, 3.0), (30, 2.4), (60, 2.7)],
            {},
            Text(
                "更贴近你的数据了：没学过的数据上，损失 3.000 → 2.400（−20.0%）。是否说得通、写得完，还没有量过。",
                "It came closer to your rows: the loss of rows it has not learned went 3.000 → 2.400 (−20.0 %)."
                " Whether it makes sense and ends has not been measured.",
            ),
        ),
        (
            [(0, 3.0), (60, 3.3)],
            {},
            Text(
                "没有更贴近你的数据：没学过的数据上，损失 3.000 → 3.300（+10.0%）。",
                "It came no closer to your rows: the loss of rows it has not learned went 3.000 → 3.300 (+10.0 %).",
            ),
        ),
        ([(0, 3.0), (60, 2.99)], {}, Text("几乎没有变化：", "It hardly changed: ")),
        ([(0, 0.0), (60, 0.0)], {}, Text("几乎没有变化：", "It hardly changed: ")),
        ([(60, 2.99)], {}, Text("训练前没有量过", "not measured before training")),
        ([(0, 3.0)], {}, NOT_MEASURED),
        ([], {"heldout": 50}, NOT_MEASURED),
        (
            [],
            {"heldout": 0},
            Text(
                "没有留出验证数据，看不出是否真的变好；训练损失 3.295 → 2.715。",
                "Nothing was held out, so whether it really got better cannot be seen;"
                " the training loss went 3.295 → 2.715.",
            ),
        ),
    ],
)
def test_the_headline_says_whether_it_got_better(
    tmp_path: Path, heldout: list[tuple[int, float]], facts: dict[str, Any], said: Text
) -> None:
    run = a_run(tmp_path, heldout=heldout, facts=facts)
    head = headline(read_record(run))
    assert said.zh in head.zh
    assert said.en in head.en
    assert page_of(run).inside("p", "headline") == head.zh + head.en


def warned(folder: Path, losses: Sequence[float | None], heldout: Sequence[tuple[int, float]] = ()) -> str:
    return " ".join(each.en for each in warnings(read_record(a_run(folder, losses, heldout=heldout))))


def test_learning_by_heart_is_told_from_rising_and_from_failing(tmp_path: Path) -> None:
    rose = [(0, 3.3), (20, 3.0), (60, 3.0 * (1 + RISE) + 0.001)]
    assert "lowest after step 20 (3.000)" in warned(tmp_path / "1", FALLING, rose)
    assert "lowest before training (2.000)" in warned(tmp_path / "2", FALLING, [(0, 2.0), (60, 2.5)])
    assert warned(tmp_path / "3", FALLING, [(0, 3.3), (20, 3.0), (60, 3.0 * (1 + RISE) - 0.001)]) == ""
    assert "by heart" not in warned(tmp_path / "4", [*FALLING[:20], *[4.0] * 40], rose)
    assert warned(tmp_path / "5", FALLING, HELD_OUT) == ""


def test_a_training_loss_that_does_not_fall_is_told(tmp_path: Path) -> None:
    assert "did not fall (3.000 → 3.000)" in warned(tmp_path / "1", [3.0] * 40)
    assert "did not fall" in warned(tmp_path / "2", [*[3.0] * 20, None, *[3.0 * (1 - FALL / 2)] * 20])
    assert warned(tmp_path / "3", [*[3.0] * 20, *[3.0 * (1 - 2 * FALL)] * 20]) == ""
    assert warned(tmp_path / "4", [3.0] * 19) == ""


def test_spikes_are_told_with_their_steps(tmp_path: Path) -> None:
    def jumping(ratio: float) -> list[float | None]:
        return [ratio * max(FALLING[step - 20 : step]) if step == 40 else loss for step, loss in enumerate(FALLING)]

    assert "times: 1 (step 41)" in warned(tmp_path / "1", jumping(SPIKE + 0.01))
    assert warned(tmp_path / "2", jumping(SPIKE - 0.01)) == ""
    assert warned(tmp_path / "3", [9.0, *FALLING]) == ""


def test_warnings_stand_on_the_page(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path, [3.0] * 40, heldout=[(0, 2.0), (40, 2.5)]))
    assert "The training loss did not fall" in page.inside("p", "warning")
    assert "训练损失没有降下来" in page.inside("p", "warning")
    assert page_of(a_run(tmp_path / "good")).inside("p", "warning") == ""


def test_the_facts_stand_on_the_page(run: Path) -> None:
    page = page_of(run)
    read = page.read_in("en")
    for words in ("qwen2.5-0.5b · 494 M parameters", "4.40 M · 0.89 % of the base", "r = 8", "q_proj", "torch 2.13.0"):
        assert words in read
    for words in ("cpu bfloat16", "60 × 16", "fairytale.heldout", "2026-11-22 13:50:12", "2:00"):
        assert words in read
    counted = [data for open_, data in page.texts if ("dl", "counts") in open_ and ("dd", "") in open_]
    assert counted == ["131", "129", "2", "0", "0", "129", "50", "412", "903"]


def test_who_it_is_stands_on_top_as_text(run: Path) -> None:
    bare = page_of(run)
    card = {"name": "林<b>黛玉", "portrait": "潇湘馆的主人。\n<script>1</script>", "greeting": "来了？"}
    (run / CONTRACT).write_text(json.dumps({"card": card}), encoding="utf-8")
    page = page_of(run)
    assert page.inside("h1") == f"林<b>黛玉 · {run.name}" and bare.inside("h1") == run.name
    assert card["portrait"] in page.inside("main")
    assert not page.all("script") and not page.all("b")
    for odd in ({"name": ["x"], "portrait": 3}, "黛玉", None):
        (run / CONTRACT).write_text(json.dumps({"card": odd}), encoding="utf-8")
        assert page_of(run).inside("h1") == run.name


def test_the_diary_is_folded_and_last(run: Path) -> None:
    page = page_of(run)
    folded = page.inside("details")
    beside = "".join(data for open_, data in page.texts if ("div", "ends") in open_)
    for i in range(5):
        assert f"从前 {i}" in beside
        assert f"末了 {i}" in beside
        assert f"后来 {i}" in folded
        assert f"再后来 {i}" in folded
    assert all(("details", "") in open_ for open_, _ in page.texts if ("p", "told") in open_)
    assert "cut off at the limit of its length" in beside
    assert page.read_in("en").index("PeftModel") < page.read_in("en").index("从前 0")


def test_a_diary_of_one_entry_shows_it_once(tmp_path: Path) -> None:
    page = page_of(a_run(tmp_path, diary=[diary_line(0, "从前")]))
    assert page.inside("p", "told") == "从前 0从前 1从前 2从前 3从前 4"
    assert len(page.all("details")) == 1


# Whole stories, and the verdict


def told(prompt: str, words: str = "很久以前，海边住着一只螃蟹。", **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "base": f"{words}甲", "tuned": f"{words}乙", **more}


def evaluated(run: Path, evaluation: object) -> Page:
    (run / "evaluation.json").write_text(json.dumps(evaluation), encoding="utf-8")
    return page_of(run)


MEASURED = {"base": 3.0, "tuned": 2.5, "interval": [-0.6, -0.4], "items": 20}


def test_a_page_opens_with_the_verdict_and_whole_stories(run: Path) -> None:
    long = "很久以前，海边住着一只螃蟹。" * 300
    answers = [told(f"愿望 {i}", long, ended={"base": True, "tuned": i != 1}) for i in range(5)]
    page = evaluated(run, {"loss": MEASURED, "answers": answers, "sense": {**MEASURED, "reader": "qwen2.5-1.5b"}})
    read = page.read_in("en")
    head = page.inside("p", "headline")
    assert "Gained: closer to your rows, makes sense" in head
    assert [row.get("class") for row in page.all("tr")] == ["gained", "gained", "note", *["not-measured", "note"] * 2]
    assert "read by qwen2.5-1.5b" in page.inside("table", "verdict")
    assert "3.000 → 2.500" in page.inside("td", "figure")
    order = [read.index(words) for words in ("Gained: closer", "愿望 0", long + "甲", long + "乙", "愿望 4", "Curves")]
    assert order == sorted(order)
    folded = page.inside("details")
    assert ("愿望 2" in folded, "愿望 3" in folded) == (False, True)
    assert read.count("cut off at the limit of its length") == 1 + 5  # one story, and five entries of the diary


def test_a_page_without_whole_answers_says_how_to_get_them(run: Path, tmp_path: Path) -> None:
    assert "There are no whole answers yet." in page_of(run).read_in("en")
    assert f"tonghua eval {run}" in page_of(run).inside("code").replace("'", "")
    page = evaluated(run, {"loss": MEASURED})
    assert "There are no whole answers yet." in page.read_in("en")


ODD = ([], "x", 3, {"answers": 3}, {"answers": ["x", None, {"prompt": 1}, {"prompt": "好", "base": [], "ended": 7}]})


@pytest.mark.parametrize("evaluation", ODD)
def test_an_odd_evaluation_gives_a_page(run: Path, evaluation: object) -> None:
    page = evaluated(run, evaluation)
    assert page.faults == []
    assert [each["id"] for each in page.all("section")] == SECTIONS


def test_stories_and_readers_stay_text_and_the_page_stays_small(run: Path) -> None:
    sense = {**MEASURED, "reader": HOSTILE, "note": {"zh": HOSTILE, "en": HOSTILE}}

    def built(words: str) -> Page:
        named = {**sense, "reader": words, "note": {"zh": words, "en": words}}
        why = {"why": {"zh": words, "en": words}}
        return evaluated(run, {"sense": named, "loss": why, "answers": [told(words, words)] * 100})

    page, plain = built(HOSTILE), built("words")
    assert page.faults == []
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert not re.search("[\u202e\u2066\ud800]", page.read_in("zh"))
    evaluated(run, {"answers": [told("愿望", "很长的故事" * 1_000)] * 1000})
    assert write_report(read_record(run), "zh").stat().st_size < 1_000_000


def test_what_happened_is_listed_and_a_skipped_step_told_once(run: Path, tmp_path: Path) -> None:
    read = page_of(run).read_in("en")
    assert "resumed from a checkpoint" in read
    assert "not finite: 1 (step 21)" in read
    assert "Nothing out of the ordinary" not in read
    assert "Nothing out of the ordinary" in page_of(a_run(tmp_path)).read_in("en")
    event = event_line(2, "skipped", "跳过", "this one was skipped")
    told = page_of(a_run(tmp_path / "told", [3.0, None, 2.9], events=[event])).read_in("en")
    assert "this one was skipped" in told
    assert "not finite" not in told


def test_a_run_that_stopped_says_how_to_go_on(tmp_path: Path) -> None:
    run = a_run(tmp_path / "我的 runs", finished=False)
    page = page_of(run)
    assert "Training is not finished: it is at step 60 of 70." in page.read_in("en")
    command = page.inside("code").split("tonghua chat")[0]
    assert command.startswith("tonghua train --resume ")
    assert str(run) in command
    if os.name == "posix":
        assert shlex.split(command) == ["tonghua", "train", "--resume", str(run)]
    finished = page_of(a_run(tmp_path / "2"))
    assert "Training is finished; steps: 60. The adapter in the folder is that of step 60" in finished.read_in("en")
    assert "--resume" not in finished.inside("code")


def test_only_verbs_that_exist_are_named(run: Path, tmp_path: Path) -> None:
    from typer.main import get_command

    from tonghua.cli import app

    said = page_of(run).inside("code") + page_of(a_run(tmp_path / "2", finished=False)).inside("code")
    verbs = set(re.findall(r"tonghua (\w+)", said))
    assert verbs == {"train", "chat", "eval"}
    assert verbs <= set(get_command(app).commands)  # type: ignore[attr-defined]
    assert "PeftModel.from_pretrained" in said


# Curves


def test_thinning_keeps_the_ends_and_the_extremes() -> None:
    points = [(step, 2.0 + step % 7) for step in range(10_000)]
    points[1234], points[8765] = (1234, 0.5), (8765, 99.0)
    thinned = thin(points, 100)
    assert len(thinned) <= 100
    assert [step for step, _ in thinned] == sorted({step for step, _ in thinned})
    assert {points[0], points[-1], points[1234], points[8765]} <= set(thinned)
    steps = [step for step, _ in thinned]
    assert max(after - before for before, after in pairwise(steps)) <= 104
    assert thin(points[:100], 100) == points[:100]
    assert thin([(step, None) for step in range(200)], 100)[-1] == (199, None)


@pytest.mark.parametrize(("count", "most"), [(0, 5), (1, 5), (5, 5), (6, 5), (1000, 5), (7, 2)])
def test_even_places_hold_both_ends(count: int, most: int) -> None:
    places = evenly(count, most)
    assert len(places) == min(count, most)
    assert places[:1] + places[-1:] == ([0, count - 1] if count else [])


def test_smoothing_is_the_mean_of_neighbours_and_bridges_what_is_missing() -> None:
    smoothed = smooth([(1, 1.0), (2, 2.0), (3, None), (4, 6.0)])
    assert smoothed == [(1, 1.5), (2, 1.5), (3, 4.0), (4, 6.0)]
    assert smooth([(1, None)]) == [(1, None)]


def test_a_chart_places_its_points(tmp_path: Path) -> None:
    series = Series(Text("一", "one"), "line", [(0, 1.0), (5, None), (10, 3.0), (20, 2.0)], dots=True)
    chart = draw([series], 600, 300, from_zero=False)
    assert chart is not None
    (first, (style, corners)) = chart.lines
    assert first[1].split()[0] == first[1].split()[1]  # alone before the gap: a line to itself
    places = [tuple(map(float, corner.split(","))) for corner in [first[1].split()[0], *corners.split()]]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert (style, x0, x2) == ("line", chart.left, chart.right)
    assert x1 == pytest.approx((x0 + x2) / 2, abs=0.1)
    assert chart.bottom > y0 > y2 > y1 > chart.top
    assert y2 == pytest.approx((y0 + y1) / 2, abs=0.1)
    assert [number for _, number in chart.x_ticks] == ["0", "5", "10", "15", "20"]
    assert [number for _, number in chart.y_ticks] == ["1", "1.5", "2", "2.5", "3"]
    assert [(x, y) for _, x, y in chart.dots] == places
    assert "10 · 一 one 3" in [told for _, _, told in chart.strips]
    assert draw([Series(Text("", ""), "", [(1, None)])], 600, 300, from_zero=True) is None


@pytest.mark.parametrize(
    ("points", "from_zero"),
    [
        ([(5, 2.0)], False),
        ([(5, 0.0)], True),
        ([(0, 1e-300), (1, 1e14)], False),
        ([(0, 0.0), (10**14, 1e14)], True),
        ([(0, -3.0), (3, -3.0)], False),
        ([(0, 5e-324), (1, 0.0)], True),
        ([(1, 1.0), (2, 1.0 + 2e-16)], False),
    ],
)
def test_odd_numbers_stay_inside_the_chart(points: list[tuple[int, float]], from_zero: bool) -> None:
    chart = draw([Series(Text("", ""), "", points, dots=True)], 600, 300, from_zero)
    assert chart is not None
    assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for _, x, y in chart.dots)
    assert len(chart.x_ticks) <= 8 and len(chart.y_ticks) <= 8


def test_a_scale_is_logarithmic_where_the_values_are_far_apart() -> None:
    def places(values: Sequence[float]) -> list[float]:
        chart = draw([Series(Text("", ""), "", list(enumerate(values)), dots=True)], 600, 300, from_zero=False)
        assert chart is not None
        return [y for _, _, y in chart.dots]

    low, middle, high = places([0.01, 0.1, 1.0])
    assert low - middle == pytest.approx(middle - high, abs=0.2)
    low, middle, high = places([1.0, 2.0, 4.0])
    assert 2 * (low - middle) == pytest.approx(middle - high, abs=0.2)


def test_a_skipped_step_breaks_the_line_and_nothing_else(run: Path) -> None:
    html = report_page(read_record(run), "zh")
    lines = [line for line in Page(html).all("polyline") if line["class"] == "raw"]
    assert [len((line["points"] or "").split()) for line in lines] == [20, 39]
    assert not re.search(r"\b(nan|None|inf)\b", html)


def picture(run: Path, language: Language = "zh") -> "numpy.ndarray[Any, Any]":
    write_loss_plot(read_record(run), run / "loss.png", language)
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return imread(run / "loss.png")


def test_the_picture_shows_the_data_and_nothing_else(run: Path, tmp_path: Path) -> None:
    shown = picture(run)
    assert shown.shape[0] > 400 and shown.shape[1] > 600
    assert shown.std() > 0
    numpy.testing.assert_array_equal(shown, picture(run))
    plain = picture(a_run(tmp_path / "1", FALLING))
    assert (plain != picture(a_run(tmp_path / "2", FALLING[::-1]))).any()
    assert (plain != picture(a_run(tmp_path / "3", FALLING, heldout=()))).any()


def test_every_kind_of_run_gives_a_picture(tmp_path: Path) -> None:
    for run in runs_of_every_kind(tmp_path):
        assert picture(run).std() > 0


def test_the_picture_is_in_chinese_only_where_a_font_can_write_it(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "CHINESE_FONTS", ())
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("error")  # matplotlib warns of every character that a font does not have
        english = picture(run)
        numpy.testing.assert_array_equal(english, picture(run, "en"))
    monkeypatch.setattr(curves, "CHINESE_FONTS", ("No Such Font", "DejaVu Sans"))
    with pytest.warns(UserWarning, match="missing from font"):
        assert (picture(run) != english).any()
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("error")
        numpy.testing.assert_array_equal(english, picture(run, "en"))


def test_drawing_leaves_matplotlib_as_it_was(run: Path) -> None:
    code = (
        "import sys, pathlib, matplotlib; from tonghua.runs import curves, record\n"
        "def settings(): return [matplotlib.rcParams[name] for name in matplotlib.rcParams if name != 'backend']\n"
        "run, before = pathlib.Path(sys.argv[1]), settings()\n"
        "curves.write_loss_plot(record.read_record(run), run / 'loss.png')\n"
        "print('matplotlib.pyplot' in sys.modules, settings() == before)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
