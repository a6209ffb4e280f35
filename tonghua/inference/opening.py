"""Open runs, and adapters of another trainer, to talk to them: settings, base, engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from ..config.load import load
from ..config.schema import Config, Persona, Sampling
from ..errors import UsageError
from ..events import Doing, Ended, Happened, Said
from ..models.delivery import DownloadProgress
from ..models.fetch import require_model
from ..models.gguf_file import require_writable
from ..models.model_config import UnsupportedError
from ..models.scan_adapter import AdapterFiles
from ..runs.adapters import made_elsewhere
from ..runs.folder import open_run, runs_folder
from ..runs.pages import write_missing_pages
from ..system.device import choose_device, choose_place
from ..text import Text
from .elsewhere import check_elsewhere, notes_elsewhere, settings_elsewhere
from .loading import CheckedRun, check_run, llama_tellers, torch_tellers
from .teller import Teller

LOADING = Doing(Text("载入模型", "loading the model"))
CONVERTING = Doing(Text("为 llama.cpp 转换基座（只做这一次）", "converting the base for llama.cpp (this once)"))

EngineName = Literal["auto", "torch", "llama"]
"""Which engine answers; "auto": llama.cpp if it is installed and can, else torch.

None is torch with the type that trains fastest: for measuring, which wants the losses of the training."""

SET_ANEW = ("model", "device", "dtype", "output_dir", "reader", "sampling", "persona")
"""Settings that may differ when a run is opened to talk; its training fixed all others."""

TOLD_OF_OTHERS = ("system", "enable_thinking")
"""Settings that tell how an adapter made elsewhere is prompted; beside one, they say nothing of runs of ours."""

Tell = Callable[[DownloadProgress | Said | Happened | Doing | Ended], None]


def open_several(
    runs: Sequence[str | Path | None],
    asked: Mapping[str, Any],
    style: Mapping[str, Any],
    tell: Tell,
    offline: bool,
    engine: EngineName | None = None,
) -> list[tuple[Teller, Sampling]]:
    """Return runs and the sampling of each, in their order; runs of one base share it.

    The sampling is that of the run, overridden by `style`, and that by `asked`. A run may be an adapter that another
    trainer made. Raises UsageError for a setting that the training has fixed or an engine that cannot do it, and what
    `check_run` and the functions of `elsewhere` raise.
    """
    made = [made_elsewhere(run, runs_folder(asked)) for run in runs]
    # What training has settled for the one can be told of the other alone.
    ours = {key: value for key, value in asked.items() if key not in TOLD_OF_OTHERS} if any(made) else asked
    ready = [
        _checked(run, ours, style, tell, offline)
        if adapter is None
        else _checked_elsewhere(adapter, {**style, **asked}, tell, offline)
        for run, adapter in zip(runs, made, strict=True)
    ]
    groups: dict[tuple[str, int | None], list[int]] = {}
    for place, (checked, _) in enumerate(ready):
        groups.setdefault((checked.base_id, checked.run.config.quantization_bit), []).append(place)
    opened: dict[int, Teller] = {}
    for places in groups.values():
        together, config = [ready[place][0] for place in places], ready[places[0]][1]
        tellers = _tellers(together, config, engine, tell)
        opened.update(zip(places, (_told(teller, tell) for teller in tellers), strict=True))
    return [(opened[place], config.sampling) for place, (_, config) in enumerate(ready)]


def _checked(
    run: str | Path | None, asked: Mapping[str, Any], style: Mapping[str, Any], tell: Tell, offline: bool
) -> tuple[CheckedRun, Config]:
    opened = open_run(Path(run) if run else None, runs_folder(asked))
    write_missing_pages(opened.folder, tell)
    card = (opened.contract.card or Persona()).model_dump()
    own = {f"persona.{key}": value for key, value in card.items()}
    config = load(opened.folder / "config.yaml", {**own, **style, **asked}).config
    for key in type(config).model_fields:
        if key not in SET_ANEW and getattr(config, key) != getattr(opened.config, key):
            raise UsageError(
                f"{key} 在训练时就定下了，现在不能改；请去掉它，或用新的值重新训练",
                f"{key} was settled in training and cannot be changed now; leave it out, or train again",
            )
    if not run:
        tell(Said(Text(f"最新的结果：{opened.folder}", f"the newest run: {opened.folder}")))
    require_model(config.model, tell, offline)
    opened = replace(
        opened,
        config=opened.config.model_copy(update={"reader": config.reader}),
        contract=replace(opened.contract, card=config.card),
    )
    return check_run(opened, config.model), config


def _tellers(checked: Sequence[CheckedRun], config: Config, engine: EngineName | None, tell: Tell) -> list[Teller]:
    """Open runs of one base on the engine that was asked for. Raises UsageError if llama.cpp cannot do it."""
    tell(LOADING)
    against = None if engine in (None, "torch") else why_not_llama(checked[0], config)
    if engine in (None, "torch") or against is not None:
        if engine == "llama" and against is not None:
            raise UsageError(f"不能用 llama.cpp：{against.zh}", f"llama.cpp cannot be used: {against.en}")
        if against is not None:
            tell(Said(Text(f"用 PyTorch 说话：{against.zh}", f"talking with PyTorch: {against.en}")))
        return torch_tellers(checked, choose_place(config.device, config.dtype, talking=engine is not None))
    if engine == "auto":
        tell(Said(Text("用 llama.cpp 说话", "talking with llama.cpp")))
    return llama_tellers(checked, lambda: tell(CONVERTING))


def why_not_llama(checked: CheckedRun, config: Config) -> Text | None:
    """Return why llama.cpp does not answer for this run, or None if it can."""
    for name in ("xllamacpp", "gguf"):
        if find_spec(name) is None:
            return Text(
                f'没有装 {name}；pip install "tonghua[fast]" 之后快几倍',
                f'{name} is not installed; pip install "tonghua[fast]" makes it several times faster',
            )
    if config.quantization_bit is not None:
        return Text(
            f"这次训练的基座是 {config.quantization_bit} 位的", f"the run has a base of {config.quantization_bit} bits"
        )
    if config.dtype != "auto" or config.device not in ("auto", "cpu"):
        return Text("指定了 device 或 dtype", "device or dtype was set")
    if choose_device(config.device).type != "cpu":
        return Text("这里有显卡", "there is a GPU here")
    try:
        require_writable(checked.base.config)
    except UnsupportedError as error:
        return error.text
    return None


def _checked_elsewhere(
    made: AdapterFiles, asked: Mapping[str, Any], tell: Tell, offline: bool
) -> tuple[CheckedRun, Config]:
    config = settings_elsewhere(made, asked)
    require_model(config.model, tell, offline)
    for note in notes_elsewhere(made, config):
        tell(Happened("adapter", note))
    return check_elsewhere(made, config), config


def _told(teller: Teller, tell: Tell) -> Teller:
    """Tell what is unusual about the base of an opened run, and return the run."""
    tell(Ended())
    for note in teller.base.notes:
        tell(Happened("model", note))
    return teller
