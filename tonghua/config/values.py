"""Parse each setting by the type of its field.

Setting(key="lr", value="1e-4", where="my.yaml, line 3: ")  ->  learning_rate = 1e-4, or a problem with its line
"""

import math
import re
import types
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ..text import Text, shown
from .fields import NOTHING, NotAllowed
from .foreign import ALIASES
from .schema import GROUPS, Config, Sampling

_YES: Final = frozenset({"true", "yes", "on", "1"})

_NO: Final = frozenset({"false", "no", "off", "0"})

_NOWHERE: Final = Text("", "")


@dataclass(frozen=True, slots=True)
class Setting:
    """One `key = value` as the user wrote it, with `-` in the key read as `_`.

    `where` says where the user wrote it, and begins each message. `bare`: unquoted text, in which the word
    none means None. `retyped`: YAML reads the bare text as another type, such as a bool, a number or a date.
    """

    key: str
    value: object
    where: Text = _NOWHERE
    bare: bool = False
    retyped: bool = False

    def shown(self) -> str:
        """Return `key=value` for a message."""
        return f"{self.key}={short_text(self.value)}"

    def problem(self, zh: str, en: str) -> Text:
        """Return a message that begins with `where`."""
        return Text(self.where.zh + zh, self.where.en + en)


def short_text(value: object) -> str:
    """Return a value on one line of at most 40 characters, spelled as in a config."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return shown(",".join(map(short_text, value[:40])), 40)
    try:
        # repr() of a dict, unlike str() of a number, is spelled as in Python; both may be too long to be made.
        return shown(value if isinstance(value, str | dict) else str(value), 40)
    except ValueError:  # an integer of thousands of digits
        return "…"


def field_of(key: str) -> tuple[type[BaseModel], str] | None:
    """Return the model and field that a key or alias sets, or None. Sampling keys may omit the prefix `sampling.`."""
    name = ALIASES.get(key, key)
    group, dot, leaf = name.partition(".")
    if dot:
        inner = GROUPS.get(group)
        return (inner, leaf) if inner is not None and leaf in inner.model_fields else None
    for model in (Config, Sampling):
        if name in model.model_fields and name not in GROUPS:
            return model, name
    return None


def full_key(model: type[BaseModel], name: str) -> str:
    """Return the key of a field with the group that holds it: `sampling.temperature`."""
    return next((f"{group}.{name}" for group, inner in GROUPS.items() if inner is model), name)


def field_types(model: type[BaseModel], name: str) -> tuple[Any, ...]:
    """Return the types that a field accepts: `int | None` -> (int, NoneType)."""
    annotation = model.model_fields[name].annotation
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _typed(setting: Setting, members: tuple[Any, ...]) -> object:
    """Convert the value to the type of its field. A value that does not convert stays and fails in validation."""
    value = setting.value
    if isinstance(value, float) and int in members and float not in members:
        return int(value) if value.is_integer() else value
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if type(None) in members and word in NOTHING and (setting.bare or str not in members):
        return None
    if bool in members and word in _YES | _NO:
        return word in _YES
    numbers = [choice for member in members for choice in get_args(member) if isinstance(choice, int)]
    if word in map(str, numbers):
        return int(word)
    if int not in members and float not in members:
        return value
    number = as_number(word)
    return value if number is None else number if float in members else _whole(word, number)


def _whole(word: str, number: float) -> int | float:
    """Return the number as an int if it is whole: `500.0` and `1e3` are."""
    try:
        return int(word)  # exact, however many digits there are
    except ValueError:
        return int(number) if number.is_integer() else number


def as_number(value: object) -> float | None:
    """Return the number that a value is, or that a text spells; None if it is no number, or not finite."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _allowed(model: type[BaseModel], name: str) -> Text:
    """Describe what a field accepts, from its bounds: "must be a number (above 0, at most 1)"."""
    schema = _properties(model)[name]
    choices = [choice for one in schema.get("anyOf", [schema]) for choice in _choices(one)]
    en = " or ".join(filter(None, (", ".join(one.en for one in choices[:-1]), choices[-1].en)))
    zh = "应是" + "、".join(one.zh for one in choices[:-1]) + "或" * (len(choices) > 1) + choices[-1].zh
    return Text(_spaced(zh), f"must be {en}")


