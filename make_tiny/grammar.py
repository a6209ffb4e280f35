"""Tells the plots in `make_tiny/plots`. The manual of the short grammar that they are written in is README.md there.

PLOTS     all plots in the order of the files
told      a Plot and a Teller (the characters, the place, the source of chance) -> the story

A style says in which order chance is asked for the choices of a story. All styles tell the same kind of text; there are
three because the plots were written in three ways, and a seed shall go on giving the stories that it gave.
"""

import re
from collections.abc import Callable, Sequence, Set
from pathlib import Path

from make_tiny.plot_files import (
    BY_PARAGRAPH,
    EVERYBODY,
    FIRST,
    IN_TURN,
    NUMBER,
    SPEECH,
    WHOLE,
    Block,
    Line,
    Paragraph,
    Plot,
    Rows,
    Value,
    plots_of,
)
from make_tiny.story import CHARACTERS, NAMED, Teller

FOLDER = Path(__file__).parent / "plots"
SHARED = "shared.txt"
INNERMOST = re.compile(r"\[(\??)([^\[\]{}]*)\]|\{([^\[\]{}]*)\}")
NAME = re.compile(r"\{([^{}]*)\}")  # choices may still stand in it
CHOICE = re.compile(r"\[(\??)([^\[\]]*)\]")


def woven(text: str, one: Callable[..., str], maybe: Callable[..., str]) -> str:
    """`[a|b|c]` becomes `one` of the three, `[?a|b]` `maybe` one of the two, from the inside out."""
    while "[" in text:
        text = CHOICE.sub(lambda found: (maybe if found[1] else one)(*found[2].split("|")), text)
    return text


def joined(paragraphs: Sequence[str], most: int, first: int = 0) -> list[str]:
    """At most so many paragraphs: the shortest neighbours become one; the last stays, and those before `first`."""
    found = list(paragraphs)
    while len(found) > most:
        at = min(range(first, len(found) - 2), key=lambda i: len(found[i]) + len(found[i + 1]))
        found[at : at + 2] = [found[at] + found[at + 1]]
    return found


def ended(paragraph: str) -> str:
    """Every sentence with one mark at its end, whichever ways of saying it met."""
    if not re.search("[。！？…—]”?$", paragraph):
        paragraph += "。"
    return re.sub(r"([。！？…]”?)。", r"\1", paragraph)


def spelt(number: int) -> str:
    """The words for a number from 1 to 999: 三百零七."""
    digits = "零一二三四五六七八九"
    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    text = digits[hundreds] + "百" if hundreds else ""
    if tens:
        text += ("" if tens == 1 and not hundreds else digits[tens]) + "十"
    elif hundreds and ones:
        text += "零"
    return text + (digits[ones] if ones else "")


