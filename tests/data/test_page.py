"""page: one HTML document in both languages, in which whatever rows hold is nothing but text."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tonghua.core.example import Example
from tonghua.data.checkup.checkup import Checkup, examine_rows
from tonghua.data.checkup.page import check_page, pieces
from tonghua.data.read.dataset import RowProblem, read_rows
from tonghua.text import Language, Text

VOID = ("meta", "br")
HOSTILE = "<script>alert(1)</script>\"><img src=x onerror='alert(2)'>&amp;</pre>\u202eedoc\u2066"


@dataclass(frozen=True)
class Counted:
    read: int
    kept: int
    dropped: int


class Page(HTMLParser):
    """A document taken apart: elements with their attributes, the text in each kind, and whether all were closed."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self.faults: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.faults += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.text[tag] = self.text.get(tag, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def checkup_of(path: Path, *pairs: tuple[str, str], max_length: int = 100) -> Checkup:
    rows = [{"instruction": question, "output": answer} for question, answer in pairs]
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    read = read_rows(path)
    lengths = [len(row.messages[-1].content) for row in read.kept]
    return examine_rows(read, [], None, "你是狐狸。", lengths, lengths, max_length)


@pytest.fixture
def checkup(tmp_path: Path) -> Checkup:
    rows = [("你是谁？", "我是小狐狸。"), ("你是谁？", "我是小狐狸。"), ("讲一个", "长" * 30 + "。")]
    return checkup_of(tmp_path / "我的 数据" / "一 & 二.jsonl", *rows, max_length=20)


EXAMPLES = ((("<|im_start|>user\n你是谁？\n", False), ("我是\u3000小狐狸👨\u200d👩。<|im_end|>", True), ("\n", False)),)


def page_of(checkup: Checkup, language: Language = "zh", problems: Sequence[RowProblem] = ()) -> Page:
    return Page(check_page(checkup, Counted(12, 3, 9), EXAMPLES, language, problems))


SECTIONS: dict[Language, str] = {
    "zh": "读到了什么发现的问题长度模型看到的样子建议",
    "en": "What was readWhat was foundLengthsWhat the model seesAdvice",
}


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_page_is_whole_and_has_every_section(checkup: Checkup, language: Language) -> None:
    page = page_of(checkup, language)
    assert page.faults == []
    assert page.all("html") == [{"lang": {"zh": "zh-CN", "en": "en"}[language]}]
    assert page.text["title"] == {"zh": "数据体检 一 & 二.jsonl", "en": "Check-up of 一 & 二.jsonl"}[language]
    assert page.text["h2"] == SECTIONS[language]
    assert [section["id"] for section in page.all("section")] == ["read", "findings", "lengths", "examples", "advice"]
    body = page.text["body"]
    for line in checkup.lines(language)[1:3]:  # the findings, without the mark before them
        what, rest = re.split("（|[(]lines? ", line[2:], maxsplit=1)
        assert what.strip() in body
        assert rest.split("；" if language == "zh" else "; ")[-1] in body
    assert checkup.lengths is not None
    for line in (*checkup.lengths.summary(language), "num_train_epochs=10 lora_rank=8 learning_rate=0.0002"):
        assert line in body


def test_a_page_says_nothing_in_the_other_language(checkup: Checkup) -> None:
    page = page_of(checkup, "en")
    html = re.sub(r"<pre.*?</pre>|一 & 二|我的 数据", "", page.text["body"].replace("我是\u3000小狐狸", ""))
    assert re.findall("[\u4e00-\u9fff]+", html.replace("你是谁", "")) == []


def test_what_was_read_is_counted(checkup: Checkup) -> None:
    page = page_of(checkup)
    assert (page.text["dt"], page.text["dd"]) == ("读到可用没有用", "1239")


def test_what_is_learned_is_marked(checkup: Checkup) -> None:
    page = page_of(checkup)
    assert page.text["mark"] == "我是\u3000小狐狸👨\u200d👩。<|im_end|>"
    assert page.text["pre"] == "<|im_start|>user\n你是谁？\n我是\u3000小狐狸👨\u200d👩。<|im_end|>\n"


def test_two_examples_at_most_are_shown(checkup: Checkup) -> None:
    page = Page(check_page(checkup, Counted(3, 3, 0), EXAMPLES * 3, "zh"))
    assert len(page.all("pre")) == 2


