"""`tonghua merge` writes a run as one model folder, `tonghua export` for other programs; both prove what they wrote."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..terminal.following import following
from ..terminal.printer import put, put_json
from ..text import Text, shown
from .shared import AsJson, Debug, Offline, help_text, new_screen, split_arguments

Into = Annotated[
    Path | None,
    typer.Option("--to", help=help_text("写到哪个文件夹", "the folder to write")),
]
Form = Annotated[
    str,
    typer.Option(
        "--to",
        help=help_text(
            "gguf、gguf-lora（只有适配器）、ollama、lmstudio、browser（一个网页）、bundle（一个 zip，给 tonghua chat）",
            "gguf, gguf-lora (the adapter alone), ollama, lmstudio, browser (a web page), bundle (a zip for"
            " tonghua chat)",
        ),
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help=help_text("写到哪个文件夹；bundle 是哪个 .zip", "the folder to write; of a bundle, the .zip"),
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        "--type", help=help_text("GGUF 里权重的类型：q8_0、f16、bf16、q4_0", "of the weights: q8_0, f16, bf16, q4_0")
    ),
]
Force = Annotated[bool, typer.Option("--force", help=help_text("换掉以前导出的", "replace an earlier export"))]


def merge(
    context: typer.Context,
    to: Into = None,
    force: Force = False,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Write base and adapter as one model folder and print its path. Raises what `exports.export.export_run` raises."""
    _export(context.args, "merged", to, "q8_0", force, offline, as_json)


def export(
    context: typer.Context,
    to: Form = "gguf",
    out: Out = None,
    weights: Weights = "q8_0",
    force: Force = False,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Export a run and print where it is. Raises what `exports.export.export_run` raises."""
    _export(context.args, to, out, weights, force, offline, as_json)


def _export(
    arguments: list[str], form: str, out: Path | None, weights: str, force: bool, offline: bool, as_json: bool
) -> None:
    from ..config.overrides import parse_overrides
    from ..exports.export import Options, export_run

    run, overrides = split_arguments(arguments)
    asked = dict(parse_overrides(overrides))
    odd = next((key for key in asked if key not in ("model", "output_dir")), None)
    if odd is not None:
        raise UsageError(
            f"{shown(odd, 40)} 对导出不起作用；可以写 model= 和 output_dir=",
            f"{shown(odd, 40)} does nothing for an export; model= and output_dir= do",
        )
    options: Options = {"out": out, "type": weights, "force": force, "offline": offline}
    options |= {key: str(value) for key, value in asked.items()}  # type: ignore[typeddict-item]
    screen = new_screen()
    with following(screen.event) as tell:
        made = export_run(run, form, tell, **options)
    megabytes = f"{made.size_bytes / 1e6:.1f} MB"
    told = Text(
        f"导出完成，{megabytes}；怎样打开写在 README.md 里", f"exported, {megabytes}; README.md says how to open it"
    )
    screen.say(*told)
    if as_json:
        put_json(made.as_json())
    else:
        put(str(made.path))
