"""Folders from strangers: what passes the scan, and each fault as one change to a folder that passes.

Folder names have Chinese characters and a space throughout.
"""

import json
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from written_models import (
    CONFIG,
    TEMPLATE,
    Layout,
    declared,
    laid_out,
    make_model,
    tensor_file,
    tensors,
    write_json,
    write_weights,
)

import tonghua.models.scan
from tonghua.errors import RefusedError, UsageError, UserError
from tonghua.models.guarded import read_json
from tonghua.models.model_config import UnsupportedError
from tonghua.models.safetensors_file import TensorEntry, read_header
from tonghua.models.scan import scan_model
from tonghua.models.scan_adapter import scan_adapter

ADAPTER_CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "auto_mapping": None,
    "base_model_name_or_path": "Qwen/Qwen2.5-0.5B-Instruct",
    "bias": "none",
    "fan_in_fan_out": False,
    "init_lora_weights": True,
    "layers_to_transform": None,
    "lora_alpha": 16,
    "lora_dropout": 0.0,
    "modules_to_save": None,
    "r": 2,
    "rank_pattern": {},
    "alpha_pattern": {},
    "target_modules": ["q_proj"],
    "task_type": "CAUSAL_LM",
    "use_dora": False,
    "use_rslora": False,
}
WEIGHTS: Layout = laid_out(tensors(CONFIG))
EMBEDDING, NORM = "model.embed_tokens.weight", "model.norm.weight"
Q_PROJ = "base_model.model.model.layers.0.self_attn.q_proj"
LORA: Layout = {
    f"{Q_PROJ}.lora_A.weight": ("F32", [2, 4], [0, 32]),
    f"{Q_PROJ}.lora_B.weight": ("F32", [4, 2], [32, 64]),
}


FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def shard(folder: Path) -> None:
    """Turn the one weight file into two with an index: the embedding, and all else."""
    (folder / "model.safetensors").unlink()
    all_tensors = tensors(CONFIG)
    first = {EMBEDDING: all_tensors.pop(EMBEDDING)}
    write_weights(folder / FIRST, laid_out(first))
    write_weights(folder / SECOND, laid_out(all_tensors))
    write_index(folder, {EMBEDDING: FIRST} | dict.fromkeys(all_tensors, SECOND))


def write_index(folder: Path, weight_map: object) -> None:
    write_json(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": weight_map})


def make_adapter(folder: Path) -> Path:
    folder.mkdir(parents=True)
    write_json(folder / "adapter_config.json", ADAPTER_CONFIG)
    write_weights(folder / "adapter_model.safetensors", LORA)
    return folder


def link(path: Path, target: Path | str) -> None:
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("this system makes no symbolic links")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "我的 模型")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    return make_adapter(tmp_path / "我的 适配器")


def assert_faulty(scan: Callable[[Path], object], folder: Path, kind: type[UserError], *culprits: str) -> None:
    """The scan raises exactly this kind; both languages name every culprit, in one line."""
    with pytest.raises(UserError) as caught:
        scan(folder)
    assert type(caught.value) is kind
    for text in caught.value.text:
        assert "\n" not in text
        for culprit in culprits:
            assert culprit in text


# ---- what passes -----------------------------------------------------------------------------------------


def test_plain_model_folder_passes(model: Path) -> None:
    files = scan_model(model)
    weights = model / "model.safetensors"
    assert files.folder == model
    assert files.raw_config == CONFIG
    assert files.weight_files == (weights,)
    assert files.tensors == {
        name: TensorEntry(weights, dtype, tuple(shape)) for name, (dtype, shape, _) in WEIGHTS.items()
    }
    assert (files.tied, files.notes) == (True, ())


def test_sharded_model_folder_passes(model: Path) -> None:
    shard(model)
    files = scan_model(model)
    assert files.weight_files == (model / FIRST, model / SECOND)
    assert files.tensors[EMBEDDING] == TensorEntry(model / FIRST, "BF16", (8, 4))
    assert files.tensors[NORM] == TensorEntry(model / SECOND, "F32", (4,))
    assert set(files.tensors) == set(WEIGHTS)


