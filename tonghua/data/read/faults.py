"""What can be wrong with a row as it is written: what, and how to mend it."""

from typing import NamedTuple

from ...text import Text

ROW_CHARACTERS = 50_000_000
"""The longest row that is read: what a file can make this program hold at once."""


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


def too_deep() -> Fault:
    return fault(
        "括号嵌套太深，无法读取",
        "brackets are nested too deeply to be read",
        "检查方括号和花括号，或删掉这一条",
        "check the brackets and braces, or delete the row",
    )


def too_long() -> Fault:
    return fault(
        f"这一条超过 {ROW_CHARACTERS} 个字符",
        f"the row is longer than {ROW_CHARACTERS} characters",
        "检查引号和括号，或把它拆成几条",
        "check the quotes and brackets, or split it into several rows",
    )


def and_ended(broken: Fault) -> Fault:
    what, mend = broken
    return Fault(Text(f"{what.zh}；从这里起没有再读", f"{what.en}; nothing was read from here on"), mend)
