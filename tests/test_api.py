"""What `import tonghua` gives: documented by examples that run, with settings that an editor can complete."""

import inspect
import re
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
