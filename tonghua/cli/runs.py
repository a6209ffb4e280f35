"""`tonghua train` makes a run, `chat` talks to it, `eval` compares it with its base."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError, UsageError
from .shared import (
    AsJson,
    Debug,
    Offline,
    help_text,
    load_settings,
    new_screen,
    print_json,
    require_model,
    split_arguments,
)

if TYPE_CHECKING:
    from ..config import Loaded, Sampling
    from ..engines import Teller
    from ..generate import Answer
    from ..prepare import Samples
    from ..prompt import Conversation, Message
    from ..show import Screen
    from ..training import Result


class StyleName(StrEnum):
    varied = "varied"
    steady = "steady"
    long = "long"
    short = "short"


def train_on(loaded: "Loaded", screen: "Screen") -> "Result":
    """Train, followed on the screen."""
    from ..training import train as run_training

    try:
        return run_training(loaded, screen.event)
    finally:
        screen.stop()


def train(context: typer.Context, offline: Offline = False, as_json: AsJson = False, debug: Debug = False) -> None:
    recipe, overrides = split_arguments(context.args)
    screen = new_screen()
    result = train_on(load_settings(recipe, overrides, screen, offline), screen)
    change = "" if result.heldout_loss is None else f"{result.heldout_loss:.3f}"
    screen.say(
        f"训练完成：{result.run}"
        + (f"（验证损失 {change}）" if change else "")
        + f"\n接着说话：tonghua chat {result.run}",
        f"done: {result.run}"
        + (f" (held-out loss {change})" if change else "")
        + f"\ntalk to it: tonghua chat {result.run}",
    )
    if as_json:
        print_json(asdict(result))


IN_A_RUN = ("model", "device", "dtype", "output_dir", "sampling")
"""What may be set anew when a finished run is opened; the rest is what it was trained with."""


def _open(
    run: str | None, overrides: list[str], style: StyleName | None, offline: bool, screen: "Screen"
) -> tuple["Teller", "Sampling"]:
    """A run and how it shall answer: the run's own sampling, then the style, then what was asked for."""
    from ..config import STYLES, load, parse_overrides
    from ..engines import open_teller
    from ..runs import open_run

    asked = {("sampling.seed" if key == "seed" else key): value for key, value in parse_overrides(overrides)}
    output_dir = Path(load(None, asked).config.output_dir).expanduser()
    opened = open_run(Path(run) if run else None, output_dir)
    config = load(opened.folder / "config.yaml", {**(STYLES[style] if style else {}), **asked}).config
    for key in type(config).model_fields:
        if key not in IN_A_RUN and getattr(config, key) != getattr(opened.config, key):
            raise UsageError(
                f"{key} 在训练时就定下了，现在不能改；请去掉它，或用新的值重新训练",
                f"{key} was settled in training and cannot be changed now; leave it out, or train again",
            )
    if run is None:
        screen.say(f"最新的结果：{opened.folder}", f"the newest run: {opened.folder}")
    require_model(config.model, offline, screen)
    return open_teller(opened, config.model, config.device, config.dtype), config.sampling


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
    from ..prompt import Message

    run, overrides = split_arguments(context.args)
    screen = new_screen()
    teller, sampling = _open(run, overrides, style, offline, screen)
    if prompt is not None:
        text = sys.stdin.read() if prompt == "-" else prompt
        answer = _answer(teller, [Message("user", text)], sampling, echo=not as_json)
        if as_json:
            print_json(asdict(answer))
        return
    talk(teller, sampling, screen, as_json)


def talk(teller: "Teller", sampling: "Sampling", screen: "Screen", as_json: bool) -> None:
    """A conversation, line by line, until the user leaves."""
    from ..prompt import Message

    contract, name = teller.run.contract, teller.run.folder.name
    screen.say(
        f"{contract.persona}（{name}，基座 {contract.base['name']}）。输入 exit 离开，clear 重新开始。",
        f"{contract.persona} ({name}, base {contract.base['name']}). exit leaves, clear starts over.",
    )
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
            print_json(asdict(answer))


def _lines() -> Iterator[str]:
    """What people type, or the lines of a pipe."""
    while True:
        if sys.stdin.isatty():
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        yield line.rstrip("\r\n")


def _answer(teller: "Teller", messages: list["Message"], sampling: "Sampling", echo: bool) -> "Answer":
    """The answer, its words on stdout as they come if `echo`."""
    for piece in teller.stream(messages, sampling):
        if not isinstance(piece, str):
            answer = piece
        elif echo:
            print(piece, end="", flush=True)
    if echo:
        print(flush=True)
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
        help=help_text("另外让两者各回答这么多题", "also let both answer so many prompts"),
    ),
]


def held_out(teller: "Teller", data: str | None = None) -> "Samples":
    """Rows that the run has not learned: those of `data`, else those that were held out in training."""
    from ..prepare import prepare, require_usable, split

    config = teller.run.config
    source = data or config.eval_dataset or config.dataset
    ready = prepare(config, teller.base, teller.engine.renderer, source)
    require_usable(ready, str(source), config.skip_bad_rows)
    if data is not None or config.eval_dataset is not None:
        return ready.samples
    samples = split(ready, config.val_size, config.seed)[1]
    if not len(samples):
        raise UsageError(
            "训练时没有留出验证数据；请用 --data 给出没训练过的数据",
            "nothing was held out in training; give rows with --data",
        )
    return samples


def compared(
    teller: "Teller", samples: "Samples", asked: Sequence["Conversation"], sampling: "Sampling", screen: "Screen"
) -> dict[str, Any]:
    """Base against tuned: the loss of the samples, and what both answer where something is asked."""
    from ..evaluate import compare_answers, compare_losses

    engine = teller.engine
    with screen.counting(2 * len(samples), "计算损失", "measuring the loss") as advance:
        found = compare_losses(engine.decoder, teller.adapter, samples.examples, samples.conversations, advance)
    found["generated"] = {}
    if asked:
        with screen.counting(2 * len(asked), "生成回答", "writing answers") as advance:
            found["generated"], texts = compare_answers(engine, teller.adapter, asked, sampling, advance)
        found["answers"] = texts
    return found


def evaluate(
    context: typer.Context,
    data: Data = None,
    generate: Generate = 0,
    style: Style = None,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    run, overrides = split_arguments(context.args)
    screen = new_screen()
    teller, sampling = _open(run, overrides, style, offline, screen)
    samples = held_out(teller, data)
    found = compared(teller, samples, samples.conversations[:generate] if generate else [], sampling, screen)
    screen.comparison(found)
    if as_json:
        print_json(found)
