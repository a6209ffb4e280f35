"""What a run will take is said before it is paid for, and micro-batches are chosen so that it fits."""

from typing import Any

import pytest
import torch
from command_line import call, settings, write_rows
from made_runs import LONG, Place

from tonghua.config.load import load
from tonghua.core.model import Shape
from tonghua.system import memory
from tonghua.system.device import DevicePlace as Device
from tonghua.training import plan

HALF = Shape(
    vocab_size=151_936,
    hidden_size=896,
    intermediate_size=4864,
    layers=24,
    heads=14,
    kv_heads=2,
    head_dim=64,
    norm_epsilon=1e-6,
    rope_theta=1e6,
    max_positions=32_768,
    tied=True,
)
CPU = Device(torch.device("cpu"), torch.bfloat16)


def planned(monkeypatch: pytest.MonkeyPatch, free_gb: float, longest: int = 700, **values: Any) -> plan.Plan:
    monkeypatch.setattr(plan, "free_bytes", lambda device: int(free_gb * 1e9))
    return plan.plan(load(None, values).config, HALF, CPU, longest)


def bytes_of(made: plan.Plan, longest: int) -> int:
    each = plan.bytes_per_token(HALF, torch.bfloat16, made.recomputed_layers)
    return max(made.tokens, longest) * each + plan.head_bytes(HALF, torch.bfloat16)


def test_where_there_is_room_nothing_is_recomputed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(monkeypatch, 16) == (1024, 0)


@pytest.mark.parametrize("free_gb", [0.6, 0.8, 1.0, 1.1, 1.3, 1.5, 2, 4])
def test_it_fits_and_recomputes_no_more_than_it_must(monkeypatch: pytest.MonkeyPatch, free_gb: float) -> None:
    made = planned(monkeypatch, free_gb)
    room = free_gb * 1e9 * plan.SHARE_OF_FREE
    assert bytes_of(made, 700) <= room
    if made.recomputed_layers:
        one_less = plan.Plan(700, made.recomputed_layers - 1)
        assert made.tokens == 700, "micro-batches shrink before anything is recomputed"
        assert bytes_of(one_less, 700) > room


def test_smaller_and_smaller_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [planned(monkeypatch, gb, longest=300) for gb in (4, 1.2, 0.8, 0.55, 0.45, 0.1)]
    assert [made.tokens for made in found] == sorted((made.tokens for made in found), reverse=True)
    assert [made.recomputed_layers for made in found] == sorted(made.recomputed_layers for made in found)
    assert (found[0].recomputed_layers, found[-1]) == (0, (300, 24))


def test_what_the_user_fixed_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned(monkeypatch, 0.6, gradient_checkpointing=False).recomputed_layers == 0
    assert planned(monkeypatch, 16, gradient_checkpointing=True).recomputed_layers == 24
    assert planned(monkeypatch, 16, tokens_per_micro_batch=256).tokens == 256


def test_the_verb_says_what_a_run_takes_and_writes_nothing(place: Place) -> None:
    given = {"dataset": place.rows, "model": place.model, "output_dir": place.runs, **LONG}
    called = call("plan", *settings(**given), "--json")
    assert called.code == 0, called.err
    found = called.json
    assert (found["steps"], found["tokens_per_micro_batch"], found["recomputed_layers"]) == (9, 1024, 0)
    assert found["total_s"] > 9 * found["step_s"] > 0
    assert 0.05e9 < found["memory_bytes"] < 20e9
    assert found["disk_bytes"] > 50_000_000
    assert [line.split(":")[0] for line in called.err.splitlines()[-3:]] == ["memory", "time", "disk"]
    assert not place.runs.exists()
    zh = call("plan", *settings(**given), language="zh")
    assert [line.split("：")[0] for line in zh.err.splitlines()[-3:]] == ["内存", "时间", "磁盘"]


