"""What was learned of a stranger's file is learned once for each content, and never believed if it is damaged."""

import json
from pathlib import Path
from typing import Any

import pytest

from tonghua.prompt.kept import NotLearnedError, Question, learned
from tonghua.system.bounded import Bounds, OutOfBoundsError
from tonghua.system.environment import home
from tonghua.text import Text

BOUNDS = Bounds(memory_bytes=100_000_000, cpu_s=2, answer_bytes=1_000)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TONGHUA_HOME", str(tmp_path / "童话 home"))
    (tmp_path / "counted_work.py").write_text(
        "def add(path):\n    open(path, 'a').write('1')\n    return {'length': len(open(path).read())}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    learned.cache_clear()
    return tmp_path


def length(answer: dict[str, Any]) -> int:
    return int(answer["length"]) + 0


def ask(folder: Path, subject: str = "一") -> int:
    return learned(Question("counted_work:add", subject, str(folder / "times"), BOUNDS), length)


def test_the_same_subject_is_learned_once(own_home: Path) -> None:
    assert [ask(own_home), ask(own_home)] == [1, 1]
    learned.cache_clear()  # as in another process
    assert ask(own_home) == 1
    assert ask(own_home, "二") == 2


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"length": "x"}', b"\xff", b"null"])
def test_a_damaged_copy_is_learned_again(own_home: Path, content: bytes) -> None:
    assert ask(own_home) == 1
    (kept,) = (home() / "learned").iterdir()
    kept.write_bytes(content)
    learned.cache_clear()
    assert ask(own_home) == 2
    assert json.loads(kept.read_bytes()) == {"length": 2}


def test_a_data_folder_that_cannot_be_written_is_no_fault(own_home: Path) -> None:
    home().parent.mkdir(parents=True, exist_ok=True)
    home().write_text("a file", encoding="utf-8")
    assert ask(own_home) == 1


def test_a_fault_is_not_kept(own_home: Path) -> None:
    def unfit(answer: object) -> int:
        raise NotLearnedError(Text("坏", "bad"))

    with pytest.raises(NotLearnedError):
        learned(Question("counted_work:add", "一", str(own_home / "times"), BOUNDS), unfit)
    with pytest.raises(OutOfBoundsError):
        learned(Question("counted_work:missing", "一", None, BOUNDS), length)
    assert not (home() / "learned").exists()
