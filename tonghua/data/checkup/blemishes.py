"""Faults of a single row: leftovers of other tools, invisible characters, incomplete answers.

    Conversation ──blemishes──► ("control_tokens", "<|im_end|>"), ("placeholders", "{{name}}"), ...   kind, example
                 ──mend───────► the same words without invisible characters, and a list of the changes

Code between backticks is not prose. A {name} or an incomplete line is normal there, so the rules skip it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from ...prompt.conversation import Conversation
from ...text import Text, shown
from ..sentences import CLOSERS, LIST_MARKER, ends_complete
from .duplicates import folded

BlemishKind = Literal[
    "control_tokens",
    "invisible_characters",
    "placeholders",
    "empty_answers",
    "short_answers",
    "unfinished_answers",
    "echoes",
    "foreign_names",
]

SHORTEST_ECHO_CHARACTERS = 6
"""Minimum length of an echo. A shorter answer may repeat the question in a dialogue (皇上！ — 皇上！); a longer one
is a mistake."""

_CODE = re.compile(r"```[\s\S]*?(?:```|\Z)|`[^`\n]*`")

_CONTROL = re.compile(
    r"""<[|｜]\w[\w▁]{1,40}[|｜]>                        # <|im_end|>, <|eot_id|>, <｜User｜>
    | \[/?INST\] | <</?SYS>> | </?start_of_turn> | <end_of_turn> | <(?:bos|eos|pad|unk)>
    | \A\s*<s> | </s>\s*\Z
    | ^\#\#\#\ (?:Instruction|Response|Input|指令|回答)[:：]""",
    re.VERBOSE | re.MULTILINE,
)

_PLACEHOLDER = re.compile(
    r"""\{\{\s*[\w.\u4e00-\u9fff]{1,40}\s*\}\}
    | (?<![$\\A-Za-z0-9_{}])\{(?:(?:user|bot|char|assistant|author|first|last)_?)?(?:name|date|city)\}
    | (?<![$\\A-Za-z0-9_{}])\{(?:user|bot|char|author|company)\}
    | \{(?:姓名|名字|作者|用户|角色|公司|日期)\}
    | \[(?:YOUR\ |FIRST\ |LAST\ )?(?:NAME|USER|DATE|COMPANY|ADDRESS|EMAIL|PHONE)\] | \[[Yy]our\ [\w ]{2,20}\]
    | [\[【［](?:您的|你的)?(?:姓名|名字|公司名?称?|日期|地址|电话|称呼)[\]】］]
    | (?<![A-Za-z0-9])(?:XXX+|xxx+)(?![A-Za-z0-9]) | ×××+ | 某某""",
    re.VERBOSE,
)

_EMOJI = "\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"

_INVISIBLE = re.compile(
    "[\u200b\u2060\ufeff\u00ad\u180e\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
    # Emoji and the scripts from Arabic to Khmer need joiners.
    f"|(?<![{_EMOJI}\u0600-\u17ff])[\u200c\u200d]"
    # Tag characters are valid only in flag emoji, such as England's.
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]+"
)

_BIDIRECTIONAL = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")

_RIGHT_TO_LEFT_LETTERS = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")

_MODELS = (
    r"通义千问|千问|Qwen|ChatGPT|GPT-?[345]\w*|文心一言|讯飞星火|星火大模型|豆包|Kimi|智谱清言|ChatGLM|百川大模型|腾讯混元"
    r"|DeepSeek|深度求索|Claude|Gemini|LLaMA|Vicuna|MOSS"
)

_CLAIM = re.compile(
    rf"(?:我是|我叫|我的名字是|我的名字叫)(?!不是)[^。！？!?，,\n不]{{0,16}}?(?P<zh>{_MODELS})"
    rf"|\b(?:I am|I'm|I’m|my name is)\s(?!not\b)(?:\w+\s){{0,4}}?(?P<en>{_MODELS})\b",
    re.IGNORECASE,
)

_OPEN_ENDS = "，、；：,;:（(“「『《〈【[{"

# Speech may break off with a dash; chat may end in kaomoji; a calculation may end in a number or a unit.
_SOFT_ENDS = "—–-~～♪♡^_=%°$|｜/\\>·"

_MARKUP = "*_"

_ENDS_WITHIN = re.compile(r"[。！？!?]|\.\s")

