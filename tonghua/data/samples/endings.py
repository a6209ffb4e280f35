"""Split a conversation that is too long for training into several that fit, so that no ending is lost.

    question | answer*                              * = learned; an answer without * is context
        |
        |  split_conversation: cut at the end of a paragraph or sentence, into parts of similar length
        v
    question | p1*
    question | p1  | go on | p2*
    question | p2  | go on | p3*
    question | p3  | go on | p4*                    p4 ends as the author ended it

    q1 | a1* | q2 | a2* | q3 | a3* | q4 | a4*       several turns: windows of whole turns,
        v                                           with the previous turn as context if it fits
    q1 | a1* | q2 | a2*
    q2 | a2  | q3 | a3* | q4 | a4*

Every answer is learned exactly once. Only white space at a cut is lost.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from math import ceil
from typing import NamedTuple

from ...prompt.conversation import Conversation, Message
from ...text import Text
from ..sentences import CLOSERS, LIST_MARKER, ends_complete

GO_ON = Text("请接着讲。", "Please go on.")
"""The user message between two parts of an answer, in the language of the answer."""

Count = Callable[[Sequence[Message]], int]
"""Counts the tokens of a conversation rendered for training, whichever answers are learned."""

_PARAGRAPH, _SENTENCE, _STANZA, _LINE, _CLAUSE, _COLON, _SPACE = 0.0, 0.05, 0.2, 0.5, 2.0, 2.5, 4.0

_ENCLOSED = 1.0
"""Extra cost within a quotation or code; the costs above are by the kind of cut. A cut half a part away from the end
of an equal part costs 0.25: more than the step from a paragraph to a sentence, less than breaking a sentence."""

_ENCLOSURE = re.compile(
    r"""^[ ]{0,3}(?P<fence>```|~~~)[\s\S]*?(?:^[ ]{0,3}(?P=fence)[`~]*[ \t]*$|\Z)
    # So long at most: the mark that opens may be a slip, and no part could hold more anyway.
    | “[^”]{0,2000}” | 「[^」]{0,2000}」 | 『[^』]{0,2000}』 | （[^）]{0,2000}） | \([^()]{0,2000}\)
    | "[^"\n]{0,2000}" | `[^`\n]{0,2000}`""",
    re.VERBOSE | re.MULTILINE,
)

_MARK = re.compile(r"(?P<stop>[。！？｡．…!?.]+)|(?P<comma>[，、；：,;:]+)|\s+")

_STRAIGHT = "\"'"

_CLOSERS = "".join(set(CLOSERS) - set(_STRAIGHT))

# Only before white space: before a letter, a straight quote or an asterisk opens.
_CLOSING_MARKUP = re.compile(r"[\"'*_]+(?=\s|\Z)")

_VISIBLE = re.compile(r"\S")

_ABBREVIATION = re.compile(r"(?:^|[\s(\"“‘])(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Mt|vs|No|Fig|[A-Z])\.$")

_TAIL = 12
"""Characters before a point that are searched for an abbreviation or a list marker."""

_HAN = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")

