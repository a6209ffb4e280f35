"""Convert the messages of OpenAI, ShareGPT and XTuner rows, and Alpaca's history, to Message, or add faults."""

import re
from collections.abc import Mapping, Sequence
from typing import TypeGuard

from ...prompt.conversation import Message, Role
from ...text import Text, shown
from .encodings import find_mojibake
from .faults import Faults
from .roles import NOTHING

# These columns hold more than text. Training without them would change the meaning of the rows.
UNSUPPORTED = ("tools", "functions", "images", "videos", "audios", "chosen", "rejected")

SPEAKERS: Mapping[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}

REASONING = ("reasoning_content", "reasoning", "thinking")
"""Names of what an answer's author thought before it, in a message; the first that is filled is taken."""

_NO_PART = Text("有一段没有 type", "has a part without a type")

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def history_messages(history: object, column: str, faults: Faults) -> list[Message]:
    """Return the messages of a history [[question, answer], ...]; add what is wrong to `faults`."""
    if history is None or (isinstance(history, str) and not history.strip()):
        return []
    if not isinstance(history, list):
        kind = type_name(history)
        faults.add(
            f"{column} 是{kind.zh}，应为列表",
            f'"{column}" is {kind.en}, not a list',
            '写成 [["上一问", "上一答"]]；没有就写 []',
            'write [["question", "answer"]], or [] if there is none',
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
        question = required_text(turn[0], Text(f"{where}问题", f"{where_en}question"), faults)
        answer = required_text(turn[1], Text(f"{where}答案", f"{where_en}answer"), faults)
        messages += [Message("user", question), Message("assistant", answer)]
    return messages


def is_messages(value: object) -> TypeGuard[list[object]]:
    """True if `value` is a list of dicts that is not empty."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def unfolded(written: list[object]) -> list[object]:
    """Convert XTuner's list of rounds (system, input, output) to role/content dicts; return other lists unchanged."""
    unfolded: list[object] = []
    for item in written:
        if not (isinstance(item, dict) and "output" in item and "role" not in item and "from" not in item):
            return written
        if item.get("system") not in NOTHING:
            unfolded.append({"role": "system", "content": item["system"]})
        unfolded.append({"role": "user", "content": item.get("input")})
        unfolded.append({"role": "assistant", "content": item["output"]})
    return unfolded


def messages_of(written: Sequence[object], column: str, faults: Faults) -> list[Message]:
    """Return a row's list of messages, without an empty system message; add what is wrong to `faults`."""
    before = len(faults)
    talk = [_message(item, number, column, faults) for number, item in enumerate(written, 1)]
    if len(faults) == before:
        _check_order(talk, column, faults)
    return talk[1:] if talk[0].role == "system" and not talk[0].content.strip() else talk


def _message(item: object, number: int, column: str, faults: Faults) -> Message:
    if not isinstance(item, dict):
        kind = type_name(item)
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
    return Message(role, required_text(content, where, faults), reasoning=_reasoning(item, role, number, faults))


def _reasoning(item: Mapping[str, object], role: Role, number: int, faults: Faults) -> str:
    key = next((key for key in REASONING if item.get(key) not in NOTHING), None)
    if role != "assistant" or key is None:
        return ""
    return known_text(item[key], Text(f"第 {number} 条的 {key} ", f'"{key}" of message {number}'), faults)


def _joined(content: object, where: Text, faults: Faults) -> object:
    """Join a content that is a list of text parts; return any other content unchanged."""
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
    # Only answers are learned, each with weight 1. Accept weights that say just this; loss_weight is on all messages.
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


def optional_text(value: object, column: str, faults: Faults) -> str:
    """Return the text, "" for None; add a fault as `known_text` does."""
    return "" if value is None else known_text(value, Text(f"{column} ", f'"{column}"'), faults)


def required_text(value: object, where: Text, faults: Faults) -> str:
    """Return the text; add a fault as `known_text` does, or if it is blank."""
    words = known_text(value, where, faults)
    if isinstance(value, str) and not value.strip():
        faults.add(
            f"{where.zh}是空的",
            f"{where.en} is empty",
            "写上内容，或删掉这一条",
            "write something there, or delete the row",
        )
    return words


def known_text(value: object, where: Text, faults: Faults) -> str:
    """Return `value` unchanged if it is text, else "". Add a fault if it is no text, not valid UTF-8, or garbled."""
    if not isinstance(value, str):
        kind = type_name(value)
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


def type_name(value: object) -> Text:
    """Return the name of a JSON value's type, for messages."""
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
