"""Model folders written by hand (struct and json), which no library would refuse to write when they are broken.

CONFIG, TOKENIZER, TEMPLATE     one layer, eight tokens
weights(CONFIG)                 the tensors of such a model, in the order of the file
tensor_file(...)                a safetensors file, sound or not
"""

import json
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 4,
    "num_hidden_layers": 1,
    "vocab_size": 8,
    "intermediate_size": 8,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}
TOKENS = ("a", "b", "c")
TOKENIZER: dict[str, Any] = {
    "version": "1.0",
    "added_tokens": [{"id": 3, "content": "<|im_start|>", "special": True}, {"id": 4, "content": "<|im_end|>"}],
    "model": {"type": "BPE", "vocab": {token: id for id, token in enumerate(TOKENS)}, "merges": []},
}
TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
Layout = dict[str, tuple[str, list[int], list[int]]]
"""name: (dtype, shape, data_offsets)"""

_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "I64": 8, "U8": 1, "F8_E4M3": 1}


def laid_out(tensors: Mapping[str, tuple[str, list[int]]]) -> Layout:
    """Place tensors (name: dtype, shape) one after another."""
    layout: Layout = {}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + prod(shape) * _BYTES[dtype]
        layout[name] = (dtype, shape, [start, end])
    return layout


def tensor_file(header: object, data: int | bytes) -> bytes:
    """Return a safetensors file with this header (bytes as they are, the rest as json); an int means so many zeros."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + (bytes(data) if isinstance(data, int) else data)


def declared(layout: Layout) -> dict[str, Any]:
    """Return the header of a safetensors file."""
    return {
        name: {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        for name, (dtype, shape, offsets) in layout.items()
    }


def data_bytes(layout: Layout) -> int:
    """Return the size of all tensors."""
    return max(offsets[1] for _, _, offsets in layout.values())


def write_weights(path: Path, layout: Layout, size_bytes: int | None = None) -> None:
    """Write a weight file of zeros."""
    path.write_bytes(tensor_file(declared(layout), data_bytes(layout) if size_bytes is None else size_bytes))


def write_json(path: Path, value: object) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def tensors(config: Mapping[str, Any]) -> dict[str, tuple[str, list[int]]]:
    """Return dtype and shape of every tensor of a Qwen2 model with this config."""
    hidden, wide, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    keys = hidden // heads * config["num_key_value_heads"]
    found = {"model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden]}
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        for name, outputs in {"q": hidden, "k": keys, "v": keys}.items():
            found[f"{at}self_attn.{name}_proj.weight"] = [outputs, hidden]
            found[f"{at}self_attn.{name}_proj.bias"] = [outputs]
        found[f"{at}self_attn.o_proj.weight"] = [hidden, hidden]
        found[f"{at}mlp.gate_proj.weight"] = found[f"{at}mlp.up_proj.weight"] = [wide, hidden]
        found[f"{at}mlp.down_proj.weight"] = [hidden, wide]
        found[f"{at}input_layernorm.weight"] = found[f"{at}post_attention_layernorm.weight"] = [hidden]
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = [config["vocab_size"], hidden]
    return {name: ("F32" if "norm" in name else "BF16", shape) for name, shape in found.items()}


def make_model(folder: Path, **change: Any) -> Path:
    """Write a whole model folder, with these keys of its config changed."""
    folder.mkdir(parents=True)
    config = CONFIG | change
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"eos_token_id": [1, 2]})
    write_json(folder / "tokenizer_config.json", {"eos_token": "<|im_end|>", "chat_template": TEMPLATE})
    write_json(folder / "tokenizer.json", TOKENIZER)
    write_weights(folder / "model.safetensors", laid_out(tensors(config)))
    return folder
