"""Convert rows to token ids: one sample if a row fits, several if it is longer, a problem if it cannot be split."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...config.schema import Overlong
from ...core.example import Example
from ...errors import DataError, RefusedError
from ...prompt.conversation import Conversation, Message, with_system
from ...prompt.renderer import Renderer
from ...text import Text
from ..read.dataset import RowProblem, question_hash
from .endings import split_conversation

TARGET = np.uint32(1 << 31)
"""The bit of an id in tokens.bin that marks a target, a token to learn."""

SAMPLE = np.dtype(
    [
        ("start", "<u8"),  # offset of its ids in tokens.bin, in tokens
        ("text", "<u8"),  # offset of its line in texts.jsonl, in bytes
        ("question", "<u8"),  # hash of its first question: samples with the same hash stay on one side
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


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Counts of rows: read = kept + bad + too_long. `split` of the kept rows were over max_length and were split."""

    read: int = 0
    kept: int = 0
    bad: int = 0
    too_long: int = 0
    split: int = 0

    @property
    def dropped(self) -> int:
        """Rows that are not used: bad or too long."""
        return self.bad + self.too_long

    def __add__(self, other: "RowCounts") -> "RowCounts":
        return RowCounts(*(a + b for a, b in zip(_values(self), _values(other), strict=True)))


def _values(counts: RowCounts) -> tuple[int, ...]:
    return counts.read, counts.kept, counts.bad, counts.too_long, counts.split


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


class Maker:
    """Convert batches of rows to their part of the files."""

    def __init__(self, folder: Path, settings: SampleSettings):
        self.renderer, self.settings = Renderer(folder), settings

    def __call__(self, rows: Sequence[tuple[Conversation, str]]) -> Made:
        """Tokenize `rows`: each a conversation with its file name, "" if there is only one file.

        Raises DataError if a row is too long and `overlong` is "error", or if the template changes a text. Raises
        RefusedError if an answer does not end with the end-of-turn token.
        """
        examples = self.renderer.examples([conversation for conversation, _ in rows], self.settings.system)
        samples: list[_MadeSample] = []
        problems: list[RowProblem] = []
        split = 0
        for (conversation, file), example in zip(rows, examples, strict=True):
            tokens, question = len(example.ids), question_hash(conversation)
            if tokens <= self.settings.max_length and self._teaches_all(conversation, example):
                samples.append(_MadeSample(conversation, example, tokens, 0, question))
                continue
            parts = self._parts(conversation, example)
            if parts is None:
                problems.append(self._too_long(conversation.line, file, tokens))
                continue
            made = self.renderer.examples(parts, self.settings.system)
            both = zip(parts, made, strict=True)
            samples += [_MadeSample(*one, tokens, number, question) for number, one in enumerate(both)]
            split += tokens > self.settings.max_length
        counts = RowCounts(len(rows), len(rows) - len(problems), 0, len(problems), split)
        return Made(*self._written(samples), counts, problems)

    def _teaches_all(self, conversation: Conversation, example: Example) -> bool:
        """True if the template teaches every answer to learn; some templates teach only the last."""
        wanted = sum(message.role == "assistant" and message.learn for message in conversation.messages)
        if wanted == 1:
            return True
        starts = sum(now and not before for before, now in pairwise(example.is_target))
        return starts == wanted

    def _parts(self, conversation: Conversation, example: Example) -> list[Conversation] | None:
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
        return self.renderer.count(with_system(messages, self.settings.system))

    def _by_answer(self, conversation: Conversation, example: Example) -> list[Conversation]:
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
        if self.settings.overlong == "error":
            where = Text(f"{file} 第 {line} 行".strip(), f"{file} line {line}".strip())
            raise DataError(f"{where.zh}{what.zh}；{mend.zh}", f"{where.en} {what.en}; {mend.en}")
        return RowProblem(line, what, mend, file)

    def _written(self, samples: Sequence["_MadeSample"]) -> tuple[bytes, NDArray[np.void], bytes]:
        sizes = np.array([len(sample.example.ids) for sample in samples], np.int64)
        ends = np.cumsum(sizes)
        every = int(sizes.sum())
        ids = np.fromiter(chain.from_iterable(sample.example.ids for sample in samples), np.uint32, every)
        wanted = np.fromiter(chain.from_iterable(sample.example.is_target for sample in samples), np.bool_, every)
        self._require_endings(ids, wanted, ends, samples)
        texts = [_text(sample.conversation) for sample in samples]
        text_ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        index = np.zeros(len(samples), SAMPLE)
        index["tokens"] = sizes
        index["start"][1:], index["text"][1:] = ends[:-1], text_ends[:-1]
        for place, sample in enumerate(samples):
            conversation, example = sample.conversation, sample.example
            index["question"][place] = sample.question
            index["targets"][place], index["shared"][place] = example.targets, example.shared
            index["line"][place], index["row_tokens"][place] = conversation.line, sample.row_tokens
            index["part"][place] = sample.part
        return np.where(wanted, ids | TARGET, ids).tobytes(), index, b"".join(texts)

    def _require_endings(
        self,
        ids: NDArray[np.uint32],
        wanted: NDArray[np.bool_],
        ends: NDArray[np.int64],
        samples: Sequence["_MadeSample"],
    ) -> None:
        """Raise RefusedError if an answer's last target is not the end-of-turn token; `ends` (samples,) in tokens."""
        goes_on = np.append(wanted[1:], False)
        goes_on[ends - 1] = False
        lasts = np.flatnonzero(wanted & ~goes_on)
        wrong = lasts[ids[lasts] != self.renderer.stop_ids[0]]
        if len(wrong):
            line = samples[int(np.searchsorted(ends, wrong[0], side="right"))].conversation.line
            raise RefusedError(
                f"第 {line} 行的回答没有以结束标记收尾，模型会学不会停；这个模型的对话模板不能用",
                f"line {line}: an answer does not end with the end-of-turn token, so the model would not learn to stop;"
                " this chat template cannot be used",
            )


def _as_context(messages: Sequence[Message]) -> tuple[Message, ...]:
    return tuple(replace(message, learn=False) for message in messages)


def _text(conversation: Conversation) -> bytes:
    messages = [[m.role, m.content, m.learn, *([m.reasoning] if m.reasoning else [])] for m in conversation.messages]
    return json.dumps(messages, ensure_ascii=False).encode() + b"\n"
