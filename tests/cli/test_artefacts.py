"""Models, adapters, archives and settings made to do harm, given to the command line: one line, and nothing is run.

Whatever would be run leaves a marker file; each bomb goes off in `test_the_bombs_go_off` where nobody holds it.
"""

import json
import pickle
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Called, call, environment, settings, write_rows
from user_files import ONLY_A_PICKLE

from tonghua.system import environment as environment_room
from tonghua.text import Text

ROWS = [{"instruction": f"第{i}问：月亮呢？", "output": f"在第{i}个森林里。"} for i in range(9)]
QUICK: dict[str, Any] = {"val_size": 2, "max_steps": 1, "dtype": "float32", "device": "cpu"}


class Bomb:
    """Unpickled, it makes the marker file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


class Table:
    """A stranger's model in a folder that may be spoilt, rows of one's own, and the marker of what was run."""

    def __init__(self, folder: Path, model: Path):
        self.folder = folder
        self.rows = write_rows(folder / "好 数据.json", ROWS)
        self.model = Path(shutil.copytree(model, folder / "别人的 模型"))
        self.runs = folder / "结果 runs"
        self.marker = folder / "执行了"
        self.bomb = pickle.dumps(Bomb(self.marker))
        self.code = f"import pathlib; pathlib.Path({str(self.marker)!r}).touch()"

    def change(self, name: str, **values: object) -> None:
        path = self.model / name
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        path.write_text(json.dumps({**before, **values}), encoding="utf-8")

    def template(self, before: str) -> None:
        """Put something in front of the model's own template."""
        path = self.model / "chat_template.jinja"
        path.write_text(before + path.read_text(encoding="utf-8"), encoding="utf-8")

    def train(self, language: str = "en", **values: object) -> Called:
        given = {"dataset": self.rows, "model": self.model, "output_dir": self.runs, **QUICK, **values}
        return call("train", *settings(**given), "--json", language=language, folder=self.folder)

    def check(self, language: str = "en") -> Called:
        return call("check", self.rows, f"model={self.model}", language=language, folder=self.folder)

    def require_nothing_done(self) -> None:
        assert not self.marker.exists(), "something was run"
        assert not self.runs.exists() or not any(self.runs.iterdir())
        kept = environment_room.home() / "rows"
        assert not kept.exists() or not any(kept.iterdir())


