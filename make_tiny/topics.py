"""Topics of the small talk, from the files in `make_tiny/exchanges`; README.md there explains their format.

Topic     a name, a weight, a table and groups of texts: what the user says, what the assistant answers
flow      marks the function that computes the values of a topic, or the order of its turns
say, ask  one of several texts, with its choices drawn; a question, with or without a polite phrase
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from make_tiny.grammar import woven
from make_tiny.plot_files import bracket_fault
from make_tiny.tables import columns, lines, table

Turns = list[tuple[str, str]]
Values = dict[str, str]
Flow = Callable[[random.Random, "Topic"], Turns]

FOLDER = Path(__file__).parent / "exchanges"
TITLE = re.compile(r"== (\w+) ([\d.]+)(?: (\w+))?")
TEXT = re.compile(r"(说|问|定说|答|定答|补)(?: (.*))?")
MORE_SHARE = 0.4  # share of answers that add the 补 of their group

FLOWS: dict[str, Flow] = {}


def flow(function: Flow) -> Flow:
    """Register a function for the topic with its name. A topic without a function draws a row of its table."""
    FLOWS[function.__name__] = function
    return function


def say(chance: random.Random, *texts: str) -> str:
    """Return one of the texts, with each `[甲|乙]` replaced by one of its alternatives."""

    def one(*choices: str) -> str:
        return chance.choice(choices)

    return woven(one(*texts), one, one)


def ask(chance: random.Random, question: str) -> str:
    """Return the question unchanged or in a polite form. Only a `question` that ends with ？ changes."""
    way = chance.random()
    if way < 0.6 or not question.endswith("？"):
        return question
    bare = question[:-1]
    if way < 0.75 or bare.endswith(("吗", "呢")) or "，" in bare or "？" in bare:
        return say(chance, "请问，", "问一下，", "我想问，", "你好，请问，", "") + question
    return say(
        chance,
        f"你知道{bare}吗？",
        f"我想知道{bare}。",
        f"请告诉我{bare}。",
        f"能告诉我{bare}吗？",
        f"请回答：{question}",
    )


@dataclass(frozen=True)
class Text:
    """A line of a group, such as 说 …; `kind` is its first word."""

    number: int
    kind: str
    text: str


@dataclass
class Group:
    """Lines up to a blank line: ways to ask the same, and ways to answer it. `share`: how often it is drawn, if set."""

    texts: list[Text]
    label: str = ""
    share: float = 0.0

    def of(self, kind: str) -> list[Text]:
        """Return the lines of this kind."""
        return [text for text in self.texts if text.kind == kind]


@dataclass
class Topic:
    """A topic, drawn in proportion to its weight; weight 0 is never drawn."""

    file: Path
    name: str
    weight: float
    table: str
    groups: list[Group]

    def turns(self, chance: random.Random) -> Turns:
        """Return the turns of the topic's own function, or a question and answer about a row of its table."""
        told = FLOWS.get(self.name)
        return told(chance, self) if told else self.pair(chance, self.row(chance))

    def row(self, chance: random.Random) -> Values:
        """Return a random row of the table: {column: text}."""
        return dict(zip(columns(self.table), chance.choice(table(self.table)), strict=True))

    def pair(self, chance: random.Random, values: Values, label: str = "") -> Turns:
        """Return a question and its answer, from a group with this label or without a label."""
        groups = [group for group in self.groups if not group.share and group.label in ("", label)]
        group = chance.choice(groups) if len(groups) > 1 else groups[0]
        rare = [group for group in self.groups if group.share]
        if rare and chance.random() < rare[0].share:
            group = rare[0]
        return [(self._asked(chance, group, values), self._answered(chance, group, values))]

    def asked(self, chance: random.Random, label: str, values: Values) -> str:
        """Return what the user says in the group with this label."""
        return self._asked(chance, self._labelled(label), values)

    def answered(self, chance: random.Random, label: str, values: Values) -> str:
        """Return what the assistant says in the group with this label."""
        return self._answered(chance, self._labelled(label), values)

    def _labelled(self, label: str) -> Group:
        return next(group for group in self.groups if group.label == label)

    def _asked(self, chance: random.Random, group: Group, values: Values) -> str:
        if fixed := group.of("定说"):
            return self._filled(fixed[0], values)
        said = say(chance, *[self._filled(text, values) for text in group.of("问") or group.of("说")])
        return ask(chance, said) if group.of("问") else said

    def _answered(self, chance: random.Random, group: Group, values: Values) -> str:
        if fixed := group.of("定答"):
            return self._filled(fixed[0], values)
        more = group.of("补")
        told = self._filled(more[0], values) if more and chance.random() < MORE_SHARE else ""
        return say(chance, *[self._filled(text, values) + told for text in group.of("答")])

    def _filled(self, text: Text, values: Values) -> str:
        """Return the text with each `{name}` replaced by its value. Raises ValueError for an unknown name."""

        def value(found: re.Match[str]) -> str:
            if found[1] not in values:
                known = "、".join(values)
                raise ValueError(f"{self.file}:{text.number}: the name `{found[1]}` is not known; write one of {known}")
            return values[found[1]]

        return re.sub(r"\{([^{}]*)\}", value, text.text)


def topics_of(file: Path) -> list[Topic]:
    """Return the topics of a file. Raises ValueError for a malformed line."""
    topics: list[Topic] = []
    last = 0
    for number, line in lines(file):
        place = f"{file}:{number}"
        title, said = TITLE.fullmatch(line), TEXT.fullmatch(line)
        if title:
            topics.append(Topic(file, title[1], float(title[2]), title[3] or "", []))
        elif not topics or not (said or line.startswith("@")):
            raise ValueError(f"{place}: `{line}` is no line of an exchange; begin it with 说, 问, 答, 补 or @")
        elif line.startswith("@"):
            label = line.removeprefix("@")
            share = float(label) if re.fullmatch(r"0\.\d+", label) else 0.0
            topics[-1].groups.append(Group([], "" if share else label, share))
        elif said:
            if fault := bracket_fault(line):
                raise ValueError(f"{place}: {fault}")
            if number > last + 1 or not topics[-1].groups:
                topics[-1].groups.append(Group([]))
            topics[-1].groups[-1].texts.append(Text(number, said[1], said[2] or ""))
        last = number
    return topics


ALL_TOPICS = [topic for file in sorted(FOLDER.glob("*.txt")) for topic in topics_of(file)]
TOPICS = [topic for topic in ALL_TOPICS if topic.weight]
