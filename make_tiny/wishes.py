"""Wishes that ask for a story, with its characters and place. The texts are in `exchanges/7_wishes.txt`."""

from make_tiny.story import LENGTHS, Teller
from make_tiny.topics import ALL_TOPICS

WISH = next(topic for topic in ALL_TOPICS if topic.name == "wish")
PARTS = ("想要", "故事", "结尾", "编", "关于谁", "为了什么")
PLAIN_SHARE = 0.65  # of the wishes that name neither the hero nor a length


def parts(t: Teller, lesson: str) -> dict[str, str]:
    """Return the values of a wish's texts: its hero, its lesson, and a draw of each of its parts."""
    values = {"种类": t.hero.kind, "一只": t.hero.one, "名字": t.hero.name, "地点": t.place.name, "道理": lesson}
    for part in PARTS:
        values[part] = WISH.asked(t.chance, part, values)
    return values


def wish(t: Teller, lesson: str) -> str:
    """Return a wish for this story: most name the hero, many the lesson, some a place or a name."""
    values = parts(t, lesson)
    drawn = t.chance.random()
    if drawn < 0.45:
        way = "谁和道理"
    elif drawn < 0.65:
        way = "谁"
    elif drawn < 0.75:
        way = "有没有"
    elif drawn < 0.87:
        way, values["讲"] = "道理", WISH.asked(t.chance, "讲", values)
    else:
        way = "地点"
    asked = WISH.asked(t.chance, way, values)
    if t.is_named:
        return asked + "\n" + WISH.asked(t.chance, "名字", values)
    if t.chance.random() < PLAIN_SHARE:
        return asked
    return asked + "\n" + WISH.asked(t.chance, LENGTHS[t.length], values)