# A hashtag, the source of a quotation (-C. S. Lewis), or a number with its unit.
_LAST_WORDS = re.compile(r"(?:#\S+|\s[-—–]\s?[A-Z][\w. ]{1,30}|\d\s?°?[A-Za-z]{1,4})$")

# Pairs in which each form belongs to one script only. 后, 里, 面, 云, 著 or 於 would prove nothing.
_SIMPLIFIED_FORMS = (
    "这说个们来时会国过还对没样么为儿学开问见长东话让给从听现点门间头动机经电车马鸟鱼龙觉应爱欢乐亲书写读语认识谁"
    "谢请讲该试词实宝宫嫔贵岁华观难风飞热爷妈孙树桥万与业两严丰临义乌习乡买卖亚产亿仅优传伤伟伦价侧俩倾偿关兴养内"
    "农决况净减击刘则刚创务劳势劝办单压厅历厉双发变员响园围图圆团场块坚坏声处备够夺奋奖妇娱宁审宽导将尝层屿岛币师"
    "带帮庆库废张弹强归当录态总恶悬惊惯愿戏战执扩扫扬报担择换损摇敌数断旧显晓权条极构标栏检楼欧残汉汤济测浓灭灯灵"
)

_TRADITIONAL_FORMS = (
    "這說個們來時會國過還對沒樣麼為兒學開問見長東話讓給從聽現點門間頭動機經電車馬鳥魚龍覺應愛歡樂親書寫讀語認識誰"
    "謝請講該試詞實寶宮嬪貴歲華觀難風飛熱爺媽孫樹橋萬與業兩嚴豐臨義烏習鄉買賣亞產億僅優傳傷偉倫價側倆傾償關興養內"
    "農決況淨減擊劉則剛創務勞勢勸辦單壓廳歷厲雙發變員響園圍圖圓團場塊堅壞聲處備夠奪奮獎婦娛寧審寬導將嘗層嶼島幣師"
    "帶幫慶庫廢張彈強歸當錄態總惡懸驚慣願戲戰執擴掃揚報擔擇換損搖敵數斷舊顯曉權條極構標欄檢樓歐殘漢湯濟測濃滅燈靈"
)

_SIMPLIFIED = re.compile(
    f"[{''.join(s for s, t in zip(_SIMPLIFIED_FORMS, _TRADITIONAL_FORMS, strict=True) if s != t)}]"
)

_TRADITIONAL = re.compile(
    f"[{''.join(t for s, t in zip(_SIMPLIFIED_FORMS, _TRADITIONAL_FORMS, strict=True) if s != t)}]"
)

_KANA = re.compile("[\u3040-\u30ff]")


def prose(text: str) -> str:
    """Return the text with a space in place of each piece of fenced or inline code."""
    return _CODE.sub(" ", text)


def blemishes(conversation: Conversation, persona: str | None) -> Iterator[tuple[BlemishKind, str]]:
    """Yield each kind of fault in a row, at most once, with an example.

    All examples but those of "empty_answers" are safe to print. An answer may claim a model name that is part of
    `persona`, the system prompt for rows without their own.
    """
    found: dict[BlemishKind, str] = {}
    question = ""
    for message in conversation.messages:
        for kind, example in _of_text(message.content):
            found.setdefault(kind, example)
        if message.role == "user":
            question = message.content
        elif message.role == "assistant" and message.learn:
            for kind, example in _of_answer(message.content, question, persona):
                found.setdefault(kind, example)
    yield from found.items()


def _of_text(text: str) -> Iterator[tuple[BlemishKind, str]]:
    words = prose(text)
    if token := _CONTROL.search(words):
        yield "control_tokens", token.group().strip()
    if holder := _PLACEHOLDER.search(words):
        yield "placeholders", holder.group()
    if hidden := _hidden(text):
        yield "invisible_characters", _code_point(hidden[0])


