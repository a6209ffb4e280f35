"""Reads the word lists and tables in `make_tiny/data`: plain text, made to be read and edited by hand.

words     words parted by spaces or line ends                                          -> ("小米", "小豆", …)
classes   `== animals` begins a class, its words follow                                -> {"animals": ("小猫", …), …}
table     `栏: 词;反义词` names the columns, then one row a line, parted by `;`            -> (("大", "小"), …)

Lines that begin with `#` are comments. A row with a column too few or too many is refused with its file and line.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

Row = tuple[str, ...]

FOLDER = Path(__file__).parent / "data"
COLUMNS, CLASS = "栏:", "=="


def lines(file: Path) -> Iterator[tuple[int, str]]:
    """The number and the text of each line that is neither empty nor a comment."""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip() and not line.startswith("#"):
            yield number, line.strip()


def words(name: str) -> tuple[str, ...]:
    """The words of `name.txt`."""
    return tuple(word for _, line in lines(FOLDER / f"{name}.txt") for word in line.split())


def classes(name: str) -> dict[str, tuple[str, ...]]:
    """The words of each class of `name.txt`, by the name of the class."""
    found: dict[str, list[str]] = {}
    for _, line in lines(FOLDER / f"{name}.txt"):
        if line.startswith(CLASS):
            last = found.setdefault(line.removeprefix(CLASS).strip(), [])
        else:
            last += line.split()
    return {each: tuple(words) for each, words in found.items()}


@cache
def table(name: str, folder: Path = FOLDER) -> tuple[Row, ...]:
    """The rows of `name.txt`."""
    file = folder / f"{name}.txt"
    names = columns(name, folder)
    return tuple(_row(line, names, f"{file}:{number}") for number, line in [*lines(file)][1:])


@cache
def columns(name: str, folder: Path = FOLDER) -> tuple[str, ...]:
    """The names of the columns of `name.txt`."""
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
