"""record: whatever a run folder holds is read as far as it is legible, and nothing of it can make reading fail."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from written_runs import (
    FILES,
    diary_line,
    event_line,
    heldout_line,
    step_line,
    write_lines,
    write_run,
)

from tonghua.config.load import load
from tonghua.runs.folder import CONTRACT, FACTS, METRICS, RESULT, SAMPLES
from tonghua.runs.record import DiaryAnswer, LoggedEvent, LoggedLoss, read_record
from tonghua.text import Text


@pytest.fixture
def run(tmp_path: Path) -> Path:
    events = [event_line(2, "resumed", "从检查点接着训练", "resumed from a checkpoint")]
    diary = [diary_line(0, "从前"), diary_line(3, "后来", stop="length")]
    held_out = [(0, 3.3), (2, 2.8), (3, 2.9)]
    return write_run(tmp_path / "我的 runs" / "fairytale-1", [3.1, None, 2.9], held_out, events, diary)


def test_a_whole_run_is_read(run: Path) -> None:
    record = read_record(run)
    assert record.name == "fairytale-1"
    assert [(step.step, step.loss) for step in record.steps] == [(1, 3.1), (2, None), (3, 2.9)]
    assert (record.steps[0].samples_per_s, record.steps[0].memory_gb, record.steps[0].seconds) == (6.9, 3.1, 2.0)
    assert [(each.step, each.loss) for each in record.heldout] == [(0, 3.3), (2, 2.8), (3, 2.9)]
    assert (record.before, record.best) == (LoggedLoss(0, 0.0, 3.3), LoggedLoss(2, 0.0, 2.8))
    assert record.events == (
        LoggedEvent(2, "2026-11-22T13:55:01+08:00", "resumed", Text("从检查点接着训练", "resumed from a checkpoint")),
    )
    assert [entry.step for entry in record.diary] == [0, 3]
    assert record.diary[0].answers[1] == DiaryAnswer("你是谁？", "从前 1", whole=True)
    assert not record.diary[1].answers[0].whole
    assert record.facts["trainable"] == 4399104
    assert record.config == load("fairytale").config
    assert (record.is_finished, record.last_step, record.total_steps) == (True, 3, 3)


def test_a_run_that_has_not_ended_knows_how_far_it_is(tmp_path: Path) -> None:
    record = read_record(write_run(tmp_path / "run", [3.1, 3.0], finished=False))
    assert (record.is_finished, record.last_step, record.total_steps) == (False, 2, 12)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"\x00\xff\xfe", b"[" * 100_000, b"null", b'[1, "x"]', b'{"a": 1}']
)
def test_a_file_that_is_missing_or_damaged_costs_only_what_it_held(run: Path, name: str, content: bytes | None) -> None:
    whole = read_record(run)
    (run / name).unlink()
    if content is not None:
        (run / name).write_bytes(content)
    record = read_record(run)
    held = {FACTS: "facts", METRICS: "steps", SAMPLES: "diary", RESULT: "result", CONTRACT: "contract"}
    for file, part in {**held, "config.yaml": "config"}.items():
        if file != name:
            assert getattr(record, part) == getattr(whole, part)
    if name != "config.yaml":
        assert getattr(record, held[name]) in ({}, (), {"a": 1})


def test_an_empty_folder_is_an_empty_record(tmp_path: Path) -> None:
    record = read_record(tmp_path)
    assert (record.steps, record.heldout, record.events, record.diary) == ((), (), (), ())
    assert (record.before, record.best, record.config, record.is_finished) == (None, None, None, False)
    assert (record.last_step, record.total_steps) == (0, None)
    assert read_record(tmp_path / "nowhere").steps == ()


@pytest.mark.parametrize(("name", "part"), [(METRICS, "heldout"), (SAMPLES, "diary")])
def test_wherever_the_last_line_breaks_off_those_before_it_stay(run: Path, name: str, part: str) -> None:
    written = (run / name).read_bytes()
    whole = getattr(read_record(run), part)
    for end in range(written.rstrip().rindex(b"\n"), len(written) - 2):
        (run / name).write_bytes(written[:end])
        assert getattr(read_record(run), part) == whole[:-1]


def test_of_several_lines_of_one_step_the_last_counts(tmp_path: Path) -> None:
    lines = [step_line(1, 4, 3.0), step_line(2, 4, 2.9), step_line(3, 4, 2.8), heldout_line(3, 2.7)]
    again = [step_line(2, 4, 2.5), step_line(3, 4, 2.4), heldout_line(3, 2.6)]
    write_lines(tmp_path / METRICS, [*lines, *again])
    write_lines(tmp_path / SAMPLES, [diary_line(3, "first"), diary_line(0, "base"), diary_line(3, "second")])
    record = read_record(tmp_path)
    assert [(step.step, step.loss) for step in record.steps] == [(1, 3.0), (2, 2.5), (3, 2.4)]
    assert [each.loss for each in record.heldout] == [2.6]
    assert [entry.answers[0].text for entry in record.diary] == ["base 0", "second 0"]


def test_values_of_another_kind_count_as_not_there(tmp_path: Path) -> None:
    written = [
        *('{"step": 1, "loss": NaN}', '{"step": 2, "loss": Infinity}', '{"step": 3, "loss": "2.9"}'),
        *('{"step": 4, "loss": 1e400}', '{"step": 5, "loss": true}', '{"step": 6, "loss": [3]}'),
        *('{"step": "7", "loss": 3}', '{"step": -1, "loss": 3}', '{"step": 1e300, "loss": 3}', '{"loss": 3}'),
        *(f'{{"step": {"9" * 5000}, "loss": 3}}', '{"step": 8, "loss": 2.5, "memory_gb": {}}'),
        *('{"step": 8, "heldout_loss": NaN}', '{"step": 9, "event": "stopped", "zh": 5}', '{"event": 3}', "7", "[]"),
    ]
    (tmp_path / METRICS).write_text("\n".join(written), encoding="utf-8")
    answers = '[5, {"text": "x"}, {"prompt": "p", "text": 3}]'
    diary = f'{{"step": 0, "answers": {answers}}}\n{{"step": 1, "answers": "x"}}\n{{"answers": []}}'
    (tmp_path / SAMPLES).write_text(diary, encoding="utf-8")
    record = read_record(tmp_path)
    assert [(step.step, step.loss) for step in record.steps] == [*((step, None) for step in range(1, 7)), (8, 2.5)]
    assert record.heldout == ()
    assert [(event.step, event.text.zh, event.text.en) for event in record.events] == [(9, "stopped", "stopped")]
    assert [entry.answers for entry in record.diary] == [(DiaryAnswer("p", "", whole=True),)]


def test_a_line_ends_only_where_the_file_says(tmp_path: Path) -> None:
    line = json.dumps(diary_line(0, "一\u2028二\x85三\n四", ["讲"]), ensure_ascii=False)
    (tmp_path / SAMPLES).write_text(line + "\n", encoding="utf-8", newline="\n")
    assert read_record(tmp_path).diary[0].answers[0].text == "一\u2028二\x85三\n四 0"


def test_reading_needs_neither_torch_nor_matplotlib() -> None:
    code = "import sys, tonghua.runs.report; print({'torch', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
