"""Who reads the answers of a run: whatever is wrong with a reader costs one line, and the rest is kept."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command_line import Called, call
from made_runs import Place

from tonghua.evaluation import choice
from tonghua.evaluation.choice import NO_READER, read_answers
from tonghua.inference.loading import open_teller
from tonghua.inference.teller import Teller
from tonghua.models.manifest import Model
from tonghua.runs.folder import open_run

ANSWERS = [{"prompt": f"请求{i}", "base": "月亮说你好。" * (i + 1), "tuned": "小熊回家了。"} for i in range(7)]


@pytest.fixture(scope="module")
def teller(straight: Place) -> Teller:
    return open_teller(open_run(straight.run, straight.runs))


@pytest.fixture
def other(zoo: Callable[[str], Path], tmp_path: Path) -> Path:
    """A model of other weights than the run's base."""
    return shutil.copytree(zoo("qwen3"), tmp_path / "另一个 reader")


def read(teller: Teller, reader: Path | str | None, answers: list[dict[str, Any]] = ANSWERS) -> dict[str, Any]:
    config = teller.run.config.model_copy(update={"reader": None if reader is None else str(reader)})
    asked = replace(teller, run=replace(teller.run, config=config))
    return read_answers(asked, answers, (), lambda done: None)


def test_a_named_reader_reads(teller: Teller, other: Path) -> None:
    found = read(teller, other)
    assert (found["reader"], found["items"]) == (other.name, 7)
    assert found["base"] > 0
    assert "note" not in found
    empty = read(teller, other, [{**ANSWERS[0], "tuned": " "}, *ANSWERS[1:]])
    assert empty["items"] == 6
    assert empty["note"]["en"] == "empty answers, not read: 0 before, 1 after"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("own base", "is the run's own base"),
        ("copy of it", "is the run's own base"),
        ("nowhere", "is not on this machine"),
        ("no model", "config.json"),
        ("architecture", "model_type mamba is not supported"),
        ("memory", "does not fit beside the run"),
        ("runs out", "not enough memory"),
        ("one answer", "one group of questions"),
        ("all empty", "one group of questions"),
    ],
)
def test_what_is_wrong_with_a_reader_is_one_line(
    fault: str, words: str, teller: Teller, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, reader = ANSWERS, str(other)
    if fault == "own base":
        reader = str(teller.base.folder)
    elif fault == "copy of it":
        reader = str(shutil.copytree(teller.base.folder, other.parent / "别的名字"))
    elif fault == "nowhere":
        reader = "somebody/a-model-that-is-not-here"
    elif fault == "no model":
        (other / "config.json").unlink()
    elif fault == "architecture":
        config = json.loads((other / "config.json").read_text(encoding="utf-8"))
        config |= {"architectures": ["MambaForCausalLM"], "model_type": "mamba"}
        (other / "config.json").write_text(json.dumps(config), encoding="utf-8")
    elif fault == "memory":
        monkeypatch.setattr(choice, "free_bytes", lambda device: 10_000_000)
    elif fault == "runs out":
        monkeypatch.setattr(choice, "compare_sense", lambda *rest: (_ for _ in ()).throw(MemoryError("out of memory")))
    elif fault == "one answer":
        answers = ANSWERS[:1]
    else:
        answers = [{**each, "tuned": ""} for each in ANSWERS]
    found = read(teller, reader, answers)
    assert set(found) == {"why"}
    assert words in found["why"]["en"]
    assert found["why"]["zh"]
    assert "\n" not in found["why"]["en"]


def test_the_largest_other_model_here_reads_and_nothing_is_fetched(
    teller: Teller, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zoo: Callable[[str], Path]
) -> None:
    here: list[Model] = []
    monkeypatch.setattr(choice, "models", lambda: here)
    assert read(teller, None) == {"why": NO_READER._asdict()}
    here.append(Model("owner/base", teller.base.folder, "tonghua"))
    assert read(teller, None) == {"why": NO_READER._asdict()}
    here += [Model("owner/broken", tmp_path, "tonghua"), Model("owner/other", other, "tonghua")]
    assert read(teller, None)["reader"] == "owner/other"
    here.append(Model("owner/large", zoo("llama"), "huggingface"))
    sizes = {str(other): 10, str(zoo("llama")): 20}
    monkeypatch.setattr(choice, "needed_bytes", lambda files, place, bits: sizes[str(files.folder)])
    assert read(teller, None)["reader"] == "owner/large"
    # One that does not fit leaves the reading to the next.
    sizes[str(zoo("llama"))] = 10**15
    assert read(teller, None)["reader"] == "owner/other"


def test_the_setting_is_that_of_eval_and_may_change(straight: Place, other: Path, tmp_path: Path) -> None:
    run = shutil.copytree(straight.run, tmp_path / "run")

    def evaluated(*more: object) -> Called:
        called = call("eval", run, "--json", "max_new_tokens=4", "dtype=float32", *more)
        assert called.code == 0, called.err
        return called

    called = evaluated(f"reader={other}")
    found = called.json
    assert (found["sense"]["reader"], len(found["answers"])) == (other.name, 2)
    assert found["verdict"]["lines"]["sense"] == "too few"
    assert "read by" in called.err
    own = evaluated(f"reader={straight.model}", "--generate", 2).json
    assert "own base" in own["sense"]["why"]["en"]
    assert own["loss"] == found["loss"]
    assert own["endings"] == found["endings"]
    none = evaluated("--generate", 0, f"reader={other}").json
    assert none["sense"]["why"]["en"] == none["endings"]["why"]["en"] == "no answers were written"
