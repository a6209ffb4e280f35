"""Excel workbooks: sheets, what a cell becomes, where a row stands, and small files that become gigabytes."""

import json
import sys
import zipfile
from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import ascii_uppercase

import pytest
from user_files import written

from tonghua.data.checkup.mending import fix
from tonghua.data.read import xlsx_rows
from tonghua.data.read.dataset import ReadRows, read_rows, stream_rows
from tonghua.errors import DataError, RefusedError, UserError

pytest.importorskip("python_calamine")

PACKAGE = "http://schemas.openxmlformats.org/package/2006"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"

DATE, MOMENT, CLOCK, SPAN = 1, 2, 3, 4
STYLES = f"""<styleSheet xmlns="{MAIN}"><numFmts count="1"><numFmt numFmtId="164" formatCode="[h]:mm:ss"/></numFmts>
<cellXfs count="5"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/><xf numFmtId="21"/><xf numFmtId="164"/>
</cellXfs></styleSheet>"""


def text(value: str) -> str:
    return f't="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is>'


def number(value: float, style: int = 0) -> str:
    return f's="{style}"><v>{value}</v>'


def sheet(rows: Mapping[int, list[str | None]]) -> str:
    """Return the rows of a sheet, by their 1-based number; a cell is text, or its XML after `<c r="A1" `."""
    lines = []
    for line, cells in rows.items():
        written_cells = (
            f'<c r="{column}{line}" {cell if ">" in cell else text(cell)}</c>'
            for column, cell in zip(ascii_uppercase, cells, strict=False)
            if cell is not None
        )
        lines.append(f'<row r="{line}">{"".join(written_cells)}</row>')
    return "".join(lines)


