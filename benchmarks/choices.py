"""What each choice does to the held-out loss: modules, learning rate, epochs, rank, number of rows. One table each.

    python benchmarks/choices.py modules --model FOLDER --data ROWS --heldout ROWS [--recipe daiyu] [key=value …]
    python benchmarks/choices.py rates   --rows 50 …
    python benchmarks/choices.py ranks   --rows 500 …

Every line is a run of its own from the same base, the same order of rows and as many steps; the loss is measured on
the held-out rows before the first step and after each epoch. Nothing of the runs is kept. Prints one JSON line last.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path

import tonghua
from tonghua.config.fields import LORA_MODULES

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
    """So many of the rows, the same for every run; all where no number is given."""
    return rows if count is None else random.Random(0).sample(rows, count)  # noqa: S311 - rows for a measurement


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=VARIATIONS)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--heldout", type=Path, required=True)
    parser.add_argument("--recipe", default="daiyu")
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("settings", nargs="*", help="key=value for every run")
    options = parser.parse_intermixed_args()
    settings = dict(each.split("=", 1) for each in options.settings)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        chosen = some(json.loads(options.data.read_text(encoding="utf-8")), options.rows)
        rows.write_text(json.dumps(chosen, ensure_ascii=False), encoding="utf-8")
        for variation in VARIATIONS[options.what]:
            given = {"model": options.model, "dataset": str(rows), "eval_dataset": str(options.heldout)}
            result = tonghua.train(options.recipe, **{**given, "output_dir": folder, **settings, **variation})
            losses = heldout_losses(result.run)
            found.append(
                {**variation, "parameters": result.trainable_parameters, "steps": result.steps, "loss": losses}
            )
            named = ", ".join(f"{key} {value}" for key, value in variation.items())
            print(
                f"| {named} | {result.trainable_parameters:,} | {' '.join(f'{loss:.3f}' for loss in losses)} |",
                flush=True,
            )
    print(json.dumps({"what": options.what, "rows": len(chosen), "runs": found}))


if __name__ == "__main__":
    main()
