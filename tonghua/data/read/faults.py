"""Faults in the syntax of a row: what is wrong, and how to fix it."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ...errors import DataError
from ...text import Text, listed

ROW_CHARACTERS = 5_000_000
"""Maximum length of a row, in characters. Its tokens take about 100 times as many bytes while they are made."""


VALUE_CHARACTERS, CONTAINER_CHARACTERS = 8, 64
"""What a value and a list or object count beside their text, for their place in memory."""


class Fault(NamedTuple):
    what: Text
    mend: Text


def fault(what: str, what_en: str, mend: str, mend_en: str) -> Fault:
    """Return a fault in both languages: what is wrong, and how to fix it."""
    return Fault(Text(what, what_en), Text(mend, mend_en))


class Faults(list[Fault]):
    """The faults of one row so far."""

    def add(self, what: str, what_en: str, mend: str, mend_en: str) -> None:
        """Append a fault; arguments as for `fault`."""
        self.append(fault(what, what_en, mend, mend_en))


class Found(NamedTuple):
    """A raw row of a file; `line` is the 1-based line on which it starts.

    `written`: its JSON text as it stands in the file, "" for other formats and for a broken row.
    """

    line: int
    value: object
    faults: tuple[Fault, ...] = ()
    written: str = ""

    @property
    def characters(self) -> int:
        """About how many characters it takes in memory."""
        return len(self.written) or _characters(self.value)


def _characters(value: object) -> int:
    """Return the characters of a value; other values and containers count as what they weigh beside a text."""
    if isinstance(value, str | bytes):
        return len(value)
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    return VALUE_CHARACTERS if inside is None else CONTAINER_CHARACTERS + sum(map(_characters, inside))


def too_deep() -> Fault:
    """Return the fault of brackets that are nested too deeply."""
    return fault(
        "括号嵌套太深，无法读取",
        "brackets are nested too deeply to be read",
        "检查方括号和花括号，或删掉这一条",
        "check the brackets and braces, or delete the row",
    )


def too_long() -> Fault:
    """Return the fault of a row over `ROW_CHARACTERS`."""
    return fault(
        f"这一条超过 {ROW_CHARACTERS} 个字符",
        f"the row is longer than {ROW_CHARACTERS} characters",
        "检查引号和括号，或把它拆成几条",
        "check the quotes and brackets, or split it into several rows",
    )


def and_ended(broken: Fault) -> Fault:
    """Return the fault with the remark that the rest of the file was not read."""
    what, mend = broken
    return Fault(Text(f"{what.zh}；从这里起没有再读", f"{what.en}; nothing was read from here on"), mend)


def refuse_doubled(header: Sequence[str], name: str) -> None:
    """Raise DataError if two columns of a table have the same name; a column may have none."""
    doubled = [key for key, count in Counter(header).items() if key and count > 1]
    if doubled:
        raise DataError(
            f"{name} 的表头里 {listed(doubled).zh} 不止一列；请只留一列或改名",
            f"the header of {name} has more than one column {listed(doubled).en}; keep or rename one",
        )
