"""The diary of a run: the same few prompts answered as training goes on.

    step 0 (the base)   从前，有一只…          every entry has as many tokens an answer, so that they compare;
    step 120            刺猬把最后一颗莓果…     the first entry, in FIRST_S, says how many
    ...

It is for people and changes nothing in training: it draws from generators of its own.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from ..config.schema import Sampling
from ..core.model import Decoder
from ..inference.decode import tokens
from ..prompt.conversation import Message, with_system
from ..prompt.renderer import Renderer

PROMPTS = 5

FIRST_S = 3.0

LEAST_TOKENS = 24

SHARE = 0.015
"""Of the time of training: entries between the first and the last are left out where they would take more."""

PromptMessages = Sequence[Message]


def choose_prompts(prompts: Iterable[PromptMessages]) -> list[PromptMessages]:
    """The first few that ask different things."""
    different: dict[str, PromptMessages] = {}
    for prompt in islice(prompts, 20 * PROMPTS):
        different.setdefault(prompt[-1].content, prompt)
    return list(different.values())[:PROMPTS]


class Diary:
    """What the model writes to the same `prompts`, now and then."""

    def __init__(
        self,
        decoder: Decoder,
        renderer: Renderer,
        system: str | None,
        sampling: Sampling,
        prompts: Sequence[PromptMessages],
    ):
        self._decoder, self._renderer = decoder, renderer
        self._asked = [prompt[-1].content for prompt in prompts]
        self._ids = [renderer.prompt(with_system(prompt, system)) for prompt in prompts]
        self._sampling = sampling if sampling.seed is not None else sampling.model_copy(update={"seed": 0})
        self._tokens: int | None = None
        self._spent_s = 0.0

    def affordable(self, training_s: float) -> bool:
        """Whether one more entry, as long as the last one took, stays within its share."""
        return self._spent_s <= SHARE * training_s

    def go_on(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """After entries that were written before, to be as long as they are."""
        if entries:
            self._tokens = entries[0].get("tokens")

    def entry(self, look: Callable[[], None]) -> dict[str, Any]:
        """What it answers now: {"tokens": at most so many each, "answers": [{"prompt", "text", "stop"}, …]}.

        `look` is called with every token and may raise.
        """
        start = time.perf_counter()
        self._decoder.eval()
        most = self._tokens or self._sampling.max_new_tokens
        written: list[list[int]] = [[] for _ in self._ids]
        ended = [False] * len(self._ids)
        sampling = self._sampling.model_copy(update={"max_new_tokens": most})
        stop_ids, breakers = self._renderer.stop_ids, self._renderer.breaker_ids()
        for row, token in tokens(self._decoder, self._ids, sampling, stop_ids, breakers):
            look()
            if token in stop_ids:
                ended[row] = True
                continue
            late = self._tokens is None and time.perf_counter() - start > FIRST_S
            if late and len(written[row]) >= LEAST_TOKENS:
                break
            written[row].append(token)
        self._tokens = self._tokens or max(LEAST_TOKENS, *map(len, written))
        self._spent_s += time.perf_counter() - start
        answers = [
            {"prompt": asked, "text": self._renderer.decode(ids), "stop": "stop" if done else "length"}
            for asked, ids, done in zip(self._asked, written, ended, strict=True)
        ]
        return {"tokens": self._tokens, "answers": answers}
