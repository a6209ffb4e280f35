"""How much a compressed file may become, by one measure for archives, Parquet and Excel.

    data.parquet, 1 kB ──require_harmless──► a child reads all of it within bounds    else RefusedError
                       ──rows──► Unpacked.add(characters)                             else RefusedError

A small file can hold a row a billion times. What bounds the work is what its rows become, not its own size.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypedDict

from ...errors import DataError, RefusedError, UserError
from ...system.bounded import Bounds, OutOfBoundsError, call
from ...text import Text

HARMLESS_CHARACTERS = 5_000_000
"""What any file may become."""

RATIO_LIMIT = 50
"""What a larger file may become, in characters for each of its bytes. Rows of one template reach about 20."""

ROW_COSTS_CHARACTERS = 100
"""What a row counts beside its text; it takes about 1 kB of memory."""

MEMORY_BYTES = 500_000_000
"""What a reader may take in its child, its Python included, beside `MEMORY_RATIO` times the file."""

MEMORY_RATIO = 4

CPU_S = 5.0
"""Processor time of a reader in its child, beside a second for each 10 MB."""

BYTES_PER_CPU_S = 10_000_000


class Unpacked:
    """Counts what compressed files of `packed_bytes` have become so far; `name` is that of the dataset."""

    def __init__(self, name: str, packed_bytes: int) -> None:
        self._name = name
        self._left = max(HARMLESS_CHARACTERS, RATIO_LIMIT * packed_bytes)
        self._limit = self._left

    def add(self, rows: int, characters: int) -> None:
        """Count rows of so many characters in all. Raises RefusedError if that is more than the files may become."""
        self._left -= rows * ROW_COSTS_CHARACTERS + characters
        if self._left < 0:
            size = Text(f"{self._limit:,} 个字符", f"{self._limit:,} characters")
            raise _harmful(self._name, Text(f"里面的数据超过 {size.zh}", f"its rows become more than {size.en}"))


class Packed(TypedDict):
    """One file for a reader in a child."""

    path: str
    name: str
    packed_bytes: int


def require_harmless(function: str, files: Sequence[Packed]) -> None:
    """Have a child read files as this process will. Raises RefusedError if a file breaks the bounds, or its own error.

    `function` ("module:name") takes the files, and returns the `outcome` of reading them.
    """
    if len(files) > 1:
        # One child for all is faster. If it fails, each file is tried alone, to name the one at fault.
        with suppress(OutOfBoundsError):
            if _tried(function, files) is None:
                return
    for file in files:
        try:
            wrong = _tried(function, [file])
        except OutOfBoundsError as error:
            raise _harmful(file["name"], error.reason) from None
        if wrong:
            raise (RefusedError if wrong["is_refused"] else DataError)(*wrong["text"])


def _tried(function: str, files: Sequence[Packed]) -> Mapping[str, Any] | None:
    sizes = [file["packed_bytes"] for file in files]
    bounds = Bounds(MEMORY_BYTES + MEMORY_RATIO * max(sizes), CPU_S + sum(sizes) / BYTES_PER_CPU_S, 100_000)
    wrong: Mapping[str, Any] | None = call(function, files, bounds)
    return wrong


def outcome(error: UserError | None) -> Mapping[str, Any] | None:
    """Return the error of a reader as what a child answers, None if there is none."""
    return {"is_refused": isinstance(error, RefusedError), "text": list(error.text)} if error else None


def _harmful(name: str, what: Text) -> RefusedError:
    return RefusedError(
        f"没有读 {name}：{what.zh}，像是有害的文件；若是自己的数据，请另存为 JSONL 或 CSV",
        f"{name} was not read: {what.en}, as harmful files do; if the rows are yours, save them as JSONL or CSV",
    )
