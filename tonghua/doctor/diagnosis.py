"""The result of one check of the doctor, and how to fix what it found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..text import Text

DiagnosisState = Literal["ok", "note", "problem"]

MEMORY_BYTES = 4_000_000_000
"""Memory that training qwen2.5-0.5b takes, in bytes; benchmarks/LOG.md has 3.2 to 4.3 GB."""

LITTLE_MEMORY = Text(
    "训练 qwen2.5-0.5b 约需 4 GB：关掉别的程序，或写 tokens_per_micro_batch=512（慢一些），或先用 model=tiny",
    "qwen2.5-0.5b trains in about 4 GB: close other programs, write tokens_per_micro_batch=512 (slower), or model=tiny",
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The result of one check. `problem`: no training until it is fixed; `note`: worth knowing; `mend`: the fix."""

    name: str
    state: DiagnosisState
    text: Text
    mend: Text | None = None

    def as_json(self) -> dict[str, str | None]:
        """Return the fields for JSON output, each text in both languages."""
        mend = self.mend._asdict() if self.mend else {"zh": None, "en": None}
        return {
            "name": self.name,
            "state": self.state,
            **self.text._asdict(),
            **{f"mend_{language}": text for language, text in mend.items()},
        }


def joined(parts: Sequence[str]) -> Text:
    """Return the parts with the list separator of each language."""
    return Text("、".join(parts), ", ".join(parts))


def gb(size_bytes: int) -> str:
    """Return bytes as text in GB (10^9 bytes)."""
    return f"{size_bytes / 1e9:.1f} GB"
