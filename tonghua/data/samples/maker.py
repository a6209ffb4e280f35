"""Convert rows to token ids: one sample if a row fits, several if it is longer, a problem if it cannot be split."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...config.schema import Overlong
from ...core.example import Example
from ...errors import DataError
from ...prompt.conversation import Conversation, Message, Thinking, with_system
from ...prompt.renderer import NotTakenError, Renderer
from ...prompt.thoughts import thinks
from ...text import Text
from ..read.dataset import RowProblem, question_hash
from .endings import split_conversation

_TAKE_ANOTHER = Text("改成一问一答，或换一个模型", "write it as questions and answers in turn, or take another model")

TARGET = np.uint32(1 << 31)
"""The bit of an id in tokens.bin that marks a target, a token to learn."""

SAMPLE = np.dtype(
    [
        ("start", "<u8"),  # offset of its ids in tokens.bin, in tokens
        ("text", "<u8"),  # offset of its line in texts.jsonl, in bytes
        ("question", "<u8"),  # hash of its row's first question: samples with the same hash stay on one side
        ("asked", "<u8"),  # hash of all that system and user say in its row: evaluation counts equal ones as one
        ("tokens", "<u4"),
        ("targets", "<u4"),
        ("shared", "<u4"),
        ("line", "<u4"),
        ("row_tokens", "<u4"),  # of the whole row, even if it was split
        ("part", "<u4"),  # 0-based index of the sample in its row
    ]
)


@dataclass(frozen=True, slots=True)
class SampleSettings:
    """The settings that change the ids, beside the rows, the template and the tokenizer."""

    system: str | None
    max_length: int
    overlong: Overlong
    enable_thinking: Thinking = "auto"


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Counts of rows: read = kept + bad + too_long. `split` of the kept rows were over max_length and were split.

    Of the kept rows, `thinking` end with an answer that is learned with its reasoning, `unthought` lose reasoning, and
    `ungreeted` lose a greeting that leaves no room for the rest.
    """

    read: int = 0
    kept: int = 0
    bad: int = 0
    too_long: int = 0
    split: int = 0
    thinking: int = 0
    unthought: int = 0
    ungreeted: int = 0

    @property
    def dropped(self) -> int:
        """Rows that are not used: bad or too long."""
        return self.bad + self.too_long

    def __add__(self, other: "RowCounts") -> "RowCounts":
        return RowCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


class Made(NamedTuple):
    """The output of one batch of rows, for each of the files."""

    tokens: bytes
    samples: NDArray[np.void]  # `start` and `text` are relative to this batch
    texts: bytes
    counts: RowCounts
    problems: list[RowProblem]


class _MadeSample(NamedTuple):
    conversation: Conversation
    example: Example
    row_tokens: int  # of its whole row
    part: int
    question: int  # hash of the row's first question, even if the sample lacks that question
    asked: int = 0  # hash of all that system and user say in the row


