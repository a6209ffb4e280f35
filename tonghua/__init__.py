"""tonghua: a small language model becomes a storyteller, a character or an expert, from your own rows.

import tonghua
result = tonghua.train("daiyu", dataset="rows.json", model="qwen2.5-0.5b")
teller = tonghua.load(result.run)
print(teller.tell("窗前的竹子可要修剪？"))
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engines import Teller
    from .training import Result

__version__ = "0.1.0"
__all__ = ["__version__", "load", "train"]


def train(recipe: str | Path | None = None, **settings: Any) -> "Result":
    """Train as `tonghua train` does; the settings are the config's keys. Returns the run's folder and its figures.

    Raises `tonghua.errors.UserError` for anything that the caller can mend.
    """
    from . import config, training

    return training.train(config.load(recipe, settings))


def load(run: str | Path | None = None, *, output_dir: str | Path = "runs", model: str | None = None) -> "Teller":
    """A finished run (None: the newest in `output_dir`), ready to talk; `model` where its base has moved."""
    from .engines import open_teller
    from .runs import open_run

    return open_teller(open_run(None if run is None else Path(run), Path(output_dir)), model)