def workbook(path: Path, sheets: Mapping[str, str], shared: str = "", hidden: tuple[str, ...] = ()) -> Path:
    """Write a workbook by hand: the XML of the rows of each sheet, and of the shared strings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}/relationships">'
            f'<Relationship Id="rId1" Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        hide = 'state="hidden"'
        listed = "".join(
            f'<sheet name="{each}" sheetId="{at}" r:id="rId{at}" {hide if each in hidden else ""}/>'
            for at, each in enumerate(sheets, 1)
        )
        archive.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>'
        )
        targets = {f"rId{at}": ("worksheet", f"worksheets/sheet{at}.xml") for at in range(1, len(sheets) + 1)}
        targets |= {"styles": ("styles", "styles.xml"), "strings": ("sharedStrings", "sharedStrings.xml")}
        linked = "".join(
            f'<Relationship Id="{key}" Type="{OFFICE}/{kind}" Target="{target}"/>'
            for key, (kind, target) in targets.items()
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{PACKAGE}/relationships">{linked}</Relationships>'
        )
        archive.writestr("xl/styles.xml", STYLES)
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{MAIN}">{shared}</sst>')
        for at, rows in enumerate(sheets.values(), 1):
            archive.writestr(
                f"xl/worksheets/sheet{at}.xml",
                f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>',
            )
    return path


HEADER: list[str | None] = ["问题", "回答"]


def pairs(**answers: str) -> str:
    """Return a sheet with a header and a row for each question."""
    return sheet({1: HEADER} | {line: [q, a] for line, (q, a) in enumerate(answers.items(), 2)})


def said(rows: ReadRows) -> list[tuple[str, str]]:
    return [(row.messages[-2].content, row.messages[-1].content) for row in rows.kept]


def refused(path: Path) -> UserError:
    with pytest.raises((DataError, RefusedError)) as caught:
        read_rows(path)
    assert "\n" not in caught.value.text.zh + caught.value.text.en
    return caught.value


def test_a_row_stands_where_the_sheet_shows_it(folder: Path) -> None:
    """The sheet begins in column B of row 3; row 5 is empty, and row 6 holds only a column that is not used."""
    rows = sheet(
        {
            3: [None, " 问题", "回答 ", "id"],
            4: [None, "问一", "答一", number(1)],
            5: [None, "", None, None],
            7: [None, "问二", None, number(2)],
            9: [None, "问三", "第一行\n第二行 ", number(3)],
        }
    )
    read = read_rows(workbook(folder / "数据.xlsx", {"表": rows}))
    assert (read.kind, read.encoding, read.read, read.file_names) == ("xlsx", "", 3, ("",))
    assert said(read) == [("问一", "答一"), ("问三", "第一行\n第二行 ")]
    assert [row.line for row in read.kept] == [4, 9]
    assert [(problem.line, problem.what.zh) for problem in read.problems] == [(7, "回答（答案）是空的")]
    assert read.ignored == ("id",)
    assert read.notes == ()


CELLS = {
    number(3.0): "3",
    number(13800138000): "13800138000",
    number(0.30000000000000004): "0.3",
    number(-2.5): "-2.5",
    't="b"><v>1</v>': "TRUE",
    't="b"><v>0</v>': "FALSE",
    number(46000, DATE): "2025-12-09",
    number(46000.5, MOMENT): "2025-12-09 12:00:00",
    number(0.25, CLOCK): "06:00:00",
    number(1.5, SPAN): "36:00:00",
    't="str"><f>A1</f><v>算出来的</v>': "算出来的",
    't="s"><v>0</v>': "共享 的",
    't="inlineStr"><is><t>一_x000D_\n二</t></is>': "一\n二",
    text("<b> & 007"): "<b> & 007",
}


def test_a_cell_becomes_the_text_that_excel_shows(folder: Path) -> None:
    shared = '<si><r><t>共享</t></r><r><t xml:space="preserve"> 的</t></r><rPh sb="0" eb="1"><t>音</t></rPh></si>'
    rows = sheet({1: HEADER} | {line: ["问", cell] for line, cell in enumerate(CELLS, 2)})
    read = read_rows(workbook(folder / "a.xlsx", {"表": rows}, shared))
    assert [answer for _, answer in said(read)] == list(CELLS.values())


def test_lists_and_words_for_nothing_are_read_as_in_a_csv(folder: Path) -> None:
    talk = json.dumps([["早", "你好"]], ensure_ascii=False)
    rows = sheet({1: ["问题", "input", "回答", "history"], 2: ["问", "NULL", "答", talk], 3: ["问", None, "NaN", None]})
    read = read_rows(workbook(folder / "a.xlsx", {"表": rows}))
    assert [message.content for message in read.kept[0].messages] == ["早", "你好", "问", "答"]
    assert [(remark.kind, remark.name) for remark in read.remarks] == [("empty cell", "NULL")]
    assert read.problems[0].line == 3


def test_every_visible_sheet_is_read_and_the_others_are_told(folder: Path) -> None:
    sheets = {
        "甲": pairs(一="1"),
        "空": "",
        "藏": pairs(丢="了"),
        "乙": sheet({2: ["output", "input"], 4: ["2", "二"]}),
    }
    path = workbook(folder / "a.xlsx", sheets, hidden=("藏",))
    read = read_rows(path)
    assert said(read) == [("一", "1"), ("二", "2")]
    assert [note.en for note in read.notes] == [
        f"the rows of {path} are read from the sheets 甲, 乙",
        f"sheets of {path} that are not read: 空 (empty), 藏 (hidden)",
    ]
    workbook(path, sheets | {"乙": sheet({1: HEADER, 5: ["三", None]})}, hidden=("藏",))
    (problem,) = read_rows(path).problems
    assert problem.place.en == "乙 line 5"
    workbook(path, {"说明": sheet({1: ["这是说明"], 2: ["略"]}), "甲": pairs(一="1")})
    assert f"{path}/说明 has no column instruction" in refused(path).text.en
    workbook(path, {"甲": sheet({1: ["训练数据", None], 2: ["问题", "回答"]})})
    assert "columns found: 训练数据; expected" in refused(path).text.en
    workbook(path, {"说明": sheet({1: ["这是说明"]}), "甲": pairs(一="1")}, hidden=("说明",))
    assert said(read_rows(path)) == [("一", "1")]


@pytest.mark.parametrize(
    ("sheets", "hidden", "what"),
    [
        ({"表": ""}, (), "holds no rows"),
        ({"表": pairs(一="1")}, ("表",), "has no sheet that holds rows"),
        ({"表": pairs()}, (), "has a header and no rows"),
        ({"表": sheet({1: ["问题", "回答", "回答"], 2: ["q", "a", "b"]})}, (), "more than one column 回答"),
        ({"表": sheet({1: HEADER, 2: ["q", 't="no"><v>7</v>']})}, (), "is damaged or no Excel workbook"),
    ],
)
def test_a_workbook_without_rows(folder: Path, sheets: Mapping[str, str], hidden: tuple[str, ...], what: str) -> None:
    error = refused(workbook(folder / "a.xlsx", sheets, hidden=hidden))
    assert error.exit_code == 3
    assert what in error.text.en


def test_workbooks_in_folders_and_archives(folder: Path) -> None:
    inside = folder / "行"
    workbook(inside / "一.xlsx", {"表": pairs(一="1")})
    workbook(inside / "深" / "二.XLSX", {"甲": pairs(二="2"), "乙": pairs(三="3")})
    written(inside, "~$一.xlsx", "the lock of an open workbook")
    written(inside, "三.csv", "问题,回答\n四,4\n")
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        for path in inside.rglob("*.*"):
            archive.write(path, path.relative_to(inside))
    for path in (inside, folder / "a.zip"):
        read = read_rows(path)
        assert read.kind == "mixed"
        assert sorted(said(read)) == [("一", "1"), ("三", "3"), ("二", "2"), ("四", "4")]
        assert {name.replace("\\", "/") for name in read.file_names} >= {"一.xlsx", "深/二.XLSX/甲", "深/二.XLSX/乙"}


def test_spreadsheets_of_other_kinds_in_a_folder_are_told(folder: Path) -> None:
    for name in ("a.xls", "b.ODS", "~$c.xls"):
        written(folder, name, "x")
    assert f"{folder / 'a.xls'} is a spreadsheet, but .xls is not read" in refused(folder).text.en
    written(folder, "c.csv", "instruction,output\n问,答\n")
    with zipfile.ZipFile(folder.parent / "a.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    for path in (folder, folder.parent / "a.zip"):
        assert [note.en for note in read_rows(path).notes] == [
            "spreadsheets not read: a.xls, b.ODS (they are if saved as .xlsx)"
        ]


def test_a_workbook_that_changes_while_it_is_read(folder: Path) -> None:
    path = workbook(folder / "a.xlsx", {"表": pairs(一="1")})
    stream = stream_rows(path)
    workbook(path, {"表": pairs(一="1", 二="2")})
    with pytest.raises(DataError, match="在读取的过程中变了"):
        list(stream)


def test_a_mended_workbook_becomes_jsonl_of_the_same_meaning(folder: Path) -> None:
    empty = sheet({1: ["问题", "input", "回答", "history"], 2: ["二", "NULL", "2。", "nan"]})
    path = workbook(folder / "a.xlsx", {"甲": pairs(一="1。 "), "乙": empty})
    copy = folder / "b.jsonl"
    fix(path, copy)
    assert said(read_rows(copy)) == [("一", "1。"), ("二", "2。")]


@pytest.mark.parametrize(
    ("name", "content", "what", "mend"),
    [
        ("a.xlsx", b"instruction,output\nq,a\n", "no Excel workbook", "save it as .xlsx"),
        ("a.xlsx", b"PK\x03\x04" + bytes(90), "is damaged", "save it as .xlsx"),
        ("a.xlsx", b"", "is empty", "write some rows"),
        ("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "has a password", ".xlsx or CSV UTF-8"),
        ("a.xlsx", b"<!DOCTYPE html><html>", "a saved web page", "the download button"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), ".xls is not read", ".xlsx or CSV UTF-8"),
        ("a.ods", b"PK\x03\x04", ".ods is not read", ".xlsx or CSV UTF-8"),
    ],
)
def test_what_is_no_workbook_is_named(folder: Path, name: str, content: bytes, what: str, mend: str) -> None:
    said = refused(written(folder, name, content)).text.en
    assert what in said
    assert mend in said


def test_a_workbook_of_another_name_is_read_after_the_advice(folder: Path) -> None:
    path = workbook(folder / "a.csv", {"表": pairs(一="1")})
    assert "is an Excel workbook; change its ending to .xlsx" in refused(path).text.en
    assert said(read_rows(path.rename(folder / "a.xlsx"))) == [("一", "1")]


def test_a_workbook_without_calamine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = workbook(folder / "a.xlsx", {"表": pairs(一="1")})
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    assert 'run pip install "tonghua[excel]"' in refused(path).text.en


def test_a_row_that_is_too_long_is_a_problem_of_that_row(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xlsx_rows, "ROW_CHARACTERS", 1_000)
    read = read_rows(workbook(folder / "a.xlsx", {"表": pairs(一="1", 长="x" * 1_001, 二="2")}))
    assert said(read) == [("一", "1"), ("二", "2")]
    assert [problem.line for problem in read.problems] == [3]


# Harmful files


def hostile(kind: str) -> tuple[str, str]:
    """Return (rows of a sheet, shared strings) that are small in a zip."""
    shared_cell = 't="s"><v>0</v>'
    match kind:
        case "a long cell":
            return pairs(一="a" * 20_000_000), ""
        case "one text in many cells":
            rows = {line: ["q", shared_cell] for line in range(2, 300)}
            return sheet({1: HEADER} | rows), f"<si><t>{'a' * 1_000_000}</t></si>"
        case "a cell in the last corner":
            return pairs(一="1") + '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>', ""
        case "a cell out of any sheet":
            return pairs(一="1") + '<row r="2"><c r="ZZZZZZZ99999999999"><v>1</v></c></row>', ""
        case _:
            rows = {line: ["q", shared_cell] for line in range(2, 3_000)}
            return sheet({1: HEADER} | rows), f"<si><t>{'a' * 2_000}</t></si>"


@pytest.mark.parametrize(
    "kind",
    [
        "a long cell",
        "one text in many cells",
        "many shared strings",
        "a cell in the last corner",
        "a cell out of any sheet",
        "one text in many rows",
    ],
)
def test_a_small_workbook_that_becomes_gigabytes_is_refused(folder: Path, kind: str) -> None:
    rows, shared = hostile(kind)
    path = workbook(folder / "小.xlsx", {"表": rows}, shared)
    assert path.stat().st_size < 1_000_000
    error = refused(path)
    assert error.exit_code == 4
    assert "像是有害的文件；若是自己的数据，请另存为 JSONL 或 CSV" in error.text.zh


def test_a_hostile_workbook_is_named_among_good_ones(folder: Path) -> None:
    workbook(folder / "行" / "好.xlsx", {"表": pairs(一="1")})
    rows, shared = hostile("a cell in the last corner")
    workbook(folder / "行" / "坏.xlsx", {"表": rows}, shared)
    assert "坏.xlsx was not read" in refused(folder / "行").text.en
