"""The prompt contract in contract.json: all that a later command needs to prompt a run as in training."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import DataError
from ..text import json_text


@dataclass(frozen=True, slots=True)
class Contract:
    """How to prompt an adapter, and on which base model; stored with the adapter as `contract.json`.

    `join` stands between `instruction` and `input`. `base` holds name, config_sha256 and weights_sha256.
    `persona` is the name of the run, which chat shows. `thinking`: answers are asked for with their reasoning.
    """

    system: str | None
    join: str
    stop_ids: tuple[int, ...]
    template_sha256: str
    tokenizer_sha256: str
    base: Mapping[str, str]
    persona: str | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    thinking: bool = False

    def to_json(self) -> str:
        """Return the text of contract.json."""
        return json_text(asdict(self), indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> "Contract":
        """Parse the text of contract.json. Raises DataError if it is not a contract."""
        try:
            values = json.loads(text)
            contract = Contract(**{**values, "stop_ids": tuple(values["stop_ids"])})
            if not all(type(id) is int for id in contract.stop_ids):
                raise ValueError("stop_ids")
            if type(contract.thinking) is not bool:
                raise ValueError("thinking")
            if not all(isinstance(contract.base[key], str) for key in ("name", "config_sha256", "weights_sha256")):
                raise ValueError("base")
            return contract
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"contract.json 已损坏（{error}）；请重新训练，或从备份恢复这个文件",
                f"contract.json is damaged ({error}); train again or restore the file from a backup",
            ) from error
