"""Linear layers with a LoRA update; layers that share an input run as one matrix product.

    y = x Wᵀ + bias + scale · (x Aᵀ) Bᵀ          (Hu et al. 2021, arXiv 2106.09685; scale = alpha / rank)

`q_proj`, `k_proj`, `v_proj` read the same x, and so do `gate_proj` and `up_proj`: their frozen weights are
stacked into one W, their A into one A, and their B stand on the diagonal of one B:

    W (O, I)  =  | W_q |      A (n·r, I) = | A_q |      B (O, n·r) = | B_q  0   0  |
                 | W_k |                   | A_k |                   |  0  B_k  0  |
                 | W_v |                   | A_v |                   |  0   0  B_v |

The trained masters of the whole model are fp32 and live in one flat buffer (`Adapter`), so clipping and the
optimizer are one call each. The layers compute with copies in the model's own type; `Adapter.refresh` renews
the copies after every change of the masters.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pointwise import swiglu, swiglu_gradient, swiglu_value
from .quantize import Bits, QuantizedWeight


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x (T, I) times weight (O, I) transposed, plus bias (O,): (T, O).

    One row, as in generation, is a matrix times a vector: on a CPU that reads the weight twice as fast.
    """
    if x.shape[0] > 1 or x.device.type != "cpu":
        return F.linear(x, weight, bias)
    y = torch.mv(weight, x[0])
    return (y if bias is None else y.add_(bias))[None]


class Member(NamedTuple):
    """One linear of a group: its name in the checkpoint and its rows of W."""

    name: str
    rows: slice


UPDATE = ("rank", "scale", "dropout", "adapted", "lora_A", "lora_B", "A", "B")
"""The attributes of a layer that `add_lora` sets."""


