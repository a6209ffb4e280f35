"""The command line: `tonghua download | models | rows | check | train | chat | eval`.

Every verb does its imports when it runs, so that `--help` is there at once. What people read goes to stderr
while work is going on; stdout carries the result, with `--json` one object on its last line.
"""

import json
import locale
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .errors import DataError, Language, RefusedError, ResourceError, Stopped, Text, UsageError, UserError

if TYPE_CHECKING:
    from .checkup import Checkup
    from .config import Config, Loaded, Sampling
    from .download import Downloaded
    from .engines import Teller
    from .generate import Answer
    from .hub import Model
    from .prepare import Prepared
    from .prompt import Message
    from .script import Script
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
Force = Annotated[bool, typer.Option("--force", help=_help("覆盖已有的文件", "overwrite what is there"))]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline", help=_help("不联网，只用本机已有的模型", "no network: only what is on this machine already")
    ),
]


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


def _load(recipe: str | Path | None, overrides: list[str], screen: "Screen", offline: bool = False) -> "Loaded":
    """The settings; their model is on this machine from here on."""
    from .config import load

    loaded = load(recipe, overrides)
    for note in loaded.notes:
        _note(note, screen)
    _fetch(loaded.config.model, offline, screen)
    return loaded


def _note(note: Text, screen: "Screen") -> None:
    screen.say(f"提示：{note.zh}", f"note: {note.en}")


def _print_json(values: dict[str, Any]) -> None:
    print(json.dumps(values, ensure_ascii=False), flush=True)


def _fetch(model: str | None, offline: bool, screen: "Screen") -> None:
    """Download a model that is only named, before anything opens it."""
    from . import hub

    if hub.on_disk(model) is None:
        _download(str(model), screen, offline=offline)


def _download(name: str, screen: "Screen", **options: Any) -> "Downloaded":
    """`download.download`, followed on the screen. Raises Stopped after Ctrl-C, with what has come kept."""
    from .download import download

    try:
        done = download(name, on_progress=screen.download, **options)
    except KeyboardInterrupt:
        raise Stopped(
            "下载已停下；下载好的部分保留着，再运行一次会从断开的地方继续",
            "the download has stopped; what has come is kept, run it again and it goes on from there",
        ) from None
    finally:
        screen.stop()
    if done.bytes:
        screen.say(f"下载完成：{done.path}", f"downloaded: {done.path}")
    else:
        screen.say(f"本机已经有了：{done.path}", f"already on this machine: {done.path}")
    _note_unchecked(done.unchecked, screen)
    return done


def _note_unchecked(files: Sequence[str], screen: "Screen") -> None:
    more = len(files) - 3
    zh, en = (f" 等 {len(files)} 个文件", f" and {more} more") if more > 0 else ("", "")
    if files:
        names = Text("、".join(files[:3]) + zh, ", ".join(files[:3]) + en)
        note = Text(
            f"没有校验值可以比对，无法确认内容完好：{names.zh}",
            f"no hash is known, so this was not checked: {names.en}",
        )
        _note(note, screen)


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
def check(
    context: typer.Context,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", help=_help("把改好的副本写到这里，原文件不动", "write a mended copy here")),
    ] = None,
    redact: Annotated[
        bool,
        typer.Option("--redact", help=_help("副本里遮住个人信息", "with --fix: hide personal data in the copy")),
    ] = False,
    html: Annotated[
        Path | None, typer.Option("--html", help=_help("把结果写成网页", "write what was found as a page"))
    ] = None,
    force: Force = False,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    from .prepare import MOST_PROBLEMS_SHOWN, open_model, prepare

    path, overrides = _split(context.args)
    screen = _screen()
    config = _load(None, overrides, screen, offline).config
    dataset = _only_dataset(path or config.dataset)
    if html is not None:
        _require_free(html, Path(dataset), force)
    files, renderer = open_model(config.model)
    try:
        ready = prepare(config, files, renderer, dataset, screen.read)
    finally:
        screen.stop()
    checkup, epoch_s = _examine(config, ready, dataset)
    screen.rows(ready.table)
    screen.problems(ready.problems, MOST_PROBLEMS_SHOWN)
    examples = ready.samples.examples[:2]
    for example in examples:
        screen.example(example, renderer)
    for line in checkup.lines(language()):
        screen.say(line, line)
    if epoch_s:
        screen.epoch(epoch_s)
    fixed = None
    if fix is not None:
        from .mending import fix as mend

        fixed = mend(Path(dataset).expanduser(), fix, config.columns, redact, force, language())
        screen.say(*fixed.summary())
    if html is not None:
        from .page import check_page, pieces

        shown = [pieces(example, renderer.plain) for example in examples]
        _write(html, check_page(checkup, ready.table, shown, language(), ready.problems))
    if as_json:
        table, found = ready.table, checkup.as_json(language(), ready.table.split, fixed)
        _print_json(
            {
                **{"read": table.read, "kept": table.kept, "dropped": table.dropped},
                "problems": [problem.as_json(language()) for problem in ready.problems],
                "examples": [
                    {
                        "ids": list(example.ids),
                        "targets": [int(wanted) for wanted in example.is_target],
                        "text": renderer.plain(example.ids),
                    }
                    for example in examples
                ],
                **found,
                "epoch_s": epoch_s,
            }
        )
    if ready.table.bad or not ready.table.kept:
        raise typer.Exit(3)


