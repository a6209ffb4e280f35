"""Plan micro-batches and recomputed layers, and estimate the memory, time and disk of a run.

free memory, shape, longest row  --plan-->  Plan           before the first forward pass
one rehearsed micro-batch        --estimate-->  Estimate   memory, time and disk of the whole run
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..config.schema import Config
from ..core.loss import ROWS_AT_A_TIME
from ..core.model import Shape
from ..data.samples.prepare import Prepared
from ..errors import ResourceError
from ..models.weights import shape_of
from ..system.device import DevicePlace, choose_place, machine_name, operations_per_s
from ..system.memory import free_bytes

CPU_TOKENS = 1024
"""Maximum tokens per micro-batch on a CPU, unless one row has more.

Larger ones only move more memory: a matrix product is efficient from a few hundred rows."""

GPU_TOKENS = 16_384
"""Maximum tokens per micro-batch on a GPU, unless one row has more."""

SHARE_OF_RATE = 0.3
"""Share of the rate of one large product that a whole step reaches; the "floor over step" of benchmarks/LOG.md."""

SHARE_OF_FREE = 0.8
"""Maximum share of the free memory that a plan uses; other programs need memory too."""

MOST_KEPT_BYTES = 600_000_000
"""Maximum memory that a process retains on a CPU beyond what a step needs, in bytes; never more than the activations.

It is a kernel per row size, and gaps that steps of other sizes left. benchmarks/LOG.md has the measured runs."""

FEW_STEPS = 20
"""Shorter runs rehearse once. The first time also makes kernels and touches new memory, so it takes up to half longer:
a second one costs a step or two, and its exact figure is worth more the longer the run is."""

EVALUATION_SHARE = 0.4
"""Time per token of an evaluation, as a share of that in training: there is no backward pass."""


class Plan(NamedTuple):
    """Maximum `tokens` per micro-batch, unless one row has more; number of layers that recompute in backward."""

    tokens: int
    recomputed_layers: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will take, in bytes and seconds. Memory is that of the process on a CPU, of the allocator on a GPU.

    `available_bytes` includes what the process already holds."""

    tokens_per_micro_batch: int
    recomputed_layers: int
    memory_bytes: int
    available_bytes: int
    disk_bytes: int
    steps: int
    step_s: float
    total_s: float


def plan(config: Config, shape: Shape, place: DevicePlace, longest: int) -> Plan:
    """Return the plan for rows of at most `longest` tokens; values that the config sets are kept.

    Micro-batches shrink before any layer recomputes, and as few layers recompute as possible: a smaller micro-batch
    costs little, recomputing a layer costs a third of its time.
    """
    # The logits of a chunk are alive together with all activations, so they come off first.
    room = int(free_bytes(place.device) * SHARE_OF_FREE) - head_bytes(shape, place.dtype)
    most = _most_tokens(place.device)
    wished = config.gradient_checkpointing
    if wished == "auto":
        fits = (n for n in range(shape.layers + 1) if longest * bytes_per_token(shape, place.dtype, n) <= room)
        recomputed = next(fits, shape.layers)
        # If one row alone forces a layer to recompute, a larger micro-batch would force more of them.
        most = longest if recomputed else most
    else:
        recomputed = shape.layers if wished else 0
    # `room` may be negative; then rows run one at a time, and the rehearsal shows if even that is too much.
    fitting = max(0, room) // bytes_per_token(shape, place.dtype, recomputed)
    return Plan(config.tokens_per_micro_batch or max(longest, min(most, fitting)), recomputed)


def machine(device: torch.device) -> str:
    """Return what a plan depends on besides free memory: the machine, its memory and what is best for such a device."""
    return f"{machine_name(device)}, {_most_tokens(device)} tokens"


def _most_tokens(device: torch.device) -> int:
    return CPU_TOKENS if device.type == "cpu" else GPU_TOKENS


def epoch_s(shape: Shape, place: DevicePlace, tokens: int, targets: int) -> float:
    """Estimate the seconds of an epoch of `tokens` and `targets` from its frozen products and a measured rate."""
    # q and o have the query heads, k and v the key heads.
    heads = (2 * shape.heads + 2 * shape.kv_heads) * shape.head_dim
    linear = shape.layers * shape.hidden_size * (heads + 3 * shape.intermediate_size)
    # Per weight and token 2 operations forward and 2 for dX; frozen weights need no dW.
    operations = 4 * (tokens * linear + targets * shape.hidden_size * shape.vocab_size)
    return operations / (operations_per_s(place) * SHARE_OF_RATE)


def seconds_of_an_epoch(config: Config, prepared: Prepared) -> float | None:
    """Estimate the seconds that an epoch of prepared rows takes on this machine; None if no row can be used."""
    samples = prepared.samples
    if not len(samples):
        return None
    place = choose_place(config.device, config.dtype)
    tokens = samples.packed_tokens(config.samples_per_step)
    return epoch_s(shape_of(prepared.model), place, tokens, int(samples.targets.sum()))


def bytes_per_token(shape: Shape, dtype: torch.dtype, recomputed_layers: int) -> int:
    """Return the activations that a token keeps until its backward pass, in bytes.

    A layer keeps 8 hidden, 5 key-value and 3 wide vectors. A layer that recomputes keeps one hidden vector; one such
    layer at a time is alive in full.
    """
    kv = shape.kv_heads * shape.head_dim
    layer = 8 * shape.hidden_size + 5 * kv + 3 * shape.intermediate_size
    kept = (shape.layers - recomputed_layers) * layer
    if recomputed_layers:
        kept += recomputed_layers * shape.hidden_size + layer
    return kept * dtype.itemsize


def head_bytes(shape: Shape, dtype: torch.dtype) -> int:
    """Return the bytes of the logits that are alive at a time."""
    return ROWS_AT_A_TIME * shape.vocab_size * dtype.itemsize


def memory_bytes(peak_bytes: int, activation_bytes: int, moment_bytes: int, device: torch.device) -> int:
    """Estimate the peak of a run in bytes, from the peak and the activations of its longest micro-batch."""
    # A few trial steps leave few gaps and make few kernels, so their peak does not show this part.
    kept = min(activation_bytes, MOST_KEPT_BYTES) if device.type == "cpu" else 0
    # The rehearsal makes no update, so its peak has no moments.
    return peak_bytes + moment_bytes + kept


def total_s(steps: int, per_epoch: int, tokens: int, heldout_tokens: int, token_s: float) -> float:
    """Estimate the seconds of all steps and evaluations.

    `tokens`: those of an epoch, `heldout_tokens` those of an evaluation; `token_s`: seconds per token of training."""
    epochs = steps / per_epoch
    # One before the first step, one after each epoch, and one at the end of an epoch that is cut short.
    evaluations = 1 + math.ceil(epochs)
    return token_s * (tokens * epochs + heldout_tokens * EVALUATION_SHARE * evaluations)


def no_memory_left(config: Config, longest: int) -> ResourceError:
    """Return the error for a run out of memory, the cheapest remedy first. `longest`: tokens of the longest row."""
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
