"""Attention inside a packed row: each token sees the common prefix P and its own sample's past.

    who sees whom, P of 3 tokens, samples a (3) and b (2):

             P P P  a a a  b b
        P    x
        P    x x
        P    x x x
        a    x x x  x
        a    x x x  x x
        a    x x x  x x x
        b    x x x         x
        b    x x x         x x

`attend_plain` computes exactly this table and is what the others are tested against. `attend_blocks` (CPU)
and `attend_causal` (GPU) never build it: samples of similar length are padded to a small batch, and only
here; the linears around attention see no padding at all.

Shapes: q (T, H, D), k and v (T, K, D), where H/K query heads share a key head; result (T, H·D).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .rounding import rounded

BLOCK_TOKENS = 128
"""Queries that `attend_blocks` takes at a time: keys behind the block are never multiplied."""

LENGTH_STEP = 16
"""Padded lengths are multiples of this, for the reason in `rounding`."""

BUCKET_WASTE = 2
"""Samples are padded together while the longest is at most this many times the shortest, and 8 tokens more."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """n neighbouring samples of similar length, padded to a rounded L, or the prefix itself (n = 1).

    Nobody looks ahead, so no real token sees a pad; but pads look back, so their gradient must be zero.
    """

    prefix: int  # tokens of P that its samples see: P, and 0 for the prefix itself
    count: int  # n
    length: int  # L
    rows: Tensor  # (n, prefix + L) where in the packed row the token of each place is; some row for a pad
    real: Tensor  # (n, L) bool, places that hold a token of their own and no pad
    mask: Tensor  # (L·H/K, prefix + L) 0 where seen, -inf where not; each line repeated for the heads of a key head


@dataclass(frozen=True, slots=True)
class Gather:
    """Where the lines (D,) of all buckets' matrices come from and where they go back to, for all of them at once.

    q (T·H, D) --queries--> bucket after bucket, sample, key head | (L·H/K, D)
    k (T·K, D) --keys-----> bucket after bucket, sample, key head | (prefix + L, D)
    """

    queries: Tensor  # line of q for each line of the query matrices
    keys: Tensor  # line of k and v for each line of the key matrices
    pads: Tensor  # lines of the query matrices that are pads
    query_places: Tensor  # (T·H,) and the way back: where each line of q went
    key_places: Tensor  # (T·K,) where each line of k went as a sample's own, and not as a copy of P's


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the prefix and the samples of a packed row are, prepared once for all layers."""

    prefix: int
    lengths: tuple[int, ...]
    buckets: tuple[Bucket, ...]
    gather: Gather

    @property
    def tokens(self) -> int:
        return self.prefix + sum(self.lengths)


Attend = Callable[[Tensor, Tensor, Tensor, Layout], Tensor]


def lay_out(
    prefix: int, lengths: Sequence[int], heads: int, kv_heads: int, device: torch.device, dtype: torch.dtype
) -> Layout:
    """The layout of a row [P | s_1 | ... | s_n] for H and K heads; `dtype` is that of q, k and v."""
    sharing = heads // kv_heads
    buckets = [_bucket(0, [prefix], 0, sharing, dtype)] if prefix else []
    start, first = prefix, 0
    while first < len(lengths):
        last = first + 1
        while last < len(lengths) and _alike(lengths[first : last + 1]):
            last += 1
        buckets.append(_bucket(prefix, lengths[first:last], start, sharing, dtype))
        start += sum(lengths[first:last])
        first = last
    gather = Gather(*(x.to(device) for x in _gather(buckets, start, heads, kv_heads)))
    there = (Bucket(b.prefix, b.count, b.length, *(x.to(device) for x in (b.rows, b.real, b.mask))) for b in buckets)
    return Layout(prefix, tuple(lengths), tuple(there), gather)


def _alike(lengths: Sequence[int]) -> bool:
    return max(lengths) <= min(lengths) * BUCKET_WASTE + 8


