"""columns: every form of rows, the names that columns have, what is asked, and what the user can say."""

import json
from pathlib import Path

import pytest
from user_files import written

from tonghua.data.read.dataset import SAMPLE_ROWS, ReadRows, read_rows
from tonghua.data.read.roles import OTHER_NAMES, ROLE_OF
from tonghua.errors import DataError, UsageError
from tonghua.prompt.conversation import JOIN

USER, ASSISTANT = {"role": "user", "content": "问"}, {"role": "assistant", "content": "答"}


def read(tmp_path: Path, *rows: object, columns: dict[str, str] | None = None) -> ReadRows:
    path = tmp_path / "我的 数据.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return read_rows(path, columns)


def refusal(tmp_path: Path, *rows: object, columns: dict[str, str] | None = None) -> tuple[str, str]:
    """What is said, without the path."""
    with pytest.raises(DataError) as caught:
        read(tmp_path, *rows, columns=columns)
    path = str(tmp_path / "我的 数据.jsonl")
    return caught.value.text.zh.replace(path, "它"), caught.value.text.en.replace(path, "it")


def talk(rows: ReadRows) -> list[tuple[str, str]]:
    assert rows.problems == ()
    (row,) = rows.kept
    return [(message.role, message.content) for message in row.messages]


ONE = [("user", "问"), ("assistant", "答")]


@pytest.mark.parametrize(
    ("row", "expected", "mapping"),
    [
        ({"query": "问", "response": "答"}, ONE, "instruction <- query, output <- response"),
        (
            {"system": "设", "history": [["一", "二"]], "query": "问", "response": "答"},
            [("system", "设"), ("user", "一"), ("assistant", "二"), *ONE],
            "instruction <- query, output <- response, system <- system, history <- history",
        ),
        ({"prompt": "问", "completion": "答"}, ONE, "instruction <- prompt, output <- completion"),
        ({"prompt": [USER], "completion": [ASSISTANT]}, ONE, "instruction <- prompt, output <- completion"),
        ({"question": "问", "answer": "答"}, ONE, "instruction <- question, output <- answer"),
        ({"Question": "问", " ANSWER ": "答"}, ONE, "instruction <- Question, output <-  ANSWER "),
        (
            {"指令": "甲", "输入": "乙", "输出": "丙", "系统": "设", "历史": []},
            [("system", "设"), ("user", f"甲{JOIN}乙"), ("assistant", "丙")],
            "instruction <- 指令, input <- 输入, output <- 输出, system <- 系统, history <- 历史",
        ),
        ({"提问": "问", "答案": "答"}, ONE, "instruction <- 提问, output <- 答案"),
        ({"问题": "问", "回复": "答"}, ONE, "instruction <- 问题, output <- 回复"),
        ({"messages": [USER, ASSISTANT]}, ONE, "messages <- messages"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "一"}, {"type": "text", "text": "二"}]},
                    ASSISTANT,
                ]
            },
            [("user", "一二"), ("assistant", "答")],
            "messages <- messages",
        ),
        (
            {
                "id": "x",
                "conversations": [
                    {"from": "system", "value": "设"},
                    {"from": "human", "value": "问"},
                    {"from": "gpt", "value": "答"},
                ],
            },
            [("system", "设"), *ONE],
            "messages <- conversations",
        ),
        (
            {"conversation": [{"from": "user", "value": "问"}, {"from": "assistant", "value": "答"}], "system": "设"},
            [("system", "设"), *ONE],
            "messages <- conversation, system <- system",
        ),
        (
            {"conversation": [{"system": "设", "input": "一", "output": "二"}, {"input": "问", "output": "答"}]},
            [("system", "设"), ("user", "一"), ("assistant", "二"), *ONE],
            "messages <- conversation",
        ),
        ({"对话": [USER, ASSISTANT]}, ONE, "messages <- 对话"),
    ],
)
def test_each_form_is_found_by_looking(
    tmp_path: Path, row: dict[str, object], expected: list[tuple[str, str]], mapping: str
) -> None:
    rows = read(tmp_path, row)
    assert talk(rows) == expected
    assert [str(columns) for columns in rows.mapping] == [mapping]
    assert rows.mapping[0].renames == any(role not in row for role, _ in rows.mapping[0].names)


