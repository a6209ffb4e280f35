"""Prints on stdout and stderr what may hold a stranger's text: rows, names, answers, errors of libraries.

    put("the run is in a\\x1b[2Jb")            one line; an escape sequence is shown and not obeyed
    put_json({"text": "a\\x1b[2Jb"})           one line of JSON that reads back as it was
    Pieces().add("a\\x1b"), .add("[2Jb")       an answer as it comes, of several lines
    results().print(table)                   a table of rich on stdout

Nothing else in the package prints, except `screen.Screen`, which goes through the same functions of `text`.
"""

import sys
from types import TracebackType
from typing import IO, TYPE_CHECKING

from ..text import json_text, one_line, printable
from .reasoning import ReasoningSplitter

if TYPE_CHECKING:
    from rich.console import Console


def put(line: str, file: IO[str] | None = None, end: str = "\n") -> None:
    """Print one line on `file`, or stdout."""
    print(one_line(line), file=file, end=end, flush=True)


def put_json(values: dict[str, object]) -> None:
    """Print one JSON object as a line on stdout."""
    print(json_text(values), flush=True)


def put_error(message: str) -> None:
    """Print an error on stderr: its first line, and the others indented, so that none can pass for another message."""
    first, *others = printable(message).split("\n")
    lines = [first, *(line if line.startswith("  ") else f"  {line}" for line in others)]
    print("\n".join(lines), file=sys.stderr, flush=True)


def put_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback on stderr; for `sys.excepthook`."""
    import traceback

    print(printable("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr, flush=True)


class Pieces:
    """Prints a text on stdout piece by piece as `printable` shows the whole; on a terminal, reasoning is dimmed."""

    def __init__(self) -> None:
        self._held = ""  # a carriage return, whose line feed may come with the next piece
        self._last = ""  # the last character: it decides if a joiner after it is shown
        self._console = results() if sys.stdout.isatty() else None
        self._reasoning = ReasoningSplitter()

    def add(self, piece: str) -> None:
        """Print one more piece."""
        for text, is_reasoning in self._reasoning.add(piece) if self._console else [(piece, False)]:
            self._add(text, is_reasoning)

    def end(self) -> None:
        """Print what is held back, and a line break."""
        for text, is_reasoning in self._reasoning.end():
            self._add(text, is_reasoning)
        self._print(self._held, False)
        print(flush=True)

    def _add(self, piece: str, is_dim: bool) -> None:
        text = self._held + piece
        self._held = "\r" if text.endswith("\r") else ""
        self._print(text.removesuffix("\r"), is_dim)

    def _print(self, text: str, is_dim: bool) -> None:
        before = printable(self._last)
        shown = printable(self._last + text)[len(before) :]
        if is_dim and self._console:
            self._console.print(shown, style="dim", end="", soft_wrap=True)
            self._console.file.flush()
        else:
            print(shown, end="", flush=True)
        if text:
            self._last = text[-1]


def results() -> "Console":
    """Return a console of rich for tables on stdout. It takes no markup."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False)
