"""AdamW over the adapter's flat buffer, with a learning-rate schedule, clipping, and loss scaling for fp16 only."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..config.schema import Config
from ..core.lora import Adapter


def learning_rate(config: Config, step: int, steps: int) -> float:
    """Return the rate of step 0, 1, ... of `steps`: linear warmup, then the decay of `lr_scheduler_type`."""
    warm = round(config.warmup_ratio * steps) if config.warmup_steps is None else config.warmup_steps
    if step < warm:
        # With the ones, the first step has a rate above 0, and the step after warmup is the first at the full rate.
        return config.learning_rate * (step + 1) / (warm + 1)
    # From 1 down to 1 / (steps - warm) at the last step: never 0, so every step learns.
    left = (steps - step) / max(1, steps - warm)
    shape = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
    return config.learning_rate * shape[config.lr_scheduler_type]


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) on `adapter`; `half`: the model computes in fp16.

    backward, backward, …  ->  gradient_norm  ->  step or skip
    """

    def __init__(self, config: Config, adapter: Adapter, half: bool):
        self._adapter, self._max_norm = adapter, config.max_grad_norm
        self._adam = torch.optim.AdamW(
            [adapter.flat],  # one tensor: one fused kernel updates all masters
            lr=config.learning_rate,
            betas=(config.adam_beta1, config.adam_beta2),
            eps=config.adam_epsilon,
            weight_decay=config.weight_decay,
            fused=adapter.flat.device.type != "mps",
        )
        # fp16 only: its small gradients become 0 without a scale; bf16 has the exponent range of fp32.
        self._scaler = torch.amp.GradScaler(adapter.flat.device.type, enabled=half)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of `loss` to the gradient gathered so far."""
        self._scaler.scale(loss).backward()

    def gradient_norm(self) -> float:
        """Return the L2 norm of the gathered gradient, before clipping. Call it once before each `step` or `skip`."""
        # First: the norm must be that of the true gradient. GradScaler raises if this is called twice in a step.
        self._scaler.unscale_(self._adam)
        # float() makes the host wait for the device, once per step; clipping and the finite check both need the value.
        return float(torch.linalg.vector_norm(self._grad))

    @property
    def may_overflow(self) -> bool:
        """True if a non-finite gradient may only mean that the loss scale of fp16 is too large; `skip` lowers it."""
        return self._scaler.is_enabled() and self._scaler.get_scale() > 1

    def step(self, rate: float, norm: float) -> None:
        """Update the masters at this learning rate and refresh the layers' copies. `norm` is that of the gradient."""
        if self._max_norm and norm > self._max_norm:
            # One product over the flat buffer; clip_grad_norm_ would measure the norm a second time.
            self._grad.mul_(self._max_norm / norm)
        self._adam.param_groups[0]["lr"] = rate
        self._scaler.step(self._adam)
        self._scaler.update()
        self.forget()
        # After the update: the layers compute with copies of the masters.
        self._adapter.refresh()

    def skip(self) -> None:
        """Drop the gradient without an update. With fp16, a non-finite gradient lowers the loss scale."""
        self._scaler.update()  # also lets the next `gradient_norm` unscale again
        self.forget()

    def forget(self) -> None:
        """Set the gathered gradient to zero."""
        self._grad.zero_()  # in place: the gradients of the masters are views of this buffer

    def state(self) -> dict[str, Tensor]:
        """Return, on the CPU, what the next update needs besides the weights; no moments before the first update."""
        moments = self._adam.state_dict()["state"].get(0, {})
        scaler = self._scaler.state_dict()
        numbers = [scaler["scale"], scaler["_growth_tracker"]] if scaler else []
        # float64 holds both the scale and the count of good steps exactly.
        return {**{f"adam_{name}": t.cpu() for name, t in moments.items()}, "scaler": torch.tensor(numbers).double()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Restore a `state`, drop the gradient, and refresh the layers' copies."""
        moments = {name.removeprefix("adam_"): t for name, t in state.items() if name.startswith("adam_")}
        # The groups of now: `step` sets the rate, and a resume cannot change the other settings.
        groups = self._adam.state_dict()["param_groups"]
        self._adam.load_state_dict({"state": {0: moments} if moments else {}, "param_groups": groups})
        # A run may resume on a device or in a dtype without loss scaling.
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
