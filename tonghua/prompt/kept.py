"""Learn something of a stranger's file in a child process, and keep it: once for each content, not at every start.

home/learned/<hash of the question>.json
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ..system.bounded import Bounds, call
from ..system.environment import home
from ..system.files import rename

VERSION = 1
"""Part of the hash: increase it with every change of what is learned."""

Learned = TypeVar("Learned")


@lru_cache(maxsize=64)
def learned(function: str, request: str, subject: str, bounds: Bounds, parsed: Callable[[Any], Learned]) -> Learned:
    """Return `parsed` of what `function` answers to the JSON text `request`; kept in the data folder for next time.

    `subject` names all content that the answer depends on. Raises OutOfBoundsError as `system.bounded.call` does, and
    what `parsed` raises; then nothing is kept.
    """
    name = hashlib.sha256(f"{VERSION} {function} {subject}".encode("utf-8", "surrogatepass")).hexdigest()
    file = home() / "learned" / f"{name[:32]}.json"
    with suppress(OSError, ValueError, LookupError, TypeError, AttributeError):
        return parsed(json.loads(file.read_bytes()))
    answer = call(function, json.loads(request), bounds)
    made = parsed(answer)
    with suppress(OSError):  # the data folder may be read-only
        _write(file, json.dumps(answer).encode())
    return made


def _write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(content)
    rename(part, file)
