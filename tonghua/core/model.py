"""A decoder of the Llama architecture, with the sizes and the parameter names of its checkpoint.

Qwen2 / Qwen2.5 (biases on q, k, v), Qwen3 (norms on q and k) and Llama (with its rope scaling) are flags of
one `Shape`. `Decoder` maps ids and positions of a row of tokens to hidden states (T, hidden). `loss.py` makes
logits and loss. The caller passes attention in as `attend`: `attention.py` or a key-value cache.

    ids (T,) -> embed -> [ x + o(attend(rope(qkv(norm(x))))) ; x + down(silu(gate) * up) ] * layers -> norm
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .lora import LoRALinear
from .pointwise import rms_norm, rotate
from .quantize import Bits

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, q (T, H, D), k (T, K, D), v (T, K, D)) -> (T, H·D)."""


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Rope type "llama3", which stretches the slow frequencies (factor 1 = none); `linear` divides all of them."""

    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    original_max_positions: int = 0
    linear: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes and flags of a checkpoint; `tied`: the embedding is also the output head."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    norm_epsilon: float
    rope_theta: float
    max_positions: int
    tied: bool
    rope_scaling: RopeScaling | None = None
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False


class RMSNorm(nn.Module):
    weight: Tensor

    def __init__(self, size: int, epsilon: float, dtype: torch.dtype, device: torch.device):
        super().__init__()
        # A buffer and not a parameter, like every base tensor here: frozen, without memory for a gradient.
        self.register_buffer("weight", torch.empty(size, dtype=dtype, device=device))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight, self.epsilon)


def rope_tables(shape: Shape, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return cos and sin of every position, each (T, 1, D/2); RoPE of Su et al. 2021, arXiv 2104.09864."""
    # Angles in fp32: bf16 holds integers exactly only up to 256, and a position may be larger.
    half = torch.arange(0, shape.head_dim, 2, dtype=torch.float32, device=positions.device)
    frequency = shape.rope_theta ** -(half / shape.head_dim)
    if shape.rope_scaling is not None:
        frequency = _scaled(frequency, shape.rope_scaling)
    angle = positions[:, None, None].float() * frequency
    return angle.cos().to(dtype), angle.sin().to(dtype)


def _scaled(frequency: Tensor, scaling: RopeScaling) -> Tensor:
    """Return frequencies with long waves stretched by the factor, short ones kept, and those between blended."""
    if scaling.linear:
        return frequency / scaling.factor
    turns = scaling.original_max_positions * frequency / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    # Turns within the original context: up to `low` a frequency is fully stretched, from `high` on it is kept.
    keep = ((turns - low) / (high - low)).clamp(0, 1)
    return frequency * (keep + (1 - keep) / scaling.factor)


class Attention(nn.Module):
    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device, bits: Bits | None):
        super().__init__()
        q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        outputs = {"q_proj": q, "k_proj": kv, "v_proj": kv}
        self.qkv = LoRALinear(shape.hidden_size, outputs, shape.qkv_bias, dtype, device, bits)
        self.o = LoRALinear(q, {"o_proj": shape.hidden_size}, shape.o_bias, dtype, device, bits)
        if shape.qk_norm:
            self.q_norm = RMSNorm(shape.head_dim, shape.norm_epsilon, dtype, device)
            self.k_norm = RMSNorm(shape.head_dim, shape.norm_epsilon, dtype, device)
        self.shape = shape

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, attend: Callable[..., Tensor]) -> Tensor:
        """Map (T, hidden) to what attention read, (T, H·D), before the output projection."""
        s = self.shape
        # A view: the product is split into heads without a copy.
        heads = self.qkv(x).view(x.shape[0], -1, s.head_dim)
        # q and k side by side, so that one call rotates both.
        turning, v = heads.split([s.heads + s.kv_heads, s.kv_heads], dim=1)
        if s.qk_norm:
            q, k = turning.split([s.heads, s.kv_heads], dim=1)
            turning = torch.cat([self.q_norm(q), self.k_norm(k)], dim=1)
        q, k = rotate(turning, cos, sin).split([s.heads, s.kv_heads], dim=1)
        return attend(q, k, v)


class MLP(nn.Module):
    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device, bits: Bits | None):
        super().__init__()
        wide = shape.intermediate_size
        outputs = {"gate_proj": wide, "up_proj": wide}
        self.gate_up = LoRALinear(shape.hidden_size, outputs, shape.mlp_bias, dtype, device, bits)
        self.down = LoRALinear(wide, {"down_proj": shape.hidden_size}, shape.mlp_bias, dtype, device, bits)

    def forward(self, x: Tensor) -> Tensor:
        # gated: `down` applies swiglu itself, so that its fused path keeps only gate and up for the backward pass.
        return self.down(self.gate_up(x), gated=True)  # type: ignore[no-any-return]


