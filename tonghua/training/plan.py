"""How a step is cut into micro-batches, which layers recompute their activations, and what a run will take.

free memory, shape, longest row  --plan-->  Plan           before the first product
one rehearsed micro-batch        --estimate-->  Estimate   memory, time and disk of the whole run
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..config.schema import Config
from ..core.loss import ROWS_AT_A_TIME
from ..core.model import Shape
from ..errors import ResourceError
from ..system.device import DevicePlace, operations_per_s
from ..system.memory import free_bytes

CPU_TOKENS = 1024
"""On a CPU larger micro-batches only move more memory: a matrix product is efficient from a few hundred rows."""

GPU_TOKENS = 16_384

SHARE_OF_RATE = 0.3
"""Of the rate of one large product, what a whole step reaches; benchmarks/LOG.md has it as the floor's share."""

SHARE_OF_FREE = 0.8
"""Of the memory that is free now, what a run may take: other programs live here too."""

MOST_KEPT_BYTES = 600_000_000
"""What a process comes to hold on a CPU, beside what a step needs: a kernel for each size of row, and the holes between
what steps of other sizes freed; never more than the activations. benchmarks/LOG.md has the runs it was read from."""

EVALUATION_SHARE = 0.4
"""Of the time that a token takes in training, what it takes in an evaluation, which has no way back."""


class Plan(NamedTuple):
    """`tokens` read in one forward pass, unless one row alone has more; so many layers recompute in backward."""

    tokens: int
    recomputed_layers: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take. Memory is the process's on a CPU, the allocator's on a GPU; what it holds already counts as
    available."""

    tokens_per_micro_batch: int
    recomputed_layers: int
    memory_bytes: int
    available_bytes: int
    disk_bytes: int
    steps: int
    step_s: float
    total_s: float


def plan(config: Config, shape: Shape, place: DevicePlace, longest: int) -> Plan:
    """The plan for rows of at most `longest` tokens; what the config fixes is kept.

    Micro-batches shrink before anything is recomputed, and no more layers recompute than must: a smaller micro-batch
    costs little, recomputing a layer costs a third of its time.
    """
    room = int(free_bytes(place.device) * SHARE_OF_FREE) - head_bytes(shape, place.dtype)
    most = CPU_TOKENS if place.device.type == "cpu" else GPU_TOKENS
    wished = config.gradient_checkpointing
    if wished == "auto":
        fits = (n for n in range(shape.layers + 1) if longest * bytes_per_token(shape, place.dtype, n) <= room)
        recomputed = next(fits, shape.layers)
        most = longest if recomputed else most
    else:
        recomputed = shape.layers if wished else 0
    fitting = max(0, room) // bytes_per_token(shape, place.dtype, recomputed)
    return Plan(config.tokens_per_micro_batch or max(longest, min(most, fitting)), recomputed)


def epoch_s(shape: Shape, place: DevicePlace, tokens: int, targets: int) -> float:
    """About how long an epoch takes: the operations of its frozen products, both ways, at this machine's rate."""
    heads = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim
    linear = shape.layers * shape.hidden_size * (heads + 3 * shape.intermediate_size)
    operations = 4 * (tokens * linear + targets * shape.hidden_size * shape.vocab_size)
    return operations / (operations_per_s(place) * SHARE_OF_RATE)


def bytes_per_token(shape: Shape, dtype: torch.dtype, recomputed_layers: int) -> int:
    """Activations that one token keeps until its backward pass: 8 hidden, 5 key-value and 3 wide vectors a layer.

    A layer that recomputes keeps one vector, and one whole such layer at a time is alive.
    """
    kv = shape.kv_heads * shape.head_dim
    layer = 8 * shape.hidden_size + 5 * kv + 3 * shape.intermediate_size
    kept = (shape.layers - recomputed_layers) * layer
    if recomputed_layers:
        kept += recomputed_layers * shape.hidden_size + layer
    return kept * dtype.itemsize


def head_bytes(shape: Shape, dtype: torch.dtype) -> int:
    """The logits that are alive at a time."""
    return ROWS_AT_A_TIME * shape.vocab_size * dtype.itemsize


def memory_bytes(peak_bytes: int, activation_bytes: int, moment_bytes: int, device: torch.device) -> int:
    """The peak of a whole run, from that of its longest micro-batch, of which so much are activations."""
    kept = min(activation_bytes, MOST_KEPT_BYTES) if device.type == "cpu" else 0
    return peak_bytes + moment_bytes + kept


def total_s(steps: int, per_epoch: int, tokens: int, heldout_tokens: int, token_s: float) -> float:
    """Of all steps and evaluations, where a token takes `token_s` in training; `tokens` and `heldout_tokens` of one
    epoch and of one evaluation."""
    epochs = steps / per_epoch
    evaluations = 1 + math.ceil(epochs)
    return token_s * (tokens * epochs + heldout_tokens * EVALUATION_SHARE * evaluations)


def no_memory_left(config: Config, longest: int) -> ResourceError:
    """The error of a run without memory, remedies cheapest first. `longest`: tokens of the longest row."""
    zh, en = [], []
    if config.gradient_checkpointing is False:
        zh.append("gradient_checkpointing=true（慢三分之一，结果不变）")
        en.append("gradient_checkpointing=true (a third slower, same result)")
    if config.quantization_bit is None:
        zh.append("quantization_bit=8 或 4（更慢，略有误差）")
        en.append("quantization_bit=8 or 4 (slower, slightly less exact)")
    zh += [f"max_length={longest // 2}（长的行会拆开）", "换小一点的模型"]
    en += [f"max_length={longest // 2} (longer rows are split)", "a smaller model"]
    return ResourceError(
        "一次只算一行内存也不够；请关掉别的程序，或依次试：" + "；".join(zh),
        "there is not enough memory even for one row at a time; close other programs, or try in this order: "
        + "; ".join(en),
    )
