"""Users' rows: from a JSON, JSONL or CSV file to conversations, and from those to two sides.

    rows.json   [ {"instruction", "input", "output", "system", "history"}, ... ]      Alpaca
    rows.jsonl  {"messages": [{"role", "content"}, ...]} on each line                 OpenAI
    rows.csv    instruction,input,output                                              a header, then rows
        |
        |  read_rows: every row becomes a Conversation, or one or more Problems with its line
        v
    Rows(read=3, kept=(Conversation, Conversation), problems=(Problem(line=2, ...),))
        |
        |  split: rows that ask the same question stay together
        v
    train, held-out

What cannot be read as a whole (no such file, a missing column) is a DataError. What is wrong with single rows
is a Problem, and all of them are told at once. Nothing is dropped, mapped or repaired in silence.
"""

import csv
import io
import json
import math
import random
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tonghua.errors import DataError, Language, Text, UsageError
from tonghua.prompt import JOIN, Conversation, Message

Kind = Literal["json", "jsonl", "csv"]
Columns = Literal["alpaca", "messages"]

SUFFIXES = (".json", ".jsonl", ".csv")
CSV_FIELD_CHARACTERS = 10_000_000
"""The longest CSV field that is read; one unclosed quote must not turn a whole file into a single field."""

KNOWN: Mapping[Columns, tuple[str, ...]] = {
    "alpaca": ("instruction", "input", "output", "system", "history"),
    "messages": ("messages", "system"),
}
EXAMPLE: Mapping[Columns, str] = {
    "alpaca": '{"instruction": "…", "output": "…"}',
    "messages": '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
}
# Columns that say more than text can carry: to leave them out would teach something else than the rows say.
UNSUPPORTED = ("tools", "functions", "images", "videos", "audios", "chosen", "rejected")
NESTED = ("history", "messages")
"""Columns that a CSV holds as JSON text."""

