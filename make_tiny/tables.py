"""Reads the word lists and tables in `make_tiny/data`: plain text, made to be read and edited by hand.

words     words parted by spaces or line ends                                          -> ("小米", "小豆", …)
classes   `== animals` begins a class, its words follow                                -> (("小猫", …), ("小鸟", …), …)
table     `栏: 词;反义词` names the columns, then one row a line, parted by `;`            -> (("大", "小"), …)

Lines that begin with `#` are comments. A row with a column too few or too many is refused with its file and line.
"""

from collections.abc import Iterator
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


def classes(name: str) -> tuple[tuple[str, ...], ...]:
    """The words of each class of `name.txt`."""
    found: list[list[str]] = []
    for _, line in lines(FOLDER / f"{name}.txt"):
        if line.startswith(CLASS):
            found.append([])
        else:
            found[-1] += line.split()
    return tuple(map(tuple, found))


def table(name: str, folder: Path = FOLDER) -> tuple[Row, ...]:
    """The rows of `name.txt`."""
    file = folder / f"{name}.txt"
    (first, head), *rest = lines(file)
    if not head.startswith(COLUMNS):
        raise ValueError(f"{file}:{first}: the columns have no names; write a line such as `{COLUMNS} 词;反义词` first")
    columns = head.removeprefix(COLUMNS).strip().split(";")
    return tuple(row(line, len(columns), f"{file}:{number}", head) for number, line in rest)


def row(line: str, columns: int, place: str, head: str) -> Row:
    """The columns of a line; `place` and `head` name it where it is refused."""
    found = tuple(line.split(";"))
    if len(found) != columns or not all(found):
        raise ValueError(
            f"{place}: {sum(map(bool, found))} of {columns} columns are filled; write one text for each of `{head}`, "
            "parted by `;`"
        )
    return found
