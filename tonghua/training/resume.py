"""Check that a run can resume: its settings, rows and base must be those that it began with.

config.yaml of the run + settings given now  --resumed_settings-->  Loaded
state.json: trained_on   <-- compared -->  settings, rows, base, tokenizer, template of now
"""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..config.load import Loaded, load
from ..config.schema import Config
from ..data.samples.samples import Samples
from ..data.samples.store import KEY, Tokenized, opened
from ..errors import DataError, UsageError
from ..runs import checkpoint
from ..runs.checkpoint import Checkpoint
from ..system.environment import home
from ..system.files import user_path
from ..text import Text
from .progress import state_of

FREE = (
    *("model", "dataset", "eval_dataset"),  # paths; their content is compared by hash
    "adapter",  # only where the run began
    *("per_device_train_batch_size", "gradient_accumulation_steps"),  # but their product must stay
    *("tokens_per_micro_batch", "gradient_checkpointing", "device", "dtype"),
    *("output_dir", "run_name", "save_steps", "save_minutes", "save_total_limit", "report_to"),
    *("reader", "sampling", "persona"),
)
"""Settings that may change on resume. Any other change would make it another run."""

SAMPLES_PER_STEP = "samples_per_step"

TRAINING, HELD_OUT = Text("训练数据", "the rows"), Text("验证数据", "the held-out rows")


def resumed_settings(run: Path, asked: Mapping[str, Any]) -> Loaded:
    """Return the settings of a run, overridden by `asked`; its folder, its name and where it began stay.

    Raises as `load` does, and UsageError for another adapter to begin at.
    """
    loaded, before = load(run / "config.yaml", asked), load(run / "config.yaml").config
    if "adapter" in asked and not _same_path(loaded.config.adapter, before.adapter):
        raise UsageError(
            f"{run} 已经开始了，不能换一个适配器重新开始；请去掉 adapter，或去掉 --resume 开始一次新的训练",
            f"{run} has begun, and cannot begin at another adapter; leave out adapter, or --resume for a new run",
        )
    # The name that the run was made with: `asked` may hold another one.
    stays = {"output_dir": str(run.parent), "run_name": before.run_name, "adapter": before.adapter}
    return Loaded(loaded.config.model_copy(update=stays), loaded.name, loaded.notes, loaded.own)


def _same_path(one: str | None, other: str | None) -> bool:
    return one == other or (bool(one and other) and user_path(str(one)).resolve() == user_path(str(other)).resolve())


def settled(config: Config) -> dict[str, Any]:
    """Return the settings that cannot change on resume, as JSON values."""
    values = {key: value for key, value in config.model_dump(mode="json").items() if key not in FREE}
    return {**values, SAMPLES_PER_STEP: config.samples_per_step}


def order_sha256(samples: Samples) -> str:
    """Return a hash of which samples there are, and in which order."""
    return hashlib.sha256(samples.order.tobytes()).hexdigest()


def was_trained_on(found: Checkpoint) -> dict[str, Any]:
    """Return what a checkpoint was trained on, as `setup.trained_on` wrote it."""
    return dict(state_of(found)["trained_on"])


def newest(run: Path) -> tuple[Checkpoint, list[Text]]:
    """Return the checkpoint to resume from, and the damage of each later one. Raises as `checkpoint.newest_valid`."""
    found, damages = checkpoint.newest_valid(run)
    for step in (step for step in checkpoint.steps(run) if step < found.step):
        with suppress(checkpoint.Damaged):
            earlier = checkpoint.open_checkpoint(run, step)
            # The rate only ever falls: a lower one was saved later, by a rollback that left no time to remove `found`.
            if _rate_scale(earlier) < _rate_scale(found):
                return earlier, damages
    return found, damages


def _rate_scale(found: Checkpoint) -> float:
    return float(state_of(found)["learning_rate_scale"])