def _of_answer(answer: str, question: str, persona: str | None) -> Iterator[tuple[BlemishKind, str]]:
    plain = folded(answer)
    if not any(unicodedata.category(char)[0] in "LNS" for char in plain):
        yield "empty_answers", plain
        return
    # One digit or Latin letter may be a choice or a result, and one emoji a mood.
    if len(plain) == 1 and unicodedata.category(plain) == "Lo":
        yield "short_answers", plain
    if is_unfinished(answer):
        yield "unfinished_answers", "…" + shown(" ".join(answer.split())[-12:])
    if len(plain) >= SHORTEST_ECHO_CHARACTERS and plain == folded(question):
        yield "echoes", ""
    if claim := _CLAIM.search(answer):
        name = claim["zh"] or claim["en"]
        if name.casefold() not in (persona or "").casefold():
            yield "foreign_names", name


def is_unfinished(answer: str) -> bool:
    """Return True if an answer looks cut off.

    It ends with a comma, a colon or an opening mark, or in an open code block, or it has complete sentences but
    the last one is incomplete. Labels, names, verses without punctuation, lists, tables, headings, URLs,
    calculations and code may end without a mark.
    """
    if answer.count("```") % 2:
        return True
    text = answer.strip().rstrip(_MARKUP)
    last = text.splitlines()[-1].strip() if text else ""
    if not last or text.endswith("`") or ends_complete(text):
        return False
    end = last[-1]
    if end in _OPEN_ENDS:
        return True
    if end in _SOFT_ENDS or end in CLOSERS or end.isdigit() or unicodedata.category(end)[0] in "SMC":
        return False
    if LIST_MARKER.match(last) or last.startswith(("#", "|", ">")) or "://" in last or _LAST_WORDS.search(last):
        return False
    if _is_signature(last):
        return False
    return _ENDS_WITHIN.search(text) is not None


def _is_signature(line: str) -> bool:
    """True if a short last line is no sentence but a name, a date, a title or a verse."""
    return len(line) < 15 and not re.search("[，,；;。！？!?]", line)


def scripts(conversation: Conversation) -> tuple[int, int]:
    """Return the numbers of simplified and of traditional characters in a row.

    Characters common to both scripts do not count. Japanese uses both forms and gives (0, 0).
    """
    text = "\n".join(message.content for message in conversation.messages)
    if _KANA.search(text):
        return 0, 0
    return len(_SIMPLIFIED.findall(text)), len(_TRADITIONAL.findall(text))


def mend(conversation: Conversation) -> tuple[Conversation, tuple[Text, ...]]:
    """Return the row without faults that can be repaired with the same words, and one line for each kind of change.

    Removes zero-width, bidirectional, tag and control characters and the white space at the end of a message,
    and normalises the text to Unicode NFC. A message that would become empty stays unchanged. If nothing changes,
    returns the same object and ().
    """
    removed: Counter[str] = Counter()
    composed = ended = 0
    messages = []
    for message in conversation.messages:
        hidden = _hidden(message.content)
        visible = _without_hidden(message.content) if hidden else message.content
        normal = unicodedata.normalize("NFC", visible)
        whole = normal.rstrip()
        if whole:
            removed.update(hidden)
            composed += normal != visible
            ended += whole != normal
        messages.append(replace(message, content=whole or message.content))
    changes = tuple(_changes(removed, composed, ended))
    return (Conversation(tuple(messages), conversation.line), changes) if changes else (conversation, ())


def _changes(removed: Counter[str], composed: int, ended: int) -> Iterator[Text]:
    if removed:
        codes = sorted(map(_code_point, removed))
        shown = codes[:5] + ["…"] * (len(codes) > 5)
        yield Text(
            f"去掉 {removed.total()} 个看不见的字符（{'、'.join(shown)}）",
            f"removed invisible characters: {removed.total()} ({', '.join(shown)})",
        )
    if composed:
        yield Text("把拆开写的字符合成一个（NFC）", "composed characters that were written in parts (NFC)")
    if ended:
        yield Text("去掉末尾的空白", "removed white space at the end")


def _hidden(text: str) -> list[str]:
    """Return the invisible characters that no script or emoji in the text needs."""
    found = [char for match in _INVISIBLE.finditer(text) for char in match.group()]
    return found if _RIGHT_TO_LEFT_LETTERS.search(text) else found + _BIDIRECTIONAL.findall(text)


def _without_hidden(text: str) -> str:
    visible = _INVISIBLE.sub("", text)
    return visible if _RIGHT_TO_LEFT_LETTERS.search(text) else _BIDIRECTIONAL.sub("", visible)


def _code_point(char: str) -> str:
    return f"U+{ord(char):04X}"
