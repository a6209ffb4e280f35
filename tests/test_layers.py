"""The rooms of the house stand in a line, and each uses only those to its left."""

import ast
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import tonghua

HOUSE = Path(tonghua.__file__).parent
ORDER = (
    *("errors", "stopping", "example", "config", "scan", "shipped", "hub", "fetch", "templates", "prompt"),
    *("sources", "records", "columns", "data", "measures", "privacy", "duplicates", "blemishes", "quality", "script"),
    *("endings", "workers", "tokenized", "prepare", "checkup", "mending", "page", "device"),
    *(
        "core.rounding",
        "core.pointwise",
        "core.attention",
        "core.quantize",
        "core.lora",
        "core.loss",
        "core.packing",
        "core.model",
    ),
    *("weights", "checkpoint", "runs", "trackers", "record", "listing", "curves", "report", "doctor"),
    *("sampling", "generate", "engines", "plan", "optimizer", "diary", "book"),
    *("evaluate", "trainer", "resuming", "hanging", "training", "show", "cli.shared", "cli.rows", "cli.runs"),
    *("cli.models", "cli.listing", "cli.doctor", "cli.demo", "cli"),
)
DOORS = ("__init__", "__main__", "core")
WITHOUT_TORCH = ("cli", *ORDER[: ORDER.index("device")])
READ_THE_ENVIRONMENT = ("cli.shared", "hub")


def sources() -> dict[str, str]:
    """Name of each module inside the package, and its text."""
    files = {path.relative_to(HOUSE).with_suffix(""): path for path in HOUSE.rglob("*.py")}
    return {".".join(name.parts): path.read_text(encoding="utf-8") for name, path in files.items()}


def place_of(module: str) -> str:
    """The name a module is imported by: a package's own for its `__init__`."""
    return module.removesuffix(".__init__")


def imports(module: str, text: str) -> Iterator[str]:
    """Every module of the package that this one imports, wherever in its text; "" is the package itself.

    The package's own `__version__` is not counted: it is no module and holds nothing but a text.
    """
    inside = module.split(".")[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (_inner(alias.name) for alias in node.names if alias.name.split(".")[0] == "tonghua")
        elif isinstance(node, ast.ImportFrom):
            here = inside[: len(inside) - node.level + 1] if node.level else []
            start = ["tonghua", *here] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            if origin.split(".")[0] == "tonghua":
                names = [_inner(f"{origin}.{alias.name}") for alias in node.names]
                names = [name for name in names if name != "__version__"]
                yield from ({name if name in ORDER else _inner(origin) for name in names})


def _inner(name: str) -> str:
    return name.removeprefix("tonghua").removeprefix(".")


def faults(modules: dict[str, str]) -> list[str]:
    """Imports that do not go to the left."""
    found = []
    for module, text in modules.items():
        place = place_of(module)
        if place in DOORS:
            continue
        for other in imports(module, text):
            if other not in ORDER or ORDER.index(other) >= ORDER.index(place):
                found.append(f"{place} imports {other or 'the package'}")
            elif place.startswith("core.") and not other.startswith("core.") and other != "example":
                found.append(f"{place} imports {other} from outside core")
    return found


def test_every_module_has_its_place() -> None:
    assert sorted(map(place_of, sources())) == sorted([*ORDER, *DOORS])
    assert not {"utils", "common"} & {part for name in sources() for part in name.split(".")}


def test_modules_import_only_what_is_to_their_left() -> None:
    assert faults(sources()) == []


@pytest.mark.parametrize(
    ("module", "text", "fault"),
    [
        ("data", "from .training import train", "data imports training"),
        ("data", "def f():\n    from . import training", "data imports training"),
        ("data", "if TYPE_CHECKING:\n    from tonghua.training import Trainer", "data imports training"),
        ("data", "import tonghua.show", "data imports show"),
        ("data", "from . import data", "data imports data"),
        ("data", "from .elsewhere import f", "data imports elsewhere"),
        ("data", "from tonghua import chat", "data imports the package"),
        ("data", "from . import __version__, chat", "data imports the package"),
        ("show", "from .cli import app", "show imports cli"),
        ("cli.rows", "from . import app", "cli.rows imports cli"),
        ("cli.rows", "from .runs import StyleName", "cli.rows imports cli.runs"),
        ("cli.shared", "from . import models", "cli.shared imports cli.models"),
        ("cli.__init__", "from . import app", "cli imports cli"),
        ("core.packing", "from ..config import Config", "core.packing imports config from outside core"),
        ("core.lora", "from .model import Decoder", "core.lora imports core.model"),
        ("core.lora", "from ..core import model", "core.lora imports core.model"),
    ],
)
def test_an_import_to_the_right_is_seen(module: str, text: str, fault: str) -> None:
    assert faults({module: text}) == [fault]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("core.packing", "from ..example import Example"),
        ("core.model", "from .lora import LoRALinear"),
        ("evaluate", "from .core import attention"),
        ("training", "from . import device as devices, plan"),
        ("cli.__init__", "from .. import __version__\nfrom ..training import train\nfrom . import models"),
        ("cli.runs", "from ..runs import open_run\nfrom .shared import language"),
        ("data", "import torch\nfrom tonghua.errors import Text"),
    ],
)
def test_an_import_to_the_left_is_no_fault(module: str, text: str) -> None:
    assert faults({module: text}) == []


def run(code: str) -> str:
    """What the code prints in a fresh interpreter."""
    command = [sys.executable, "-X", "utf8", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("before", [(), ORDER], ids=["nothing", "everything"])
def test_the_front_door_stays_a_function_whatever_was_imported_before(before: tuple[str, ...]) -> None:
    """A module and a function of one name would push each other out of the package."""
    code = (
        "".join(f"import tonghua.{module}\n" for module in before) + "import tonghua, tonghua.errors\n"
        "try:\n    tonghua.train(None, learning_rat=1)\n"
        "except tonghua.errors.UsageError as error:\n    print(error.text.en)"
    )
    assert "learning_rat" in run(code)


def loaded_by(module: str) -> set[str]:
    """Which packages are in memory after this import alone, in a fresh interpreter."""
    code = f"import sys, tonghua.{module}; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    return set(run(code).split())


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_a_module_of_the_front_starts_without_torch(module: str) -> None:
    assert "torch" not in loaded_by(module)


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
