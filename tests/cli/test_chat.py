"""`tonghua chat` with commands and with several runs, through a pipe."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import SHORT, Called, call
from made_runs import Interrupts, Place, refused

from tonghua.errors import Stopped

ANSWER = '{"text"'


@pytest.fixture(scope="module")
def runs(straight: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two runs over one base, 黛玉-1 and 甄嬛-2."""
    folder = tmp_path_factory.mktemp("两 位")
    for name in ("黛玉-1", "甄嬛-2"):
        run = shutil.copytree(straight.run, folder / name)
        contract = json.loads((run / "contract.json").read_text(encoding="utf-8"))
        text = json.dumps({**contract, "persona": name.partition("-")[0]})
        (run / "contract.json").write_text(text, encoding="utf-8")
    return folder


def answers(called: Called) -> list[dict[str, object]]:
    assert called.code == 0, called.err
    return [json.loads(line) for line in called.out.splitlines() if line.startswith(ANSWER)]


def test_commands_come_through_a_pipe_too(runs: Path, tmp_path: Path) -> None:
    kept = tmp_path / "说过的.jsonl"
    typed = f"你好\n／重说\n/undo\n月亮\n/保存 {kept}\n/nonsense\n再说\n"
    called = call("chat", runs / "黛玉-1", *SHORT, "--json", stdin=typed)
    assert len(answers(called)) == 4
    assert "there is no command /nonsense" in called.err
    (row,) = map(json.loads, kept.read_text(encoding="utf-8").splitlines())
    assert [message["content"] for message in row["messages"] if message["role"] == "user"] == ["月亮"]
    checked = call("check", f"dataset={kept}", "model=tiny", "--json")
    assert "Traceback" not in checked.err


def test_two_runs_answer_in_one_conversation(runs: Path) -> None:
    called = call("chat", "黛玉-1", "甄嬛-2", *SHORT, f"output_dir={runs}", "--json", stdin="你好\n/对 甄\n你呢\n")
    assert [answer["speaker"] for answer in answers(called)] == ["黛玉", "甄嬛"]
    alone = call("chat", runs / "甄嬛-2", *SHORT, "--json", stdin="你呢\n")
    assert "speaker" not in answers(alone)[0]


