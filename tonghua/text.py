"""Bilingual messages, and text from untrusted sources made safe to show.

Text("读不了", "cannot read").to("zh")    读不了
shown("a\\x1b[2J")                         a\\x1b[2J, a value on one line, for terminals and messages
one_line(message), printable(answer)      the same for a whole message, and for text of several lines
visible("a\\u202eb")                       a⟨U+202E⟩b, for pages
"""

import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

Language = Literal["zh", "en"]

LINE_CHARACTERS = 4000
"""Maximum length of one line of a message, in characters."""

_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiners: emoji and some scripts need them, and they do not reverse text."""

_STRAY_JOINER = re.compile(f"(?<![\u0590-\u18af\u2190-\u2bff\ufe0f\U0001f000-\U0001faff])[{_JOINERS}]")
"""A joiner after anything but an emoji, another symbol, or a letter from Hebrew to Mongolian in Unicode's order."""


class Text(NamedTuple):
    """One message in Chinese and English, equally good."""

    zh: str
    en: str

    def to(self, language: Language) -> str:
        """Return the message in this language."""
        return self.zh if language == "zh" else self.en


def shown(value: object, limit: int = 300) -> str:
    """Return a stranger's value on one line of at most `limit` characters, with what does not print as escapes.

    Text stays text; null, true and numbers are as in JSON; a list or an object is only hinted at.
    """
    if isinstance(value, dict | list):
        return "{…}" if isinstance(value, dict) else "[…]"  # repr() of a deeply nested value could overflow the stack
    words = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    # U+3000, the space that Chinese paragraphs begin with, counts as not printable in Python.
    return _escaped(_cut(words, limit), lambda char: char.isprintable() or char == "\u3000")


def one_line(text: str, limit: int = LINE_CHARACTERS) -> str:
    """Return a message that may quote a stranger on one line: what drives a terminal or is invisible as escapes."""
    return _escaped(_cut(text, limit), _prints)


def printable(text: str) -> str:
    """Return a stranger's text of several lines as `one_line` does, with its line breaks and tabs."""
    return _escaped(text.replace("\r\n", "\n"), lambda char: char in "\n\t" or _prints(char))


def json_text(values: object, indent: int | None = None) -> str:
    """Return JSON in which text stays readable, and what drives a terminal or is invisible is an escape of JSON."""
    text = json.dumps(values, ensure_ascii=False, indent=indent)
    odd = {char for char in set(text) if char != "\n" and not _prints(char)}
    return text.translate({ord(char): json.dumps(char)[1:-1] for char in odd})


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _in_python(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def _escaped(text: str, is_kept: Callable[[str], bool], escape: Callable[[str], str] = _in_python) -> str:
    """Return the text with every other character as its escape; joiners stay where scripts need them."""
    odd = {char for char in set(text).difference(_JOINERS) if not is_kept(char)}
    text = _STRAY_JOINER.sub(lambda found: escape(found[0]), text)
    return text.translate({ord(char): escape(char) for char in odd})


def _prints(char: str) -> bool:
    """True if a terminal shows the character and does nothing else: no control, format character or lone surrogate."""
    category = unicodedata.category(char)
    if category == "Cn":  # the emoji of a newer Unicode than Python's have no category yet
        return "\U0001f000" <= char < "\U000e0000"
    return category[0] != "C" and category not in ("Zl", "Zp")


def listed(names: Sequence[str], most: int = 12) -> Text:
    """Return at most `most` untrusted names, each cut to 40 characters, with the list separator of each language."""
    shown_names = [shown(name, 40) for name in names[:most]] + (["…"] if len(names) > most else [])
    return Text("、".join(shown_names), ", ".join(shown_names))


def visible(value: object) -> str:
    """Return the text of `value`, with each invisible character as its code point, such as ⟨U+202E⟩."""
    return _escaped(str(value), lambda char: char in "\n\t" or _prints(char), lambda char: f"⟨U+{ord(char):04X}⟩")


def duration(seconds: float) -> str:
    """Return the time as 1:02:03, 4:05 or 0:07."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
