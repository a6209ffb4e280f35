"""Write report.html and loss.png of a run together."""

from pathlib import Path

from ..system.environment import language
from .curves import write_loss_plot
from .folder import LOSS_PLOT
from .record import read_record
from .report import write_report


def write_pages(run: Path) -> None:
    """Write both, in the user's language. Raises ResourceError if they cannot be written."""
    write_report(run, language())
    write_loss_plot(read_record(run), run / LOSS_PLOT, language())
