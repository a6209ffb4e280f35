"""The characters, the place and the time of a story.

Character    a being with a name
Teller       the random choices of one story, drawn once, so that all its sentences agree

The plots are in `make_tiny/plots`; `make_tiny/grammar.py` turns them into stories.
"""

import random
from dataclasses import dataclass, field

from make_tiny.lexicon import BEINGS, ELDERS, GUESTS, NAMES, NAMES_OF, PLACES, SEASONS, Being, Place, Season

CHARACTERS = {"主角": "hero", "朋友": "friend", "伙伴": "other"}
LENGTHS = {"short": "短", "middle": "中", "long": "长"}
NAMED_SHARE = 0.1  # of the stories have a hero with any name, which the wish gives
GUEST_SHARE = 0.12  # of the stories have a hero whom the tables know by kind alone


@dataclass(frozen=True)
class Character:
    """A character of a story: a being with a name; `ta` is the pronoun, `one` is 一只刺猬."""

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
    def full(self) -> str:
        """Kind and name: 刺猬米粒."""
        return f"{self.being.kind}{self.name}"

    def named(self, role: str) -> dict[str, str]:
        """Return the values of {主角}, {主角的食物} and so on, if `role` is 主角."""
        being = self.being
        return {
            role: self.name,
            f"{role}的全名": self.full,
            f"{role}的种类": being.kind,
            f"{role}的一只": self.one,
            f"{role}的它": self.ta,
            f"{role}的家": being.inside,
            f"{role}的食物": being.food,
            f"{role}的步子": being.gait,
            f"{role}的特点": being.mark,
        }


@dataclass
class Teller:
    """The random choices of one story. A call with several texts returns one of them.

    hero, friend, other: three Characters of different kinds and names; elder: 山羊爷爷; place: a Place;
    season: a Season; day 春天的早晨, weather 太阳暖洋洋的 (a clause without punctuation at its end).
    """

    chance: random.Random
    length: str = "middle"  # "short", "middle" or "long": how much `maybe` adds
    is_named: bool = field(init=False)  # the wish gives the hero's name
    hero: Character = field(init=False)
    friend: Character = field(init=False)
    other: Character = field(init=False)
    elder: str = field(init=False)
    place: Place = field(init=False)
    season: Season = field(init=False)
    day: str = field(init=False)
    weather: str = field(init=False)

    def __post_init__(self) -> None:
        beings = self.chance.sample(BEINGS, 3)
        names = [self.chance.choice(NAMES_OF[role]) for role in CHARACTERS]
        self.is_named = self.chance.random() < NAMED_SHARE
        if self.is_named:
            names[0] = self.chance.choice([name for name in NAMES if name not in names])
        if self.chance.random() < GUEST_SHARE:
            beings[0] = self.chance.choice(GUESTS)
        self.hero, self.friend, self.other = map(Character, beings, names)
        self.elder = self(*ELDERS)
        self.place = self.chance.choice(PLACES)
        self.season = SEASONS[self(*SEASONS)]
        self.day, self.weather = self(*self.season.days), self(*self.season.weathers)

    def __call__(self, *texts: str) -> str:
        """Return one of the texts."""
        return self.chance.choice(texts)

    def maybe(self, *texts: str) -> str:
        """Return one of the texts or nothing: rarely a text in a short story, mostly one in a long story."""
        share = {"short": 0.2, "middle": 0.5, "long": 0.85}[self.length]
        return self(*texts) if self.chance.random() < share else ""

    def named(self) -> dict[str, str]:
        """Return the values of the names that every plot may use."""
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
        for name, role in CHARACTERS.items():
            found |= getattr(self, role).named(name)
        return found

    def say(self, who: str, words: str, verb: str = "说") -> str:
        """Return direct speech, in one of the ways to write it. `words` end with their own 。！？ or ……

        `who` may include the manner: 米粒小声. For 喊, one of several verbs is drawn.
        """
        if verb == "喊":
            verb = self("喊", "大声喊", "叫了起来", "嚷道")
        return self(f"{who}{verb}：“{words}”", f"“{words}”{who}{verb}。", f"{who}{verb}：“{words}”")


NAMED = frozenset(Teller(random.Random(0)).named())
"""Names that every plot may use."""