def _bucket(prefix: int, lengths: Sequence[int], start: int, sharing: int, dtype: torch.dtype) -> Bucket:
    own, length = torch.tensor(lengths), rounded(max(lengths), LENGTH_STEP)
    real = torch.arange(length) < own[:, None]
    rows = torch.full((len(lengths), prefix + length), start)
    rows[:, :prefix] = torch.arange(prefix)
    rows[:, prefix:][real] = torch.arange(start, start + int(own.sum()))
    seen = torch.ones(length, prefix + length, dtype=torch.bool).tril(prefix)
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, float("-inf"))
    return Bucket(prefix, len(lengths), length, rows, real, mask.repeat_interleave(sharing, dim=0))


def _gather(buckets: Sequence[Bucket], tokens: int, heads: int, kv_heads: int) -> tuple[Tensor, ...]:
    """The fields of `Gather`."""
    of_query = torch.arange(heads).view(kv_heads, 1, -1)  # K, L, H/K
    of_key = torch.arange(kv_heads).view(kv_heads, 1)  # K, prefix + L
    queries, query_is_real, keys, key_is_own = [], [], [], []
    for b in buckets:
        lines = b.rows[:, None, b.prefix :, None] * heads + of_query
        queries.append(lines.flatten())
        query_is_real.append(b.real[:, None, :, None].expand(lines.shape).flatten())
        copies = b.rows[:, None] * kv_heads + of_key
        keys.append(copies.flatten())
        key_is_own.append(F.pad(b.real, (b.prefix, 0))[:, None].expand(copies.shape).flatten())
    from_queries, from_keys = torch.cat(queries), torch.cat(keys)
    real, own = torch.cat(query_is_real), torch.cat(key_is_own)
    query_places, key_places = (
        torch.empty(tokens * heads, dtype=torch.long),
        torch.empty(tokens * kv_heads, dtype=torch.long),
    )
    query_places[from_queries[real]] = real.nonzero()[:, 0]
    key_places[from_keys[own]] = own.nonzero()[:, 0]
    return (from_queries, from_keys, (~real).nonzero()[:, 0], query_places, key_places)


def visible(layout: Layout, device: torch.device) -> Tensor:
    """The table drawn above: (T, T) bool, row sees column."""
    parts = torch.tensor([layout.prefix, *layout.lengths])
    sample = torch.repeat_interleave(torch.arange(-1, len(layout.lengths)), parts).to(device)
    past = torch.ones(layout.tokens, layout.tokens, dtype=torch.bool, device=device).tril()
    return past & ((sample[:, None] == sample) | (sample == -1))


def attend_plain(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """The plain twin: one dense (T, T) mask."""
    sharing = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(sharing, dim=1).transpose(0, 1) for x in (k, v))
    scores = (q.transpose(0, 1) @ k.transpose(1, 2)) * q.shape[2] ** -0.5
    scores = scores.masked_fill(~visible(layout, q.device), float("-inf"))
    out: Tensor = scores.softmax(-1) @ v
    return out.transpose(0, 1).flatten(1)


