"""Rows as they are written in one file, one at a time: a value, the line it starts on, and its faults.

    [ {...},          a JSON array     never held as one text or one list: a window slides over it
      {...} ]
    {...}             JSON Lines       only "\\n" ends a line
    a,b               CSV and TSV      fields by the names of the header; , ; or a tab between them
    1,"2"
    (columns)         Parquet          by batches; the line is the number of the row
    雪孩子             a story          one row: {"instruction": a wish made from the title, "output": the story}
    从前…

A fault in the writing of a row leaves nothing that could be judged further. One in a JSON array, or a broken
quote in a CSV, is the last thing found: what follows it cannot be told apart.
"""

import csv
import importlib
import json
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TextIO

from .errors import DataError
from .sources import Source
from .text import Text, listed, shown

CSV_FIELD_CHARACTERS = 10_000_000
"""The longest CSV field that is read; one unclosed quote must not turn a whole file into a single field."""

ROW_CHARACTERS = 50_000_000
"""The longest row that is read: what a file can make this program hold at once."""

TITLE_CHARACTERS = 30

_WINDOW_CHARACTERS = 1 << 17

_PARQUET_BATCH_ROWS = 1_000

_HEADER_CHARACTERS = 1_000_000

# So near to the end of what has been read, an error may come from the cut: the longest token is -Infinity.
_TOKEN_CHARACTERS = 16

_SPACE = re.compile(r"[ \t\n\r]*")

_ENDS_A_SENTENCE = re.compile(r'[。！？!?….；;，,：:”」』"]$')

_CHINESE = re.compile("[\u3400-\u9fff]")


class Fault(NamedTuple):
    what: Text
    mend: Text


def fault(what: str, what_en: str, mend: str, mend_en: str) -> Fault:
    return Fault(Text(what, what_en), Text(mend, mend_en))


class Faults(list[Fault]):
    """The faults of one row so far."""

    def add(self, what: str, what_en: str, mend: str, mend_en: str) -> None:
        self.append(fault(what, what_en, mend, mend_en))


class Found(NamedTuple):
    """A row as it stands in the file."""

    line: int
    value: object
    faults: tuple[Fault, ...] = ()


def records(source: Source) -> Generator[Found, None, None]:
    """Every row of a file, in constant memory.

    Raises DataError where the file as a whole is none: no rows, a doubled column, objects that are spread over
    lines without a list around them, damaged Parquet; and where the file changed since it was found.
    """
    match source.kind:
        case "json":
            found = _array_rows(source)
        case "jsonl":
            found = _line_rows(source)
        case "csv" | "tsv":
            found = _csv_rows(source)
        case "parquet":
            found = _parquet_rows(source)
        case "txt":
            found = _story(source)
    number = 0
    for number, row in enumerate(found, 1):  # noqa: B007 - whether there was one is asked below
        yield row
    if not number:
        raise DataError(f"{source.name} 里没有一条数据；请先写入数据", f"{source.name} holds no rows; write some first")


def json_in_a_cell(cell: str, column: str) -> tuple[object, tuple[Fault, ...]]:
    """What a CSV cell holds as JSON text, and its faults, each of which names the column."""
    try:
        return _Decoder().whole(cell)
    except json.JSONDecodeError as error:
        return None, (_broken_json(error.msg, error.colno, column),)
    except RecursionError:
        return None, (_too_deep(),)


# JSON


class _Decoder:
    """JSON as RFC 8259 has it: also tells keys that are doubled and NaN, which the standard library takes."""

    def __init__(self) -> None:
        self._faults = Faults()
        # Every number as a float: no column holds numbers, and a very long integer would raise ValueError.
        self._json = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=self._constant, parse_int=float)

    def take(self, text: str, start: int) -> tuple[object, int, tuple[Fault, ...]]:
        """The value that starts at `start`, where it ends, and its faults.

        Raises json.JSONDecodeError, and RecursionError for a value that is nested too deeply.
        """
        self._faults.clear()
        value, end = self._json.raw_decode(text, start)
        return value, end, tuple(dict.fromkeys(self._faults))

    def whole(self, text: str) -> tuple[object, tuple[Fault, ...]]:
        """The one value that `text` is. Raises as `take` does."""
        value, end, faults = self.take(text, _after_space(text, 0))
        end = _after_space(text, end)
        if end < len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        return value, faults

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(pairs)
        if len(value) < len(pairs):
            for key in (key for key, count in Counter(key for key, _ in pairs).items() if count > 1):
                self._faults.add(
                    f"键 {shown(key, 40)} 不止一个",
                    f'the key "{shown(key, 40)}" stands there more than once',
                    "只留一个",
                    "keep one of them",
                )
        return value

    def _constant(self, name: str) -> None:
        self._faults.add(
            f"{name} 不是 JSON 里的值",
            f"{name} is not a JSON value",
            '没有内容就写 ""',
            'write "" where there is nothing',
        )


