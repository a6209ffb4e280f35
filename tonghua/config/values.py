"""Parse each setting by the type of its field, and collect all problems before raising one error.

Setting(key="lr", value="1e-4", where="my.yaml, line 3: ")  ->  learning_rate = 1e-4, or a problem with its line
"""

import difflib
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ..errors import RefusedError, UsageError
from ..text import Text, shown
from .fields import NOTHING, NotAllowed
from .foreign import ALIASES, FOREIGN
from .schema import Config, Sampling

_YES: Final = frozenset({"true", "yes", "on", "1"})

_NO: Final = frozenset({"false", "no", "off", "0"})

_NOWHERE: Final = Text("", "")


class SettingProblem(NamedTuple):
    """A message about one setting. `unsafe`: raise RefusedError, not UsageError."""

    text: Text
    unsafe: bool = False


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

    def problem(self, zh: str, en: str, *, unsafe: bool = False) -> SettingProblem:
        """Return a problem whose message begins with `where`."""
        return SettingProblem(Text(self.where.zh + zh, self.where.en + en), unsafe)


def short_text(value: object) -> str:
    """Return a value on one line of at most 40 characters, spelled as in a config."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return shown(",".join(map(str, value)) if isinstance(value, list | tuple) else str(value), 40)


def field_of(key: str) -> tuple[type[BaseModel], str] | None:
    """Return the model and field that a key or alias sets, or None. Sampling keys may omit the prefix `sampling.`."""
    name = ALIASES.get(key, key)
    if name.startswith("sampling."):
        leaf = name.removeprefix("sampling.")
        return (Sampling, leaf) if leaf in Sampling.model_fields else None
    for model in (Config, Sampling):
        if name in model.model_fields and name != "sampling":
            return model, name
    return None


def field_types(model: type[BaseModel], name: str) -> tuple[Any, ...]:
    """Return the types that a field accepts: `int | None` -> (int, NoneType)."""
    annotation = model.model_fields[name].annotation
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _typed(setting: Setting, members: tuple[Any, ...]) -> object:
    """Convert the value to the type of its field. Text that does not convert stays text and fails in validation."""
    value = setting.value
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
    for number in (int, float):
        if number in members:
            try:
                return number(value)
            except ValueError:
                return value
    return value


def _allowed(model: type[BaseModel], name: str) -> Text:
    """Describe what a field accepts, from its bounds: "must be a number (above 0, at most 1)"."""
    schema = model.model_json_schema()["properties"][name]
    choices = [choice for one in schema.get("anyOf", [schema]) for choice in _choices(one)]
    en = " or ".join(filter(None, (", ".join(one.en for one in choices[:-1]), choices[-1].en)))
    zh = "应是" + "、".join(one.zh for one in choices[:-1]) + "或" * (len(choices) > 1) + choices[-1].zh
    return Text(_spaced(zh), f"must be {en}")


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
    }[schema["type"]]
    if not bounds:
        return [kind]
    zh, en = "、".join(bound.zh for bound in bounds), ", ".join(bound.en for bound in bounds)
    return [Text(f"{kind.zh}（{zh}）", f"{kind.en} ({en})")]


def checked_value(model: type[BaseModel], name: str, setting: Setting) -> object:
    """Return the validated value for a field. Raises NotAllowed with the complete message."""
    members = field_types(model, name)
    if setting.retyped and str in members:
        quoted = f'{setting.key}: "{setting.value}"'
        raise NotAllowed(
            f"{setting.key} 应是文字，YAML 却不会把 {setting.value} 当作文字；请加引号：{quoted}",
            f"{setting.key} is text, but YAML takes {setting.value} for something else; quote it: {quoted}",
        )
    try:
        return getattr(model.model_validate({name: _typed(setting, members)}), name)
    except ValidationError as error:
        reason = error.errors()[0].get("ctx", {}).get("error")
        text = reason.text if isinstance(reason, NotAllowed) else _allowed(model, name)
    if setting.key == "warmup_steps":
        text = Text(
            "预热按占总步数的比例写，例如 warmup_ratio=0.03",
            "warm-up is a share of all steps, such as warmup_ratio=0.03",
        )
    raise NotAllowed(f"{setting.shown()}：{text.zh}", f"{setting.shown()}: {text.en}")


def as_plain(value: object) -> object:
    """Convert the value of a foreign key to a bool, None, a number or a lower-case word."""
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    if not isinstance(value, str):
        return value if isinstance(value, int | float) or value is None else str(value)
    word = value.strip().lower()
    if word in _YES | _NO:
        return word in _YES
    return None if word in NOTHING else word


def _unknown(setting: Setting) -> SettingProblem:
    if setting.key == "recipe":
        return setting.problem(
            "配方要写在命令的最前面，或写进配置文件，不能用 recipe= 来换",
            "a recipe comes first on the command line or stands in a file; recipe= cannot change it",
        )
    known = {*Config.model_fields, *Sampling.model_fields, *ALIASES, *FOREIGN}
    known |= {f"sampling.{name}" for name in Sampling.model_fields}
    near = difflib.get_close_matches(setting.key.lower(), sorted(known), n=1)
    if near:
        return setting.problem(
            f"不认识的配置项 {setting.key}；是不是想写 {near[0]}？",
            f"Unknown config key {setting.key}; did you mean {near[0]}?",
        )
    return setting.problem(
        f"不认识的配置项 {setting.key}；请检查拼写或删掉它",
        f"Unknown config key {setting.key}; check its spelling or remove it",
    )


@dataclass(slots=True)
class Layers:
    """Result of the layers so far: values by full key, notes by key, and every problem."""

    values: dict[str, object] = field(default_factory=dict)
    notes: dict[str, Text] = field(default_factory=dict)
    problems: list[SettingProblem] = field(default_factory=list)

    def add(self, settings: Sequence[Setting]) -> None:
        """Apply a layer over the earlier ones. It is a problem if one layer sets a field to two values."""
        first: dict[str, tuple[Setting, object]] = {}
        for setting in settings:
            target = field_of(setting.key)
            if target is None:
                self._add_foreign(setting)
                continue
            model, name = target
            try:
                value = checked_value(model, name, setting)
            except NotAllowed as error:
                self.problems.append(setting.problem(*error.text))
                continue
            full = name if model is Config else f"sampling.{name}"
            earlier, earlier_value = first.setdefault(full, (setting, value))
            if earlier_value != value:
                one, two = earlier.shown(), setting.shown()
                self.problems.append(
                    setting.problem(
                        f"{one} 和 {two} 是同一个配置项，值却不同；请只留一个",
                        f"{one} and {two} set the same thing to different values; keep one",
                    )
                )
            self.values[full] = value

    def _add_foreign(self, setting: Setting) -> None:
        known = FOREIGN.get(setting.key)
        if known is None:
            self.problems.append(_unknown(setting))
        elif known.harmless is None or as_plain(setting.value) in known.harmless:
            self.notes[setting.key] = Text(
                f"{setting.key} 不用设置：{known.why.zh}", f"{setting.key} need not be set: {known.why.en}"
            )
        else:
            self.problems.append(
                setting.problem(
                    f"不支持 {setting.shown()}：{known.why.zh}",
                    f"{setting.shown()} is not supported: {known.why.en}",
                    unsafe=known.unsafe,
                )
            )

    def config(self) -> Config:
        """Return the config. Raises one error for all problems: RefusedError if any is unsafe, else UsageError."""
        if self.problems:
            kind = RefusedError if any(problem.unsafe for problem in self.problems) else UsageError
            lines = [problem.text for problem in self.problems]
            raise kind("\n".join(line.zh for line in lines), "\n".join(line.en for line in lines))
        own = {name: value for name, value in self.values.items() if "." not in name}
        drawn = {name.removeprefix("sampling."): value for name, value in self.values.items() if "." in name}
        return Config.model_validate({**own, "sampling": Sampling.model_validate(drawn)})
