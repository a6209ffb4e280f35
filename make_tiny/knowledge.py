"""Values and choice of texts for the topics of `exchanges/2_knowledge.txt`.

Each function marked @flow returns the turns of the topic with its name.
"""

import random

from make_tiny.characters import joined
from make_tiny.sums import count_of
from make_tiny.tables import classes, table
from make_tiny.topics import Topic, Turns, flow

LISTS = classes("lists")
TOOLS = table("tools")
MEASURES = tuple((word, things.split("/")) for word, things in table("measures"))
KINDS = tuple((kind, unit, things.split("/")) for kind, unit, things in table("kinds"))
APART = tuple((kind, things) for kind, _, things in KINDS if kind in LISTS["分得清的类别"])
SEASONS = tuple((name, wear.split("/"), see.split("/")) for name, wear, see in table("through_the_year"))


@flow
def fact(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    asked, answer, more = topic.asked(chance, "问", values), values["回答"], values["再说一句"]
    way = chance.random()
    if way < 0.12:
        return [(asked, answer), (topic.asked(chance, "再问", values), more)]
    return [(asked, answer + more if way < 0.6 else answer)]


@flow
def animal(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    values["类别"] += "类" if values["类别"] in ("鸟", "鱼") else ""
    voice = values["叫声"]
    return topic.pair(chance, values, "" if "声" in voice or "叫" in voice else "会叫")


@flow
def which_animal(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    values["类别"] += "类" if values["类别"] in ("鸟", "鱼") else ""
    return topic.pair(chance, values)


@flow
def plant(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    return topic.pair(chance, values, "常绿" if values["季节"] == "一年四季" else "落叶")


@flow
def food(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    return topic.pair(chance, values, "用的" if values["名字"] in "盐醋酱油姜" else "吃的")


@flow
def body(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    values["做什么"] = values["用处"].removeprefix("用来")
    if values["用处"][0] not in "看听闻说尝嚼拿走让保挡把呼消想撑":
        values["用处"] = "用来" + values["用处"]
    values["量词"] = values["有几个"][-1]
    return topic.pair(chance, values, "有数" if len(values["有几个"]) == 2 else "没有数")


@flow
def festival(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    meal = "自己" not in values["吃什么"]
    values["还吃"] = f"，还会吃{values['吃什么']}" if meal else ""
    return topic.pair(chance, values, "有吃的" if meal else "没有吃的")


@flow
def colour(chance: random.Random, topic: Topic) -> Turns:
    values = topic.row(chance)
    shade = values["颜色"]
    values["颜色"] = f"{'' if shade.startswith(('看', '多', '晴天', '秋天')) else '是'}{shade}的"
    return topic.pair(chance, values)


@flow
def opposite(chance: random.Random, topic: Topic) -> Turns:
    one, other = topic.row(chance).values()
    if chance.random() < 0.5:
        one, other = other, one
    return topic.pair(chance, {"词": one, "反义词": other})


@flow
def measure(chance: random.Random, topic: Topic) -> Turns:
    word, things = chance.choice(MEASURES)
    thing = chance.choice(things)
    some = [f"一{word}{each}" for each in chance.sample(things, min(len(things), 2))]
    return topic.pair(chance, {"量词": word, "东西": thing, "两样": joined(some)})


@flow
def three_of_a_kind(chance: random.Random, topic: Topic) -> Turns:
    kind, unit, things = chance.choice(KINDS)
    number = chance.randint(2, min(4, len(things)))
    some = chance.sample(things, number)
    if chance.random() < 0.3:
        kind, things = chance.choice(APART)
        thing = chance.choice(things)
        right = chance.random() < 0.5
        other = kind if right else chance.choice([each for each, _ in APART if each != kind])
        return topic.pair(chance, {"东西": thing, "类别": kind, "别类": other}, "是" if right else "不是")
    shown = {"几": count_of(number), "几样": joined(some), "几样顿号": "、".join(some)}
    return topic.pair(chance, {"类别": kind, "量词": unit, **shown}, "举例")


@flow
def odd_one_out(chance: random.Random, topic: Topic) -> Turns:
    (kind, things), (other_kind, others) = chance.sample(APART, 2)
    odd, some = chance.choice(others), chance.sample(things, 3)
    shown = [*some, odd]
    chance.shuffle(shown)
    return topic.pair(chance, {"类别": kind, "别类": other_kind, "那一样": odd, "四样": "、".join(shown)})


@flow
def sorting(chance: random.Random, topic: Topic) -> Turns:
    (kind, things), (other_kind, others) = chance.sample(APART, 2)
    some, rest = chance.sample(things, 2), chance.sample(others, 2)
    shown = [*some, *rest]
    chance.shuffle(shown)
    values = {"类别": kind, "别类": other_kind, "四样": "、".join(shown)}
    values["两样"] = "、".join(each for each in shown if each in some)
    values["别两样"] = "、".join(each for each in shown if each in rest)
    return topic.pair(chance, values)


@flow
def what_is_there(chance: random.Random, topic: Topic) -> Turns:
    place = chance.choice(LISTS["放东西的地方"])
    things = [name for name, _, _, where, _ in TOOLS if where == place]
    some = chance.sample(things, min(len(things), 3))
    return topic.pair(chance, {"哪里": place, "几样": joined(some)})


@flow
def season(chance: random.Random, topic: Topic) -> Turns:
    name, wear, see = chance.choice(SEASONS)
    worn, seen = chance.sample(wear, 2), chance.sample(see, 2)
    names = [each for each, *_ in SEASONS]
    after = names[(names.index(name) + 1) % 4]
    values = {"季节": name, "下一季": after, "穿的": joined(worn), "看的": joined(seen), "看的一样": seen[0]}
    return topic.pair(chance, values)
