"""Find who speaks: the cast by name and alias, and the subject of the words around a quote."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ...errors import UsageError
from ...text import Text, shown
from .doubts import MID_SENTENCE, NO_SUBJECT, NOBODY, NOT_ALOUD, SEVERAL, UNCLEAR, guess_why, near_why, pronoun_why
from .lexicon import (
    ACTS,
    ADVERBS,
    AGAIN,
    CLAUSE_ENDS,
    COMMA,
    HEARS,
    LEADS,
    LISTENS,
    NOT_IN_NAMES,
    NOT_SPEAKERS,
    OWNED,
    PERCEIVED,
    PRONOUNS,
    SENTENCE_END,
    SILENT,
    SIMPLE,
    SPEECH,
    TITLES,
    TOGETHER,
    TOWARDS,
    WITH,
)
from .paragraphs import BARE_STAGE, LATIN_NAME_CHARACTERS, Paragraph, is_scene_break, label_of, lone_names


@dataclass(slots=True)
class Utterance:
    """One utterance; `start` and `end` are offsets in characters, `paragraph` is the first line of its paragraph."""

    line: int
    start: int
    end: int
    paragraph: int
    text: str
    speaker: str | None
    named: str | None = None
    why: Text | None = None
    blocks: bool = True
    """True if the next speaker may be answering it."""


CONTEXT_CHARACTERS = 160
"""Maximum characters before or after a quote that are searched for its speaker."""


def named_in(name: str) -> str:
    """Return the user's name without outer white space. Raises UsageError if it is empty, too long or unprintable."""
    name = name.strip()
    if not name or len(name) > LATIN_NAME_CHARACTERS or not name.isprintable():
        raise UsageError(
            f"“{shown(name, 40)}”不能当角色名；请写 1 到 {LATIN_NAME_CHARACTERS} 个字",
            f"“{shown(name, 40)}” cannot be a speaker's name; write 1 to {LATIN_NAME_CHARACTERS} characters",
        )
    return name


@dataclass(slots=True)
class Cast:
    """`wished` is the speaker to extract; `names` maps each known name, in simplified characters, to its person."""

    wished: str
    names: dict[str, str]
    given: frozenset[str]
    """The names given by the caller, which need no evidence in the text."""
    mine: tuple[str, ...]
    """The names of `wished` that have at least two characters."""
    longest: int
    labels: frozenset[str] = frozenset()

    @classmethod
    def of(cls, speaker: str, aliases: Mapping[str, Sequence[str]]) -> "Cast":
        """Return the cast of the given names. Raises UsageError if a name is invalid or belongs to two people."""
        names: dict[str, str] = {}
        for name, others in aliases.items():
            for other in (name, *others):
                simple = named_in(other).translate(SIMPLE)
                if names.setdefault(simple, name) != name:
                    raise UsageError(
                        f"“{other}”既是{names[simple]}又是{name}；请只留一个",
                        f"“{other}” is given to both {names[simple]} and {name}; keep one of them",
                    )
        wished = names.setdefault(named_in(speaker).translate(SIMPLE), speaker.strip())
        mine = tuple(known for known, owner in names.items() if owner == wished and len(known) > 1)
        return cls(wished, names, frozenset(names), mine, max(map(len, names)))

    def learn(self, paragraphs: Sequence[Paragraph]) -> None:
        """Add the other speakers of the text: labels that look like names, and repeated subjects of speech."""
        labels, subjects = Counter[str](), Counter[str]()
        for paragraph in paragraphs:
            label = None if is_scene_break(paragraph) else label_of(paragraph.text)
            # 【夜】 alone may be a direction instead of a name.
            if label and self.may_be_label(label.name) and not BARE_STAGE.match(paragraph.text.strip()):
                labels[label.name] += 1
            for piece in paragraph.pieces():
                if piece.kind == "gap":
                    subjects.update(_first_subjects(piece.text, self))
        alone = Counter(filter(self.may_be_label, lone_names(paragraphs)))
        if any(map(self.knows, alone)):
            labels.update({name: times for name, times in alone.items() if times > 1 or name in labels})
        script_like = 3 * labels.total() >= len(paragraphs)
        accepted = {name for name, times in labels.items() if times > 1 or script_like or self.knows(name)}
        self.labels = frozenset(accepted)
        for name in (*accepted, *(name for name, times in subjects.items() if times > 1)):
            self.names.setdefault(name.translate(SIMPLE), name)
        self.longest = max(map(len, self.names))

    def knows(self, name: str) -> bool:
        return name.translate(SIMPLE) in self.names

    def whose(self, name: str) -> str:
        """Return the person with this name, else the name itself."""
        return self.names.get(name.translate(SIMPLE), name)

    def may_be_label(self, name: str) -> bool:
        """True if the caller gave the name, or if it looks like the name of a speaker."""
        simple = name.translate(SIMPLE)
        if simple in self.given:
            return True
        return simple not in NOT_SPEAKERS and not NOT_IN_NAMES.search(simple) and not SPEECH.search(simple)

    def at(self, simple: str, position: int) -> str:
        """Return the longest known name that starts at `position` of the simplified text, or ""."""
        for length in range(min(self.longest, len(simple) - position), 0, -1):
            if simple[position : position + length] in self.names:
                return simple[position : position + length]
        return ""

    def near(self, name: str) -> bool:
        """True if a name may be one of `wished`, with or without a family name before it or a title at either end."""
        simple = name.translate(SIMPLE)
        ends = (simple.endswith(known) or known.endswith(simple) for known in self.mine)
        return len(simple) > 1 and (any(ends) or any(simple.removeprefix(known) in TITLES for known in self.mine))


