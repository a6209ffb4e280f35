"""Everything that is not a story: small talk and plain questions and answers, as conversations.

    exchange    one conversation: [("system", …)?, ("user", …), ("assistant", …), …]
    a topic     a function from the random source to turns, pairs of what the user and what the assistant says;
                marked with `@topic(weight)`, it is drawn in proportion to its weight

The tables are in `tiny/facts.py`. In every text `[甲|乙]` stands for 甲 or 乙, drawn anew each time.
"""

import random
from collections.abc import Callable
from itertools import pairwise

from make_tiny.grammar import woven
from make_tiny.tables import Row, table, words

Turns = list[tuple[str, str]]
Topic = Callable[[random.Random], Turns]

ABOUT = table("about")
ADVICE = table("advice")
ANIMALS = table("animals")
BODY = table("body")
CHAT = table("chat")
COLOURS = table("colours")
COMPARED = table("compared")
FACTS = table("facts")
FESTIVALS = table("festivals")
FOODS = table("foods")
GLOSSARY = table("glossary")
HOW_TO = table("how_to")
JOBS = table("jobs")
KINDS = table("kinds")
MEASURES = table("measures")
OPPOSITES = table("opposites")
ORDERED = table("ordered")
PERSONS = table("persons")
PHRASES = table("phrases")
PLANTS = table("plants")
POLITE = table("polite")
SCENES = table("scenes")
SENTENCES = table("sentences")
SHORTER = table("shorter")
SYNONYMS = table("synonyms")
SYSTEMS = words("systems")
TOOLS = table("tools")
VEHICLES = table("vehicles")
WORDS = words("common_words")
YES_NO = table("yes_no")

# the 3,755 characters of GB2312's first level, the common ones
CHARACTERS = "".join(
    bytes([high, low]).decode("gb2312")
    for high in range(0xB0, 0xD8)
    for low in range(0xA1, 0xFF)
    if (high, low) <= (0xD7, 0xF9)
)
DIGITS = "零一二三四五六七八九"
WEEK = "一二三四五六日"
THINGS = tuple((word, things.split("/")) for word, things in MEASURES)
GROUPS = tuple((kind, things.split("/")) for kind, things in KINDS)
# kinds of which nothing is also of another kind here, so that the odd one out is certain
APART = tuple(
    group
    for group in GROUPS
    if group[0] in "水果 颜色 季节 天气 家具 衣服 交通工具 乐器 职业 家人 文具 运动 城市 电器 昆虫 身体部位".split()
)
KINSHIP = "爸爸 妈妈 爷爷 奶奶 哥哥 姐姐 老师 好朋友 同学 邻居 外婆 叔叔 医生 妹妹 弟弟".split()
COUNTED = "苹果 桃子 铅笔 糖 书 花 鸡蛋 杯子 橘子 气球 纸船 小猫 纸星星 贝壳 纽扣 本子".split()
COUNTING = {"书": "本", "铅笔": "支", "糖": "块", "花": "朵", "纸船": "只", "小猫": "只", "纸星星": "颗", "纽扣": "颗"}

_TOPICS: list[tuple[float, Topic]] = []


def topic(weight: float) -> Callable[[Topic], Topic]:
    """Mark a function as a topic that is drawn in proportion to `weight`."""

    def mark(function: Topic) -> Topic:
        _TOPICS.append((weight, function))
        return function

    return mark


def say(chance: random.Random, *texts: str) -> str:
    """One of the texts, with one alternative taken in each of its `[甲|乙]`."""

    def one(*choices: str) -> str:
        return chance.choice(choices)

    return woven(one(*texts), one, one)


def ask(chance: random.Random, question: str) -> str:
    """A question as it is or with a polite beginning; `question` ends with ？ and holds its own question word."""
    way = chance.random()
    if way < 0.6 or not question.endswith("？"):
        return question
    bare = question[:-1]
    if way < 0.75 or bare.endswith(("吗", "呢")) or "，" in bare or "？" in bare:
        return say(chance, "请问，", "问一下，", "我想问，", "你好，请问，", "") + question
    return say(
        chance,
        f"你知道{bare}吗？",
        f"我想知道{bare}。",
        f"请告诉我{bare}。",
        f"能告诉我{bare}吗？",
        f"请回答：{question}",
    )


def words_of(number: int) -> str:
    """A number from 0 to 99 in Chinese characters."""
    tens, ones = divmod(number, 10)
    if not tens:
        return DIGITS[ones]
    return (DIGITS[tens] if tens > 1 else "") + "十" + (DIGITS[ones] if ones else "")


def count_of(number: int) -> str:
    """A number before a measure word: two is 两."""
    return "两" if number == 2 else words_of(number)


def _numerals(chance: random.Random, written: Callable[[int], str] = words_of) -> Callable[[int], str]:
    """How a conversation shows its numbers: 12 or 十二."""
    return written if chance.random() < 0.5 else lambda number: str(number)


def joined(things: list[str], last: str = "和") -> str:
    """甲、乙和丙."""
    return things[0] if len(things) == 1 else "、".join(things[:-1]) + last + things[-1]


def some_characters(chance: random.Random, least: int = 2, most: int = 6) -> str:
    """Random common characters, mostly without sense together."""
    return "".join(chance.choices(CHARACTERS, k=chance.randint(least, most)))


def some_text(chance: random.Random, least: int = 2, most: int = 6) -> str:
    """Random characters or a word of the tables."""
    word = chance.choice(WORDS)
    return word if chance.random() < 0.35 and least <= 2 else some_characters(chance, least, most)


# --- small talk


@topic(8)
def small_talk(chance: random.Random) -> Turns:
    """Greetings, thanks, moods, weather, who are you."""
    question, answer = chance.choice(CHAT)
    return [(say(chance, question), say(chance, answer))]


@topic(5)
def advice(chance: random.Random) -> Turns:
    """An everyday situation and two or three kind sentences."""
    what, *kind = chance.choice(ADVICE)
    if kind[0].endswith("！"):
        asked = say(chance, f"我{what}[。|！|，真高兴！|，想告诉你。]")
    else:
        asked = say(
            chance,
            f"我{what}[，怎么办？|，该怎么办呢？|。|，请给我一点建议。|，你说怎么办？|，我该怎么做？]",
            f"[怎么办，|唉，|帮帮我，|请帮我出个主意：|有件事想问你，]我{what}。",
        )
    answer = kind if chance.random() < 0.6 else [kind[0], chance.choice(kind[1:])]
    return [(asked, "".join(answer))]