class LoRALinear(nn.Module):
    """One or more frozen linears with a common input, each with or without a LoRA update.

    `weight` (O, I) and `bias` (O,) or None have no gradient. The outputs of the members stand side by side: (T, O).
    With `bits`, `open` allocates the weight so that it can be filled, and `close` quantizes it and frees the
    memory; without `bits`, both do nothing.
    """

    frozen: Tensor
    bias: Tensor | None
    A: Tensor
    B: Tensor
    lora_A: nn.ParameterList
    lora_B: nn.ParameterList

    def __init__(
        self,
        in_features: int,
        outputs: dict[str, int],
        bias: bool,
        dtype: torch.dtype,
        device: torch.device,
        bits: Bits | None = None,
    ):
        super().__init__()
        total = sum(outputs.values())
        # A matrix that widens is stored by columns: oneDNN multiplies by it a third faster, and dX takes as long.
        # "meta" takes no memory before `open`, so a quantized model need not be dense all at once.
        weight = torch.empty(in_features, total, dtype=dtype, device="meta" if bits else device).t()
        self.register_buffer("frozen", weight if total > 2 * in_features else weight.contiguous())
        self.register_buffer("bias", torch.empty(total, dtype=dtype, device=device) if bias else None)
        starts = [0, *torch.tensor(list(outputs.values())).cumsum(0).tolist()]
        self.members = [Member(name, slice(a, b)) for name, a, b in zip(outputs, starts[:-1], starts[1:], strict=True)]
        self.bits, self.device = bits, device
        self.quantized: QuantizedWeight | None = None
        self.owner: Adapter | None = None  # of the first layer of a model: the adapter whose updates are in place
        self.drop_lora()
        self.enabled = True

    @property
    def weight(self) -> Tensor:
        """The frozen weight (O, I), dequantized on each access if it is quantized."""
        return self.frozen if self.quantized is None else self.quantized.dense()

    def lay_by_rows(self) -> None:
        """Store the weight by rows, which a product with one row (generation) reads fastest."""
        self.frozen = self.frozen.contiguous()

    def open(self) -> None:
        """Allocate the weight to be filled, if it is to be quantized."""
        if self.bits:
            self.frozen = torch.empty_like(self.frozen, device=self.device)

    def close(self) -> None:
        """Quantize the filled weight and free its memory, if it is to be quantized."""
        if self.bits:
            self.quantized = QuantizedWeight(self.frozen, self.bits)
            # Keeps shape and dtype, which `add_lora` reads.
            self.frozen = torch.empty_like(self.frozen, device="meta")

    def drop_lora(self) -> None:
        """Leave the layer without an update; one that was taken from `update` before stays whole."""
        self.rank, self.scale, self.dropout = 0, 0.0, 0.0
        self.adapted: list[Member] = []
        self.lora_A, self.lora_B = nn.ParameterList(), nn.ParameterList()
        for name in ("A", "B"):
            self.register_buffer(name, None, persistent=False)

    def add_lora(self, targets: Sequence[str], rank: int, scale: float, dropout: float) -> list[tuple[str, int, int]]:
        """Add a zero LoRA update to the members in `targets`; return (name, inputs, outputs) of each.

        `Adapter` owns the memory of the masters and adds them.
        """
        self.rank, self.scale, self.dropout = rank, scale, dropout
        self.adapted = [m for m in self.members if m.name in targets]
        width = rank * len(self.adapted)
        outputs, inputs = self.frozen.shape
        self.lora_A, self.lora_B = nn.ParameterList(), nn.ParameterList()
        # Zeros: outside the diagonal blocks B stays zero for good. The device is named, as `frozen` may be on "meta".
        self.register_buffer("A", self.frozen.new_zeros(width, inputs, device=self.device), persistent=False)
        self.register_buffer("B", self.frozen.new_zeros(outputs, width, device=self.device), persistent=False)
        return [(m.name, inputs, m.rows.stop - m.rows.start) for m in self.adapted]

    def blocks(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, per adapted member, the parts of A (r, I) and B (o, r) that copy its masters."""
        for i, member in enumerate(self.adapted):
            columns = slice(i * self.rank, (i + 1) * self.rank)
            yield self.A[columns], self.B[member.rows, columns]

    @property
    def update(self) -> dict[str, Any]:
        """All that makes up the LoRA update. A model has one at a time; setting it puts another one in its place."""
        return {name: getattr(self, name) for name in UPDATE}

    @update.setter
    def update(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def forward(self, x: Tensor, gated: bool = False) -> Tensor:
        """Map (T, I) to (T, O); with `gated`, x is gate and up (T, 2I) and the input is swiglu(x)."""
        # Dropout needs the plain path: each member drops inputs of its own, so they cannot share one product.
        if self.adapted and self.enabled and not (self.dropout and self.training):
            return lora_linear_fused(x, self, gated)
        x = swiglu(x) if gated else x
        if self.adapted and self.enabled:
            return lora_linear_plain(x, self)
        return linear(x, self.weight, self.bias)


def lora_linear_plain(x: Tensor, layer: LoRALinear) -> Tensor:
    """Return the formula (T, I) -> (T, O) as written, differentiated by autograd; the only path with dropout.

    Each member drops inputs of its own, as PEFT does (one mask for q, another for k, ...).
    """
    p = layer.dropout if layer.training else 0.0
    y = F.linear(x, layer.weight, layer.bias)
    updates = []
    for member, master_a, master_b in zip(layer.adapted, layer.lora_A, layer.lora_B, strict=True):
        low = F.linear(F.dropout(x, p), master_a.to(x.dtype))
        updates.append((member.rows, F.linear(low * layer.scale, master_b.to(x.dtype))))
    y = y.clone()
    for rows, update in updates:
        y[:, rows] += update
    return y


def lora_linear_fused(x: Tensor, layer: LoRALinear, gated: bool = False) -> Tensor:
    """Return what `lora_linear_plain` returns without dropout: two small products per group, hand-written backward.

    With `gated` the input is swiglu(x). The backward pass computes swiglu(x) again instead of keeping it: a fifth
    less memory for activations, about 2 % more time.
    """
    return _FusedLoRALinear.apply(x, layer, gated, *layer.lora_A, *layer.lora_B)  # type: ignore[no-any-return, no-untyped-call]


class _FusedLoRALinear(torch.autograd.Function):
    """The masters are arguments only so that autograd delivers their gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: LoRALinear, gated: bool, *masters: Tensor) -> Tensor:
        inner = swiglu_value(x) if gated else x
        y = linear(inner, layer.weight, layer.bias)
        # Scale the narrow (T, n·r) result, not the wide (T, O) one.
        low = linear(inner, layer.A).mul_(layer.scale)
        if len(low) == 1:
            y += linear(low, layer.B)
        else:
            # Adds into y: no second (T, O) tensor.
            y.addmm_(low, layer.B.t())
        ctx.save_for_backward(x, low)
        ctx.layer, ctx.gated = layer, gated
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = grads
        x, low = ctx.saved_tensors
        layer: LoRALinear = ctx.layer
        inner = swiglu_value(x) if ctx.gated else x
        d_low = (dy @ layer.B).mul_(layer.scale)
        d_a = d_low.t().contiguous() @ inner  # oneDNN is a third slower if the narrow side is not contiguous
        d_b = low.t().contiguous() @ dy
        dx = None
        # False for q, k and v of the first layer: their input comes from the frozen embedding, so dX would be wasted.
        if ctx.needs_input_grad[0]:
            # A quantized weight is dequantized again here: keeping it dense from forward would undo the saving.
            dx = dy @ layer.weight
            dx.addmm_(d_low, layer.A)
            dx = swiglu_gradient(x, dx) if ctx.gated else dx
        r = layer.rank
        # The masters are fp32 and micro-batches accumulate: only the product itself is rounded to the model's type.
        per_a = [d_a[i * r : (i + 1) * r].float() for i in range(len(layer.adapted))]
        per_b = [d_b[i * r : (i + 1) * r, m.rows].t().float() for i, m in enumerate(layer.adapted)]
        return (dx, None, None, *per_a, *per_b)