class _Subject(NamedTuple):
    """The subject of a clause; "none" if the clause keeps the subject before it."""

    kind: Literal["named", "new", "pronoun", "several", "none", "unknown"]
    name: str = ""


class Voice(NamedTuple):
    """The speaker (None if uncertain, with `why`), the name in the text, and True if it is said aloud."""

    speaker: str | None
    named: str | None = None
    why: Text | None = None
    aloud: bool = True


def _clauses(sentence: str) -> list[str]:
    return [clause.strip() for clause in COMMA.split(sentence) if clause.strip()]


def _last_sentence(gap: str) -> tuple[str, str]:
    """Return the sentence before a quote without its final comma or colon, and that mark."""
    trimmed = gap[-CONTEXT_CHARACTERS:].rstrip()
    mark = trimmed[-1:] if trimmed.endswith(("：", ":", "，", ",")) else ""
    return SENTENCE_END.split(trimmed.rstrip("：:，,"))[-1].strip(" \u3000—"), mark


def first_sentence(gap: str) -> tuple[str, bool]:
    """Return the sentence right after a quote, and True if nothing else is before the next quote."""
    near = gap[:CONTEXT_CHARACTERS].lstrip("，, \u3000")
    if not near or SENTENCE_END.match(near):
        return "", False
    end = SENTENCE_END.search(near)
    if end is None:
        return near, len(gap) <= CONTEXT_CHARACTERS
    return near[: end.start()], not near[end.end() :].strip() and len(gap) <= CONTEXT_CHARACTERS


def _is_adverb(simple: str) -> bool:
    return any(simple[-length:] in ADVERBS for length in (2, 3))


def _without_adverbs(simple: str, cast: Cast) -> str:
    """Remove the adverbs at the end of a clause, but keep a known name, and never leave one character alone."""
    left = simple
    while left and not _ending(left, cast):
        cut = next((length for length in (4, 3, 2, 1) if left[-length:] in ADVERBS and length <= len(left)), 0)
        if not cut and left[-1] == "的" and _is_adverb(left[:-1]):
            cut = 1
        if not cut:
            break
        if len(left) - cut == 1 and left[0] not in ADVERBS:
            break
        left = left[:-cut]
    return left


def _pronoun(simple: str) -> str:
    """Return the pronoun or indefinite word at the start of a clause, or ""."""
    return next((simple[:length] for length in (3, 2, 1) if simple[:length] in PRONOUNS), "")


def _lead(simple: str) -> int:
    """Return the length of the lead-in at the start of a sentence, such as 只听 or 于是."""
    return next((length for length in (3, 2, 1) if simple[:length] in LEADS), 0)


def _spoken(clause: str) -> tuple[str, str, bool]:
    """Return a clause up to its verb of speech, the same in simplified form, and True if it has that verb."""
    simple = clause.translate(SIMPLE)
    verb = SPEECH.search(simple)
    end = verb.start() if verb else len(simple)
    return clause[:end], simple[:end], verb is not None


