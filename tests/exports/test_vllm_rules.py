"""vLLM reads the adapter and the template of a run as they are, by the rules of vLLM 0.33.0, told in our own words.

`read_by_vllm` follows its lora/peft_helper.py, lora/utils.py, lora/lora_model.py and config/lora.py. vLLM applies an
update to the layer of exactly its name, and drops an update of any other name without a word: then the base answers.
"""

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_templates import MISTRAL
from command_line import ROWS, call, settings, write_rows
from made_runs import Place
from reference import our_model
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoTokenizer

from tonghua.config.fields import LORA_MODULES
from tonghua.core.lora import Adapter
from tonghua.models.peft import adapter_files
from tonghua.prompt.conversation import Message, with_system
from tonghua.prompt.renderer import Renderer
from tonghua.runs.folder import TEMPLATE, open_run

MAX_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes."""

PACKED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
"""Layers that vLLM stacks; an adapter names their parts."""

EMBEDDINGS = {"qwen2": (), "mistral": (), "qwen3": ("embed_tokens", "lm_head"), "llama": ("embed_tokens", "lm_head")}
"""Layers outside the blocks that may carry an update, by model type."""

PLAIN_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Named beginnings that leave the base as it was."""

PREFIX = "base_model.model."


class NotServedError(Exception):
    """vLLM ends, or answers the request with an error."""


@dataclass(frozen=True)
class Served:
    """What vLLM takes from an adapter: the factor of each layer's update, and the names that fit no layer."""

    scales: dict[str, float]
    dropped: set[str]


def layers_of(base: dict[str, Any]) -> set[str]:
    """Return the names that an update may have in a model with this config.json."""
    stacked = [*PACKED["qkv_proj"], "o_proj"], [*PACKED["gate_up_proj"], "down_proj"]
    parts = [f"{place}.{name}" for place, names in zip(("self_attn", "mlp"), stacked, strict=True) for name in names]
    inside = {f"model.layers.{at}.{part}" for at in range(base["num_hidden_layers"]) for part in parts}
    outside = {"embed_tokens": "model.embed_tokens", "lm_head": "lm_head"}
    return inside | {outside[name] for name in EMBEDDINGS[base["model_type"]]}


def layer_of(tensor: str) -> str:
    """Return the layer that a tensor updates. Raises NotServedError for a name of another form."""
    parts = tensor.removeprefix(PREFIX).split(".")
    if parts[-1] == "weight" and parts[-2] in ("lora_A", "lora_B"):
        return ".".join(parts[:-2])
    if parts[-1] in ("lora_embedding_A", "lora_embedding_B"):
        return ".".join(parts[:-1])
    raise NotServedError(tensor)


def require_legal(config: dict[str, Any], max_rank: int) -> None:
    """Raise NotServedError for an adapter_config.json that vLLM refuses."""
    begun = config.get("init_lora_weights", True)
    refused = {
        "max_lora_rank": max_rank not in MAX_RANKS,
        "rank": max([config["r"], *(config.get("rank_pattern") or {}).values()]) > max_rank,
        "modules_to_save": not set(config.get("modules_to_save") or ()) <= {"classifier", "score"},
        "bias": config.get("bias", "none") != "none" or config.get("lora_bias", False),
        "init_lora_weights": isinstance(begun, str) and begun.lower() not in PLAIN_INITS,
    }
    others = ("use_dora", "alora_invocation_tokens", "layer_replication", "use_bdlora", "use_qalora")
    refused |= {name: bool(config.get(name)) for name in others}
    for name, against in refused.items():
        if against:
            raise NotServedError(name)


