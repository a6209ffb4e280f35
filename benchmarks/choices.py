"""What each choice does to the held-out loss: modules, learning rate, epochs, rank, number of rows. One table each.

    python benchmarks/choices.py modules --recipe daiyu --model qwen2.5-0.5b \\
        --data dataset/daiyu.json --heldout dataset/daiyu.heldout.json num_train_epochs=3
    python benchmarks/choices.py rates --recipe zhenhuan --model qwen2.5-0.5b --data rest.json --heldout held.json \\
        --rows 50 num_train_epochs=8          # --rows 500 num_train_epochs=3; --rows 2000 num_train_epochs=1
    python benchmarks/choices.py ranks --recipe zhenhuan --model qwen2.5-0.5b --data rest.json --heldout held.json \\
        --rows 500 num_train_epochs=3

Every line is a run of its own from the same base, the same order of rows and as many steps; the loss is measured on
the held-out rows before the first step and after each epoch. Nothing of the runs is kept.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

import report

import tonghua
from tonghua.config.fields import LORA_MODULES
from tonghua.data.names import dataset_path

VARIATIONS: dict[str, list[dict[str, object]]] = {
    "modules": [{"lora_target": name} for name in (*LORA_MODULES, "all")],
    "rates": [{"learning_rate": rate} for rate in (1e-4, 2e-4, 5e-4, 1e-3)],
    "ranks": [{"lora_rank": rank, "lora_alpha": 4 * rank} for rank in (4, 8, 32)],
}


def heldout_losses(run: str) -> list[float]:
    """The held-out loss before the first step and after each epoch."""
    lines = (Path(run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [found["heldout_loss"] for found in map(json.loads, lines) if "heldout_loss" in found]


def some(rows: list[object], count: int | None) -> list[object]:
    """So many of the rows, the same for every run; all if no number is given."""
    return rows if count is None else random.Random(0).sample(rows, count)  # noqa: S311 - rows for a measurement


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("what", choices=VARIATIONS, help="what differs between the runs")
    made.add_argument("--model", required=True, help="name or folder of the model")
    made.add_argument("--data", required=True, help="rows to train on, a JSON list")
    made.add_argument("--heldout", required=True, help="rows to measure the loss on")
    made.add_argument("--recipe", default="daiyu", help="recipe of every run (default: %(default)s)")
    made.add_argument("--rows", type=int, help="train on so many of the rows (default: all)")
    made.add_argument("settings", nargs="*", help="key=value for every run")
    return made


def main() -> None:
    options = parser().parse_intermixed_args()
    chosen = some(json.loads(dataset_path(options.data).read_text(encoding="utf-8")), options.rows)
    found = []
    report.header("choice", "weights", "steps", "held-out loss before and after each epoch")
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        rows.write_text(json.dumps(chosen, ensure_ascii=False), encoding="utf-8")
        given = {"model": options.model, "dataset": str(rows), "eval_dataset": options.heldout, "output_dir": folder}
        for variation in VARIATIONS[options.what]:
            settings = {**given, **report.settings(options.settings), **variation}
            result = tonghua.train(options.recipe, quiet=True, **settings)
            losses = heldout_losses(result.run)
            found.append(
                {**variation, "parameters": result.trainable_parameters, "steps": result.steps, "loss": losses}
            )
            named = ", ".join(f"{key} {value}" for key, value in variation.items())
            told = " ".join(f"{loss:.3f}" for loss in losses)
            report.row(named, f"{result.trainable_parameters:,}", result.steps, told)
    report.finish("choices", {"what": options.what, "rows": len(chosen), "runs": found})


if __name__ == "__main__":
    main()