def _only_dataset(dataset: str | Sequence[str] | None) -> str:
    if not dataset:
        raise UsageError("没有指定数据；请写 tonghua check 数据文件", "no rows are named; write tonghua check FILE")
    if isinstance(dataset, str):
        return dataset
    if len(dataset) > 1:
        raise UsageError("check 一次看一份数据；请逐个来", "check looks at one dataset at a time; name one")
    return dataset[0]


def _examine(config: "Config", ready: "Prepared", dataset: str) -> tuple["Checkup", float | None]:
    """What the data doctor says, and about how many seconds an epoch takes here."""
    from . import device, plan
    from .checkpoint import shape_of
    from .checkup import examine_rows
    from .data import question_hash, read_rows
    from .prepare import split

    rows = read_rows(Path(dataset).expanduser(), config.columns)
    held_out, others = [], None
    if config.eval_dataset:
        others = read_rows(Path(config.eval_dataset).expanduser(), config.columns)
    elif len(ready.samples):
        questions = set(split(ready, config.val_size, config.seed)[1].questions.tolist())
        held_out = [conversation for conversation in rows.kept if question_hash(conversation) in questions]
    samples = ready.samples
    tokens, targets = samples.row_tokens.tolist(), samples.row_targets.tolist()
    checkup = examine_rows(rows, held_out, others, config.system, tokens, targets, config.max_length)
    if not tokens:
        return checkup, None
    shape = shape_of(ready.model.config, ready.model.tensors)
    place = device.choose(config.device, config.dtype)
    tokens_read = samples.packed_tokens(config.samples_per_step)
    return checkup, plan.epoch_s(shape, place, tokens_read, int(samples.targets.sum()))


def train(context: typer.Context, offline: Offline = False, as_json: AsJson = False, debug: Debug = False) -> None:
    from .training import train as run_training

    recipe, overrides = _split(context.args)
    screen = _screen()
    loaded = _load(recipe, overrides, screen, offline)
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
    run: str | None, overrides: list[str], style: StyleName | None, offline: bool, screen: "Screen"
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
    _fetch(config.model, offline, screen)
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
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    from .prompt import Message

    run, overrides = _split(context.args)
    screen = _screen()
    teller, sampling = _open(run, overrides, style, offline, screen)
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
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    from .evaluate import compare_answers, compare_losses
    from .prepare import prepare, require_usable, split

    run, overrides = _split(context.args)
    screen = _screen()
    teller, sampling = _open(run, overrides, style, offline, screen)
    config, engine = teller.run.config, teller.engine
    source = data or config.eval_dataset or config.dataset
    ready = prepare(config, teller.base, engine.renderer, source)
    require_usable(ready, str(source), config.skip_bad_rows)
    own = data is None and config.eval_dataset is None
    samples = split(ready, config.val_size, config.seed)[1] if own else ready.samples
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


