"""Files of a few kilobytes that become gigabytes, and folders of many or of very deep files."""

import errno
import inspect
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from user_files import written

from tonghua.data.read import faults, parquet_rows
from tonghua.data.read.dataset import read_rows, stream_rows
from tonghua.data.read.records import records
from tonghua.errors import DataError, RefusedError, UserError


@pytest.fixture(scope="module", autouse=True)
def pyarrow() -> Any:
    return pytest.importorskip("pyarrow")


def repeated_text(path: Path) -> None:
    """One text of 1 MB in each of 400 rows."""
    import pyarrow as arrow

    texts = arrow.DictionaryArray.from_arrays(arrow.array([0] * 400, arrow.int32()), arrow.array(["x" * 1_000_000]))
    table(path, instruction=["q"] * 400, output=texts)


def list_of_nulls(path: Path) -> None:
    import pyarrow as arrow

    many = 2_000_000
    nulls = arrow.ListArray.from_arrays(arrow.array([0, many], arrow.int32()), arrow.nulls(many, arrow.int32()))
    table(path, instruction=["q"], output=["a"], messages=nulls)


def list_of_objects(path: Path) -> None:
    import pyarrow as arrow

    many = 1_000_000
    objects = arrow.StructArray.from_arrays([arrow.nulls(many, arrow.string())], ["content"])
    table(path, messages=arrow.ListArray.from_arrays(arrow.array([0, many], arrow.int32()), objects))


def map_of_many(path: Path) -> None:
    import pyarrow as arrow

    many = 1_000_000
    pairs = arrow.MapArray.from_arrays(arrow.array([0, many], arrow.int32()), ["k"] * many, arrow.nulls(many))
    table(path, instruction=["q"], output=["a"], meta=pairs)


def rows_of_nothing(path: Path) -> None:
    import pyarrow as arrow

    nothing = arrow.nulls(200_000, arrow.string())
    table(path, instruction=nothing, output=nothing)


def page_of_zeros(path: Path) -> None:
    table(path, instruction=["q"], output=["\0" * 20_000_000])


def view_of_one_text(path: Path) -> None:
    import pyarrow as arrow

    texts = arrow.array(["x" * 1_000_000] * 50, arrow.string_view())
    table(path, instruction=["q"] * 50, output=texts)


def table(path: Path, **columns: Any) -> None:
    import pyarrow as arrow
    import pyarrow.parquet

    arrow.parquet.write_table(arrow.table(columns), path, compression="zstd")


HOSTILE_PARQUET = (
    *(repeated_text, list_of_nulls, list_of_objects, map_of_many, rows_of_nothing, page_of_zeros, view_of_one_text),
)


def refused(path: Path) -> UserError:
    """Read the dataset, which must end in an error of one line; return the error."""
    with pytest.raises((DataError, RefusedError)) as caught:
        read_rows(path)
    assert "\n" not in caught.value.text.zh + caught.value.text.en
    return caught.value


def assert_harmful(path: Path, name: str) -> None:
    error = refused(path)
    assert error.exit_code == 4
    assert "像是有害的文件；若是自己的数据，请另存为 JSONL" in error.text.zh
    assert name in error.text.en


@pytest.mark.parametrize("write", HOSTILE_PARQUET, ids=lambda write: write.__name__)
def test_a_small_parquet_that_becomes_gigabytes_is_refused(folder: Path, write: Callable[[Path], None]) -> None:
    path = folder / "小.parquet"
    write(path)
    assert path.stat().st_size < 1_000_000
    assert_harmful(path, "小.parquet")


def test_a_hostile_parquet_is_named_among_good_ones_and_in_an_archive(folder: Path) -> None:
    good, bad = folder / "行" / "好.parquet", folder / "行" / "坏.parquet"
    good.parent.mkdir()
    table(good, instruction=["q"], output=["a"])
    repeated_text(bad)
    assert_harmful(good.parent, "坏.parquet was not read")
    with zipfile.ZipFile(folder / "小.zip", "w") as archive:
        archive.write(good, "好.parquet")
        archive.write(bad, "坏.parquet")
    assert_harmful(folder / "小.zip", "坏.parquet was not read")


def test_many_small_files_have_the_bounds_of_one(folder: Path) -> None:
    for number in range(3):
        table(folder / f"{number}.parquet", instruction=["q"] * 25, output=["x" * 100_000] * 25)
    assert_harmful(folder, "its rows become more than 5,000,000 characters")
    (folder / "2.parquet").unlink()
    (folder / "1.parquet").unlink()
    assert len(read_rows(folder).kept) == 25


