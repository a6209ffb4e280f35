"""What a name means, where models are found, and what must not be taken for one."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from hub_server import MODEL, model_files

from tonghua.errors import RefusedError, UsageError, UserError
from tonghua.models import hubs, store
from tonghua.models.hubs import sources
from tonghua.models.manifest import FileRecord, Manifest, Model, sha256_of, write_manifest
from tonghua.system import environment

WEIGHTS = "model.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 988097824\n" % (b"a" * 64)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home and empty caches; where the program stands, nothing has the name of a model."""
    for name in ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT", "HF_TOKEN", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TONGHUA_HOME", str(tmp_path / "家 home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf 缓存"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(tmp_path / "ms 缓存"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(folder: Path, files: dict[str, bytes] | None = None) -> Path:
    folder.mkdir(parents=True)
    for name, content in (files or model_files(4096)).items():
        (folder / name).write_bytes(content)
    return folder


def put_own(name: str = MODEL) -> Path:
    folder = put(store.folder_of(name))
    files = {file.name: FileRecord(file.stat().st_size, sha256_of(file)) for file in folder.iterdir()}
    write_manifest(folder, Manifest(name, "modelscope", "master", files))
    return folder


def put_hugging_face(places: Path, revision: str = "c0ffee", files: dict[str, bytes] | None = None) -> Path:
    """The layout of huggingface_hub: links into blobs that are named by their hash."""
    repository = places / "hf 缓存" / f"models--{MODEL.replace('/', '--')}"
    snapshot = repository / "snapshots" / revision
    (repository / "blobs").mkdir(parents=True, exist_ok=True)
    snapshot.mkdir(parents=True)
    for name, content in (files or model_files(4096)).items():
        git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        digest = hashlib.sha256(content).hexdigest() if name == WEIGHTS else git
        (repository / "blobs" / digest).write_bytes(content)
        try:
            (snapshot / name).symlink_to(Path("..", "..", "blobs", digest))
        except OSError:
            pytest.skip("this system makes no links")
    return snapshot


def refused(kind: type[UserError], model: str | None, zh: str, en: str) -> None:
    with pytest.raises(kind) as caught:
        store.find(model)
    assert (caught.value.text.zh, caught.value.text.en) == (zh, en)


# Names


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("qwen2.5-0.5b", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct"),
        ("qwen2.5-3b", "Qwen/Qwen2.5-3B-Instruct"),
        ("qwen2.5-7b", "Qwen/Qwen2.5-7B-Instruct"),
        ("qwen3-0.6b", "Qwen/Qwen3-0.6B"),
        ("qwen3-1.7b", "Qwen/Qwen3-1.7B"),
        ("qwen3-4b", "Qwen/Qwen3-4B"),
        ("qwen3-8b", "Qwen/Qwen3-8B"),
        ("qwen/qwen2.5-0.5b-instruct", "Qwen/Qwen2.5-0.5B-Instruct"),
        ("some_one/my.model-v2", "some_one/my.model-v2"),
    ],
)
def test_names(name: str, repository: str) -> None:
    assert hubs.repository(name) == repository


NO_NAMES = [
    *("--help", ";rm -rf /", "$(reboot)", "`id`", "../x", "a/..", "../a", "a/b/c", "/etc/passwd", "a//b", "/a"),
    *(
        "C:\\x",
        "a\\b",
        "a/b\n",
        "a/b ",
        "~nobody-at-all/x",
        "\0",
        "a/\0",
        "-a/b",
        ".a/b",
        "a/b.",
        "a" * 5000,
        "模型/甲",
    ),
]


@pytest.mark.parametrize("text", NO_NAMES)
def test_what_is_no_name_is_data(text: str, places: Path) -> None:
    assert hubs.repository(text) is None
    for act in (store.find, store.on_disk, store.locate, store.remove):
        with pytest.raises(UsageError, match="there is no model folder"):
            act(text)
    assert list(places.iterdir()) == []


def test_the_message_for_what_is_no_name() -> None:
    zh = "找不到模型文件夹 ../x；请检查路径，或写模型的名字，例如 qwen2.5-0.5b"
    en = "there is no model folder ../x; check the path, or write a model's name, such as qwen2.5-0.5b"
    refused(UsageError, "../x", zh, en)
    zh = "找不到模型文件夹 qwen-3-4b；请检查路径，或写模型的名字，例如 qwen3-4b"
    en = "there is no model folder qwen-3-4b; check the path, or write a model's name, such as qwen3-4b"
    refused(UsageError, "qwen-3-4b", zh, en)


@pytest.mark.parametrize("model", [None, ""])
def test_no_model_named(model: str | None) -> None:
    zh, en = "没有指定模型；请写 model=模型文件夹", "no model is named; write model=FOLDER of a model"
    refused(UsageError, model, zh, en)


# Places


def test_a_folder_comes_before_a_name(places: Path) -> None:
    put_own()
    folder = put(places / "qwen2.5-0.5b")
    assert store.find("qwen2.5-0.5b") == folder
    assert store.locate(str(folder)) == Model(str(folder), folder, "folder")


def test_own_models_come_before_caches(places: Path) -> None:
    assert store.on_disk("qwen2.5-0.5b") is None
    snapshot = put_hugging_face(places)
    assert store.find("qwen2.5-0.5b") == snapshot
    own = put_own()
    assert store.find("qwen2.5-0.5b") == own


@pytest.mark.parametrize(
    "layout",
    [
        "models/Qwen--Qwen2.5-0.5B-Instruct/snapshots/master",
        "models/Qwen/Qwen2___5-0___5B-Instruct",
        "hub/models/Qwen/Qwen2___5-0___5B-Instruct",
        "Qwen/Qwen2___5-0___5B-Instruct",
        "hub/Qwen/Qwen2.5-0.5B-Instruct",
        "models/Qwen/Qwen2.5-0.5B-Instruct",
    ],
)
def test_every_layout_of_modelscope(places: Path, layout: str) -> None:
    folder = put(places / "ms 缓存" / layout)
    assert store.find("qwen2.5-0.5b") == folder
    assert store.locate(MODEL) == Model(MODEL, folder, "modelscope")
    assert store.models() == [Model(MODEL, folder, "modelscope")]


def test_the_revision_that_main_means_is_taken(places: Path) -> None:
    old, new = put_hugging_face(places, "old"), put_hugging_face(places, "new")
    os.utime(old, (1, 1))
    assert store.find(MODEL) == new
    refs = old.parent.parent / "refs"
    refs.mkdir()
    (refs / "main").write_text("old", encoding="utf-8")
    assert store.find(MODEL) == old


@pytest.mark.parametrize("fault", ["cut", "pointer", "gone", "shard", "tokenizer"])
def test_a_half_download_of_another_program_is_not_used(places: Path, fault: str) -> None:
    files = model_files(4096)
    if fault == "cut":
        files[WEIGHTS] = files[WEIGHTS][:-1]
    elif fault == "pointer":
        files[WEIGHTS] = POINTER
    elif fault == "gone":
        del files[WEIGHTS]
    elif fault == "shard":
        placed = {"w": WEIGHTS, "x": "model-00002-of-00002.safetensors"}
        files["model.safetensors.index.json"] = json.dumps({"weight_map": placed}).encode()
    else:
        del files["tokenizer.json"]
    put(places / "ms 缓存" / "models" / "Qwen" / "Qwen2___5-0___5B-Instruct", files)
    assert store.on_disk(MODEL) is None
    assert store.models() == []


def test_where_models_are_kept(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.folder_of(MODEL) == places / "家 home" / "models" / "Qwen--Qwen2.5-0.5B-Instruct"
    monkeypatch.delenv("TONGHUA_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(places / "data"))
    monkeypatch.setenv("LOCALAPPDATA", str(places / "data"))
    for system, home in (
        ("linux", places / "data" / "tonghua"),
        ("win32", places / "data" / "tonghua"),
        ("darwin", Path.home() / "Library" / "Application Support" / "tonghua"),
    ):
        monkeypatch.setattr(sys, "platform", system)
        assert environment.home() == home


# What is no model


def test_git_lfs_pointers_are_explained(places: Path) -> None:
    folder = put(places / "克隆", model_files() | {WEIGHTS: POINTER})
    zh = (
        f"{folder} 里的 model.safetensors 只是 Git LFS 指针，内容（988 MB）还没有下载；"
        "请在这个文件夹里依次运行 git lfs install 和 git lfs pull"
    )
    en = (
        f"model.safetensors in {folder} are mere Git LFS pointers, the content (988 MB) is missing; "
        "run git lfs install and then git lfs pull in that folder"
    )
    refused(RefusedError, str(folder), zh, en)


def test_an_unfinished_download_is_no_model_even_by_its_path() -> None:
    folder = put_own()
    (folder / "MANIFEST.json").rename(folder / "MANIFEST.json.part")
    zh = f"{folder} 里的模型还没有下载完；请再运行一次 tonghua download，会从断开的地方继续"
    en = f"the download into {folder} is not finished; run tonghua download again, which resumes where it stopped"
    refused(UsageError, str(folder), zh, en)
    assert store.on_disk(MODEL) is None


def test_a_model_of_its_own_that_lost_bytes_is_refused() -> None:
    folder = put_own()
    assert store.find(MODEL) == folder
    (folder / WEIGHTS).write_bytes(b"short")
    (folder / "config.json").write_bytes(b'{"model_type": "qwen3"}\n')
    zh = f"模型 {MODEL} 的文件损坏或缺失：config.json, {WEIGHTS}；请运行 tonghua download {MODEL}，只会重新下载坏的文件"
    en = (
        f"files of the model {MODEL} are damaged or missing: config.json, {WEIGHTS}; "
        f"run tonghua download {MODEL}, which fetches only the damaged files again"
    )
    with pytest.raises(RefusedError) as caught:
        store.find(MODEL)
    assert sorted(caught.value.text.zh.split("：")[1]) == sorted(zh.split("：")[1])
    assert sorted(caught.value.text.en) == sorted(en)


# Verify, list, remove


def test_verify_finds_a_flipped_bit_that_sizes_do_not_show(places: Path) -> None:
    own, snapshot = put_own(), put_hugging_face(places)
    for model in (Model(MODEL, own, "tonghua"), Model(MODEL, snapshot, "huggingface")):
        assert store.verify(model).damaged == ()
        file = (model.path / WEIGHTS).resolve()
        file.write_bytes(file.read_bytes()[:-1] + b"?")
        assert store.verify(model).damaged == (WEIGHTS,)
    assert store.find(MODEL) == own


def test_verify_of_a_folder_says_what_it_cannot_know(places: Path) -> None:
    folder = put(places / "模型")
    found = store.verify(Model(str(folder), folder, "folder"))
    assert found.damaged == ()
    assert set(found.unchecked) == set(model_files())
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])
    assert store.verify(Model(str(folder), folder, "folder")).damaged == (WEIGHTS,)


def test_models_lists_each_once_with_its_size(places: Path) -> None:
    own, other = put_own(), put_own("some_one/my--model")
    put_hugging_face(places)
    (environment.home() / "models" / "half--done").mkdir()
    (environment.home() / "models" / "..--x").mkdir()
    assert store.models() == [Model(MODEL, own, "tonghua"), Model("some_one/my--model", other, "tonghua")]
    size = sum(map(len, model_files(4096).values())) + (own / "MANIFEST.json").stat().st_size
    assert store.models()[0].size_bytes == size


def test_remove_frees_its_own_and_nothing_else(places: Path) -> None:
    folder, other = put_own(), put_own("some_one/my.model")
    size = store.models()[0].size_bytes
    assert store.remove("qwen2.5-0.5b") == size
    assert not folder.exists()
    assert other.is_dir()
    with pytest.raises(UsageError, match="is not on this machine"):
        store.remove("qwen2.5-0.5b")


def test_remove_leaves_the_caches_of_others_alone(places: Path) -> None:
    snapshot = put_hugging_face(places)
    with pytest.raises(UsageError) as caught:
        store.remove(MODEL)
    assert caught.value.text == (
        f"{MODEL} 在 huggingface 的缓存里，不归 tonghua 管；要删除请自己删掉文件夹 {snapshot}",
        f"{MODEL} lies in the cache of huggingface, which is not tonghua's; to remove it, delete {snapshot}",
    )
    assert store.find(MODEL) == snapshot


def test_remove_takes_no_folder(places: Path) -> None:
    folder = put(places / "模型")
    with pytest.raises(UsageError, match="there is no model folder"):
        store.remove(str(folder))
    assert (folder / WEIGHTS).is_file()


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"model": "a/b", "source": "s", "revision": "r", "files": {}}',
        '{"model": "a/b", "source": "s", "revision": "r", "files": {"../x": {"size": 1, "sha256": "%s"}}}' % ("0" * 64),
        '{"model": "a/b", "source": "s", "revision": "r", "files": {"x": {"size": 1, "sha256": "?"}}}',
        '{"model": "a/b", "source": "s", "revision": "r", "files": {"x": 1}}',
    ],
)
def test_a_damaged_manifest_is_refused(text: str) -> None:
    folder = put_own()
    (folder / "MANIFEST.json").write_text(text, encoding="utf-8")
    with pytest.raises(RefusedError, match="is not a whole manifest"):
        store.find(MODEL)


