"""Write report.html and loss.png of a run together."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..events import Doing
from ..system.environment import language
from ..text import Text
from .curves import write_loss_plot
from .folder import LOSS_PLOT, finished
from .record import read_record
from .report import REPORT, write_report

WRITING_PAGES = Doing(Text("写报告", "writing the report"))


def write_pages(run: Path, result: Mapping[str, Any] | None = None) -> None:
    """Write both, in the user's language; `result` stands for a result.json that comes after them.

    Raises ResourceError if they cannot be written.
    """
    record = read_record(run)
    record = record if result is None else replace(record, result=result)
    write_report(record, language())
    write_loss_plot(record, run / LOSS_PLOT, language())


def lacks_pages(run: Path) -> bool:
    """True if a finished run lacks one of its pages, as after a kill while they were written."""
    return finished(run) is not None and not all((run / page).exists() for page in (REPORT, LOSS_PLOT))
