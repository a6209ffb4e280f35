"""Training text of `tiny`: an endless stream of conversations from the plots and the small talk, fixed by a seed.

a wish and its story, under the fairy-tale recipe's system prompt, another one, or none    seven tenths of the text
unrelated sentences from many texts                                                        one tenth
small talk, plain questions, copying, how-to; short, so most of the conversations          two tenths
"""

import random
from collections.abc import Iterator

from make_tiny.grammar import PLOTS, told
from make_tiny.scramble import mapping, medley, swapped
from make_tiny.story import Teller
from make_tiny.tables import words
from make_tiny.talk import exchange
from make_tiny.wishes import wish

Conversation = list[tuple[str, str]]
"""[(role, text), …]: an optional system message, then user and assistant in turn."""

STORY_SHARE, MEDLEY_SHARE = 0.25, 0.1  # of the conversations
PLAIN_SHARE, MOST_SWAPPED = 0.3, 0.5
STORY_SYSTEMS = words("story_systems")  # the first one is the fairy-tale recipe's
ANYTHING = words("anything")


def conversations(seed: int) -> Iterator[Conversation]:
    """Yield conversations without end; the same seed gives the same ones."""
    chance = random.Random(seed)
    while True:
        drawn = chance.random()
        if drawn < STORY_SHARE:
            yield varied(chance, story(chance))
        elif drawn < STORY_SHARE + MEDLEY_SHARE:
            yield anything(chance)
        else:
            yield exchange(chance)


def varied(chance: random.Random, talk: Conversation) -> Conversation:
    """Return the conversation, mostly with some words replaced, in the same way in wish and story."""
    if chance.random() < PLAIN_SHARE:
        return talk
    words = mapping(chance, chance.random() * MOST_SWAPPED)
    return [(role, text if role == "system" else swapped(text, words)) for role, text in talk]


def anything(chance: random.Random) -> Conversation:
    """Return a request for any sentences, answered with unrelated sentences."""
    texts = [varied(chance, story(chance))[-1][1] for _ in range(3)] + [exchange(chance)[-1][1] for _ in range(3)]
    return [("user", chance.choice(ANYTHING)), ("assistant", medley(chance, texts))]


def story(chance: random.Random) -> Conversation:
    """Return a wish and its story, with or without a system prompt."""
    plot = chance.choice(PLOTS)
    teller = Teller(chance, chance.choice(("short", "middle", "middle", "long", "long")))
    text = told(plot, teller)
    talk = [("user", wish(teller, plot.lesson)), ("assistant", text)]
    drawn = chance.random()
    system = STORY_SYSTEMS[0] if drawn < 0.45 else chance.choice(STORY_SYSTEMS[1:]) if drawn < 0.65 else None
    return talk if system is None else [("system", system), *talk]
