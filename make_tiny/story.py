"""Stories out of a grammar: millions of different simple ones, each with the wish that asks for it.

world   who, where, when: drawn once for a story, so that all of its sentences agree
plot    a function that yields paragraphs; its sentences are drawn from several ways to say the same
wish    made from the same world: names the hero, the lesson, the place or a name, in many phrasings

plots live in `make_tiny/plots_*.py`; each is a generator marked with `@plot(lesson)`.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from make_tiny.lexicon import BEINGS, ELDERS, NAMES, PLACES, SEASONS, Being, Place

Plot = Callable[["Teller"], Iterator[str]]

_CHOICE = re.compile(r"\[(\??)([^\[\]]*)\]")


def woven(text: str, one: Callable[..., str], maybe: Callable[..., str]) -> str:
    """`[a|b|c]` becomes `one` of the three, `[?a|b]` `maybe` one of the two, from the inside out."""
    while "[" in text:
        text = _CHOICE.sub(lambda found: (maybe if found[1] else one)(*found[2].split("|")), text)
    return text


def joined(paragraphs: Sequence[str], most: int, first: int = 0) -> list[str]:
    """At most so many paragraphs: the shortest neighbours become one; the last stays, and those before `first`."""
    found = list(paragraphs)
    while len(found) > most:
        at = min(range(first, len(found) - 2), key=lambda i: len(found[i]) + len(found[i + 1]))
        found[at : at + 2] = [found[at] + found[at + 1]]
    return found


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
    def full(self) -> str:
        """刺猬米粒."""
        return f"{self.being.kind}{self.name}"


@dataclass
class Teller:
    """The random choices of one story. Called with several texts, it gives one of them.

    hero, friend, other: three Characters of different kinds and names; elder: 山羊爷爷; place: a Place;
    season 春天, day 春天的早晨, weather 太阳暖洋洋的 (a clause without punctuation at its end).
    """

    chance: random.Random
    length: str = "middle"  # "short", "middle" or "long": how much `maybe` and `pause` add
    hero: Character = field(init=False)
    friend: Character = field(init=False)
    other: Character = field(init=False)
    elder: str = field(init=False)
    place: Place = field(init=False)
    season: str = field(init=False)
    day: str = field(init=False)
    weather: str = field(init=False)

    def __post_init__(self) -> None:
        beings, names = self.chance.sample(BEINGS, 3), self.chance.sample(NAMES, 3)
        self.hero, self.friend, self.other = map(Character, beings, names)
        self.elder = self(*ELDERS)
        self.place = self.chance.choice(PLACES)
        self.season = self(*SEASONS)
        season = SEASONS[self.season]
        self.day, self.weather = self(*season.days), self(*season.weathers)

    def __call__(self, *texts: str) -> str:
        """One of the texts."""
        return self.chance.choice(texts)

    def maybe(self, *texts: str) -> str:
        """One of the texts or nothing: rarely in a short story, mostly in a long one."""
        share = {"short": 0.2, "middle": 0.5, "long": 0.85}[self.length]
        return self(*texts) if self.chance.random() < share else ""

    def weave(self, text: str) -> str:
        """`[a|b|c]` becomes one of the three, `[?a|b]` one of the two or nothing."""
        return woven(text, self, self.maybe)

    def number(self, least: int, most: int) -> int:
        return self.chance.randint(least, most)

    def say(self, who: str, words: str, how: str = "", verb: str = "说") -> str:
        """What somebody says, in one of the ways to write it. `words` end with their own 。！？ or ……

        `how` stands before the verb: 小声地, 笑着.
        """
        return self(
            f"{who}{how}{verb}：“{words}”",
            f"“{words}”{who}{how}{verb}。",
            f"{who}{how}{verb}：“{words}”",
        )

    def ask(self, who: str, words: str, how: str = "") -> str:
        return self.say(who, words, how, "问")

    def shout(self, who: str, words: str, how: str = "") -> str:
        return self.say(who, words, how, self("喊", "大声喊", "叫了起来", "嚷道"))

    def opening(self) -> str:
        """A first paragraph: when, where, who."""
        hero, place = self.hero, self.place
        name = self(f"名字叫{hero.name}", f"大家都叫{hero.ta}{hero.name}", f"{hero.ta}的名字叫{hero.name}")
        where = self(
            f"{place.name}住着{hero.one}，{name}。",
            f"从前，{place.name}住着{hero.one}，{name}。",
            f"很久以前，有{hero.one}，{name}，住在{hero.being.inside}。",
            f"{self.day}，{hero.full}来到{place.name}。",
            f"{hero.full}{hero.being.mark}。{hero.ta}最爱吃的东西是{hero.being.food}。",
            f"在{place.name}，谁都认识{hero.full}，因为{hero.ta}{hero.being.mark}。",
        )
        scene = self(
            f"{self.weather}，{place.seen}。", f"{place.seen}，{place.heard}。", f"{self.weather}，{place.smelt}。", ""
        )
        return where + scene

    def pause(self) -> str:
        """A paragraph between two scenes: the way, a meal, a night; empty in short stories."""
        hero, place = self.hero, self.place
        return self.maybe(
            f"路上，{place.heard}，{place.smelt}。{hero.name}{hero.being.gait}往前走，心里想着这件事。",
            f"天黑了，{hero.name}回到家里，躺在床上翻来覆去，怎么也睡不着。",
            f"中午，{hero.name}停下来歇了歇，听了一会儿风，又有了力气。",
            f"{self.weather}。{hero.name}抬起头看了看，又低下头接着想。",
            f"这天夜里，{hero.name}做了一个梦，梦见自己飞得很高很高，底下的屋子小得只有一点点。",
            f"{hero.name}一边走，一边哼着自己编的歌。歌只有一句，{hero.ta}唱了一遍又一遍。",
        )


PLOTS: list[tuple[str, Plot]] = []
"""(lesson, plot), filled as the modules of plots are imported."""


def plot(lesson: str) -> Callable[[Plot], Plot]:
    """Mark a generator of paragraphs as a plot about `lesson`."""

    def mark(function: Plot) -> Plot:
        PLOTS.append((lesson, function))
        return function

    return mark


def told(plot: Plot, teller: Teller) -> str:
    """The whole story, its paragraphs parted by a blank line."""
    return "\n\n".join(paragraph for paragraph in plot(teller) if paragraph)


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


@plot("分享")
def the_last_of_it(t: Teller) -> Iterator[str]:
    """An example of how a plot is written: hero has much, friend has nothing, sharing is more fun."""
    hero, friend = t.hero, t.friend
    much = t("一大篮", "满满一袋", "一小筐", "一盘子") + hero.being.food
    yield t.opening()
    yield (
        t(f"{hero.name}得到了{much}。", f"这一天，{hero.name}带回家{much}。", f"{t.elder}送给{hero.name}{much}。")
        + t(f"{hero.ta}高兴得转了三个圈。", f"{hero.ta}数了一遍，又数了一遍。", "香味飘了满屋子。")
        + t(f"“这些都是我的，谁也不给。”{hero.ta}心想。", f"{hero.ta}赶紧关上门，拉上窗帘。")
    )
    knock = t("咚，咚，咚。", "笃笃笃。", "门外传来轻轻的脚步声。")
    yield (
        f"{knock}{t('来的是', '门口站着', '外面是')}{friend.full}。"
        + t.say(friend.name, t("我走了很远的路，肚子好饿。", "我家里一点吃的也没有了。"), t("小声", "低着头", ""))
        + t.say(hero.name, t("我……我也没有吃的。", "你去别人家看看吧。"), t("红着脸", "隔着门", ""))
        + t(f"{friend.name}点点头，慢慢地走开了。", f"{friend.name}没有生气，转身走进了{t('风里', '雨里', '黑夜里')}。")
    )
    yield t.pause()
    yield (
        t(
            f"屋里静极了。{hero.name}吃了一口，不知怎么的，一点也不香。",
            f"{hero.name}一个人坐在桌前，吃着吃着就停了下来。",
        )
        + t(
            f"{hero.ta}想起去年冬天，{friend.name}把唯一的围巾借给了自己。",
            f"{hero.ta}想起{friend.name}走开时的背影，心里酸酸的。",
        )
    )
    yield (
        t(f"{hero.name}推开门就追了出去。", f"{hero.name}抱起篮子往外跑。")
        + t.shout(hero.name, f"{friend.name}，等等我！", "一边跑一边")
        + t(
            f"两个好朋友坐在{t('台阶上', '大树下', '窗前')}，你一口，我一口。",
            "他们把东西分成两份，一份大，一份小，谁都要小的那一份。",
        )
    )
    yield t(
        "真奇怪，分掉了一半，吃起来却比原来甜了一倍。",
        f"那天晚上，篮子空了，{hero.name}的心里却是满满的。",
        f"后来，{hero.name}家的门再也没有关紧过，谁来都能吃上一口。",
    )
