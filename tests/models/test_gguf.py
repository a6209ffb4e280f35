"""A model or an adapter written as GGUF says in llama.cpp what it says in torch, and holds what other programs need."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from llama_cpp import divergence, in_torch, opened
from reference import CPU, KINDS, SPECIAL, STOP, VOCABULARY, add_adapter, make_model, make_tokenizer, our_model

from tonghua.core.lora import Adapter
from tonghua.core.model import Decoder
from tonghua.errors import ResourceError, UsageError, UserError
from tonghua.models import gguf_file
from tonghua.models.gguf_file import write_adapter, write_base
from tonghua.models.model_config import UnsupportedError
from tonghua.models.peft import adapter_files
from tonghua.models.scan import ModelFiles, scan_model
from tonghua.models.scan_adapter import AdapterFiles, scan_adapter
from tonghua.models.shipped import tiny
from tonghua.models.tensor_rows import TensorRows
from tonghua.models.weights import load_base
from tonghua.prompt.conversation import Message
from tonghua.prompt.renderer import Renderer
from tonghua.system.device import DevicePlace

SAME = 1e-4
"""Nats: f16 keeps the distributions of these small models far closer, and every fault below is far over it."""

PROMPT = (1, 70, 300, 5, 417, 100, 20, 350)

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of small random models with a tokenizer, by their kind."""
    made = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(f"模型 {kind}")
        make_model(kind, folder)
        make_tokenizer(folder)
        made[kind] = folder
    return made


def written(folder: Path, base: ModelFiles, kind: str = "f16", **more: Any) -> Path:
    target = folder / f"写成 {kind}.gguf"
    write_base(base, base.folder, TEMPLATE, (STOP, 0), kind, target, **more)
    return target


def saved_adapter(folder: Path, decoder: Decoder, use_rslora: bool) -> AdapterFiles:
    """Add a random adapter to the decoder, save it, and return its files. Its scale is 2 by either rule."""
    adapter = add_adapter(decoder)
    alpha = adapter.scale * (adapter.rank**0.5 if use_rslora else adapter.rank)
    folder.mkdir()
    for name, content in adapter_files(adapter, alpha, use_rslora, "small").items():
        (folder / name).write_bytes(content)
    return scan_adapter(folder)


def contents(file: Path) -> dict[str, Any]:
    """Return the metadata of a GGUF file."""
    return {name: field.contents() for name, field in gguf.GGUFReader(file).fields.items()}


# What llama.cpp computes


@pytest.mark.parametrize("kind", KINDS)
def test_every_family_is_the_same_model_in_llama_cpp(
    kind: str, models: dict[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = scan_model(models[kind])
    wanted = in_torch(our_model(base.folder), PROMPT)
    with opened(written(folder, base)) as model:
        assert divergence(wanted, model.log_probabilities(PROMPT)) < SAME
    # Rows as they stand in the checkpoint: the wrong order for Llama, the right one for others.
    monkeypatch.setattr(gguf_file, "neighbours", lambda rows, head_width: rows)
    with opened(written(folder, base)) as model:
        unturned = divergence(wanted, model.log_probabilities(PROMPT))
    assert (unturned > 100 * SAME) is kind.startswith("llama")


@pytest.mark.parametrize("use_rslora", [False, True])
@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "llama"])
def test_an_adapter_beside_its_base_and_merged_into_it(
    kind: str, use_rslora: bool, models: dict[str, Path], folder: Path
) -> None:
    base = scan_model(models[kind])
    decoder = our_model(base.folder)
    alone = in_torch(decoder, PROMPT)
    files = saved_adapter(folder / "适配器", decoder, use_rslora)
    wanted = in_torch(decoder, PROMPT)
    assert divergence(alone, wanted) > 100 * SAME
    write_adapter(files, base, folder / "lora.gguf")
    plain = written(folder, base)
    with opened(plain, folder / "lora.gguf") as model:
        assert divergence(wanted, model.log_probabilities(PROMPT)) < SAME
    with opened(written(folder, base, adapter=files)) as model:
        assert divergence(wanted, model.log_probabilities(PROMPT)) < SAME


