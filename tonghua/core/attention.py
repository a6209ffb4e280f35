"""Attention inside a packed row: each token sees the common prefix P and the past of its own sample.

    Row sees column if marked; P of 3 tokens, samples a (3) and b (2):

             P P P  a a a  b b
        P    x
        P    x x
        P    x x x
        a    x x x  x
        a    x x x  x x
        a    x x x  x x x
        b    x x x         x
        b    x x x         x x

`attend_plain` computes exactly this table; the tests compare the others with it. `attend_blocks` (CPU) and
`attend_causal` (GPU) never build the table: they pad samples of similar length to a small batch. Only
attention pads samples; the linears around it run on the packed row.

Shapes: q (T, H, D), k and v (T, K, D); each key head serves H/K query heads; result (T, H·D).
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
"""Queries per block of `attend_blocks`, in tokens; keys after the block are never multiplied."""

LENGTH_STEP = 16
"""Padded lengths are multiples of this, in tokens; `rounding` gives the reason."""

BUCKET_WASTE = 2
"""Samples share a bucket if the longest has at most this many times the tokens of the shortest, plus 8."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """n neighbouring samples of similar length, padded to a rounded length L; or the prefix itself (n = 1).

    Pads stand at the end and attention is causal, so no real token sees a pad. But pads see real tokens, so
    the gradient of a pad must be zero.
    """

    prefix: int  # tokens of P that the samples see; 0 if the bucket is the prefix itself
    count: int  # n
    length: int  # L
    rows: Tensor  # (n, prefix + L) index in the packed row of each place; an arbitrary valid index for a pad
    real: Tensor  # (n, L) bool, True for a token, False for a pad
    mask: Tensor  # (L·H/K, prefix + L) 0 if seen, -inf if not; each line H/K times, once per query head


@dataclass(frozen=True, slots=True)
class Gather:
    """Indices that move all lines (D,) of q, k and v into the matrices of all buckets, and back.

    q (T·H, D) --queries--> bucket after bucket, sample, key head | (L·H/K, D)
    k (T·K, D) --keys-----> bucket after bucket, sample, key head | (prefix + L, D)
    """

    queries: Tensor  # for each line of the query matrices, its line in q
    keys: Tensor  # for each line of the key matrices, its line in k and v
    pads: Tensor  # lines of the query matrices that are pads
    query_places: Tensor  # (T·H,) the inverse: for each line of q, its line in the query matrices
    key_places: Tensor  # (T·K,) for each line of k, its own line in the key matrices, not a copy made for P


@dataclass(frozen=True, slots=True)
class Layout:
    """Position of the prefix and the samples in a packed row; built once per row for all layers."""

    prefix: int
    lengths: tuple[int, ...]
    buckets: tuple[Bucket, ...]
    gather: Gather

    @property
    def tokens(self) -> int:
        """T, the tokens of the row."""
        return self.prefix + sum(self.lengths)


Attend = Callable[[Tensor, Tensor, Tensor, Layout], Tensor]


def lay_out(
    prefix: int, lengths: Sequence[int], heads: int, kv_heads: int, device: torch.device, dtype: torch.dtype
) -> Layout:
    """Return the layout of a row [P | s_1 | ... | s_n] for H query and K key heads; `dtype` is that of q, k and v."""
    sharing = heads // kv_heads
    # The prefix is a bucket of its own: its tokens get one result, however many samples share it.
    buckets = [_bucket(0, [prefix], 0, sharing, dtype)] if prefix else []
    start, first = prefix, 0
    # Only neighbours join: `pack` sorts by family and length, so similar lengths already stand together.
    while first < len(lengths):
        last = first + 1
        while last < len(lengths) and _are_alike(lengths[first : last + 1]):
            last += 1
        buckets.append(_bucket(prefix, lengths[first:last], start, sharing, dtype))
        start += sum(lengths[first:last])
        first = last
    # Built on the CPU and then moved: on a GPU, boolean indexing and `nonzero` make the host wait.
    gather = Gather(*(x.to(device) for x in _gather(buckets, start, heads, kv_heads)))
    there = (Bucket(b.prefix, b.count, b.length, *(x.to(device) for x in (b.rows, b.real, b.mask))) for b in buckets)
    return Layout(prefix, tuple(lengths), tuple(there), gather)


def _are_alike(lengths: Sequence[int]) -> bool:
    return max(lengths) <= min(lengths) * BUCKET_WASTE + 8


def _bucket(prefix: int, lengths: Sequence[int], start: int, sharing: int, dtype: torch.dtype) -> Bucket:
    own, length = torch.tensor(lengths), rounded(max(lengths), LENGTH_STEP)
    real = torch.arange(length) < own[:, None]
    # A pad needs a valid index for the gather; which one does not matter, as no real token sees a pad.
    rows = torch.full((len(lengths), prefix + length), start)
    rows[:, :prefix] = torch.arange(prefix)
    rows[:, prefix:][real] = torch.arange(start, start + int(own.sum()))
    # tril(prefix) aligns the causal edge to the lower right: query i sees all of P and its own 0..i.
    seen = torch.ones(length, prefix + length, dtype=torch.bool).tril(prefix)
    # Each query, pads included, sees at least itself: softmax never gets a line of only -inf.
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, float("-inf"))
    return Bucket(prefix, len(lengths), length, rows, real, mask.repeat_interleave(sharing, dim=0))


def _gather(buckets: Sequence[Bucket], tokens: int, heads: int, kv_heads: int) -> tuple[Tensor, ...]:
    """Return the fields of `Gather`."""
    # Query heads of one key head are neighbours (h // (H/K) is the key head), so they fill one matrix.
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
    # Each real line occurs once, so the way back is an inverse index: a gather, not a scatter-add.
    query_places[from_queries[real]] = real.nonzero()[:, 0]
    key_places[from_keys[own]] = own.nonzero()[:, 0]
    return (from_queries, from_keys, (~real).nonzero()[:, 0], query_places, key_places)


def visible_mask(layout: Layout, device: torch.device) -> Tensor:
    """Return the table drawn above: (T, T) bool, True if the row sees the column."""
    parts = torch.tensor([layout.prefix, *layout.lengths])
    sample = torch.repeat_interleave(torch.arange(-1, len(layout.lengths)), parts).to(device)
    past = torch.ones(layout.tokens, layout.tokens, dtype=torch.bool, device=device).tril()
    return past & ((sample[:, None] == sample) | (sample == -1))


def attend_plain(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Return attention (T, H·D) by one dense (T, T) mask: the plain twin of the fast paths."""
    sharing = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(sharing, dim=1).transpose(0, 1) for x in (k, v))
    scores = (q.transpose(0, 1) @ k.transpose(1, 2)) * q.shape[2] ** -0.5
    scores = scores.masked_fill(~visible_mask(layout, q.device), float("-inf"))
    out: Tensor = scores.softmax(-1) @ v
    return out.transpose(0, 1).flatten(1)


