"""A conversation: the only form of a row inside tonghua.

Conversation((Message("user", "这是暹罗进贡的茶叶"), Message("assistant", "倒也清淡。")), line=3)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Role = Literal["system", "user", "assistant"]

Thinking = Literal["auto"] | bool
"""The setting `enable_thinking`: True = with reasoning, False = without, "auto" = as each row has it."""

JOIN = "\n"
"""Separator between `instruction` and `input` of a row, in training and in inference."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str
    learn: bool = True
    """True if an answer is learned; False = context only."""
    reasoning: str = ""
    """What an answer's author thought before it, as `reasoning_content` of a row holds it; "" if nothing."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """One row: [system] [greeting] user assistant (user assistant)*. `line` is its first line in its file; 0 = no file.

    A greeting is an assistant's message before the first question. It is context: its `learn` is False.
    """

    messages: tuple[Message, ...]
    line: int = 0


def with_system(messages: Sequence[Message], system: str | None) -> tuple[Message, ...]:
    """Return the messages with this system prompt in front, unless they begin with their own or `system` is None."""
    if system is None or messages[0].role == "system":
        return tuple(messages)
    return (Message("system", system), *messages)
