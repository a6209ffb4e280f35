"""The prompt contract in contract.json: all that a later command needs to prompt a run as in training."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..config.fields import NotAllowed
from ..config.schema import Persona
from ..config.values import Setting, checked_value
from ..errors import DataError
from ..text import json_text, shown


@dataclass(frozen=True, slots=True)
class Contract:
    """How to prompt an adapter, and on which base model; stored with the adapter as `contract.json`.

    `join` stands between `instruction` and `input`. `base` holds name, config_sha256 and weights_sha256.
    `persona` is the name of the run, and `card` what people see of its character. `thinking`: answers are asked for
    with their reasoning.
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
    card: Persona | None = None

    def to_json(self) -> str:
        """Return the text of contract.json."""
        card = None if self.card is None else self.card.model_dump()
        return json_text({**asdict(self), "card": card}, indent=2) + "\n"

    @staticmethod
    def from_json(text: str) -> "Contract":
        """Parse the text of contract.json. Raises DataError if it is not a contract."""
        try:
            values = json.loads(text)
            stop_ids, card = tuple(values["stop_ids"]), _card(values.get("card"))
            contract = Contract(**{**values, "stop_ids": stop_ids, "card": card})
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


def _card(values: object) -> Persona | None:
    """Return the card of contract.json. Raises DataError that names the first field that is unknown or out of bounds.

    Raises ValueError if it is no card at all.
    """
    if values is None:
        return None
    if not isinstance(values, dict):
        raise ValueError("card")
    for key, value in values.items():
        if key not in Persona.model_fields:
            name, known = shown(key, 40), ", ".join(Persona.model_fields)
            raise DataError(
                f"contract.json 里的 card 有不认识的 {name}；只能有 {known}，请去掉它",
                f"the card in contract.json has an unknown {name}; it may hold {known} alone, so take it out",
            )
        try:
            checked_value(Persona, key, Setting(f"card.{key}", value))
        except NotAllowed as error:
            raise DataError(
                f"contract.json 里的 {error.text.zh}；请改好它，或去掉 card",
                f"contract.json has {error.text.en}; mend it, or take card out",
            ) from error
    return Persona.model_validate(values)
