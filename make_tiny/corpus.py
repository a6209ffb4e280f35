"""Training text of `tiny`: an endless stream of conversations from the plots and the small talk, fixed by a seed.

a wish and its story, under the fairy-tale recipe's system prompt, another one, or none    five sixths of the text
    three of ten by a teller with a prompt of its own, who frames the story in its way
small talk, plain questions, copying, how-to; short, so most of the conversations          one sixth
"""

import random
from collections.abc import Iterator, Sequence

from make_tiny.grammar import PLOTS, told
from make_tiny.story import Teller
from make_tiny.tables import table, words
from make_tiny.talk import exchange
from make_tiny.wishes import wish

Conversation = list[tuple[str, str]]
"""[(role, text), …]: an optional system message, then user and assistant in turn."""

STORY_SHARE = 0.25  # of the conversations
FRAMED_SHARE, ASIDE_SHARE = 0.3, 0.7  # of the stories; of those that are framed, with an aside
TELLERS = table("tellers")
STORY_SYSTEMS = words("story_systems")  # the first one is the fairy-tale recipe's


def conversations(seed: int) -> Iterator[Conversation]:
    """Yield conversations without end; the same seed gives the same ones."""
    chance = random.Random(seed)
    while True:
        yield story(chance) if chance.random() < STORY_SHARE else exchange(chance)


def story(chance: random.Random) -> Conversation:
    """Return a wish and its story, with or without a system prompt."""
    plot = chance.choice(PLOTS)
    teller = Teller(chance, chance.choice(("short", "middle", "middle", "long")))
    text = told(plot, teller)
    asked = ("user", wish(teller, plot.lesson))
    if chance.random() < FRAMED_SHARE:
        prompt, *ways = chance.choice(TELLERS)
        return [("system", prompt), asked, ("assistant", framed(chance, text, teller, ways))]
    talk = [asked, ("assistant", text)]
    drawn = chance.random()
    system = STORY_SYSTEMS[0] if drawn < 0.35 else chance.choice(STORY_SYSTEMS[1:]) if drawn < 0.7 else None
    return talk if system is None else [("system", system), *talk]


def framed(chance: random.Random, text: str, teller: Teller, ways: Sequence[str]) -> str:
    """Return the story with what its teller says before it, mostly within it, and after it."""
    begins, aside, ends = [chance.choice(way.split("/")).replace("{主角}", teller.hero.full) for way in ways]
    story = text.split("\n\n")
    if chance.random() < ASIDE_SHARE:
        story.insert(chance.randint(1, len(story) - 1), aside)
    return "\n\n".join([begins, *story, ends])
