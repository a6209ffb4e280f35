"""All conversations that are not stories: small talk, plain questions and answers.

exchange    one conversation: [("system", …)?, ("user", …), ("assistant", …), …]

The texts of the topics are in `make_tiny/exchanges`, their words in `make_tiny/data`. This file holds topics about
everyday things and instructions; numbers are in sums.py, characters in characters.py, plain facts in knowledge.py.
Each function marked @flow returns the turns of the topic with its name.
"""

import random
from itertools import pairwise

from make_tiny import characters, knowledge, sums
from make_tiny.characters import joined
from make_tiny.grammar import spelt
from make_tiny.tables import Row, classes, table, words
from make_tiny.topics import TOPICS, Topic, Turns, ask, flow, say

__all__ = ["characters", "exchange", "knowledge", "sums"]

LISTS = classes("lists")
CHAT, SCENES, PERSONS, COMPARED = table("chat"), table("scenes"), table("persons"), table("compared")
SYSTEMS = words("systems")


@flow
def advice(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    _, *kind = values.values()
    asked = topic.asked(chance, "好事" if kind[0].endswith("！") else "难事", values)
    answer = kind if chance.random() < 0.6 else [kind[0], chance.choice(kind[1:])]
    return [(asked, "".join(answer))]


@flow
def card(chance: random.Random, topic: Topic) -> Turns:
    who, you = chance.choice(table("relatives"))
    day = chance.choice(LISTS["节日"])
    wish = topic.asked(chance, "祝福", {}).replace("您", you)
    dear = "" if who == "好朋友" else "亲爱的"
    return topic.pair(chance, {"谁": who, "日子": day, "祝福": wish, "亲爱的": dear})


@flow
def choose(chance: random.Random, topic: Topic) -> Turns:
    both, quality, which = chance.choice(COMPARED)
    if chance.random() < 0.6:
        one, other = both.split("和")
        rest = other if which == one else one
        values = {"两样": both, "比什么": quality, "哪个": which, "甲": one, "乙": other, "另一个": rest}
        return topic.pair(chance, values, "比")
    some = chance.choice(knowledge.KINDS)[2][:]
    chance.shuffle(some)
    some = some[: chance.randint(2, 3)]
    asked = topic.asked(chance, "选", {"几样": joined(some), "几样还是": joined(some, "还是")})
    return [(asked, topic.answered(chance, "选好了", {"一样": chance.choice(some)}))]


@flow
def put_in_order(chance: random.Random, topic: Topic) -> Turns:
    right = chance.choice(table("ordered"))[0].split("/")
    mixed = right[:]
    chance.shuffle(mixed)
    return topic.pair(chance, {"乱的词": chance.choice("，、").join(mixed), "整句": "".join(right)})


@flow
def yes_or_no(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    way = chance.random()
    asked = ask(chance, values["问题"])
    if way < 0.2:
        return [(asked, f"{values['是不是']}。"), *topic.pair(chance, values, "再问")]
    return [(asked + topic.asked(chance, "要理由", values), topic.answered(chance, "带理由", values))]


@flow
def rewrite(chance: random.Random, topic: Topic) -> Turns:
    if chance.random() < 0.5:
        rude, polite = chance.choice(table("polite"))
        return topic.pair(chance, {"不客气的话": rude, "客气的话": polite}, "客气")
    long, short = chance.choice(table("shorter"))
    return topic.pair(chance, {"长句": long, "短句": short}, "缩短")


@flow
def about_sentence(chance: random.Random, topic: Topic) -> Turns:
    who, when, where, does = (chance.choice(LISTS[part]) for part in ("谁", "什么时候", "在哪里", "做什么"))
    return topic.pair(chance, {"谁": who, "什么时候": when, "哪里": where, "做什么": does})


@flow
def make_line(chance: random.Random, topic: Topic) -> Turns:
    who, when = chance.choice(PERSONS)[1], chance.choice(LISTS["造句的时候"])
    where, does = chance.choice(table("doings"))
    return topic.pair(chance, {"谁": who, "什么时候": when, "哪里": where, "做什么": does})


@flow
def describe(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    _, *lines = values.values()
    asked = topic.asked(chance, "问", values)
    way = chance.random()
    if way < 0.15:
        return [(topic.asked(chance, "一句", values), chance.choice(lines[:2]))]
    if way < 0.27:
        return [(asked, lines[0]), (topic.asked(chance, "再说", values), "".join(lines[1:]))]
    if way < 0.45:
        return [(asked, lines[0] + lines[chance.choice((1, 2))])]
    return [(asked, "".join(lines))]


@flow
def how_to(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    steps = values["步骤"].removeprefix("先").split("/")
    asked = topic.asked(chance, "问", values)
    numbered = "\n".join(f"{place}. {step}。" for place, step in enumerate(steps, 1))
    begin, last = topic.asked(chance, "起头", values), topic.asked(chance, "结尾", values)
    middle = chance.sample(LISTS["接着的词"], len(steps) - 2)
    told = "。".join(word + step for word, step in zip([begin, *middle, last], steps, strict=True)) + "。"
    way = chance.random()
    if way < 0.12:
        place = chance.randrange(len(steps) - 1)
        return [(topic.asked(chance, "下一步", values | {"这一步": steps[place]}), f"接着{steps[place + 1]}。")]
    if way < 0.2:
        return [(topic.asked(chance, "第一步", values), f"第一步是{steps[0]}。")]
    if way < 0.28:
        place = chance.randrange(1, len(steps))
        number = spelt(place + 1)
        return [(asked, numbered), (f"第{number}步是什么？", f"第{number}步是{steps[place]}。")]
    return [(asked, numbered if way < 0.5 else told)]


def _scene(chance: random.Random) -> tuple[str, list[str]]:
    """Return the subject of a scene of everyday life, and its sentences."""
    kind, about, beats = chance.choice(SCENES)
    _, who, pronoun = chance.choice([person for person in PERSONS if person[0] == kind])
    filled = beats.replace("{谁}", who).replace("{他}", pronoun)
    lines = [say(chance, beat) for beat in filled.split("/")]
    return about, [line if line.endswith(("。", "！", "？", "”")) else line + "。" for line in lines]


@flow
def go_on(chance: random.Random, topic: Topic) -> Turns:
    about, lines = _scene(chance)
    way = chance.random()
    if way < 0.3:
        return [(topic.asked(chance, "题目", {"讲什么": about}), "".join(lines))]
    cut = chance.choice((1, 1, 2))
    asked = topic.asked(chance, "接着", {}) + "".join(lines[:cut])
    if way < 0.45:
        middle = cut + 1
        more = topic.asked(chance, "再接着", {})
        return [(asked, "".join(lines[cut:middle])), (more, "".join(lines[middle:]))]
    return [(asked, "".join(lines[cut:]))]


@flow
def next_sentence(chance: random.Random, topic: Topic) -> Turns:
    about, lines = _scene(chance)
    if chance.random() < 0.4:
        shown = [about, chance.choice([each[1] for each in SCENES if each[1] != about])]
        chance.shuffle(shown)
        values = {"这段话": "".join(lines[:3]) + "\n", "甲": shown[0], "乙": shown[1], "讲什么": about}
        return topic.pair(chance, values, "题目")
    one, other = chance.choice(list(pairwise(lines)))
    return [(topic.asked(chance, "下一句", {"一句": one}), other)]


def _draw(chance: random.Random) -> Turns:
    """Return the turns of one topic, drawn by weight."""
    return chance.choices(TOPICS, [topic.weight for topic in TOPICS])[0].turns(chance)


def _said(chance: random.Random, rows: list[Row] | tuple[Row, ...]) -> Turns:
    """Return one of these rows of small talk as a turn."""
    question, answer = chance.choice(rows)
    return [(say(chance, question), say(chance, answer))]


def exchange(chance: random.Random) -> list[tuple[str, str]]:
    """Return a conversation of one to three turns: [(role, text), …], half of them with a system message first."""
    turns: Turns = []
    way = chance.random()
    if way < 0.06:
        turns += _said(chance, CHAT[:5])
    turns += _draw(chance)
    if 0.06 <= way < 0.16:
        turns += _draw(chance)
    if 0.16 <= way < 0.2:
        turns += _said(chance, [row for row in CHAT if "谢谢你" in row[0] or "再见" in row[0]])
    talk = [("system", chance.choice(SYSTEMS))] if chance.random() < 0.5 else []
    for asked, answer in turns[:3]:
        talk += [("user", asked), ("assistant", answer)]
    return talk
