"""Run folders written by hand, as a trainer leaves them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tonghua.config.load import load
from tonghua.config.yaml_file import to_yaml
from tonghua.runs.folder import CONTRACT, FACTS, METRICS, RESULT, SAMPLES

FILES = (FACTS, METRICS, SAMPLES, RESULT, CONTRACT, "config.yaml")


PROMPTS = ("讲一个故事。", "你是谁？", "山里有什么？", "睡前讲什么？", "什么是勇气？")


STARTED: dict[str, Any] = {
    "started": "2026-11-22T13:50:12+08:00",
    "name": "fairytale",
    "versions": {"tonghua": "0.2.0", "torch": "2.13.0", "python": "3.11.7"},
    "system": "Linux x86_64",
    "place": "cpu bfloat16",
    "base": {"name": "qwen2.5-0.5b", "parameters": 494032768},
    "trainable": 4399104,
    "rows": {"read": 131, "kept": 129, "bad": 2, "too_long": 0, "split": 0},
    "dataset": ["fairytale"],
    "eval_dataset": "fairytale.heldout",
    "train": 129,
    "heldout": 50,
    "tokens": {"mean": 412.3, "longest": 903},
    "samples_per_step": 16,
}


def step_line(step: int, steps: int, loss: float | None) -> dict[str, Any]:
    return {
        **{"step": step, "steps": steps, "epoch": round(3 * step / steps, 4), "loss": loss, "grad_norm": 1.2},
        **{"learning_rate": 2e-4 * (1 - step / (steps + 1)), "samples": 16, "tokens": 6123, "targets": 5012},
        **{"step_s": 2.0, "samples_per_s": 6.9, "remaining_s": 9.0, "memory_gb": 3.1},
    }


def heldout_line(step: int, loss: float) -> dict[str, Any]:
    return {"step": step, "epoch": 0.0, "heldout_loss": loss}


def event_line(step: int, kind: str, zh: str, en: str) -> dict[str, Any]:
    return {"step": step, "at": "2026-11-22T13:55:01+08:00", "event": kind, "zh": zh, "en": en}


def diary_line(step: int, text: str, prompts: Sequence[str] = PROMPTS, stop: str = "stop") -> dict[str, Any]:
    answers = [{"prompt": prompt, "text": f"{text} {i}", "stop": stop} for i, prompt in enumerate(prompts)]
    return {"step": step, "epoch": 0.0, "answers": answers}


def write_lines(path: Path, lines: Sequence[object]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def write_run(
    run: Path,
    losses: Sequence[float | None],
    heldout: Sequence[tuple[int, float]] = (),
    events: Sequence[dict[str, Any]] = (),
    diary: Sequence[dict[str, Any]] = (),
    facts: dict[str, Any] | None = None,
    finished: bool = True,
    kept: bool = True,
) -> Path:
    """A run folder as training leaves it, with these losses of its steps 1, 2, ..."""
    steps = len(losses) if finished else len(losses) + 10
    run.mkdir(parents=True)
    (run / FACTS).write_text(json.dumps({**STARTED, "steps": steps, **(facts or {})}), encoding="utf-8")
    (run / "config.yaml").write_text(to_yaml(load("fairytale").config), encoding="utf-8")
    lines = [step_line(step, steps, loss) for step, loss in enumerate(losses, 1)]
    measured = [heldout_line(step, loss) for step, loss in heldout]
    write_lines(run / METRICS, sorted([*lines, *measured, *events], key=lambda line: line["step"]))
    write_lines(run / SAMPLES, diary)
    if finished:
        result = {"finished": "2026-11-22T14:20:12+08:00", "run": run.name, "steps": steps, "samples": 16 * steps}
        (run / RESULT).write_text(json.dumps(result), encoding="utf-8")
    if kept:
        (run / CONTRACT).write_text(json.dumps({"system": None, "base": {"name": "qwen2.5-0.5b"}}), encoding="utf-8")
    return run