class Adapter:
    """All LoRA masters of a model, as views into one flat fp32 buffer, with their gradients in another.

        flat       | A of layer 0 q_proj | B of layer 0 q_proj | A of layer 0 k_proj | ...
        flat.grad  |        the same places                                          | ...

    A starts uniform as `kaiming_uniform_(a=√5)` and B at zero, as in PEFT, so a new adapter changes nothing.
    Raises ValueError if no linear is named in `targets`.
    """

    def __init__(
        self,
        linears: Iterable[tuple[str, LoRALinear]],
        targets: Sequence[str],
        rank: int,
        scale: float,
        dropout: float,
        generator: torch.Generator | None = None,
    ):
        self.rank, self.scale, self.dropout, self.targets = rank, scale, dropout, tuple(targets)
        named = list(linears)
        wanted = [(path, layer) for path, layer in named if any(m.name in targets for m in layer.members)]
        if not wanted:
            raise ValueError(f"no layer of this model is named in {list(targets)}")
        self.layers = [layer for _, layer in wanted]
        self._all = [layer for _, layer in named]
        for layer in self._all:
            layer.drop_lora()
        plan = [(path, layer, layer.add_lora(targets, rank, scale, dropout)) for path, layer in wanted]
        # fp32: bf16 masters would lose small updates. It is little: 4.4 million values at 0.5B and rank 8.
        size = sum(rank * (inputs + outputs) for _, _, members in plan for _, inputs, outputs in members)
        device = self.layers[0].device
        self.flat = nn.Parameter(torch.zeros(size, dtype=torch.float32, device=device))
        self.flat.grad = torch.zeros_like(self.flat)
        self.masters: dict[str, nn.Parameter] = {}
        offset = 0
        for path, layer, members in plan:
            for name, inputs, outputs in members:
                for kind, shape in (("lora_A", (rank, inputs)), ("lora_B", (outputs, rank))):
                    master = self._view(offset, shape)
                    getattr(layer, kind).append(master)
                    self.masters[f"{path}.{name}.{kind}.weight"] = master
                    offset += master.numel()
                bound = 1 / math.sqrt(inputs)
                # Drawn on the CPU: a seed gives the same start on every device.
                start = torch.rand((rank, inputs), generator=generator) * (2 * bound) - bound
                with torch.no_grad():
                    layer.lora_A[-1].copy_(start)
        self.refresh()
        self._updates = [layer.update for layer in self._all]
        self._all[0].owner = self

    def attach(self) -> None:
        """Put this adapter back on its model, in the place of one that was made for it later."""
        if self._all[0].owner is not self:
            # All layers: the other one may have updates where this one has none.
            for layer, update in zip(self._all, self._updates, strict=True):
                layer.update = update
            self._all[0].owner = self

    def _view(self, offset: int, shape: tuple[int, int]) -> nn.Parameter:
        part = slice(offset, offset + shape[0] * shape[1])
        # .data: a leaf that shares memory with `flat` and is not a result of it in autograd.
        master = nn.Parameter(self.flat.data[part].view(shape))
        assert self.flat.grad is not None
        # Autograd adds in place to a .grad that exists, so the sum lands in `flat.grad` without a copy.
        master.grad = self.flat.grad[part].view(shape)
        return master

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy the masters into the layers; call this after every change of the masters."""
        # `masters` has the order of `blocks`: layer, member, A before B. Once per step, not per product.
        copies = [part for layer in self.layers for block in layer.blocks() for part in block]
        # One call for all masters (336 in a 0.5B model with all seven modules) instead of one each.
        torch._foreach_copy_(copies, list(self.masters.values()))

    @contextmanager
    def off(self) -> Iterator[None]:
        """Switch the updates off within a `with` block, and on after it, also after an error."""
        self.enable(False)
        try:
            yield
        finally:
            self.enable(True)

    def enable(self, on: bool) -> None:
        """Switch the updates on or off; off gives the base model."""
        for layer in self.layers:
            layer.enabled = on
