"""The rooms of the package stand in a line, and each uses only those before it."""

import ast
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tonghua

HOUSE = Path(tonghua.__file__).parent
ROOMS = (
    *(
        "version",
        "text",
        "errors",
        "events",
        "core",
        "system",
        "config",
        "prompt",
        "models",
        "data",
        "runs",
        "inference",
    ),
    *("evaluation", "exports", "training", "terminal", "doctor", "exits", "api", "server", "cli"),
)
"""A room uses only rooms before it; core uses no other."""

DOORS = ("", "__main__")
NEEDS_TORCH = ("models.peft", "models.weights", "system.device", "system.memory")
WITHOUT_TORCH = ("text", "errors", "system", "config", "prompt", "models", "data", "runs", "cli")
READ_THE_ENVIRONMENT = ("models.caches", "models.hubs", "system.environment")


def sources() -> dict[str, str]:
    """Name of each module of the package as it is imported ("" is the package itself), and its text."""
    files = {path.relative_to(HOUSE).with_suffix("").parts: path for path in HOUSE.rglob("*.py")}
    return {
        ".".join(parts[:-1] if parts[-1] == "__init__" else parts): path.read_text(encoding="utf-8")
        for parts, path in files.items()
    }


def is_package(module: str) -> bool:
    return (HOUSE / module.replace(".", "/") / "__init__.py").is_file()


def imports(module: str, text: str) -> Iterator[str]:
    """Every module of the package that this one imports, wherever in its text; "" is the package itself."""
    inside = module.split(".") if is_package(module) else module.split(".")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (_inner(alias.name) for alias in node.names if alias.name.split(".")[0] == "tonghua")
        elif isinstance(node, ast.ImportFrom):
            here = [part for part in inside[: len(inside) - node.level + 1] if part] if node.level else []
            start = ["tonghua", *here] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            if origin.split(".")[0] == "tonghua":
                names = [_inner(f"{origin}.{alias.name}") for alias in node.names]
                yield from ({name if _is_module(name) else _inner(origin) for name in names})


def _inner(name: str) -> str:
    return name.removeprefix("tonghua").removeprefix(".")


def _is_module(name: str) -> bool:
    return (HOUSE / f"{name.replace('.', '/')}.py").is_file() or is_package(name)


def room_of(module: str) -> str:
    return module.split(".")[0]


def faults(modules: dict[str, str]) -> list[str]:
    """Imports that lead to a later room, out of core, or to the package itself."""
    found = []
    for module, text in modules.items():
        room = room_of(module)
        if module in DOORS:
            continue
        for other in imports(module, text):
            there = room_of(other)
            if there == room and other != module and room != other:
                continue
            if there not in ROOMS or ROOMS.index(there) >= ROOMS.index(room):
                found.append(f"{module} imports {other or 'the package'}")
            elif room == "core":
                found.append(f"{module} imports {other} from outside core")
    return found


def circles(modules: dict[str, str]) -> list[str]:
    """Modules that import themselves by a way round."""
    graph = {module: set(imports(module, text)) - {module} for module, text in modules.items()}
    while free := [module for module, others in graph.items() if not others & graph.keys()]:
        for module in free:
            del graph[module]
    return sorted(graph)


def test_every_module_is_in_a_room() -> None:
    assert sorted({room_of(module) for module in sources()} - {*DOORS}) == sorted(ROOMS)


def test_the_house_stays_small_enough_to_hold_in_the_head() -> None:
    """Boxes at the top of the package, and arrows between rooms."""
    modules = sources()
    arrows = {(room_of(module), room_of(other)) for module, text in modules.items() for other in imports(module, text)}
    assert len({room_of(module) for module in modules}) <= 23
    assert len({arrow for arrow in arrows if arrow[0] != arrow[1]}) <= 140


def test_no_file_is_longer_than_400_lines() -> None:
    assert {module: text.count("\n") for module, text in sources().items() if text.count("\n") > 400} == {}


def test_a_class_name_means_one_thing_in_all_rooms() -> None:
    rooms: dict[str, set[str]] = {}
    for module, text in sources().items():
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef):
                rooms.setdefault(node.name.lstrip("_"), set()).add(module)
    assert {name: found for name, found in rooms.items() if len(found) > 1} == {}


def test_a_name_tells_what_a_module_gives() -> None:
    assert not {"utils", "common"} & {part for name in sources() for part in name.split(".")}


def test_a_room_uses_only_rooms_before_it() -> None:
    assert faults(sources()) == []


