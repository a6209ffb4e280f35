"""Parse settings on the command line: `key=value`, `--key=value`, `--key value`, and switches."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import UsageError
from ..text import Text
from .foreign import ALIASES, FOREIGN
from .layers import Layers
from .schema import GROUPS
from .values import Setting, field_of, field_types, short_text

LISTS: Final = ("dataset", "lora_target", "report_to")
"""Settings that may have several values."""


def parse_overrides(tokens: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Split `key=value`, `--key=value`, `--key value` and bare switches into (key, text) pairs.

    Reads `-` in a key as `_`. Does not validate keys and values. Raises UsageError for any other token.
    """
    pairs, problems = split_overrides(tokens)
    if problems:
        raise UsageError("\n".join(line.zh for line in problems), "\n".join(line.en for line in problems))
    return pairs


def split_overrides(tokens: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], list[Text]]:
    """Split like `parse_overrides`, but return the problems instead of raising."""
    pairs: list[tuple[str, str]] = []
    problems: list[Text] = []
    left = list(reversed(tokens))
    while left:
        token = left.pop()
        key, equals, value = token.removeprefix("--").partition("=")
        key = key.replace("-", "_")
        if token.startswith("--") and key and not equals:
            switch = _is_switch(key)
            if left and not left[-1].startswith("--") and not (switch and "=" in left[-1]):
                value = left.pop()
                more = _more_values(key, left)
                value = f"[{','.join([value, *more])}]" if more else value
            elif switch:
                value = "true"
            else:
                problems.append(Text(f"{token} 后面缺少值", f"{token} needs a value"))
                continue
        elif not key or not equals or token.startswith("-") != token.startswith("--"):
            short = short_text(token)
            problems.append(
                Text(
                    f"看不懂 {short}；配置要写成 配置项=值，等号用半角",
                    f"Cannot read {short}; settings are written key=value",
                )
            )
            continue
        pairs.append((key, value))
    return tuple(pairs), problems


def _more_values(key: str, left: list[str]) -> list[str]:
    """Take the values that follow the first one, as in `--dataset a.json b.json`, off the end of `left`."""
    found = []
    while ALIASES.get(key, key) in LISTS and left and not left[-1].startswith("--") and "=" not in left[-1]:
        found.append(left.pop())
    return found


def _is_switch(key: str) -> bool:
    """True if `--key` alone means true."""
    target = field_of(key)
    if target is not None:
        return bool in field_types(*target)
    foreign = FOREIGN.get(key)
    return foreign is not None and foreign.harmless is not None and not foreign.harmless.isdisjoint({True, False})


def override_settings(overrides: Sequence[str] | Mapping[str, Any], reading: Layers) -> list[Setting]:
    """Return the settings of tokens or of a mapping. Adds the problems of tokens to `reading`."""
    if isinstance(overrides, Mapping):
        settings = []
        for key, value in overrides.items():
            nested = value.items() if key in GROUPS and isinstance(value, Mapping) else None
            if nested is None:
                settings.append(Setting(key.replace("-", "_"), value))
            else:
                settings += [Setting(f"{key}.{name}", one) for name, one in nested]
        return settings
    pairs, problems = split_overrides(overrides)
    reading.problems += problems
    return [Setting(key, value, bare=True) for key, value in pairs]
