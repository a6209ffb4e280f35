"""Turn prompts into answers, token by token, with a key-value cache.

    prompts (ids) --prefill--> Cache --decode--> (index of the prompt, token) as they come, until all have ended

`tokens` is the only generation loop; `Engine` applies the prompt contract and returns text.
Several prompts share one loop, so each step reads the weights once for all of them.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ..config.schema import Sampling
from ..core.model import Decoder
from ..prompt.contract import Contract
from ..prompt.conversation import Message, with_system
from ..prompt.renderer import Renderer
from .decode import tokens

StopReason = Literal["stop", "length"]


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
        text, stream, first, count = "", self.renderer.text_stream(), 0.0, 0
        ended: StopReason = "length"
        for _, token in self._tokens([messages], sampling):
            first = first or time.perf_counter() - start
            count += 1
            if token in self.contract.stop_ids:
                ended = "stop"
                break
            # May be empty: a character of several tokens comes out when its last token is there.
            piece = stream.push(token)
            text += piece
            if piece:
                yield piece
        elapsed = time.perf_counter() - start
        # Without the first token, whose time is mostly that of reading the prompt.
        rate = (count - 1) / (elapsed - first) if count > 1 else 0.0
        yield Answer(text, ended, count, first, rate)

    def answers(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling
    ) -> Iterator[tuple[int, str, StopReason]]:
        """Yield (index of the conversation, text, stop) as each answer ends; raises as `stream` does."""
        ids: list[list[int]] = [[] for _ in conversations]
        for row, token in self._tokens(conversations, sampling):
            if token in self.contract.stop_ids:
                yield row, self.renderer.decode(ids[row]), "stop"
                ids[row].clear()  # marks the answer as given: what is left below was cut off
            else:
                ids[row].append(token)
        for row, rest in enumerate(ids):
            if rest:
                yield row, self.renderer.decode(rest), "length"

    def _tokens(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> Iterator[tuple[int, int]]:
        prompts = [self.renderer.prompt(with_system(c, self.contract.system)) for c in conversations]
        return tokens(self.decoder, prompts, sampling, self.contract.stop_ids, self.renderer.breaker_ids())
