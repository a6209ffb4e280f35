"""The commands of a chat in both languages, what they print, and how Ctrl-C breaks an answer off."""

import io
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from told import Scripted, dialogue

from tonghua.cli.chatting import Chat
from tonghua.config.schema import Persona
from tonghua.inference.dialogue import Dialogue
from tonghua.terminal.chat_commands import COMMANDS, Entered, parse
from tonghua.terminal.screen import Screen
from tonghua.text import Language, Text

Talked = tuple[str, str]
Talk = Callable[..., Talked]


@pytest.fixture
def talk(capsys: pytest.CaptureFixture[str]) -> Talk:
    """Hold a chat over these lines; return what it printed on stdout and what it told."""

    def hold(talk: Dialogue, *lines: str, language: Language = "en", **options: Any) -> Talked:
        told = io.StringIO()
        screen = Screen(language, Console(file=told, markup=False, highlight=False, soft_wrap=True))
        Chat(talk, screen, **options).run(iter(lines))
        printed = capsys.readouterr()
        return printed.out, printed.err + told.getvalue()

    return hold


# What a line is


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_a_command_has_two_names_and_two_slashes(command: Any) -> None:
    for slash in "/／":
        for name in (command.name, command.name.upper(), command.zh_name):
            assert parse(f" {slash}{name}  a b ") == Entered(command.name, "a b")
    assert parse(command.zh_name) == command.zh_name, "without a slash it is something to say"


def test_names_of_commands_are_different() -> None:
    names = [name for command in COMMANDS for name in (command.name, command.zh_name)]
    assert len({*names}) == len(names) == 20


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("//usr 是什么？", "/usr 是什么？"),
        ("／／好", "／好"),
        ("甲/乙", "甲/乙"),
        ("  两头有空  ", "  两头有空  "),
        ("exit", Entered("quit", "")),
        ("重来", Entered("new", "")),
        ("exit now", "exit now"),
        ("/save\n a.txt", Entered("save", "a.txt")),
    ],
)
def test_what_is_a_command_and_what_is_said(line: str, found: object) -> None:
    assert parse(line) == found


@pytest.mark.parametrize(
    ("line", "zh", "en"),
    [
        ("/rety", "没有命令 /rety；是不是想写 /retry？", "there is no command /rety; did you mean /retry?"),
        (
            "/",
            "没有命令 /；/帮助 看有哪些，以 // 开头就当作一句话",
            "there is no command /; /help lists them, and // begins a message with a slash",
        ),
    ],
)
def test_an_unknown_command_is_one_line(line: str, zh: str, en: str) -> None:
    assert parse(line) == Text(zh, en)
    long = parse("/" + "长" * 5000 + "\x1b[2J")
    assert isinstance(long, Text) and len(long.zh) < 120 and long.zh.isprintable()


# What a command does


@pytest.mark.parametrize("names", [("new", "retry", "undo", "quit"), ("新话题", "重说", "撤回", "再见")])
def test_new_retry_undo_and_quit(talk: Talk, names: Sequence[str]) -> None:
    new, retry, undo, leave = names
    teller = Scripted([["一"], ["二"], ["三"], ["四"], ["五"]])
    out, told = talk(
        dialogue(teller), "甲", f"/{retry}", "乙", f"/{undo}", "丙", f"／{new}", "丁", f"/{leave}", "不该问到"
    )
    assert (out, told) == ("一\n二\n三\n四\n五\n", "taken back; the last words now are: 二\n")
    assert [heard for heard, _, _ in teller.asked] == [
        [("user", "甲")],
        [("user", "甲")],
        [("user", "甲"), ("assistant", "二"), ("user", "乙")],
        [("user", "甲"), ("assistant", "二"), ("user", "丙")],
        [("user", "丁")],
    ]


@pytest.mark.parametrize(
    ("language", "shown", "refused"),
    [
        ("zh", "你是黛玉。\n换一句？\n", "系统提示词在训练时就定下了"),
        ("en", "你是黛玉。\n换一句？\n", "the system prompt was settled in training"),
    ],
)
def test_the_system_prompt_is_shown_and_not_changed(talk: Talk, language: Language, shown: str, refused: str) -> None:
    teller = Scripted([["好"]], system="你是黛玉。\n换一句？")
    out, told = talk(dialogue(teller), "/system", "/系统 你是一只猫。", "你好", language=language)
    assert told.startswith(shown + refused)
    assert teller.heard == [("user", "你好")]
    assert out == "好\n"
    none = talk(dialogue(Scripted([], system=None)), "/system")[1]
    assert none == "no system prompt is set; the template's own is used\n"


