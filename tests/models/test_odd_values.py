"""Files of strangers with a text, a null, a list or an absurd number where something else belongs.

Every odd value goes into every key of every file. It is refused by file and key, or it means what transformers takes
it for; nothing else ever comes out.
"""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from written_models import CONFIG, TEMPLATE, TOKENIZER, laid_out, make_model, tensors, write_json, write_weights

from tonghua.errors import RefusedError, UserError
from tonghua.models.manifest import MANIFEST, read_manifest
from tonghua.models.model_config import UnsupportedError, read_config
from tonghua.models.scan import scan_model
from tonghua.models.scan_adapter import scan_adapter

HUGE = 10**400
ODD: tuple[Any, ...] = (
    *(None, True, False, "8", "x", "", "\x1b[2J", [], [4], [None], {}, {"a": 1}),
    *(-4, 0, 3, 0.5, -0.5, 4.0, 1e30, 2**63, HUGE),
)


def kept(value: object, accepted: tuple[object, ...]) -> bool:
    """By type too: to Python, 0 is False and 4.0 is 4."""
    return any(type(value) is type(each) and value == each for each in accepted)


def nested(key: str, value: object) -> dict[str, Any]:
    """{"a.b": 1} as {"a": {"b": 1}}, beside what `a` needs."""
    outer, _, inner = key.partition(".")
    return {outer: LLAMA3 | {inner: value}} if inner else {outer: value}


LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

UNUSED = ("dtype", "torch_dtype", "max_window_layers", "attention_dropout")
"""Keys that may hold anything."""

# The odd values that each key takes; every other one is refused.
SIZES = {
    "hidden_size": (),
    "num_hidden_layers": (3,),
    "vocab_size": (3,),
    "intermediate_size": (3,),
    "num_attention_heads": (),
}
TAKEN: dict[str, tuple[object, ...]] = {
    **SIZES,
    "num_key_value_heads": (None,),
    "head_dim": (None,),
    "hidden_act": (),
    "rms_norm_eps": (),
    "rope_theta": (None, 3, 4.0),
    "max_position_embeddings": (None, 3, 4.0),
    "rope_scaling": (None, {}, {"a": 1}),
    "rope_parameters": (None, {}, {"a": 1}),
    "tie_word_embeddings": (None, True, False),
    "attention_bias": (None, True, False),
    "mlp_bias": (None, True, False),
    "sliding_window": (None, 3),
    "use_sliding_window": (None, False),
    "layer_types": (None, []),
    "eos_token_id": (None, [], [4], 0, 3),
    "bos_token_id": (None, [], [4], 0, 3),
    "pad_token_id": (None, [], [4], 0, 3),
    "rope_scaling.rope_type": (None,),
    "rope_scaling.type": (None,),
    "rope_scaling.rope_theta": (None, 3, 4.0),
    "rope_scaling.factor": (3, 0.5, 4.0),
    "rope_scaling.low_freq_factor": (3, 0.5),
    "rope_scaling.high_freq_factor": (3, 4.0),
    "rope_scaling.original_max_position_embeddings": (None, 3, 4.0),
    "rope_scaling.partial_rotary_factor": (None,),
    **dict.fromkeys(UNUSED, ODD),
}


def refusals(read: Callable[[object], object], accepted: tuple[object, ...]) -> Iterator[tuple[object, RefusedError]]:
    """Read every odd value; yield each that is refused, and assert that all others are accepted."""
    for value in ODD:
        try:
            read(value)
        except RefusedError as error:
            assert not kept(value, accepted), value
            yield value, error
        else:
            assert kept(value, accepted), value


def assert_named(error: UserError, *culprits: str) -> None:
    for text in error.text:
        assert all(culprit in text for culprit in culprits), text
        assert "\n" not in text and "\x1b" not in text


@pytest.mark.parametrize("key", TAKEN)
def test_an_odd_value_in_config_json(key: str) -> None:
    def read(value: object) -> None:
        change = nested(key, value)
        if key == "rope_scaling.type":
            del change["rope_scaling"]["rope_type"]
        config: Any = read_config(CONFIG | change)
        outer, _, inner = key.partition(".")
        if outer not in UNUSED and type(value) in (int, float, bool):
            found = getattr(getattr(config, outer), inner) if inner else getattr(config, key)
            assert found in (value, (value,))

    for _, error in refusals(read, TAKEN[key]):
        part = key.rpartition(".")[2].removeprefix("use_")
        assert_named(error, "config.json", "rope_scaling" if part in ("type", "rope_type") else part)


def test_what_a_window_hides_is_not_left_out() -> None:
    """A window as wide as the context hides nothing; a narrower one would make another model."""
    config = CONFIG | {"use_sliding_window": True, "max_position_embeddings": 64}
    assert read_config(config | {"sliding_window": 64}).window is None
    with pytest.raises(UnsupportedError, match="sliding_window=63"):
        read_config(config | {"sliding_window": 63})


