"""tonghua: a small language model becomes a storyteller, a character or an expert, from your own rows.

import tonghua
result = tonghua.train("daiyu", dataset="daiyu", model="tiny")
teller = tonghua.load(result.run)
print(teller.tell("窗前的竹子可要修剪？"))
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .inference.teller import Teller
    from .training.progress import TrainingResult

__all__ = ["__version__", "download", "load", "plain_errors", "resume", "train"]


def download(model: str, folder: str | Path | None = None, source: str | None = None) -> Path:
    """The folder of a model, fetched and checked if it is not here yet; progress is shown.

    `folder` takes the place of tonghua's own folder, `source` (modelscope, huggingface, mirror) that of the nearest.
    Raises `tonghua.errors.UserError` for anything that the caller can mend.
    """
    from .cli.shared import download_model, new_screen

    return download_model(model, new_screen(), source=source, folder=None if folder is None else Path(folder)).path


def train(recipe: str | Path | None = None, *, quiet: bool = False, **settings: Any) -> "TrainingResult":
    """Train as `tonghua train` does; the settings are the config's keys. Returns the run's folder and its figures.

    Progress is shown unless `quiet`. Raises `tonghua.errors.UserError` for anything that the caller can mend.
    """
    from .cli.runs import train_on
    from .cli.shared import load_settings, new_screen

    screen = new_screen(quiet)
    return train_on(load_settings(recipe, settings, screen, offline=False), screen)


def resume(run: str | Path | None = None, *, quiet: bool = False, **settings: Any) -> "TrainingResult":
    """Go on with a run (None: the newest in `output_dir` that has not ended) as `tonghua train --resume` does."""
    from .cli.runs import go_on
    from .cli.shared import new_screen

    return go_on(run, settings, new_screen(quiet), offline=False)


def load(run: str | Path | None = None, *, output_dir: str | Path = "runs", model: str | None = None) -> "Teller":
    """A finished run (None: the newest in `output_dir`), ready to talk; `model` where its base has moved."""
    from .inference.teller import open_teller
    from .runs.folder import open_run

    return open_teller(open_run(None if run is None else Path(run), Path(output_dir)), model)


@contextmanager
def plain_errors() -> Iterator[None]:
    """For scripts: inside, a mistake of the user is one line and its exit code, as on the command line.

    Where the mistake is a placeholder left in the script, the line that holds it is named. Ctrl-C, and the end of what
    is typed, leave quietly.
    """
    from .errors import UserError
    from .system.environment import language, write_utf8
    from .text import Text

    write_utf8()
    try:
        yield
    except UserError as error:
        number = _line_with_placeholder(str(error))
        where = Text(f"{sys.argv[0]} 第 {number} 行：", f"{sys.argv[0]} line {number}: ") if number else Text("", "")
        print(where.to(language()) + error.text.to(language()), file=sys.stderr)
        sys.exit(error.exit_code)
    except EOFError:
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(130)


def _line_with_placeholder(message: str) -> int | None:
    """The line of the script that holds the placeholder of which the message speaks."""
    from .config.fields import PLACEHOLDER

    found = PLACEHOLDER.search(message)
    script = Path(sys.argv[0])
    if found is None or not script.is_file():
        return None
    lines = script.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((number for number, line in enumerate(lines, 1) if found[0] in line), None)
