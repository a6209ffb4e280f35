"""Read the rows of JSON and JSON Lines files, one at a time; the whole file is never in memory."""

import json
import math
import re
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import TextIO

from ...errors import DataError
from ...text import Text, listed, shown
from .faults import ROW_CHARACTERS, Fault, Faults, Found, and_ended, too_deep, too_long
from .json_faults import broken_json
from .roles import role_named
from .sources import RowSource

_WINDOW_CHARACTERS = 1 << 17

_GLANCE_CHARACTERS = 1 << 14
"""What is read at a time if the first value of a file is wanted."""

# An error in the last characters of the window may come from the cut. The longest token, -Infinity, has 9.
_TOKEN_CHARACTERS = 16

_SPACE = re.compile(r"[ \t\n\r]*")


def json_in_a_cell(cell: str, column: str) -> tuple[object, tuple[Fault, ...]]:
    """Parse a CSV cell as JSON; return the value (None if invalid) and the faults."""
    try:
        value, faults = _StrictDecoder().whole(cell)
    except json.JSONDecodeError as error:
        return None, (broken_json(error.msg, error.colno, column),)
    except RecursionError:
        return None, (too_deep(),)
    space = {what: " " if what.zh.isascii() or what.zh[0] < "\x7f" else "" for what, _ in faults}
    return value, tuple(
        Fault(Text(f"{column} 里的{space[what]}{what.zh}", f'in "{column}", {what.en}'), mend) for what, mend in faults
    )


class _StrictDecoder:
    """JSON (RFC 8259) decoder that also reports duplicate keys and Infinity, which the json module accepts.

    NaN is read: libraries for tables write it for an empty cell, as they do in CSV.
    """

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

    def _constant(self, name: str) -> float | None:
        if name == "NaN":
            return math.nan
        self._faults.add(
            f"{name} 不是 JSON 里的值",
            f"{name} is not a JSON value",
            '没有内容就写 ""',
            'write "" if there is nothing',
        )
        return None


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

    def __init__(self, stream: TextIO, characters: int = 0) -> None:
        self._stream = stream
        self._characters = characters or _WINDOW_CHARACTERS
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
        if self.text.startswith(("//", "/*"), position):
            message = "Comment"
        return Found(line, None, (and_ended(broken_json(message, column)),))

    def grow(self) -> None:
        """Drop the processed text, and read at least as much as is left, so that the total cost is linear."""
        _ = self.line  # counts the lines that are dropped
        line_start = self.text.rfind("\n", 0, self.position)
        self._column = self._column + self.position if line_start < 0 else self.position - line_start
        left = self.text[self.position :]
        more = self._stream.read(max(self._characters, len(left)))
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
    """Yield the items of a JSON array, or of the list that an object holds at the key `source.wrapper`.

    Stops after a syntax error. Raises DataError if the file has changed.
    """
    decoder = _StrictDecoder()
    with source.text(newline="") as stream:
        window = _Window(stream)
        window.skip()
        yield from _to_the_first_error(window, _array(window, decoder, source.wrapper))


def object_rows(source: RowSource) -> Iterator[Found]:
    """Yield JSON values that follow one another, over any number of lines, with or without commas between them."""
    decoder = _StrictDecoder()
    with source.text(newline="") as stream:
        window = _Window(stream)
        yield from _to_the_first_error(window, _one_after_another(window, decoder))


def _to_the_first_error(window: _Window, rows: Iterator[Found]) -> Iterator[Found]:
    try:
        yield from rows
    except json.JSONDecodeError as error:
        yield window.fault(error.msg, error.pos)
    except RecursionError:
        yield Found(window.line, None, (and_ended(too_deep()),))
    except _TooLongError:
        yield Found(window.line, None, (and_ended(too_long()),))


def _array(window: _Window, decoder: _StrictDecoder, wrapper: str | None) -> Iterator[Found]:
    if wrapper is not None:
        for key in _keys(window, decoder):
            if key == wrapper:
                yield from _items(window, decoder)
                return  # what comes after it was read when the wrapper was found
            _pass_over(window, decoder)
    elif (yield from _items(window, decoder)) and window.skip("]"):
        yield window.fault("Extra data", window.position)


