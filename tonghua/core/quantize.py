"""Frozen weights in 8 or 4 bits per value, dequantized for each product.

    W (O, I)  ->  codes (O, I) int8, or (O, I/2) uint8 with two values per byte   + scales (O, I/64)

A block is 64 neighbouring inputs of one output; its scale is its largest magnitude. 8 bits: 255 even levels.
4 bits: the 16 levels of NF4, which a normal distribution fills equally (Dettmers et al. 2023, arXiv 2305.14314,
section 3 and appendix E). With 16-bit scales a value takes 8.25 or 4.25 bits of memory. Only the base is
rounded, once; the LoRA update is not, and the gradients are those of the rounded base.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Bits = Literal[4, 8]

BLOCK = 64
"""Inputs per scale, as in the paper."""

LARGEST = 127
"""Largest 8-bit code; codes run from -127 to 127, so zero is a level."""


def normal_float_levels() -> Tensor:
    """Return the 16 levels of NF4 in [-1, 1], ascending, fp32: normal quantiles, 8 above an exact zero and 7 below."""
    # Not 1, whose quantile is infinite: the mean of the centres of the outermost of 16 and of 15 equal cells.
    outermost = (1 - 1 / 32 + 1 - 1 / 30) / 2
    above = torch.special.ndtri(torch.linspace(outermost, 0.5, 9, dtype=torch.float64)[:-1])
    below = -torch.special.ndtri(torch.linspace(outermost, 0.5, 8, dtype=torch.float64)[:-1])
    levels = torch.cat([below, torch.zeros(1, dtype=torch.float64), above])
    return (levels / levels.max()).sort().values.float()


class QuantizedWeight(nn.Module):
    """A weight (O, I) in `bits`; I must be a multiple of 64."""

    codes: Tensor
    scales: Tensor

    def __init__(self, weight: Tensor, bits: Bits):
        super().__init__()
        self.bits, self.shape = bits, weight.shape
        blocks = weight.unflatten(1, (-1, BLOCK))
        scales = blocks.abs().amax(-1, keepdim=True)
        # clamp: a block of zeros would divide by zero. contiguous: a wide matrix may come stored by columns.
        unit = (blocks.float() / scales.float().clamp(min=torch.finfo(torch.float32).tiny)).contiguous()
        if bits == 8:
            codes = (unit * LARGEST).round().to(torch.int8).flatten(1)
            scales = scales / LARGEST
        else:
            levels = normal_float_levels().to(weight.device)
            # The midpoints between levels are the borders of the nearest level.
            nearest = torch.bucketize(unit, (levels[1:] + levels[:-1]) / 2).to(torch.uint8).flatten(1)
            codes = nearest[:, ::2] | nearest[:, 1::2] << 4
            # All 256 bytes with both their values: dequantizing is one lookup. The low half is the first value.
            pairs = torch.cartesian_prod(levels, levels).flip(1)
            self.register_buffer("pairs", pairs.to(weight.dtype))
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)

    pairs: Tensor

    def dense(self) -> Tensor:
        """Return the rounded weight (O, I), in the type of the original."""
        if self.bits == 8:
            blocks: Tensor = self.codes.unflatten(1, (-1, BLOCK)) * self.scales
        else:
            # int: an embedding takes no uint8 index.
            pairs: Tensor = F.embedding(self.codes.int(), self.pairs)
            blocks = pairs.view(self.shape[0], -1, BLOCK).mul_(self.scales)
        return blocks.flatten(1)


def can_quantize(inputs: int) -> bool:
    """True if a row of `inputs` values splits into whole blocks."""
    return inputs % BLOCK == 0
