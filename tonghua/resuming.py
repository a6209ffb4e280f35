"""Whether a run may go on: with the settings that it began with, on the rows and the base that it began on.

config.yaml of the run   <-- differs in what was settled? -->  what was asked for now
state.json: trained_on   <-- another hash? -->                 rows, base, tokenizer, template of now
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import hub
from .checkpoint import Checkpoint
from .config import Config, Loaded, load
from .errors import DataError, Text, UsageError
from .prepare import Samples
from .tokenized import Tokenized, opened
from .trainer import STATE

FREE = (
    *("model", "dataset", "eval_dataset"),  # where they lie; that they are the same is a matter of their hashes
    *("per_device_train_batch_size", "gradient_accumulation_steps"),  # their product is not free
    *("tokens_per_micro_batch", "gradient_checkpointing", "device", "dtype"),
    *("output_dir", "run_name", "save_steps", "save_minutes", "save_total_limit", "report_to", "sampling"),
)
"""What may be another value when a run goes on; all else would make it another run."""


def settings(run: Path, overrides: Sequence[str] | Mapping[str, Any]) -> Loaded:
    """The settings of a run, with these in their place. Raises UsageError where one of them is settled."""
    begun = load(run / "config.yaml").config
    asked = load(run / "config.yaml", overrides)
    _require_settled(begun, asked.config)
    # Where the run lies now, wherever it was begun.
    config = asked.config.model_copy(update={"output_dir": str(run.parent), "run_name": begun.run_name})
    return Loaded(config, asked.name, asked.notes)


def _require_settled(begun: Config, asked: Config) -> None:
    if asked.samples_per_step != begun.samples_per_step:
        raise UsageError(
            f"每步的样本数开始时定为 {begun.samples_per_step}，改成 {asked.samples_per_step} 就不是同一次训练了；"
            "两个批量设置的乘积不变就行，想省内存请改 tokens_per_micro_batch",
            f"a step had {begun.samples_per_step} samples when the run began; {asked.samples_per_step} would make it"
            " another run. Keep the product of the two batch settings; for memory set tokens_per_micro_batch",
        )
    for key in Config.model_fields:
        before, now = getattr(begun, key), getattr(asked, key)
        if key not in FREE and before != now:
            raise UsageError(
                f"{key} 在开始训练时就定下了（{before}）；接着训练不能改，要改请重新训练",
                f"{key} was settled when the run began ({before}); to change it, train again",
            )


def require_same(found: Checkpoint, now: Mapping[str, Any], samples: Samples, heldout: Samples) -> None:
    """Raises DataError where what the checkpoint was trained on has changed, naming the row or the file."""
    before = json.loads(found.read(STATE))["trained_on"]
    files = {"config_sha256": "config.json", "weights_sha256": "model.safetensors"}
    for key, name in files.items():
        if before["base"][key] != now["base"][key]:
            raise _changed(Text(f"基座的 {name}", f"{name} of the base"), before["base"][key], now["base"][key])
    for key, name in (("tokenizer", "tokenizer.json"), ("template", "chat_template")):
        if before[key] != now[key]:
            raise _changed(Text(f"基座的 {name}", f"{name} of the base"), before[key], now[key])
    _require_same_rows(before["rows"], samples.parts)
    _require_same_rows(before["heldout"], heldout.parts)


def _changed(what: Text, before: str, now: str) -> DataError:
    return DataError(
        f"{what.zh}和训练开始时不一样了（{before[:12]} → {now[:12]}）；请换回原来的，或重新训练",
        f"{what.en} changed since the run began ({before[:12]} -> {now[:12]}); put the old back, or train again",
    )


def _require_same_rows(before: Sequence[str], parts: Sequence[Tokenized]) -> None:
    """Another key is another file or another way to read it; what counts is whether the samples are the same."""
    if len(before) != len(parts):
        raise _changed(Text("数据的份数", "the number of datasets"), str(len(before)), str(len(parts)))
    for key, part in zip(before, parts, strict=True):
        old = part if part.folder.name == key else opened(hub.home() / "rows" / key)
        if old is None:
            raise _changed(Text("训练数据", "the rows"), key, part.folder.name)
        different = _first_difference(old, part)
        if different is not None:
            row, line = different
            raise DataError(
                f"训练数据从第 {row} 条（第 {line} 行）起和训练开始时不一样了"
                f"（原有 {len(old)} 个样本，现在 {len(part)} 个）；请换回原来的数据，或重新训练",
                f"the rows have changed since the run began, from row {row} on (line {line}; {len(old)} samples then,"
                f" {len(part)} now); put the old rows back, or train again",
            )


def _first_difference(old: Tokenized, new: Tokenized) -> tuple[int, int] | None:
    """Number and line of the first row that is not the same."""
    if old is new:
        return None
    both = range(min(len(old), len(new)))
    index = next((index for index in both if old[index] != new[index]), len(both))
    if index == max(len(old), len(new)):
        return None
    longer = new if index < len(new) else old
    return longer.row(index), int(longer.samples["line"][index])
