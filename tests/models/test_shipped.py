"""What comes with tonghua: datasets by name, the model `tiny`, and the demo that shows both."""

import io
import json
import shutil
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import yaml
from command_line import call, spawn, write_rows
from rich.console import Console

from tonghua import cli
from tonghua.config.load import load
from tonghua.data.names import dataset_path, from_anywhere
from tonghua.data.samples.prepare import prepare
from tonghua.errors import RefusedError, Stopped, UsageError
from tonghua.models import network, shipped, store
from tonghua.models.download import download
from tonghua.models.hubs import MEANWHILE
from tonghua.models.manifest import Model
from tonghua.models.scan import scan_model
from tonghua.prompt.conversation import Message
from tonghua.prompt.renderer import Renderer
from tonghua.system.files import quoted
from tonghua.terminal.screen import Screen

ROOT = Path(__file__).resolve().parents[2]

# Datasets


def test_every_dataset_is_known_by_name() -> None:
    assert list(shipped.datasets()) == [
        *("bedtime", "daiyu", "fairytale", "qa"),
        *("bedtime.heldout", "daiyu.heldout", "fairytale.heldout", "qa.heldout"),
    ]
    for name, path in shipped.datasets().items():
        assert dataset_path(name) == path
        assert json.loads(path.read_text(encoding="utf-8"))


