"""Learn the grammar of a stranger's chat template. Runs in a child process with bounds; imports jinja2 alone.

template --render conversations of placeholders--> texts --split at the placeholders--> gaps and trims
         --render longer ones and real words-----> what the grammar writes must be the same
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice, pairwise, product
from typing import Any

import jinja2

from ..text import Text
from .grammar import ASK, END, START, Grammar, Opening, Shape, Slot, Trim, slots
from .template import compiled

LEARNED_ROUNDS = (1, 2, 3, 4)
VERIFIED_ROUNDS = (5, 6, 8)

MOST_TEXT_CHARACTERS = 20_000
"""Maximum length of a rendered conversation of placeholders."""

MOST_REASON_CHARACTERS = 200

_PAD_LEFT, _PAD_RIGHT = "\n \t\u3000", "\u3000\t \n"
"""White space around a placeholder: what is left of it in the text shows what the template trims."""

_HOLDER = re.compile("\U000f0000(\\d+)\U000f0001")

_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

_WORDS = ('你好，Hello! <b>1 + 1</b> = 2，对吗？\n\n  - 第一项\n  - it\'s "二" {x}', "再说 one more…\n好")
"""Ordinary text that no template may change."""


class _Unlike(Exception):
    """The template does not write conversations by one grammar; `reason` says what it does."""

    def __init__(self, zh: str, en: str):
        super().__init__(en)
        self.reason = Text(zh, en)


def learned(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON of `grammar.Grammars`, or {"fault": [zh, en]}: what the template does wrong.

    `request` holds `template`, its text, and `tokens`, the named tokens such as `bos_token`.
    """
    try:
        template = compiled(request["template"])
    except jinja2.TemplateSyntaxError as error:
        return {"fault": Text(f"第 {error.lineno} 行：{error.message}", f"line {error.lineno}: {error.message}")}
    except MemoryError:
        raise
    except Exception as error:  # an assertion or a recursion inside jinja's compiler
        return {"fault": _words(error)}
    learner = _Learner(template, request["tokens"])
    ways = [Opening(*flags) for flags in product((False, True), repeat=3)]
    grammars = {way.name: learner.grammar(way) for way in ways}
    if grammars["plain"].refusal and grammars["system"].refusal:
        return {"fault": grammars["plain"].refusal}
    return {
        "grammars": {
            name: {"gaps": grammar.gaps, "trims": grammar.trims, "refusal": grammar.refusal}
            for name, grammar in grammars.items()
        },
        "thoughts": learner.form is not None,
    }


