"""Before anything is installed: an old Python and a full disk are told in one line, in both languages."""

import runpy
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

READY = Path(__file__).resolve().parent.parent / ".ci" / "ready.py"
Usage = namedtuple("Usage", "total used free")


def test_this_python_and_this_disk_will_do() -> None:
    done = subprocess.run([sys.executable, READY], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 7, "final", 0))
    with pytest.raises(SystemExit) as refused:
        runpy.run_path(str(READY))
    zh, en = str(refused.value).splitlines()
    assert "需要 Python 3.11 或更新，现在是 3.9.7" in zh
    assert "Python 3.11 or newer is needed, this is 3.9.7" in en


def test_no_room_for_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, 500_000_000))
    with pytest.raises(SystemExit) as refused:
        runpy.run_path(str(READY))
    zh, en = str(refused.value).splitlines()
    assert "这里只剩 0.5 GB，安装至少要 3 GB" in zh
    assert "0.5 GB are free here and installing needs 3 GB at least" in en