def read_by_vllm(folder: Path, base: dict[str, Any], max_rank: int) -> Served:
    """Return what vLLM serves of the adapter in a folder on a base with this config.json.

    Raises NotServedError for what it refuses. It looks at the names of the tensors, not at `target_modules`.
    """
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    require_legal(config, max_rank)
    known = layers_of(base)
    found = {layer_of(tensor) for tensor in load_file(folder / "adapter_model.safetensors")}
    unknown = {name.rsplit(".", 1)[-1] for name in found} - {name.rsplit(".", 1)[-1] for name in known}
    if unknown:
        raise NotServedError(f"unexpected {unknown}")
    root = config["r"] ** 0.5 if config.get("use_rslora") else config["r"]
    return Served(dict.fromkeys(found & known, config["lora_alpha"] / root), found - known)


def smallest(rank: int) -> int:
    """Return the smallest `--max-lora-rank` for an adapter of this rank."""
    return min(each for each in MAX_RANKS if each >= rank)


def base_config(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


# The adapter


def test_the_adapter_of_a_training_is_served_whole(straight: Place) -> None:
    run = open_run(straight.run, straight.runs)
    base = base_config(straight.model)
    served = read_by_vllm(run.folder, base, smallest(run.config.lora_rank))
    assert (served.scales, served.dropped) == (dict.fromkeys(layers_of(base), run.config.lora_scale), set())
    assert read_by_vllm(run.folder, {**base, "model_type": "mistral"}, 8) == served
    checkpoint = next((run.folder / "checkpoints").glob("step-*"))
    assert read_by_vllm(checkpoint, base, 8) == served


def test_so_is_one_of_some_modules_with_another_scale(place: Place) -> None:
    called = place.train(lora_target="v_proj,down_proj", lora_rank=9, lora_alpha=2.5, use_rslora=True, max_steps=1)
    assert called.code == 0, called.err
    served = read_by_vllm(place.run, base_config(place.model), smallest(9))
    assert not served.dropped
    assert {name.rsplit(".", 1)[-1] for name in served.scales} == {"v_proj", "down_proj"}
    assert set(served.scales.values()) == {2.5 / 3}


@pytest.mark.parametrize("kind", ["qwen2", "qwen2-untied", "qwen3", "llama", "llama-linear-rope"])
def test_every_choice_of_modules_is_served_whole(kind: str, zoo: Callable[[str], Path], folder: Path) -> None:
    base, decoder = base_config(zoo(kind)), our_model(zoo(kind))
    choices = [chosen for n in range(1, 8) for chosen in itertools.combinations(LORA_MODULES, n)]
    assert len(choices) == 2**7 - 1
    for chosen in choices:
        adapter = Adapter(decoder.linears(), chosen, 2, 4.0, 0.0)
        for name, content in adapter_files(adapter, 8, False, "小 模型").items():
            (folder / name).write_bytes(content)
        served = read_by_vllm(folder, base, 8)
        wanted = {name for name in layers_of(base) if name.rsplit(".", 1)[-1] in chosen}
        assert (served.scales, served.dropped) == (dict.fromkeys(wanted, 4.0), set())


def changed(run: Path, folder: Path, tensors: Callable[[dict[str, Tensor]], dict[str, Tensor]], **config: Any) -> Path:
    """Return a copy of the adapter of a run with other tensors and other values in its config."""
    made = folder / "适配器"
    made.mkdir()
    own = json.loads((run / "adapter_config.json").read_text(encoding="utf-8"))
    (made / "adapter_config.json").write_text(json.dumps({**own, **config}), encoding="utf-8")
    save_file(tensors(load_file(run / "adapter_model.safetensors")), made / "adapter_model.safetensors")
    return made


def test_a_renamed_tensor_would_be_dropped_without_a_word(straight: Place, folder: Path) -> None:
    def renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name.replace("model.layers.0", "model.text.layers.0"): each for name, each in tensors.items()}

    served = read_by_vllm(changed(straight.run, folder, renamed), base_config(straight.model), 8)
    assert len(served.dropped) == 7
    assert set(served.scales) == layers_of(base_config(straight.model)) - {
        name.replace("text.", "") for name in served.dropped
    }


