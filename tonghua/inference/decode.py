"""Tokens one after another out of a decoder, with a key-value cache."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..config.schema import Sampling
from ..core import attention
from ..core.lora import linear
from ..core.model import Decoder
from ..errors import DataError
from .sampling import penalize, pick


class Cache:
    """Keys and values of B conversations, in every layer (B, K, capacity, D), filled from the left.

    They start as zeros: what is masked still enters as 0 · value, which must not be a NaN.
    """

    def __init__(self, decoder: Decoder, capacities: Sequence[int]):
        s = decoder.shape
        size = (s.layers, len(capacities), s.kv_heads, max(capacities), s.head_dim)
        self.keys, self.values = (torch.zeros(size, dtype=decoder.dtype, device=decoder.device) for _ in range(2))
        self.lengths = torch.zeros(len(capacities), dtype=torch.long, device=decoder.device)
        self.decoder = decoder

    def prefill(self, row: int, ids: Sequence[int]) -> Tensor:
        """Read the prompt of one conversation; returns the hidden state of its last token, (1, hidden)."""
        decoder, s = self.decoder, self.decoder.shape
        device = decoder.device
        layout = attention.lay_out(0, [len(ids)], s.heads, s.kv_heads, device, decoder.dtype)
        attend = attention.choose(device)

        def read(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self.keys[layer, row, :, : len(ids)] = k.transpose(0, 1)
            self.values[layer, row, :, : len(ids)] = v.transpose(0, 1)
            return attend(q, k, v, layout)

        positions = torch.arange(len(ids), device=device)
        last = torch.tensor([len(ids) - 1], device=device)
        self.lengths[row] = len(ids)
        return decoder(torch.tensor(ids, device=device), positions, read, last)  # type: ignore[no-any-return]

    def step(self, ids: Tensor) -> Tensor:
        """One more token (B,) of every conversation; returns hidden states (B, hidden)."""
        decoder, rows = self.decoder, torch.arange(len(ids), device=self.decoder.device)
        longest = int(self.lengths.max()) + 1
        places = torch.arange(longest, device=decoder.device)
        mask = torch.zeros(len(ids), 1, 1, longest, dtype=decoder.dtype, device=decoder.device)
        mask.masked_fill_((places > self.lengths[:, None])[:, None, None], float("-inf"))

        def read(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self.keys[layer], self.values[layer]
            keys[rows, :, self.lengths], values[rows, :, self.lengths] = k, v
            return attend_cached(q, keys[:, :, :longest], values[:, :, :longest], mask)

        hidden = decoder(ids, self.lengths.clone(), read)
        self.lengths += 1
        return hidden  # type: ignore[no-any-return]

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all conversations but these."""
        kept = torch.tensor(rows, device=self.decoder.device)
        self.keys, self.values = self.keys[:, kept], self.values[:, kept]
        self.lengths = self.lengths[kept]


def attend_cached(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """One query per conversation, q (B, H, D), against keys and values (B, K, L, D) and mask (B, 1, 1, L)."""
    queries: Tensor = q.unflatten(1, (keys.shape[1], -1))
    scores = (queries @ keys.mT) * q.shape[2] ** -0.5 + mask
    out: Tensor = scores.softmax(-1) @ values
    return out.flatten(1)


@torch.inference_mode()
def tokens(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    stop_ids: Sequence[int],
    breakers: frozenset[int],
) -> Iterator[tuple[int, int]]:
    """(which prompt, next token) in turn; an answer is over after a stop token or `max_new_tokens`.

    Raises DataError where a prompt leaves no room for an answer.
    """
    room = [_room(decoder, prompt, sampling.max_new_tokens) for prompt in prompts]
    cache = Cache(decoder, [len(p) + r for p, r in zip(prompts, room, strict=True)])
    hidden = torch.cat([cache.prefill(row, prompt) for row, prompt in enumerate(prompts)])
    answers: list[list[int]] = [[] for _ in prompts]
    generators = [_generator(sampling.seed, row) for row in range(len(prompts))]
    alive = list(range(len(prompts)))
    while True:
        logits = linear(hidden, decoder.head).float()
        for line, row in enumerate(alive):
            penalized = penalize(logits[line], answers[row], sampling, breakers)
            answers[row].append(pick(penalized, sampling, generators[row]))
            yield row, answers[row][-1]
        going = [
            line for line, row in enumerate(alive) if answers[row][-1] not in stop_ids and len(answers[row]) < room[row]
        ]
        if not going:
            return
        if len(going) < len(alive):
            cache.keep(going)
            alive = [alive[line] for line in going]
        last = [answers[row][-1] for row in alive]
        hidden = cache.step(torch.tensor(last, device=decoder.device))


def _room(decoder: Decoder, prompt: Sequence[int], wanted: int) -> int:
    left = decoder.shape.max_positions - len(prompt)
    if left < 1:
        raise DataError(
            f"对话有 {len(prompt)} 个 token，超过模型的上限 {decoder.shape.max_positions}；请开始新的对话",
            f"the conversation has {len(prompt)} tokens and the model takes {decoder.shape.max_positions};"
            " start a new one",
        )
    return min(left, wanted)


def _generator(seed: int | None, row: int) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed + row)
    return generator
