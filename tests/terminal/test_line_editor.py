"""The prompt of a chat, driven by keys: lines, pastes, history, leaving. No real terminal is needed."""

import json
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput

from tonghua.terminal.chat_commands import typed_names
from tonghua.terminal.line_editor import MOST_CHARACTERS, MOST_ENTRIES, ChatHistory, LineEditor

ENTER, ALT_ENTER, CTRL_C, CTRL_D, UP = "\r", "\x1b\r", "\x03", "\x04", "\x1b[A"


@pytest.fixture
def keys() -> Iterator[PipeInput]:
    with create_pipe_input() as made:
        yield made


def editor(keys: PipeInput, history: ChatHistory | None = None, hint: Callable[[], None] = lambda: None) -> LineEditor:
    return LineEditor(history or InMemoryHistory(), typed_names(), hint, keys=keys, screen=DummyOutput())


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (f"雪停了没有？{ENTER}", "雪停了没有？"),
        (f"一{ALT_ENTER}二{ENTER}", "一\n二"),
        (f"一\\{ENTER}二\\{ENTER}三{ENTER}", "一\n二\n三"),
        (f"a\\b{ENTER}", "a\\b"),
        (f"\x1b[200~一\r\n二\n三\x1b[201~{ENTER}", "一\n二\n三"),
        (f"黛玉\x7f雨{ENTER}", "黛雨"),
        (f"/und\t{ENTER}", "/undo "),
        (f"／重\t{ENTER}", "/重说 "),
        (f"/s\t{ENTER}", "/s"),
        (f"und\t{ENTER}", "und"),
        (ENTER, ""),
    ],
    ids=[
        "line",
        "alt-enter",
        "backslash",
        "backslash inside",
        "paste",
        "backspace",
        "tab",
        "tab zh",
        "tab of several",
        "tab of none",
        "empty",
    ],
)
def test_keys_become_a_message(keys: PipeInput, typed: str, text: str) -> None:
    keys.send_text(typed)
    assert editor(keys).read("> ") == text


def test_ctrl_d_leaves(keys: PipeInput) -> None:
    keys.send_text(CTRL_D)
    assert editor(keys).read("> ") is None


def test_ctrl_c_leaves_only_when_it_comes_twice(keys: PipeInput) -> None:
    hints: list[int] = []
    reading = editor(keys, hint=lambda: hints.append(1))
    keys.send_text(f"写错了{CTRL_C}")
    keys.send_text(f"好{ENTER}")
    assert (reading.read("> "), len(hints)) == ("好", 1)
    keys.send_text(f"{CTRL_C}再写{CTRL_C}")
    keys.send_text(CTRL_C)
    assert reading.read("> ") is None
    assert len(hints) == 3


# History


def test_what_was_typed_comes_back_in_the_next_chat(keys: PipeInput, folder: Path) -> None:
    path = folder / "新 文件夹" / "chat_history.jsonl"
    keys.send_text(f"第一句{ENTER}")
    assert editor(keys, ChatHistory(path)).read("> ") == "第一句"
    keys.send_text(f"第\\{ENTER}二句{ENTER}")
    assert editor(keys, ChatHistory(path)).read("> ") == "第\n二句"
    assert path.read_text(encoding="utf-8") == '"第一句"\n"第\\n二句"\n'
    assert [*ChatHistory(path).load_history_strings()] == ["第\n二句", "第一句"]


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps a user's data folder private by its own lists")
def test_only_the_user_can_read_the_history(folder: Path) -> None:
    path = folder / "h.jsonl"
    ChatHistory(path).store_string("秘密")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_history_is_bounded(folder: Path) -> None:
    path = folder / "h.jsonl"
    history = ChatHistory(path)
    history.store_string("长" * (MOST_CHARACTERS + 1))
    assert not path.exists()
    for number in range(2 * MOST_ENTRIES + 1):
        history.store_string(str(number))
    kept = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert kept == [str(number) for number in range(MOST_ENTRIES + 1, 2 * MOST_ENTRIES + 1)]
    assert next(iter(ChatHistory(path).load_history_strings())) == str(2 * MOST_ENTRIES)


@pytest.mark.parametrize("text", ["a\u2028b", "\x1b[2J", "\ud800", '"', "\\", "🦊" * MOST_CHARACTERS])
def test_any_text_comes_back(folder: Path, text: str) -> None:
    ChatHistory(folder / "h.jsonl").store_string(text)
    assert [*ChatHistory(folder / "h.jsonl").load_history_strings()] == [text]


def test_a_damaged_history_does_not_stop_a_chat(folder: Path) -> None:
    path = folder / "h.jsonl"
    path.write_bytes(b'"one"\n{"a": 1}\n\xff\xfe\nnull\n' + b"[" * 100_000 + b'\n"two"\n')
    assert [*ChatHistory(path).load_history_strings()] == ["two", "one"]
    path.unlink()
    path.mkdir()
    history = ChatHistory(path)
    history.store_string("好")
    assert [*history.load_history_strings()] == []
