"""`tonghua train` makes a run; `plan` estimates it, `chat` talks to it, `eval` compares it, `report` writes pages."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import api
from ..errors import DataError
from ..terminal.following import following
from ..terminal.printer import Pieces, put, put_json
from ..text import Text, shown
from .shared import AsJson, Debug, Offline, help_text, new_screen, split_arguments

if TYPE_CHECKING:
    from ..config.schema import Sampling
    from ..inference.engine import Answer
    from ..inference.teller import Teller
    from ..prompt.conversation import Message
    from ..terminal.screen import Screen


class StyleName(StrEnum):
    """Names of the styles in `config.schema.STYLES`."""

    varied = "varied"
    steady = "steady"
    long = "long"
    short = "short"


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


def _open(
    run: str | None, overrides: list[str], style: StyleName | None, offline: bool, screen: "Screen"
) -> tuple["Teller", "Sampling"]:
    """Return a run and its sampling. Here `seed` means that of the answers, not that of the training."""
    from ..config.overrides import parse_overrides
    from ..config.schema import STYLES
    from ..inference.opening import open_to_talk

    asked = {("sampling.seed" if key == "seed" else key): value for key, value in parse_overrides(overrides)}
    with following(screen.event) as tell:
        return open_to_talk(run, asked, STYLES[style] if style else {}, tell, offline)


Style = Annotated[
    StyleName | None,
    typer.Option(
        "--style",
        help=help_text("多变、稳重、长、短", "more variety, more coherence, longer, shorter"),
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        help=help_text("只问这一句就结束；- 表示从标准输入读", "ask this one thing and leave; - reads it from stdin"),
    ),
]


def chat(
    context: typer.Context,
    prompt: Prompt = None,
    style: Style = None,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Answer one prompt, or hold a conversation. Raises what `inference.opening.open_to_talk` raises."""
    from ..prompt.conversation import Message

    run, overrides = split_arguments(context.args)
    screen = new_screen()
    teller, sampling = _open(run, overrides, style, offline, screen)
    if prompt is not None:
        text = sys.stdin.read() if prompt == "-" else prompt
        answer = _answer(teller, [Message("user", text)], sampling, echo=not as_json)
        if as_json:
            put_json(asdict(answer))
        return
    talk(teller, sampling, screen, as_json)


def talk(teller: "Teller", sampling: "Sampling", screen: "Screen", as_json: bool) -> None:
    """Hold a conversation line by line until the user leaves. A DataError of an answer is printed and skipped."""
    from ..prompt.conversation import Message

    contract, name = teller.run.contract, teller.run.folder.name
    persona, base = shown(contract.persona), shown(contract.base["name"])
    if contract.persona is None:  # made elsewhere
        who = Text(f"{shown(name)}（基座 {base}）", f"{shown(name)} (base {base})")
    else:
        who = Text(f"{persona}（{name}，基座 {base}）", f"{persona} ({name}, base {base})")
    screen.say(f"{who.zh}。输入 exit 离开，clear 重新开始。", f"{who.en}. exit leaves, clear starts over.")
    history: list[Message] = []
    for line in _lines():
        if line.strip().lower() in ("exit", "quit", "退出"):
            break
        if line.strip().lower() in ("clear", "重来"):
            history = []
            continue
        if not line.strip():
            continue
        try:
            answer = _answer(teller, [*history, Message("user", line)], sampling, echo=True)
        except DataError as error:
            screen.say(*error.text)
            continue
        history += [Message("user", line), Message("assistant", answer.text)]
        if as_json:
            put_json(asdict(answer))


def _lines() -> Iterator[str]:
    """Yield the lines that the user types, or those of a pipe."""
    while True:
        if sys.stdin.isatty():
            put("> ", sys.stderr, end="")
        line = sys.stdin.readline()
        if not line:
            return
        yield line.rstrip("\r\n")


def _answer(teller: "Teller", messages: list["Message"], sampling: "Sampling", echo: bool) -> "Answer":
    """Return the answer; if `echo`, print its text on stdout as it comes."""
    pieces = Pieces()
    for piece in teller.stream(messages, sampling):
        if not isinstance(piece, str):
            answer = piece
        elif echo:
            pieces.add(piece)
    if echo:
        pieces.end()
    return answer


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
    teller, sampling = _open(run, overrides, style, offline, screen)
    with following(screen.event) as tell:
        found = evaluate_teller(teller, data, generate, sampling, tell)
    screen.comparison(found)
    if as_json:
        put_json(found)
