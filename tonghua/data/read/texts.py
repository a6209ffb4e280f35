"""Check that a value of a row is text, or add a fault that says what it is."""

import re

from ...text import Text
from .encodings import find_mojibake
from .faults import Faults

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


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


def is_sound(value: object) -> bool:
    """True if `required_text` finds no fault in a value."""
    if not isinstance(value, str) or not value.strip():
        return False
    return not _LONE_SURROGATE.search(value) and find_mojibake(value) is None


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
