"""`tonghua chat` with commands and with several runs, through a pipe."""

import json
import shutil
from pathlib import Path

import pytest
from command_line import SHORT, Called, call
from made_runs import Place, refused

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