def attend_causal(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Return attention (T, H·D) by PyTorch's causal kernel, which needs no mask tensor.

    Every sample also queries with its own copy of P, so there are as many queries as keys.
    """
    parts = []
    for bucket in layout.buckets:
        heads, keys, values = (x[bucket.rows].transpose(1, 2) for x in (q, k, v))
        # Square on purpose: with fewer queries than keys, is_causal aligns the mask to the upper left.
        out = F.scaled_dot_product_attention(heads, keys, values, is_causal=True, enable_gqa=True)
        # Dropping the outputs of P's copies and of pads also gives them a gradient of zero.
        parts.append(out.transpose(1, 2)[:, bucket.prefix :][bucket.real])
    return torch.cat(parts).flatten(1)


def attend_blocks(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Return attention (T, H·D) by batched matrix products over blocks of queries, with a hand-written backward.

    The query heads of one key head lie in one matrix, so K and V are never repeated. The backward pass keeps
    the probabilities; of a sample of many blocks these are little more than half of the full square.
    """
    return _AttendBlocks.apply(q, k, v, layout)  # type: ignore[no-any-return, no-untyped-call]


class _AttendBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
        head_dim, kv_heads = q.shape[2], k.shape[1]
        # reshape and not view: q, k and v are slices of one stacked projection, so their heads may not be adjacent.
        # One index for all buckets, not four operations per bucket: 10.0 instead of 13.0 ms a layer at 700 tokens.
        queries = q.reshape(-1, head_dim).index_select(0, layout.gather.queries)
        keys, values = (x.reshape(-1, head_dim).index_select(0, layout.gather.keys) for x in (k, v))
        read = torch.empty_like(queries)  # uninitialized: the blocks below write every line
        probabilities = []
        for bucket, lines, places in _matrices(layout, kv_heads):
            own_queries, own_read = lines(queries), lines(read)
            own_keys, own_values = places(keys), places(values)
            for block, seen in _blocks(bucket):
                # Mask, scale and product in one call; keys after the block are left out, not masked.
                scores = torch.baddbmm(
                    bucket.mask[block, :seen], own_queries[:, block], own_keys[:, :seen].mT, alpha=head_dim**-0.5
                )
                probabilities.append(scores.softmax(-1))
                # out= writes into a view of `read`: no concatenation at the end.
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
        # A pad has gathered the gradient of a real row; it would leak into the keys and values that the pad sees.
        d_read.index_fill_(0, layout.gather.pads, 0)
        d_queries = torch.empty_like(queries)
        # Keys and values in one tensor, so that `_to_rows` brings both back by one index.
        d_keys, d_values = both = torch.empty(2, *keys.shape, dtype=keys.dtype, device=keys.device)
        for bucket, lines, places in reversed(list(_matrices(layout, kv_heads))):
            # The last block sees all keys. It goes first and overwrites, the others add: no pass to fill zeros.
            for block, seen in reversed(_blocks(bucket)):
                p, d_out = probabilities.pop(), lines(d_read)[:, block]
                d_p = torch.bmm(d_out, places(values)[:, :seen].mT)
                # The softmax backward needs only the probabilities, so the scores are not kept.
                d_scores = torch.ops.aten._softmax_backward_data(d_p, p, -1, p.dtype).mul_(head_dim**-0.5)
                torch.bmm(d_scores, places(keys)[:, :seen], out=lines(d_queries)[:, block])
                # beta=0 ignores the old content, even a NaN in uninitialized memory.
                kept = float(seen < bucket.prefix + bucket.length)
                # One matrix holds all query heads of a key head, so the product also sums over these heads.
                places(d_keys)[:, :seen].baddbmm_(d_scores.mT, lines(queries)[:, block], beta=kept)
                places(d_values)[:, :seen].baddbmm_(p.mT, d_out, beta=kept)
        dq = d_queries.index_select(0, layout.gather.query_places)
        dk, dv = _to_rows(both, layout, kv_heads)
        return dq.view(-1, dq.shape[0] // layout.tokens, head_dim), dk, dv, None


def _matrices(
    layout: Layout, kv_heads: int
) -> Iterator[tuple[Bucket, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]]:
    """Yield each bucket and views of its query lines (n·K, L·H/K, D) and of its key lines (n·K, prefix + L, D)."""
    query, key = 0, 0
    for bucket in layout.buckets:
        count = bucket.count * kv_heads
        lines = slice(query, query + count * bucket.mask.shape[0])
        places = slice(key, key + count * bucket.mask.shape[1])
        query, key = lines.stop, places.stop
        yield bucket, partial(_part, lines, count), partial(_part, places, count)


def _part(lines: slice, count: int, x: Tensor) -> Tensor:
    # view and not reshape: a caller writes through the result with out=, so it must share memory.
    return x[lines].view(count, -1, x.shape[1])


def _blocks(bucket: Bucket) -> list[tuple[slice, int]]:
    """Return (lines of the query matrix, number of keys that they see) of each block of queries."""
    sharing = bucket.mask.shape[0] // bucket.length
    edges = [*range(0, bucket.length, BLOCK_TOKENS), bucket.length]
    return [(slice(a * sharing, b * sharing), bucket.prefix + b) for a, b in pairwise(edges)]


def _to_rows(both: Tensor, layout: Layout, kv_heads: int) -> Tensor:
    """Turn gradients of key and value lines (2, lines, D) into those of k and v (2, T, K, D); P sums its copies."""
    rows = both.index_select(1, layout.gather.key_places).view(2, layout.tokens, kv_heads, -1)
    for bucket, _, places in _matrices(layout, kv_heads):
        # Every sample read a copy of P: the gradient of P's keys and values is the sum over all copies.
        if bucket.prefix:
            for own, lines in zip(rows, both, strict=True):
                copies = places(lines).unflatten(0, (bucket.count, kv_heads))[:, :, : bucket.prefix]
                own[: bucket.prefix] += copies.sum(0).transpose(0, 1)
    return rows


def choose_attention(device: torch.device) -> Attend:
    """Return the faster of the two exact paths for this device."""
    # Forward and backward of 640 tokens in samples of 40 on a 2-core CPU: 7 ms by blocks, 28 ms by PyTorch's kernel.
    return attend_blocks if device.type == "cpu" else attend_causal
