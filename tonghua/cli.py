"""The command line: `tonghua check | train | chat | eval`.

Every verb does its imports when it runs, so that `--help` is there at once. What people read goes to stderr
while work is going on; stdout carries the result, with `--json` one object on its last line.
"""

import json
import locale
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .errors import DataError, Language, Text, UsageError, UserError

if TYPE_CHECKING:
    from .config import Loaded, Sampling
    from .engines import Teller
    from .generate import Answer
    from .prompt import Message
    from .show import Screen


def language() -> Language:
    """zh where TONGHUA_LANG, the shell or the system says Chinese, else en."""
    names = (os.environ.get(name) for name in ("TONGHUA_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))
    named = next((name for name in names if name), None) or locale.getlocale()[0] or ""
    return "zh" if named.lower().startswith(("zh", "chinese")) else "en"


def _help(zh: str, en: str) -> str:
    return Text(zh, en).to(language())


app = typer.Typer(
    name="tonghua",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=_help(
        "把小模型教成会讲故事的人、一个角色或一门专家。",
        "Teach a small model to tell stories, to be a character or an expert.",
    ),
)

SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}
AsJson = Annotated[bool, typer.Option("--json", help=_help("最后一行输出 JSON", "print one JSON object last"))]
Debug = Annotated[bool, typer.Option("--debug", help=_help("出错时显示完整的追踪", "show the traceback of a mistake"))]


class StyleName(StrEnum):
    varied = "varied"
    steady = "steady"
    long = "long"
    short = "short"


def main() -> None:
    """Entry point: a mistake of the user is one line and its exit code, a bug keeps its traceback."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
    debug = "--debug" in sys.argv
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UserError as error:
        if debug:
            raise
        print(error.text.to(language()), file=sys.stderr)
        sys.exit(error.exit_code)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except Exception as error:
        # Wrong options are click's errors; the class has moved between versions of typer, its method has not.
        if not hasattr(error, "format_message"):
            raise
        print(error.format_message(), file=sys.stderr)
        sys.exit(2)


def _split(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The verb's one argument, if there is one, and the config overrides after it."""
    if arguments and not _is_override(arguments[0]):
        return arguments[0], arguments[1:]
    return None, arguments


def _is_override(argument: str) -> bool:
    return argument.startswith("--") or ("=" in argument and not Path(argument).exists())


def _screen() -> "Screen":
    from .show import Screen

    return Screen(language())


def _load(recipe: str | Path | None, overrides: list[str], screen: "Screen") -> "Loaded":
    from .config import load

    loaded = load(recipe, overrides)
    for note in loaded.notes:
        screen.say(f"提示：{note.zh}", f"note: {note.en}")
    return loaded


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, ensure_ascii=False), flush=True)


@app.callback(invoke_without_command=True)
def _tonghua(
    version: Annotated[bool, typer.Option("--version", help=_help("显示版本", "show the version"))] = False,
) -> None:
    if version:
        print(__version__)


@app.command(
    context_settings=SETTINGS,
    help=_help(
        "看一看数据：哪些行能用，训练会看到什么。", "Look at rows: which can be used, and what training will see."
    ),
)
def check(context: typer.Context, as_json: AsJson = False, debug: Debug = False) -> None:
    from .prepare import MOST_PROBLEMS_SHOWN, open_model, prepare

    path, overrides = _split(context.args)
    screen = _screen()
    config = _load(None, overrides, screen).config
    files, renderer = open_model(config.model)
    ready = prepare(config, files, renderer, path)
    screen.rows(ready.table)
    screen.problems(ready.problems, MOST_PROBLEMS_SHOWN)
    for example in ready.samples.examples[:2]:
        screen.example(example, renderer)
    if as_json:
        _print_json(
            {
                "read": ready.table.read,
                "kept": ready.table.kept,
                "dropped": ready.table.dropped,
                "problems": [problem.as_json(language()) for problem in ready.problems],
                "examples": [
                    {
                        "ids": list(example.ids),
                        "targets": [int(wanted) for wanted in example.is_target],
                        "text": renderer.tokenizer.decode(list(example.ids), skip_special_tokens=False),
                    }
                    for example in ready.samples.examples[:2]
                ],
            }
        )
    if ready.table.bad or not ready.table.kept:
        raise typer.Exit(3)