_OTHER_WORD = re.compile("[\u3040-\u30ff\uac00-\ud7af]|[^\\W\\d_\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


class _BreakPlace(NamedTuple):
    """A possible cut: one part ends at `end`, the next begins at `start`; between them is only white space."""

    end: int
    start: int
    cost: float


def split_conversation(conversation: Conversation, count: Count, max_length: int) -> list[Conversation] | None:
    """Split a conversation into ones of at most `max_length` tokens that teach each answer exactly once.

    A conversation that fits is returned unchanged. Otherwise turns stay whole if they fit. An answer that does not
    fit after its question alone is cut: at the end of a paragraph, else of a sentence, else at a comma or a space,
    and within a quotation or code only if nothing else is near. All results start with the system message, if any.
    Answers with `learn=False` stay context, and a result without any learned answer is left out. A greeting before the
    first question stands before the first turn if there is room.

    Returns None if no split fits: a question is too long, or a text has no place to cut.

    `count` is called a few times for each turn and part. It must not decrease when words are added.
    """

    def fits(messages: Sequence[Message]) -> bool:
        return count(messages) <= max_length

    if fits(conversation.messages):
        return [conversation]
    head, greeting, turns = _turns(conversation.messages)
    rows: list[tuple[Message, ...]] = []
    at = 0
    while at < len(turns):
        before = _as_context(turns[at - 1]) if at else greeting
        window = next(filter(fits, [(*head, *before, *turns[at]), (*head, *turns[at])]), None)
        if window is None:
            parts = _split_turn((*head, *greeting, *turns[at]), count, max_length) if greeting and not at else None
            parts = _split_turn((*head, *turns[at]), count, max_length) if parts is None else parts
            if parts is None:
                return None
            rows += parts
            at += 1
            continue
        at += 1
        while at < len(turns) and fits((*window, *turns[at])):
            window = (*window, *turns[at])
            at += 1
        rows.append(window)
    return [Conversation(row, conversation.line) for row in map(_to_last_learned, rows) if row]


def _turns(messages: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[Message, ...], list[tuple[Message, ...]]]:
    """Return the system message, if any, the greeting, if any, and the turns: each a question and its answer."""
    system = int(messages[0].role == "system")
    start = system + (messages[system].role == "assistant")
    ends = [i + 1 for i, message in enumerate(messages) if message.role == "assistant" and i >= start]
    turns = [tuple(messages[a:b]) for a, b in pairwise([start, *ends])]
    return tuple(messages[:system]), tuple(messages[system:start]), turns


def _as_context(turn: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(replace(message, learn=False) if message.role == "assistant" else message for message in turn)


def _to_last_learned(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Drop the messages after the last learned answer, since they teach nothing."""
    learned = [i for i, message in enumerate(messages) if message.role == "assistant" and message.learn]
    return tuple(messages[: learned[-1] + 1]) if learned else ()


def _split_turn(turn: Sequence[Message], count: Count, max_length: int) -> list[tuple[Message, ...]] | None:
    """Return the rows of one answer in parts, [] if it is not learned, None if no cut makes them fit."""
    *lead, answer = turn
    if not answer.learn:
        return []
    empty, go_on = replace(answer, content=""), Message("user", _go_on(answer.content))
    room = max_length - count([*lead, empty, go_on, empty])
    places = _places(answer.content)
    if room < 2 or not places:
        return None
    weights = _weights(answer.content)
    ends = [weights[place.end] for place in places]
    # A row holds two parts: one as context, one to learn.
    parts = ceil(2 * (count(turn) - count([*lead, empty])) / room)
    counted: dict[tuple[int, ...], int] = {}
    failed = 0
    while True:
        parts = min(parts, weights[-1])
        chosen = _chosen(places, ends, weights[-1], parts)
        rows = list(_rows(lead, answer, go_on, _texts(answer.content, [places[i] for i in chosen])))
        cuts = [-1, *chosen, len(places)]
        pairs = rows[1:] or rows
        # Begin where the last try failed: else each try would count the whole text anew.
        begin = min(max(bisect_left(cuts, failed) - 1, 0), len(pairs) - 1)
        for at in (begin, *range(len(pairs))):
            around = tuple(cuts[at : at + 3])
            if around not in counted:
                counted[around] = count(pairs[at])
            if counted[around] > max_length:
                break
        else:
            return rows
        if all(after - before == 1 for before, after in pairwise(around)):
            return None
        failed = around[1]
        parts += max(1, parts // 8)


def _rows(
    lead: Sequence[Message], answer: Message, go_on: Message, texts: Sequence[str]
) -> Iterator[tuple[Message, ...]]:
    """Yield each part after the previous one. Only the last part is learned: some templates teach only the last.

    The reasoning goes with the first part, which begins the answer.
    """
    yield (*lead, replace(answer, content=texts[0]))
    later = replace(answer, reasoning="")
    for before, text in pairwise(texts):
        yield (*lead, replace(later, content=before, learn=False), go_on, replace(later, content=text))


def _texts(text: str, cuts: Sequence[_BreakPlace]) -> list[str]:
    starts = [0, *(cut.start for cut in cuts)]
    ends = [*(cut.end for cut in cuts), len(text)]
    return [text[start:end] for start, end in zip(starts, ends, strict=True)]


def _go_on(answer: str) -> str:
    """Choose the language with the larger count: Chinese characters, or other words; each kana or hangul is a word."""
    return GO_ON.zh if len(_HAN.findall(answer)) >= len(_OTHER_WORD.findall(answer)) else GO_ON.en


def _weights(text: str) -> list[int]:
    """Cumulative UTF-8 bytes, (len(text) + 1,): a token has about as many bytes in Chinese as in English."""
    sizes = (1 + (char > "\x7f") + (char > "\u07ff") + (char > "\uffff") for char in text)
    return list(accumulate(sizes, initial=0))


def _chosen(places: Sequence[_BreakPlace], ends: Sequence[int], total: int, parts: int) -> list[int]:
    """Return the index of the best place near each end of `parts` equal parts, if there is one.

    With `total` parts these are all places.
    """
    size = total / parts
    chosen = []
    goals: Sequence[int] = range(1, parts)
    if parts > 3 * len(ends):  # only a goal near a place can choose one
        goals = sorted({round(end / size) + step for end in ends for step in (-1, 0, 1)}.intersection(goals))
    for part in goals:
        goal = part * total / parts
        near = range(bisect_left(ends, goal - size / 2), bisect_left(ends, goal + size / 2))
        if near:
            chosen.append(min(near, key=lambda i: places[i].cost + ((ends[i] - goal) / size) ** 2))
    return chosen


def _places(text: str) -> list[_BreakPlace]:
    """Return all possible cuts in order, each with words before and after it."""
    enclosures = [match.span() for match in _ENCLOSURE.finditer(text)]
    opened = [start for start, _ in enclosures]
    closing = {end - 1: start for start, end in enclosures}
    first = len(text) - len(text.lstrip())
    found: dict[int, _BreakPlace] = {}
    for match in _MARK.finditer(text):
        end = match.start() if match.lastgroup is None else _with_closers(text, match.end(), closing)
        onward = _VISIBLE.search(text, end)
        if onward is None or end <= first or end in found or _belongs_before(text, end, onward.start()):
            continue
        gap_end = onward.start()
        cost = _cost(text, match, end, gap_end, closing.get(end - 1))
        if cost is None:
            continue
        around = bisect_left(opened, end) - 1
        enclosed = around >= 0 and end < enclosures[around][1]
        # The next part keeps the indent of its first line.
        start = text.rfind("\n", end, gap_end) + 1 or gap_end
        found[end] = _BreakPlace(end, start, cost + _ENCLOSED * enclosed)
    return sorted(found.values())


def _with_closers(text: str, end: int, closing: Container[int]) -> int:
    while end < len(text) and (text[end] in _CLOSERS or end in closing):
        end += 1
    markup = _CLOSING_MARKUP.match(text, end)
    return markup.end() if markup else end


def _belongs_before(text: str, end: int, gap_end: int) -> bool:
    """True if the next character belongs to the one before: accent, joiner, variation, skin tone, another mark."""
    char = text[gap_end]
    changes = unicodedata.category(char) in ("Mn", "Mc", "Me", "Cf") or "\U0001f3fb" <= char <= "\U0001f3ff"
    return changes or (end == gap_end and _MARK.match(char) is not None)


def _cost(text: str, match: re.Match[str], end: int, gap_end: int, opened: int | None) -> float | None:
    """Return the cost of a cut at `end`, or None if the mark ends nothing, as in 3.14. The text resumes at `gap_end`.

    `opened` is the start of the quotation that ends here, if any.
    """
    if "\n" in text[end:gap_end]:
        line = text[text.rfind("\n", 0, end) + 1 : end]
        if ends_complete(line.rstrip("*_")):
            return _PARAGRAPH
        introduces = line.lstrip().startswith("#") or line.endswith(("：", ":", "，", ","))
        return _STANZA if text.count("\n", end, gap_end) > 1 and not introduces else _LINE
    spaced = end < gap_end
    mark = match.group()
    if match["comma"]:
        kind = _COLON if mark[-1] in "：:" else _CLAUSE
        return kind if spaced or mark[-1] > "\x7f" else None
    if not match["stop"]:
        return _SPACE
    after = text[gap_end]
    if mark[-1] == ".":
        line = text[max(0, end - _TAIL) : end].rpartition("\n")[2].strip()
        if not spaced or after.islower() or LIST_MARKER.fullmatch(line) or _ABBREVIATION.search(line):
            return None
    elif mark[-1] in "!?" and not ((spaced and not after.islower()) or after > "\x7f"):
        return None
    # In “走吧！”他说 and 我……我不去 the sentence continues; in 他说：“走吧！”他走了 it does not.
    goes_on = opened is not None and after.isalpha() and not _is_introduced(text, opened)
    return _LINE if goes_on or set(mark) == {"…"} else _SENTENCE


def _is_introduced(text: str, opened: int) -> bool:
    return text[max(0, opened - 2) : opened].rstrip().endswith(("：", ":", "，", ","))