def test_parts_and_weights_as_llama_factory_writes_them(tmp_path: Path) -> None:
    def row(weight: float) -> dict[str, object]:
        user = {"role": "user", "content": [{"type": "text", "value": "问"}], "loss_weight": 0.0}
        answer = {"role": "assistant", "content": [{"type": "text", "value": "答"}], "loss_weight": weight}
        return {"messages": [user, answer]}

    assert talk(read(tmp_path, row(1.0))) == ONE
    (problem,) = read(tmp_path, row(0.5)).problems
    assert problem.what.zh == "messages 第 2 条的 loss_weight 是 0.5，而一个答案要么学，要么不学"


def test_every_name_stands_for_one_role() -> None:
    assert len(ROLE_OF) == sum(1 + len(names) for names in OTHER_NAMES.values())


def test_faults_name_the_columns_of_the_file(tmp_path: Path) -> None:
    rows = read(
        tmp_path,
        {"问题": "问", "回答": "答"},
        {"问题": " ", "回答": ""},
        {"问题": 1},
        {"回答": "答"},
    )
    assert [(problem.line, problem.what.zh) for problem in rows.problems] == [
        (2, "缺少问题：问题 是空的"),
        (2, "回答（答案）是空的"),
        (3, "问题 是数字，应为文字"),
        (3, "没有 回答（答案），只有 问题"),
        (4, "缺少问题：没有 问题，只有 回答"),
    ]
    rows = read(tmp_path, {"conversations": "x"}, {"conversations": [{"from": "human", "value": ""}]}, {"x": 1})
    assert [(problem.what.zh, problem.what.en) for problem in rows.problems] == [
        ("conversations 是文字，应为消息的列表", '"conversations" is text, not a list of messages'),
        ("conversations 第 1 条（human）的 value 是空的", '"value" of message 1 (human) is empty'),
        ("没有 conversations，只有 x", 'no "conversations", only x'),
    ]


def test_two_columns_for_one_role_are_asked_about(tmp_path: Path) -> None:
    row = {"instruction": "问", "output": "答", "response": "别的"}
    assert refusal(tmp_path, row) == (
        "它 里 output、response 都像是答案；请写明用哪一列，例如 columns=output:output",
        "in it, output, response could each be the answer; say which to use, such as columns=output:output",
    )
    assert "prompt、question 都像是问题" in refusal(tmp_path, {"prompt": "问", "question": "问", "answer": "答"})[0]
    assert talk(read(tmp_path, row, columns={"output": "response"})) == [("user", "问"), ("assistant", "别的")]
    assert read(tmp_path, row, columns={"output": "response"}).ignored == ("output",)


def test_of_two_columns_the_one_that_holds_something_is_taken(tmp_path: Path) -> None:
    rows = read(tmp_path, {"query": "问", "instruction": "", "output": None, "answer": "答"})
    assert str(rows.mapping[0]) == "instruction <- query, output <- answer"
    assert talk(rows) == ONE


def test_a_second_column_that_is_filled_later_is_a_problem_of_its_row(tmp_path: Path) -> None:
    good = {"instruction": "问", "output": "答"}
    rows = read(tmp_path, *[good] * SAMPLE_ROWS, {"instruction": "问", "response": "答"}, {**good, "编号": 7})
    assert [(problem.line, problem.what.zh, problem.mend.zh) for problem in rows.problems] == [
        (SAMPLE_ROWS + 1, "这一条有 response，而这个文件的答案取自 output", "改成 output，或用 columns= 指明")
    ]
    assert (rows.read, len(rows.kept), rows.ignored) == (SAMPLE_ROWS + 2, SAMPLE_ROWS + 1, ("编号",))


