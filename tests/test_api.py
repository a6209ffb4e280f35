"""What `import tonghua` gives: documented by examples that run, with settings that an editor can complete."""

import datetime
import inspect
import json
import math
import re
import subprocess
import sys
import typing
from pathlib import Path

import numpy
import pytest
from command_line import write_rows

import tonghua
from tonghua.config.schema import GROUPS, Config, Persona, Sampling
from tonghua.config.settings import PersonaSettings, SamplingSettings, Settings
from tonghua.errors import ResourceError, UsageError, UserError
from tonghua.events import Ended
from tonghua.terminal.screen import Screen

FUNCTIONS = ("download", "check", "plan", "train", "resume", "report", "load", "evaluate", "export")


def examples(name: str) -> list[str]:
    """The lines of the example in a function's docstring."""
    return re.findall(r"^ *>>> (.*)$", inspect.getdoc(getattr(tonghua, name)) or "", re.MULTILINE)


def test_every_public_function_has_an_example_and_one_of_them_after_the_other_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {*FUNCTIONS, "plain_errors", "__version__"} == {*tonghua.__all__}
    monkeypatch.chdir(tmp_path)
    names: dict[str, typing.Any] = {"tonghua": tonghua}
    for name in FUNCTIONS:
        assert examples(name), f"{name} has no example"
        exec("\n".join(examples(name)), names)
    (run,) = (tmp_path / "runs").iterdir()
    kept, total_s, trained, said, headline, compared, exported = capsys.readouterr().out.splitlines()[:7]
    assert kept == "90 0"
    assert float(total_s.split()[1]) > 0
    assert trained.startswith(f"{Path('runs') / run.name} ")
    assert said
    assert "not measured: makes sense, ends and does not loop" in headline.lower()
    assert re.fullmatch(r"-?\d\.\S+ \[-?\d\S+, -?\d\S+\]", compared)
    assert (run / "report.html").is_file()
    assert (tmp_path / exported / "Modelfile").is_file()


COMMON = re.compile(r"^ {0,4}(\w+) {2,}\S", re.MULTILINE)


@pytest.mark.parametrize("name", ["check", "plan", "train"])
def test_the_settings_that_change_most_often_stand_in_the_docstring(name: str) -> None:
    """Each with what it does, and none that there is not."""
    function = getattr(tonghua, name)
    text = inspect.getdoc(function) or ""
    listed = {
        *COMMON.findall(text),
        *re.findall(r"[a-z]+(?:_[a-z]+)+", text.partition("decide most:")[2].partition(".")[0]),
    }
    known = {*Config.model_fields, *inspect.signature(function).parameters}
    assert listed <= known
    assert len(listed & Config.model_fields.keys()) >= 4
    assert {"max_length"} <= listed


def plain_types(annotation: object) -> set[object]:
    """The plain types and literal values that a field takes."""
    if typing.get_origin(annotation) is typing.Literal:
        return set(typing.get_args(annotation))
    if annotation in (int, float, bool, type(None)):
        return {annotation}
    return set().union(*map(plain_types, typing.get_args(annotation)))


@pytest.mark.parametrize(
    ("settings", "model", "named"),
    [
        (Settings, Config, {"dataset", "model"}),
        (SamplingSettings, Sampling, set()),
        (PersonaSettings, Persona, set()),
    ],
)
def test_settings_are_the_fields_of_the_config(settings: type, model: type[Config], named: set[str]) -> None:
    hints = typing.get_type_hints(settings)
    assert set(hints) == set(model.model_fields) - named
    for name, hint in hints.items():
        if name in ("lora_target", "examples", *GROUPS):
            continue  # one text or several; a mapping of its own
        assert plain_types(hint) == plain_types(model.model_fields[name].annotation), name
    assert plain_types(int | None) == {int, type(None)} != plain_types(int | typing.Literal["auto"])


def test_an_editor_sees_the_settings() -> None:
    for name in ("check", "plan", "train", "resume"):
        parameters = inspect.signature(getattr(tonghua, name)).parameters
        assert parameters["settings"].annotation == typing.Unpack[Settings]
        assert {"dataset", "model"} <= parameters.keys()


