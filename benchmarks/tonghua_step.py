"""tonghua's own training step on the first rows of a file, timed beside the time of its matrix products alone.

    python benchmarks/tonghua_step.py --model qwen2.5-0.5b --data daiyu --steps 7

Set up as `tonghua train` does it, with the given rows alone. `train_step.py` runs this beside the other programs.
The floor is the products of the frozen weights that a step needs, run by themselves over the model's own weights in the
same process: forward and dX of every linear, head included.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import report
import torch

from tonghua.config.schema import Config
from tonghua.core.loss import ROWS_AT_A_TIME
from tonghua.core.model import Decoder
from tonghua.core.packing import Batch, pack
from tonghua.data.names import dataset_path
from tonghua.system.signals import Stop
from tonghua.training.setup import get_ready
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
                last = len(linears) - i <= 3  # after the last attention only the sources go on
                # The embeddings have no gradient, so nothing goes back through the first linears.
                total += products_s(layer.weight, targets if last else tokens, back=i > 0)
            for start in range(0, targets, ROWS_AT_A_TIME):
                total += products_s(decoder.head, min(ROWS_AT_A_TIME, targets - start))
        times.append(total)
    return statistics.median(times)


def products_s(weight: torch.Tensor, rows: int, back: bool = True) -> float:
    outputs, inputs = weight.shape
    x = torch.ones(rows, inputs, dtype=weight.dtype, device=weight.device)
    dy = torch.ones(rows, outputs, dtype=weight.dtype, device=weight.device)
    if weight.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    x @ weight.t()
    if back:
        dy @ weight
    if weight.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def new_trainer(options: argparse.Namespace, folder: Path) -> tuple[Trainer, str]:
    """A trainer whose only rows are the first of the file, and where it computes."""
    rows = report.read_rows(dataset_path(options.data), options.steps)[: report.SAMPLES * options.steps]
    (folder / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    config = Config(
        model=options.model,
        dataset=str(folder / "rows.json"),
        system=options.system,
        # A row that was split would be more than one sample.
        overlong="error",
        val_size=0,
        per_device_train_batch_size=report.SAMPLES,
        gradient_accumulation_steps=1,
        num_train_epochs=1,
        lora_dropout=0.0,
        # So small that the losses of all steps are those of the base.
        learning_rate=1e-12,
    )
    ready = get_ready(config, lambda event: None)
    return ready.trainer(Stop(), lambda kind, text: print(f"{kind}: {text.en}")), str(ready.place)


def parser() -> argparse.ArgumentParser:
    return report.step_parser(__doc__)


def main() -> None:
    options = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trainer, place = new_trainer(options, Path(folder))
        done = [trainer.step() for _ in range(trainer.steps)]
        # The first step, which makes the kernels, is left out.
        timed = sorted(done[1:] or done, key=lambda step: step.step_s)
        typical = timed[len(timed) // 2]
        examples = [trainer.samples.examples[i] for i in trainer.places(typical.step - 1)]
        floor = floor_s(trainer.decoder, pack(examples, trainer.tokens_per_micro_batch))
        print(f"floor over step: {floor / typical.step_s:.0%}\n")
        report.finish_steps(
            "tonghua",
            [step.step_s for step in done],
            report.SAMPLES,
            statistics.mean(step.loss for step in done if step.loss is not None),
            place=place,
            tokens_per_step=statistics.mean(step.tokens for step in done),
            targets_per_step=statistics.mean(step.targets for step in done),
            floor_s=floor,
            floor_share=floor / typical.step_s,
        )


if __name__ == "__main__":
    main()