def test_bars_are_as_long_as_their_rows(checkup: Checkup) -> None:
    html = check_page(checkup, Counted(3, 3, 0), EXAMPLES, "zh")
    bars = [bar for bar in Page(html).all("div") if "bar" in (bar.get("class") or "")]
    assert bars == [{"class": "bar", "style": "width: 100.0%"}, {"class": "bar over", "style": "width: 50.0%"}]
    assert re.findall("<tr><td>(.*?)</td><td>(.*?)</td>", html) == [
        *(("1-2", "0"), ("3-4", "0"), ("5-6", "2"), ("7-8", "0"), ("9-10", "0"), ("11-12", "0")),
        *(("13-14", "0"), ("15-16", "0"), ("17-18", "0"), ("19-20", "0"), ("&gt; 20", "1")),
    ]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_page_fetches_and_runs_nothing(checkup: Checkup, language: Language) -> None:
    html = check_page(checkup, Counted(3, 3, 0), EXAMPLES, language)
    page = Page(html)
    names = {tag for tag, _ in page.elements}
    assert not names & {"script", "img", "link", "iframe", "object", "form", "a", "base"}
    assert {name for _, attributes in page.elements for name in attributes} <= {
        *("lang", "charset", "name", "content", "http-equiv", "id", "class", "scope", "style", "dir")
    }
    assert "default-src 'none'; style-src 'unsafe-inline'" in {meta.get("content") for meta in page.all("meta")}
    assert not re.search(r"https?:|//|url\(|@import", html)


def test_hostile_text_is_text_everywhere(tmp_path: Path) -> None:
    # In a file name only what every system allows.
    hostile = checkup_of(tmp_path / "a'b &amp; c.jsonl", ("在吗？", f"{{{{name}}}}{HOSTILE}"), ("讲", f"{HOSTILE}。"))
    findings = replace(
        hostile.findings,
        found=tuple(replace(each, what=Text(HOSTILE, HOSTILE)) for each in hostile.findings.found),
    )
    hostile = replace(hostile, path=Path(HOSTILE.replace("/", "")), findings=findings, notes=(Text(HOSTILE, HOSTILE),))
    problems = [RowProblem(3, Text(HOSTILE, HOSTILE), Text(HOSTILE, HOSTILE), HOSTILE)]
    html = check_page(hostile, Counted(3, 2, 1), [[(HOSTILE, False), (HOSTILE, True)]], "zh", problems)
    page = Page(html)
    assert page.faults == []
    assert not {tag for tag, _ in page.elements} & {"script", "img"}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert not re.findall("[\u202a-\u202e\u2066-\u2069\u200b]", html)
    shown = HOSTILE.replace("\u202e", "⟨U+202E⟩").replace("\u2066", "⟨U+2066⟩")
    assert page.text["mark"] == shown
    assert page.text["pre"] == shown * 2
    assert page.text["li"].count(shown) == 3 + len(findings.found)


def test_hostile_text_would_be_seen() -> None:
    page = Page(f"<p>{HOSTILE}</p>")
    assert page.faults and {tag for tag, _ in page.elements} >= {"script", "img"}


def test_unusable_rows_are_listed_up_to_a_hundred(checkup: Checkup) -> None:
    problems = [RowProblem(line, Text("答案是空的", "no answer"), Text("补上", "write one")) for line in range(1, 151)]
    page = page_of(checkup, "en", problems)
    items = [item.strip() for item in page.text["ul"].split("\n") if item.strip()]
    assert len(items) == 101
    assert (items[0], items[-1]) == ("line 1 · no answerwrite one", "50 more")
    assert page.all("h3") and not page_of(checkup).all("h3")


def test_a_dataset_without_a_usable_row(tmp_path: Path) -> None:
    empty = checkup_of(tmp_path / "坏.jsonl", ("问", ""))
    page = Page(check_page(empty, Counted(1, 0, 1), (), "zh"))
    assert page.faults == []
    assert page.text["h2"] == SECTIONS["zh"]
    assert "没有一条能用的数据" in page.text["p"] and not page.all("table")


def test_an_example_is_cut_where_learning_begins_and_ends() -> None:
    example = Example((5, 6, 7, 8, 9), (False, False, True, True, False))
    assert pieces(example, lambda ids: " ".join(map(str, ids))) == (("5 6", False), ("7 8", True), ("9", False))
