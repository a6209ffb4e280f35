"""The responses in the shape of OpenAI's: whole answers, the chunks of a stream, the list of models.

A chat has {"message": ...} or {"delta": ...} in each choice, a completion {"text": ...} in both; all else is the same.
"""

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..inference.engine import StopReason

Kind = Literal["chat", "completion"]


@dataclass(slots=True)
class ReplyShape:
    """The shape of one response; `id` and `created` are the same in all chunks of a stream."""

    kind: Kind
    model: str
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.id = ("chatcmpl-" if self.kind == "chat" else "cmpl-") + secrets.token_hex(12)

    def whole(self, choices: Sequence[tuple[str, StopReason]], usage: dict[str, int]) -> dict[str, Any]:
        """Return a whole response; a choice is its text and how it ended."""
        made = []
        for index, (text, reason) in enumerate(choices):
            said: dict[str, Any] = {"text": text}
            if self.kind == "chat":
                said = {"message": {"role": "assistant", "content": text, "refusal": None}}
            made.append({"index": index, **said, "logprobs": None, "finish_reason": reason})
        return {**self._head("chat.completion"), "choices": made, "usage": usage}

    def opening(self, index: int) -> dict[str, Any] | None:
        """Return the first chunk of a choice, which names its role; a completion has none."""
        return self._chunk(index, {"role": "assistant", "content": ""}, None) if self.kind == "chat" else None

    def part(self, index: int, text: str) -> dict[str, Any]:
        """Return a chunk with more text of a choice."""
        return self._chunk(index, {"content": text}, None)

    def ending(self, index: int, reason: StopReason) -> dict[str, Any]:
        """Return the last chunk of a choice."""
        return self._chunk(index, {}, reason)

    def counted(self, usage: dict[str, int]) -> dict[str, Any]:
        """Return the chunk after all choices, with the tokens of all."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage}

    def _head(self, chat: str) -> dict[str, Any]:
        name = chat if self.kind == "chat" else "text_completion"
        return {"id": self.id, "object": name, "created": self.created, "model": self.model}

    def _chunk(self, index: int, delta: dict[str, str], reason: StopReason | None) -> dict[str, Any]:
        said: dict[str, Any] = {"delta": delta} if self.kind == "chat" else {"text": delta.get("content", "")}
        choice = {"index": index, **said, "logprobs": None, "finish_reason": reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}


def usage_of(prompt: int, answer: int) -> dict[str, int]:
    """Return the tokens of a request: the prompt is counted once, the answer over all choices."""
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def model_entry(name: str, base: str, created: int) -> dict[str, Any]:
    """Return one entry of the list of models; `parent` is the name of the base."""
    return {"id": name, "object": "model", "created": created, "owned_by": "tonghua", "parent": base}


def sse(value: object) -> bytes:
    """Return one event of a stream: the object as JSON on one line."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": waiting\n\n"
