"""Load the weights of a base model from its folder, quantized if asked.

    config.json, model.safetensors  --scan_model-->  ModelFiles  --load_base-->  Decoder

`scan_model` checks every file before any tensor is read. `peft.py` loads and saves adapters.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from rich.filesize import decimal
from safetensors import safe_open
from torch import Tensor

from ..core.model import Decoder, RopeScaling, Shape
from ..core.quantize import BLOCK, Bits, can_quantize
from ..errors import ResourceError, UsageError
from ..system.device import DevicePlace
from ..system.memory import free_bytes, is_out_of_memory
from ..text import Text
from .model_config import ModelConfig
from .scan import ModelFiles


def shape_of(files: ModelFiles) -> Shape:
    """Return the sizes and flags of a scanned model."""
    config = files.config
    return Shape(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        layers=config.num_hidden_layers,
        heads=config.num_attention_heads,
        kv_heads=config.kv_heads,
        head_dim=config.head_width,
        norm_epsilon=config.rms_norm_eps,
        rope_theta=config.theta,
        max_positions=config.context,
        tied=files.tied,
        rope_scaling=_rope_scaling(config),
        qkv_bias=config.qkv_bias,
        o_bias=config.o_bias,
        mlp_bias=config.has_mlp_bias,
        qk_norm=config.qk_norm,
    )


def _rope_scaling(config: ModelConfig) -> RopeScaling | None:
    rope = config.rope
    if rope.kind == "default":
        return None
    assert rope.factor is not None  # the scan requires the keys of each type
    if rope.kind == "linear":
        return RopeScaling(rope.factor, linear=True)
    assert rope.low_freq_factor is not None and rope.high_freq_factor is not None
    original = int(rope.original_max_position_embeddings or config.context)
    return RopeScaling(rope.factor, rope.low_freq_factor, rope.high_freq_factor, original)


def load_base(files: ModelFiles, place: DevicePlace, bits: Bits | None = None) -> Decoder:
    """Return the base model, frozen, in the dtype of `place`; with `bits`, the linears of its layers are quantized.

    Quantizes one layer at a time, so at most one is in memory unquantized. Raises UsageError if the sizes cannot be
    quantized; ResourceError if memory is short.
    """
    # Check first: when memory runs out, the OS may kill the process silently.
    if needed_bytes(files, place, bits) > free_bytes(place.device):
        raise _too_large(files, place, bits)
    try:
        return _loaded(files, place, bits)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Free memory was enough, but a container or a system limit may allow this process less.
    raise _too_large(files, place, bits)


def _loaded(files: ModelFiles, place: DevicePlace, bits: Bits | None) -> Decoder:
    decoder = Decoder(shape_of(files), place.dtype, place.device, bits)
    if bits and not all(can_quantize(group.frozen.shape[1]) for _, group in decoder.linears()):
        raise UsageError(
            f"{files.folder.name} 的层宽不是 {BLOCK} 的倍数，不能量化；请去掉 quantization_bit",
            f"the layers of {files.folder.name} are no multiple of {BLOCK} wide and cannot be quantized;"
            " leave out quantization_bit",
        )
    by_part: dict[str, dict[Path, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, _ in decoder.slots():
        by_part[".".join(name.split(".")[:3])][files.tensors[name].file].append(name)
    for part, by_file in by_part.items():
        groups = [group for path, group in decoder.linears() if path.startswith(f"{part}.")]
        for group in groups:
            group.open()
        _fill(dict(decoder.slots()), by_file, place)
        for group in groups:
            group.close()
    return decoder


def needed_bytes(files: ModelFiles, place: DevicePlace, bits: Bits | None) -> int:
    """Return the memory of the loaded base in bytes; quantized, with one layer that is not yet quantized."""
    size = place.dtype.itemsize
    whole = sum(math.prod(entry.shape) for entry in files.tensors.values()) * size
    if bits is None:
        return whole
    layers = [
        sum(
            math.prod(entry.shape)
            for name, entry in files.tensors.items()
            if name.startswith(f"model.layers.{layer}.") and len(entry.shape) == 2
        )
        for layer in range(files.config.num_hidden_layers)
    ]
    quantized = sum(layers) * bits // 8 + sum(layers) // BLOCK * size
    return whole - (sum(layers) - max(layers)) * size + quantized


def _too_large(files: ModelFiles, place: DevicePlace, bits: Bits | None) -> ResourceError:
    needed, free = needed_bytes(files, place, bits), free_bytes(place.device)
    had = Text(f"现在只空闲 {decimal(free)}", f"{decimal(free)} are free")
    if needed <= free:
        had = Text("系统给这个程序的不够", "the system gives this program less")
    smaller = Text("", "") if bits else Text("，或 quantization_bit=4", ", or quantization_bit=4")
    return ResourceError(
        f"装入 {files.folder.name} 要 {decimal(needed)} 内存，{had.zh}；请关掉别的程序，换小一点的模型{smaller.zh}",
        f"{files.folder.name} takes {decimal(needed)} of memory and {had.en}; close other programs, or take a"
        f" smaller model{smaller.en}",
    )


def _fill(slots: Mapping[str, Tensor], by_file: Mapping[Path, list[str]], place: DevicePlace) -> None:
    for file, names in by_file.items():
        # Open the file again for each layer: closing it frees the memory of what was read through it.
        with safe_open(file, "pt", device=str(place.device)) as opened:
            for name in names:
                slots[name].copy_(opened.get_tensor(name))