def test_a_column_that_comes_late_is_used(tmp_path: Path) -> None:
    good = {"instruction": "问", "output": "答"}
    rows = read(tmp_path, *[good] * SAMPLE_ROWS, {**good, "system": "设", "input": "补"}, {**good, "系统": "设"})
    assert [(message.role, message.content) for message in rows.kept[-1].messages] == [
        ("system", "设"),
        ("user", f"问{JOIN}补"),
        ("assistant", "答"),
    ]
    assert [problem.what.zh for problem in rows.problems] == ["这一条有 系统，而这个文件的系统提示取自 system"]
    assert len(read(tmp_path, *["坏"] * SAMPLE_ROWS, good).kept) == 1


def test_a_column_has_one_role_only(tmp_path: Path) -> None:
    row = {"input": "问", "output": "答"}
    assert talk(read(tmp_path, row, columns={"instruction": "input"})) == ONE


def test_a_file_of_messages_may_have_metadata_by_other_names(tmp_path: Path) -> None:
    rows = read(tmp_path, {"prompt": "问", "answer": "别的", "messages": [USER, ASSISTANT]})
    assert (talk(rows), rows.ignored) == (ONE, ("prompt", "answer"))
    rows = read(tmp_path, {"instruction": "问", "output": "答", "conversations": [USER]})
    assert (talk(rows), rows.ignored) == (ONE, ("conversations",))


def test_the_user_can_choose_the_form(tmp_path: Path) -> None:
    row = {"messages": [USER, ASSISTANT], "title": "题", "text": "文"}
    assert talk(read(tmp_path, row, columns={"instruction": "title", "output": "text"})) == [
        ("user", "题"),
        ("assistant", "文"),
    ]
    assert talk(read(tmp_path, row)) == ONE
    row = {"instruction": "问", "output": "答", "input": "别用", "log": [USER, ASSISTANT]}
    assert talk(read(tmp_path, row, columns={"messages": "log"})) == ONE
    assert talk(read(tmp_path, row, columns={"input": ""})) == ONE
    assert talk(read(tmp_path, row)) == [("user", f"问{JOIN}别用"), ("assistant", "答")]


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    row = {"instruction": "问", "output": "答"}
    assert refusal(tmp_path, row, columns={"output": "回答"}) == (
        "它 没有 columns 里写的 回答 这一列；现有的列：instruction、output",
        "it has no column 回答, which columns names; columns found: instruction, output",
    )
    with pytest.raises(UsageError) as caught:
        read(tmp_path, row, columns={"answer": "output"})
    assert caught.value.text == (
        "columns 里没有 answer 这一项；可用的有 instruction、input、output、system、history、messages",
        "columns knows no answer; there are instruction, input, output, system, history, messages",
    )


def test_missing_columns_name_a_likely_slip(tmp_path: Path) -> None:
    zh, en = refusal(tmp_path, {"question": "问", "anwser": "答"})
    assert zh.startswith("它 没有 output 这样的列；现有的列：question、anwser（anwser 像是 answer 写错了）；")
    assert zh.endswith("列名不同时用 columns= 指明")
    assert '("anwser" looks like answer)' in en


def test_a_refused_column_in_all_of_the_first_rows_is_told_once(tmp_path: Path) -> None:
    row = {"instruction": "问", "output": "答", "images": ["a.png"]}
    assert (
        refusal(tmp_path, row, row)[0]
        == "它：每一条都用了 images，这里不支持；这里只学文字问答；请删掉它，或删掉这样的数据"
    )
    zh, en = refusal(tmp_path, *[row] * (SAMPLE_ROWS + 1))
    assert zh.startswith(f"它：前 {SAMPLE_ROWS} 条都用了 images")
    assert en.startswith(f'it: each of the first {SAMPLE_ROWS} uses "images"')


def test_chinese_columns_in_a_csv_with_lists_as_json_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('问题,回答,历史\n问,答,"[[""早"", ""好""]]"\n问,答,[\n', encoding="utf-8")
    rows = read_rows(path)
    assert [message.content for message in rows.kept[0].messages] == ["早", "好", "问", "答"]
    assert [problem.what.zh for problem in rows.problems] == ["历史 里的 JSON 写错了（第 2 列）：这里应有一个值"]
    cell = json.dumps([{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}]).replace('"', '""')
    path.write_text(f'conversations\n"{cell}"\n', encoding="utf-8")
    assert [message.content for message in read_rows(path).kept[0].messages] == ["问", "答"]


