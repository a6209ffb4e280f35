"""Is what `tonghua plan` says true? Its memory and time beside those of the run that follows.

    python benchmarks/plan_check.py --model qwen2.5-0.5b --data ROWS [--tokens 512 1024 2048] [--steps 24] [key=value …]

Each size is a plan and a run of its own, in processes of their own. Prints a table and one JSON line last.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any


def tonghua(verb: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tonghua", verb, *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def steps_s(run: Path) -> float:
    """What the steps took together; the plan's own share of evaluations is left out on both sides."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return sum(line["step_s"] for line in map(json.loads, lines) if "step_s" in line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--recipe", default="zhenhuan")
    parser.add_argument("--tokens", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("settings", nargs="*", help="key=value for every plan and run")
    options = parser.parse_intermixed_args()
    found = []
    print("| tokens | memory planned, GB | measured | ratio | steps planned, s | measured | ratio |")
    print("|---|---|---|---|---|---|---|")
    for tokens in options.tokens:
        with tempfile.TemporaryDirectory() as folder:
            given = [
                *(options.recipe, f"model={options.model}", f"dataset={options.data}", f"max_steps={options.steps}"),
                *(f"tokens_per_micro_batch={tokens}", f"output_dir={folder}", *options.settings),
            ]
            planned, result = tonghua("plan", *given), tonghua("train", *given)
            taken = steps_s(Path(result["run"]))
        memory, time_s = planned["memory_bytes"] / 1e9, planned["step_s"] * planned["steps"]
        measured = result["peak_memory_gb"]
        found.append({"tokens": tokens, "memory_gb": [memory, measured], "steps_s": [time_s, taken]})
        print(
            f"| {tokens} | {memory:.2f} | {measured:.2f} | {memory / measured:.2f}"
            f" | {time_s:.0f} | {taken:.0f} | {time_s / taken:.2f} |",
            flush=True,
        )
    print(json.dumps({"data": options.data, "steps": options.steps, "runs": found}))


if __name__ == "__main__":
    main()
