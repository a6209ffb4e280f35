"""`tonghua train` makes a run; `plan` estimates it, `eval` compares it, `report` writes pages."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .. import api
from ..terminal.following import following
from ..terminal.printer import put, put_json
from .shared import AsJson, Debug, Offline, Style, help_text, new_screen, open_to_talk, split_arguments


def report(context: typer.Context, as_json: AsJson = False, debug: Debug = False) -> None:
    """Write the report of a run and print its path. Raises what `api.report` raises."""
    from ..config.overrides import parse_overrides
    from ..runs.folder import LOSS_PLOT, runs_folder

    named, overrides = split_arguments(context.args)
    page = api.report(named, output_dir=runs_folder(dict(parse_overrides(overrides))), on_event=new_screen().event)
    if as_json:
        put_json({"report": str(page), "loss_plot": str(page.with_name(LOSS_PLOT))})
    else:
        put(str(page))


Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help=help_text(
            "接着训练：后面写那次训练的文件夹，不写就是最近没训练完的",
            "resume a run: its folder follows, or none for the newest unfinished one",
        ),
    ),
]


def train(
    context: typer.Context,
    resume: Resume = False,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Train, or resume a run. Raises what `api.train` and `api.resume` raise."""
    from ..config.overrides import parse_overrides
    from ..system.files import quoted

    named, overrides = split_arguments(context.args)
    screen = new_screen()
    with following(screen.event) as tell:
        if resume:
            result = api.resume_run(named, dict(parse_overrides(overrides)), tell, offline)
        else:
            result = api.train_run(api.load_settings(named, overrides, tell, offline), tell)
    change = "" if result.heldout_loss is None else f"{result.heldout_loss:.3f}"
    screen.say(
        f"训练完成：{result.run}" + (f"（验证损失 {change}）" if change else ""),
        f"done: {result.run}" + (f" (held-out loss {change})" if change else ""),
    )
    path = quoted(Path(result.run))
    screen.say(f"看看变好没有：tonghua eval {path}", f"is it better: tonghua eval {path}")
    screen.say(f"接着说话：tonghua chat {path}", f"talk to it: tonghua chat {path}")
    if as_json:
        put_json(asdict(result))


def plan(context: typer.Context, offline: Offline = False, as_json: AsJson = False, debug: Debug = False) -> None:
    """Print what a run would take. Raises what `api.plan` raises."""
    recipe, overrides = split_arguments(context.args)
    screen = new_screen()
    with following(screen.event) as tell:
        found = api.plan_run(api.load_settings(recipe, overrides, tell, offline), tell)
    screen.estimate(found)
    if as_json:
        put_json(asdict(found))


Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help=help_text(
            "没训练过的数据；不给就用训练时留出的", "rows it has not learned; none = those held out in training"
        ),
    ),
]
Generate = Annotated[
    int,
    typer.Option(
        "--generate",
        min=0,
        max=1000,
        help=help_text("让两者各回答这么多题，0 为不答", "prompts that both answer; 0 = none"),
    ),
]


def evaluate(
    context: typer.Context,
    data: Data = None,
    generate: Generate = api.ANSWERS,
    style: Style = None,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Compare a run with its base. Raises what `api.evaluate` raises."""
    from ..evaluation.evaluate import evaluate_teller

    run, overrides = split_arguments(context.args)
    screen = new_screen()
    ((teller, sampling),) = open_to_talk([run], overrides, style, offline, screen)
    with following(screen.event) as tell:
        found = evaluate_teller(teller, data, generate, sampling, tell)
    screen.comparison(found)
    if as_json:
        put_json(found)
