"""Read the rows of Parquet files, in batches whose weight is known before they become Python objects.

    columns ──weight──► characters ──Unpacked──► within bounds? ──► {"instruction": "…", "output": "…"}

A column of times becomes text, such as 2026-12-01 08:00:00. A few bytes of Parquet can become gigabytes while
pyarrow reads them, so `tried` reads the whole file in a child first, by the same steps.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ...errors import DataError, UserError
from ...text import shown
from .faults import CONTAINER_CHARACTERS, ROW_CHARACTERS, VALUE_CHARACTERS, Found, refuse_doubled, too_long
from .sources import RowSource
from .unpacked import Packed, Unpacked, outcome

_BATCH_ROWS = 100

_BUFFER_BYTES = 1 << 20


def parquet_rows(source: RowSource) -> Iterator[Found]:
    """Yield each row as a dict; its line is its number. Raises DataError if the file is damaged."""
    with source.file() as file:
        line = 0
        for batch in _batches(file, source.name):
            heavy = weight(batch) > ROW_CHARACTERS
            for part in (batch.slice(row, 1) for row in range(len(batch))) if heavy else (batch,):
                if heavy and weight(part) > ROW_CHARACTERS:
                    line += 1
                    yield Found(line, None, (too_long(),))
                    continue
                for value in part.to_pylist():
                    line += 1
                    yield Found(line, value)


def tried(files: Sequence[Packed]) -> Mapping[str, Any] | None:
    """Run in a child: read files as `parquet_rows` does, to the end; return what is wrong with the first bad one."""
    try:
        for each in files:
            unpacked = Unpacked(each["name"], each["packed_bytes"])
            with Path(each["path"]).open("rb") as file:
                for batch in _batches(file, each["name"]):
                    unpacked.add(len(batch), weight(batch))
    except UserError as error:
        return outcome(error)
    return None


def require_pyarrow(name: str) -> None:
    """Raise DataError if pyarrow is not installed."""
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise DataError(
            f"读 {name} 需要 pyarrow；请运行 pip install pyarrow",
            f"{name} needs pyarrow to be read; run pip install pyarrow",
        ) from None


def _batches(file: IO[bytes], name: str) -> Iterator[Any]:
    """Yield record batches of few rows, with times as text."""
    parquet: Any = importlib.import_module("pyarrow.parquet")
    try:
        # Without threads and read-ahead, the memory in use does not depend on the machine.
        opened = parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        refuse_doubled(opened.schema_arrow.names, name)
        for batch in opened.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
            yield _with_times_as_text(batch)
    except (ValueError, OSError, ArithmeticError, LookupError, TypeError) as error:  # bases of pyarrow's errors
        said = shown(str(error), 100)
        raise DataError(
            f"{name} 损坏了，或者不是 Parquet（{said}）；请重新下载",
            f"{name} is damaged or no Parquet ({said}); download it again",
        ) from error


def _with_times_as_text(batch: Any) -> Any:
    """Cast times to text: Python may not represent one, and its time zone may be unknown here."""
    arrow: Any = importlib.import_module("pyarrow")
    schema = batch.schema
    for leaf in (_without_zone, _text_for_time):
        wanted = arrow.schema([field.with_type(_replaced(field.type, leaf, arrow)) for field in schema])
        if wanted != schema:
            columns = [
                column.cast(field.type) if column.type != field.type else column
                for column, field in zip(batch.columns, wanted, strict=True)
            ]
            batch, schema = arrow.RecordBatch.from_arrays(columns, schema=wanted), wanted
    return batch


def _without_zone(kind: Any, arrow: Any) -> Any:
    return arrow.timestamp(kind.unit) if arrow.types.is_timestamp(kind) else kind


def _text_for_time(kind: Any, arrow: Any) -> Any:
    return arrow.string() if arrow.types.is_temporal(kind) else kind


def _replaced(kind: Any, leaf: Any, arrow: Any) -> Any:
    """Return the type with `leaf` applied to the types inside its lists and structs."""
    types = arrow.types
    if types.is_struct(kind):
        return arrow.struct([field.with_type(_replaced(field.type, leaf, arrow)) for field in kind])
    if types.is_list(kind) or types.is_large_list(kind):
        make = arrow.list_ if types.is_list(kind) else arrow.large_list
        return make(kind.value_field.with_type(_replaced(kind.value_type, leaf, arrow)))
    return leaf(kind, arrow)


def weight(batch: Any) -> int:
    """Return about how many characters the rows of a batch become, without making them."""
    return sum(_weight(column) for column in batch.columns)


def _weight(array: Any) -> int:
    arrow: Any = importlib.import_module("pyarrow")
    types, kind, count = arrow.types, array.type, len(array)
    if isinstance(kind, arrow.BaseExtensionType):
        return _weight(array.storage)
    if types.is_dictionary(kind):  # one long text may stand in every row
        return count * VALUE_CHARACTERS + _text_bytes(array.dictionary, array.indices, arrow)
    if types.is_struct(kind):
        return count * CONTAINER_CHARACTERS + sum(_weight(child) for child in array.flatten())
    if types.is_map(kind):
        start, end = (array.offsets[0].as_py(), array.offsets[-1].as_py()) if count else (0, 0)
        entries = [child.slice(start, end - start) for child in (array.keys, array.items)]
        return (count + end - start) * CONTAINER_CHARACTERS + sum(_weight(child) for child in entries)
    if types.is_nested(kind):
        return count * CONTAINER_CHARACTERS + _weight(array.flatten())
    if str(kind).endswith("_view"):  # rows share the bytes of a view
        return count * VALUE_CHARACTERS + _text_bytes(array, None, arrow)
    return count * VALUE_CHARACTERS + int(array.nbytes)


def _text_bytes(values: Any, indices: Any, arrow: Any) -> int:
    """Return the bytes of all texts, each counted as often as `indices` name it."""
    compute: Any = importlib.import_module("pyarrow.compute")
    lengths = compute.binary_length(values.cast(arrow.large_binary()))
    return int((lengths if indices is None else lengths.take(indices)).sum().as_py() or 0)
