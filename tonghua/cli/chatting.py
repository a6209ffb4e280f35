"""A chat in a terminal, through a pipe or as JSON: reads lines, obeys commands, shows answers as they come.

messages go to stderr, names of speakers too; answers go to stdout, or with `as_json` one object for each
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, ResourceError, UsageError
from ..system.environment import home
from ..system.files import is_there, replace_file, user_path
from ..terminal.chat_commands import COMMANDS, Entered, parse, typed_names
from ..terminal.printer import Pieces, put, put_json
from ..text import Text, one_line, printable, shown

if TYPE_CHECKING:
    from ..inference.dialogue import Dialogue, Speaker, Stream
    from ..inference.engine import Answer
    from ..terminal.screen import Screen

HISTORY = "chat_history.jsonl"

_ROWS, _TEXTS = (".jsonl",), (".txt", ".md")


class Chat:
    """One chat: what the user types goes in, what is said comes out.

    keeps_on   Ctrl-C stops an answer and the chat goes on, as people expect in a terminal
    duet       number of answers that the speakers give each other for each message; 0: they answer the user
    """

    def __init__(
        self, dialogue: "Dialogue", screen: "Screen", as_json: bool = False, keeps_on: bool = False, duet: int = 0
    ):
        self.dialogue, self.screen, self.as_json, self.keeps_on, self.duet = dialogue, screen, as_json, keeps_on, duet
        self._saved: set[Path] = set()
        self._commands: dict[str, Callable[[str], None]] = {
            "new": self._new,
            "retry": self._retry,
            "undo": self._undo,
            "compare": self._compare,
            "to": self._to,
            "set": self._set,
            "system": self._system,
            "save": self._save,
            "help": self._help,
        }

    def greet(self) -> None:
        """Show the greeting of each who has one."""
        for speaker in self.dialogue.speakers:
            if speaker.card.greeting:
                self._lines(f"{shown(speaker.name, 60)}：{speaker.card.greeting}")

    def run(self, lines: Iterator[str]) -> None:
        """Answer each line until the user leaves; a mistake is printed, and the chat goes on."""
        for line in lines:
            if not line.strip():
                continue
            entered = parse(line)
            if entered == Entered("quit", ""):
                return
            try:
                self.take(entered)
            except (DataError, UsageError, ResourceError) as error:
                self.screen.say(*error.text)

    def take(self, entered: Entered | str | Text) -> None:
        """Obey a command, answer a message, or tell what is wrong. Raises the user's mistakes."""
        if isinstance(entered, Text):
            self.screen.say(*entered)
        elif isinstance(entered, str):
            self.answer(entered)
        elif entered.name in self._commands:
            self._commands[entered.name](entered.argument)

    def answer(self, text: str) -> None:
        """Show the answer to a message, or the duet that it begins."""
        if not self.duet:
            self._show(self.dialogue.speaker, self.dialogue.ask(text))
            return
        for speaker, stream in self.dialogue.duet(text, self.duet):
            if self._show(speaker, stream) is None:
                return

    def show_alone(self, text: str, echo: bool) -> "Answer":
        """Return the answer to one message; if `echo`, show it as it comes."""
        stream = self.dialogue.ask(text)
        answer = self._read(stream, None) if echo else [*stream][-1]
        assert answer is not None and not isinstance(answer, str)
        return answer

    def _show(self, speaker: "Speaker", stream: "Stream") -> "Answer | None":
        """Show one answer as it comes; return None if Ctrl-C stopped it."""
        answer = self._read(stream, self._called(speaker))
        if answer is not None and self.as_json:
            several = {"speaker": speaker.name} if len(self.dialogue.speakers) > 1 else {}
            put_json({**asdict(answer), **several})
        return answer

    def _read(self, stream: "Stream", name: str | None) -> "Answer | None":
        from ..inference.engine import Answer

        pieces, answer = Pieces(), None
        begun = False
        try:
            # Closed at once: what keeps a half-read stream alive is not always gone with this block.
            with closing(stream):
                for piece in stream:
                    if name is not None:
                        self._name(name)
                        name = None
                    if isinstance(piece, Answer):
                        answer = piece
                    else:
                        begun = True
                        pieces.add(piece)
        except KeyboardInterrupt:
            if not self.keeps_on:
                raise
            answer = None
            if begun:
                pieces.end()
            self.screen.say(
                "停下了；说出来的都留着" if begun else "停下了；还没有说什么",
                "stopped; what was said is kept" if begun else "stopped before anything was said",
            )
        else:
            pieces.end()
        return answer

    def _called(self, speaker: "Speaker") -> str | None:
        """Return what stands before an answer: the name, if there are several, or if a person reads a card's name."""
        is_named = len(self.dialogue.speakers) > 1 or (self.keeps_on and speaker.card.name is not None)
        return f"{shown(speaker.name, 60)}：" if is_named else None

    def _name(self, name: str) -> None:
        """Show who answers: on the line of the answer in a terminal, else on a line of messages."""
        put(name, sys.stderr, end="" if sys.stdout.isatty() and sys.stderr.isatty() else "\n")

    def _new(self, argument: str) -> None:
        self.dialogue.new()
        if self.keeps_on:
            self.screen.say("重新开始", "starting over")

    def _retry(self, argument: str) -> None:
        self._show(self.dialogue.speaker, self.dialogue.retry())

    def _undo(self, argument: str) -> None:
        self.dialogue.undo()
        left = len(self.dialogue.said)
        last = shown(self.dialogue.said[-1].text, 40) if left else ""
        self.screen.say(
            f"撤回了；现在最后一句是：{last}" if left else "撤回了；现在什么也没有说过",
            f"taken back; the last words now are: {last}" if left else "taken back; nothing is said now",
        )

    def _compare(self, argument: str) -> None:
        names = Text("训练前", "before").to(self.screen.language), Text("训练后", "after").to(self.screen.language)
        found: dict[str, object] = {}
        for tuned, stream in self.dialogue.compare(argument or None):
            answer = self._read(stream, f"【{names[tuned]}】")
            if answer is None:
                return
            found["tuned" if tuned else "base"] = answer.text
        if self.as_json:
            put_json({"compared": argument or None, **found})

    def _to(self, argument: str) -> None:
        if not argument:
            for speaker in self.dialogue.speakers:
                self._introduce(speaker)
            return
        name = shown(self.dialogue.switch(argument).name, 60)
        self.screen.say(f"现在由 {name} 回答", f"{name} answers now")

    def _introduce(self, speaker: "Speaker") -> None:
        name, run = shown(speaker.name, 60), shown(speaker.run, 80)
        self.screen.say(f"{name}（{run}）", f"{name} ({run})")
        for text in filter(None, (speaker.card.portrait, *speaker.card.examples)):
            self._lines(f"  {text}")

    def _set(self, argument: str) -> None:
        # An input method for Chinese writes the full-width sign.
        pairs = [pair.partition("=") for pair in argument.replace("＝", "=").split()]
        if not all(equals for _, equals, _ in pairs):
            raise UsageError(
                "要写成 /设置 名字=值，例如 /设置 temperature=0.8",
                "write /set KEY=VALUE, such as /set temperature=0.8",
            )
        changes = {key.removeprefix("sampling.").replace("-", "_"): value for key, _, value in pairs}
        values = self.dialogue.set(changes).model_dump()
        kept = {key: value for key, value in values.items() if not changes or key in changes}
        self.screen.say(*(" ".join(f"{key}={'none' if value is None else value}" for key, value in kept.items()),) * 2)

    def _system(self, argument: str) -> None:
        system = self.dialogue.speaker.teller.run.contract.system
        if argument:
            raise UsageError(
                "系统提示词在训练时就定下了，换一句，它就不再是学过的样子；想换请用 system=… 重新训练",
                "the system prompt was settled in training, and under another one the run is not what it learned to be;"
                " to change it, train again with system=…",
            )
        if system is None:
            self.screen.say("没有系统提示词，用的是模板自带的", "no system prompt is set; the template's own is used")
        else:
            self._lines(system)

    def _lines(self, text: str) -> None:
        for line in printable(text).split("\n"):
            self.screen.say(line, line)

    def _save(self, argument: str) -> None:
        if not self.dialogue.said:
            raise UsageError("还没有说过话，没有可存的", "nothing was said yet, so there is nothing to keep")
        path = _target(argument, self._saved)
        you = Text("你", "You").to(self.screen.language)
        is_rows = path.suffix.lower() in _ROWS
        text = self.dialogue.json_lines() if is_rows else self.dialogue.transcript(you)
        try:
            replace_file(path, text.encode("utf-8", errors="replace"))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "?"
            raise ResourceError(
                f"写不进 {shown(path)}（{why}）；请换一个文件名或文件夹",
                f"cannot write {shown(path)} ({why}); name another file or folder",
            ) from error
        self._saved.add(path.absolute())
        self.screen.say(f"存好了：{one_line(str(path))}", f"kept in {one_line(str(path))}")
        cut_off = sum(not each.whole for each in self.dialogue.said)
        if is_rows and cut_off:
            self.screen.say(
                f"其中 {cut_off} 个没说完的回答标了 loss: false，训练时只作上文，不学",
                f"{cut_off} of its answers were cut off; marked loss: false, they are context and not learned",
            )

    def _help(self, argument: str) -> None:
        language = self.screen.language
        for command in COMMANDS:
            names = [f"/{command.name}", f"/{command.zh_name}"]
            called = " ".join([*(names[::-1] if language == "zh" else names), command.argument.to(language)]).strip()
            self.screen.say(f"{called}：{command.does.zh}", f"{called}: {command.does.en}")


