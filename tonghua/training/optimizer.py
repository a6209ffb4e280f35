"""One AdamW over the adapter's flat buffer, with clipping, a schedule and, for fp16 alone, loss scaling."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..config.schema import Config
from ..core.lora import Adapter


def learning_rate(config: Config, step: int, steps: int) -> float:
    """The rate of step 0, 1, ... of `steps`: up in a straight line while warming, then as the config says."""
    warm = round(config.warmup_ratio * steps)
    if step < warm:
        return config.learning_rate * (step + 1) / (warm + 1)
    left = (steps - step) / max(1, steps - warm)
    shape = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
    return config.learning_rate * shape[config.lr_scheduler_type]


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) on `adapter`; `step` leaves the layers' copies fresh.

    backward, backward, …  ->  gradient_norm  ->  step or skip
    """

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

    def backward(self, loss: Tensor) -> None:
        self._scaler.scale(loss).backward()

    def gradient_norm(self) -> float:
        """The norm of what `backward` has gathered, before clipping; to be asked once, before `step` or `skip`."""
        self._scaler.unscale_(self._adam)
        return float(torch.linalg.vector_norm(self._grad))

    @property
    def may_overflow(self) -> bool:
        """Whether a gradient that is not finite only means that fp16's loss scale was too large, and will shrink."""
        return self._scaler.is_enabled() and self._scaler.get_scale() > 1

    def step(self, rate: float, norm: float) -> None:
        """One update at this learning rate, the gradient clipped by its `norm`."""
        if self._max_norm and norm > self._max_norm:
            self._grad.mul_(self._max_norm / norm)
        self._adam.param_groups[0]["lr"] = rate
        self._scaler.step(self._adam)
        self._scaler.update()
        self.forget()
        self._adapter.refresh()

    def skip(self) -> None:
        """No update: the gradient is forgotten, and so is that it was not finite."""
        self._scaler.update()
        self.forget()

    def forget(self) -> None:
        """Start gathering the gradient anew."""
        self._grad.zero_()

    def state(self) -> dict[str, Tensor]:
        """All that the next update depends on beside weights and gradient; empty moments before the first."""
        moments = self._adam.state_dict()["state"].get(0, {})
        scaler = self._scaler.state_dict()
        numbers = [scaler["scale"], scaler["_growth_tracker"]] if scaler else []
        return {**{f"adam_{name}": t.cpu() for name, t in moments.items()}, "scaler": torch.tensor(numbers).double()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a `state`."""
        moments = {name.removeprefix("adam_"): t for name, t in state.items() if name.startswith("adam_")}
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": {0: moments} if moments else {}, "param_groups": groups})
        if len(state["scaler"]) and self._scaler.is_enabled():
            scale, grown = state["scaler"].tolist()
            known = self._scaler.state_dict()
            self._scaler.load_state_dict({**known, "scale": scale, "_growth_tracker": int(grown)})
        self.forget()
        self._adapter.refresh()

    @property
    def _grad(self) -> Tensor:
        grad = self._adapter.flat.grad
        assert grad is not None
        return grad
