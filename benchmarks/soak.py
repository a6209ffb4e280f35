"""One run killed again and again at random instants, against the same run left alone: do the bits agree?

    python benchmarks/soak.py --kills 200 --folder FOLDER [--seed 0] [key=value …]

Trains `tiny` on the rows `daiyu` with dropout, a checkpoint after every step. Each life lasts a random time, is ended
with SIGKILL and gone on with; after so many kills it may reach its end. Prints one JSON line last: kills, in which
state they found the run, steps done twice, and whether adapter, optimizer and log are those of the run left alone.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

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


def life(arguments: list[str], seconds: float | None) -> int | None:
    """The exit code of one life, None where it was killed."""
    command = [sys.executable, "-m", "tonghua", "train", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ})
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def soak(folder: Path, settings: list[str], kills: int, seed: int) -> tuple[Path, dict[str, int]]:
    chance, start = random.Random(seed), time.monotonic()  # noqa: S311 - instants, not secrets
    runs = folder / "killed"
    found = {"kills": 0, "before a checkpoint": 0, "while one was written": 0}
    while found["kills"] < kills:
        begun = [path.parent for path in runs.glob("*/checkpoints")]
        arguments = ["--resume", str(begun[0])] if begun else ["zhenhuan", *settings, f"output_dir={runs}"]
        code = life(arguments, chance.uniform(*LIFE_S))
        if code is not None:
            raise SystemExit(f"the run ended with {code} after {found['kills']} kills; give it more epochs")
        found["kills"] += 1
        found["before a checkpoint"] += not list(runs.glob("*/checkpoints/step-*"))
        found["while one was written"] += bool(list(runs.glob("*/checkpoints/.step-*")))
        if found["kills"] % 20 == 0:
            steps = max((int(path.name[5:]) for path in runs.glob("*/checkpoints/step-*")), default=0)
            print(f"{found['kills']} kills, step {steps}, {time.monotonic() - start:.0f} s", flush=True)
    run = next(path.parent for path in runs.glob("*/checkpoints"))
    assert life(["--resume", str(run)], None) == 0
    return run, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("settings", nargs="*", help="key=value for both runs")
    options = parser.parse_intermixed_args()
    merged = dict(each.split("=", 1) for each in (*SETTINGS, *options.settings))
    settings = [f"{key}={value}" for key, value in merged.items()]
    killed, found = soak(options.folder, settings, options.kills, options.seed)
    assert life(["zhenhuan", *settings, f"output_dir={options.folder / 'alone'}"], None) == 0
    (alone,) = (options.folder / "alone").iterdir()
    last = max((alone / "checkpoints").iterdir()).name
    same = {
        name: sha256(killed / name) == sha256(alone / name)
        for name in ("adapter_model.safetensors", f"checkpoints/{last}/state.safetensors")
    }
    print(
        json.dumps({**found, "steps": len(losses(alone)), "same": {**same, "losses": losses(killed) == losses(alone)}})
    )


if __name__ == "__main__":
    main()
