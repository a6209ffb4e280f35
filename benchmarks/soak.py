"""One run killed again and again at random instants, against the same run left alone: do the bits agree?

    python benchmarks/soak.py --kills 200 --folder FOLDER num_train_epochs=70

Trains `tiny` on the rows `daiyu` with dropout, a checkpoint after every step. Each life lasts a random time, is ended
with SIGKILL and gone on with; after so many kills, or if one life reaches the end before, the run is finished. Says in
which state the kills found the run, and whether adapter, optimizer and losses are those of the run left alone.
"""

import argparse
import hashlib
import json
import random
import subprocess
import sys
import time
from pathlib import Path

import report

SETTINGS = (
    *("model=tiny", "dataset=daiyu", "eval_dataset=daiyu.heldout", "lora_dropout=0.1", "save_steps=1"),
    *("per_device_train_batch_size=8", "num_train_epochs=8", "learning_rate=2e-3", "device=cpu"),
)
LIFE_S = (1.0, 9.0)
"""From before the program has begun its work to some steps into it."""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def losses(run: Path) -> list[float]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [values["loss"] for values in map(json.loads, lines) if "step_s" in values]


def life(arguments: list[str], seconds: float | None) -> bool:
    """Whether it reached the end of the run; False if it was killed before."""
    command = [sys.executable, "-m", "tonghua", "train", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
    try:
        _, said = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    if process.returncode:
        sys.exit(f"tonghua train {' '.join(arguments)} ended with {process.returncode}:\n{said[-3000:]}")
    return True


def next_life(runs: Path, settings: list[str]) -> list[str]:
    """A new run, or resuming the one that there is."""
    begun = list(runs.glob("*/checkpoints"))
    return ["--resume", str(begun[0].parent)] if begun else ["zhenhuan", *settings, f"output_dir={runs}"]


def soak(options: argparse.Namespace, runs: Path, settings: list[str]) -> dict[str, int]:
    """Kill a run, finish it, and say what the kills found."""
    chance, start = random.Random(options.seed), time.monotonic()  # noqa: S311 - instants, not secrets
    found = {"kills": 0, "before a checkpoint": 0, "while one was written": 0}
    while found["kills"] < options.kills:
        if life(next_life(runs, settings), chance.uniform(*options.life)):
            print(f"the run reached its end after {found['kills']} kills; for more of them give it more epochs\n")
            return found
        found["kills"] += 1
        found["before a checkpoint"] += not list(runs.glob("*/checkpoints/step-*"))
        found["while one was written"] += bool(list(runs.glob("*/checkpoints/.step-*")))
        if found["kills"] % 20 == 0:
            steps = max((step_of(path) for path in runs.glob("*/checkpoints/step-*")), default=0)
            print(f"{found['kills']} kills, step {steps}, {time.monotonic() - start:.0f} s", flush=True)
    life(next_life(runs, settings), None)
    return found


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


def only_run(runs: Path) -> Path:
    return next(path.parent for path in runs.glob("*/checkpoints"))


def same(killed: Path, alone: Path) -> dict[str, bool]:
    last = max((alone / "checkpoints").iterdir(), key=step_of).name
    files = {"adapter": "adapter_model.safetensors", "optimizer": f"checkpoints/{last}/state.safetensors"}
    found = {what: sha256(killed / name) == sha256(alone / name) for what, name in files.items()}
    return {**found, "losses": losses(killed) == losses(alone)}


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("--kills", type=int, default=200, help="how many (default: %(default)s)")
    made.add_argument("--folder", type=Path, required=True, help="an empty folder for both runs")
    made.add_argument("--seed", type=int, default=0, help="of the instants (default: %(default)s)")
    made.add_argument(
        "--life", type=float, nargs=2, default=LIFE_S, help="least and most seconds of a life (default: %(default)s)"
    )
    made.add_argument("settings", nargs="*", help="key=value for both runs")
    return made


def main() -> None:
    options = parser().parse_intermixed_args()
    merged = {**report.settings(SETTINGS), **report.settings(options.settings)}
    settings = [f"{key}={value}" for key, value in merged.items()]
    killed, alone = options.folder / "killed", options.folder / "alone"
    found = soak(options, killed, settings)
    life(next_life(alone, settings), None)
    result = {**found, "steps": len(losses(only_run(alone))), "same": same(only_run(killed), only_run(alone))}
    report.header(*found, "steps", *(f"same {what}" for what in result["same"]))
    report.row(*found.values(), result["steps"], *("yes" if each else "NO" for each in result["same"].values()))
    report.finish("soak", result)
    sys.exit(not all(result["same"].values()))


if __name__ == "__main__":
    main()
