"""How the columns of a file stand for a conversation, and the conversation of one row.

    {"instruction", "input", "output", "system", "history"}     Alpaca, by these names or by others: query and response,
                                                                prompt and completion, 问题 and 回答
    {"messages": [{"role", "content"}, ...]}                    OpenAI; a content may be a list of parts of text
    {"conversations": [{"from", "value"}, ...]}                 ShareGPT
    {"conversation": [{"system", "input", "output"}, ...]}      XTuner
    {"prompt": [messages], "completion": [messages]}            the two halves of a list of messages
        |
        |  find_columns: by the names of the columns and what the first rows hold in them; nothing is registered
        v
    ColumnMap(form="alpaca", names=(("instruction", "问题"), ("output", "回答")))
        |
        |  RowReader.messages
        v
    [Message, ...] or faults

Nothing is mapped in silence (the map is part of every result), and what could be meant in two ways is asked.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, NamedTuple, TypeGuard

from .errors import DataError, UsageError
from .prompt.conversation import JOIN, Message, Role
from .records import Fault, Faults, fault, json_in_a_cell
from .sources import find_mojibake
from .text import Text, listed, shown

Form = Literal["alpaca", "messages"]

KNOWN: Mapping[Form, tuple[str, ...]] = {
    "alpaca": ("instruction", "input", "output", "system", "history"),
    "messages": ("messages", "system"),
}
"""The roles that columns have in each form; each is also the name that its column has first of all."""

OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "instruction": ("query", "question", "prompt", "指令", "问题", "提问", "问", "提示词", "用户"),
    "input": ("context", "输入"),
    "output": ("response", "answer", "completion", "输出", "回答", "答案", "答", "回复", "答复", "助手"),
    "system": ("system_prompt", "系统", "系统提示", "系统提示词", "人设"),
    "history": ("历史", "历史对话", "对话历史"),
    "messages": ("conversations", "conversation", "对话", "消息"),
}
ROLE_OF = {name: role for role, others in OTHER_NAMES.items() for name in (role, *others)}

EXAMPLE: Mapping[Form, str] = {
    "alpaca": '{"instruction": "…", "output": "…"}',
    "messages": '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
}
# Columns that say more than text can carry: to leave them out would teach something else than the rows say.
UNSUPPORTED = ("tools", "functions", "images", "videos", "audios", "chosen", "rejected")
SPEAKERS: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}

_NOTHING: tuple[object, ...] = (None, "", [], {})
_ROLE_NAMES = {
    "instruction": Text("问题", "the question"),
    "input": Text("问题的补充", "what goes with the question"),
    "output": Text("答案", "the answer"),
    "system": Text("系统提示", "the system prompt"),
    "history": Text("前面的对话", "the conversation so far"),
    "messages": Text("对话", "the conversation"),
}
_NO_PART = Text("有一段没有 type", "has a part without a type")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """Which column stands for which role. `names` holds (role, column) of the columns that are there."""

    form: Form
    names: tuple[tuple[str, str], ...]
    asked: tuple[str, ...] = ()
    """Roles whose column the user has named; other columns that might have them are left out without a word."""

    def __str__(self) -> str:
        return ", ".join(f"{role} <- {shown(column, 40)}" for role, column in self.names)

    @property
    def renames(self) -> bool:
        """Whether a column has another name than its role."""
        return any(role != column for role, column in self.names)


class Sample(NamedTuple):
    """Of the first rows of a file that are objects, which columns hold something; and whether they are all."""

    rows: Sequence[Mapping[str, bool]]
    whole: bool


def filled_columns(row: Mapping[str, object]) -> dict[str, bool]:
    """Whether each column of a row holds something."""
    return {column: value not in _NOTHING for column, value in row.items()}


def find_columns(
    sample: Sample, name: str, separated: bool = False, columns: Mapping[str, str] | None = None
) -> ColumnMap:
    """How the rows of the file called `name` are to be read; `columns` gives {role: column} where it knows better.

    `separated` tells of a file whose columns are cut by separators. Raises UsageError for a role that there is
    not, and DataError where a needed column is missing, two would do for one role, or every row holds something
    in a column that must not be left out.
    """
    names = tuple(dict.fromkeys(key for row in sample.rows for key in row))
    asked = _asked(columns or {}, names, name)
    if not names:
        return ColumnMap("alpaca", ())  # no row is an object: each says so itself
    filled = {key for row in sample.rows for key, holds in row.items() if holds}
    candidates = _candidates(names, filled, asked)
    form = _form(candidates, names, asked)
    if form is None:
        raise _missing(candidates, names, name, separated)
    roles = [role for role in KNOWN[form] if candidates.get(role)]
    for role in roles:
        if len(candidates[role]) > 1:
            raise _ambiguous(role, candidates[role], name)
    found = ColumnMap(form, tuple((role, candidates[role][0]) for role in roles), tuple(asked))
    _refuse_everywhere(sample, RowReader(found), name)
    return found


def _asked(columns: Mapping[str, str], names: Sequence[str], name: str) -> dict[str, str]:
    for role, column in columns.items():
        if role not in OTHER_NAMES:
            roles = "、".join(OTHER_NAMES), ", ".join(OTHER_NAMES)
            raise UsageError(
                f"columns 里没有 {shown(role, 40)} 这一项；可用的有 {roles[0]}",
                f"columns knows no {shown(role, 40)}; there are {roles[1]}",
            )
        if column and names and column not in names:
            found = listed(names)
            raise DataError(
                f"{name} 没有 columns 里写的 {shown(column, 40)} 这一列；现有的列：{found.zh}",
                f"{name} has no column {shown(column, 40)}, which columns names; columns found: {found.en}",
            )
    return dict(columns)


def _candidates(names: Sequence[str], filled: set[str], asked: Mapping[str, str]) -> dict[str, list[str]]:
    """The columns that may have each role: what was asked for, or all that hold something, or an empty one."""
    candidates: dict[str, list[str]] = {role: [column] for role, column in asked.items() if column}
    taken = set(asked.values())
    empty: dict[str, list[str]] = {}
    for column in names:
        role = _role(column)
        if role and role not in asked and column not in taken:
            (candidates if column in filled else empty).setdefault(role, []).append(column)
    for role, columns in empty.items():
        if role not in candidates:
            candidates[role] = [role] if role in columns else columns[:1]
    return candidates


def _role(column: str) -> str | None:
    return ROLE_OF.get(column) or ROLE_OF.get(_plain(column))


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _form(candidates: Mapping[str, list[str]], names: Sequence[str], asked: Mapping[str, str]) -> Form | None:
    question = candidates.get("instruction") or candidates.get("input")
    answer, talk = candidates.get("output"), candidates.get("messages")
    pair = bool(question and answer)
    if not (pair and talk):
        return "messages" if talk else "alpaca" if pair else None
    assert answer and talk
    if any(asked.get(role) for role in ("messages", "instruction", "output")):
        return "messages" if asked.get("messages") else "alpaca"
    # Both: the one under its own name is meant, and of two such the first.
    own = "output" in answer, "messages" in talk
    if own[0] != own[1]:
        return "alpaca" if own[0] else "messages"
    return "alpaca" if names.index(answer[0]) < names.index(talk[0]) else "messages"


def _missing(candidates: Mapping[str, list[str]], names: Sequence[str], name: str, separated: bool) -> DataError:
    missing = [] if candidates.get("instruction") or candidates.get("input") else ["instruction"]
    missing += [] if candidates.get("output") else ["output"]
    near = {column: _resembled(column, tuple(ROLE_OF)) for column in names[:12] if not _role(column)}
    zh = "".join(f"（{shown(column, 40)} 像是 {target} 写错了）" for column, target in near.items() if target)
    en = "".join(f' ("{shown(column, 40)}" looks like {target})' for column, target in near.items() if target)
    found, lacking = listed(names), listed(missing)
    if len(names) == 1 and separated:
        zh, en = zh + "（各列要用英文逗号隔开）", en + " (columns are separated by commas)"
    return DataError(
        f"{name} 没有 {lacking.zh} 这样的列；现有的列：{found.zh}{zh}；"
        "需要 instruction（或 input）和 output，或者 messages；列名不同时用 columns= 指明",
        f"{name} has no column {lacking.en}; columns found: {found.en}{en}; "
        "expected: instruction (or input) and output, or messages; name others with columns=",
    )


def _ambiguous(role: str, columns: Sequence[str], name: str) -> DataError:
    found, what, first = listed(columns), _ROLE_NAMES[role], shown(columns[0], 40)
    return DataError(
        f"{name} 里 {found.zh} 都像是{what.zh}；请写明用哪一列，例如 columns={role}:{first}",
        f"in {name}, {found.en} could each be {what.en}; say which to use, such as columns={role}:{first}",
    )


def _resembled(name: str, known: Sequence[str]) -> str | None:
    """The known column that `name` is likely a slip of the pen for."""
    plain = _plain(name)
    for target in known:
        near = abs(len(plain) - len(target)) <= 2 and SequenceMatcher(None, plain, target).ratio() >= 0.8
        if plain == target or near:
            return target
    return None


def _refuse_everywhere(sample: Sample, reader: "RowReader", name: str) -> None:
    """DataError for a refused column that every row uses: told once, not once a row."""
    for column in dict.fromkeys(key for row in sample.rows for key in row):
        refusal = reader.refusal(column)
        if refusal and all(row.get(column) for row in sample.rows):
            (what, mend), count = refusal, len(sample.rows)
            each = Text("每一条", "every row") if sample.whole else Text(f"前 {count} 条", f"each of the first {count}")
            raise DataError(f"{name}：{each.zh}都{what.zh}；{mend.zh}", f"{name}: {each.en} {what.en}; {mend.en}")


# One row


class RowReader:
    """Reads the rows of one file by its columns, and keeps the names of the columns that were not used."""

    def __init__(self, columns: ColumnMap, cells_are_text: bool = False) -> None:
        self.ignored: dict[str, None] = {}
        self._columns = columns
        self._cells_are_text = cells_are_text
        found = dict(columns.names)
        # A role that none of the first rows had may still come, under its own name.
        own = (role for role in KNOWN[columns.form] if role not in (*columns.asked, *found.values()))
        self._named = {role: role for role in own} | found
        self._used = set(self._named.values())
        renamed = found.get("instruction", "instruction") != "instruction"
        self._asks = ("instruction",) if renamed and "input" not in found else ("instruction", "input")
        self._shown = {role: shown(self._named.get(role, role), 40) for role in OTHER_NAMES}
        self._refusals: dict[str, Fault | None] = {}

    def messages(self, row: object, faults: Faults) -> list[Message]:
        """The messages of a row; what is wrong is added to `faults`."""
        if not isinstance(row, dict):
            kind, example = _type_of(row), EXAMPLE[self._columns.form]
            faults.add(
                f"这一条是{kind.zh}，应为对象",
                f"the row is {kind.en}, not an object",
                f"写成 {example}",
                f"write it as {example}",
            )
            return []
        # A row with a column that is likely another one is not judged further: half of that would be untrue.
        for column, value in row.items():
            if column not in self._used and (refusal := self.refusal(column)) and value not in _NOTHING:
                what, mend = refusal
                faults.append(Fault(Text(f"这一条{what.zh}", f"the row {what.en}"), mend))
        if faults:
            return []
        cells = {role: row[column] for role, column in self._named.items() if column in row}
        if self._cells_are_text:
            self._open_cells(cells, faults)
        if faults:
            return []
        return self._talk(cells, faults)

    def refusal(self, column: str) -> Fault | None:
        """Why a column must not be left out where it holds something; None for one that is used or may be."""
        if column in self._used:
            return None
        if column not in self._refusals:
            refusal = self._refusals[column] = self._judge(column)
            if refusal is None and column:
                self.ignored[column] = None
        return self._refusals[column]

    def _judge(self, column: str) -> Fault | None:
        form, asked = self._columns.form, self._columns.asked
        name, role = shown(column, 40), _role(column)
        if not column:
            return fault(
                "在没有列名的一列里有内容",
                "has text in a column without a name",
                "给这一列写上列名，或清空它",
                "name the column, or empty it",
            )
        if column in UNSUPPORTED:
            return fault(
                f"用了 {column}，这里不支持",
                f'uses "{column}", which is not supported',
                "这里只学文字问答；请删掉它，或删掉这样的数据",
                "only text is learnt; remove it, or remove such rows",
            )
        if role in asked:
            return None
        if role in KNOWN[form]:
            other = self._shown[role]
            return fault(
                f"有 {name}，而这个文件的{_ROLE_NAMES[role].zh}取自 {other}",
                f'has "{name}", but {_ROLE_NAMES[role].en} is taken from "{other}" in this file',
                f"改成 {other}，或用 columns= 指明",
                f'rename it "{other}", or say which to use with columns=',
            )
        if role:
            if role != column or asked:  # metadata as likely as not; or the user has chosen the form
                return None
            shape = "instruction / output" if form == "alpaca" else "messages"
            return fault(
                f"有 {column}，而这个文件按 {shape} 来读",
                f'has "{column}", but this file is read by {shape}',
                "一个文件只用一种写法",
                "use one form in the whole file",
            )
        resembled = _resembled(column, KNOWN[form])
        if resembled and resembled not in asked:
            return fault(
                f"有 {name}，像是 {resembled} 写错了",
                f'has "{name}", which looks like a slip for "{resembled}"',
                f"改成 {resembled}，或换一个不相近的名字",
                f"write {resembled}, or choose a less similar name",
            )
        return None

    def _open_cells(self, cells: dict[str, object], faults: Faults) -> None:
        """Reads the JSON text that a CSV holds where a role is a list."""
        for role in ("history", "messages"):
            cell = cells.get(role)
            if isinstance(cell, str) and cell.strip():
                cells[role], broken = json_in_a_cell(cell, self._shown[role])
                faults += broken

    def _talk(self, cells: Mapping[str, object], faults: Faults) -> list[Message]:
        system_column = self._shown["system"]
        system = _optional_text(cells.get("system"), system_column, faults)
        talk = self._alpaca(cells, faults) if self._columns.form == "alpaca" else self._listed(cells, faults)
        if not system.strip():
            return talk
        if talk and talk[0].role == "system":
            other = self._shown["messages"]
            faults.add(
                f"{system_column} 列和 {other} 里各有一段 system",
                f'there is a "{system_column}" beside the {other} and another in them',
                "只留一个",
                "keep one of them",
            )
        return [Message("system", system), *talk]

    def _alpaca(self, cells: Mapping[str, object], faults: Faults) -> list[Message]:
        prompt, completion = cells.get("instruction"), cells.get("output")
        if _is_messages(prompt) and _is_messages(completion):
            column = self._shown["instruction"]
            for role in ("input", "history"):
                if cells.get(role) not in _NOTHING:
                    beside = self._shown[role]
                    faults.add(
                        f"{column} 已是整段对话，旁边的 {beside} 放不进去",
                        f'"{column}" is a whole conversation, and "{beside}" beside it has no place',
                        f"把 {beside} 写进对话里，或清空它",
                        f'write "{beside}" into the conversation, or empty it',
                    )
            return _messages([*prompt, *completion], column, faults)
        before = len(faults)
        parts = [_optional_text(cells.get(role), self._shown[role], faults) for role in ("instruction", "input")]
        question = JOIN.join(part for part in parts if part.strip())
        if not question and len(faults) == before:
            columns = [self._shown[role] for role in self._asks]
            several = len(columns) > 1
            zh = " 和 ".join(columns) + (" 都是空的" if several else " 是空的")
            en = " and ".join(f'"{column}"' for column in columns) + (" are both empty" if several else " is empty")
            faults.add(
                f"缺少问题：{zh}",
                f"no question: {en}",
                f"在 {columns[0]} 里写上问题，或删掉这一条",
                f'write it in "{columns[0]}", or delete the row',
            )
        answer = self._answer(cells, faults)
        history = _history(cells.get("history"), self._shown["history"], faults)
        return [*history, Message("user", question), Message("assistant", answer)]

    def _answer(self, cells: Mapping[str, object], faults: Faults) -> str:
        column = self._shown["output"]
        if "output" in cells:
            return _required_text(cells["output"], Text(f"{column}（答案）", f'"{column}" (the answer)'), faults)
        faults.add(
            f"没有 {column}（答案）",
            f'no "{column}" (the answer)',
            f"补上 {column}，或删掉这一条",
            f'add "{column}", or delete the row',
        )
        return ""

    def _listed(self, cells: Mapping[str, object], faults: Faults) -> list[Message]:
        column = self._shown["messages"]
        written = cells.get("messages", "")
        if written == "":
            faults.add(
                f"没有 {column}",
                f'no "{column}"',
                f"补上 {column}，或删掉这一条",
                f'add "{column}", or delete the row',
            )
            return []
        if not isinstance(written, list) or not written:
            kind = Text("空列表", "an empty list") if written == [] else _type_of(written)
            example = EXAMPLE["messages"].replace("messages", column, 1)
            faults.add(
                f"{column} 是{kind.zh}，应为消息的列表",
                f'"{column}" is {kind.en}, not a list of messages',
                f"写成 {example}",
                f"write {example}",
            )
            return []
        return _messages(_unfolded(written), column, faults)


# Histories and messages


def _history(history: object, column: str, faults: Faults) -> list[Message]:
    if history is None or (isinstance(history, str) and not history.strip()):
        return []
    if not isinstance(history, list):
        kind = _type_of(history)
        faults.add(
            f"{column} 是{kind.zh}，应为列表",
            f'"{column}" is {kind.en}, not a list',
            '写成 [["上一问", "上一答"]]；没有就写 []',
            'write [["question", "answer"]], or [] where there is none',
        )
        return []
    messages = []
    for number, turn in enumerate(history, 1):
        if not isinstance(turn, list) or len(turn) != 2:
            faults.add(
                f"{column} 第 {number} 轮不是一问一答",
                f'round {number} of "{column}" is not one question and one answer',
                '每一轮写成 ["问", "答"]',
                'write each round as ["question", "answer"]',
            )
            continue
        where, where_en = f"{column} 第 {number} 轮的", f'in round {number} of "{column}", the '
        question = _required_text(turn[0], Text(f"{where}问题", f"{where_en}question"), faults)
        answer = _required_text(turn[1], Text(f"{where}答案", f"{where_en}answer"), faults)
        messages += [Message("user", question), Message("assistant", answer)]
    return messages


def _is_messages(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _unfolded(written: list[object]) -> list[object]:
    """A list of rounds of input and output as the messages they are; any other list as it is."""
    unfolded: list[object] = []
    for item in written:
        if not (isinstance(item, dict) and "output" in item and "role" not in item and "from" not in item):
            return written
        if item.get("system") not in _NOTHING:
            unfolded.append({"role": "system", "content": item["system"]})
        unfolded.append({"role": "user", "content": item.get("input")})
        unfolded.append({"role": "assistant", "content": item["output"]})
    return unfolded


def _messages(written: Sequence[object], column: str, faults: Faults) -> list[Message]:
    before = len(faults)
    talk = [_message(item, number, column, faults) for number, item in enumerate(written, 1)]
    if len(faults) == before:
        _check_order(talk, column, faults)
    return talk[1:] if talk[0].role == "system" and not talk[0].content.strip() else talk


def _message(item: object, number: int, column: str, faults: Faults) -> Message:
    if not isinstance(item, dict):
        kind = _type_of(item)
        faults.add(
            f"{column} 第 {number} 条是{kind.zh}，应为对象",
            f"message {number} is {kind.en}, not an object",
            '写成 {"role": "user", "content": "…"}',
            'write {"role": "user", "content": "…"}',
        )
        return Message("user", "")
    role_key, content_key = ("from", "value") if "from" in item and "role" not in item else ("role", "content")
    before = len(faults)
    _check_message_keys(item, role_key, Text(f"{column} 第 {number} 条", f"message {number}"), faults)
    if len(faults) > before:
        return Message("user", "")
    role = SPEAKERS[item[role_key]]
    said = item[role_key]
    where = Text(f"{column} 第 {number} 条（{said}）的 {content_key} ", f'"{content_key}" of message {number} ({said})')
    content = _joined(item.get(content_key), where, faults)
    if len(faults) > before or (role == "system" and isinstance(content, str) and not content.strip()):
        return Message(role, "")
    return Message(role, _required_text(content, where, faults))


def _joined(content: object, where: Text, faults: Faults) -> object:
    """The text of a content that is a list of parts of text; any other content as it is."""
    if not isinstance(content, list):
        return content
    texts: list[str] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("text", part.get("value")) if isinstance(part, dict) else None
        if kind == "text" and isinstance(text, str):
            texts.append(text)
            continue
        what = Text(f"有 {shown(kind, 40)}", f'has "{shown(kind, 40)}"') if isinstance(kind, str) else _NO_PART
        faults.add(
            f"{where.zh}里{what.zh}，这里只支持文字",
            f"{where.en} {what.en}, and only text is supported",
            '每一段写成 {"type": "text", "text": "…"}，或删掉这一条',
            'write each part as {"type": "text", "text": "…"}, or delete the row',
        )
        break
    return "".join(texts)


def _check_message_keys(item: Mapping[str, object], role_key: str, where: Text, faults: Faults) -> None:
    said = item.get(role_key)
    named = isinstance(said, str)
    if not named or said not in SPEAKERS:
        shown_role = shown(str(said), 40)
        roles = Text("system、user 或 assistant", "system, user or assistant")
        if role_key == "from":
            roles = Text("system、human 或 gpt", "system, human or gpt")
        faults.add(
            f"{where.zh}的 {role_key} 是 {shown_role}" if named else f"{where.zh}没有 {role_key}",
            f'the {role_key} of {where.en} is "{shown_role}"' if named else f"{where.en} has no {role_key}",
            f"{role_key} 只能是 {roles.zh}",
            f"write {roles.en} as its {role_key}, or delete the row",
        )
    for key in ("tool_calls", "function_call"):
        if item.get(key):
            faults.add(
                f"{where.zh}有 {key}，这里不支持工具调用",
                f'{where.en} has "{key}", and tool calls are not supported',
                "改成只有文字的对话，或删掉这一条",
                "make it a conversation of text only, or delete the row",
            )
    # Every answer is learnt and nothing else; loss_weight, which all messages have, says no more than that.
    answers = named and SPEAKERS.get(str(said)) == "assistant"
    for key, plain in (("weight", 1), ("loss_weight", 1 if answers else 0)):
        if item.get(key) not in (None, plain):
            faults.add(
                f"{where.zh}有 {key}，这里不支持",
                f'{where.en} has a "{key}", which is not supported',
                f"删掉 {key}（每个答案都会学），或删掉这一条",
                f'remove "{key}" (every answer is learnt), or delete the row',
            )


def _check_order(talk: Sequence[Message], column: str, faults: Faults) -> None:
    first = 1 if talk[0].role == "system" else 0
    for index, message in enumerate(talk[first:]):
        expected = "assistant" if index % 2 else "user"
        if message.role != expected:
            number = first + index + 1
            faults.add(
                f"{column} 第 {number} 条是 {message.role}，这里应是 {expected}",
                f"message {number} is from {message.role}, where {expected} was due",
                "system 只能在最前面，之后 user 和 assistant 轮流",
                "put system first only, then user and assistant in turn",
            )
            return
    if talk[-1].role != "assistant":
        faults.add(
            f"{column} 的最后一条是 {talk[-1].role}，应是 assistant",
            f"the last message is from {talk[-1].role}, not assistant",
            "补上最后的答案，或删掉这一条",
            "add the last answer, or delete the row",
        )


def _optional_text(value: object, column: str, faults: Faults) -> str:
    return "" if value is None else _words(value, Text(f"{column} ", f'"{column}"'), faults)


def _required_text(value: object, where: Text, faults: Faults) -> str:
    words = _words(value, where, faults)
    if isinstance(value, str) and not value.strip():
        faults.add(
            f"{where.zh}是空的",
            f"{where.en} is empty",
            "写上内容，或删掉这一条",
            "write something there, or delete the row",
        )
    return words


def _words(value: object, where: Text, faults: Faults) -> str:
    """`value` if it is text that can be written as UTF-8, exactly as it is."""
    if not isinstance(value, str):
        kind = _type_of(value)
        faults.add(
            f"{where.zh}是{kind.zh}，应为文字",
            f"{where.en} is {kind.en}, not text",
            "改成英文双引号里的文字，或删掉这一条",
            "write it as text in double quotes, or delete the row",
        )
        return ""
    half = _LONE_SURROGATE.search(value)
    if half:
        code = f"\\u{ord(half.group()):04x}"
        faults.add(
            f"{where.zh}里有半个字符 {code}，存不成 UTF-8",
            f"{where.en} has half a character, {code}, which UTF-8 cannot hold",
            "重新输入这个字符（多半是表情符号），或删掉它",
            "type that character (often an emoji) again, or delete it",
        )
    elif garbled := find_mojibake(value):
        faults.add(
            f"{where.zh}是乱码：{garbled.zh}",
            f"{where.en} is garbled: {garbled.en}",
            "用正确的编码从原文件重新导出，或删掉这一条",
            "export it again from the original in the right encoding, or delete the row",
        )
    return value


# How things are said


def _type_of(value: object) -> Text:
    match value:
        case None:
            return Text("空值 null", "null")
        case bool():
            return Text("布尔值", "true or false")
        case int() | float():
            return Text("数字", "a number")
        case str():
            return Text("文字", "text")
        case list():
            return Text("列表", "a list")
        case _:
            return Text("对象", "an object")
