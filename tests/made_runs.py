"""Runs that tests make, stop, kill and compare."""

import json
import signal
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import ROWS, Called, call, logged, settings, sha256, write_rows


def spoil_loss(monkeypatch: pytest.MonkeyPatch, calls: Container[int]) -> None:
    """The loss becomes NaN at these micro-batches, from 1; it is looked up wherever training takes it from."""
    import tonghua.core.loss
    from tonghua.training.trainer import Trainer

    monkeypatch.setattr(Trainer, "rehearse", lambda trainer: 0.0)
    real, done = tonghua.core.loss.linear_cross_entropy, 0

    def spoilt(*arguments: Any) -> torch.Tensor:
        nonlocal done
        done += 1
        loss = real(*arguments)
        return loss * float("nan") if done in calls else loss

    users = [module for name, module in sys.modules.items() if name.startswith("tonghua.")]
    for module in users:
        if getattr(module, "linear_cross_entropy", None) is real:
            monkeypatch.setattr(module, "linear_cross_entropy", spoilt)


class Interrupts:
    """Ctrl-C at the n-th step, without a process of its own: the screen is where every step passes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int):
        from tonghua.terminal.screen import Screen

        real = Screen.event

        def event(screen: Screen, event: Any) -> None:
            real(screen, event)
            if getattr(event, "step_s", None) is not None and event.step == step:
                signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Screen, "event", event)


STEPS = 9


LONG: dict[str, Any] = {
    "val_size": 2,
    "num_train_epochs": 3,
    "per_device_train_batch_size": 4,
    "lora_dropout": 0.1,
    "save_steps": 1,
    "dtype": "float32",
    "device": "cpu",
}


class Place:
    """A user's folder in which runs are made, ended and gone on with."""

    def __init__(self, folder: Path, model: Path):
        folder.mkdir(exist_ok=True)
        self.folder, self.model, self.runs = folder, model, folder / "结果 runs"
        self.rows = write_rows(folder / "数 据.json", ROWS)

    def train(self, **values: Any) -> Called:
        given = {"dataset": self.rows, "model": self.model, "output_dir": self.runs, **LONG, **values}
        return call("train", *settings(**given), "--json")

    def resume(self, *more: object, language: str = "en") -> Called:
        return call("train", "--resume", self.run, *more, "--json", language=language)

    @property
    def run(self) -> Path:
        (run,) = self.runs.iterdir()
        return run

    @property
    def adapter(self) -> str:
        return sha256(self.run / "adapter_model.safetensors")


def require_same(place: Place, straight: Place) -> None:
    """The same adapters, best and last, and the same log, bit for bit, save for its times."""
    assert place.adapter == straight.adapter
    for name in ("adapter_model.safetensors", "state.safetensors"):
        last = f"checkpoints/step-{STEPS:06d}/{name}"
        assert sha256(place.run / last) == sha256(straight.run / last)
    for key in ("loss", "grad_norm", "learning_rate", "heldout_loss"):
        assert logged(place.run, key) == logged(straight.run, key)


class Killed(BaseException):
    """Here the process died."""


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def refused(called: Called, code: int, words: str) -> None:
    assert (called.code, called.out) == (code, "")
    assert words in called.err.splitlines()[-1]
    assert "Traceback" not in called.err