_SPACE = re.compile(r"[ \t\n\r]*")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: where (1-based line on which the row starts), what, and how to mend it."""

    line: int
    what: Text
    mend: Text

    def as_json(self, language: Language) -> dict[str, int | str]:
        return {"line": self.line, "what": self.what.to(language), "mend": self.mend.to(language)}


@dataclass(frozen=True, slots=True)
class Rows:
    """What a file held. A row is in `kept` or has problems, never both and never neither."""

    path: Path
    kind: Kind
    columns: Columns
    read: int
    kept: tuple[Conversation, ...]
    problems: tuple[Problem, ...]
    ignored: tuple[str, ...] = ()
    """Columns that are not used, such as `id`, in order of appearance."""


class _Fault(NamedTuple):
    what: Text
    mend: Text


def _fault(what: str, what_en: str, mend: str, mend_en: str) -> _Fault:
    return _Fault(Text(what, what_en), Text(mend, mend_en))


class _Faults(list[_Fault]):
    """The faults of one row so far."""

    def add(self, what: str, what_en: str, mend: str, mend_en: str) -> None:
        self.append(_fault(what, what_en, mend, mend_en))


@dataclass(frozen=True, slots=True)
class _Found:
    """A row as it stands in the file. Faults in its writing leave nothing that could be judged further."""

    line: int
    value: object
    faults: tuple[_Fault, ...] = ()


def read_rows(path: Path) -> Rows:
    """Every conversation of a file and every problem in it, in the order of the file.

    The kind is known by the suffix, and between .json and .jsonl by looking at the first character. Rows of
    which nothing can be used give `kept == ()`. A syntax error in a JSON array, or a broken quote in a CSV,
    is the last problem told, since what follows it cannot be told apart; it counts as one row read.
    Raises DataError where there is nothing to read or a required column is missing in the whole file.
    """
    text = _text_of_file(path)
    header: tuple[str, ...] | None = None
    kind: Kind
    if path.suffix.lower() == ".csv":
        kind = "csv"
        header, found = _csv_rows(text, path)
    elif text.lstrip().startswith("["):
        kind, found = "json", _array_rows(text)
    else:
        kind, found = "jsonl", _line_rows(text, path)
    if not found:
        name = _shown(str(path))
        raise DataError(f"{name} 里没有一条数据；请先写入数据", f"{name} holds no rows; write some first")

    objects = [row.value for row in found if isinstance(row.value, dict)]
    names = tuple(dict.fromkeys(header or (key for value in objects for key in value)))
    columns = _shape(names, path)
    refused = _refused(names, columns)
    _refuse_everywhere(objects, refused, path)

    kept: list[Conversation] = []
    problems: list[Problem] = []
    rows_on_line = Counter(row.line for row in found)
    for number, row in enumerate(found, 1):
        faults = _Faults(row.faults)
        messages = [] if faults else _messages_of(row.value, columns, refused, faults)
        if not faults:
            kept.append(Conversation(tuple(messages), row.line))
        for what, mend in faults:
            if rows_on_line[row.line] > 1:  # an array on one line: the line alone would not lead anyone there
                what = Text(f"第 {number} 条：{what.zh}", f"row {number}: {what.en}")
            problems.append(Problem(row.line, what, mend))
    ignored = tuple(name for name in names if name and name not in KNOWN[columns] and name not in refused)
    return Rows(path, kind, columns, len(found), tuple(kept), tuple(problems), ignored)


def split(
    conversations: Sequence[Conversation], val_size: float, seed: int
) -> tuple[list[Conversation], list[Conversation]]:
    """Two sides, train and held-out, each in the original order, with no question on both.

    `val_size` below 1 is a share of the rows, from 1 on a number of rows, 0 none. Rows whose first user
    messages are the same but for letter case, width and white space form a group, and a group stays whole:
    the held-out side is as near to the wish as adding whole groups in shuffled order brings it. One group at
    least stays on each side, if there are two. The same rows in the same order and the same seed give the
    same sides. Raises UsageError for a negative or infinite `val_size`.
    """
    if not (math.isfinite(val_size) and val_size >= 0):
        raise UsageError(
            f"val_size 是 {val_size}；请写 0 到 1 之间的比例，或者留出的条数",
            f"val_size is {val_size}; give a share between 0 and 1, or a number of rows",
        )
    rows = list(conversations)
    groups: dict[str, list[int]] = {}
    for index, conversation in enumerate(rows):
        groups.setdefault(_question_key(conversation), []).append(index)
    if val_size == 0 or len(groups) < 2:
        return rows, []
    wished = round(val_size * len(rows) if val_size < 1 else val_size)
    wished = min(max(wished, 1), len(rows) - 1)

    shuffled = list(groups.values())
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - a split needs repeatability, not secrecy
    held_out: set[int] = set()
    left: list[list[int]] = []
    for group in shuffled:
        if len(held_out) + len(group) <= wished:
            held_out.update(group)
        else:
            left.append(group)
    # Whatever is left overshoots; the smallest of it may still come nearer to the wish than stopping short.
    smallest = min(left, key=len)
    gap = wished - len(held_out)
    if len(left) > 1 and (not held_out or len(smallest) - gap < gap):
        held_out.update(smallest)
    train = [row for index, row in enumerate(rows) if index not in held_out]
    return train, [row for index, row in enumerate(rows) if index in held_out]


def _question_key(conversation: Conversation) -> str:
    first = next((message.content for message in conversation.messages if message.role == "user"), "")
    # Case folding can undo the normal form, so that is taken once more.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", first).casefold())
    return " ".join(folded.split())


# The file as text


def _text_of_file(path: Path) -> str:
    name = _shown(str(path))
    if re.match(r"https?:[/\\]", str(path), re.IGNORECASE):
        name = re.sub(r"[/\\]+", "//", name, count=1)  # a Path keeps only one of the two
        raise DataError(
            f"{name} 是网址，只能读本机上的文件；请先下载，再写下载后的路径",
            f"{name} is a web address, and only local files can be read; download it and give its path",
        )
    try:
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and path.suffix.lower() in SUFFIXES:
            return _decoded(path.read_bytes(), name)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(
            f"找不到文件 {name}；请检查路径和文件名", f"no such file: {name}; check the path and the spelling"
        ) from error
    except OSError as error:
        raise DataError(
            f"打不开 {name}（{error.strerror}）；请检查路径和权限",
            f"cannot read {name} ({error.strerror}); check the path and the permissions",
        ) from error
    if stat.S_ISDIR(mode):
        raise DataError(
            f"{name} 是文件夹；请写出其中数据文件的路径", f"{name} is a folder; give the path of a file in it"
        )
    if not stat.S_ISREG(mode):
        raise DataError(
            f"{name} 不是普通文件（是管道或设备）；请先存成文件",
            f"{name} is not a regular file (a pipe or a device); save its content to a file first",
        )
    raise DataError(
        f"{name} 的后缀不是 .json、.jsonl 或 .csv；请另存为其中一种",
        f"{name} does not end in .json, .jsonl or .csv; save it as one of these",
    )


def _decoded(content: bytes, name: str) -> str:
    try:
        text = content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name} 不是 UTF-8 编码（第 {line} 行，字节偏移 {error.start}）；请用编辑器另存为 UTF-8",
            f"{name} is not UTF-8 (line {line}, byte offset {error.start}); save it as UTF-8 in an editor",
        ) from None
    if not text.strip():
        raise DataError(f"{name} 是空文件；请先写入数据", f"{name} is empty; write some rows first")
    return text


# Rows as they are written


class _Decoder:
    """JSON as RFC 8259 has it: also tells keys that are doubled and NaN, which the standard library takes."""

    def __init__(self) -> None:
        self._faults = _Faults()
        # Every number as a float: no column holds numbers, and a very long integer would raise ValueError.
        self._json = json.JSONDecoder(object_pairs_hook=self._object, parse_constant=self._constant, parse_int=float)

    def take(self, text: str, start: int) -> tuple[object, int, tuple[_Fault, ...]]:
        """The value that starts at `start`, where it ends, and its faults.

        Raises json.JSONDecodeError, and RecursionError for a value that is nested too deeply.
        """
        self._faults.clear()
        value, end = self._json.raw_decode(text, start)
        return value, end, tuple(dict.fromkeys(self._faults))

    def whole(self, text: str) -> tuple[object, tuple[_Fault, ...]]:
        """The one value that `text` is. Raises as `take` does."""
        value, end, faults = self.take(text, _after_space(text, 0))
        end = _after_space(text, end)
        if end < len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        return value, faults

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        value = dict(pairs)
        if len(value) < len(pairs):
            for key in (key for key, count in Counter(key for key, _ in pairs).items() if count > 1):
                self._faults.add(
                    f"键 {_shown(key, 40)} 不止一个",
                    f'the key "{_shown(key, 40)}" stands there more than once',
                    "只留一个",
                    "keep one of them",
                )
        return value

    def _constant(self, name: str) -> None:
        self._faults.add(
            f"{name} 不是 JSON 里的值",
            f"{name} is not a JSON value",
            '没有内容就写 ""',
            'write "" where there is nothing',
        )


def _after_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


def _array_rows(text: str) -> list[_Found]:
    decoder = _Decoder()
    found: list[_Found] = []
    line, counted = 1, 0
    position = _after_space(text, text.index("[") + 1)
    closed = text.startswith("]", position)
    try:
        while not closed:
            line, counted = line + text.count("\n", counted, position), position
            value, end, faults = decoder.take(text, position)
            found.append(_Found(line, value, faults))
            end = _after_space(text, end)
            closed = text.startswith("]", end)
            if not closed and not text.startswith(",", end):
                expected = "Expecting ',' delimiter" if end < len(text) else "Expecting ']'"
                raise json.JSONDecodeError(expected, text, end)
            position = _after_space(text, end + 1)
            if not closed and text.startswith("]", position):
                raise json.JSONDecodeError("Illegal trailing comma", text, end)
        position = _after_space(text, position)
        if found and position < len(text):
            raise json.JSONDecodeError("Extra data", text, position)
    except json.JSONDecodeError as error:
        found.append(_Found(error.lineno, None, (_and_ended(_broken_json(error)),)))
    except RecursionError:
        found.append(_Found(line, None, (_and_ended(_too_deep()),)))
    return found


def _line_rows(text: str, path: Path) -> list[_Found]:
    decoder = _Decoder()
    found: list[_Found] = []
    # Only "\n" ends a line: str.splitlines would also cut at U+2028, which may stand inside a text.
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            value, faults = decoder.whole(written)
            found.append(_Found(line, value, faults))
        except json.JSONDecodeError as error:
            if not found and _spread_over_lines(text, decoder):
                name = _shown(str(path))
                raise DataError(
                    f"{name} 里的对象分成了多行，又不在列表里；请用 [ ] 括起来、以逗号隔开，或一行写一个对象",
                    f"{name} has an object over several lines that is not in a list; put [ ] around the "
                    "objects and commas between them, or write one object a line",
                ) from None
            found.append(_Found(line, None, (_broken_json(error),)))
        except RecursionError:
            found.append(_Found(line, None, (_too_deep(),)))
    return found


def _spread_over_lines(text: str, decoder: _Decoder) -> bool:
    start = _after_space(text, 0)
    try:
        value, end, _ = decoder.take(text, start)
    except (json.JSONDecodeError, RecursionError):
        return text[start:].partition("\n")[0].strip() == "{"
    return isinstance(value, dict) and "\n" in text[start:end]


def _csv_rows(text: str, path: Path) -> tuple[tuple[str, ...], list[_Found]]:
    # The limit belongs to the whole process: it is only ever raised, so readers in other threads are safe.
    csv.field_size_limit(max(csv.field_size_limit(), CSV_FIELD_CHARACTERS))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    name = _shown(str(path))
    header: tuple[str, ...] = ()
    found: list[_Found] = []
    for line, fields, fault in _csv_records(reader):
        if fault:
            found.append(_Found(line, None, (_and_ended(fault),)))
        elif header:
            found.append(_csv_row(line, fields, header))
        else:
            header = tuple(fields)
            doubled = [key for key, count in Counter(header).items() if key and count > 1]
            if doubled:
                raise DataError(
                    f"{name} 的表头里 {_list(doubled).zh} 不止一列；请只留一列或改名",
                    f"the header of {name} has more than one column {_list(doubled).en}; keep or rename one",
                )
    if header and not found:
        raise DataError(
            f"{name} 只有表头，没有数据；请在表头下写入数据",
            f"{name} has a header and no rows; write rows below it",
        )
    return header, found


def _csv_records(reader: Any) -> Iterator[tuple[int, list[str], _Fault | None]]:
    """(first line, fields, fault) of each record that is not blank; a fault is the last."""
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield line, [], _broken_csv(str(error))
            return
        if fields is None:
            return
        if fields:
            yield line, fields, None


def _csv_row(line: int, fields: list[str], header: tuple[str, ...]) -> _Found:
    if len(fields) != len(header):
        fault = _fault(
            f"有 {len(fields)} 个字段，表头有 {len(header)} 列",
            f"{len(fields)} fields, but the header has {len(header)} columns",
            "字段里有英文逗号、引号或换行时，用英文双引号把整个字段括起来",
            "put double quotes around a field that holds a comma, a quote or a line break",
        )
        return _Found(line, None, (fault,))
    row: dict[str, object] = {}
    faults = _Faults()
    for column, field in zip(header, fields, strict=True):
        if column or field or column not in row:  # of columns without a name, one that holds something
            row[column] = field
        if column in NESTED and field.strip():
            try:
                row[column], broken = _Decoder().whole(field)
                faults += broken
            except json.JSONDecodeError as error:
                faults.append(_broken_json(error, column))
            except RecursionError:
                faults.append(_too_deep())
    return _Found(line, row, tuple(faults))


# Columns


def _shape(names: tuple[str, ...], path: Path) -> Columns:
    """The form of the rows, by the columns of the whole file; DataError where a required one is in no row."""
    if not names:
        return "alpaca"  # no row is an object: each says so itself
    question = "instruction" in names or "input" in names
    if question and "output" in names and names.index("output") < _place(names, "messages"):
        return "alpaca"
    if "messages" in names:
        return "messages"
    missing = [] if question else ["instruction"]
    missing += [] if "output" in names else ["output"]
    known = dict.fromkeys((*KNOWN["alpaca"], *KNOWN["messages"]))
    near = {name: _resembled(name, tuple(known)) for name in names[:12] if name not in known}
    zh = "".join(f"（{_shown(name, 40)} 像是 {target} 写错了）" for name, target in near.items() if target)
    en = "".join(f' ("{_shown(name, 40)}" looks like {target})' for name, target in near.items() if target)
    file, found, lacking = _shown(str(path)), _list(names), _list(missing)
    if len(names) == 1 and path.suffix.lower() == ".csv":
        zh, en = zh + "（各列要用英文逗号隔开）", en + " (columns are separated by commas)"
    raise DataError(
        f"{file} 没有 {lacking.zh} 这样的列；现有的列：{found.zh}{zh}；"
        "需要 instruction（或 input）和 output，或者 messages",
        f"{file} has no column {lacking.en}; columns found: {found.en}{en}; "
        "expected: instruction (or input) and output, or messages",
    )


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else len(names)


def _resembled(name: str, known: Sequence[str]) -> str | None:
    """The known column that `name` is likely a slip of the pen for."""
    plain = unicodedata.normalize("NFKC", name).strip().casefold()
    for target in known:
        near = abs(len(plain) - len(target)) <= 2 and SequenceMatcher(None, plain, target).ratio() >= 0.8
        if plain == target or near:
            return target
    return None


def _refused(names: Sequence[str], columns: Columns) -> dict[str, _Fault]:
    """The columns that must not be passed over in silence when they hold something."""
    shape = "instruction / output" if columns == "alpaca" else "messages"
    refused: dict[str, _Fault] = {}
    for name in names:
        if name in KNOWN[columns]:
            continue
        resembled = _resembled(name, KNOWN[columns])
        if not name:
            refused[name] = _fault(
                "在没有列名的一列里有内容",
                "has text in a column without a name",
                "给这一列写上列名，或清空它",
                "name the column, or empty it",
            )
        elif name in UNSUPPORTED:
            refused[name] = _fault(
                f"用了 {name}，这里不支持",
                f'uses "{name}", which is not supported',
                "这里只学文字问答；请删掉它，或删掉这样的数据",
                "only text is learnt; remove it, or remove such rows",
            )
        elif name in KNOWN["alpaca"] or name in KNOWN["messages"]:
            refused[name] = _fault(
                f"有 {name}，而这个文件按 {shape} 来读",
                f'has "{name}", but this file is read by {shape}',
                "一个文件只用一种写法",
                "use one form in the whole file",
            )
        elif resembled:
            refused[name] = _fault(
                f"有 {_shown(name, 40)}，像是 {resembled} 写错了",
                f'has "{_shown(name, 40)}", which looks like a slip for "{resembled}"',
                f"改成 {resembled}，或换一个不相近的名字",
                f"write {resembled}, or choose a less similar name",
            )
    return refused


def _holds_refused(row: Mapping[str, object], refused: Mapping[str, _Fault]) -> list[str]:
    return [name for name in row if name in refused and row[name] not in (None, "", [], {})]


def _refuse_everywhere(objects: Sequence[Mapping[str, object]], refused: Mapping[str, _Fault], path: Path) -> None:
    """DataError for a refused column that every row uses: told once, not once a row."""
    for name, (what, mend) in refused.items():
        if objects and all(name in _holds_refused(row, refused) for row in objects):
            file = _shown(str(path))
            raise DataError(f"{file}：每一条都{what.zh}；{mend.zh}", f"{file}: every row {what.en}; {mend.en}")


# One row


def _messages_of(row: object, columns: Columns, refused: Mapping[str, _Fault], faults: _Faults) -> list[Message]:
    """The messages of a row; what is wrong is added to `faults`."""
    if not isinstance(row, dict):
        kind, example = _type_of(row), EXAMPLE[columns]
        faults.add(
            f"这一条是{kind.zh}，应为对象",
            f"the row is {kind.en}, not an object",
            f"写成 {example}",
            f"write it as {example}",
        )
        return []
    # A row with a column that is likely another one is not judged further: half of that would be untrue.
    for name in _holds_refused(row, refused) if refused else ():
        what, mend = refused[name]
        faults.append(_Fault(Text(f"这一条{what.zh}", f"the row {what.en}"), mend))
    if faults:
        return []
    system = _optional_text(row, "system", faults)
    talk = _alpaca(row, faults) if columns == "alpaca" else _openai(row, faults)
    if not system.strip():
        return talk
    if talk and talk[0].role == "system":
        faults.add(
            "system 列和 messages 里各有一段 system",
            'there is a "system" beside the messages and another in them',
            "只留一个",
            "keep one of them",
        )
    return [Message("system", system), *talk]


def _alpaca(row: Mapping[str, object], faults: _Faults) -> list[Message]:
    before = len(faults)
    parts = [_optional_text(row, column, faults) for column in ("instruction", "input")]
    question = JOIN.join(part for part in parts if part.strip())
    if not question and len(faults) == before:
        faults.add(
            "没有问题：instruction 和 input 都是空的",
            'no question: "instruction" and "input" are both empty',
            "在 instruction 里写上问题，或删掉这一条",
            'write it in "instruction", or delete the row',
        )
    answer = ""
    if "output" in row:
        answer = _required_text(row["output"], Text("output（答案）", '"output" (the answer)'), faults)
    else:
        faults.add(
            "没有 output（答案）",
            'no "output" (the answer)',
            "补上 output，或删掉这一条",
            'add "output", or delete the row',
        )
    history = _history(row.get("history"), faults)
    return [*history, Message("user", question), Message("assistant", answer)]


def _history(history: object, faults: _Faults) -> list[Message]:
    if history is None or (isinstance(history, str) and not history.strip()):
        return []
    if not isinstance(history, list):
        kind = _type_of(history)
        faults.add(
            f"history 是{kind.zh}，应为列表",
            f'"history" is {kind.en}, not a list',
            '写成 [["上一问", "上一答"]]；没有就写 []',
            'write [["question", "answer"]], or [] where there is none',
        )
        return []
    messages = []
    for number, turn in enumerate(history, 1):
        if not isinstance(turn, list) or len(turn) != 2:
            faults.add(
                f"history 第 {number} 轮不是一问一答",
                f'round {number} of "history" is not one question and one answer',
                '每一轮写成 ["问", "答"]',
                'write each round as ["question", "answer"]',
            )
            continue
        where, where_en = f"history 第 {number} 轮的", f'in round {number} of "history", the '
        question = _required_text(turn[0], Text(f"{where}问题", f"{where_en}question"), faults)
        answer = _required_text(turn[1], Text(f"{where}答案", f"{where_en}answer"), faults)
        messages += [Message("user", question), Message("assistant", answer)]
    return messages


def _openai(row: Mapping[str, object], faults: _Faults) -> list[Message]:
    written = row.get("messages", "")
    if written == "":
        faults.add(
            "没有 messages",
            'no "messages"',
            "补上 messages，或删掉这一条",
            'add "messages", or delete the row',
        )
        return []
    if not isinstance(written, list) or not written:
        kind = Text("空列表", "an empty list") if written == [] else _type_of(written)
        faults.add(
            f"messages 是{kind.zh}，应为消息的列表",
            f'"messages" is {kind.en}, not a list of messages',
            f"写成 {EXAMPLE['messages']}",
            f"write {EXAMPLE['messages']}",
        )
        return []
    before = len(faults)
    talk = [_openai_message(item, number, faults) for number, item in enumerate(written, 1)]
    if len(faults) == before:
        _check_order(talk, faults)
    return talk[1:] if talk[0].role == "system" and not talk[0].content.strip() else talk


def _openai_message(item: object, number: int, faults: _Faults) -> Message:
    if not isinstance(item, dict):
        kind = _type_of(item)
        faults.add(
            f"messages 第 {number} 条是{kind.zh}，应为对象",
            f"message {number} is {kind.en}, not an object",
            '写成 {"role": "user", "content": "…"}',
            'write {"role": "user", "content": "…"}',
        )
        return Message("user", "")
    before = len(faults)
    _check_message_keys(item, number, faults)
    if len(faults) > before:
        return Message("user", "")
    role, content = item["role"], item.get("content")
    where = Text(f"messages 第 {number} 条（{role}）的 content ", f'"content" of message {number} ({role})')
    if isinstance(content, list):
        faults.add(
            f"{where.zh}是列表（分段或图片），这里只支持文字",
            f"{where.en} is a list (parts or pictures), and only text is supported",
            "把各段文字合成一段，或删掉这一条",
            "join its texts into one, or delete the row",
        )
        return Message("user", "")
    if role == "system" and isinstance(content, str) and not content.strip():
        return Message("system", "")
    return Message(role, _required_text(content, where, faults))


def _check_message_keys(item: Mapping[str, object], number: int, faults: _Faults) -> None:
    role = item.get("role")
    if role not in ("system", "user", "assistant"):
        named = isinstance(role, str)
        shown = _shown(str(role), 40)
        faults.add(
            f"messages 第 {number} 条的 role 是 {shown}" if named else f"messages 第 {number} 条没有 role",
            f'the role of message {number} is "{shown}"' if named else f"message {number} has no role",
            "role 只能是 system、user 或 assistant",
            "write system, user or assistant as its role, or delete the row",
        )
    for key in ("tool_calls", "function_call"):
        if item.get(key):
            faults.add(
                f"messages 第 {number} 条有 {key}，这里不支持工具调用",
                f'message {number} has "{key}", and tool calls are not supported',
                "改成只有文字的对话，或删掉这一条",
                "make it a conversation of text only, or delete the row",
            )
    if item.get("weight") not in (None, 1):
        faults.add(
            f"messages 第 {number} 条有 weight，这里不支持",
            f'message {number} has a "weight", which is not supported',
            "删掉 weight（每个答案都会学），或删掉这一条",
            'remove "weight" (every answer is learnt), or delete the row',
        )


def _check_order(talk: Sequence[Message], faults: _Faults) -> None:
    first = 1 if talk[0].role == "system" else 0
    for index, message in enumerate(talk[first:]):
        expected = "assistant" if index % 2 else "user"
        if message.role != expected:
            number = first + index + 1
            faults.add(
                f"messages 第 {number} 条是 {message.role}，这里应是 {expected}",
                f"message {number} is from {message.role}, where {expected} was due",
                "system 只能在最前面，之后 user 和 assistant 轮流",
                "put system first only, then user and assistant in turn",
            )
            return
    if talk[-1].role != "assistant":
        faults.add(
            f"messages 的最后一条是 {talk[-1].role}，应是 assistant",
            f"the last message is from {talk[-1].role}, not assistant",
            "补上最后的答案，或删掉这一条",
            "add the last answer, or delete the row",
        )


def _optional_text(row: Mapping[str, object], column: str, faults: _Faults) -> str:
    value = row.get(column)
    return "" if value is None else _words(value, Text(f"{column} ", f'"{column}"'), faults)


def _required_text(value: object, where: Text, faults: _Faults) -> str:
    words = _words(value, where, faults)
    if isinstance(value, str) and not value.strip():
        faults.add(
            f"{where.zh}是空的",
            f"{where.en} is empty",
            "写上内容，或删掉这一条",
            "write something there, or delete the row",
        )
    return words


def _words(value: object, where: Text, faults: _Faults) -> str:
    """`value` if it is text that can be written as UTF-8, exactly as it is."""
    if not isinstance(value, str):
        kind = _type_of(value)
        faults.add(
            f"{where.zh}是{kind.zh}，应为文字",
            f"{where.en} is {kind.en}, not text",
            "改成英文双引号里的文字，或删掉这一条",
            "write it as text in double quotes, or delete the row",
        )
        return ""
    half = _LONE_SURROGATE.search(value)
    if half:
        code = f"\\u{ord(half.group()):04x}"
        faults.add(
            f"{where.zh}里有半个字符 {code}，存不成 UTF-8",
            f"{where.en} has half a character, {code}, which UTF-8 cannot hold",
            "重新输入这个字符（多半是表情符号），或删掉它",
            "type that character (often an emoji) again, or delete it",
        )
    return value


# How things are said


def _shown(words: str, limit: int = 300) -> str:
    """`words` on one line and safe to print, whatever stands in it."""
    cut = words if len(words) <= limit else words[: limit - 1] + "…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in cut)


def _list(names: Sequence[str], most: int = 12) -> Text:
    shown = [_shown(name, 40) for name in names[:most]] + (["…"] if len(names) > most else [])
    return Text("、".join(shown), ", ".join(shown))


def _type_of(value: object) -> Text:
    match value:
        case None:
            return Text("空值 null", "null")
        case bool():
            return Text("布尔值", "true or false")
        case int() | float():
            return Text("数字", "a number")
        case str():
            return Text("文字", "text")
        case list():
            return Text("列表", "a list")
        case _:
            return Text("对象", "an object")


# By the beginnings of the json module's messages; one that is not here is shown as it is.
_JSON_FAULTS: Mapping[str, _Fault] = {
    "Expecting ','": _fault(
        "这里缺少逗号",
        "a comma is missing here",
        '补上英文逗号；文字里的英文双引号要写成 \\"',
        'add a comma; inside text, write a double quote as \\"',
    ),
    "Expecting ']'": _fault(
        "列表没有结束",
        "the list is not closed",
        "在末尾补上 ]；检查文件是否完整",
        "add ] at the end; check that nothing is cut off",
    ),
    "Expecting ':'": _fault(
        "这里缺少冒号", "a colon is missing here", "在键名后补上英文冒号", "add a colon after the key"
    ),
    "Expecting property name": _fault(
        "这里应是带英文双引号的键名",
        "a key in double quotes was expected here",
        "改用英文双引号（不是单引号或中文引号），并去掉 } 前多余的逗号",
        "use straight double quotes, not single or curly ones, and no comma before }",
    ),
    "Expecting value": _fault(
        "这里应有一个值",
        "a value was expected here",
        "文字要放在英文双引号里；检查内容是否完整",
        "put text in double quotes; check that nothing is cut off",
    ),
    "Unterminated string": _fault(
        "这里开始的文字没有结束的引号",
        "the text that starts here has no closing quote",
        "补上英文双引号；文字里的换行要写成 \\n",
        "add the double quote; inside text, write a line break as \\n",
    ),
    "Invalid control character": _fault(
        "文字里有没转义的换行或制表符",
        "a bare line break or tab stands inside text",
        "换行写成 \\n，制表符写成 \\t",
        "write a line break as \\n and a tab as \\t",
    ),
    "Invalid \\": _fault(
        "反斜杠的写法不对",
        "the backslash is not a valid escape",
        "反斜杠本身要写成 \\\\",
        "write a backslash itself as \\\\",
    ),
    "Extra data": _fault(
        "这里之后是多余的内容",
        "what follows from here does not belong to it",
        "删掉多余的内容；JSONL 一行只写一个对象，行末不加逗号",
        "delete it; a JSONL line holds one object and no comma after it",
    ),
    "Illegal trailing comma": _fault(
        "最后一项后面多了逗号", "there is a comma after the last item", "删掉这个逗号", "delete this comma"
    ),
}


def _broken_json(error: json.JSONDecodeError, column: str = "") -> _Fault:
    other = _fault("写法不对", error.msg, "改成正确的 JSON", "write it as valid JSON")
    what, mend = next((fault for start, fault in _JSON_FAULTS.items() if error.msg.startswith(start)), other)
    zh, en = (f"{column} 里的 ", f' in "{column}"') if column else ("", "")
    zh_what = f"{zh}JSON 写错了（第 {error.colno} 列）：{what.zh}"
    return _Fault(Text(zh_what, f"broken JSON{en} (column {error.colno}): {what.en}"), mend)


def _broken_csv(message: str) -> _Fault:
    if message.startswith("field larger"):
        return _fault(
            f"有一个字段超过 {CSV_FIELD_CHARACTERS} 个字符",
            f"a field is longer than {CSV_FIELD_CHARACTERS} characters",
            "检查是否少了一个英文双引号",
            "check whether a double quote is missing",
        )
    return _fault(
        "这一条的英文双引号不配对",
        "the double quotes of this row do not match",
        '字段里的英文双引号要写成两个 ""',
        'inside a quoted field, write a double quote twice: ""',
    )


def _too_deep() -> _Fault:
    return _fault(
        "括号嵌套太深，无法读取",
        "brackets are nested too deeply to be read",
        "检查方括号和花括号，或删掉这一条",
        "check the brackets and braces, or delete the row",
    )


def _and_ended(fault: _Fault) -> _Fault:
    what, mend = fault
    return _Fault(Text(f"{what.zh}；从这里起没有再读", f"{what.en}; nothing was read from here on"), mend)
