"""Where a sentence ends, in Chinese and English."""

import re

CLOSERS = "”’」』﹂﹄\"'）)］]｝}】〕》〉»›"
"""What may stand between the end of a sentence and the end of the text."""

ENDINGS = "。！？….!?｡～~"
"""What a sentence may end with. The wave is here because chat in Chinese ends sentences with it (好呀～)."""

LIST_MARKER = re.compile(r"(\d+[.．]|[-*+•])")


def without_space(text: str) -> str:
    """The text without any white space, the full-width space included: what all measures count."""
    return "".join(text.split())


def ends_complete(text: str) -> bool:
    """Whether the text ends as a sentence does: one of `ENDINGS`, then any closing quotes and brackets.

    A heading (last line begins with #), a bare list marker (2.) and closing markup (**, ```) are not an end;
    neither is a dash, an emoji or a title in 《》. Blind to a missing ending of the story: only a cut within
    a sentence is seen, and not one right after the point of an abbreviation or a number.
    """
    lines = text.strip().splitlines()
    if not lines:
        return False
    last = lines[-1].strip()
    if last.startswith("#") or LIST_MARKER.fullmatch(last):
        return False
    # The sentence may have ended on an earlier line than its closing quote.
    return without_space(text).rstrip(CLOSERS).endswith(tuple(ENDINGS))
