"""The command line, called in this process or in one of its own, and what tests give it."""

import hashlib
import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tonghua import cli

QUESTIONS = ("月亮", "小熊", "小兔子", "森林", "moon", "rabbit", "天黑了", "故事", "你好", "The end", "家", "人")


ROWS = [{"instruction": f"请讲一个关于{name}的故事。", "output": f"从前有一个{name}，天黑了。"} for name in QUESTIONS]
ROWS[2]["input"] = "要有月亮。"


QUICK: dict[str, Any] = {
    "val_size": 3,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 4,
    "learning_rate": 0.01,
    "dtype": "float32",
    "device": "cpu",
}


ONE_STEP = {**QUICK, "max_steps": 1}


SHORT = ("max_new_tokens=8", "sampling.seed=3", "dtype=float32")


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The object on the last line of stdout."""
        return json.loads(self.out.splitlines()[-1])


def call(*arguments: object, stdin: str = "", language: str = "en", folder: Path | None = None) -> Called:
    """`tonghua arguments...` in this process; whatever is not a user's mistake comes through as it is."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["tonghua", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        patch.setenv("TONGHUA_LANG", language)
        if folder is not None:
            patch.chdir(folder)
        try:
            cli.main()
        except SystemExit as done:
            code = int(done.code or 0)
    return Called(code, out.getvalue(), err.getvalue())


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "TONGHUA_LANG": "en", "PYTHONIOENCODING": "utf-8", **more}


def spawn(*arguments: object, folder: Path, stdin: bytes = b"", **variables: str) -> Called:
    """`tonghua arguments...` in a process of its own."""
    import processes

    return processes.run("-m", "tonghua", *arguments, folder=folder, stdin=stdin, **variables)


def settings(**values: object) -> list[str]:
    return [f"{key}={value}" for key, value in values.items()]


def write_rows(path: Path, rows: Sequence[object]) -> Path:
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    return path


def logged(run: str | Path, key: str) -> list[Any]:
    """One column of metrics.jsonl, in order."""
    lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [values[key] for values in map(json.loads, lines) if key in values]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def steps_kept(run: Path) -> list[int]:
    return sorted(int(folder.name.removeprefix("step-")) for folder in (run / "checkpoints").iterdir())