# ---- models ----------------------------------------------------------------------------------------------


ModelName = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help=_help("模型的名字，例如 qwen2.5-0.5b", "a model's name, such as qwen2.5-0.5b")),
]
From = Annotated[
    str | None,
    typer.Option(
        "--source",
        metavar="HUB",
        help=_help(
            "modelscope、huggingface 或 mirror；不写就用最快的",
            "modelscope, huggingface or mirror; none = the one that answers first",
        ),
    ),
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="DIR", help=_help("放到这个文件夹里", "into this folder instead of tonghua's own")),
]


@app.command(
    help=_help(
        "下载模型并核对每个文件，断了再运行一次会接着下。",
        "Download a model and check each file; after a break it goes on where it stopped.",
    )
)
def download(
    name: ModelName = None,
    source: From = None,
    offline: Offline = False,
    to: To = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    if name is None:
        raise UsageError(
            "没有写模型的名字；例如 tonghua download qwen2.5-0.5b",
            "no model is named; write for example tonghua download qwen2.5-0.5b",
        )
    screen = _screen()
    done = _download(name, screen, source=source, offline=offline, folder=Path(to) if to else None)
    model = done.path if to else name
    screen.say(
        f"接着训练：tonghua train 配方 dataset=数据 model={model}",
        f"train it: tonghua train RECIPE dataset=FILE model={model}",
    )
    if as_json:
        _print_json(done.as_json())


Verify = Annotated[
    bool, typer.Option("--verify", help=_help("重新核对每个文件", "read every file again and compare its hash"))
]
Remove = Annotated[bool, typer.Option("--remove", help=_help("删除这个模型", "delete this model"))]
Yes = Annotated[bool, typer.Option("--yes", help=_help("删除前不再询问", "delete without asking"))]


@app.command(help=_help("本机有哪些模型；也可以核对或删除它们。", "The models on this machine; check or delete them."))
def models(
    name: ModelName = None,
    verify: Verify = False,
    remove: Remove = False,
    yes: Yes = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    from . import hub

    screen = _screen()
    if remove:
        _remove(name, verify, yes, as_json, screen)
        return
    found = hub.models() if name is None else [hub.locate(name)]
    known = [model for model in found if model is not None]
    if name is not None and not known:
        raise hub.not_here(name)
    if not known:
        screen.say(
            "本机还没有模型；例如运行 tonghua download qwen2.5-0.5b",
            "no model is on this machine; run for example tonghua download qwen2.5-0.5b",
        )
    if verify:
        _verify(known, as_json, screen)
        return
    listed = [_listed(model) for model in known]
    if as_json:
        _print_json({"models": listed})
        return
    for each in listed:
        where = Text(f"来自 {each['source']}", f"from {each['source']}").to(language())
        print(f"{each['name']}  {each['bytes'] / 1e6:.0f} MB  {where}  {each['path']}")


def _listed(model: "Model") -> dict[str, Any]:
    """A model in `models --json`; `source` is the hub of tonghua's own ones, else whose cache it lies in."""
    from . import hub

    source: str = model.origin
    if source == "tonghua":
        try:
            source = hub.read_manifest(model.path).source
        except RefusedError:
            source = "?"
    return {"name": model.name, "path": str(model.path), "source": source, "bytes": model.size_bytes}


def _verify(found: Sequence["Model"], as_json: bool, screen: "Screen") -> None:
    """Read all of these models. Exits with the code of damage after the last one where any is damaged."""
    from . import hub

    verdicts = []
    for model in found:
        screen.say(f"正在核对 {model.name}", f"checking {model.name}")
        try:
            verified = hub.verify(model)
        except RefusedError as error:  # the manifest itself
            verified = hub.Verified(model, (hub.MANIFEST,), ())
            screen.say(*error.text)
        else:
            _note_unchecked(verified.unchecked, screen)
            verdict = hub.damaged_error(verified).text if verified.damaged else Text("没有发现损坏", "no damage found")
            screen.say(*verdict)
        verdicts.append({**_listed(model), "damaged": verified.damaged, "unchecked": verified.unchecked})
    if as_json:
        _print_json({"models": verdicts})
    if any(verdict["damaged"] for verdict in verdicts):
        raise typer.Exit(RefusedError.exit_code)


def _remove(name: str | None, verify: bool, yes: bool, as_json: bool, screen: "Screen") -> None:
    """Delete a model of tonghua's own, once the user has agreed."""
    from . import hub

    if name is None or verify:
        raise UsageError(
            "请写要删除哪一个：tonghua models --remove 模型的名字",
            "write which one to delete: tonghua models --remove NAME",
        )
    repository, located = hub.repository(name), hub.locate(name)
    if repository is None:
        assert located is not None  # a text that is neither is refused by `locate`
        raise UsageError(
            f"{located.path} 是你自己的文件夹，tonghua 不会删；不要了请自己删掉它",
            f"{located.path} is a folder of your own, which tonghua does not delete; delete it yourself",
        )
    if not yes and hub.folder_of(repository).is_dir():
        if not sys.stdin.isatty():
            raise UsageError(
                f"删除 {repository} 前需要确认；确定要删请加 --yes",
                f"deleting {repository} needs your consent; add --yes to give it",
            )
        folder = hub.folder_of(repository)
        question = Text(f"删除 {repository}（{folder}）？", f"delete {repository} ({folder})?")
        typer.confirm(question.to(language()), abort=True, err=True)
    freed = hub.remove(name)
    screen.say(
        f"已删除 {repository}，腾出 {freed / 1e6:.0f} MB", f"deleted {repository}, {freed / 1e6:.0f} MB are free"
    )
    if as_json:
        _print_json({"removed": repository, "bytes": freed})


# ---- rows ------------------------------------------------------------------------------------------------

MOST_SPEAKERS_SHOWN = 10
MOST_DOUBTS_SHOWN = 5
DOUBT_CHARACTERS = 60

PlainText = Annotated[
    str | None,
    typer.Argument(metavar="FROM.txt", help=_help("剧本或小说，纯文本", "a script or a novel, plain text")),
]
Speaker = Annotated[
    str | None, typer.Option("--speaker", metavar="NAME", help=_help("要学谁说话，例如 黛玉", "whose lines to learn"))
]
Alias = Annotated[
    list[str] | None,
    typer.Option(
        "--alias",
        metavar="NAME=OTHER,...",
        help=_help("同一个人的别名：黛玉=林妹妹,颦儿", "other names of a person: 黛玉=林妹妹,颦儿"),
    ),
]
System = Annotated[
    str | None,
    typer.Option("--system", metavar="TEXT", help=_help("每一行的系统提示词", "the system prompt of every row")),
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="FILE", help=_help("写到哪里；默认在原文旁边", "where to; else beside the text")),
]


@app.command(
    help=_help(
        "从剧本或小说里找出一个角色的话，做成训练数据。", "Make rows of what one character says in a script or novel."
    )
)
def rows(
    path: PlainText = None,
    speaker: Speaker = None,
    alias: Alias = None,
    system: System = None,
    out: Out = None,
    force: Force = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    from .script import parse_aliases, rows_from_text

    if path is None or speaker is None:
        raise UsageError(
            "请写出文本和角色，例如 tonghua rows 剧本.txt --speaker 黛玉",
            "name the text and the speaker, for example tonghua rows play.txt --speaker 黛玉",
        )
    screen, source = _screen(), Path(path).expanduser()
    aliases = parse_aliases(alias or [])
    text = _read_text(source, screen)
    target = Path(out).expanduser() if out else source.with_name(f"{source.stem}.rows.json")
    unsure = target.with_name(f"{target.name}.unsure.txt")
    for file in (target, unsure):
        _require_free(file, source, force)
    found = rows_from_text(text, speaker, aliases)
    _show_script(found, unsure if found.rows else None, screen)
    if not found.rows:
        raise DataError(
            f"“{speaker}”的话没有一句能做成数据，什么都没有写；请照上面说的改原文，或用 --alias 补上别名",
            f"none of what “{speaker}” says makes a row, and nothing was written; "
            "mend the text as told above, or add other names with --alias",
        )
    doubts = [_doubt(doubt.line, doubt.text, doubt.why) for doubt in found.unsure]
    alpaca = [row.as_json(system) for row in found.rows]
    _write(unsure, "".join(f"{line}\n" for line in doubts))
    _write(target, json.dumps(alpaca, ensure_ascii=False, indent=2) + "\n")
    screen.say(f"{len(alpaca)} 行数据写进了 {target}", f"rows: {len(alpaca)}, written to {target}")
    if as_json:
        told = [doubt.as_json(language()) for doubt in found.unsure]
        _print_json({"rows": len(alpaca), "unsure": told, "speakers": dict(found.speakers), "out": str(target)})


def _read_text(path: Path, screen: "Screen") -> str:
    """The text of one file, in any encoding that rows may have; which one is told where it is not UTF-8."""
    from .sources import find_text

    (source,), notes = find_text(path)
    for note in notes:
        _note(note, screen)
    with source.text(newline=None) as stream:
        return stream.read()


def _require_free(file: Path, source: Path, force: bool) -> None:
    if not file.exists():
        return
    if source.exists() and file.samefile(source):
        raise UsageError(
            f"{file} 就是原文，不能覆盖；请换一个文件",
            f"{file} is the source itself and is not overwritten; choose another file",
        )
    if not force:
        raise UsageError(
            f"{file} 已经有了；要覆盖请加 --force，或换一个文件",
            f"{file} exists; add --force to overwrite it, or choose another file",
        )


def _show_script(found: "Script", unsure: Path | None, screen: "Screen") -> None:
    """Who speaks how often, and the first doubts; `unsure` is where all of them will be."""
    screen.say("各人说了几句：", "who speaks how often:")
    for name, count in list(found.speakers.items())[:MOST_SPEAKERS_SHOWN]:
        screen.say(f"{count:6}  {name}", f"{count:6}  {name}")
    more = len(found.speakers) - MOST_SPEAKERS_SHOWN
    if more > 0:
        screen.say(f"…… 还有 {more} 人", f"... and {more} more")
    if found.unsure:
        where = Text(f"，都写在 {unsure}", f", all in {unsure}") if unsure else Text("", "")
        count = len(found.unsure)
        screen.say(
            f"{count} 处拿不准，没有用{where.zh}；前几处：", f"unsure and left out: {count}{where.en}; the first:"
        )
    for doubt in found.unsure[:MOST_DOUBTS_SHOWN]:
        line = _doubt(doubt.line, doubt.text, doubt.why, DOUBT_CHARACTERS)
        screen.say(f"  {line}", f"  {line}")


def _doubt(line: int, text: str, why: Text, most_characters: int | None = None) -> str:
    """One line about words that are in no row."""
    from .sources import shown

    words = shown(" ".join(text.split()), most_characters or len(text) + 1)
    return Text(f"第 {line} 行：{words}（{why.zh}）", f"line {line}: {words} ({why.en})").to(language())


def _write(file: Path, text: str) -> None:
    """The file, whole or not at all; without any text, no file."""
    from .runs import write_atomic

    if not text:
        file.unlink(missing_ok=True)
        return
    try:
        write_atomic(file, text.encode())
    except ResourceError as error:
        reason = getattr(error.__cause__, "strerror", "")
        raise ResourceError(
            f"写不进 {file}：{reason}；请腾出空间，或用 --out 换一个地方",
            f"cannot write {file}: {reason}; free some space, or choose another place with --out",
        ) from error
