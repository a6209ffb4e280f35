"""The faults of readable rows, their effect on a model, and how to mend them.

    Conversation, ... ──► each row by itself   (blemishes, privacy)         ┐
                      ──► all rows together    (duplicates, scripts, style) ├─► Findings ──► Finding(kind, lines,
    held-out rows     ──► answers on both sides                             ┘                what, mend), ...

False alarms cost trust, so the rules are narrow rather than complete. What is only a style is not reported: most
answers without a full stop, Japanese, code.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ...prompt.conversation import Conversation
from ...text import Language, Text, shown
from .blemishes import BlemishKind, blemishes, prose, scripts
from .duplicates import Near, Phrase, Phrases, folded
from .privacy import NAMES, PrivateKind, kinds

FindingKind = (
    PrivateKind
    | Literal["leaks", "duplicates", "near_duplicates", "repeated_instructions", "repeated_phrases"]
    | BlemishKind
    | Literal["mixed_scripts", "missing_system"]
)

SHORTEST_LEAK_CHARACTERS = 10
"""Minimum length of a leaked answer; shorter ones (好的，我知道了。) recur without being copied."""

LEAST_SCRIPT_CHARACTERS = 2
"""Minimum number of characters of a script in a row; a single one may be a name or a typing error."""

STYLE_SHARE = 0.5
"""A kind of `STYLES` that occurs in more than this share of the rows is the style of the dataset, not a fault."""

STYLES: tuple[FindingKind, ...] = ("unfinished_answers", "short_answers")


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of fault: the lines of all rows that have it, in order, its effect, and how to mend it."""

    kind: FindingKind
    lines: tuple[int, ...]
    what: Text
    mend: Text

    @property
    def count(self) -> int:
        """Number of rows that have the fault."""
        return len(self.lines)

    def as_json(self, language: Language) -> dict[str, object]:
        """Return kind, count, lines and the two texts."""
        return {
            "kind": self.kind,
            "count": self.count,
            "lines": list(self.lines),
            "what": self.what.to(language),
            "mend": self.mend.to(language),
        }


@dataclass(frozen=True, slots=True)
class Findings:
    """The findings in `rows` rows, most serious first. A kind that no row has is left out."""

    rows: int
    found: tuple[Finding, ...]

    def of(self, kind: FindingKind) -> Finding | None:
        """Return the finding of this kind, or None."""
        return next((finding for finding in self.found if finding.kind == kind), None)

    def count(self, kind: FindingKind) -> int:
        """Return the number of rows with this kind of fault."""
        finding = self.of(kind)
        return finding.count if finding else 0


def examine(
    conversations: Iterable[Conversation], held_out: Iterable[Conversation] = (), persona: str | None = None
) -> Findings:
    """Return the faults of the rows. `persona` is the system prompt for rows without their own.

    duplicates             rows whose whole conversation equals an earlier one after folding (NFKC, letter case,
                           white space)
    repeated_instructions  rows whose question an earlier row asks under the same system prompt, duplicates
                           included; the question is all that comes before the last answer
    leaks                  held-out rows with an answer, or a whole conversation, that is in the other rows too

    The first two kinds do not count the first row, so deleting the lines listed keeps one of each. `held_out` is
    either a part of `conversations` (the same objects) or the rows of another file. It is used only for leaks,
    whose lines are those of the held-out rows. Reads the rows once; `duplicates` says how much memory that needs.
    """
    apart = tuple(held_out)
    reading = _Reading(persona)
    other_side = _OtherSide(apart)
    for conversation in conversations:
        reading.add(conversation)
        other_side.add(conversation)
    return Findings(reading.rows, tuple(_told(reading, other_side.leaks())))


class _Row(NamedTuple):
    """A conversation for comparison: the folded texts, separated by role. `answers` are those that are learned."""

    question: str
    answers: tuple[str, ...]
    system: str

    @staticmethod
    def of(conversation: Conversation) -> "_Row":
        messages = [(message.role, folded(message.content)) for message in conversation.messages]
        return _Row(
            "\n".join(text for role, text in messages[:-1] if role != "system"),
            tuple(folded(answer) for answer in _learned(conversation)),
            "\n".join(text for role, text in messages if role == "system"),
        )


def _learned(conversation: Conversation) -> Iterator[str]:
    return (message.content for message in conversation.messages if message.role == "assistant" and message.learn)


