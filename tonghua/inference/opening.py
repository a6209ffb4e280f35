"""Open a run, or an adapter of another trainer, to talk to it: settings, base, model."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..config.load import load
from ..config.schema import Sampling
from ..errors import UsageError
from ..events import Doing, Ended, Happened, Said
from ..models.delivery import DownloadProgress
from ..models.fetch import require_model
from ..models.scan_adapter import AdapterFiles
from ..runs.adapters import made_elsewhere
from ..runs.folder import open_run, runs_folder
from ..runs.pages import write_missing_pages
from ..text import Text
from .elsewhere import notes_elsewhere, open_elsewhere, settings_elsewhere
from .teller import Teller, open_teller

LOADING = Doing(Text("载入模型", "loading the model"))

SET_ANEW = ("model", "device", "dtype", "output_dir", "reader", "sampling")
"""Settings that may differ when a run is opened to talk; its training fixed all others."""

Tell = Callable[[DownloadProgress | Said | Happened | Doing | Ended], None]


def open_to_talk(
    run: str | Path | None, asked: Mapping[str, Any], style: Mapping[str, Any], tell: Tell, offline: bool
) -> tuple[Teller, Sampling]:
    """Return a run and its sampling: that of the run, overridden by `style`, and that by `asked`.

    `run` may be an adapter that another trainer made. Raises UsageError for a setting that the training has fixed, and
    what `open_teller` and the functions of `elsewhere` raise.
    """
    made = made_elsewhere(run, runs_folder(asked))
    if made is not None:
        return _open_elsewhere(made, {**style, **asked}, tell, offline)
    opened = open_run(Path(run) if run else None, runs_folder(asked))
    write_missing_pages(opened.folder, tell)
    config = load(opened.folder / "config.yaml", {**style, **asked}).config
    for key in type(config).model_fields:
        if key not in SET_ANEW and getattr(config, key) != getattr(opened.config, key):
            raise UsageError(
                f"{key} 在训练时就定下了，现在不能改；请去掉它，或用新的值重新训练",
                f"{key} was settled in training and cannot be changed now; leave it out, or train again",
            )
    if not run:
        tell(Said(Text(f"最新的结果：{opened.folder}", f"the newest run: {opened.folder}")))
    require_model(config.model, tell, offline)
    tell(LOADING)
    opened = replace(opened, config=opened.config.model_copy(update={"reader": config.reader}))
    return _told(open_teller(opened, config.model, config.device, config.dtype), tell), config.sampling


def _open_elsewhere(made: AdapterFiles, asked: Mapping[str, Any], tell: Tell, offline: bool) -> tuple[Teller, Sampling]:
    config = settings_elsewhere(made, asked)
    require_model(config.model, tell, offline)
    for note in notes_elsewhere(made, config):
        tell(Happened("adapter", note))
    tell(LOADING)
    return _told(open_elsewhere(made, config), tell), config.sampling


def _told(teller: Teller, tell: Tell) -> Teller:
    """Tell what is unusual about the base of an opened run, and return the run."""
    tell(Ended())
    for note in teller.base.notes:
        tell(Happened("model", note))
    return teller
