"""What a column can be, and the names that people give to it in English and Chinese."""

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
"""The roles that columns have in each form; each is also the name that its column has first of all."""

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "instruction": ("query", "question", "prompt", "指令", "问题", "提问", "问", "提示词", "用户"),
    "input": ("context", "输入"),
    "output": ("response", "answer", "completion", "输出", "回答", "答案", "答", "回复", "答复", "助手"),
    "system": ("system_prompt", "系统", "系统提示", "系统提示词", "人设"),
    "history": ("历史", "历史对话", "对话历史"),
    "messages": ("conversations", "conversation", "对话", "消息"),
}

ROLE_OF = {name: role for role, others in OTHER_NAMES.items() for name in (role, *others)}

EXAMPLE: Mapping[Form, str] = {
    "alpaca": '{"instruction": "…", "output": "…"}',
    "messages": '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
}

NOTHING: tuple[object, ...] = (None, "", [], {})

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
    """Which column stands for which role. `names` holds (role, column) of the columns that are there."""

    form: Form
    names: tuple[tuple[str, str], ...]
    asked: tuple[str, ...] = ()
    """Roles whose column the user has named; other columns that might have them are left out without a word."""

    def __str__(self) -> str:
        return ", ".join(f"{role} <- {shown(column, 40)}" for role, column in self.names)

    @property
    def renames(self) -> bool:
        """Whether a column has another name than its role."""
        return any(role != column for role, column in self.names)


class Sample(NamedTuple):
    """Of the first rows of a file that are objects, which columns hold something; and whether they are all."""

    rows: Sequence[Mapping[str, bool]]
    whole: bool


def filled_columns(row: Mapping[str, object]) -> dict[str, bool]:
    """Whether each column of a row holds something."""
    return {column: value not in NOTHING for column, value in row.items()}


def role_named(column: str) -> str | None:
    return ROLE_OF.get(column) or ROLE_OF.get(plain_name(column))


def plain_name(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


def resembled(name: str, known: Sequence[str]) -> str | None:
    """The known column that `name` is likely a slip of the pen for."""
    plain = plain_name(name)
    for target in known:
        near = abs(len(plain) - len(target)) <= 2 and SequenceMatcher(None, plain, target).ratio() >= 0.8
        if plain == target or near:
            return target
    return None
