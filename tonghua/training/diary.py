"""The diary of a run: answers to the same few prompts at several points of training.

    step 0 (the base)   从前，有一只…          all entries have the same limit of tokens per answer, so they compare;
    step 120            刺猬把最后一颗莓果…     the first entry, within FIRST_S, sets it
    ...

A run of few steps on a slow machine has none: its entries would take longer than its steps.

It is for people and does not change training: it draws from generators of its own.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from ..config.schema import Sampling
from ..core.model import Decoder
from ..inference.decode import tokens
from ..inference.engine import pieces
from ..prompt.conversation import Message, with_system
from ..prompt.renderer import Renderer
from ..runs.record import number

PROMPTS = 5
"""Maximum number of prompts."""

FIRST_S = 3.0
"""Time limit of the first entry, in seconds."""

LEAST_TOKENS = 24
"""Minimum limit of tokens per answer; the time limit of the first entry cuts no answer shorter than this."""

SHARE = 0.015
"""Between the first and the last, an entry is written only if the earlier ones took at most this share of the time."""

BRIEF_S, FIRST_SHARE = 1.0, 0.1
"""The first entry is written if it is expected to take less than BRIEF_S, or than this share of the time of all steps.

Without a first entry there is nothing to compare with, so no later one is written either."""

PASS_TOKENS = 64
"""One more token of all answers takes about as long as reading this many tokens: reading the weights decides."""

PromptMessages = Sequence[Message]


def choose_prompts(prompts: Iterable[PromptMessages]) -> list[PromptMessages]:
    """Return the first PROMPTS prompts whose last messages differ."""
    different: dict[str, PromptMessages] = {}
    # Bounded: if most rows ask the same, it must not read a million of them.
    for prompt in islice(prompts, 20 * PROMPTS):
        different.setdefault(prompt[-1].content, prompt)
    return list(different.values())[:PROMPTS]


class Diary:
    """Writes the answers of the model to the same `prompts`.

    `token_s` is the time in seconds that one more token of all answers took in the last entry; 0 before the first.
    """

    def __init__(
        self,
        decoder: Decoder,
        renderer: Renderer,
        system: str | None,
        sampling: Sampling,
        prompts: Sequence[PromptMessages],
        thinking: bool = False,
    ):
        self._decoder, self._renderer = decoder, renderer
        self._asked = [prompt[-1].content for prompt in prompts]
        self._ids = [renderer.prompt(with_system(prompt, system), thinking) for prompt in prompts]
        # A fixed seed: entries differ because the weights differ, and not by chance.
        self._sampling = sampling if sampling.seed is not None else sampling.model_copy(update={"seed": 0})
        self._tokens: int | None = None
        self._spent_s = self.token_s = 0.0
        self._kept = True

    def plan(self, read_s: float, all_steps_s: float) -> None:
        """Decide if the run has a diary; `read_s`: seconds in which it reads a token without learning."""
        expected = read_s * (sum(map(len, self._ids)) + PASS_TOKENS * LEAST_TOKENS)
        self._kept = expected <= max(BRIEF_S, FIRST_SHARE * all_steps_s)

    def is_due(self, first_or_last: bool, training_s: float) -> bool:
        """True if the run has a diary and its entries so far took at most SHARE of `training_s`, in seconds."""
        return self._kept and (first_or_last or self._spent_s <= SHARE * training_s)

    def go_on(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Take over the token limit and the time of `entries`, which were written before the run was resumed."""
        self._kept = bool(entries)
        self._spent_s = sum(number(entry, "seconds") or 0.0 for entry in entries)
        if entries:
            self.token_s = (number(entries[-1], "seconds") or 0.0) / (number(entries[-1], "tokens") or 1)
            # Timed again, the first entry would set another limit, and the entries would not compare.
            self._tokens = entries[0].get("tokens")

    def entry(self, look: Callable[[], None]) -> dict[str, Any]:
        """Return the present answers: {"tokens": limit of each, "seconds", "answers": [{"prompt", "text", "stop"}, …]}.

        "stop" is "stop" or "length". Calls `look` for every token; it may raise. Raises DataError if a prompt leaves
        no room for an answer.
        """
        start = time.perf_counter()
        self._decoder.eval()  # no dropout; the next step calls train() again
        most = self._tokens or self._sampling.max_new_tokens
        texts, counts = [""] * len(self._ids), [0] * len(self._ids)
        ended = [False] * len(self._ids)
        sampling = self._sampling.model_copy(update={"max_new_tokens": most})
        renderer = self._renderer
        coming = tokens(self._decoder, self._ids, sampling, renderer.stop_ids, renderer.breaker_ids())
        for row, text, stopped, _ in pieces(coming, renderer, len(self._ids), renderer.stop_ids):
            look()
            if stopped:
                ended[row] = True
                continue
            late = self._tokens is None and time.perf_counter() - start > FIRST_S
            # Answers grow in turn, one token each, so all unfinished ones are about as long here.
            if late and counts[row] >= LEAST_TOKENS:
                break
            texts[row] += text
            counts[row] += 1
        # A base that stops at once must not cut the answers of later entries short.
        self._tokens = self._tokens or max(LEAST_TOKENS, *counts)
        elapsed = time.perf_counter() - start
        self._spent_s += elapsed
        self.token_s = elapsed / max(1, *counts)
        answers = [
            {"prompt": asked, "text": text, "stop": "stop" if done else "length"}
            for asked, text, done in zip(self._asked, texts, ended, strict=True)
        ]
        return {"tokens": self._tokens, "seconds": elapsed, "answers": answers}
