"""Read the rows of CSV and TSV files, one at a time, with the line on which each starts."""

import csv
import re
from collections.abc import Iterator
from typing import Any, TextIO

from ...errors import DataError
from .faults import ROW_CHARACTERS, Fault, Found, and_ended, fault, refuse_doubled
from .roles import role_named
from .sources import RowSource

CSV_FIELD_CHARACTERS = ROW_CHARACTERS
"""Maximum length of a CSV field, in characters: one unclosed quote must not make a whole file one field."""

_HEADER_CHARACTERS = 1_000_000

_SEPARATORS = (",", ";", "\t", "|", "，")

_NAMED_SEPARATOR = re.compile(r'"?sep=([^"\r\n])"?[\r\n]*', re.IGNORECASE)


def csv_rows(source: RowSource) -> Iterator[Found]:
    """Yield each row as a dict from the header's names to text.

    Raises DataError if the header has a duplicate name, if no row follows it, or if the file has changed.
    """
    _allow_long_fields()
    header: tuple[str, ...] = ()
    separator, skipped = _separator(source)
    rows = 0
    with source.text(newline="") as stream:
        reader = csv.reader(_csv_lines(stream, skipped), strict=True, delimiter=separator)
        for line, fields, broken in _csv_records(reader):
            line += skipped
            rows += bool(header)
            if broken:
                yield Found(line, None, (and_ended(broken),))
            elif header:
                yield _csv_row(line, fields, header)
            else:
                header = tuple(fields)
                refuse_doubled(header, source.name)
    if header and not rows:
        raise DataError(
            f"{source.name} 只有表头，没有数据；请在表头下写入数据",
            f"{source.name} has a header and no rows; write rows below it",
        )


def csv_header(source: RowSource) -> tuple[str, ...]:
    """Return the names in the header, () if there is none or it is broken; only the start of the file is read."""
    _allow_long_fields()
    separator, skipped = _separator(source)
    with source.text(newline="", whole=False) as stream:
        reader = csv.reader(_csv_lines(stream, skipped), strict=True, delimiter=separator)
        return next((tuple(fields) for _, fields, _ in _csv_records(reader)), ())


def _allow_long_fields() -> None:
    # The limit is global to the process. Only raise it, so that readers in other threads are safe.
    csv.field_size_limit(max(csv.field_size_limit(), CSV_FIELD_CHARACTERS))


def _csv_lines(stream: TextIO, skipped: int) -> Iterator[str]:
    for _ in range(skipped):
        stream.readline(_HEADER_CHARACTERS)
    while line := stream.readline(ROW_CHARACTERS):
        if len(line) == ROW_CHARACTERS:
            raise csv.Error("field larger than what is read at once")
        yield line


def _separator(source: RowSource) -> tuple[str, int]:
    """Return the separator of a file, and how many lines at its start only name it (`sep=;`, which Excel reads).

    The separator gives the header the most columns with a known name, or else the most columns.
    """
    usual = "\t" if source.kind == "tsv" else ","
    with source.text(newline="", whole=False) as stream:
        header, lines = "\n", 0
        while header and not header.strip():
            header, lines = stream.readline(_HEADER_CHARACTERS), lines + 1
    if named := _NAMED_SEPARATOR.fullmatch(header):
        return named[1], lines

    def fits(mark: str) -> tuple[int, int]:
        columns = next(csv.reader([header], delimiter=mark), [])
        return sum(role_named(column) is not None for column in columns), len(columns)

    return max((usual, *_SEPARATORS), key=fits), 0


def _csv_records(reader: Any) -> Iterator[tuple[int, list[str], Fault | None]]:
    """Yield (first line, fields, fault) of each record that is not blank; stop after a fault."""
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield line, [], _broken_csv(str(error))
            return
        if fields is None:
            return
        if fields:
            yield line, fields, None


def _csv_row(line: int, fields: list[str], header: tuple[str, ...]) -> Found:
    if len(fields) != len(header):
        wrong = fault(
            f"有 {len(fields)} 个字段，表头有 {len(header)} 列",
            f"{len(fields)} fields, but the header has {len(header)} columns",
            "字段里有分隔符、引号或换行时，用英文双引号把整个字段括起来",
            "put double quotes around a field that holds a separator, a quote or a line break",
        )
        return Found(line, None, (wrong,))
    row: dict[str, object] = {}
    for column, field in zip(header, fields, strict=True):
        if column or field or column not in row:  # of the columns without a name, keep one that is filled
            row[column] = field
    return Found(line, row)


def _broken_csv(message: str) -> Fault:
    if message.startswith("field larger"):
        return fault(
            f"有一个字段超过 {CSV_FIELD_CHARACTERS} 个字符",
            f"a field is longer than {CSV_FIELD_CHARACTERS} characters",
            "检查是否少了一个英文双引号",
            "check whether a double quote is missing",
        )
    return fault(
        "这一条的英文双引号不配对",
        "the double quotes of this row do not match",
        '字段里的英文双引号要写成两个 ""',
        'inside a quoted field, write a double quote twice: ""',
    )
