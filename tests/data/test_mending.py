"""mending: copies that keep all that was right, lists of every change, and sources that stay as they are."""

import csv
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from user_files import alpaca, written

from tonghua.data.checkup import mending as room
from tonghua.data.checkup.fixed import Change, Fixed
from tonghua.data.checkup.mending import fix
from tonghua.data.checkup.places import RowPlace
from tonghua.data.checkup.quality import examine
from tonghua.data.read import json_rows
from tonghua.data.read.dataset import ReadRows, read_rows
from tonghua.errors import DataError, ResourceError, UsageError, UserError
from tonghua.text import Text

MOBILE = "13800138000"
HIDDEN = "\u200b"
CLEAN = (
    '{"instruction": "讲个故事", "output": "从前有一只小狐狸。"}\n'
    '{"instruction": "再讲一个", "output": "河水不响了，它就上山去看。"}\n'
)
STORY = "从前有一只小狐狸，它住在山脚下的树洞里，每天清晨都去河边听水声，听完了再回家给妹妹做早饭。"


def kinds_of(path: Path) -> set[str]:
    return {finding.kind for finding in examine(read_rows(path).kept, persona="你是小狐狸。").found}


# What is written


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def refusal(kind: type[UserError], source: Path, out: Path, force: bool = False) -> str:
    with pytest.raises(kind) as caught:
        fix(source, out, force=force)
    assert type(caught.value) is kind
    assert "\n" not in caught.value.text.zh + caught.value.text.en
    return caught.value.text.zh


def test_jsonl_keeps_what_is_not_changed_as_it_is_written(folder: Path) -> None:
    good = '{"id":  1234567890123456789, "instruction":"你是谁？","output": "我是\\u5c0f狐狸。", "score": 1.10}'
    source = written(
        folder,
        "旧 数据.jsonl",
        f"{good}\r\n\n"
        f'{{"id": 9007199254740993, "instruction": "讲个故事", "input": "短{HIDDEN}的", "output": "从前。 \\n",'
        ' "x": "a "}\n'
        '{"instruction": "问", "output": ""}\n'
        '{"id": 3, "instruction": "你是谁？", "output": "我是小狐狸。 "}\n',
    )
    before = source.read_bytes()
    out = folder / "新 数据.jsonl"
    fixed = fix(source, out)
    assert lines(out) == [
        good,
        '{"id": 9007199254740993, "instruction": "讲个故事", "input": "短的", "output": "从前。", "x": "a "}',
    ]
    changes = folder / "新 数据.jsonl.changes.txt"
    assert lines(changes) == [
        "第 3 行：去掉 1 个看不见的字符（U+200B）；去掉末尾的空白",
        "第 4 行：没有写：output（答案）是空的；写上内容，或删掉这一条",
        "第 5 行：没有写：与第 1 行相同",
    ]
    assert (fixed.out, fixed.list) == (out, changes)
    assert (fixed.written, fixed.dropped, fixed.changed) == (2, 2, 1)
    assert fixed.changes[2] == Change(RowPlace("", 5), Text("没有写：与第 1 行相同", "left out: a copy of line 1"))
    assert source.read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == sorted([source.name, out.name, changes.name])


def test_the_list_of_changes_is_in_the_language_asked_for(folder: Path) -> None:
    source = written(folder, "一.jsonl", alpaca(("讲个故事", f"从前{HIDDEN}。")))
    fix(source, folder / "二.jsonl", language="en")
    assert lines(folder / "二.jsonl.changes.txt") == ["line 1: removed invisible characters: 1 (U+200B)"]


def test_rows_on_one_line_are_told_by_their_number(folder: Path) -> None:
    rows = [{"instruction": "在吗？", "output": "在的。 "}] * 2 + [{"instruction": "讲", "output": STORY}]
    fixed = fix(written(folder, "一行.json", json.dumps(rows)), folder / "二.json")
    assert lines(fixed.list) == ["第 1 条：去掉末尾的空白", "第 2 条：没有写：与第 1 条相同"]


def test_a_json_list_stays_one(folder: Path) -> None:
    unchanged = '{\n    "instruction": "你是谁？",\n    "output": "我是]小狐狸，[不是\\"兔子\\"。"\n  }'
    rows = (
        f'\n[ {unchanged} ,\n {{"instruction": "讲", "output": "从前。 ", "id": 12345678901234567890}}, {unchanged}]\n'
    )
    out = folder / "二.json"
    fixed = fix(written(folder, "一.json", rows), out)
    assert out.read_text(encoding="utf-8") == (
        f'[\n{unchanged},\n{{"instruction": "讲", "output": "从前。", "id": 12345678901234567890}}\n]\n'
    )
    assert (fixed.written, fixed.dropped, fixed.changed) == (2, 1, 1)


