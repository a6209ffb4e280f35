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

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .rounding import rounded

BLOCK_TOKENS = 128
"""Queries that `attend_blocks` takes at a time: keys behind the block are never multiplied."""

LENGTH_STEP = 8
"""Padded lengths are multiples of this, for the reason in `rounding`."""

BUCKET_WASTE = 1.25
"""Samples are padded together while the longest is at most this many times the shortest, and 8 tokens more."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """n neighbouring samples of similar length, padded to a rounded L, or the prefix itself (n = 1).

    Nobody looks ahead, so no real token sees a pad; but pads look back, so their gradient must be zero.
    """

    prefix: int  # tokens of P that its samples see: P, and 0 for the prefix itself
    count: int  # n
    length: int  # L
    rows: slice  # where in the packed row its tokens are
    index: Tensor  # (n·L,) the row of each padded place; some row for a pad
    pads: Tensor  # (pads,) the padded places that are pads
    real: Tensor  # (tokens,) the padded places that hold a token of their own
    mask: Tensor  # (L·H/K, prefix + L) 0 where seen, -inf where not; each line repeated for the heads of a key head


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the prefix and the samples of a packed row are, prepared once for all layers."""

    prefix: int
    lengths: tuple[int, ...]
    buckets: tuple[Bucket, ...]

    @property
    def tokens(self) -> int:
        return self.prefix + sum(self.lengths)


Attend = Callable[[Tensor, Tensor, Tensor, Layout], Tensor]


def lay_out(prefix: int, lengths: Sequence[int], sharing: int, device: torch.device, dtype: torch.dtype) -> Layout:
    """The layout of a row [P | s_1 | ... | s_n]; `sharing` = H/K; `dtype` is that of q, k and v."""
    buckets = [_bucket(0, [prefix], 0, sharing, device, dtype)] if prefix else []
    start, first = prefix, 0
    while first < len(lengths):
        last = first + 1
        while last < len(lengths) and _alike(lengths[first : last + 1]):
            last += 1
        buckets.append(_bucket(prefix, lengths[first:last], start, sharing, device, dtype))
        start += sum(lengths[first:last])
        first = last
    return Layout(prefix, tuple(lengths), tuple(buckets))


def _alike(lengths: Sequence[int]) -> bool:
    return max(lengths) <= min(lengths) * BUCKET_WASTE + 8


def _bucket(
    prefix: int, lengths: Sequence[int], start: int, sharing: int, device: torch.device, dtype: torch.dtype
) -> Bucket:
    own, length = torch.tensor(lengths), rounded(max(lengths), LENGTH_STEP)
    filled = (torch.arange(length) < own[:, None]).flatten()
    real, pads = filled.nonzero()[:, 0], (~filled).nonzero()[:, 0]
    rows = slice(start, start + int(own.sum()))
    index = torch.full((len(lengths) * length,), start)
    index[real] = torch.arange(rows.start, rows.stop)
    seen = torch.ones(length, prefix + length, dtype=torch.bool).tril(prefix)
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, float("-inf"))
    mask = mask.repeat_interleave(sharing, dim=0)
    moved = (tensor.to(device) for tensor in (index, pads, real, mask))
    return Bucket(prefix, len(lengths), length, rows, *moved)


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
        heads, keys, values = (_with_prefix(x, bucket).transpose(1, 2) for x in (q, k, v))
        out = F.scaled_dot_product_attention(heads, keys, values, is_causal=True, enable_gqa=True)
        out = out.transpose(1, 2)
        parts.append(out[:, bucket.prefix :].flatten(0, 1).flatten(1).index_select(0, bucket.real))
    return torch.cat(parts)


def _with_prefix(x: Tensor, bucket: Bucket) -> Tensor:
    """(T, heads, D) -> (n, prefix + L, heads, D)."""
    own: Tensor = x.index_select(0, bucket.index).unflatten(0, (bucket.count, bucket.length))
    if not bucket.prefix:
        return own
    return torch.cat([x[: bucket.prefix].expand(bucket.count, -1, -1, -1), own], dim=1)