@cache
def _properties(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON schema of each field. It takes 10 ms to make, and a file may hold many mistakes."""
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties


def _spaced(zh: str) -> str:
    """Put a space wherever Chinese text meets a Latin letter or digit."""
    return re.sub(r"(?<=[\u4e00-\u9fff])(?=[0-9A-Za-z])|(?<=[0-9A-Za-z])(?=[\u4e00-\u9fff])", " ", zh)


def _choices(schema: dict[str, Any]) -> list[Text]:
    words = schema.get("enum") or {"boolean": ["true", "false"], "null": ["none"]}.get(schema["type"])
    words = [schema["const"]] if "const" in schema else words
    if words:
        return [Text(str(word), str(word)) for word in words]
    bounds = [
        Text(zh.format(schema[key]), en.format(schema[key]))
        for key, zh, en in (
            ("minimum", "不小于 {}", "at least {}"),
            ("exclusiveMinimum", "大于 {}", "above {}"),
            ("maximum", "不大于 {}", "at most {}"),
            ("exclusiveMaximum", "小于 {}", "below {}"),
            ("minLength", "至少 {} 个字", "at least {} character"),
            ("maxLength", "最多 {} 个字", "at most {} characters"),
        )
        if key in schema
    ]
    kind = {
        "integer": Text("整数", "a whole number"),
        "number": Text("数", "a number"),
        "string": Text("文字", "text"),
        "array": Text("列表", "a list"),
        "object": Text("一组名字和值", "names and values"),
    }[schema["type"]]
    if not bounds:
        return [kind]
    zh, en = "、".join(bound.zh for bound in bounds), ", ".join(bound.en for bound in bounds)
    return [Text(f"{kind.zh}（{zh}）", f"{kind.en} ({en})")]


def checked_value(model: type[BaseModel], name: str, setting: Setting) -> object:
    """Return the validated value for a field. Raises NotAllowed with the complete message."""
    members = field_types(model, name)
    if setting.retyped and str in members:
        word = short_text(setting.value)
        quoted = f'{setting.key}: "{word}"'
        raise NotAllowed(
            f"{setting.key} 应是文字，YAML 却不会把 {word} 当作文字；请加引号：{quoted}",
            f"{setting.key} is text, but YAML takes {word} for something else; quote it: {quoted}",
        )
    try:
        return getattr(model.model_validate({name: _typed(setting, members)}), name)
    except ValidationError as error:
        first = error.errors()[0]
        reason = first.get("ctx", {}).get("error")
        if first["type"] == "string_unicode":  # half of a pair of surrogates, as from bytes that are no UTF-8
            text = Text("里有坏掉的字符；请重新输入", "holds a broken character; type it anew")
        else:
            text = reason.text if isinstance(reason, NotAllowed) else _allowed(model, name)
        if short_text(setting.value).strip().lower() in NOTHING - {""}:
            text = Text(*map("".join, zip(text, _left_out(model, name), strict=True)))
    raise NotAllowed(f"{setting.shown()}：{text.zh}", f"{setting.shown()}: {text.en}")


def _left_out(model: type[BaseModel], name: str) -> Text:
    """Return the end of a message on a value of none: what the field is if it is left out."""
    default = short_text(model.model_fields[name].get_default())
    text = Text(f"；不写就是 {default}", f"; it is {default} if left out")
    if name != "lora_alpha":
        return text
    return Text(
        f"{text.zh}，LLaMA-Factory 的 none 则是 lora_rank 的两倍",
        f"{text.en}, while none of LLaMA-Factory is twice lora_rank",
    )


def as_plain(value: object) -> object:
    """Convert the value of a foreign key to a bool, None, a number or a lower-case word."""
    if isinstance(value, dict | list | tuple):
        value = ",".join(map(short_text, value)) if not isinstance(value, dict) else "{…}" if value else None
    if value is None or isinstance(value, bool):
        return value
    word = short_text(value).strip().lower()
    if word in _YES | _NO:
        return word in _YES
    number = as_number(word)
    return None if word in NOTHING else word if number is None else number