def test_events_go_to_the_caller_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed then, and the last event says that the work has ended, also after a mistake."""
    told: list[object] = []
    tonghua.check("qa.heldout", "tiny", on_event=told.append)
    assert {type(event).__name__ for event in told} == {"ReadingRows", "Ended"}
    told.clear()
    with pytest.raises(UserError):
        tonghua.check("no such rows", "tiny", on_event=told.append)
    assert told == [Ended()]
    assert capsys.readouterr() == ("", "")


def test_without_a_function_for_events_the_terminal_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(Screen, "event", lambda screen, event: told.append(event))
    tonghua.check("qa.heldout", "tiny")
    assert told[-1] == Ended() and len(told) > 1


def test_what_a_caller_s_function_raises_comes_through_as_it_is() -> None:
    """An OSError of it is not taken for a full disk, and it hides no mistake of the user."""

    def broken(event: object) -> None:
        raise BrokenPipeError("nobody reads")

    with pytest.raises(BrokenPipeError, match="nobody reads"):
        tonghua.check("qa.heldout", "tiny", on_event=broken)
    with pytest.raises(UserError):
        tonghua.check("no such rows", "tiny", on_event=broken)


@pytest.mark.parametrize(
    "arguments",
    [["download", "tiny"], ["train", "nosuch=1"], ["check", "no such rows.json"], ["report", "no such run"]],
)
def test_what_computes_nothing_loads_no_torch(arguments: list[str], tmp_path: Path) -> None:
    """Loading it takes a second, and a signal in the middle of that leaves it broken."""
    code = "import sys; from tonghua.cli import main\ntry:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    command = [sys.executable, "-X", "utf8", "-c", code, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False)
    assert done.stdout.splitlines()[-1] == "False", done.stderr


def test_torch_would_be_seen() -> None:
    """Negative control: `plan` computes."""
    code = "import sys, tonghua; tonghua.plan('qa', dataset='qa.heldout', model='tiny'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.stdout.splitlines()[-1] == "True", done.stderr


ROWS = [{"instruction": f"第{i}盏灯是谁点的？", "output": f"是守桥人点的，\n一共点了{i}盏。"} for i in range(1, 9)]


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TONGHUA_HOME", str(tmp_path / "家"))
    return tmp_path / "家"


def test_rows_in_memory_are_checked_trained_and_compared(tmp_path: Path, own_home: Path) -> None:
    """As a file of the same rows would be; a row's line is its number, and the run can be resumed."""
    bad = [*ROWS[:2], {"instruction": "没有答案"}, *ROWS[2:]]
    found = tonghua.check(bad, "tiny", on_event=print)
    (problem,) = found.prepared.problems
    assert (problem.line, found.prepared.table.read, found.prepared.table.kept) == (3, 9, 8)

    given = {"model": "tiny", "output_dir": tmp_path, "max_steps": 1, "device": "cpu", "dtype": "float32"}
    result = tonghua.train(dataset=ROWS, eval_dataset=ROWS[:3], quiet=True, **given)
    file = write_rows(tmp_path / "rows.json", ROWS)
    held = write_rows(tmp_path / "held.json", ROWS[:3])
    same = tonghua.train(dataset=file, eval_dataset=held, quiet=True, **given)
    assert (same.train_loss, same.heldout_loss) == (result.train_loss, result.heldout_loss)
    assert tonghua.evaluate(result.run, ROWS[:3], generate=0, on_event=print)["loss"]["rows"] == 3

    (recorded,) = json.loads((Path(result.run) / "facts.json").read_text(encoding="utf-8"))["dataset"]
    assert Path(recorded).parent == own_home / "given"
    assert [json.loads(line) for line in Path(recorded).read_text(encoding="utf-8").splitlines()] == ROWS
    assert repr(found) == f"CheckResult(source={str(found.source)!r}, read=9, kept=8, bad=1)"
    teller = tonghua.load(result.run, on_event=print)
    for returned in (found, found.prepared, result, teller, teller.run):
        assert "\n" not in repr(returned) and len(repr(returned)) < 600
        assert "盏灯" not in repr(returned)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([*ROWS, {"a": object()}], "row 9 cannot be written as JSON"),
        ([{"a": "\ud800"}], "row 1 cannot be written as JSON"),
        ([{"a": b"x"}], "row 1 cannot be written as JSON"),
        (iter(ROWS), "dataset must be a path, several paths, or a list of dicts, not list_iterator"),
        (ROWS[0], "dataset must be a path, several paths, or a list of dicts, not dict"),
        (5, "dataset must be a path, several paths, or a list of dicts, not int"),
        ([], "must be the path of a file, or several"),
        ([None], "must be the path of a file, or several"),
    ],
)
def test_what_is_no_list_of_rows_is_told(own_home: Path, rows: typing.Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        tonghua.check(rows, "tiny", on_event=print)
    assert not own_home.exists() or not list(own_home.rglob("*.jsonl"))


class NAType:
    """As pandas.NA: no comparison says what it is."""

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


def test_what_tables_hold_is_read_as_what_a_csv_of_it_would_be(own_home: Path) -> None:
    """Missing values are empty and told; times are texts; what is no text is a fault of its own row."""
    day = datetime.datetime(2026, 3, 1, 8, 30)
    rows: list[typing.Any] = [
        {"instruction": numpy.str_("问"), "input": math.nan, "output": "答。", "system": None, "id": numpy.int64(7)},
        {"instruction": "哪天？", "input": NAType(), "output": day, "id": numpy.float32("nan")},
        {"instruction": "再问", "output": math.nan},
        {"instruction": "又问", "output": None},
        {"instruction": "几个？", "output": numpy.int64(3)},
        {"instruction": "多少？", "output": math.inf},
        None,
        {"messages": numpy.array([]), "instruction": "谁？", "output": "我。", "vector": numpy.ones((2, 2))},
    ]
    found = tonghua.check(rows, "tiny", on_event=print)
    assert [(problem.line, problem.what.en) for problem in found.prepared.problems] == [
        (3, '"output" holds only NaN, as an empty cell is exported'),
        (4, '"output" (the answer) is null, not text'),
        (5, '"output" (the answer) is a number, not text'),
        (6, "Infinity is not a JSON value"),
        (7, "the row is null, not an object"),
    ]
    talks = [found.prepared.samples.conversations[index] for index in range(3)]
    assert [[message.content for message in talk.messages] for talk in talks] == [
        ["问", "答。"],
        ["哪天？", "2026-03-01 08:30:00"],
        ["谁？", "我。"],
    ]
    assert ("empty cell", "NaN", 2) in [tuple(remark) for remark in found.checkup.remarks]


@pytest.mark.parametrize("name", ["x" * 300, "x" * 300 + ".yaml", "a/" + "x" * 300, "\x00"])
def test_a_name_that_no_system_takes_is_told(name: str, tmp_path: Path) -> None:
    """Whatever it names: rows, a recipe, a run, the folder of runs, a model."""
    for call in (
        lambda: tonghua.check(name, "tiny", on_event=print),
        lambda: tonghua.check("qa.heldout", name, offline=True, on_event=print),
        lambda: tonghua.plan(name, dataset="qa", model="tiny", on_event=print),
        lambda: tonghua.plan(dataset="qa.heldout", model="tiny", adapter=name, on_event=print),
        lambda: tonghua.resume(name, output_dir=tmp_path, on_event=print),
        lambda: tonghua.report(name, output_dir=tmp_path, on_event=print),
        lambda: tonghua.load(name, output_dir=tmp_path, on_event=print),
        lambda: tonghua.load(output_dir=name, on_event=print),
        lambda: tonghua.load("x", output_dir=name, on_event=print),
    ):
        with pytest.raises(UserError):
            call()


def test_what_other_trainers_write_for_rows_is_told_with_what_to_write() -> None:
    with pytest.raises(UsageError, match="what ms-swift writes as #500 is max_samples=500 here"):
        tonghua.check("AI-ModelScope/alpaca-gpt4-data-zh#500", "tiny", on_event=print)
    with pytest.raises(UserError, match=r"for a name in dataset_info\.json, say with dataset_dir= in which folder"):
        tonghua.plan(dataset="identity,alpaca_en_demo", model="tiny", on_event=print)


def test_rows_that_cannot_be_kept_are_told(own_home: Path) -> None:
    own_home.write_text("a file where the folder should be")
    with pytest.raises(ResourceError, match="TONGHUA_HOME"):
        tonghua.check(ROWS, "tiny", on_event=print)


def test_a_run_that_is_not_named_is_the_newest(tmp_path: Path) -> None:
    """Also if the name is empty, as from a variable of the shell that is not set."""
    for run in (None, ""):
        with pytest.raises(UserError, match="there is no finished run in"):
            tonghua.load(run, output_dir=tmp_path)
        with pytest.raises(UserError, match="no run in"):
            tonghua.report(run, output_dir=tmp_path)
