"""checkup: what a person and a machine are told of a dataset, and where its faults stand."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from user_files import alpaca, written

from tonghua.data.checkup.checkup import Checkup, examine_rows
from tonghua.data.checkup.lengths import Bin, _histogram
from tonghua.data.checkup.places import RowPlace
from tonghua.data.checkup.quality import FindingKind
from tonghua.data.read.dataset import read_rows
from tonghua.text import Language, Text

PERSONA = "你是小狐狸。"
MOBILE = "13800138000"


def checked(path: Path, held_out: Sequence[int] = (), eval_path: Path | None = None) -> Checkup:
    rows = read_rows(path)
    lengths = [len(row.messages[-1].content) for row in rows.kept]
    return examine_rows(
        rows,
        [rows.kept[index] for index in held_out],
        read_rows(eval_path) if eval_path else None,
        PERSONA,
        lengths,
        [length // 2 for length in lengths],
        100,
    )


def lines_of(checkup: Checkup, kind: FindingKind) -> tuple[int, ...]:
    finding = checkup.findings.of(kind)
    return finding.lines if finding else ()


CLEAN = alpaca(("讲个故事", "从前有一只小狐狸。"), ("再讲一个", "河水不响了，它就上山去看。"))
STORY = "从前有一只小狐狸，它住在山脚下的树洞里，每天清晨都去河边听水声，听完了再回家给妹妹做早饭。"
STORY += "有一天河水不响了，它沿着石头一直走到山顶，原来是一片云睡在了泉眼上，它就坐下来等云醒。"


# What is said


def test_a_clean_file_gives_five_lines(folder: Path) -> None:
    checkup = checked(written(folder, "故事 一.jsonl", CLEAN))
    assert checkup.lines("zh") == [
        "2 条数据，没有发现问题",
        "读法：JSONL，UTF-8，instruction, output",
        "长度：9 到 13 个 token，一半的行不超过 9 个；都在 max_length=100 以内",
        "每轮训练读 22 个 token，其中要学的有 10 个",
        "建议从 num_train_epochs=10 lora_rank=8 learning_rate=0.0002 开始："
        "数据很少：多学几遍才记得住口吻，但也容易整句背下来，先加数据最有用",
    ]
    assert checkup.lines("en") == [
        "2 rows: nothing wrong was found",
        "read as JSONL, UTF-8, instruction, output",
        "lengths: 9 to 13 tokens, half of the rows up to 9; all are within max_length=100",
        "an epoch reads 22 tokens, of which 10 are learned",
        "start from num_train_epochs=10 lora_rank=8 learning_rate=0.0002: "
        "so few rows need many passes to leave a mark and are easily learnt by heart; more rows would help most",
    ]


def test_findings_come_first_with_their_first_lines(folder: Path) -> None:
    rows = [("你是谁？", "我是小狐狸。")] * 7 + [("电话？", f"打{MOBILE}吧。")]
    checkup = checked(written(folder, "一.jsonl", alpaca(*rows)))
    assert checkup.lines("zh")[:4] == [
        "8 条数据，发现 3 类问题",
        "· 1 条里有手机号（第 8 行）；模型可能背下来说给别人听；换掉，或用 --redact 盖住",
        "· 6 条与前面某一条完全相同（第 2、3、4、5、6 行 …）；删掉多余的，免得模型只会背这几句",
        "· 6 条的问题前面已经问过，其中 0 条的答案不同（第 2、3、4、5、6 行 …）；"
        "同一问有几种答法没关系；互相矛盾的请只留一种",
    ]
    assert checkup.lines("en")[:3] == [
        "8 rows: 3 kinds of faults were found",
        "- rows with a mobile number: 1 (line 8); a model may recite it to strangers; "
        "replace it, or let --redact cover it",
        "- exact copies of earlier rows: 6 (lines 2, 3, 4, 5, 6 …); "
        "keep one of each, or the model learns those few by heart",
    ]


def test_rows_that_are_too_long_are_drawn(folder: Path) -> None:
    rows = [(f"第{n}个", f"{chr(0x4E00 + n)}" * n + "。") for n in (4, 14, 15, 16, 249)]
    lines = checked(written(folder, "一.jsonl", alpaca(*rows))).lines("zh")
    start = lines.index("长度：5 到 250 个 token，一半的行不超过 16 个；1 条超过 max_length=100")
    assert lines[start + 1 : start + 12] == [
        "  1-10  1  ████████",
        " 11-20  3  ████████████████████████",
        " 21-30  0",
        " 31-40  0",
        " 41-50  0",
        " 51-60  0",
        " 61-70  0",
        " 71-80  0",
        " 81-90  0",
        "91-100  0",
        " > 100  1  ████████",
    ]
    assert lines[start + 12] == "每轮训练读 303 个 token，其中要学的有 150 个"


@given(st.lists(st.integers(1, 5000), min_size=1), st.integers(1, 3000))
def test_bins_hold_every_row_once(lengths: list[int], max_length: int) -> None:
    bins = _histogram(lengths, max_length)
    for each in bins:
        last = each.last or max(lengths)
        assert each.rows == sum(each.first <= length <= last for length in lengths)
    assert sum(each.rows for each in bins) == len(lengths)
    assert len(bins) <= 11
    assert [each.last is None for each in bins] == [False] * (len(bins) - 1) + [max(lengths) > max_length]


def test_bins_are_round(folder: Path) -> None:
    assert _histogram([1, 7, 480, 512], 1024)[:2] == (Bin(1, 100, 2), Bin(101, 200, 0))
    assert _histogram([3], 1024) == (Bin(1, 1, 0), Bin(2, 2, 0), Bin(3, 3, 1))
    assert _histogram([1010], 1024)[-1] == Bin(1001, 1024, 1)


def test_no_row_that_can_be_used(folder: Path) -> None:
    path = written(folder, "坏.jsonl", '{"instruction": "问", "output": ""}\n')
    checkup = checked(path)
    assert checkup.lines("zh") == [
        "没有一条能用的数据",
        "读法：JSONL，UTF-8，instruction, output",
    ]
    assert checkup.lengths is None and checkup.advice is None
    assert checkup.as_json("en")["tokens"] is None


def test_encoding_columns_and_notes_are_told(folder: Path) -> None:
    content = "编号,问题,回答\n1,你是谁呀？,我是住在山脚下的小狐狸。\n"
    path = written(folder, "中文 表.csv", content.encode("gb18030"))
    checkup = checked(path)
    assert checkup.lines("zh")[1:4] == [
        f"{path} 是 GB18030 编码，已照此读取",
        "没有用到的列：编号（1）",
        "读法：CSV，GB18030，instruction <- 问题, output <- 回答",
    ]
    values = checkup.as_json("zh")
    assert (values["encoding"], values["kind"], values["format"]) == ("gb18030", "csv", "alpaca")
    assert values["columns"] == [{"instruction": "问题", "output": "回答"}]
    assert values["ignored"] == ["编号"]


def test_machines_are_told_everything(folder: Path) -> None:
    rows = [("你是谁？", "我是小狐狸。"), ("你是谁？", "我是小狐狸。"), ("在吗？", "在的。")]
    checkup = checked(written(folder, "一.jsonl", alpaca(*rows)))
    values = checkup.as_json("en", split=3)
    assert values == {
        "mended": 0,
        "split": 3,
        "duplicates": 1,
        "near_duplicates": 0,
        "repeated_instructions": 1,
        "leaks": 0,
        "encoding": "utf-8",
        "kind": "jsonl",
        "format": "alpaca",
        "columns": [{"instruction": "instruction", "output": "output"}],
        "ignored": [],
        "remarks": [],
        "notes": [],
        "tokens": {
            "per_epoch": 15,
            "targets_per_epoch": 7,
            "shortest": 3,
            "median": 6,
            "longest": 6,
            "max_length": 100,
            "longer": 0,
        },
        "histogram": [{"first": n, "last": n, "rows": {3: 1, 6: 2}.get(n, 0)} for n in range(1, 7)],
        "findings": [finding.as_json("en") for finding in checkup.findings.found],
        "advice": {
            "num_train_epochs": 10,
            "lora_rank": 8,
            "learning_rate": 2e-4,
            "why": "so few rows need many passes to leave a mark and are easily learnt by heart; "
            "more rows would help most",
        },
        "fix": None,
    }
    assert [(finding.kind, finding.lines) for finding in checkup.findings.found] == [
        ("duplicates", (2,)),
        ("repeated_instructions", (2,)),
    ]
    json.dumps(values)


def test_a_mended_copy_is_told_to_machines(folder: Path) -> None:
    class Copy:
        changed = 3

        def as_json(self, language: Language) -> dict[str, object]:
            return {"out": f"二.{language}"}

    values = checked(written(folder, "一.jsonl", CLEAN)).as_json("zh", fixed=Copy())
    assert (values["mended"], values["fix"]) == (3, {"out": "二.zh"})


# Several files, and two sides


def test_lines_of_several_files_name_the_file(folder: Path) -> None:
    near = STORY.replace("妹妹", "弟弟")
    written(folder, "甲/一.jsonl", alpaca(("在吗？", "在的。"), ("讲个故事", STORY)))
    written(folder, "乙 二.jsonl", alpaca(("讲个故事", near), ("在吗？", "在的。")))
    checkup = checked(folder)
    near_duplicates = checkup.findings.of("near_duplicates")
    assert near_duplicates is not None
    first, second = os.path.join("甲", "一.jsonl"), "乙 二.jsonl"  # noqa: PTH118 - as it is shown
    assert near_duplicates.what == Text(
        f"1 条与前面某一条几乎一样，如 {first}:2 与 {second}:1",
        f"near copies of earlier rows: 1, such as {first}:2 of {second}:1",
    )
    assert checkup.places["duplicates"] == (RowPlace(first, 1),)
    assert lines_of(checkup, "duplicates") == (1,)
    assert f"（{first}:1）" in "\n".join(checkup.lines("zh"))
    found = {finding["kind"]: finding for finding in checkup.as_json("zh")["findings"]}  # type: ignore[attr-defined]
    assert (found["duplicates"]["lines"], found["duplicates"]["files"]) == ([1], [first])


def test_a_line_of_one_file_is_its_line(folder: Path) -> None:
    near = STORY.replace("妹妹", "弟弟")
    checkup = checked(
        written(folder, "一.jsonl", "\n\n" + alpaca(("讲个故事", STORY)) + "\n" + alpaca(("讲个故事", near)))
    )
    finding = checkup.findings.of("near_duplicates")
    assert finding is not None and finding.lines == (5,)
    assert finding.what == Text(
        "1 条与前面某一条几乎一样，如第 5 行与第 3 行", "near copies of earlier rows: 1, such as line 5 of line 3"
    )
    assert checkup.places == {"near_duplicates": (RowPlace("", 5),), "repeated_instructions": (RowPlace("", 5),)}


def test_a_folder_of_one_file_needs_no_file_names(folder: Path) -> None:
    written(folder, "一.jsonl", alpaca(("在吗？", "在的。"), ("在吗？", "在的。")))
    checkup = checked(folder)
    assert checkup.places["duplicates"] == (RowPlace("", 2),) and lines_of(checkup, "duplicates") == (2,)


def test_held_out_rows_are_the_other_side_of_their_own_file(folder: Path) -> None:
    path = written(folder, "一.jsonl", alpaca(("讲个故事", STORY), ("在吗？", "在的。"), ("再讲一遍", STORY)))
    assert lines_of(checked(path, held_out=[2]), "leaks") == (3,)
    assert lines_of(checked(path, held_out=[0, 2]), "leaks") == ()
    assert lines_of(checked(path), "leaks") == ()


def test_leaks_of_an_eval_file_name_that_file(folder: Path) -> None:
    path = written(folder, "一.jsonl", alpaca(("讲个故事", STORY), ("在吗？", "在的。")))
    other = written(folder, "验证 二.jsonl", alpaca(("你好", "你好呀，小狐狸。"), ("再讲一遍", STORY)))
    checkup = checked(path, eval_path=other)
    assert lines_of(checkup, "leaks") == (2,) and checkup.places == {"leaks": (RowPlace("验证 二.jsonl", 2),)}
    assert checkup.as_json("zh")["leaks"] == 1
    assert checkup.findings.rows == 2


def test_a_folder_that_changes_after_it_was_read_is_examined_as_it_was_read(folder: Path) -> None:
    written(folder, "一.jsonl", CLEAN)
    written(folder, "二.jsonl", alpaca(("在吗？", "在的。")))
    rows = read_rows(folder)
    before = examine_rows(rows, [], None, None, [], [], 100)
    written(folder, "一.jsonl", alpaca(("讲个故事", "从前有一只小狐狸。")))
    assert examine_rows(rows, [], None, None, [], [], 100) == before


ONE_LINE = json.dumps(
    [{"instruction": question, "output": answer} for question, answer in [("在吗？", "在的。 ")] * 2 + [("讲", STORY)]]
)


def test_rows_on_one_line_are_counted(folder: Path) -> None:
    checkup = checked(written(folder, "一行.json", ONE_LINE))
    assert checkup.places["duplicates"] == (RowPlace("", 1, 2),)
    assert "（第 2 条）" in "\n".join(checkup.lines("zh")) and "(row 2)" in "\n".join(checkup.lines("en"))
    found = {finding["kind"]: finding for finding in checkup.as_json("zh")["findings"]}  # type: ignore[attr-defined]
    assert (found["duplicates"]["lines"], found["duplicates"]["rows"]) == ([1], [2])


def test_rows_on_one_line_of_several_files_are_counted_in_theirs(folder: Path) -> None:
    written(folder, "甲 一.json", ONE_LINE)
    written(folder, "甲 二.jsonl", alpaca(("在吗？", "在的。")))
    assert "（甲 一.json#2、甲 二.jsonl:1）" in "\n".join(checked(folder).lines("zh"))
