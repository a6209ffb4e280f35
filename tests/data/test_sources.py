"""sources and records: encodings, separators, folders, archives, stories, Parquet, and reading without holding it."""

import json
import os
import stat
import sys
import tracemalloc
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from user_files import written

from tonghua.data.read import archives, csv_rows, faults, json_rows
from tonghua.data.read.dataset import ReadRows, read_rows, stream_rows
from tonghua.data.read.encodings import find_mojibake
from tonghua.data.read.faults import Found
from tonghua.data.read.records import records
from tonghua.data.read.sources import find_sources, find_text
from tonghua.errors import DataError, RefusedError, UserError
from tonghua.text import Text

GOOD = '{"instruction": "问", "output": "答"}'
CSV = "指令,输出\n你是谁？,我是讲故事的人。\n从前有一座山，山里有什么？,山里有一座庙。\n"


def answers(rows: ReadRows) -> list[str]:
    return [row.messages[-1].content for row in rows.kept]


def refusal(path: Path, kind: type[UserError] = DataError) -> tuple[str, str]:
    with pytest.raises(kind) as caught:
        read_rows(path)
    assert type(caught.value) is kind
    assert "\n" not in caught.value.text.zh + caught.value.text.en
    return caught.value.text.zh, caught.value.text.en


# Encodings


@pytest.mark.parametrize(
    ("encoding", "found", "said"),
    [
        ("utf-8", "utf-8", None),
        ("utf-8-sig", "utf-8", None),
        ("utf-16", "utf-16", "UTF-16"),
        ("utf-16-le", "utf-16-le", "UTF-16 LE"),
        ("utf-16-be", "utf-16-be", "UTF-16 BE"),
        ("gbk", "gb18030", "GB18030"),
        ("gb18030", "gb18030", "GB18030"),
    ],
)
def test_encodings_are_found_and_told(folder: Path, encoding: str, found: str, said: str | None) -> None:
    path = written(folder, "行.csv", CSV.encode(encoding))
    rows = read_rows(path)
    assert (rows.encoding, answers(rows)) == (found, ["我是讲故事的人。", "山里有一座庙。"])
    assert [row.line for row in rows.kept] == [2, 3]
    note = Text(f"{path} 是 {said} 编码，已照此读取", f"{path} is in {said}, and read as such")
    assert rows.notes == (() if said is None else (note,))


def test_utf16_json_with_rows_of_chinese_and_emoji(folder: Path) -> None:
    content = "\n".join([GOOD, json.dumps({"instruction": "😀", "output": "雪" * 3000}, ensure_ascii=False)])
    for encoding in ("utf-16-le", "utf-16-be", "utf-16"):
        rows = read_rows(written(folder, f"{encoding}.jsonl", content.encode(encoding)))
        assert answers(rows) == ["答", "雪" * 3000]


def test_a_zero_byte_does_not_make_a_file_utf16(folder: Path) -> None:
    rows = read_rows(written(folder, "a.csv", "instruction,output\n问题,a\0b\n"))
    assert (rows.encoding, answers(rows)) == ("utf-8", ["a\0b"])


def test_traditional_chinese_in_gbk(folder: Path) -> None:
    text = "instruction,output\n請講一個故事,從前有一個小女孩，她住在森林旁邊的小木屋裡，每天都和小動物們一起玩。\n"
    rows = read_rows(written(folder, "a.csv", text.encode("gbk")))
    assert (rows.encoding, len(rows.kept)) == ("gb18030", 1)


@pytest.mark.parametrize("name", ["big5", "latin-1", "shift-jis"])
def test_other_encodings_are_not_taken_for_gb18030(folder: Path, name: str) -> None:
    words = {
        "big5": "請講一個故事給我聽，謝謝",
        "latin-1": "été à la plage, où êtes-vous",
        "shift-jis": "むかしむかし、あるところに",
    }
    path = written(folder, "a.csv", f"instruction,output\nQ,{words[name]}\n".encode(name))
    assert "不是 UTF-8、UTF-16 或 GB18030 编码（按 " in refusal(path)[0]