def _after_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


class _TooLongError(Exception):
    """A row of more than ROW_CHARACTERS."""


class _Window:
    """A piece of a text that slides forward over it, and knows on which line it is.

    ....[ {...}, {...}, {..|   the piece; what lies before `position` is done with
                 ^position
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ended = False
        self._column = 1  # of the first character of the piece
        self._line, self._counted = 1, 0  # the line of the character at `_counted`
        self.text = ""
        self.position = 0

    @property
    def line(self) -> int:
        """The line of what stands at `position`."""
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def fault(self, message: str, position: int) -> Found:
        """What is found where JSON is broken at `position`, which is not before the window's own."""
        line = self.line + self.text.count("\n", self.position, position)
        line_start = self.text.rfind("\n", 0, position)
        column = self._column + position if line_start < 0 else position - line_start
        return Found(line, None, (_and_ended(_broken_json(message, column)),))

    def grow(self) -> None:
        """Lets go of what is done with, and reads at least as much as is left."""
        _ = self.line  # counts what will be gone
        line_start = self.text.rfind("\n", 0, self.position)
        self._column = self._column + self.position if line_start < 0 else self.position - line_start
        left = self.text[self.position :]
        more = self._stream.read(max(_WINDOW_CHARACTERS, len(left)))
        self._ended = not more
        self.text = left + more
        self.position = self._counted = 0

    def follows(self, mark: str = "") -> str:
        """The character after `mark`, which stands here, and white space; "" at the end. Goes nowhere yet."""
        while True:
            after = _after_space(self.text, self.position + len(mark))
            if after < len(self.text) or self._ended:
                return self.text[after : after + 1]
            self.grow()

    def skip(self, mark: str = "") -> str:
        """Goes on to the character that `follows`, and gives it."""
        following = self.follows(mark)
        self.position = _after_space(self.text, self.position + len(mark))
        return following

    def value(self, decoder: _Decoder) -> tuple[object, tuple[Fault, ...]]:
        """The value that starts here; the window goes on to its end.

        Raises json.JSONDecodeError by positions in `text`, RecursionError, and _TooLongError.
        """
        while True:
            try:
                value, end, faults = decoder.take(self.text, self.position)
                if end < len(self.text) - _TOKEN_CHARACTERS or self._ended:  # the number 12 might go on as 12.5e3
                    self.position = end
                    return value, faults
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - _TOKEN_CHARACTERS
                if self._ended or not cut:
                    raise
            if len(self.text) - self.position > ROW_CHARACTERS:
                raise _TooLongError
            self.grow()


def _array_rows(source: Source) -> Iterator[Found]:
    decoder = _Decoder()
    with source.text(newline="") as stream:
        window = _Window(stream)
        while "[" not in window.text:  # nothing but white space stands before it
            window.position = len(window.text)
            window.grow()
        window.position = window.text.index("[")
        try:
            yield from _items(window, decoder)
        except json.JSONDecodeError as error:
            yield window.fault(error.msg, error.pos)
        except RecursionError:
            yield Found(window.line, None, (_and_ended(_too_deep()),))
        except _TooLongError:
            yield Found(window.line, None, (_and_ended(_too_long()),))


def _items(window: _Window, decoder: _Decoder) -> Iterator[Found]:
    """The items of the array that starts here, and what is wrong between them and behind it."""
    closed = window.skip("[") == "]"
    empty = closed
    while not closed:
        line = window.line
        value, faults = window.value(decoder)
        yield Found(line, value, faults)
        mark = window.skip()
        closed = mark == "]"
        if not closed and mark != ",":
            yield window.fault("Expecting ',' delimiter" if mark else "Expecting ']'", window.position)
            return
        if mark == "," and window.follows(",") == "]":
            yield window.fault("Illegal trailing comma", window.position)
            return
        if not closed:
            window.skip(",")
    if not empty and window.skip("]"):
        yield window.fault("Extra data", window.position)