def train(context: typer.Context, as_json: AsJson = False, debug: Debug = False) -> None:
    from .training import train as run_training

    recipe, overrides = _split(context.args)
    screen = _screen()
    loaded = _load(recipe, overrides, screen)
    try:
        result = run_training(loaded, screen.event)
    finally:
        screen.stop()
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
        _print_json(asdict(result))


_TRAIN = _help(
    "用自己的数据训练：tonghua train 配方 dataset=数据 model=模型。",
    "Train on your rows: tonghua train RECIPE dataset=FILE model=FOLDER.",
)
app.command("train", context_settings=SETTINGS, help=_TRAIN)(train)
app.command("sft", context_settings=SETTINGS, hidden=True, help=_TRAIN)(train)


IN_A_RUN = ("model", "device", "dtype", "output_dir", "sampling")
"""What may be set anew when a finished run is opened; the rest is what it was trained with."""


def _open(
    run: str | None, overrides: list[str], style: StyleName | None, screen: "Screen"
) -> tuple["Teller", "Sampling"]:
    """A run and how it shall answer: the run's own sampling, then the style, then what was asked for."""
    from .config import STYLES, load, parse_overrides
    from .engines import open_teller
    from .runs import open_run

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
    return open_teller(opened, config.model, config.device, config.dtype), config.sampling


Style = Annotated[
    StyleName | None,
    typer.Option(
        "--style",
        help=_help("多变、稳重、长、短", "more variety, more coherence, longer, shorter"),
    ),
]
Prompt = Annotated[
    str | None,
    typer.Option(
        "--prompt",
        help=_help("只问这一句就结束；- 表示从标准输入读", "ask this one thing and leave; - reads it from stdin"),
    ),
]


def chat(
    context: typer.Context,
    prompt: Prompt = None,
    style: Style = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    from .prompt import Message

    run, overrides = _split(context.args)
    screen = _screen()
    teller, sampling = _open(run, overrides, style, screen)
    if prompt is not None:
        text = sys.stdin.read() if prompt == "-" else prompt
        answer = _answer(teller, [Message("user", text)], sampling, echo=not as_json)
        if as_json:
            _print_json(asdict(answer))
        return
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
            _print_json(asdict(answer))


_CHAT = _help("与训练好的模型说话（不写结果文件夹就用最新的）。", "Talk to a run (the newest, if none is named).")
app.command("chat", context_settings=SETTINGS, help=_CHAT)(chat)
app.command("infer", context_settings=SETTINGS, hidden=True, help=_CHAT)(chat)


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
        help=_help(
            "没训练过的数据；不给就用训练时留出的", "rows it has not learned; none = those held out in training"
        ),
    ),
]
Generate = Annotated[
    int,
    typer.Option(
        "--generate", min=0, max=1000, help=_help("另外让两者各回答这么多题", "also let both answer so many prompts")
    ),
]


@app.command(
    "eval",
    context_settings=SETTINGS,
    help=_help("比一比：训练前后在没见过的数据上差多少。", "Base against tuned on rows that neither has learned."),
)
def evaluate(
    context: typer.Context,
    data: Data = None,
    generate: Generate = 0,
    style: Style = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    from .evaluate import compare_answers, compare_losses
    from .prepare import prepare, require_usable, split

    run, overrides = _split(context.args)
    screen = _screen()
    teller, sampling = _open(run, overrides, style, screen)
    config, engine = teller.run.config, teller.engine
    source = data or config.eval_dataset or config.dataset
    ready = prepare(config, teller.base, engine.renderer, source)
    require_usable(ready, str(source), config.skip_bad_rows)
    own = data is None and config.eval_dataset is None
    samples = split(ready.samples, config.val_size, config.seed)[1] if own else ready.samples
    if own and not len(samples):
        raise UsageError(
            "训练时没有留出验证数据；请用 --data 给出没训练过的数据",
            "nothing was held out in training; give rows with --data",
        )
    with screen.counting(2 * len(samples), "计算损失", "measuring the loss") as advance:
        found = compare_losses(engine.decoder, teller.adapter, samples.examples, samples.conversations, advance)
    found["generated"] = {}
    if generate:
        asked = samples.conversations[:generate]
        with screen.counting(2 * len(asked), "生成回答", "writing answers") as advance:
            found["generated"], texts = compare_answers(engine, teller.adapter, asked, sampling, advance)
        found["answers"] = texts
    screen.comparison(found)
    if as_json:
        _print_json(found)
