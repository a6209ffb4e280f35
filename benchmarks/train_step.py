"""tonghua's training step beside the usual tutorial's script and TRL, in one run on the same rows.

    python benchmarks/train_step.py --model FOLDER --data rows.json --system TEXT [--steps 6] [--rounds 2]
        [--only tonghua,tutorial,trl] [--baseline-python PYTHON]

Each program runs by itself in a fresh process, in turn, for so many rounds; 16 samples a step; the first step is
left out of each median. Asserts that the loss on the same rows is the same to 1 %. Prints a table for people and
one JSON line for machines. `--baseline-python`: the interpreter that has the extra `benchmark` installed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def run(python: str, script: str, arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [python, str(HERE / script), *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        sys.exit(f"{script} {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"  {result['run']}: {result['samples_per_s']:.3f} samples/s", file=sys.stderr, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--system", required=True)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--baseline-steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", default="tonghua,tutorial,trl")
    parser.add_argument("--baseline-python", default=sys.executable)
    options = parser.parse_args()
    environment = {
        "MODEL": str(Path(options.model).resolve()),
        "DATA": str(Path(options.data).resolve()),
        "SYSTEM": options.system,
    }
    programs = {
        "tonghua": (sys.executable, "tonghua_step.py", [str(options.steps)]),
        "tutorial": (options.baseline_python, "baselines/tutorial.py", ["verbatim", str(options.baseline_steps)]),
        "trl": (options.baseline_python, "baselines/trl_sft.py", ["pack", str(options.baseline_steps)]),
    }
    wanted = [name for name in programs if name in options.only.split(",")]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    for _ in range(options.rounds):
        for name in wanted:
            results[name].append(run(*programs[name], environment))
    report(results)
    if {"tonghua", "tutorial"} <= set(wanted):
        same_rows = run(sys.executable, "tonghua_step.py", [str(options.baseline_steps)], environment)
        theirs = results["tutorial"][0]["loss"]
        assert abs(same_rows["loss"] - theirs) < 0.01 * theirs, f"loss {same_rows['loss']:.4f}, tutorial {theirs:.4f}"


def report(results: dict[str, list[dict[str, Any]]]) -> None:
    rate = {name: statistics.median(r["samples_per_s"] for r in runs) for name, runs in results.items()}
    print(f"{'':10} {'samples/s':>10} {'peak GB':>8} {'tonghua is':>10}")
    for name, runs in results.items():
        times = rate["tonghua"] / rate[name] if "tonghua" in rate else float("nan")
        peak = max(r["peak_gb"] for r in runs)
        print(f"{name:10} {rate[name]:10.3f} {peak:8.2f} {times:9.2f}x")
    summary: dict[str, Any] = {"samples_per_s": rate, "runs": results}
    if "tonghua" in results:
        share = statistics.median(r["floor_share"] for r in results["tonghua"])
        print(f"floor over step: {share:.0%}")
        summary["floor_share"] = share
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