def _line_rows(source: Source) -> Iterator[Found]:
    decoder = _Decoder()
    first = True
    # Only "\n" ends a line: str.splitlines would also cut at U+2028, which may stand inside a text.
    with source.text(newline="\n") as stream:
        line = 0
        while written := stream.readline(ROW_CHARACTERS):
            line += 1
            if len(written) == ROW_CHARACTERS:
                yield Found(line, None, (_and_ended(_too_long()),))
                return
            if not written.strip():
                continue
            try:
                value, faults = decoder.whole(written.removesuffix("\n"))
                yield Found(line, value, faults)
            except json.JSONDecodeError as error:
                if first and _spread_over_lines(source, decoder):
                    raise DataError(
                        f"{source.name} 里的对象分成了多行，又不在列表里；"
                        "请用 [ ] 括起来、以逗号隔开，或一行写一个对象",
                        f"{source.name} has an object over several lines that is not in a list; put [ ] around the "
                        "objects and commas between them, or write one object a line",
                    ) from None
                yield Found(line, None, (_broken_json(error.msg, error.colno),))
            except RecursionError:
                yield Found(line, None, (_too_deep(),))
            first = False


def _spread_over_lines(source: Source, decoder: _Decoder) -> bool:
    with source.text(newline="\n") as stream:
        window = _Window(stream)
        window.skip()
        line = window.line
        first = window.text[window.position :].partition("\n")[0]
        try:
            value, _ = window.value(decoder)
        except (json.JSONDecodeError, RecursionError, _TooLongError):
            return first.strip() == "{"
        return isinstance(value, dict) and window.line > line


# CSV and TSV


def _csv_rows(source: Source) -> Iterator[Found]:
    # The limit belongs to the whole process: it is only ever raised, so readers in other threads are safe.
    csv.field_size_limit(max(csv.field_size_limit(), CSV_FIELD_CHARACTERS))
    header: tuple[str, ...] = ()
    separator = _separator(source)
    rows = 0
    with source.text(newline="") as stream:
        reader = csv.reader(_csv_lines(stream), strict=True, delimiter=separator)
        for line, fields, broken in _csv_records(reader):
            rows += bool(header)
            if broken:
                yield Found(line, None, (_and_ended(broken),))
            elif header:
                yield _csv_row(line, fields, header)
            else:
                header = tuple(fields)
                _refuse_doubled(header, source)
    if header and not rows:
        raise DataError(
            f"{source.name} 只有表头，没有数据；请在表头下写入数据",
            f"{source.name} has a header and no rows; write rows below it",
        )


def _csv_lines(stream: TextIO) -> Iterator[str]:
    while line := stream.readline(ROW_CHARACTERS):
        if len(line) == ROW_CHARACTERS:
            raise csv.Error("field larger than what is read at once")
        yield line


def _separator(source: Source) -> str:
    """Whatever cuts the header into most columns: a comma, a semicolon or a tab."""
    usual = "\t" if source.kind == "tsv" else ","
    with source.text(newline="") as stream:
        header = "\n"
        while header and not header.strip():
            header = stream.readline(_HEADER_CHARACTERS)
    return max((usual, ",", ";", "\t"), key=lambda mark: len(next(csv.reader([header], delimiter=mark), [])))


def _refuse_doubled(header: Sequence[str], source: Source) -> None:
    doubled = [key for key, count in Counter(header).items() if key and count > 1]
    if doubled:
        raise DataError(
            f"{source.name} 的表头里 {listed(doubled).zh} 不止一列；请只留一列或改名",
            f"the header of {source.name} has more than one column {listed(doubled).en}; keep or rename one",
        )


def _csv_records(reader: Any) -> Iterator[tuple[int, list[str], Fault | None]]:
    """(first line, fields, fault) of each record that is not blank; a fault is the last."""
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
        if column or field or column not in row:  # of columns without a name, one that holds something
            row[column] = field
    return Found(line, row)


# Parquet and stories


def _parquet_rows(source: Source) -> Iterator[Found]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise DataError(
            f'读 {source.name} 需要 pyarrow；请运行 pip install "tonghua[parquet]"',
            f'{source.name} needs pyarrow to be read; run pip install "tonghua[parquet]"',
        ) from None
    line = 0
    with source.file() as file:
        try:
            opened = parquet.ParquetFile(file)
            for batch in opened.iter_batches(batch_size=_PARQUET_BATCH_ROWS, columns=_without_times(opened)):
                for value in batch.to_pylist():
                    line += 1
                    yield Found(line, value)
        except (ValueError, OSError, ArithmeticError, LookupError, TypeError) as error:  # pyarrow's own are of these
            said = shown(str(error), 100)
            raise DataError(
                f"{source.name} 损坏了，或者不是 Parquet（{said}）；请重新下载",
                f"{source.name} is damaged or no Parquet ({said}); download it again",
            ) from error


