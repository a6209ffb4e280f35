"""The loss of each held-out sample, computed in packed batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..core.example import Example
from ..core.forward import hidden_states
from ..core.loss import token_nll
from ..core.model import Decoder
from ..core.packing import pack

TOKENS_PER_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Losses:
    """Per example (N,): summed -log p of its targets in nats, and its number of targets."""

    nll: np.ndarray
    targets: np.ndarray

    @property
    def per_token(self) -> float:
        """Mean loss in nats per target token over all examples."""
        return float(self.nll.sum() / self.targets.sum())


@torch.no_grad()
def losses(
    decoder: Decoder,
    examples: Sequence[Example],
    tokens_per_batch: int = TOKENS_PER_BATCH,
    advance: Callable[[int], None] = lambda done: None,
) -> Losses:
    """Return the loss of every example; `advance` gets the number of further examples done.

    The decoder is in evaluation mode meanwhile, so there is no dropout.
    """
    was_training = decoder.training
    decoder.eval()
    try:
        nll = _each(decoder, examples, tokens_per_batch, advance)
    finally:
        decoder.train(was_training)
    return Losses(nll, np.array([e.targets for e in examples], dtype=np.float64))


def _each(
    decoder: Decoder, examples: Sequence[Example], tokens_per_batch: int, advance: Callable[[int], None]
) -> np.ndarray:
    nll = np.zeros(len(examples))
    for packed in pack(examples, tokens_per_batch):
        batch = packed.to(decoder.device)
        # float64: summing many fp32 losses adds no visible rounding. On the CPU, as MPS has no float64.
        each = token_nll(hidden_states(decoder, batch), decoder.head, batch.target).cpu().double()
        # `pack` sorts the examples; `order` brings each loss back to its place.
        for index, part in zip(batch.order, each.split(batch.targets), strict=True):
            nll[index] = float(part.sum())
        advance(len(batch.order))
    return nll