def test_no_module_imports_itself_by_a_way_round() -> None:
    assert circles(sources()) == []
    assert circles({"text": "from . import errors", "errors": "from . import text"}) == ["errors", "text"]


@pytest.mark.parametrize(
    ("module", "text", "fault"),
    [
        ("errors", "from .core import lora", "errors imports core.lora"),
        ("errors", "def f():\n    from . import core", "errors imports core"),
        ("errors", "if TYPE_CHECKING:\n    from tonghua.cli import app", "errors imports cli"),
        ("errors", "import tonghua.cli.rows", "errors imports cli.rows"),
        ("errors", "from . import errors", "errors imports errors"),
        ("errors", "from .elsewhere import f", "errors imports elsewhere"),
        ("errors", "from tonghua import chat", "errors imports the package"),
        ("core.packing", "from ..errors import Text", "core.packing imports errors from outside core"),
        ("core.lora", "from ..cli import rows", "core.lora imports cli.rows"),
        ("cli", "from . import app", "cli imports cli"),
        ("cli.rows", "from . import app", "cli.rows imports cli"),
    ],
)
def test_an_import_of_a_later_room_is_seen(module: str, text: str, fault: str) -> None:
    assert faults({module: text}) == [fault]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("core.model", "from .lora import LoRALinear"),
        ("errors", "from .text import Text"),
        ("cli", "from ..version import __version__\nfrom . import models"),
        ("cli.runs", "from ..errors import UserError\nfrom .shared import language"),
        ("errors", "import torch\nfrom tonghua.text import Text"),
    ],
)
def test_an_import_of_an_earlier_room_is_no_fault(module: str, text: str) -> None:
    assert faults({module: text}) == []


def run(code: str) -> str:
    """What the code prints in a fresh interpreter."""
    command = [sys.executable, "-X", "utf8", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("before", [(), tuple(sources())], ids=["nothing", "everything"])
def test_the_front_door_stays_a_function_whatever_was_imported_before(before: tuple[str, ...]) -> None:
    """A module and a function of one name would push each other out of the package."""
    code = (
        "".join(f"import tonghua.{module}\n" for module in before if module not in DOORS)
        + "import tonghua, tonghua.errors\n"
        "try:\n    tonghua.train(None, learning_rat=1)\n"
        "except tonghua.errors.UsageError as error:\n    print(error.text.en)"
    )
    assert "learning_rat" in run(code)


def loaded_by(*modules: str) -> set[str]:
    """Which packages are in memory after these imports alone, in a fresh interpreter."""
    wanted = ", ".join(f"tonghua.{module}" for module in modules)
    return set(run(f"import sys, {wanted}; print(' '.join({{name.split('.')[0] for name in sys.modules}}))").split())


@pytest.mark.parametrize("room", [room for room in WITHOUT_TORCH if any(room_of(name) == room for name in sources())])
def test_a_room_of_the_front_starts_without_torch(room: str) -> None:
    modules = [module for module in sources() if room_of(module) == room and module not in NEEDS_TORCH]
    assert "torch" not in loaded_by(*modules)


def test_torch_would_be_seen() -> None:
    assert "torch" in loaded_by("core.lora")


def test_no_function_changes_a_global() -> None:
    assert globals_of("def f():\n    global x\n    x = 1") == 1
    assert {name for name, text in sources().items() if globals_of(text)} == set()


def globals_of(text: str) -> int:
    return sum(isinstance(node, ast.Global) for node in ast.walk(ast.parse(text)))


def reads_environment(text: str) -> bool:
    """Whether os.environ or os.getenv occur, under whatever name they were imported."""
    names = {"environ", "environb", "getenv"}
    return any(
        (isinstance(node, ast.Attribute) and node.attr in names)
        or (isinstance(node, ast.ImportFrom) and node.module == "os" and names & {a.name for a in node.names})
        for node in ast.walk(ast.parse(text))
    )


def test_the_environment_is_read_at_the_doors_alone() -> None:
    assert reads_environment("import os\nos.environ['HOME']")
    assert reads_environment("from os import getenv as g\ng('HOME')")
    assert not reads_environment("import os\nos.fsync(1)")
    assert {name for name, text in sources().items() if reads_environment(text)} <= set(READ_THE_ENVIRONMENT)


def test_no_test_reaches_the_network() -> None:
    with socket.socket() as line, pytest.raises(OSError, match=r"a test must not connect to 192\.0\.2\.1"):
        line.connect(("192.0.2.1", 80))
