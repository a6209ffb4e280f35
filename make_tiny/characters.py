"""Values for the topics of `exchanges/4_characters.txt`: characters and words to copy, count and reverse.

Each function marked @flow returns the turns of the topic with its name.
"""

import random

from make_tiny.grammar import spelt
from make_tiny.sums import count_of
from make_tiny.tables import table, words
from make_tiny.topics import Topic, Turns, flow

WORDS = words("common_words")
SENTENCES = table("sentences")
# The 3,755 common characters: GB2312 level 1, rows 16 to 55 of the standard.
CHARACTERS = "".join(
    bytes([high, low]).decode("gb2312")
    for high in range(0xB0, 0xD8)
    for low in range(0xA1, 0xFF)
    if (high, low) <= (0xD7, 0xF9)
)


def joined(things: list[str], last: str = "和") -> str:
    """Join things as in 甲、乙和丙, with `last` before the last one."""
    return things[0] if len(things) == 1 else "、".join(things[:-1]) + last + things[-1]


def some_text(chance: random.Random, least: int = 2, most: int = 6) -> str:
    """Return common characters, mostly without meaning together, or a word from the tables."""
    word = chance.choice(WORDS)
    if chance.random() < 0.35 and least <= 2:
        return word
    return "".join(chance.choices(CHARACTERS, k=chance.randint(least, most)))


@flow
def copying(chance: random.Random, topic: Topic) -> Turns:
    return topic.pair(chance, {"字": some_text(chance)})


@flow
def copying_twice(chance: random.Random, topic: Topic) -> Turns:
    return topic.pair(chance, {"甲": some_text(chance, 1, 3), "乙": some_text(chance, 1, 3)})


@flow
def character_of(chance: random.Random, topic: Topic) -> Turns:
    text = some_text(chance, 2, 5)
    place = chance.randrange(len(text))
    values = {
        "词": text,
        "第几": spelt(place + 1),
        "那个字": text[place],
        "先第几": spelt(text.index(text[place]) + 1),
        "首字": text[0],
        "末字": text[-1],
        "几个": count_of(len(text)),
        "分开的字": "、".join(text),
    }
    return topic.pair(chance, values)


@flow
def backwards(chance: random.Random, topic: Topic) -> Turns:
    text = some_text(chance, 2, 3)
    return topic.pair(chance, {"字": text, "倒过来": text[::-1]})


@flow
def same_or_not(chance: random.Random, topic: Topic) -> Turns:
    one, other = some_text(chance, 2, 3), some_text(chance, 2, 3)
    if chance.random() < 0.4:
        other = one
    extra = chance.choice(CHARACTERS)
    values = {"甲": one, "乙": other, "字": extra, "有没有": "有" if extra in one else "没有"}
    return topic.pair(chance, values, "一样" if one == other else "不一样")


@flow
def make_words(chance: random.Random, topic: Topic) -> Turns:
    letter = chance.choice(chance.choice(WORDS))
    known = [word for word in WORDS if letter in word]
    chance.shuffle(known)
    number = min(len(known), chance.choice([1, 1, 2, 3]))
    told = known[:number]
    values = {"字": letter, "几": count_of(number), "几个词": joined(told), "几个词顿号": "、".join(told)}
    turns = topic.pair(chance, values, "几个" if number > 1 else "一个")
    if len(known) > number and chance.random() < 0.15:
        turns += topic.pair(chance, {"下一个词": known[number]}, "再来")
    return turns


@flow
def sentence(chance: random.Random, topic: Topic) -> Turns:
    word, one, other = chance.choice(SENTENCES)
    values = {"词": word}
    asked = topic.asked(chance, "问", values)
    if chance.random() < 0.2:
        return [(asked, one), (topic.asked(chance, "再问", values), other)]
    if chance.random() < 0.15:
        return [(topic.asked(chance, "两句", values), one + other)]
    return [(asked, chance.choice((one, other)))]


@flow
def find_word(chance: random.Random, topic: Topic) -> Turns:
    word, one, other = chance.choice(SENTENCES)
    line = chance.choice((one, other))
    wrong = chance.choice([each for each, *_ in SENTENCES if each != word and each not in line])
    shown = [word, wrong]
    chance.shuffle(shown)
    letters = sum("\u4e00" <= letter <= "\u9fff" for letter in line)
    words = {"词": word, "别的词": wrong, "甲": shown[0], "乙": shown[1]}
    return topic.pair(
        chance, {**words, "句子": line, "空了的句子": line.replace(word, "（　　）"), "几": spelt(letters)}
    )


@flow
def listing(chance: random.Random, topic: Topic) -> Turns:
    words = chance.sample(WORDS, chance.randint(3, 5))
    shown = chance.choice("，、　").join(words)
    place = chance.randrange(len(words))
    values = {
        "几个词": shown,
        "数字列表": "\n".join(f"{number}. {word}" for number, word in enumerate(words, 1)),
        "一行一个": "\n".join(words),
        "清单": "\n".join(f"- {word}" for word in words),
        "逗号连着": "，".join(words),
        "顿号连着": "、".join(words),
        "第几": spelt(place + 1),
        "那个词": words[place],
        "几": spelt(len(words)),
        "去掉以后": "、".join(words[:place] + words[place + 1 :]),
    }
    return topic.pair(chance, values)
