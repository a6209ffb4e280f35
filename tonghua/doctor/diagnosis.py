"""One thing that the doctor looked at: how it is, and how to mend it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..text import Text

DiagnosisState = Literal["ok", "note", "problem"]

MEMORY_BYTES = 4_000_000_000
"""What training qwen2.5-0.5b takes; benchmarks/LOG.md has 3.2 to 4.3 GB."""

LITTLE_MEMORY = Text(
    "训练 qwen2.5-0.5b 约需 4 GB：关掉别的程序，或写 tokens_per_micro_batch=512（慢一些），或先用 model=tiny",
    "qwen2.5-0.5b trains in about 4 GB: close other programs, write tokens_per_micro_batch=512 (slower), or model=tiny",
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing that was looked at. `problem`: nothing can be trained until it is mended; `note`: worth knowing."""

    name: str
    state: DiagnosisState
    text: Text
    mend: Text | None = None

    def as_json(self) -> dict[str, str | None]:
        mend = self.mend._asdict() if self.mend else {"zh": None, "en": None}
        return {
            "name": self.name,
            "state": self.state,
            **self.text._asdict(),
            **{f"mend_{language}": text for language, text in mend.items()},
        }


def joined(parts: Sequence[str]) -> Text:
    return Text("、".join(parts), ", ".join(parts))


def gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
