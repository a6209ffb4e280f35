"""The reasons why words of a text make no row, in both languages."""

from ...text import Text

FAR_CHARACTERS = 300
"""Maximum characters between two utterances for the second to count as an answer to the first."""

NOBODY = Text(
    "没写是谁说的；请在旁边补上，例如“黛玉道：”", "nobody is named as its speaker; name one beside it, as in “黛玉道：”"
)

UNCLEAR = Text(
    "看不出是谁说的；请把说话人写在紧挨着的地方，例如“黛玉道：”",
    "the words around it do not show who speaks; name the speaker right beside it, as in “黛玉道：”",
)

NO_SUBJECT = Text(
    "只写了“道”一类的词，没写是谁；请补上名字", "it is said by someone whom the sentence does not name; add the name"
)

NOT_ALOUD = Text(
    "是心里想的、写下来的或引用的话，不是当面说的，没有用",
    "it is thought, written or quoted, not said to anyone; not used",
)

MID_SENTENCE = Text(
    "夹在句子中间，可能是转述，不一定是当面说的；如果是，请在引号前加冒号",
    "it stands inside a sentence and may be reported speech; if it is said here, put a colon before the quote",
)

UNMATCHED = Text("引号不成对；请补上缺的那一半", "its quotation mark has no partner; add the missing one")

SEVERAL = Text("是几个人一起说的，没有用", "several speak at once; not used")

UNQUOTED = Text(
    "像是说的话，但没有引号，看不出到哪里为止；请加上引号",
    "it looks like speech without quotes, so its end is not known; add the quotes",
)

NO_LABEL = Text(
    "台词下面的这一行没有角色名，当作叙述；如果也是台词，请在行首写上角色名和冒号",
    "a line without a name below a labelled one, taken as narration; if it is said, start it with a name and a colon",
)

GOES_ON = Text(
    "这句台词像是到下一行才完，下一行又没有角色名；请把它写在一行里",
    "the line seems to go on in the next one, which has no name; write it on one line",
)

TWO_LABELS = Text(
    "一行里有不止一个角色的台词；请每人一行",
    "one line holds the words of more than one speaker; give each its own line",
)

FIRST = Text("这一场里，在它之前没有别人说话", "nobody else spoke before it in this scene")

AFTER_DOUBT = Text(
    "不知道它前面那句话是谁说的，没法配对", "who said the words before it is not certain, so it cannot be paired"
)


def far_why(characters: int) -> Text:
    """Return the reason for a turn too far from the words before it."""
    return Text(
        f"与前面的话隔了 {characters} 字（超过 {FAR_CHARACTERS}），不一定是在接话",
        f"{characters} characters (over {FAR_CHARACTERS}) lie between it and the words before; it may answer nothing",
    )


def pronoun_why(pronoun: str) -> Text:
    """Return the reason for a speaker who is only a pronoun."""
    return Text(
        f"说话人只写了“{pronoun}”；请改成名字", f"its speaker is only called “{pronoun}”; put the name in its place"
    )


def guess_why(name: str) -> Text:
    """Return the reason for a speaker who is not named, with a guess."""
    return Text(
        f"没写是谁说的，按上下文推测是{name}；如果是，请补上名字",
        f"nobody is named as its speaker; by its place it may be {name}: if so, add the name",
    )


def once_why(name: str) -> Text:
    """Return the reason for a label that occurs only once."""
    return Text(
        f"“{name}：”只出现一次，不确定是不是角色名；如果是，请加 --alias {name}={name}",
        f"“{name}：” stands here once and may not be a name; if it is one, add --alias {name}={name}",
    )


def near_why(name: str, wished: str) -> Text:
    """Return the reason for a speaker whose name is similar to `wished`."""
    return Text(
        f"说话人写作“{name}”；如果就是{wished}，请加 --alias {wished}={name}",
        f"its speaker is called “{name}”; if that is {wished}, add --alias {wished}={name}",
    )
