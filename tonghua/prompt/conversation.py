"""A conversation: the only form that rows have inside tonghua.

Conversation((Message("user", "这是暹罗进贡的茶叶"), Message("assistant", "倒也清淡。")), line=3)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]

JOIN = "\n"
"""What stands between `instruction` and `input` of a row, in training and ever after."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str
    learn: bool = True
    """Whether an answer is learned; False = context only."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One row: [system] user assistant (user assistant)*. `line` is where the row starts in its file."""

    messages: tuple[Message, ...]
    line: int = 0


def with_system(messages: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """The conversation under this system prompt, unless it opens with one of its own."""
    if system is None or messages[0].role == "system":
        return tuple(messages)
    return (Message("system", system), *messages)
