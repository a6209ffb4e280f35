"""Cheap measures of generated text, and the loss in bits per character.

Every length is in characters without white space, for Chinese and English alike. The measures are health and
regression checks: they catch loops, cuts and drifts of style. None of them measures whether a story is good.
Each docstring says what its measure cannot show.
"""

import math
import re
from collections.abc import Iterable, Sequence

from ..data.sentences import without_space
from ..errors import DataError

CLAUSE_MARKS = re.compile(
    r"""[，。！？；：、…!?;]
    | (?<!\d)[.,:] | [.,:](?!\d)    # not the marks within 3.14, 1,000 and 10:30
    """,
    re.VERBOSE,
)

QUOTED = re.compile(r"“([^“”\n]*)”|「([^「」\n]*)」|『([^『』\n]*)』|\"([^\"\n]*)\"")
"""A quotation within one line; a mark without its partner in the line matches nothing."""


def rep_n(text: str, n: int = 4) -> float:
    """Return the repetition, 1 - distinct / all character n-grams, 0 (none) to 1; 0.0 for texts shorter than n.

    Welleck et al. 2020 (seq-rep-n). Human children's stories: mean 0.06, 95th percentile 0.15 (n = 4).
    Ignores order and sense. Grows with length: compare texts of equal length only.
    """
    characters = without_space(text)
    total = len(characters) - n + 1
    if total < 1:
        return 0.0
    return 1 - len(set(_ngrams(characters, n))) / total


def _ngrams(characters: str, n: int) -> Iterable[str]:
    return (characters[start : start + n] for start in range(len(characters) - n + 1))


def clause_length(text: str) -> float:
    """Return the mean number of letters, digits and han characters per clause; 0.0 for a text without any.

    Clauses end at ，。！？；：、… and , . ! ? ; : (not within numbers). Human children's stories: mean 7.8,
    5th to 95th percentile 6.0 to 9.9. Ignores how hard the words are. A line without punctuation continues in
    the next one. Do not compare Chinese with English texts.
    """
    lengths = [sum(map(str.isalnum, clause)) for clause in CLAUSE_MARKS.split(text)]
    spoken = [length for length in lengths if length]
    return sum(spoken) / len(spoken) if spoken else 0.0


def dialogue_share(text: str) -> float:
    """Return the share of characters inside “ ”, 「 」, 『 』 or straight double quotes, 0 to 1.

    The quotes themselves count as outside. A quote without its partner in the same line is ignored.
    Misses speech without quotes, and counts quoted words and titles as speech.
    """
    total = len(without_space(text))
    if not total:
        return 0.0
    # Of the four groups in a match at most one holds text, so joining gives that one.
    quoted = sum(len(without_space("".join(groups))) for groups in QUOTED.findall(text))
    return quoted / total


def distinct_n(texts: Sequence[str], n: int, budget_chars: int) -> float:
    """Return the diversity, distinct / all character n-grams (Li et al. 2016), of the first `budget_chars` characters.

    Reads the texts in order and cuts the last one; no n-gram crosses from one text to the next. Falls as the
    budget grows, so compare equal budgets only. Ignores sense: random characters score best.
    Raises DataError if the texts hold less than the budget, as the number would be too good.
    """
    left = budget_chars
    seen: set[str] = set()
    total = 0
    for text in texts:
        characters = without_space(text)[:left]
        left -= len(characters)
        seen.update(_ngrams(characters, n))
        total += max(0, len(characters) - n + 1)
        if left == 0:
            break
    if left > 0:
        held = budget_chars - left
        raise DataError(
            f"这些文本一共只有 {held} 个字，不够按 {budget_chars} 个字计算多样性：请多生成几篇，或减小字数",
            f"the texts hold {held} characters, too few to measure diversity over {budget_chars}: "
            "generate more of them, or lower that number",
        )
    return len(seen) / total if total else 0.0


def bits_per_character(nll_nats: float, characters: int) -> float:
    """Return the loss in bits per character, from the summed loss in nats; comparable between tokenizers.

    Does not show how the model writes by itself: a low loss is not good generation. Raises ZeroDivisionError
    for zero characters.
    """
    return nll_nats / (math.log(2) * characters)