class _OtherSide:
    """Finds held-out answers that occur in the other rows too; of those only hashes are kept."""

    def __init__(self, held_out: Sequence[Conversation]) -> None:
        self._held_out = held_out
        self._objects = {id(conversation) for conversation in held_out}
        self._wanted = {key for conversation in held_out for key in self._keys(conversation)}
        self._met: set[int] = set()

    def add(self, conversation: Conversation) -> None:
        if self._wanted and id(conversation) not in self._objects:
            self._met.update(self._wanted.intersection(self._keys(conversation)))

    def leaks(self) -> list[int]:
        return [row.line for row in self._held_out if not self._met.isdisjoint(self._keys(row))]

    @staticmethod
    def _keys(conversation: Conversation) -> list[int]:
        row = _Row.of(conversation)
        return [hash(row), *(hash(answer) for answer in row.answers if len(answer) >= SHORTEST_LEAK_CHARACTERS)]


class _Reading:
    """Collects faults row by row: the lines and the first example of each kind."""

    def __init__(self, persona: str | None) -> None:
        self.rows = 0
        self.lines: defaultdict[FindingKind, list[int]] = defaultdict(list)
        self.example: dict[FindingKind, str] = {}
        self.simplified: list[int] = []
        self.traditional: list[int] = []
        self.phrases = Phrases()
        self._persona = persona
        self._near = Near()
        self._conversations: set[int] = set()
        self._questions: set[int] = set()
        self._mostly_traditional = 0
        self._chinese = 0

    def add(self, conversation: Conversation) -> None:
        self.rows += 1
        line = conversation.line
        for kind, example in blemishes(conversation, self._persona):
            self._note(kind, line, example)
        for private in kinds(conversation):
            self._note(private, line)
        if self._persona is None and conversation.messages[0].role != "system":
            self._note("missing_system", line)
        self._compare(_Row.of(conversation), line)
        self._weigh(*scripts(conversation), line)
        answers = map(prose, _learned(conversation))
        self.phrases.add(" ".join(" ".join(answers).split()), line)

    def _note(self, kind: FindingKind, line: int, example: str = "") -> None:
        self.lines[kind].append(line)
        self.example.setdefault(kind, example)

    def _compare(self, row: _Row, line: int) -> None:
        question = hash((row.system, row.question))
        if question in self._questions:
            self._note("repeated_instructions", line)
        self._questions.add(question)
        if hash(row) in self._conversations:
            self._note("duplicates", line)
            return
        self._conversations.add(hash(row))
        earlier = self._near.add(row.question, row.answers[-1], line)
        if earlier is not None:
            self._note("near_duplicates", line, f"{line} {earlier}")

    def _weigh(self, simplified: int, traditional: int, line: int) -> None:
        if simplified >= LEAST_SCRIPT_CHARACTERS:
            self.simplified.append(line)
        if traditional >= LEAST_SCRIPT_CHARACTERS:
            self.traditional.append(line)
        self._chinese += max(simplified, traditional) >= LEAST_SCRIPT_CHARACTERS
        self._mostly_traditional += traditional > simplified and traditional >= LEAST_SCRIPT_CHARACTERS

    def is_traditional(self) -> bool:
        """True if most of the Chinese rows are in traditional characters."""
        return 2 * self._mostly_traditional > self._chinese


def _private(name: Text) -> tuple[Text, Text]:
    return (
        Text(f"{{n}} 条里有{name.zh}", f"rows with a{'n' * (name.en[0] in 'aei')} {name.en}: {{n}}"),
        Text(
            "模型可能背下来说给别人听；换掉，或用 --redact 盖住",
            "a model may recite it to strangers; replace it, or let --redact cover it",
        ),
    )


