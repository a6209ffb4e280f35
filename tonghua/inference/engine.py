"""Turn prompts into answers, token by token, under the prompt contract.

    messages --renderer--> prompt (ids) --Engine.tokens--> a Token each as they come --pieces--> text of each token

An engine is anything with `tokens`: `torch_engine.py` is ours, `llama_engine.py` hands the work to llama.cpp. `pieces`
is the only place where tokens become text and end an answer: streams, whole answers, comparisons and the diary are all
made of pieces. So all engines read the same prompt and stop at the same token.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..config.schema import Sampling
from ..errors import DataError
from ..prompt.contract import Contract
from ..prompt.conversation import Message, with_system
from ..prompt.renderer import Renderer

StopReason = Literal["stop", "length"]


TokenLogs = tuple[tuple[int, float], ...]
"""(id, log p in nats) of a token and then of the likeliest ones in its place, by the model alone: before penalties."""


class Token(NamedTuple):
    """The next token of the answer to one of the prompts. `logs` is empty unless it was asked for."""

    row: int  # index of the prompt
    id: int
    logs: TokenLogs = ()


class AnswerPiece(NamedTuple):
    """What one token adds to the answer to a prompt. `stopped`: the token ends the answer and adds no text."""

    row: int  # index of the prompt
    text: str  # may be empty: a character of several tokens comes out when its last token is there
    stopped: bool
    logs: TokenLogs = ()


def pieces(coming: Iterable[Token], renderer: Renderer, prompts: int, stop_ids: Sequence[int]) -> Iterator[AnswerPiece]:
    """Yield a piece for every token of the answers to so many `prompts`; an answer that ends otherwise was cut off.

    The texts of the pieces of an answer are the text of the answer, wherever it ends.
    """
    streams = [renderer.text_stream() for _ in range(prompts)]
    for row, id, logs in coming:
        stopped = id in stop_ids
        yield AnswerPiece(row, "" if stopped else streams[row].push(id), stopped, logs)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, how it ended and how fast it came."""

    text: str
    stop: StopReason  # "stop": the model ended it; "length": it was cut off
    tokens: int  # with the stop token
    prompt_tokens: int
    first_token_s: float  # seconds until the first token, reading the prompt included
    tokens_per_s: float  # without the first token


Pieces = Generator[AnswerPiece | Answer, None, None]
"""A piece for each token as it comes, and at last the answer; `close` gives it up."""


class Engine(ABC):
    """A model, with or without its adapter, that answers under its prompt contract.

    Any number of threads may each read answers of their own at the same time; each in turn gets a token. An answer
    whose iterator is closed ends at once.
    """

    def __init__(self, renderer: Renderer, contract: Contract):
        self.renderer, self.contract = renderer, contract

    @property
    @abstractmethod
    def name(self) -> str:
        """What computes, for people: the program, and the type of the weights."""

    @property
    @abstractmethod
    def context_tokens(self) -> int:
        """Maximum tokens of a prompt and its answer."""

    @abstractmethod
    def tokens(
        self,
        prompts: Sequence[Sequence[int]],
        sampling: Sampling,
        tuned: bool = True,
        likeliest: int | None = None,
    ) -> Iterator[Token]:
        """Yield the tokens of the answers as they come.

        tuned        with the adapter, if there is one
        likeliest    fill `logs`: the token itself, and so many of the likeliest ones in its place

        An answer ends after a stop token, after `max_new_tokens`, or when the context is full. The same seed and the
        same prompt draw the same numbers, whatever runs beside it; llama.cpp rounds otherwise if more is computed at
        once. Raises DataError if a prompt leaves no room for an answer, DivergedError if the model gives NaN or
        infinity.
        """

    def stream(
        self, messages: Sequence[Message], sampling: Sampling, tuned: bool = True, likeliest: int | None = None
    ) -> Pieces:
        """Yield a piece for every token as it comes, then the whole `Answer`.

        The contract's system prompt comes first. Arguments and errors as in `tokens`.
        """
        start = time.perf_counter()
        first, count = 0.0, 0
        ended: StopReason = "length"
        prompt = self.prompt(messages)
        coming = pieces(self.tokens([prompt], sampling, tuned, likeliest), self.renderer, 1, self.contract.stop_ids)
        if text := self._lead(messages):
            yield AnswerPiece(0, text, False)
        for piece in coming:
            first = first or time.perf_counter() - start
            count += 1
            if piece.stopped:
                ended = "stop"
            text += piece.text
            yield piece
        elapsed = time.perf_counter() - start
        # Without the first token, whose time is mostly that of reading the prompt.
        rate = (count - 1) / (elapsed - first) if count > 1 else 0.0
        yield Answer(text, ended, count, len(prompt), first, rate)

    def answers(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        look: Callable[[], None] = lambda: None,
        tuned: bool = True,
    ) -> Iterator[tuple[int, str, StopReason]]:
        """Yield (index of the conversation, text, stop) as each answer ends; raises as `stream` does.

        Calls `look` for every token; it may raise.
        """
        prompts = [*map(self.prompt, conversations)]
        coming = pieces(self.tokens(prompts, sampling, tuned), self.renderer, len(prompts), self.contract.stop_ids)
        texts = [*map(self._lead, conversations)]
        cut_off = dict.fromkeys(range(len(conversations)))
        for piece in coming:
            look()
            texts[piece.row] += piece.text
            if piece.stopped:
                del cut_off[piece.row]
                yield piece.row, texts[piece.row], "stop"
        for row in cut_off:
            yield row, texts[row], "length"

    def _lead(self, messages: Sequence[Message]) -> str:
        """Return the opened mark of reasoning that ends the prompt: it belongs to the answer."""
        return self.renderer.lead(with_system(messages, self.contract.system), self.contract.thinking)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Return the ids of a conversation under the contract, up to where the answer begins."""
        return self.renderer.prompt(with_system(messages, self.contract.system), self.contract.thinking)


def room_for_answer(prompt: Sequence[int], context_tokens: int, wanted: int) -> int:
    """Return how many tokens an answer can have, at most `wanted`. Raises DataError if it is none."""
    left = context_tokens - len(prompt)
    if left < 1:
        raise DataError(
            f"对话有 {len(prompt)} 个 token，超过模型的上限 {context_tokens}；请开始新的对话",
            f"the conversation has {len(prompt)} tokens and the model takes {context_tokens}; start a new one",
        )
    return min(left, wanted)
