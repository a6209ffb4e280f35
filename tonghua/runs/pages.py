"""Write report.html and loss.png of a run together, and its evaluation, which the page shows."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ResourceError
from ..events import Doing, Ended
from ..system.environment import language
from ..system.files import write_atomic
from ..text import Text, json_text
from .curves import write_loss_plot
from .folder import EVALUATION, LOSS_PLOT, finished
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


def write_evaluation(run: Path, evaluation: Mapping[str, Any]) -> None:
    """Write evaluation.json. Raises ResourceError if it cannot be written."""
    write_atomic(run / EVALUATION, (json_text(evaluation, indent=2) + "\n").encode())


def write_missing_pages(run: Path, tell: Callable[[Doing | Ended], None]) -> None:
    """Write the pages of a finished run that lacks one, as after a kill while they were written."""
    if finished(run) is None or all((run / page).exists() for page in (REPORT, LOSS_PLOT)):
        return
    tell(WRITING_PAGES)
    with suppress(ResourceError):  # somebody else's folder; the run is complete without them
        write_pages(run)
    tell(Ended())
