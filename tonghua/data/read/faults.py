"""Faults in the syntax of a row: what is wrong, and how to fix it."""

from typing import NamedTuple

from ...text import Text

ROW_CHARACTERS = 50_000_000
"""Maximum length of a row, in characters: it bounds how much of a file is in memory at once."""


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