def test_one_bad_byte_is_named_by_the_encoding_that_held_longest(folder: Path) -> None:
    path = written(folder, "a.csv", CSV.encode("gb18030") + b"\xff\n")
    line, offset = CSV.count("\n") + 1, len(CSV.encode("gb18030"))
    assert f"（按 GB18030 读到第 {line} 行，字节偏移 {offset}）" in refusal(path)[0]
    long = CSV.encode() + ("好," * 400_000).encode()  # the bad byte is in the second piece that is read
    path = written(folder, "b.csv", long + b"\n\xff")
    assert f"（按 UTF-8 读到第 {line + 1} 行，字节偏移 {len(long) + 1}）" in refusal(path)[0]
    path = written(folder, "c.csv", CSV.encode() + "好".encode()[:2])  # cut off within a character
    assert f"（按 UTF-8 读到第 {line} 行，字节偏移 {len(CSV.encode())}）" in refusal(path)[0]


GARBLED = "从前有一只小兔子，住在森林里。"


@pytest.mark.parametrize(
    ("wrong", "errors"), [("gb18030", "replace"), ("gbk", "replace"), ("latin-1", "strict"), ("cp1252", "replace")]
)
def test_mojibake_is_a_problem_of_its_row(folder: Path, wrong: str, errors: str) -> None:
    garbled = GARBLED.encode().decode(wrong, errors)
    lines = [GOOD, json.dumps({"instruction": "问", "output": garbled}), GOOD]
    rows = read_rows(written(folder, "a.jsonl", "\n".join(lines)))
    assert [(problem.line, problem.what.zh.partition("：")[0]) for problem in rows.problems] == [
        (2, "output（答案）是乱码")
    ]
    assert "... should read 从" in rows.problems[0].what.en


def test_replaced_characters_are_mojibake(folder: Path) -> None:
    rows = read_rows(written(folder, "a.jsonl", json.dumps({"instruction": "锟斤拷锟斤拷锟斤拷", "output": "答"})))
    assert rows.problems[0].what == Text(
        "instruction 是乱码：有 3 处 锟斤拷，原来的字已经丢了",
        '"instruction" is garbled: "锟斤拷" 3 times, the text is lost',
    )
    assert rows.problems[0].mend.zh == "用正确的编码从原文件重新导出，或删掉这一条"


@pytest.mark.parametrize(
    "text",
    [
        GARBLED,
        "“锟斤拷”这几个字是怎么来的？为什么乱码里总有它？",
        "联通",
        "從前有一隻小兔子，住在森林裡。",
        "Où êtes-vous ? Ça va très bien, à bientôt !",
        "むかしむかし、あるところに",
        "옛날 옛적에",
        "Жили-были",
        "ΑΒΓ και",
        "😀😀😀😀",
        "统一中国联通运统",
        "plain",
        "",
    ],
)
def test_good_text_is_no_mojibake(text: str) -> None:
    assert find_mojibake(text) is None


@settings(deadline=None)
@given(st.text(alphabet=st.characters(min_codepoint=0x4E00, max_codepoint=0x9FA5), min_size=5, max_size=80))
def test_any_chinese_text_garbled_by_latin1_is_seen(text: str) -> None:
    assert find_mojibake(text.encode().decode("latin-1")) is not None


# Separators


@pytest.mark.parametrize(
    ("name", "separator"), [("a.csv", ","), ("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t"), ("a.tsv", ",")]
)
def test_separators_are_seen_in_the_header(folder: Path, name: str, separator: str) -> None:
    lines = [["instruction", "output"], ["一,二;三", "四"], ["五", "六\n七"]]
    content = "\n\n" + "\n".join(separator.join(f'"{field}"' for field in line) for line in lines)
    rows = read_rows(written(folder, name, content))
    assert [(row.line, row.messages[0].content) for row in rows.kept] == [(4, "一,二;三"), (5, "五")]
    assert rows.kind == name[-3:]


