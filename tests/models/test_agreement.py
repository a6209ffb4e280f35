"""The files of a model are held against each other: config, weights, tokenizer and token ids."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from written_models import (
    CONFIG,
    TOKENIZER,
    data_bytes,
    declared,
    laid_out,
    make_model,
    tensor_file,
    tensors,
    write_json,
    write_weights,
)

from tonghua.errors import RefusedError
from tonghua.models.model_config import EMBEDDING, HEAD, SIZE_LIMITS
from tonghua.models.scan import scan_model

LAYER = "model.layers.0."


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "我的 模型")


def refused(folder: Path, *culprits: str) -> None:
    with pytest.raises(RefusedError) as caught:
        scan_model(folder)
    for text in caught.value.text:
        assert all(culprit in text for culprit in culprits), text


# Weights


def reweigh(folder: Path, change: Callable[[dict[str, tuple[str, list[int]]]], object]) -> None:
    found = tensors(CONFIG)
    change(found)
    write_weights(folder / "model.safetensors", laid_out(found))


@pytest.mark.parametrize(
    ("change", "culprits"),
    [
        (lambda t: t.pop(EMBEDDING), (EMBEDDING,)),
        (lambda t: t.pop(f"{LAYER}self_attn.q_proj.bias"), ("self_attn.q_proj.bias",)),
        (lambda t: [t.pop(name) for name in list(t) if "mlp" in name], ("mlp.gate_proj.weight", "3")),
        (lambda t: t.update({EMBEDDING: ("BF16", [9, 4])}), (EMBEDDING, "[9, 4]", "[8, 4]")),
        (lambda t: t.update({EMBEDDING: ("BF16", [4, 8])}), (EMBEDDING, "[4, 8]", "[8, 4]")),
        (lambda t: t.update({f"{LAYER}self_attn.k_proj.weight": ("BF16", [4, 4])}), ("k_proj.weight", "[2, 4]")),
        (lambda t: t.update({f"{LAYER}self_attn.o_proj.bias": ("BF16", [4])}), ("o_proj.bias",)),
        (lambda t: t.update({"model.layers.1.input_layernorm.weight": ("F32", [4])}), ("model.layers.1.",)),
        (lambda t: t.update({f"{LAYER}self_attn.q_norm.weight": ("F32", [2])}), ("q_norm.weight",)),
        (lambda t: t.update({"score\x1b.weight": ("F32", [2])}), ("score\\x1b.weight",)),
        (lambda t: t.update({HEAD: ("BF16", [7, 4])}), (HEAD, "[7, 4]", "[8, 4]")),
    ],
)
def test_a_tensor_that_is_missing_misshapen_or_without_a_place(
    model: Path, change: Callable[[dict[str, Any]], object], culprits: tuple[str, ...]
) -> None:
    reweigh(model, change)
    refused(model, "config.json", *culprits)


@pytest.mark.parametrize("dtype", ["U8", "I64", "F8_E4M3"])
def test_a_tensor_that_is_no_float(model: Path, dtype: str) -> None:
    reweigh(model, lambda found: found.update({EMBEDDING: (dtype, [8, 4])}))
    refused(model, "model.safetensors", EMBEDDING, dtype)


@pytest.mark.parametrize(
    "name",
    [
        f"{LAYER}self_attn.rotary_emb.inv_freq",
        "model.rotary_emb.inv_freq",
        f"{LAYER}self_attn.masked_bias",
        "model.position_ids",
    ],
)
def test_a_buffer_that_follows_from_the_config_is_left_out(model: Path, name: str) -> None:
    reweigh(model, lambda found: found.update({name: ("F32", [2])}))
    assert set(scan_model(model).tensors) == set(tensors(CONFIG))


def test_an_untied_model_needs_a_head(model: Path) -> None:
    write_json(model / "config.json", CONFIG | {"tie_word_embeddings": False})
    refused(model, "config.json", HEAD)
    write_json(model / "config.json", {key: CONFIG[key] for key in CONFIG if key != "tie_word_embeddings"})
    refused(model, "config.json", HEAD)


def write_head(folder: Path, place: int | None, dtype: str = "BF16", shape: tuple[int, int] = (8, 4)) -> None:
    """Add a head of zeros like the embedding to a tied model; the byte at `place` differs."""
    layout = laid_out(tensors(CONFIG) | {HEAD: (dtype, list(shape))})
    data = bytearray(data_bytes(layout))
    if place is not None:
        data[layout[HEAD][2][0] + place] = 1
    (folder / "model.safetensors").write_bytes(tensor_file(declared(layout), bytes(data)))


def test_a_tied_head_like_the_embedding_is_left_out(model: Path) -> None:
    write_head(model, None)
    files = scan_model(model)
    assert (files.tied, files.notes, HEAD in files.tensors) == (True, (), False)


@pytest.mark.parametrize(("place", "dtype"), [(0, "BF16"), (63, "BF16"), (None, "F16"), (127, "F32")])
def test_a_tied_head_of_its_own_is_used_and_told(model: Path, place: int | None, dtype: str) -> None:
    write_head(model, place, dtype)
    files = scan_model(model)
    assert (files.tied, HEAD in files.tensors) == (False, True)
    (note,) = files.notes
    assert all("tie_word_embeddings" in text and HEAD in text for text in note)


@pytest.mark.parametrize("key", SIZE_LIMITS)
def test_sizes_at_their_limits_are_compared_with_the_weights_before_any_memory_is_taken(model: Path, key: str) -> None:
    write_json(model / "config.json", CONFIG | {key: SIZE_LIMITS[key], "head_dim": 2})
    refused(model, "config.json", "model.")


# Token ids


def test_an_embedding_with_more_rows_than_tokens_passes(tmp_path: Path) -> None:
    assert scan_model(make_model(tmp_path / "宽", vocab_size=64)).notes == ()


@pytest.mark.parametrize("id", [8, 9, 10**9])
def test_a_token_without_a_row(model: Path, id: int) -> None:
    vocabulary = {**TOKENIZER["model"], "vocab": {**TOKENIZER["model"]["vocab"], "月\x1b亮": id}}
    write_json(model / "tokenizer.json", TOKENIZER | {"model": vocabulary})
    refused(model, "tokenizer.json", "月\\x1b亮", str(id), "8", "config.json")
    added = [*TOKENIZER["added_tokens"], {"id": id, "content": "<|new|>", "special": True}]
    write_json(model / "tokenizer.json", TOKENIZER | {"added_tokens": added})
    refused(model, "tokenizer.json", "<|new|>", str(id), "8", "config.json")


def test_the_last_row_may_have_a_token(model: Path) -> None:
    added = [*TOKENIZER["added_tokens"], {"id": 7, "content": "<|new|>", "special": True}]
    write_json(model / "tokenizer.json", TOKENIZER | {"added_tokens": added})
    assert scan_model(model).notes == ()


def test_a_unigram_vocabulary_is_a_list(model: Path) -> None:
    for count, fits in ((8, True), (9, False)):
        pieces = [[f"p{number}", -1.5] for number in range(count)]
        write_json(model / "tokenizer.json", TOKENIZER | {"model": {"type": "Unigram", "vocab": pieces}})
        if fits:
            scan_model(model)
        else:
            refused(model, "tokenizer.json", "p8")


@pytest.mark.parametrize("ids", [8, [2, 8], 151_645])
def test_an_end_that_no_token_has(model: Path, ids: object) -> None:
    write_json(model / "generation_config.json", {"eos_token_id": ids})
    refused(model, "generation_config.json", "eos_token_id", "8")
    write_json(model / "generation_config.json", {})
    write_json(model / "config.json", CONFIG | {"eos_token_id": ids})
    refused(model, "config.json", "eos_token_id", "8")


@pytest.mark.parametrize("key", ["pad_token_id", "bos_token_id"])
def test_an_id_that_nothing_uses_is_told(model: Path, key: str) -> None:
    write_json(model / "config.json", CONFIG | {key: 8})
    (note,) = scan_model(model).notes
    assert all("config.json" in text and key in text and "8" in text for text in note)
    write_json(model / "config.json", CONFIG | {key: -1})
    assert scan_model(model).notes == ()


@pytest.mark.parametrize("key", ["bos_token", "eos_token"])
@pytest.mark.parametrize("token", ["<|none|>", {"content": "<|none|>", "lstrip": False}])
def test_a_named_token_that_the_tokenizer_lacks(model: Path, key: str, token: object) -> None:
    write_json(model / "tokenizer_config.json", {key: token})
    refused(model, "tokenizer_config.json", key, "<|none|>", "tokenizer.json")


def test_a_pad_token_that_the_tokenizer_lacks_is_told(model: Path) -> None:
    write_json(model / "tokenizer_config.json", {"pad_token": "[PAD]"})
    (note,) = scan_model(model).notes
    assert all("pad_token" in text and "[PAD]" in text for text in note)
