"""Split a text into paragraphs of quotes and narration; detect labels, stage directions and scene breaks."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple

from .lexicon import CLAUSE_ENDS
from .lines import plain_lines

NAME_CHARACTERS = 8
"""Maximum length of a name in a label, in characters."""

LATIN_NAME_CHARACTERS = 24
"""The same for an ASCII name."""

WRAPPED_LINES = 30
"""Maximum lines in which the end of a quote is searched before it counts as unclosed."""

CLOSING_MARK: Mapping[str, str] = {"“": "”", "「": "」", "『": "』", '"': '"', "＂": "＂"}

_ENCLOSING_MARK: Mapping[str, str] = {**CLOSING_MARK, "‘": "’", "'": "'", "﹁": "﹂", "﹃": "﹄", "〝": "〞", "«": "»"}
"""The same, and marks that are quotes only where they enclose all that a label's person says."""

QUOTE_MARK = re.compile('[“”「」『』"＂]')

_RULE = re.compile(r"[*＊\-—=_~～·•◇◆☆★#※\s]{3,}|[◇◆☆★※]")

_PLACE = re.compile(
    r"[【\[［（(△]?\s*(?:(?:场景|場景|场次|场|景)\s*[0-9０-９一二三四五六七八九十百]*\s*(?:[：:】\]］）)]|$)|(?:布景|地点|地點|时间|時間|转场)\s*[：:]|"
    r"(?:内景|外景|幕启|幕落|幕间|转场)|(?:INT|EXT)\.|(?:chapter|scene|act)\s+[0-9ivxlc]+\b)",
    re.IGNORECASE,
)

_CHAPTER = re.compile(
    r"[【\[［]?\s*第\s*[0-9０-９一二三四五六七八九十百千零〇两]{1,6}\s*[回章节節幕场場集卷部折出]|楔子|序章|尾声|番外"
)

BARE_STAGE = re.compile(r"[△▲]|[（(][^（()）]*[）)]\s*$|[【\[［][^【】\[\]［］]*[】\]］]\s*$|〔[^〔〕]*〕?\s*$")


class TextPiece(NamedTuple):
    """Part of a paragraph: words outside quotes, the inside of a quote, or words next to an unmatched mark."""

    kind: Literal["gap", "quote", "open", "broken"]
    text: str
    start: int


@dataclass(slots=True)
class Paragraph:
    """One line, or several if a quote spans them; `start` is its offset in the text, in characters."""

    text: str
    start: int
    line: int
    blank_before: int
    joints: list[int] = field(default_factory=list)
    """Offsets in `text` at which the second and later lines start."""
    _pieces: list[TextPiece] | None = None

    def line_at(self, position: int) -> int:
        """Return the 1-based line number of an offset in `text`."""
        return self.line + bisect_right(self.joints, position)

    def pieces(self) -> list[TextPiece]:
        """Return gaps and quotes alternately; the first and last are gaps, which may be empty."""
        if self._pieces is None:
            self._pieces = _cut(self.text)
        return self._pieces


def paragraphs_of(text: str) -> Iterator[Paragraph]:
    """Yield the paragraphs that are not blank, each with the number of blank lines before it."""
    written = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    plain = plain_lines(written)
    lines = [line or "" for line in plain]
    index = start = blank = 0
    while index < len(lines):
        if not lines[index].strip():
            # The number and the times of a subtitle are no blank lines, of which two would end a scene.
            blank, start, index = blank + (plain[index] is not None), start + len(lines[index]) + 1, index + 1
            continue
        found = Paragraph(lines[index], start, index + 1, blank)
        taken = _wrapped(lines, index)
        for line in lines[index + 1 : index + taken]:
            # A line that does not end a sentence was only wrapped, so join it without a break.
            joint = "\n" if found.text.rstrip()[-1:] in CLAUSE_ENDS else ""
            found.text = found.text.rstrip() + joint if not joint else found.text + joint
            found.joints.append(len(found.text))
            found.text += line if joint else line.lstrip()
        yield found
        start += sum(len(line) + 1 for line in lines[index : index + taken])
        index, blank = index + taken, 0


def _wrapped(lines: Sequence[str], index: int) -> int:
    """Return how many lines from `index` belong together, because a quote closes on a later line."""
    taken, opened = 1, _left_open(lines[index], "")
    ahead = 1
    label = label_of(lines[index]) if opened else None
    # A straight quote may close as well as open; the first one after a label opens.
    labelled = label is not None and label.said.startswith(opened)
    while opened and (labelled or opened in "“「『") and ahead < WRAPPED_LINES and index + ahead < len(lines):
        line = lines[index + ahead]
        closes, opens = line.find(CLOSING_MARK[opened]), line.find(opened)
        if not line.strip() or (opens >= 0 and (closes < 0 or opens < closes)) or (labelled and label_of(line)):
            break
        ahead += 1
        if closes >= 0:
            taken, opened = ahead, _left_open(line, opened)
    return taken


