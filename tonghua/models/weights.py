"""Load the weights of a base model from its folder, quantized if asked.

    config.json, model.safetensors  --scan_model-->  ModelFiles  --load_base-->  Decoder

`scan_model` checks every file before any tensor is read. `peft.py` loads and saves adapters.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ..core.model import Decoder, RopeScaling, Shape
from ..core.quantize import BLOCK, Bits, can_quantize
from ..errors import RefusedError, ResourceError, UsageError
from ..system.device import DevicePlace
from ..system.memory import free_bytes, is_out_of_memory
from ..text import Text
from .safetensors_file import TensorEntry
from .scan import ModelFiles


def shape_of(config: Mapping[str, Any], tensors: Mapping[str, TensorEntry]) -> Shape:
    """Return the sizes and flags in config.json; the tensor names of layer 0 say which parts have biases or norms.

    Raises RefusedError for what the decoder does not compute: other activations, sliding windows, other RoPE types.
    """
    if config.get("hidden_act", "silu") != "silu":
        raise _unsupported(f"hidden_act={config['hidden_act']}")
    window = config.get("sliding_window")
    if window is not None and config.get("use_sliding_window", config["model_type"] == "mistral"):
        raise _unsupported(f"sliding_window={window}")
    heads, first = config["num_attention_heads"], "model.layers.0."
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    return Shape(
        vocab_size=config["vocab_size"],
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        layers=config["num_hidden_layers"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        norm_epsilon=float(config.get("rms_norm_eps", 1e-6)),
        rope_theta=float(rope.get("rope_theta", config.get("rope_theta", 10_000.0))),
        max_positions=int(config.get("max_position_embeddings", 2048)),
        tied=bool(config.get("tie_word_embeddings", False)),
        rope_scaling=_rope_scaling(rope),
        qkv_bias=f"{first}self_attn.q_proj.bias" in tensors,
        o_bias=f"{first}self_attn.o_proj.bias" in tensors,
        mlp_bias=f"{first}mlp.gate_proj.bias" in tensors,
        qk_norm=f"{first}self_attn.q_norm.weight" in tensors,
    )


def _rope_scaling(rope: Mapping[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind == "linear":
        return RopeScaling(float(rope["factor"]), linear=True)
    if kind == "llama3":
        return RopeScaling(
            float(rope["factor"]),
            float(rope["low_freq_factor"]),
            float(rope["high_freq_factor"]),
            int(rope["original_max_position_embeddings"]),
        )
    raise _unsupported(f"rope_scaling={kind}")


def _unsupported(what: str) -> RefusedError:
    return RefusedError(
        f"config.json 里的 {what} 还不支持；请换一个 Qwen2.5、Qwen3 或 Llama 3 的模型",
        f"{what} in config.json is not supported; take a Qwen2.5, Qwen3 or Llama 3 model",
    )


def load_base(files: ModelFiles, place: DevicePlace, bits: Bits | None = None) -> Decoder:
    """Return the base model, frozen, in the dtype of `place`; with `bits`, the linears of its layers are quantized.

    Quantizes one layer at a time, so at most one is in memory unquantized. Raises RefusedError if tensors are
    missing or have a wrong shape; UsageError if the sizes cannot be quantized; ResourceError if memory is short.
    """
    # Check first: when memory runs out, the OS may kill the process silently.
    if _needed_bytes(files, place, bits) > free_bytes(place.device):
        raise _too_large(files, place, bits)
    try:
        return _loaded(files, place, bits)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Free memory was enough, but a container or a system limit may allow this process less.
    raise _too_large(files, place, bits)


def _loaded(files: ModelFiles, place: DevicePlace, bits: Bits | None) -> Decoder:
    decoder = Decoder(shape_of(files.config, files.tensors), place.dtype, place.device, bits)
    slots = dict(decoder.slots())
    wrong = [
        f"{name} {list(files.tensors[name].shape) if name in files.tensors else '—'}, {list(slot.shape)}"
        for name, slot in slots.items()
        if name not in files.tensors or files.tensors[name].shape != tuple(slot.shape)
    ]
    if wrong:
        raise RefusedError(
            f"{files.folder.name} 的权重与它的 config.json 不符：{wrong[0]}（共 {len(wrong)} 处）；请重新下载",
            f"the weights of {files.folder.name} do not fit its config.json: {wrong[0]} ({len(wrong)} in all);"
            " fetch it again",
        )
    if bits and not all(can_quantize(group.frozen.shape[1]) for _, group in decoder.linears()):
        raise UsageError(
            f"{files.folder.name} 的层宽不是 {BLOCK} 的倍数，不能量化；请去掉 quantization_bit",
            f"the layers of {files.folder.name} are no multiple of {BLOCK} wide and cannot be quantized;"
            " leave out quantization_bit",
        )
    by_part: dict[str, dict[Path, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name in slots:
        by_part[".".join(name.split(".")[:3])][files.tensors[name].file].append(name)
    for part, by_file in by_part.items():
        groups = [group for path, group in decoder.linears() if path.startswith(f"{part}.")]
        for group in groups:
            group.open()
        _fill(dict(decoder.slots()), by_file, place)
        for group in groups:
            group.close()
    return decoder


def _needed_bytes(files: ModelFiles, place: DevicePlace, bits: Bits | None) -> int:
    count = sum(math.prod(entry.shape) for entry in files.tensors.values())
    return count * bits // 8 if bits else count * place.dtype.itemsize


def _too_large(files: ModelFiles, place: DevicePlace, bits: Bits | None) -> ResourceError:
    needed, free = _needed_bytes(files, place, bits), free_bytes(place.device)
    had = Text(f"现在只空闲 {free / 1e9:.1f} GB", f"{free / 1e9:.1f} GB are free")
    if needed <= free:
        had = Text("系统给这个程序的不够", "the system gives this program less")
    smaller = Text("", "") if bits else Text("，或 quantization_bit=4", ", or quantization_bit=4")
    return ResourceError(
        f"装入 {files.folder.name} 要 {needed / 1e9:.1f} GB 内存，{had.zh}；请关掉别的程序，换小一点的模型{smaller.zh}",
        f"{files.folder.name} takes {needed / 1e9:.1f} GB of memory and {had.en}; close other programs, or take a"
        f" smaller model{smaller.en}",
    )


def _fill(slots: Mapping[str, Tensor], by_file: Mapping[Path, list[str]], place: DevicePlace) -> None:
    for file, names in by_file.items():
        # Open the file again for each layer: closing it frees the memory of what was read through it.
        with safe_open(file, "pt", device=str(place.device)) as opened:
            for name in names:
                slots[name].copy_(opened.get_tensor(name))