@pytest.mark.parametrize("window", [1, 7, 40, 1 << 17])
def test_a_list_is_cut_right_however_it_is_read(folder: Path, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "_WINDOW_CHARACTERS", window)
    rows = [{"instruction": f"第{n}问", "output": f'答{n}："[{{,}}]"。', "id": n * 10**17} for n in range(30)]
    out = folder / "二.json"
    fix(written(folder, "一.json", json.dumps(rows, ensure_ascii=False, indent=1)), out)
    assert json.loads(out.read_text(encoding="utf-8")) == rows


def test_what_follows_a_broken_place_is_told_and_not_written(folder: Path) -> None:
    source = written(
        folder, "一.json", '[{"instruction": "问", "output": "答。"}, {"instruction": "二" "output": "答"}]'
    )
    fixed = fix(source, folder / "二.json")
    assert (fixed.written, fixed.dropped) == (1, 1)
    assert fixed.changes[0].what.zh.startswith(
        "没有写：第 2 条：JSON 写错了（第 60 列）：这里缺少逗号；从这里起没有再读；"
    )
    assert json.loads((folder / "二.json").read_text(encoding="utf-8")) == [{"instruction": "问", "output": "答。"}]


def test_numbers_that_python_cannot_hold_stay_as_written(folder: Path) -> None:
    row = f'{{"instruction": "问", "output": "答。 ", "long": {"9" * 5000}, "huge": 1e999}}\n'
    fix(written(folder, "一.jsonl", row), folder / "二.jsonl")
    assert json.loads((folder / "二.jsonl").read_text(encoding="utf-8")) == {
        "instruction": "问",
        "output": "答。",
        "long": "9" * 5000,
        "huge": "1e999",
    }


def test_half_a_character_in_another_column_is_kept(folder: Path) -> None:
    row = '{"instruction": "问", "output": "答。 ", "note": "\\ud83d"}\n'
    fix(written(folder, "一.jsonl", row), folder / "二.jsonl")
    assert lines(folder / "二.jsonl") == ['{"instruction": "问", "output": "答。", "note": "\\ud83d"}']


def test_csv_keeps_its_columns_and_its_cells(folder: Path) -> None:
    content = (
        "编号;问题;回答;备注\n"
        '007;你是谁？;"我是""小狐狸""；\n你呢？";=1+1\n'
        f"008;@我 吗？;{HIDDEN}-好的。 ; \t空白 \n"
        "009;少一格;没有\n"
    )
    out = folder / "二.csv"
    fixed = fix(written(folder, "一.csv", content.encode("gb18030")), out)
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")
    with out.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            ["编号", "问题", "回答", "备注"],
            ["007", "你是谁？", '我是"小狐狸"；\n你呢？', "=1+1"],
            ["008", "@我 吗？", "-好的。", " \t空白 "],
        ]
    assert (fixed.written, fixed.dropped, fixed.changed) == (2, 1, 1)
    assert [change.place.line for change in fixed.changes] == [4, 5]
    assert read_rows(out).problems == ()


def test_a_csv_in_plain_utf8_gets_no_mark_and_tsv_keeps_its_tabs(folder: Path) -> None:
    fix(written(folder, "一.csv", "instruction,output\n问,答。 \n"), folder / "二.csv")
    assert (folder / "二.csv").read_bytes() == "instruction,output\n问,答。\n".encode()
    fix(written(folder, "一.tsv", "instruction\toutput\n问,\t答。 \n"), folder / "二.tsv")
    assert (folder / "二.tsv").read_bytes() == "instruction\toutput\n问,\t答。\n".encode()


