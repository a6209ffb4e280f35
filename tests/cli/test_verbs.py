"""`tonghua download`, `models` and `rows`, and models that are fetched because `model=` names them."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from command_line import ROWS, Called, call, environment, settings, spawn, write_rows
from hub_server import MODEL, Hub, model_files, serving
from rich.console import Console

from tonghua import cli
from tonghua.events import Doing
from tonghua.models import network
from tonghua.models.delivery import DownloadProgress
from tonghua.terminal.screen import Screen
from tonghua.text import Text
from tonghua.training.events import Evaluating
from tonghua.training.progress import StepRecord

NAME = "qwen2.5-0.5b"
WEIGHTS = "model.safetensors"


class Machine:
    """A machine without any model, and hubs on loopback, by the names of the two big ones."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, stack: ExitStack):
        self.home, self.folder, self.patch, self.stack = folder / "家 home", folder, patch, stack
        patch.setenv("TONGHUA_HOME", str(self.home))
        patch.setattr(network, "sleep", lambda seconds: None)

    @property
    def model(self) -> Path:
        return self.home / "models" / MODEL.replace("/", "--")

    def serve(self, hub: Hub | None = None) -> Hub:
        served = self.stack.enter_context(serving(hub or Hub(model_files())))
        for variable in ("MODELSCOPE_ENDPOINT", "HF_ENDPOINT"):
            self.patch.setenv(variable, served.endpoint)
        return served

    def download(self, *more: object, language: str = "en") -> Called:
        return call("download", NAME, "--source", "modelscope", *more, language=language, folder=self.folder)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    folder = tmp_path / "桌 面"
    folder.mkdir()
    with ExitStack() as stack:
        yield Machine(folder, monkeypatch, stack)


def refused(act: Callable[[str], Called], code: int, zh: str, en: str) -> None:
    """In both languages: this code, exactly this line on stderr, nothing on stdout."""
    for language, words in Text(zh, en)._asdict().items():
        called = act(language)
        assert (called.code, called.out, called.err) == (code, "", words + "\n")


# tonghua download


def test_download(machine: Machine) -> None:
    hub = machine.serve()
    done = machine.download("--json")
    assert done.code == 0, done.err
    assert done.json == {
        "model": MODEL,
        "path": str(machine.model),
        "source": "modelscope",
        "bytes": hub.size_bytes,
        "verified": True,
        "resumed": False,
    }
    assert done.out.count("\n") == 1
    assert f"fetching {MODEL} ({hub.size_bytes / 1000:.1f} kB) from modelscope\n" in done.err
    assert done.err.endswith(f"downloaded: {machine.model}\ntrain it: tonghua train RECIPE dataset=FILE model={NAME}\n")
    assert {name: (machine.model / name).read_bytes() for name in hub.files} == hub.files


def test_the_second_time_nothing_is_fetched(machine: Machine) -> None:
    hub = machine.serve()
    machine.download()
    requests = len(hub.log)
    again = machine.download("--json", language="zh")
    assert (again.code, again.json["bytes"], again.json["verified"], len(hub.log)) == (0, 0, True, requests)
    assert again.err == (f"本机已经有了：{machine.model}\n接着训练：tonghua train 配方 dataset=数据 model={NAME}\n")


def test_download_in_a_process_of_its_own(machine: Machine) -> None:
    hub = machine.serve()
    done = spawn(
        "download", NAME.upper(), "--source", "huggingface", "--to", "我的 模型", "--json", folder=machine.folder
    )
    assert done.code == 0, done.err
    assert (done.json["path"], done.json["bytes"]) == (str(machine.folder / "我的 模型"), hub.size_bytes)
    assert not machine.model.exists()
    assert done.err.endswith(f"model={machine.folder / '我的 模型'}\n")


