"""Text for people: every message in both languages, and a stranger's text made safe to show.

Text("读不了", "cannot read").to("zh")    读不了
shown("a\\x1b[2J")                         a\\x1b[2J, on one line, for terminals and messages
visible("a\\u202eb")                       a⟨U+202E⟩b, for pages
"""

import unicodedata
from collections.abc import Sequence
from typing import Literal, NamedTuple

Language = Literal["zh", "en"]


class Text(NamedTuple):
    """One message in both languages, equally good."""

    zh: str
    en: str

    def to(self, language: Language) -> str:
        """The message in this language."""
        return self.zh if language == "zh" else self.en


def shown(words: str, limit: int = 300) -> str:
    """`words` on one line, at most `limit` characters of them, with control characters as escapes."""
    cut = words if len(words) <= limit else words[: limit - 1] + "…"
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in cut)


def listed(names: Sequence[str], most: int = 12) -> Text:
    """At most `most` names of a stranger, with the list marks of each language between them."""
    shown_names = [shown(name, 40) for name in names[:most]] + (["…"] if len(names) > most else [])
    return Text("、".join(shown_names), ", ".join(shown_names))


_JOINERS = "\u200c\u200d"
"""Part of emoji and of some scripts; they turn nothing around."""


def visible(value: object) -> str:
    """The text of `value` with a number such as ⟨U+202E⟩ in place of each character that cannot be seen."""
    return "".join(char if _is_visible(char) else f"⟨U+{ord(char):04X}⟩" for char in str(value))


def _is_visible(char: str) -> bool:
    # Of white space only U+0020 counts as printable, and paragraphs begin with U+3000.
    return char.isprintable() or char in "\n\t" or char in _JOINERS or unicodedata.category(char) == "Zs"
