"""Bilingual messages, and text from untrusted sources made safe to show.

Text("读不了", "cannot read").to("zh")    读不了
shown("a\\x1b[2J")                         a\\x1b[2J, on one line, for terminals and messages
visible("a\\u202eb")                       a⟨U+202E⟩b, for pages
"""

import json
import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

Language = Literal["zh", "en"]


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
    cut = words if len(words) <= limit else words[: limit - 1] + "…"
    return "".join(char if _is_printable(char) else char.encode("unicode_escape").decode("ascii") for char in cut)


def _is_printable(char: str) -> bool:
    # U+3000, the space that Chinese paragraphs begin with, counts as not printable in Python.
    return char.isprintable() or char == "\u3000"


def listed(names: Sequence[str], most: int = 12) -> Text:
    """Return at most `most` untrusted names, each cut to 40 characters, with the list separator of each language."""
    shown_names = [shown(name, 40) for name in names[:most]] + (["…"] if len(names) > most else [])
    return Text("、".join(shown_names), ", ".join(shown_names))


_JOINERS = "\u200c\u200d"
"""Zero-width (non-)joiners: emoji and some scripts need them, and they do not reverse text."""


def visible(value: object) -> str:
    """Return the text of `value`, with each invisible character as its code point, such as ⟨U+202E⟩."""
    return "".join(char if _is_visible(char) else f"⟨U+{ord(char):04X}⟩" for char in str(value))


def _is_visible(char: str) -> bool:
    # isprintable() accepts only U+0020 of all spaces, and Chinese paragraphs begin with U+3000.
    return char.isprintable() or char in "\n\t" or char in _JOINERS or unicodedata.category(char) == "Zs"


def duration(seconds: float) -> str:
    """Return the time as 1:02:03, 4:05 or 0:07."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
