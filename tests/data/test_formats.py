"""Files as people have them: wrapped lists, separators of all kinds, and what is no file of rows at all."""

import json
import math
import pickle
import struct
import zipfile
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet
from user_files import written

from tonghua.data.read.dataset import ReadRows, read_rows, stream_rows
from tonghua.errors import DataError

ROWS = [{"instruction": f"问{number}", "output": f"答{number}"} for number in range(3)]


def answers(rows: ReadRows) -> list[str]:
    return [row.messages[-1].content for row in rows.kept]


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_rows(path)
    assert "\n" not in caught.value.text.zh + caught.value.text.en
    return caught.value.text.en


@pytest.mark.parametrize("key", ["data", "rows", "examples", "train", "RECORDS", "items", "数据"])
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_rows_in_a_wrapper_are_read_and_told(folder: Path, key: str, indent: int | None, name: str) -> None:
    whole = {"version": "1.0", "tags": ["a", "b"], key: ROWS, "count": 3}
    rows = read_rows(written(folder, name, json.dumps(whole, ensure_ascii=False, indent=indent)))
    assert answers(rows) == ["答0", "答1", "答2"]
    assert [row.line for row in rows.kept] == ([1, 1, 1] if indent is None else [8, 12, 16])
    assert [note.en for note in rows.notes] == [f'the rows of {folder / name} are read from the list in "{key}"']


def test_an_object_with_two_lists_of_rows_is_no_dataset(folder: Path) -> None:
    said = refusal(written(folder, "a.json", json.dumps({"train": ROWS, "test": ROWS})))
    assert "several lists (train, test)" in said


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "问"}, {"role": "assistant", "content": "答0"}]},
        {"instruction": "问", "output": "答0", "meta": [{"a": 1}]},
    ],
)
def test_a_single_row_with_a_list_is_no_wrapper(folder: Path, row: object) -> None:
    for indent in (None, 2):
        assert answers(read_rows(written(folder, "a.json", json.dumps(row, indent=indent)))) == ["答0"]


def test_a_fault_within_a_wrapper_is_a_problem_with_its_line(folder: Path) -> None:
    rows = read_rows(written(folder, "a.json", '{"data": [\n{"instruction": "问", "output": "答"},\n{"output": 3}\n]}'))
    assert (len(rows.kept), {problem.line for problem in rows.problems}) == (1, {3})


@pytest.mark.parametrize("comment", ["// 说明", "/* 说明 */"])
def test_a_comment_in_json_is_named(folder: Path, comment: str) -> None:
    rows = read_rows(written(folder, "a.json", f'[{{"instruction": "问", "output": "答"}},\n{comment}\n{{}}]'))
    assert [(problem.line, "JSON has no comments" in problem.what.en) for problem in rows.problems] == [(2, True)]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", "，"])
def test_separators_of_a_csv(folder: Path, separator: str) -> None:
    content = "\n".join(separator.join(cells) for cells in (["问题", "备注", "回答"], ["问", "", "答"]))
    assert answers(read_rows(written(folder, "a.csv", content))) == ["答"]


@pytest.mark.parametrize("start", ["sep=;\n", "\ufeffsep=;\r\n", '"sep=;"\n'])
def test_a_line_that_names_the_separator_is_no_row(folder: Path, start: str) -> None:
    rows = read_rows(written(folder, "a.csv", f'{start}instruction;output\n问,一;"答\n二"\n'))
    assert answers(rows) == ["答\n二"]
    assert [row.line for row in rows.kept] == [3]


def test_a_separator_within_a_name_separates_nothing(folder: Path) -> None:
    rows = read_rows(written(folder, "a.csv", "instruction,output,说明（一，二，三，四）\n问,答,\n"))
    assert answers(rows) == ["答"]


@pytest.mark.parametrize("word", ["nan", "NaN", "NULL", "null", "None", "N/A", "<NA>"])
def test_a_word_for_nothing_in_a_cell_is_empty_and_told(folder: Path, word: str) -> None:
    content = (
        f"instruction,input,output,system\n问,{word},答,{word}\n{word}是谁？,{word}的事,他叫{word}。,\n问,,{word},\n"
    )
    rows = read_rows(written(folder, "a.csv", content))
    assert [[message.content for message in row.messages] for row in rows.kept] == [
        ["问", "答"],
        [f"{word}是谁？\n{word}的事", f"他叫{word}。"],
    ]
    assert [(problem.line, problem.what.en) for problem in rows.problems] == [
        (4, f'"output" holds only {word}, as an empty cell is exported')
    ]
    assert [(remark.kind, remark.name, remark.times) for remark in rows.remarks] == [("empty cell", word, 2)]
    story = [{"instruction": "问", "input": word, "output": word}]
    assert answers(read_rows(written(folder, "b.json", json.dumps(story)))) == [word]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.parquet"])
