"""Generate stories from the plots in `make_tiny/plots`. README.md there explains the grammar of the plots.

PLOTS     all plots in the order of the files
told      a Plot and a Teller (the characters, the place, the random generator) -> the story

A style sets the order in which the choices of a story are drawn. All styles give the same kind of text. There are
three because a seed must keep giving the same stories for every plot.
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
NAME = re.compile(r"\{([^{}]*)\}")  # may still hold choices
CHOICE = re.compile(r"\[(\??)([^\[\]]*)\]")


def woven(text: str, one: Callable[..., str], maybe: Callable[..., str]) -> str:
    """Replace `[a|b|c]` with `one(a, b, c)` and `[?a|b]` with `maybe(a, b)`, innermost first."""
    while "[" in text:
        text = CHOICE.sub(lambda found: (maybe if found[1] else one)(*found[2].split("|")), text)
    return text


def joined(paragraphs: Sequence[str], most: int, first: int = 0) -> list[str]:
    """Merge the shortest neighbours down to `most` paragraphs. The last one and those before `first` stay."""
    found = list(paragraphs)
    while len(found) > most:
        at = min(range(first, len(found) - 2), key=lambda i: len(found[i]) + len(found[i + 1]))
        found[at : at + 2] = [found[at] + found[at + 1]]
    return found


def ended(paragraph: str) -> str:
    """Return the paragraph with exactly one end mark after each sentence: add a missing one, drop a doubled 。"""
    if not re.search("[。！？…—]”?$", paragraph):
        paragraph += "。"
    return re.sub(r"([。！？…]”?)。", r"\1", paragraph)


def spelt(number: int) -> str:
    """Return a number from 0 to 999 in Chinese characters: 三百零七."""
    digits = "零一二三四五六七八九"
    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    text = digits[hundreds] + "百" if hundreds else ""
    if tens:
        text += ("" if tens == 1 and not hundreds else digits[tens]) + "十"
    elif hundreds and ones:
        text += "零"
    return text + (digits[ones] if ones or not number else "")


class Telling:
    """Tells one plot once: draws its values and texts in the order of its style."""

    def __init__(self, plot: Plot, teller: Teller) -> None:
        self.plot, self.teller = plot, teller
        self.values = teller.named()

    def paragraphs(self) -> list[str]:
        """Return all paragraphs. Style 全篇 resolves the names of the whole story before it draws any choice."""
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
        """True if the condition of the line holds."""
        return not line.name or (self.values[line.name] in line.values) == line.wanted

    def text_of(self, paragraph: Paragraph) -> str:
        """Return the lines whose conditions hold, joined; empty if the paragraph's own condition does not hold."""
        if not self.holds(paragraph.condition):
            return ""
        return "".join(line.text for line in paragraph.lines if self.holds(line))

    def drawn(self, text: str) -> str:
        """Return the text with names and choices resolved."""
        return self.in_turn(text) if self.plot.style == IN_TURN else self.chosen(self.named(text))

    def in_turn(self, text: str) -> str:
        """Resolve names and choices together, from left to right, innermost first."""
        while found := INNERMOST.search(text):
            if found[3] is None:
                way = self.teller.maybe if found[1] else self.teller
                told = way(*found[2].split("|"))
            else:
                told = self.value(found[3])
            text = text[: found.start()] + told + text[found.end() :]
        return text

    def named(self, text: str) -> str:
        """Resolve only the names, from left to right; keep the choices."""
        while found := NAME.search(text):
            text = text[: found.start()] + self.value(found[1]) + text[found.end() :]
        return text

    def chosen(self, text: str) -> str:
        """Draw only the choices: first all innermost ones of the text, then those around them."""
        return woven(text, self.teller, self.teller.maybe)

    def value(self, name: str) -> str:
        """Return the text that replaces `{name}`."""
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
        """Resolve a text of a table. Except in style 逐句, its choices stay open and are drawn at each use."""
        return self.in_turn(text) if self.plot.style == IN_TURN else self.named(text)

    def draw_rows(self, item: Rows) -> None:
        """Draw the rows and set their names. Rows with avoided words are used only if too few others are left."""
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
        """Return 1 to 3 paragraphs by length: two or three of the texts in any order, each after its word of order."""
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
    """Return the whole story, with a blank line between paragraphs. A short story has few of them."""
    found = Telling(plot, teller).paragraphs()
    if plot.style == BY_PARAGRAPH:
        found = joined(found, {"short": 6, "middle": 8, "long": 9}[teller.length])
    elif plot.style == WHOLE and teller.length == "short":
        found = joined(found, 6, first=1)
    return introduced("\n\n".join(found), teller)


def introduced(text: str, teller: Teller) -> str:
    """Return the story with the kind before the first mention of each name, unless it was told before: 刺猬米粒."""
    for one in (teller.hero, teller.friend, teller.other):
        before, name, after = text.partition(one.name)
        if name and one.kind not in before:
            text = before + one.full + after
    return text


def plots_in(folder: Path, known: Set[str]) -> list[Plot]:
    """Return the plots of a folder, in the order of the file names. `known` holds the names that every plot may use."""
    return [plot for file in sorted(folder.glob("*.txt")) if file.name != SHARED for plot in plots_of(file, known)]


PHRASES = {phrase.name: phrase for phrase in plots_of(FOLDER / SHARED, NAMED)}
PLOTS = plots_in(FOLDER, NAMED | set(PHRASES))
