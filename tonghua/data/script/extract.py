"""Extract rows from a script or novel without a model: pair a character's words with the words they answer.

    第三场                                    a scene break: no row crosses it
    宝玉：（推门）妹妹在家么？                a labelled line; the stage direction is removed
    黛玉：我当是谁。
    宝玉忙上前，笑道：“是我。”                a quote whose speaker is named by the words beside it
    “坐罢。”                                  a quote without a named speaker: unsure
        |
        |  rows_from_text(text, "黛玉")
        v
    Script(rows=(ScriptRow(line=3, instruction="妹妹在家么？", output="我当是谁。"),),
           unsure=(Unsure(line=5, text="坐罢。", why=...),),
           speakers={"宝玉": 2, "黛玉": 1})

A row holds only words of the text. Each quoted utterance and each labelled line is part of a row, belongs to
another speaker, or is in `unsure` with the reason: none is lost silently. If the grammar is ambiguous, the utterance
is unsure. Speakers are found by Chinese grammar, simplified or traditional; quotes in English prose are found but
go to `unsure`. Every step is linear in the length of the text.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...errors import DataError, UsageError
from ...text import Language, Text, shown
from .doubts import AFTER_DOUBT, FAR_CHARACTERS, FIRST, UNCLEAR, far_why
from .paragraphs import paragraphs_of
from .reader import ScriptReader
from .speakers import Cast, Utterance


@dataclass(frozen=True, slots=True)
class ScriptRow:
    """What was said to the character, and its answer; `line` (1-based) is where the answer starts."""

    line: int
    instruction: str
    output: str

    def as_json(self, system: str | None = None) -> dict[str, str]:
        """Return the row in Alpaca's columns; `system` only if it is given."""
        row = {"instruction": self.instruction, "output": self.output}
        return row if system is None else {"system": system, **row}


@dataclass(frozen=True, slots=True)
class Unsure:
    """Words that are in no row because something about them is uncertain; `line` (1-based) is where they start."""

    line: int
    text: str
    why: Text

    def as_json(self, language: Language) -> dict[str, int | str]:
        """Return the fields as JSON, the reason in `language`."""
        return {"line": self.line, "text": self.text, "why": self.why.to(language)}


@dataclass(frozen=True, slots=True)
class Script:
    """The rows of one speaker and the uncertain words, in the order of the text."""

    rows: tuple[ScriptRow, ...]
    unsure: tuple[Unsure, ...]
    speakers: Mapping[str, int]
    """Number of utterances of each named speaker, the most frequent first, used or not."""


def rows_from_text(text: str, speaker: str, aliases: Mapping[str, Sequence[str]] | None = None) -> Script:
    """Return the rows of `speaker`, the uncertain words, and the number of utterances of each speaker.

    An instruction is the last turn of another speaker in the same scene; consecutive lines of one speaker are one
    turn. `aliases` gives the other names of each person, as `parse_aliases` returns them. Raises UsageError if a
    name is invalid or belongs to two people, or DataError if `speaker` says nothing.
    """
    cast = Cast.of(speaker, aliases or {})
    paragraphs = list(paragraphs_of(text))
    cast.learn(paragraphs)
    reader = ScriptReader(cast)
    for number, paragraph in enumerate(paragraphs):
        reader.read(paragraph, paragraphs[number + 1] if number + 1 < len(paragraphs) else None)
    speakers = Counter(said.named for said in reader.said if said is not None and said.named is not None)
    common = dict(speakers.most_common())
    if cast.wished not in common and not any(said and said.speaker == cast.wished for said in reader.said):
        raise _not_found(cast.wished, common)
    rows, unsure = _paired(reader.said, cast.wished)
    return Script(tuple(rows), tuple(sorted(unsure, key=lambda doubt: doubt.line)), common)


def parse_aliases(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """`["黛玉=林妹妹,颦儿"]` -> `{"黛玉": ("林妹妹", "颦儿")}`. Raises UsageError if the form is wrong."""
    aliases: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, others = text.replace("＝", "=").partition("=")
        names = [other.strip() for other in re.split("[,，、]", others)]
        if not equals or not name.strip() or not all(names):
            raise UsageError(
                f"--alias {shown(text)} 看不懂；请写成 --alias 黛玉=林妹妹,颦儿",
                f"--alias {shown(text)} cannot be read; write it as --alias 黛玉=林妹妹,颦儿",
            )
        aliases[name.strip()] = (*aliases.get(name.strip(), ()), *names)
    return aliases


def _not_found(wished: str, speakers: Mapping[str, int]) -> DataError:
    if not speakers:
        return DataError(
            f"没有找到“{wished}”说的话，也没有找到别人的；台词要写成“角色：台词”，或者放在引号里并写明是谁说的",
            f"“{wished}” says nothing here, nor does anyone else; write lines as “name：words”, or in quotes "
            "with the speaker beside them",
        )
    shown = list(speakers.items())[:5]
    return DataError(
        f"没有找到“{wished}”说的话；说话最多的是{'、'.join(f'{name}（{count} 句）' for name, count in shown)}；"
        "请改 --speaker，或用 --alias 补上别名",
        f"“{wished}” says nothing here; most is said by {', '.join(f'{name} ({count})' for name, count in shown)}; "
        "change --speaker, or add other names with --alias",
    )


def _paired(utterances: Iterable[Utterance | None], wished: str) -> tuple[list[ScriptRow], list[Unsure]]:
    """Pair each turn of `wished` with the turn before it, or give the reason why not."""
    rows: list[ScriptRow] = []
    unsure: list[Unsure] = []
    before: list[Utterance] = []
    turn: list[Utterance] = []
    for said in (*utterances, None):
        if said is not None and said.speaker is None:
            unsure.append(Unsure(said.line, said.text, said.why or UNCLEAR))
            if not said.blocks:
                continue
        if (
            said
            and turn
            and said.speaker
            and said.speaker == turn[-1].speaker
            and _distance(turn, said) <= FAR_CHARACTERS
        ):
            turn.append(said)
            continue
        if turn and turn[0].speaker == wished:
            why = _why_not(before, turn)
            if why is None:
                rows.append(ScriptRow(turn[0].line, _joined(before), _joined(turn)))
            else:
                unsure.append(Unsure(turn[0].line, _joined(turn), why))
        before, turn = (turn, [said]) if said else ([], [])
    return rows, unsure


def _distance(turn: Sequence[Utterance], following: Utterance) -> int:
    return following.start - turn[-1].end


def _why_not(before: Sequence[Utterance], turn: Sequence[Utterance]) -> Text | None:
    """Return why it is uncertain what a turn answers, or None if it is certain."""
    if not before:
        return FIRST
    if before[-1].speaker is None:
        return AFTER_DOUBT
    distance = _distance(before, turn[0])
    return far_why(distance) if distance > FAR_CHARACTERS else None


def _joined(turn: Sequence[Utterance]) -> str:
    """Join the words of one turn: paragraphs by a line break; within a paragraph, ASCII by a space, else nothing."""
    text = turn[0].text
    for one, other in pairwise(turn):
        if one.paragraph != other.paragraph:
            text += "\n"
        elif one.text.isascii() and other.text.isascii():
            text += " "
        text += other.text
    return text
