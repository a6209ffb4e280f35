"""The result of checking one dataset: how it was read, and the findings of the check-up."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...config.schema import Config
from ...core.example import Example
from ...prompt.conversation import Conversation
from ...text import Language, Text
from ..names import dataset_path
from ..read.dataset import all_rows, question_hash, read_rows
from ..samples.maker import Maker
from ..samples.prepare import Prepared, counts_told, sample_settings, split
from .checkup import Checkup, MendedCopy, examine_rows

EXAMPLES_SHOWN = 2
"""Maximum number of samples in the result of a check."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of `check`: the rows as training reads them, the findings, and an estimate of the time of an epoch."""

    source: Path
    prepared: Prepared
    checkup: Checkup
    examples: tuple[Example, ...]
    epoch_s: float | None  # None if no row can be used

    def __repr__(self) -> str:
        table = self.prepared.table
        return f"CheckResult(source={str(self.source)!r}, read={table.read}, kept={table.kept}, bad={table.bad})"

    @property
    def is_usable(self) -> bool:
        """True if every row can be read and at least one can be trained on."""
        return not self.prepared.table.bad and bool(self.prepared.table.kept)

    def as_json(self, language: Language, mended: MendedCopy | None = None) -> dict[str, Any]:
        """Return what `tonghua check --json` prints; `mended`: the result of writing a mended copy, if there is one."""
        table, renderer = self.prepared.table, self.prepared.renderer
        return {
            **{"read": table.read, "kept": table.kept, "dropped": table.dropped},
            "problems": [problem.as_json(language) for problem in self.prepared.problems],
            "examples": [
                {
                    "ids": list(example.ids),
                    "targets": [int(wanted) for wanted in example.is_target],
                    "text": renderer.plain(example.ids),
                }
                for example in self.examples
            ],
            **self.checkup.as_json(language, table.split, mended),
            "epoch_s": self.epoch_s,
        }


def examine_prepared(config: Config, prepared: Prepared) -> Checkup:
    """Examine the one dataset that was prepared, beside the rows held out of it or those of `eval_dataset`."""
    (stream,), samples = prepared.streams, prepared.samples
    rows = all_rows(stream)
    held_out, others = [], None
    if config.eval_dataset:
        others = read_rows(dataset_path(config.eval_dataset), config.columns, config.max_samples)
    elif len(samples):
        questions = set(split(prepared, config.val_size, config.seed)[1].questions.tolist())
        held_out = [conversation for conversation in rows.kept if question_hash(conversation) in questions]
    tokens, targets = samples.row_tokens.tolist(), samples.row_targets.tolist()
    read = int(samples.tokens.sum())
    found = examine_rows(rows, held_out, others, config.system, tokens, targets, config.max_length, read)
    return replace(found, notes=(*found.notes, *counts_told(prepared.table, prepared.thinking)))


def refusal_of(config: Config, prepared: Prepared) -> Callable[[Conversation], Text | None]:
    """Return what says why the model takes no such row and how to mend it, or None, for `mending.fix`."""
    maker = Maker(prepared.renderer.folder, sample_settings(config))

    def refusal(row: Conversation) -> Text | None:
        problem = maker.refusal(row)
        if problem is None:
            return None
        return Text(f"{problem.what.zh}；{problem.mend.zh}", f"{problem.what.en}; {problem.mend.en}")

    return refusal