def test_a_semicolon_in_a_column_name_separates_nothing(folder: Path) -> None:
    rows = read_rows(written(folder, "a.csv", "instruction,output,x;y\n问,答,1\n"))
    assert (rows.ignored, answers(rows)) == (("x;y",), ["答"])


# Reading piece by piece


def found_in(folder: Path, content: str, name: str = "a.json") -> list[Found]:
    (source,) = find_sources(written(folder, name, content)).files
    return list(records(source))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None, max_examples=60)
@given(st.lists(JSON_VALUES, min_size=1, max_size=12), st.sampled_from([None, 0, 1]), st.booleans(), st.integers(1, 40))
def test_the_size_of_the_window_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], indent: int | None, ascii_only: bool, size: int
) -> None:
    content = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    path = tmp_path_factory.mktemp("窗")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_rows, "_WINDOW_CHARACTERS", size)
        found = found_in(path, content)
    expected = json.loads(content, parse_int=float)
    assert [row.value for row in found] == expected
    assert all(not row.faults for row in found)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 16, 17, 50, 100_000])
@pytest.mark.parametrize(
    "tail",
    [
        "",
        ",",
        ",\n]",
        ",  \n  ]",
        "]]",
        "]\n\n []",
        ", {'a': 1}]",
        f"\n{GOOD}]",
        ', {"a": "x\ny"}]',
        ', {"a": "\\d"}]',
        ', {"a": "\\u00zz"}]',
        ', {"a": "x',
        ', {"a" 1}]',
        ', {"a": nul}]',
        ', {"a": NaN}, 12, -Infinity, "\\ud83d\\ude00", 1.5e3]',
        ", tru]",
        ", " + "[" * 10_000 + "]",
    ],
)
def test_faults_are_where_they_are_whatever_the_window(
    folder: Path, monkeypatch: pytest.MonkeyPatch, size: int, tail: str
) -> None:
    content = f"\n [\n{GOOD},\n  {GOOD}{tail}"
    whole = found_in(folder, content)
    monkeypatch.setattr(json_rows, "_WINDOW_CHARACTERS", size)
    assert found_in(folder, content) == whole
    if tail.startswith(", {'a'"):
        assert whole[-1].line == 4
        column = len(f"  {GOOD}, {{") + 1
        assert f"（第 {column} 列）" in whole[-1].faults[0].what.zh


def test_a_million_characters_of_one_line_keep_their_columns(folder: Path) -> None:
    before = ", ".join([GOOD] * 30_000)
    found = found_in(folder, f"[{before} {GOOD}]")
    assert found[-1].line == 1
    assert f"（第 {len(before) + 3} 列）" in found[-1].faults[0].what.zh
    assert len(found) == 30_001


def test_a_row_without_end_is_not_read_to_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (faults, json_rows, csv_rows):
        monkeypatch.setattr(module, "ROW_CHARACTERS", 1_000)
    monkeypatch.setattr(json_rows, "_WINDOW_CHARACTERS", 100)
    long = json.dumps({"instruction": "问", "output": "字" * 5_000}, ensure_ascii=False)
    for name, content in (("a.json", f"[{GOOD}, {long}, {GOOD}]"), ("a.jsonl", f"{GOOD}\n{long}\n{GOOD}")):
        found = found_in(folder, content, name)
        assert len(found) == 2
        assert found[1].faults[0].what.zh == "这一条超过 1000 个字符；从这里起没有再读"
    assert len(found_in(folder, f"instruction,output\n问,{'字' * 5_000}\n", "a.csv")) == 1