def with_head(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    parts = {f"{PREFIX}lm_head.lora_{letter}.weight": torch.zeros(8, 8) for letter in "AB"}
    return {**tensors, **parts}


def renamed_layer(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace("q_proj", "query"): each for name, each in tensors.items()}


def named_adapter(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace(".weight", ".default.weight"): each for name, each in tensors.items()}


@pytest.mark.parametrize(
    ("tensors", "config"),
    [
        (dict, {"modules_to_save": ["lm_head"]}),
        (dict, {"use_dora": True}),
        (dict, {"bias": "lora_only"}),
        (dict, {"init_lora_weights": "pissa"}),
        (dict, {"r": 16}),
        (dict, {"rank_pattern": {"q_proj": 16}}),
        (with_head, {}),
        (renamed_layer, {}),
        (named_adapter, {}),
    ],
)
def test_what_vllm_refuses_is_seen(
    tensors: Callable[[dict[str, Tensor]], dict[str, Tensor]], config: dict[str, Any], straight: Place, folder: Path
) -> None:
    with pytest.raises(NotServedError):
        read_by_vllm(changed(straight.run, folder, tensors, **config), base_config(straight.model), 8)


def test_a_rank_that_is_not_in_the_list_is_refused(straight: Place) -> None:
    with pytest.raises(NotServedError, match="max_lora_rank"):
        read_by_vllm(straight.run, base_config(straight.model), 9)


# The template


@pytest.fixture(scope="module")
def with_prompt(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a system prompt. A test must not write into it."""
    folder = tmp_path_factory.mktemp("有 提示词")
    given = {"dataset": write_rows(folder / "行.json", ROWS), "model": tiny_folder, "output_dir": folder / "runs"}
    called = call("train", *settings(**given, system="你是“说书人”。", max_steps=1, val_size=2), "--json")
    assert called.code == 0, called.err
    return Path(called.json["run"])


TALK = [Message("user", "讲一个 story。\n"), Message("assistant", "从前。"), Message("user", "然后呢？")]


def asked_of_vllm(base: Path, template: str | None, messages: list[Message]) -> list[int]:
    """Return the ids that vLLM makes: the base's tokenizer, and the template if it is given, through transformers."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    dicts = [{"role": each.role, "content": each.content} for each in messages]
    found: list[int] = tokenizer.apply_chat_template(
        dicts, chat_template=template, add_generation_prompt=True, tokenize=True, return_dict=False
    )
    return found


def test_the_template_of_a_run_gives_vllm_the_prompt_of_the_contract(with_prompt: Path, tiny_folder: Path) -> None:
    contract, renderer = open_run(with_prompt, with_prompt.parent).contract, Renderer(with_prompt)
    template = (with_prompt / TEMPLATE).read_text(encoding="utf-8")
    for messages in (TALK[:1], TALK):
        wanted = renderer.prompt(with_system(messages, contract.system), contract.thinking)
        assert asked_of_vllm(tiny_folder, template, messages) == wanted
        assert asked_of_vllm(tiny_folder, None, messages) != wanted
        # So one server can hold several runs: each request brings the system prompt of its own.
        other = [Message("system", "你是另一个。"), *messages]
        assert asked_of_vllm(tiny_folder, template, other) == renderer.prompt(tuple(other))


def test_without_a_system_prompt_it_is_that_of_the_base(straight: Place) -> None:
    template = (straight.run / TEMPLATE).read_text(encoding="utf-8")
    assert asked_of_vllm(straight.model, template, TALK) == asked_of_vllm(straight.model, None, TALK)


def test_a_model_whose_template_does_more_is_trained_without_one(place: Place) -> None:
    model = place.folder / "另一种"
    shutil.copytree(place.model, model)
    (model / "chat_template.jinja").write_text(MISTRAL, encoding="utf-8")
    called = place.train(model=model, max_steps=1)
    assert called.code == 0, called.err
    assert not (place.run / TEMPLATE).exists()
