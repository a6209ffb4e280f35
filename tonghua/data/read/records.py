"""Read the raw rows of one file, one at a time: a value, the line it starts on, and its faults.

    [ {...},          a JSON array     read through a sliding window, never held as a whole
      {...} ]
    {...}             JSON Lines       only "\\n" ends a line
    a,b               CSV and TSV      fields named by the header; the separator is , ; or a tab
    1,"2"
    (columns)         Parquet          read in batches; the line is the row number
    雪孩子             a story          one row: {"instruction": a request made from the title, "output": the story}
    从前…

A row with a syntax fault is not checked further. A syntax error in a JSON array, or an unmatched quote in a CSV,
ends the file: the rows after it cannot be separated.
"""

import importlib
import re
from collections.abc import Generator, Iterator
from typing import Any

from ...errors import DataError
from ...text import shown
from .csv_rows import csv_rows
from .faults import ROW_CHARACTERS, Found, too_long
from .json_rows import array_rows, line_rows
from .sources import RowSource

TITLE_CHARACTERS = 30
"""Maximum length of a story's title, in characters."""

_PARQUET_BATCH_ROWS = 1_000

_ENDS_A_SENTENCE = re.compile(r'[。！？!?….；;，,：:”」』"]$')

_CHINESE = re.compile("[\u3400-\u9fff]")


def records(source: RowSource) -> Generator[Found, None, None]:
    """Yield each row of a file, in constant memory.

    Raises DataError if the whole file is unusable: it has no rows, a duplicate column, objects over several lines
    outside a list, or damaged Parquet; if pyarrow is missing; or if the file has changed since it was found.
    """
    match source.kind:
        case "json":
            found = array_rows(source)
        case "jsonl":
            found = line_rows(source)
        case "csv" | "tsv":
            found = csv_rows(source)
        case "parquet":
            found = _parquet_rows(source)
        case "txt":
            found = _story(source)
    number = 0
    for number, row in enumerate(found, 1):  # noqa: B007 - tested after the loop
        yield row
    if not number:
        raise DataError(f"{source.name} 里没有一条数据；请先写入数据", f"{source.name} holds no rows; write some first")


def _parquet_rows(source: RowSource) -> Iterator[Found]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise DataError(
            f"读 {source.name} 需要 pyarrow；请运行 pip install pyarrow",
            f"{source.name} needs pyarrow to be read; run pip install pyarrow",
        ) from None
    line = 0
    with source.file() as file:
        try:
            opened = parquet.ParquetFile(file)
            for batch in opened.iter_batches(batch_size=_PARQUET_BATCH_ROWS, columns=_without_times(opened)):
                for value in batch.to_pylist():
                    line += 1
                    yield Found(line, value)
        except (ValueError, OSError, ArithmeticError, LookupError, TypeError) as error:  # bases of pyarrow's errors
            said = shown(str(error), 100)
            raise DataError(
                f"{source.name} 损坏了，或者不是 Parquet（{said}）；请重新下载",
                f"{source.name} is damaged or no Parquet ({said}); download it again",
            ) from error


def _without_times(opened: Any) -> list[str]:
    """Names of all columns but times: Python may not represent a time, or the time zone may be unknown here."""
    types: Any = importlib.import_module("pyarrow.types")
    return [field.name for field in opened.schema_arrow if not types.is_temporal(field.type)]


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
