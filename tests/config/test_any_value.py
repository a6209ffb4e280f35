"""Every setting with every odd value, from YAML, the command line and Python: taken, or refused in one line each."""

import datetime
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tonghua.config.foreign import ALIASES, FOREIGN
from tonghua.config.load import load
from tonghua.config.schema import GROUPS, Config
from tonghua.config.yaml_file import to_yaml
from tonghua.errors import UsageError

KEYS = [
    *(name for name in Config.model_fields if name not in GROUPS),
    *(f"{group}.{name}" for group, model in GROUPS.items() for name in model.model_fields),
]

TEXTS = (
    *(
        "abc",
        "",
        "  ",
        "null",
        "~",
        "none",
        "yes",
        "off",
        "true",
        "inf",
        "-inf",
        "nan",
        "1e400",
        "-9e999",
        "-1",
        "0",
        "1",
    ),
    *(
        "1.5",
        "1e-4",
        "1e3",
        "3.0",
        "３",
        "１．５",
        "٣",
        "½",
        "0x10",
        "017",
        "12:30",
        "2026-01-01",
        "1_000",
        "+5",
        " 5 ",
    ),
    *("9" * 400, "9" * 5000, "'1e-4'", '"８"', "<path>", "👍", "=", "a,b", "a:b", "a\\b", "-", "--", "1e", "lora"),
)
YAML_ONLY = ("[]", "[1, 2]", "{}", "{a: 1}", "[a, [b]]", "[{a: b}]", "[null]", "{a: {b: [c]}}", "|\n  x\n  y")
OBJECTS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 1.0, 1.5, float("inf"), float("nan"), 10**400, 10**5000, -(10**5000)),
    *("abc", "", "\x00", "\ud800", "x" * 200_000, b"abc", bytearray(b"1"), 1j, object(), int, len, set(), range(3)),
    *([], [1], [None], ["a"], [["a"]], {}, {"a": 1}, {1: 2}, {"a": {"b": None}}, (), ("a", "b")),
    *(datetime.date(2026, 1, 1), Path("x")),
)


def problems(of: Callable[[Sequence[str]], Any], keys: Sequence[str]) -> list[str]:
    """The lines in both languages that refuse these settings; none if they are taken."""
    try:
        config = of(keys).config
    except UsageError as error:
        zh, en = (text.split("\n") for text in error.text)
        assert len(zh) == len(en)
        return [*zh, *en]
    assert set(config.model_dump()) == set(Config.model_fields)
    return []


def refused(lines: Sequence[str], starts: Callable[[str], Sequence[str]], keys: Sequence[str]) -> list[str]:
    """The keys that the lines refuse. Each line begins with its place and key, and can be shown as it is."""
    found = set()
    for line in lines:
        at = [key for key in keys if any(line.startswith(start) for start in starts(key))]
        assert at, line
        found.add(max(at, key=len))
        assert len(line) < 600 and line.isprintable(), line
    return [key for key in keys if key not in found]


def require_taken_or_told(
    of: Callable[[Sequence[str]], Any], starts: Callable[[str], Sequence[str]], folder: Path
) -> None:
    keys = KEYS
    for _ in range(2):  # what two settings mean together shows when those that are wrong alone are left out
        left = refused(problems(of, keys), starts, keys)
        if left == keys:
            break
        keys = left
    config = of(keys).config
    path = folder / "again.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load(path).config == config


@pytest.mark.parametrize("value", TEXTS, ids=lambda text: text[:12])
def test_on_the_command_line(tmp_path: Path, value: str) -> None:
    require_taken_or_told(
        lambda keys: load(None, [f"{key}={value}" for key in keys]), lambda key: [f"{key}="], tmp_path
    )


@pytest.mark.parametrize("value", [*TEXTS, *YAML_ONLY], ids=lambda text: text[:12])
def test_in_a_file(tmp_path: Path, value: str) -> None:
    path = tmp_path / "my.yaml"
    text = value if value.strip() not in ("=", "-", "--") else f"'{value}'"
    height = text.count("\n") + 1

    def of(keys: Sequence[str]) -> Any:
        path.write_text("".join(f"{key}: {text}\n" for key in keys), encoding="utf-8")
        places.update({key: 1 + height * number for number, key in enumerate(keys)})
        return load(path)

    places: dict[str, int] = {}

    def starts(key: str) -> list[str]:
        line = places[key]
        return [
            f"my.yaml{where}{key}{sign}"
            for where in (f" 第 {line} 行：", f", line {line}: ")
            for sign in ("=", " 应", " is text")
        ]

    require_taken_or_told(of, starts, tmp_path)


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_from_python(tmp_path: Path, value: object) -> None:
    require_taken_or_told(lambda keys: load(None, dict.fromkeys(keys, value)), lambda key: [f"{key}="], tmp_path)


@pytest.mark.parametrize("key", ["sampling", "persona", "dataset_dir", "datasets", "recipe", "nonsense"])
@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_keys_that_are_no_fields(key: str, value: object) -> None:
    problems(lambda keys: load(None, {key: value}), [key])


@pytest.mark.parametrize("value", OBJECTS, ids=lambda value: type(value).__name__)
def test_keys_of_other_trainers(value: object) -> None:
    """All at once: each is ignored or refused, and none ends in a traceback."""
    given = dict.fromkeys([*FOREIGN, *ALIASES], value)
    for line in problems(lambda keys: load(None, given), [*given]):
        assert line.isprintable() and len(line) < 600


def test_a_broken_character_is_told() -> None:
    with pytest.raises(UsageError, match=r"system=\\ud800: holds a broken character; type it anew"):
        load(None, {"system": "\ud800"})


def test_a_value_that_breaks_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: a message without its key, or a bug."""
    with pytest.raises(AssertionError):
        refused(["something is wrong"], lambda key: [f"{key}="], KEYS)
    monkeypatch.setattr("tonghua.config.values.as_number", float)
    with pytest.raises(ValueError, match="could not convert"):
        test_on_the_command_line(tmp_path, "abc")
