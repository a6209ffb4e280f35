"""Each fast path beside its plain twin, forward and backward, at the sizes of one step on the 0.5B.

    python benchmarks/parts.py [--tokens 640] [--targets 320] [--length 40]

Prints a table for people and one JSON line for machines; medians of interleaved repeats.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from tonghua.core import attention, lora, loss, pointwise
from tonghua.system import device
from tonghua.system.memory import keep_freed_memory

HIDDEN, WIDE, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY = 896, 4864, 14, 2, 64, 151_936


def seconds(run: Callable[[], torch.Tensor], place: device.DevicePlace) -> float:
    start = time.perf_counter()
    run().backward()
    if place.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def cases(place: device.DevicePlace, options: argparse.Namespace) -> dict[str, dict[str, Callable[[], torch.Tensor]]]:
    def random(*size: int) -> torch.Tensor:
        return torch.randn(*size, device=place.device).to(place.dtype).requires_grad_()

    count = options.tokens // options.length
    layout = attention.lay_out(20, [options.length] * count, HEADS, KV_HEADS, place.device, place.dtype)
    rows = layout.tokens
    q, k, v = random(rows, HEADS, HEAD_DIM), random(rows, KV_HEADS, HEAD_DIM), random(rows, KV_HEADS, HEAD_DIM)
    x, gate_up, hidden = random(rows, HIDDEN), random(rows, 2 * WIDE), random(options.targets, HIDDEN)
    # Logits of the size that a trained model gives; much larger ones would time denormal numbers.
    head = (torch.randn(VOCABULARY, HIDDEN, device=place.device) * 0.1).to(place.dtype)
    target = torch.randint(VOCABULARY, (options.targets,), device=place.device)
    weight = torch.ones(HIDDEN, dtype=place.dtype, device=place.device)
    angle = torch.rand(rows, 1, HEAD_DIM // 2, device=place.device)
    cos, sin = angle.cos().to(place.dtype), angle.sin().to(place.dtype)
    layer = lora.LoRALinear(HIDDEN, {"gate_proj": WIDE, "up_proj": WIDE}, False, place.dtype, place.device)
    layer.weight.normal_()
    lora.Adapter([("mlp", layer)], ["gate_proj", "up_proj"], 8, 4.0, 0.0)
    attends = (attention.attend_plain, attention.attend_blocks, attention.attend_causal)
    return {
        "attention": {a.__name__: lambda a=a: a(q, k, v, layout).sum() for a in attends},
        "loss": {
            f.__name__: lambda f=f: f(hidden, head, target).sum()
            for f in (loss.linear_cross_entropy_plain, loss.linear_cross_entropy)
        },
        "lora": {f.__name__: lambda f=f: f(x, layer).sum() for f in (lora.lora_linear_plain, lora.lora_linear_fused)},
        "rms_norm": {
            f.__name__: lambda f=f: f(x, weight, 1e-6).sum() for f in (pointwise.rms_norm_plain, pointwise.rms_norm)
        },
        "rotate": {f.__name__: lambda f=f: f(q, cos, sin).sum() for f in (pointwise.rotate_plain, pointwise.rotate)},
        "swiglu": {f.__name__: lambda f=f: f(gate_up).sum() for f in (pointwise.swiglu_plain, pointwise.swiglu)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=640)
    parser.add_argument("--targets", type=int, default=320)
    parser.add_argument("--length", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    place = device.choose_place()
    keep_freed_memory()
    found: dict[str, dict[str, float]] = {}
    for part, runs in cases(place, options).items():
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.repeats + 1):
            for name, run in runs.items():
                times[name].append(seconds(run, place))
        found[part] = {name: statistics.median(t[1:]) for name, t in times.items()}
        plain = next(iter(found[part].values()))
        for name, value in found[part].items():
            print(f"{part:10} {name:28} {value * 1e3:9.2f} ms {plain / value:6.2f}x")
    print(json.dumps({"place": str(place), **found}))


if __name__ == "__main__":
    main()