@pytest.mark.parametrize("way", ["--prompt", "stdin"])
def test_a_duet(runs: Path, way: str) -> None:
    given = ("--prompt", "下雪了") if way == "--prompt" else ()
    called = call(*("chat", runs / "黛玉-1", runs / "甄嬛-2", "--duet", 3, *SHORT, *given, "--json"), stdin="下雪了\n")
    assert [answer["speaker"] for answer in answers(called)] == ["黛玉", "甄嬛", "黛玉"]


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(
    ("arguments", "zh", "en"),
    [
        (["a", "--duet"], "--duet 要写两个训练结果", "--duet needs two runs"),
        (["--duet"], "--duet 要写两个训练结果", "--duet needs two runs"),
        (["a", "b", "c", "--duet", "3"], "--duet 要写两个训练结果", "--duet needs two runs"),
        (["a", "b", "--duet", "0"], "--duet 后面写一个 1 到 100 的数", "--duet takes one number from 1 to 100"),
        (["a", "b", "--duet", "9" * 5000], "--duet 后面写一个 1 到 100 的数", "--duet takes one number from 1 to 100"),
        (["a", "b", "--prompt", "你好"], "--prompt 只问一个训练结果", "--prompt asks one run"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_loaded(
    arguments: list[str], zh: str, en: str, language: str
) -> None:
    refused(call("chat", *arguments, language=language), 2, {"zh": zh, "en": en}[language])


# The card of a character


CARD = {"name": "林黛玉", "greeting": "来了？\n坐罢。", "portrait": "潇湘馆的主人。", "examples": ["谁说我恼了。"]}


@pytest.fixture(scope="module")
def with_card(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with a card."""
    run = shutil.copytree(runs / "黛玉-1", tmp_path_factory.mktemp("卡") / "daiyu-3")
    contract = json.loads((run / "contract.json").read_text(encoding="utf-8"))
    (run / "contract.json").write_text(json.dumps({**contract, "card": CARD}), encoding="utf-8")
    return run


def test_training_writes_the_card_and_a_resume_may_change_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {f"persona.{key}": value for key, value in CARD.items() if key != "examples"}
    with monkeypatch.context() as patch:
        Interrupts(patch, 2)
        assert place.train(num_train_epochs=1, **more).code == Stopped.exit_code
    refused(place.resume("system=你是颦儿。"), 2, "system was settled when the run began")
    resumed = place.resume("persona.name=颦儿")
    assert resumed.code == 0, resumed.err
    contract = json.loads((place.run / "contract.json").read_text(encoding="utf-8"))
    assert contract["card"] == {**CARD, "name": "颦儿", "examples": []}
    called = call("chat", place.run, *SHORT, stdin="/to\n")
    assert f"颦儿 ({place.run.name})\n  潇湘馆的主人。\n" in called.err


def test_a_card_changes_nothing_that_is_answered(runs: Path, with_card: Path) -> None:
    asked = (*SHORT, "--prompt", "你好", "--json")
    plain, carded, renamed = (
        call("chat", *run, *asked).json["text"]
        for run in ([runs / "黛玉-1"], [with_card], [with_card, "persona.name=颦儿", "persona.greeting=哟。"])
    )
    assert plain == carded == renamed
    assert plain != call("chat", with_card, *SHORT, "--prompt", "你好吗", "--json").json["text"], "negative control"


def test_the_name_of_a_card_calls_a_speaker(runs: Path, with_card: Path) -> None:
    called = call("chat", runs / "甄嬛-2", with_card, *SHORT, "--json", stdin="/to 林\n你好\n/to daiyu-3\n你好\n")
    assert [answer["speaker"] for answer in answers(called)] == ["林黛玉", "林黛玉"]
    named = call("chat", with_card, *SHORT, "persona.name=颦儿", "persona.examples=哼。", stdin="/to\n")
    assert "颦儿 (daiyu-3)\n  潇湘馆的主人。\n  哼。\n" in named.err


def test_a_wrong_card_is_told_before_anything_is_loaded() -> None:
    refused(call("chat", "no-such-run", "persona.nam=颦儿"), 2, "did you mean persona.name?")


def loaded_by(modules: str) -> list[str]:
    """Which of the libraries of a chat are in memory after these imports, in a fresh interpreter."""
    code = (
        f"import sys, {modules}; print(*sorted({{'prompt_toolkit', 'pydantic', 'rich', 'torch'}} & sys.modules.keys()))"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_help_comes_without_the_libraries_of_a_chat() -> None:
    assert loaded_by("tonghua.cli") == []
    assert {"prompt_toolkit", "rich"} <= {*loaded_by("tonghua.terminal.line_editor, tonghua.terminal.screen")}


def test_a_run_is_called_without_its_time(runs: Path, tmp_path: Path) -> None:
    """Of several, the newest; a run whose own name goes on is another one."""
    for age, name in enumerate(
        ("黛[玉-20260102-120000", "黛[玉-20260101-120000-2", "黛[玉-小-20260103-120000", "黛[玉-旧")
    ):
        run = shutil.copytree(runs / "黛玉-1", tmp_path / name)
        os.utime(run / "contract.json", (2e9 + 60 * age, 2e9 + 60 * age))
    called = call("chat", "黛[玉", *SHORT, f"output_dir={tmp_path}", stdin="")
    assert (called.code, "黛玉 (黛[玉-20260101-120000-2, base" in called.err) == (0, True)
    refused(call("chat", "黛", f"output_dir={tmp_path}"), 2, "there is no folder 黛")