def test_an_unknown_name_lists_the_known_ones(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names = ("、".join(shipped.datasets()), ", ".join(shipped.datasets()))
    for verb in (["train", "daiyu", "dataset=fairytail", "model=tiny"], ["check", "fairytail", "model=tiny"]):
        for language, known in zip(("zh", "en"), names, strict=True):
            called = call(*verb, language=language)
            assert (called.code, called.err.count("\n")) == (3, 1)
            assert "fairytail" in called.err
            assert known in called.err


def test_a_path_that_is_not_there_is_not_taken_for_a_name() -> None:
    for written in ("fairytale.json", "rows/fairytale", "故事.csv"):
        assert dataset_path(written) == Path(written)


def test_a_file_or_folder_of_the_users_own_comes_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert dataset_path("qa") == shipped.datasets()["qa"]
    (folder / "qa").mkdir()
    assert dataset_path("qa") == Path("qa")
    assert from_anywhere("qa") == str(folder.resolve() / "qa")


def test_a_name_can_be_weighted_and_holds_anywhere() -> None:
    assert dataset_path("qa*0.5") == shipped.datasets()["qa"]
    assert from_anywhere("qa*0.5") == "qa*0.5"
    assert from_anywhere("qa") == "qa"


def test_datasets_by_name_mix_with_files(folder: Path) -> None:
    rows = write_rows(folder / "我的.json", [{"instruction": "你好", "input": "", "output": "你也好。"}])
    config = load("qa", {"model": "tiny", "dataset": [str(rows), "qa.heldout*2"]}).config
    files = scan_model(shipped.tiny())
    ready = prepare(config, files, Renderer(files.folder))
    assert ready.table.read == 1 + len(json.loads(shipped.datasets()["qa.heldout"].read_text(encoding="utf-8")))
    assert ready.weights[:2].tolist() == [1.0, 2.0]


# The model


def test_tiny_is_a_model_like_any_other() -> None:
    assert store.locate("tiny") == store.locate("TINY") == Model("tiny", shipped.tiny(), "tiny")
    assert store.on_disk("tiny") == shipped.tiny()
    assert download("tiny", offline=True).path == shipped.tiny()
    files = scan_model(shipped.tiny())
    assert files.raw_config["architectures"] == ["Qwen2ForCausalLM"]
    assert sum(file.stat().st_size for file in shipped.tiny().iterdir()) < 20_000_000


def test_everything_is_found_from_the_projects_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing there is called as a model or a dataset is."""
    monkeypatch.chdir(ROOT)
    assert store.locate("tiny") == Model("tiny", shipped.tiny(), "tiny")
    assert {name: dataset_path(name) for name in shipped.datasets()} == shipped.datasets()


def test_a_folder_of_the_users_own_comes_before_tiny(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "tiny").mkdir()
    assert store.locate("tiny") == Model(str(folder.resolve() / "tiny"), folder.resolve() / "tiny", "folder")


def test_tiny_is_listed_checked_and_stays() -> None:
    listed = call("models", "--json").json["models"]
    assert [(each["name"], each["source"]) for each in listed][:1] == [("tiny", "tiny")]
    checked = call("models", "tiny", "--verify", "--json")
    assert (checked.code, checked.json["models"][0]["damaged"]) == (0, [])
    assert checked.json["models"][0]["unchecked"] == []
    removed = call("models", "--remove", "tiny", "--yes")
    assert (removed.code, removed.err) == (2, "tiny comes with tonghua and stays\n")
    assert call("models", "--remove", "tiny", "--yes", language="zh").err == "tiny 是 tonghua 自带的，不用删\n"
    assert (shipped.tiny() / "model.safetensors").is_file()


def test_a_copy_of_tiny_is_not_fetched(tmp_path: Path) -> None:
    for act in (lambda: download("tiny", folder=tmp_path / "tiny"), lambda: download("Tiny", folder=tmp_path)):
        with pytest.raises(UsageError) as refused:
            act()
        assert str(shipped.tiny()) in refused.value.text.zh
    assert not (tmp_path / "tiny").exists()


def test_a_damaged_tiny_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "tiny"
    shutil.copytree(shipped.tiny(), copy)
    monkeypatch.setattr(store, "tiny", lambda: copy)
    assert store.on_disk("tiny") == copy
    (copy / "config.json").write_text("{}", encoding="utf-8")
    for act in (lambda: store.on_disk("tiny"), lambda: download("tiny")):
        with pytest.raises(RefusedError) as refused:
            act()
        assert refused.value.text.zh == "模型 tiny 的文件损坏或缺失：config.json；请重新安装 tonghua"


def test_where_a_model_is_not_to_be_had_tiny_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TONGHUA_OFFLINE", "1")
    with pytest.raises(UsageError) as offline:
        download("qwen2.5-0.5b")
    assert offline.value.text.zh.endswith(MEANWHILE.zh)
    assert offline.value.text.en.endswith(MEANWHILE.en)
    monkeypatch.delenv("TONGHUA_OFFLINE")
    for name in ("MODELSCOPE_ENDPOINT", "HF_ENDPOINT"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr(network, "sleep", lambda seconds: None)  # between two attempts
    with pytest.raises(Stopped) as unreachable:
        download("qwen2.5-0.5b", source="modelscope")
    assert unreachable.value.text.zh.endswith(MEANWHILE.zh)
    assert "model=tiny" in MEANWHILE.zh
    assert "model=tiny" in MEANWHILE.en


def test_every_recipe_trains_tiny(tmp_path: Path) -> None:
    for recipe, rows in (("fairytale", "fairytale"), ("daiyu", "daiyu"), ("zhenhuan", "daiyu"), ("qa", "qa")):
        done = call(
            *("train", recipe, "model=tiny", f"dataset={rows}.heldout", "max_steps=1", f"output_dir={tmp_path}"),
            *("per_device_train_batch_size=1", "gradient_accumulation_steps=1", "val_size=2", "--json"),
            "sampling.max_new_tokens=8",
        )
        assert done.code == 0, done.err
        written = yaml.safe_load((Path(done.json["run"]) / "config.yaml").read_text(encoding="utf-8"))
        assert (written["model"], written["dataset"]) == ("tiny", f"{rows}.heldout")


def test_the_template_writes_chatml() -> None:
    renderer = Renderer(shipped.tiny())
    ids = renderer.prompt([Message("system", "你是小助手。"), Message("user", "你好<|im_end|>")])
    text = renderer.plain(ids)
    turns = ("system\n你是小助手。<|im_end|>\n", "user\n你好<|im_end|><|im_end|>\n", "assistant\n")
    assert text == "".join(f"<|im_start|>{turn}" for turn in turns)
    ends = [i for i in ids if i in renderer.stop_ids]
    assert len(ends) == 2  # what the user typed is text
    default = renderer.plain(renderer.prompt([Message("user", "你好")]))
    assert default.startswith("<|im_start|>system\n你是一个乐于助人的助手。<|im_end|>\n")


# The demo

SMALL = ("max_steps=1", "sampling.max_new_tokens=8", "per_device_train_batch_size=2", "eval_dataset=qa.heldout")


def test_the_demo_ends_by_itself(tmp_path: Path) -> None:
    done = spawn("demo", *SMALL, "--json", folder=tmp_path)
    assert done.code == 0, done.err
    found = done.json
    assert len(found["answers"]) == 8
    assert len(found["loss"]["interval"]) == 2
    run = Path(tmp_path / found["run"])
    assert (run / "contract.json").is_file()
    shown = done.err
    for line in (
        f"tonghua chat {quoted(Path(found['run']))}",
        "tonghua train fairytale dataset=",
        "tonghua demo --model qwen2.5-0.5b",
    ):
        assert line in shown
    assert shown.count("【before】") == shown.count("【after】") == 3
    assert "95 % interval" in shown


def test_the_demo_in_chinese_and_on_another_model(tmp_path: Path, tiny_folder: Path) -> None:
    done = call("demo", "--model", tiny_folder, *SMALL, f"output_dir={tmp_path}", language="zh")
    assert done.code == 0, done.err
    assert done.err.count("【训练前】") == done.err.count("【训练后】") == 3
    run = next(tmp_path.glob("demo-*"))
    written = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    assert (written["learning_rate"], written["dataset"]) == (2e-4, "fairytale")


class Person(io.StringIO):
    """A terminal with somebody in front of it."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stdin", "stdout", "talks"), [(Person, Person, True), (io.StringIO, Person, False)])
