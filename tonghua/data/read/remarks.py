"""What was done with the rows that are kept, counted: answers that are not learned, keys that are not used, and more.

    {"role": "assistant", "content": "…", "loss": false, "name": "小熊"}
        |  RowFaults.tell
        v
    Remark("context", '"loss": false', 1), Remark("message key", "name", 1)
        |  remark_lines
        v
    1 answer is context only and not learned ("loss": false)

Every key of a row, a message, a round and a part is used, refused or counted here. Nothing vanishes in silence.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, get_args

from ...text import Language, Text, shown
from .faults import Faults

RemarkKind = Literal[
    "context",  # answers that a mark keeps from being learned, by the mark
    "question mark",  # questions that a mark wants learned, by the mark
    "reasoning",  # reasoning of answers, by its key
    "greeting",  # rows that begin with the assistant
    "joined",  # questions joined to the question before
    "unanswered",  # rows that end with a question
    "placeholder",  # texts that hold a placeholder of a picture, by the placeholder
    "empty cell",  # cells of a table that hold only a word for nothing, by the word
    "column",  # columns that are not used, by name
    "message key",  # keys of messages, rounds and parts that are not used, by name
]

MOST_NAMES = 100
"""Maximum names of one kind that are counted one by one; all others are counted together."""

NAMES_SHOWN = 12


class Remark(NamedTuple):
    """How often something was done; `name` is "" for a kind without names, and for all names over `MOST_NAMES`."""

    kind: RemarkKind
    name: str
    times: int

    def as_json(self, language: Language) -> dict[str, object]:
        """Return the fields as JSON, with `what` as one line in `language`."""
        return {
            "kind": self.kind.replace(" ", "_"),
            "name": self.name,
            "count": self.times,
            "what": remark_lines([self])[0].to(language),
        }


class RowFaults(Faults):
    """The faults of one row so far, and what to remark on the row if it has none."""

    def __init__(self, faults: Iterable[object] = ()) -> None:
        super().__init__(faults)  # type: ignore[arg-type]
        self.remarks: list[tuple[RemarkKind, str]] = []

    def tell(self, kind: RemarkKind, name: str = "") -> None:
        """Remember a remark on this row; `name` is as for `Remark`."""
        self.remarks.append((kind, name))


class Remarks:
    """Counts the remarks on many rows, in memory that does not grow with the names in them."""

    def __init__(self) -> None:
        self._counts: dict[tuple[RemarkKind, str], int] = {}
        self._names = dict.fromkeys(get_args(RemarkKind), 0)

    def add(self, kind: RemarkKind, name: str, count: int = 1) -> None:
        """Count a remark."""
        if (kind, name) not in self._counts:
            if self._names[kind] >= MOST_NAMES:
                name = ""
            self._names[kind] += 1
        self._counts[kind, name] = self._counts.get((kind, name), 0) + count

    def found(self) -> tuple[Remark, ...]:
        """Return the counts: kinds in the order of `RemarkKind`, names in the order of appearance."""
        every = [Remark(kind, name, count) for (kind, name), count in self._counts.items()]
        return tuple(sorted(every, key=lambda remark: get_args(RemarkKind).index(remark.kind)))


def merged(remarks: Iterable[Remark]) -> tuple[Remark, ...]:
    """Return the remarks of several datasets as those of one."""
    both = Remarks()
    for remark in remarks:
        both.add(*remark)
    return both.found()


def remark_lines(remarks: Sequence[Remark]) -> list[Text]:
    """Return one line for each kind of remark; names of unused columns and keys share a line."""
    lines = []
    for kind in dict.fromkeys(remark.kind for remark in remarks):
        own = [remark for remark in remarks if remark.kind == kind]
        if kind == "column":
            names = _counted(own)
            lines.append(Text(f"没有用到的列：{names.zh}", f"columns not used: {names.en}"))
        elif kind == "message key":
            names = _counted(own)
            lines.append(Text(f"消息里没有用到的键：{names.zh}", f"keys of messages not used: {names.en}"))
        else:
            lines += [_line(remark) for remark in own]
    return lines


def _counted(remarks: Sequence[Remark]) -> Text:
    """Return names with their counts: id（120）、source（120）."""
    named = [remark for remark in remarks if remark.name][:NAMES_SHOWN]
    rest = sum(remark.times for remark in remarks) - sum(remark.times for remark in named)
    zh = "、".join(f"{shown(remark.name, 40)}（{remark.times}）" for remark in named)
    en = ", ".join(f"{shown(remark.name, 40)} ({remark.times})" for remark in named)
    return Text(zh + f" 等（另有 {rest}）", f"{en} and others ({rest})") if rest else Text(zh, en)


def _line(remark: Remark) -> Text:
    count, name = remark.times, remark.name
    one = count == 1
    match remark.kind:
        case "context":
            return Text(
                f"{count} 个答案只作上文，不学（{name}）",
                f"{count} answer{' is' if one else 's are'} context only and not learned ({name})",
            )
        case "question mark":
            return Text(
                f"{count} 段提问标了 {name}；只学答案，不学提问",
                f"{count} message{'' if one else 's'} of user or system marked {name}: only answers are learned",
            )
        case "reasoning":
            return Text(
                f"{count} 个答案带有思考过程（{name}）",
                f'{count} answer{" has" if one else "s have"} reasoning beside {"it" if one else "them"} ("{name}")',
            )
        case "greeting":
            return Text(
                f"{count} 条由 assistant 开头；开场白只作上文，不学",
                f"{count} row{' begins' if one else 's begin'} with the assistant: its greeting is only context",
            )
        case "empty cell":
            return Text(
                f"{count} 个单元格里只有 {shown(name, 40)}，当作空的",
                f'{count} cell{" holds" if one else "s hold"} only "{shown(name, 40)}", read as empty',
            )
        case "joined":
            return Text(
                f"{count} 处连着两段提问，已用换行接成一段",
                f"{count} question{'' if one else 's'} followed another question: joined to it by a line break",
            )
        case "unanswered":
            return Text(
                f"{count} 条以没有回答的提问结尾；这一问没有用到",
                f"{count} row{' ends' if one else 's end'} with a question without an answer: it is left out",
            )
        case _:
            return Text(
                f"{count} 段文字里有 {name}，按普通文字来学",
                f"{count} text{' holds' if one else 's hold'} {name}, which is read as plain text",
            )