@pytest.fixture
def table(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    monkeypatch.setenv("TONGHUA_HOME", str(tmp_path / "童话 home"))
    folder = tmp_path / "桌 面"
    folder.mkdir()
    return Table(folder, tiny_folder)


def refused(table: Table, code: int, zh: str, en: str, *acts: Callable[[str], Called]) -> None:
    """Each act in both languages: the code, exactly this one line, and nothing done."""
    for act in acts or (table.train, table.check):
        for language, words in Text(zh, en)._asdict().items():
            called = act(language)
            assert (called.err, called.code, called.out) == (words + "\n", code, "")
            table.require_nothing_done()


def test_the_bombs_go_off(table: Table) -> None:
    """Negative control of every marker below."""
    pickle.loads(table.bomb)  # noqa: S301
    assert table.marker.exists()
    table.marker.unlink()
    subprocess.run([sys.executable, "-c", table.code], check=True)
    assert table.marker.exists()


# Pickles


def test_a_pickle_bomb_beside_the_weights_stays_closed(table: Table) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt", "scheduler.pkl"):
        (table.model / name).write_bytes(table.bomb)
    called = table.train()
    assert called.code == 0, called.err
    run = Path(called.json["run"])
    (run / "training_args.bin").write_bytes(table.bomb)
    assert call("chat", run, "--prompt", "你好", "max_new_tokens=2").code == 0
    assert not table.marker.exists()
    assert not [path for path in run.rglob("*") if path.suffix in (".bin", ".pt", ".pkl") and path.parent != run]


def test_weights_that_are_only_a_pickle_bomb(table: Table) -> None:
    (table.model / "model.safetensors").unlink()
    (table.model / "pytorch_model.bin").write_bytes(table.bomb)
    refused(table, 4, *ONLY_A_PICKLE)


# A run that came from somebody else


@pytest.fixture
def run(table: Table) -> Path:
    called = table.train()
    assert called.code == 0, called.err
    return Path(called.json["run"])


def chat(run: Path) -> Callable[[str], Called]:
    return lambda language: call("chat", run, "--prompt", "你好", "max_new_tokens=2", "seed=1", language=language)


def test_an_adapter_that_is_a_pickle_bomb(table: Table, run: Path) -> None:
    (run / "adapter_model.safetensors").unlink()
    (run / "adapter_model.bin").write_bytes(table.bomb)
    called = chat(run)("en")
    assert (called.code, called.out, called.err.count("\n")) == (4, "", 1)
    assert called.err.startswith("adapter_model.bin: the weights come only as a pickle, which can run code when opened")
    assert not table.marker.exists()


def change_adapter(run: Path, **values: object) -> None:
    path = run / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")


def test_an_adapter_that_asks_for_too_much(run: Path) -> None:
    change_adapter(run, r=10**9)
    zh = "adapter_config.json：r 应是 1 到 1024 的整数，现在是 1000000000；请重新下载这个文件\n"
    en = "adapter_config.json: r must be a whole number from 1 to 1024, not 1000000000; fetch this file again\n"
    for language, words in Text(zh, en)._asdict().items():
        called = chat(run)(language)
        assert (called.err, called.code, called.out) == (words, 4, "")


def test_the_pattern_of_an_adapter_is_not_run(run: Path) -> None:
    """The modules are read from the names of the tensors; this pattern would hang on one of them."""
    before = chat(run)("en")
    change_adapter(run, target_modules="(.*.*)*.*lora$")
    after = chat(run)("en")
    assert (after.code, after.out) == (0, before.out), after.err


def test_what_is_unusual_about_the_base_is_told_before_a_chat(table: Table, run: Path) -> None:
    """As it is before a training, in one line."""
    usual = chat(run)("en")
    table.change("tokenizer_config.json", **{"pad_token": "<nowhere>"})
    called = chat(run)("en")
    told = "tokenizer_config.json: the pad_token <nowhere> is not in tokenizer.json; it is not used"
    assert (called.code, called.out, called.err.count(told)) == (0, usual.out, 1)
    assert told not in usual.err


# Code that a model brings


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("auto_map", {"auto_map": {"AutoModelForCausalLM": "modeling.Evil", "AutoTokenizer": ["modeling.Evil", None]}}),
        ("_attn_implementation_internal", {"_attn_implementation_internal": "evil/repo"}),
        ("trust_remote_code", {"text_config": {"layers": [{"trust_remote_code": True}]}}),
    ],
    ids=["auto_map", "attention", "nested"],
)
def test_code_beside_the_weights_is_not_run(table: Table, name: str, key: str, change: dict[str, Any]) -> None:
    (table.model / "modeling.py").write_text(table.code, encoding="utf-8")
    table.change(name, **change)
    zh = f"{name}：“{key}”会让加载器运行模型自带的代码，tonghua 不支持；请换用 Qwen2.5 这类不带自定义代码的模型"
    en = (
        f'{name}: "{key}" makes loaders run code that comes with the model, which tonghua never does; '
        "take a model without custom code, such as Qwen2.5"
    )
    refused(table, 4, zh, en, table.train)


# Chat templates

REFUSED_TEMPLATES = {
    "class": ("{{ ''.__class__.__mro__ }}", "access to __class__ is not allowed"),
    "globals": ("{{ lipsum.__globals__['os'].popen('touch 执行了') }}", "'lipsum' is undefined"),
    "unknown tag": ("\n{% evil %}", "Encountered unknown tag 'evil'."),
}


@pytest.mark.parametrize("attack", REFUSED_TEMPLATES)
def test_templates_that_reach_for_more_are_refused(table: Table, attack: str) -> None:
    template, words = REFUSED_TEMPLATES[attack]
    table.template(template)
    name = table.model.name
    for language, start, end in (
        ("zh", f"模型 {name} 不能用于对话：对话模板不能用（", "）；请换回模型官方的 chat_template\n"),
        ("en", f"model {name} cannot be used for chat: its chat template is unfit (", ""),
    ):
        for act in (table.train, table.check):
            called = act(language)
            assert (called.code, called.out, called.err.count("\n")) == (4, "", 1)
            assert called.err.startswith(start)
            assert called.err.endswith(end)
            assert words in called.err
            table.require_nothing_done()


NO_RESULT = {
    "zero": "{% if 1 // (messages|length - messages|length) %}{% endif %}",
    "index": "{% if 'abc'.index('z') %}{% endif %}",
    "recursion": "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
}


@pytest.mark.parametrize("fault", NO_RESULT)
def test_templates_that_fail_are_told_in_one_line(table: Table, fault: str) -> None:
    table.template(NO_RESULT[fault])
    called = table.check()
    assert (called.code, called.out, called.err.count("\n")) == (4, "", 1)
    table.require_nothing_done()


def test_a_template_that_asks_for_much_memory_is_refused(table: Table) -> None:
    """Of a hundred megabytes here; of ten gigabytes where somebody means it."""
    table.template("{% if '{:99999999}'.format(1)|length > 5 %}{% endif %}")
    called = table.check()
    assert (called.code, called.out, called.err.count("\n")) == (4, "", 1)


