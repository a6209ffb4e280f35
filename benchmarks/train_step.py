"""tonghua's training step beside the usual tutorial's script and TRL, in one run on the same rows.

    python benchmarks/train_step.py --model qwen2.5-0.5b --data zhenhuan.json \\
        --system 现在你要扮演皇帝身边的女人--甄嬛 --steps 7 --baseline-steps 3 --rounds 2

Each program runs by itself in a fresh process, in turn, for so many rounds; the first step is left out of each median.
Ends with an error unless the loss of tonghua and of the tutorial on the same rows is the same to 1 %.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import report

from tonghua import download
from tonghua.data.names import dataset_path

HERE = Path(__file__).resolve().parent
PROGRAMS = {
    "tonghua": ("tonghua_step.py", []),
    "tutorial": ("baselines/tutorial.py", ["--variant", "verbatim"]),
    "trl": ("baselines/trl_sft.py", ["--layout", "pack"]),
}
NEEDS = {"tonghua": (), "tutorial": ("transformers", "peft"), "trl": ("transformers", "peft", "trl", "datasets")}

SAME_LOSS = 0.01


def run(name: str, options: argparse.Namespace, steps: int) -> dict[str, Any]:
    """What the program says of so many steps."""
    script, more = PROGRAMS[name]
    python = sys.executable if name == "tonghua" else options.baseline_python
    rows = ["--model", options.model, "--data", options.data, "--system", options.system, "--steps", str(steps)]
    command = [python, str(HERE / script), *rows, *more]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {name}: {result['samples_per_s']:.3f} samples/s", file=sys.stderr, flush=True)
    return result


def tell(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The table; returns its figures."""
    rate = {name: statistics.median(each["samples_per_s"] for each in runs) for name, runs in results.items()}
    times = {name: rate["tonghua"] / each for name, each in rate.items()} if "tonghua" in rate else {}
    report.header("program", "samples/s", "peak GB", "tonghua is")
    for name, runs in results.items():
        peak = max(each["peak_gb"] for each in runs)
        report.row(name, f"{rate[name]:.3f}", f"{peak:.2f}", f"{times[name]:.2f}x" if times else "")
    figures: dict[str, Any] = {"samples_per_s": rate, "tonghua_is": times, "runs": results}
    if times:
        share = statistics.median(each["floor_share"] for each in results["tonghua"])
        report.row("floor over step", f"{share:.0%}", "", "")
        figures["floor_share"] = share
    return figures


def require_same_loss(ours: float, theirs: float) -> None:
    if abs(ours - theirs) > SAME_LOSS * theirs:
        sys.exit(f"the loss on the same rows differs: tonghua {ours:.4f}, the tutorial {theirs:.4f}")


def names(given: str) -> list[str]:
    """Of programs, as they are written in `--only`."""
    found = given.split(",")
    if unknown := set(found) - PROGRAMS.keys():
        raise argparse.ArgumentTypeError(f"no such program: {', '.join(unknown)}")
    return found


def parser() -> argparse.ArgumentParser:
    made = report.step_parser(__doc__)
    made.add_argument("--baseline-steps", type=int, default=3, help="steps of the others (default: %(default)s)")
    made.add_argument("--rounds", type=int, default=2, help="runs of each program (default: %(default)s)")
    made.add_argument("--only", type=names, default=",".join(PROGRAMS), help="which programs (default: %(default)s)")
    made.add_argument("--baseline-python", default=sys.executable, help="interpreter with the extra `benchmark`")
    return made


def main() -> None:
    options = parser().parse_args()
    wanted = options.only
    report.require(options.baseline_python, *dict.fromkeys(library for name in wanted for library in NEEDS[name]))
    options.model, options.data = str(download(options.model)), str(dataset_path(options.data).resolve())
    steps = {name: options.steps if name == "tonghua" else options.baseline_steps for name in wanted}
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    for _ in range(options.rounds):
        for name in wanted:
            results[name].append(run(name, options, steps[name]))
    figures = tell(results)
    if {"tonghua", "tutorial"} <= set(wanted):
        # The same rows: a run of as many steps as the tutorial took.
        as_many = options.steps == options.baseline_steps
        same = results["tonghua"][0] if as_many else run("tonghua", options, options.baseline_steps)
        figures["loss"] = {"tonghua": same["loss"], "tutorial": results["tutorial"][0]["loss"]}
        require_same_loss(*figures["loss"].values())
    report.finish("train_step", figures)


if __name__ == "__main__":
    main()
