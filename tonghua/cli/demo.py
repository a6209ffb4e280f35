"""`tonghua demo`: train, compare and talk, on the model and rows that ship with tonghua; no talk without a terminal."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import api
from ..errors import UsageError
from ..terminal.following import OnEvent, following
from ..terminal.printer import put_json
from ..text import Text
from .chat import talk
from .shared import (
    AsJson,
    Debug,
    Offline,
    help_text,
    new_screen,
    program,
    split_arguments,
)

if TYPE_CHECKING:
    from ..config.load import Loaded
    from ..inference.teller import Teller
    from ..terminal.screen import Screen

ModelName = Annotated[
    str | None,
    typer.Option("--model", help=help_text("换一个模型，例如 qwen2.5-0.5b", "another model, such as qwen2.5-0.5b")),
]


def demo(
    context: typer.Context,
    model: ModelName = None,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train the demo, show answers before and after; in a terminal, start a conversation."""
    screen = new_screen()
    with following(screen.event) as tell:
        loaded = _settings(model, context.args, tell, offline)
    screen.say(*_what_comes(loaded))
    with following(screen.event) as tell:
        result = api.train_run(loaded, tell)
        teller, found = _compared(result.run, tell)
    screen.comparison(found, with_figures=False)
    _what_next(result.run, loaded, screen)
    if as_json:
        put_json({**asdict(result), **found})
    elif sys.stdin.isatty() and sys.stdout.isatty():
        talk(teller, teller.run.config.sampling, screen)


def _what_comes(loaded: "Loaded") -> Text:
    """Return what the demo is about to do."""
    from ..data.names import named
    from ..models.shipped import is_tiny

    model, rows = loaded.config.model, named(loaded.config.dataset)
    if is_tiny(str(model)):
        return Text(
            f"{model} 会讲简单的故事。现在用 {rows} 教它像小夜灯那样讲，再看训练前后各讲得怎样。",
            f"{model} tells plain stories. Now it learns from {rows} to tell them as a night lamp does; then see both.",
        )
    return Text(
        f"用 {rows} 教 {model} 写童话，再看训练前后各写得怎样。",
        f"{model} learns to write fairy tales from {rows}; then see what it writes, before and after.",
    )


def _settings(model: str | None, arguments: list[str], tell: OnEvent, offline: bool) -> "Loaded":
    """Return the settings of the demo; another model than `tiny` gets the recipe `fairytale` and its rows."""
    from ..config.overrides import parse_overrides
    from ..models.shipped import TINY, is_tiny

    recipe, overrides = split_arguments(arguments)
    if recipe is not None:
        raise UsageError(
            f"demo 后面不写 {recipe}；换模型请写 --model {recipe}",
            f"demo takes no {recipe}; for another model write --model {recipe}",
        )
    asked = dict(parse_overrides(overrides))
    model = model or asked.pop("model", TINY)
    recipe = "demo"
    settings: dict[str, object] = {**asked}
    if not is_tiny(model):
        rows = {"dataset": "fairytale", "eval_dataset": "fairytale.heldout"}
        recipe, settings = "fairytale", {"model": model, **rows, "run_name": "demo", **asked}
    return api.load_settings(recipe, [f"{key}={value}" for key, value in settings.items()], tell, offline)


def _compared(run: str, tell: OnEvent) -> tuple["Teller", dict[str, Any]]:
    """Return the trained run, opened, and its comparison with the base on the held-out rows."""
    from ..evaluation.evaluate import compared, held_out
    from ..inference.loading import open_teller
    from ..runs.folder import open_run

    teller = open_teller(open_run(Path(run), Path(run).parent))
    rows = held_out(teller)
    # More than are shown: three answers show what was learned, and prove nothing.
    asked = rows.first_parts.conversations[: api.ANSWERS]
    return teller, compared(teller, rows, asked, teller.run.config.sampling, tell)


def _what_next(run: str, loaded: "Loaded", screen: "Screen") -> None:
    """Print what to do next: talk, look, and the same on rows of one's own and on a real model."""
    from ..models.shipped import is_tiny
    from ..runs.report import REPORT
    from ..system.files import quoted

    call, path, model = program(), quoted(Path(run)), loaded.config.model
    own = "qwen2.5-0.5b" if is_tiny(str(model)) else model
    screen.say(f"结果在 {run}", f"the run is in {run}")
    screen.say("接着可以：", "next:")
    screen.say(f"  {call} chat {path}    和它说话", f"  {call} chat {path}    talk to it")
    page = quoted(Path(run) / REPORT)
    screen.say(f"  用浏览器打开 {page}    完整的故事和曲线", f"  open {page} in a browser    whole stories, curves")
    screen.say(
        f"  {call} train fairytale dataset=你的数据.json model={own}    用自己的数据训练",
        f"  {call} train fairytale dataset=YOUR_ROWS.json model={own}    your own rows",
    )
    if is_tiny(str(model)):
        screen.say(
            f"  {call} demo --model {own}    真的 Qwen2.5 学 130 篇童话（下载约 1 GB，没有显卡约半小时）",
            f"  {call} demo --model {own}    a real Qwen2.5 learns 130 fairy tales (1 GB to fetch, half an hour"
            " without a GPU)",
        )
