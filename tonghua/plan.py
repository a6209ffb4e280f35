"""How a step is cut into micro-batches, and whether activations are recomputed, from the memory there is."""

from typing import NamedTuple

import psutil
import torch

from .config import Config
from .core.model import Shape
from .device import Place, operations_per_s

CPU_TOKENS = 1024
"""On a CPU larger micro-batches only move more memory: a matrix product is efficient from a few hundred rows."""

GPU_TOKENS = 16_384

SHARE_OF_RATE = 0.3
"""Of the rate of one large product, what a whole step reaches; benchmarks/LOG.md has it as the floor's share."""

SHARE_OF_FREE = 0.6


class Plan(NamedTuple):
    """`tokens` read in one forward pass, unless one row alone has more; `recompute` activations in backward."""

    tokens: int
    recompute: bool


def plan(config: Config, shape: Shape, place: Place, longest: int) -> Plan:
    """The plan for rows of at most `longest` tokens; what the config fixes is kept."""
    room = int(free_bytes(place.device) * SHARE_OF_FREE)
    most = CPU_TOKENS if place.device.type == "cpu" else GPU_TOKENS
    recompute = config.gradient_checkpointing
    if recompute == "auto":
        recompute = room < longest * bytes_per_token(shape, place.dtype, recompute=False)
    fitting = room // bytes_per_token(shape, place.dtype, recompute)
    return Plan(config.tokens_per_micro_batch or max(longest, min(most, fitting)), recompute)


def epoch_s(shape: Shape, place: Place, tokens: int, targets: int) -> float:
    """About how long an epoch takes: the operations of its frozen products, both ways, at this machine's rate."""
    heads = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim
    linear = shape.layers * shape.hidden_size * (heads + 3 * shape.intermediate_size)
    operations = 4 * (tokens * linear + targets * shape.hidden_size * shape.vocab_size)
    return operations / (operations_per_s(place) * SHARE_OF_RATE)


def bytes_per_token(shape: Shape, dtype: torch.dtype, recompute: bool) -> int:
    """Activations that one token keeps until its backward pass: 8 hidden, 5 key-value and 3 wide vectors a layer.

    With `recompute` one vector a layer stays, and one whole layer at a time is alive.
    """
    kv = shape.kv_heads * shape.head_dim
    layer = 8 * shape.hidden_size + 5 * kv + 3 * shape.intermediate_size
    kept = shape.layers * shape.hidden_size + layer if recompute else shape.layers * layer
    return kept * dtype.itemsize


def free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)
