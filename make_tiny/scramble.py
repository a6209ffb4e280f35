"""Variety beyond the grammar: the same stories with other words in them, and sentences that were never neighbours.

    swapped   some words of a text become others of their class, the same one everywhere: 花生 -> 钥匙 throughout
    medley    sentences out of different stories and exchanges, one after another

A model that has only the grammar's own sentences before it learns them by heart; these make it learn which words can
stand where.
"""

import random
import re
from collections.abc import Sequence

from make_tiny.tables import classes

_CLASS_OF = {word: words for words in classes("word_classes").values() for word in words}
_WORD = re.compile("|".join(sorted(map(re.escape, _CLASS_OF), key=len, reverse=True)))
_SENTENCE = re.compile(r"[^。！？…“”\n]*(?:“[^“”\n]*”)?[^。！？…“”\n]*[。！？…]+")


def mapping(chance: random.Random, share: float) -> dict[str, str]:
    """For this share of all words another one of the same class."""
    return {word: chance.choice(words) for word, words in _CLASS_OF.items() if chance.random() < share}


def swapped(text: str, words: dict[str, str]) -> str:
    """The text with these words in place of its own."""
    return _WORD.sub(lambda found: words.get(found[0], found[0]), text)


def medley(chance: random.Random, texts: Sequence[str]) -> str:
    """A paragraph of 4 to 12 sentences drawn from the texts."""
    sentences = [sentence for text in texts for sentence in _SENTENCE.findall(text)]
    return "".join(chance.sample(sentences, min(len(sentences), chance.randint(4, 12))))
