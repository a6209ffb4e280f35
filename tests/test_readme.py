"""The READMEs and docs say only what works: every command in them parses, every file in a tree exists.

A command is a line that starts with `tonghua` in a bash, sh, shell or console block (after `$ ` or `> ` there,
with `\\` at the end going on in the next line). A tree is a block with ├── or └──.
"""

import ast
import importlib
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from user_files import RUN_FILES

import tonghua
from tonghua import cli
from tonghua.cli.shared import split_arguments, split_runs
from tonghua.config.load import load, recipe_names
from tonghua.config.schema import GROUPS, Config, Persona, Sampling
from tonghua.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
READMES = ("README.md", "README.zh-CN.md")
TOPICS = (
    *("how-it-works", "dataset", "choosing", "models", "rows", "settings"),
    *("talk", "evaluate", "runs", "python", "serve", "export"),
)
PAGES = (*READMES, *(f"docs/{language}/{topic}.md" for topic in TOPICS for language in ("en", "zh")))
SHELLS = ("bash", "sh", "shell", "console")

_BLOCK = re.compile(r"^```[ \t]*(\w*)[^\n]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
_ENTRY = re.compile(r"^([\s│|]*)(?:├──|└──|\|--|`--)\s*(.+)$")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of each fenced block."""
    return _BLOCK.findall(text)


def commands(text: str) -> list[list[str]]:
    """The words of every tonghua command, in order."""
    found = []
    for language, content in blocks(text):
        if language not in SHELLS:
            continue
        for line in content.replace("\\\n", " ").splitlines():
            words = shlex.split(re.sub(r"^[$>] ", "", line.strip()), comments=True)
            if words[:1] == ["tonghua"]:
                found.append(words[1:])
    return found


def fault_of(words: Sequence[str]) -> str | None:
    """Why the command line would refuse these words before it looks at any file; None if it would not."""
    root: Any = typer.main.get_command(cli.app)
    if not words or words[0].startswith("-"):
        known = {name for option in root.params for name in option.opts} | {"--help"}
        return None if words and set(words) <= known else f"no such option: {list(words)}"
    with typer.Context(root) as parent:
        verb = root.get_command(parent, words[0])
        if verb is None:
            return f"no such verb: {words[0]}"
        if "--help" in words:
            return None
        try:
            context = verb.make_context(words[0], list(words[1:]), parent=parent)
        except Exception as error:  # what a wrong option raises has moved between versions of typer
            return str(error)
    first, overrides = split_arguments(context.args)
    if words[0] in ("chat", "infer"):
        overrides = split_runs(context.args)[1]
    takes_a_recipe = words[0] in ("train", "sft", "plan") and "--resume" not in words
    recipe = first if takes_a_recipe and first in recipe_names() else None
    if takes_a_recipe and first and recipe is None and not first.endswith((".yaml", ".yml")):
        return f"no such recipe: {first}"
    try:
        load(recipe, overrides)
    except UserError as error:
        return error.text.en
    return None


def entries(block: str) -> Iterator[tuple[list[str], str]]:
    """(folders above, name) of every line of a tree, without what is said about it."""
    above: list[str] = []
    first = block.strip("\n").splitlines()[0]
    root = "" if _ENTRY.match(first) else first.split()[0].strip("/")
    for line in block.splitlines():
        match = _ENTRY.match(line)
        if match is None:
            continue
        depth = len(match.group(1)) // 4
        for name in re.split(r",\s*|\s+·\s+", re.split(r"\s{2,}|\s+#|\s+←|\s+—", match.group(2))[0]):
            above = above[:depth]
            yield [root, *above], name.strip()
        above.append(name.strip().strip("/"))


def missing_in(block: str) -> list[str]:
    """Names in a tree that are neither in this repository nor, below `runs`, in a run folder."""
    missing = []
    for above, name in entries(block):
        if name in ("...", "…"):
            continue
        parts = [*above[1:], name.strip("/")]
        if any(re.fullmatch(r"runs(/.*)?|step-.*", part) for part in (above[0], *parts)):
            fine = name in (*RUN_FILES, "MANIFEST.json") or name.endswith("/")
        else:
            fine = any((ROOT / Path(*start, *parts)).exists() for start in ((), (above[0],)))
        if not fine:
            missing.append("/".join(parts))
    return missing


@pytest.mark.parametrize("name", READMES)
def test_a_readme_has_commands(name: str) -> None:
    verbs = {words[0] for words in commands(text_of(name)) if words}
    assert {"check", "train", "chat", "eval"} <= verbs


@pytest.mark.parametrize("name", PAGES)
def test_every_command_parses(name: str) -> None:
    faults = {shlex.join(words): fault_of(words) for words in commands(text_of(name))}
    assert {command: fault for command, fault in faults.items() if fault} == {}


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("trian daiyu", "no such verb: trian"),
        ("train baoyu dataset=a.json", "no such recipe: baoyu"),
        ("train daiyu datast=a.json", "Unknown config key datast; did you mean dataset?"),
        ("train daiyu learning_rate=7", "learning_rate=7: must be a number (above 0, at most 1)"),
        ("chat --prompt", "prompt"),
        ("chat --style wild", "wild"),
        ("chat --promt 你好", "Unknown config key promt"),
        ("eval runs/a --generate many", "integer"),
        ("--verison", "no such option"),
    ],
)
def test_a_wrong_command_is_found(command: str, fault: str) -> None:
    """Negative control: commands as a README might have them by mistake."""
    assert fault in (fault_of(shlex.split(command)) or "nothing")


@pytest.mark.parametrize(
    "command",
    [
        "train daiyu dataset=黛玉.json model=模型",
        "train 我的.yaml --lr 1e-4 --json",
        "chat runs/daiyu --style varied temperature=0.5",
        "eval --data new.json --generate 20",
        "check rows.json model=m",
        "--version",
        "chat --help",
    ],
)
def test_a_right_command_is_taken(command: str) -> None:
    assert fault_of(shlex.split(command)) is None


@pytest.mark.parametrize("name", PAGES)
def test_every_file_of_a_tree_exists(name: str) -> None:
    trees = [content for _, content in blocks(text_of(name)) if "──" in content]
    assert [missing for tree in trees for missing in missing_in(tree)] == []


def test_a_missing_file_of_a_tree_is_found() -> None:
    """Negative control, and how the drawings are read."""
    tree = (
        "tonghua/\n"
        "├── text.py         text for people\n"
        "├── core/           # tensors\n"
        "│   ├── lora.py\n"
        "│   └── nothing.py\n"
        "└── errors.py, version.py, gone.py\n"
    )
    assert missing_in(tree) == ["core/nothing.py", "gone.py"]
    run = "runs/daiyu-20250101-120000/\n├── contract.json\n├── checkpoints/\n│   └── step-000001/\n└── model.bin\n"
    assert missing_in(run) == ["model.bin"]


@pytest.mark.parametrize("pair", [PAGES[i : i + 2] for i in range(0, len(PAGES), 2)])
def test_both_languages_give_the_same_commands(pair: tuple[str, str]) -> None:
    english, chinese = (commands(text_of(name)) for name in pair)
    assert [skeleton(words) for words in english] == [skeleton(words) for words in chinese]


@pytest.mark.parametrize("name", READMES)
def test_make_has_the_targets(name: str) -> None:
    wanted = set(re.findall(r"^make (\w+)", text_of(name), re.MULTILINE))
    assert wanted == {"demo", "test"}
    assert wanted <= set(re.findall(r"^(\w+):", text_of("Makefile"), re.MULTILINE))


def dead_links(name: str, text: str) -> list[str]:
    """Links to files that are not there, and to headings that are not in them, seen from the page `name`."""
    dead = []
    for link, heading in re.findall(r"\]\(([^)#:]+)(?:#([^)]*))?\)", text):
        target = (ROOT / name).parent / link
        if not target.exists():
            dead.append(link)
        elif heading and heading not in anchors(target.read_text(encoding="utf-8")):
            dead.append(f"{link}#{heading}")
    return dead


def anchors(text: str) -> set[str]:
    """What a link can name after `#`: each heading as GitHub writes it, without punctuation and with - for a space."""
    plain = re.sub(r"^```.*?^```[ \t]*$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_link_to_a_file_leads_somewhere(name: str) -> None:
    assert "](" in text_of(name)
    assert dead_links(name, text_of(name)) == []


def python_fault(code: str) -> str | None:
    """A name of tonghua in this code that does not exist, or a syntax error; None if all is well."""
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        return str(error)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tonghua"):
            module = importlib.import_module(str(node.module))
            names = [alias.name for alias in node.names if not hasattr(module, alias.name)]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tonghua":
            names = [] if node.attr in tonghua.__all__ else [node.attr]
        else:
            continue
        if names:
            return f"there is no {names[0]}"
    return None


@pytest.mark.parametrize("name", PAGES)
def test_python_in_a_page_uses_what_there_is(name: str) -> None:
    found = [content for language, content in blocks(text_of(name)) if language == "python"]
    assert found or "python.md" not in name
    if not name.endswith("how-it-works.md"):  # there it is a tutorial of its own, without tonghua
        assert [fault for fault in map(python_fault, found) if fault] == []


def test_wrong_python_would_be_found() -> None:
    """Negative control."""
    assert python_fault("import tonghua\ntonghua.tain('daiyu')") == "there is no tain"
    assert python_fault("from tonghua.events import Sad") == "there is no Sad"
    assert "syntax" in str(python_fault("tonghua.train(")) or "never closed" in str(python_fault("tonghua.train("))


@pytest.mark.parametrize("name", [*PAGES, "CONTRIBUTING.md"])
def test_every_file_of_the_code_that_is_named_is_there(name: str) -> None:
    assert [path for path in code_paths(text_of(name)) if not (ROOT / path).exists()] == []


def code_paths(text: str) -> list[str]:
    """Paths in backticks that begin with a folder of this repository."""
    return re.findall(r"`((?:tonghua|tests|benchmarks|examples|make_tiny|docs)/[\w./-]*\w)`", text)


def test_a_file_of_the_code_that_is_gone_would_be_found() -> None:
    """Negative control."""
    assert code_paths("see `tonghua/prompt.py`, and `tests/test_layers.py`") == [
        "tonghua/prompt.py",
        "tests/test_layers.py",
    ]
    assert not (ROOT / "tonghua/prompt.py").exists()


def test_a_dead_link_is_found() -> None:
    """Negative control."""
    assert dead_links("docs/zh/dataset.md", "[一](dataset.md) [二](gone.md#x) [三](../../README.md)") == ["gone.md"]
    assert dead_links("docs/zh/talk.md", "[一](rows.md#检查) [二](rows.md#没有)") == ["rows.md#没有"]


def defaults(text: str) -> dict[str, str]:
    """The settings that a page lists in tables, each with its default."""
    return dict(re.findall(r"^\| `([\w.]+)` \| `([^`]*)` \|", text, re.MULTILINE))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_setting_is_listed_with_its_default(language: str) -> None:
    listed = defaults(text_of(f"docs/{language}/settings.md"))
    own, drawn = set(Config.model_fields) - set(GROUPS), set(Sampling.model_fields)
    card = {f"persona.{name}" for name in Persona.model_fields}
    assert set(listed) == own | card | (drawn - own) | {f"sampling.{name}" for name in drawn & own}
    wrong = [key for key, value in listed.items() if load(None, [f"{key}={value}"]).config != Config()]
    assert wrong == []


def test_a_wrong_default_is_found() -> None:
    """Negative control."""
    assert defaults("| key | default |\n|---|---|\n| `lora_rank` | `9` | rank |\n") == {"lora_rank": "9"}
    assert load(None, ["lora_rank=9"]).config != Config()


@pytest.mark.parametrize("name", [*PAGES, "tonghua/tiny/README.md"])
def test_nothing_is_left_to_be_filled_in(name: str) -> None:
    assert re.findall(r"TODO\S*|@[A-Z_]+@", text_of(name)) == []


def skeleton(words: Sequence[str]) -> list[str]:
    """A command without what may be translated: values, prompts, and names of files and runs."""
    recipes = recipe_names()
    kept = [re.sub(r"=.*", "=", word) for word in words[1:] if word.startswith("-") or "=" in word or word in recipes]
    return [*words[:1], *kept]


def test_what_a_command_is_stripped_to() -> None:
    one, two, other = (
        skeleton(shlex.split(command))
        for command in (
            "train daiyu dataset=黛玉.json --json",
            "train daiyu dataset=daiyu.json --json",
            "train daiyu data=daiyu.json --json",
        )
    )
    assert one == two != other
