"""Who acts in a story, where and when; and the wish that asks for it.

Teller    the random choices of one story: drawn once, so that all of its sentences agree
wish      made from the same world: names the hero, the lesson, the place or a name, in many phrasings

The plots live in `make_tiny/plots`; `make_tiny/grammar.py` tells them.
"""

import random
from dataclasses import dataclass, field

from make_tiny.lexicon import BEINGS, ELDERS, NAMES, PLACES, SEASONS, Being, Place, Season

# How a plot names what belongs to a character: {主角} is the name, {主角的食物} the food; {它} is short for {主角的它}.
OF_CHARACTER = {
    "": "name",
    "的全名": "full",
    "的种类": "kind",
    "的一只": "one",
    "的它": "ta",
    "的家": "inside",
    "的食物": "food",
    "的步子": "gait",
    "的特点": "mark",
}
CHARACTERS = {"主角": "hero", "朋友": "friend", "伙伴": "other"}
LENGTHS = {"short": "短", "middle": "中", "long": "长"}
WORLD = frozenset(
    "它 长辈 篇幅 地点 地点的短名 地点的样子 地点的声音 地点的气味 季节 日子 天气 坏天气 坏天气的声音 坏天气的样子".split()
)
NAMED = WORLD | {one + what for one in CHARACTERS for what in OF_CHARACTER}
"""All names that every plot may use."""


@dataclass(frozen=True)
class Character:
    """One who acts in a story: a being with a name; `ta` is the pronoun, `one` is 一只刺猬."""

    being: Being
    name: str

    @property
    def ta(self) -> str:
        return self.being.pronoun

    @property
    def kind(self) -> str:
        return self.being.kind

    @property
    def one(self) -> str:
        return f"一{self.being.measure}{self.being.kind}"

    @property
    def inside(self) -> str:
        return self.being.inside

    @property
    def food(self) -> str:
        return self.being.food

    @property
    def gait(self) -> str:
        return self.being.gait

    @property
    def mark(self) -> str:
        return self.being.mark

    @property
    def full(self) -> str:
        """刺猬米粒."""
        return f"{self.being.kind}{self.name}"


@dataclass
class Teller:
    """The random choices of one story. Called with several texts, it gives one of them.

    hero, friend, other: three Characters of different kinds and names; elder: 山羊爷爷; place: a Place;
    season: a Season; day 春天的早晨, weather 太阳暖洋洋的 (a clause without punctuation at its end).
    """

    chance: random.Random
    length: str = "middle"  # "short", "middle" or "long": how much `maybe` adds
    hero: Character = field(init=False)
    friend: Character = field(init=False)
    other: Character = field(init=False)
    elder: str = field(init=False)
    place: Place = field(init=False)
    season: Season = field(init=False)
    day: str = field(init=False)
    weather: str = field(init=False)

    def __post_init__(self) -> None:
        beings, names = self.chance.sample(BEINGS, 3), self.chance.sample(NAMES, 3)
        self.hero, self.friend, self.other = map(Character, beings, names)
        self.elder = self(*ELDERS)
        self.place = self.chance.choice(PLACES)
        self.season = SEASONS[self(*SEASONS)]
        self.day, self.weather = self(*self.season.days), self(*self.season.weathers)

    def __call__(self, *texts: str) -> str:
        """One of the texts."""
        return self.chance.choice(texts)

    def maybe(self, *texts: str) -> str:
        """One of the texts or nothing: rarely in a short story, mostly in a long one."""
        share = {"short": 0.2, "middle": 0.5, "long": 0.85}[self.length]
        return self(*texts) if self.chance.random() < share else ""

    def named(self) -> dict[str, str]:
        """What each name of `NAMED` stands for in this story."""
        place, season = self.place, self.season
        found = {
            "它": self.hero.ta,
            "长辈": self.elder,
            "篇幅": LENGTHS[self.length],
            "地点": place.name,
            "地点的短名": place.bare,
            "地点的样子": place.seen,
            "地点的声音": place.heard,
            "地点的气味": place.smelt,
            "季节": season.name,
            "日子": self.day,
            "天气": self.weather,
            "坏天气": season.storm,
            "坏天气的声音": season.storm_sound,
            "坏天气的样子": season.storm_look,
        }
        for one, role in CHARACTERS.items():
            character = getattr(self, role)
            found |= {one + what: getattr(character, part) for what, part in OF_CHARACTER.items()}
        return found

    def say(self, who: str, words: str, verb: str = "说") -> str:
        """What somebody says, in one of the ways to write it. `words` end with their own 。！？ or ……

        `who` may hold how it is said: 米粒小声. One who shouts (喊) does so in one of several words.
        """
        if verb == "喊":
            verb = self("喊", "大声喊", "叫了起来", "嚷道")
        return self(f"{who}{verb}：“{words}”", f"“{words}”{who}{verb}。", f"{who}{verb}：“{words}”")


_WANT = "请写 写 请编 编 请讲 讲 给我讲 我想听 我想要 帮我写 请给我们讲 来".split()
_TALE = "童话 故事 小故事 童话故事 短故事 睡前故事 儿童故事".split()


def wish(t: Teller, lesson: str) -> str:
    """What somebody asked to get this story: most wishes name the hero, many the lesson, some a place or a name."""
    hero, want, tale = t.hero, t(*_WANT), t(*_TALE)
    end = t("。", "。", "", "吧。", "，谢谢。")
    about = t(
        f"{want}一个关于{hero.kind}的{tale}",
        f"{want}一个{hero.kind}的{tale}",
        f"{want}个{tale}，主角是{hero.one}",
        f"用{hero.kind}{t('编', '写', '讲')}一个{tale}",
        f"孩子喜欢{hero.kind}，{want}个{tale}",
        f"以{hero.kind}为主角，{want}一个{tale}",
    )
    why = t(
        f"，让孩子明白什么是{lesson}",
        f"，讲的是{lesson}",
        f"，主题是{lesson}",
        f"，让孩子懂得{lesson}",
        f"，想跟孩子说说{lesson}",
        f"，要讲到{lesson}",
    )
    kind = t.chance.random()
    if kind < 0.45:
        text = about + why + end
    elif kind < 0.65:
        text = about + end
    elif kind < 0.75:
        text = t(f"有没有{hero.kind}的{tale}？", f"能不能讲一个{hero.kind}的{tale}？", f"会讲{hero.kind}的{tale}吗？")
    elif kind < 0.87:
        text = f"{want}一个{t('关于', '讲', '说')}{lesson}的{tale}{end}"
    else:
        place = t.place.name
        text = f"{want}一个发生在{place}的{tale}，主角是{hero.kind}{end}"
    return text + _constraint(t)


def _constraint(t: Teller) -> str:
    """What a user puts into `input`: the hero's name or the length; mostly nothing."""
    if t.chance.random() < 0.65:
        return ""
    length = {
        "short": ("短一点。", "不要太长", "几句话就好。", "200字左右"),
        "middle": ("300字左右", "不长不短就好。", "三四百字"),
        "long": ("长一点。", "写得详细一些", "500字左右", "要长一些的"),
    }[t.length]
    return "\n" + t(f"主角叫{t.hero.name}。", f"主角的名字是{t.hero.name}", f"{t.hero.kind}叫{t.hero.name}", *length)
