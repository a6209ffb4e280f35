"""The responses in the shape of OpenAI's: whole answers, the chunks of a stream, the list of models.

A chat has {"message": ...} or {"delta": ...} in each choice, a completion {"text": ...} in both; and each has its own
shape of log p. All else is the same.
"""

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Literal

from ..inference.engine import StopReason, TokenLogs
from .models import ServedModel

Kind = Literal["chat", "completion"]


@dataclass(slots=True)
class Choice:
    """One answer of a response as it grows; `logs` holds those of each of its tokens that begins in its text."""

    text: str = ""
    logs: list[TokenLogs] = field(default_factory=list)
    reason: StopReason = "length"


@dataclass(slots=True)
class ReplyShape:
    """The shape of one response; `id` and `created` are the same in all chunks of a stream."""

    kind: Kind
    model: str
    token_bytes: Callable[[int], bytes]
    id: str = ""
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.id = ("chatcmpl-" if self.kind == "chat" else "cmpl-") + secrets.token_hex(12)

    def whole(self, choices: Sequence[Choice], with_logs: bool, usage: dict[str, int]) -> dict[str, Any]:
        """Return a whole response."""
        made = []
        for index, choice in enumerate(choices):
            said: dict[str, Any] = {"text": choice.text}
            if self.kind == "chat":
                said = {"message": {"role": "assistant", "content": choice.text, "refusal": None}}
            logs = self._logprobs(choice.logs) if with_logs else None
            made.append({"index": index, **said, "logprobs": logs, "finish_reason": choice.reason})
        return {**self._head("chat.completion"), "choices": made, "usage": usage}

    def opening(self, index: int) -> dict[str, Any] | None:
        """Return the first chunk of a choice, which names its role; a completion has none."""
        return self._chunk(index, {"role": "assistant", "content": ""}, None) if self.kind == "chat" else None

    def part(self, index: int, text: str, logs: Sequence[TokenLogs] = ()) -> dict[str, Any]:
        """Return a chunk with more text of a choice."""
        return self._chunk(index, {"content": text}, None, logs)

    def ending(self, index: int, reason: StopReason) -> dict[str, Any]:
        """Return the last chunk of a choice."""
        return self._chunk(index, {}, reason)

    def counted(self, usage: dict[str, int]) -> dict[str, Any]:
        """Return the chunk after all choices, with the tokens of all."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage}

    def _head(self, chat: str) -> dict[str, Any]:
        name = chat if self.kind == "chat" else "text_completion"
        return {"id": self.id, "object": name, "created": self.created, "model": self.model}

    def _chunk(
        self, index: int, delta: dict[str, str], reason: StopReason | None, logs: Sequence[TokenLogs] = ()
    ) -> dict[str, Any]:
        said: dict[str, Any] = {"delta": delta} if self.kind == "chat" else {"text": delta.get("content", "")}
        choice = {"index": index, **said, "logprobs": self._logprobs(logs) if logs else None, "finish_reason": reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _logprobs(self, logs: Sequence[TokenLogs]) -> dict[str, Any]:
        """Return log p of the tokens of a text in the shape of this kind."""
        if self.kind == "chat":
            entries = [
                {**self._entry(*own), "top_logprobs": [self._entry(*each) for each in top]} for own, *top in logs
            ]
            return {"content": entries, "refusal": None}
        texts = [self._text(own[0]) for own, *_ in logs]
        return {
            "tokens": texts,
            "token_logprobs": [own[1] for own, *_ in logs],
            "top_logprobs": [{self._text(id): value for id, value in top} for _, *top in logs],
            "text_offset": [0, *accumulate(map(len, texts))][: len(texts)],
        }

    def _entry(self, id: int, value: float) -> dict[str, Any]:
        return {"token": self._text(id), "logprob": value, "bytes": list(self.token_bytes(id))}

    def _text(self, id: int) -> str:
        return self.token_bytes(id).decode("utf-8", "replace")


def usage_of(prompt: int, answer: int) -> dict[str, int]:
    """Return the tokens of a request: the prompt is counted once, the answer over all choices."""
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def model_entry(model: ServedModel, created: int) -> dict[str, Any]:
    """Return one entry of the list of models; `parent` names the base, and `card` is null if there is none."""
    card = None if model.card is None else model.card.model_dump(mode="json")
    own = {"owned_by": "tonghua", "parent": model.base, "card": card}
    return {"id": model.name, "object": "model", "created": created, **own}


def sse(value: object) -> bytes:
    """Return one event of a stream: the object as JSON on one line."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": waiting\n\n"