class Block(nn.Module):
    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device, bits: Bits | None):
        super().__init__()
        self.input_layernorm = RMSNorm(shape.hidden_size, shape.norm_epsilon, dtype, device)
        self.self_attn = Attention(shape, dtype, device, bits)
        self.post_attention_layernorm = RMSNorm(shape.hidden_size, shape.norm_epsilon, dtype, device)
        self.mlp = MLP(shape, dtype, device, bits)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, attend: Callable[..., Tensor], rows: Tensor | None
    ) -> Tensor:
        """Map (T, hidden) to (T, hidden), or to (M, hidden) of `rows` (M,) only."""
        read = self.self_attn(self.input_layernorm(x), cos, sin, attend)
        # In the last layer other rows give only keys and values, so o and the MLP skip them. The result is exact.
        if rows is not None:
            x, read = x[rows], read[rows]
        x = x + self.self_attn.o(read)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """The whole model without its output head; `head` is the weight for code that needs logits.

    `bits` quantizes the linears inside the blocks; embeddings, head and norms are never quantized.
    """

    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device, bits: Bits | None = None):
        super().__init__()
        self.shape, self.dtype, self.device = shape, dtype, device
        vocabulary = (shape.vocab_size, shape.hidden_size)
        self.register_buffer("embed_tokens", torch.empty(vocabulary, dtype=dtype, device=device))
        self.layers = nn.ModuleList(Block(shape, dtype, device, bits) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden_size, shape.norm_epsilon, dtype, device)
        self.register_buffer("lm_head", None if shape.tied else torch.empty(vocabulary, dtype=dtype, device=device))
        self.recomputed_layers = 0
        """Number of layers, from the first, that recompute their activations in the backward pass."""

    embed_tokens: Tensor
    lm_head: Tensor | None

    @property
    def head(self) -> Tensor:
        """Weight of the output head, (V, hidden)."""
        return self.embed_tokens if self.lm_head is None else self.lm_head

    def forward(self, ids: Tensor, positions: Tensor, attend: Attend, rows: Tensor | None = None) -> Tensor:
        """Return hidden states after the last norm: (T, hidden), or (M, hidden) of `rows` (M,)."""
        # Once for all layers: the angles depend only on the positions.
        cos, sin = rope_tables(self.shape, positions, self.dtype)
        x = F.embedding(ids, self.embed_tokens)
        for i, block in enumerate(self.blocks()):
            wanted = rows if i == self.shape.layers - 1 else None
            arguments = (x, cos, sin, _of_layer(attend, i), wanted)
            if i < self.recomputed_layers and torch.is_grad_enabled():
                # Non-reentrant: the reentrant kind needs an input with a gradient, and the first layer has none.
                x = checkpoint(block, *arguments, use_reentrant=False)
            else:
                x = block(*arguments)
        return self.norm(x)  # type: ignore[no-any-return]

    def blocks(self) -> Iterator[Block]:
        """Yield the layers in order."""
        for block in self.layers:
            assert isinstance(block, Block)
            yield block

    def linears(self) -> Iterator[tuple[str, LoRALinear]]:
        """Yield (path in the checkpoint, such as `model.layers.3.mlp`; group) of every group of linears."""
        for i, block in enumerate(self.blocks()):
            yield f"model.layers.{i}.self_attn", block.self_attn.qkv
            yield f"model.layers.{i}.self_attn", block.self_attn.o
            yield f"model.layers.{i}.mlp", block.mlp.gate_up
            yield f"model.layers.{i}.mlp", block.mlp.down

    def slots(self) -> Iterator[tuple[str, Tensor]]:
        """Yield (name in the checkpoint, tensor to fill) of every base tensor."""
        yield "model.embed_tokens.weight", self.embed_tokens
        for i, block in enumerate(self.blocks()):
            at = f"model.layers.{i}."
            for norm in ("input_layernorm", "post_attention_layernorm"):
                yield f"{at}{norm}.weight", getattr(block, norm).weight
            if self.shape.qk_norm:
                yield f"{at}self_attn.q_norm.weight", block.self_attn.q_norm.weight
                yield f"{at}self_attn.k_norm.weight", block.self_attn.k_norm.weight
        for path, group in self.linears():
            for member in group.members:
                # A view: the file is read into its rows of the stacked weight. If quantized, only while it is open.
                yield f"{path}.{member.name}.weight", group.frozen[member.rows]
                if group.bias is not None:
                    yield f"{path}.{member.name}.bias", group.bias[member.rows]
        yield "model.norm.weight", self.norm.weight
        if self.lm_head is not None:
            yield "lm_head.weight", self.lm_head


def _of_layer(attend: Attend, layer: int) -> Callable[..., Any]:
    # Binds the layer number now: a lambda in the loop would see the last one when backward recomputes.
    return lambda q, k, v: attend(layer, q, k, v)