def test_an_array_of_fifty_megabytes_is_read_in_little_memory(folder: Path) -> None:
    path = folder / "大.json"
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for index in range(12_000):
            story = f'{{"instruction": "第 {index} 个故事", "output": "{"从前有一座山。" * 220}"}}'
            file.write(f"{',' if index else ''}\n{story}")
        file.write("]")
    assert path.stat().st_size > 50_000_000
    tracemalloc.start()
    read = sum(row.conversation is not None for row in stream_rows(path))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert read == 12_000
    assert peak_bytes < 20_000_000


# Files that change


def test_a_file_that_changes_while_it_is_read(folder: Path) -> None:
    path = written(folder, "a.jsonl", f"{GOOD}\n" * 3)
    stream = stream_rows(path)
    assert len(list(stream)) == len(list(stream)) == 3
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{GOOD}\n")
    with pytest.raises(DataError) as caught:
        list(stream)
    assert caught.value.text == Text(
        f"{path} 在读取的过程中变了；请等它写完，再运行一次",
        f"{path} changed while it was being read; wait until it is complete, and run again",
    )


def test_a_file_that_stops_being_text_or_goes_away(folder: Path) -> None:
    path = written(folder, "a.json", f"[{GOOD}]")
    stream = stream_rows(path)
    path.write_bytes(b"[\xff\xff]")
    with pytest.raises(DataError, match="在读取的过程中变了"):
        list(stream)
    path.unlink()
    with pytest.raises(DataError, match="打不开"):
        list(stream)


def test_to_stop_early_is_no_change(folder: Path) -> None:
    stream = stream_rows(written(folder, "a.jsonl", f"{GOOD}\n" * 3))
    assert next(iter(stream)).line == 1


# Folders


def test_a_folder_of_rows_is_read_in_the_order_of_names(folder: Path) -> None:
    written(folder, "二/丙.csv", "问题,回答\n问,3\n")
    written(folder, "a.json", '[{"instruction": "问", "output": "1"}]')
    written(folder, "b.jsonl", '{"messages": [{"role": "user", "content": "问"}]}\n{"messages": [1]}\n')
    written(folder, ".git/x.json", "坏")
    written(folder, ".x.json", "坏")
    written(folder, "dataset_info.json", "{}")
    written(folder, "图.png", b"\x89")
    written(folder, "说明.txt", "说明")
    rows = read_rows(folder)
    assert answers(rows) == ["1", "3"]
    assert (rows.kind, rows.columns, rows.encoding, rows.read) == ("mixed", "mixed", "utf-8", 4)
    assert [(problem.file, problem.line) for problem in rows.problems] == [
        ("b.jsonl", 1),
        ("b.jsonl", 2),
    ]
    assert rows.problems[0].as_json("en")["file"] == "b.jsonl"
    assert [str(columns) for columns in rows.mapping] == [
        "instruction <- instruction, output <- output",
        "messages <- messages",
        "instruction <- 问题, output <- 回答",
    ]
    assert rows.notes == (
        Text(
            f"{folder} 里有数据文件，所以没有读其中的 1 个 .txt",
            f"{folder} has files of rows, so its .txt files (1) were not read",
        ),
    )
    assert [row.source for row in stream_rows(folder)] == [0, 1, 1, 2]


def test_a_problem_of_a_single_file_does_not_repeat_its_name(folder: Path) -> None:
    written(folder, "a.jsonl", '{"instruction": "问", "output": ""}')
    (problem,) = read_rows(folder).problems
    assert (problem.file, "file" in problem.as_json("zh")) == ("", False)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes in folders")
def test_a_pipe_or_a_link_in_a_folder_is_never_opened(folder: Path) -> None:
    written(folder, "a.json", f"[{GOOD}]")
    os.mkfifo(folder / "b.json")
    assert refusal(folder)[0] == f"{folder / 'b.json'} 不是普通文件（是管道或设备）；请先存成文件"
    (folder / "b.json").unlink()
    (folder / "b.json").symlink_to("/etc/passwd")
    assert "是符号链接，文件夹里的链接不读" in refusal(folder, RefusedError)[0]
    (folder / "b.json").unlink()
    (folder / "自己").symlink_to(folder)
    assert read_rows(folder).read == 1


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="this system has no /proc")
def test_files_of_the_system_are_no_datasets() -> None:
    assert "的后缀不是" in refusal(Path("/proc/self/environ"))[0]
    assert "不是普通文件" in refusal(Path("/dev/zero"))[0]


