"""Read the tensors of a checkpoint a few rows at a time, as fp32 and without torch; with an adapter, what both make.

    rows a..b of  W                            of the base
    rows a..b of  W + scale * B[a:b] A         of base and adapter (Hu et al., 2021), computed in fp32

Nothing else is in memory, so a model of any size is written by a small machine.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .guarded import damaged_file, unreadable
from .safetensors_file import DTYPE_BYTES, TensorEntry
from .scan import ModelFiles
from .scan_adapter import AdapterFiles

Rows = NDArray[np.float32]

BLOCK_VALUES = 1_048_576
"""Values that are read at a time: what is made of them still fits the caches of a processor."""

_STORED: dict[str, str] = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""How numpy reads each type of a weight; it has no bf16, whose bits are the upper half of fp32."""


def read_rows(entry: TensorEntry, start: int, stop: int) -> Rows:
    """Return rows `start` to `stop` of a tensor as fp32; of a vector, its values. Raises RefusedError if it cannot."""
    shape = (stop - start, *entry.shape[1:])
    count = int(np.prod(shape))
    width_bytes = DTYPE_BYTES[entry.dtype] * count // max(stop - start, 1)
    try:
        with entry.file.open("rb") as file:
            file.seek(entry.span[0] + start * width_bytes)
            stored: NDArray[Any] = np.fromfile(file, _STORED[entry.dtype], count)
    except OSError as error:
        raise unreadable(entry.file, error) from None
    if len(stored) < count:
        raise damaged_file(entry.file, "文件不完整", "it is cut short")
    if entry.dtype == "BF16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(shape)
    return stored.astype(np.float32, copy=False).reshape(shape)


class TensorRows:
    """The weights of a base; with `adapter`, of the two merged. Raises DataError if the adapter does not fit."""

    def __init__(self, base: ModelFiles, adapter: AdapterFiles | None = None):
        self._base = base.tensors
        self._pairs: dict[str, tuple[TensorEntry, TensorEntry]] = {}
        self._scale = 0.0
        if adapter is not None:
            self._pairs = pairs_of(adapter, base)
            self._scale = adapter.config.scale

    def read(self, name: str, start: int, stop: int) -> Rows:
        """Return rows `start` to `stop` of a tensor as fp32."""
        rows = read_rows(self._base[name], start, stop)
        if name in self._pairs:
            a, b = self._pairs[name]
            update = read_rows(b, start, stop) @ read_rows(a, 0, a.shape[0])
            rows = rows + np.float32(self._scale) * update
        return rows

    def blocks(self, name: str, multiple: int = 1) -> Iterator[Rows]:
        """Yield the rows of a tensor in order, a multiple of `multiple` at a time, but for what is left at its end."""
        shape = self._base[name].shape
        width = int(np.prod(shape[1:]))
        step = max(1, BLOCK_VALUES // max(width, 1) // multiple) * multiple
        for start in range(0, shape[0], step):
            yield self.read(name, start, min(start + step, shape[0]))


def pairs_of(adapter: AdapterFiles, base: ModelFiles) -> dict[str, tuple[TensorEntry, TensorEntry]]:
    """Return A (rank, inputs) and B (outputs, rank) by the name of the weight that they change.

    Raises DataError unless each has its weight in the base.
    """
    own = {name: adapter.tensors[stored] for name, stored in adapter.names.items()}
    pairs = {}
    for name in own:
        module, side, _ = name.rsplit(".", 2)
        if side != "lora_A":
            continue
        a, b = own[name], own[f"{module}.lora_B.weight"]
        weight = base.tensors.get(f"{module}.weight")
        if weight is None or weight.shape != (b.shape[0], a.shape[1]):
            raise DataError(
                f"适配器 {adapter.folder.name} 与基座 {base.folder.name} 对不上：{module}；请用训练它的那个基座",
                f"adapter {adapter.folder.name} does not fit the base {base.folder.name} at {module}; use the base"
                " that it was trained on",
            )
        pairs[f"{module}.weight"] = (a, b)
    return pairs