class Maker:
    """Convert batches of rows to their part of the files."""

    def __init__(self, folder: Path, settings: SampleSettings):
        self.renderer, self.settings = Renderer(folder), settings

    def __call__(self, rows: Sequence[tuple[Conversation, str]]) -> Made:
        """Tokenize `rows`: each a conversation with its file name, "" if there is only one file.

        A row that cannot be used becomes a problem. Raises DataError if a row is too long and `overlong` is "error".
        """
        wish = self.settings.enable_thinking
        settled = [self._settled(conversation) for conversation, _ in rows]
        made = self._made(settled)
        samples: list[_MadeSample] = []
        problems: list[RowProblem] = []
        counts = Counter(read=len(rows))
        for (written, file), conversation, example in zip(rows, settled, made, strict=True):
            try:
                parts = self._samples(conversation, example)
            except NotTakenError as fault:
                problems.append(RowProblem(written.line, fault.text, _TAKE_ANOTHER, file))
                counts["bad"] += 1
                continue
            tokens = len(example.ids) if isinstance(example, Example) else 0
            if parts is None:
                problems.append(self._too_long(written.line, file, tokens))
                counts["too_long"] += 1
                continue
            samples += parts
            counts["kept"] += 1
            counts["split"] += tokens > self.settings.max_length
            counts["thinking"] += self.renderer.has_thoughts and thinks(conversation.messages, wish)
            counts["ungreeted"] += _greets(conversation) and not _greets(parts[0].conversation)
            counts["unthought"] += wish == "auto" and _reasonings(written) > _reasonings(conversation)
        return Made(*self._written(samples), RowCounts(**counts), problems)

    def refusal(self, conversation: Conversation) -> RowProblem | None:
        """Return the problem of a row that the template does not take; None if it takes it, at any length."""
        settled = self._settled(conversation)
        try:
            self._samples(settled, *self._made([settled]))
        except NotTakenError as fault:
            return RowProblem(conversation.line, fault.text, _TAKE_ANOTHER)
        return None

    def _settled(self, conversation: Conversation) -> Conversation:
        messages = self.renderer.settled(conversation.messages, self.settings.enable_thinking)
        return replace(conversation, messages=messages)

    def _made(self, conversations: Sequence[Conversation]) -> list[Example | NotTakenError | None]:
        """Return the example of each, or why there is none; None = no answer stands where the template asks for it."""
        try:
            return [*self._examples(conversations)]
        except ValueError:
            none: NotTakenError | None = None
        except NotTakenError as fault:
            none = fault
        # All at once is faster; one by one shows which of them it is.
        return [none] if len(conversations) == 1 else [self._made([each])[0] for each in conversations]

    def _examples(self, conversations: Sequence[Conversation]) -> list[Example]:
        return self.renderer.examples(conversations, self.settings.system, self.settings.enable_thinking)

    def _samples(
        self, conversation: Conversation, example: Example | NotTakenError | None
    ) -> list["_MadeSample"] | None:
        """Return the samples of a row, or None if it is too long. Raises NotTakenError."""
        if isinstance(example, NotTakenError):
            raise example
        tokens = 0 if example is None else len(example.ids)
        question, asked = question_hash(conversation), _asked_hash(conversation)
        if example is not None and tokens <= self.settings.max_length and self._teaches_all(conversation, example):
            return [_MadeSample(conversation, example, tokens, 0, question, asked)]
        parts = self._parts(conversation, example)
        if parts is None:
            return None
        made = self._made(parts)
        found: list[_MadeSample] = []
        for number, (part, one) in enumerate(zip(parts, made, strict=True)):
            if not isinstance(one, Example):
                raise one or NotTakenError(
                    "模型的对话模板没有给这里的回答留位置", "the model's chat template has no place for an answer here"
                )
            found.append(_MadeSample(part, one, tokens or len(one.ids), number, question, asked))
        return found

    def _teaches_all(self, conversation: Conversation, example: Example | None) -> bool:
        """True if the template teaches every answer to learn; some templates teach only the last."""
        if example is None:
            return False
        wanted = sum(message.role == "assistant" and message.learn for message in conversation.messages)
        if wanted == 1:
            return True
        starts = sum(now and not before for before, now in pairwise(example.is_target))
        return starts == wanted

    def _parts(self, conversation: Conversation, example: Example | None) -> list[Conversation] | None:
        """Return conversations that fit and together teach every answer once, or None if that is impossible."""
        parts: list[Conversation] = []
        for one in self._by_answer(conversation, example):
            if self.settings.overlong == "split":
                pieces = split_conversation(one, self._count, self.settings.max_length)
            else:
                pieces = [one] if self._count(one.messages) <= self.settings.max_length else None
            if not pieces:
                return None
            parts += pieces
        return parts

    def _count(self, messages: Sequence[Message]) -> int:
        return self.renderer.count(with_system(messages, self.settings.system), self.settings.enable_thinking)

    def _by_answer(self, conversation: Conversation, example: Example | None) -> list[Conversation]:
        """Return the conversation up to each answer, with only that learned, if the template teaches only the last."""
        if self._teaches_all(conversation, example):
            return [conversation]
        learned = [i for i, m in enumerate(conversation.messages) if m.role == "assistant" and m.learn]
        upto = (conversation.messages[: at + 1] for at in learned)
        return [replace(conversation, messages=(*_as_context(some[:-1]), some[-1])) for some in upto]

    def _too_long(self, line: int, file: str, tokens: int) -> RowProblem:
        limit = self.settings.max_length
        what = Text(
            f"有 {tokens} 个 token，超过 max_length={limit}", f"has {tokens} tokens, more than max_length={limit}"
        )
        if self.settings.overlong == "split":
            what = Text(
                f"{what.zh}，又没有可以断开的地方，整行不用（不会截断）",
                f"{what.en}, and no place to part it; the row is left out, not cut",
            )
        else:
            what = Text(f"{what.zh}，整行不用（不会截断）", f"{what.en}; the row is left out, not cut")
        mend = Text("调大 max_length，或把它拆成几行", "set a larger max_length, or split it into several rows")
        problem = RowProblem(line, what, mend, file, blocks=self.settings.overlong == "error")
        if problem.blocks:
            where = problem.place
            raise DataError(f"{where.zh}{what.zh}；{mend.zh}", f"{where.en} {what.en}; {mend.en}")
        return problem

    def _written(self, samples: Sequence["_MadeSample"]) -> tuple[bytes, NDArray[np.void], bytes]:
        sizes = np.array([len(sample.example.ids) for sample in samples], np.int64)
        ends = np.cumsum(sizes)
        every = int(sizes.sum())
        ids = np.fromiter(chain.from_iterable(sample.example.ids for sample in samples), np.uint32, every)
        wanted = np.fromiter(chain.from_iterable(sample.example.is_target for sample in samples), np.bool_, every)
        texts = [_text(sample.conversation) for sample in samples]
        text_ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        index = np.zeros(len(samples), SAMPLE)
        index["tokens"] = sizes
        index["start"][1:], index["text"][1:] = ends[:-1], text_ends[:-1]
        for place, sample in enumerate(samples):
            conversation, example = sample.conversation, sample.example
            index["question"][place], index["asked"][place] = sample.question, sample.asked
            index["targets"][place], index["shared"][place] = example.targets, example.shared
            index["line"][place], index["row_tokens"][place] = conversation.line, sample.row_tokens
            index["part"][place] = sample.part
        return np.where(wanted, ids | TARGET, ids).tobytes(), index, b"".join(texts)


def _greets(conversation: Conversation) -> bool:
    """True if the assistant speaks first."""
    return next(m.role for m in conversation.messages if m.role != "system") == "assistant"


def _reasonings(conversation: Conversation) -> int:
    """Return the number of answers that have reasoning beside them."""
    return sum(bool(message.reasoning) for message in conversation.messages)


def _asked_hash(conversation: Conversation) -> int:
    """Return a 64-bit hash of all messages that are not answers."""
    asked = [[m.role, m.content] for m in conversation.messages if m.role != "assistant"]
    return int.from_bytes(hashlib.blake2b(json.dumps(asked).encode(), digest_size=8).digest())


def _as_context(messages: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(replace(message, learn=False) for message in messages)


def _text(conversation: Conversation) -> bytes:
    messages = [[m.role, m.content, m.learn, *([m.reasoning] if m.reasoning else [])] for m in conversation.messages]
    return json.dumps(messages, ensure_ascii=False).encode() + b"\n"
