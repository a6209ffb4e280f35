"""The prompt of a chat in a terminal: line editing, several lines, and a history that stays.

    with the keyboard          Enter sends; Alt-Enter, or Enter after a backslash, begins a new line
    pasted                     line breaks are kept
    Tab                        completes a command
    Ctrl-C                     clears the line; twice leaves.  Ctrl-D leaves

chat_history.jsonl in the data folder holds one text of JSON per line, the newest last.
"""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.history import History
from prompt_toolkit.input import Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import Output, create_output

from ..text import json_text

MOST_ENTRIES = 500
"""Messages that the history keeps; the file holds up to twice as many."""

MOST_CHARACTERS = 2000
"""A longer message is not kept in the history."""

_MOST_BYTES = 2 * MOST_ENTRIES * (12 * MOST_CHARACTERS + 3)
"""A longer file is none of ours: JSON takes at most 12 bytes for a character."""


class ChatHistory(History):
    """The messages of earlier chats, in a file that only this user can read where the system has such a mode.

    A file that cannot be read or written, or a damaged line, is passed over: a chat goes on without its history.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self._count = 0  # lines in the file

    def load_history_strings(self) -> Iterable[str]:
        """Return the messages, the newest first."""
        entries = self._entries()
        self._count = len(entries)
        return reversed(entries)

    def store_string(self, string: str) -> None:
        """Add a message to the file; take the oldest out when there are twice too many."""
        if len(string) > MOST_CHARACTERS:
            return
        # Looked at again only now: writing the whole file for each message would be slow.
        entries = self._entries() if self._count >= 2 * MOST_ENTRIES else None
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if entries is not None:
                self._write("".join(map(_line, [*entries, string][-MOST_ENTRIES:])), "w")
                self._count = MOST_ENTRIES
            else:
                self._write(_line(string), "a")
                self._count += 1

    def _entries(self) -> list[str]:
        try:
            if self.path.stat().st_size > _MOST_BYTES:
                return []
            lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        except (OSError, ValueError):
            return []
        return list(_texts(lines))

    def _write(self, text: str, mode: Literal["w", "a"]) -> None:
        # Made with this mode and not changed to it afterwards: nobody else can open it in between.
        with open(self.path, mode, encoding="utf-8", newline="\n", opener=_private) as opened:
            opened.write(text)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _line(text: str) -> str:
    return json_text(text) + "\n"


def _texts(lines: Sequence[str]) -> Iterator[str]:
    for line in lines:
        with suppress(ValueError, RecursionError):
            text = json.loads(line)
            if isinstance(text, str):
                yield text


class LineEditor:
    """Reads messages from a terminal. `hint` tells after a first Ctrl-C how to leave."""

    def __init__(
        self,
        history: History,
        words: Sequence[str],
        hint: Callable[[], None],
        keys: Input | None = None,
        screen: Output | None = None,
    ):
        self._hint = hint
        self._session: PromptSession[str] = PromptSession(
            history=history,
            multiline=True,
            key_bindings=_bindings(words),
            completer=WordCompleter(list(words), sentence=True),
            complete_while_typing=False,
            prompt_continuation="  ",
            enable_history_search=False,
            input=keys,
            output=screen,
        )

    def read(self, prompt: str) -> str | None:
        """Return one message, or None if the user leaves."""
        was_interrupted = False
        while True:
            try:
                return self._session.prompt(prompt)
            except EOFError:
                return None
            except KeyboardInterrupt:
                # Only an empty line counts: with text on it, Ctrl-C means to write another one.
                if was_interrupted and not self._session.default_buffer.text:
                    return None
                was_interrupted = True
                self._hint()


def _bindings(words: Sequence[str]) -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.is_cursor_at_the_end and buffer.text.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.newline(copy_margin=False)
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def begin_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @bindings.add("tab")
    def complete(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        found = [word for word in words if buffer.text and word.startswith(buffer.text.replace("／", "/"))]
        if len(found) == 1:
            buffer.text = found[0] + " "
            buffer.cursor_position = len(buffer.text)
        elif found:
            buffer.start_completion(select_first=False)

    return bindings


def open_editor(path: Path, words: Sequence[str], hint: Callable[[], None]) -> LineEditor:
    """Return an editor on this terminal, which draws on stderr: stdout carries the answers alone."""
    return LineEditor(ChatHistory(path), words, hint, screen=create_output(stdout=sys.stderr))
