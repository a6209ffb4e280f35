"""Pack tokenized samples into batches without padding; a common beginning is computed once.

An `Example` is one sample; a `Batch` is several samples end to end, after their longest common prefix P:

    ids         P P P P | a a a | b b b b b | c c          (T,)
    positions   0 1 2 3 | 4 5 6 | 4 5 6 7 8 | 4 5          each sample continues from the end of P
    sees        its own past, and all of P; never another sample

The targets are a list of pairs: at token `source` the model predicts `target`. This one gather replaces
shifting, padding, ignored labels and prompt masking; logits exist only for a pair.
P ends before the first source of every sample, so each pair belongs to exactly one sample.
The last target is only predicted and never read, so `ids` leaves it out.
A last sample without targets, which no other sample sees, fills the row up to a rounded length.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from .example import Example
from .rounding import rounded

BATCH_WORTH_TOKENS = 64
"""Cost of one more batch, in tokens: it reads all weights once more."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples end to end after their common prefix (see the drawing above)."""

    ids: Tensor  # (T,) int64
    positions: Tensor  # (T,) int64
    prefix: int  # length of P
    lengths: tuple[int, ...]  # tokens of each sample after P, then of the filling; T = prefix + sum(lengths)
    source: Tensor  # (M,) int64, indices into ids
    target: Tensor  # (M,) int64, token ids
    targets: tuple[int, ...]  # number of pairs of each sample; M = sum(targets)
    order: tuple[int, ...]  # index of each sample in the examples given to `pack`

    def to(self, device: torch.device) -> "Batch":
        """Return the batch with its tensors on `device`."""
        # non_blocking: no explicit wait for the GPU after each of the four copies.
        moved = (t.to(device, non_blocking=True) for t in (self.ids, self.positions, self.source, self.target))
        ids, positions, source, target = moved
        return Batch(ids, positions, self.prefix, self.lengths, source, target, self.targets, self.order)


def pack(examples: Sequence[Example], max_tokens: int, share_prefix: bool = True) -> list[Batch]:
    """Return all examples in batches of at most `max_tokens` tokens before the filling.

    A longer example gets a batch of its own. Samples with an equal beginning and similar length stand together.
    `share_prefix=False` is the plain twin: the same samples, each with its own copy of the prefix.
    """
    # By family, so that a prefix can be shared; then by length, so that attention pads little.
    order = sorted(range(len(examples)), key=lambda i: _family_and_length(examples[i]))
    groups: list[list[int]] = []
    for i in order:
        if groups and _can_join(examples[i], [examples[j] for j in groups[-1]], max_tokens, share_prefix):
            groups[-1].append(i)
        else:
            groups.append([i])
    return [_lay_out([examples[i] for i in group], group, share_prefix) for group in groups]


def _can_join(example: Example, group: Sequence[Example], max_tokens: int, share_prefix: bool) -> bool:
    """True if the example fits and reduces the shared prefix by less than a batch of its own costs."""
    # A sample of another family cuts P for the whole group: compare the tokens of both choices.
    together = _tokens([*group, example], share_prefix)
    apart = _tokens(group, share_prefix) + len(example.inputs) + BATCH_WORTH_TOKENS
    return together <= min(max_tokens, apart)


def _family_and_length(example: Example) -> tuple[tuple[int, ...], int]:
    return example.ids[: example.shared], len(example.ids)


def common_prefix(examples: Sequence[Example]) -> int:
    """Return the number of tokens that all examples share at the start, up to the first source of any."""
    if len(examples) < 2:
        return 0
    # Token ids and not text: equal texts may tokenize differently before different followers.
    # A source predicts a target of its own sample, so P must not hold one even if the tokens are equal.
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
        # From the end of P, without a hole: the angles of RoPE are those of the sample alone.
        positions += range(prefix, len(own))
        for at, token in _pairs(example):
            source.append(at - prefix + start)
            target.append(token)
    # As a sample of its own the filling is masked from all others by the same rule; `rounding` says why it is there.
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
    """Yield (index that predicts, token to predict) of each target of one example."""
    for at, (token, wanted) in enumerate(zip(example.ids, example.is_target, strict=True)):
        if wanted:
            yield at - 1, token