# In the order in which findings are listed.
_WRITTEN: Mapping[FindingKind, tuple[Text, Text]] = {
    "secret": (
        Text("{n} 条里有密钥", "rows with a secret key: {n}"),
        Text("请作废这个密钥，再用 --redact 盖住", "revoke the key, then let --redact cover it"),
    ),
    **{kind: _private(NAMES[kind]) for kind in NAMES if kind != "secret"},
    "duplicates": (
        Text("{n} 条与前面某一条完全相同", "exact copies of earlier rows: {n}"),
        Text("删掉多余的，免得模型只会背这几句", "keep one of each, or the model learns those few by heart"),
    ),
    "near_duplicates": (
        Text(
            "{n} 条与前面某一条几乎一样，如第 {a} 行与第 {b} 行",
            "near copies of earlier rows: {n}, such as line {a} of line {b}",
        ),
        Text("对照看一看，只改了几个字的留一条", "compare them, and keep one where only a few words differ"),
    ),
    "repeated_instructions": (
        Text(
            "{n} 条的问题前面已经问过，其中 {m} 条的答案不同",
            "questions asked in an earlier row: {n}, of which {m} are answered differently",
        ),
        Text(
            "同一问有几种答法没关系；互相矛盾的请只留一种",
            "several ways to answer are fine; where they contradict each other, keep one",
        ),
    ),
    "leaks": (
        Text(
            "验证数据里有 {n} 条的答案在训练数据里也有，验证结果会好得不真实",
            "held-out rows whose answer is in the training rows too: {n}, so the held-out loss would flatter",
        ),
        Text("从其中一边删掉", "delete them from one side"),
    ),
    "repeated_phrases": (
        Text("{n} 条答案里反复出现同样的话：{examples}", "the same words come back in {n} answers: {examples}"),
        Text(
            "确认这是想要的口头禅；不是的话删改一些，否则模型会常把它挂在嘴边",
            "make sure that it is wanted; if not, vary or delete it, or the model will say it all the time",
        ),
    ),
    "empty_answers": (
        Text("{n} 条的答案只有标点，没有内容", "answers of punctuation only: {n}"),
        Text("写上内容，或删掉", "write something there, or delete the rows"),
    ),
    "short_answers": (
        Text("{n} 条的答案只有一个字，如“{example}”", "answers of a single character: {n}, such as {example}"),
        Text("看看是不是没写完", "see whether they are complete"),
    ),
    "unfinished_answers": (
        Text(
            "{n} 条的答案像是没说完（占 {share}），如“{example}”",
            "answers that seem to stop in mid-sentence: {n} ({share}), such as “{example}”",
        ),
        Text(
            "补完最后一句；模型会照着学，把话说一半",
            "finish the last sentence, for the model learns to stop there too",
        ),
    ),
    "control_tokens": (
        Text("{n} 条里有控制符，如 {example}", "rows with control tokens: {n}, such as {example}"),
        Text(
            "多半是从别的工具带出来的，请删掉；不删，模型会把它当普通文字说出来",
            "remove these leftovers of other tools; they are learnt as plain text, and the model would say them",
        ),
    ),
    "invisible_characters": (
        Text("{n} 条里有看不见的字符，如 {example}", "rows with invisible characters: {n}, such as {example}"),
        Text("用 --fix 去掉", "let --fix remove them"),
    ),
    "mixed_scripts": (
        Text("简体和繁体混用：{n} 条里有{minority}", "rows with {minority} Chinese, while most are not: {n}"),
        Text("先统一转成一种（例如用 OpenCC）", "convert all rows to one script first, with OpenCC for example"),
    ),
    "placeholders": (
        Text("{n} 条里有没填的占位符，如 {example}", "rows with a placeholder left to fill in: {n}, such as {example}"),
        Text("换成真正的内容，否则模型会原样说出来", "put the real words there, or the model will say it as it stands"),
    ),
    "echoes": (
        Text("{n} 条的答案和问题一模一样", "answers that are the question itself: {n}"),
        Text("写上真正的答案，或删掉", "write the real answer, or delete the rows"),
    ),
    "missing_system": (
        Text(
            "{n} 条没有系统提示词，训练时会用模型自带的那句；被问到是谁，它多半会报出基座模型的名字",
            "rows without a system prompt: {n}; the model's own is used, and asked who it is, "
            "it gives the name of the base",
        ),
        Text("写上 system=你是……，训练和对话都用它", 'add system="You are …"; training and chat will both use it'),
    ),
    "foreign_names": (
        Text(
            "{n} 条的答案自称是别的模型，如 {example}",
            "answers that claim to be some other model: {n}, such as {example}",
        ),
        Text("改成自己的角色，或删掉", "write your own character there, or delete the rows"),
    ),
}


def _told(reading: _Reading, leaks: list[int]) -> Iterator[Finding]:
    phrases = reading.phrases.most()
    traditional = reading.is_traditional()
    lines: Mapping[FindingKind, Sequence[int]] = {
        **reading.lines,
        "leaks": leaks,
        "repeated_phrases": [line for phrase in phrases for line in phrase.lines],
        "mixed_scripts": reading.simplified if traditional else reading.traditional,
    }
    others = len(lines.get("repeated_instructions", ())) - len(lines.get("duplicates", ()))
    copy, _, original = reading.example.get("near_duplicates", "").partition(" ")
    for kind, (what, mend) in _WRITTEN.items():
        found = sorted(lines.get(kind, ()))
        if not found or (kind in STYLES and len(found) > STYLE_SHARE * reading.rows):
            continue
        values = {
            "n": len(found),
            "m": others,
            "a": copy,
            "b": original,
            "share": f"{len(found) / reading.rows:.1%}",
            "example": reading.example.get(kind, ""),
        }
        minority = Text("简体", "simplified") if traditional else Text("繁体", "traditional")
        yield Finding(
            kind,
            tuple(found),
            Text(
                what.zh.format(**values, minority=minority.zh, examples="、".join(map(_quoted, phrases))),
                what.en.format(**values, minority=minority.en, examples=", ".join(map(_quoted, phrases))),
            ),
            mend,
        )


def _quoted(phrase: Phrase) -> str:
    return f"“{shown(phrase.text)}”×{len(phrase.lines)}"
