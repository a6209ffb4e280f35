"""Load the config of a run from its layers.

shipped recipe  <  the user's YAML file  <  key=value on the command line
------------------- a later layer overrides an earlier one ------------->  Config (frozen)

lr: 1e-4        text 1e-4        parsed by the type of the field     1e-4 (float)
system: no      text no          YAML would make it False            an error: quote the text
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError
from ..system.files import is_there
from ..text import Text
from .layers import Layers, inside
from .overrides import override_settings
from .schema import Config, Sampling
from .yaml_file import MAX_FILE_BYTES, file_settings

DEFAULT_NAME: Final = "tonghua"
"""Name of a run without a recipe."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config, the name of its recipe or file (`tonghua` if there is none), and notes to show to the user.

    `own`: the keys that the user has set, and not only a recipe that ships."""

    config: Config
    name: str
    notes: tuple[Text, ...]
    own: frozenset[str] = frozenset()


def _read_file(path: Path) -> bytes:
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"配置文件要以 .yaml 或 .yml 结尾：{path}", f"A config file must end in .yaml or .yml: {path}")
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        shipped = path.stem in recipe_names()
        raise UsageError(
            f"找不到配置文件：{path}" + (f"；自带的配方直接写 {path.stem}" if shipped else "；请检查路径"),
            f"No such config file: {path}"
            + (f"; the shipped recipe is called {path.stem}" if shipped else "; check the path"),
        ) from None
    except OSError as error:
        raise UsageError(
            f"读不了配置文件：{path}（{error.strerror}）",
            f"Cannot read the config file: {path} ({error.strerror})",
        ) from None


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package, sorted."""
    files = (resources.files("tonghua") / "recipes").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load(recipe: str | Path | None, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Loaded:
    """Return the config of a recipe with the overrides applied.

    recipe     name of a shipped recipe, path of a YAML file (which may name its base recipe with
               `recipe: daiyu`), or None for the defaults
    overrides  tokens as on the command line (see `parse_overrides`), or a mapping of Python values

    Raises UsageError with one line per problem, or RefusedError if a file or a value is unsafe.
    """
    reading = Layers()
    name = DEFAULT_NAME if recipe is None else _read_recipe(str(recipe), reading)
    reading.add(override_settings(overrides, reading))
    return Loaded(reading.config(), name, reading.told(), frozenset(reading.own))


def resampled(sampling: Sampling, changes: Mapping[str, Any]) -> Sampling:
    """Return a copy of `sampling` with changes such as {"temperature": 0.8}. Raises UsageError as `load` does."""
    reading = Layers()
    reading.add(override_settings({f"sampling.{key}": value for key, value in changes.items()}, reading))
    reading.config()
    return sampling.model_copy(update=inside(reading.values, "sampling"))


def _read_recipe(recipe: str, reading: Layers) -> str:
    """Add the layers of a shipped recipe or of a user's file. Return the name of the recipe or file."""
    if recipe in recipe_names():
        _add_shipped(recipe, reading)
        return recipe
    path = Path(recipe)
    if not path.suffix and not (is_there(path) and path.is_file()):
        names = ", ".join(recipe_names())
        raise UsageError(
            f"没有名为 {recipe} 的配方；自带的有 {names}，也可以给一个 .yaml 文件",
            f"There is no recipe called {recipe}; there are {names}, or give a .yaml file",
        )
    settings = file_settings(_read_file(path), path.name)
    for base in (setting for setting in settings if setting.key == "recipe"):
        if base.value in recipe_names():
            _add_shipped(str(base.value), reading)
        else:
            names = ", ".join(recipe_names())
            reading.problems.append(
                base.problem(
                    f"{base.shown()}：应是自带的配方：{names}",
                    f"{base.shown()}: must be a shipped recipe: {names}",
                )
            )
    reading.add([setting for setting in settings if setting.key != "recipe"])
    return path.stem


def _add_shipped(name: str, reading: Layers) -> None:
    file = resources.files("tonghua") / "recipes" / f"{name}.yaml"
    reading.add(file_settings(file.read_bytes(), f"{name}.yaml"))
    reading.own.clear()
