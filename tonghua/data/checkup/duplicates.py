"""Near duplicates of rows, and phrases that occur in many answers.

    folded text ──Near───► 5-grams ──MinHash──► bands of equal hashes ──► candidates ──Jaccard──► near duplicates
    answers ──Phrases────► 12-grams counted in buckets; the few that occur in many rows are then counted exactly

Both read rows one at a time. `Near` keeps the folded text and the hashes (about 1 KB) of each row that is no near
duplicate. `Phrases` keeps the answers, 2 bytes per Chinese character.
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
"""Minimum Jaccard similarity of the shingles of two near duplicates (as in Lee et al. 2022)."""

SIMILAR_QUESTIONS = 0.5
"""The same for the character pairs of their questions, which are too short for longer shingles."""

HASHES, BANDS = 120, 20
"""20 bands of 6 hashes: a pair of similarity 0.8 becomes a candidate in 99.8 % of cases, one of 0.3 in 1.4 %."""

SHORTEST_CHARACTERS = 20
"""Minimum length of a row; shorter ones have too few shingles. 好的，谢谢你 and 好的，谢谢您 may both be intended."""

MOST_CANDIDATES, CROWD = 10, 100
"""Compare a row with at most 10 candidates, and do not index a row that has 100. Rows that share most of a long
prompt would otherwise need quadratic time. Near duplicates among such rows may be missed."""

WIDE_GRAM, NARROW_GRAM = 12, 32
"""Length of a phrase that does not repeat by chance, in characters: Chinese (or kana, hangul), and alphabets."""

BUCKETS_LOG2 = 22

MOST_GRAMS = 16
"""Maximum number of phrases kept per answer, so that a long text common to all rows does not fill the memory."""

LONGEST_PHRASE_CHARACTERS = 60

MOST_PHRASES = 3

OFTEN_ROWS = 20

OFTEN_SHARE = 0.01

_WIDE = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def folded(text: str) -> str:
    """Return the text for comparison: NFKC, case-folded, each run of white space as one space."""
    # Case folding can break NFKC, so normalise again.
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(plain.split())


class Near:
    """Finds near duplicates by MinHash and locality-sensitive hashing (Broder 1997; Leskovec et al., chapter 3)."""

    def __init__(self) -> None:
        self._index = RMinHashLSH(threshold=SIMILAR, num_perm=HASHES, num_bands=BANDS)
        self._rows: list[tuple[str, str, int]] = []

    def add(self, question: str, answer: str, line: int) -> int | None:
        """Return the line of an earlier row that nearly equals this one, or None. Takes folded texts.

        The exact similarity of each candidate is checked, so hash collisions are never reported. The questions
        are compared by themselves too: the same answer to 你是谁 and to 介绍一下自己 is no copy.
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
        # Near duplicates are not indexed: the earlier row stands for them.
        if len(candidates) < CROWD:
            self._index.insert(len(self._rows), hashes)
            self._rows.append((question, answer, line))
        return None


def _shingles(text: str, length: int = SHINGLE_CHARACTERS) -> set[str]:
    """Return all substrings of this length; a shorter text is its own only shingle."""
    return {text[start : start + length] for start in range(max(1, len(text) - length + 1))}


def _jaccard(one: set[str], other: set[str]) -> float:
    common = len(one & other)
    return common / (len(one) + len(other) - common)


class Phrase(NamedTuple):
    """A frequent phrase, and the lines of the rows that have it."""

    text: str
    lines: tuple[int, ...]


class Phrases:
    """Finds phrases that occur in more than 1 % of the answers and in more than 20 of them.

    `add` counts the hashes of all phrases of one length in 2^22 buckets. This is a count-min sketch of one row
    (Cormode & Muthukrishnan 2005): it may count too much, never too little. `most` counts the suspects exactly.
    """

    def __init__(self) -> None:
        self._counts = np.zeros(1 << BUCKETS_LOG2, np.uint32)
        self._answers: list[str] = []
        self._lines: list[int] = []

    def add(self, answer: str, line: int) -> None:
        """Count the phrases of an answer. It must have no code and no runs of white space."""
        self._counts[np.unique(_buckets(answer))] += 1
        self._answers.append(answer)
        self._lines.append(line)

    def most(self) -> tuple[Phrase, ...]:
        """Return at most `MOST_PHRASES` phrases, most frequent first. No row counts for two of them."""
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
    """Return the bucket of the phrase at each start in a text: the upper bits of a polynomial hash."""
    length = _gram_characters(text)
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint64)
    hashes = np.zeros(max(0, len(characters) - length + 1), np.uint64)
    for offset in range(length if len(hashes) else 0):
        hashes = hashes * np.uint64(1_000_003) + characters[offset : offset + len(hashes)]
    return (hashes * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - BUCKETS_LOG2)


def _suspected(answer: str, suspects: NDArray[np.bool_]) -> set[str]:
    """Return suspected phrases, lowest buckets first, so that answers with the same phrases keep the same ones."""
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
    """True unless the phrase is a ruler (--------) or a fragment of a Latin word in Chinese text."""
    return len(set(gram)) >= 5 and (len(gram) > WIDE_GRAM or len(_WIDE.findall(gram)) >= WIDE_GRAM // 2)


def _grown(phrase: str, answers: Sequence[str]) -> str:
    """Extend the phrase by the characters around it that at least 90 % of the answers share."""
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
