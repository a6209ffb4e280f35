"""Generate tokens from a decoder with a key-value cache."""

from collections.abc import Container, Iterator, Sequence

import torch
from torch import Tensor

from ..config.schema import Sampling
from ..core import attention
from ..core.lora import linear
from ..core.model import Decoder
from .engine import Token, TokenLogs, room_for_answer
from .sampling import penalize, pick


class Cache:
    """Keys and values of B conversations, per layer (B, K, capacity, D), filled from the left."""

    def __init__(self, decoder: Decoder, capacities: Sequence[int]):
        s = decoder.shape
        # Allocated once at full size: growing would copy the whole cache. K heads and not H: they are never repeated.
        size = (s.layers, len(capacities), s.kv_heads, max(capacities), s.head_dim)
        # Zeros: a masked place still enters as 0 * value, and fresh memory may hold a NaN.
        self.keys, self.values = (torch.zeros(size, dtype=decoder.dtype, device=decoder.device) for _ in range(2))
        self.lengths = torch.zeros(len(capacities), dtype=torch.long, device=decoder.device)
        self._counts = [0] * len(capacities)  # the same on the host, which would wait for the device to read them
        self.decoder = decoder

    def prefill(self, row: int, ids: Sequence[int]) -> Tensor:
        """Read the prompt of conversation `row`; return the hidden state of its last token, (1, hidden)."""
        decoder, s = self.decoder, self.decoder.shape
        device = decoder.device
        layout = attention.lay_out(0, [len(ids)], s.heads, s.kv_heads, device, decoder.dtype)
        attend = attention.choose_attention(device)

        def read(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            # Keys are stored after rotation, so a later step rotates only its own token.
            self.keys[layer, row, :, : len(ids)] = k.transpose(0, 1)
            self.values[layer, row, :, : len(ids)] = v.transpose(0, 1)
            return attend(q, k, v, layout)

        positions = torch.arange(len(ids), device=device)
        # Only the last token predicts: the last layer skips o and the MLP of all others.
        last = torch.tensor([len(ids) - 1], device=device)
        self.lengths[row] = self._counts[row] = len(ids)
        return decoder(torch.tensor(ids, device=device), positions, read, last)  # type: ignore[no-any-return]

    def step(self, ids: Tensor) -> Tensor:
        """Read one more token (B,) of every conversation; return hidden states (B, hidden)."""
        decoder, rows = self.decoder, torch.arange(len(ids), device=self.decoder.device)
        # No layer reads places beyond the longest conversation.
        longest = max(self._counts) + 1
        places = torch.arange(longest, device=decoder.device)
        mask = torch.zeros(len(ids), 1, 1, longest, dtype=decoder.dtype, device=decoder.device)
        # `>` and not `>=`: the token of this step is written at `lengths` and sees itself.
        mask.masked_fill_((places > self.lengths[:, None])[:, None, None], float("-inf"))

        def read(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            keys, values = self.keys[layer], self.values[layer]
            # Conversations differ in length: each writes at its own place, so a pair of indices and no slice.
            keys[rows, :, self.lengths], values[rows, :, self.lengths] = k, v
            return attend_cached(q, keys[:, :, :longest], values[:, :, :longest], mask)

        hidden = decoder(ids, self.lengths.clone(), read)
        self.lengths += 1
        self._counts = [count + 1 for count in self._counts]
        return hidden  # type: ignore[no-any-return]

    def keep(self, rows: Sequence[int]) -> None:
        """Keep only these conversations; the others take no more time or memory."""
        kept = torch.tensor(rows, device=self.decoder.device)
        self.keys, self.values = self.keys[:, kept], self.values[:, kept]
        self.lengths = self.lengths[kept]
        self._counts = [self._counts[row] for row in rows]


def attend_cached(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    """Return attention (B, H·D) of one query per conversation.

    q (B, H, D), keys and values (B, K, L, D), mask (B, 1, 1, L).
    """
    # The query heads of one key head form one matrix, so the cached keys and values are not repeated.
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
    breakers: Container[int],
    likeliest: int | None = None,
) -> Iterator[Token]:
    """Yield the next token of each prompt in turn; with its `logs`, if `likeliest` is given, as in `Engine.tokens`.

    An answer ends after a stop token, after `max_new_tokens`, or when the model's context is full.
    Raises DataError if a prompt leaves no room for an answer.
    """
    room = [room_for_answer(p, decoder.shape.max_positions, sampling.max_new_tokens) for p in prompts]
    cache = Cache(decoder, [len(p) + r for p, r in zip(prompts, room, strict=True)])
    # One prompt at a time, so none is padded to the length of another.
    hidden = torch.cat([cache.prefill(row, prompt) for row, prompt in enumerate(prompts)])
    answers: list[list[int]] = [[] for _ in prompts]
    # A generator per answer: what one draws does not depend on how many others run beside it.
    generators = [_generator(sampling.seed, row) for row in range(len(prompts))]
    alive = list(range(len(prompts)))
    while True:
        # One read of the head for all conversations, and one copy to the CPU, where tokens are chosen.
        logits = linear(hidden, decoder.head).to("cpu", torch.float32)  # penalties in bf16 would round the logits
        for line, row in enumerate(alive):
            penalized = penalize(logits[line], answers[row], sampling, breakers)
            answers[row].append(pick(penalized, sampling, generators[row]))
            yield Token(row, answers[row][-1], _logs(logits[line], answers[row][-1], likeliest))
        going = [
            line for line, row in enumerate(alive) if answers[row][-1] not in stop_ids and len(answers[row]) < room[row]
        ]
        if not going:
            return
        # Dropping a row copies the cache, so only when an answer has ended.
        if len(going) < len(alive):
            cache.keep(going)
            alive = [alive[line] for line in going]
        last = [answers[row][-1] for row in alive]
        hidden = cache.step(torch.tensor(last, device=decoder.device))


def _logs(logits: Tensor, chosen: int, likeliest: int | None) -> TokenLogs:
    if likeliest is None:
        return ()
    logs = logits.double().log_softmax(-1)
    found = logs.topk(min(likeliest, len(logs)))
    return ((chosen, logs[chosen].item()), *zip(found.indices.tolist(), found.values.tolist(), strict=True))


def _generator(seed: int | None, row: int) -> torch.Generator:
    # A generator of its own leaves PyTorch's global one, and so training, untouched.
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed + row)
    return generator