@topic(1.5)
def card(chance: random.Random) -> Turns:
    """A line of good wishes for somebody."""
    who = chance.choice(KINSHIP)
    day = chance.choice(["生日", "新年", "中秋节", "春节", "节日"])
    wish = say(
        chance,
        "[祝您|愿您]身体健康，[天天开心|万事如意|平平安安]。",
        "[谢谢您一直照顾我|谢谢您的关心]，[愿您每天都有笑容|祝您事事顺心]。",
        "[愿新的日子里有阳光，有花香|愿所有的好事都来到您身边]。",
    )
    if who in ("好朋友", "同学", "妹妹", "弟弟", "哥哥", "姐姐"):
        wish = wish.replace("您", "你")
    asked = say(chance, f"[请|帮我|]给{who}写一句{day}祝福。", f"{day}到了，我想对{who}说一句祝福的话。")
    return [(asked, f"{'' if who == '好朋友' else '亲爱的'}{who}，{day}快乐！{wish}")]


# --- knowledge


@topic(9)
def fact(chance: random.Random) -> Turns:
    """A question of the table; sometimes the second sentence is asked for."""
    question, answer, more = chance.choice(FACTS)
    asked = ask(chance, say(chance, question))
    way = chance.random()
    if way < 0.12:
        return [(asked, answer), (say(chance, "还有呢？", "再说一点。", "能再说一句吗？", "然后呢？"), more)]
    return [(asked, answer + more if way < 0.6 else answer)]


@topic(6)
def animal(chance: random.Random) -> Turns:
    """Where an animal lives, what it eats, its voice, its kind, what marks it."""
    name, measure, kind, home, food, voice, mark = chance.choice(ANIMALS)
    kind = kind + "类" if kind in ("鸟", "鱼") else kind
    has_voice = "声" not in voice and "叫" not in voice
    lives, eats = f"{name}[多半|一般|]生活在{home}。", f"{name}[主要|爱|常常]吃{food}。"
    marks, sounds = f"{name}{mark}。", f"{name}的叫声是“{voice}”。" if has_voice else f"{name}{mark}。"
    choices = [
        (f"{name}[住在哪里|生活在什么地方|在哪里能看到]？", lives, marks),
        (f"{name}[吃什么|喜欢吃什么|的食物是什么]？", eats, marks),
        (f"{name}有什么特点？", marks, eats),
        (f"{name}是什么样的动物？", f"{name}是{kind}，{mark}。", lives),
        (f"{name}属于哪一类动物？", f"{name}[是|属于]{kind}。", marks),
        (f"{name}的量词是什么？", f"可以说一{measure}{name}。", marks),
    ]
    if has_voice:
        choices.append((f"{name}[怎么叫|是怎么叫的|的叫声是什么]？", sounds, marks))
    question, answer, more = chance.choice(choices)
    if chance.random() < 0.2:
        asked = say(chance, f"[请|]介绍一下{name}。", f"说说{name}[|吧]。", f"[给我|]讲讲{name}[|的知识]。")
        return [
            (
                asked,
                say(chance, f"{name}是{kind}，{lives}{marks}{eats}", f"{marks}{lives}{eats}").replace(
                    "，" + name, "，"
                ),
            )
        ]
    return [(ask(chance, say(chance, question)), say(chance, answer + (more if chance.random() < 0.4 else "")))]


@topic(1.5)
def which_animal(chance: random.Random) -> Turns:
    """A riddle: the animal is told by its marks."""
    name, _, kind, home, food, _, mark = chance.choice(ANIMALS)
    kind = kind + "类" if kind in ("鸟", "鱼") else kind
    asked = say(
        chance,
        f"[猜一猜：|猜猜看，|]它{mark}，[爱吃{food}|生活在{home}]。它是什么动物？",
        f"什么动物{mark}？",
    )
    return [(asked, say(chance, f"是{name}。", f"[应该是|我猜是|答案是]{name}。", f"它是{name}，属于{kind}。"))]


@topic(3.5)
def plant(chance: random.Random) -> Turns:
    """When a plant blooms, where it grows, what it looks like."""
    name, measure, place, season, happens, look = chance.choice(PLANTS)
    happens_then = f"{name}{season}{happens}。" if "一年四季" not in season else f"{name}一年四季都是绿的。"
    grows, looks = f"{name}[多半|常常|]长在{place}。", f"{name}{look}。"
    question, answer, more = chance.choice(
        [
            (f"{name}[什么时候|在哪个季节]{happens}？", happens_then, looks)
            if "一年四季" not in season
            else (f"{name}冬天绿不绿？", f"绿的，{happens_then}", looks),
            (f"{name}[长在哪里|一般长在什么地方]？", grows, looks),
            (f"{name}是什么样子[的|]？", looks, happens_then),
            (f"{name}有什么特点？", looks, grows),
            (f"{name}的量词是什么？", f"可以说一{measure}{name}。", looks),
        ]
    )
    if chance.random() < 0.25:
        asked = say(chance, f"[请|]介绍一下{name}。", f"说说{name}[|吧]。", f"你了解{name}吗？")
        return [
            (asked, say(chance, f"{grows}{happens_then}{looks}", f"{looks}{happens_then}", f"{happens_then}{looks}"))
        ]
    return [(ask(chance, say(chance, question)), say(chance, answer + (more if chance.random() < 0.4 else "")))]


@topic(3.5)
def food(chance: random.Random) -> Turns:
    """The colour and taste of a food, what it is, how it is eaten."""
    name, measure, colour, taste, origin, way = chance.choice(FOODS)
    what = f"{name}是{origin}。"
    question, answer = chance.choice(
        [
            (f"{name}是什么颜色的？", f"{name}是{colour}[|的]。"),
            (
                f"{name}[是什么味道|吃起来怎么样|味道怎么样]？",
                f"{name}[的味道是|吃起来|尝起来]{taste}。".replace("是又", "又"),
            ),
            (
                f"{name}[怎么吃|可以怎么吃]？".replace("吃", "用")
                if name in "盐醋酱油姜"
                else f"{name}[怎么吃|有什么吃法]？",
                f"{way}。",
            ),
            (f"{name}是什么？", what + f"[它的颜色是{colour}。|吃起来{taste}。|]"),
            (f"{name}的量词是什么？", f"可以说一{measure}{name}。"),
            (f"一个字填空：一（ ）{name}。".replace(" ", "　"), f"一{measure}{name}。"),
        ]
    )
    if chance.random() < 0.25:
        asked = say(chance, f"[请|]介绍一下{name}。", f"说说{name}。", f"你能描述一下{name}吗？")
        return [(asked, say(chance, f"{what}颜色是{colour}，吃起来{taste}。{way}。", f"{what}{way}，吃起来{taste}。"))]
    return [(ask(chance, say(chance, question)), say(chance, answer))]