def test_json_text_in_a_csv_cell_is_mended_and_stays_text(folder: Path) -> None:
    source = folder / "一.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["instruction", "output", "history"], ["问", "答。", '[["前问", "前答。 "]]']])
    fix(source, folder / "二.csv")
    with (folder / "二.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[1] == ["问", "答。", '[["前问", "前答。"]]']


def test_messages_are_mended_where_something_is_said(folder: Path) -> None:
    row = {
        "messages": [
            {"role": "system", "content": f"你是{HIDDEN}狐狸", "name": "a "},
            {"role": "user", "content": [{"type": "text", "text": "讲 "}, {"type": "text", "text": "故事 "}]},
            {"role": "assistant", "content": "从前。\n"},
        ],
        "tags": ["x "],
    }
    talk = {"conversations": [{"from": "human", "value": "在 "}, {"from": "gpt", "value": "在的。"}]}
    fix(written(folder, "一.jsonl", json.dumps(row)), folder / "二.jsonl")
    fix(written(folder, "三.jsonl", json.dumps(talk)), folder / "四.jsonl")
    assert json.loads((folder / "二.jsonl").read_text(encoding="utf-8")) == {
        "messages": [
            {"role": "system", "content": "你是狐狸", "name": "a "},
            {"role": "user", "content": [{"type": "text", "text": "讲 故事"}]},
            {"role": "assistant", "content": "从前。"},
        ],
        "tags": ["x "],
    }
    assert json.loads((folder / "四.jsonl").read_text(encoding="utf-8")) == {
        "conversations": [{"from": "human", "value": "在"}, {"from": "gpt", "value": "在的。"}]
    }


def test_files_that_agree_become_one_jsonl_with_all_their_columns(folder: Path) -> None:
    written(folder, "集/一.csv", "问题,回答,id\n问,答。 ,01\n")
    written(folder, "集/二.json", '[{"问题": "问",\n "回答": "答。"}, {"问题": "二", "回答": "是。", "id": 2}]')
    fixed = fix(folder / "集", folder / "一 起.jsonl")
    assert lines(folder / "一 起.jsonl") == [
        '{"问题": "问", "回答": "答。", "id": "01"}',
        '{"问题": "二", "回答": "是。", "id": 2}',
    ]
    assert lines(fixed.list) == [
        "一.csv 第 2 行：去掉末尾的空白",
        "二.json 第 1 行：没有写：与 一.csv:2 相同",
    ]


def test_files_that_do_not_agree_become_messages(folder: Path) -> None:
    with zipfile.ZipFile(folder / "包 裹.zip", "w") as archive:
        archive.writestr("一.csv", "问题,回答,id\n问,答。,01\n")
        archive.writestr("二.jsonl", '{"instruction": "二", "output": "是。 ", "system": "狐狸"}\n')
    fixed = fix(folder / "包 裹.zip", folder / "二.jsonl")
    assert list(map(json.loads, lines(folder / "二.jsonl"))) == [
        {"id": "01", "messages": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答。"}]},
        {
            "messages": [
                {"role": "system", "content": "狐狸"},
                {"role": "user", "content": "二"},
                {"role": "assistant", "content": "是。"},
            ]
        },
    ]
    assert fixed.changed == 1
    assert read_rows(folder / "二.jsonl").problems == ()


def test_parquet_and_stories_become_jsonl(folder: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"instruction": ["问"], "output": ["答。 "], "score": [float("nan")], "id": [2**60]})
    parquet.write_table(table, folder / "一.parquet")
    fix(folder / "一.parquet", folder / "二.jsonl")
    assert lines(folder / "二.jsonl") == [
        '{"instruction": "问", "output": "答。", "score": null, "id": 1152921504606846976}'
    ]
    written(folder, "故事/雪孩子.txt", "雪孩子\n从前有一场大雪。\n")
    fix(folder / "故事", folder / "三.jsonl")
    assert lines(folder / "三.jsonl") == [
        '{"instruction": "请写一个题为《雪孩子》的童话故事。", "output": "从前有一场大雪。"}'
    ]


def test_redaction_is_done_on_wish_alone(folder: Path) -> None:
    source = written(folder, "一.jsonl", alpaca(("电话？", f"打{MOBILE}。"), ("电话？", "打13900139000。")))
    assert fix(source, folder / "二.jsonl").written == 2
    fixed = fix(source, folder / "三.jsonl", redact=True)
    assert lines(folder / "三.jsonl") == ['{"instruction": "电话？", "output": "打［手机号］。"}']
    assert (fixed.changed, fixed.dropped) == (1, 1)
    assert lines(fixed.list) == ["第 1 行：盖住 1 处手机号", "第 2 行：没有写：与第 1 行相同"]


def test_columns_are_read_as_the_user_says(folder: Path) -> None:
    source = written(folder, "一.jsonl", '{"甲": "问 ", "乙": "答。 "}\n')
    fix(source, folder / "二.jsonl", columns={"instruction": "甲", "output": "乙"})
    assert lines(folder / "二.jsonl") == ['{"甲": "问", "乙": "答。"}']


def test_a_mended_copy_has_nothing_left_to_mend(folder: Path) -> None:
    rows = [("在吗？", f"在{HIDDEN}的。 "), *[("在吗？", "在的。")] * 2, ("cafe\u0301？", "好。"), ("讲", f"{STORY}\n")]
    source = written(folder, "一.jsonl", alpaca(*rows))
    assert kinds_of(source) == {"duplicates", "invisible_characters", "repeated_instructions"}
    fix(source, folder / "二.jsonl")
    assert kinds_of(folder / "二.jsonl") == set()
    again = fix(folder / "二.jsonl", folder / "三.jsonl")
    assert (again.written, again.dropped, again.changed, again.changes) == (3, 0, 0, ())
    assert (folder / "三.jsonl").read_bytes() == (folder / "二.jsonl").read_bytes()
    assert lines(again.list) == ["没有改动"]


# What is refused


def test_the_source_is_never_the_target(folder: Path) -> None:
    source = written(folder, "一.jsonl", CLEAN)
    assert refusal(UsageError, source, folder / "." / "一.jsonl", force=True) == (
        f"{source} 就是原来的数据，不会改动它；请换一个文件名"
    )
    assert refusal(UsageError, folder, folder / "二.jsonl") == (
        f"{folder / '二.jsonl'} 在数据文件夹 {folder} 里，下次会被当成数据读；请写到别处"
    )
    assert [path.name for path in folder.iterdir()] == ["一.jsonl"]


def test_what_exists_is_replaced_by_force_alone(folder: Path) -> None:
    source, out = written(folder, "一.jsonl", CLEAN), written(folder, "二.jsonl", "旧")
    assert refusal(UsageError, source, out) == f"{out} 已经有了；请换一个文件名，或加 --force 覆盖"
    assert out.read_text(encoding="utf-8") == "旧"
    assert fix(source, out, force=True).written == 2
    out.unlink()
    assert refusal(UsageError, source, out) == f"{out}.changes.txt 已经有了；请换一个文件名，或加 --force 覆盖"


def test_the_suffix_says_what_is_in_the_file(folder: Path) -> None:
    source = written(folder, "一.csv", "instruction,output\n问,答。\n")
    assert refusal(UsageError, source, folder / "二.jsonl") == (
        f"修好的数据是 CSV 格式，不能叫 {folder / '二.jsonl'}；请写成 二.csv"
    )
    assert refusal(UsageError, source, folder / "没有" / "二.csv") == f"没有文件夹 {folder / '没有'}；请先建好"


def test_nothing_is_written_where_no_row_is_left(folder: Path) -> None:
    source = written(folder, "一.jsonl", '{"instruction": "问", "output": ""}\n')
    assert refusal(DataError, source, folder / "二.jsonl") == (
        f"{source} 里没有一条能用的数据，没有写；请先用 tonghua check 看看问题在哪里"
    )
    assert [path.name for path in folder.iterdir()] == ["一.jsonl"]


def test_a_full_disk_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    source, out = written(folder, "一.jsonl", CLEAN), written(folder, "二.jsonl", "旧")
    monkeypatch.setattr(os, "fsync", full)
    message = refusal(ResourceError, source, out, force=True)
    assert message == f"写不进 {out}（No space left on device）；请腾出空间，或换一个地方"
    assert out.read_text(encoding="utf-8") == "旧"
    assert sorted(path.name for path in folder.iterdir()) == ["一.jsonl", "二.jsonl"]


def test_a_source_that_changes_meanwhile_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = written(folder, "一.jsonl", CLEAN)
    refuse = room._refuse_target

    def and_change(*arguments: Any) -> None:
        refuse(*arguments)
        source.write_text(CLEAN.replace("狐狸", "兔子"), encoding="utf-8")

    monkeypatch.setattr(room, "_refuse_target", and_change)
    message = refusal(DataError, source, folder / "二.jsonl")
    assert message == f"{source} 在读取的过程中变了；请等它写完，再运行一次"
    assert [path.name for path in folder.iterdir()] == ["一.jsonl"]


def test_what_was_fixed_is_summed_up(folder: Path) -> None:
    source = written(folder, "一.jsonl", alpaca(("在吗？", "在的。 "), ("在吗？", "在的。")))
    fixed = fix(source, folder / "二.jsonl")
    assert fixed.summary() == Text(
        f"写了 1 条（其中改了 1 条，另有 1 条没有写）：{fixed.out}；改动都列在 {fixed.list}",
        f"rows written: 1 (mended: 1; left out: 1): {fixed.out}; every change is listed in {fixed.list}",
    )
    assert fixed.as_json("zh") == {
        "out": str(fixed.out),
        "list": str(fixed.list),
        "written": 1,
        "dropped": 1,
        "changed": 1,
        "changes": [
            {"file": "", "line": 1, "row": 0, "what": "去掉末尾的空白"},
            {"file": "", "line": 2, "row": 0, "what": "没有写：与第 1 行相同"},
        ],
    }


def test_only_the_first_changes_are_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "FIRST_CHANGES", 2)
    fixed: Fixed = fix(
        written(folder, "一.jsonl", alpaca(*[(f"第{n}", "好。 ") for n in range(5)])), folder / "二.jsonl"
    )
    assert (len(fixed.changes), fixed.changed, len(lines(fixed.list))) == (2, 5, 5)


