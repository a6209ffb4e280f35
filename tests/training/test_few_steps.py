"""A run of few steps: what surrounds its steps is cut to their size, and told."""

import json
from typing import Any

import pytest
from command_line import logged, write_rows
from made_runs import Interrupts, Place

from tonghua.training.diary import Diary
from tonghua.training.trainer import Trainer

ROWS = [{"instruction": f"第 {i} 个问题", "output": f"第 {i} 个回答。"} for i in range(120)]
FEW = {"val_size": 60, "per_device_train_batch_size": 4, "num_train_epochs": 3}


def measured(place: Place, **values: Any) -> tuple[set[int], str]:
    """Return the numbers of rows behind the held-out loss of the closing comparison, and what was told."""
    write_rows(place.rows, ROWS)
    called = place.train(**FEW, **values)
    assert called.code == 0, called.err
    found = json.loads((place.run / "evaluation.json").read_text(encoding="utf-8"))
    return {found["loss"]["rows"]}, called.err


@pytest.mark.parametrize(("steps", "rows"), [(3, 16), (14, 16), (15, 60), (45, 60)])
def test_a_run_within_its_first_epoch_measures_a_part_of_the_held_out_rows(place: Place, steps: int, rows: int) -> None:
    """60 rows to learn, 4 a step: 15 steps are an epoch, and all 60 held-out rows are measured from there on."""
    found, told = measured(place, max_steps=steps)
    assert found == {rows}
    assert ("16 rows out of 60" in told) == (rows < 60)
    assert len(logged(place.run, "heldout_loss")) == 1 + -(-steps // 15)


def test_a_longer_part_of_an_epoch_measures_more(place: Place) -> None:
    """An eighth of what is learned, once that is more than the least."""
    write_rows(place.rows, [{"instruction": f"问 {i}", "output": f"答 {i}。"} for i in range(400)])
    called = place.train(val_size=100, per_device_train_batch_size=16, max_steps=16)
    assert called.code == 0, called.err
    assert "32 rows out of 100" in called.err


def test_the_part_is_the_same_after_a_resume(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that is stopped and goes on has the losses of the run left alone."""
    _, _ = measured(place, max_steps=6)
    alone = logged(place.run, "heldout_loss")
    other = Place(place.folder / "另一处", place.model)
    write_rows(other.rows, ROWS)
    with monkeypatch.context() as patch:
        Interrupts(patch, 3)
        assert other.train(**FEW, max_steps=6).code == 75
    assert other.resume().code == 0
    assert logged(other.run, "heldout_loss") == alone


@pytest.mark.parametrize(("token_s", "kept"), [(1e-6, True), (10.0, False)])
def test_a_diary_that_takes_longer_than_the_steps_is_left_out(
    place: Place, monkeypatch: pytest.MonkeyPatch, token_s: float, kept: bool
) -> None:
    """The rehearsal tells how slow the machine is; a run whose first entry is left out has none at all."""
    monkeypatch.setattr(Trainer, "rehearse", lambda trainer: token_s)
    assert place.train().code == 0
    written = (place.run / "samples.jsonl").read_text(encoding="utf-8") if kept else ""
    assert [json.loads(line)["step"] for line in written.splitlines()][:1] == ([0] if kept else [])
    assert (place.run / "samples.jsonl").exists() == kept
    assert (place.run / "report.html").exists()


@pytest.mark.parametrize(("steps_s", "kept"), [(0.0, False), (100.0, False), (1e4, True)])
def test_the_longer_the_run_the_longer_its_entries_may_take(place: Place, steps_s: float, kept: bool) -> None:
    diary = Diary.__new__(Diary)
    diary._ids, diary._spent_s = [[1] * 40] * 5, 0.0
    diary.plan(0.01, steps_s)  # 17 s for the first entry
    assert diary.is_due(True, 0.0) == kept
