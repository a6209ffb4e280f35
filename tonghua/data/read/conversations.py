"""Convert one row to a conversation by the roles of its columns, or add faults."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from ...prompt.conversation import JOIN, Message
from ...text import Text, listed, shown
from .faults import Fault, fault
from .json_rows import json_in_a_cell
from .keys import MARKS, MEDIA, PLACEHOLDERS, REASONING, kind_of, refused
from .marks import with_marks
from .messages import history_of, in_order, is_messages, messages_of
from .remarks import RowFaults
from .roles import EXAMPLE, KNOWN, OTHER_NAMES, ROLE_NAMES, ColumnMap, is_empty, resembled, role_named
from .texts import known_text, optional_text, required_text, type_name

MOST_COMPARED = 1_000
"""Maximum unused columns of a file that are compared with known ones. More names than that are data."""

_MOST_REMEMBERED = 10_000

_WORDS_FOR_NOTHING = ("nan", "NaN", "NULL", "null", "None", "N/A", "NA", "#N/A", "<NA>")
"""What tables of pandas, databases and Excel hold in place of an empty cell."""


def stands_for_nothing(cell: object) -> bool:
    """True if a cell of text holds only a word for nothing."""
    return isinstance(cell, str) and cell.strip() in _WORDS_FOR_NOTHING


_Use = Literal["mark", "reasoning", "none"]


class _Cells(NamedTuple):
    """What a row holds: a value for each role, the reasoning of its answer, and the names of all its columns."""

    of: dict[str, object]
    thoughts: Mapping[str, object]
    columns: Sequence[str]


class RowReader:
    """Read the rows of one file by its column map.

    A list that a cell holds as text is parsed as JSON; with `cells_are_text`, for CSV, TSV and Excel, it always is.
    """

    def __init__(self, columns: ColumnMap, cells_are_text: bool = False) -> None:
        self._columns = columns
        self._cells_are_text = cells_are_text
        found = dict(columns.names)
        # A role that is missing in the first rows may appear later, under its own name.
        own = (role for role in KNOWN[columns.form] if role not in (*columns.asked, *found.values()))
        self._named = {role: role for role in own} | found
        self._used = set(self._named.values())
        renamed = found.get("instruction", "instruction") != "instruction"
        self._asks = ("instruction",) if renamed and "input" not in found else ("instruction", "input")
        self._shown = {role: shown(self._named.get(role, role), 40) for role in OTHER_NAMES}
        self._uses: dict[str, Fault | _Use] = {}
        self._compared = 0

    def messages(self, row: object, faults: RowFaults) -> list[Message]:
        """Return the messages of a row; add what is wrong, and what is told of the row, to `faults`."""
        if not isinstance(row, dict):
            kind, example = type_name(row), EXAMPLE[self._columns.form]
            faults.add(
                f"这一条是{kind.zh}，应为对象",
                f"the row is {kind.en}, not an object",
                f"写成 {example}",
                f"write it as {example}",
            )
            return []
        marks, thoughts = self._beside(row, faults)
        # Stop if a column is refused (such as a misspelled role): further faults of the row could be false.
        if faults:
            return []
        cells = {role: row[column] for role, column in self._named.items() if column in row}
        self._empty_cells(cells, faults)
        self._open_cells(cells, faults)
        if faults:
            return []
        talk = with_marks(self._talk(_Cells(cells, thoughts, list(row)), faults), marks, faults)
        if faults:
            return []
        talk = in_order(talk, self._shown["messages" if self._columns.form == "messages" else "history"], faults)
        if not faults:
            _require_something_to_learn(talk, faults)
            _judge_placeholders(talk, not MEDIA.isdisjoint(row), faults)
        return talk

    def refusal(self, column: str) -> Fault | None:
        """Return why a filled column must not be ignored, or None if it is used or may be ignored."""
        use = self._use(column)
        return use if isinstance(use, Fault) else None

    def _beside(self, row: Mapping[str, object], faults: RowFaults) -> tuple[dict[str, object], dict[str, object]]:
        """Return the marks and the reasoning among the columns; refuse or tell the other columns without a role."""
        marks: dict[str, object] = {}
        thoughts: dict[str, object] = {}
        for column, value in row.items():
            if column in self._used or is_empty(value):
                continue
            use = self._use(column)
            if use == "mark":
                marks[column] = value
            elif use == "reasoning" and not thoughts and isinstance(value, str):
                thoughts[column] = value
            elif isinstance(use, Fault) and value is not False:
                what, mend = use
                faults.append(Fault(Text(f"这一条{what.zh}", f"the row {what.en}"), mend))
            else:
                faults.tell("column", column)
        return marks, thoughts

    def _use(self, column: str) -> Fault | _Use:
        if column in self._used:
            return "none"
        if column not in self._uses:
            if len(self._uses) >= _MOST_REMEMBERED:
                self._uses.clear()
            self._uses[column] = self._judge(column)
        return self._uses[column]

    def _judge(self, column: str) -> Fault | _Use:
        """Return what a filled column without a role is used for, or why it must not be ignored."""
        form, asked = self._columns.form, self._columns.asked
        role = role_named(column)
        if not column:
            return fault(
                "在没有列名的一列里有内容",
                "has text in a column without a name",
                "给这一列写上列名，或清空它",
                "name the column, or empty it",
            )
        kind = kind_of(column)
        # Whoever names the column of the answer has chosen one of the two.
        if not (kind == "preference" and "output" in asked) and (refusal := refused(column, kind)):
            return refusal
        if kind in MARKS:
            return "mark"
        if column in REASONING and form == "alpaca":
            return "reasoning"
        if role in asked:
            return "none"
        if role in KNOWN[form]:
            name, other = shown(column, 40), self._shown[role]
            return fault(
                f"有 {name}，而这个文件的{ROLE_NAMES[role].zh}取自 {other}",
                f'has "{name}", but {ROLE_NAMES[role].en} is taken from "{other}" in this file',
                f"改成 {other}，或用 columns= 指明",
                f'rename it "{other}", or say which to use with columns=',
            )
        if role:
            if role != column or asked:  # it may be metadata; or the user has chosen the form
                return "none"
            shape = "instruction / output" if form == "alpaca" else "messages"
            return fault(
                f"有 {column}，而这个文件按 {shape} 来读",
                f'has "{column}", but this file is read by {shape}',
                "一个文件只用一种写法",
                "use one form in the whole file",
            )
        self._compared += 1
        near = resembled(column, KNOWN[form]) if self._compared <= MOST_COMPARED else None
        if near and near not in asked:
            name = shown(column, 40)
            return fault(
                f"有 {name}，像是 {near} 写错了",
                f'has "{name}", which looks like a slip for "{near}"',
                f"改成 {near}，或换一个不相近的名字",
                f"write {near}, or choose a less similar name",
            )
        return "none"

    def _empty_cells(self, cells: dict[str, object], faults: RowFaults) -> None:
        """Empty the cells that hold NaN, or as text a word for nothing; an answer or a question may not be one."""
        required = {"output", self._asks[0]} if self._columns.form == "alpaca" else {"messages"}
        for role, cell in cells.items():
            word = cell.strip() if isinstance(cell, str) and self._cells_are_text else ""
            if isinstance(cell, float) and math.isnan(cell):
                word = "NaN"
            if word not in _WORDS_FOR_NOTHING:
                continue
            if role not in required:
                cells[role] = ""
                faults.tell("empty cell", word)
                continue
            column = self._shown[role]
            faults.add(
                f"{column} 里只有 {word}，像是空单元格",
                f'"{column}" holds only {word}, as an empty cell is exported',
                "写上内容，或删掉这一条",
                "write something there, or delete the row",
            )

    def _open_cells(self, cells: dict[str, object], faults: RowFaults) -> None:
        """Parse the JSON text of the cells whose role is a list."""
        for role in ("history", "messages"):
            cell = cells.get(role)
            if isinstance(cell, str) and cell.strip() and (self._cells_are_text or cell.lstrip()[:1] == "["):
                cells[role], broken = json_in_a_cell(cell, self._shown[role])
                faults += broken

    def _talk(self, cells: _Cells, faults: RowFaults) -> list[Message]:
        system_column = self._shown["system"]
        system = optional_text(cells.of.get("system"), system_column, faults)
        talk = self._alpaca(cells, faults) if self._columns.form == "alpaca" else self._listed(cells, faults)
        if not system.strip():
            return talk
        first = talk[0] if talk and talk[0].role == "system" and talk[0].content.strip() else None
        if first and first.content != system:
            other = self._shown["messages"]
            faults.add(
                f"{system_column} 列和 {other} 里各有一段 system",
                f'there is a "{system_column}" beside the {other} and another in them',
                "只留一个",
                "keep one of them",
            )
        return [Message("system", system), *(talk[1:] if talk and talk[0].role == "system" else talk)]

    def _alpaca(self, cells: _Cells, faults: RowFaults) -> list[Message]:
        prompt, completion = cells.of.get("instruction"), cells.of.get("output")
        if is_messages(prompt) and (is_messages(completion) or isinstance(completion, str)):
            return self._halves(prompt, completion, cells, faults)
        before = len(faults)
        parts = [optional_text(cells.of.get(role), self._shown[role], faults) for role in ("instruction", "input")]
        question = JOIN.join(part for part in parts if part.strip())
        if not question and len(faults) == before:
            self._add_no_question(cells, faults)
        answer = self._answer(cells, faults)
        earlier = history_of(cells.of.get("history"), self._shown["history"], faults)
        reasoning = ""
        for key, value in cells.thoughts.items():
            reasoning = known_text(value, Text(f"{key} ", f'"{key}"'), faults)
            faults.tell("reasoning", key)
        return [*earlier, Message("user", question), Message("assistant", answer, reasoning=reasoning)]

    def _add_no_question(self, cells: _Cells, faults: RowFaults) -> None:
        """Add the fault that the columns of the question are empty, or not there."""
        empty = [self._shown[role] for role in self._asks if role in cells.of]
        columns = empty or [self._shown[role] for role in self._asks]
        both_zh, both_en = " 和 ".join(columns), " and ".join(f'"{column}"' for column in columns)
        if not empty:
            only, either = _only(cells.columns), " or ".join(f'"{column}"' for column in columns)
            zh, en = f"没有 {both_zh}{only.zh}", f"there is no {either}{only.en}"
        elif len(empty) > 1:
            zh, en = f"{both_zh} 都是空的", f"{both_en} are both empty"
        else:
            zh, en = f"{both_zh} 是空的", f"{both_en} is empty"
        faults.add(
            f"缺少问题：{zh}",
            f"no question: {en}",
            f"在 {columns[0]} 里写上问题，或删掉这一条",
            f'write it in "{columns[0]}", or delete the row',
        )

    def _halves(self, prompt: list[object], completion: object, cells: _Cells, faults: RowFaults) -> list[Message]:
        """Return the messages of a prompt that is a list of messages, and of its completion."""
        column = self._shown["instruction"]
        for role in ("input", "history"):
            if not is_empty(cells.of.get(role)):
                beside = self._shown[role]
                faults.add(
                    f"{column} 已是整段对话，旁边的 {beside} 放不进去",
                    f'"{column}" is a whole conversation, and "{beside}" beside it has no place',
                    f"把 {beside} 写进对话里，或清空它",
                    f'write "{beside}" into the conversation, or empty it',
                )
        if is_messages(completion):
            return messages_of([*prompt, *completion], column, faults)
        return [*messages_of(prompt, column, faults), Message("assistant", self._answer(cells, faults))]

    def _answer(self, cells: _Cells, faults: RowFaults) -> str:
        column = self._shown["output"]
        if "output" in cells.of:
            return required_text(cells.of["output"], Text(f"{column}（答案）", f'"{column}" (the answer)'), faults)
        only = _only(cells.columns)
        faults.add(
            f"没有 {column}（答案）{only.zh}",
            f'no "{column}" (the answer){only.en}',
            f"补上 {column}，或删掉这一条",
            f'add "{column}", or delete the row',
        )
        return ""

    def _listed(self, cells: _Cells, faults: RowFaults) -> list[Message]:
        column = self._shown["messages"]
        written = cells.of.get("messages", "")
        if written == "":
            only = _only([name for name in cells.columns if name != self._named["messages"]])
            faults.add(
                f"没有 {column}{only.zh}",
                f'no "{column}"{only.en}',
                f"补上 {column}，或删掉这一条",
                f'add "{column}", or delete the row',
            )
            return []
        if not isinstance(written, list) or not written:
            kind = Text("空列表", "an empty list") if written == [] else type_name(written)
            example = EXAMPLE["messages"].replace("messages", column, 1)
            faults.add(
                f"{column} 是{kind.zh}，应为消息的列表",
                f'"{column}" is {kind.en}, not a list of messages',
                f"写成 {example}",
                f"write {example}",
            )
            return []
        if len(written) > 1 and all(isinstance(item, str) for item in written):
            faults.add(
                f"{column} 是几段文字的列表，没有写明谁在说话",
                f'"{column}" is a list of texts, and does not say who speaks',
                '如果是问和答轮流，就写成一轮一对：[["问", "答"], …]',
                'if questions and answers take turns, write a pair for each round: [["question", "answer"], …]',
            )
            return []
        return messages_of(written, column, faults)


def _only(columns: Sequence[str]) -> Text:
    """Return the end of a fault that says what a row has; nothing if it is empty."""
    found = listed(columns)
    return Text(f"，只有 {found.zh}", f", only {found.en}") if columns else Text("", "")


def _require_something_to_learn(talk: Sequence[Message], faults: RowFaults) -> None:
    """Add a fault if marks keep every answer from being learned."""
    if any(message.role == "assistant" and message.learn for message in talk):
        return
    marks = dict.fromkeys(name for kind, name in faults.remarks if kind == "context")
    said = f"（{'、'.join(marks)}）" if marks else "", f" ({', '.join(marks)})" if marks else ""
    faults.add(
        f"这一条没有要学的答案{said[0]}",
        f"no answer of the row is to be learned{said[1]}",
        "删掉这一条，或标出要学的答案",
        "delete the row, or mark an answer to be learned",
    )


def _judge_placeholders(talk: Sequence[Message], has_media: bool, faults: RowFaults) -> None:
    """Add a fault for the placeholder of a picture if the row has a column for it; else tell that it is plain text."""
    for message in talk:
        if "<" not in message.content:
            continue
        for placeholder in (each for each in PLACEHOLDERS if each in message.content):
            if not has_media:
                faults.tell("placeholder", placeholder)
                continue
            faults.add(
                f"文字里有 {placeholder}，要配上图、影、音才能学",
                f"a text holds {placeholder}, which stands for a picture, a film or a sound",
                "去掉它，或删掉这样的数据",
                "take it out, or remove such rows",
            )
