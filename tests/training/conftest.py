"""Runs of these tests are about weights, files and signals."""

from pathlib import Path

import pytest

from tonghua.runs import pages
from tonghua.system.files import write_atomic


@pytest.fixture(autouse=True)
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw no curves, which takes a third of a short run; tests/runs/test_report.py is about them."""

    def empty(record: object, path: Path, language: str) -> None:
        write_atomic(path, b"")

    monkeypatch.setattr(pages, "write_loss_plot", empty)
