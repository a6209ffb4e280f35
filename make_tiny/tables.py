"""Read the word lists and tables in `make_tiny/data`, which are plain text to edit by hand.

words     words between spaces or line ends                                            -> ("小米", "小豆", …)
classes   `== animals` begins a class, its words follow                                -> {"animals": ("小猫", …), …}
table     `栏: 词;反义词` names the columns, then one row per line, split at `;`            -> (("大", "小"), …)

Lines that begin with `#` are comments. A row with too few or too many columns raises ValueError with file and line.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

Row = tuple[str, ...]

FOLDER = Path(__file__).parent / "data"
COLUMNS, CLASS = "栏:", "=="


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is neither empty nor a comment."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def words(name: str) -> tuple[str, ...]:
    """Return the words of `name.txt`."""
    return tuple(word for _, line in lines(FOLDER / f"{name}.txt") for word in line.split())


def classes(name: str) -> dict[str, tuple[str, ...]]:
    """Return the words of each class of `name.txt`: {class: words}."""
    found: dict[str, list[str]] = {}
    for _, line in lines(FOLDER / f"{name}.txt"):
        if line.startswith(CLASS):
            last = found.setdefault(line.removeprefix(CLASS).strip(), [])
        else:
            last += line.split()
    return {each: tuple(words) for each, words in found.items()}


@cache
def table(name: str, folder: Path = FOLDER) -> tuple[Row, ...]:
    """Return the rows of `name.txt`. Raises ValueError for a malformed file."""
    file = folder / f"{name}.txt"
    names = columns(name, folder)
    return tuple(_row(line, names, f"{file}:{number}") for number, line in [*lines(file)][1:])


@cache
def columns(name: str, folder: Path = FOLDER) -> tuple[str, ...]:
    """Return the column names of `name.txt`. Raises ValueError if its first line has none."""
    file = folder / f"{name}.txt"
    number, head = next(lines(file))
    if not head.startswith(COLUMNS):
        raise ValueError(
            f"{file}:{number}: the columns have no names; write a line such as `{COLUMNS} 词;反义词` first"
        )
    return tuple(head.removeprefix(COLUMNS).strip().split(";"))


def _row(line: str, names: tuple[str, ...], place: str) -> Row:
    found = tuple(line.split(";"))
    if len(found) != len(names) or not all(found):
        filled, head = sum(map(bool, found)), ";".join(names)
        raise ValueError(f"{place}: {filled} columns, not {len(names)}; write one text for each of `{head}`")
    return found
