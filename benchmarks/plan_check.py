"""Is what `tonghua plan` says true? Its memory and time beside those of the run that follows.

    python benchmarks/plan_check.py --model qwen2.5-0.5b --data zhenhuan.json --steps 24
    python benchmarks/plan_check.py --model qwen2.5-0.5b --data fairytale --recipe fairytale --steps 4

Each size is a plan and a run, in processes of their own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import report


def tonghua(verb: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tonghua", verb, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def steps_s(run: Path) -> float:
    """What the steps took together; the plan's own share of evaluations is left out on both sides."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(line["step_s"] for line in map(json.loads, lines) if "step_s" in line)


def checked(options: argparse.Namespace, tokens: int) -> dict[str, Any]:
    """Planned and measured, at so many tokens a micro-batch."""
    with tempfile.TemporaryDirectory() as folder:
        given = [
            *(options.recipe, f"model={options.model}", f"dataset={options.data}", f"max_steps={options.steps}"),
            *(f"tokens_per_micro_batch={tokens}", f"output_dir={folder}", *options.settings),
        ]
        planned, result = tonghua("plan", *given), tonghua("train", *given)
        taken = steps_s(Path(result["run"]))
    return {
        "tokens": tokens,
        "memory_gb": [planned["memory_bytes"] / 1e9, result["peak_memory_gb"]],
        "steps_s": [planned["step_s"] * planned["steps"], taken],
    }


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("--model", required=True, help="name or folder of the model")
    made.add_argument("--data", required=True, help="rows to train on")
    made.add_argument("--recipe", default="zhenhuan", help="recipe of every plan and run (default: %(default)s)")
    made.add_argument(
        "--tokens", type=int, nargs="+", default=[512, 1024, 2048], help="tokens a micro-batch (default: %(default)s)"
    )
    made.add_argument("--steps", type=int, default=24, help="steps of each run (default: %(default)s)")
    made.add_argument("settings", nargs="*", help="key=value for every plan and run")
    return made


def main() -> None:
    options = parser().parse_intermixed_args()
    found = []
    report.header("tokens", "memory planned, GB", "measured", "ratio", "steps planned, s", "measured", "ratio")
    for tokens in options.tokens:
        found.append(checked(options, tokens))
        (memory, peak), (planned_s, taken_s) = found[-1]["memory_gb"], found[-1]["steps_s"]
        told = (f"{memory:.2f}", f"{peak:.2f}", f"{memory / peak:.2f}")
        report.row(tokens, *told, f"{planned_s:.1f}", f"{taken_s:.1f}", f"{planned_s / taken_s:.2f}")
    report.finish("plan_check", {"data": options.data, "steps": options.steps, "runs": found})


if __name__ == "__main__":
    main()