# of each file: sound content, and the odd values that its keys take
FILES: dict[str, tuple[dict[str, Any], dict[str, tuple[object, ...]]]] = {
    "generation_config.json": (
        {"eos_token_id": [1, 2]},
        {
            "eos_token_id": (None, [], [4], 0, 3),
            "bos_token_id": (None, [], [4], 0, 3),
            "pad_token_id": (None, [], [4], 0, 3),
            "temperature": ODD,
        },
    ),
    "tokenizer_config.json": (
        {"eos_token": "<|im_end|>", "chat_template": TEMPLATE},
        {
            "eos_token": (None, {}, {"a": 1}, ""),
            "bos_token": (None, {}, {"a": 1}, ""),
            "unk_token": (None, {}, {"a": 1}, "", "8", "x", "\x1b[2J"),
            "pad_token": (None, {}, {"a": 1}, "", "8", "x", "\x1b[2J"),
            "chat_template": (None, "8", "x", "", "\x1b[2J", []),
            "model_max_length": ODD,
        },
    ),
    "tokenizer.json": (
        TOKENIZER,
        {"model": (), "model.vocab": ([], {}, {"a": 1}), "added_tokens": ()},
    ),
    "model.safetensors.index.json": (
        {"weight_map": dict.fromkeys(tensors(CONFIG), "model.safetensors")},
        {"weight_map": (), "metadata": ODD},
    ),
}


def changed(content: dict[str, Any], key: str, value: object) -> dict[str, Any]:
    outer, _, inner = key.partition(".")
    return content | {outer: content[outer] | {inner: value} if inner else value}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("模 型") / "小")


@pytest.mark.parametrize(("file", "key"), [(file, key) for file, (_, keys) in FILES.items() for key in keys])
def test_an_odd_value_in_a_file_beside_it(folder: Path, file: str, key: str) -> None:
    sound, keys = FILES[file]
    before = (folder / file).read_bytes() if (folder / file).exists() else None

    def read(value: object) -> None:
        write_json(folder / file, changed(sound, key, value))
        scan_model(folder)

    try:
        for _, error in refusals(read, keys[key]):
            assert_named(error, file)
    finally:
        (folder / file).unlink()
        if before is not None:
            (folder / file).write_bytes(before)


ADAPTER_TAKES: dict[str, tuple[object, ...]] = {
    "r": (),
    "lora_alpha": (3, 0.5, 4.0),
    "lora_dropout": (0, 0.5),
    "use_rslora": (None, True, False),
    "use_dora": (None, False),
    "bias": (),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "target_modules": ("8", "x", "\x1b[2J"),  # a regular expression, which is never run
    "fan_in_fan_out": (None, False),
    "peft_type": (),
    "inference_mode": ODD,
}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("适 配器")
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    pair = {f"{module}.lora_A.weight": ("F32", [2, 4]), f"{module}.lora_B.weight": ("F32", [4, 2])}
    write_weights(path / "adapter_model.safetensors", laid_out(pair))
    return path


@pytest.mark.parametrize("key", ADAPTER_TAKES)
def test_an_odd_value_in_an_adapter(adapter: Path, key: str) -> None:
    def read(value: object) -> None:
        sound = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
        write_json(adapter / "adapter_config.json", sound | {key: value})
        scan_adapter(adapter)

    for _, error in refusals(read, ADAPTER_TAKES[key]):
        assert_named(error, "adapter_config.json", key)


RECORD = {"size": 1, "sha256": "0" * 64}
MANIFESTS: dict[str, tuple[Callable[[object], dict[str, Any]], tuple[object, ...]]] = {
    "model": (lambda value: {"model": value}, ("8", "x", "\x1b[2J")),
    "source": (lambda value: {"source": value}, ("8", "x", "\x1b[2J")),
    "revision": (lambda value: {"revision": value}, ("8", "x", "\x1b[2J")),
    "files": (lambda value: {"files": value}, ()),
    "record": (lambda value: {"files": {"a": value}}, ()),
    "size": (lambda value: {"files": {"a": RECORD | {"size": value}}}, (0, 3)),
    "sha256": (lambda value: {"files": {"a": RECORD | {"sha256": value}}}, ()),
    "unchecked": (lambda value: {"unchecked": value}, ([],)),
}


@pytest.mark.parametrize("key", MANIFESTS)
def test_an_odd_value_in_a_manifest(tmp_path: Path, key: str) -> None:
    change, accepted = MANIFESTS[key]

    def read(value: object) -> None:
        sound = {"model": "a/b", "source": "modelscope", "revision": "master", "files": {"a": RECORD}}
        write_json(tmp_path / MANIFEST, sound | change(value))
        read_manifest(tmp_path)

    for _, error in refusals(read, accepted):
        assert_named(error, MANIFEST)


@pytest.mark.parametrize("file", [*FILES, "config.json"])
def test_an_odd_value_in_place_of_a_whole_file(folder: Path, tmp_path: Path, file: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "副 本")

    def read(value: object) -> None:
        write_json(copy / file, value)
        scan_model(copy)

    optional = file in ("generation_config.json", "tokenizer_config.json")
    for _, error in refusals(read, ({}, {"a": 1}) if optional else ()):
        assert_named(error, file)
