"""Learn something of a stranger's file in a child process, and keep it: once for each content, not at every start.

home/learned/<hash of the question>.json
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ..system.bounded import Bounds, call
from ..system.environment import home
from ..system.files import rename
from ..text import Text

VERSION = 1
"""Part of the hash: increase it with every change of what is learned."""

Learned = TypeVar("Learned")


class NotLearnedError(Exception):
    """The file is unfit: raised by `parsed` of `learned`. `reason` says why, as the middle of a sentence."""

    def __init__(self, reason: Text):
        super().__init__(reason.en)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Question:
    """What a child process is asked: `function` with `request`, its JSON value, within `bounds`.

    `subject` names all content that the answer depends on: questions on the same subject are equal.
    """

    function: str
    subject: str
    request: Any = field(compare=False)
    bounds: Bounds = field(compare=False)


@lru_cache(maxsize=64)
def learned(question: Question, parsed: Callable[[Any], Learned]) -> Learned:
    """Return `parsed` of the answer, which is kept in the data folder for next time.

    Raises OutOfBoundsError as `system.bounded.call` does, and what `parsed` raises; then nothing is kept.
    """
    subject = f"{VERSION} {question.function} {question.subject}"
    name = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
    file = home() / "learned" / f"{name[:32]}.json"
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        return parsed(json.loads(file.read_bytes()))
    answer = call(question.function, question.request, question.bounds)
    made = parsed(answer)
    with suppress(OSError):  # the data folder may be read-only
        _write(file, json.dumps(answer).encode())
    return made


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(content)
    rename(part, file)
