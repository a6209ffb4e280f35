"""Settings of a run that begins at an adapter.

    adapter=RUN_OR_FOLDER           rank, alpha and modules of the adapter; of a run of ours also base, system prompt,
                                    name, persona and sampling, unless they are set
    train --resume RUN epochs=8     if RUN has ended: a new run that begins at its adapter, for the rest of the epochs

Both give an ordinary config: config.yaml of the new run holds all of it, so a resume needs no adapter.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..config.fields import NotAllowed, folder_name
from ..config.load import DEFAULT_NAME, Loaded, load, resampled
from ..config.schema import Config
from ..config.values import short_text
from ..data.names import named
from ..errors import UsageError, UserError
from ..runs.adapters import NamedAdapter, find_adapter
from ..runs.folder import FACTS, left_unfinished
from ..runs.record import number, parsed
from ..text import Text, listed
from .resume import resumed_settings, settled

CARRIED = ("model", "quantization_bit")
"""Settings of a run of ours that a new run takes over with its adapter, unless the user, not a recipe, sets them."""


def at_adapter(loaded: Loaded) -> Loaded:
    """Return the settings with those of the adapter that they name, and a note on it; without one, as they are.

    Raises UsageError for a setting that differs from the adapter's, and what `find_adapter` raises.
    """
    config = loaded.config
    if config.adapter is None:
        return loaded
    found = find_adapter(config.adapter, Path(config.output_dir).expanduser())
    lora = _lora_settings(found)
    _require_equal(loaded, lora, found)
    merged = config.model_copy(update={**lora, **_carried(loaded, found), "adapter": str(found.files.folder.resolve())})
    return Loaded(merged, loaded.name, (*loaded.notes, _note(merged, found)), loaded.own)


def _lora_settings(found: NamedAdapter) -> dict[str, Any]:
    """Return the settings that describe the adapter. Raises UsageError for an alpha that no run can have."""
    files = found.files
    try:
        Config.model_validate({"lora_alpha": files.config.lora_alpha})
    except ValidationError:
        name, alpha = files.folder.name, f"{files.config.lora_alpha:g}"
        raise UsageError(
            f"适配器 {name} 的 lora_alpha 是 {alpha}，超过了这里能训练的；只能与它对话",
            f"lora_alpha of adapter {name} is {alpha}, more than can be trained here; it can only be talked to",
        ) from None
    return {
        "lora_rank": files.config.r,
        "lora_alpha": files.config.lora_alpha,
        "use_rslora": bool(files.config.use_rslora),
        "lora_target": files.modules,
    }


def _require_equal(loaded: Loaded, lora: Mapping[str, Any], found: NamedAdapter) -> None:
    """Raise UsageError if the user sets a value that the adapter has settled otherwise. A recipe's value gives way."""
    for key, value in lora.items():
        given = loaded.config.lora_modules if key == "lora_target" else getattr(loaded.config, key)
        if key in loaded.own and given != value:
            has, wants = (f"{each:g}" if type(each) is float else short_text(each) for each in (value, given))
            raise UsageError(
                f"适配器 {found.files.folder.name} 的 {key} 是 {has}，不能从 {wants} 接着学；"
                f"请去掉 {key}，或去掉 adapter 从头训练",
                f"{key} of adapter {found.files.folder.name} is {has}, so training cannot start from it with {wants};"
                f" leave out {key}, or train anew without adapter",
            )


def _carried(loaded: Loaded, found: NamedAdapter) -> dict[str, Any]:
    """Return what a run of ours hands on with its adapter where none is set: base, prompt, names, sampling."""
    config, contract = loaded.config, found.contract
    if contract is None or found.run is None:
        return {}
    before = load(found.run / "config.yaml").config
    carried = {key: getattr(before, key) for key in CARRIED if key not in loaded.own}
    if "system" not in config.model_fields_set:
        carried["system"] = contract.system
    if config.run_name is None and loaded.name == DEFAULT_NAME:
        carried["run_name"] = _as_name(contract.persona)
    # As a whole: half of it may not fit a character that the user has begun to describe.
    is_same = carried.get("system", config.system) == contract.system  # else it is another character
    if contract.card is not None and config.card is None and is_same:
        carried["persona"] = contract.card
    drawn = {key: value for key, value in contract.sampling.items() if key not in config.sampling.model_fields_set}
    return {**carried, "sampling": resampled(config.sampling, drawn)}


def _as_name(persona: str | None) -> str | None:
    try:
        return folder_name(persona or None)
    except NotAllowed:  # somebody has edited the contract
        return None


