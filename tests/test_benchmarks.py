"""The scripts in benchmarks/, each run at a small size on `tiny`: its table and its line of JSON, as people read them.

Nothing here asks how fast anything is.
"""

import ast
import importlib
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import processes
import pytest
from command_line import ROWS, write_rows

import tonghua

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "benchmarks"
SHARED = "report.py"
SCRIPTS = sorted({path.relative_to(BENCHMARKS).as_posix() for path in BENCHMARKS.rglob("*.py")} - {SHARED})
SHORT = ("per_device_train_batch_size=4", "val_size=2", "sampling.max_new_tokens=2")

Row = dict[str, str]
Test = Callable[..., None]
cases: dict[str, str] = {}


def case(script: str) -> Callable[[Test], Test]:
    """Mark the test that runs this script."""

    def marked(test: Test) -> Test:
        cases[script] = test.__name__
        return test

    return marked


@dataclass(frozen=True)
class Told:
    """What a script printed: its tables, by column, and its last line."""

    tables: list[list[Row]]
    figures: dict[str, Any]

    @property
    def table(self) -> list[Row]:
        (table,) = self.tables
        return table


def execute(
    script: str, *arguments: object, folder: Path, among: Path = BENCHMARKS
) -> subprocess.CompletedProcess[str]:
    """The script as it stands in the folder `among`, run in `folder`."""
    known = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = processes.run(among / script, *arguments, folder=folder, timeout=200, PYTHONPATH=known)
    return subprocess.CompletedProcess(script, done.code, done.out, done.err)


def read(done: subprocess.CompletedProcess[str]) -> Told:
    """The tables and the figures of a script that did what all of them do."""
    assert done.returncode == 0, done.stderr
    *lines, machine, last = done.stdout.splitlines()
    tables: list[list[Row]] = []
    columns: list[str] = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if after.startswith("|---"):
            columns = cells
            tables.append([])
        elif line.startswith("| "):
            assert len(cells) == len(columns), f"fits no table: {line}"
            # Two columns may be called the same: the later one has a number.
            names = [name + f" {columns[:i].count(name) + 1}" * (name in columns[:i]) for i, name in enumerate(columns)]
            tables[-1].append(dict(zip(names, cells, strict=True)))
    assert tables and all(tables), f"no table: {done.stdout}"
    assert not any(line.startswith('{"') for line in lines), "a line for machines before the last"
    assert last.startswith("{"), f"no line for machines at the end: {done.stdout}"
    figures = json.loads(last)
    on = figures["machine"]
    assert {"processor", "avx2", "avx512_bf16", "amx_bf16", "torch", "threads"} <= on.keys()
    assert machine.startswith(f"{on['processor']}, {on['threads']} threads, torch {on['torch']}")
    assert on["threads"] == 1 and ("AVX2" in machine) == bool(on["avx2"])
    return Told(tables, figures)


def run(script: str, *arguments: object, folder: Path) -> Told:
    return read(execute(script, *arguments, folder=folder))


def number(cell: str) -> float:
    """Of a cell: 1,024 and 3.55x and 12 %."""
    return float(cell.replace(",", "").removesuffix("x").removesuffix("%"))


def positive(*values: float) -> bool:
    return all(math.isfinite(value) and value > 0 for value in values)


