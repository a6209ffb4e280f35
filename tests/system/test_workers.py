"""Work in several processes: results in order, faults brought back, nobody left running."""

import operator
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from tonghua.data.read import dataset as data
from tonghua.errors import ResourceError, UsageError
from tonghua.system.workers import IN_FLIGHT, ordered_map

ADD_THREE = partial(partial, operator.add, 3)


@pytest.fixture(autouse=True)
def nobody_stays() -> Iterator[None]:
    before = {child.pid for child in psutil.Process().children()}
    yield
    assert {child.pid for child in psutil.Process().children()} <= before


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_results_come_in_the_order_of_the_items(processes: int) -> None:
    assert list(ordered_map(ADD_THREE, range(50), processes)) == list(range(3, 53))
    assert list(ordered_map(ADD_THREE, [], processes)) == []


def test_the_work_is_done_elsewhere() -> None:
    found = set(ordered_map(partial(partial, operator.call), [os.getpid] * 20, 2))
    assert found
    assert os.getpid() not in found


def test_an_exception_of_the_work_is_raised_here() -> None:
    with pytest.raises(TypeError, match="can only concatenate"):
        list(ordered_map(partial(partial, operator.add, "a"), range(10), 2))


def test_a_users_mistake_keeps_both_its_languages() -> None:
    with pytest.raises(UsageError) as told:
        list(ordered_map(partial(partial, data.split_places, np.zeros(2, np.uint64), -1.0), [0], 1))
    assert told.value.text.zh == "val_size 是 -1.0；请写 0 到 1 之间的比例，或者留出的条数"
    assert told.value.text.en == "val_size is -1.0; give a share between 0 and 1, or a number of rows"


def test_a_child_that_dies_is_told() -> None:
    with pytest.raises(ResourceError, match=r"ended by the system \(7\)"):
        list(ordered_map(partial(partial, os._exit), [7], 1))


def test_items_are_taken_as_they_are_needed() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    results = ordered_map(ADD_THREE, items(), 2)
    assert next(results) == 3
    assert len(taken) <= IN_FLIGHT * 2
    results.close()  # type: ignore[attr-defined]


def test_a_script_needs_no_guard(tmp_path: Path) -> None:
    script = tmp_path / "脚本 一.py"
    script.write_text(
        "import operator\nfrom functools import partial\nfrom tonghua.system.workers import ordered_map\n"
        "print(list(ordered_map(partial(partial, operator.add, 3), range(3), 2)))\n",
        encoding="utf-8",
    )
    (tmp_path / "pickle.py").write_text("raise SystemExit('a file of the user must not be imported')", encoding="utf-8")
    done = subprocess.run([sys.executable, "-P", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[3, 4, 5]\n"