def test_nan_is_an_empty_cell_in_every_format(folder: Path, name: str) -> None:
    """As tables of pandas hold it; in the text of a message it is a fault of its row."""
    texts = [
        {"instruction": "问", "input": math.nan, "output": "答", "system": math.nan, "id": math.nan},
        {"instruction": "再问", "output": math.nan},
    ]
    if name.endswith(".parquet"):
        columns = {
            "instruction": ["问", "再问"],
            "input": [math.nan] * 2,
            "output": ["答", "答"],
            "system": [math.nan] * 2,
        }
        parquet.write_table(pyarrow.table(columns), folder / name)
    else:
        lines = map(json.dumps, texts)
        written(folder, name, "\n".join(lines) if name.endswith("l") else f"[{','.join(lines)}]")
    rows = read_rows(folder / name)
    kept, told = (["答", "答"], 4) if name.endswith(".parquet") else (["答"], 2)
    assert answers(rows) == kept
    assert all([message.role for message in row.messages] == ["user", "assistant"] for row in rows.kept)
    assert [tuple(remark) for remark in rows.remarks] == [("empty cell", "NaN", told)]
    assert [problem.what.en.removeprefix("row 2: ") for problem in rows.problems] == (
        [] if name.endswith(".parquet") else ['"output" holds only NaN, as an empty cell is exported']
    )


def test_a_doubled_key_in_a_cell_names_its_column(folder: Path) -> None:
    cell = '[{""role"": ""user"", ""role"": ""user"", ""content"": ""问""}]'
    rows = read_rows(written(folder, "a.csv", f'messages\n"{cell}"\n'))
    assert rows.problems[0].what.en == 'in "messages", the key "role" stands there more than once'


def zipped(*names: str) -> bytes:
    from io import BytesIO

    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "x" * 100_000)
    return file.getvalue()


NOT_ROWS = {
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n",
        "a Git LFS pointer",
        "git lfs pull",
    ),
    "page": (b"\n<!DOCTYPE html>\n<html><title>Sign in</title></html>", "a saved web page", "the download button"),
    "page with a comment": (b"<!-- saved --><HTML lang='zh'>", "a saved web page", "the download button"),
    "xlsx": (zipped("[Content_Types].xml", "docProps/app.xml", "xl/workbook.xml"), "an Excel workbook", "CSV UTF-8"),
    "docx": (zipped("[Content_Types].xml", "word/document.xml"), "a Word document", ".txt"),
    "zip": (zipped("a.json"), "a zip archive", ".zip"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "an old Office file", "CSV UTF-8"),
    "pdf": (b"%PDF-1.7\n", "a PDF", ".txt"),
    "gzip": (b"\x1f\x8b\x08\0" + bytes(20), "a gzip archive", "unpack it"),
    "picture": (b"\x89PNG\r\n\x1a\n", "a picture", "the file that holds the rows"),
    "gguf": (b"GGUF\x03\0\0\0", "a model (GGUF)", "the file that holds the rows"),
    "safetensors": (struct.pack("<Q", 80) + b'{"a":{"dtype"', "the weights of a model", "the file that holds the rows"),
    "pickle": (pickle.dumps({"a": 1}), "a pickle", "JSONL"),
    "sqlite": (b"SQLite format 3\0", "an SQLite database", "CSV"),
    "parquet": (b"PAR1\0\0\0", "a Parquet file", ".parquet"),
}


@pytest.mark.parametrize("kind", NOT_ROWS)
def test_what_holds_no_rows_is_named_for_what_it_is(folder: Path, kind: str) -> None:
    content, what, mend = NOT_ROWS[kind]
    for name in ("a.json", "a.csv", "行/故事.txt"):
        path = written(folder, name, content)
        said = refusal(path.parent if path.suffix == ".txt" else path)
        assert what in said
        assert mend in said


def test_a_pointer_in_place_of_a_parquet(folder: Path) -> None:
    assert "a Git LFS pointer" in refusal(written(folder, "a.parquet", NOT_ROWS["lfs"][0]))


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ("instrution,output", "no column instruction"),
        ("问题,说明", "no column output"),
        ("sep=;\n甲;乙", "columns found: 甲, 乙"),
    ],
)
def test_a_column_that_a_later_file_lacks_is_told_before_any_row_is_read(folder: Path, header: str, what: str) -> None:
    written(folder, "一.csv", "instruction,output\n问,答\n")
    written(folder, "二.csv", f"{header}\nx,y\n")
    with pytest.raises(DataError) as caught:
        stream_rows(folder)
    assert what in caught.value.text.en
    assert str(folder / "二.csv") in caught.value.text.en


def test_headers_that_may_do_are_not_refused_early(folder: Path) -> None:
    """A column may be named for the user, empty, or known only by what it holds."""
    written(folder, "一.csv", "q,回复\n问,答\n")
    written(folder, "二.csv", "q,回复,messages\n问,答,\n")
    written(folder, "三.jsonl", '{"q": "问", "回复": "答"}\n')
    assert answers(read_rows(folder, {"instruction": "q", "output": "回复"})) == ["答"] * 3