def _note(config: Config, found: NamedAdapter) -> Text:
    folder, names, contract = found.files.folder, listed(found.files.modules), found.contract
    system = Text("", "")
    if contract is None and config.system is None:
        system = Text(
            "；不知道它的系统提示词，请用 system=… 写出同一句",
            "; its system prompt is not known: set the same with system=…",
        )
    elif contract is not None and contract.system != config.system:
        system = Text("；系统提示词换成了另一句", "; the system prompt is another one than it was trained with")
    return Text(
        f"从适配器 {folder} 接着学：秩 {config.lora_rank}，在 {names.zh} 上；优化器和学习率从头开始{system.zh}",
        f"training starts from the adapter {folder}: rank {config.lora_rank}, on {names.en}; optimizer and learning"
        f" rate start anew{system.en}",
    )


def extended(run: Path, asked: Mapping[str, Any], ended: Mapping[str, Any]) -> Loaded | None:
    """Return the settings of a run that goes on from a finished one, and a note on it; None if nothing new is asked.

    `asked`: the settings given now; `ended`: the content of result.json. Raises UsageError if they ask for no more
    steps than there were.
    """
    loaded, before = resumed_settings(run, asked), load(run / "config.yaml").config
    config = loaded.config
    if settled(config) == settled(before):
        return None
    done = int(number(ended, "steps") or 0)
    per_epoch = _steps_per_epoch(run, before) or max(1.0, done / before.num_train_epochs)
    wanted = min(config.num_train_epochs * per_epoch, config.max_steps or math.inf)
    if wanted <= done:
        raise UsageError(
            f"{run} 已经训练完了，共 {done} 步（{done / per_epoch:g} 遍），这样写没有更多的步可走；要接着学请写更大的"
            f" num_train_epochs（现在 {config.num_train_epochs:g}）"
            + (f"和 max_steps（现在 {config.max_steps}）" if config.max_steps else "")
            + f"，要从它开始学别的请写 tonghua train adapter={run}",
            f"{run} has reached its end after {done} steps ({done / per_epoch:g} epochs), and these settings ask for no"
            f" more; to learn on, raise num_train_epochs (now {config.num_train_epochs:g})"
            + (f" and max_steps (now {config.max_steps})" if config.max_steps else "")
            + f"; to learn other rows from there, write tonghua train adapter={run}",
        )
    # Rounded down, as a step more than wanted would follow from the last digit.
    epochs = math.floor((config.num_train_epochs - done / per_epoch) * 1e6) / 1e6
    steps = None if config.max_steps is None else config.max_steps - done
    more = config.model_copy(update={"num_train_epochs": epochs, "max_steps": steps, "adapter": str(run)})
    own = frozenset(key for key in loaded.own if getattr(config, key, None) != getattr(before, key, None))
    note = Text(
        f"{run} 已经训练完（{done} 步，{done / per_epoch:g} 遍）。现在从它的适配器开始一次新的训练："
        f"还是 {named(config.dataset)}，再学 {epochs:g} 遍"
        + (f"、最多 {steps} 步" if steps else "")
        + f"；学习率重新预热到 {config.learning_rate:g}，"
        f"再按 {config.lr_scheduler_type} 变化；结果写在新的文件夹里，原来的不变",
        f"{run} has reached its end ({done} steps, {done / per_epoch:g} epochs). A new run begins at its adapter:"
        f" {named(config.dataset)} again, {epochs:g} more epochs"
        + (f", at most {steps} steps" if steps else "")
        + "; the"
        f" learning rate warms up to {config.learning_rate:g} again and then follows {config.lr_scheduler_type}; the"
        " result goes to a new folder, and the old one stays as it is",
    )
    return at_adapter(Loaded(more, loaded.name, (*loaded.notes, note), own))


def already_begun(more: Loaded) -> Path | None:
    """Return the unfinished run that has begun with these settings of `extended`, as after a kill, or None."""
    for run in left_unfinished(Path(more.config.output_dir)):
        with suppress(UserError):  # what cannot be read is another run
            begun = load(run / "config.yaml").config
            if begun.adapter == more.config.adapter and settled(begun) == settled(more.config):
                return run
    return None


def _steps_per_epoch(run: Path, config: Config) -> int | None:
    """Return the steps of an epoch of a run, by its facts; None if they are lost."""
    facts = run / FACTS
    rows = number(parsed(facts.read_bytes()) if facts.is_file() else {}, "train")
    return math.ceil(rows / config.samples_per_step) if rows else None
