"""Read the raw rows of one file, one at a time: a value, the line it starts on, and its faults.

    [ {...},          a JSON array     read through a sliding window, never held as a whole
      {...} ]
    {...}             JSON Lines       only "\\n" ends a line
    a,b               CSV and TSV      fields named by the header; the separator is , ; or a tab
    1,"2"
    (columns)         Parquet          read in batches; the line is the row number
    (sheets)          Excel            each sheet is read like a CSV; the line is the row in the sheet
    雪孩子             a story          one row: {"instruction": a request made from the title, "output": the story}
    从前…

A row with a syntax fault is not checked further. A syntax error in a JSON array, or an unmatched quote in a CSV,
ends the file: the rows after it cannot be separated.
"""

import re
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from ...errors import DataError
from ...text import Text, shown
from .csv_rows import csv_header, csv_rows
from .faults import ROW_CHARACTERS, Found, too_long
from .json_rows import array_rows, laid_out, line_rows, object_rows
from .parquet_rows import parquet_rows, require_pyarrow
from .sources import RowSource
from .unpacked import Packed, Unpacked, require_harmless
from .xlsx_rows import in_sheets, require_calamine, xlsx_header, xlsx_rows

TITLE_CHARACTERS = 30
"""Maximum length of a story's title, in characters."""

_ENDS_A_SENTENCE = re.compile(r'[。！？!?….；;，,：:”」』"]$')

_CHINESE = re.compile("[\u3400-\u9fff]")


def records(source: RowSource, unpacked: Unpacked | None = None) -> Generator[Found, None, None]:
    """Yield each row of a file, in constant memory; `unpacked` counts what compressed files become.

    Raises RefusedError if that is too much. Raises DataError if the whole file is unusable: it has no rows, a
    duplicate column, objects over several lines outside a list, or it is damaged; or if the file has changed since
    it was found.
    """
    match source.kind:
        case "json":
            found = object_rows(source) if source.is_one_after_another else array_rows(source)
        case "jsonl":
            found = line_rows(source)
        case "csv" | "tsv":
            found = csv_rows(source)
        case "parquet":
            found = parquet_rows(source)
        case "xlsx":
            found = xlsx_rows(source)
        case "txt":
            found = _story(source)
    number = 0
    for number, row in enumerate(found, 1):  # noqa: B007 - tested after the loop
        if unpacked and source.packed_bytes:
            unpacked.add(1, row.characters)
        yield row
    if not number:
        raise DataError(f"{source.name} 里没有一条数据；请先写入数据", f"{source.name} holds no rows; write some first")


def as_laid_out(sources: Sequence[RowSource]) -> tuple[tuple[RowSource, ...], tuple[Text, ...]]:
    """Return the sources with how their JSON is laid out, one for each sheet of a workbook, and notes on both.

    Raises DataError as `laid_out` does.
    """
    sources, notes = in_sheets(sources)
    found = tuple(laid_out(source) if source.kind == "jsonl" else source for source in sources)
    wrapped = [source for source in found if source.wrapper is not None]
    if not wrapped:
        return found, notes
    name, key = wrapped[0].name, shown(wrapped[0].wrapper, 40)
    more = Text(f" 等 {len(wrapped)} 个文件", f" and {len(wrapped) - 1} more files") if wrapped[1:] else Text("", "")
    return found, (
        *notes,
        Text(
            f"{name}{more.zh} 的数据读自 {key} 里的列表",
            f'the rows of {name}{more.en} are read from the list in "{key}"',
        ),
    )


def header_of(source: RowSource) -> tuple[str, ...]:
    """Return the names in the header of a table, () for files without one."""
    if not source.cells_are_text:
        return ()
    return xlsx_header(source) if source.kind == "xlsx" else csv_header(source)


def require_harmless_files(sources: Sequence[RowSource]) -> None:
    """Have a child read the files that libraries unpack. Raises RefusedError if one breaks the bounds."""
    for kind, require_reader in (("parquet", require_pyarrow), ("xlsx", require_calamine)):
        packed = [source for source in sources if source.kind == kind]
        if packed:
            require_reader(packed[0].name)
            _require_harmless_files(packed, f"tonghua.data.read.{kind}_rows:tried")


def _require_harmless_files(packed: Sequence[RowSource], reader: str) -> None:
    plain = [source for source in packed if isinstance(source.origin, Path)]
    if plain:
        require_harmless(reader, [Packed(path=str(s.origin), name=s.name, packed_bytes=s.packed_bytes) for s in plain])
    for source in packed:
        if source not in plain:
            with source.file() as file:
                require_harmless(reader, [Packed(path=file.name, name=source.name, packed_bytes=source.packed_bytes)])


def _story(source: RowSource) -> Iterator[Found]:
    with source.text(newline=None) as stream:
        written = stream.read(ROW_CHARACTERS)
        if len(written) == ROW_CHARACTERS:
            yield Found(1, None, (too_long(),))
            return
    first, _, rest = written.strip().partition("\n")
    title, story = first.strip().strip("#《》 \t"), rest.strip()
    if not story or len(title) > TITLE_CHARACTERS or not title or _ENDS_A_SENTENCE.search(title):
        title, story = source.stem, written.strip()
    wish = (
        f"请写一个题为《{title}》的童话故事。"
        if _CHINESE.search(title + story)
        else f'Write a fairy tale called "{title}".'
    )
    yield Found(1, {"instruction": wish, "output": story})
