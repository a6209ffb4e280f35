"""From a script or a novel to rows: what one character says, paired with what was said to it, without any model.

    第三场                                    a scene break: nothing is paired across it
    宝玉：（推门）妹妹在家么？                a labelled line; the stage direction is left out
    黛玉：我当是谁。
    宝玉忙上前，笑道：“是我。”                a quote whose speaker the words beside it name
    “坐罢。”                                  a quote that names nobody: unsure
        |
        |  rows_from_text(text, "黛玉")
        v
    Script(rows=(Row(line=3, instruction="妹妹在家么？", output="我当是谁。"),),
           unsure=(Unsure(line=5, text="坐罢。", why=...),),
           speakers={"宝玉": 2, "黛玉": 1})

Nothing is invented: a row holds only words of the text. Nothing is lost in silence: each quoted utterance and each
labelled line is part of a row, is another speaker's, or is in `unsure` with the reason. Where the grammar leaves a
doubt, the doubt wins. Speakers are told by Chinese grammar, simplified or traditional; quotes in English prose are
found and end in `unsure`. Every step is linear in the length of the text.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

from .errors import DataError, UsageError
from .text import Language, Text

FAR_CHARACTERS = 300
"""So much narration between two utterances, and the second is no longer taken as an answer to the first."""
NAME_CHARACTERS = 8
LATIN_NAME_CHARACTERS = 24
WRAPPED_LINES = 30
"""Over so many lines the end of a quote is looked for before it counts as never closed."""
CONTEXT_CHARACTERS = 160
"""How much of the words before or after a quote is read for its speaker."""


@dataclass(frozen=True, slots=True)
class Row:
    """What was said to the character, and what it answered; `line` (1-based) is where the answer starts."""

    line: int
    instruction: str
    output: str

    def as_json(self, system: str | None = None) -> dict[str, str]:
        """The row in Alpaca's columns, `system` only where there is one."""
        row = {"instruction": self.instruction, "output": self.output}
        return row if system is None else {"system": system, **row}


@dataclass(frozen=True, slots=True)
class Unsure:
    """Words that are in no row because something about them is not certain; `line` (1-based) is where they start."""

    line: int
    text: str
    why: Text

    def as_json(self, language: Language) -> dict[str, int | str]:
        return {"line": self.line, "text": self.text, "why": self.why.to(language)}


@dataclass(frozen=True, slots=True)
class Script:
    """The rows of one speaker and the doubts, in the order of the text."""

    rows: tuple[Row, ...]
    unsure: tuple[Unsure, ...]
    speakers: Mapping[str, int]
    """Utterances of every speaker that is named, the commonest first, whatever became of them."""


def rows_from_text(text: str, speaker: str, aliases: Mapping[str, Sequence[str]] | None = None) -> Script:
    """The rows of `speaker`, what was unsure, and who speaks how often.

    An instruction is the last turn of another speaker in the same scene; consecutive lines of one speaker are one
    turn. `aliases` gives each person's other names, as `parse_aliases` returns them. Raises UsageError for a name
    that cannot be one or that belongs to two people, and DataError where `speaker` says nothing.
    """
    cast = _Cast.of(speaker, aliases or {})
    paragraphs = list(_paragraphs(text))
    cast.learn(paragraphs)
    reader = _Reader(cast)
    for number, paragraph in enumerate(paragraphs):
        reader.read(paragraph, paragraphs[number + 1] if number + 1 < len(paragraphs) else None)
    speakers = Counter(said.named for said in reader.said if said is not None and said.named is not None)
    common = dict(speakers.most_common())
    if not any(said is not None and said.speaker == cast.wished for said in reader.said):
        raise _not_found(cast.wished, common)
    rows, unsure = _paired(reader.said, cast.wished)
    return Script(tuple(rows), tuple(sorted(unsure, key=lambda doubt: doubt.line)), common)


