"""What the verbs share: language, options, the settings, the screen, and models that are fetched when named."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..system.environment import language
from ..system.signals import stopping
from ..text import Text

if TYPE_CHECKING:
    from ..config.load import Loaded
    from ..models.delivery import Downloaded
    from ..terminal.screen import Screen

KEPT = Text(
    "下载已停下；下载好的部分保留着，再运行一次会从断开的地方继续",
    "the download has stopped; what has come is kept, run it again and it goes on from there",
)


def program() -> str:
    """How this program can be called again from here."""
    if shutil.which("tonghua"):
        return "tonghua"
    start = Path(sys.argv[0])
    return f"{sys.executable} -m tonghua" if start.suffix == ".py" else str(start)


def help_text(zh: str, en: str) -> str:
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
    """The verb's one argument, if there is one, and the config overrides after it."""
    if arguments and not _is_override(arguments[0]):
        return arguments[0], arguments[1:]
    return None, arguments


def _is_override(argument: str) -> bool:
    return argument.startswith("--") or ("=" in argument and not Path(argument).exists())


def runs_folder(asked: Mapping[str, Any]) -> Path:
    """Where the runs lie, by these settings."""
    from ..config.load import load
    from ..data.read.sources import user_path

    return user_path(load(None, asked).config.output_dir)


def new_screen(quiet: bool = False) -> "Screen":
    from rich.console import Console

    from ..terminal.screen import Screen

    return Screen(language(), Console(quiet=True) if quiet else None)


def load_settings(
    recipe: str | Path | None,
    overrides: Sequence[str] | Mapping[str, Any],
    screen: "Screen",
    offline: bool,
    dataset: str | None = None,
) -> "Loaded":
    """The settings, with this dataset if one is given; rows and model are on this machine from here on."""
    from ..config.load import load

    loaded = load(recipe, overrides)
    if dataset is not None:
        loaded = replace(loaded, config=loaded.config.model_copy(update={"dataset": dataset}))
    return require_settings(loaded, screen, offline)


def require_settings(loaded: "Loaded", screen: "Screen", offline: bool) -> "Loaded":
    """The same settings; their rows and model are on this machine from here on."""
    from ..data.names import require_datasets

    require_datasets(loaded.config)
    for note in loaded.notes:
        screen.note(note)
    require_model(loaded.config.model, offline, screen)
    return loaded


def print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, ensure_ascii=False), flush=True)


def require_model(model: str | None, offline: bool, screen: "Screen") -> None:
    """Download a model that is only named, before anything opens it."""
    from ..models import store

    if store.on_disk(model) is None:
        download_model(str(model), screen, offline=offline)


def download_model(name: str, screen: "Screen", **options: Any) -> "Downloaded":
    """`fetch.download`, followed on the screen. Raises Stopped after a signal, with what has come kept."""
    from ..models.download import download

    try:
        with stopping(KEPT):
            done = download(name, on_progress=screen.download, **options)
    finally:
        screen.stop()
    if done.bytes:
        screen.say(f"下载完成：{done.path}", f"downloaded: {done.path}")
    else:
        screen.say(f"本机已经有了：{done.path}", f"already on this machine: {done.path}")
    show_unchecked(done.unchecked, screen)
    return done


def show_unchecked(files: Sequence[str], screen: "Screen") -> None:
    more = len(files) - 3
    zh, en = (f" 等 {len(files)} 个文件", f" and {more} more") if more > 0 else ("", "")
    if files:
        names = Text("、".join(files[:3]) + zh, ", ".join(files[:3]) + en)
        note = Text(
            f"没有校验值可以比对，无法确认内容完好：{names.zh}",
            f"no hash is known, so this was not checked: {names.en}",
        )
        screen.note(note)