def _without_times(opened: Any) -> list[str]:
    """Columns that may hold text: a time may lie outside of Python's, or in a zone that this machine does not know."""
    types: Any = importlib.import_module("pyarrow.types")
    return [field.name for field in opened.schema_arrow if not types.is_temporal(field.type)]


def _story(source: Source) -> Iterator[Found]:
    with source.text(newline=None) as stream:
        written = stream.read(ROW_CHARACTERS)
        if len(written) == ROW_CHARACTERS:
            yield Found(1, None, (_too_long(),))
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


# By the beginnings of the json module's messages; one that is not here is shown as it is.
_JSON_FAULTS: Mapping[str, Fault] = {
    "Expecting ','": fault(
        "这里缺少逗号",
        "a comma is missing here",
        '补上英文逗号；文字里的英文双引号要写成 \\"',
        'add a comma; inside text, write a double quote as \\"',
    ),
    "Expecting ']'": fault(
        "列表没有结束",
        "the list is not closed",
        "在末尾补上 ]；检查文件是否完整",
        "add ] at the end; check that nothing is cut off",
    ),
    "Expecting ':'": fault(
        "这里缺少冒号", "a colon is missing here", "在键名后补上英文冒号", "add a colon after the key"
    ),
    "Expecting property name": fault(
        "这里应是带英文双引号的键名",
        "a key in double quotes was expected here",
        "改用英文双引号（不是单引号或中文引号），并去掉 } 前多余的逗号",
        "use straight double quotes, not single or curly ones, and no comma before }",
    ),
    "Expecting value": fault(
        "这里应有一个值",
        "a value was expected here",
        "文字要放在英文双引号里；检查内容是否完整",
        "put text in double quotes; check that nothing is cut off",
    ),
    "Unterminated string": fault(
        "这里开始的文字没有结束的引号",
        "the text that starts here has no closing quote",
        "补上英文双引号；文字里的换行要写成 \\n",
        "add the double quote; inside text, write a line break as \\n",
    ),
    "Invalid control character": fault(
        "文字里有没转义的换行或制表符",
        "a bare line break or tab stands inside text",
        "换行写成 \\n，制表符写成 \\t",
        "write a line break as \\n and a tab as \\t",
    ),
    "Invalid \\": fault(
        "反斜杠的写法不对",
        "the backslash is not a valid escape",
        "反斜杠本身要写成 \\\\",
        "write a backslash itself as \\\\",
    ),
    "Extra data": fault(
        "这里之后是多余的内容",
        "what follows from here does not belong to it",
        "删掉多余的内容；JSONL 一行只写一个对象，行末不加逗号",
        "delete it; a JSONL line holds one object and no comma after it",
    ),
    "Illegal trailing comma": fault(
        "最后一项后面多了逗号", "there is a comma after the last item", "删掉这个逗号", "delete this comma"
    ),
}


def _broken_json(message: str, column_number: int, cell: str = "") -> Fault:
    other = fault("写法不对", message, "改成正确的 JSON", "write it as valid JSON")
    what, mend = next((each for start, each in _JSON_FAULTS.items() if message.startswith(start)), other)
    zh, en = (f"{cell} 里的 ", f' in "{cell}"') if cell else ("", "")
    return Fault(
        Text(
            f"{zh}JSON 写错了（第 {column_number} 列）：{what.zh}",
            f"broken JSON{en} (column {column_number}): {what.en}",
        ),
        mend,
    )


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


def _too_deep() -> Fault:
    return fault(
        "括号嵌套太深，无法读取",
        "brackets are nested too deeply to be read",
        "检查方括号和花括号，或删掉这一条",
        "check the brackets and braces, or delete the row",
    )


def _too_long() -> Fault:
    return fault(
        f"这一条超过 {ROW_CHARACTERS} 个字符",
        f"the row is longer than {ROW_CHARACTERS} characters",
        "检查引号和括号，或把它拆成几条",
        "check the quotes and brackets, or split it into several rows",
    )


def _and_ended(broken: Fault) -> Fault:
    what, mend = broken
    return Fault(Text(f"{what.zh}；从这里起没有再读", f"{what.en}; nothing was read from here on"), mend)
