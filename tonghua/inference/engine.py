"""From prompts to answers, token by token, with a key-value cache.

    prompts (ids) --prefill--> Cache --decode--> (which prompt, token) as they come, until each has ended

`tokens` is the one loop that generates; `Engine` puts the prompt contract around it and gives text.
Several prompts go through one loop: a CPU reads the weights once for all of them.
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
    """One answer and how it came about."""

    text: str
    stop: StopReason  # "stop": the model ended it; "length": it was cut off
    tokens: int
    first_token_s: float
    tokens_per_s: float


class Engine:
    """A model, with or without its adapter, that answers under its contract."""

    def __init__(self, decoder: Decoder, renderer: Renderer, contract: Contract):
        self.decoder, self.renderer, self.contract = decoder, renderer, contract
        decoder.eval()
        for _, layer in decoder.linears():
            layer.lay_by_rows()

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Answer]:
        """Pieces of text as they come, then the whole `Answer`. The contract's system prompt is put in front."""
        start = time.perf_counter()
        text, stream, first, count = "", self.renderer.text_stream(), 0.0, 0
        ended: StopReason = "length"
        for _, token in self._tokens([messages], sampling):
            first = first or time.perf_counter() - start
            count += 1
            if token in self.contract.stop_ids:
                ended = "stop"
                break
            piece = stream.push(token)
            text += piece
            if piece:
                yield piece
        elapsed = time.perf_counter() - start
        rate = (count - 1) / (elapsed - first) if count > 1 else 0.0
        yield Answer(text, ended, count, first, rate)

    def answers(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling
    ) -> Iterator[tuple[int, str, StopReason]]:
        """(which, text, stop) of each conversation as its answer ends."""
        ids: list[list[int]] = [[] for _ in conversations]
        for row, token in self._tokens(conversations, sampling):
            if token in self.contract.stop_ids:
                yield row, self.renderer.decode(ids[row]), "stop"
                ids[row].clear()
            else:
                ids[row].append(token)
        for row, rest in enumerate(ids):
            if rest:
                yield row, self.renderer.decode(rest), "length"

    def _tokens(self, conversations: Sequence[Sequence[Message]], sampling: Sampling) -> Iterator[tuple[int, int]]:
        prompts = [self.renderer.prompt(with_system(c, self.contract.system)) for c in conversations]
        return tokens(self.decoder, prompts, sampling, self.contract.stop_ids, self.renderer.breaker_ids())