def parse_aliases(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """`["黛玉=林妹妹,颦儿"]` as `{"黛玉": ("林妹妹", "颦儿")}`. Raises UsageError where the form is another."""
    aliases: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, others = text.replace("＝", "=").partition("=")
        names = [other.strip() for other in re.split("[,，、]", others)]
        if not equals or not name.strip() or not all(names):
            shown = text.encode("unicode_escape").decode() if not text.isprintable() else text
            raise UsageError(
                f"--alias {shown} 看不懂；请写成 --alias 黛玉=林妹妹,颦儿",
                f"--alias {shown} cannot be read; write it as --alias 黛玉=林妹妹,颦儿",
            )
        aliases[name.strip()] = (*aliases.get(name.strip(), ()), *names)
    return aliases


def _not_found(wished: str, speakers: Mapping[str, int]) -> DataError:
    if not speakers:
        return DataError(
            f"没有找到“{wished}”说的话，也没有找到别人的；台词要写成“角色：台词”，或者放在引号里并写明是谁说的",
            f"“{wished}” says nothing here, nor does anyone else; write lines as “name：words”, or in quotes "
            "with the speaker beside them",
        )
    shown = list(speakers.items())[:5]
    return DataError(
        f"没有找到“{wished}”说的话；说话最多的是{'、'.join(f'{name}（{count} 句）' for name, count in shown)}；"
        "请改 --speaker，或用 --alias 补上别名",
        f"“{wished}” says nothing here; most is said by {', '.join(f'{name} ({count})' for name, count in shown)}; "
        "change --speaker, or add other names with --alias",
    )


_NOBODY = Text(
    "没写是谁说的；请在旁边补上，例如“黛玉道：”", "nobody is named as its speaker; name one beside it, as in “黛玉道：”"
)
_UNCLEAR = Text(
    "看不出是谁说的；请把说话人写在紧挨着的地方，例如“黛玉道：”",
    "the words around it do not show who speaks; name the speaker right beside it, as in “黛玉道：”",
)
_NO_SUBJECT = Text(
    "只写了“道”一类的词，没写是谁；请补上名字", "it is said by someone whom the sentence does not name; add the name"
)
_NOT_ALOUD = Text(
    "是心里想的、写下来的或引用的话，不是当面说的，没有用",
    "it is thought, written or quoted, not said to anyone; not used",
)
_MID_SENTENCE = Text(
    "夹在句子中间，可能是转述，不一定是当面说的；如果是，请在引号前加冒号",
    "it stands inside a sentence and may be reported speech; if it is said here, put a colon before the quote",
)
_UNMATCHED = Text("引号不成对；请补上缺的那一半", "its quotation mark has no partner; add the missing one")
_SEVERAL = Text("是几个人一起说的，没有用", "several speak at once; not used")
_UNQUOTED = Text(
    "像是说的话，但没有引号，看不出到哪里为止；请加上引号",
    "it looks like speech without quotes, so its end is not known; add the quotes",
)
_NO_LABEL = Text(
    "台词下面的这一行没有角色名，当作叙述；如果也是台词，请在行首写上角色名和冒号",
    "a line without a name below a labelled one, taken as narration; if it is said, start it with a name and a colon",
)
_GOES_ON = Text(
    "这句台词像是到下一行才完，下一行又没有角色名；请把它写在一行里",
    "the line seems to go on in the next one, which has no name; write it on one line",
)
_TWO_LABELS = Text(
    "一行里有不止一个角色的台词；请每人一行",
    "one line holds the words of more than one speaker; give each its own line",
)
_FIRST = Text("这一场里，在它之前没有别人说话", "nobody else spoke before it in this scene")
_AFTER_DOUBT = Text(
    "不知道它前面那句话是谁说的，没法配对", "who said the words before it is not certain, so it cannot be paired"
)


def _far(characters: int) -> Text:
    return Text(
        f"与前面的话隔了 {characters} 字（超过 {FAR_CHARACTERS}），不一定是在接话",
        f"{characters} characters (over {FAR_CHARACTERS}) lie between it and the words before; it may answer nothing",
    )


def _pronoun_why(pronoun: str) -> Text:
    return Text(
        f"说话人只写了“{pronoun}”；请改成名字", f"its speaker is only called “{pronoun}”; put the name in its place"
    )


def _guess_why(name: str) -> Text:
    return Text(
        f"没写是谁说的，按上下文推测是{name}；如果是，请补上名字",
        f"nobody is named as its speaker; by its place it may be {name}: if so, add the name",
    )


def _once_why(name: str) -> Text:
    return Text(
        f"“{name}：”只出现一次，不确定是不是角色名；如果是，请加 --alias {name}={name}",
        f"“{name}：” stands here once and may not be a name; if it is one, add --alias {name}={name}",
    )


def _near_why(name: str, wished: str) -> Text:
    return Text(
        f"说话人写作“{name}”；如果就是{wished}，请加 --alias {wished}={name}",
        f"its speaker is called “{name}”; if that is {wished}, add --alias {wished}={name}",
    )


# One character to one: what is matched on the simplified form is cut from the original.
_SIMPLE = str.maketrans(
    "說問嘆罵應勸讚驚聲對聽見這個們還從後纔點頭轉邊開來過著淚氣臉緊趕於時輕緩連隨喚講責備囑釋斷話寫題書詩語裡裏兩幾將讓給眾誰",
    "说问叹骂应劝赞惊声对听见这个们还从后才点头转边开来过着泪气脸紧赶于时轻缓连随唤讲责备嘱释断话写题书诗语里里两几将让给众谁",
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _either(text: str) -> str:
    return "(?:" + "|".join(sorted(text.split(), key=len, reverse=True)) + ")"


_SPEECH = re.compile(
    "(?:(?<![知难街味轨频渠隧])道|(?<![小听据传学话])说|(?<![学疑顾])问|(?<![名])叫|"
    + _either(
        """
        曰 云 答 笑 喊 嚷 骂 叹 吼 哭 劝 啐 喝 催 怒 应 回 讲 嗔 开口 回答 解释 反驳 补充 吩咐 嘱咐 叮嘱 提醒
        强调 宣布 追问 反问 质问 抱怨 嘀咕 嘟囔 嘟哝 咕哝 喃喃 自语 低语 感叹 感慨 打断 插嘴 附和 建议 命令 请求
        哀求 恳求 安慰 调侃 打趣 抗议 承认 否认 回应 应声 惊呼 高呼 发问 询问 招呼 问候 开腔 接话 搭话
        """
    )
    + ")(?:了|着|过)?(?:一声|一句|两声|几声|几句|起来|下去|出来|罢|毕|完)?$"
)
_ADVERBS = _words(
    """
    忙 便 又 就 也 却 因 只 方 才 乃 遂 即 都 还 再 更 仍 先 倒 冷 微 苦 大 轻 低 高 急 惊 怒 地 笑 叹 哭 骂 问
    答 说 回 应 喝 啐 嗔 喊 嚷 劝 催 赞 一面 一边 一旁 含泪 含笑 含怒 赔笑 陪笑 带笑 点头 点点头 摇头 摇摇头
    拍手 抚掌 拍案 掩口 掩嘴 拭泪 跺脚 顿足 咬牙 抿嘴 撇嘴 叹气 叹息 低声 高声 大声 轻声 小声 柔声 厉声 沉声
    朗声 颤声 悄声 失声 连声 正色 冷冷 淡淡 轻轻 缓缓 慢慢 徐徐 悄悄 幽幽 悠悠 喃喃 嘿嘿 呵呵 哈哈 嘻嘻 忽然
    突然 忽 连忙 急忙 慌忙 赶忙 赶紧 立刻 立即 马上 终于 只好 只得 不禁 不由得 不由 不觉 忍不住 接着 继续 接口
    跟着 随即 随后 这才 半晌 半日 半天 良久 许久 一时 回头 转头 扭头 转身 抬头 低头 皱眉 皱着眉 挑眉 起身 上前
    笑着 哭着 红着脸 平静 温和 认真 小心 不解 疑惑 好奇 无奈 得意 生气 着急 笑嘻嘻 笑吟吟 笑眯眯 笑呵呵 冷冰冰
    慢吞吞 慢悠悠 怯生生 气冲冲 气呼呼 急匆匆 懒洋洋 泪汪汪 恶狠狠 兴冲冲 羞答答 喜滋滋
    """
)
"""What may stand between a name and its verb, and then says nothing of who speaks."""
_TOGETHER = ("齐声", "同声", "一齐", "异口同声", "同时")
_AGAIN = re.compile("(?:因|便|忙|就|才|却)?(?:又|再|接着|继续)")
_LEADS = _words(
    """
    只听 只听得 只听见 忽听 忽听得 却听 但听 又听 便听 就听 听得 听见 只见 却见 忽见 但见 这时 那时 此时 当下
    一时 于是 然后 接着 随后 后来 原来 忽然 突然 结果 可是 但是 不过 但 不料 谁知 那边 旁边 唯有 还是 倒是 只有
    早有 便有 最后 终于
    """
)
"""What may stand before the name at the head of a sentence."""
_PRONOUNS = _words(
    """
    他们 她们 它们 他 她 它 你们 你 您 那人 这人 此人 来人 有人 对方 二人 两人 三人 二位 两个人 谁 某人 其人
    """
)
_TOWARDS = re.compile(
    "(?:对|向|朝|冲|问|劝|骂|叫|唤|拉|推|指|求|谢|喝|啐|嘱咐|吩咐|安慰|责备|打趣|告诉|招呼|望|看|瞧|瞪|盯|搂|抱|扶|附)"
    "(?:着|了|住|定|向|在)?$"
)
_PERCEIVED = re.compile("(?:听|听见|听得|闻得|只听|忽听|等|待|让)$")
_WITH = re.compile("(?:和|与|同|跟|、|及)$")
_HEARS = re.compile("(?:便|又|也|忽|却|只)?(?:听|见|闻|等|待|让)(?!了|罢|毕|说|此|后|完|问)")
_LISTENS = re.compile("[听见闻]")
_OWNED = re.compile("[的之家]|身|屋|房|背后|那边|这边|房里|一行|等人")
_ACTS = re.compile(
    "[便忙又就也却只才乃遂即还再更仍先半微含赔陪点摇拍低轻柔厉沉颤悄失淡缓慢忽突急赶立终不忍跟随回转抬皱起笑哭叹走站坐放拿拉推指看望瞧听见想"
    "把将从向对伸咬抿啐怔愣呆停沉默倚靠捧端拭掩叫问说闭睁眼心脸自]|一面|一边|一时|一手|一把|一下|一头|红着|冷笑|连忙|两手|双手|接着|用手"
)
"""How a clause starts that goes on with the subject of the one before."""
_SPEECH_WITHOUT_QUOTES = re.compile(r"(?<![知难街味轨频渠隧])[道说說问問曰](?:了|着)?[：:](?=\s*\S)")
_SILENT = re.compile(
    "(?:想|思忖|寻思|暗忖|忖度|盘算)(?:道|着|到|说)?$|[心暗]道$|(?:心里|心中|心下|心内|暗暗|暗自).{0,6}$|"
    "(?:写|题|刻|印|书|批|念|吟|唱|读|诵)(?:着|道|了|有|的是|的)?$|上书$|是$|"
    "(?:俗话说|俗语说|俗语云|常言道|常言说|古人云|古语云|有道是|诗云|所谓|名叫|叫做|叫作|取名|题为|名为)$"
)
_NOT_IN_NAMES = re.compile(
    "[的了着过是被不没很对向跟与给将听见看想说道问笑在把]|.[和同]|[来去起出下上里外后前时处边]$|^[忙便又就也却因只才乃遂即还再更仍先半]|^一(?![个位名])"
)
_NOT_SPEAKERS = _words(
    """
    旁白 字幕 注 注意 按 编剧 作者 书名 标题 剧名 人物 出场人物 登场人物 角色 地点 时间 场景 道具 音乐 音效 灯光
    备注 说明 提示 例如 比如 原因 结果 总之 第一 第二 第三 其一 其二 目录 简介 主题 日期 链接 来源 http https
    """
)
_ENDS = "。！？!?…～~"
_SENTENCE_END = re.compile(r"[。！？!?；;…\n]+")
_COMMA = re.compile("[，,：:]+")


_CLOSER: Mapping[str, str] = {"“": "”", "「": "」", "『": "』", '"': '"', "＂": "＂"}
_MARK = re.compile('[“”「」『』"＂]')
_RULE = re.compile(r"[*＊\-—=_~～·•◇◆☆★#※\s]{3,}|[◇◆☆★※]")
_PLACE = re.compile(
    r"[【\[［（(△]?\s*(?:(?:场景|場景|场次|场|景)\s*[0-9０-９一二三四五六七八九十百]*\s*(?:[：:】\]］）)]|$)|(?:布景|地点|地點|时间|時間|转场)\s*[：:]|"
    r"(?:内景|外景|幕启|幕落|幕间|转场)|(?:INT|EXT)\.|(?:chapter|scene|act)\s+[0-9ivxlc]+\b)",
    re.IGNORECASE,
)
_CHAPTER = re.compile(
    r"[【\[［]?\s*第\s*[0-9０-９一二三四五六七八九十百千零〇两]{1,6}\s*[回章节節幕场場集卷部折出]|楔子|序章|尾声|番外"
)
_BARE_STAGE = re.compile(r"[△▲]|[（(][^（()）]*[）)]\s*$|[【\[［][^【】\[\]［］]*[】\]］]\s*$")


class _Piece(NamedTuple):
    """A stretch of a paragraph: words outside quotes, the inside of a quote, or what a lone mark leaves."""

    kind: Literal["gap", "quote", "open", "broken"]
    text: str
    start: int


@dataclass(slots=True)
class _Paragraph:
    """One line, or several where a quote runs over line ends; `start` counts characters from the head of the text."""

    text: str
    start: int
    line: int
    blank_before: int
    joints: list[int] = field(default_factory=list)
    """Where in `text` each further line starts."""
    _pieces: list[_Piece] | None = None

    def line_at(self, position: int) -> int:
        return self.line + bisect_right(self.joints, position)

    def pieces(self) -> list[_Piece]:
        """Gaps and quotes by turns, a gap (it may be empty) first and last."""
        if self._pieces is None:
            self._pieces = _cut(self.text)
        return self._pieces


def _paragraphs(text: str) -> Iterator[_Paragraph]:
    """The lines that hold something, with the number of empty ones before each."""
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    index = start = blank = 0
    while index < len(lines):
        if not lines[index].strip():
            blank, start, index = blank + 1, start + len(lines[index]) + 1, index + 1
            continue
        found = _Paragraph(lines[index], start, index + 1, blank)
        taken = _wrapped(lines, index)
        for line in lines[index + 1 : index + taken]:
            # A line that was only wrapped goes on without a break, as it was before.
            joint = "\n" if found.text.rstrip()[-1:] in _ENDS else ""
            found.text = found.text.rstrip() + joint if not joint else found.text + joint
            found.joints.append(len(found.text))
            found.text += line if joint else line.lstrip()
        yield found
        start += sum(len(line) + 1 for line in lines[index : index + taken])
        index, blank = index + taken, 0


def _wrapped(lines: Sequence[str], index: int) -> int:
    """How many lines from `index` on belong together because a quote is closed only on a later one."""
    taken, opened = 1, _left_open(lines[index], "")
    ahead = 1
    while opened in ("“", "「", "『") and ahead < WRAPPED_LINES and index + ahead < len(lines):
        line = lines[index + ahead]
        closes, opens = line.find(_CLOSER[opened]), line.find(opened)
        if not line.strip() or (opens >= 0 and (closes < 0 or opens < closes)):
            break
        ahead += 1
        if closes >= 0:
            taken, opened = ahead, _left_open(line, opened)
    return taken


def _left_open(line: str, opened: str) -> str:
    """The quotation mark still open at the end of a line that begins within `opened`."""
    for mark in _MARK.findall(line):
        if opened and mark == _CLOSER[opened]:
            opened = ""
        elif mark in _CLOSER and opened in ("", mark):
            opened = mark
    return opened


def _cut(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    opened, start = "", 0
    for found in _MARK.finditer(text):
        mark, position = found.group(), found.start()
        inside = text[start:position]
        if opened and mark == _CLOSER[opened]:
            pieces.append(_Piece("quote", inside, start))
            opened, start = "", position + 1
        elif opened and mark == opened:
            pieces += [_Piece("broken", inside, start), _Piece("gap", "", position)]
            start = position + 1
        elif not opened and mark in _CLOSER:
            pieces.append(_Piece("gap", inside, start))
            opened, start = mark, position + 1
        elif not opened:
            pieces += [_Piece("gap", "", start), _Piece("broken", inside, start)]
            start = position + 1
    if opened:
        pieces += [_Piece("open" if opened in "“「『" else "broken", text[start:], start), _Piece("gap", "", len(text))]
    else:
        pieces.append(_Piece("gap", text[start:], start))
    return pieces


def _is_scene_break(paragraph: _Paragraph) -> bool:
    line = paragraph.text.strip()
    if len(line) > 60:
        return False
    if _RULE.fullmatch(line) or _PLACE.match(line):
        return True
    found = _CHAPTER.match(line)
    rest = line[found.end() :] if found else ""
    # A title may end as it likes after a space or a colon; without one, a sentence is a sentence.
    return found is not None and (not rest or rest[0] in " \u3000：:、.】]］" or rest[-1] not in _ENDS + '，；：”」』"')


_LABEL = re.compile(
    r"\s*(?:[【\[［](?P<boxed>[^【】\[\]［］：:]{1,24})[】\]］]|(?P<bare>[\w·•・.&＆、/'’\- ]{1,24}?))\s*"
    r"(?P<action>[（(][^（()）]{0,40}[）)])?\s*(?(bare)[：:](?!//)|[：:]?)\s*(?P<said>.*)",
    re.DOTALL,
)
_DIRECTION = re.compile(r"[（(][^（()）]*[）)]|[【\[［][^【】\[\]［］]*[】\]］]")
_INNER_VOICE = re.compile(r"\bO\.?S\b|内心|心想|独白|心声", re.IGNORECASE)
_INNER_LABEL = re.compile(r"[。！？!?…”」』\s]([\w·•・]{1,8})(?:[（(][^（()）]{0,40}[）)])?[：:]")


class _Label(NamedTuple):
    name: str
    action: str
    said: str


def _label(text: str) -> _Label | None:
    """A line's label by its form alone; whether it is a name is for the cast to say."""
    found = _LABEL.match(text)
    if found is None:
        return None
    name = (found["boxed"] or found["bare"]).strip()
    limit = LATIN_NAME_CHARACTERS if name.isascii() else NAME_CHARACTERS
    if not name or len(name) > limit or not any(map(str.isalpha, name)):
        return None
    return _Label(name, found["action"] or "", found["said"].strip())


def _without_directions(said: str) -> str:
    return re.sub(r"[ \t\u3000]{2,}", " ", _DIRECTION.sub("", said)).strip()


def _named(name: str) -> str:
    """A name as given by the user, without the space around it. Raises UsageError where it cannot be one."""
    name = name.strip()
    if not name or len(name) > LATIN_NAME_CHARACTERS or not name.isprintable():
        shown = name[:LATIN_NAME_CHARACTERS].encode("unicode_escape").decode() if not name.isprintable() else name[:40]
        raise UsageError(
            f"“{shown}”不能当角色名；请写 1 到 {LATIN_NAME_CHARACTERS} 个字",
            f"“{shown}” cannot be a speaker's name; write 1 to {LATIN_NAME_CHARACTERS} characters",
        )
    return name


@dataclass(slots=True)
class _Cast:
    """The names that are known, written simply, and whose each one is."""

    wished: str
    names: dict[str, str]
    given: frozenset[str]
    """The names that the caller gave: these need no proof."""
    mine: tuple[str, ...]
    """The wished speaker's own names, those of one character left out."""
    longest: int
    labels: frozenset[str] = frozenset()

    @classmethod
    def of(cls, speaker: str, aliases: Mapping[str, Sequence[str]]) -> "_Cast":
        names: dict[str, str] = {}
        for name, others in aliases.items():
            for other in (name, *others):
                simple = _named(other).translate(_SIMPLE)
                if names.setdefault(simple, name) != name:
                    raise UsageError(
                        f"“{other}”既是{names[simple]}又是{name}；请只留一个",
                        f"“{other}” is given to both {names[simple]} and {name}; keep one of them",
                    )
        wished = names.setdefault(_named(speaker).translate(_SIMPLE), speaker.strip())
        mine = tuple(known for known, owner in names.items() if owner == wished and len(known) > 1)
        return cls(wished, names, frozenset(names), mine, max(map(len, names)))

    def learn(self, paragraphs: Iterable[_Paragraph]) -> None:
        """Who else there is: labels that look like names, and subjects of speech that come more than once."""
        labels: Counter[str] = Counter()
        subjects: Counter[str] = Counter()
        count = 0
        for paragraph in paragraphs:
            count += 1
            label = None if _is_scene_break(paragraph) else _label(paragraph.text)
            # 【夜】 alone is a direction as often as a name.
            if label and self.may_be_label(label.name) and not _BARE_STAGE.match(paragraph.text.strip()):
                labels[label.name] += 1
            for piece in paragraph.pieces():
                if piece.kind == "gap":
                    subjects.update(_first_subjects(piece.text, self))
        script_like = 3 * labels.total() >= count
        accepted = {name for name, times in labels.items() if times > 1 or script_like or self.knows(name)}
        self.labels = frozenset(accepted)
        for name in (*accepted, *(name for name, times in subjects.items() if times > 1)):
            self.names.setdefault(name.translate(_SIMPLE), name)
        self.longest = max(map(len, self.names))

    def knows(self, name: str) -> bool:
        return name.translate(_SIMPLE) in self.names

    def whose(self, name: str) -> str:
        return self.names.get(name.translate(_SIMPLE), name)

    def may_be_label(self, name: str) -> bool:
        simple = name.translate(_SIMPLE)
        if simple in self.given:
            return True
        return simple not in _NOT_SPEAKERS and not _NOT_IN_NAMES.search(simple) and not _SPEECH.search(simple)

    def at(self, simple: str, position: int) -> str:
        """The longest known name that starts here, as it is written; empty where none does."""
        for length in range(min(self.longest, len(simple) - position), 0, -1):
            if simple[position : position + length] in self.names:
                return simple[position : position + length]
        return ""

    def near(self, name: str) -> bool:
        """Whether a name may be the wished one's, longer or shorter by a family name or a title."""
        simple = name.translate(_SIMPLE)
        return len(simple) > 1 and any(simple.endswith(known) or known.endswith(simple) for known in self.mine)


class _Subject(NamedTuple):
    """Who does what a clause says: a name; "none" where the clause goes on with the subject before it."""

    kind: Literal["named", "new", "pronoun", "several", "none", "unknown"]
    name: str = ""


class _Voice(NamedTuple):
    """Who speaks (None: not certain, and `why`), how the text calls him, and whether it is said aloud."""

    speaker: str | None
    named: str | None = None
    why: Text | None = None
    aloud: bool = True


def _clauses(sentence: str) -> list[str]:
    return [clause.strip() for clause in _COMMA.split(sentence) if clause.strip()]


def _last_sentence(gap: str) -> tuple[str, str]:
    """The sentence that a quote interrupts, without its comma or colon, and that mark."""
    trimmed = gap[-CONTEXT_CHARACTERS:].rstrip()
    mark = trimmed[-1:] if trimmed.endswith(("：", ":", "，", ",")) else ""
    return _SENTENCE_END.split(trimmed.rstrip("：:，,"))[-1].strip(" \u3000—"), mark


def _first_sentence(gap: str) -> tuple[str, bool]:
    """The sentence that follows a quote at once, and whether nothing but it stands before the next quote."""
    near = gap[:CONTEXT_CHARACTERS].lstrip("，, \u3000")
    if not near or _SENTENCE_END.match(near):
        return "", False
    end = _SENTENCE_END.search(near)
    if end is None:
        return near, len(gap) <= CONTEXT_CHARACTERS
    return near[: end.start()], not near[end.end() :].strip() and len(gap) <= CONTEXT_CHARACTERS


def _is_adverb(simple: str) -> bool:
    return any(simple[-length:] in _ADVERBS for length in (2, 3))


def _without_adverbs(simple: str, cast: _Cast) -> str:
    """The head of a clause once the adverbs at its end are off; a known name stays, and never one character alone."""
    left = simple
    while left and not _ending(left, cast):
        cut = next((length for length in (4, 3, 2, 1) if left[-length:] in _ADVERBS and length <= len(left)), 0)
        if not cut and left[-1] == "的" and _is_adverb(left[:-1]):
            cut = 1
        if not cut:
            break
        if len(left) - cut == 1 and left[0] not in _ADVERBS:
            break
        left = left[:-cut]
    return left


def _pronoun(simple: str) -> str:
    """The pronoun, or the word that may stand for anyone, at the head of a clause; empty where there is none."""
    return next((simple[:length] for length in (3, 2, 1) if simple[:length] in _PRONOUNS), "")


def _lead(simple: str) -> int:
    """How many characters at the head of a sentence only lead in: 只听, 于是."""
    return next((length for length in (3, 2, 1) if simple[:length] in _LEADS), 0)


def _spoken(clause: str) -> tuple[str, str, bool]:
    """A clause up to its verb of speech, as written and simply, and whether it has that verb."""
    simple = clause.translate(_SIMPLE)
    verb = _SPEECH.search(simple)
    end = verb.start() if verb else len(simple)
    return clause[:end], simple[:end], verb is not None


def _looks_new(simple: str) -> bool:
    """Whether this may be the name of someone not heard of: 紫鹃, 那婆子."""
    if not 2 <= len(simple) <= 5 or not all(map(str.isalnum, simple)):
        return False
    return not (_pronoun(simple) or _NOT_IN_NAMES.search(simple) or _ACTS.match(simple))


def _first_subjects(gap: str, cast: _Cast) -> set[str]:
    """The new names that stand first in a sentence beside a quote, with a verb of speech after them."""
    names = set()
    for sentence in (_last_sentence(gap)[0], _first_sentence(gap)[0]):
        clauses = _clauses(sentence)
        if clauses:
            written, simple, speaks = _spoken(clauses[0])
            start = _lead(simple)
            name = _without_adverbs(simple[start:], cast)
            if speaks and _looks_new(name) and not cast.at(name, 0):
                names.add(written[start : start + len(name)])
    return names


def _ending(core: str, cast: _Cast) -> str:
    """The longest known name or pronoun that the words end with."""
    for length in range(min(max(cast.longest, 3), len(core)), 0, -1):
        tail = core[-length:]
        if tail in cast.names or tail in _PRONOUNS or tail in ("众人", "大家", "我"):
            return tail
    return ""


def _subject(clause: str, cast: _Cast) -> _Subject:
    """Who speaks by one clause, read from its verb backwards and from its head forwards."""
    written, body, speaks = _spoken(clause)
    start = 0 if cast.at(body, 0) else _lead(body)
    core = _without_adverbs(body[start:], cast)
    together = any(word in body for word in _TOGETHER)
    tail = _ending(core, cast)
    towards = _TOWARDS.search(core[: len(core) - len(tail)]) if tail else None
    if towards and not (tail and core in cast.names):
        core, tail = _without_adverbs(core[: towards.start()], cast), ""
    if not core:
        return _Subject("none")
    if core in cast.names:
        return _Subject("named", cast.names[core])
    head, tail = cast.at(core, 0), tail or _ending(core, cast)
    left = core[: len(core) - len(tail)] if tail else ""
    if "、" in core or (together and head) or (tail and _WITH.search(left)):
        return _Subject("several")
    if tail in cast.names and _PERCEIVED.search(left):
        return _Subject("named", cast.names[tail])
    if head:
        return _headed(core, head, tail, cast)
    if _pronoun(core):
        return _Subject("pronoun", _pronoun(core))
    if speaks and _looks_new(core):
        return _Subject("new", written[start : start + len(core)])
    return _Subject("none") if _ACTS.match(core) else _Subject("unknown")


def _headed(core: str, head: str, tail: str, cast: _Cast) -> _Subject:
    """The subject of a clause that begins with a known name, unless somebody else comes in after it."""
    rest = core[len(head) :]
    if rest.endswith(("二人", "两人", "三人", "两个", "三个", "几个", "等", "们")):
        return _Subject("several")
    if _OWNED.match(rest):
        last = core[core.rfind("的") + 1 :]
        return _Subject("named", cast.names[last]) if last in cast.names else _Subject("unknown")
    hears = _HEARS.match(rest)
    if tail or (hears and _looks_new(rest[hears.end() :])):
        return _Subject("unknown")
    return _Subject("named", cast.names[head])


def _subject_before(clause: str, cast: _Cast) -> _Subject:
    """Whom a clause is about that itself has no verb of speech: a later clause may go on with him."""
    simple = clause.translate(_SIMPLE)
    start = 0 if cast.at(simple, 0) else _lead(simple)
    head = cast.at(simple, start)
    rest = simple[start + len(head) :]
    if head and (joined := re.match("[和与同跟、及]", rest)) and cast.at(rest, joined.end()):
        return _Subject("several")
    if head:
        return _Subject("unknown") if _OWNED.match(rest) else _Subject("named", cast.names[head])
    if pronoun := _pronoun(simple[start:]):
        return _Subject("pronoun", pronoun)
    return _Subject("none") if _ACTS.match(simple) or not _without_adverbs(simple, cast) else _Subject("unknown")


def _subject_of_sentence(clauses: Sequence[str], cast: _Cast) -> _Subject:
    """The subject of the last clause, sought in the ones before it where it only goes on."""
    subject = _subject(clauses[-1], cast)
    if subject.kind == "new" and len(clauses) > 1:
        # 黛玉大怒，拍案道: what looks new in a later clause is more often a deed than a name.
        return _Subject("unknown")
    for clause in reversed(clauses[:-1]):
        if subject.kind != "none":
            break
        subject = _subject_before(clause, cast)
    return subject


def _as_voice(subject: _Subject, cast: _Cast) -> _Voice:
    match subject.kind:
        case "named" | "new":
            return _voice_of(subject.name, cast)
        case "pronoun":
            return _Voice(None, None, _pronoun_why(subject.name))
        case "several":
            return _Voice(None, None, _SEVERAL)
        case "none":
            return _Voice(None, None, _NO_SUBJECT)
    return _Voice(None, None, _UNCLEAR)


def _voice_of(name: str, cast: _Cast) -> _Voice:
    owner = cast.whose(name)
    if owner != cast.wished and name.translate(_SIMPLE) not in cast.given and cast.near(name):
        return _Voice(None, name, _near_why(name, cast.wished))
    return _Voice(owner, owner)


def _introduced(before: str, quote: str, previous: "_Said | None", cast: _Cast) -> _Voice | None:
    """The speaker as the words before a quote tell him; None where they do not introduce speech."""
    sentence, mark = _last_sentence(before)
    clauses = _clauses(sentence)
    if not clauses:
        return None
    simple = clauses[-1].translate(_SIMPLE)
    if _SILENT.search(simple):
        set_apart = not mark and quote.rstrip()[-1:] not in _ENDS
        return None if set_apart else _Voice(None, None, _NOT_ALOUD, aloud=False)
    speaks = _SPEECH.search(simple) is not None
    if not speaks and mark not in ("：", ":"):
        return None
    if not mark and quote.rstrip()[-1:] not in _ENDS:
        return _Voice(None, None, _MID_SENTENCE)
    subject = _subject_of_sentence(clauses, cast)
    alone = len(clauses) == 1 and sentence == before.strip(" \u3000，,：:—")
    if subject.kind == "none" and previous and previous.speaker and alone and _AGAIN.match(simple):
        return _Voice(previous.speaker, previous.speaker)
    return _as_voice(subject, cast)


def _followed(after: str, quote: str, last: bool, cast: _Cast) -> _Voice | None:
    """The speaker as the words after a quote tell him: “…”，宝玉说。 None where they tell nothing."""
    sentence, whole = _first_sentence(after)
    clauses = _clauses(sentence)
    spoken = next((index for index, clause in enumerate(clauses[:2]) if _spoken(clause)[2]), None)
    if (
        spoken is None
        or (spoken and _LISTENS.search(clauses[0].translate(_SIMPLE)))
        or _SILENT.search(clauses[spoken].translate(_SIMPLE))
    ):
        return None
    subject = _subject_of_sentence(clauses[: spoken + 1], cast)
    if subject.kind == "none":
        return None
    opens_next = not last and whole and sentence.rstrip().endswith(("：", ":")) and spoken == len(clauses) - 1
    if opens_next and quote.rstrip()[-1:] not in "，,":
        guess = subject.name if subject.kind in ("named", "new") and spoken == 0 else ""
        return _Voice(None, None, _guess_why(cast.whose(guess)) if guess else _NOBODY)
    return _as_voice(subject, cast)


def _acting(after: str, cast: _Cast) -> str | None:
    """Who does something right after a quote: a hint of who spoke, no more."""
    clauses = _clauses(_first_sentence(after)[0])
    subject = _subject_before(clauses[0], cast) if clauses else _Subject("none")
    return subject.name if subject.kind == "named" else None


def _is_utterance(before: str, quote: str, after: str) -> bool:
    """Whether a quote that nobody is said to speak is speech, not a word that the narrator sets apart."""
    if quote.rstrip()[-1:] in _ENDS + "，,；;—":
        return True
    starts = before.rstrip()[-1:] in _ENDS + "，,；;：:—"
    ends = after.lstrip()[:1] in _ENDS + "，,；;。—"
    return starts and ends


class _Quote(NamedTuple):
    """A quote between the words around it; `last` in its paragraph."""

    before: str
    piece: _Piece
    after: str
    last: bool


@dataclass(slots=True)
class _Said:
    """One utterance; `start` and `end` count characters of the text, `paragraph` is the line where its own starts."""

    line: int
    start: int
    end: int
    paragraph: int
    text: str
    speaker: str | None
    named: str | None = None
    why: Text | None = None
    blocks: bool = True
    """Whether it may have been what the next speaker answers."""


@dataclass(slots=True)
class _Reader:
    """Reads paragraph by paragraph; `said` gets every utterance, and None for each scene break."""

    cast: _Cast
    said: list[_Said | None] = field(default_factory=list)
    pending: _Label | None = None
    """A label whose words stand on the next line."""
    below: bool = False
    """Whether the paragraph before was a labelled line or belongs to one."""
    carried: str = ""
    """The end of the paragraph before, where it introduces a quote on this one."""
    continued: _Said | None = None
    """A quote that goes on in this paragraph with a mark that opens again."""
    recent: list[str] = field(default_factory=list)
    """The two who spoke last, the last one at the end."""

    def read(self, paragraph: _Paragraph, following: _Paragraph | None) -> None:
        breaks = _is_scene_break(paragraph)
        if breaks or paragraph.blank_before >= 2:
            self.said.append(None)
            self.pending, self.below, self.carried, self.continued, self.recent = None, False, "", None, []
        if breaks:
            return
        quoted = paragraph.text.lstrip()[:1] in _CLOSER
        label = _label(paragraph.text)
        if label and (label.name in self.cast.labels or self.cast.knows(label.name)) and self._whole(label.said):
            self._labelled(paragraph, label)
        elif self.pending and not quoted and not _BARE_STAGE.match(paragraph.text.strip()):
            self._labelled(paragraph, self.pending._replace(said=paragraph.text.strip()))
        elif len(paragraph.pieces()) == 1 and _BARE_STAGE.match(paragraph.text.strip()):
            return
        elif self.below and paragraph.blank_before == 0 and len(paragraph.pieces()) == 1:
            self._unlabelled(paragraph)
        else:
            self._prose(paragraph, following, label)

    @staticmethod
    def _whole(said: str) -> bool:
        """Whether all that follows a label is said: there are no quotes, or they are inside, or one is around it."""
        return said[:1] not in _CLOSER or (len(said) > 1 and said.find(_CLOSER[said[0]], 1) == len(said) - 1)

    def _add(self, paragraph: _Paragraph, start: int, end: int, text: str, voice: _Voice) -> _Said:
        line, offset = paragraph.line_at(start), paragraph.start
        said = _Said(line, offset + start, offset + end, paragraph.line, text.strip(), *voice[:3], blocks=voice.aloud)
        self.said.append(said)
        if voice.speaker:
            self._heard(voice.speaker)
        return said

    def _heard(self, name: str) -> None:
        self.recent = [*(other for other in self.recent[-1:] if other != name), name]

    def _labelled(self, paragraph: _Paragraph, label: _Label) -> None:
        self.carried, self.continued, self.pending = "", None, None
        words = label.said[1:-1] if label.said[:1] in _CLOSER else label.said
        words = _without_directions(words)
        self.below = bool(label.said)
        if not label.said:
            self.pending = label
            # Where a quote follows, the name introduces it.
            self.carried = f"{label.name}："
        if not words:
            return
        voice = _voice_of(label.name, self.cast)
        parts = re.split("[、/&＆]", label.name)
        if _INNER_VOICE.search(label.action):
            voice = _Voice(None, voice.named, _NOT_ALOUD, aloud=False)
        elif len(parts) > 1 and self.cast.wished in map(self.cast.whose, parts):
            voice = _Voice(None, None, _SEVERAL)
        elif any(found in self.cast.labels for found in _INNER_LABEL.findall(label.said)):
            voice = _Voice(None, voice.named, _TWO_LABELS)
        self._add(paragraph, 0, len(paragraph.text), words if voice.speaker else label.said, voice)

    def _unlabelled(self, paragraph: _Paragraph) -> None:
        text = paragraph.text.strip()
        above = self.said[-1] if self.said else None
        if above is None or above.why is _NO_LABEL or above.text[-1:] in _ENDS + '”」』）)"—':
            self._add(paragraph, 0, len(paragraph.text), text, _Voice(None, None, _NO_LABEL, aloud=False))
            return
        above.text, above.speaker, above.why = f"{above.text}\n{text}", None, _GOES_ON

    def _prose(self, paragraph: _Paragraph, following: _Paragraph | None, label: _Label | None) -> None:
        pieces = paragraph.pieces()
        carried, self.carried, self.pending, self.below = self.carried, "", None, False
        if label and len(pieces) == 1 and label.said and self.cast.may_be_label(label.name):
            self._add(paragraph, 0, len(paragraph.text), paragraph.text, _Voice(None, None, _once_why(label.name)))
            return
        previous: _Said | None = None
        for index, piece in enumerate(pieces):
            if piece.kind == "gap":
                self._unquoted(paragraph, piece)
                continue
            before = pieces[index - 1].text
            if index == 1 and not before.strip():
                before = carried
            last = index == len(pieces) - 2
            opener = paragraph.text[piece.start - 1]
            if piece.kind == "open" and not (following and following.text.lstrip().startswith(opener)):
                piece = piece._replace(kind="broken")
            voice = self._voice(_Quote(before, piece, pieces[index + 1].text, last), previous)
            self.continued = None
            if voice is not None:
                previous = self._add(paragraph, piece.start, piece.start + len(piece.text), piece.text, voice)
                if piece.kind == "open":
                    self.continued = previous
        if pieces[-1].text.rstrip().endswith(("：", ":")):
            self.carried = pieces[-1].text

    def _voice(self, quote: _Quote, previous: _Said | None) -> _Voice | None:
        """Who speaks a quote; None where it is no utterance."""
        before, piece, after, last = quote
        if not piece.text.strip():
            return None
        if piece.kind == "broken":
            return _Voice(None, None, _UNMATCHED)
        if self.continued and not before.strip():
            return _Voice(self.continued.speaker, self.continued.named, self.continued.why, self.continued.blocks)
        voice = _introduced(before, piece.text, previous, self.cast) or _followed(after, piece.text, last, self.cast)
        if voice or not _is_utterance(before, piece.text, after):
            return voice
        if previous and previous.speaker and _first_sentence(before)[1]:
            between = _followed(before, previous.text, True, self.cast)
            if between and between.speaker == previous.speaker:
                return _Voice(previous.speaker, previous.speaker)
        guess = _acting(after, self.cast) or (previous.speaker if previous else None)
        if not guess and not previous and not after.strip() and len(self.recent) == 2:
            guess = self.recent[0]
            self._heard(guess)
        return _Voice(None, None, _guess_why(guess) if guess else _NOBODY)

    def _unquoted(self, paragraph: _Paragraph, gap: _Piece) -> None:
        """Tell of speech that stands without quotes: 黛玉道：你来了。"""
        found = _SPEECH_WITHOUT_QUOTES.search(gap.text)
        if found:
            start = gap.start + found.end()
            end = gap.start + len(gap.text)
            self._add(paragraph, start, end, gap.text[found.end() :], _Voice(None, None, _UNQUOTED))


def _paired(utterances: Iterable[_Said | None], wished: str) -> tuple[list[Row], list[Unsure]]:
    """Each turn of the wished speaker with the turn before it, or the reason why there is none."""
    rows: list[Row] = []
    unsure: list[Unsure] = []
    before: list[_Said] = []
    turn: list[_Said] = []
    for said in (*utterances, None):
        if said is not None and said.speaker is None:
            unsure.append(Unsure(said.line, said.text, said.why or _UNCLEAR))
            if not said.blocks:
                continue
        if (
            said
            and turn
            and said.speaker
            and said.speaker == turn[-1].speaker
            and _distance(turn, said) <= FAR_CHARACTERS
        ):
            turn.append(said)
            continue
        if turn and turn[0].speaker == wished:
            why = _why_not(before, turn)
            if why is None:
                rows.append(Row(turn[0].line, _joined(before), _joined(turn)))
            else:
                unsure.append(Unsure(turn[0].line, _joined(turn), why))
        before, turn = (turn, [said]) if said else ([], [])
    return rows, unsure


def _distance(turn: Sequence[_Said], following: _Said) -> int:
    return following.start - turn[-1].end


def _why_not(before: Sequence[_Said], turn: Sequence[_Said]) -> Text | None:
    """Why a turn has nothing certain that it answers; None where it has."""
    if not before:
        return _FIRST
    if before[-1].speaker is None:
        return _AFTER_DOUBT
    distance = _distance(before, turn[0])
    return _far(distance) if distance > FAR_CHARACTERS else None


def _joined(turn: Sequence[_Said]) -> str:
    """The words of one turn: a new line for a new paragraph, nothing where a sentence was only interrupted."""
    text = turn[0].text
    for one, other in pairwise(turn):
        if one.paragraph != other.paragraph:
            text += "\n"
        elif one.text.isascii() and other.text.isascii():
            text += " "
        text += other.text
    return text
