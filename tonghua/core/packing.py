"""From tokenized samples to batches without padding, in which a common beginning is computed once.

An `Example` is one sample; a `Batch` is several of them laid end to end, their longest common prefix P first:

    ids         P P P P | a a a | b b b b b | c c          (T,)
    positions   0 1 2 3 | 4 5 6 | 4 5 6 7 8 | 4 5          each sample goes on where P ends
    sees        its own past, and all of P; never another sample

What is learned is a list of pairs: at token `source` the model shall predict `target`. This one gather
stands for shifting, padding, ignored labels and prompt masking; logits exist only where there is a pair.
P ends before the first source of every sample, so each pair belongs to one sample alone.
The token after the last source is only predicted, never read, and so it is left out of `ids`.
A row is filled up to a rounded length with a last sample that predicts nothing and that nobody sees.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from .example import Example
from .rounding import rounded

BATCH_WORTH_TOKENS = 64
"""One more batch reads all weights once more, which takes as long as about so many tokens."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples laid end to end behind their common prefix (see the drawing above)."""

    ids: Tensor  # (T,) int64
    positions: Tensor  # (T,) int64
    prefix: int  # length of P
    lengths: tuple[int, ...]  # of each sample's own part, then of the filling; T = prefix + sum(lengths)
    source: Tensor  # (M,) int64, places in ids
    target: Tensor  # (M,) int64, token ids
    targets: tuple[int, ...]  # how many pairs each sample has; M = sum(targets)
    order: tuple[int, ...]  # which of the given examples each sample is

    def to(self, device: torch.device) -> "Batch":
        moved = (t.to(device, non_blocking=True) for t in (self.ids, self.positions, self.source, self.target))
        ids, positions, source, target = moved
        return Batch(ids, positions, self.prefix, self.lengths, source, target, self.targets, self.order)


def pack(examples: Sequence[Example], max_tokens: int, share_prefix: bool = True) -> list[Batch]:
    """All examples in batches of about `max_tokens` tokens read; one longer example gets a batch of its own.

    Samples of the same beginning and of similar length stand together. `share_prefix=False` is the plain
    twin: the same samples, each with its own copy of the prefix.
    """
    order = sorted(range(len(examples)), key=lambda i: _family_and_length(examples[i]))
    groups: list[list[int]] = []
    for i in order:
        if groups and _joins(examples[i], [examples[j] for j in groups[-1]], max_tokens, share_prefix):
            groups[-1].append(i)
        else:
            groups.append([i])
    return [_lay_out([examples[i] for i in group], group, share_prefix) for group in groups]


def _joins(example: Example, group: Sequence[Example], max_tokens: int, share_prefix: bool) -> bool:
    """Whether it fits, and does not cost the group more shared prefix than a batch of its own is worth."""
    together = _tokens([*group, example], share_prefix)
    apart = _tokens(group, share_prefix) + len(example.inputs) + BATCH_WORTH_TOKENS
    return together <= min(max_tokens, apart)


def _family_and_length(example: Example) -> tuple[tuple[int, ...], int]:
    return example.ids[: example.shared], len(example.ids)


def common_prefix(examples: Sequence[Example]) -> int:
    """Length of the longest beginning that all share and that holds no source of any."""
    if len(examples) < 2:
        return 0
    limit = min(min(e.first_source, len(e.inputs)) for e in examples)
    first = examples[0].ids
    for other in examples[1:]:
        limit = next((t for t in range(limit) if other.ids[t] != first[t]), limit)
    return limit


def _tokens(examples: Sequence[Example], share_prefix: bool) -> int:
    prefix = common_prefix(examples) if share_prefix else 0
    return prefix + sum(len(e.inputs) - prefix for e in examples)


def _lay_out(examples: Sequence[Example], order: Sequence[int], share_prefix: bool) -> Batch:
    prefix = common_prefix(examples) if share_prefix else 0
    inputs = [e.inputs for e in examples]
    lengths = [len(own) - prefix for own in inputs]
    starts = list(accumulate(lengths, initial=prefix))[:-1]
    ids = list(examples[0].ids[:prefix])
    positions = list(range(prefix))
    source: list[int] = []
    target: list[int] = []
    for example, own, start in zip(examples, inputs, starts, strict=True):
        ids += own[prefix:]
        positions += range(prefix, len(own))
        for at, token in _pairs(example):
            source.append(at - prefix + start)
            target.append(token)
    filling = rounded(len(ids)) - len(ids)
    if filling:
        ids += [0] * filling
        positions += range(filling)
        lengths.append(filling)
    return Batch(
        torch.tensor(ids),
        torch.tensor(positions),
        prefix,
        tuple(lengths),
        torch.tensor(source),
        torch.tensor(target),
        tuple(e.targets for e in examples),
        tuple(order),
    )


def _pairs(example: Example) -> Iterator[tuple[int, int]]:
    """(place that predicts, token to be predicted) of one example."""
    for at, (token, wanted) in enumerate(zip(example.ids, example.is_target, strict=True)):
        if wanted:
            yield at - 1, token