def test_rows_read_from_the_copy_are_the_mended_rows(folder: Path) -> None:
    rows: ReadRows = read_rows(written(folder, "一.jsonl", CLEAN))
    fix(rows.path, folder / "二.jsonl")
    assert read_rows(folder / "二.jsonl").kept == rows.kept


def test_a_list_of_messages_on_each_line_stays_one(folder: Path) -> None:
    def talk(answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": "你是谁？"}, {"role": "assistant", "content": answer}]

    source = written(folder, "旧.jsonl", "\n".join(json.dumps(talk(answer)) for answer in ("我是狐狸。 ", "在。")))
    fix(source, folder / "新.jsonl")
    assert [json.loads(line) for line in lines(folder / "新.jsonl")] == [talk("我是狐狸。"), talk("在。")]


def test_rounds_are_mended_where_something_is_said(folder: Path) -> None:
    row = {"conversation": [{"human": "问 ", "assistant": f"答{HIDDEN}。", "id": f"{HIDDEN}"}], "category": "闲 "}
    fix(written(folder, "旧.jsonl", json.dumps(row)), folder / "新.jsonl")
    (mended,) = lines(folder / "新.jsonl")
    rounds = [{"human": "问", "assistant": "答。", "id": HIDDEN}]
    assert json.loads(mended) == {"conversation": rounds, "category": "闲 "}


def test_marks_and_reasoning_are_kept_where_files_become_messages(folder: Path) -> None:
    (folder / "夹").mkdir()
    said = {"role": "assistant", "content": "答。", "reasoning_content": "想。"}
    bad = [{"role": "user", "content": "问"}, {"role": "assistant", "content": "坏。"}]
    row = {"messages": [*bad, {"role": "user", "content": "再问"}, said], "loss_mask": [0, 1], "id": 7}
    written(folder / "夹", "一.jsonl", json.dumps(row))
    written(
        folder / "夹", "二.jsonl", json.dumps({"query": "问", "response": "答。", "reasoning": "想。", "label": True})
    )
    fix(folder / "夹", folder / "新.jsonl")
    before, after = read_rows(folder / "夹"), read_rows(folder / "新.jsonl")
    assert [row.messages for row in after.kept] == [row.messages for row in before.kept]
    assert [[m.learn for m in row.messages] for row in after.kept] == [[True, False, True, True], [True, True]]
    assert after.ignored == ("id",)


def test_reasoning_is_covered_as_well(folder: Path) -> None:
    (folder / "夹").mkdir()
    row = {"query": "问", "response": "答。", "reasoning": f"他的号码是 {MOBILE}"}
    written(folder / "夹", "一.jsonl", json.dumps(row))
    said = {"role": "assistant", "content": "答。", "reasoning_content": f"她的号码是 {MOBILE} "}
    written(folder / "夹", "二.jsonl", json.dumps({"messages": [{"role": "user", "content": "问二"}, said]}))
    fix(folder / "夹", folder / "新.jsonl", redact=True)
    assert len(lines(folder / "新.jsonl")) == 2
    assert MOBILE not in (folder / "新.jsonl").read_text(encoding="utf-8")


def test_rows_that_differ_in_their_marks_are_no_copies(folder: Path) -> None:
    def row(*losses: bool) -> str:
        answers = [{"role": "assistant", "content": f"答{i}。", "loss": loss} for i, loss in enumerate(losses)]
        return json.dumps({"messages": [m for answer in answers for m in ({"role": "user", "content": "问"}, answer)]})

    source = written(folder, "旧.jsonl", "\n".join([row(True, True), row(False, True), row(False, True)]))
    fix(source, folder / "新.jsonl")
    assert lines(folder / "新.jsonl") == [row(True, True), row(False, True)]


@pytest.mark.parametrize("word", ["NULL", "nan"])
def test_a_word_for_nothing_in_a_csv_means_nothing_in_its_copy(folder: Path, word: str) -> None:
    table = f"instruction,input,output,history\n问,{word},答。 ,{word}\n"
    written(folder, "集/一.csv", table)
    fix(folder / "集", folder / "二.jsonl")
    fix(folder / "集" / "一.csv", folder / "三.csv")
    for name in ("二.jsonl", "三.csv"):
        (row,) = read_rows(folder / name).kept
        assert [message.content for message in row.messages] == ["问", "答。"]