@topic(3.5)
def tool(chance: random.Random) -> Turns:
    """What a thing is for, where it is found, what it is made of; which thing serves a purpose."""
    name, measure, use, place, material = chance.choice(TOOLS)
    question, answer = chance.choice(
        [
            (f"{name}[是干什么用的|有什么用|可以用来做什么]？", f"{name}[可以用来{use}|是用来{use}的|能{use}]。"),
            (f"{name}[一般放在哪里|放在哪儿]？", f"{name}[一般|多半|常常]在{place}。[它可以用来{use}。|]"),
            (f"{name}是用什么做的？", f"{name}[多半|一般|大多]是用{material}做的。"),
            (f"{use}要用什么[|东西]？", f"{use}[可以|要]用{name}。"),
            (f"什么东西可以用来{use}？", f"{name}可以用来{use}。"),
            (f"{name}的量词是什么？", f"可以说一{measure}{name}。"),
            (f"{name}是什么？", f"{name}是[用来{use}的东西|用{material}做的东西，可以用来{use}]。"),
        ]
    )
    return [(ask(chance, say(chance, question)), say(chance, answer))]


@topic(3)
def job(chance: random.Random) -> Turns:
    """What somebody of a profession does, where, and who does a thing."""
    name, place, work, need = chance.choice(JOBS)
    question, answer = chance.choice(
        [
            (f"{name}[是做什么的|的工作是什么|每天做些什么]？", f"{name}的工作是{work}。[做{name}要有{need}。|]"),
            (f"{name}在哪里工作？", f"{name}[一般|多半|]在{place}工作。"),
            (f"谁[来|的工作是]{work}？", f"{name}[。|，{name}一般在{place}工作。]"),
            (f"做{name}需要什么？", f"做{name}需要{need}。[因为{name}要{work}。|]"),
            (f"[请|]介绍一下{name}[这个职业|的工作]。", f"{name}在{place}工作，{work}。这个工作需要{need}。"),
            (
                f"我长大想当{name}。",
                f"[真好|很好的愿望]，{name}{work}，[很了不起|很有意义]。要有{need}，[从现在开始努力吧|一步一步来]。",
            ),
        ]
    )
    return [(ask(chance, say(chance, question)), say(chance, answer))]


@topic(2)
def vehicle(chance: random.Random) -> Turns:
    """Where a vehicle goes and what for."""
    name, measure, place, use, mark = chance.choice(VEHICLES)
    question, answer = chance.choice(
        [
            (f"{name}在哪里[走|行驶]？", f"{name}在{place}行驶。"),
            (f"{name}有什么用？", f"{name}可以{use}。"),
            (f"{name}有什么特点？", f"{name}{mark}。"),
            (f"{name}的量词是什么？", f"可以说一{measure}{name}。"),
            (f"[请|]介绍一下{name}。", f"{name}在{place}行驶，可以{use}。它{mark}。"),
        ]
    )
    return [(ask(chance, say(chance, question)), say(chance, answer))]


@topic(2)
def body(chance: random.Random) -> Turns:
    """What a part of the body is for and how many there are."""
    part, use, number = chance.choice(BODY)
    if use[0] not in "看听闻说尝嚼拿走让保挡把呼消想撑":
        use = f"用来{use}"
    question, answer = chance.choice(
        [
            (f"{part}[有什么用|是做什么用的]？", f"{part}可以{use}。"),
            (f"{use.removeprefix('用来')}靠[什么|身体的哪个部分]？", f"[{use.removeprefix('用来')}|]靠{part}。"),
            (f"人有几{number[-1]}{part}？", f"人有{number}{part}。")
            if len(number) == 2
            else (f"{part}可以做什么？", f"{part}可以{use}。"),
            (f"[请|]说说{part}。", f"人的{part}可以{use}。[要好好爱护{part}。|它对我们很重要。]"),
        ]
    )
    return [(ask(chance, say(chance, question)), say(chance, answer))]


@topic(2.5)
def festival(chance: random.Random) -> Turns:
    """The date of a festival, what people do and eat."""
    name, date, doing, eating = chance.choice(FESTIVALS)
    meal = "" if "自己" in eating else f"，还会吃{eating}"
    question, answer = chance.choice(
        [
            (f"{name}[是哪一天|在什么时候|是几月几日]？", f"{name}[是|在]{date}。"),
            (f"{name}[人们做什么|有什么习俗|要做些什么]？", f"{name}人们[会|常常]{doing}。"),
            (f"{name}吃什么？", f"{name}[人们吃|可以吃|常吃]{eating}。")
            if meal
            else (f"{date}是什么日子？", f"{date}是{name}。"),
            (f"{date}是什么节日？", f"{date}是{name}。[这一天人们{doing}。|]"),
            (f"[请|]介绍一下{name}。", f"{name}[是|在]{date}。这一天，人们{doing}{meal}。"),
            (f"什么节日吃{eating}？", f"{name}吃{eating}。") if meal else (f"{name}是哪天？", f"{name}是{date}。"),
        ]
    )
    return [(ask(chance, say(chance, question)), say(chance, answer))]


@topic(1.5)
def colour(chance: random.Random) -> Turns:
    """What colour a thing is."""
    thing, shade = chance.choice(COLOURS)
    shade = f"{'' if shade.startswith(('看', '多')) else '是'}{shade}的".replace("是晴天是", "晴天是").replace(
        "是秋天是", "秋天是"
    )
    asked = say(chance, f"{thing}是什么颜色[|的]？", f"{thing}的颜色是什么？")
    return [(ask(chance, asked), f"{thing}{shade}。")]


@topic(3)
def opposite(chance: random.Random) -> Turns:
    """The opposite of a word."""
    one, other = chance.choice(OPPOSITES)
    if chance.random() < 0.5:
        one, other = other, one
    asked = say(
        chance,
        f"[“{one}”的反义词是什么？|{one}的反义词|和“{one}”意思相反的词是什么？|请说出“{one}”的反义词。|“{one}”反过来怎么说？]",
    )
    return [
        (asked, say(chance, f"[“{one}”的反义词是“{other}”。|{other}。|是“{other}”。|“{one}”和“{other}”意思相反。]"))
    ]


@topic(1.5)
def synonym(chance: random.Random) -> Turns:
    """A word of the same meaning."""
    one, other = chance.choice(SYNONYMS)
    asked = say(
        chance, f"[“{one}”的近义词是什么？|和“{one}”意思差不多的词是什么？|“{one}”还可以怎么说？|“{one}”是什么意思？]"
    )
    return [(asked, say(chance, f"[“{one}”和“{other}”意思差不多。|“{one}”的近义词是“{other}”。|可以说“{other}”。]"))]


@topic(2)
def measure(chance: random.Random) -> Turns:
    """The measure word of a thing."""
    word, things = chance.choice(THINGS)
    thing = chance.choice(things)
    asked, answer = chance.choice(
        [
            (
                f"[{thing}用什么量词？|数{thing}的时候用什么量词？|一什么{thing}？]",
                f"[可以说一{word}{thing}。|用“{word}”，一{word}{thing}。]",
            ),
            (f"[填空：|请填上量词：]一（　　）{thing}", f"一{word}{thing}[|。]"),
            (
                f"“{word}”[可以用来数什么|这个量词怎么用]？",
                f"可以说{joined([f'一{word}{each}' for each in chance.sample(things, min(len(things), 2))])}。",
            ),
        ]
    )
    return [(say(chance, asked), say(chance, answer))]