class _Learner:
    """Renders one template. `form` is how it takes reasoning: by "key", within the "content", or not at all."""

    def __init__(self, template: jinja2.Template, tokens: Mapping[str, str]):
        self._template, self._tokens = template, tokens
        self.form: str | None = None
        for form in ("key", "content"):
            self.form = form
            if self._takes_thoughts():
                return
        self.form = None

    def _takes_thoughts(self) -> bool:
        """True if the last answer keeps its reasoning, and if the template knows it from the answer's content."""
        for system in (False, True):
            try:
                found, _ = self._seen(_rounds(1, system, False, (True,)), True, False, ("", ""))
                later, _ = self._seen(_rounds(2, system, False, (True, False)), True, False, ("", ""))
            except _Unlike:
                continue
            if sum(slot.is_reasoning for slot in found) != 1 or found[-1].is_reasoning:
                return False
            return self.form == "key" or not any(slot.is_reasoning for slot in later)
        return False

    def grammar(self, way: Opening) -> Grammar:
        """Return the grammar of conversations that begin this way; one with a `refusal` if there is none."""
        gaps: dict[str, str] = {}
        trims: dict[str, Trim | None] = {}
        thoughts = self.form is not None
        try:
            # Between any two neighbours stands one answer at most: two patterns show all there is.
            for shape, ask in _lessons(way, LEARNED_ROUNDS, [(False,), (True,)] if thoughts else [(False,)]):
                self._learn(shape, way.thinking, ask, gaps, trims)
            made = Grammar(gaps, trims)
            for shape, ask in _lessons(way, VERIFIED_ROUNDS, [(False,), (True, False)] if thoughts else [(False,)]):
                self._verify(made, shape, way.thinking, ask)
            return made
        except _Unlike as fault:
            return Grammar(refusal=fault.reason)

    def _learn(
        self, shape: Shape, thinking: bool, ask: bool, gaps: dict[str, str], trims: dict[str, Trim | None]
    ) -> None:
        """Add what this conversation shows."""
        found, between = self._seen(shape, thinking, ask, ("", ""))
        keys = [START, *(slot.key for slot in found), ASK if ask else END]
        for (left, right), text in zip(pairwise(keys), between, strict=True):
            if gaps.setdefault(f"{left} {right}", text) != text:
                raise _Unlike(f"同样的位置有不同的写法（{left} {right}）", f"it writes {left} {right} in two ways")
        padded, stretched = self._seen(shape, thinking, ask, (_PAD_LEFT, _PAD_RIGHT))
        if padded != found:
            raise _Unlike("消息两端的空白会改变它的写法", "white space around a message changes what it writes")
        ends = list(_ends(between, stretched))
        shown = {slot: Trim(ends[i][1], ends[i + 1][0]) for i, slot in enumerate(found)}
        for slot in slots(shape):
            trim = shown.get(slot)
            if trims.setdefault(slot.key, trim) != trim:
                raise _Unlike(f"同样的位置去掉的空白不同（{slot.key}）", f"it trims {slot.key} in two ways")

    def _seen(self, shape: Shape, thinking: bool, ask: bool, pad: tuple[str, str]) -> tuple[list[Slot], list[str]]:
        """Return the slots that a conversation of placeholders shows, and the text around them."""
        every = slots(shape)
        holders = {slot: f"{pad[0]}\U000f0000{number}\U000f0001{pad[1]}" for number, slot in enumerate(every)}
        parts = _HOLDER.split(self._render(shape, holders, thinking, ask))
        numbers = [int(number) for number in parts[1::2]]
        if numbers != sorted(set(numbers)) or max(numbers, default=0) >= len(every):
            raise _Unlike("它把一条消息写了两遍，或写错了位置", "it writes a message twice, or not in its place")
        return [every[number] for number in numbers], parts[::2]

    def _verify(self, made: Grammar, shape: Shape, thinking: bool, ask: bool) -> None:
        """Raise _Unlike unless the grammar writes real words as the template does."""
        words = {slot: _WORDS[slot.message % 2] for slot in slots(shape)}
        try:
            skeleton = made.skeleton(shape, ask)
        except KeyError:
            skeleton = []
        said = "".join(piece if isinstance(piece, str) else made.trim(piece)(words[piece]) for piece in skeleton)
        if said != self._render(shape, words, thinking, ask):
            raise _Unlike(
                "它会改写消息，或者长对话和短对话写法不同",
                "it rewrites messages, or writes long conversations differently from short ones",
            )

    def _render(self, shape: Shape, words: Mapping[Slot, str], thinking: bool, ask: bool) -> str:
        messages: list[dict[str, str]] = []
        for slot in slots(shape):
            role, text = shape[slot.message][0], words[slot]
            if slot.is_reasoning:
                messages.append({"role": role, "reasoning_content": text})
            elif len(messages) <= slot.message:
                messages.append({"role": role, "content": text})
            elif self.form == "key":
                messages[-1]["content"] = text
            else:
                thought = messages[-1].pop("reasoning_content")
                messages[-1]["content"] = f"<think>\n{thought}\n</think>\n\n{text}"
        try:
            text = self._template.render(
                messages=messages, add_generation_prompt=ask, enable_thinking=thinking, **self._tokens
            )
        except MemoryError:
            raise
        except Exception as error:  # a template can make its engine raise anything
            raise _Unlike(*_words(error)) from None
        if _LONE_SURROGATE.search(text):
            raise _Unlike("它写出半个字符", "it writes half a character")
        if len(text) > MOST_TEXT_CHARACTERS:
            raise _Unlike(
                f"几条消息就写了 {len(text):,} 个字", f"it writes {len(text):,} characters for a few messages"
            )
        return text


def _lessons(way: Opening, rounds: Sequence[int], patterns: Sequence[Sequence[bool]]) -> Iterator[tuple[Shape, bool]]:
    """Yield conversations that begin this way, whole and up to where an answer is asked for.

    Each pattern says, over and over, which answers have reasoning.
    """
    for count, pattern in product(rounds, patterns):
        shape = _rounds(count, way.system, way.greeting, list(islice(cycle(pattern), count)))
        yield shape, False
        yield shape[:-1], True


def _rounds(count: int, system: bool, greeting: bool, thoughts: Sequence[bool]) -> Shape:
    lead = [("system", False)] * system + [("assistant", False)] * greeting
    return (*lead, *(turn for thought in thoughts for turn in (("user", False), ("assistant", thought))))


def _ends(between: list[str], stretched: list[str]) -> Iterator[tuple[str | None, str | None]]:
    """Yield what is trimmed at each gap: from the right of the slot before it, and from the left of the one after."""
    last = len(between) - 1
    for index, (text, long) in enumerate(zip(between, stretched, strict=True)):
        rights = _kept_right() if index else {"": None}
        lefts = _kept_left() if index < last else {"": None}
        fits = [(r, left) for r in rights for left in lefts if f"{r}{text}{left}" == long]
        if not fits:
            raise _Unlike("它会改写消息两端的空白", "it changes white space around a message")
        kept_right, kept_left = fits[0]
        yield rights[kept_right], lefts[kept_left]


def _kept_left() -> dict[str, str | None]:
    """Return what can be left of the white space before a text, and the characters that the template trims then."""
    return {_PAD_LEFT: None, "": "", **{_PAD_LEFT[n:]: _PAD_LEFT[:n] for n in range(1, len(_PAD_LEFT))}}


def _kept_right() -> dict[str, str | None]:
    cuts = range(1, len(_PAD_RIGHT))
    return {_PAD_RIGHT: None, "": "", **{_PAD_RIGHT[:-n]: _PAD_RIGHT[-n:] for n in cuts}}


def _words(error: Exception) -> Text:
    words = str(error)[:MOST_REASON_CHARACTERS] or type(error).__name__
    return Text(words, words)