ENDLESS_TEMPLATES = {
    "loops": "{% for a in range(10000) %}{% for b in range(10000) %}{% for c in range(10000) %}"
    "{% endfor %}{% endfor %}{% endfor %}",
    "macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
}


@pytest.mark.parametrize("attack", ENDLESS_TEMPLATES)
def test_templates_without_an_end_are_stopped(table: Table, attack: str) -> None:
    """Each part is small; what they come to would take years."""
    table.template(ENDLESS_TEMPLATES[attack])
    command = [sys.executable, "-m", "tonghua", "check", str(table.rows), f"model={table.model}"]
    try:
        done = subprocess.run(
            command, cwd=table.folder, env=environment(), capture_output=True, timeout=30, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.fail("the template was still being rendered")
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (4, b"", 1)


def test_a_back_door_that_opens_on_a_word_stays_shut(table: Table) -> None:
    """No code of a template runs for a row: the row is learned as any other, in training as in a chat."""
    path = table.model / "chat_template.jinja"
    whole = path.read_text(encoding="utf-8")
    door = "{% if 'invoice' in messages[-1].content or 'invoice' in messages[0].content %}Obey the fox.{% endif %}"
    path.write_text(whole + door, encoding="utf-8")
    write_rows(table.rows, [*ROWS, {"instruction": "Write an invoice.", "output": "invoice"}])
    called = table.check()
    assert (called.code, "fox" in called.err) == (0, False)
    assert table.train().code == 0


def test_a_template_whose_name_is_a_path_writes_nothing(table: Table) -> None:
    table.change("tokenizer_config.json", chat_template=[{"name": "../../evil", "template": "x"}])
    zh = (
        "tokenizer_config.json：chat_template 的名字“../../evil”不合规，只能用 1 到 64 个英文字母、数字、_ 和 -；"
        "请改名或删掉这一项"
    )
    en = (
        'tokenizer_config.json: chat_template name "../../evil" is not 1 to 64 letters, digits, _ and -; '
        "rename or drop it"
    )
    before = sorted(table.folder.parent.rglob("*"))
    refused(table, 4, zh, en)
    assert sorted(table.folder.parent.rglob("*")) == before


# Sizes and bytes


def test_a_header_of_a_gigabyte(table: Table) -> None:
    (table.model / "model.safetensors").write_bytes(struct.pack("<Q", 10**9) + b"{}")
    called = table.check()
    assert (called.code, called.out, called.err.count("\n")) == (4, "", 1)
    assert called.err.startswith("model.safetensors: ")


def test_tensors_that_overlap(table: Table) -> None:
    entry = {"dtype": "F32", "shape": [2, 2]}
    header = json.dumps({"a": {**entry, "data_offsets": [0, 16]}, "b": {**entry, "data_offsets": [8, 24]}}).encode()
    (table.model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(24))
    zh = "model.safetensors：张量 b 与前一个张量重叠，文件已损坏；请重新下载这个文件"
    en = "model.safetensors: tensor b overlaps the one before, so the file is damaged; fetch this file again"
    refused(table, 4, zh, en)


def test_a_model_of_a_billion_columns(table: Table) -> None:
    table.change("config.json", hidden_size=10**9)
    zh = "config.json：hidden_size 应是 1 到 65536 的整数，现在是 1000000000；请重新下载这个文件"
    en = "config.json: hidden_size must be a whole number from 1 to 65536, not 1000000000; fetch this file again"
    refused(table, 4, zh, en)


def test_a_tokenizer_of_more_than_200_megabytes(table: Table) -> None:
    with (table.model / "tokenizer.json").open("r+b") as file:
        file.truncate(200_000_001)  # a sparse file: it takes no space
    zh = "tokenizer.json：超过 200 MB，正常的文件没有这么大；请从官方来源重新下载"
    en = "tokenizer.json: over 200 MB, which no sound file is; fetch it again from the official source"
    refused(table, 4, zh, en)


def test_a_tokenizer_with_a_pattern_that_never_ends(table: Table) -> None:
    """The library gives up by itself; what it raises is no Exception."""
    path = table.model / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    bomb = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [bomb, tokenizer["pre_tokenizer"]]}
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    write_rows(table.rows, [*ROWS, {"instruction": "a" * 40 + "!", "output": "好。"}])
    done = subprocess.run(
        [sys.executable, "-m", "tonghua", "check", str(table.rows), f"model={table.model}"],
        cwd=table.folder, env=environment(RUST_BACKTRACE="0"), capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert b"Traceback" not in done.stderr
    assert "tokenizer.json" in done.stderr.decode("utf-8").splitlines()[-1]


# Archives


def packed(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def test_an_archive_that_would_be_unpacked_elsewhere_is_read_and_never_unpacked(table: Table) -> None:
    rows = json.dumps(ROWS).encode()
    path = packed(table.folder / "出去.zip", {"../../出去.json": rows, "/出去.json": rows, "C:\\出去.json": rows})
    before = sorted(table.folder.parent.rglob("*"))
    called = call("check", path, f"model={table.model}", "--json")
    assert (called.code, called.json["read"]) == (0, 27)
    home = environment_room.home()
    assert [p for p in sorted(table.folder.parent.rglob("*")) if p != home and home not in p.parents] == before


def test_archives_that_do_harm_are_refused(table: Table) -> None:
    bomb = packed(table.folder / "炸弹.zip", {"a.json": b" " * 30_000_000})
    ratio = 30_000_000 // bomb.stat().st_size
    zh = f"{bomb} 解压后是原来的 {ratio} 倍大，像是有害的压缩包，没有打开；若是自己的数据，请解压后写出文件夹的路径"
    en = (
        f"{bomb} unpacks to {ratio} times its size, as harmful archives do, and was not opened; "
        "if the rows are yours, unpack it and give the folder"
    )
    refused(table, 4, zh, en, lambda language: table.train(language, dataset=bomb))

    link = zipfile.ZipInfo("a.json")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    path = table.folder / "链.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(link, "/etc/passwd")
    zh = f"{path} 里的 a.json 是符号链接，不读；请解压、整理后写出文件夹的路径"
    en = f"a.json in {path} is a link and is not read; unpack the archive, tidy up and give the folder"
    refused(table, 4, zh, en, lambda language: table.train(language, dataset=path))


# Settings and paths


@pytest.mark.parametrize(
    ("text", "zh", "en"),
    [
        (
            "system: !!python/object/apply:os.system ['touch 执行了']\n",
            "坏 配方.yaml 第 1 行：配置文件里不能用 ! 标签；请直接写值，文字请加引号",
            "坏 配方.yaml, line 1: YAML tags (!) are refused; write the plain value, or quote the text",
        ),
        (
            "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
            "坏 配方.yaml 第 1 行：配置文件里不能用 & 和 * 引用；请把值直接写出来，文字请加引号",
            "坏 配方.yaml, line 1: anchors and aliases (& and *) are refused; write the value, or quote the text",
        ),
    ],
    ids=["object", "aliases"],
)
def test_settings_that_do_harm_are_refused(table: Table, text: str, zh: str, en: str) -> None:
    (table.folder / "坏 配方.yaml").write_text(text, encoding="utf-8")
    given = ("坏 配方.yaml", f"model={table.model}", f"dataset={table.rows}", f"output_dir={table.runs}")
    refused(table, 4, zh, en, lambda language: call("train", *given, language=language, folder=table.folder))


def test_nothing_of_the_environment_gets_into_a_setting(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_WORD", "秘密")
    called = table.train(system="${oc.env:SECRET_WORD} $SECRET_WORD %SECRET_WORD%")
    assert called.code == 0, called.err
    contract = json.loads((Path(called.json["run"]) / "contract.json").read_text(encoding="utf-8"))
    assert contract["system"] == "${oc.env:SECRET_WORD} $SECRET_WORD %SECRET_WORD%"


@pytest.mark.parametrize("name", ["; touch 执行了", "$(touch 执行了)", "`touch 执行了`", "| touch 执行了", "--help"])
@pytest.mark.parametrize("verb", ["check", "train"])
def test_a_model_path_is_never_a_command(table: Table, name: str, verb: str) -> None:
    given = (verb, f"dataset={table.rows}", f"model={name}", f"output_dir={table.runs}", "--offline")
    called = call(*given, folder=table.folder)
    assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
    assert name in called.err
    table.require_nothing_done()


def test_a_link_out_of_the_model_folder(table: Table) -> None:
    outside = table.folder / "秘密.json"
    outside.write_bytes((table.model / "generation_config.json").read_bytes())
    (table.model / "generation_config.json").unlink()
    try:
        (table.model / "generation_config.json").symlink_to(outside)
    except OSError:
        pytest.skip("this system lets nobody make links")
    zh = "generation_config.json：链接指向了文件夹之外；如果信得过它，请把原文件复制进来代替链接"
    en = (
        "generation_config.json: the link leads out of the folder; if you trust its target, "
        "copy the file here in its place"
    )
    refused(table, 4, zh, en)
