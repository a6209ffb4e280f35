"""The small steps between the matrix products, each with its backward pass by hand.

Autograd would do the same sums with twice the passes over memory; on a CPU these passes, not the sums, cost
time. Each has a plain twin of one or two lines, which the tests compare it with.

    rms_norm(x)  = x / sqrt(mean(x²) + ε) · weight        Zhang and Sennrich 2019, arXiv 1910.07467
    rotate(x)    = RoPE, first half of a head against the second     Su et al. 2021, arXiv 2104.09864
    swiglu(g|u)  = silu(g) · u                             Shazeer 2020, arXiv 2002.05202
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_ELEMENTS = 2**18
"""Elements handled at a time on a CPU, so that what one step writes is still in the cache for the next."""


def _row_blocks(x: Tensor) -> Iterator[slice]:
    rows = max(1, BLOCK_ELEMENTS // x.shape[1]) if x.device.type == "cpu" else x.shape[0]
    return (slice(start, start + rows) for start in range(0, x.shape[0], rows))


def rms_norm_plain(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """(..., D) -> the same."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon) * weight.float()).to(x.dtype)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Equal to `rms_norm_plain`; no gradient for `weight`."""
    return _RMSNorm.apply(x, weight, epsilon)  # type: ignore[no-any-return, no-untyped-call]


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.to(torch.float32, copy=True)  # mixed types would take a slow path
        squares = torch.linalg.vecdot(wide, wide)[..., None]
        inverse = torch.rsqrt(squares.div_(x.shape[-1]).add_(epsilon))
        ctx.save_for_backward(x, weight, inverse)
        return wide.mul_(inverse).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        unit = x.to(torch.float32, copy=True).mul_(inverse)
        dy = grads[0].to(torch.float32, copy=True).mul_(weight)
        along = torch.linalg.vecdot(dy, unit)[..., None].div_(-x.shape[-1])
        return dy.addcmul_(unit, along).mul_(inverse).to(x.dtype), None, None


def rotate_plain(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """(T, heads, D) with cos and sin (T, 1, D/2) -> the same."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Equal to `rotate_plain`."""
    return _Rotate.apply(x, cos, sin)  # type: ignore[no-any-return, no-untyped-call]


class _Rotate(torch.autograd.Function):
    """The way back is the turn by the opposite angle."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _turn(grads[0], cos, sin, -1), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, sense: int) -> Tensor:
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    a, b = x.chunk(2, dim=-1)
    first, second = out.chunk(2, dim=-1)
    torch.mul(a, cos, out=first).addcmul_(b, sin, value=-sense)
    torch.mul(b, cos, out=second).addcmul_(a, sin, value=sense)
    return out


def swiglu_plain(gate_up: Tensor) -> Tensor:
    """(T, 2F) -> (T, F)."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


def swiglu(gate_up: Tensor) -> Tensor:
    """Equal to `swiglu_plain`; only its argument is kept for the backward pass."""
    return _SwiGLU.apply(gate_up)  # type: ignore[no-any-return, no-untyped-call]


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        return swiglu_value(gate_up)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        return swiglu_gradient(gate_up, grads[0])


def swiglu_value(gate_up: Tensor) -> Tensor:
    """`swiglu` without autograd."""
    gate, up = gate_up.chunk(2, dim=-1)
    out = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    for rows in _row_blocks(gate):
        torch.ops.aten.silu.out(gate[rows], out=out[rows])
        out[rows].mul_(up[rows])
    return out


def swiglu_gradient(gate_up: Tensor, dy: Tensor) -> Tensor:
    """Gradient for gate_up (T, 2F) from that for the result (T, F)."""
    gate, up = gate_up.chunk(2, dim=-1)
    back = torch.empty_like(gate_up)
    d_gate, d_up = back.chunk(2, dim=-1)
    for rows in _row_blocks(gate):
        torch.mul(dy[rows], F.silu(gate[rows]), out=d_up[rows])
        torch.ops.aten.silu_backward.grad_input(dy[rows] * up[rows], gate[rows], grad_input=d_gate[rows])
    return back