def test_ctrl_c_keeps_what_has_come(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = machine.serve(Hub(model_files(2_000_000)))
    monkeypatch.setattr(network, "REPORT_S", 0.0)
    real = Screen.download

    def stopped(screen: Screen, told: DownloadProgress) -> None:
        real(screen, told)
        if told.done_bytes > 1_000_000:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Screen, "download", stopped)
        first = machine.download("--json", language="zh")
    assert (first.code, first.out) == (75, "")
    assert first.err.splitlines()[-1] == "下载已停下；下载好的部分保留着，再运行一次会从断开的地方继续"
    assert not (machine.model / WEIGHTS).exists()
    again = machine.download("--json")
    assert (again.code, again.json["resumed"], again.json["verified"]) == (0, True, True)
    assert 0 < again.json["bytes"] < 1_200_000
    assert (machine.model / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


def test_a_killed_download_is_finished_by_the_next(machine: Machine) -> None:
    hub = machine.serve(Hub(model_files(2_000_000), pause_s=0.05, pause_from_bytes=500_000))
    command = [sys.executable, "-m", "tonghua", "download", NAME, "--source", "modelscope"]
    process = subprocess.Popen(command, cwd=machine.folder, env=environment(), stderr=subprocess.PIPE)
    part = machine.model / f"{WEIGHTS}.part"
    while process.poll() is None and not (part.is_file() and part.stat().st_size > 500_000):
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert fetched() == []
    hub.pause_s = 0.0
    again = machine.download("--json")
    assert (again.code, again.json["resumed"]) == (0, True)
    assert 0 < again.json["bytes"] < 1_600_000
    assert (machine.model / WEIGHTS).read_bytes() == hub.files[WEIGHTS]


def test_no_name() -> None:
    zh, en = (
        "没有写模型的名字；例如 tonghua download qwen2.5-0.5b",
        "no model is named; write for example tonghua download qwen2.5-0.5b",
    )
    refused(lambda language: call("download", language=language), 2, zh, en)


def test_a_name_with_a_slip(machine: Machine) -> None:
    zh = "找不到模型文件夹 qwen2.5-0.6b；请检查路径，或写模型的名字，例如 qwen2.5-0.5b"
    en = "there is no model folder qwen2.5-0.6b; check the path, or write a model's name, such as qwen2.5-0.5b"
    refused(lambda language: call("download", "qwen2.5-0.6b", language=language), 2, zh, en)


def test_a_source_that_does_not_exist(machine: Machine) -> None:
    zh = "没有叫 baidu 的下载源；请写 modelscope、huggingface、mirror 之一"
    en = "there is no source baidu; write one of modelscope, huggingface, mirror"
    refused(lambda language: call("download", NAME, "--source", "baidu", language=language), 2, zh, en)


NOT_HERE = Text(
    f"本机还没有模型 {MODEL}；请运行 tonghua download {NAME}。",
    f"the model {MODEL} is not on this machine; run tonghua download {NAME}. ",
)


@pytest.mark.parametrize("how", ["switch", "variable"])
def test_offline(machine: Machine, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    hub = machine.serve()
    switch = ["--offline"] if how == "switch" else []
    if how == "variable":
        monkeypatch.setenv("TONGHUA_OFFLINE", "1")
    rows = write_rows(machine.folder / "rows.json", ROWS)
    for verb in (("download", NAME), ("check", rows, f"model={NAME}"), ("train", f"model={NAME}")):
        for language in ("zh", "en"):
            called = call(*verb, *switch, language=language, folder=machine.folder)
            assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
            assert called.err.startswith(NOT_HERE.zh if language == "zh" else NOT_HERE.en)
    assert hub.log == []


def test_offline_is_off_where_the_variable_says_0(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.serve()
    monkeypatch.setenv("TONGHUA_OFFLINE", "0")
    assert machine.download().code == 0


def test_files_without_a_hash_are_told(machine: Machine) -> None:
    """Weights must have one; of small files the user is told."""
    machine.serve(Hub(model_files(), hide=("oid",)))
    for language, told in (
        ("zh", "提示：没有校验值可以比对，无法确认内容完好：LICENSE、README.md、config.json 等 7 个文件"),
        ("en", "note: no hash is known, so this was not checked: LICENSE, README.md, config.json and 4 more"),
    ):
        done = call("download", NAME, "--source", "huggingface", language=language)
        assert done.code == 0, done.err
        assert told in done.err.splitlines()


# Progress


def progress(**changed: Any) -> DownloadProgress:
    given = {"model": MODEL, "source": "mirror", "file": WEIGHTS, "done_bytes": 400_000_000, "total_bytes": 988_000_000}
    return DownloadProgress(**{**given, "bytes_per_s": 2_000_000.0, **changed})


def test_progress_without_a_terminal_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = StringIO(), 100.0
    monkeypatch.setattr("tonghua.terminal.screen.time.monotonic", lambda: now)
    screen = Screen("zh", Console(file=out, force_terminal=False, soft_wrap=True))
    for now in (100.0, 109.9, 110.0):  # noqa: B007
        screen.download(progress())
    now = 120.0
    screen.download(progress(waiting=Text("hf-mirror 没有回应，2 秒后再试", "")))
    assert out.getvalue().splitlines() == [
        f"正在从 mirror 下载 {MODEL}（988.0 MB）",
        "400.0 MB/988.0 MB  2.0 MB/s  还要 4:54",
        "hf-mirror 没有回应，2 秒后再试",
    ]


def test_progress_in_a_terminal_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    out = StringIO()
    screen = Screen("en", Console(file=out, force_terminal=True, width=100, color_system=None, legacy_windows=False))
    screen.download(progress())
    screen.download(progress(source="modelscope", bytes_per_s=0.0))
    screen.stop()
    assert f"fetching {MODEL} (988.0 MB) from mirror" in out.getvalue()
    assert f"fetching {MODEL} (988.0 MB) from modelscope" in out.getvalue()
    assert "━" in out.getvalue()


def test_what_takes_a_while_is_told_without_a_terminal_only_where_it_lasts(monkeypatch: pytest.MonkeyPatch) -> None:
    out, now = StringIO(), 100.0
    monkeypatch.setattr("tonghua.terminal.screen.time.monotonic", lambda: now)
    screen = Screen("en", Console(file=out, force_terminal=False, soft_wrap=True))
    screen.event(Doing(Text("载入模型", "loading the model")))
    screen.stop()
    now = 111.0
    screen.event(Doing(Text("写报告", "writing the report")))
    screen.stop()
    assert out.getvalue().splitlines() == ["writing the report ..."]


def test_what_takes_a_while_gives_way_to_the_bar_of_the_steps() -> None:
    """And stands in that bar once there is one."""
    out = StringIO()
    screen = Screen("en", Console(file=out, force_terminal=True, width=100, color_system=None, legacy_windows=False))
    screen.event(Doing(Text("载入模型", "loading the model")))
    screen.event(Doing(Text("试算最长的一批", "trying the longest batch")))
    assert "trying the longest batch" in out.getvalue()
    screen.event(Evaluating(done=1, samples=8))
    screen.event(Evaluating(done=8, samples=8))
    assert "8/8 measuring the held-out loss" in " ".join(out.getvalue().split())
    screen.event(stepped(2))
    screen.event(Doing(Text("写几段样例", "writing samples")))
    screen.event(stepped(3))
    screen.stop()
    last = " ".join(out.getvalue().split("2/3")[-1].split())
    assert "writing samples" in last
    assert "3/3 loss 1.000" in last


def stepped(step: int) -> StepRecord:
    return StepRecord(
        step=step, steps=3, epoch=1.0, loss=1.0, grad_norm=1.0, learning_rate=1.0, samples=1, tokens=1, targets=1,
        step_s=1.0, samples_per_s=1.0, remaining_s=1.0, memory_gb=1.0,
    )  # fmt: skip


# Models that model= names


@pytest.fixture
def tiny_hub(machine: Machine, tiny_folder: Path) -> Hub:
    """A hub that has the tiny model, under the name of a big one."""
    return machine.serve(Hub({file.name: file.read_bytes() for file in tiny_folder.iterdir()}))


TINY = {"val_size": 3, "max_steps": 1, "per_device_train_batch_size": 4, "dtype": "float32", "device": "cpu"}


def test_a_named_model_is_fetched_by_every_verb(machine: Machine, tiny_hub: Hub) -> None:
    """Train fetches it; without it chat and eval of that run fetch it again, and so does check."""
    dataset = write_rows(machine.folder / "数据.json", ROWS)
    given = settings(dataset=dataset, model=NAME, output_dir=machine.folder / "结果", **TINY)
    trained = call("train", *given, "--json")
    assert trained.code == 0, trained.err
    assert f"fetching {MODEL} " in trained.err
    assert f"\ndownloaded: {machine.model}\n" in trained.err
    run = trained.json["run"]
    for verb in (
        ("check", dataset, f"model={NAME}"),
        ("chat", run, "--prompt", "你好", "max_new_tokens=2", f"model={NAME}"),
        ("eval", run, f"model={NAME}"),
    ):
        requests = len(tiny_hub.log)
        called = call(*verb)
        assert called.code == 0, called.err
        assert len(tiny_hub.log) == requests, "what is here is not fetched"
        assert call("models", "--remove", NAME, "--yes").code == 0
        called = call(*verb, "--offline")
        assert (called.code, called.out) == (2, "")
        assert called.err.splitlines()[-1].startswith(NOT_HERE.en)
        called = call(*verb)
        assert called.code == 0, called.err
        assert f"downloaded: {machine.model}\n" in called.err


def test_from_python_too(machine: Machine, tiny_hub: Hub, tiny_folder: Path) -> None:
    import tonghua

    dataset = write_rows(machine.folder / "数据.json", ROWS)
    result = tonghua.train(None, dataset=dataset, model=NAME, output_dir=machine.folder / "结果", **TINY)
    assert (machine.model / WEIGHTS).read_bytes() == (tiny_folder / WEIGHTS).read_bytes()
    assert call("models", "--remove", NAME, "--yes").code == 0
    tonghua.load(result.run, model=NAME)
    assert (machine.model / WEIGHTS).is_file()


# tonghua models


def fetched(*more: str) -> list[dict[str, Any]]:
    """What `models --json` tells of all but the one that came with tonghua, which stands first."""
    told = call("models", "--json", *more).json["models"]
    assert told[0]["name"] == "tiny"
    return list(told[1:])


def test_no_models(machine: Machine) -> None:
    assert fetched() == []
    listed = call("models", language="zh")
    assert (listed.code, listed.err, listed.out.split()[:3]) == (0, "", ["tiny", "19", "MB"])


def test_models(machine: Machine) -> None:
    hub = machine.serve(Hub(model_files(3_000_000)))
    machine.download()
    size = hub.size_bytes + (machine.model / "MANIFEST.json").stat().st_size
    told = {"name": MODEL, "path": str(machine.model), "source": "modelscope", "bytes": size}
    assert fetched() == [told]
    assert call("models").out.endswith(f"\n{MODEL}  3 MB  from modelscope  {machine.model}\n")
    assert call("models", NAME, language="zh").out == f"{MODEL}  3 MB  来自 modelscope  {machine.model}\n"


def test_models_verify(machine: Machine) -> None:
    machine.serve()
    machine.download()
    sound = call("models", "--verify", "--json")
    assert (sound.code, [each["damaged"] for each in sound.json["models"]]) == (0, [[], []])
    assert sound.err == f"checking tiny\nno damage found\nchecking {MODEL}\nno damage found\n"
    spoil(machine.model / WEIGHTS)
    zh = (
        f"正在核对 {MODEL}\n模型 {MODEL} 的文件损坏或缺失：{WEIGHTS}；"
        f"请运行 tonghua download {MODEL}，只会重新下载坏的文件"
    )
    en = (
        f"checking {MODEL}\nfiles of the model {MODEL} are damaged or missing: {WEIGHTS}; "
        f"run tonghua download {MODEL}, which fetches only the damaged files again"
    )
    refused(lambda language: call("models", "--verify", NAME, language=language), 4, zh, en)
    found = call("models", NAME, "--verify", "--json")
    assert (found.code, found.json["models"][0]["damaged"]) == (4, [WEIGHTS])


def test_models_verify_tells_files_that_are_intact_and_do_not_fit_together(machine: Machine) -> None:
    files = model_files()
    tokenizer = json.loads(files["tokenizer.json"])
    tokenizer["model"]["vocab"]["月亮"] = 99_999
    machine.serve(Hub(files | {"tokenizer.json": json.dumps(tokenizer).encode()}))
    machine.download()
    found = call("models", NAME, "--verify", "--json")
    assert (found.code, found.json["models"][0]["damaged"]) == (4, [])
    assert "tokenizer.json: the token 月亮 has the id 99999" in found.err


def test_models_verify_is_content_with_a_sound_model_of_another_kind(machine: Machine) -> None:
    files = model_files()
    machine.serve(Hub(files | {"config.json": files["config.json"].replace(b'"qwen2"', b'"bert"')}))
    machine.download()
    assert call("models", NAME, "--verify").code == 0


def spoil(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_a_damaged_file_alone_is_fetched_again(machine: Machine) -> None:
    hub = machine.serve()
    machine.download()
    spoil(machine.model / "merges.txt")
    again = machine.download("--json")
    assert (again.code, again.json["bytes"], again.json["resumed"]) == (0, len(hub.files["merges.txt"]), True)
    assert call("models", "--verify").code == 0


def test_a_damaged_manifest_is_told_and_the_others_go_on(machine: Machine) -> None:
    machine.serve()
    machine.download()
    other = machine.home / "models" / "A--b"
    other.mkdir()
    (other / "MANIFEST.json").write_text("[]", encoding="utf-8")
    found = call("models", "--verify", "--json")
    assert found.code == 4
    assert [(each["name"], each["damaged"]) for each in found.json["models"][1:]] == [
        ("A/b", ["MANIFEST.json"]),
        (MODEL, []),
    ]
    assert found.err.splitlines()[3:] == [
        f"{other / 'MANIFEST.json'} is not a whole manifest; delete it and run tonghua download again",
        f"checking {MODEL}",
        "no damage found",
    ]


def test_models_of_what_is_not_here(machine: Machine) -> None:
    for more in ((), ("--verify",), ("--remove", "--yes")):
        called = call("models", NAME, *more)
        assert (called.code, called.out) == (2, "")
        assert called.err.startswith(NOT_HERE.en)


def test_models_remove(machine: Machine) -> None:
    hub = machine.serve(Hub(model_files(3_000_000)))
    machine.download()
    zh = f"删除 {MODEL} 前需要确认；确定要删请加 --yes"
    en = f"deleting {MODEL} needs your consent; add --yes to give it"
    refused(lambda language: call("models", "--remove", NAME, language=language), 2, zh, en)
    assert (machine.model / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    size = hub.size_bytes + (machine.model / "MANIFEST.json").stat().st_size
    done = call("models", "--remove", NAME, "--yes", "--json", language="zh")
    assert (done.code, done.json, done.err) == (0, {"removed": MODEL, "bytes": size}, f"已删除 {MODEL}，腾出 3 MB\n")
    assert not machine.model.exists()
    assert fetched() == []


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("typed", "code", "kept"), [("y\n", 0, False), ("n\n", 130, True), ("", 130, True)])
def test_models_remove_asks(
    machine: Machine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    typed: str,
    code: int,
    kept: bool,
) -> None:
    machine.serve()
    machine.download()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "argv", ["tonghua", "models", "--remove", NAME])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert (done.value.code or 0, machine.model.exists()) == (code, kept)
    assert f"delete {MODEL} ({machine.model})? [y/N]" in capsys.readouterr().err


def test_models_remove_needs_a_name(machine: Machine) -> None:
    zh = "请写要删除哪一个：tonghua models --remove 模型的名字"
    en = "write which one to delete: tonghua models --remove NAME"
    refused(lambda language: call("models", "--remove", "--yes", language=language), 2, zh, en)


def test_a_folder_of_the_user_is_not_removed(machine: Machine) -> None:
    own = machine.folder / "我的 模型"
    own.mkdir()
    zh = f"{own} 是你自己的文件夹，tonghua 不会删；不要了请自己删掉它"
    en = f"{own} is a folder of your own, which tonghua does not delete; delete it yourself"
    refused(lambda language: call("models", "--remove", own, "--yes", language=language), 2, zh, en)
    assert own.is_dir()


# tonghua rows

PLAY = """\
第一场
宝玉：妹妹可好些了？
黛玉：好些了。（低头）茶凉了。
紫鹃：我去换。
宝玉：今儿天冷。
林妹妹：冷也罢，暖也罢。
“谁在外头？”
"""
ALPACA = [
    {"instruction": "妹妹可好些了？", "output": "好些了。茶凉了。"},
    {"instruction": "今儿天冷。", "output": "冷也罢，暖也罢。"},
]
BOTH = ("--speaker", "黛玉", "--alias", "黛玉=林妹妹,颦儿")


@pytest.fixture
def play(tmp_path: Path) -> Path:
    path = tmp_path / "红楼 剧本.txt"
    path.write_text(PLAY, encoding="utf-8")
    return path


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_rows(play: Path) -> None:
    out, unsure = play.with_name("红楼 剧本.rows.json"), play.with_name("红楼 剧本.rows.json.unsure.txt")
    done = call("rows", play, *BOTH, "--json", language="zh")
    assert done.code == 0, done.err
    assert read(out) == ALPACA
    why = "没写是谁说的，按上下文推测是宝玉；如果是，请补上名字"
    assert done.json == {
        "rows": 2,
        "unsure": [{"line": 7, "text": "谁在外头？", "why": why}],
        "speakers": {"宝玉": 2, "黛玉": 2, "紫鹃": 1},
        "out": str(out),
    }
    assert done.err.splitlines() == [
        "各人说了几句：",
        "     2  宝玉",
        "     2  黛玉",
        "     1  紫鹃",
        f"1 处拿不准，没有用，都写在 {unsure}；前几处：",
        f"  第 7 行：谁在外头？（{why}）",
        f"2 行数据写进了 {out}",
    ]
    assert unsure.read_text(encoding="utf-8") == f"第 7 行：谁在外头？（{why}）\n"


def test_rows_can_be_checked_and_carry_a_system_prompt(play: Path, tiny_folder: Path) -> None:
    out = play.with_name("数据.json")
    done = spawn("rows", play.name, *BOTH, "--system", "你是林黛玉。", "--out", out, folder=play.parent)
    assert (done.code, done.out) == (0, ""), done.err
    assert done.err.endswith(f"rows: 2, written to {out}\n")
    assert read(out) == [{"system": "你是林黛玉。", **row} for row in ALPACA]
    checked = call("check", out, f"model={tiny_folder}", "--json")
    assert (checked.code, checked.json["kept"]) == (0, 2)


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("gb18030", "GB18030"), ("utf-16", "UTF-16"), ("utf-16-be", "UTF-16 BE"), ("utf-8-sig", None)],
)
def test_rows_of_other_encodings(play: Path, encoding: str, name: str | None) -> None:
    play.write_text(PLAY, encoding=encoding)
    done = call("rows", play, *BOTH, "--json")
    assert (done.code, done.json["rows"]) == (0, 2)
    assert read(Path(done.json["out"])) == ALPACA
    told = [line for line in done.err.splitlines() if line.startswith("note: ")]
    assert told == ([f"note: {play} is in {name}, and read as such"] if name else [])


def test_rows_that_are_not_there_are_told_before_a_model_is_fetched(tmp_path: Path) -> None:
    for verb in (("train", "daiyu", "dataset=没有.json"), ("check", "没有.json")):
        called = call(*verb, "model=qwen2.5-0.5b", language="zh", folder=tmp_path)
        assert (called.code, called.out) == (3, "")
        assert called.err == "找不到文件 没有.json；请检查路径和文件名\n"


def test_rows_overwrite_nothing_unasked(play: Path) -> None:
    out = play.with_name("红楼 剧本.rows.json")
    out.write_text("我的", encoding="utf-8")
    zh = f"{out} 已经有了；要覆盖请加 --force，或换一个文件"
    en = f"{out} exists; add --force to overwrite it, or choose another file"
    refused(lambda language: call("rows", play, *BOTH, language=language), 2, zh, en)
    assert out.read_text(encoding="utf-8") == "我的"
    assert call("rows", play, *BOTH, "--force").code == 0
    assert read(out) == ALPACA


def test_what_was_unsure_before_does_not_stay(play: Path) -> None:
    unsure = play.with_name("红楼 剧本.rows.json.unsure.txt")
    assert call("rows", play, *BOTH).code == 0
    assert unsure.is_file()
    play.write_text(PLAY.replace("“谁在外头？”\n", ""), encoding="utf-8")
    assert call("rows", play, *BOTH, "--force").code == 0
    assert not unsure.exists()


def test_rows_never_overwrite_the_text(play: Path) -> None:
    zh = f"{play} 就是原文，不能覆盖；请换一个文件"
    en = f"{play} is the source itself and is not overwritten; choose another file"
    refused(lambda language: call("rows", play, *BOTH, "--out", play, "--force", language=language), 2, zh, en)
    assert play.read_text(encoding="utf-8") == PLAY


def test_rows_of_a_speaker_that_only_leaves_doubts(play: Path) -> None:
    play.write_text("黛玉：好些了。\n", encoding="utf-8")
    for language, line in (
        ("zh", "“黛玉”的话没有一句能做成数据，什么都没有写；请照上面说的改原文，或用 --alias 补上别名"),
        (
            "en",
            "none of what “黛玉” says makes a row, and nothing was written; "
            "mend the text as described above, or add other names with --alias",
        ),
    ):
        called = call("rows", play, "--speaker", "黛玉", "--json", language=language)
        assert (called.code, called.out, called.err.splitlines()[-1]) == (3, "", line)
    assert list(play.parent.glob("*.rows.json*")) == []


def test_rows_of_nobody(play: Path) -> None:
    zh = (
        "没有找到“宝钗”说的话；说话最多的是宝玉（2 句）、黛玉（2 句）、紫鹃（1 句）；"
        "请改 --speaker，或用 --alias 补上别名"
    )
    en = (
        "“宝钗” says nothing here; most is said by 宝玉 (2), 黛玉 (2), 紫鹃 (1); "
        "change --speaker, or add other names with --alias"
    )
    alias = ("--alias", "黛玉=林妹妹")
    refused(lambda language: call("rows", play, "--speaker", "宝钗", *alias, language=language), 3, zh, en)
    assert list(play.parent.glob("*.rows.json*")) == []


def test_rows_without_a_speaker(play: Path) -> None:
    zh = "请写出文本和角色，例如 tonghua rows 剧本.txt --speaker 黛玉"
    en = "name the text and the speaker, for example tonghua rows play.txt --speaker 黛玉"
    refused(lambda language: call("rows", play, language=language), 2, zh, en)
    refused(lambda language: call("rows", language=language), 2, zh, en)


@pytest.mark.parametrize("name", ["剧本.zip", "剧本.docx", "文件夹.txt"])
def test_rows_of_what_is_no_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "文件夹.txt":
        path.mkdir()
    else:
        path.write_bytes(b"PK\3\4")
    zh = f"{path} 不是 .txt 文件；请给一个纯文本：压缩包先解压，Word 或 PDF 另存为 .txt"
    en = f"{path} is no .txt file; give one plain text: unpack an archive, save Word or PDF as .txt"
    refused(lambda language: call("rows", path, *BOTH, language=language), 3, zh, en)


def test_rows_of_what_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "没有.txt"
    zh, en = f"找不到文件 {path}；请检查路径和文件名", f"no such file: {path}; check the path and the spelling"
    refused(lambda language: call("rows", path, *BOTH, language=language), 3, zh, en)


def test_rows_into_a_folder_that_is_not_there(play: Path) -> None:
    out = play.parent / "没有" / "数据.json"
    for language, start in (("zh", "写不进 "), ("en", "cannot write ")):
        called = call("rows", play, *BOTH, "--out", out, language=language)
        last = called.err.splitlines()[-1]
        assert (called.code, called.out, last.startswith(start), "--out" in last) == (5, "", True, True)


# All verbs


def test_help_names_the_verbs() -> None:
    called = call("--help")
    for verb in (
        "download",
        "models",
        "rows",
        "check",
        "train",
        "chat",
        "eval",
        "runs",
        "watch",
        "report",
        "merge",
        "export",
        "plan",
        "doctor",
    ):
        assert f"\n  {verb} " in called.out
