"""A packed batch through the decoder: hidden states where a target is predicted, and nowhere else."""

import torch
import torch.nn.functional as F

from . import attention
from .model import Decoder
from .packing import Batch
from .rounding import rounded


def hidden_states(decoder: Decoder, batch: Batch) -> torch.Tensor:
    """Hidden states (M, hidden) at the sources of a batch that is on the decoder's device."""
    s = decoder.shape
    layout = attention.lay_out(batch.prefix, batch.lengths, s.heads, s.kv_heads, decoder.device, decoder.dtype)
    attend = attention.choose(decoder.device)
    count = len(batch.source)
    rows = F.pad(batch.source, (0, rounded(count) - count))
    hidden = decoder(batch.ids, batch.positions, lambda layer, q, k, v: attend(q, k, v, layout), rows)
    return hidden[:count]  # type: ignore[no-any-return]
