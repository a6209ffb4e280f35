"""Apply the marks of a whole row to its messages: `loss_mask`, `label`, `weight` and the like.

"loss_mask": [0, 1]    one value for each answer, or for each message
"loss": false          one value for all answers
"label": false         the answer is a bad one: the row is a problem
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...prompt.conversation import Message
from ...text import Text
from .json_rows import json_in_a_cell
from .keys import boolean, is_mark, kind_of, learned, mark
from .remarks import RowFaults
from .speakers import role_of

_ROW = Text("这一条", "the row")


def with_marks(talk: Sequence[Message], marks: Mapping[str, object], faults: RowFaults) -> list[Message]:
    """Return the messages, as they stand in the row, with the marks of the row; add faults if one is not clear."""
    marked = list(talk)
    for key, value in marks.items():
        if isinstance(value, str) and value.lstrip().startswith("["):
            value, broken = json_in_a_cell(value, key)
            faults += broken
        if isinstance(value, list):
            marked = _one_by_one(marked, key, value, faults)
        else:
            marked = _all_at_once(marked, key, value, faults)
    return marked


def _all_at_once(talk: Sequence[Message], key: str, value: object, faults: RowFaults) -> list[Message]:
    kind = kind_of(key)
    number = isinstance(value, int | float)
    named = kind == "mask" and isinstance(value, str) and role_of(value) in ("user", "system")
    # A class of the row, or a loss that was measured, is no mark.
    if not is_mark(key, value) or (boolean(value) is None and number and key.casefold() == "loss"):
        faults.tell("column", key)
        return list(talk)
    if named or learned(key, value, _ROW, faults):
        return list(talk)
    if kind == "good":
        faults.add(
            f"这一条的答案标为不好的（{mark(key, value)}），不学",
            f"the answer of the row is marked as a bad one ({mark(key, value)}) and never learned",
            f"删掉这一条，或用 skip_bad_rows=true 跳过这样的；{key} 若另有意思，换个列名",
            f'delete the row, or set skip_bad_rows=true; rename "{key}" if it means something else',
        )
        return list(talk)
    return [_as_context(message, key, value, faults) for message in talk]


def _one_by_one(talk: Sequence[Message], key: str, values: Sequence[object], faults: RowFaults) -> list[Message]:
    if kind_of(key) == "good":
        faults.tell("column", key)
        return list(talk)
    answers = [index for index, message in enumerate(talk) if message.role == "assistant"]
    unasked = [index for index, message in enumerate(talk) if message.role != "system"]
    places = next((each for each in (answers, unasked, range(len(talk))) if len(each) == len(values)), None)
    if places is None:
        count, due = len(values), len(answers)
        faults.add(
            f"{key} 有 {count} 个值，而这一条有 {due} 个答案、{len(talk)} 条消息",
            f'"{key}" has {count} values, and the row has {due} answers and {len(talk)} messages',
            "每个答案写一个值，或每条消息写一个值",
            "write one value for each answer, or one for each message",
        )
        return list(talk)
    marked = list(talk)
    for index, value in zip(places, values, strict=True):
        says = learned(key, value, _ROW, faults)
        if faults:
            break
        if not says:
            marked[index] = _as_context(talk[index], key, value, faults)
        elif talk[index].role != "assistant":
            faults.tell("question mark", mark(key, value))
    return marked


def _as_context(message: Message, key: str, value: object, faults: RowFaults) -> Message:
    if message.role != "assistant" or not message.learn:
        return message
    faults.tell("context", mark(key, value))
    return replace(message, learn=False)
