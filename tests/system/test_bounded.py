"""One function in a child process: its answer comes back, and whatever it does stays within bounds."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tonghua.system.bounded import Bounds, OutOfBoundsError, call

WORK = """
import json, os, subprocess, sys

def same(value): return value
def secrets(_): return sorted(os.environ)
def modules(_): return sorted({name.split(".")[0] for name in sys.modules})
def noisy(_): print("x" * 1000); return "quiet"
def hoards(pieces):
    kept = []
    for _ in range(pieces): kept.append(b"x" * 10_000_000)
def hoards_elsewhere(_): subprocess.run([sys.executable, "-c", "a = [b'x' * 10_000_000 for _ in range(10**6)]"])
def spins(_):
    while True: pass
def talks(_): return "x" * 5_000
def dies(code): os._exit(code)
def fails(_): raise ValueError("\\x1b[2J坏了" + "!" * 5_000)
def recurses(value): return recurses([value])
def panics(_): raise BaseException("a panic")
"""

BOUNDS = Bounds(memory_bytes=120_000_000, cpu_s=1, answer_bytes=4_000)


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    folder = tmp_path / "有空格的 文件夹"
    folder.mkdir()
    (folder / "strange_work.py").write_text(WORK, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("SECRET_TOKEN", "hf_secret")
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before


def test_an_answer_comes_back_equal() -> None:
    value = {"文字": ["\U000f0000\n", None, 1.5, True], "": {}}
    assert call("strange_work:same", value, BOUNDS) == value


def test_the_child_has_no_secret_and_loads_no_heavy_library() -> None:
    assert "SECRET_TOKEN" in os.environ
    assert "SECRET_TOKEN" not in call("strange_work:secrets", None, BOUNDS)
    assert not {"torch", "numpy", "pydantic"} & set(call("strange_work:modules", None, BOUNDS))


def test_what_it_prints_is_no_part_of_the_answer() -> None:
    assert call("strange_work:noisy", None, BOUNDS) == "quiet"


@pytest.mark.parametrize(
    ("function", "request_", "reason"),
    [
        ("hoards", 10**6, "it takes more than 120 MB of memory"),
        ("hoards_elsewhere", None, "it takes more than 120 MB of memory"),
        ("spins", None, "processor time"),
        ("talks", None, "it gives more than 4,000 bytes"),
        ("dies", 7, "its process ended early (7)"),
        ("recurses", 0, "it fails (RecursionError: "),
        ("panics", None, "it fails (BaseException: a panic)"),
        ("missing", None, "it fails (AttributeError: "),
    ],
)
def test_whatever_it_does_is_told(function: str, request_: object, reason: str) -> None:
    with pytest.raises(OutOfBoundsError) as caught:
        call(f"strange_work:{function}", request_, BOUNDS)
    assert reason in caught.value.reason.en


def test_what_is_within_the_bounds_is_done() -> None:
    """Negative control of the memory bound."""
    assert call("strange_work:hoards", 1, BOUNDS) is None


def test_its_own_words_are_made_safe_to_show() -> None:
    with pytest.raises(OutOfBoundsError) as caught:
        call("strange_work:fails", None, BOUNDS)
    for words in caught.value.reason:
        assert words.isprintable()
        assert len(words) < 300
