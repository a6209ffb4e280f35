"""tonghua's own training step on the given rows, timed, beside the time of its matrix products alone.

    MODEL=folder DATA=rows.json SYSTEM=text python benchmarks/tonghua_step.py STEPS

Prints one JSON line last. `floor_s`: the products of the frozen weights that the step needs (forward and dX of
every linear, head included), run by themselves over the model's own weights in the same process.
"""

import json
import os
import resource
import statistics
import sys
import time

import torch

from tonghua.config.schema import Config
from tonghua.core.lora import Adapter
from tonghua.core.loss import ROWS_AT_A_TIME
from tonghua.core.model import Decoder
from tonghua.core.packing import Batch, pack
from tonghua.data.samples.prepare import open_model, prepare
from tonghua.models.weights import load_base
from tonghua.system import device
from tonghua.system.memory import keep_freed_memory
from tonghua.training import plan
from tonghua.training.trainer import Trainer


def floor_s(decoder: Decoder, batches: list[Batch], repeats: int = 3) -> float:
    """Median time of the frozen matrix products of one step."""
    linears = [layer for _, layer in decoder.linears()]
    times = []
    for _ in range(repeats):
        total = 0.0
        for batch in batches:
            tokens, targets = len(batch.ids), len(batch.target)
            for i, layer in enumerate(linears):
                outputs, inputs = layer.weight.shape
                last = len(linears) - i <= 3  # after the last attention only the sources go on
                rows = targets if last else tokens
                total += products_s(layer.weight, rows, inputs, outputs)
            for start in range(0, targets, ROWS_AT_A_TIME):
                rows = min(ROWS_AT_A_TIME, targets - start)
                total += products_s(decoder.head, rows, decoder.head.shape[1], decoder.head.shape[0])
        times.append(total)
    return statistics.median(times)


def products_s(weight: torch.Tensor, rows: int, inputs: int, outputs: int) -> float:
    x = torch.ones(rows, inputs, dtype=weight.dtype, device=weight.device)
    dy = torch.ones(rows, outputs, dtype=weight.dtype, device=weight.device)
    if weight.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    x @ weight.t()
    dy @ weight
    if weight.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    steps = int(sys.argv[1])
    config = Config(
        model=os.environ["MODEL"], dataset=os.environ["DATA"], system=os.environ["SYSTEM"], learning_rate=1e-12
    )
    files, renderer = open_model(config.model)
    ready = prepare(config, files, renderer)
    examples = ready.samples.examples[: 16 * steps]
    place = device.choose_place()
    keep_freed_memory()
    decoder = load_base(files, place)
    adapter = Adapter(
        decoder.linears(), config.lora_modules, config.lora_rank, config.lora_alpha / config.lora_rank, 0.0
    )
    planned = plan.plan(config, decoder.shape, place, max(len(e.ids) for e in examples))
    trainer = Trainer(config, decoder, adapter, planned.tokens, examples, steps)
    done = list(trainer.run())
    peak = trainer.memory.peak_bytes()
    if not torch.cuda.is_available():
        peak = max(peak, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    typical = sorted(done[1:] or done, key=lambda s: s.step_s)[len(done[1:]) // 2]
    floor = floor_s(decoder, pack(trainer.samples_of(typical.step - 1), planned.tokens)) / typical.step_s
    print(
        json.dumps(
            {
                "run": "tonghua",
                "place": str(place),
                "samples_per_s": 16 / statistics.median(s.step_s for s in done[1:] or done),
                "step_s": [s.step_s for s in done],
                "tokens_per_step": statistics.mean(s.tokens for s in done),
                "targets_per_step": statistics.mean(s.targets for s in done),
                "loss": statistics.mean(s.loss for s in done),
                "floor_share": floor,
                "peak_gb": peak / 1e9,
            }
        )
    )


if __name__ == "__main__":
    main()