def test_the_demo_talks_where_a_person_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stdin: type[io.StringIO], stdout: type[io.StringIO], talks: bool
) -> None:
    typed, shown, told = stdin("你好\nexit\n"), stdout(), io.StringIO()
    monkeypatch.setattr(sys, "argv", ["tonghua", "demo", *SMALL, f"output_dir={tmp_path}"])
    monkeypatch.setattr(sys, "stdin", typed)
    with redirect_stdout(shown), redirect_stderr(told), pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code
    assert ("exit leaves" in told.getvalue()) is talks
    assert (typed.read() == "") is talks
    assert bool(shown.getvalue().strip()) is talks


def test_side_by_side_has_two_columns_where_there_is_room() -> None:
    for columns, beside in ((100, True), (40, False)):
        out = io.StringIO()
        screen = Screen("zh", Console(file=out, width=columns, force_terminal=True, no_color=True))
        screen.side_by_side("讲个故事", "甲" * 30, "乙" * 30)
        assert any("甲" in line and "乙" in line for line in out.getvalue().splitlines()) is beside
        assert out.getvalue().count("甲") == out.getvalue().count("乙") == 30


def test_the_demo_takes_settings_and_nothing_else() -> None:
    refused = call("demo", "qwen2.5-0.5b", language="zh")
    assert (refused.code, refused.err) == (2, "demo 后面不写 qwen2.5-0.5b；换模型请写 --model qwen2.5-0.5b\n")
    missing = call("demo", "model=qwen2.5-0.5b", "--offline", *SMALL)
    assert (missing.code, "Qwen/Qwen2.5-0.5B-Instruct is not on this machine" in missing.err) == (2, True)
    called = call("demo", "--model", "qwen2.5-0.5b", "--offline", *SMALL)
    assert (called.code, "model=tiny" in called.err) == (2, True)


def test_wishes_of_the_demo_are_not_learned() -> None:
    def wishes(name: str) -> set[str]:
        return {row["instruction"] for row in json.loads(shipped.datasets()[name].read_text(encoding="utf-8"))}

    config = load("demo").config
    assert not wishes(str(config.dataset)) & wishes(str(config.eval_dataset))