@topic(3)
def three_of_a_kind(chance: random.Random) -> Turns:
    """Some things of a kind, or to which kind a thing belongs."""
    kind, things = chance.choice(GROUPS)
    number = chance.randint(2, min(4, len(things)))
    some = chance.sample(things, number)
    unit = {"城市": "个", "家人": "个", "房间": "个", "季节": "个", "方向": "个", "河流": "条"}.get(kind, "种")
    if chance.random() < 0.3:
        kind, things = chance.choice(APART)
        thing = chance.choice(things)
        right = chance.random() < 0.5
        other = kind if right else chance.choice([each for each, _ in APART if each != kind])
        asked = say(chance, f"{thing}是{other}吗？", f"{thing}是不是{other}？")
        return [(asked, say(chance, f"是的，{thing}是{kind}。") if right else f"不是，{thing}是{kind}，不是{other}。")]
    asked = say(
        chance,
        f"[请|]说出{count_of(number)}{unit}{kind}。",
        f"[请|]举出{count_of(number)}个{kind}的例子。",
        f"{kind}有哪些？说{count_of(number)}{unit}就好。",
    )
    return [(asked, say(chance, f"{joined(some)}。", f"[比如|有]{joined(some)}。", "、".join(some) + "。"))]


@topic(2)
def odd_one_out(chance: random.Random) -> Turns:
    """Which of four words does not belong to the others."""
    (kind, things), (other_kind, others) = chance.sample(APART, 2)
    odd, some = chance.choice(others), chance.sample(things, 3)
    shown = [*some, odd]
    chance.shuffle(shown)
    asked = say(
        chance,
        f"[哪一个和别的不一样|哪个不是一类|找出不同类的词]：{'、'.join(shown)}",
        f"{'、'.join(shown)}，哪个不是{kind}？",
    )
    return [(asked, say(chance, f"{odd}[不是{kind}。|和别的不一样，它是{other_kind}，别的是{kind}。|。]"))]


@topic(1.5)
def sorting(chance: random.Random) -> Turns:
    """Put mixed words into two groups."""
    (kind, things), (other_kind, others) = chance.sample(APART, 2)
    some, rest = chance.sample(things, 2), chance.sample(others, 2)
    shown = [*some, *rest]
    chance.shuffle(shown)
    some, rest = [each for each in shown if each in some], [each for each in shown if each in rest]
    asked = say(
        chance, f"[请|]把这些词分成{kind}和{other_kind}：{'、'.join(shown)}", f"给下面的词分类：{'、'.join(shown)}"
    )
    return [(asked, f"{kind}：{'、'.join(some)}；{other_kind}：{'、'.join(rest)}。")]


@topic(5)
def meaning(chance: random.Random) -> Turns:
    """What a word means, or the word for a meaning."""
    word, means = chance.choice(GLOSSARY)
    if chance.random() < 0.3:
        asked = say(chance, f"{means}，[叫什么|用一个词怎么说]？", f"什么词的意思是“{means}”？")
        return [(asked, say(chance, f"[叫|是|]“{word}”。", f"“{word}”的意思就是{means}。"))]
    asked = say(chance, f"[什么是{word}|{word}是什么|“{word}”是什么意思|{word}是什么意思|“{word}”这个词怎么解释]？")
    return [
        (
            ask(chance, asked),
            say(chance, f"{word}[是|的意思是|就是]{means}。", f"“{word}”的意思是{means}。", f"{means}。"),
        )
    ]


@topic(2)
def what_is_there(chance: random.Random) -> Turns:
    """What is found in a place."""
    place = chance.choice(["厨房里", "书桌上", "抽屉里", "铅笔盒里", "茶桌上", "碗柜里", "门后面"])
    things = [name for name, _, _, where, _ in TOOLS if where == place]
    some = chance.sample(things, min(len(things), 3))
    asked = say(chance, f"{place}[有什么|有些什么|可以看到什么|一般放什么]？", f"[请|]说说{place}的东西。")
    return [(ask(chance, asked), say(chance, f"{place}[有|可以看到|常放着]{joined(some)}。"))]


# --- numbers


@topic(5)
def sum_of(chance: random.Random) -> Turns:
    """Adding, taking away and multiplying with results up to 20."""
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
    show = _numerals(chance)
    mark = sign if show is words_of else {"加": "+", "减": "-", "乘": "×"}[sign]
    plain = f"{show(one)}{sign}{show(other)}"
    asked = say(
        chance, f"{plain}[等于几|是多少|等于多少]？", f"{show(one)}{mark}{show(other)}=？", f"算一算：{plain}。"
    )
    return [
        (asked, say(chance, f"{plain}等于{show(result)}。", f"[等于|答案是|是]{show(result)}。", f"{show(result)}。"))
    ]


@topic(3)
def word_problem(chance: random.Random) -> Turns:
    """A sum told with things."""
    thing = chance.choice(COUNTED)
    unit = COUNTING.get(thing, "个")
    who = chance.choice(["小明", "小红", "妈妈", "弟弟", "老师", "奶奶", "我", "哥哥"])
    one = chance.randint(2, 12)
    if chance.random() < 0.5:
        other = chance.randint(1, 20 - one)
        result = one + other
        change = say(chance, f"又[得到|拿来]了{count_of(other)}{unit}")
        how = f"{words_of(one)}加{words_of(other)}等于{words_of(result)}"
    else:
        other = chance.randint(1, one)
        result = one - other
        change = say(chance, f"[送给别人|拿走了|丢了|给了朋友]{count_of(other)}{unit}")
        how = f"{words_of(one)}减{words_of(other)}等于{words_of(result)}"
    ending = say(chance, "现在有", "还剩" if "减" in how else "一共有")
    asked = f"{who}有{count_of(one)}{unit}{thing}，{change}，{ending}[几|多少]{unit}？"
    left = f"{count_of(result)}{unit}{thing}" if result else ""
    answer = f"[{how}，|]现在有{left}。" if result else f"{how}，一{unit}也没有了。"
    return [(say(chance, asked), say(chance, answer))]


