"""`tonghua train` makes a run, `chat` talks to it, `eval` compares it with its base."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataError, ResourceError, UsageError, UserError
from .shared import (
    AsJson,
    Debug,
    Offline,
    help_text,
    load_settings,
    new_screen,
    print_json,
    require_model,
    require_settings,
    runs_folder,
    split_arguments,
)

if TYPE_CHECKING:
    from ..config.load import Loaded
    from ..config.schema import Sampling
    from ..data.samples.samples import Samples
    from ..inference.engine import Answer
    from ..inference.teller import Teller
    from ..prompt.conversation import Conversation, Message
    from ..terminal.screen import Screen
    from ..training.progress import TrainingResult


class StyleName(StrEnum):
    varied = "varied"
    steady = "steady"
    long = "long"
    short = "short"


def train_on(loaded: "Loaded", screen: "Screen", resumed: Path | None = None) -> "TrainingResult":
    """Train, followed on the screen; whatever comes of it, the run has its report."""
    from ..training.events import Event, Started
    from ..training.train import train as run_training

    begun: list[Path] = []

    def follow(event: Event) -> None:
        if isinstance(event, Started):
            begun.append(event.run)
        screen.event(event)

    try:
        result = run_training(loaded, follow, resumed)
    except UserError:
        screen.stop()
        with suppress(Exception):  # what ended the run is what is told
            for run in filter(Path.is_dir, begun):
                _write_pages(run, screen)
        raise
    finally:
        screen.stop()
    try:
        _write_pages(Path(result.run), screen)
    except ResourceError as error:  # without room for them the run is what it is
        screen.note(error.text)
    return result


def _write_pages(run: Path, screen: "Screen") -> None:
    """report.html and loss.png. Raises ResourceError where they cannot be written."""
    from ..runs.curves import write_loss_plot
    from ..runs.folder import LOSS_PLOT
    from ..runs.record import read_record
    from ..runs.report import write_report

    with screen.waiting("写报告", "writing the report"):
        write_report(run, screen.language)
        write_loss_plot(read_record(run), run / LOSS_PLOT, screen.language)


def report(context: typer.Context, as_json: AsJson = False, debug: Debug = False) -> None:
    from ..config.overrides import parse_overrides
    from ..runs.folder import LOSS_PLOT
    from ..runs.folder import begun as find
    from ..runs.report import REPORT

    named, overrides = split_arguments(context.args)
    run = find(Path(named) if named else None, runs_folder(dict(parse_overrides(overrides))))
    _write_pages(run, new_screen())
    if as_json:
        print_json({"report": str(run / REPORT), "loss_plot": str(run / LOSS_PLOT)})
    else:
        print(run / REPORT)


Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help=help_text(
            "接着训练：后面写那次训练的文件夹，不写就是最近没训练完的",
            "go on with a run: its folder follows, or none for the newest that has not ended",
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
    from ..config.overrides import parse_overrides
    from ..system.files import quoted

    named, overrides = split_arguments(context.args)
    screen = new_screen()
    if resume:
        result = go_on(named, dict(parse_overrides(overrides)), screen, offline)
    else:
        result = train_on(load_settings(named, overrides, screen, offline), screen)
    change = "" if result.heldout_loss is None else f"{result.heldout_loss:.3f}"
    screen.say(
        f"训练完成：{result.run}"
        + (f"（验证损失 {change}）" if change else "")
        + f"\n接着说话：tonghua chat {quoted(Path(result.run))}",
        f"done: {result.run}"
        + (f" (held-out loss {change})" if change else "")
        + f"\ntalk to it: tonghua chat {quoted(Path(result.run))}",
    )
    if as_json:
        print_json(asdict(result))


def plan(context: typer.Context, offline: Offline = False, as_json: AsJson = False, debug: Debug = False) -> None:
    from ..training.train import estimate

    recipe, overrides = split_arguments(context.args)
    screen = new_screen()
    loaded = load_settings(recipe, overrides, screen, offline)
    screen.say("读数据、装模型，并试算几步……", "reading rows, loading the model, and trying a few steps ...")
    try:
        found = estimate(loaded, screen.event)
    finally:
        screen.stop()
    screen.estimate(found)
    if as_json:
        print_json(asdict(found))


def go_on(named: str | Path | None, asked: Mapping[str, Any], screen: "Screen", offline: bool) -> "TrainingResult":
    """Train a run to its end; one that is there already is left as it is."""
    from ..runs.folder import finished, unfinished
    from ..training.progress import TrainingResult
    from ..training.resume import resumed_settings

    run = unfinished(Path(named) if named else None, runs_folder(asked))
    ended = finished(run)
    if ended is not None:
        screen.say(f"{run} 已经训练完了，没有要接着做的", f"{run} has reached its end; there is nothing to go on with")
        return TrainingResult(**{**{key: ended[key] for key in TrainingResult.__dataclass_fields__}, "run": str(run)})
    loaded = require_settings(resumed_settings(run, asked), screen, offline)
    if named is None:
        screen.say(f"接着训练：{run}", f"going on with {run}")
    return train_on(loaded, screen, run)


IN_A_RUN = ("model", "device", "dtype", "output_dir", "sampling")
"""What may be set anew when a finished run is opened; the rest is what it was trained with."""


def _open(
    run: str | None, overrides: list[str], style: StyleName | None, offline: bool, screen: "Screen"
) -> tuple["Teller", "Sampling"]:
    """A run and how it shall answer: the run's own sampling, then the style, then what was asked for."""
    from ..config.load import load
    from ..config.overrides import parse_overrides
    from ..config.schema import STYLES
    from ..inference.teller import open_teller
    from ..runs.folder import open_run

    asked = {("sampling.seed" if key == "seed" else key): value for key, value in parse_overrides(overrides)}
    opened = open_run(Path(run) if run else None, runs_folder(asked))
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
    with screen.waiting("载入模型", "loading the model"):
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
    from ..prompt.conversation import Message

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
    from ..prompt.conversation import Message

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
    from ..data.samples.prepare import prepare, require_usable, split

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
    from ..evaluation.compare import compare_answers, compare_losses

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