def test_set_shows_and_changes_values(talk: Talk) -> None:
    teller = Scripted([["好"], ["好"]])
    _, told = talk(
        dialogue(teller),
        "/set temperature=0.5 top-p=0.8",
        "／设置 seed＝3",
        "你好",
        "/set temperature=9",
        "/set 温度",
        "/set",
        "再说",
        language="zh",
    )
    first, second, *lines, last = told.splitlines()
    assert (first, second) == ("temperature=0.5 top_p=0.8", "seed=3")
    assert lines == [
        "sampling.temperature=9：应是数（不小于 0、不大于 5）",
        "要写成 /设置 名字=值，例如 /设置 temperature=0.8",
    ]
    assert "temperature=0.5 top_p=0.8 top_k=0" in last
    assert {(s.temperature, s.top_p, s.seed) for _, s, _ in teller.asked} == {(0.5, 0.8, 3)}


@pytest.mark.parametrize(("language", "before", "after"), [("zh", "训练前", "训练后"), ("en", "before", "after")])
def test_compare_asks_both(talk: Talk, language: Language, before: str, after: str) -> None:
    teller = Scripted([["一"], ["基座"], ["学过"], ["二"]])
    out, told = talk(dialogue(teller), "甲", "/对比 乙", "/compare", language=language)
    assert out == "一\n基座\n学过\n二\n"
    assert told == f"【{before}】\n【{after}】\n【{before}】\n"
    assert [(heard[-1][1], tuned) for heard, _, tuned in teller.asked] == [
        ("甲", True),
        ("乙", False),
        ("乙", True),
        ("甲", False),
    ]


def test_one_speaker_after_another(talk: Talk) -> None:
    one, two = Scripted([["甲"]]), Scripted([["乙"]])
    out, told = talk(dialogue(one, two), "/to", "你好", "/对 甄", "你呢", "/to 宝玉", language="zh")
    assert out == "甲\n乙\n"
    assert sorted(told.splitlines()) == sorted(
        [
            "黛玉（run-0）",
            "甄嬛（run-1）",
            "黛玉：",
            "现在由 甄嬛 回答",
            "甄嬛：",
            "没有 宝玉；在座的有 黛玉、甄嬛",
        ]
    )


def test_as_json_each_answer_says_who_gave_it(talk: Talk) -> None:
    one, two = Scripted([["甲"]]), Scripted([["乙"]])
    out, _ = talk(dialogue(one, two), "开头", as_json=True, duet=2)
    answers = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert [(answer["speaker"], answer["text"]) for answer in answers] == [("黛玉", "甲"), ("甄嬛", "乙")]
    alone, _ = talk(dialogue(Scripted([["甲"]])), "开头", as_json=True)
    assert "speaker" not in json.loads(alone.splitlines()[-1])


def test_help_lists_every_command(talk: Talk) -> None:
    for language, line in (("zh", "/撤回 /undo："), ("en", "/undo /撤回: ")):
        _, told = talk(dialogue(Scripted([])), "/help", language=language)
        assert len(told.splitlines()) == len(COMMANDS)
        assert line in told


# /save