@topic(3)
def compare_numbers(chance: random.Random) -> Turns:
    """Which number is greater, what comes before, after or between."""
    show = _numerals(chance)
    one, other = chance.sample(range(1, 51), 2)
    great, little = show(max(one, other)), show(min(one, other))
    three = chance.sample(range(1, 40), 3)
    few, many = [show(each) for each in sorted(three)], [show(each) for each in sorted(three, reverse=True)]
    mixed = "、".join(map(show, three))
    asked, answer = chance.choice(
        [
            (f"{show(one)}和{show(other)}哪个大？", f"[{great}大。|{great}比{little}大。]"),
            (f"{show(one)}和{show(other)}哪个小？", f"[{little}小。|{little}比{great}小。]"),
            (f"{great}比{little}大吗？", f"[是的，|对，]{great}比{little}大。"),
            (f"{little}比{great}大吗？", f"[不是，|不对，]{little}比{great}小。"),
            (f"{show(one)}的后面是几？", f"{show(one)}的后面是{show(one + 1)}。"),
            (f"{show(one)}的前面是几？", f"{show(one)}的前面是{show(one - 1)}。"),
            (f"{show(one)}和{show(one + 2)}的中间是几？", f"中间是{show(one + 1)}。"),
            (f"[请|]把{mixed}从小到大排好。", f"{'、'.join(few)}。"),
            (f"[请|]把{mixed}从大到小排好。", f"{'、'.join(many)}。"),
            (f"{mixed}里面最大的是哪个？", f"最大的是{many[0]}。"),
            (f"{mixed}里面最小的是哪个？", f"最小的是{few[0]}。"),
            (f"{show(one)}是单数还是双数？", f"{show(one)}是{'双' if one % 2 == 0 else '单'}数。"),
            (f"{one}用汉字怎么写？", f"{one}写作{words_of(one)}。"),
            (f"{words_of(one)}用数字怎么写？", f"{words_of(one)}写作{one}。"),
        ]
    )
    return [(say(chance, asked), say(chance, answer))]


@topic(1.5)
def counting(chance: random.Random) -> Turns:
    """Count on or back from a number."""
    show = _numerals(chance)
    start, number, step = chance.randint(1, 30), chance.randint(3, 6), chance.choice([1, 1, 1, 2])
    row = [show(start + step * place) for place in range(number)]
    if chance.random() < 0.3:
        shown = "、".join(reversed(row))
        return [(say(chance, f"[请|]从{row[-1]}倒着数到{row[0]}。") if step == 1 else f"念一念：{shown}", f"{shown}。")]
    if step == 1 and chance.random() < 0.6:
        return [
            (say(chance, f"[请|]从{row[0]}数到{row[-1]}。", f"数一数，从{row[0]}到{row[-1]}。"), "、".join(row) + "。")
        ]
    shown = "、".join(row[:3])
    following = show(start + step * 3)
    return [
        (
            say(chance, f"{shown}，[下一个数是几|后面是几|接着是多少]？"),
            say(chance, f"[下一个数|后面]是{following}。", f"{following}。"),
        )
    ]


@topic(2)
def calendar(chance: random.Random) -> Turns:
    """The day or the month before and after."""
    place = chance.randrange(7)
    prefix = chance.choice(["星期", "周"])
    day, after, before = (f"{prefix}{WEEK[(place + step) % 7]}" for step in (0, 1, -1))
    month = chance.randint(1, 11)
    season = ("冬天", "冬天", "春天", "春天", "春天", "夏天", "夏天", "夏天", "秋天", "秋天", "秋天", "冬天")[month - 1]
    this, coming = f"{words_of(month)}月", f"{words_of(month + 1)}月"
    asked, answer = chance.choice(
        [
            (f"今天是{day}，明天是[星期几|周几]？", f"明天是{after}。"),
            (f"今天是{day}，昨天是[星期几|周几]？", f"昨天是{before}。"),
            (f"{day}的后一天是什么？", f"{day}的后一天是{after}。"),
            (f"{this}过完是几月？", f"{this}过完是{coming}。"),
            (f"{coming}的前面是哪个月？", f"{coming}的前面是{this}。"),
            (f"{this}[是|属于]什么季节？", f"在北方，{this}[一般|大致]是{season}。"),
            (f"{day}要上学吗？", f"{day}一般{'不用' if place > 4 else '要'}上学[。|，放假的时候另说。]"),
        ]
    )
    return [(say(chance, asked), say(chance, answer))]


@topic(2)
def clock(chance: random.Random) -> Turns:
    """Reading the clock and adding hours."""
    hour, later = chance.randint(1, 12), chance.randint(1, 4)
    show = _numerals(chance, count_of)
    then = (hour + later - 1) % 12 + 1
    past, minute, short = chance.choice(
        [
            ("整", "12", f"指着{show(hour)}"),
            ("半", "6", f"在{show(hour)}和{show(hour % 12 + 1)}的中间"),
            ("一刻", "3", f"刚过{show(hour)}"),
        ]
    )
    asked, answer = chance.choice(
        [
            (
                f"现在是{show(hour)}点，过{count_of(later)}个小时是几点？",
                f"[过{count_of(later)}个小时|那时候]是{show(then)}点。",
            ),
            (f"短针{short}，长针指着{minute}，是几点？", f"是{show(hour)}点{past}。"),
            (
                f"{show(then)}点的{count_of(later)}个小时以前是几点？",
                f"{count_of(later)}个小时以前是{show(hour)}点。",
            ),
            (f"{show(hour)}点半的时候，长针指着几？", "长针指着6。"),
            (f"{show(hour)}点整的时候，长针指着几？", "长针指着12。"),
        ]
    )
    return [(say(chance, asked), say(chance, answer))]


