"""Read the rows of Excel workbooks: of every visible sheet that holds something, each as a file of its own.

    A1 问题 | B1 回答          the first row that is not empty is the header
    A2 3.0  | B2 2026-12-01    {"问题": "3", "回答": "2026-12-01"}, line 2

A cell becomes the text that Excel shows, as far as its number format is known: dates and times in ISO form, 3.0 as 3.
Of merged cells, only the first holds something. A few kilobytes can become gigabytes while the sheet is laid out,
so `tried` reads the whole workbook in a child first, by the same steps.
"""

import importlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple

from ...errors import DataError, UserError
from ...text import Text, listed, shown
from .faults import CONTAINER_CHARACTERS, ROW_CHARACTERS, Found, refuse_doubled, too_long
from .sources import RowSource
from .unpacked import Packed, Unpacked, outcome

_WHOLE_BELOW = 1e16
"""A whole number below it is written with all its digits."""


class Sheet(NamedTuple):
    """One sheet of a workbook; `passed_over` says why it is not read, None if it is."""

    place: int
    name: str
    passed_over: Text | None


def xlsx_rows(source: RowSource) -> Iterator[Found]:
    """Yield each row of one sheet as a dict from the header's names to text; its line is its row in the sheet.

    Raises DataError if the header has a duplicate name, if no row follows it, or if the file is damaged.
    """
    header: list[str] = []
    rows = 0
    with source.file() as file:
        for line, cells in _rows_in(file, source.name, source.sheet):
            if not header:
                header = [cell.strip() for cell in cells]
                refuse_doubled(header, source.name)
                continue
            rows += 1
            if sum(map(len, cells)) > ROW_CHARACTERS:
                yield Found(line, None, (too_long(),))
                continue
            filled = zip(header, cells, strict=True)
            yield Found(line, {column: cell for column, cell in filled if column or cell})
    if header and not rows:
        raise DataError(
            f"{source.name} 只有表头，没有数据；请在表头下写入数据",
            f"{source.name} has a header and no rows; write rows below it",
        )


def xlsx_header(source: RowSource) -> tuple[str, ...]:
    """Return the names in the header of a sheet, () if it is empty."""
    with source.file() as file, closing(_rows_in(file, source.name, source.sheet)) as rows:
        return next((tuple(cell.strip() for cell in cells) for _, cells in rows), ())


def tried(files: Sequence[Packed]) -> Mapping[str, Any] | None:
    """Run in a child: read files as `xlsx_rows` does, to the end; return what is wrong with the first bad one."""
    try:
        for each in files:
            unpacked = Unpacked(each["name"], each["packed_bytes"])
            with Path(each["path"]).open("rb") as file:
                for sheet in _sheets_in(file, each["name"]):
                    if not sheet.passed_over:
                        for _, cells in _rows_in(file, each["name"], sheet.place):
                            unpacked.add(1, CONTAINER_CHARACTERS + sum(map(len, cells)))
    except UserError as error:
        return outcome(error)
    return None


def require_calamine(name: str) -> None:
    """Raise DataError if python-calamine is not installed."""
    try:
        importlib.import_module("python_calamine")
    except ImportError:
        raise DataError(
            f'读 {name} 需要 python-calamine；请运行 pip install "tonghua[excel]"，或另存为 CSV UTF-8',
            f'{name} needs python-calamine to be read; run pip install "tonghua[excel]", or save it as CSV UTF-8',
        ) from None


