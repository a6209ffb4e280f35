"""One AdamW over the adapter's flat buffer, with clipping, a schedule and, for fp16 alone, loss scaling."""

import math

import torch

from .config import Config
from .core.lora import Adapter


def learning_rate(config: Config, step: int, steps: int) -> float:
    """The rate of step 0, 1, ... of `steps`: up in a straight line while warming, then as the config says."""
    warm = round(config.warmup_ratio * steps)
    if step < warm:
        return config.learning_rate * (step + 1) / (warm + 1)
    left = (steps - step) / max(1, steps - warm)
    shape = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
    return config.learning_rate * shape[config.lr_scheduler_type]


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) on `adapter`; `step` leaves the layers' copies fresh."""

    def __init__(self, config: Config, adapter: Adapter, half: bool):
        self._adapter, self._max_norm = adapter, config.max_grad_norm
        self._adam = torch.optim.AdamW(
            [adapter.flat],
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
            fused=adapter.flat.device.type != "mps",
        )
        self._scaler = torch.amp.GradScaler(adapter.flat.device.type, enabled=half)

    def backward(self, loss: torch.Tensor) -> None:
        self._scaler.scale(loss).backward()

    def step(self, rate: float) -> float:
        """One update at this learning rate; returns the norm of the gradient before clipping.

        A gradient that is not finite changes nothing, whatever the type.
        """
        self._scaler.unscale_(self._adam)
        grad = self._adapter.flat.grad
        assert grad is not None
        norm = float(torch.linalg.vector_norm(grad))
        if self._max_norm and norm > self._max_norm:
            grad.mul_(self._max_norm / norm)
        self._adam.param_groups[0]["lr"] = rate
        if math.isfinite(norm) or self._scaler.is_enabled():
            self._scaler.step(self._adam)
            self._scaler.update()
        grad.zero_()
        self._adapter.refresh()
        return norm
