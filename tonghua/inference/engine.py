"""Turn prompts into answers, token by token, with a key-value cache.

    prompts (ids) --tokens--> (index of the prompt, token) as they come --pieces--> the text that each token completes

`tokens` is the only generation loop, and `pieces` the only place where tokens become text and end an answer: streams,
whole answers, comparisons and the diary are all made of pieces. `Engine` applies the prompt contract.
Several prompts share one loop, so each step reads the weights once for all of them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..config.schema import Sampling
from ..core.model import Decoder
from ..prompt.contract import Contract
from ..prompt.conversation import Message, with_system
from ..prompt.renderer import Renderer
from .decode import tokens

StopReason = Literal["stop", "length"]


class AnswerPiece(NamedTuple):
    """What one token adds to the answer to a prompt. `stopped`: the token ends the answer and adds no text."""

    row: int  # index of the prompt
    text: str  # may be empty: a character of several tokens comes out when its last token is there
    stopped: bool


def pieces(
    decoder: Decoder, renderer: Renderer, prompts: Sequence[Sequence[int]], sampling: Sampling, stop_ids: Sequence[int]
) -> Iterator[AnswerPiece]:
    """Yield a piece for every token of the answers to `prompts` (ids); an answer that ends otherwise was cut off.

    The texts of the pieces of an answer are the text of the answer, wherever it ends. Raises what `tokens` raises.
    """
    streams = [renderer.text_stream() for _ in prompts]
    for row, token in tokens(decoder, prompts, sampling, stop_ids, renderer.breaker_ids()):
        stopped = token in stop_ids
        yield AnswerPiece(row, "" if stopped else streams[row].push(token), stopped)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, how it ended and how fast it came."""

    text: str
    stop: StopReason  # "stop": the model ended it; "length": it was cut off
    tokens: int  # with the stop token
    first_token_s: float  # seconds until the first token, reading the prompt included
    tokens_per_s: float  # without the first token


class Engine:
    """A model, with or without its adapter, that answers under its prompt contract."""

    def __init__(self, decoder: Decoder, renderer: Renderer, contract: Contract):
        self.decoder, self.renderer, self.contract = decoder, renderer, contract
        decoder.eval()  # turns dropout off
        # One answer multiplies one row at a time, which reads a weight by rows fastest.
        for _, layer in decoder.linears():
            layer.lay_by_rows()

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        """Yield pieces of text as they come, then the whole `Answer`; the contract's system prompt comes first.

        Raises DataError if the messages leave no room for an answer, DivergedError if the model gives NaN or infinity.
        """
        start = time.perf_counter()
        first, count = 0.0, 0
        ended: StopReason = "length"
        coming = self._pieces([messages], sampling)
        if text := self._lead(messages):
            yield text
        for piece in coming:
            first = first or time.perf_counter() - start
            count += 1
            if piece.stopped:
                ended = "stop"
            text += piece.text
            if piece.text:
                yield piece.text
        elapsed = time.perf_counter() - start
        # Without the first token, whose time is mostly that of reading the prompt.
        rate = (count - 1) / (elapsed - first) if count > 1 else 0.0
        yield Answer(text, ended, count, first, rate)

    def answers(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        look: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[int, str, StopReason]]:
        """Yield (index of the conversation, text, stop) as each answer ends; raises as `stream` does.

        Calls `look` for every token; it may raise.
        """
        coming = self._pieces(conversations, sampling)
        texts = [*map(self._lead, conversations)]
        cut_off = dict.fromkeys(range(len(conversations)))
        for row, text, stopped in coming:
            look()
            texts[row] += text
            if stopped:
                del cut_off[row]
                yield row, texts[row], "stop"
        for row in cut_off:
            yield row, texts[row], "length"

    def _lead(self, messages: Sequence[Message]) -> str:
        """Return the opened mark of reasoning that ends the prompt: it belongs to the answer."""
        return self.renderer.lead(with_system(messages, self.contract.system), self.contract.thinking)

    def _pieces(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> Iterator[AnswerPiece]:
        thinking = self.contract.thinking
        prompts = [self.renderer.prompt(with_system(c, self.contract.system), thinking) for c in conversations]
        return pieces(self.decoder, self.renderer, prompts, sampling, self.contract.stop_ids)
