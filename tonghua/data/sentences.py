"""Detect the end of a sentence, in Chinese and English."""

import re

CLOSERS = "”’」』﹂﹄\"'）)］]｝}】〕》〉»›"
"""Characters that may follow the last mark of a sentence."""

ENDINGS = "。！？….!?｡～~"
"""Characters that end a sentence. Chinese chat also ends sentences with a tilde (好呀～)."""

LIST_MARKER = re.compile(r"(\d+[.．]|[-*+•])")


def without_space(text: str) -> str:
    """Return the text without white space, including the full-width space; all measures count this form."""
    return "".join(text.split())


def ends_complete(text: str) -> bool:
    """True if the text ends like a sentence: one of `ENDINGS`, then any closing quotes and brackets.

    False for a heading (last line begins with #), a bare list marker (2.), closing markup (**, ```), a dash, an
    emoji or a title in 《》. It detects only a cut within a sentence: a missing end of the story is not found, nor
    a cut right after the point of an abbreviation or a number.
    """
    lines = text.strip().splitlines()
    if not lines:
        return False
    last = lines[-1].strip()
    if last.startswith("#") or LIST_MARKER.fullmatch(last):
        return False
    # The closing quote may be on a later line than the end of the sentence.
    return without_space(text).rstrip(CLOSERS).endswith(tuple(ENDINGS))
