"""The small steps between the matrix products, each with a hand-written backward pass.

Autograd would compute the same with about twice the passes over memory. On a CPU these passes cost the time,
not the arithmetic. Each step has a plain twin of one or two lines; the tests compare both.

    rms_norm(x)  = x / sqrt(mean(x²) + ε) · weight        Zhang and Sennrich 2019, arXiv 1910.07467
    rotate(x)    = RoPE, first half of a head with the second        Su et al. 2021, arXiv 2104.09864
    swiglu(g|u)  = silu(g) · u                             Shazeer 2020, arXiv 2002.05202
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK_ELEMENTS = 2**18
"""Elements per block on a CPU: what one operation writes is still in the cache for the next."""


def _row_blocks(x: Tensor) -> Iterator[slice]:
    # A GPU takes all rows at once: there every block would be one more kernel launch.
    rows = max(1, BLOCK_ELEMENTS // x.shape[1]) if x.device.type == "cpu" else x.shape[0]
    return (slice(start, start + rows) for start in range(0, x.shape[0], rows))


def rms_norm_plain(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Map (..., D) to (..., D), computed in fp32."""
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon) * weight.float()).to(x.dtype)


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """Return what `rms_norm_plain` returns, without a gradient for `weight`."""
    return _RMSNormFunction.apply(x, weight, epsilon)  # type: ignore[no-any-return, no-untyped-call]


class _RMSNormFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        # One fp32 copy: bf16 times fp32 would take a slow path (forward 0.61 ms instead of 0.34).
        # copy=True: the steps below work in place and must not change an x that is fp32 already.
        wide = x.to(torch.float32, copy=True)
        squares = torch.linalg.vecdot(wide, wide)[..., None]
        inverse = torch.rsqrt(squares.div_(x.shape[-1]).add_(epsilon))
        # x and one number per row; the normalized rows are computed again in backward.
        ctx.save_for_backward(x, weight, inverse)
        return wide.mul_(inverse).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        unit = x.to(torch.float32, copy=True).mul_(inverse)
        dy = grads[0].to(torch.float32, copy=True).mul_(weight)
        # The gradient along the normalized row is removed: scaling x does not change the result.
        along = torch.linalg.vecdot(dy, unit)[..., None].div_(-x.shape[-1])
        return dy.addcmul_(unit, along).mul_(inverse).to(x.dtype), None, None


def rotate_plain(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Map (T, heads, D) with cos and sin (T, 1, D/2) to (T, heads, D)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return what `rotate_plain` returns."""
    return _Rotate.apply(x, cos, sin)  # type: ignore[no-any-return, no-untyped-call]


class _Rotate(torch.autograd.Function):
    """The backward pass rotates by the opposite angle, so it needs cos and sin but not x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _turn(grads[0], cos, sin, -1), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, sense: int) -> Tensor:
    # Both halves are written through views of the result: no torch.cat, no temporary for each product.
    out = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    a, b = x.chunk(2, dim=-1)
    first, second = out.chunk(2, dim=-1)
    torch.mul(a, cos, out=first).addcmul_(b, sin, value=-sense)
    torch.mul(b, cos, out=second).addcmul_(a, sin, value=sense)
    return out


def swiglu_plain(gate_up: Tensor) -> Tensor:
    """Map gate and up (T, 2F) to (T, F)."""
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


def swiglu(gate_up: Tensor) -> Tensor:
    """Return what `swiglu_plain` returns; only the argument is kept for the backward pass."""
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
    """Return `swiglu` (T, F) of gate and up (T, 2F), without autograd."""
    gate, up = gate_up.chunk(2, dim=-1)
    out = torch.empty(gate.shape, dtype=gate.dtype, device=gate.device)
    for rows in _row_blocks(gate):
        # silu goes straight into the result and is multiplied there while the block is in the cache.
        torch.ops.aten.silu.out(gate[rows], out=out[rows])
        out[rows].mul_(up[rows])
    return out


def swiglu_gradient(gate_up: Tensor, dy: Tensor) -> Tensor:
    """Return the gradient of gate_up (T, 2F), given dy (T, F), that of the result."""
    gate, up = gate_up.chunk(2, dim=-1)
    # One tensor for both gradients: the backward product that follows reads them side by side, without torch.cat.
    back = torch.empty_like(gate_up)
    d_gate, d_up = back.chunk(2, dim=-1)
    for rows in _row_blocks(gate):
        torch.mul(dy[rows], F.silu(gate[rows]), out=d_up[rows])
        torch.ops.aten.silu_backward.grad_input(dy[rows] * up[rows], gate[rows], grad_input=d_gate[rows])
    return back
