"""Rows that say the same, nearly the same, or one phrase over and over.

    folded text ──Repeats──► seen before, word for word
                ──Near─────► 5-grams ──MinHash──► bands of equal hashes ──► candidates ──Jaccard──► nearly the same
                ──Phrases──► 12-grams counted in buckets; the few that are in many rows are then counted exactly

All of them read rows one at a time. `Near` keeps the folded text and the hashes (about 1 KB) of a row that is
like none before it, and `Phrases` the folded answers: 2 bytes a character of Chinese.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash, RMinHashLSH

SHINGLE_CHARACTERS = 5

SIMILAR = 0.8
"""Jaccard similarity of two rows' shingles from which they are near duplicates (as in Lee et al. 2022)."""

SIMILAR_QUESTIONS = 0.5
"""Of the pairs of characters in their questions; questions are too short for more."""

HASHES, BANDS = 120, 20
"""20 bands of 6: a pair of similarity 0.8 becomes a candidate in 99.8 % of cases, one of 0.3 in 1.4 %."""

SHORTEST_CHARACTERS = 20
"""Shorter rows have too few shingles to be judged: 好的，谢谢你 and 好的，谢谢您 may both be wanted."""

MOST_CANDIDATES, CROWD = 10, 100
"""One row is compared with 10 others at most, and not indexed where 100 are alike: rows that share most of a
long prompt would make the work quadratic. Among such rows near duplicates may be missed."""

WIDE_GRAM, NARROW_GRAM = 12, 32
"""Characters of a phrase that is no accident: in Chinese (or kana, hangul) and in alphabets."""

BUCKETS_LOG2 = 22

MOST_GRAMS = 16
"""Bound on what is kept of one answer, so that a long text common to all rows does not fill the memory."""

LONGEST_PHRASE_CHARACTERS = 60

MOST_PHRASES = 3

OFTEN_ROWS = 20

OFTEN_SHARE = 0.01

_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def folded(text: str) -> str:
    """The text as it is compared: NFKC, without letter case, each run of white space one space."""
    # Case folding can undo the normal form, so that is taken once more.
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(plain.split())


class Near:
    """Near duplicates by MinHash and locality-sensitive hashing (Broder 1997; Leskovec et al., chapter 3)."""

    def __init__(self) -> None:
        self._index = RMinHashLSH(threshold=SIMILAR, num_perm=HASHES, num_bands=BANDS)
        self._rows: list[tuple[str, str, int]] = []

    def add(self, question: str, answer: str, line: int) -> int | None:
        """The line of an earlier row that this folded one is nearly the same as; None = it is like none of them.

        Candidates are verified by their true similarity, so none is reported by an accident of hashing, and
        by their questions alone: one answer to 你是谁 and to 介绍一下自己 is no copy.
        """
        if len(question) + len(answer) < SHORTEST_CHARACTERS:
            return None
        shingles = _shingles(f"{question}\n{answer}")
        hashes = RMinHash(num_perm=HASHES, seed=1)
        hashes.update(list(shingles))
        candidates: list[int] = sorted(self._index.query(hashes))
        for candidate in candidates[-MOST_CANDIDATES:]:
            other_question, other_answer, other_line = self._rows[candidate]
            if (
                _jaccard(_shingles(question, 2), _shingles(other_question, 2)) >= SIMILAR_QUESTIONS
                and _jaccard(shingles, _shingles(f"{other_question}\n{other_answer}")) >= SIMILAR
            ):
                return other_line
        # What is like an earlier row is not indexed: that one stands for all of them.
        if len(candidates) < CROWD:
            self._index.insert(len(self._rows), hashes)
            self._rows.append((question, answer, line))
        return None


def _shingles(text: str, length: int = SHINGLE_CHARACTERS) -> set[str]:
    """All pieces of this length; a shorter text is one piece itself."""
    return {text[start : start + length] for start in range(max(1, len(text) - length + 1))}


def _jaccard(one: set[str], other: set[str]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)


