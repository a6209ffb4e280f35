"""data: each form of rows, every fault with its line and words, what is refused whole, and the split."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from user_files import written

from tonghua.data.read import dataset as data
from tonghua.data.read.csv_rows import CSV_FIELD_CHARACTERS
from tonghua.data.read.dataset import ReadRows, RowProblem, question_hash, read_rows
from tonghua.data.read.roles import ColumnMap
from tonghua.errors import DataError, UsageError
from tonghua.prompt.conversation import JOIN, Conversation, Message
from tonghua.text import Text

GOOD = '{"instruction": "问", "output": "答"}'


def read(folder: Path, name: str, content: str | bytes) -> ReadRows:
    return read_rows(written(folder, name, content))


def said(rows: ReadRows, language: str = "zh") -> list[tuple[int, str]]:
    return [(problem.line, getattr(problem.what, language)) for problem in rows.problems]


def talk(*contents: str, system: str | None = None, line: int = 1) -> Conversation:
    """A conversation of user and assistant in turn."""
    messages = [] if system is None else [Message("system", system)]
    for index, content in enumerate(contents):
        messages.append(Message("assistant" if index % 2 else "user", content))
    return Conversation(tuple(messages), line)


def accounts_for_every_row(rows: ReadRows) -> bool:
    return rows.read == len(rows.kept) + len({problem.line for problem in rows.problems})


# What is read


def test_a_json_array_gives_conversations_with_the_line_of_each_row(folder: Path) -> None:
    path = written(folder, "行.json", f'\n[\n  {GOOD},\n  {{\n   "instruction": "二",\n   "output": "2"\n  }}\n]\n')
    kept = (talk("问", "答", line=3), talk("二", "2", line=4))
    columns = ColumnMap("alpaca", (("instruction", "instruction"), ("output", "output")))
    assert read_rows(path) == ReadRows(path, "json", "alpaca", 2, kept, (), mapping=(columns,))


def test_jsonl_skips_blank_lines_and_counts_them(folder: Path) -> None:
    rows = read(folder, "a.jsonl", f"\n{GOOD}\n  \n{GOOD}")
    assert (rows.kind, rows.read, rows.problems) == ("jsonl", 2, ())
    assert [row.line for row in rows.kept] == [2, 4]


def test_jsonl_is_cut_at_line_feeds_only(folder: Path) -> None:
    rows = read(folder, "a.jsonl", '{"instruction": "a\u2028b\x85c", "output": "答"}\r\n' + GOOD + "\r\n")
    assert rows.kept == (talk("a\u2028b\x85c", "答"), talk("问", "答", line=2))


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.json", f"{GOOD}\n{GOOD}", "jsonl"),
        ("a.jsonl", f" \n[{GOOD},\n{GOOD}]", "json"),
        ("A.JSON", f"[{GOOD}]", "json"),
    ],
)
def test_json_and_jsonl_are_told_apart_by_looking(folder: Path, name: str, content: str, kind: str) -> None:
    rows = read(folder, name, content)
    assert rows.kind == kind
    assert rows.read == len(rows.kept) == content.count("问")


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_csv_with_quotes_line_breaks_and_a_byte_order_mark(folder: Path, start: str) -> None:
    content = start + 'instruction,input,output\r\n"甲,乙",,"他说""好""。\r\n第二行"\r\n\r\n丙,丁,戊\r\n'
    rows = read(folder, "a.csv", content)
    assert rows.kept == (talk("甲,乙", '他说"好"。\r\n第二行', line=2), talk(f"丙{JOIN}丁", "戊", line=5))
    assert (rows.kind, rows.columns, rows.read, rows.problems) == ("csv", "alpaca", 2, ())


def test_csv_holds_history_and_messages_as_json_text(folder: Path) -> None:
    rows = read(folder, "a.csv", 'instruction,output,history\n问,答,"[[""早"", ""好""]]"\n问,答,\n')
    assert rows.kept == (talk("早", "好", "问", "答", line=2), talk("问", "答", line=3))
    cell = json.dumps([{"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}])
    rows = read(folder, "b.csv", 'messages\n"{}"\n'.format(cell.replace('"', '""')))
    assert (rows.columns, rows.kept) == ("messages", (talk("问", "答", line=2),))


def test_a_byte_order_mark_before_json_is_no_fault(folder: Path) -> None:
    assert read(folder, "a.json", f"\ufeff[{GOOD}]").kept == (talk("问", "答"),)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"instruction": "甲", "input": "乙", "output": "丙"}, talk(f"甲{JOIN}乙", "丙")),
        ({"instruction": "甲", "input": "", "output": "丙"}, talk("甲", "丙")),
        ({"instruction": "甲", "input": None, "output": "丙"}, talk("甲", "丙")),
        ({"instruction": "甲", "input": " \n", "output": "丙"}, talk("甲", "丙")),
        ({"instruction": "", "input": "乙", "output": "丙"}, talk("乙", "丙")),
        ({"input": "乙", "output": "丙"}, talk("乙", "丙")),
        ({"instruction": " 甲 ", "input": "\t乙", "output": "\n丙 "}, talk(f" 甲 {JOIN}\t乙", "\n丙 ")),
        (
            {"instruction": "甲", "output": "丙", "system": "你是林黛玉"},
            talk("甲", "丙", system="你是林黛玉"),
        ),
        ({"instruction": "甲", "output": "丙", "system": " ", "history": None}, talk("甲", "丙")),
        ({"instruction": "甲", "output": "丙", "history": []}, talk("甲", "丙")),
        (
            {"instruction": "甲", "output": "丙", "history": [["一", "二"], ["三", "四"]], "system": "设"},
            talk("一", "二", "三", "四", "甲", "丙", system="设"),
        ),
        ({"instruction": "😀", "output": "字" * 50_000}, talk("😀", "字" * 50_000)),
    ],
)
def test_alpaca_rows_keep_their_text_exactly(folder: Path, row: object, expected: Conversation) -> None:
    rows = read(folder, "a.jsonl", json.dumps(row))
    assert (rows.kept, rows.problems) == ((expected,), ())


def openai(*pairs: tuple[str, object], **more: object) -> dict[str, object]:
    return {"messages": [{"role": role, "content": content} for role, content in pairs], **more}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (openai(("user", "甲"), ("assistant", " 乙\n")), talk("甲", " 乙\n")),
        (
            openai(("system", "设"), ("user", "甲"), ("assistant", "乙"), ("user", "丙"), ("assistant", "丁")),
            talk("甲", "乙", "丙", "丁", system="设"),
        ),
        (openai(("system", ""), ("user", "甲"), ("assistant", "乙")), talk("甲", "乙")),
        (openai(("user", "甲"), ("assistant", "乙"), system="设"), talk("甲", "乙", system="设")),
        (
            openai(("system", ""), ("user", "甲"), ("assistant", "乙"), system="设"),
            talk("甲", "乙", system="设"),
        ),
        (openai(("user", "甲"), ("assistant", "乙"), system="", tools=[], history=None), talk("甲", "乙")),
    ],
)
def test_openai_rows(folder: Path, row: object, expected: Conversation) -> None:
    rows = read(folder, "a.jsonl", json.dumps(row))
    assert (rows.columns, rows.kept, rows.problems) == ("messages", (expected,), ())


def test_columns_that_are_not_used_are_named(folder: Path) -> None:
    rows = read(folder, "a.csv", "id,instruction,output,标题\n1,问,答,题\n")
    assert rows.kept == (talk("问", "答", line=2),)
    assert rows.ignored == ("id", "标题")


# What is wrong with a row

MESSY = [
    '{"instruction": "好", "output": "好", "id": 1}',
    '{"instruction": "问"}',
    '{"instruction": "问", "output": " \\n"}',
    '{"instruction": "", "input": null, "output": "答"}',
    '{"instruction": "问", "output": 3}',
    '{"instruction": "问", "output": "答"',
    '["问", "答"]',
    '{"instruction": "问", "output": "一", "output": "二"}',
    '{"instruction": "问", "input": Infinity, "output": "答"}',
    '{"instruction": "问", "output": "答", "history": "早"}',
    '{"instruction": "问", "output": "答\\ud83d"}',
    "",
    '{"instruction": "问", "output": "答", "system": ["设"]}',
    '{"instruction": "问", "output": null}',
    '{"instruction": "问", "output": "答", "history": [["早", "好"], ["晚"]]}',
    '{"instruction": "问", "ouput": "答"}',
    '{"instruction": "问", "output": "答", "images": ["a.png"]}',
    '{"instruction": 1, "input": true, "output": ["答"], "system": {}}',
    '{"instruction": "问", "output": "答"},',
    '{"instruction": "好", "output": "好"}',
]
MESSY_SAID = [
    (2, "没有 output（答案），只有 instruction", 'no "output" (the answer), only instruction'),
    (3, "output（答案）是空的", '"output" (the answer) is empty'),
    (4, "缺少问题：instruction 和 input 都是空的", 'no question: "instruction" and "input" are both empty'),
    (5, "output（答案）是数字，应为文字", '"output" (the answer) is a number, not text'),
    (6, "JSON 写错了（第 35 列）：这里缺少逗号", "broken JSON (column 35): a comma is missing here"),
    (7, "这一条是列表，应为对象", "the row is a list, not an object"),
    (8, "键 output 不止一个", 'the key "output" stands there more than once'),
    (9, "Infinity 不是 JSON 里的值", "Infinity is not a JSON value"),
    (10, "history 是文字，应为列表", '"history" is text, not a list'),
    (
        11,
        "output（答案）里有半个字符 \\ud83d，存不成 UTF-8",
        '"output" (the answer) has half a character, \\ud83d, which UTF-8 cannot hold',
    ),
    (13, "system 是列表，应为文字", '"system" is a list, not text'),
    (14, "output（答案）是空值 null，应为文字", '"output" (the answer) is null, not text'),
    (15, "history 第 2 轮不是一问一答", 'round 2 of "history" is not one question and one answer'),
    (
        16,
        "这一条有 ouput，像是 output 写错了",
        'the row has "ouput", which looks like a slip for "output"',
    ),
    (17, "这一条用了 images，这里不支持", 'the row uses "images", which is not supported'),
    (18, "system 是对象，应为文字", '"system" is an object, not text'),
    (18, "instruction 是数字，应为文字", '"instruction" is a number, not text'),
    (18, "input 是布尔值，应为文字", '"input" is true or false, not text'),
    (18, "output（答案）是列表，应为文字", '"output" (the answer) is a list, not text'),
    (
        19,
        "JSON 写错了（第 36 列）：这里之后是多余的内容",
        "broken JSON (column 36): what follows from here does not belong to it",
    ),
]


def test_every_fault_of_a_messy_file_is_told_at_once(folder: Path) -> None:
    rows = read(folder, "乱.jsonl", "\n".join(MESSY))
    assert [(problem.line, *problem.what) for problem in rows.problems] == MESSY_SAID
    assert [row.line for row in rows.kept] == [1, 20]
    assert rows.read == 19
    assert accounts_for_every_row(rows)


def test_the_count_of_rows_notices_one_that_is_dropped_in_silence(folder: Path) -> None:
    rows = read(folder, "a.jsonl", "\n".join(MESSY))
    silent = ReadRows(rows.path, rows.kind, rows.columns, rows.read, rows.kept, rows.problems[1:])
    assert not accounts_for_every_row(silent)


MENDS = {
    2: ("补上 output，或删掉这一条", 'add "output", or delete the row'),
    3: ("写上内容，或删掉这一条", "write something there, or delete the row"),
    4: ("在 instruction 里写上问题，或删掉这一条", 'write it in "instruction", or delete the row'),
    5: ("改成英文双引号里的文字，或删掉这一条", "write it as text in double quotes, or delete the row"),
    7: ('写成 {"instruction": "…", "output": "…"}', 'write it as {"instruction": "…", "output": "…"}'),
    8: ("只留一个", "keep one of them"),
    9: ('没有内容就写 ""', 'write "" if there is nothing'),
    10: (
        '写成 [["上一问", "上一答"]]；没有就写 []',
        'write [["question", "answer"]], or [] if there is none',
    ),
    11: (
        "重新输入这个字符（多半是表情符号），或删掉它",
        "type that character (often an emoji) again, or delete it",
    ),
    16: ("改成 output，或换一个不相近的名字", "write output, or choose a less similar name"),
}


def test_each_problem_says_how_to_mend_it(folder: Path) -> None:
    rows = read(folder, "a.jsonl", "\n".join(MESSY))
    assert {problem.line: tuple(problem.mend) for problem in rows.problems if problem.line in MENDS} == MENDS
    assert all(text and "\n" not in text for problem in rows.problems for text in (*problem.what, *problem.mend))


def test_a_problem_as_json() -> None:
    problem = RowProblem(7, Text("没有 output（答案）", "no output"), Text("补上", "add it"))
    assert problem.as_json("zh") == {"line": 7, "what": "没有 output（答案）", "mend": "补上"}
    assert problem.as_json("en") == {"line": 7, "what": "no output", "mend": "add it"}


TOOL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ("你好", ["messages 是文字，应为消息的列表"]),
        ([], ["messages 是空列表，应为消息的列表"]),
        (["你好"], ["messages 第 1 条是文字，应为对象"]),
        ([{"role": "tool", "content": "x"}], ["messages 第 1 条是工具调用或它的结果（tool），这里不支持"]),
        ([{"value": "x", "id": 1}], ["messages 第 1 条没有 role（它有 value、id）"]),
        ([{"from": "human", "value": "x"}], ["messages 里没有一问，后面跟着一答（只有 user）"]),
        ([{"from": "narrator", "value": "x"}], ["messages 第 1 条的 from 是 narrator"]),
        ([{"role": ["user"], "content": "x"}], ["messages 第 1 条的 role 是列表"]),
        ([{"role": "user", "content": "x"}, TOOL], ["messages 第 2 条用了 tool_calls（工具调用），这里不支持"]),
        (
            [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 0}],
            ['这一条没有要学的答案（"weight": 0）'],
        ),
        (
            [{"role": "user", "words": "x"}, {"role": "assistant", "content": None}],
            [
                "messages 第 1 条没有 content（它有 role、words）",
                "messages 第 2 条（assistant）的 content 是空值 null，应为文字",
            ],
        ),
        (
            [
                {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {}}]},
                {"role": "assistant", "content": ["y"]},
            ],
            [
                "messages 第 1 条（user）的 content 里有 image_url，这里只支持文字",
                "messages 第 2 条（assistant）的 content 里有一段没有 type，这里只支持文字",
            ],
        ),
        (
            [{"role": "user", "content": ""}, {"role": "assistant", "content": None}],
            [
                "messages 第 1 条（user）的 content 是空的",
                "messages 第 2 条（assistant）的 content 是空值 null，应为文字",
            ],
        ),
    ],
)
def test_faults_of_messages(folder: Path, messages: object, expected: list[str]) -> None:
    rows = read(folder, "a.jsonl", json.dumps({"messages": messages}))
    assert said(rows) == [(1, what) for what in expected]
    assert rows.kept == ()


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        ("ua", None),
        ("sua", None),
        ("suaua", None),
        ("au", "messages 里没有一问，后面跟着一答（只有 assistant、user）"),
        ("aua", None),
        ("saua", None),
        ("uua", None),
        ("uaua", None),
        ("suau", None),
        ("suaa", "messages 第 4 条又是 assistant：连着两个答案，不知道学哪一个"),
        ("aaua", "messages 第 2 条又是 assistant：连着两个答案，不知道学哪一个"),
        ("usa", "messages 第 2 条是 system，这里应是 assistant"),
        ("uasua", "messages 第 3 条是 system，这里应是 user"),
        ("u", "messages 里没有一问，后面跟着一答（只有 user）"),
        ("s", "messages 里没有一问，后面跟着一答（只有 system）"),
    ],
)
def test_the_order_of_messages(folder: Path, roles: str, expected: str | None) -> None:
    names = {"s": "system", "u": "user", "a": "assistant"}
    rows = read(folder, "a.jsonl", json.dumps(openai(*((names[role], "字") for role in roles))))
    assert said(rows) == ([] if expected is None else [(1, expected)])
    assert len(rows.kept) == (expected is None)


def test_two_systems_and_two_forms_are_not_merged(folder: Path) -> None:
    good = openai(("user", "甲"), ("assistant", "乙"))
    lines = [
        good,
        openai(("system", "一"), ("user", "甲"), ("assistant", "乙"), system="二"),
        {**good, "output": "丙"},
        {},
        {"message": "甲"},
    ]
    rows = read(folder, "a.jsonl", "\n".join(map(json.dumps, lines)))
    assert said(rows) == [
        (2, "system 列和 messages 里各有一段 system"),
        (3, "这一条有 output，而这个文件按 messages 来读"),
        (4, "没有 messages"),
        (5, "这一条有 message，像是 messages 写错了"),
    ]
    assert accounts_for_every_row(rows)


def test_csv_rows_with_too_many_or_too_few_fields(folder: Path) -> None:
    rows = read(folder, "a.csv", 'instruction,output\n"甲\n乙",答\n甲,乙,丙\n丁\n,\n戊,己\n')
    assert said(rows) == [
        (4, "有 3 个字段，表头有 2 列"),
        (5, "有 1 个字段，表头有 2 列"),
        (6, "缺少问题：instruction 是空的"),
        (6, "output（答案）是空的"),
    ]
    assert [row.line for row in rows.kept] == [2, 7]
    assert accounts_for_every_row(rows)


@pytest.mark.parametrize("tail", ['"他说"你好"",答\n丙,丁\n', '"没有结束,答\n丙,丁\n'])
def test_a_broken_quote_in_a_csv_ends_the_reading(folder: Path, tail: str) -> None:
    rows = read(folder, "a.csv", f"instruction,output\n甲,乙\n{tail}")
    assert said(rows) == [(3, "这一条的英文双引号不配对；从这里起没有再读")]
    assert rows.kept == (talk("甲", "乙", line=2),)
    assert accounts_for_every_row(rows)


def test_csv_fields_are_bounded(folder: Path) -> None:
    rows = read(folder, "a.csv", f"instruction,output\n甲,{'字' * 200_000}\n")
    assert rows.kept == (talk("甲", "字" * 200_000, line=2),)
    rows = read(folder, "b.csv", f"instruction,output\n甲,{'a' * (CSV_FIELD_CHARACTERS + 1)}\n")
    assert said(rows, "en") == [(2, "a field is longer than 5000000 characters; nothing was read from here on")]


def test_broken_history_in_a_csv(folder: Path) -> None:
    rows = read(folder, "a.csv", 'instruction,output,history\n甲,乙,[\n甲,乙,[Infinity]\n甲,乙,"""x"""\n')
    assert said(rows) == [
        (2, "history 里的 JSON 写错了（第 2 列）：这里应有一个值"),
        (3, "history 里的 Infinity 不是 JSON 里的值"),
        (4, "history 是文字，应为列表"),
    ]


def test_text_in_a_csv_column_without_a_name(folder: Path) -> None:
    rows = read(folder, "a.csv", "instruction,output,,\n甲,乙,,\n甲,乙,丙,\n")
    assert said(rows) == [(3, "这一条在没有列名的一列里有内容")]
    assert rows.ignored == ()


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (f"[\n{GOOD},\n{GOOD}\n{GOOD}\n]", 4, "JSON 写错了（第 1 列）：这里缺少逗号"),
        (f"[\n{GOOD},\n{GOOD},\n]", 3, "JSON 写错了（第 36 列）：最后一项后面多了逗号"),
        (f"[\n{GOOD},\n{GOOD}\n", 4, "JSON 写错了（第 1 列）：列表没有结束"),
        (f"[\n{GOOD},\n{GOOD}\n]\n[]", 5, "JSON 写错了（第 1 列）：这里之后是多余的内容"),
        (f"[\n{GOOD},\n{GOOD},\n{{'a': 1}}]", 4, "JSON 写错了（第 2 列）：这里应是带英文双引号的键名"),
        (f'[\n{GOOD},\n{GOOD},\n{{\n"a" 1}}]', 5, "JSON 写错了（第 5 列）：这里缺少冒号"),
        (f'[\n{GOOD},\n{GOOD},\n{{"a": "x\ny"}}]', 4, "JSON 写错了（第 9 列）：文字里有没转义的换行或制表符"),
        (f'[\n{GOOD},\n{GOOD},\n{{"a": "\\d"}}]', 4, "JSON 写错了（第 8 列）：反斜杠的写法不对"),
        (f'[\n{GOOD},\n{GOOD},\n{{"a": "x', 4, "JSON 写错了（第 7 列）：这里开始的文字没有结束的引号"),
        (f"[\n{GOOD},\n{GOOD},\n{{“a”: 1}}]", 4, "JSON 写错了（第 2 列）：这里应是带英文双引号的键名"),
    ],
)
def test_a_syntax_error_in_an_array_ends_the_reading(folder: Path, content: str, line: int, what: str) -> None:
    rows = read(folder, "a.json", content)
    if line > 3:
        assert [row.line for row in rows.kept] == [2, 3]
        assert accounts_for_every_row(rows)
    assert [(got, text.removeprefix("第 3 条：")) for got, text in said(rows)] == [(line, f"{what}；从这里起没有再读")]


def test_rows_that_share_a_line_are_told_by_their_number(folder: Path) -> None:
    rows = read(folder, "a.json", f'[{GOOD}, {{"instruction": "问"}}, 5]')
    assert said(rows) == [(1, "第 2 条：没有 output（答案），只有 instruction"), (1, "第 3 条：这一条是数字，应为对象")]
    assert said(rows, "en")[0] == (1, 'row 2: no "output" (the answer), only instruction')


def test_deep_nesting_is_a_problem_and_not_a_crash(folder: Path) -> None:
    deep = '{"instruction": "问", "output": "答", "x": ' + "[" * 200_000 + "]" * 200_000 + "}"
    rows = read(folder, "a.jsonl", f"{deep}\n{GOOD}")
    assert said(rows) == [(1, "括号嵌套太深，无法读取")]
    assert rows.kept == (talk("问", "答", line=2),)
    rows = read(folder, "a.json", f"[{GOOD},\n{deep},\n{GOOD}]")
    assert said(rows) == [(2, "括号嵌套太深，无法读取；从这里起没有再读")]
    assert rows.read == 2


def test_numbers_of_any_length_are_only_numbers(folder: Path) -> None:
    rows = read(folder, "a.jsonl", f'{{"instruction": "问", "output": {"9" * 5000}}}\n{GOOD}')
    assert said(rows) == [(1, "output（答案）是数字，应为文字")]


def test_a_file_without_one_usable_row_comes_back_with_its_problems(folder: Path) -> None:
    rows = read(folder, "a.json", '["一", null, 3]')
    assert (rows.read, rows.kept, len(rows.problems)) == (3, (), 3)
    rows = read(folder, "b.jsonl", "不是 JSON\n也不是\n")
    assert (rows.read, rows.kept, len(rows.problems)) == (2, (), 2)


def test_names_from_a_file_are_shown_on_one_line(folder: Path) -> None:
    rows = read(folder, "a.jsonl", '{"instruction": "问", "output": "答", "a\\nb\\u001b": 1, "a\\nb\\u001b": 2}')
    assert said(rows) == [(1, "键 a\\nb\\x1b 不止一个")]


# What is refused whole


def refused(path: Path) -> tuple[str, str]:
    with pytest.raises(DataError) as caught:
        read_rows(path)
    assert "\n" not in caught.value.text.zh + caught.value.text.en
    assert caught.value.exit_code == 3
    return caught.value.text.zh, caught.value.text.en


def test_no_such_file(folder: Path) -> None:
    path = folder / "没有.json"
    assert refused(path) == (
        f"找不到文件 {path}；请检查路径和文件名",
        f"no such file: {path}; check the path and the spelling",
    )
    assert "找不到文件" in refused(Path("a\0b.json"))[0]
    assert "a\\nb.json" in refused(folder / "a\nb.json")[0]


def test_a_folder_and_a_wrong_suffix(folder: Path) -> None:
    path = written(folder, "a.docx", "x")
    assert refused(folder) == (
        f"{folder} 里没有数据文件（.json、.jsonl、.csv、.tsv、.parquet、.xlsx 或 .txt）；请检查路径",
        f"{folder} holds no file of rows (.json, .jsonl, .csv, .tsv, .parquet, .xlsx or .txt); check the path",
    )
    assert refused(path) == (
        f"{path} 的后缀不是 .json、.jsonl、.csv、.tsv、.parquet、.xlsx 或 .zip；请另存为其中一种",
        f"{path} does not end in .json, .jsonl, .csv, .tsv, .parquet, .xlsx or .zip; save it as one of these",
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes in folders")
def test_a_pipe_is_never_opened(folder: Path) -> None:
    path = folder / "管道.json"
    os.mkfifo(path)
    assert refused(path)[0] == f"{path} 不是普通文件（是管道或设备）；请先存成文件"


def test_a_file_that_may_not_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(self: Path, mode: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = written(folder, "a.json", f"[{GOOD}]")
    monkeypatch.setattr(Path, "open", denied)
    assert refused(path)[0] == f"打不开 {path}（Permission denied）；请检查路径和权限"


@pytest.mark.parametrize(
    "address",
    ["https://example.com/a.json", "http://example.com/a.csv", "HTTPS://x/a.jsonl", "hf://x/a.json", "file:///a.json"],
)
def test_a_web_address(address: str) -> None:
    zh, en = refused(Path(address))
    assert "是网址，只能读本机上的文件；请先下载，再写下载后的路径" in zh
    assert en.startswith(address[: address.index("/")] + "//")


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("a.json", "", "是空文件；请先写入数据"),
        ("a.jsonl", "\ufeff \n\n", "是空文件；请先写入数据"),
        ("a.csv", "", "是空文件；请先写入数据"),
        ("a.csv", "instruction,output\n\n", "只有表头，没有数据；请在表头下写入数据"),
        ("a.json", " [ ]\n", "里没有一条数据；请先写入数据"),
    ],
)
def test_a_file_without_rows(folder: Path, name: str, content: str, what: str) -> None:
    path = written(folder, name, content)
    assert refused(path)[0] == f"{path} {what}"


def test_a_file_in_no_known_encoding(folder: Path) -> None:
    path = written(folder, "a.csv", b"instruction,output\n" + "问,答".encode() + b"\xff\n")
    assert refused(path) == (
        f"{path} 不是 UTF-8、UTF-16 或 GB18030 编码（按 UTF-8 读到第 2 行，字节偏移 26）；请用编辑器另存为 UTF-8",
        f"{path} is not in UTF-8, UTF-16 or GB18030 (by UTF-8, readable up to line 2, byte offset 26); "
        "save it as UTF-8 in an editor",
    )


COMMAS = "（各列要用英文逗号隔开）"
SLIP = "（mesages 像是 messages 写错了）"
EXPECTED = "需要 instruction（或 input）和 output，或者 messages；列名不同时用 columns= 指明"


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        (
            "a.csv",
            "instruction,ouput\n问,答\n问,答\n",
            f"没有 output 这样的列；现有的列：instruction、ouput（ouput 像是 output 写错了）；{EXPECTED}",
        ),
        ("a.csv", "标题,output\n问,答\n", f"没有 instruction 这样的列；现有的列：标题、output；{EXPECTED}"),
        (
            "a.csv",
            "instruction/output\n问/答\n",
            f"没有 instruction、output 这样的列；现有的列：instruction/output{COMMAS}；{EXPECTED}",
        ),
        (
            "a.jsonl",
            '{"id": 1, "title": "题"}\n{"words": "文"}',
            f"没有 instruction、output 这样的列；现有的列：id、title、words；{EXPECTED}",
        ),
        (
            "a.json",
            '[{"mesages": []}]',
            f"没有 instruction、output 这样的列；现有的列：mesages{SLIP}；{EXPECTED}",
        ),
    ],
)
def test_a_required_column_missing_everywhere_is_told_once(folder: Path, name: str, content: str, what: str) -> None:
    path = written(folder, name, content)
    assert refused(path)[0] == f"{path} {what}"


def test_a_missing_column_in_english(folder: Path) -> None:
    path = written(folder, "a.csv", "instruction,ouput\n问,答\n")
    assert refused(path)[1] == (
        f'{path} has no column output; columns found: instruction, ouput ("ouput" looks like output); '
        "expected: instruction (or input) and output, or messages; name others with columns="
    )


@pytest.mark.parametrize("slip", ["imput", " imput", "inputs", "ｉｎｐｕｔｓ", "histroy", "Systen"])
def test_a_misspelt_optional_column_is_not_passed_over(folder: Path, slip: str) -> None:
    path = written(folder, "a.csv", f"instruction,output,{slip}\n问,答,文\n问,答,文\n")
    zh, en = refused(path)
    assert zh.startswith(f"{path}：每一条都有 {slip}，像是 ")
    assert en.startswith(f'{path}: every row has "{slip}", which looks like a slip for ')
    assert len(read(folder, "b.csv", f"instruction,output,{slip}\n问,答,\n").kept) == 1


@pytest.mark.parametrize("name", ["id", "title", "source", "output_zh", "input_ids", "category", "标题"])
def test_harmless_columns_are_no_misspelt_ones(folder: Path, name: str) -> None:
    assert len(read(folder, "b.csv", f"instruction,output,{name}\n问,答,文\n").kept) == 1


def test_a_doubled_column_in_a_csv_header(folder: Path) -> None:
    path = written(folder, "a.csv", "instruction,output,output\n问,答,答\n")
    assert refused(path)[0] == f"{path} 的表头里 output 不止一列；请只留一列或改名"


def test_objects_spread_over_lines_outside_a_list(folder: Path) -> None:
    row = json.dumps({"instruction": "问", "output": "答", "history": [["一", "二"]]}, indent=1, ensure_ascii=False)
    for join in ("\n", ",\n", " "):
        found = read(folder, "a.json", join.join([row] * 3))
        assert len(found.kept) == 3
        assert found.kept[1].line == row.count("\n") + 1 + join.count("\n")
    broken = read(folder, "c.json", f"{row}\n{row.replace(',', '', 1)}\n{row}")
    assert (len(broken.kept), [problem.line for problem in broken.problems]) == (1, [row.count("\n") + 4])
    rows = read(folder, "b.jsonl", f'{{"instruction": "问",\n{GOOD}\n')
    assert [problem.line for problem in rows.problems] == [1]


# Two sides


def conversations(questions: list[str]) -> list[Conversation]:
    return [talk(question, f"答{index}", line=index + 1) for index, question in enumerate(questions)]


def split(rows: list[Conversation], val_size: float, seed: int) -> tuple[list[Conversation], list[Conversation]]:
    train, held_out = data.split_places(np.array([question_hash(row) for row in rows], np.uint64), val_size, seed)
    return [rows[i] for i in train], [rows[i] for i in held_out]


def shares_a_question(train: list[Conversation], held_out: list[Conversation]) -> bool:
    """For questions of the letters below: the same but for case, width and white space."""

    def plain(row: Conversation) -> str:
        words = row.messages[0].content.replace("Ａ", "a").replace("ａ", "a").replace("\u3000", " ").lower()
        return " ".join(words.split())

    return bool({plain(row) for row in train} & {plain(row) for row in held_out})


questions = st.lists(st.text(alphabet="aAＡａb \n\u3000", max_size=4), max_size=40)
sizes = st.one_of(st.just(0), st.floats(0.001, 0.999), st.integers(1, 50))


@settings(deadline=None)
@given(questions, sizes, st.integers(0, 2**32))
def test_a_split_loses_and_doubles_nothing_and_shares_no_question(asked: list[str], val_size: float, seed: int) -> None:
    rows = conversations(asked)
    train, held_out = split(rows, val_size, seed)
    assert sorted(row.line for row in train + held_out) == [row.line for row in rows]
    for side in (train, held_out):
        assert [row.line for row in side] == sorted(row.line for row in side)
    assert not shares_a_question(train, held_out)
    assert (train, held_out) == split(list(rows), val_size, seed)
    assert bool(train) == bool(rows)
    if val_size == 0:
        assert held_out == []


@settings(deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=20), sizes.filter(bool), st.integers(0, 99))
def test_the_held_out_side_is_as_near_to_the_wish_as_one_more_group_can_bring_it(
    groups: list[int], val_size: float, seed: int
) -> None:
    rows = conversations([f"问{index}" for index, size in enumerate(groups) for _ in range(size)])
    train, held_out = split(rows, val_size, seed)
    wished = round(val_size * len(rows) if val_size < 1 else val_size)
    assert train
    assert held_out
    left = Counter(row.messages[0].content for row in train)
    if len(left) > 1:
        nearer = min(abs(len(held_out) + size - wished) for size in left.values())
        assert abs(len(held_out) - wished) <= nearer


@settings(deadline=None)
@given(st.integers(4, 60), st.integers(1, 3), st.integers(0, 1000))
def test_questions_that_are_all_different_give_exactly_the_wish(count: int, wished: int, seed: int) -> None:
    train, held_out = split(conversations([f"问{index}" for index in range(count)]), wished, seed)
    assert (len(train), len(held_out)) == (count - wished, wished)


@settings(deadline=None)
@given(st.integers(20, 60), st.integers(0, 1000))
def test_the_seed_changes_the_split(count: int, seed: int) -> None:
    rows = conversations([f"问{index}" for index in range(count)])
    assert len({tuple(row.line for row in split(rows, 0.3, seed + more)[1]) for more in range(8)}) > 1


def test_a_split_by_rows_would_share_questions() -> None:
    rows = conversations(["a", "b", "Ａ ", "b\n"])
    assert shares_a_question(rows[:2], rows[2:])
    assert not shares_a_question(*split(rows, 0.5, 0))


def test_a_giant_group_stays_on_the_train_side() -> None:
    rows = conversations(["同一个问题"] * 90 + [f"问{index}" for index in range(10)])
    for seed in range(10):
        train, held_out = split(rows, 0.1, seed)
        assert len(held_out) == 10
        assert sum(row.messages[0].content == "同一个问题" for row in train) == 90


@pytest.mark.parametrize(
    ("groups", "val_size", "held_out"),
    [
        ([50, 50], 1, {50}),  # something was wished, so one group goes whatever its size
        ([4, 4, 4], 3, {4}),  # 4 is nearer to 3 than 0
        ([1, 9], 100, {1, 9}),  # more than there is: one group stays in train
        ([5], 0.5, {0}),
        ([1], 1, {0}),
        ([10] * 10, 0.1, {10}),
        ([1] * 200, 0.001, {1}),
    ],
)
def test_sizes_of_the_held_out_side(groups: list[int], val_size: float, held_out: set[int]) -> None:
    rows = conversations([f"问{index}" for index, size in enumerate(groups) for _ in range(size)])
    assert {len(split(rows, val_size, seed)[1]) for seed in range(20)} == held_out


def test_groups_go_by_the_first_user_message_and_not_by_the_system() -> None:
    rows = [
        talk("问", "一", system="甲"),
        talk("问", "二", system="乙"),
        talk("别", "问"),
        talk("问", "一", "又", "二"),
    ]
    train, held_out = split(rows, 1, 0)
    assert [row.messages[-1].content for row in held_out] == ["问"]
    assert len(train) == 3


@pytest.mark.parametrize("val_size", [-0.1, float("nan"), float("inf")])
def test_a_size_that_is_none(val_size: float) -> None:
    with pytest.raises(UsageError) as caught:
        split([], val_size, 0)
    assert caught.value.text.zh == f"val_size 是 {val_size}；请写 0 到 1 之间的比例，或者留出的条数"