def _looks_new(simple: str) -> bool:
    """True if this may be the name of an unknown person: 紫鹃, 那婆子."""
    if not 2 <= len(simple) <= 5 or not all(map(str.isalnum, simple)):
        return False
    return not (_pronoun(simple) or NOT_IN_NAMES.search(simple) or ACTS.match(simple))


def _first_subjects(gap: str, cast: Cast) -> set[str]:
    """Return the new names that start a sentence beside a quote, before a verb of speech."""
    names = set()
    for sentence in (_last_sentence(gap)[0], first_sentence(gap)[0]):
        clauses = _clauses(sentence)
        if clauses:
            written, simple, speaks = _spoken(clauses[0])
            start = _lead(simple)
            name = _without_adverbs(simple[start:], cast)
            if speaks and _looks_new(name) and not cast.at(name, 0):
                names.add(written[start : start + len(name)])
    return names


def _ending(core: str, cast: Cast) -> str:
    """Return the longest known name or pronoun at the end of the words, or ""."""
    for length in range(min(max(cast.longest, 3), len(core)), 0, -1):
        tail = core[-length:]
        if tail in cast.names or tail in PRONOUNS or tail in ("众人", "大家", "我"):
            return tail
    return ""


def subject_of(clause: str, cast: Cast) -> _Subject:
    """Return the subject of one clause: read back from its verb, and forward from its start."""
    written, body, speaks = _spoken(clause)
    start = 0 if cast.at(body, 0) else _lead(body)
    core = _without_adverbs(body[start:], cast)
    together = any(word in body for word in TOGETHER)
    tail = _ending(core, cast)
    towards = TOWARDS.search(core[: len(core) - len(tail)]) if tail else None
    if towards and not (tail and core in cast.names):
        core, tail = _without_adverbs(core[: towards.start()], cast), ""
    if not core:
        return _Subject("none")
    if core in cast.names:
        return _Subject("named", cast.names[core])
    head, tail = cast.at(core, 0), tail or _ending(core, cast)
    left = core[: len(core) - len(tail)] if tail else ""
    if "、" in core or (together and head) or (tail and WITH.search(left)):
        return _Subject("several")
    if tail in cast.names and PERCEIVED.search(left):
        return _Subject("named", cast.names[tail])
    if head:
        return _headed(core, head, tail, cast)
    if _pronoun(core):
        return _Subject("pronoun", _pronoun(core))
    if speaks and _looks_new(core):
        return _Subject("new", written[start : start + len(core)])
    return _Subject("none") if ACTS.match(core) else _Subject("unknown")


def _headed(core: str, head: str, tail: str, cast: Cast) -> _Subject:
    """Return the subject of a clause that starts with a known name, unless another person follows."""
    rest = core[len(head) :]
    if rest.endswith(("二人", "两人", "三人", "两个", "三个", "几个", "等", "们")):
        return _Subject("several")
    if OWNED.match(rest):
        last = core[core.rfind("的") + 1 :]
        return _Subject("named", cast.names[last]) if last in cast.names else _Subject("unknown")
    hears = HEARS.match(rest)
    if tail or (hears and _looks_new(rest[hears.end() :])):
        return _Subject("unknown")
    return _Subject("named", cast.names[head])


def _subject_before(clause: str, cast: Cast) -> _Subject:
    """Return the subject of a clause without a verb of speech: a later clause may keep it."""
    simple = clause.translate(SIMPLE)
    start = 0 if cast.at(simple, 0) else _lead(simple)
    head = cast.at(simple, start)
    rest = simple[start + len(head) :]
    if head and (joined := re.match("[和与同跟、及]", rest)) and cast.at(rest, joined.end()):
        return _Subject("several")
    if head:
        return _Subject("unknown") if OWNED.match(rest) else _Subject("named", cast.names[head])
    if pronoun := _pronoun(simple[start:]):
        return _Subject("pronoun", pronoun)
    return _Subject("none") if ACTS.match(simple) or not _without_adverbs(simple, cast) else _Subject("unknown")


