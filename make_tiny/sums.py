"""Values for the topics of `exchanges/3_numbers.txt`: sums, counting, days, clocks, money.

Each function marked @flow returns the turns of the topic with its name.
"""

import random
from collections.abc import Callable

from make_tiny.grammar import spelt
from make_tiny.tables import classes, table
from make_tiny.topics import Topic, Turns, flow

WEEK = "一二三四五六日"
SEASON_OF_MONTH = "冬冬春春春夏夏夏秋秋秋冬"
COUNTED = table("counted")
SOLD = COUNTED[:9]
PERSONS = classes("lists")["算题的人"]


def count_of(number: int) -> str:
    """Return a number as it stands before a measure word: 2 is 两."""
    return "两" if number == 2 else spelt(number)


def numerals(chance: random.Random, written: Callable[[int], str] = spelt) -> Callable[[int], str]:
    """Draw how a conversation writes its numbers: `written` (十二) or str (12), one half each."""
    return written if chance.random() < 0.5 else str


@flow
def sum_of(chance: random.Random, topic: Topic) -> Turns:
    sign = chance.choice("加加减减乘")
    if sign == "乘":
        one = chance.randint(1, 9)
        other = chance.randint(1, 20 // one if one > 2 else 9)
        result = one * other
    elif sign == "加":
        one = chance.randint(0, 19)
        other = chance.randint(0 if one else 1, 20 - one)
        result = one + other
    else:
        one = chance.randint(1, 20)
        other = chance.randint(0, one)
        result = one - other
    show = numerals(chance)
    mark = sign if show is spelt else {"加": "+", "减": "-", "乘": "×"}[sign]
    shown = {"甲": show(one), "乙": show(other), "得数": show(result), "号": mark}
    return topic.pair(chance, {**shown, "算式": f"{show(one)}{sign}{show(other)}"})


@flow
def word_problem(chance: random.Random, topic: Topic) -> Turns:
    thing, unit = chance.choice(COUNTED)
    who, one = chance.choice(PERSONS), chance.randint(2, 12)
    more = chance.random() < 0.5
    other = chance.randint(1, 20 - one if more else one)
    result = one + other if more else one - other
    values = {"谁": who, "东西": thing, "量词": unit, "甲": count_of(one), "乙": count_of(other)}
    way, sign = ("多了", "加") if more else ("少了", "减")
    values["变化"] = topic.asked(chance, way, values)
    values["结尾"] = topic.asked(chance, way + "以后", values)
    values["算法"] = f"{spelt(one)}{sign}{spelt(other)}等于{spelt(result)}"
    values["剩下"] = f"{count_of(result)}{unit}{thing}"
    return topic.pair(chance, values, "有剩" if result else "没剩")


@flow
def compare_numbers(chance: random.Random, topic: Topic) -> Turns:
    show = numerals(chance)
    one, other = chance.sample(range(1, 51), 2)
    three = chance.sample(range(1, 40), 3)
    few, many = [show(each) for each in sorted(three)], [show(each) for each in sorted(three, reverse=True)]
    values = {
        "甲": show(one),
        "乙": show(other),
        "大数": show(max(one, other)),
        "小数": show(min(one, other)),
        "甲加一": show(one + 1),
        "甲加二": show(one + 2),
        "甲减一": show(one - 1),
        "三个数": "、".join(map(show, three)),
        "从小到大": "、".join(few),
        "从大到小": "、".join(many),
        "最大": many[0],
        "最小": few[0],
        "单双": "单" if one % 2 else "双",
        "甲的数字": str(one),
        "甲的汉字": spelt(one),
    }
    return topic.pair(chance, values)


@flow
def counting(chance: random.Random, topic: Topic) -> Turns:
    show = numerals(chance)
    start, number, step = chance.randint(1, 30), chance.randint(3, 6), chance.choice([1, 1, 1, 2])
    row = [show(start + step * place) for place in range(number)]
    values = {"首": row[0], "末": row[-1], "正数": "、".join(row), "倒数": "、".join(reversed(row))}
    if chance.random() < 0.3:
        return topic.pair(chance, values, "倒数" if step == 1 else "念")
    if step == 1 and chance.random() < 0.6:
        return topic.pair(chance, values, "正数")
    return topic.pair(chance, {**values, "前几个": "、".join(row[:3]), "下一个": show(start + step * 3)}, "接着")


@flow
def calendar(chance: random.Random, topic: Topic) -> Turns:
    place = chance.randrange(7)
    prefix = chance.choice(["星期", "周"])
    today, tomorrow, yesterday = (f"{prefix}{WEEK[(place + step) % 7]}" for step in (0, 1, -1))
    month = chance.randint(1, 11)
    days = {"今天": today, "明天": tomorrow, "昨天": yesterday, "要不要": "不用" if place > 4 else "要"}
    months = {"这个月": f"{spelt(month)}月", "下个月": f"{spelt(month + 1)}月"}
    return topic.pair(chance, {**days, **months, "季节": SEASON_OF_MONTH[month - 1] + "天"})


@flow
def clock(chance: random.Random, topic: Topic) -> Turns:
    hour, later = chance.randint(1, 12), chance.randint(1, 4)
    show = numerals(chance, count_of)
    past, long, short = chance.choice(
        [
            ("整", "12", f"指着{show(hour)}"),
            ("半", "6", f"在{show(hour)}和{show(hour % 12 + 1)}的中间"),
            ("一刻", "3", f"刚过{show(hour)}"),
        ]
    )
    hours = {"几点": show(hour), "几个": count_of(later), "后来几点": show((hour + later - 1) % 12 + 1)}
    return topic.pair(chance, {**hours, "多多少": past, "长针": long, "短针": short})


@flow
def money(chance: random.Random, topic: Topic) -> Turns:
    thing, unit = chance.choice(SOLD)
    show = numerals(chance, count_of)
    price = chance.randint(1, 9)
    number = chance.randint(2, max(2, 20 // price))
    paid = chance.choice([each for each in (5, 10, 20) if each > price])
    sums = {"单价": show(price), "总价": show(price * number), "付的钱": show(paid), "差价": show(paid - price)}
    return topic.pair(chance, {"东西": thing, "量词": unit, "几": count_of(number), **sums})
