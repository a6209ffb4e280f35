"""Lines of a text as a play writes them: without Markdown, the marks of lists, time stamps and numbers of subtitles.

    **柳翁**：渡河去       > 柳翁：渡河去       [00:12:03] 柳翁：渡河去       <柳翁> 渡河去   ──►   柳翁：渡河去
    柳翁 2026/5/1 12:00:03       2026-05-01 12:00:03 柳翁(10001)       **柳翁：**            ──►   柳翁：
    **柳翁**                                                                                 ──►   【柳翁】
    ## 第三场       > 第三场                                                                 ──►   第三场
    17, then 00:01:02,000 --> 00:01:04,000                                                   ──►   None

Only what stands before the words changes; a line that is none of these stays as it is.
"""

import re
from collections.abc import Sequence

_SPACE = r"[ \t\u3000]{0,12}"
_TIME = r"\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d{1,3})?"
_LONG_TIME = r"\d{1,2}:\d{2}:\d{2}(?:[.,]\d{1,3})?"
_DATE = rf"\d{{4}}[-/.年]\d{{1,2}}[-/.月]\d{{1,2}}日?[T \u3000]{_SPACE}"
_STAMP = rf"[\[（(【]?{_SPACE}(?:{_DATE})?{_TIME}(?: ?[AaPp][Mm])?(?: ?--?>? ?{_TIME})?{_SPACE}[\]）)】]?"
_ACCOUNT = r"(?: ?[(（<]\d{1,20}[)）>])?"

_SUBTITLE = re.compile(rf"{_SPACE}{_TIME} ?--> ?{_TIME}\b.*")

_STAMP_BEFORE = re.compile(rf"{_SPACE}{_STAMP}{_SPACE}[-–—|]?{_SPACE}(?=[^：:]{{1,40}}[：:∶﹕︰])")

_NAME_THEN_STAMP = re.compile(rf"{_SPACE}([^\s：:，。！？,!?]{{1,24}}?){_ACCOUNT}[ \t\u3000]{_SPACE}{_STAMP}{_SPACE}")

_STAMP_THEN_NAME = re.compile(
    rf"{_SPACE}(?:{_DATE}{_TIME}|{_LONG_TIME})[ \t\u3000]{_SPACE}([^\s：:，。！？,!?]{{1,24}}?){_ACCOUNT}{_SPACE}"
)
"""A time of day without seconds or a date may begin a sentence: 12:30 出发."""

_LIST_MARK = re.compile(
    rf"{_SPACE}(?:[-+*•·] |\d{{1,4}}[.、)）] ?){{1,3}}(?=[*_`]{{0,3}}[^\s*_`：:][^：:]{{0,40}}[：:])"
)

_HEADING = re.compile(rf"{_SPACE}(?:#{{1,6}} |>(?: ?>){{0,4}} ?)")

_MARKED = re.compile(rf"{_SPACE}(\*{{1,3}}|_{{1,3}}|`)([\w·•・（）() ]{{1,40}}?)([：:]?)\1{_SPACE}")

_IN_ANGLES = re.compile(rf"{_SPACE}<(?:v[.\w]{{0,20}} )?([^<>/\s]{{0,24}}[^\x00-\x7f][^<>/\s]{{0,24}})>{_SPACE}(?=\S)")

_OTHER_COLON = re.compile(r"([\w·•・（）()【】\[\] \u3000]{1,40})[∶﹕︰]")


def plain_lines(lines: Sequence[str]) -> list[str | None]:
    """Return each line without what a subtitle, a chat or Markdown adds; None for a line that holds nothing else."""
    plain: list[str | None] = [_plain(line) for line in lines]
    for index, line in enumerate(lines):
        if _SUBTITLE.fullmatch(line):
            plain[index] = None
            if index and lines[index - 1].strip().isdigit():
                plain[index - 1] = None
    return plain


def _plain(line: str) -> str:
    line = _without(_HEADING, line)
    stamped = _NAME_THEN_STAMP.fullmatch(line) or _STAMP_THEN_NAME.fullmatch(line)
    if stamped:
        return f"{stamped[1]}："
    line = _without(_LIST_MARK, _without(_STAMP_BEFORE, line))
    if marked := _MARKED.match(line):
        name, rest = marked[2].strip(), line[marked.end() :]
        if marked[3] or rest[:1] in ("：", ":"):
            return f"{name}：{rest.lstrip('：: ')}"
        return line if rest else f"【{name}】"
    if named := _IN_ANGLES.match(line):
        return f"{named[1]}：{line[named.end() :].removesuffix('</v>')}"
    if named := _OTHER_COLON.match(line):
        return f"{named[1]}：{line[named.end() :]}"
    return line


def _without(pattern: re.Pattern[str], line: str) -> str:
    """Return the line without what the pattern matches at its start."""
    found = pattern.match(line)
    return line[found.end() :] if found else line