# Stories


@pytest.mark.parametrize(
    ("written_as", "instruction", "story"),
    [
        ("雪孩子\n\n从前……\r\n下雪了。\n", "请写一个题为《雪孩子》的童话故事。", "从前……\n下雪了。"),
        ("《雪孩子》\n从前。", "请写一个题为《雪孩子》的童话故事。", "从前。"),
        ("# 雪孩子\n从前。", "请写一个题为《雪孩子》的童话故事。", "从前。"),
        ("从前有一座山。\n山里有庙。", "请写一个题为《月 亮》的童话故事。", "从前有一座山。\n山里有庙。"),
        ("从前" * 20 + "\n山里有庙。", "请写一个题为《月 亮》的童话故事。", "从前" * 20 + "\n山里有庙。"),
        ("只有一行", "请写一个题为《月 亮》的童话故事。", "只有一行"),
        ("The Moon\nOnce upon a time.", 'Write a fairy tale called "The Moon".', "Once upon a time."),
    ],
)
def test_a_folder_of_stories(folder: Path, written_as: str, instruction: str, story: str) -> None:
    written(folder, "月 亮.txt", written_as)
    rows = read_rows(folder)
    assert (rows.kind, rows.columns) == ("txt", "alpaca")
    assert [[message.content for message in row.messages] for row in rows.kept] == [[instruction, story]]


def test_stories_in_several_encodings_and_an_empty_one(folder: Path) -> None:
    written(folder, "a.txt", "雪孩子\n从前有一个雪孩子。".encode("gb18030"))
    written(folder, "b.txt", "月亮\n从前有一个月亮。".encode("gb18030"))
    written(folder, "c.txt", "\n")
    written(folder, "d.txt", "山\n山上有庙。")
    rows = read_rows(folder)
    assert answers(rows) == ["从前有一个雪孩子。", "从前有一个月亮。", "山上有庙。"]
    assert [(problem.file, problem.what.zh) for problem in rows.problems] == [("c.txt", "output（答案）是空的")]
    assert rows.encoding == "mixed"
    assert [note.zh for note in rows.notes] == [f"{folder / 'a.txt'} 等 2 个文件是 GB18030 编码，已照此读取"]
    assert (
        refusal(folder / "a.txt")[0] == f"{folder / 'a.txt'} 是一篇文字；请写出它所在的文件夹（每个 .txt 是一篇故事）"
    )


# One text by itself


@pytest.mark.parametrize(("encoding", "said"), [("utf-8", None), ("gb18030", "GB18030"), ("utf-16", "UTF-16")])
def test_one_text_is_found_in_any_encoding(folder: Path, encoding: str, said: str | None) -> None:
    path = written(folder, "红楼 梦.TXT", "黛玉：来了。\r\n宝玉：好。\n".encode(encoding))
    source, notes = find_text(path)
    assert (source.name, source.kind, source.encoding) == (str(path), "txt", encoding)
    note = Text(f"{path} 是 {said} 编码，已照此读取", f"{path} is in {said}, and read as such")
    assert notes == (() if said is None else (note,))
    with source.text(newline=None) as stream:
        assert stream.read() == "黛玉：来了。\n宝玉：好。\n"


def no_text(path: Path) -> Text:
    with pytest.raises(DataError) as caught:
        find_text(path)
    assert type(caught.value) is DataError
    return caught.value.text


