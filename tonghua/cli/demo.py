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
from .runs import talk
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

WISHES = (
    "请写一个关于刺猬的童话，让孩子懂得分享。",
    "给我讲一个下雨天的睡前故事，主角是一把雨伞。",
    "孩子总是等不及，请编一个小种子的故事。",
)
"""Prompts for both models; none of them is in the dataset."""

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
    from ..data.names import named

    screen = new_screen()
    with following(screen.event) as tell:
        loaded = _settings(model, context.args, tell, offline)
    rows = named(loaded.config.dataset)
    screen.say(
        f"用 {rows} 教 {loaded.config.model} 写童话，然后看训练前后各写得怎样。",
        f"{loaded.config.model} learns from {rows}; then see what it writes, before and after.",
    )
    with following(screen.event) as tell:
        result = api.train_run(loaded, tell)
        teller, found = _compared(result.run, tell)
    screen.comparison(found, with_figures=False)
    _what_next(result.run, loaded, screen)
    if as_json:
        put_json({**asdict(result), **found})
    elif sys.stdin.isatty() and sys.stdout.isatty():
        talk(teller, teller.run.config.sampling, screen, as_json=False)


def _settings(model: str | None, arguments: list[str], tell: OnEvent, offline: bool) -> "Loaded":
    """Return the settings of the demo; another model than `tiny` gets the recipe `fairytale`, on the same rows."""
    from ..config.load import load
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
        shipped = load("demo").config
        rows = {"dataset": shipped.dataset, "eval_dataset": shipped.eval_dataset}
        recipe, settings = "fairytale", {"model": model, **rows, "run_name": "demo", **asked}
    return api.load_settings(recipe, [f"{key}={value}" for key, value in settings.items()], tell, offline)


def _compared(run: str, tell: OnEvent) -> tuple["Teller", dict[str, Any]]:
    """Return the trained run, opened, and its comparison with the base. The wishes are asked first."""
    from ..evaluation.evaluate import ANSWERS, compared, held_out
    from ..inference.teller import open_teller
    from ..prompt.conversation import Conversation, Message
    from ..runs.folder import open_run

    teller = open_teller(open_run(Path(run), Path(run).parent))
    asked = [Conversation((Message("user", wish), Message("assistant", ""))) for wish in WISHES]
    rows = held_out(teller)
    # More than are shown: three answers show what was learned, and prove nothing.
    asked += rows.first_parts.conversations[: ANSWERS - len(asked)]
    return teller, compared(teller, rows, asked, teller.run.config.sampling, tell)


def _what_next(run: str, loaded: "Loaded", screen: "Screen") -> None:
    """Print commands to try next; with `tiny` they repeat the rate and rank of the demo, which it needs."""
    from ..models.shipped import TINY
    from ..system.files import quoted

    config, call, path = loaded.config, program(), quoted(Path(run))
    train = f"model={config.model}"
    if config.model == TINY:
        train += f" learning_rate={config.learning_rate} lora_rank={config.lora_rank} lora_alpha={config.lora_alpha}"
    screen.say(f"结果在 {run}", f"the run is in {run}")
    screen.say("接着可以：", "next:")
    screen.say(f"  {call} chat {path}    和它说话", f"  {call} chat {path}    talk to it")
    screen.say(
        f"  {call} train fairytale dataset=你的数据.json {train}    用自己的数据训练",
        f"  {call} train fairytale dataset=YOUR_ROWS.json {train}    your own rows",
    )
    if config.model == TINY:
        screen.say(
            f"  {call} demo --model qwen2.5-0.5b    换成真的 Qwen2.5（下载约 1 GB，没有显卡约半小时）",
            f"  {call} demo --model qwen2.5-0.5b    on a real Qwen2.5 (1 GB to fetch, half an hour without a GPU)",
        )
