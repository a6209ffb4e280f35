"""Shared by all commands: options, arguments and the screen."""

import shutil
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..system.environment import language
from ..text import Text

if TYPE_CHECKING:
    from ..config.schema import Sampling
    from ..inference.teller import Teller
    from ..terminal.screen import Screen


class StyleName(StrEnum):
    """Names of the styles in `config.schema.STYLES`."""

    varied = "varied"
    steady = "steady"
    long = "long"
    short = "short"


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

Style = Annotated[
    StyleName | None,
    typer.Option(
        "--style",
        help=help_text("多变、稳重、长、短", "more variety, more coherence, longer, shorter"),
    ),
]


class EngineChoice(StrEnum):
    """The names of `inference.opening.EngineName`."""

    auto = "auto"
    torch = "torch"
    llama = "llama"


EngineOption = Annotated[
    EngineChoice,
    typer.Option(
        "--engine",
        help=help_text(
            "用什么来说话：llama 是 llama.cpp（快几倍）；auto 表示装了就用",
            "what answers: llama is llama.cpp, several times as fast; auto takes it if it is installed",
        ),
    ),
]


def split_arguments(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Return the one argument of a command, or None, and the config overrides after it."""
    if arguments and not _is_override(arguments[0]):
        return arguments[0], arguments[1:]
    return None, arguments


def split_runs(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Return the arguments of a command that takes several, and the config overrides after them."""
    first = next((at for at, argument in enumerate(arguments) if _is_override(argument)), len(arguments))
    return arguments[:first], arguments[first:]


def _is_override(argument: str) -> bool:
    return argument.startswith("--") or ("=" in argument and not Path(argument).exists())


def new_screen() -> "Screen":
    """Return a screen in the user's language."""
    from ..terminal.screen import Screen

    return Screen(language())


def open_to_talk(
    runs: Sequence[str | None],
    overrides: list[str],
    style: StyleName | None,
    offline: bool,
    screen: "Screen",
    engine: EngineChoice | None = None,
) -> list[tuple["Teller", "Sampling"]]:
    """Return runs and the sampling of each. Here `seed` means that of the answers, not that of the training.

    Without `engine` they are opened to be measured. Raises what `inference.opening.open_several` raises.
    """
    from ..config.overrides import parse_overrides
    from ..config.schema import STYLES
    from ..inference import opening
    from ..terminal.following import following

    asked = {("sampling.seed" if key == "seed" else key): value for key, value in parse_overrides(overrides)}
    drawn = STYLES[style] if style else {}
    named: opening.EngineName | None = engine.value if engine else None
    with following(screen.event) as tell:
        return opening.open_several(runs, asked, drawn, tell, offline, named)