def test_a_whole_conversation_has_no_room_for_what_stands_beside_it(tmp_path: Path) -> None:
    talk_of_one = {
        "prompt": [{"role": "user", "content": "问"}],
        "completion": [{"role": "assistant", "content": "答"}],
    }
    rows = read(tmp_path, {**talk_of_one, "input": "补充"}, talk_of_one)
    assert len(rows.kept) == 1
    assert rows.problems[0].what.zh.endswith("prompt 已是整段对话，旁边的 input 放不进去")


def test_columns_are_found_in_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more of a file is held to find them than one row may take; those that come later are read all the same."""
    monkeypatch.setattr("tonghua.data.read.dataset.ROW_CHARACTERS", 1_000)
    rows = read(tmp_path, *[{"instruction": "问", "output": "答" * 400}] * 5, {"instruction": "问", "response": "答"})
    assert (rows.read, len(rows.kept)) == (6, 5)
    assert "response" in rows.problems[0].what.zh


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_each_line_may_be_a_list_of_messages(tmp_path: Path, name: str, count: int, end: str) -> None:
    line = json.dumps([USER, ASSISTANT], ensure_ascii=False)
    (tmp_path / name).write_text("\n".join([line] * count) + end, encoding="utf-8")
    rows = read_rows(tmp_path / name)
    assert (rows.kind, rows.columns, rows.problems) == ("jsonl", "messages", ())
    assert [row.line for row in rows.kept] == list(range(1, count + 1))
    (tmp_path / name).write_text(f"[{line},\n{line}]", encoding="utf-8")
    assert (read_rows(tmp_path / name).kind, len(read_rows(tmp_path / name).kept)) == ("json", 2)


def test_a_weaker_name_counts_only_if_no_other_column_has_the_role(tmp_path: Path) -> None:
    assert (
        str(read(tmp_path, {"human": "问", "assistant": "答"}).mapping[0])
        == "instruction <- human, output <- assistant"
    )
    assert str(read(tmp_path, {"input": "问", "target": "答"}).mapping[0]) == "input <- input, output <- target"
    rows = read(tmp_path, {"instruction": "问", "output": "答", "user": "某人", "target": "别的"})
    assert (talk(rows), rows.ignored) == (ONE, ("user", "target"))
    rows = read(tmp_path, {"messages": [USER, ASSISTANT], "user": "某人", "assistant": "某"})
    assert (talk(rows), rows.ignored) == (ONE, ("user", "assistant"))
    assert "user、human 都像是问题" in refusal(tmp_path, {"user": "一", "human": "二", "output": "答"})[0]


@pytest.mark.parametrize("column", ["content", "story", "introduction", "contact"])
def test_a_word_of_its_own_is_no_slip(folder: Path, column: str) -> None:
    """Beside the columns of a row it is counted and not used; alone it is not guessed at."""
    row = {"instruction": "问", "output": "答", column: "甲"}
    rows = read_rows(written(folder, "a.jsonl", json.dumps(row)))
    assert (len(rows.kept), [tuple(remark) for remark in rows.remarks]) == (1, [("column", column, 1)])
    with pytest.raises(DataError) as caught:
        read_rows(written(folder, "b.jsonl", json.dumps({column: "甲", "id": 1})))
    assert "slip" not in caught.value.text.en and "looks like" not in caught.value.text.en


@pytest.mark.parametrize(("title", "body"), [("title", "content"), ("标题", "正文")])
def test_the_advice_for_stories_with_titles_reads_them(folder: Path, title: str, body: str) -> None:
    path = written(folder, "a.jsonl", json.dumps({title: "柳树", body: "从前有一棵柳树。", "id": 1}))
    with pytest.raises(DataError) as caught:
        read_rows(path)
    advice = caught.value.text.en.partition("columns=")[2]
    assert advice == f"instruction:{title},output:{body}"
    columns = dict(each.split(":") for each in advice.split(","))
    (talk,) = read_rows(path, columns).kept
    assert [message.content for message in talk.messages] == ["柳树", "从前有一棵柳树。"]
