"""The commands of a chat, each with its Chinese name.

parse("/set temperature=0.8")    Entered("set", "temperature=0.8")
parse("／对 黛玉")                Entered("to", "黛玉")
parse("//usr/bin 是什么？")       "/usr/bin 是什么？", a message that begins with a slash
parse("exit")                    Entered("quit", ""); these few words need no slash
"""

import difflib
from dataclasses import dataclass
from typing import Final

from ..text import Text, shown


@dataclass(frozen=True, slots=True)
class Command:
    """One command: its names, what follows it, and what it does."""

    name: str
    zh_name: str
    argument: Text
    does: Text


@dataclass(frozen=True, slots=True)
class Entered:
    """A command that the user typed, by its English name, and the text after it."""

    name: str
    argument: str


_NOTHING: Final = Text("", "")

COMMANDS: Final = (
    Command("new", "新话题", _NOTHING, Text("忘掉说过的话，重新开始", "forget what was said and start over")),
    Command("retry", "重说", _NOTHING, Text("换一个回答", "another answer to the last message")),
    Command("undo", "撤回", _NOTHING, Text("撤回上一问和它的回答", "take back the last message and its answer")),
    Command(
        "compare",
        "对比",
        Text("[问题]", "[QUESTION]"),
        Text("没训练过的基座会怎么说；不留在对话里", "what the base would say; not kept in the conversation"),
    ),
    Command(
        "to",
        "对",
        Text("[名字]", "[NAME]"),
        Text(
            "换一位来回答，写开头几个字就够；不写就看有谁",
            "let another one answer, by the start of a name; alone it says who is here",
        ),
    ),
    Command(
        "set",
        "设置",
        Text("[名字=值 …]", "[KEY=VALUE …]"),
        Text("看或改采样，如 temperature=0.8", "show or change sampling, such as temperature=0.8"),
    ),
    Command("system", "系统", _NOTHING, Text("看系统提示词", "show the system prompt")),
    Command(
        "save",
        "保存",
        Text("文件", "FILE"),
        Text(
            "存下对话：.jsonl 可用来训练，.txt 或 .md 给人看",
            "keep the conversation: .jsonl to train on, .txt or .md to read",
        ),
    ),
    Command("help", "帮助", _NOTHING, Text("看这些命令", "show these commands")),
    Command("quit", "再见", _NOTHING, Text("离开", "leave")),
)

_NAMES: Final = {name: command.name for command in COMMANDS for name in (command.name, command.zh_name)}

_WORDS: Final = {"exit": "quit", "quit": "quit", "退出": "quit", "clear": "new", "重来": "new"}
"""Whole messages that are commands without a slash."""

SLASHES: Final = "/／"


def typed_names() -> list[str]:
    """Return all commands as they are typed."""
    return [f"/{name}" for name in _NAMES]


def parse(line: str) -> Entered | str | Text:
    """Return a command, or the message that the line is, or what to tell about a command that there is not."""
    text = line.strip()
    word = _WORDS.get(text.lower())
    if word is not None:
        return Entered(word, "")
    if not text or text[0] not in SLASHES:
        return line
    if text[1:2] and text[1] in SLASHES:
        return text[1:]
    name, *rest = text[1:].split(maxsplit=1) or [""]
    found = _NAMES.get(name.lower())
    if found is not None:
        return Entered(found, rest[0] if rest else "")
    near = (
        next(iter(difflib.get_close_matches(name.lower(), _NAMES, n=1, cutoff=0.5)), None) if len(name) < 40 else None
    )
    short = shown(name, 40)
    return Text(
        f"没有命令 /{short}；" + (f"是不是想写 /{near}？" if near else "/帮助 看有哪些，以 // 开头就当作一句话"),
        f"there is no command /{short}; "
        + (f"did you mean /{near}?" if near else "/help lists them, and // begins a message with a slash"),
    )
