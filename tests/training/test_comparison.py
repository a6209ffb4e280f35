"""The comparison at the end of a run: within its share of the time, on the best adapter, and never in the way."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_runs import Place, require_same

from tonghua.evaluation import compare
from tonghua.training import comparison
from tonghua.training.trainer import Trainer


def evaluation(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "evaluation.json").read_text(encoding="utf-8"))
    return found


class Clock:
    """Time that passes only as tests let it, after a training of so many seconds.

    The rows of these runs are shorter than what is known in general, so their share is larger than usual.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, trained_s: float, share: float = 100.0):
        self.now, self.end = 1000.0, 1000.0 + share * trained_s
        monkeypatch.setattr(comparison, "SHARE", share)
        monkeypatch.setattr(comparison, "perf_counter", lambda: self.now)
        monkeypatch.setattr(Trainer, "training_s", property(lambda trainer: trained_s))


@pytest.fixture
def slow_answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[Clock, float], None]:
    """Make every token of an answer take so many seconds."""

    def made(clock: Clock, seconds: float) -> None:
        real = compare._answers

        def answers(
            engine: Any, prompts: Any, sampling: Any, advance: Any, look: Callable[[], None], tuned: bool
        ) -> Any:
            def passing() -> None:
                clock.now += seconds
                look()

            return real(engine, prompts, sampling, advance, passing, tuned)

        monkeypatch.setattr(compare, "_answers", answers)

    return made


def test_a_run_of_a_moment_gets_only_what_is_free(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 0.0)
    called = place.train()
    assert called.code == 0, called.err
    found = evaluation(place.run)
    logged = [json.loads(line) for line in (place.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [line["heldout_loss"] for line in logged if "heldout_loss" in line]
    assert found["loss"]["base"] == pytest.approx(losses[0], abs=1e-6)
    assert found["loss"]["tuned"] == pytest.approx(min(losses[1:]), abs=1e-6)
    assert found["answers"] == []
    for name in ("sense", "endings", "knowledge"):
        assert "tonghua eval" in found[name]["why"]["en"]
    assert "too few to tell  closer to your rows" in called.err
    assert "Too few to tell: closer to your rows" in (place.run / "report.html").read_text(encoding="utf-8")


def test_a_long_run_gets_whole_answers_and_its_weights_stay(
    place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch, 3600.0)
    called = place.train()
    assert called.code == 0, called.err
    require_same(place, straight)
    found = evaluation(place.run)
    assert len(found["answers"]) == 2  # the rows held out
    assert found["endings"]["items"] == 2
    assert found["knowledge"]["interval"] is not None
    # What it found is what `eval` finds: it is the adapter in the folder, although a later one was in memory.
    best = json.loads((place.run / "result.json").read_text(encoding="utf-8"))["heldout_loss"]
    assert found["loss"]["tuned"] == pytest.approx(best, abs=1e-6)
    from command_line import call

    again = call("eval", place.run, "--json", "dtype=float32").json
    assert [each["tuned"] for each in again["answers"]] == [each["tuned"] for each in found["answers"]]
    assert again["knowledge"]["tuned"] == pytest.approx(found["knowledge"]["tuned"], abs=1e-5)


def test_answers_that_take_too_long_end_with_the_share(
    place: Place, monkeypatch: pytest.MonkeyPatch, slow_answers: Callable[[Clock, float], None]
) -> None:
    clock = Clock(monkeypatch, 3600.0)
    slow_answers(clock, 90_000.0)
    assert place.train().code == 0
    assert clock.now <= clock.end + 90_000
    found = evaluation(place.run)
    assert found["answers"] == []
    assert "tonghua eval" in found["endings"]["why"]["en"]
    assert "base" in found["knowledge"]


@pytest.mark.parametrize("error", [MemoryError("out of memory"), RuntimeError("a bug")])
def test_an_error_of_the_comparison_leaves_the_run_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    Clock(monkeypatch, 3600.0)

    def failing(*rest: Any) -> Any:
        raise error

    monkeypatch.setattr(comparison, "compare_knowledge", failing)
    if isinstance(error, MemoryError):
        assert place.train().code == 0
        assert "base" in evaluation(place.run)["loss"]
    else:
        with pytest.raises(RuntimeError, match="a bug"):
            place.train()
    assert (place.run / "result.json").is_file()
    assert (place.run / "report.html").is_file()


def test_nothing_held_out_and_no_time_leave_no_evaluation(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 0.0)
    assert place.train(val_size=0).code == 0
    assert not (place.run / "evaluation.json").exists()
    assert "Nothing was held out" in (place.run / "report.html").read_text(encoding="utf-8")
    shutil.rmtree(place.run)
    Clock(monkeypatch, 3600.0)
    assert place.train(val_size=0).code == 0
    found = evaluation(place.run)
    assert found["loss"]["why"]["en"] == "nothing was held out"
    assert len(found["answers"]) == 3


def test_a_run_that_begins_at_an_adapter_is_compared_with_its_base(
    place: Place, straight: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    Clock(monkeypatch, 3600.0)
    assert place.train(adapter=straight.run, max_steps=1).code == 0
    logged = [json.loads(line) for line in (place.run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    begun = next(line["heldout_loss"] for line in logged if "heldout_loss" in line)
    base = evaluation(straight.run)["loss"]["base"]
    assert evaluation(place.run)["loss"]["base"] == pytest.approx(base, abs=1e-6)
    assert base != pytest.approx(begun, abs=1e-3)