def test_a_fault_of_the_rows_is_told_as_training_would(place: Place) -> None:
    called = call("plan", f"dataset={place.folder / '没有.json'}", f"model={place.model}")
    assert (called.code, called.out) == (3, "")


def test_the_rehearsal_changes_nothing(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without it the run is the same, bit for bit, dropout included."""
    from tonghua.training.trainer import Trainer

    assert place.train().code == 0
    other = Place(place.folder / "另一处", place.model)
    monkeypatch.setattr(Trainer, "rehearse", lambda trainer: 0.0)
    assert other.train().code == 0
    assert place.adapter == other.adapter


@pytest.mark.parametrize(("tokens", "few_steps"), [(8, 0), (64, 0), (1024, 0), (64, 1000)])
def test_the_longest_micro_batch_of_the_run_is_rehearsed(
    place: Place, monkeypatch: pytest.MonkeyPatch, tokens: int, few_steps: int
) -> None:
    """Of the run as it will be, epoch after epoch; not of rows that never come together. Once in a run of few steps."""
    from tonghua.training import trainer

    read: list[int] = []
    real = trainer.hidden_states

    def noted(decoder: Any, batch: Any) -> Any:
        read.append(len(batch.ids))
        return real(decoder, batch)

    monkeypatch.setattr(trainer, "hidden_states", noted)
    monkeypatch.setattr(trainer, "FEW_STEPS", few_steps)
    write_rows(place.rows, [{"instruction": "月亮呢？", "output": "在森林里。" * (i * i + 1)} for i in range(12)])
    assert place.train(tokens_per_micro_batch=tokens).code == 0
    times = 1 if few_steps else 2
    rehearsed, rest = read[:times], read[times:]
    assert rehearsed == times * [max(rest)]
    assert rest.count(max(rest)) < len(rest)
    assert len(set(rest)) > 2


def test_a_base_that_does_not_fit_is_not_begun(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tonghua.models.weights.free_bytes", lambda device: 1000)
    called = place.train()
    assert (called.code, called.out) == (5, "")
    last = called.err.splitlines()[-1]
    assert last.startswith(f"{place.model.name} takes 486.7 kB of memory and 1.0 kB are free; close other programs")
    assert last.endswith("quantization_bit=4")
    assert not place.runs.exists()


def test_a_context_longer_than_the_model_has(place: Place) -> None:
    called = place.train(max_length=100_000)
    assert (called.code, called.out) == (2, "")
    assert f"tokens that {place.model.name} can read; set a smaller one" in called.err.splitlines()[-1]


def test_a_warm_up_that_outlasts_the_run_is_told(place: Place) -> None:
    called = call("plan", *settings(dataset=place.rows, model=place.model, warmup_steps=500))
    assert called.code == 0
    assert "warmup_steps=500, and the run has 3 steps: the learning rate never gets to 0.0002" in called.err
    assert "warmup_steps" not in call("plan", *settings(dataset=place.rows, model=place.model, warmup_steps=2)).err


def test_a_run_says_at_its_start_what_it_will_take(place: Place) -> None:
    said = place.train().err
    order = ["results go to", "memory: about", "time: 9 steps of about", "disk: about", "step 3: held-out loss"]
    assert sorted(order, key=said.index) == order


def test_what_is_available_counts_what_the_process_holds(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peak and what is available can be compared; where it may not fit, that is said."""

    given = {"dataset": place.rows, "model": place.model, "output_dir": place.runs, **LONG}
    monkeypatch.setattr(memory, "free_bytes", lambda which: 1000)
    called = call("plan", *settings(**given), "--json")
    assert called.json["available_bytes"] > 50_000_000
    assert "there may not be enough memory" not in called.err or (
        called.json["memory_bytes"] > called.json["available_bytes"]
    )
    monkeypatch.setattr("tonghua.training.train.available_bytes", lambda which: 1000)
    called = call("plan", *settings(**given), "--json")
    assert called.err.splitlines()[-1] == (
        "note: there may not be enough memory: close other programs, or take a smaller model"
    )