@pytest.mark.parametrize("name", ["红楼.zip", "红楼.docx", "红楼.json", "红楼", "文件夹.txt"])
def test_what_is_no_text_is_named(folder: Path, name: str) -> None:
    path = folder / name
    if name == "文件夹.txt":
        path.mkdir()
    else:
        path.write_text("黛玉：来了。\n", encoding="utf-8")
    assert no_text(path) == Text(
        f"{path} 不是 .txt 文件；请给一个纯文本：压缩包先解压，Word 或 PDF 另存为 .txt",
        f"{path} is no .txt file; give one plain text: unpack an archive, save Word or PDF as .txt",
    )


def test_a_text_that_is_not_there_or_no_file_or_in_another_encoding(folder: Path) -> None:
    path = folder / "没有.txt"
    assert no_text(path).zh == f"找不到文件 {path}；请检查路径和文件名"
    assert no_text(Path("https://a.b/c.txt")).zh == (
        "https://a.b/c.txt 是网址，只能读本机上的文件；请先下载，再写下载后的路径"
    )
    path.write_bytes(b"\xff\xff\n")
    assert "不是 UTF-8、UTF-16 或 GB18030 编码" in no_text(path).zh


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes in folders")
def test_a_pipe_is_no_text(folder: Path) -> None:
    os.mkfifo(folder / "管.txt")
    assert no_text(folder / "管.txt").zh == f"{folder / '管.txt'} 不是普通文件（是管道或设备）；请先存成文件"


# Archives


def packed(folder: Path, entries: dict[str, bytes | str], name: str = "数 据.zip") -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for inner, content in entries.items():
            archive.writestr(inner, content)
    return path


def test_a_zip_is_read_like_a_folder(folder: Path) -> None:
    path = packed(
        folder,
        {
            "数据/二.jsonl": '{"instruction": "问", "output": ""}',
            "数据/一.csv": CSV.encode("gbk"),
            "../../出去.json": f"[{GOOD}]",
            "__MACOSX/数据/._一.csv": b"\0\5",
            "说明.md": "#",
        },
    )
    rows = read_rows(path)
    assert answers(rows) == ["答", "我是讲故事的人。", "山里有一座庙。"]
    assert [problem.file for problem in rows.problems] == ["数据/二.jsonl"]
    assert sorted(child.name for child in folder.iterdir()) == [path.name]


def test_a_zip_of_stories(folder: Path) -> None:
    path = packed(folder, {"故事/雪孩子.txt": "从前有一个雪孩子。", "故事/b.txt": "月亮\n圆。"})
    rows = read_rows(path)
    assert rows.kind == "txt"
    assert [row.messages[0].content for row in rows.kept] == [
        "请写一个题为《月亮》的童话故事。",
        "请写一个题为《雪孩子》的童话故事。",
    ]


@pytest.mark.parametrize("encoding", ["gbk", "utf-8"])
def test_names_in_a_zip_without_the_mark_of_utf8(folder: Path, encoding: str) -> None:
    stand_in = "x" * len("雪孩子".encode(encoding))
    path = packed(folder, {f"{stand_in}.txt": "从前有一个雪孩子。"})
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), "雪孩子".encode(encoding)))
    assert [source.stem for source in find_sources(path).files] == ["雪孩子"]