def attend_causal(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """The library's causal kernel; every sample reads its own copy of P, so that queries and keys are equally many."""
    parts = []
    for bucket in layout.buckets:
        heads, keys, values = (x[bucket.rows].transpose(1, 2) for x in (q, k, v))
        out = F.scaled_dot_product_attention(heads, keys, values, is_causal=True, enable_gqa=True)
        parts.append(out.transpose(1, 2)[:, bucket.prefix :][bucket.real])
    return torch.cat(parts).flatten(1)


def attend_blocks(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Batched matrix products over blocks of queries, forward and backward by hand.

    The query heads of one key head lie in one matrix, so K and V are never repeated; the probabilities are
    kept for the backward pass, half as many as the full squares would hold.
    """
    return _AttendBlocks.apply(q, k, v, layout)  # type: ignore[no-any-return, no-untyped-call]


class _AttendBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
        head_dim, kv_heads = q.shape[2], k.shape[1]
        queries = q.reshape(-1, head_dim).index_select(0, layout.gather.queries)
        keys, values = (x.reshape(-1, head_dim).index_select(0, layout.gather.keys) for x in (k, v))
        read = torch.empty_like(queries)
        probabilities = []
        for bucket, lines, places in _matrices(layout, kv_heads):
            own_queries, own_read = lines(queries), lines(read)
            own_keys, own_values = places(keys), places(values)
            for block, seen in _blocks(bucket):
                scores = torch.baddbmm(
                    bucket.mask[block, :seen], own_queries[:, block], own_keys[:, :seen].mT, alpha=head_dim**-0.5
                )
                probabilities.append(scores.softmax(-1))
                torch.bmm(probabilities[-1], own_values[:, :seen], out=own_read[:, block])
        ctx.save_for_backward(queries, keys, values, *probabilities)
        ctx.layout, ctx.kv_heads = layout, kv_heads
        return read.index_select(0, layout.gather.query_places).view(q.shape[0], -1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        layout: Layout = ctx.layout
        queries, keys, values, *probabilities = ctx.saved_tensors
        kv_heads, head_dim = ctx.kv_heads, queries.shape[1]
        d_read = grads[0].reshape(-1, head_dim).index_select(0, layout.gather.queries)
        d_read.index_fill_(0, layout.gather.pads, 0)
        d_queries = torch.empty_like(queries)
        d_keys, d_values = both = torch.empty(2, *keys.shape, dtype=keys.dtype, device=keys.device)
        for bucket, lines, places in reversed(list(_matrices(layout, kv_heads))):
            # The last block sees all keys: it comes first, and overwrites what the others add to.
            for block, seen in reversed(_blocks(bucket)):
                p, d_out = probabilities.pop(), lines(d_read)[:, block]
                d_p = torch.bmm(d_out, places(values)[:, :seen].mT)
                d_scores = torch.ops.aten._softmax_backward_data(d_p, p, -1, p.dtype).mul_(head_dim**-0.5)
                torch.bmm(d_scores, places(keys)[:, :seen], out=lines(d_queries)[:, block])
                kept = float(seen < bucket.prefix + bucket.length)
                places(d_keys)[:, :seen].baddbmm_(d_scores.mT, lines(queries)[:, block], beta=kept)
                places(d_values)[:, :seen].baddbmm_(p.mT, d_out, beta=kept)
        dq = d_queries.index_select(0, layout.gather.query_places)
        dk, dv = _to_rows(both, layout, kv_heads)
        return dq.view(-1, dq.shape[0] // layout.tokens, head_dim), dk, dv, None


def _matrices(
    layout: Layout, kv_heads: int
) -> Iterator[tuple[Bucket, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    """Each bucket, and how to see its query lines as (n·K, L·H/K, D) and its key lines as (n·K, P + L, D)."""
    query, key = 0, 0
    for bucket in layout.buckets:
        count = bucket.count * kv_heads
        lines = slice(query, query + count * bucket.mask.shape[0])
        places = slice(key, key + count * bucket.mask.shape[1])
        query, key = lines.stop, places.stop
        yield bucket, partial(_part, lines, count), partial(_part, places, count)


def _part(lines: slice, count: int, x: Tensor) -> Tensor:
    return x[lines].view(count, -1, x.shape[1])


def _blocks(bucket: Bucket) -> list[tuple[slice, int]]:
    """(lines of the query matrix, how many keys they can see) of each block of queries."""
    sharing = bucket.mask.shape[0] // bucket.length
    edges = [*range(0, bucket.length, BLOCK_TOKENS), bucket.length]
    return [(slice(a * sharing, b * sharing), bucket.prefix + b) for a, b in pairwise(edges)]


def _to_rows(both: Tensor, layout: Layout, kv_heads: int) -> Tensor:
    """Gradients of key and value lines (2, lines, D) as those of k and v (2, T, K, D): P gets the sum of its copies."""
    rows = both.index_select(1, layout.gather.key_places).view(2, layout.tokens, kv_heads, -1)
    for bucket, _, places in _matrices(layout, kv_heads):
        if bucket.prefix:
            for own, lines in zip(rows, both, strict=True):
                copies = places(lines).unflatten(0, (bucket.count, kv_heads))[:, :, : bucket.prefix]
                own[: bucket.prefix] += copies.sum(0).transpose(0, 1)
    return rows


def choose(device: torch.device) -> Attend:
    """The faster of the two exact paths on this device."""
    return attend_blocks if device.type == "cpu" else attend_causal
