"""Run a packed batch through the decoder; hidden states come out only where a target is predicted."""

import torch
import torch.nn.functional as F

from . import attention
from .model import Decoder
from .packing import Batch
from .rounding import rounded


def hidden_states(decoder: Decoder, batch: Batch) -> torch.Tensor:
    """Return hidden states (M, hidden) at the M sources of a batch on the decoder's device."""
    s = decoder.shape
    layout = attention.lay_out(batch.prefix, batch.lengths, s.heads, s.kv_heads, decoder.device, decoder.dtype)
    attend = attention.choose_attention(decoder.device)
    count = len(batch.source)
    # A rounded number of rows keeps oneDNN's kernels few; the extra rows repeat token 0 and are cut off below.
    rows = F.pad(batch.source, (0, rounded(count) - count))
    hidden = decoder(batch.ids, batch.positions, lambda layer, q, k, v: attend(q, k, v, layout), rows)
    return hidden[:count]  # type: ignore[no-any-return]
