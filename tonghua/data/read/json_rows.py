"""Read the rows of JSON and JSON Lines files, one at a time; the whole file is never in memory."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TextIO

from ...errors import DataError
from ...text import Text, shown
from .faults import ROW_CHARACTERS, Fault, Faults, Found, and_ended, fault, too_deep, too_long
from .sources import RowSource

_WINDOW_CHARACTERS = 1 << 17

# An error in the last characters of the window may come from the cut. The longest token, -Infinity, has 9.
_TOKEN_CHARACTERS = 16

_SPACE = re.compile(r"[ \t\n\r]*")


def json_in_a_cell(cell: str, column: str) -> tuple[object, tuple[Fault, ...]]:
    """Parse a CSV cell as JSON; return the value (None if invalid) and the faults."""
    try:
        return _StrictDecoder().whole(cell)
    except json.JSONDecodeError as error:
        return None, (_broken_json(error.msg, error.colno, column),)
    except RecursionError:
        return None, (too_deep(),)


class _StrictDecoder:
    """JSON (RFC 8259) decoder that also reports duplicate keys, NaN and Infinity, which the json module accepts."""

    def __init__(self) -> None:
        self._faults = Faults()
        # Parse integers as floats: no column holds numbers, and a very long integer raises ValueError.
        self._json = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=self._constant, parse_int=float)

    def take(self, text: str, start: int) -> tuple[object, int, tuple[Fault, ...]]:
        """Return the value that starts at `start`, its end, and its faults.

        Raises json.JSONDecodeError, or RecursionError if the value is nested too deeply.
        """
        self._faults.clear()
        value, end = self._json.raw_decode(text, start)
        return value, end, tuple(dict.fromkeys(self._faults))

    def whole(self, text: str) -> tuple[object, tuple[Fault, ...]]:
        """Return the only value in `text`, and its faults. Raises as `take` does."""
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
            'write "" if there is nothing',
        )


def _after_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


class _TooLongError(Exception):
    """A row of more than ROW_CHARACTERS."""


class _Window:
    """A window that slides forward over a text and tracks the line number.

    ....[ {...}, {...}, {..|   the window; the text before `position` is processed
                 ^position
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._ended = False
        self._column = 1  # 1-based, of the window's first character
        self._line, self._counted = 1, 0  # the line of the character at `_counted`
        self.text = ""
        self.position = 0

    @property
    def line(self) -> int:
        """The 1-based line of `position`."""
        self._line += self.text.count("\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def fault(self, message: str, position: int) -> Found:
        """Return the fault of a JSON error at `position`, which must be at or after the window's own."""
        line = self.line + self.text.count("\n", self.position, position)
        line_start = self.text.rfind("\n", 0, position)
        column = self._column + position if line_start < 0 else position - line_start
        return Found(line, None, (and_ended(_broken_json(message, column)),))

    def grow(self) -> None:
        """Drop the processed text, and read at least as much as is left, so that the total cost is linear."""
        _ = self.line  # counts the lines that are dropped
        line_start = self.text.rfind("\n", 0, self.position)
        self._column = self._column + self.position if line_start < 0 else self.position - line_start
        left = self.text[self.position :]
        more = self._stream.read(max(_WINDOW_CHARACTERS, len(left)))
        self._ended = not more
        self.text = left + more
        self.position = self._counted = 0

    def follows(self, mark: str = "") -> str:
        """Return the character after `mark` (at `position`) and white space, "" at the end; do not move."""
        while True:
            after = _after_space(self.text, self.position + len(mark))
            if after < len(self.text) or self._ended:
                return self.text[after : after + 1]
            self.grow()

    def skip(self, mark: str = "") -> str:
        """Move to the character that `follows` returns, and return it."""
        following = self.follows(mark)
        self.position = _after_space(self.text, self.position + len(mark))
        return following

    def value(self, decoder: _StrictDecoder) -> tuple[object, tuple[Fault, ...], str]:
        """Return the value at `position`, its faults and its text, and move to its end.

        Raises json.JSONDecodeError (positions in `text`), RecursionError, or _TooLongError.
        """
        while True:
            try:
                value, end, faults = decoder.take(self.text, self.position)
                if end < len(self.text) - _TOKEN_CHARACTERS or self._ended:  # a cut "12" may be "12.5e3"
                    start, self.position = self.position, end
                    return value, faults, self.text[start:end]
            except json.JSONDecodeError as error:
                cut = error.msg.startswith("Unterminated") or error.pos >= len(self.text) - _TOKEN_CHARACTERS
                if self._ended or not cut:
                    raise
            if len(self.text) - self.position > ROW_CHARACTERS:
                raise _TooLongError
            self.grow()


def array_rows(source: RowSource) -> Iterator[Found]:
    """Yield the items of a JSON array; stop after a syntax error. Raises DataError if the file has changed."""
    decoder = _StrictDecoder()
    with source.text(newline="") as stream:
        window = _Window(stream)
        while "[" not in window.text:  # only white space comes before it
            window.position = len(window.text)
            window.grow()
        window.position = window.text.index("[")
        try:
            yield from _items(window, decoder)
        except json.JSONDecodeError as error:
            yield window.fault(error.msg, error.pos)
        except RecursionError:
            yield Found(window.line, None, (and_ended(too_deep()),))
        except _TooLongError:
            yield Found(window.line, None, (and_ended(too_long()),))


def _items(window: _Window, decoder: _StrictDecoder) -> Iterator[Found]:
    """Yield the items of the array at `position`, and the fault between or after them that ends it."""
    closed = window.skip("[") == "]"
    empty = closed
    while not closed:
        line = window.line
        yield Found(line, *window.value(decoder))
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


def line_rows(source: RowSource) -> Iterator[Found]:
    """Yield the row of each JSON Lines line that is not blank.

    Raises DataError if the first object spans several lines, or if the file has changed.
    """
    decoder = _StrictDecoder()
    first = True
    # Only "\n" ends a line: str.splitlines also splits at U+2028, which a text may contain.
    with source.text(newline="\n") as stream:
        line = 0
        while written := stream.readline(ROW_CHARACTERS):
            line += 1
            if len(written) == ROW_CHARACTERS:
                yield Found(line, None, (and_ended(too_long()),))
                return
            if not written.strip():
                continue
            try:
                value, faults = decoder.whole(written.removesuffix("\n"))
                yield Found(line, value, faults, written.strip())
            except json.JSONDecodeError as error:
                if first and _is_spread_over_lines(source, decoder):
                    raise DataError(
                        f"{source.name} 里的对象分成了多行，又不在列表里；"
                        "请用 [ ] 括起来、以逗号隔开，或一行写一个对象",
                        f"{source.name} has an object over several lines that is not in a list; put [ ] around the "
                        "objects and commas between them, or write one object a line",
                    ) from None
                yield Found(line, None, (_broken_json(error.msg, error.colno),))
            except RecursionError:
                yield Found(line, None, (too_deep(),))
            first = False


def _is_spread_over_lines(source: RowSource, decoder: _StrictDecoder) -> bool:
    """True if the first object of the file spans several lines."""
    with source.text(newline="\n", whole=False) as stream:
        window = _Window(stream)
        window.skip()
        line = window.line
        first = window.text[window.position :].partition("\n")[0]
        try:
            value, *_ = window.value(decoder)
        except (json.JSONDecodeError, RecursionError, _TooLongError):
            return first.strip() == "{"
        return isinstance(value, dict) and window.line > line


# By the start of the json module's messages. Other messages are shown unchanged.
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
