"""The language-model loss of chosen positions, without ever holding all logits.

    loss = Σ_m  logsumexp(h_m · Wᵀ) - h_m · W[target_m]          h (M, D), W (V, D), frozen

`linear_cross_entropy_plain` is the formula; `linear_cross_entropy` equals it in fixed memory: a few rows of
logits at a time, whose gradient is made on the spot (softmax minus one-hot, then times W), so that nothing
of size (M, V) lives. Costs 4·D·V operations a row, all in two matrix products.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .rounding import rounded

ROWS_AT_A_TIME = 512
"""Rows of logits in one matrix product: the head (272 MB at 0.5B) is read once for so many; 156 MB of bf16 logits."""

SOFTMAX_ELEMENTS = 2**20
"""Logits softmaxed in one go on a CPU: their fp32 copy (4 MB) stays in the cache."""


def linear_cross_entropy_plain(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Sum over rows of the cross entropy, in fp32; hidden (M, D), weight (V, D), target (M,)."""
    return F.cross_entropy(F.linear(hidden, weight).float(), target, reduction="sum")


def linear_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Equal to `linear_cross_entropy_plain`; no gradient for `weight`. Zero rows give a connected zero."""
    return _LinearCrossEntropy.apply(hidden, weight, target).sum()  # type: ignore[no-any-return, no-untyped-call]


def token_nll(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """-log p of each target, (M,) in fp32, without gradient."""
    with torch.no_grad():
        return _LinearCrossEntropy.apply(hidden, weight, target)  # type: ignore[no-any-return, no-untyped-call]


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
        count = hidden.shape[0]
        filling = rounded(count) - count
        hidden, target = F.pad(hidden, (0, 0, 0, filling)), F.pad(target, (0, filling))
        nll = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        d_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, hidden.shape[0], ROWS_AT_A_TIME):
            rows = slice(start, start + ROWS_AT_A_TIME)
            logits = F.linear(hidden[rows], weight)
            nll[rows] = _softmax_minus_target_(logits, target[rows])
            if d_hidden is not None:
                torch.mm(logits, weight, out=d_hidden[rows])
        if d_hidden is not None:
            ctx.save_for_backward(d_hidden[:count])
        return nll[:count]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (d_hidden,) = ctx.saved_tensors
        return d_hidden * grads[0][:, None].to(d_hidden.dtype), None, None


def _softmax_minus_target_(logits: Tensor, target: Tensor) -> Tensor:
    """Turn logits (m, V) in place into their gradient, softmax minus one-hot; returns -log p of the targets in fp32."""
    nll = logits.new_empty(logits.shape[0], dtype=torch.float32)
    step = max(1, SOFTMAX_ELEMENTS // logits.shape[1]) if logits.device.type == "cpu" else logits.shape[0]
    for start in range(0, logits.shape[0], step):
        part, wanted = logits[start : start + step], target[start : start + step, None]
        probability = torch.softmax(part, dim=1, dtype=torch.float32)
        of_target = probability.gather(1, wanted)
        nll[start : start + step] = _minus_log(of_target, part, wanted).squeeze(1)
        probability.scatter_(1, wanted, of_target - 1)
        part.copy_(probability)
    return nll


def _minus_log(of_target: Tensor, logits: Tensor, wanted: Tensor) -> Tensor:
    """-log p; where p is too small for fp32 (a loss above 69), from the logits, so that it never becomes infinite."""
    nll = -of_target.log()
    tiny = of_target < 1e-30
    exact = logits.float().logsumexp(1, keepdim=True) - logits.gather(1, wanted).float() if tiny.any() else nll
    return torch.where(tiny, exact, nll)