def require_settled(found: Checkpoint, config: Config) -> None:
    """Raise UsageError if a setting differs from the one that the run began with."""
    before, now = was_trained_on(found)["settings"], settled(config)
    if before[SAMPLES_PER_STEP] != now[SAMPLES_PER_STEP]:
        raise UsageError(
            f"每步的样本数开始时定为 {before[SAMPLES_PER_STEP]}，改成 {now[SAMPLES_PER_STEP]} 就不是同一次训练了；"
            "两个批量设置的乘积不变就行，想省内存请改 tokens_per_micro_batch",
            f"a step had {before[SAMPLES_PER_STEP]} samples when the run began; {now[SAMPLES_PER_STEP]} would make it"
            " another run. Keep the product of the two batch settings; for memory set tokens_per_micro_batch",
        )
    for key, value in now.items():
        # A run of an older version may lack a setting, so there is nothing to compare.
        if key in before and before[key] != value and key in ("num_train_epochs", "max_steps"):
            raise UsageError(
                f"{key} 在开始训练时就定下了（{before[key]}），学习率按它变化；请先去掉它把这次训练完，之后再用"
                f" --resume 加上 {key}={value}，就会从那里接着学",
                f"{key} was settled when the run began ({before[key]}), and the learning rate follows it; resume"
                f" without it to the end first, and --resume with {key}={value} then goes on from there",
            )
        if key in before and before[key] != value:
            raise UsageError(
                f"{key} 在开始训练时就定下了（{before[key]}）；接着训练不能改，要改请重新训练",
                f"{key} was settled when the run began ({before[key]}); to change it, train again",
            )


def require_same(found: Checkpoint, now: Mapping[str, Any], training: Samples, heldout: Samples) -> None:
    """Raise DataError if the rows or the base of a checkpoint have changed; it names the row or the file."""
    before = was_trained_on(found)
    files = {"config_sha256": "config.json", "weights_sha256": "model.safetensors"}
    for key, name in files.items():
        if before["base"][key] != now["base"][key]:
            raise _changed(Text(f"基座的 {name}", f"{name} of the base"), before["base"][key], now["base"][key])
    for key, name in (("tokenizer", "tokenizer.json"), ("template", "chat_template")):
        if before[key] != now[key]:
            raise _changed(Text(f"基座的 {name}", f"{name} of the base"), before[key], now[key])
    for key, samples, of in (("rows", training, TRAINING), ("heldout", heldout, HELD_OUT)):
        _require_same_rows(before[key], samples.parts, of)
        # Equal rows may still be split, weighted or ordered in another way.
        then, again = before[f"{key}_order"], now[f"{key}_order"]
        if then != again:
            raise _changed(Text(f"{of.zh}的份量或次序", f"the share or order of {of.en}"), then, again)


def _changed(what: Text, before: str, now: str) -> DataError:
    return DataError(
        f"{what.zh}和训练开始时不一样了（{before[:12]} → {now[:12]}）；请换回原来的，或重新训练",
        f"{what.en} changed since the run began ({before[:12]} -> {now[:12]}); put the old back, or train again",
    )


def _require_same_rows(before: Sequence[str], parts: Sequence[Tokenized], name: Text) -> None:
    """Raise DataError if the samples differ. Another key alone is no fault: the file format may differ."""
    if len(before) != len(parts):
        raise _changed(Text(f"{name.zh}的份数", f"the number of files of {name.en}"), str(len(before)), str(len(parts)))
    for key, part in zip(before, parts, strict=True):
        # An equal key means equal samples: no need to read them.
        old = part if part.folder.name == key else _kept(key)
        if old is None:
            raise _changed(name, key, part.folder.name)
        different = _first_difference(old, part)
        if different is not None:
            row, line = different
            raise DataError(
                f"{name.zh}从第 {row} 条（第 {line} 行）起和训练开始时不一样了"
                f"（原有 {len(old)} 个样本，现在 {len(part)} 个）；请换回原来的数据，或重新训练",
                f"{name.en} have changed since the run began, from row {row} on (line {line}; {len(old)} samples then,"
                f" {len(part)} now); put the old rows back, or train again",
            )


def _kept(key: str) -> Tokenized | None:
    """Return the rows that the run began with, if their cache exists. KEY guards the path: state.json is untrusted."""
    return opened(home() / "rows" / key) if KEY.fullmatch(key) else None


def _first_difference(old: Tokenized, new: Tokenized) -> tuple[int, int] | None:
    """Return number and line of the first row that differs, or None."""
    if old is new:
        return None
    both = range(min(len(old), len(new)))
    # No difference in the common part: the first extra sample is the difference, if there is one.
    index = next((index for index in both if old[index] != new[index]), len(both))
    if index == max(len(old), len(new)):
        return None
    longer = new if index < len(new) else old
    return longer.row(index), int(longer.samples["line"][index])