class Phrase(NamedTuple):
    text: str
    lines: tuple[int, ...]


class Phrases:
    """Phrases that stand in more than 1 % of the answers and in more than 20 of them.

    A first look counts the hashes of all phrases of one length in 2^22 buckets (a count-min sketch of one row,
    Cormode & Muthukrishnan 2005: it may count too much, never too little); what it suspects is counted by `most`.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(1 << BUCKETS_LOG2, np.uint32)
        self._answers: list[str] = []
        self._lines: list[int] = []

    def add(self, answer: str, line: int) -> None:
        """Counts an answer that has neither code nor runs of white space."""
        self._counts[np.unique(_buckets(answer))] += 1
        self._answers.append(answer)
        self._lines.append(line)

    def most(self) -> tuple[Phrase, ...]:
        """At most three such phrases, the commonest first, each in rows that the ones before it are not in."""
        limit = max(OFTEN_ROWS, OFTEN_SHARE * len(self._answers))
        suspects = self._counts > limit
        if not suspects.any():
            return ()
        grams = {row: held for row, answer in enumerate(self._answers) if (held := _suspected(answer, suspects))}
        found: list[Phrase] = []
        while len(found) < MOST_PHRASES and grams:
            gram, count = Counter(gram for held in grams.values() for gram in held).most_common(1)[0]
            if count <= limit:
                break
            rows = [row for row, held in grams.items() if gram in held]
            phrase = _grown(gram, [self._answers[row] for row in rows])
            found.append(Phrase(phrase, tuple(self._lines[row] for row in rows)))
            for row in rows:
                del grams[row]
        return tuple(found)


def _gram_characters(text: str) -> int:
    return WIDE_GRAM if 3 * len(_WIDE.findall(text)) > len(text) else NARROW_GRAM


def _buckets(text: str) -> NDArray[np.uint64]:
    """The bucket of each phrase of a text, by its start: a polynomial hash, its upper bits."""
    length = _gram_characters(text)
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    hashes = np.zeros(max(0, len(characters) - length + 1), np.uint64)
    for offset in range(length if len(hashes) else 0):
        hashes = hashes * np.uint64(1_000_003) + characters[offset : offset + len(hashes)]
    return (hashes * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - BUCKETS_LOG2)


def _suspected(answer: str, suspects: NDArray[np.bool_]) -> set[str]:
    """Suspected phrases of an answer: those of the lowest buckets, so that answers that share one keep the same."""
    length = _gram_characters(answer)
    buckets = _buckets(answer)
    starts = np.flatnonzero(suspects[buckets])
    grams: set[str] = set()
    for start in starts[np.unique(buckets[starts], return_index=True)[1]].tolist():
        if len(grams) == MOST_GRAMS:
            break
        if _is_language(gram := answer[start : start + length]):
            grams.add(gram)
    return grams


def _is_language(gram: str) -> bool:
    """Not a ruler (--------), and not a piece of an alphabet's word within Chinese text."""
    return len(set(gram)) >= 5 and (len(gram) > WIDE_GRAM or len(_WIDE.findall(gram)) >= WIDE_GRAM // 2)


def _grown(phrase: str, answers: Sequence[str]) -> str:
    """The phrase with what stands around it in nine of ten answers."""
    while len(phrase) < LONGEST_PHRASE_CHARACTERS:
        after = _common(answer[end] for answer in answers if 0 < (end := _end(answer, phrase)) < len(answer))
        before = _common(answer[start - 1] for answer in answers if (start := answer.find(phrase)) > 0)
        if after[1] >= max(before[1], 0.9 * len(answers)):
            phrase += after[0]
        elif before[1] >= 0.9 * len(answers):
            phrase = before[0] + phrase
        else:
            break
    return phrase.strip()


def _end(answer: str, phrase: str) -> int:
    start = answer.find(phrase)
    return start + len(phrase) if start >= 0 else 0


def _common(characters: Iterable[str]) -> tuple[str, int]:
    return next(iter(Counter(characters).most_common(1)), ("", 0))
