"""Shared by all commands: options, arguments and the screen."""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..system.environment import language
from ..text import Text

if TYPE_CHECKING:
    from ..terminal.screen import Screen


def program() -> str:
    """Return the command that calls this program again."""
    if shutil.which("tonghua"):
        return "tonghua"
    start = Path(sys.argv[0])
    return f"{sys.executable} -m tonghua" if start.suffix == ".py" else str(start)


def help_text(zh: str, en: str) -> str:
    """Return the text in the user's language."""
    return Text(zh, en).to(language())


AsJson = Annotated[bool, typer.Option("--json", help=help_text("最后一行输出 JSON", "print one JSON object last"))]

Debug = Annotated[
    bool, typer.Option("--debug", help=help_text("出错时显示完整的追踪", "show the traceback of a mistake"))
]

Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help=help_text("不联网，只用本机已有的模型", "no network: only what is on this machine already")
    ),
]


def split_arguments(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the one argument of a command, or None, and the config overrides after it."""
    if arguments and not _is_override(arguments[0]):
        return arguments[0], arguments[1:]
    return None, arguments


def _is_override(argument: str) -> bool:
    return argument.startswith("--") or ("=" in argument and not Path(argument).exists())


def new_screen() -> "Screen":
    """Return a screen in the user's language."""
    from ..terminal.screen import Screen

    return Screen(language())
