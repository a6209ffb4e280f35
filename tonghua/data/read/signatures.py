"""Name a file that holds no rows for what it is, by how it begins: a web page, a workbook, a model, a picture.

b"version https://git-lfs…"  ──not_rows──►  DataError: a Git LFS pointer; run git lfs pull
"""

import re

from ...errors import DataError
from ...text import Text

ZIP_MARK = b"PK\x03\x04"

_EXPORT = Text("在 Excel 里打开，另存为 CSV UTF-8", "open it in Excel and save it as CSV UTF-8")

_EXPORT_OLD = Text("在 Excel 里打开，另存为 .xlsx 或 CSV UTF-8", "open it in Excel and save it as .xlsx or CSV UTF-8")

_UNPACK = Text("解压后再写出里面的文件", "unpack it, and give the file in it")

_AS_TEXT = Text("把文字另存为 .txt 或 CSV", "save its text as .txt or CSV")

_OTHER_FILE = Text("换成放数据的文件", "give the file that holds the rows")

_RENAME = "把后缀改成 {0}", "change its ending to {0}"

_WEB_PAGE = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)

_SAFETENSORS = re.compile(rb"[\s\S]{4}\0{4}\s*\{\s*\"")

_SIGNATURES: tuple[tuple[bytes, Text, Text], ...] = (
    (
        b"version https://git-lfs.github.com/",
        Text("只是 Git LFS 的指针，数据本身没有下载", "is only a Git LFS pointer; the data itself was not downloaded"),
        Text("运行 git lfs pull，或到网页上下载这个文件", "run git lfs pull, or download the file from its page"),
    ),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        Text(
            "是旧版 Office 文件（.xls 或 .doc），或者加了密码",
            "is an old Office file (.xls or .doc), or has a password",
        ),
        _EXPORT_OLD,
    ),
    (b"%PDF-", Text("是 PDF", "is a PDF"), _AS_TEXT),
    (b"{\\rtf", Text("是 RTF 文档", "is an RTF document"), _AS_TEXT),
    *(
        (start, Text(f"是 {name} 压缩包", f"is a {name} archive"), _UNPACK)
        for start, name in (
            (b"\x1f\x8b", "gzip"),
            (b"BZh", "bzip2"),
            (b"\xfd7zXZ\0", "xz"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"7z\xbc\xaf\x27\x1c", "7z"),
            (b"Rar!", "RAR"),
        )
    ),
    *(
        (start, Text("是图片", "is a picture"), _OTHER_FILE)
        for start in (b"\x89PNG", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"RIFF")
    ),
    (b"GGUF", Text("是模型（GGUF）", "is a model (GGUF)"), _OTHER_FILE),
    (
        b"SQLite format 3\0",
        Text("是 SQLite 数据库", "is an SQLite database"),
        Text("把表导出成 CSV", "export its table as CSV"),
    ),
    (b"PAR1", Text("是 Parquet 文件", "is a Parquet file"), Text(*(each.format(".parquet") for each in _RENAME))),
    *(
        (start, Text(f"是 {name} 文件", f"is a file of {name}"), Text("导出成 JSONL", "export it as JSONL"))
        for start, name in ((b"ARROW1", "Arrow"), (b"\x93NUMPY", "NumPy"), (b"\x89HDF", "HDF5"))
    ),
    *(
        (b"\x80" + bytes([version]), Text("是 pickle 文件", "is a pickle"), Text("导出成 JSONL", "export it as JSONL"))
        for version in range(2, 6)
    ),
)


def not_rows(name: str, start: bytes) -> DataError | None:
    """Return the error for a file that begins with these bytes and holds no rows; None if it may hold some.

    Those of a zip are followed by its end, where the names in it stand.
    """
    found = next(((what, mend) for mark, what, mend in _SIGNATURES if start.startswith(mark)), None)
    if found is None and _WEB_PAGE.match(start):
        found = (
            Text(
                "是保存下来的网页（可能是要登录的页面），不是数据",
                "is a saved web page (maybe one to sign in), and no rows",
            ),
            Text("用下载按钮下载文件本身", "download the file itself with the download button"),
        )
    if found is None and start.startswith(ZIP_MARK):
        if b"xl/" in start:
            found = (
                Text("是 Excel 工作簿", "is an Excel workbook"),
                Text(f"把后缀改成 .xlsx，或{_EXPORT.zh}", f"change its ending to .xlsx, or {_EXPORT.en}"),
            )
        elif b"word/" in start:
            found = Text("是 Word 文档", "is a Word document"), _AS_TEXT
        else:
            found = (
                Text("是 Excel 工作簿或 zip 压缩包", "is an Excel workbook or a zip archive"),
                Text(
                    f"把后缀改成 .xlsx 或 .zip，或{_EXPORT.zh}", f"change its ending to .xlsx or .zip, or {_EXPORT.en}"
                ),
            )
    if found is None and _SAFETENSORS.match(start):
        found = Text("是模型权重（safetensors）", "holds the weights of a model (safetensors)"), _OTHER_FILE
    if found is None:
        return None
    what, mend = found
    return DataError(f"{name} {what.zh}；请{mend.zh}", f"{name} {what.en}; {mend.en}")
