"""Variety beyond the plots: stories with other words, and unrelated sentences in a row.

    swapped   replace some words with words of the same class, consistently: 花生 -> 钥匙 in the whole text
    medley    sentences from different stories and exchanges in one paragraph

A model that reads only the sentences of the plots memorizes them. With these it learns which words fit where.
"""

import random
import re
from collections.abc import Sequence

from make_tiny.tables import classes

_CLASS_OF = {word: words for words in classes("word_classes").values() for word in words}
_WORD = re.compile("|".join(sorted(map(re.escape, _CLASS_OF), key=len, reverse=True)))
_SENTENCE = re.compile(r"[^。！？…“”\n]*(?:“[^“”\n]*”)?[^。！？…“”\n]*[。！？…]+")


def mapping(chance: random.Random, share: float) -> dict[str, str]:
    """Return a random word of the same class for `share` of all words: {word: replacement}."""
    return {word: chance.choice(words) for word, words in _CLASS_OF.items() if chance.random() < share}


def swapped(text: str, words: dict[str, str]) -> str:
    """Return the text with its words replaced by this mapping."""
    return _WORD.sub(lambda found: words.get(found[0], found[0]), text)


def medley(chance: random.Random, texts: Sequence[str]) -> str:
    """Return a paragraph of 4 to 12 sentences from the texts, or all if there are fewer."""
    sentences = [sentence for text in texts for sentence in _SENTENCE.findall(text)]
    return "".join(chance.sample(sentences, min(len(sentences), chance.randint(4, 12))))