def test_rows_in_an_archive_have_the_bounds_of_a_parquet(folder: Path) -> None:
    """The archive unpacks to 7 MB, and its rows would take a hundred times as much."""
    with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", "instruction,output\n" + "a,b\n" * 100_000)
    assert_harmful(folder / "a.zip", "its rows become more than 5,000,000 characters")


def test_a_row_that_is_too_long_is_a_problem_of_that_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_rows, "ROW_CHARACTERS", 10_000)
    path = folder / "a.parquet"
    table(path, instruction=["q"] * 4, output=["a", "x" * 20_000, "b", "y" * 9_000])
    rows = read_rows(path)
    assert [(problem.line, problem.what.en) for problem in rows.problems] == [
        (2, f"the row is longer than {faults.ROW_CHARACTERS} characters")
    ]
    assert [row.messages[-1].content[:1] for row in rows.kept] == ["a", "b", "y"]


def test_times_in_a_parquet_are_text(folder: Path) -> None:
    import pyarrow as arrow

    moment = 1_780_000_000_000_000_000
    table(
        folder / "a.parquet",
        instruction=arrow.array([20_000], arrow.date32()),
        output=arrow.array([moment], arrow.timestamp("ns", "No/Such_Place")),
        history=arrow.array([[[1, None]]], arrow.list_(arrow.list_(arrow.timestamp("s", "No/Such_Place")))),
    )
    (row, *_) = list(records(stream_rows(folder).sources[0]))
    assert isinstance(row.value, dict)
    assert (row.value["instruction"], row.value["output"]) == ("2024-10-04", "2026-05-28 20:26:40.000000000")
    assert row.value["history"] == [["1970-01-01 00:00:01.000", None]]


def test_two_columns_of_one_name_in_a_parquet(folder: Path) -> None:
    import pyarrow as arrow
    import pyarrow.parquet

    doubled = arrow.Table.from_arrays(
        [arrow.array(["q"]), arrow.array(["a"]), arrow.array(["b"])], ["问题", "答", "答"]
    )
    arrow.parquet.write_table(doubled, folder / "a.parquet")
    assert "has more than one column 答" in refused(folder / "a.parquet").text.en


# Folders


def calls_of(act: Callable[[], object]) -> int:
    """Return how many functions of Python and C a call runs."""
    count = 0

    def add(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(add)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


def test_the_work_for_a_folder_of_texts_is_linear(folder: Path) -> None:
    for many in (40, 160):
        for number in range(many):
            written(folder, f"{many}/故事{number}.txt", f"月亮{number}\n从前，月亮住在第 {number} 口井里。\n")
    few, more = (calls_of(lambda many=many: read_rows(folder / str(many))) for many in (40, 160))  # type: ignore[misc]
    assert more < 4.5 * few


def test_a_folder_deeper_than_the_stack_is_read(folder: Path) -> None:
    deep = folder
    for _ in range(300):
        deep /= "d"
        deep.mkdir()
    written(deep, "a.json", '[{"instruction": "q", "output": "a"}]')
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 250)  # as 1,500 levels are to the usual limit of 1,000
    try:
        rows = read_rows(folder)
    finally:
        sys.setrecursionlimit(limit)
    assert len(rows.kept) == 1


def test_a_folder_that_links_to_itself_or_may_not_be_read(folder: Path) -> None:
    written(folder, "a.jsonl", '{"instruction": "q", "output": "a"}')
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    assert len(read_rows(folder).kept) == 1


def test_a_folder_that_may_not_be_opened_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(folder, "一.jsonl", '{"instruction": "q", "output": "a"}')
    closed = written(folder, "锁/二.jsonl", '{"instruction": "q", "output": "a"}').parent
    scandir = os.scandir

    def guarded(path: str) -> object:
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    error = refused(folder)
    assert error.exit_code == 3
    assert error.text.en == f"cannot read {closed} (Permission denied); check the path and the permissions"


@pytest.mark.skipif(os.name == "nt", reason="Windows does not find such a file")
@pytest.mark.parametrize("name", ["长" * 300 + ".csv", "x" * 5_000 + ".json", "d/" * 3_000 + "a.csv"])
def test_a_name_that_is_too_long_is_told_in_a_line_that_is_not(folder: Path, name: str) -> None:
    error = refused(folder / name)
    assert error.exit_code == 3
    assert "its name is too long" in error.text.en
    assert len(error.text.en) < 500


def test_a_file_that_vanishes_before_it_is_read(folder: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        written(folder, name, '{"instruction": "q", "output": "a"}')
    stream = stream_rows(folder)
    (folder / "b.jsonl").unlink()
    with pytest.raises(DataError, match=r"b\.jsonl"):
        list(stream)
