"""The reasoning before an answer: apart from the answer, whatever form a row has it in.

<think>\n先想想。\n</think>\n\n是守桥人。   ->   reasoning 先想想。   content 是守桥人。
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from .conversation import Message, Thinking

OPENED, CLOSED = "<think>", "</think>"

_THOUGHT = re.compile(r"\s*<think>(.*?)</think>\n*", re.DOTALL)


def settled(messages: Sequence[Message], wish: Thinking, has_place: bool) -> tuple[Message, ...]:
    """Return the messages with their reasoning where the template writes it; do so twice, and nothing changes.

    `wish` is the setting `enable_thinking`; `has_place`: the template has a place of its own for reasoning. Then
    reasoning that stands in an answer moves there. Otherwise it stays text of the answer, and reasoning beside an
    answer is left out, or written into the answer if `wish` is True. With `wish` False, all reasoning is left out.
    """
    return tuple(_settled(each, wish, has_place) if each.role == "assistant" else each for each in messages)


def without_thought(text: str) -> str:
    """Return an answer without the reasoning before it; nothing if it ends before its reasoning does."""
    within = _THOUGHT.match(text)
    if within:
        return text[within.end() :]
    return "" if text.lstrip().startswith("<think>") and "</think>" not in text else text


def _settled(message: Message, wish: Thinking, has_place: bool) -> Message:
    within = _THOUGHT.match(message.content) if not message.reasoning else None
    if within and (has_place or wish is False):
        message = replace(message, content=message.content[within.end() :], reasoning=within[1].strip())
    if not message.reasoning or (has_place and wish is not False):
        return message
    content = message.content
    if wish is True and not has_place:
        content = f"<think>\n{message.reasoning}\n</think>\n\n{content}"
    return replace(message, content=content, reasoning="")


def thinks(messages: Sequence[Message], wish: Thinking) -> bool:
    """True if the last answer to learn, or else the last, is asked for with reasoning."""
    answers = [message for message in messages if message.role == "assistant"]
    learned = [message for message in answers if message.learn] or answers
    return wish is True or (wish == "auto" and bool(learned and learned[-1].reasoning))