class Telling:
    """One plot told once: draws its values and texts, in the order of its style."""

    def __init__(self, plot: Plot, teller: Teller) -> None:
        self.plot, self.teller = plot, teller
        self.values = teller.named()

    def paragraphs(self) -> list[str]:
        """All paragraphs. 全篇 asks for what is named in the whole story before it asks for the choices of any."""
        found: list[str] = []
        for item in self.plot.items:
            match item:
                case Value(name, line):
                    self.values[name] = self.drawn(line.text)
                case Rows():
                    self.draw_rows(item)
                case Block():
                    found += self.some(item)
                case Paragraph():
                    text = self.text_of(item)
                    found.append(self.named(text) if self.plot.style == WHOLE else self.drawn(text))
        if self.plot.style == WHOLE:
            found = [self.chosen(text) for text in found]
        return [ended(text) for text in found if text]

    def holds(self, line: Line) -> bool:
        """Whether the condition of a line holds."""
        return not line.name or (self.values[line.name] in line.values) == line.wanted

    def text_of(self, paragraph: Paragraph) -> str:
        if not self.holds(paragraph.condition):
            return ""
        return "".join(line.text for line in paragraph.lines if self.holds(line))

    def drawn(self, text: str) -> str:
        """The text with its names and its choices resolved."""
        return self.in_turn(text) if self.plot.style == IN_TURN else self.chosen(self.named(text))

    def in_turn(self, text: str) -> str:
        """Names and choices, from left to right and from the inside out."""
        while found := INNERMOST.search(text):
            if found[3] is None:
                way = self.teller.maybe if found[1] else self.teller
                told = way(*found[2].split("|"))
            else:
                told = self.value(found[3])
            text = text[: found.start()] + told + text[found.end() :]
        return text

    def named(self, text: str) -> str:
        """Only the names, from left to right; choices stay as they are."""
        while found := NAME.search(text):
            text = text[: found.start()] + self.value(found[1]) + text[found.end() :]
        return text

    def chosen(self, text: str) -> str:
        """Only the choices: first all the innermost ones of the text, then those around them."""
        return woven(text, self.teller, self.teller.maybe)

    def value(self, name: str) -> str:
        """What stands for the text between { and }."""
        if name in self.values:
            return self.values[name]
        if name in PHRASES:
            return "".join(Telling(PHRASES[name], self.teller).paragraphs())
        if said := SPEECH.fullmatch(name):
            return self.teller.say(said[2], said[1], said[3])
        if number := NUMBER.fullmatch(name):
            return spelt(self.teller.chance.randint(int(number[1]), int(number[2])))
        return self.chosen(name.removeprefix(FIRST))

    def open(self, text: str) -> str:
        """A text of a table: its choices are drawn where it is used, each time anew, except in 逐句."""
        return self.in_turn(text) if self.plot.style == IN_TURN else self.named(text)

    def draw_rows(self, item: Rows) -> None:
        rows = [[self.open(cell.text) for cell in row] for row in item.rows]
        if item.avoided:
            everybody = [*CHARACTERS, *(f"{one}的种类" for one in CHARACTERS)]
            avoided = [self.values[name] for name in (everybody if item.avoided == (EVERYBODY,) else item.avoided)]
            fit = [row for row in rows if not any(word in row[0] for word in avoided)]
            rows = fit if len(fit) >= item.taken else rows
        chance = self.teller.chance
        taken = [chance.choice(rows)] if item.taken == 1 else chance.sample(rows, item.taken)
        self.values |= dict(zip(item.names, [cell for row in taken for cell in row], strict=True))

    def some(self, block: Block) -> list[str]:
        """Two or three of the texts in any order, each after its word of order; in a short story one paragraph."""
        firsts, texts = [[self.open(line.text) for line in lines] for lines in (block.firsts, block.texts)]
        length, chance = self.teller.length, self.teller.chance
        if length == "short":
            one, two = chance.sample(texts, 2)
            parts = [firsts[0] + one + firsts[2] + two]
        else:
            parts = [first + text for first, text in zip(firsts, chance.sample(texts, 3), strict=True)]
            parts = parts if length == "long" else [parts[0] + parts[1], parts[2]]
        return [self.chosen(part) for part in parts]


def told(plot: Plot, teller: Teller) -> str:
    """The whole story, its paragraphs parted by a blank line, few in a short story."""
    found = Telling(plot, teller).paragraphs()
    if plot.style == BY_PARAGRAPH:
        found = joined(found, {"short": 6, "middle": 8, "long": 9}[teller.length])
    elif plot.style == WHOLE and teller.length == "short":
        found = joined(found, 6, first=1)
    return "\n\n".join(found)


def plots_in(folder: Path, known: Set[str]) -> list[Plot]:
    """The plots of a folder, in the order of its files' names."""
    return [plot for file in sorted(folder.glob("*.txt")) if file.name != SHARED for plot in plots_of(file, known)]


PHRASES = {phrase.name: phrase for phrase in plots_of(FOLDER / SHARED, NAMED)}
PLOTS = plots_in(FOLDER, NAMED | set(PHRASES))
