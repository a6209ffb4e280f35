"""How every benchmark tells what it found: a table for people, the machine, and one line of JSON last for machines.

    | part | path | ms |                                             header, row
    |---|---|---|
    | loss | linear_cross_entropy | 12.30 |

    AMD EPYC, 2 threads, torch 2.13.0, AVX2, AVX512-BF16             finish
    {"benchmark": "parts", "machine": {...}, ...}

Nothing of tonghua is used here: a baseline may run in an environment that lacks it.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

FEATURES = {"avx2": "AVX2", "avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX"}
"""What decides how fast a processor multiplies in bf16: its flag in /proc/cpuinfo, and its name for people."""

SAMPLES = 16
"""Of a step, in every program that is timed."""

ZHENHUAN = "现在你要扮演皇帝身边的女人--甄嬛"


def parser(doc: str | None) -> argparse.ArgumentParser:
    """One whose help begins with what the script says at its top."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def step_parser(doc: str | None) -> argparse.ArgumentParser:
    """What every program that takes training steps is told."""
    made = parser(doc)
    made.add_argument("--model", required=True, help="folder of the model")
    made.add_argument("--data", required=True, help="JSON list of rows: instruction, input, output")
    made.add_argument("--system", default=ZHENHUAN, help="system prompt of every row (default: %(default)s)")
    made.add_argument("--steps", type=int, default=6, help=f"steps of {SAMPLES} rows (default: %(default)s)")
    return made


def settings(given: Iterable[str]) -> dict[str, str]:
    """`key=value …` as a dict."""
    return dict(each.split("=", 1) for each in given)


def read_rows(path: str | Path, steps: int) -> list[dict[str, str]]:
    """All rows of the file; ends with one line if they are too few for so many steps."""
    rows: list[dict[str, str]] = json.loads(Path(path).read_text(encoding="utf-8"))
    if len(rows) < SAMPLES * steps:
        sys.exit(f"{path} has {len(rows)} rows; {steps} steps need {SAMPLES * steps}")
    return rows


def require(python: str, *libraries: str) -> None:
    """End with one line if this interpreter lacks a library of the extra `benchmark`."""
    look = "import sys; from importlib.util import find_spec; print(*(n for n in sys.argv[1:] if not find_spec(n)))"
    done = subprocess.run([python, "-c", look, *libraries], stdout=subprocess.PIPE, text=True, check=True)
    if missing := done.stdout.split():
        sys.exit(f'{python} lacks {", ".join(missing)}; run: pip install -e ".[benchmark]"')


def header(*columns: str) -> None:
    row(*columns)
    print("|---" * len(columns) + "|", flush=True)


def row(*cells: object) -> None:
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def finish(benchmark: str, figures: dict[str, Any]) -> None:
    """The machine for people, and everything on one line for machines."""
    found = machine()
    features = [name for flag, name in FEATURES.items() if found[flag]]
    told = [found["processor"], f"{found['threads']} threads", f"torch {found['torch']}", *features]
    print(f"\n{', '.join(told)}")
    print(json.dumps({"benchmark": benchmark, "machine": found, **figures}))


def finish_steps(run: str, step_s: Sequence[float], samples: float, loss: float | None, **more: Any) -> None:
    """Of a program that took training steps. The first step is left out of the median."""
    step = statistics.median(step_s[1:] or step_s)
    peak = peak_bytes() / 1e9
    header("run", "samples/s", "s a step", "loss", "peak GB")
    row(run, f"{samples / step:.3f}", f"{step:.3f}", "" if loss is None else f"{loss:.4f}", f"{peak:.2f}")
    figures = {"samples_per_s": samples / step, "step_s": list(step_s), "loss": loss, "peak_gb": peak}
    finish(run, {**figures, **more})


def machine(cpuinfo: Path = Path("/proc/cpuinfo")) -> dict[str, Any]:
    """What a figure depends on beside the code. A feature is None where the system does not tell."""
    import torch

    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    flags = told.get("flags", "").split()
    return {
        "processor": told.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        **{flag: flag in flags if text else None for flag in FEATURES},
        # What oneDNN was told to leave unused.
        "onednn_max_cpu_isa": os.environ.get("ONEDNN_MAX_CPU_ISA"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def step_clock(seconds: list[float]) -> Any:
    """A callback for a Trainer of transformers that appends the seconds of each step."""
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def on_step_begin(self, *given: Any, **named: Any) -> None:
            self.start = time.perf_counter()

        def on_step_end(self, *given: Any, **named: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - self.start)

    return Clock()


def peak_bytes() -> int:
    """The most memory that this process held: what the allocator gave out on a GPU, else the resident set."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