def in_sheets(sources: Sequence[RowSource]) -> tuple[tuple[RowSource, ...], tuple[Text, ...]]:
    """Return the sources with each workbook replaced by its sheets that hold something, and notes on the sheets."""
    found: list[RowSource] = []
    read: dict[str, Text] = {}
    passed_over: dict[str, Text] = {}
    for source in sources:
        if source.kind != "xlsx":
            found.append(source)
            continue
        with source.file() as file, _opened(file, source.name) as workbook:
            sheets = _sheets(workbook)
            if sum(not sheet.passed_over for sheet in sheets) > 1:
                sheets = [_unless_empty(sheet, workbook) for sheet in sheets]
        own = [sheet for sheet in sheets if not sheet.passed_over]
        others = [(sheet.name, sheet.passed_over) for sheet in sheets if sheet.passed_over]
        if not own:
            raise DataError(
                f"{source.name} 里没有写着数据的工作表（隐藏的不读）；请先写入数据",
                f"{source.name} has no sheet that holds rows (hidden ones are not read); write some first",
            )
        if own[1:]:
            read[source.name] = listed([sheet.name for sheet in own])
        if others:
            zh = listed([f"{name}（{why.zh}）" for name, why in others]).zh
            passed_over[source.name] = Text(zh, listed([f"{name} ({why.en})" for name, why in others]).en)
        for sheet in own:  # the name of a sheet is told only where there is more than one
            name = f"{source.name}/{shown(sheet.name, 40)}" if own[1:] else source.name
            found.append(replace(source, name=name, sheet=sheet.place))
    notes = []
    if read:
        book, which = _first(read)
        notes.append(
            Text(
                f"{book.zh} 的数据读自工作表：{which.zh}", f"the rows of {book.en} are read from the sheets {which.en}"
            )
        )
    if passed_over:
        book, which = _first(passed_over)
        notes.append(
            Text(f"{book.zh} 里没有读的工作表：{which.zh}", f"sheets of {book.en} that are not read: {which.en}")
        )
    return tuple(found), tuple(notes)


def _first(told: Mapping[str, Text]) -> tuple[Text, Text]:
    """Return the first workbook, with how many follow it, and what is told of it."""
    (name, which), more = next(iter(told.items())), len(told) - 1
    return (Text(f"{name} 等 {more + 1} 个文件", f"{name} and {more} more files") if more else Text(name, name)), which


def _sheets(workbook: Any) -> list[Sheet]:
    """Return the sheets of a workbook in their order, without a look into them."""
    found = []
    for index, sheet in enumerate(workbook.sheets_metadata):
        why = None
        if not str(sheet.visible).endswith(".Visible"):
            why = Text("隐藏的", "hidden")
        elif not str(sheet.typ).endswith(".WorkSheet"):
            why = Text("不是表格", "no table")
        found.append(Sheet(index, sheet.name, why))
    return found


def _unless_empty(sheet: Sheet, workbook: Any) -> Sheet:
    """Return the sheet, passed over if nothing is written in it."""
    if sheet.passed_over or workbook.get_sheet_by_index(sheet.place).start is not None:
        return sheet
    return sheet._replace(passed_over=Text("空的", "empty"))


def _sheets_in(file: IO[bytes], name: str) -> list[Sheet]:
    with _opened(file, name) as workbook:
        return _sheets(workbook)


def _rows_in(file: IO[bytes], name: str, place: int) -> Generator[tuple[int, list[str]], None, None]:
    """Yield (1-based row, text of each cell) of the rows of a sheet in which something is written."""
    file.seek(0)
    with _opened(file, name) as workbook:
        sheet = workbook.get_sheet_by_index(place)
        if sheet.start is None:
            return
        for line, cells in enumerate(sheet.iter_rows(), 1):
            texts = [_text(cell) for cell in cells]
            if any(texts):
                yield line, texts


@contextmanager
def _opened(file: IO[bytes], name: str) -> Iterator[Any]:
    """Open a workbook. An error of the library while the block runs becomes DataError."""
    calamine: Any = importlib.import_module("python_calamine")
    try:
        yield calamine.load_workbook(file)
    except calamine.CalamineError as error:
        said = shown(str(error), 100)
        raise DataError(
            f"{name} 损坏了，或者不是 Excel 工作簿（{said}）；请在 Excel 里另存为 .xlsx",
            f"{name} is damaged or no Excel workbook ({said}); open it in Excel and save it as .xlsx",
        ) from error


def _text(cell: object) -> str:
    """Return about what Excel shows in a cell."""
    match cell:
        case str():
            return cell.replace("\r\n", "\n")
        case bool():
            return "TRUE" if cell else "FALSE"
        case int() | float():
            # 15 digits are all that Excel keeps.
            return str(int(cell)) if cell == cell // 1 and abs(cell) < _WHOLE_BELOW else f"{cell:.15G}"
        case datetime():
            return cell.isoformat(" ")
        case date() | time():
            return cell.isoformat()
        case timedelta():
            minutes, seconds = divmod(round(cell.total_seconds()), 60)
            return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
        case _:
            return str(cell)