def _left_open(line: str, opened: str) -> str:
    """Return the quotation mark still open at the end of a line, "" if none; `opened` is open at its start."""
    for mark in QUOTE_MARK.findall(line):
        if opened and mark == CLOSING_MARK[opened]:
            opened = ""
        elif mark in CLOSING_MARK and opened in ("", mark):
            opened = mark
    return opened


def _cut(text: str) -> list[TextPiece]:
    pieces: list[TextPiece] = []
    opened, start = "", 0
    for found in QUOTE_MARK.finditer(text):
        mark, position = found.group(), found.start()
        inside = text[start:position]
        if opened and mark == CLOSING_MARK[opened]:
            pieces.append(TextPiece("quote", inside, start))
            opened, start = "", position + 1
        elif opened and mark == opened:
            pieces += [TextPiece("broken", inside, start), TextPiece("gap", "", position)]
            start = position + 1
        elif not opened and mark in CLOSING_MARK:
            pieces.append(TextPiece("gap", inside, start))
            opened, start = mark, position + 1
        elif not opened:
            pieces += [TextPiece("gap", "", start), TextPiece("broken", inside, start)]
            start = position + 1
    if opened:
        pieces += [
            TextPiece("open" if opened in "“「『" else "broken", text[start:], start),
            TextPiece("gap", "", len(text)),
        ]
    else:
        pieces.append(TextPiece("gap", text[start:], start))
    return pieces


def is_scene_break(paragraph: Paragraph) -> bool:
    """True if the paragraph is a rule, a place or time line, or a chapter title."""
    line = paragraph.text.strip()
    if len(line) > 60:
        return False
    if _RULE.fullmatch(line) or _PLACE.match(line):
        return True
    found = _CHAPTER.match(line)
    rest = line[found.end() :] if found else ""
    # After a space or colon, a title may have any ending. Without one, a line that ends like a sentence is no title.
    return found is not None and (
        not rest or rest[0] in " \u3000：:、.】]］" or rest[-1] not in CLAUSE_ENDS + '，；：”」』"'
    )


_LABEL = re.compile(
    r"\s*(?:[【\[［](?P<boxed>[^【】\[\]［］：:]{1,24})[】\]］]|(?P<bare>[\w·•・.&＆、/'’\- ]{1,24}?))\s*"
    r"(?P<action>[（(][^（()）]{0,40}[）)])?\s*(?(bare)[：:](?!//)|[：:]?)\s*(?P<said>.*)",
    re.DOTALL,
)

_DIRECTION = re.compile(r"[（(][^（()）]*[）)]|[【\[［][^【】\[\]［］]*[】\]］]|〔[^〔〕]*〕")

_BESIDE = re.compile(rf"(?:{_DIRECTION.pattern}|[\s。，,.—])*")
"""What may stand beside the quotes of a labelled line and is no narration."""

INNER_VOICE = re.compile(r"\bO\.?S\b|内心|心想|独白|心声", re.IGNORECASE)

INNER_LABEL = re.compile(r"[。！？!?…”」』\s]([\w·•・]{1,8})(?:[（(][^（()）]{0,40}[）)])?[：:]")


class Label(NamedTuple):
    """The parts of a labelled line, as in 宝玉：（推门）妹妹在家么？; `action` is a direction before the colon."""

    name: str
    action: str
    said: str


def label_of(text: str) -> Label | None:
    """Return a line's label by its form alone, or None; the cast decides if it is a name."""
    found = _LABEL.match(text)
    if found is None:
        return None
    name = (found["boxed"] or found["bare"]).strip()
    limit = LATIN_NAME_CHARACTERS if name.isascii() else NAME_CHARACTERS
    if not name or len(name) > limit or not any(map(str.isalpha, name)):
        return None
    return Label(name, found["action"] or "", found["said"].strip())


def lone_names(paragraphs: Sequence[Paragraph]) -> Iterator[str]:
    """Yield the names in brackets that stand alone on a line, with words right below: 【宝玉】."""
    for heading, below in pairwise(paragraphs):
        label = label_of(heading.text) if below.blank_before == 0 and BARE_STAGE.match(heading.text.strip()) else None
        if label and not label.said:
            yield label.name


def inside_quotes(said: str) -> str | None:
    """Return the words inside the quotes of a labelled line if there is nothing else but directions, else None."""
    words, position = "", _match_end(_BESIDE, said, 0)
    while position < len(said):
        closing = _ENCLOSING_MARK.get(said[position])
        end = said.find(closing, position + 1) if closing else -1
        if end < 0:
            return None
        words += said[position + 1 : end]
        position = _match_end(_BESIDE, said, end + 1)
    return words or None


def opens_quote(said: str) -> bool:
    """True if the words of a labelled line begin with a quotation mark, directions apart."""
    return said[_match_end(_BESIDE, said, 0) :][:1] in CLOSING_MARK


def _match_end(pattern: re.Pattern[str], text: str, start: int) -> int:
    found = pattern.match(text, start)
    return found.end() if found else start


def without_directions(said: str) -> str:
    """Return the words without stage directions in brackets."""
    return re.sub(r"[ \t\u3000]{2,}", " ", _DIRECTION.sub("", said)).strip()