@pytest.mark.parametrize("name", ["说过 的.jsonl", '"说过 的.jsonl"', "A.JSONL"])
def test_save_writes_rows(talk: Talk, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(folder)
    one = dialogue(Scripted([["好"], ["好好"]]))
    out, told = talk(one, "甲", f"/save {name}", "乙", f"/保存 {name}")
    (path,) = folder.iterdir()
    (row,) = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert [message["content"] for message in row["messages"]] == ["你是黛玉。", "甲", "好", "乙", "好好"]
    assert told == f"kept in {path.name}\n" * 2
    assert out == "好\n好好\n"


@pytest.mark.parametrize(("language", "user"), [("zh", "你"), ("en", "You")])
def test_save_writes_text(talk: Talk, folder: Path, language: Language, user: str) -> None:
    talk(dialogue(Scripted([["好"]])), "甲\n乙", f"/save {folder / 'a.md'}", language=language)
    assert (folder / "a.md").read_text(encoding="utf-8") == f"{user}：甲\n乙\n\n黛玉：好\n"


def test_what_save_refuses(talk: Talk, folder: Path) -> None:
    there = folder / "有.txt"
    there.write_text("旧的", encoding="utf-8")
    _, told = talk(
        dialogue(Scripted([["好"]])),
        f"/save {folder / 'a.txt'}",
        "你好",
        f"/save {there}",
        f"/save {folder / '.bashrc'}",
        f"/save {folder / '没有' / 'a.txt'}",
        "/save",
        f"/save {folder / ('长' * 300)}.txt",
    )
    lines = told.splitlines()
    assert lines[0] == "nothing was said yet, so there is nothing to keep"
    assert lines[1] == f"{there} is there already and is not overwritten; take another name"
    assert lines[2] == lines[4] == "name a file that ends in .jsonl, to train on, or in .txt or .md, to read"
    assert lines[3].startswith("cannot write") and lines[5].startswith("cannot write")
    assert len(lines) == 6
    assert [path.name for path in folder.iterdir()] == ["有.txt"]
    assert there.read_text(encoding="utf-8") == "旧的"


def test_save_tells_what_will_not_be_learned(talk: Talk, folder: Path) -> None:
    told = talk(dialogue(Scripted([["从前"]], stop="length")), "讲", f"/save {folder / 'a.jsonl'}")[1]
    assert told.splitlines()[1].startswith("1 of its answers were cut off")
    told = talk(dialogue(Scripted([["从前"]])), "讲", f"/save {folder / 'b.jsonl'}")[1]
    assert len(told.splitlines()) == 1


# Ctrl-C while an answer comes


def test_ctrl_c_stops_an_answer_and_keeps_it(talk: Talk) -> None:
    teller = Scripted([["还", KeyboardInterrupt()], [KeyboardInterrupt()], ["好"]])
    one = dialogue(teller)
    out, told = talk(one, "雪停了没有？", "真的？", "好么？", keeps_on=True)
    assert out == "还\n好\n"
    assert told == "stopped; what was said is kept\nstopped before anything was said\n"
    assert teller.heard == [("user", "雪停了没有？"), ("assistant", "还"), ("user", "好么？")]


def test_ctrl_c_stops_a_duet(talk: Talk) -> None:
    one, two = Scripted([["A1"], ["A2"]]), Scripted([["B", KeyboardInterrupt()]])
    both = dialogue(one, two)
    out, _ = talk(both, "下雪了", keeps_on=True, duet=4)
    assert out == "A1\nB\n"
    assert [each.text for each in both.said] == ["下雪了", "A1", "B"]


def test_through_a_pipe_ctrl_c_ends_the_program(talk: Talk) -> None:
    with pytest.raises(KeyboardInterrupt):
        talk(dialogue(Scripted([["还", KeyboardInterrupt()]])), "雪停了没有？")


def test_a_speaker_is_named_on_the_line_of_the_answer_only_in_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def names(stream: io.StringIO) -> Iterator[str]:
        monkeypatch.setattr(sys, "stderr", stream)
        both = dialogue(Scripted([["甲"]]), Scripted([]))
        Chat(both, Screen("zh", Console(file=io.StringIO()))).run(iter(["你好"]))
        yield stream.getvalue()

    monkeypatch.setattr(sys, "stdout", Terminal())
    assert [*names(Terminal())] == ["黛玉："]
    assert [*names(io.StringIO())] == ["黛玉：\n"]


# The card of a character


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_card_greets_and_names_what_is_said(
    talk: Talk, capsys: pytest.CaptureFixture[str], language: Language
) -> None:
    card = Persona(name="林黛玉", greeting="来了？\n坐罢。\x1b[2J")
    one = dialogue(Scripted([["好"]]), card=card)
    told = io.StringIO()
    Chat(one, Screen(language, Console(file=told, soft_wrap=True))).greet()
    assert told.getvalue() == "黛玉：来了？\n坐罢。\\x1b[2J\n"
    assert talk(one, "你好", keeps_on=True, language=language) == ("好\n", "黛玉：\n")
    assert one.said[0].text == "你好", "the greeting is no part of the conversation"


def test_without_a_card_or_through_a_pipe_an_answer_stands_alone(talk: Talk) -> None:
    assert talk(dialogue(Scripted([["好"]])), "你好", keeps_on=True) == ("好\n", "")
    assert talk(dialogue(Scripted([["好"]]), card=Persona(name="林黛玉")), "你好") == ("好\n", "")
