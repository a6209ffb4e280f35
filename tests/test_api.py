"""What `import tonghua` gives: documented by examples that run, with settings that an editor can complete."""

import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import tonghua
from tonghua.config.schema import Config, Sampling
from tonghua.config.settings import SamplingSettings, Settings
from tonghua.errors import UserError
from tonghua.events import Ended
from tonghua.terminal.screen import Screen

FUNCTIONS = ("download", "check", "plan", "train", "resume", "report", "load", "evaluate")


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
    kept, total_s, trained, said, compared = capsys.readouterr().out.splitlines()[:5]
    assert kept == "90 0"
    assert float(total_s.split()[1]) > 0
    assert trained.startswith(f"{Path('runs') / run.name} ")
    assert said
    assert re.fullmatch(r"-?\d\.\S+ \[-?\d\S+, -?\d\S+\]", compared)
    assert (run / "report.html").is_file()


def plain_types(annotation: object) -> set[object]:
    """The plain types and literal values that a field takes."""
    if typing.get_origin(annotation) is typing.Literal:
        return set(typing.get_args(annotation))
    if annotation in (int, float, bool, type(None)):
        return {annotation}
    return set().union(*map(plain_types, typing.get_args(annotation)))


@pytest.mark.parametrize(
    ("settings", "model", "named"), [(Settings, Config, {"dataset", "model"}), (SamplingSettings, Sampling, set())]
)
def test_settings_are_the_fields_of_the_config(settings: type, model: type[Config], named: set[str]) -> None:
    hints = typing.get_type_hints(settings)
    assert set(hints) == set(model.model_fields) - named
    for name, hint in hints.items():
        if name in ("lora_target", "sampling"):
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


def test_a_run_that_is_not_named_is_the_newest(tmp_path: Path) -> None:
    """Also if the name is empty, as from a variable of the shell that is not set."""
    for run in (None, ""):
        with pytest.raises(UserError, match="there is no finished run in"):
            tonghua.load(run, output_dir=tmp_path)
        with pytest.raises(UserError, match="no run in"):
            tonghua.report(run, output_dir=tmp_path)
