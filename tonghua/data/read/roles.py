"""The roles of columns, and their usual names in English and Chinese."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from ...text import Text, shown

Form = Literal["alpaca", "messages"]

KNOWN: Mapping[Form, tuple[str, ...]] = {
    "alpaca": ("instruction", "input", "output", "system", "history"),
    "messages": ("messages", "system"),
}
"""The roles of each form; each is also the primary name of its column."""

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "instruction": ("query", "question", "prompt", "指令", "问题", "提问", "问", "提示词", "用户"),
    "input": ("context", "输入"),
    "output": ("response", "answer", "completion", "输出", "回答", "答案", "答", "回复", "答复", "助手"),
    "system": ("system_prompt", "系统", "系统提示", "系统提示词", "人设"),
    "history": ("历史", "历史对话", "对话历史"),
    "messages": ("conversations", "conversation", "对话", "消息"),
}

LATER_NAMES: Mapping[str, tuple[str, ...]] = {
    "instruction": ("human", "user", "problem", "q"),
    "output": ("assistant", "gpt", "bot", "target", "targets", "reply", "solution", "a"),
}
"""Names that stand for a role only if no column has a name of `OTHER_NAMES`: else they are metadata."""

ROLE_OF = {name: role for role, others in OTHER_NAMES.items() for name in (role, *others)}

EXAMPLE: Mapping[Form, str] = {
    "alpaca": '{"instruction": "…", "output": "…"}',
    "messages": '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
}

_EMPTY_WORDS = ("", "[]", "{}", "null", "none", "nan")

_LONGEST_EMPTY = 20
"""Maximum characters of a text such as "[ ]", which white space within does not fill."""

ROLE_NAMES = {
    "instruction": Text("问题", "the question"),
    "input": Text("问题的补充", "what goes with the question"),
    "output": Text("答案", "the answer"),
    "system": Text("系统提示", "the system prompt"),
    "history": Text("前面的对话", "the conversation so far"),
    "messages": Text("对话", "the conversation"),
}


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Maps roles to columns; `names` holds (role, column) of the columns found."""

    form: Form
    names: tuple[tuple[str, str], ...]
    asked: tuple[str, ...] = ()
    """Roles whose column the user has named; other columns that fit these roles are ignored without a fault."""

    def __str__(self) -> str:
        return ", ".join(f"{role} <- {shown(column, 40)}" for role, column in self.names)

    @property
    def renames(self) -> bool:
        """True if a column's name differs from its role."""
        return any(role != column for role, column in self.names)


class ColumnSample(NamedTuple):
    """Which columns are filled in each of the first rows that are objects; `whole` is True if these are all rows."""

    rows: Sequence[Mapping[str, bool]]
    whole: bool


def is_empty(value: object) -> bool:
    """True if the value holds nothing: null, blank text, "[]" or "null" as text, or lists and objects of such."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list | tuple):
            waiting += each
        elif isinstance(each, dict):
            waiting += each.values()
        elif isinstance(each, str):
            word = "".join(each.split()) if len(each) <= _LONGEST_EMPTY else each.strip()
            if word.casefold() not in _EMPTY_WORDS:
                return False
        elif each is not None and each == each:  # NaN differs from itself
            return False
    return True


def filled_columns(row: Mapping[str, object]) -> dict[str, bool]:
    """Return, for each column of a row, True if it is filled; false fills none."""
    return {column: value is not False and not is_empty(value) for column, value in row.items()}


def role_named(column: str) -> str | None:
    """Return the role of a column name, or None if the name is unknown."""
    return ROLE_OF.get(column) or ROLE_OF.get(plain_name(column))


def plain_name(name: str) -> str:
    """Return the name in NFKC form, without outer white space and case."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def later_role(column: str) -> str | None:
    """Return the role of a name of `LATER_NAMES`, or None."""
    plain = plain_name(column)
    return next((role for role, names in LATER_NAMES.items() if plain in names), None)


_WORDS_OF_THEIR_OWN = frozenset(
    {
        *("content", "contents", "contact", "contest", "story", "stories"),
        *("introduction", "instructor", "construction", "conversion", "conversions"),
    }
)
"""Words that look like the name of a column, and mean something else."""


def resembled(name: str, known: Sequence[str]) -> str | None:
    """Return the known column of which `name` is probably a misspelling, or None."""
    if len(name) > 2 * max(map(len, known)):
        return None
    plain = plain_name(name)
    if plain in _WORDS_OF_THEIR_OWN:
        return None
    for target in known:
        near = abs(len(plain) - len(target)) <= 2 and SequenceMatcher(None, plain, target).ratio() >= 0.8
        if plain == target or near:
            return target
    return None