def attend_blocks(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Batched matrix products over blocks of queries, forward and backward by hand.

    The query heads of one key head lie in one matrix, so K and V are never repeated; the probabilities are
    kept for the backward pass, half as many as the full squares would hold.
    """
    return _AttendBlocks.apply(q, k, v, layout)  # type: ignore[no-any-return, no-untyped-call]


class _AttendBlocks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
        out = q.new_empty(q.shape[0], q.shape[1] * q.shape[2])
        saved: list[Tensor] = []
        for bucket in layout.buckets:
            queries = _by_key_head(q, bucket, k.shape[1])
            keys, values = (_with_prefix(x, bucket).transpose(1, 2).flatten(0, 1) for x in (k, v))
            read = torch.empty_like(queries)
            probabilities = []
            for block, seen in _blocks(bucket, q.shape[1] // k.shape[1]):
                scores = torch.baddbmm(
                    bucket.mask[block, :seen],
                    queries[:, block],
                    keys[:, :seen].mT,
                    alpha=q.shape[2] ** -0.5,
                )
                probabilities.append(scores.softmax(-1))
                torch.bmm(probabilities[-1], values[:, :seen], out=read[:, block])
            out[bucket.rows] = _by_token(read, bucket, k.shape[1]).flatten(1)
            saved += [queries, keys, values, *probabilities]
        ctx.save_for_backward(*saved)
        ctx.layout, ctx.kv_heads = layout, k.shape[1]
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        layout: Layout = ctx.layout
        saved, kv_heads = list(ctx.saved_tensors), ctx.kv_heads
        head_dim = saved[0].shape[-1]
        d_out = grads[0].unflatten(1, (-1, head_dim))
        dq = torch.empty_like(d_out)
        dk, dv = (d_out.new_zeros(d_out.shape[0], kv_heads, head_dim) for _ in range(2))
        sharing = d_out.shape[1] // kv_heads
        for bucket in layout.buckets:
            queries, keys, values = saved[:3]
            blocks = list(_blocks(bucket, sharing))
            probabilities, saved = saved[3 : 3 + len(blocks)], saved[3 + len(blocks) :]
            d_read = _by_key_head(d_out, bucket, kv_heads)
            d_queries, d_keys, d_values = (
                torch.empty_like(queries),
                torch.zeros_like(keys),
                torch.zeros_like(values),
            )
            for (block, seen), p in zip(blocks, probabilities, strict=True):
                d_p = torch.bmm(d_read[:, block], values[:, :seen].mT)
                d_scores = torch.ops.aten._softmax_backward_data(d_p, p, -1, p.dtype).mul_(head_dim**-0.5)
                torch.bmm(d_scores, keys[:, :seen], out=d_queries[:, block])
                d_keys[:, :seen].baddbmm_(d_scores.mT, queries[:, block])
                d_values[:, :seen].baddbmm_(p.mT, d_read[:, block])
            dq[bucket.rows] = _by_token(d_queries, bucket, kv_heads)
            _give_back(d_keys, dk, bucket)
            _give_back(d_values, dv, bucket)
        return dq, dk, dv, None


def _blocks(bucket: Bucket, sharing: int) -> list[tuple[slice, int]]:
    """(lines of the query matrix, how many keys they can see) of each block of queries."""
    edges = [*range(0, bucket.length, BLOCK_TOKENS), bucket.length]
    return [(slice(a * sharing, b * sharing), bucket.prefix + b) for a, b in pairwise(edges)]


def _by_key_head(x: Tensor, bucket: Bucket, kv_heads: int) -> Tensor:
    """(T, H, D) -> (n·K, L·H/K, D): one matrix per sample and key head, its lines ordered by token, then head.

    Pads are zero.
    """
    n, length = bucket.count, bucket.length
    padded = x.index_select(0, bucket.index).index_fill_(0, bucket.pads, 0).view(n, length, kv_heads, -1, x.shape[2])
    return padded.transpose(1, 2).reshape(n * kv_heads, -1, x.shape[2])


def _by_token(x: Tensor, bucket: Bucket, kv_heads: int) -> Tensor:
    """The way back of `_by_key_head`, pads dropped: (n·K, L·H/K, D) -> (tokens of the bucket, H, D)."""
    n, length = bucket.count, bucket.length
    padded = x.view(n, kv_heads, length, -1, x.shape[2]).transpose(1, 2)
    return padded.reshape(n * length, -1, x.shape[2]).index_select(0, bucket.real)


def _give_back(padded: Tensor, rows: Tensor, bucket: Bucket) -> None:
    """Add gradients of keys or values (n·K, prefix + L, D) to the rows (T, K, D) they came from."""
    by_sample = padded.view(bucket.count, -1, padded.shape[1], padded.shape[2]).transpose(1, 2)
    own = by_sample[:, bucket.prefix :].flatten(0, 1).index_select(0, bucket.real)
    rows[bucket.rows] += own
    if bucket.prefix:
        rows[: bucket.prefix] += by_sample[:, : bucket.prefix].sum(0)


def choose(device: torch.device) -> Attend:
    """The faster of the two exact paths on this device."""
    return attend_blocks if device.type == "cpu" else attend_causal