# Sources


def test_the_sources_and_what_the_environment_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = [("modelscope", "https://modelscope.cn"), ("huggingface", "https://huggingface.co")]
    assert [(s.name, s.endpoint) for s in sources()] == [*usual, ("mirror", "https://hf-mirror.com")]
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert [s.token for s in sources()] == [None, "hf_secret", None]
    monkeypatch.setenv("HF_ENDPOINT", "https://hf-mirror.com/")
    monkeypatch.setenv("MODELSCOPE_ENDPOINT", "www.modelscope.ai")
    found = [(s.title, s.endpoint, s.token) for s in sources()]
    assert found == [
        ("ModelScope", "https://www.modelscope.ai", None),
        ("hf-mirror", "https://hf-mirror.com", None),
    ]


def test_a_source_that_does_not_exist() -> None:
    with pytest.raises(UsageError) as caught:
        sources("github")
    assert caught.value.text == (
        "没有叫 github 的下载源；请写 modelscope、huggingface、mirror 之一",
        "there is no source github; write one of modelscope, huggingface, mirror",
    )


@pytest.mark.parametrize("value", ["http://example.org", "ftp://127.0.0.1", "https://", "http://[", "file:///etc"])
def test_an_endpoint_without_encryption_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", value)
    with pytest.raises(UsageError, match="HF_ENDPOINT must be an https:// address"):
        sources()
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:8000")
    assert sources("huggingface")[0].endpoint == "http://127.0.0.1:8000"
