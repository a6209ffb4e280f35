"""The language-model loss of chosen positions, without all logits in memory at once.

    loss = Σ_m  logsumexp(h_m · Wᵀ) - h_m · W[target_m]          h (M, D), W (V, D), frozen

`linear_cross_entropy_plain` is the formula; `linear_cross_entropy` gives the same in fixed memory. It makes a
few rows of logits at a time and their gradient at once (softmax minus one-hot, then times W), so no tensor of
size (M, V) exists. It costs 4·D·V operations per row, all in two matrix products.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .rounding import rounded

ROWS_AT_A_TIME = 512
"""Rows of logits per matrix product: each product reads the whole head. At 0.5B: head 272 MB, logits 156 MB in bf16."""

SOFTMAX_ELEMENTS = 2**20
"""Logits per softmax call on a CPU: their fp32 copy (4 MB) stays in the cache."""


def linear_cross_entropy_plain(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Return the cross entropy in nats, summed over rows, in fp32; hidden (M, D), weight (V, D), target (M,)."""
    return F.cross_entropy(F.linear(hidden, weight).float(), target, reduction="sum")


def linear_cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Return what `linear_cross_entropy_plain` returns, without a gradient for `weight`.

    Zero rows give a zero that autograd can differentiate.
    """
    return _LinearCrossEntropy.apply(hidden, weight, target).sum()  # type: ignore[no-any-return, no-untyped-call]


def token_nll(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    """Return -log p of each target in nats, (M,) in fp32, without gradient."""
    with torch.no_grad():
        return _LinearCrossEntropy.apply(hidden, weight, target)  # type: ignore[no-any-return, no-untyped-call]


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
        # A rounded number of rows keeps oneDNN's kernels few; the extra rows are cut off before they are summed.
        count = hidden.shape[0]
        filling = rounded(count) - count
        hidden, target = F.pad(hidden, (0, 0, 0, filling)), F.pad(target, (0, filling))
        nll = hidden.new_empty(hidden.shape[0], dtype=torch.float32)
        # None in evaluation, where no gradient is needed: that saves the second of the two products.
        d_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, hidden.shape[0], ROWS_AT_A_TIME):
            rows = slice(start, start + ROWS_AT_A_TIME)
            # In the model's type: an fp32 product would need an fp32 copy of the head.
            logits = F.linear(hidden[rows], weight)
            nll[rows] = _softmax_minus_target_(logits, target[rows])
            if d_hidden is not None:
                # `logits` holds their gradient by now. Made here, while they exist: backward would compute them again.
                torch.mm(logits, weight, out=d_hidden[rows])
        if d_hidden is not None:
            ctx.save_for_backward(d_hidden[:count])
        return nll[:count]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (d_hidden,) = ctx.saved_tensors
        # The factor from above (1 / targets, fp16's loss scale) is linear, so it can be applied this late.
        return d_hidden * grads[0][:, None].to(d_hidden.dtype), None, None


def _softmax_minus_target_(logits: Tensor, target: Tensor) -> Tensor:
    """Turn logits (m, V) in place into their gradient, softmax minus one-hot; return -log p of the targets in fp32."""
    nll = logits.new_empty(logits.shape[0], dtype=torch.float32)
    step = max(1, SOFTMAX_ELEMENTS // logits.shape[1]) if logits.device.type == "cpu" else logits.shape[0]
    for start in range(0, logits.shape[0], step):
        part, wanted = logits[start : start + step], target[start : start + step, None]
        # One fp32 softmax serves loss and gradient; in bf16 the loss would keep only 2 to 3 digits.
        probability = torch.softmax(part, dim=1, dtype=torch.float32)
        of_target = probability.gather(1, wanted)
        # Before `part` is overwritten: a tiny probability is computed again from the logits.
        nll[start : start + step] = _minus_log(of_target, part, wanted).squeeze(1)
        probability.scatter_(1, wanted, of_target - 1)
        # In place over the logits: no second tensor of their size, and bf16 is enough for the gradient.
        part.copy_(probability)
    return nll


def _minus_log(of_target: Tensor, logits: Tensor, wanted: Tensor) -> Tensor:
    """Return -log p; from the logits if p is below 1e-30 (a loss above 69), so that it never becomes infinite."""
    nll = -of_target.log()
    tiny = of_target < 1e-30
    # any() makes the host wait for a GPU, once per chunk; without it every chunk pays a second pass over its logits.
    exact = logits.float().logsumexp(1, keepdim=True) - logits.gather(1, wanted).float() if tiny.any() else nll
    return torch.where(tiny, exact, nll)
