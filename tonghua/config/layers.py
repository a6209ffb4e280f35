"""Collect the settings of all layers, in our keys, and every problem before raising one error.

a recipe, a file, the command line --add--> values, notes, problems --config--> Config, or one UsageError
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..errors import UsageError
from ..system.files import is_there, user_path
from ..text import Text, shown
from .datasets import axolotl_paths, named
from .fields import NotAllowed
from .foreign import ALIASES, FOREIGN, SETS
from .schema import GROUPS, Config, Sampling
from .values import Setting, as_number, as_plain, checked_value, field_of, full_key, short_text


@dataclass(slots=True)
class Layers:
    """Result of the layers so far: values and settings by full key, notes by key, and every problem."""

    values: dict[str, object] = field(default_factory=dict)
    written: dict[str, Setting] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)
    """The full keys that no shipped recipe has set alone."""
    notes: dict[str, Text] = field(default_factory=dict)
    problems: list[Text] = field(default_factory=list)
    ignored: dict[str, Text] = field(default_factory=dict)
    """Keys that need not be set, with the reason, and no note of their own."""
    dataset_dir: Setting | None = None

    def add(self, settings: Sequence[Setting]) -> None:
        """Apply a layer over the earlier ones. It is a problem if one layer sets a field to two values."""
        first: dict[str, tuple[Setting, object]] = {}
        earlier_card = [name for name in self.values if name.startswith("persona.") and name not in self.own]
        earlier_system = self.values.get("system")
        for setting in _warm_up_once([self._translated(one) for one in settings]):
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
            full = full_key(model, name)
            earlier, earlier_value = first.setdefault(full, (setting, value))
            if earlier_value != value:
                one, two = earlier.shown(), setting.shown()
                self.problems.append(
                    setting.problem(
                        f"{one} 和 {two} 是同一个配置项，值却不同；请只留一个",
                        f"{one} and {two} set the same thing to different values; keep one",
                    )
                )
            self.values[full], self.written[full] = value, setting
            self.own.add(full)
        # What stands later wins: a share replaces a number of steps of an earlier layer.
        if "warmup_ratio" in first and "warmup_steps" not in first:
            self.values.pop("warmup_steps", None)
        # Under another system prompt it is another character, and the card of the recipe does not fit it.
        if earlier_system is not None and self.values.get("system") != earlier_system:
            for name in earlier_card:
                if name not in first:
                    del self.values[name]

    def _translated(self, setting: Setting) -> Setting:
        """Return what a key and value of another trainer set here; other settings stay as they are."""
        if setting.key == "datasets":
            try:
                return replace(setting, key="dataset", value=axolotl_paths(setting.value))
            except NotAllowed as error:
                self.problems.append(setting.problem(f"datasets：{error.text.zh}", f"datasets: {error.text.en}"))
                return replace(setting, key="strict")  # told; nothing else is wrong with it
        name, plain = ALIASES.get(setting.key, setting.key), as_plain(setting.value)
        # As it is written first: 1 is a number for one key, and true for another.
        here = SETS.get((name, short_text(setting.value).strip().lower())) or SETS.get((name, plain))
        if here is None or (name == "adapter" and is_there(user_path(str(setting.value)))):
            return setting
        key, value = here
        self.notes[setting.key] = Text(
            f"{setting.shown()} 就是这里的 {key}={value}", f"{setting.shown()} is {key}={value} here"
        )
        return replace(setting, key=key, value=value, bare=True, retyped=False)

    def _add_foreign(self, setting: Setting) -> None:
        known, value = FOREIGN.get(setting.key), as_plain(setting.value)
        if setting.key == "dataset_dir":
            self.dataset_dir = setting
        elif known is None:
            self.problems.append(_unknown(setting))
        elif value is None:
            pass  # a key that is left empty, as in many examples, asks for nothing
        elif known.harmless is not None and value not in known.harmless:
            self.problems.append(
                setting.problem(
                    f"不支持 {setting.shown()}：{known.why.zh}", f"{setting.shown()} is not supported: {known.why.en}"
                )
            )
        elif known.loud and value is not False:
            self.notes[setting.key] = _needless(setting.key, known.why)
        else:
            self.ignored[setting.key] = known.why

    def told(self) -> tuple[Text, ...]:
        """Return the notes: one for each key that the user may count on, and one for all others together."""
        if len(self.ignored) < 2:
            return (*self.notes.values(), *(_needless(key, why) for key, why in self.ignored.items()))
        zh, en = "、".join(self.ignored), ", ".join(self.ignored)
        return (*self.notes.values(), Text(f"这些在这里不用设置：{zh}", f"these need not be set here: {en}"))

    def config(self) -> Config:
        """Return the config. Raises one UsageError for all problems."""
        values = {**self.values, **self._named_datasets()}
        if self.problems:
            raise UsageError("\n".join(line.zh for line in self.problems), "\n".join(line.en for line in self.problems))
        own = {name: value for name, value in values.items() if "." not in name}
        groups = {group: model.model_validate(inside(values, group)) for group, model in GROUPS.items()}
        return Config.model_validate({**own, **groups})

    def _named_datasets(self) -> dict[str, object]:
        """Return the datasets whose names stand for others, as paths, and the columns that these need."""
        found: dict[str, object] = {}
        folder = None if self.dataset_dir is None else short_text(self.dataset_dir.value)
        for key in ("dataset", "eval_dataset"):
            try:
                value, columns = named(self.values.get(key), folder)
            except NotAllowed as error:
                self.problems.append(self.written[key].problem(*error.text))
                continue
            if value is not None:
                found[key] = value
            if columns and not self.values.get("columns"):
                found["columns"] = columns
        if isinstance(found.get("eval_dataset"), tuple):
            setting = self.written["eval_dataset"]
            self.problems.append(
                setting.problem(
                    f"{setting.shown()}：验证数据只能有一份；请写一个文件或文件夹",
                    f"{setting.shown()}: held-out rows are one dataset; name one file or folder",
                )
            )
        return found


def inside(values: Mapping[str, object], group: str) -> dict[str, object]:
    """Return the values of one group of settings by their own names: {"temperature": 0.7}."""
    return {name.removeprefix(f"{group}."): value for name, value in values.items() if name.startswith(f"{group}.")}


def _needless(key: str, why: Text) -> Text:
    return Text(f"{key} 不用设置：{why.zh}", f"{key} need not be set: {why.en}")


def _warm_up_once(settings: Sequence[Setting]) -> list[Setting]:
    """Return the settings with warm-up as a share or as a number of steps, as Hugging Face has it.

    `warmup_steps` below 1 is a share; 0 beside a `warmup_ratio` means that the share decides.
    """
    keys = {setting.key for setting in settings}
    found = []
    for setting in settings:
        steps = as_number(setting.value) if setting.key == "warmup_steps" else None
        if steps is None or not 0 <= steps < 1:
            found.append(setting)
        elif "warmup_ratio" not in keys:
            found.append(replace(setting, key="warmup_ratio"))
    return found


def _unknown(setting: Setting) -> Text:
    if setting.key == "recipe":
        return setting.problem(
            "配方要写在命令的最前面，或写进配置文件，不能用 recipe= 来换",
            "a recipe comes first on the command line or stands in a file; recipe= cannot change it",
        )
    if setting.key == "sampling":
        return setting.problem(
            f"{setting.shown()}：sampling 下面写 temperature 这样的项，或直接写 temperature=0.7",
            f"{setting.shown()}: sampling holds keys such as temperature; or write temperature=0.7 itself",
        )
    if setting.key == "persona":
        return setting.problem(
            f"{setting.shown()}：persona 下面写 name、greeting 这样的项，或直接写 persona.name=黛玉",
            f"{setting.shown()}: persona holds keys such as name and greeting; or write persona.name=NAME itself",
        )
    key = shown(setting.key, 60)
    if isinstance(setting.value, dict) and setting.key not in ALIASES:
        return setting.problem(
            f"不认识的配置项 {key}；配置项写在最外层，不放在别的项下面（只有 persona 和 sampling 除外）",
            f"Unknown config key {key}; settings stand at the top level, not below another key"
            " (but for persona and sampling)",
        )
    near = nearest_key(setting.key)
    if near:
        return setting.problem(
            f"不认识的配置项 {key}；是不是想写 {near}？", f"Unknown config key {key}; did you mean {near}?"
        )
    return setting.problem(
        f"不认识的配置项 {key}；请检查拼写或删掉它", f"Unknown config key {key}; check its spelling or remove it"
    )


def nearest_key(written: str) -> str | None:
    """Return the key that `written` misspells, or None.

    Word for word they are equal or nearly so: `learning_rat`, but not max_samples and max_steps, which are two things.
    """
    grouped = [f"{group}.{name}" for group, model in GROUPS.items() for name in model.model_fields]
    known = [*Config.model_fields, *Sampling.model_fields, *grouped, *ALIASES, *FOREIGN]
    # A key of a thousand characters misspells nothing.
    words = re.split("[_.]", written.lower()) if len(written) <= 60 else []
    near = (key for key in known if key == written.lower() or _same_words(words, re.split("[_.]", key)))
    return next(iter(difflib.get_close_matches(written.lower(), list(near), n=1, cutoff=0)), None)


def _same_words(written: Sequence[str], words: Sequence[str]) -> bool:
    if "".join(written) == "".join(words):  # only an underscore is amiss
        return True
    # A single short word is one letter from many others: bits and bias.
    long_enough = len(words) > 1 or len(words[0]) > 4
    return long_enough and len(written) == len(words) and all(map(_nearly_equal, written, words))


def _nearly_equal(written: str, word: str) -> bool:
    """True if one letter is wrong, missing, too many or in another place, in words of more than three letters."""
    if written == word:
        return True
    digits = [[letter for letter in each if letter.isdigit()] for each in (written, word)]
    long_enough = max(len(written), len(word)) > 3  # min and max are no misspellings of each other
    return long_enough and digits[0] == digits[1] and not _less_a_letter(written).isdisjoint(_less_a_letter(word))


def _less_a_letter(word: str) -> set[str]:
    """Return the word, and what is left of it without any one letter."""
    return {word, *(word[:i] + word[i + 1 :] for i in range(len(word)))}