def test_an_alpha_that_is_not_folded_would_be_seen(models: dict[str, Path], folder: Path) -> None:
    base = scan_model(models["qwen2"])
    decoder = our_model(base.folder)
    files = saved_adapter(folder / "a", decoder, use_rslora=True)
    config = json.loads((folder / "a" / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "a" / "adapter_config.json").write_text(json.dumps({**config, "use_rslora": False}), encoding="utf-8")
    assert files.config.scale == 2 * scan_adapter(folder / "a").config.scale
    write_adapter(scan_adapter(folder / "a"), base, folder / "lora.gguf")
    with opened(written(folder, base), folder / "lora.gguf") as model:
        assert divergence(in_torch(decoder, PROMPT), model.log_probabilities(PROMPT)) > 100 * SAME


def test_lora_b_of_llama_is_turned_like_its_weight(
    models: dict[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = scan_model(models["llama"])
    decoder = our_model(base.folder)
    files = saved_adapter(folder / "a", decoder, use_rslora=False)
    plain = written(folder, base)
    monkeypatch.setattr(gguf_file, "neighbours", lambda rows, head_width: rows)
    write_adapter(files, base, folder / "lora.gguf")
    with opened(plain, folder / "lora.gguf") as model:
        assert divergence(in_torch(decoder, PROMPT), model.log_probabilities(PROMPT)) > 10 * SAME


def test_tiny_says_the_same_greedily(folder: Path) -> None:
    base = scan_model(tiny())
    decoder = load_base(base, DevicePlace(CPU, torch.float32))
    prompt = Renderer(base.folder).prompt((Message("user", "讲一个小兔子的故事。"),))
    ids = list(prompt)
    with opened(written(folder, base), vocabulary=base.config.vocab_size) as model:
        for token in model.greedy(prompt, 24):
            assert token == int(in_torch(decoder, ids).argmax())
            ids.append(token)
        assert divergence(in_torch(decoder, ids), model.log_probabilities(ids)) < SAME


@pytest.mark.parametrize(("kind", "most"), [("bf16", 1e-2), ("q8_0", 1e-2), ("q4_0", 1.0)])
def test_a_smaller_type_is_nearly_the_same_model(kind: str, most: float, models: dict[str, Path], folder: Path) -> None:
    base = scan_model(models["qwen2-untied"])
    with opened(written(folder, base, kind)) as model:
        assert 0 < divergence(in_torch(our_model(base.folder), PROMPT), model.log_probabilities(PROMPT)) < most


@pytest.mark.parametrize("end", [0, STOP])
def test_both_stops_end_an_answer(end: int, models: dict[str, Path], folder: Path) -> None:
    with opened(written(folder, scan_model(models["qwen2"]))) as model:
        ended = model.complete(PROMPT, 5, logit_bias=[[end, 1000]])
        assert (ended["finish_reason"], len(ended["logprobs"]["content"])) == ("stop", 1)
        assert model.complete(PROMPT, 5, logit_bias=[[5, 1000]])["finish_reason"] == "length"


# What the file holds


def test_a_mark_keeps_typed_names_apart_from_control_tokens(folder: Path) -> None:
    base = scan_model(tiny())
    renderer = Renderer(base.folder)
    as_text = renderer.prompt((Message("user", "<|im_end|>"),))
    with opened(written(folder, base, mark="\ufdd0"), vocabulary=base.config.vocab_size) as model:
        assert model.ids("<|im_end|>", control=True) == renderer.tokenizer.encode("<|im_end|>").ids
        assert model.ids("\ufdd0<|im_end|>", control=True) == [renderer.stop_ids[0]]
        assert model.ids(renderer.marked(as_text, "\ufdd0"), control=True) == as_text


def test_the_file_tells_what_other_programs_ask(folder: Path) -> None:
    base = scan_model(tiny())
    target = folder / "tiny.gguf"
    write_base(base, base.folder, TEMPLATE, (2, 0), "q8_0", target)
    told = contents(target)
    assert told["general.architecture"] == "qwen2"
    assert (told["general.name"], told["general.base_model.0.name"]) == ("tiny", "tiny")
    assert told["tokenizer.chat_template"] == TEMPLATE
    assert (told["tokenizer.ggml.eos_token_id"], told["tokenizer.ggml.eot_token_id"]) == (2, 0)
    assert (told["tokenizer.ggml.padding_token_id"], told["tokenizer.ggml.add_bos_token"]) == (0, False)
    assert told["qwen2.rope.freq_base"] == base.config.theta
    names = {each.name for each in gguf.GGUFReader(target).tensors}
    assert "token_embd.weight" in names
    assert "output.weight" not in names
    assert len(names) == len(base.tensors)


def test_the_vocabulary_is_padded_and_its_controls_are_marked(models: dict[str, Path], folder: Path) -> None:
    told = contents(written(folder, scan_model(models["qwen2-untied"])))
    tokens, types = told["tokenizer.ggml.tokens"], told["tokenizer.ggml.token_type"]
    assert len(tokens) == len(types) == VOCABULARY
    assert tokens[:3] == list(SPECIAL)
    assert types[:3] == [gguf.TokenType.CONTROL] * 3
    assert (tokens[-1], types[-1]) == (f"[PAD{VOCABULARY - 1}]", gguf.TokenType.UNUSED)


def test_a_head_of_its_own_is_written(models: dict[str, Path], folder: Path) -> None:
    tensors = gguf.GGUFReader(written(folder, scan_model(models["qwen2-untied"]), "q4_0")).tensors
    kinds = {each.name: each.tensor_type.name for each in tensors}
    assert (kinds["output.weight"], kinds["token_embd.weight"]) == ("Q8_0", "Q8_0")
    assert kinds["blk.0.attn_q.weight"] == "Q4_0"
    assert kinds["blk.0.attn_q.bias"] == kinds["output_norm.weight"] == "F32"


def test_merged_weights_are_those_of_both(models: dict[str, Path], folder: Path) -> None:
    base = scan_model(models["qwen3"])
    decoder = our_model(base.folder)
    files = saved_adapter(folder / "a", decoder, use_rslora=True)
    name = "model.layers.1.mlp.down_proj.weight"
    merged = TensorRows(base, files)
    halves = np.concatenate([merged.read(name, 0, 30), merged.read(name, 30, 64)])
    assert np.array_equal(halves, merged.read(name, 0, 64))
    wanted = added(base, files, name)
    assert np.allclose(halves, wanted, atol=1e-6)
    assert not np.allclose(TensorRows(base).read(name, 0, 64), wanted, atol=1e-3)


def added(base: ModelFiles, files: AdapterFiles, name: str) -> np.ndarray:
    """Return W + scale * B A by torch."""
    decoder = load_base(base, DevicePlace(CPU, torch.float32))
    adapter: Adapter = add_adapter(decoder)
    a, b = (adapter.masters[name.replace(".weight", f".lora_{side}.weight")].detach() for side in "AB")
    weight = TensorRows(base).read(name, 0, base.tensors[name].shape[0])
    return weight + files.config.scale * (b @ a).numpy()


def test_transformers_reads_the_same_weights(models: dict[str, Path], folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    base = scan_model(models["qwen2"])
    file = written(folder, base)
    read = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file.name, dtype=torch.float32).eval()
    with torch.no_grad():
        found = read(torch.tensor([PROMPT])).logits[0, -1].double().log_softmax(-1).numpy()
    assert divergence(in_torch(our_model(base.folder), PROMPT), found) < SAME


# How a text is split


TEXTS = (
    "讲一个小兔子的故事，好吗？\n\n从前有一只小兔子……",
    "The rabbit didn't know; it's LATE, and they'll go. I'M 3, 1234567 stars.",
    "月亮 moon 说：“Hello，小熊！”\t\r\n  好 的 ",
)

DECOMPOSED = "cafe\u0301"
"""A letter and its accent as two characters, which the tokenizers of Qwen and `tiny` make one of."""


def test_llama_cpp_splits_texts_as_the_tokenizer_does(models: dict[str, Path], folder: Path) -> None:
    for model_folder in (tiny(), models["qwen2"]):
        base = scan_model(model_folder)
        tokenizer = Renderer(model_folder).tokenizer
        with opened(written(folder, base)) as model:
            for text in TEXTS:
                assert model.ids(text) == tokenizer.encode(text, add_special_tokens=False).ids
            # llama.cpp knows no normalizer: here alone other programs may differ.
            same = model.ids(DECOMPOSED) == tokenizer.encode(DECOMPOSED, add_special_tokens=False).ids
            assert same is (model_folder != tiny())


# What goes wrong


def test_an_interrupted_file_leaves_nothing(
    models: dict[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = scan_model(models["qwen2"])
    (folder / "out").mkdir()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf.quants, "quantize", interrupted)
    with pytest.raises(KeyboardInterrupt):
        written(folder / "out", base)
    assert list((folder / "out").iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_the_old_file(
    models: dict[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = scan_model(models["qwen2"])
    (folder / "out").mkdir()
    (folder / "out" / "写成 f16.gguf").write_bytes(b"old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf.quants, "quantize", full)
    with pytest.raises(ResourceError, match="No space left"):
        written(folder / "out", base)
    monkeypatch.undo()
    usage = shutil.disk_usage(folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(ResourceError, match="GB left"):
        written(folder / "out", base)
    assert [(each.name, each.read_bytes()) for each in (folder / "out").iterdir()] == [("写成 f16.gguf", b"old")]


def test_without_the_package_it_says_what_to_install(
    models: dict[str, Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UsageError, match=r'pip install "tonghua\[fast\]"'):
        written(folder, scan_model(models["qwen2"]))


def test_what_llama_cpp_does_not_know_is_refused(models: dict[str, Path], folder: Path) -> None:
    def changed(kind: str, file: str, **more: Any) -> UserError:
        copy = folder / f"{kind} {next(iter(more))}"
        shutil.copytree(models[kind], copy)
        value = json.loads((copy / file).read_text(encoding="utf-8"))
        (copy / file).write_text(json.dumps({**value, **more}), encoding="utf-8")
        with pytest.raises(UnsupportedError) as refused:
            written(copy, scan_model(copy))
        assert not list(copy.glob("*.gguf"))
        return refused.value

    assert "mistral" in str(
        changed("llama", "config.json", model_type="mistral", sliding_window=None, rope_parameters=None)
    )
    assert "rope_scaling" in str(changed("qwen2", "config.json", rope_parameters=llama3()))
    whole = {"type": "Whitespace"}
    assert "tokenizer.json" in str(changed("qwen2-untied", "tokenizer.json", pre_tokenizer=whole))


def llama3() -> dict[str, Any]:
    """A RoPE that only Llama has in llama.cpp."""
    factors = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    return {"rope_type": "llama3", "rope_theta": 1e4, "original_max_position_embeddings": 64, **factors}


def test_an_adapter_of_another_model_is_refused(models: dict[str, Path], folder: Path) -> None:
    files = saved_adapter(folder / "a", our_model(models["qwen3"]), use_rslora=False)
    with pytest.raises(UserError, match="does not fit"):
        write_adapter(files, scan_model(models["qwen2"]), folder / "lora.gguf")
    assert not (folder / "lora.gguf").exists()
