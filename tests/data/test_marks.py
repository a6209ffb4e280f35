"""marks: what is said not to be learned is context, what is a bad answer is left out, and every key is used or told."""

import json
from pathlib import Path

import numpy as np
import pytest
from chat_templates import CHATML, GEMMA, MISTRAL, QWEN3, with_template
from user_files import written

from tonghua.config.schema import Config
from tonghua.data.read.dataset import MOST_FAULTS, ReadRows, read_rows, stream_rows
from tonghua.data.read.remarks import MOST_NAMES, NAMES_SHOWN, Remark, merged, remark_lines
from tonghua.data.samples.maker import TARGET, Maker, SampleSettings
from tonghua.data.samples.prepare import open_model, prepare
from tonghua.errors import DataError
from tonghua.prompt.conversation import JOIN
from tonghua.prompt.renderer import Renderer

USER, ASSISTANT = {"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}


def read(folder: Path, *rows: object) -> ReadRows:
    return read_rows(written(folder, "行.jsonl", "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)))


def learned(rows: ReadRows) -> list[tuple[str, bool]]:
    """The answers of the only row, and whether each is learned."""
    assert rows.problems == ()
    (row,) = rows.kept
    return [(message.content, message.learn) for message in row.messages if message.role == "assistant"]


def faults(rows: ReadRows) -> list[str]:
    assert rows.kept == ()
    return [problem.what.zh for problem in rows.problems]


def two_answers(**mark: object) -> dict[str, object]:
    """A conversation whose first answer, 坏, has a mark."""
    return {"messages": [USER, {"role": "assistant", "content": "坏", **mark}, USER, ASSISTANT]}


@pytest.mark.parametrize("key", ["loss", "train", "training", "learn", "weight", "loss_weight", "loss_mask", "Loss"])
@pytest.mark.parametrize(
    ("value", "learns"), [(False, False), (0, False), ("0", False), ("False", False), (True, True)]
)
def test_an_answer_with_a_mark_is_context_or_learned(folder: Path, key: str, value: object, learns: bool) -> None:
    rows = read(folder, two_answers(**{key: value}))
    assert learned(rows) == [("坏", learns), ("答", True)]
    assert [remark.kind for remark in rows.remarks] == ([] if learns else ["context"])


@pytest.mark.parametrize(("value", "learns"), [(True, False), (1, False), (False, True), (None, True), ("", True)])
def test_a_mark_can_also_say_what_to_pass_over(folder: Path, value: object, learns: bool) -> None:
    assert learned(read(folder, two_answers(ignore=value))) == [("坏", learns), ("答", True)]


@pytest.mark.parametrize("key", ["loss", "train", "weight", "label", "masked"])
@pytest.mark.parametrize("value", [None, "", "null"])
def test_an_empty_mark_is_none(folder: Path, key: str, value: object) -> None:
    rows = read(folder, two_answers(**{key: value}))
    assert (learned(rows), rows.remarks) == ([("坏", True), ("答", True)], ())


@pytest.mark.parametrize(
    ("mark", "fault"),
    [
        ({"loss": 0.5}, "messages 第 2 条的 loss 是 0.5，而一个答案要么学，要么不学"),
        ({"weight": 2}, "messages 第 2 条的 weight 是 2，而一个答案要么学，要么不学"),
        ({"loss_scale": -1}, "messages 第 2 条的 loss_scale 是 -1，而一个答案要么学，要么不学"),
        ({"train": "maybe"}, "messages 第 2 条的 train 是 maybe，看不出要不要学"),
        ({"loss": [0, 1]}, "messages 第 2 条的 loss 是 […]，看不出要不要学"),
        ({"mask": 1}, "messages 第 2 条有 mask，有的文件用它表示学，有的表示不学"),
        ({"mask": False}, "messages 第 2 条有 mask，有的文件用它表示学，有的表示不学"),
        ({"train_detail": [{"train": True}]}, "messages 第 2 条用了 train_detail（只学答案的一部分），这里不支持"),
        ({"images": ["a.png"]}, "messages 第 2 条用了 images，这里不支持"),
        ({"audio": {"id": "a"}}, "messages 第 2 条用了 audio，这里不支持"),
        ({"refusal": "不行"}, "messages 第 2 条用了 refusal，这里不支持"),
        ({"function_call": {"name": "f"}}, "messages 第 2 条用了 function_call（工具调用），这里不支持"),
        ({"rejected": "更坏"}, "messages 第 2 条用了 rejected（好坏答案成对），这里不支持"),
    ],
)
def test_what_is_not_clear_or_not_supported_is_a_fault_of_its_row(
    folder: Path, mark: dict[str, object], fault: str
) -> None:
    assert faults(read(folder, two_answers(**mark))) == [fault]


@pytest.mark.parametrize(
    "mark", [{"tool_calls": []}, {"tool_calls": "[]"}, {"images": [None]}, {"audio": None}, {"function_call": {}}]
)
def test_what_is_empty_needs_nothing(folder: Path, mark: dict[str, object]) -> None:
    rows = read(folder, two_answers(**mark))
    assert (learned(rows), rows.remarks) == ([("坏", True), ("答", True)], ())


@pytest.mark.parametrize(
    ("mark", "learns"),
    [
        ({"loss_mask": [0, 1]}, [False, True]),
        ({"loss_mask": [False, True]}, [False, True]),
        ({"loss_mask": "[0, 1]"}, [False, True]),
        ({"loss_mask": [0, 0, 0, 1]}, [False, True]),
        ({"loss_mask": [0, 1, 0, 0]}, [True, False]),
        ({"loss": True}, [True, True]),
        ({"loss": 1.5}, [True, True]),  # a loss that somebody measured
        ({"label": True}, [True, True]),
        ({"label": 1}, [True, True]),
        ({"label": "闲聊"}, [True, True]),  # a class
        ({"label": 7}, [True, True]),
        ({"weight": 1.0}, [True, True]),
        ({"mask": "User"}, [True, True]),
        ({"images": False}, [True, True]),
    ],
)
def test_marks_of_a_whole_row(folder: Path, mark: dict[str, object], learns: list[bool]) -> None:
    assert [learn for _, learn in learned(read(folder, two_answers() | mark))] == learns


@pytest.mark.parametrize(
    ("mark", "fault"),
    [
        ({"label": False}, '这一条的答案标为不好的（"label": false），不学'),
        ({"kto_tag": "x"}, "这一条的 kto_tag 是 x，看不出要不要学"),
        ({"weights": [0, 0]}, '这一条没有要学的答案（"weights": 0）'),
        ({"turn_mask": [0, 1]}, "这一条有 turn_mask，有的文件用它表示学，有的表示不学"),
        ({"kto_tag": 0}, '这一条的答案标为不好的（"kto_tag": 0），不学'),
        ({"label": "false"}, '这一条的答案标为不好的（"label": false），不学'),
        ({"loss": False}, '这一条没有要学的答案（"loss": false）'),
        ({"loss_mask": [0, 0]}, '这一条没有要学的答案（"loss_mask": 0）'),
        ({"loss_mask": [0, 1, 1]}, "loss_mask 有 3 个值，而这一条有 2 个答案、4 条消息"),
        ({"loss_mask": [0, 0.3]}, "这一条的 loss_mask 是 0.3，而一个答案要么学，要么不学"),
        ({"weight": 0.3}, "这一条的 weight 是 0.3，而一个答案要么学，要么不学"),
        ({"train": "x"}, "这一条的 train 是 x，看不出要不要学"),
        ({"mask": [0, 1]}, "这一条有 mask，有的文件用它表示学，有的表示不学"),
        ({"rejected_response": "坏"}, "这一条用了 rejected_response（好坏答案成对），这里不支持"),
        ({"tools": '[{"name": "f"}]'}, "这一条用了 tools（工具调用），这里不支持"),
        ({"image": "a.png"}, "这一条用了 image，这里不支持"),
        ({"objects": {"bbox": [[1, 2]]}}, "这一条用了 objects，这里不支持"),
    ],
)
def test_a_row_that_cannot_be_learned_as_it_is_marked(folder: Path, mark: dict[str, object], fault: str) -> None:
    plain = two_answers()
    rows = read(folder, plain, plain | mark)
    found = list(dict.fromkeys(problem.what.zh for problem in rows.problems))
    assert (len(rows.kept), found) == (1, [fault])


def test_a_mark_of_a_pair_of_columns_counts_too(folder: Path) -> None:
    row = {"instruction": "问", "output": "答", "history": [["早", "好"]]}
    assert learned(read(folder, row | {"loss_mask": [0, 1]})) == [("好", False), ("答", True)]
    assert faults(read(folder, row | {"label": False}))[0].startswith("这一条的答案标为不好的")


def test_a_csv_writes_marks_as_text(folder: Path) -> None:
    rows = read_rows(written(folder, "a.csv", "instruction,output,label\n问,答,TRUE\n问,坏,FALSE\n问,答,\n"))
    assert [row.line for row in rows.kept] == [2, 4]
    assert [problem.line for problem in rows.problems] == [3]


def test_every_key_is_used_or_told_with_its_count(folder: Path) -> None:
    said = {"role": "assistant", "content": [{"type": "text", "text": "答", "annotations": ["a"]}], "name": "小熊"}
    asked = USER | {"name": "客", "loss": True, "reasoning": "想"}
    row = {"messages": [asked, said | {"loss": False, "reasoning_content": "想"}, USER, said], "id": 1, "empty": None}
    rows = read(folder, row, row, {"messages": [USER]})
    assert rows.remarks == (
        Remark("context", '"loss": false', 2),
        Remark("question mark", '"loss": true', 2),
        Remark("reasoning", "reasoning_content", 2),
        Remark("column", "id", 2),
        Remark("message key", "name", 6),
        Remark("message key", "reasoning", 2),
        Remark("message key", "annotations", 4),
    )
    assert [line.en for line in remark_lines(rows.remarks)] == [
        '2 answers are context only and not learned ("loss": false)',
        '2 messages of user or system marked "loss": true: only answers are learned',
        '2 answers have reasoning beside them ("reasoning_content")',
        "columns not used: id (2)",
        "keys of messages not used: name (6), reasoning (2), annotations (4)",
    ]
    assert [line.zh for line in remark_lines(rows.remarks)] == [
        '2 个答案只作上文，不学（"loss": false）',
        '2 段提问标了 "loss": true；只学答案，不学提问',
        "2 个答案带有思考过程（reasoning_content）",
        "没有用到的列：id（2）",
        "消息里没有用到的键：name（6）、reasoning（2）、annotations（4）",
    ]


def test_what_is_done_to_the_order_is_told(folder: Path) -> None:
    def talk(roles: str) -> dict[str, object]:
        names = {"u": "user", "a": "assistant", "s": "system"}
        return {"messages": [{"role": names[role], "content": f"{role}{i}"} for i, role in enumerate(roles)]}

    rows = read(folder, talk("saua"), talk("uuau"), talk("ua"))
    assert [[(m.role, m.content, m.learn) for m in row.messages] for row in rows.kept] == [
        [("system", "s0", True), ("assistant", "a1", False), ("user", "u2", True), ("assistant", "a3", True)],
        [("user", f"u0{JOIN}u1", True), ("assistant", "a2", True)],
        [("user", "u0", True), ("assistant", "a1", True)],
    ]
    assert rows.remarks == (Remark("greeting", "", 1), Remark("joined", "", 1), Remark("unanswered", "", 1))
    assert [line.en for line in remark_lines(rows.remarks)] == [
        "1 row begins with the assistant: its greeting is only context",
        "1 question followed another question: joined to it by a line break",
        "1 row ends with a question without an answer: it is left out",
    ]


def test_a_placeholder_of_a_picture_is_refused_beside_a_picture_and_told_as_text(folder: Path) -> None:
    row = {"messages": [{"role": "user", "content": "<image>\n画的是什么？"}, ASSISTANT]}
    rows = read(folder, row, row | {"images": []})
    assert (len(rows.kept), rows.remarks) == (1, (Remark("placeholder", "<image>", 1),))
    assert [problem.what.zh for problem in rows.problems] == ["文字里有 <image>，要配上图、影、音才能学"]


@pytest.mark.parametrize("name", ["行.jsonl", "行.json"])
def test_check_and_train_tell_the_same(folder: Path, tiny_folder: Path, name: str) -> None:
    row = two_answers(loss=False) | {"id": 1}
    lines = [json.dumps(row)] * 3
    path = written(folder, name, "\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]")
    lines = remark_lines(read_rows(path).remarks)
    assert [line.en for line in lines] == [
        '3 answers are context only and not learned ("loss": false)',
        "columns not used: id (3)",
    ]
    files, renderer = open_model(str(tiny_folder))
    for _ in range(2):  # made, and loaded from disk
        ready = prepare(Config(model=str(tiny_folder), dataset=str(path)), files, renderer)
        assert list(ready.notes) == lines
    twice = prepare(Config(model=str(tiny_folder), dataset=(str(path), str(path))), files, renderer)
    assert [line.en for line in twice.notes][-1] == "columns not used: id (6)"
    example = ready.samples.examples[0]
    assert "坏" not in renderer.plain([id for id, wanted in zip(example.ids, example.is_target, strict=True) if wanted])
    assert "坏" in renderer.plain(example.ids)


def test_a_stream_that_is_read_again_counts_anew(folder: Path) -> None:
    path = written(folder, "a.jsonl", json.dumps(two_answers(loss=False)))
    stream = stream_rows(path)
    assert [len(list(stream)), len(list(stream))] == [1, 1]
    assert stream.remarks == (Remark("context", '"loss": false', 1),)


def test_many_names_take_one_short_line(folder: Path) -> None:
    many = {f"键{number}": number for number in range(5_000)}
    rows = read(folder, {"messages": [USER | many, ASSISTANT], **many}, {"messages": [USER, ASSISTANT], "键7": 1})
    assert len(rows.kept) == 2
    assert len(rows.remarks) == 2 * (MOST_NAMES + 1)
    columns, keys = remark_lines(rows.remarks)
    assert columns.en.startswith("columns not used: 键0 (1), 键1 (1)") and "键7 (2)" in columns.en
    assert columns.en.endswith(f" and others ({5_000 - NAMES_SHOWN})")
    assert max(len(line.zh) for line in (columns, keys)) < 200
    assert sum(remark.times for remark in merged([*rows.remarks, *rows.remarks])) == 20_002


def test_many_faults_of_one_row_are_told_in_a_few_lines(folder: Path) -> None:
    rows = read(folder, {"messages": [{"role": "narrator", "content": "x"}] * 3_000})
    assert len(rows.problems) == MOST_FAULTS
    assert rows.problems[-1].what.en.endswith(f"; the row has {3_000 - MOST_FAULTS} faults more")


def test_slips_are_looked_for_among_a_few_names_only(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many keys a row has, few are compared letter by letter."""
    compared: list[str] = []
    monkeypatch.setattr("tonghua.data.read.conversations.resembled", lambda name, _: compared.append(name))
    read(folder, {"messages": [USER, ASSISTANT], **{f"k{number}": 1 for number in range(5_000)}})
    assert 0 < len(compared) <= 2_000


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ({"name": "熊", "is_user": False, "mes": "在。"}, "是 SillyTavern 的聊天记录"),
        ({"role": "user", "content": "在吗"}, "的每一条只是一条消息"),
        ({"text": "从前…"}, "里只有 text，没有问题"),
        ({"input_ids": [1], "labels": [1]}, "里是已经切成 token 的数据"),
        ({"prompt": "问", "chosen": "好", "rejected": "坏"}, "用了 chosen（好坏答案成对），这里不支持"),
        ({"meta_instruction": "", "chat": {}}, "是 MOSS 的写法"),
        ({"contents": [{"role": "user", "parts": [{"text": "问"}]}]}, "是 Gemini 的写法"),
        ({"title": "题", "mapping": {}, "current_node": "1"}, "是 ChatGPT 导出的聊天记录"),
        ({"prompt": "问", "completions": ["一"], "labels": [True]}, "的 completions 把答案分成几段"),
    ],
)
def test_forms_that_are_known_and_not_read_are_named(folder: Path, row: object, what: str) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, row, row)
    assert what in caught.value.text.zh


def test_whoever_names_the_better_answer_learns_it(folder: Path) -> None:
    row = {"prompt": "问", "chosen": "好", "rejected": "坏"}
    rows = read_rows(written(folder, "a.jsonl", json.dumps(row)), {"output": "chosen"})
    assert learned(rows) == [("好", True)]
    assert rows.ignored == ("rejected",)


@pytest.mark.parametrize("template", [CHATML, QWEN3, GEMMA, MISTRAL])
def test_a_greeting_is_context_or_a_problem_of_its_row(tiny_folder: Path, tmp_path: Path, template: str) -> None:
    """No template makes one row's greeting a problem of another row, and none teaches it."""
    folder = with_template(tiny_folder, tmp_path, template, ["<s>", "</s>", "<start_of_turn>", "<end_of_turn>"])
    greeted = {"messages": [{"role": "assistant", "content": "客官好。"}, USER, ASSISTANT]}
    rows = read(tmp_path, greeted, {"messages": [USER, ASSISTANT]})
    made = Maker(folder, SampleSettings(None, 1_024, "split"))([(row, "") for row in rows.kept])
    assert (made.counts.kept, [problem.line for problem in made.problems]) == (
        (1, [1]) if template == GEMMA else (2, [])
    )
    ids = np.frombuffer(made.tokens, np.uint32)
    renderer = Renderer(folder)
    assert ("客官好" in renderer.plain((ids & ~TARGET).tolist())) == (template != GEMMA)
    assert "客官好" not in renderer.plain((ids[ids >= TARGET] & ~TARGET).tolist())
