"""Does a story of the plots' kind do what its wish asks? Four answers that can be read off the text.

    hero       it tells of the kind of being that the wish names
    one_name   the hero has one name from beginning to end, and nobody in it appears without being introduced
    lesson     both halves are told after a plot about the lesson that the wish names
    ended      its last sentence is whole, and its last paragraph is one that a plot ends with, but for a
               teller's last words after it

What the four cannot see: whether the words between fit together, and stories that no plot tells.

A plot is recognized by what its tellings share: every run of five characters, with names and kinds taken out.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from make_tiny.corpus import TELLERS
from make_tiny.grammar import PLOTS, told
from make_tiny.lexicon import BEINGS, GUESTS, NAMES
from make_tiny.story import Teller
from tonghua.data.sentences import ends_complete

TELLINGS = 60  # of each plot, to recognize it by
RUN_CHARACTERS = 5
LEAST_SHARE = 0.5  # of the runs of a half that must be its plot's, or its ending's

KINDS = sorted({being.kind for being in (*BEINGS, *GUESTS)}, key=len, reverse=True)
FRIENDS = [being.kind for being in BEINGS]
LESSONS = sorted({plot.lesson for plot in PLOTS}, key=len, reverse=True)
LAST_WORDS = frozenset(words for _, *ways in TELLERS for words in ways[-1].split("/"))
_NAMED = re.compile("|".join(sorted(map(re.escape, NAMES), key=len, reverse=True)))
_CALLED = re.compile("|".join(map(re.escape, [*NAMES, *KINDS])))


@dataclass(frozen=True, slots=True)
class Marks:
    """What a story does of what its wish asks. `lesson` is None if the wish names none."""

    hero: bool
    one_name: bool
    lesson: bool | None
    ended: bool


def examine(wish: str, story: str, stopped: bool) -> Marks:
    """Return the marks of a story; `stopped`: the model ended it by itself. The wish must name a kind of the tables."""
    paragraphs = [part for part in story.split("\n\n") if part.strip()]
    lesson, kind, plot = _first_in(wish, LESSONS), hero_of(wish), _plot_of(paragraphs)
    return Marks(
        hero=kind in story,
        one_name=has_one_name(story, kind, plot.least_mentions if plot else 0),
        lesson=None if lesson is None else plot is not None and lesson == plot.lesson,
        ended=stopped and ends_complete(story) and _has_ending(paragraphs),
    )


def hero_of(wish: str) -> str:
    """Return the kind that the wish names. Raises ValueError if it names none of the tables."""
    kind = _first_in(wish, KINDS)
    if kind is None:
        raise ValueError(f"the wish `{wish}` names no kind of make_tiny/data/beings.txt")
    return kind


def has_one_name(story: str, kind: str, least_mentions: int = 0) -> bool:
    """True if the hero is called by one name alone, also near the end, and every name is introduced by a kind.

    A name that appears first without a kind before it is a hero or a friend who changed names on the way. Another than
    the hero must be named `least_mentions` times: else the hero does what the friend should.
    """
    called = set(re.findall(f"{kind}({_NAMED.pattern})", story))
    called |= set(re.findall(f"一.{kind}[^。！？]{{0,20}}?叫(?:[它他她]|做)?({_NAMED.pattern})", story))
    if len(called) != 1:
        return False
    (hero,) = called
    names = dict.fromkeys(_NAMED.findall(story))
    introduced = all(any(one in story[: story.index(name)] for one in (kind, *FRIENDS)) for name in names)
    others = max((story.count(name) for name in names if name != hero), default=0)
    return introduced and others >= least_mentions and len(names) <= 3 and hero in story[len(story) // 2 :]


def _has_ending(paragraphs: Sequence[str]) -> bool:
    told = paragraphs[:-1] if paragraphs and paragraphs[-1] in LAST_WORDS else paragraphs
    return bool(told) and _share(told[-1:], _endings()) >= LEAST_SHARE


def _first_in(text: str, words: Sequence[str]) -> str | None:
    return next((word for word in words if word in text), None)


def _plot_of(paragraphs: Sequence[str]) -> "_Known | None":
    """Return the plot that tells both halves of the story, or None."""
    halves = paragraphs[: len(paragraphs) // 2], paragraphs[len(paragraphs) // 2 :]
    best = max(_plots(), key=lambda plot: _share(paragraphs, plot.runs))
    return best if all(half and _share(half, best.runs) >= LEAST_SHARE for half in halves) else None


def _share(paragraphs: Sequence[str], runs: frozenset[str]) -> float:
    """Return the share of the runs of these paragraphs that are in `runs`."""
    found = [run for paragraph in paragraphs for run in _runs(paragraph)]
    return sum(run in runs for run in found) / len(found) if found else 0.0


def _runs(text: str) -> list[str]:
    text = _CALLED.sub("", text)
    return [text[at : at + RUN_CHARACTERS] for at in range(len(text) - RUN_CHARACTERS + 1)]


@dataclass(frozen=True, slots=True)
class _Known:
    """What the tellings of a plot share."""

    lesson: str
    runs: frozenset[str]
    endings: frozenset[str]
    least_mentions: int  # of the name that is told most beside the hero's


@cache
def _plots() -> tuple[_Known, ...]:
    lengths = ("short", "middle", "long")
    found = []
    for plot in PLOTS:
        tellers = [Teller(random.Random(seed), lengths[seed % 3]) for seed in range(TELLINGS)]
        texts = [told(plot, teller) for teller in tellers]
        mentions = [
            max(text.count(teller.friend.name), text.count(teller.other.name))
            for teller, text in zip(tellers, texts, strict=True)
        ]
        runs = frozenset(run for text in texts for part in text.split("\n\n") for run in _runs(part))
        endings = frozenset(run for text in texts for run in _runs(text.split("\n\n")[-1]))
        found.append(_Known(plot.lesson, runs, endings, min(mentions)))
    return tuple(found)


@cache
def _endings() -> frozenset[str]:
    return frozenset().union(*(plot.endings for plot in _plots()))