def _target(argument: str, saved: set[Path]) -> Path:
    """Return the file that the user named. Raises UsageError if its ending is unknown or it is there already."""
    written = argument.strip()
    if len(written) > 1 and written[0] == written[-1] and written[0] in "\"'":
        written = written[1:-1]
    path = user_path(written)
    if path.suffix.lower() not in (*_ROWS, *_TEXTS):
        raise UsageError(
            "要写文件名：以 .jsonl 结尾的可用来训练，以 .txt 或 .md 结尾的给人看",
            "name a file that ends in .jsonl, to train on, or in .txt or .md, to read",
        )
    if is_there(path) and path.absolute() not in saved:
        raise UsageError(
            f"{shown(path)} 已经在了，不会覆盖；请换一个名字",
            f"{shown(path)} is there already and is not overwritten; take another name",
        )
    return path


def typed_lines(dialogue: "Dialogue", screen: "Screen") -> Iterator[str]:
    """Yield what the user types in a terminal, with line editing and history."""
    from ..terminal.line_editor import open_editor

    editor = open_editor(
        home() / HISTORY,
        typed_names(),
        lambda: screen.say("再按一次 Ctrl-C 就离开", "Ctrl-C once more leaves"),
    )
    while True:
        several = len(dialogue.speakers) > 1
        line = editor.read(f"[{shown(dialogue.speaker.name, 60)}] > " if several else "> ")
        if line is None:
            return
        yield line


def plain_lines() -> Iterator[str]:
    """Yield the lines that the user types, or those of a pipe, as they are."""
    while True:
        if sys.stdin.isatty():
            put("> ", sys.stderr, end="")
        line = sys.stdin.readline()
        if not line:
            return
        yield line.rstrip("\r\n")