def test_harmful_archives_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = zipfile.ZipInfo("a.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = folder / "链.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    zh = f"{path} 里的 a.json 是符号链接，不读；请解压、整理后写出文件夹的路径"
    assert refusal(path, RefusedError)[0] == zh

    path = packed(folder, {"里.zip": b"PK"})
    assert "里的 里.zip 是压缩包里的压缩包，不读" in refusal(path, RefusedError)[0]

    path = packed(folder, {"a.json": b" " * 30_000_000})
    assert "倍大，像是有害的压缩包，没有打开" in refusal(path, RefusedError)[0]

    path = packed(folder, {f"{index}.txt": "文" for index in range(4)})
    assert read_rows(path).read == 4
    monkeypatch.setattr(archives, "ZIP_ENTRIES_LIMIT", 3)
    assert f"{path} 里有 4 个文件，像是有害的压缩包" in refusal(path, RefusedError)[0]
    monkeypatch.undo()
    monkeypatch.setattr(archives, "ZIP_UNPACKED_LIMIT_BYTES", 11)
    assert "解压后有 0.0 GB，像是有害的压缩包" in refusal(path, RefusedError)[0]


def test_an_encrypted_zip(folder: Path) -> None:
    path = packed(folder, {"a.json": f"[{GOOD}]"})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "里的 a.json 加了密码，不读" in refusal(path, RefusedError)[0]


def test_damaged_archives(folder: Path) -> None:
    path = written(folder, "a.zip", "不是压缩包")
    assert refusal(path, RefusedError) == (
        f"{path} 损坏了，或者不是 zip；请重新下载或重新打包",
        f"{path} is damaged or no zip; download or pack it again",
    )
    path = packed(folder, {"a.json": f"[{GOOD}]"}, "b.zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"a.json") + 8] ^= 0xFF  # in the packed bytes
    path.write_bytes(content)
    assert "损坏了" in refusal(path, RefusedError)[0]
    assert "没有数据文件" in refusal(packed(folder, {"图.png": b"x"}, "c.zip"))[0]


# Parquet


def test_parquet_without_pyarrow(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    path = written(folder, "a.parquet", "PAR1")
    assert refusal(path) == (
        f"读 {path} 需要 pyarrow；请运行 pip install pyarrow",
        f"{path} needs pyarrow to be read; run pip install pyarrow",
    )


def test_parquet(folder: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = folder / "行.parquet"
    table = pyarrow.table({"问题": ["一", "二", "三"] * 1_000, "回答": ["1", None, "3"] * 1_000, "id": range(3_000)})
    parquet.write_table(table, path)
    packed_path = packed(folder, {"行.parquet": path.read_bytes()})
    for each in (path, packed_path):
        rows = read_rows(each)
        assert (rows.kind, rows.encoding, rows.read, len(rows.kept)) == ("parquet", "", 3_000, 2_000)
        assert rows.ignored == ("id",)
        assert [(problem.line, problem.what.zh) for problem in rows.problems[:2]] == [
            (2, "回答（答案）是空值 null，应为文字"),
            (5, "回答（答案）是空值 null，应为文字"),
        ]
    talks = [[{"from": "human", "value": "问"}, {"from": "gpt", "value": "答"}]]
    parquet.write_table(pyarrow.table({"conversations": talks}), path)
    assert answers(read_rows(path)) == ["答"]
    stream = stream_rows(path)
    parquet.write_table(pyarrow.table({"conversations": talks * 2}), path)
    with pytest.raises(DataError, match="在读取的过程中变了"):
        list(stream)


def test_damaged_parquet(folder: Path) -> None:
    pytest.importorskip("pyarrow")
    zh, en = refusal(written(folder, "a.parquet", "PAR1" + "x" * 100 + "PAR1"))
    assert "损坏了，或者不是 Parquet（" in zh
    assert "is damaged or no Parquet (" in en


def test_the_kind_is_that_of_the_file_however_long_its_path(tmp_path: Path) -> None:
    deep = tmp_path / ("很深的文件夹" * 12) / ("更深的文件夹" * 12) / ("最深的文件夹" * 12)
    deep.mkdir(parents=True)
    path = deep / "rows.csv"
    path.write_text("instruction,output\n问,答\n", encoding="utf-8")
    assert len(str(path)) > 200
    rows = read_rows(path)
    assert (rows.kind, [m.content for m in rows.kept[0].messages]) == ("csv", ["问", "答"])


def test_a_title_is_that_of_the_file_and_not_what_is_printed(tmp_path: Path) -> None:
    (tmp_path / "雪孩子\u3000下.txt").write_text("从前有一个雪孩子，它住在山上。" * 3, encoding="utf-8")
    (row,) = read_rows(tmp_path).kept
    assert row.messages[0].content == "请写一个题为《雪孩子\u3000下》的童话故事。"
