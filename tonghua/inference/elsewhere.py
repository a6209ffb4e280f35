"""Open an adapter that another trainer made, on a base that the user names.

Its system prompt and its template are not known: the base's own template prompts it, with `system` if that is set.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ..config.load import load
from ..config.schema import Config
from ..errors import UsageError
from ..models.same_base import base_note
from ..models.scan import scan_model
from ..models.scan_adapter import AdapterFiles
from ..models.store import find, fingerprint, name_of
from ..prompt.contract import Contract
from ..prompt.conversation import JOIN
from ..prompt.renderer import Renderer
from ..runs.folder import Run
from ..text import Text, shown
from .loading import CheckedRun

SET_HERE = (
    *("model", "device", "dtype", "quantization_bit", "system", "enable_thinking", "output_dir"),
    *("columns", "max_length", "overlong", "skip_bad_rows", "reader"),  # of an evaluation
)
"""Settings that count for such an adapter, besides those of sampling and the card."""


def settings_elsewhere(adapter: AdapterFiles, asked: Mapping[str, Any]) -> Config:
    """Return the settings to talk to it. Raises UsageError without a base, and for a setting that only training has."""
    loaded = load(None, asked)
    for key in sorted(loaded.own):
        if key not in SET_HERE and not key.startswith(("sampling.", "persona.")):
            raise UsageError(
                f"{key} 是训练时的配置，对别处训练的适配器不起作用；请去掉它",
                f"{key} is a setting of training, and does nothing for an adapter made elsewhere; leave it out",
            )
    if loaded.config.model is None:
        told = shown(adapter.config.base_name, 80)
        zh, en = (f"它写的是 {told}；", f" (it says {told})") if told else ("", "")
        raise UsageError(
            f"{adapter.folder} 是别处训练的适配器，要知道它的基座；{zh}请写 model=基座的名字或文件夹",
            f"the adapter {adapter.folder} was made elsewhere and needs its base{en}; write model=NAME or model=FOLDER",
        )
    return loaded.config


def notes_elsewhere(adapter: AdapterFiles, config: Config) -> Iterator[Text]:
    """Yield what is not known of it. Raises DataError if its base is known to be another."""
    note = base_note(adapter, config.model, find(config.model))
    if note is not None:
        yield note
    if config.system is None:
        yield Text(
            "不知道它训练时用的系统提示词，现在用基座模板自带的；知道的话请写 system=…",
            "the system prompt that it was trained with is not known, so that of the base's template is used; if you"
            " know it, write system=…",
        )


def check_elsewhere(adapter: AdapterFiles, config: Config) -> CheckedRun:
    """Return it with its base, ready to be loaded. Raises UsageError if the base is not on this machine."""
    base = scan_model(find(config.model))
    renderer = Renderer(base.folder)
    contract = Contract(
        system=config.system,
        join=JOIN,
        stop_ids=renderer.stop_ids,
        template_sha256=renderer.template_sha256,
        tokenizer_sha256=renderer.tokenizer_sha256,
        base={"name": name_of(config.model, base.folder), **fingerprint(base)},
        thinking=config.enable_thinking is True,
        card=config.card,
    )
    return CheckedRun(Run(adapter.folder, config, contract, adapter.folder), base, renderer, contract, adapter)