def imported(script: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str((BENCHMARKS / script).parent))
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module(Path(script).stem)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Twelve short rows."""
    return write_rows(tmp_path / "rows.json", ROWS)


@case("train_step.py")
def test_train_step_beside_the_tutorial(tmp_path: Path) -> None:
    size = ("--steps", 1, "--baseline-steps", 1, "--rounds", 1)
    told = run(
        "train_step.py", "--model", "tiny", "--data", "daiyu", *size, "--only", "tonghua,tutorial", folder=tmp_path
    )
    ours, theirs, floor = told.table
    assert [ours["program"], theirs["program"], floor["program"]] == ["tonghua", "tutorial", "floor over step"]
    assert positive(number(floor["samples/s"]), *(number(each["peak GB"]) for each in (ours, theirs)))
    rate = told.figures["samples_per_s"]
    assert [number(each["samples/s"]) for each in (ours, theirs)] == pytest.approx(list(rate.values()), abs=1e-3)
    assert ours["tonghua is"] == "1.00x"
    assert number(theirs["tonghua is"]) == pytest.approx(rate["tonghua"] / rate["tutorial"], abs=0.01)
    for runs in told.figures["runs"].values():
        assert len(runs) == len(runs[0]["step_s"]) == 1
        assert positive(*runs[0]["step_s"], runs[0]["loss"], runs[0]["tokens_per_step"])
    loss = told.figures["loss"]
    assert loss["tonghua"] == pytest.approx(loss["tutorial"], rel=0.01)


def test_train_step_sees_another_loss_and_a_library_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_step = imported("train_step.py", monkeypatch)
    train_step.require_same_loss(9.0, 9.05)
    with pytest.raises(SystemExit, match=r"tonghua 9\.0000, the tutorial 9\.2000"):
        train_step.require_same_loss(9.0, 9.2)
    with pytest.raises(SystemExit, match=r"lacks no_such_library; run: pip install -e"):
        imported(SHARED, monkeypatch).require(sys.executable, "json", "no_such_library")


@case("tonghua_step.py")
def test_tonghua_step(tmp_path: Path) -> None:
    told = run("tonghua_step.py", "--model", "tiny", "--data", "daiyu", "--steps", 3, folder=tmp_path)
    (row,) = told.table
    figures = told.figures
    assert row["run"] == figures["benchmark"] == "tonghua"
    assert len(figures["step_s"]) == 3 and positive(*figures["step_s"])
    # Without the first step.
    assert figures["samples_per_s"] == pytest.approx(16 / (sum(figures["step_s"][1:]) / 2))
    assert number(row["samples/s"]) == pytest.approx(figures["samples_per_s"], abs=1e-3)
    assert number(row["s a step"]) == pytest.approx(16 / figures["samples_per_s"], abs=1e-3)
    assert number(row["loss"]) == pytest.approx(figures["loss"], abs=1e-4)
    assert number(row["peak GB"]) == pytest.approx(figures["peak_gb"], abs=0.01)
    assert figures["tokens_per_step"] > figures["targets_per_step"] > 16
    assert positive(figures["floor_s"], figures["floor_share"])


def test_too_few_rows_for_the_steps_are_told(rows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = imported(SHARED, monkeypatch)
    with pytest.raises(SystemExit, match=r"rows\.json has 12 rows; 1 steps need 16"):
        report.read_rows(rows, 1)
    rows.write_text(json.dumps(16 * ROWS[:1]), encoding="utf-8")
    assert len(report.read_rows(rows, 1)) == 16


@case("sense.py")
def test_measures_of_sense(tmp_path: Path) -> None:
    told = run("sense.py", "--reader", "tiny", "--tales", 2, "--stories", 1, "--shuffles", 2, folder=tmp_path)
    texts, within, across = told.tables
    measures = ["plain", "surprise", "explained", "share", "both", "order"]
    assert list(texts[0]) == ["texts", "number", *measures]
    means = {row["texts"]: row for row in texts}
    for kind, named in told.figures["means"].items():
        assert [number(means[kind][name]) for name in measures] == pytest.approx([named[m] for m in measures], abs=1e-3)
    assert means["original"]["number"] == "2" and means["people"]["number"] == "1"
    assert [row["measure"] for row in within] == [row["measure"] for row in across] == measures
    # Words in no order are seen by any reader, also by one that learned to write nonsense.
    assert within[1]["original > words"] == "100%"
    assert set(within[0]) == {"measure", *told.figures["within"]["plain"]}
    # What a reader wrote itself surprises it least: more sense than people make, as it seems to it.
    assert told.figures["across"]["surprise"]["people > tiny before training"] == 0


def test_the_forms_of_a_tale_are_what_they_are_called(monkeypatch: pytest.MonkeyPatch) -> None:
    sense = imported("sense.py", monkeypatch)
    names = json.loads((BENCHMARKS / "sense.json").read_text(encoding="utf-8"))["names"]
    made = sense.tales(50, names)
    assert len(names) == 50 and all(len(texts) == 50 for texts in made.values())
    for number_, (_, tale) in enumerate(made["original"]):
        named, shuffled, words, loop = (made[kind][number_][1] for kind in ("names", "shuffled", "words", "loop"))
        half = next(i for i, (a, b) in enumerate(zip(tale, named, strict=False)) if a != b)
        assert half >= len(tale) // 2 and all(name in tale for name in names[number_])
        assert sorted(shuffled) == sorted(words) == sorted(tale)
        assert len({tale, named, shuffled, words, loop}) == 5
        assert sorted(filter(None, map(str.strip, sense.sentences(shuffled)))) == sorted(
            filter(None, map(str.strip, sense.sentences(tale)))
        )


@case("baselines/tutorial.py")
def test_the_tutorial_without_checkpointing(tmp_path: Path) -> None:
    given = ("--model", ROOT / "tonghua" / "tiny", "--data", ROOT / "dataset" / "daiyu.json", "--steps", 1)
    told = run("baselines/tutorial.py", *given, "--variant", "bf16", "--batch", 8, folder=tmp_path)
    (row,) = told.table
    assert row["run"] == told.figures["benchmark"] == "tutorial-bf16-8"
    assert positive(*(number(row[column]) for column in ("samples/s", "s a step", "loss", "peak GB")))
    assert len(told.figures["step_s"]) == 1 and told.figures["tokens_per_step"] > 16


@case("baselines/trl_sft.py")
def test_trl_or_what_to_install(tmp_path: Path) -> None:
    given = ("--model", ROOT / "tonghua" / "tiny", "--data", ROOT / "dataset" / "daiyu.json", "--steps", 1)
    missing = [name for name in ("trl", "datasets") if not find_spec(name)]
    if not missing:
        (row,) = run("baselines/trl_sft.py", *given, "--layout", "pad", folder=tmp_path).table
        assert row["run"] == "trl-pad" and positive(number(row["samples/s"]), number(row["loss"]))
        return
    told = f'{sys.executable} lacks {", ".join(missing)}; run: pip install -e ".[benchmark]"\n'
    for script, more in (("baselines/trl_sft.py", ()), ("train_step.py", ("--only", "tonghua,trl"))):
        done = execute(script, *given, *more, folder=tmp_path)
        assert (done.returncode, done.stderr, done.stdout) == (1, told, "")


@case("parts.py")
def test_parts(tmp_path: Path) -> None:
    size = ("--model", "tiny", "--tokens", 80, "--targets", 32, "--repeats", 1)
    told = run("parts.py", *size, folder=tmp_path)
    assert {row["part"] for row in told.table} == {"attention", "loss", "lora", "rms_norm", "rotate", "swiglu"}
    assert all(positive(number(row["ms"]), number(row["speed"])) for row in told.table)
    for part, seconds in told.figures["seconds"].items():
        rows = [row for row in told.table if row["part"] == part]
        assert [row["path"] for row in rows] == list(seconds)
        assert rows[0]["path"].endswith("_plain") and rows[0]["speed"] == "1.00x"
        plain, *fast = seconds.values()
        assert fast and number(rows[1]["speed"]) == pytest.approx(plain / fast[0], abs=0.01)


def test_parts_takes_the_sizes_of_the_half_billion(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = imported("parts.py", monkeypatch)
    assert (parts.sizes_of(None), parts.sizes_of(None).head) == ((896, 4864, 14, 2, 151_936), 64)
    assert parts.sizes_of("tiny") == (320, 896, 5, 1, 8192)


@case("overhead.py")
def test_overhead(tmp_path: Path, rows: Path) -> None:
    given = ("--model", "tiny", "--data", rows)
    told = run("overhead.py", *given, "max_steps=2", *SHORT, folder=tmp_path)
    *parts, cost = told.table
    times = {row["part"]: int(row["times"]) for row in parts}
    assert (times["steps"], times["rehearsal"], times["evaluations"], times["diary"]) == (2, 1, 2, 2)
    # Whatever is timed was reached: a method that was renamed would stand here with 0.
    assert min(times.values()) > 0
    seconds, share = told.figures["seconds"], {row["part"]: number(row["share of the steps' time"]) for row in parts}
    assert positive(*seconds.values()) and share["steps"] == 100
    assert share["rehearsal"] == pytest.approx(100 * seconds["rehearsal"] / seconds["steps"], abs=0.01)
    rest = seconds["from the rehearsal to the end"] - seconds["steps"] - seconds["evaluations"]
    assert number(cost["s"]) == pytest.approx(rest, abs=0.01)


@case("choices.py")
def test_choices_of_the_rank(tmp_path: Path, rows: Path) -> None:
    heldout = write_rows(tmp_path / "heldout.json", ROWS[:2])
    given = ("ranks", "--model", "tiny", "--data", rows, "--heldout", heldout, "--rows", 4)
    told = run("choices.py", *given, "num_train_epochs=2", *SHORT, folder=tmp_path)
    assert [row["choice"] for row in told.table] == [f"lora_rank {r}, lora_alpha {4 * r}" for r in (4, 8, 32)]
    assert {row["steps"] for row in told.table} == {"2"} and told.figures["rows"] == 4
    weights = [number(row["weights"]) for row in told.table]
    assert weights == [weights[0], 2 * weights[0], 8 * weights[0]]
    losses = [row["held-out loss before and after each epoch"].split() for row in told.table]
    assert len({before for before, *_ in losses}) == 1
    assert all(len(each) == 3 and positive(*map(float, each)) for each in losses)
    for shown, exact in zip(losses, told.figures["runs"], strict=True):
        assert [float(each) for each in shown] == pytest.approx(exact["loss"], abs=1e-3)


@case("plan_check.py")
def test_plan_check(tmp_path: Path, rows: Path) -> None:
    given = ("--model", "tiny", "--data", rows, "--tokens", 256, "--steps", 2)
    told = run("plan_check.py", *given, *SHORT, folder=tmp_path)
    (row,), (figures,) = told.table, told.figures["runs"]
    assert row["tokens"] == "256"
    assert positive(*figures["memory_gb"], *figures["steps_s"])
    assert number(row["memory planned, GB"]) == pytest.approx(figures["memory_gb"][0], abs=0.01)
    assert number(row["ratio"]) == pytest.approx(figures["memory_gb"][0] / figures["memory_gb"][1], abs=0.01)
    assert number(row["ratio 2"]) == pytest.approx(figures["steps_s"][0] / figures["steps_s"][1], abs=0.01)


@case("long_rows.py")
def test_long_rows(tmp_path: Path) -> None:
    told = run("long_rows.py", tmp_path / "long.json", "--rows", 5, folder=tmp_path)
    rows = json.loads((tmp_path / "long.json").read_text(encoding="utf-8"))
    lengths = [len(row["output"]) for row in rows]
    assert told.table == [
        {
            "rows": "5",
            "characters of an answer": f"{sum(lengths) / 5:.0f}",
            "shortest": f"{min(lengths)}",
            "longest": f"{max(lengths)}",
        }
    ]
    assert min(lengths) > 560 and all(row["instruction"] and row["input"] == "" for row in rows)
    assert told.figures["characters"][::2] == [min(lengths), max(lengths)]


@case("check_rows.py")
def test_check_rows_finds_what_was_put_in(tmp_path: Path) -> None:
    told = run("check_rows.py", "--rows", 400, folder=tmp_path)
    found, (size,) = told.tables
    assert told.figures["found"] == {row["found"]: int(row["rows"]) for row in found}
    # One in ten is a copy, and half of the copies have another character.
    assert 20 <= told.figures["found"]["duplicates"] + told.figures["found"]["near_duplicates"] <= 60
    assert size["rows"] == "400" and positive(told.figures["seconds"], number(size["rows/s"]))
    assert number(size["MB added"]) == pytest.approx(told.figures["added_mb"], abs=0.1)


@case("harmful_files.py")
def test_harmful_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("json-brackets", "template-padding")
    told = run("harmful_files.py", *names, folder=tmp_path)
    rows, template = told.table
    assert [rows["file"], template["file"]] == [*told.figures["files"]] == [*names]
    assert [rows["exit"], template["exit"]] == ["3", "4"]
    assert rows["bytes"] == "900,000" and "cannot be used for chat" in template["says"]
    for row, exact in zip(told.table, told.figures["files"].values(), strict=True):
        assert positive(exact["seconds"]) and 0.05 < number(row["GB"]) < 1
    script = imported("harmful_files.py", monkeypatch)
    for name in script.TEXTS:
        (tmp_path / name).mkdir()
        assert script.made(name, tmp_path / name)[1] > 100_000
    stopped = script.cost([], tmp_path, most_bytes=1, most_s=60)
    assert stopped.said == "killed: memory" and stopped.exit_code != 0


@case("prepare_rows.py")
def test_prepare_rows(tmp_path: Path) -> None:
    told = run("prepare_rows.py", "--model", "tiny", "--rows", 50, "--baseline-rows", 0, folder=tmp_path)
    assert [row[""] for row in told.table] == ["prepare", "second start"] == list(told.figures["runs"])
    for row, exact in zip(told.table, told.figures["runs"].values(), strict=True):
        assert exact["rows"] == 50 and 100 < exact["tokens"] < 1000
        assert positive(exact["s"], exact["to_first_step_s"], exact["peak_gb"])
        assert exact["peak_with_children_gb"] >= exact["peak_gb"]
        assert number(row["rows/s"]) == pytest.approx(50 / exact["s"], abs=1)
        assert number(row["to the first step, s"]) == pytest.approx(exact["to_first_step_s"], abs=0.01)


def test_prepare_rows_with_its_baseline_or_what_to_install(tmp_path: Path) -> None:
    done = execute("prepare_rows.py", "--model", "tiny", "--rows", 50, "--baseline-rows", 20, folder=tmp_path)
    if find_spec("datasets"):
        assert [row[""] for row in read(done).table] == ["prepare", "second start", "datasets.map"]
        return
    told = f'{sys.executable} lacks datasets; run: pip install -e ".[benchmark]"\n'
    assert (done.returncode, done.stderr, done.stdout) == (1, told, "")


@case("soak.py")
def test_soak(tmp_path: Path, rows: Path) -> None:
    # With this seed the first life ends before any machine has begun to train, and the second is a long one.
    size = ("--kills", 2, "--folder", tmp_path, "--life", 0.4, 5, "--seed", 55)
    told = run("soak.py", *size, f"dataset={rows}", "eval_dataset=none", "max_steps=4", *SHORT, folder=tmp_path)
    (row,) = told.table
    # A fast machine may reach the end in its second life.
    assert 1 <= int(row["kills"]) == told.figures["kills"] <= 2
    assert row["steps"] == "4" and int(row["before a checkpoint"]) >= 1
    assert [row[f"same {what}"] for what in ("adapter", "optimizer", "losses")] == ["yes"] * 3


def test_soak_sees_a_bit_that_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soak = imported("soak.py", monkeypatch)
    for name, loss in (("one", 2.0), ("two", 3.0)):
        for step in (9, 10):
            (tmp_path / name / "checkpoints" / f"step-{step}").mkdir(parents=True)
            (tmp_path / name / "checkpoints" / f"step-{step}" / "state.safetensors").write_bytes(bytes([step]))
        (tmp_path / name / "adapter_model.safetensors").write_bytes(b"1")
        (tmp_path / name / "metrics.jsonl").write_text(json.dumps({"loss": loss, "step_s": 1}), encoding="utf-8")
    one, two = tmp_path / "one", tmp_path / "two"
    assert soak.same(one, one) == {"adapter": True, "optimizer": True, "losses": True}
    (two / "checkpoints" / "step-10" / "state.safetensors").write_bytes(b"0")
    assert soak.same(two, one) == {"adapter": True, "optimizer": False, "losses": False}


@case("serve_soak.py")
def test_serve_soak(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = run("serve_soak.py", "--requests", 40, "--clients", 4, folder=tmp_path)
    found = {row["figure"]: row["value"] for row in told.table}
    assert int(found["answered"]) + int(found["refused"]) + int(found["left"]) == 40
    assert found["not answered"] == found["not refused"] == found["exit code"] == "0"
    assert {name: told.figures[name] for name in ("answered", "refused", "left")} == {
        name: int(found[name]) for name in ("answered", "refused", "left")
    }
    assert told.figures["tracebacks"] == 0 and positive(told.figures["before_mb"], told.figures["seconds"])
    script = imported("serve_soak.py", monkeypatch)
    assert [script.status_of(answer) for answer in (b"HTTP/1.1 429 Too Many", b"", b"200 OK x")] == [429, 0, 0]


def test_serve_soak_sees_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    client = imported("serve_soak.py", monkeypatch).Client(port=0)
    monkeypatch.setattr(client, "_sent", lambda data: b'HTTP/1.1 200 OK\r\n\r\n{"choices": []}')
    client._refused(400, b"POST / HTTP/1.1")
    client._answered(b"", stream=False)
    client._answered(b"", stream=True)
    assert client.found == {"not refused": 1, "not answered": 2} and len(client.faults) == 3


@case("download_kills.py")
def test_download_kills(tmp_path: Path) -> None:
    told = run("download_kills.py", "--kills", 2, "--megabytes", 0.5, folder=tmp_path)
    found = {row["figure"]: number(row["value"]) for row in told.table}
    assert found["kills"] == found["whole and verified"] == 2 and 0 <= found["struck midway"] <= 2
    assert 1 <= found["bytes over size mean"] <= found["bytes over size max"]
    assert found["model bytes"] > 4e5
    assert {name.replace("_", " "): told.figures[name.replace(" ", "_")] for name in found} == found


@case("talk.py")
def test_talk(tmp_path: Path) -> None:
    small = {"max_steps": 1, "val_size": 0, "eval_dataset": None}
    trained = tonghua.train("demo", output_dir=tmp_path, quiet=True, **small)
    told = run("talk.py", trained.run, "--tokens", 10, "--rounds", 1, folder=tmp_path)
    rates = told.figures["rates"]
    assert {row["what"] for row in told.table} == set(rates)
    assert positive(*(rate for of in rates.values() for rate in of))
    for row in told.table:
        assert number(row["tokens/s"]) == pytest.approx(rates[row["what"]][0], abs=0.01)


@case("stories.py")
def test_stories(tmp_path: Path) -> None:
    small = {"max_steps": 1, "val_size": 0, "eval_dataset": None, "sampling": {"max_new_tokens": 24}}
    trained = tonghua.train("demo", output_dir=tmp_path, quiet=True, **small)
    told = run("stories.py", trained.run, "--wishes", 2, "--out", tmp_path / "answers", folder=tmp_path)
    assert [row["stories"] for row in told.table] == ["tiny, wishes of all plots", "before, bedtime", "after, bedtime"]
    for row in told.table:
        assert number(row["ended"]) == number(row["lamp"]) == 0  # cut off after 24 tokens
        assert 10 < number(row["chars"]) < 100
    assert "(cut off)" in (tmp_path / "answers" / "tiny.md").read_text(encoding="utf-8")


def test_every_script_has_a_case() -> None:
    assert sorted(cases) == SCRIPTS
    assert all(name in globals() for name in cases.values())


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_says_what_it_measures(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    says = ast.get_docstring(ast.parse((BENCHMARKS / script).read_text(encoding="utf-8")))
    assert says is not None and f"python benchmarks/{script}" in says
    module = imported(script, monkeypatch)
    parser = module.parser()
    assert callable(module.main) and parser.format_help().count(says.splitlines()[0]) == 1
    assert all(action.help for action in parser._actions)


def commands(text: str) -> list[str]:
    """Every command of a benchmark that is written out whole."""
    joined = text.replace("\\\n", " ")
    found = re.findall(r"python (benchmarks/[\w/]+\.py[^`\n]*)", joined)
    return [command for command in found if "…" not in command.split()]


def written() -> list[str]:
    """The commands of the log, of the manuals, and of the scripts themselves."""
    files = [BENCHMARKS / "LOG.md", *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    texts = [path.read_text(encoding="utf-8") for path in files]
    texts += [ast.get_docstring(ast.parse((BENCHMARKS / script).read_text("utf-8"))) or "" for script in SCRIPTS]
    return sorted({" ".join(command.split()) for text in texts for command in commands(text)})


@pytest.mark.parametrize("command", written())
def test_a_command_that_is_written_down_can_be_given(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    script, *arguments = shlex.split(command, comments=True)
    imported(script.removeprefix("benchmarks/"), monkeypatch).parser().parse_intermixed_args(arguments)


def test_a_command_with_an_option_that_is_gone_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    (command,) = commands("    python benchmarks/soak.py --kills 2 \\\n        --gone FOLDER\n")
    with pytest.raises(SystemExit):
        test_a_command_that_is_written_down_can_be_given(command, monkeypatch)


@pytest.mark.parametrize(
    ("old", "new", "seen"),
    [
        ("    options = parser().parse_args()\n", "    int()()\n", "TypeError"),
        ("    report.header(", "    (lambda *given: None)(", "no table"),
        ("    report.row(", "    (lambda *given: None)(", "no table"),
        ("    report.finish(", "    (lambda *given: print('the machine\\nthe end'))(", "no line for machines"),
    ],
    ids=["fails at its start", "no table", "a table without rows", "no figures"],
)
def test_a_broken_script_would_be_seen(old: str, new: str, seen: str, tmp_path: Path) -> None:
    text = (BENCHMARKS / "long_rows.py").read_text(encoding="utf-8")
    assert text.count(old) == 1
    (tmp_path / "long_rows.py").write_text(text.replace(old, new), encoding="utf-8")
    shutil.copy(BENCHMARKS / SHARED, tmp_path)
    done = execute("long_rows.py", "long.json", "--rows", 2, folder=tmp_path, among=tmp_path)
    with pytest.raises(AssertionError, match=seen):
        read(done)


def test_the_machine_is_told_by_what_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = imported(SHARED, monkeypatch)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: A Xeon\nflags\t\t: fpu avx2 avx512f amx_tile amx_bf16\n", encoding="utf-8")
    found = report.machine(cpuinfo)
    assert (found["processor"], found["avx2"], found["avx512_bf16"], found["amx_bf16"]) == ("A Xeon", True, False, True)
    unknown = report.machine(tmp_path / "nothing")
    assert (unknown["avx2"], unknown["amx_bf16"]) == (None, None) and unknown["processor"]
