"""Convert one row to a conversation by the roles of its columns, or add faults."""

from collections.abc import Mapping

from ...prompt.conversation import JOIN, Message
from ...text import Text, shown
from .faults import Fault, Faults, fault
from .json_rows import json_in_a_cell
from .messages import (
    UNSUPPORTED,
    history_messages,
    is_messages,
    messages_of,
    optional_text,
    required_text,
    type_name,
    unfolded,
)
from .roles import EXAMPLE, KNOWN, NOTHING, OTHER_NAMES, ROLE_NAMES, ColumnMap, resembled, role_named


class RowReader:
    """Read the rows of one file by its column map; `ignored` collects the names of unused columns.

    `cells_are_text` is True for CSV and TSV: cells that hold a list are then parsed as JSON.
    """

    def __init__(self, columns: ColumnMap, cells_are_text: bool = False) -> None:
        self.ignored: dict[str, None] = {}
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
        self._refusals: dict[str, Fault | None] = {}

    def messages(self, row: object, faults: Faults) -> list[Message]:
        """Return the messages of a row; add what is wrong to `faults`."""
        if not isinstance(row, dict):
            kind, example = type_name(row), EXAMPLE[self._columns.form]
            faults.add(
                f"这一条是{kind.zh}，应为对象",
                f"the row is {kind.en}, not an object",
                f"写成 {example}",
                f"write it as {example}",
            )
            return []
        # Stop if a column is refused (such as a misspelled role): further faults of the row could be false.
        for column, value in row.items():
            if column not in self._used and (refusal := self.refusal(column)) and value not in NOTHING:
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
        """Return why a filled column must not be ignored, or None if it is used or may be ignored."""
        if column in self._used:
            return None
        if column not in self._refusals:
            refusal = self._refusals[column] = self._judge(column)
            if refusal is None and column:
                self.ignored[column] = None
        return self._refusals[column]

    def _judge(self, column: str) -> Fault | None:
        form, asked = self._columns.form, self._columns.asked
        name, role = shown(column, 40), role_named(column)
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
                f"有 {name}，而这个文件的{ROLE_NAMES[role].zh}取自 {other}",
                f'has "{name}", but {ROLE_NAMES[role].en} is taken from "{other}" in this file',
                f"改成 {other}，或用 columns= 指明",
                f'rename it "{other}", or say which to use with columns=',
            )
        if role:
            if role != column or asked:  # it may be metadata; or the user has chosen the form
                return None
            shape = "instruction / output" if form == "alpaca" else "messages"
            return fault(
                f"有 {column}，而这个文件按 {shape} 来读",
                f'has "{column}", but this file is read by {shape}',
                "一个文件只用一种写法",
                "use one form in the whole file",
            )
        near = resembled(column, KNOWN[form])
        if near and near not in asked:
            return fault(
                f"有 {name}，像是 {near} 写错了",
                f'has "{name}", which looks like a slip for "{near}"',
                f"改成 {near}，或换一个不相近的名字",
                f"write {near}, or choose a less similar name",
            )
        return None

    def _open_cells(self, cells: dict[str, object], faults: Faults) -> None:
        """Parse the JSON text of the cells whose role is a list."""
        for role in ("history", "messages"):
            cell = cells.get(role)
            if isinstance(cell, str) and cell.strip():
                cells[role], broken = json_in_a_cell(cell, self._shown[role])
                faults += broken

    def _talk(self, cells: Mapping[str, object], faults: Faults) -> list[Message]:
        system_column = self._shown["system"]
        system = optional_text(cells.get("system"), system_column, faults)
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
        if is_messages(prompt) and is_messages(completion):
            column = self._shown["instruction"]
            for role in ("input", "history"):
                if cells.get(role) not in NOTHING:
                    beside = self._shown[role]
                    faults.add(
                        f"{column} 已是整段对话，旁边的 {beside} 放不进去",
                        f'"{column}" is a whole conversation, and "{beside}" beside it has no place',
                        f"把 {beside} 写进对话里，或清空它",
                        f'write "{beside}" into the conversation, or empty it',
                    )
            return messages_of([*prompt, *completion], column, faults)
        before = len(faults)
        parts = [optional_text(cells.get(role), self._shown[role], faults) for role in ("instruction", "input")]
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
        earlier = history_messages(cells.get("history"), self._shown["history"], faults)
        return [*earlier, Message("user", question), Message("assistant", answer)]

    def _answer(self, cells: Mapping[str, object], faults: Faults) -> str:
        column = self._shown["output"]
        if "output" in cells:
            return required_text(cells["output"], Text(f"{column}（答案）", f'"{column}" (the answer)'), faults)
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
            kind = Text("空列表", "an empty list") if written == [] else type_name(written)
            example = EXAMPLE["messages"].replace("messages", column, 1)
            faults.add(
                f"{column} 是{kind.zh}，应为消息的列表",
                f'"{column}" is {kind.en}, not a list of messages',
                f"写成 {example}",
                f"write {example}",
            )
            return []
        return messages_of(unfolded(written), column, faults)