def _subject_of_sentence(clauses: Sequence[str], cast: Cast) -> _Subject:
    """Return the subject of the last clause, taken from the clauses before it if it has none."""
    subject = subject_of(clauses[-1], cast)
    if subject.kind == "new" and len(clauses) > 1:
        # 黛玉大怒，拍案道: in a later clause, what looks like a new name is usually an action.
        return _Subject("unknown")
    for clause in reversed(clauses[:-1]):
        if subject.kind != "none":
            break
        subject = _subject_before(clause, cast)
    return subject


def _as_voice(subject: _Subject, cast: Cast) -> Voice:
    match subject.kind:
        case "named" | "new":
            return voice_of(subject.name, cast)
        case "pronoun":
            return Voice(None, None, pronoun_why(subject.name))
        case "several":
            return Voice(None, None, SEVERAL)
        case "none":
            return Voice(None, None, NO_SUBJECT)
    return Voice(None, None, UNCLEAR)


def voice_of(name: str, cast: Cast) -> Voice:
    """Return the person with this name; uncertain if the name only resembles one of `wished`."""
    owner = cast.whose(name)
    if owner != cast.wished and name.translate(SIMPLE) not in cast.given and cast.near(name):
        return Voice(None, name, near_why(name, cast.wished))
    return Voice(owner, owner)


def introduced(before: str, quote: str, previous: "Utterance | None", cast: Cast) -> Voice | None:
    """Return the speaker by the words before a quote, or None if they do not introduce speech."""
    sentence, mark = _last_sentence(before)
    clauses = _clauses(sentence)
    if not clauses:
        return None
    simple = clauses[-1].translate(SIMPLE)
    if SILENT.search(simple):
        set_apart = not mark and quote.rstrip()[-1:] not in CLAUSE_ENDS
        return None if set_apart else Voice(None, None, NOT_ALOUD, aloud=False)
    speaks = SPEECH.search(simple) is not None
    if not speaks and mark not in ("：", ":"):
        return None
    if not mark and quote.rstrip()[-1:] not in CLAUSE_ENDS:
        return Voice(None, None, MID_SENTENCE)
    subject = _subject_of_sentence(clauses, cast)
    alone = len(clauses) == 1 and sentence == before.strip(" \u3000，,：:—")
    if subject.kind == "none" and previous and previous.speaker and alone and AGAIN.match(simple):
        return Voice(previous.speaker, previous.speaker)
    return _as_voice(subject, cast)


def followed(after: str, quote: str, last: bool, cast: Cast) -> Voice | None:
    """Return the speaker by the words after a quote, as in “…”，宝玉说。; None if they do not name one."""
    sentence, whole = first_sentence(after)
    clauses = _clauses(sentence)
    spoken = next((index for index, clause in enumerate(clauses[:2]) if _spoken(clause)[2]), None)
    if (
        spoken is None
        or (spoken and LISTENS.search(clauses[0].translate(SIMPLE)))
        or SILENT.search(clauses[spoken].translate(SIMPLE))
    ):
        return None
    subject = _subject_of_sentence(clauses[: spoken + 1], cast)
    if subject.kind == "none":
        return None
    opens_next = not last and whole and sentence.rstrip().endswith(("：", ":")) and spoken == len(clauses) - 1
    if opens_next and quote.rstrip()[-1:] not in "，,":
        guess = subject.name if subject.kind in ("named", "new") and spoken == 0 else ""
        return Voice(None, None, guess_why(cast.whose(guess)) if guess else NOBODY)
    return _as_voice(subject, cast)


def acting(after: str, cast: Cast) -> str | None:
    """Return the person who acts right after a quote, or None; it is only a hint of who spoke."""
    clauses = _clauses(first_sentence(after)[0])
    subject = _subject_before(clauses[0], cast) if clauses else _Subject("none")
    return subject.name if subject.kind == "named" else None


def is_utterance(before: str, quote: str, after: str) -> bool:
    """True if a quote without a speaker is speech, and not a word that the narrator puts in quotes."""
    if quote.rstrip()[-1:] in CLAUSE_ENDS + "，,；;—":
        return True
    starts = before.rstrip()[-1:] in CLAUSE_ENDS + "，,；;：:—"
    ends = after.lstrip()[:1] in CLAUSE_ENDS + "，,；;。—"
    return starts and ends
