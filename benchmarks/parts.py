"""Each fast path beside its plain twin, forward and backward, at the sizes of one step on the 0.5B.

    python benchmarks/parts.py

Medians of interleaved repeats, the first left out. `--model`: at the sizes of another model instead.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import report
import torch

from tonghua.core import attention, lora, loss, pointwise
from tonghua.data.samples.prepare import open_model
from tonghua.system import device
from tonghua.system.memory import keep_freed_memory

Run = Callable[[], torch.Tensor]


class Sizes(NamedTuple):
    hidden: int = 896
    wide: int = 4864
    heads: int = 14
    kv_heads: int = 2
    vocabulary: int = 151_936

    @property
    def head(self) -> int:
        return self.hidden // self.heads


SIZE_KEYS = ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads", "vocab_size")


def sizes_of(model: str | None) -> Sizes:
    """Those of this model; of the 0.5B if none is named."""
    if model is None:
        return Sizes()
    config = open_model(model)[0].config
    return Sizes(*(int(getattr(config, key)) for key in SIZE_KEYS))


def seconds(run: Run, place: device.DevicePlace) -> float:
    start = time.perf_counter()
    run().backward()
    if place.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def cases(place: device.DevicePlace, options: argparse.Namespace) -> dict[str, dict[str, Run]]:
    """Of each part the plain twin first, then what is held against it."""
    sizes = sizes_of(options.model)
    hidden, wide, on, dtype = sizes.hidden, sizes.wide, place.device, place.dtype

    def random(*size: int) -> torch.Tensor:
        return torch.randn(*size, device=on).to(dtype).requires_grad_()

    lengths = [options.length] * (options.tokens // options.length)
    layout = attention.lay_out(20, lengths, sizes.heads, sizes.kv_heads, on, dtype)
    rows = layout.tokens
    q, k, v = (random(rows, heads, sizes.head) for heads in (sizes.heads, sizes.kv_heads, sizes.kv_heads))
    x, gate_up, read = random(rows, hidden), random(rows, 2 * wide), random(options.targets, hidden)
    # Logits of the size that a trained model gives; much larger ones would time denormal numbers.
    head = (torch.randn(sizes.vocabulary, hidden, device=on) * 0.1).to(dtype)
    target = torch.randint(sizes.vocabulary, (options.targets,), device=on)
    weight = torch.ones(hidden, dtype=dtype, device=on)
    angle = torch.rand(rows, 1, sizes.head // 2, device=on)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    layer = lora.LoRALinear(hidden, {"gate_proj": wide, "up_proj": wide}, False, dtype, on)
    layer.weight.normal_()
    lora.Adapter([("mlp", layer)], ["gate_proj", "up_proj"], 8, 4.0, 0.0)

    def called(*paths: Callable[..., torch.Tensor], given: tuple[object, ...]) -> dict[str, Run]:
        return {path.__name__: lambda path=path: path(*given).sum() for path in paths}

    attends = (attention.attend_plain, attention.attend_blocks, attention.attend_causal)
    return {
        "attention": called(*attends, given=(q, k, v, layout)),
        "loss": called(loss.linear_cross_entropy_plain, loss.linear_cross_entropy, given=(read, head, target)),
        "lora": called(lora.lora_linear_plain, lora.lora_linear_fused, given=(x, layer)),
        "rms_norm": called(pointwise.rms_norm_plain, pointwise.rms_norm, given=(x, weight, 1e-6)),
        "rotate": called(pointwise.rotate_plain, pointwise.rotate, given=(q, cos, sin)),
        "swiglu": called(pointwise.swiglu_plain, pointwise.swiglu, given=(gate_up,)),
    }


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("--model", help="the model whose sizes are taken (default: those of the 0.5B)")
    made.add_argument("--tokens", type=int, default=640, help="tokens of a micro-batch (default: %(default)s)")
    made.add_argument("--targets", type=int, default=320, help="tokens that are learned (default: %(default)s)")
    made.add_argument("--length", type=int, default=40, help="tokens of a sample (default: %(default)s)")
    made.add_argument("--repeats", type=int, default=9, help="times that each is timed (default: %(default)s)")
    return made


def main() -> None:
    options = parser().parse_args()
    place = device.choose_place()
    keep_freed_memory()
    found: dict[str, dict[str, float]] = {}
    report.header("part", "path", "ms", "speed")
    for part, runs in cases(place, options).items():
        times: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(options.repeats + 1):
            for name, run in runs.items():
                times[name].append(seconds(run, place))
        found[part] = {name: statistics.median(taken[1:]) for name, taken in times.items()}
        plain = next(iter(found[part].values()))
        for name, value in found[part].items():
            report.row(part, name, f"{value * 1e3:.2f}", f"{plain / value:.2f}x")
    report.finish("parts", {"place": str(place), "seconds": found})


if __name__ == "__main__":
    main()
