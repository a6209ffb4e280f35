"""`tonghua check` examines rows; `tonghua rows` makes rows from a script or a novel."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import api
from ..errors import DataError, ResourceError, UsageError
from ..system.environment import language
from ..terminal.following import following
from ..terminal.printer import put_json
from ..text import Text, json_text
from .shared import AsJson, Debug, Offline, help_text, new_screen, split_arguments

if TYPE_CHECKING:
    from ..data.script.extract import Script
    from ..terminal.screen import Screen

Force = Annotated[bool, typer.Option("--force", help=help_text("覆盖已有的文件", "overwrite what is there"))]
Fix = Annotated[
    Path | None,
    typer.Option("--fix", help=help_text("把改好的副本写到这里，原文件不动", "write a mended copy here")),
]
Redact = Annotated[
    bool,
    typer.Option("--redact", help=help_text("副本里遮住个人信息", "with --fix: hide personal data in the copy")),
]
Html = Annotated[
    Path | None, typer.Option("--html", help=help_text("把结果写成网页", "write what was found as a page"))
]


def check(
    context: typer.Context,
    fix: Fix = None,
    redact: Redact = False,
    html: Html = None,
    force: Force = False,
    offline: Offline = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check a dataset, print what was found, and write the requested files. Exits with 3 if it cannot be used."""
    from ..data.names import dataset_path, only_dataset
    from ..data.samples.prepare import MOST_PROBLEMS_SHOWN

    path, overrides = split_arguments(context.args)
    screen = new_screen()
    with following(screen.event) as tell:
        named = [] if path is None else [f"dataset={path}"]
        config = api.load_settings(None, [*overrides, *named], tell, offline).config
        if html is not None:
            _require_free(html, dataset_path(only_dataset(config.dataset)), force)
        found = api.check_rows(config, tell)
    ready, renderer = found.prepared, found.prepared.renderer
    screen.rows(ready.table)
    screen.problems(ready.problems, MOST_PROBLEMS_SHOWN)
    for example in found.examples:
        screen.example(example, renderer)
    for line in found.checkup.lines(language()):
        screen.say(line, line)
    if found.epoch_s:
        screen.epoch(found.epoch_s)
    fixed = None
    if fix is not None:
        from ..data.checkup.mending import fix as mend
        from ..data.checkup.result import refusal_of

        refusal = refusal_of(config, found.prepared)
        fixed = mend(found.source, fix, config.columns, redact, force, language(), refusal)
        screen.say(*fixed.summary())
    if html is not None:
        from ..data.checkup.page import check_page, pieces

        shown = [pieces(example, renderer.plain) for example in found.examples]
        _write(html, check_page(found.checkup, ready.table, shown, language(), ready.problems))
    if as_json:
        put_json(found.as_json(language(), fixed))
    if not found.is_usable:
        raise typer.Exit(3)


MOST_SPEAKERS_SHOWN = 10
MOST_DOUBTS_SHOWN = 5
DOUBT_CHARACTERS = 60
"""Maximum length of a doubt on the screen, in characters."""

PlainText = Annotated[
    str | None,
    typer.Argument(metavar="FROM.txt", help=help_text("剧本或小说，纯文本", "a script or a novel, plain text")),
]
Speaker = Annotated[
    str | None,
    typer.Option("--speaker", metavar="NAME", help=help_text("要学谁说话，例如 黛玉", "whose lines to learn")),
]
Alias = Annotated[
    list[str] | None,
    typer.Option(
        "--alias",
        metavar="NAME=OTHER,...",
        help=help_text("同一个人的别名：黛玉=林妹妹,颦儿", "other names of a person: 黛玉=林妹妹,颦儿"),
    ),
]
System = Annotated[
    str | None,
    typer.Option("--system", metavar="TEXT", help=help_text("每一行的系统提示词", "the system prompt of every row")),
]
Out = Annotated[
    str | None,
    typer.Option("--out", metavar="FILE", help=help_text("写到哪里；默认在原文旁边", "where to; else beside the text")),
]


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
    """Write rows of what one character says, and a file of the doubtful places.

    Raises UsageError if text or speaker is missing or a file exists, DataError if no row can be made.
    """
    from ..data.script.extract import parse_aliases, rows_from_text
    from ..system.files import user_path

    if path is None or speaker is None:
        raise UsageError(
            "请写出文本和角色，例如 tonghua rows 剧本.txt --speaker 黛玉",
            "name the text and the speaker, for example tonghua rows play.txt --speaker 黛玉",
        )
    screen, source = new_screen(), user_path(path)
    aliases = parse_aliases(alias or [])
    text = _read_text(source, screen)
    target = user_path(out) if out else source.with_name(f"{source.stem}.rows.json")
    unsure = target.with_name(f"{target.name}.unsure.txt")
    for file in (target, unsure):
        _require_free(file, source, force)
    found = rows_from_text(text, speaker, aliases)
    _show_script(found, unsure if found.rows else None, screen)
    if not found.rows:
        raise DataError(
            f"“{speaker}”的话没有一句能做成数据，什么都没有写；请照上面说的改原文，或用 --alias 补上别名",
            f"none of what “{speaker}” says makes a row, and nothing was written; "
            "mend the text as described above, or add other names with --alias",
        )
    doubts = [_doubt(doubt.line, doubt.text, doubt.why) for doubt in found.unsure]
    alpaca = [row.as_json(system) for row in found.rows]
    _write(unsure, "".join(f"{line}\n" for line in doubts))
    _write(target, json_text(alpaca, indent=2) + "\n")
    screen.say(f"{len(alpaca)} 行数据写进了 {target}", f"rows: {len(alpaca)}, written to {target}")
    if as_json:
        told = [doubt.as_json(language()) for doubt in found.unsure]
        put_json({"rows": len(alpaca), "unsure": told, "speakers": dict(found.speakers), "out": str(target)})


def _read_text(path: Path, screen: "Screen") -> str:
    """Return the text of one file, in any encoding that rows may have; print a note if it is not UTF-8."""
    from ..data.read.sources import find_text

    source, notes = find_text(path)
    for note in notes:
        screen.note(note)
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
    """Print who speaks how often, and the first doubts; `unsure`: the file for all of them, or None."""
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
    """Return one line about text that went into no row."""
    from ..text import shown

    words = shown(" ".join(text.split()), most_characters or len(text) + 1)
    return Text(f"第 {line} 行：{words}（{why.zh}）", f"line {line}: {words} ({why.en})").to(language())


def _write(file: Path, text: str) -> None:
    """Write the file completely or not at all; if `text` is empty, remove it. Raises ResourceError if it cannot."""
    from ..system.files import write_atomic

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
