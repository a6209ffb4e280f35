"""The command line: `tonghua --help` lists its commands.

A command imports its modules when it runs, so `--help` appears at once. Progress and messages go to stderr; stdout
carries the result, with `--json` as one object on its last line.
"""

import sys
from typing import Annotated

import typer

from ..errors import UserError
from ..exits import print_error
from ..system.environment import write_utf8
from ..terminal.printer import put, put_error, put_traceback
from ..version import __version__
from . import chat, demo, doctor, exports, listing, models, rows, runs, serve
from .shared import help_text

app = typer.Typer(
    name="tonghua",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=help_text(
        "把小模型教成会讲故事的人、一个角色或一门专家。",
        "Teach a small model to tell stories, to be a character or an expert.",
    ),
)


def main() -> None:
    """Run the command line. A UserError prints one line and exits with its code; a bug keeps its traceback."""
    write_utf8()
    sys.excepthook = put_traceback
    debug = "--debug" in sys.argv
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UserError as error:
        if debug:
            raise
        print_error(error)
        sys.exit(error.exit_code)
    except typer.Exit as done:
        sys.exit(done.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    except Exception as error:
        # click's errors for wrong options. Versions of typer differ in where the class is, but not in this method.
        if not hasattr(error, "format_message"):
            raise
        put_error(error.format_message())
        sys.exit(2)


@app.callback(invoke_without_command=True)
def _tonghua(
    version: Annotated[bool, typer.Option("--version", help=help_text("显示版本", "show the version"))] = False,
) -> None:
    if version:
        put(__version__)


# `tonghua --help` shows the first sentence of each help on one line and cuts it at 64 characters.
_DEMO = help_text(
    "演示：不用下载，训练一次，看看前后差多少。", "The main job from end to end, with nothing to download."
)
_CHECK = help_text(
    "看一看数据：哪些行能用，训练会看到什么。", "Look at rows: which can be used, and what training will see."
)
_TRAIN = help_text(
    "用自己的数据训练：tonghua train 配方 dataset=数据 model=模型。",
    "Train on rows: tonghua train RECIPE dataset=FILE model=MODEL.",
)
_CHAT = help_text("与训练好的模型说话（不写结果文件夹就用最新的）。", "Talk to a run (the newest, if none is named).")
_EVALUATE = help_text(
    "比一比：训练前后在没见过的数据上差多少。", "Base against tuned on rows that neither has learned."
)
_DOWNLOAD = help_text(
    "下载模型并核对每个文件，断了再运行一次会接着下。",
    "Download a model and check its files; after a break it resumes.",
)
_MODELS = help_text("本机有哪些模型；也可以核对或删除它们。", "The models on this machine; check or delete them.")
_ROWS = help_text(
    "从剧本或小说里找出一个角色的话，做成训练数据。", "Make rows of what one character says in a script or novel."
)
_DOCTOR = help_text("看看这台机器：少了什么，怎么补上。", "What this machine lacks for training, and how to mend it.")

_PLAN = help_text(
    "先算一算：要多少内存、时间和磁盘，什么也不写。", "Memory, time and disk of a run, before it is paid for."
)
_REPORT = help_text(
    "把一次训练写成一页报告 report.html 和曲线 loss.png。", "Write report.html and loss.png of a run, and say where."
)
_MERGE = help_text(
    "把基座和适配器合成一个模型文件夹，并核对。", "Base and adapter as one model folder, proven to be the run."
)
_EXPORT = help_text(
    "导出给别的程序用（GGUF、Ollama、LM Studio、打包），并核对。",
    "For other programs (GGUF, Ollama, LM Studio, bundle), proven.",
)
_RUNS = help_text("有哪些训练结果，各到了哪一步、损失多少。", "The runs there are: how far each came and how it does.")
_WATCH = help_text(
    "看着一次训练往前走；不写就看正在训练的那个。", "Follow a run while it trains (the newest, if none is named)."
)

_SERVE = help_text(
    "让别的程序和浏览器跟训练结果说话（OpenAI 接口）。", "Serve runs to programs and browsers, as OpenAI's API."
)

_SETTINGS = {"allow_extra_args": True, "ignore_unknown_options": True}
app.command("demo", context_settings=_SETTINGS, help=_DEMO)(demo.demo)
app.command("check", context_settings=_SETTINGS, help=_CHECK)(rows.check)
app.command("train", context_settings=_SETTINGS, help=_TRAIN)(runs.train)
app.command("plan", context_settings=_SETTINGS, help=_PLAN)(runs.plan)
app.command("sft", context_settings=_SETTINGS, help=_TRAIN, hidden=True)(runs.train)
app.command("chat", context_settings=_SETTINGS, help=_CHAT)(chat.chat)
app.command("infer", context_settings=_SETTINGS, help=_CHAT, hidden=True)(chat.chat)
app.command("serve", help=_SERVE)(serve.serve)
app.command("eval", context_settings=_SETTINGS, help=_EVALUATE)(runs.evaluate)
app.command("report", context_settings=_SETTINGS, help=_REPORT)(runs.report)
app.command("merge", context_settings=_SETTINGS, help=_MERGE)(exports.merge)
app.command("export", context_settings=_SETTINGS, help=_EXPORT)(exports.export)
app.command("runs", context_settings=_SETTINGS, help=_RUNS)(listing.runs)
app.command("watch", context_settings=_SETTINGS, help=_WATCH)(listing.watch)
app.command("download", help=_DOWNLOAD)(models.download)
app.command("models", help=_MODELS)(models.models)
app.command("rows", help=_ROWS)(rows.rows)
app.command("doctor", help=_DOCTOR)(doctor.doctor)
