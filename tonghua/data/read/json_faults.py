"""Say what is wrong with JSON that the json module does not take, and how to mend it."""

from collections.abc import Mapping

from ...text import Text
from .faults import Fault, fault

# By the start of the json module's messages. Other messages are shown unchanged.
_FAULTS: Mapping[str, Fault] = {
    "Expecting ','": fault(
        "这里缺少逗号",
        "a comma is missing here",
        '补上英文逗号；文字里的英文双引号要写成 \\"',
        'add a comma; inside text, write a double quote as \\"',
    ),
    "Expecting ']'": fault(
        "列表没有结束",
        "the list is not closed",
        "在末尾补上 ]；检查文件是否完整",
        "add ] at the end; check that nothing is cut off",
    ),
    "Expecting ':'": fault(
        "这里缺少冒号", "a colon is missing here", "在键名后补上英文冒号", "add a colon after the key"
    ),
    "Expecting property name": fault(
        "这里应是带英文双引号的键名",
        "a key in double quotes was expected here",
        "改用英文双引号（不是单引号或中文引号），并去掉 } 前多余的逗号",
        "use straight double quotes, not single or curly ones, and no comma before }",
    ),
    "Expecting value": fault(
        "这里应有一个值",
        "a value was expected here",
        "文字要放在英文双引号里；检查内容是否完整",
        "put text in double quotes; check that nothing is cut off",
    ),
    "Unterminated string": fault(
        "这里开始的文字没有结束的引号",
        "the text that starts here has no closing quote",
        "补上英文双引号；文字里的换行要写成 \\n",
        "add the double quote; inside text, write a line break as \\n",
    ),
    "Invalid control character": fault(
        "文字里有没转义的换行或制表符",
        "a bare line break or tab stands inside text",
        "换行写成 \\n，制表符写成 \\t",
        "write a line break as \\n and a tab as \\t",
    ),
    "Invalid \\": fault(
        "反斜杠的写法不对",
        "the backslash is not a valid escape",
        "反斜杠本身要写成 \\\\",
        "write a backslash itself as \\\\",
    ),
    "Extra data": fault(
        "这里之后是多余的内容",
        "what follows from here does not belong to it",
        "删掉多余的内容；JSONL 一行只写一个对象，行末不加逗号",
        "delete it; a JSONL line holds one object and no comma after it",
    ),
    "Comment": fault(
        "JSON 里不能有注释",
        "JSON has no comments",
        "删掉 // 和 /* */ 的注释",
        "delete what stands after // and in /* */",
    ),
    "Illegal trailing comma": fault(
        "最后一项后面多了逗号", "there is a comma after the last item", "删掉这个逗号", "delete this comma"
    ),
}


def broken_json(message: str, column_number: int, cell: str = "") -> Fault:
    """Return the fault for an error of the json module at a 1-based column; `cell` names the column of a table."""
    other = fault("写法不对", message, "改成正确的 JSON", "write it as valid JSON")
    what, mend = next((each for start, each in _FAULTS.items() if message.startswith(start)), other)
    zh, en = (f"{cell} 里的 ", f' in "{cell}"') if cell else ("", "")
    return Fault(
        Text(
            f"{zh}JSON 写错了（第 {column_number} 列）：{what.zh}",
            f"broken JSON{en} (column {column_number}): {what.en}",
        ),
        mend,
    )