def test_hugging_face_cache_layout_passes(tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--Qwen--小 模型"
    made = make_model(tmp_path / "made")
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, path in enumerate(sorted(made.iterdir())):
        path.rename(repository / "blobs" / f"{number:040x}")
        link(snapshot / path.name, Path("..") / ".." / "blobs" / f"{number:040x}")
    files = scan_model(snapshot)
    assert files.weight_files == (snapshot / "model.safetensors",)
    assert set(files.tensors) == set(WEIGHTS)

    # The fence is the repository: a link to its neighbour is still refused.
    (tmp_path / "hub" / "secret").write_text("{}", encoding="utf-8")
    link(snapshot / "extra.json", Path("..") / ".." / ".." / "secret")
    assert_faulty(scan_model, snapshot, RefusedError, "extra.json")


def test_links_within_a_folder_and_a_linked_folder_pass(model: Path) -> None:
    (model / "model.safetensors").rename(model / "weights-v2.safetensors")
    link(model / "model.safetensors", "weights-v2.safetensors")
    link(model.parent / "latest", model)
    assert set(scan_model(model.parent / "latest").tensors) == set(WEIGHTS)


@pytest.mark.parametrize(
    "change",
    [
        {"auto_map": None, "trust_remote_code": False, "quantization_config": None},
        {"_attn_implementation_autoset": True},
    ],
)
def test_harmless_configs_pass(model: Path, change: dict[str, Any]) -> None:
    write_json(model / "config.json", CONFIG | change)
    assert scan_model(model).raw_config == CONFIG | change


def test_a_pickle_beside_safetensors_passes_and_stays_closed(model: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (model / "pytorch_model.bin").write_bytes(pickle_bomb(marker))
    assert scan_model(model).weight_files == (model / "model.safetensors",)
    assert not marker.exists()


def test_a_folder_without_template_or_generation_config_passes(model: Path) -> None:
    (model / "tokenizer_config.json").unlink()
    (model / "generation_config.json").unlink()
    assert scan_model(model).raw_config == CONFIG


def test_named_templates_and_a_template_file_pass(model: Path) -> None:
    listed = [{"name": "default", "template": TEMPLATE}, {"name": "tool_use", "template": "{{ tools }}"}]
    write_json(model / "tokenizer_config.json", {"chat_template": listed})
    (model / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    assert scan_model(model).raw_config == CONFIG


def test_the_scan_needs_no_torch() -> None:
    code = "import sys, tonghua.models.scan; print(sorted({'torch', 'numpy', 'safetensors'} & set(sys.modules)))"
    root = Path(tonghua.models.scan.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---- folders that are something else ---------------------------------------------------------------------


def test_no_folder(tmp_path: Path) -> None:
    assert_faulty(scan_model, tmp_path / "没有 它", UsageError, "没有 它", "config.json")
    assert_faulty(scan_adapter, tmp_path / "没有 它", UsageError, "没有 它", "adapter_config.json")
    assert_faulty(scan_model, Path("nul\0character"), UsageError, "config.json")


def test_a_path_that_the_system_rejects(tmp_path: Path) -> None:
    assert_faulty(scan_model, tmp_path / ("长" * 5000), UsageError)


def test_a_file_in_place_of_the_folder(model: Path) -> None:
    assert_faulty(scan_model, model / "model.safetensors", UsageError, "model.safetensors", "config.json")
    assert_faulty(scan_adapter, model / "config.json", UsageError, "adapter_config.json")


def test_each_kind_of_folder_given_for_the_other(model: Path, adapter: Path) -> None:
    with pytest.raises(UsageError) as caught:
        scan_model(adapter)
    assert caught.value.text.zh == (
        f"这不是模型文件夹：{adapter} 里只有适配器，没有 config.json；"
        "请给出装有 config.json、tokenizer.json 和 model.safetensors 的文件夹"
    )
    assert caught.value.text.en == (
        f"not a model folder: {adapter} holds an adapter, but no config.json; "
        "give the folder that holds config.json, tokenizer.json and model.safetensors"
    )
    assert_faulty(scan_adapter, model, UsageError, str(model), "adapter_config.json")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert_faulty(scan_model, tmp_path, UsageError, str(tmp_path), "config.json")
    assert_faulty(scan_adapter, tmp_path, UsageError, str(tmp_path), "adapter_config.json")


def test_no_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()
    assert_faulty(scan_model, model, UsageError, str(model), "tokenizer.json")


# ---- config.json -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"auto_map": {"AutoModel": "modeling.Evil"}},
        {"custom_pipelines": {"text-generation": {"impl": "evil.Pipeline"}}},
        {"trust_remote_code": True},
        {"trust_remote_code": "yes"},
        {"_attn_implementation": "evil/repo"},
        {"_attn_implementation_internal": "evil/repo"},
        {"model_file": "modeling.py"},
        {"text_config": {"layers": [{"trust_remote_code": True}]}},
        {"text_config": {"_attn_implementation_internal": "evil/repo"}},
    ],
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_keys_that_bring_code_are_refused_wherever_they_are(model: Path, name: str, change: dict[str, Any]) -> None:
    marker = model / "marker"
    code = f"import pathlib; pathlib.Path({str(marker)!r}).touch()"
    (model / "modeling.py").write_text(code, encoding="utf-8")
    key = next(iter(change))
    if key == "text_config":
        key = "trust_remote_code" if "layers" in change[key] else "_attn_implementation_internal"
    write_json(model / name, (CONFIG if name == "config.json" else {}) | change)
    assert_faulty(scan_model, model, RefusedError, name, key)
    assert not marker.exists()


@pytest.mark.parametrize("value", ["bert", "", None, ["qwen2"], {"qwen2": 1}, 7, "QWEN2"])
def test_model_types_outside_the_list(model: Path, value: object) -> None:
    write_json(model / "config.json", CONFIG | {"model_type": value})
    assert_faulty(scan_model, model, UnsupportedError, "model_type", "qwen2, qwen3, llama, mistral")


def test_a_quantized_model(model: Path) -> None:
    write_json(model / "config.json", CONFIG | {"quantization_config": {"quant_method": "gptq"}})
    assert_faulty(scan_model, model, UnsupportedError, "config.json", "quantization_config")


DAMAGED_JSON = {
    "empty": b"",
    "cut": b'{"model_type": "qwen2"',
    "list": b"[]",
    "number": b"7",
    "utf16": '{"model_type": "qwen2"}'.encode("utf-16"),
    "bytes": b'{"model_type": "\xff"}',
    "twice": b'{"model_type": "qwen2", "model_type": "evil"}',
    "twice_inside": b'{"a": [{"k": 1, "k": 1}]}',
    "nan": b'{"x": NaN}',
    "infinity": b'{"x": -Infinity}',
    "overflow": b'{"x": 1e999}',
    "deep": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "digits": b'{"x": ' + b"9" * 5_000 + b"}",
    "surrogate": b'{"\\ud800": 1}',
    "page": b"<!DOCTYPE html><html>sign in</html>",
    "large": b'{"x": "' + b"a" * 10_000_000 + b'"}',
}


@pytest.mark.parametrize("fault", DAMAGED_JSON)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "model.safetensors.index.json"])
def test_damaged_json(model: Path, name: str, fault: str) -> None:
    (model / name).write_bytes(DAMAGED_JSON[fault])
    assert_faulty(scan_model, model, RefusedError, name)


@pytest.mark.parametrize("fault", sorted(set(DAMAGED_JSON) - {"list", "number"}))
def test_read_json_refuses_damage_by_itself(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "数 据.json"
    path.write_bytes(DAMAGED_JSON[fault])
    with pytest.raises(RefusedError, match=path.stem):
        read_json(path, 10_000_000)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_file_without_permission(model: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_file = Path.open

    def guarded(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == name:
            raise PermissionError(13, "Permission denied")
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    assert_faulty(scan_model, model, RefusedError, name, "Permission denied")


def test_config_over_one_megabyte(model: Path) -> None:
    write_json(model / "config.json", CONFIG | {"padding": "a" * 1_000_000})
    assert_faulty(scan_model, model, RefusedError, "config.json", "1 MB")


def test_read_json_limit_is_exact(tmp_path: Path) -> None:
    path = tmp_path / "数 据.json"
    path.write_text('{"名": 1}', encoding="utf-8")
    size_bytes = path.stat().st_size
    assert read_json(path, size_bytes) == {"名": 1}
    with pytest.raises(RefusedError):
        read_json(path, size_bytes - 1)


def test_read_json_wants_a_plain_file(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="absent"):
        read_json(tmp_path / "absent.json", 100)
    with pytest.raises(RefusedError, match=tmp_path.name):
        read_json(tmp_path, 100)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(model: Path) -> None:
    (model / "config.json").unlink()
    os.mkfifo(model / "config.json")
    assert_faulty(scan_model, model, RefusedError, "config.json")


def test_terminal_codes_in_a_stranger_s_text_are_not_passed_on(model: Path) -> None:
    write_json(model / "config.json", CONFIG | {"model_type": "\x1b[2J\u202egnp" + "a" * 500})
    with pytest.raises(RefusedError) as caught:
        scan_model(model)
    for text in caught.value.text:
        assert "\\x1b[2J\\u202egnp" in text
        assert all(mark.isprintable() for mark in text)
        assert len(text) < 250


# ---- tokenizer and templates in the folder ---------------------------------------------------------------


def test_tokenizer_over_200_megabytes(model: Path) -> None:
    with (model / "tokenizer.json").open("r+b") as file:
        file.truncate(200_000_001)  # a sparse file: it takes no space
    assert_faulty(scan_model, model, RefusedError, "tokenizer.json", "200 MB")


@pytest.mark.parametrize("data", [b"", b"[1]", b"<html>"])
def test_tokenizer_that_is_no_json_object(model: Path, data: bytes) -> None:
    (model / "tokenizer.json").write_bytes(data)
    assert_faulty(scan_model, model, RefusedError, "tokenizer.json")


@pytest.mark.parametrize(
    "name",
    ["../../evil", "", "a" * 65, "a b", "a\n", "名字", "a/b", "C:\\x"],
    ids=lambda name: repr(name)[:12],
)
def test_template_names_that_could_be_paths(model: Path, name: str) -> None:
    write_json(model / "tokenizer_config.json", {"chat_template": [{"name": name, "template": "x"}]})
    assert_faulty(scan_model, model, RefusedError, "tokenizer_config.json", "chat_template")


@pytest.mark.parametrize("value", [7, {"default": "x"}, ["x"], [{"name": "a"}], [{"name": 1, "template": "x"}]])
def test_templates_of_the_wrong_type(model: Path, value: object) -> None:
    write_json(model / "tokenizer_config.json", {"chat_template": value})
    assert_faulty(scan_model, model, RefusedError, "tokenizer_config.json", "chat_template")


def test_templates_over_200_kilobytes(model: Path) -> None:
    (model / "chat_template.jinja").write_text("a" * 200_000, encoding="utf-8")
    scan_model(model)
    (model / "chat_template.jinja").write_text("a" * 200_001, encoding="utf-8")
    assert_faulty(scan_model, model, RefusedError, "chat_template.jinja", "200 kB")
    (model / "chat_template.jinja").unlink()
    write_json(model / "tokenizer_config.json", {"chat_template": "字" * 70_000})
    assert_faulty(scan_model, model, RefusedError, "tokenizer_config.json", "200 kB")


def test_a_template_file_that_is_not_utf8(model: Path) -> None:
    (model / "chat_template.jinja").write_bytes("你好".encode("gbk"))
    assert_faulty(scan_model, model, RefusedError, "chat_template.jinja", "UTF-8")


# ---- which weight files ----------------------------------------------------------------------------------


class Bomb:
    """Unpickled, it makes the marker file."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.marker,))


def pickle_bomb(marker: Path) -> bytes:
    return pickle.dumps(Bomb(marker))


def test_the_bomb_goes_off_when_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle_bomb(tmp_path / "marker"))  # noqa: S301
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.PTH", "last.ckpt"])
def test_only_a_pickle(model: Path, tmp_path: Path, name: str) -> None:
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(pickle_bomb(tmp_path / "marker"))
    assert_faulty(scan_model, model, RefusedError, name, "pickle", "safetensors")
    assert not (tmp_path / "marker").exists()


def test_a_pickle_named_safetensors(model: Path, tmp_path: Path) -> None:
    (model / "model.safetensors").write_bytes(pickle_bomb(tmp_path / "marker"))
    assert_faulty(scan_model, model, RefusedError, "model.safetensors")
    assert not (tmp_path / "marker").exists()


def test_no_weights(model: Path) -> None:
    (model / "model.safetensors").rename(model / "model.gguf")
    assert_faulty(scan_model, model, RefusedError, "model.safetensors")


def test_shards_without_their_index(model: Path) -> None:
    shard(model)
    (model / "model.safetensors.index.json").unlink()
    culprits = ("model.safetensors.index.json", FIRST)
    assert_faulty(scan_model, model, RefusedError, *culprits)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer(model: Path, name: str) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"
    (model / name).write_text(pointer, encoding="utf-8")
    assert_faulty(scan_model, model, RefusedError, name, "git lfs pull")


def test_a_missing_shard(model: Path) -> None:
    shard(model)
    (model / SECOND).unlink()
    assert_faulty(scan_model, model, RefusedError, SECOND, "index.json")


@pytest.mark.parametrize(
    "name",
    [
        "../model.safetensors",
        "..",
        "sub/model.safetensors",
        "sub\\model.safetensors",
        "/etc/passwd",
        "C:model.safetensors",
        "model.safetensors\n",
        "pytorch_model.bin",
        "",
        7,
        None,
    ],
)
def test_an_index_that_leads_elsewhere(model: Path, name: object) -> None:
    shard(model)
    write_weights(model.parent / "model.safetensors", WEIGHTS)
    (model / "sub").mkdir()
    write_weights(model / "sub" / "model.safetensors", WEIGHTS)
    write_index(model, {EMBEDDING: FIRST, "evil.weight": name})
    assert_faulty(scan_model, model, RefusedError, "model.safetensors.index.json", "evil.weight")


@pytest.mark.parametrize("weight_map", [None, {}, [], "x"])
def test_an_index_without_a_map(model: Path, weight_map: object) -> None:
    shard(model)
    write_index(model, weight_map)
    assert_faulty(scan_model, model, RefusedError, "model.safetensors.index.json", "weight_map")


def test_an_index_with_a_tensor_that_its_shard_lacks(model: Path) -> None:
    shard(model)
    write_index(model, {EMBEDDING: FIRST, NORM: SECOND, "c.weight": SECOND})
    assert_faulty(scan_model, model, RefusedError, SECOND, "c.weight")
    write_index(model, {EMBEDDING: SECOND, NORM: FIRST})
    assert_faulty(scan_model, model, RefusedError, SECOND, EMBEDDING)


def test_a_tensor_in_two_shards(model: Path) -> None:
    shard(model)
    write_weights(model / SECOND, WEIGHTS)
    assert_faulty(scan_model, model, RefusedError, FIRST, SECOND, EMBEDDING)


def test_an_index_that_names_the_one_file_passes(model: Path) -> None:
    write_index(model, dict.fromkeys(WEIGHTS, "model.safetensors"))
    assert scan_model(model).weight_files == (model / "model.safetensors",)


def test_two_sets_of_weights(model: Path) -> None:
    shard(model)
    write_weights(model / "model.safetensors", WEIGHTS)
    culprits = ("model.safetensors", "model.safetensors.index.json")
    assert_faulty(scan_model, model, RefusedError, *culprits)


def test_a_weight_file_without_tensors(model: Path) -> None:
    (model / "model.safetensors").write_bytes(tensor_file({}, 0))
    assert read_header(model / "model.safetensors") == {}
    assert_faulty(scan_model, model, RefusedError, "model.safetensors")


# ---- links -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "README.md"])
def test_a_link_that_leads_out(model: Path, name: str) -> None:
    outside = model.parent / "outside"
    outside.write_bytes((model / name).read_bytes() if (model / name).exists() else b"secret")
    (model / name).unlink(missing_ok=True)
    link(model / name, outside)
    assert_faulty(scan_model, model, RefusedError, name)


def test_a_link_to_the_parent_of_a_folder_with_a_similar_name(model: Path) -> None:
    # `模型` is a prefix of `模型-2`: fences are compared by path, not by text.
    neighbour = make_model(model.with_name(model.name + "-2"))
    (model / "model.safetensors").unlink()
    link(model / "model.safetensors", neighbour / "model.safetensors")
    assert_faulty(scan_model, model, RefusedError, "model.safetensors")


@pytest.mark.parametrize(("parent", "store"), [("snapshots", "files"), ("models", "blobs")])
def test_half_a_cache_layout_moves_no_fence(tmp_path: Path, parent: str, store: str) -> None:
    folder = make_model(tmp_path / parent / "我的 模型")
    (tmp_path / store).mkdir()
    (folder / "tokenizer.json").rename(tmp_path / store / "tokenizer")
    link(folder / "tokenizer.json", tmp_path / store / "tokenizer")
    assert_faulty(scan_model, folder, RefusedError, "tokenizer.json")


def test_links_to_nothing_and_in_a_circle(model: Path) -> None:
    link(model / "extra.json", "absent.json")
    assert_faulty(scan_model, model, RefusedError, "extra.json")
    (model / "extra.json").unlink()
    link(model / "extra.json", "extra.json")
    assert_faulty(scan_model, model, RefusedError, "extra.json")


def test_a_link_out_of_an_adapter_folder(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").rename(adapter.parent / "outside")
    link(adapter / "adapter_model.safetensors", adapter.parent / "outside")
    assert_faulty(scan_adapter, adapter, RefusedError, "adapter_model.safetensors")


# ---- safetensors headers ---------------------------------------------------------------------------------


def entry(**change: object) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | change


NO_TENSOR = "model.safetensors"
BROKEN_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", NO_TENSOR),
    "seven_bytes": (b"\x02\0\0\0\0\0\0", NO_TENSOR),
    "header_1_gb": (struct.pack("<Q", 10**9) + b"{}", NO_TENSOR),
    "header_max": (b"\xff" * 16, NO_TENSOR),
    "header_beyond_file": (struct.pack("<Q", 100) + b'{"x', "108"),
    "header_no_json": (tensor_file(b'{"x"', 0), NO_TENSOR),
    "header_list": (tensor_file(b"[]", 0), NO_TENSOR),
    "header_space_first": (tensor_file(b" {}", 0), NO_TENSOR),
    "header_empty": (tensor_file(b"", 0), NO_TENSOR),
    "header_deep": (tensor_file(b'{"x":' + b"[" * 50_000, 0), NO_TENSOR),
    "metadata_number": (tensor_file({"__metadata__": {"n": 1}}, 0), "__metadata__"),
    "metadata_text": (tensor_file({"__metadata__": "x"}, 0), "__metadata__"),
    "truncated": (tensor_file({"t.weight": entry()}, 15), NO_TENSOR),
    "too_long": (tensor_file({"t.weight": entry()}, 17), "1"),
    "dtype_unknown": (tensor_file({"t.weight": entry(dtype="F31")}, 16), "t.weight"),
    "dtype_null": (tensor_file({"t.weight": entry(dtype=None)}, 16), "t.weight"),
    "dtype_list": (tensor_file({"t.weight": entry(dtype=["F32"])}, 16), "t.weight"),
    "shape_short": (tensor_file({"t.weight": entry(shape=[2, 1])}, 16), "t.weight"),
    "shape_float": (tensor_file({"t.weight": entry(shape=[2.0, 2])}, 16), "t.weight"),
    "shape_bool": (tensor_file({"t.weight": entry(shape=[True, 4])}, 16), "t.weight"),
    "shape_negative": (tensor_file({"t.weight": entry(shape=[-2, -2])}, 16), "t.weight"),
    "shape_text": (tensor_file({"t.weight": entry(shape="22")}, 16), "t.weight"),
    "shape_huge": (tensor_file({"t.weight": entry(shape=[0, 2**62], data_offsets=[0, 0])}, 0), "t.weight"),
    "shape_long": (tensor_file({"t.weight": entry(shape=[1] * 9, data_offsets=[0, 4])}, 4), "t.weight"),
    "offsets_negative": (tensor_file({"t.weight": entry(data_offsets=[-16, 0])}, 0), "t.weight"),
    "offsets_swapped": (tensor_file({"t.weight": entry(data_offsets=[16, 0])}, 16), "t.weight"),
    "offsets_three": (tensor_file({"t.weight": entry(data_offsets=[0, 8, 16])}, 16), "t.weight"),
    "offsets_null": (tensor_file({"t.weight": entry(data_offsets=None)}, 16), "t.weight"),
    "offsets_float": (tensor_file({"t.weight": entry(data_offsets=[0, 16.0])}, 16), "t.weight"),
    "offsets_beyond": (tensor_file({"t.weight": entry(data_offsets=[2**63, 2**63 + 16])}, 16), "t.weight"),
    "hole_first": (tensor_file({"t.weight": entry(data_offsets=[4, 20])}, 20), "t.weight"),
    "hole_between": (
        tensor_file({"s.weight": entry(), "t.weight": entry(data_offsets=[20, 36])}, 36),
        "t.weight",
    ),
    "overlap": (tensor_file({"s.weight": entry(), "t.weight": entry(data_offsets=[8, 24])}, 24), "t.weight"),
    "overlap_whole": (tensor_file({"s.weight": entry(), "t.weight": entry()}, 16), "t.weight"),
    "no_entry": (tensor_file({"t.weight": None}, 0), "t.weight"),
    "no_shape": (tensor_file({"t.weight": {"dtype": "F32", "data_offsets": [0, 0]}}, 0), "t.weight"),
    "twice": (
        tensor_file(b'{"t.weight":%s,"t.weight":%s}' % ((json.dumps(entry()).encode(),) * 2), 16),
        "t.weight",
    ),
    "name_surrogate": (tensor_file(b'{"\\ud800":%s}' % json.dumps(entry()).encode(), 16), NO_TENSOR),
}


@pytest.mark.parametrize("fault", BROKEN_FILES)
def test_broken_safetensors(model: Path, fault: str) -> None:
    data, culprit = BROKEN_FILES[fault]
    (model / "model.safetensors").write_bytes(data)
    assert_faulty(scan_model, model, RefusedError, "model.safetensors", culprit)


def test_a_header_over_100_megabytes_in_a_file_that_holds_it(model: Path) -> None:
    with (model / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 100_000_001) + b"{")
        file.truncate(100_000_100)  # a sparse file: it takes no space
    assert_faulty(scan_model, model, RefusedError, "model.safetensors", "100000001")


def test_a_truncated_download_says_how_much_is_there(model: Path) -> None:
    path = model / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(RefusedError) as caught:
        scan_model(model)
    size = len(whole)
    assert caught.value.text.zh == (
        f"model.safetensors：文件不完整：至少应有 {size} 字节，只有 {size - 10} 字节；请重新下载这个文件"
    )
    assert caught.value.text.en == (
        f"model.safetensors: the file is cut short: {size - 10} bytes of at least {size}; fetch this file again"
    )


def test_header_order_padding_metadata_and_empty_tensors(tmp_path: Path) -> None:
    path = tmp_path / "权 重.safetensors"
    header = {
        "__metadata__": {"format": "pt"},
        "late": entry(data_offsets=[16, 32]),
        "none": entry(shape=[0, 2], data_offsets=[16, 16]),
        "early": entry(),
    }
    path.write_bytes(tensor_file(json.dumps(header).encode() + b"   ", 32))
    assert read_header(path) == {
        "late": TensorEntry(path, "F32", (2, 2)),
        "none": TensorEntry(path, "F32", (0, 2)),
        "early": TensorEntry(path, "F32", (2, 2)),
    }


SOUND_FILE = tensor_file(declared(laid_out({"w": ("BF16", [8, 4]), "n": ("F32", [4]), "b": ("I64", [2, 1])})), 96)
SOUND_HEADER_BYTES = len(SOUND_FILE) - 96
Table = dict[str, tuple[str, tuple[int, ...]]]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("草 稿") / "file.safetensors"


def scanned(path: Path, data: bytes) -> Table | None:
    """Names, dtypes and shapes; None when refused. Any other error is the test's failure."""
    path.write_bytes(data)
    try:
        return {name: (found.dtype, found.shape) for name, found in read_header(path).items()}
    except RefusedError:
        return None


def library_table(data: bytes) -> Table:
    """The same table as the safetensors library reads it."""
    tensors = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    return {name: (found["dtype"], tuple(found["shape"])) for name, found in tensors}


@given(cut=st.integers(0, len(SOUND_FILE) - 1))
def test_no_truncation_passes(scratch: Path, cut: int) -> None:
    assert scanned(scratch, SOUND_FILE) == library_table(SOUND_FILE)
    assert scanned(scratch, SOUND_FILE[:cut]) is None


@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(flips=st.lists(st.tuples(st.integers(0, SOUND_HEADER_BYTES - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_flipped_header_bytes_are_refused_or_read_as_the_library_reads_them(
    scratch: Path, flips: list[tuple[int, int]]
) -> None:
    # A flip within a name or from F32 to I32 leaves a sound file, which no reader can tell from the old one.
    data = bytearray(SOUND_FILE)
    for place, byte in flips:
        data[place] = byte
    found = scanned(scratch, bytes(data))
    if found is not None:
        assert found == library_table(bytes(data))


@given(data=st.binary(max_size=64))
def test_random_bytes_are_refused(scratch: Path, data: bytes) -> None:
    assert scanned(scratch, data) is None
    assert scanned(scratch, tensor_file(b"{" + data, 8)) is None


# ---- adapters --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"use_rslora": True},
        {"target_modules": "all-linear"},
        {"target_modules": ["model.layers.0.self_attn.q_proj"]},
        {"lora_alpha": 0.5},
        {"modules_to_save": []},
        {"init_lora_weights": "gaussian"},
        {"target_modules": "(a+)+$"},
        {"target_modules": ["q_proj", "c_attn", "query_key_value"]},
        {"target_modules": ["q_proj", "v_proj"], "exclude_modules": "v_proj"},
        {"auto_mapping": {"base_model_class": "X", "parent_library": "transformers.models.qwen3.modeling_qwen3"}},
        {"task_type": None},
        {"megatron_core": "megatron.core", "qalora_group_size": 16, "peft_version": "0.21.2", "loftq_config": {}},
        {"a_key_of_a_later_version": False, "another": None, "a third": {}},
    ],
)
def test_plain_adapters_pass(adapter: Path, change: dict[str, Any]) -> None:
    write_json(adapter / "adapter_config.json", ADAPTER_CONFIG | change)
    files = scan_adapter(adapter)
    weights = adapter / "adapter_model.safetensors"
    assert files.folder == adapter
    asked = ADAPTER_CONFIG | change
    assert (files.config.r, files.config.lora_alpha) == (asked["r"], asked["lora_alpha"])
    assert files.config.target_modules == asked["target_modules"]
    assert files.config.scale == asked["lora_alpha"] / (2**0.5 if asked["use_rslora"] else 2)
    assert files.tensors == {
        f"{Q_PROJ}.lora_A.weight": TensorEntry(weights, "F32", (2, 4)),
        f"{Q_PROJ}.lora_B.weight": TensorEntry(weights, "F32", (4, 2)),
    }


def test_an_adapter_config_with_only_the_needed_keys_passes(adapter: Path) -> None:
    needed = ("peft_type", "r", "lora_alpha", "target_modules")
    write_json(adapter / "adapter_config.json", {key: ADAPTER_CONFIG[key] for key in needed})
    assert set(scan_adapter(adapter).tensors) == set(LORA)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("peft_type", "LOHA"),
        ("peft_type", None),
        ("auto_mapping", {"base_model_class": "Evil", "parent_library": "evil"}),
        ("auto_map", {"AutoModel": "evil.Evil"}),
        ("trust_remote_code", True),
        ("r", 0),
        ("r", 1025),
        ("r", 2.0),
        ("r", True),
        ("r", None),
        ("lora_alpha", 0),
        ("lora_alpha", -16),
        ("lora_alpha", "16"),
        ("lora_alpha", True),
        ("lora_alpha", None),
        ("lora_alpha", 10**400),
        ("target_modules", ""),
        ("target_modules", {"q_proj": True}),
        ("target_modules", []),
        ("target_modules", None),
        ("target_modules", ["q_proj", ".*"]),
        ("target_modules", ["q_proj\n"]),
        ("target_modules", ["q_proj", 7]),
        ("auto_mapping", {"base_model_class": "Evil", "parent_library": "transformers_evil"}),
        ("auto_mapping", {"base_model_class": "Evil"}),
        ("task_type", "SEQ_CLS"),
        ("lora_bias", True),
        ("velora_config", {"num_groups": 32}),
        ("monteclora_config", {"num_samples": 4}),
        ("arrow_config", {"top_k": 3}),
        ("a_key_of_a_later_version", True),
        ("use_dora", True),
        ("bias", "all"),
        ("bias", "lora_only"),
        ("modules_to_save", ["lm_head"]),
        ("rank_pattern", {"q_proj": 4}),
        ("alpha_pattern", {"q_proj": 4}),
        ("layers_to_transform", [0]),
        ("layers_to_transform", 0),
        ("fan_in_fan_out", True),
        ("layer_replication", [[0, 2], [1, 3]]),
        ("target_parameters", ["experts.up"]),
        ("trainable_token_indices", [1]),
        ("init_lora_weights", "pissa_niter_4"),
        ("init_lora_weights", "olora"),
    ],
)
def test_adapters_that_would_act_otherwise(adapter: Path, key: str, value: object) -> None:
    write_json(adapter / "adapter_config.json", ADAPTER_CONFIG | {key: value})
    assert_faulty(scan_adapter, adapter, RefusedError, "adapter_config.json", key)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999"])
def test_an_endless_alpha(adapter: Path, text: str) -> None:
    config = json.dumps(ADAPTER_CONFIG).replace('"lora_alpha": 16', f'"lora_alpha": {text}')
    assert text in config
    (adapter / "adapter_config.json").write_text(config, encoding="utf-8")
    assert_faulty(scan_adapter, adapter, RefusedError, "adapter_config.json", text)


def test_only_a_pickled_adapter(adapter: Path, tmp_path: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(pickle_bomb(tmp_path / "marker"))
    culprits = ("adapter_model.bin", "pickle", "adapter_model.safetensors")
    assert_faulty(scan_adapter, adapter, RefusedError, *culprits)
    assert not (tmp_path / "marker").exists()


def test_an_adapter_without_weights(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").unlink()
    assert_faulty(scan_adapter, adapter, RefusedError, "adapter_model.safetensors")


@pytest.mark.parametrize(
    ("layout", "culprit"),
    [
        (LORA | {f"{Q_PROJ}.lora_A.weight": ("F32", [4, 2], [0, 32])}, "lora_A"),
        (LORA | {f"{Q_PROJ}.lora_B.weight": ("F32", [2, 4], [32, 64])}, "lora_B"),
        (LORA | {f"{Q_PROJ}.lora_B.weight": ("F32", [2, 2, 2], [32, 64])}, "lora_B"),
        (LORA | {f"{Q_PROJ}.lora_magnitude_vector": ("F32", [1], [64, 68])}, "lora_magnitude_vector"),
        (LORA | {f"{Q_PROJ}.lora_B.bias": ("F32", [1], [64, 68])}, "lora_B.bias"),
        (LORA | {"base_model.model.lm_head.weight": ("F32", [1], [64, 68])}, "modules_to_save"),
        (LORA | {"base_model.model.lm_head.lora_A.weight": ("F32", [2, 2], [64, 80])}, "lm_head"),
        (LORA | {"base_model.model.model.embed_tokens.lora_embedding_A": ("F32", [2, 2], [64, 80])}, "embedding"),
        (LORA | {"x.modules_to_save.default.weight": ("F32", [1], [64, 68])}, "modules_to_save"),
        (LORA | {f"{Q_PROJ}.lora_A.other.weight": ("F32", [2, 4], [64, 96])}, "q_proj"),
        (LORA | {f"{Q_PROJ}.lora_A.weight": ("I32", [2, 4], [0, 32])}, "I32"),
        ({f"{Q_PROJ}.lora_A.weight": ("F32", [2, 4], [0, 32])}, "q_proj"),
        (LORA | {"x.lora_B.weight": ("F32", [1, 2], [64, 72])}, "x"),
    ],
)
def test_adapter_tensors_that_do_not_fit(adapter: Path, layout: Layout, culprit: str) -> None:
    write_weights(adapter / "adapter_model.safetensors", layout)
    assert_faulty(scan_adapter, adapter, RefusedError, "adapter_model.safetensors", culprit)


def test_an_adapter_that_lacks_a_linear_which_it_lists(adapter: Path) -> None:
    write_json(adapter / "adapter_config.json", ADAPTER_CONFIG | {"target_modules": ["q_proj", "v_proj"]})
    assert_faulty(scan_adapter, adapter, RefusedError, "adapter_model.safetensors", "v_proj")


def test_a_folder_of_checkpoints_names_the_last(adapter: Path) -> None:
    for step in (100, 900, 1000):
        make_adapter(adapter.parent / "output" / f"checkpoint-{step}")
    newest = adapter.parent / "output" / "checkpoint-1000"
    assert_faulty(scan_adapter, newest.parent, UsageError, str(newest))


def test_an_adapter_file_without_tensors(adapter: Path) -> None:
    (adapter / "adapter_model.safetensors").write_bytes(tensor_file({}, 0))
    assert_faulty(scan_adapter, adapter, RefusedError, "adapter_model.safetensors")


def test_a_truncated_adapter(adapter: Path) -> None:
    write_weights(adapter / "adapter_model.safetensors", LORA, size_bytes=60)
    assert_faulty(scan_adapter, adapter, RefusedError, "adapter_model.safetensors")
