"""Read the header of a safetensors file and check it completely before any tensor is read.

    8 bytes: length of the header | JSON: name -> dtype, shape, span | the tensors, without gaps or overlaps

Format: huggingface.co/docs/safetensors, "Format".
"""

import math
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import RefusedError
from ..text import shown
from .guarded import (
    LFS_POINTER_START,
    damaged_file,
    parse_json,
    refuse_lfs_pointer,
    refused,
    require_regular,
    unreadable,
)

HEADER_LIMIT_BYTES = 100_000_000
"""Maximum size of the JSON header, in bytes."""

DTYPE_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}

BLOCK_BYTES = 1_048_576
"""Bytes of two tensors that are compared at a time."""

DIMENSIONS_LIMIT = 8

DIMENSION_LIMIT = 2**40
"""Maximum length of a dimension, and maximum offset in bytes."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor as the header declares it; `dtype` is the name in safetensors, such as "BF16"."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    span: tuple[int, int] = field(default=(0, 0), compare=False)
    """Where its bytes begin and end in the file."""


def read_header(path: Path) -> dict[str, TensorEntry]:
    """Return the tensors that a safetensors file declares, in the header's order; read no tensor data.

    Format (safetensors README): the header's length in 8 little-endian bytes, the header as a JSON object
    {name: {dtype, shape, data_offsets}}, then the data. Raises RefusedError unless the tensors fill the data
    exactly and each span equals the size of its dtype times its shape.
    """
    header, data_start, size_bytes = _read_header_json(path)
    entries: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int, str]] = []
    for name, declared in header.items():
        if name == "__metadata__":
            if not isinstance(declared, dict) or not all(isinstance(text, str) for text in declared.values()):
                raise damaged_file(path, "__metadata__ 不是文本", "__metadata__ does not hold texts")
            continue
        entry, (start, end) = _tensor_entry(path, name, declared)
        entries[name] = replace(entry, span=(data_start + start, data_start + end))
        spans.append((start, end, name))
    _check_spans(path, spans, data_start, size_bytes)
    return entries


def same_content(one: TensorEntry, other: TensorEntry) -> bool:
    """True if both tensors have the same type, shape and bytes. Raises RefusedError if a file cannot be read."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    (left_start, left_end), (right_start, _) = one.span, other.span
    try:
        with one.file.open("rb") as left, other.file.open("rb") as right:
            left.seek(left_start)
            right.seek(right_start)
            for place in range(left_start, left_end, BLOCK_BYTES):
                size = min(BLOCK_BYTES, left_end - place)
                if left.read(size) != right.read(size):
                    return False
    except OSError as error:
        raise unreadable(one.file, error) from None
    return True


def _read_header_json(path: Path) -> tuple[dict[str, Any], int, int]:
    """Return the header, the offset of the data and the size of the file, both in bytes."""
    require_regular(path)
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER_START))
            refuse_lfs_pointer(path, start)
            if len(start) < 8:
                raise _cut_short(path, 8, size_bytes)
            (length,) = struct.unpack("<Q", start[:8])
            if length > HEADER_LIMIT_BYTES:
                raise damaged_file(
                    path,
                    f"开头不是 safetensors 的文件头（长度写作 {length}）",
                    f"it does not begin with a safetensors header (its length reads {length})",
                )
            if 8 + length > size_bytes:
                raise _cut_short(path, 8 + length, size_bytes)
            file.seek(8)
            data = file.read(length)
    except OSError as error:
        raise unreadable(path, error) from None
    # The format allows nothing before the brace, not even a space.
    if not data.startswith(b"{"):
        raise damaged_file(path, "文件头不是一个 JSON 对象", "its header is not a JSON object")
    return parse_json(data, path), 8 + length, size_bytes


def _cut_short(path: Path, wanted_bytes: int, size_bytes: int) -> RefusedError:
    return refused(
        shown(path.name, 80),
        f"文件不完整：至少应有 {wanted_bytes} 字节，只有 {size_bytes} 字节；请重新下载这个文件",
        f"the file is cut short: {size_bytes} bytes of at least {wanted_bytes}; fetch this file again",
    )


def _tensor_entry(path: Path, name: str, declared: Any) -> tuple[TensorEntry, tuple[int, int]]:
    fields = declared if isinstance(declared, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    tensor = shown(name, 80)
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise damaged_file(
            path,
            f"张量 {tensor} 的 dtype 是 {shown(dtype, 80)}，无法识别",
            f"tensor {tensor} has the unknown dtype {shown(dtype, 80)}",
        )
    if not isinstance(shape, list) or len(shape) > DIMENSIONS_LIMIT or not all(map(_is_dimension, shape)):
        raise damaged_file(path, f"张量 {tensor} 的 shape 不合理", f"tensor {tensor} has an impossible shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_dimension, offsets)):
        raise damaged_file(
            path, f"张量 {tensor} 的 data_offsets 不合理", f"tensor {tensor} has impossible data_offsets"
        )
    start, end = offsets
    wanted_bytes = math.prod(shape) * DTYPE_BYTES[dtype]
    if end - start != wanted_bytes:
        raise damaged_file(
            path,
            f"张量 {tensor} 按 dtype 和 shape 应占 {wanted_bytes} 字节，data_offsets 却是 {end - start} 字节",
            f"tensor {tensor} needs {wanted_bytes} bytes by its dtype and shape, "
            f"but its data_offsets span {end - start}",
        )
    return TensorEntry(file=path, dtype=dtype, shape=tuple(shape)), (start, end)


def _is_dimension(value: object) -> bool:
    return type(value) is int and 0 <= value <= DIMENSION_LIMIT


def _check_spans(path: Path, spans: list[tuple[int, int, str]], data_start: int, size_bytes: int) -> None:
    """Raise RefusedError unless the spans cover all bytes after the header, without overlap or gap."""
    position = 0
    for start, end, name in sorted(spans):
        if start < position:
            raise damaged_file(
                path,
                f"张量 {shown(name, 80)} 与前一个张量重叠",
                f"tensor {shown(name, 80)} overlaps the one before",
            )
        if start > position:
            raise damaged_file(path, f"张量 {shown(name, 80)} 之前有空洞", f"tensor {shown(name, 80)} follows a hole")
        position = end
    if data_start + position > size_bytes:
        raise _cut_short(path, data_start + position, size_bytes)
    extra_bytes = size_bytes - data_start - position
    if extra_bytes > 0:
        raise damaged_file(path, f"末尾多出 {extra_bytes} 字节", f"{extra_bytes} bytes follow the last tensor")