def _one_after_another(window: _Window, decoder: _StrictDecoder) -> Iterator[Found]:
    while window.skip():
        line = window.line
        yield Found(line, *window.value(decoder))
        if window.skip() == ",":
            window.skip(",")


def _items(window: _Window, decoder: _StrictDecoder) -> Generator[Found, None, bool]:
    """Yield the items of the array at `position`, and the fault between them that ends it.

    Moves to the `]`. Returns True if the array is whole and has items.
    """
    closed = window.skip("[") == "]"
    empty = closed
    while not closed:
        line = window.line
        yield Found(line, *window.value(decoder))
        mark = window.skip()
        closed = mark == "]"
        if not closed and mark != ",":
            yield window.fault("Expecting ',' delimiter" if mark else "Expecting ']'", window.position)
            return False
        if mark == "," and window.follows(",") == "]":
            yield window.fault("Illegal trailing comma", window.position)
            return False
        if not closed:
            window.skip(",")
    return not empty


def _keys(window: _Window, decoder: _StrictDecoder) -> Iterator[str]:
    """Yield the keys of the object at `position`, each with the window at its value; the caller moves past the value.
    Ends at the `}`.

    Raises json.JSONDecodeError, RecursionError or _TooLongError.
    """
    mark = window.skip("{")
    while mark != "}":
        key, *_ = window.value(decoder)
        if not isinstance(key, str) or window.skip() != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", window.text, window.position)
        window.skip(":")
        yield key
        mark = window.skip()
        if mark not in (",", "}"):
            raise json.JSONDecodeError("Expecting ',' delimiter", window.text, window.position)
        if mark == ",":
            window.skip(",")


def _pass_over(window: _Window, decoder: _StrictDecoder) -> bool:
    """Move past the value at `position`; a list of objects goes by one at a time. Return True for such a list."""
    if window.follows("[") != "{" or not window.text.startswith("[", window.position):
        window.value(decoder)
        return False
    for item in _items(window, decoder):
        if item.faults and not item.written:
            raise json.JSONDecodeError("Expecting ',' delimiter", window.text, window.position)
    window.skip("]")
    return True


def laid_out(source: RowSource) -> RowSource:
    """Return the source of JSON Lines as what it is: with its wrapper, as objects over several lines, or as it is.

        {"version": 1, "data": [{…}, {…}]}     a wrapper: the only list of objects in the only object of the file

    Raises DataError if an object without a column of a row holds several such lists.
    """
    decoder = _StrictDecoder()
    with source.text(newline="", whole=False) as stream:
        window = _Window(stream, _GLANCE_CHARACTERS)
        if window.skip() != "{":
            return source
        line = window.line
        spread = replace(source, kind="json", is_one_after_another=True)
        opens = window.text.startswith("{\n", window.position) or window.text.startswith("{\r\n", window.position)
        lists, has_roles = list[str](), False
        try:
            for key in _keys(window, decoder):
                has_roles = has_roles or role_named(key) is not None
                if _pass_over(window, decoder):
                    lists.append(key)
        except (json.JSONDecodeError, RecursionError, _TooLongError):
            return spread if opens else source
        is_spread = window.line > line
        if has_roles or not lists or window.skip("}"):
            return spread if is_spread else source
    if len(lists) > 1:
        found, first = listed(lists), shown(lists[0], 40)
        raise DataError(
            f"{source.name} 是一个对象，里面有几个列表（{found.zh}），看不出哪个是数据；请把要用的列表各存成一个文件",
            f"{source.name} is one object with several lists ({found.en}), and any may hold the rows; "
            f"save the list to use, such as {first}, as a file of its own",
        )
    return replace(source, kind="json", wrapper=lists[0])


def line_rows(source: RowSource) -> Iterator[Found]:
    """Yield the row of each JSON Lines line that is not blank.

    Raises DataError if the file has changed.
    """
    decoder = _StrictDecoder()
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
                yield Found(line, None, (broken_json(error.msg, error.colno),))
            except RecursionError:
                yield Found(line, None, (too_deep(),))
