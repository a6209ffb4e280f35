"""Write a model, or a LoRA adapter, as one GGUF file: the format of llama.cpp, Ollama and LM Studio.

    config.json      ──►  <architecture>.*            sizes, RoPE
    tokenizer.json   ──►  tokenizer.ggml.*            see `gguf_tokenizer`
    a template       ──►  tokenizer.chat_template
    model.layers.0.self_attn.q_proj.weight  ──►  blk.0.attn_q.weight       quantized, a few rows at a time
    model.layers.0.self_attn.q_proj.lora_A  ──►  blk.0.attn_q.weight.lora_a

Format: github.com/ggml-org/ggml/blob/master/docs/gguf.md. The package `gguf` knows names and types of quantization.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import UsageError
from ..system.files import replacing
from .about import About, about
from .gguf_tokenizer import add_tokenizer
from .model_config import EMBEDDING, HEAD, ModelConfig, UnsupportedError
from .safetensors_file import TensorEntry
from .scan import ModelFiles
from .scan_adapter import AdapterFiles
from .tensor_rows import Rows, TensorRows, pairs_of, read_rows

if TYPE_CHECKING:
    from gguf import GGMLQuantizationType, GGUFWriter

Kind = Literal["q8_0", "f16", "bf16", "q4_0"]

KINDS: tuple[Kind, ...] = ("q8_0", "f16", "bf16", "q4_0")
"""Types of the weights in a file, the best choice first. K-quants need widths that are multiples of 256."""

ARCHITECTURES = ("qwen2", "qwen3", "llama")
"""Families that are written; GGUF has the same names for them."""

HEADER_BYTES = 30_000_000
"""Disk that is left for what stands before the weights: above all the vocabulary."""


@dataclass(frozen=True, slots=True)
class _PlannedTensor:
    """A tensor of the file. `blocks` gives its rows as fp32, in order."""

    name: str
    shape: tuple[int, ...]
    kind: "GGMLQuantizationType"
    blocks: Callable[[], Iterator[Rows]]


def write_base(
    base: ModelFiles,
    tokenizer_folder: Path,
    template: str,
    stop_ids: Sequence[int],
    kind: str,
    target: Path,
    *,
    adapter: AdapterFiles | None = None,
    described: About | None = None,
    mark: str = "",
) -> None:
    """Write a model as GGUF, with `adapter` merged into it; the file appears at `target` when it is whole.

    tokenizer_folder  holds the tokenizer files: those of a run, or of the base
    template          chat template that other programs use; "" leaves it out
    stop_ids          ids that end an answer, the end of turn first
    kind              one of KINDS; vectors are fp32, and with q4_0 embedding and head are q8_0
    described         name, origin and licence; None: those of the base
    mark              what the file puts before the name of each control token; the template must do so too

    Raises UsageError without the package `gguf`, UnsupportedError for a family or tokenizer that cannot be written,
    DataError if the adapter does not fit, ResourceError if the disk is full.
    """
    gguf = gguf_package()
    require_writable(base.config)
    weights = TensorRows(base, adapter)
    named = _gguf_names(gguf, base.config, list(base.tensors))
    planned = [_planned(gguf, base, weights, name, named[name], kind) for name in base.tensors]
    planned += _rope_factors(gguf, base.config)

    def fill(writer: "GGUFWriter") -> None:
        writer.add_type(gguf.GGUFType.MODEL)
        _describe(writer, described or about(base.folder))
        writer.add_file_type(getattr(gguf.LlamaFileType, f"MOSTLY_{kind.upper()}"))
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        _add_sizes(gguf, writer, base.config)
        add_tokenizer(writer, tokenizer_folder, base.config.vocab_size, stop_ids, mark)
        if template:
            writer.add_chat_template(template)

    _write(gguf, base.config.model_type, target, fill, planned)


def write_adapter(adapter: AdapterFiles, base: ModelFiles, target: Path, *, described: About | None = None) -> None:
    """Write a LoRA adapter as GGUF, which llama.cpp adds to a file of its base; raises as `write_base` does.

    llama.cpp multiplies by alpha / rank alone. So alpha is written such that this is the adapter's scale, which
    rsLoRA defines in another way.
    """
    gguf = gguf_package()
    require_writable(base.config)
    planned = list(_planned_pairs(gguf, adapter, base))

    def fill(writer: "GGUFWriter") -> None:
        writer.add_type(gguf.GGUFType.ADAPTER)
        _describe(writer, described or about(base.folder))
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", adapter.config.scale * adapter.config.r)

    _write(gguf, base.config.model_type, target, fill, planned)


def weight_bytes(base: ModelFiles, kind: str) -> int:
    """Return the bytes of the weights that `write_base` writes."""
    gguf = gguf_package()
    shapes = {name: entry.shape for name, entry in base.tensors.items()}
    return sum(_size_bytes(gguf, shape, _kind_of(gguf, name, shape, kind)) for name, shape in shapes.items())


def gguf_package() -> Any:
    """Return the package `gguf`. Raises UsageError if it is not installed."""
    try:
        import gguf
    except ImportError:
        raise UsageError(
            'GGUF 文件要用 gguf 这个包，现在没有；请运行 pip install "tonghua[fast]"',
            'GGUF files need the package gguf, which is not here; run pip install "tonghua[fast]"',
        ) from None
    return gguf


def require_writable(config: ModelConfig) -> None:
    """Raise UnsupportedError for a model that llama.cpp would read as another one."""
    family = config.model_type
    if family not in ARCHITECTURES:
        raise UnsupportedError(
            f"{family} 还不能写成 GGUF（{'、'.join(ARCHITECTURES)} 可以）；请用 merge 导出文件夹",
            f"{family} cannot be written as GGUF yet ({', '.join(ARCHITECTURES)} can); export a folder with merge",
        )
    odd = [config.qkv_bias or config.o_bias, config.rope.kind == "llama3"]
    if (family == "qwen3" and odd[0]) or (family != "llama" and odd[1]):
        what = "attention_bias" if odd[0] and family == "qwen3" else "rope_scaling llama3"
        raise UnsupportedError(
            f"llama.cpp 不认识带 {what} 的 {family}；请用 merge 导出文件夹",
            f"llama.cpp knows no {family} with {what}; export a folder with merge",
        )


def _planned(gguf: Any, base: ModelFiles, weights: TensorRows, name: str, own: str, kind: str) -> _PlannedTensor:
    shape = base.tensors[name].shape
    turned = _head_width(base.config, name)
    return _PlannedTensor(own, shape, _kind_of(gguf, name, shape, kind), lambda: _turned(weights, name, turned))


def _kind_of(gguf: Any, name: str, shape: tuple[int, ...], kind: str) -> "GGMLQuantizationType":
    if len(shape) == 1:
        kind = "f32"
    elif kind.startswith("q") and shape[-1] % 32:  # a block of these types is 32 values
        kind = "f16"
    elif kind == "q4_0" and name in (EMBEDDING, HEAD):
        kind = "q8_0"
    found: GGMLQuantizationType = gguf.GGMLQuantizationType[kind.upper()]
    return found


def _gguf_names(gguf: Any, config: ModelConfig, names: Sequence[str]) -> dict[str, str]:
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH[config.model_type.upper()], config.num_hidden_layers)
    return {name: str(known.get_name(name, try_suffixes=(".weight", ".bias"))) for name in names}


def _head_width(config: ModelConfig, name: str) -> int | None:
    """Return the width of a head if its rows are turned: RoPE of llama.cpp pairs neighbours in Llama, else halves."""
    turned = config.model_type == "llama" and (".q_proj." in name or ".k_proj." in name)
    return config.head_width if turned else None


def _turned(weights: TensorRows, name: str, head_width: int | None) -> Iterator[Rows]:
    for rows in weights.blocks(name, head_width or 1):
        yield rows if head_width is None else neighbours(rows, head_width)


def neighbours(rows: Rows, head_width: int) -> Rows:
    """Return the rows of whole heads such that those that RoPE turns together, i and i + width / 2, are neighbours."""
    heads = rows.reshape(-1, 2, head_width // 2, *rows.shape[1:])
    return np.ascontiguousarray(heads.swapaxes(1, 2)).reshape(rows.shape)


def _rope_factors(gguf: Any, config: ModelConfig) -> list[_PlannedTensor]:
    """Return what "llama3" divides each frequency by, as a tensor; nothing for other types of RoPE."""
    rope = config.rope
    if rope.kind != "llama3":
        return []
    assert rope.factor and rope.low_freq_factor and rope.high_freq_factor  # the scan requires them
    half = np.arange(0, config.head_width, 2, dtype=np.float64) / config.head_width
    turns = (rope.original_max_position_embeddings or config.context) * config.theta**-half / (2 * np.pi)
    keep = ((turns - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor)).clip(0, 1)
    factors = (1 / (keep + (1 - keep) / rope.factor)).astype(np.float32)
    return [_PlannedTensor("rope_freqs.weight", factors.shape, gguf.GGMLQuantizationType.F32, lambda: iter((factors,)))]


def _add_sizes(gguf: Any, writer: "GGUFWriter", config: ModelConfig) -> None:
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_key_length(config.head_width)
    writer.add_value_length(config.head_width)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.theta)
    if config.rope.kind == "linear" and config.rope.factor:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(config.rope.factor)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _describe(writer: "GGUFWriter", described: About) -> None:
    writer.add_name(described.name)
    writer.add_license(described.licence)
    if described.base:
        writer.add_base_model_count(1)
        writer.add_base_model_name(0, described.base)
        if described.url:
            writer.add_base_model_repo_url(0, described.url)


def _planned_pairs(gguf: Any, adapter: AdapterFiles, base: ModelFiles) -> Iterator[_PlannedTensor]:
    pairs = pairs_of(adapter, base)
    named = _gguf_names(gguf, base.config, list(pairs))
    f16 = gguf.GGMLQuantizationType.F16
    for name, (a, b) in pairs.items():
        width = _head_width(base.config, name)
        yield _PlannedTensor(f"{named[name]}.lora_a", a.shape, f16, partial(_whole, a, None))
        yield _PlannedTensor(f"{named[name]}.lora_b", b.shape, f16, partial(_whole, b, width))


def _whole(entry: TensorEntry, head_width: int | None) -> Iterator[Rows]:
    rows = read_rows(entry, 0, entry.shape[0])
    yield rows if head_width is None else neighbours(rows, head_width)


def _write(
    gguf: Any,
    architecture: str,
    target: Path,
    fill: Callable[["GGUFWriter"], None],
    planned: Sequence[_PlannedTensor],
) -> None:
    sizes = [_size_bytes(gguf, each.shape, each.kind) for each in planned]
    with (
        replacing(target, sum(sizes) + HEADER_BYTES) as part,
        closing(gguf.GGUFWriter(part, architecture)) as writer,
    ):
        fill(writer)
        for each, size in zip(planned, sizes, strict=True):
            writer.add_tensor_info(each.name, each.shape, np.dtype(np.float32), size, raw_dtype=each.kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        (file,) = writer.fout
        for each, size in zip(planned, sizes, strict=True):
            writer.write_padding(file, file.tell())
            for rows in each.blocks():
                file.write(gguf.quants.quantize(rows, each.kind).tobytes())
            writer.write_padding(file, size)


def _size_bytes(gguf: Any, shape: tuple[int, ...], kind: "GGMLQuantizationType") -> int:
    values, size = gguf.GGML_QUANT_SIZES[kind]
    return math.prod(shape) // int(values) * int(size)