@topic(2)
def money(chance: random.Random) -> Turns:
    """Prices, paying and change."""
    thing = chance.choice(COUNTED[:9])
    unit, show = COUNTING.get(thing, "个"), _numerals(chance, count_of)
    price = chance.randint(1, 9)
    number = chance.randint(2, max(2, 20 // price)) if price < 10 else 2
    paid = chance.choice([each for each in (5, 10, 20) if each > price])
    asked, answer = chance.choice(
        [
            (
                f"一{unit}{thing}{show(price)}元，买{count_of(number)}{unit}要多少钱？",
                f"[一共|]要{show(price * number)}元。",
            ),
            (
                f"一{unit}{thing}{show(price)}元，我付了{show(paid)}元，应该找多少钱？",
                f"应该找{show(paid - price)}元。",
            ),
            (f"我有{show(paid)}元，一{unit}{thing}{show(price)}元，够不够？", f"够，还剩{show(paid - price)}元。"),
            (f"我有{show(price)}元，东西要{show(paid)}元，够不够？", f"不够，还差{show(paid - price)}元。"),
        ]
    )
    return [(say(chance, asked), say(chance, answer))]


# --- characters and words


@topic(9)
def copying(chance: random.Random) -> Turns:
    """Repeat characters that were given."""
    text = some_text(chance)
    asked = say(
        chance,
        f"[请重复|跟我念|请跟我读|照着写一遍|请写出这几个字|再说一遍|重复一遍|抄一遍|请照样子写]：{text}",
        f"[请|]写出“{text}”[|这几个字]。",
        f"[请|]念一念“{text}”。",
        f"把“{text}”重复一遍。",
    )
    return [(asked, say(chance, text, text, text, f"{text}。", f"“{text}”。"))]


@topic(2.5)
def copying_twice(chance: random.Random) -> Turns:
    """Repeat characters two or three times, or two words in a row."""
    one, other = some_text(chance, 1, 3), some_text(chance, 1, 3)
    asked, answer = chance.choice(
        [
            (f"[请|]把“{one}”写两遍。", f"{one}，{one}。"),
            (f"[请|]把“{one}”说三遍。", f"{one}，{one}，{one}。"),
            (f"[请|]把“{one}”和“{other}”连起来。", f"{one}{other}。"),
            (f"先写“{one}”，再写“{other}”。", f"{one}，{other}。"),
            (f"[请|]在“{one}”的后面加上“{other}”。", f"{one}{other}。"),
            (f"[请|]在“{one}”的前面加上“{other}”。", f"{other}{one}。"),
            (f"[请|]给“{one}”加上引号。", f"“{one}”"),
        ]
    )
    return [(say(chance, asked), answer)]


@topic(5)
def character_of(chance: random.Random) -> Turns:
    """The first, second or last character; where a character stands; how many there are."""
    text = some_text(chance, 2, 5)
    place = chance.randrange(len(text))
    number = ("一", "二", "三", "四", "五", "六")[place]
    asked, answer = chance.choice(
        [
            (f"“{text}”的第{number}个字是什么？", f"[第{number}个字是|是]“{text[place]}”。"),
            (f"“{text}”的最后一个字是什么？", f"[最后一个字|]是“{text[-1]}”。"),
            (f"“{text}”的第一个字是什么？", f"[第一个字|]是“{text[0]}”。"),
            (f"“{text}”有几个字？", f"[“{text}”|一共|]有{count_of(len(text))}个字。"),
            (f"“{text[place]}”是“{text}”的第几个字？", f"是第{words_of(text.index(text[place]) + 1)}个字。"),
            (f"“{text}”里有没有“{text[place]}”字？", f"有，“{text}”里有“{text[place]}”字。"),
            (f"把“{text}”一个字一个字分开写。", "、".join(text) + "。"),
            (f"把{'、'.join(text)}合起来写。", f"{text}。"),
        ]
    )
    return [(say(chance, asked), say(chance, answer))]


@topic(3)
def backwards(chance: random.Random) -> Turns:
    """Two or three characters in reverse."""
    text = some_text(chance, 2, 3)
    asked = say(chance, f"[请|]把“{text}”倒着[念|写|说]。", f"“{text}”倒过来怎么[念|写]？", f"倒着念：{text}")
    return [(asked, say(chance, f"[倒过来是|是|]“{text[::-1]}”。", f"{text[::-1]}。"))]


@topic(3)
def same_or_not(chance: random.Random) -> Turns:
    """Whether two characters or words are the same, or whether one holds a character."""
    one, other = some_text(chance, 2, 3), some_text(chance, 2, 3)
    if chance.random() < 0.4:
        other = one
    extra = chance.choice(CHARACTERS)
    has = extra in one
    asked, answer = chance.choice(
        [
            (
                f"“{one}”和“{other}”[一样吗|是不是一样的]？",
                f"[一样|是一样的]，都是“{one}”。" if one == other else f"不一样，一个是“{one}”，一个是“{other}”。",
            ),
            (
                f"“{one}”里有“{extra}”字吗？",
                f"{'有' if has else '没有'}，“{one}”里{'有' if has else '没有'}“{extra}”字。",
            ),
        ]
    )
    return [(say(chance, asked), say(chance, answer))]


@topic(6)
def make_words(chance: random.Random) -> Turns:
    """Words with a given character; sometimes one more is asked for."""
    letter = chance.choice(chance.choice(WORDS))
    known = [word for word in WORDS if letter in word]
    chance.shuffle(known)
    number = min(len(known), chance.choice([1, 1, 2, 3]))
    asked = say(
        chance,
        f"[请|]用“{letter}”字组[{count_of(number)}个|]词。" if number > 1 else f"[请|]用“{letter}”字组[一个|]词。",
        f"“{letter}”可以组什么词？",
        f"给“{letter}”字组词。",
        f"[请|]说{count_of(number)}个有“{letter}”的词。",
    )
    turns = [(asked, say(chance, "、".join(known[:number]) + "。", joined(known[:number]) + "。"))]
    if len(known) > number and chance.random() < 0.15:
        turns.append(
            (say(chance, "再来一个。", "还有吗？", "还能组什么词？"), say(chance, f"[还有|]“{known[number]}”。"))
        )
    return turns


@topic(4)
def sentence(chance: random.Random) -> Turns:
    """A sentence with a given word."""
    word, one, other = chance.choice(SENTENCES)
    asked = say(chance, f"[请|]用“{word}”[造句|造一个句子|写一句话]。", f"“{word}”怎么造句？", f"造句：{word}")
    if chance.random() < 0.2:
        return [(asked, one), (say(chance, "再造一句。", "换一句。", "还有别的句子吗？"), other)]
    if chance.random() < 0.15:
        return [(say(chance, f"[请|]用“{word}”造两个句子。"), one + other)]
    return [(asked, chance.choice((one, other)))]


@topic(2)
def find_word(chance: random.Random) -> Turns:
    """Which given word stands in a sentence; the sentence with one word replaced or a blank filled."""
    word, one, other = chance.choice(SENTENCES)
    line = chance.choice((one, other))
    hidden = line.replace(word, "（　　）")
    wrong = chance.choice([each for each, *_ in SENTENCES if each != word and each not in line])
    shown = [word, wrong]
    chance.shuffle(shown)
    asked, answer = chance.choice(
        [
            (f"“{line}”[这句话里|]有“{wrong}”吗？", f"没有，这句话里没有“{wrong}”。"),
            (f"“{line}”[这句话里|]有“{word}”吗？", f"有，这句话里有“{word}”。"),
            (f"[选词填空|选一个词填进去]（{shown[0]}、{shown[1]}）：{hidden}", line),
            (f"[请|]把这句话补全，用上“{word}”：{hidden}", line),
            (f"[请重复这句话|跟我念|照着说一遍]：{line}", line),
            (f"“{line}”这句话一共有几个字？[不算标点。|]", ""),
        ]
    )
    if not answer:
        letters = sum("\u4e00" <= letter <= "\u9fff" for letter in line)
        asked, answer = f"“{line}”不算标点有几个字？", f"有{words_of(letters)}个字。"
    return [(say(chance, asked), answer)]


@topic(2.5)
def listing(chance: random.Random) -> Turns:
    """Given words as a list, numbered or not, or one of them by its place."""
    words = chance.sample(WORDS, chance.randint(3, 5))
    shown = chance.choice("，、　").join(words)
    numbered = "\n".join(f"{place}. {word}" for place, word in enumerate(words, 1))
    marked = "\n".join(f"- {word}" for word in words)
    place = chance.randrange(len(words))
    number = words_of(place + 1)
    asked, answer = chance.choice(
        [
            (f"[请|]把这些词写成带数字的列表：{shown}", numbered),
            (f"[请|]把下面的词一行一个写出来：{shown}", "\n".join(words)),
            (f"[请|]列成清单：{shown}", marked),
            (f"[请|]把下面的词用顿号连起来：{'，'.join(words)}", "、".join(words) + "。"),
            (f"{'、'.join(words)}，第{number}个词是什么？", f"第{number}个词是“{words[place]}”。"),
            (f"{'、'.join(words)}，一共有几个词？", f"一共有{words_of(len(words))}个词。"),
            (f"{'、'.join(words)}，请去掉“{words[place]}”。", "、".join(words[:place] + words[place + 1 :]) + "。"),
        ]
    )
    return [(say(chance, asked), answer)]


# --- following instructions


@topic(2)
def choose(chance: random.Random) -> Turns:
    """One of given options."""
    pair, quality, which = chance.choice(COMPARED)
    if chance.random() < 0.6:
        one, other = pair.split("和")
        rest = other if which == one else one
        asked = say(
            chance, f"{pair}，哪个更{quality}？", f"{pair}比，哪个{quality}？", f"{one}{quality}还是{other}{quality}？"
        )
        return [(asked, say(chance, f"{which}更{quality}。", f"{which}比{rest}{quality}。", f"{which}。"))]
    some = chance.choice(GROUPS)[1][:]
    chance.shuffle(some)
    some = some[: chance.randint(2, 3)]
    asked = say(chance, f"[请|]从{joined(some)}里选一个。", f"{joined(some, '还是')}？你替我选一个。")
    return [(asked, say(chance, f"[选|我选|就选]{chance.choice(some)}[吧|]。"))]


@topic(2)
def put_in_order(chance: random.Random) -> Turns:
    """Words of a sentence put into their order."""
    words = chance.choice(ORDERED)[0].split("/")
    mixed = words[:]
    chance.shuffle(mixed)
    asked = say(chance, f"[请|]把词语[排成一句话|连成一句话|排好顺序]：{chance.choice('，、').join(mixed)}")
    return [(asked, "".join(words) + "。")]


@topic(2.5)
def yes_or_no(chance: random.Random) -> Turns:
    """Yes or no, mostly with the reason; sometimes the reason is asked for."""
    question, answer, reason = chance.choice(YES_NO)
    way = chance.random()
    if way < 0.2:
        return [
            (ask(chance, question), f"{answer}。"),
            (say(chance, "为什么？", "这是为什么呢？"), say(chance, f"[因为|]{reason}。")),
        ]
    asked = ask(chance, question) + say(chance, "", "", "为什么？", "请说明理由。")
    return [(asked, say(chance, f"{answer}，因为{reason}。", f"{answer}。{reason}。"))]


@topic(2.5)
def finish_phrase(chance: random.Random) -> Turns:
    """The second half of a common phrase."""
    start, end = chance.choice(PHRASES)
    asked = say(
        chance,
        f"[请|]把词语补完整：{start}……",
        f"“{start}”的后面接什么？",
        f"[接下去|补全]：{start}（　　）",
    )
    return [(asked, say(chance, f"{start}{end}。", f"“{start}{end}”。", f"[后面接|是]“{end}”。"))]


@topic(2.5)
def rewrite(chance: random.Random) -> Turns:
    """Politer or shorter."""
    if chance.random() < 0.5:
        rude, polite = chance.choice(POLITE)
        asked = say(chance, f"[请|]把这句话说得[有礼貌一些|客气一点|更礼貌]：{rude}", f"“{rude}”怎么说更[礼貌|客气]？")
        return [(asked, say(chance, polite, polite, f"可以说：“{polite}”"))]
    long, short = chance.choice(SHORTER)
    asked = say(
        chance,
        f"[请|]把这句话[缩短|说短一点|写短些|缩成一句短句]：{long}",
        f"{long}这句话[简单说是什么|短一点怎么说]？",
    )
    return [(asked, short)]


@topic(2)
def about_sentence(chance: random.Random) -> Turns:
    """A question about a sentence that was given."""
    who = chance.choice(
        ["小明", "小红", "妈妈", "爷爷", "李老师", "王阿姨", "弟弟", "丫鬟", "老太太", "书生", "客人", "张叔叔"]
    )
    when = chance.choice(["早上", "中午", "下午", "傍晚", "晚上", "昨天", "星期天", "春天里", "下雪的时候", "午后"])
    where = chance.choice(
        ["院子里", "厨房里", "窗前", "公园里", "书房里", "河边", "门口", "廊下", "树下", "亭子里", "灯下"]
    )
    does = chance.choice(
        "喝茶 看书 写信 唱歌 等人 下棋 弹琴 念诗 画画 说话 想心事 吃点心 打盹 听风声 读诗 唱戏".split()
    )
    line = f"{when}，{who}在{where}{does}。"
    asked, answer = chance.choice(
        [
            ("谁" + f"在{where}{does}？", f"[{who}|是{who}]在{where}{does}。"),
            (f"{who}在哪里{does}？", f"{who}在{where}{does}。"),
            (f"{who}在{where}做什么？", f"{who}在{where}{does}。"),
            (f"{who}什么时候{does}？", f"{when}[。|，{who}在{where}{does}。]"),
        ]
    )
    return [(say(chance, f"[读句子，回答问题：|]{line}[请问，|]{asked}"), say(chance, answer))]


@topic(1)
def make_line(chance: random.Random) -> Turns:
    """A plain sentence out of who, when, where and what."""
    who, when = (
        chance.choice(PERSONS)[1],
        chance.choice(["早上", "下午", "傍晚", "星期天", "春天", "昨天", "放假的时候", "黄昏"]),
    )
    where, does = chance.choice(
        [
            ("河边", "散步"),
            ("院子里", "浇花"),
            ("窗前", "看书"),
            ("厨房里", "煮粥"),
            ("门口", "等人"),
            ("灯下", "写信"),
            ("公园里", "放风筝"),
            ("亭子里", "下棋"),
            ("屋里", "喝茶"),
            ("树下", "乘凉"),
        ]
    )
    asked = say(chance, f"[请|]用“{when}”“{who}”“{does}”写一句话。", f"把{when}、{who}、{where}、{does}连成一句话。")
    return [(asked, say(chance, f"{when}，{who}在{where}{does}。", f"{when}{who}在{where}{does}。"))]


# --- longer answers


@topic(8)
def describe(chance: random.Random) -> Turns:
    """Two to four plain sentences about a thing, a place, a person or a feeling."""
    name, *lines = chance.choice(ABOUT)
    asked = say(
        chance,
        f"[请介绍一下|说说|请说说|讲讲|请描述一下|写几句话，说说|谈谈]{name}[|吧]。",
        f"{name}是什么样的？",
        f"[你怎么看{name}|你觉得{name}怎么样|什么是{name}]？",
        f"用几句话写写{name}。",
    )
    way = chance.random()
    if way < 0.15:
        return [(say(chance, f"[请|]用一句话说说{name}。", f"写一句关于{name}的话。"), chance.choice(lines[:2]))]
    if way < 0.27:
        return [
            (asked, lines[0]),
            (say(chance, "再说一点。", "还有呢？", "请接着说。", "多说几句。"), "".join(lines[1:])),
        ]
    if way < 0.45:
        return [(asked, lines[0] + lines[chance.choice((1, 2))])]
    return [(asked, "".join(lines))]


@topic(5)
def how_to(chance: random.Random) -> Turns:
    """The steps of a simple task, as a list or in words; or one of the steps."""
    task, steps_text = chance.choice(HOW_TO)
    steps = steps_text.removeprefix("先").split("/")
    asked = say(
        chance,
        f"[怎么|怎样|应该怎么]{task}？",
        f"[请|]教我{task}[|吧]。",
        f"{task}[有哪些步骤|要怎么做|分几步|的步骤是什么]？",
        f"[请|]告诉我怎么{task}。",
    )
    numbered = "\n".join(f"{place}. {step}。" for place, step in enumerate(steps, 1))
    begin, last = say(chance, "首先，", "首先，", "第一步，"), say(chance, "最后，", "最后一步，")
    middle = chance.sample(["然后，", "接着，", "接下来，", "之后，"], len(steps) - 2)
    told = "。".join(word + step for word, step in zip([begin, *middle, last], steps, strict=True)) + "。"
    way = chance.random()
    if way < 0.12:
        place = chance.randrange(len(steps) - 1)
        return [(say(chance, f"{task}的时候，“{steps[place]}”以后做什么？"), f"接着{steps[place + 1]}。")]
    if way < 0.2:
        return [(say(chance, f"{task}的第一步是什么？", f"{task}先做什么？"), f"第一步是{steps[0]}。")]
    if way < 0.28:
        place = chance.randrange(1, len(steps))
        number = words_of(place + 1)
        return [(asked, numbered), (f"第{number}步是什么？", f"第{number}步是{steps[place]}。")]
    return [(asked, numbered if way < 0.5 else told)]


CLOTHES = {
    "春天": ("薄外套", "毛衣", "长裤"),
    "夏天": ("短袖", "裙子", "凉鞋"),
    "秋天": ("外套", "长袖衬衫", "薄毛衣"),
    "冬天": ("棉衣", "厚毛衣", "棉鞋", "帽子"),
}
SIGHTS = {
    "春天": ("桃花", "柳芽", "燕子", "风筝", "嫩草"),
    "夏天": ("荷花", "知了", "西瓜", "蜻蜓", "雷雨"),
    "秋天": ("菊花", "红叶", "桂花", "大雁", "稻子"),
    "冬天": ("雪", "梅花", "冰", "炉火", "枯枝"),
}


@topic(2)
def season(chance: random.Random) -> Turns:
    """What to wear and what to see in a season; which season it is."""
    name = chance.choice(list(CLOTHES))
    wear, see = chance.sample(CLOTHES[name], 2), chance.sample(SIGHTS[name], 2)
    seasons = list(CLOTHES)
    after = seasons[(seasons.index(name) + 1) % 4]
    asked, answer = chance.choice(
        [
            (f"{name}[穿什么|该穿什么衣服]？", f"{name}[可以穿|适合穿]{joined(wear)}。"),
            (f"{name}[有什么|能看到什么|有哪些好看的]？", f"{name}[有|能看到]{joined(see)}。"),
            (f"[看到|有]{joined(see)}的是什么季节？", f"是{name}。"),
            (f"{name}过去是什么季节？", f"{name}过去是{after}。"),
            (f"{after}的前面是什么季节？", f"{after}的前面是{name}。"),
            (f"{see[0]}[多半|常常]在什么季节[见到|出现]？", f"[多半在|]{name}。"),
        ]
    )
    return [(ask(chance, say(chance, asked)), say(chance, answer))]


def _scene(chance: random.Random) -> tuple[str, list[str]]:
    """What a scene of everyday life tells of, and its sentences."""
    kind, about, beats = chance.choice(SCENES)
    _, who, pronoun = chance.choice([person for person in PERSONS if person[0] == kind])
    filled = beats.replace("{w}", who).replace("{t}", pronoun)
    lines = [say(chance, beat) for beat in filled.split("/")]
    return about, [line if line.endswith(("。", "！", "？", "”")) else line + "。" for line in lines]


@topic(10)
def go_on(chance: random.Random) -> Turns:
    """Everyday prose, of today or of an old household: the beginning is given, the assistant goes on."""
    about, lines = _scene(chance)
    way = chance.random()
    if way < 0.3:
        asked = say(
            chance,
            f"[请|]写一段话，说说“{about}”。",
            f"[请|]以“{about}”为题写几句话。",
            f"[请|]写一写{about}。",
            f"描写一下{about}的情景。",
        )
        return [(asked, "".join(lines))]
    cut = chance.choice((1, 1, 2))
    asked = say(
        chance, "接着往下说：", "请接着写：", "把这段话写下去：", "请往下续写几句：", "后来怎么样了？", "接下去："
    ) + "".join(lines[:cut])
    if way < 0.45:
        middle = cut + 1
        more = say(chance, "接着说。", "然后呢？", "后来呢？", "请继续。")
        return [(asked, "".join(lines[cut:middle])), (more, "".join(lines[middle:]))]
    return [(asked, "".join(lines[cut:]))]


@topic(1.5)
def next_sentence(chance: random.Random) -> Turns:
    """The one sentence that follows another, or the topic of a passage."""
    about, lines = _scene(chance)
    if chance.random() < 0.4:
        others = [each[1] for each in SCENES if each[1] != about]
        shown = [about, chance.choice(others)]
        chance.shuffle(shown)
        asked = f"{''.join(lines[:3])}\n这段话写的是“{shown[0]}”还是“{shown[1]}”？"
        return [(asked, say(chance, f"[写的|]是“{about}”。"))]
    one, other = chance.choice(list(pairwise(lines)))
    return [(say(chance, f"[请写出下一句|下一句可以写什么|请接一句]：{one}"), other)]


def _draw(chance: random.Random) -> Turns:
    """The turns of one topic."""
    weights = [weight for weight, _ in _TOPICS]
    return chance.choices([function for _, function in _TOPICS], weights)[0](chance)


def _greeting(chance: random.Random) -> Row:
    """A greeting, as the first turn of a longer conversation."""
    return chance.choice(CHAT[:5])


def exchange(chance: random.Random) -> list[tuple[str, str]]:
    """One conversation of one to three turns: [(role, text), …], sometimes with a system text first."""
    turns: Turns = []
    way = chance.random()
    if way < 0.06:
        question, answer = _greeting(chance)
        turns.append((say(chance, question), say(chance, answer)))
    turns += _draw(chance)
    if 0.06 <= way < 0.16:
        turns += _draw(chance)
    if 0.16 <= way < 0.2:
        question, answer = chance.choice([row for row in CHAT if "谢谢你" in row[0] or "再见" in row[0]])
        turns.append((say(chance, question), say(chance, answer)))
    talk = [("system", chance.choice(SYSTEMS))] if chance.random() < 0.5 else []
    for asked, answer in turns[:3]:
        talk += [("user", asked), ("assistant", answer)]
    return talk
