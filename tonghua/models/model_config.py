"""config.json of a model: its sizes and flags, and the tensors that they ask for.

Keys, defaults and relations are those of transformers 5. `_FAMILIES` says where its families differ.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from ..errors import RefusedError
from ..text import shown
from .guarded import refused
from .typed import Flag, Names, TokenIds, Typed, Word, checked, number, read_typed, whole

CONFIG = "config.json"

SIZE_LIMITS = {
    "hidden_size": 65_536,
    "num_hidden_layers": 512,
    "vocab_size": 2_000_000,
    "intermediate_size": 1_000_000,
    "num_attention_heads": 1_024,
}
"""Maximum of each size in config.json; the minimum is 1."""

Context = Annotated[
    int,
    checked(
        lambda value: type(value) in (int, float) and 1 <= value <= 100_000_000 and value == int(value),
        "应是 1 到 100000000 的整数",
        "must be a whole number from 1 to 100000000",
    ),
]
"""A number of positions; some files write it with a point."""

Theta = Annotated[float, number(0.999, 1e15)]
"""Base of RoPE. Below 1, later dimensions would turn faster instead of slower."""

Factor = Annotated[float, number(0, 1e6)]

HeadWidth = Annotated[
    int,
    checked(
        lambda value: type(value) is int and 2 <= value <= 4_096 and value % 2 == 0,
        "应是 2 到 4096 的偶数",
        "must be an even number from 2 to 4096",
    ),
]
"""RoPE turns pairs of values, so the number is even."""


@dataclass(frozen=True, slots=True)
class _Family:
    """What transformers fixes or assumes for a model type."""

    qkv_bias: bool | None = None
    """None: `attention_bias` decides, also on the output projection."""
    mlp_bias: bool = False
    """Whether `mlp_bias` is read."""
    qk_norm: bool = False
    kv_heads: int | None = None
    head_dim: int | None = None
    context: int = 32_768
    window: int | None = None
    """A sliding window that holds unless config.json says null; others ask `use_sliding_window`."""


_FAMILIES = {
    "qwen2": _Family(qkv_bias=True, kv_heads=32),
    "qwen3": _Family(qk_norm=True, kv_heads=32, head_dim=128),
    "llama": _Family(mlp_bias=True, context=2048),
    "mistral": _Family(qkv_bias=False, kv_heads=8, context=131_072, window=4096),
}

MODEL_TYPES = tuple(_FAMILIES)
"""Supported architectures: their code is in this package or its dependencies, never in the folder."""


class Rope(Typed):
    """`rope_scaling`, or `rope_parameters` of transformers 5. Older files write `type` for `rope_type`."""

    rope_type: Word | None = None
    type: Word | None = None
    rope_theta: Theta | None = None
    factor: Factor | None = None
    low_freq_factor: Factor | None = None
    high_freq_factor: Factor | None = None
    original_max_position_embeddings: Context | None = None
    partial_rotary_factor: Annotated[float, number(0, 1)] | None = None

    @property
    def kind(self) -> str:
        """The type of RoPE; "default" if none is named."""
        return self.rope_type or self.type or "default"


class ModelConfig(Typed):
    """The keys of config.json that decide what the decoder computes."""

    model_type: Word
    hidden_size: Annotated[int, whole(1, SIZE_LIMITS["hidden_size"])]
    num_hidden_layers: Annotated[int, whole(1, SIZE_LIMITS["num_hidden_layers"])]
    vocab_size: Annotated[int, whole(1, SIZE_LIMITS["vocab_size"])]
    intermediate_size: Annotated[int, whole(1, SIZE_LIMITS["intermediate_size"])]
    num_attention_heads: Annotated[int, whole(1, SIZE_LIMITS["num_attention_heads"])]
    num_key_value_heads: Annotated[int, whole(1, SIZE_LIMITS["num_attention_heads"])] | None = None
    head_dim: HeadWidth | None = None
    hidden_act: Word = "silu"
    rms_norm_eps: Annotated[float, number(0, 0.1)] = 1e-6
    rope_theta: Theta | None = None
    rope_scaling: Rope | None = None
    rope_parameters: Rope | None = None
    max_position_embeddings: Context | None = None
    tie_word_embeddings: Flag | None = None
    attention_bias: Flag | None = None
    mlp_bias: Flag | None = None
    sliding_window: Annotated[int, whole(1, 100_000_000)] | None = None
    use_sliding_window: Flag | None = None
    layer_types: Names | None = None
    bos_token_id: TokenIds = ()
    eos_token_id: TokenIds = ()
    pad_token_id: TokenIds = ()

    @property
    def _family(self) -> _Family:
        return _FAMILIES[self.model_type]

    @property
    def kv_heads(self) -> int:
        """Number of key-value heads."""
        absent = None if "num_key_value_heads" in self.model_fields_set else self._family.kv_heads
        return self.num_key_value_heads or absent or self.num_attention_heads

    @property
    def head_width(self) -> int:
        """Values of a head."""
        return self.head_dim or self._family.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def context(self) -> int:
        """Number of positions that the model can read."""
        return int(self.max_position_embeddings or self._family.context)

    @property
    def rope(self) -> Rope:
        """The RoPE of the model. As in transformers, `rope_scaling` hides `rope_parameters`."""
        return self.rope_scaling or self.rope_parameters or Rope()

    @property
    def theta(self) -> float:
        """The base of RoPE."""
        return self.rope.rope_theta or self.rope_theta or 10_000.0

    @property
    def window(self) -> int | None:
        """The sliding window, if it is narrower than what the model can read."""
        family = self._family
        if family.window is not None:
            window = self.sliding_window if "sliding_window" in self.model_fields_set else family.window
        else:
            asked = self.use_sliding_window and self.model_type != "llama"
            window = (self.sliding_window if "sliding_window" in self.model_fields_set else 4096) if asked else None
        return window if window is not None and window < self.context else None

    @property
    def qkv_bias(self) -> bool:
        """True if q, k and v have biases."""
        return bool(self.attention_bias) if self._family.qkv_bias is None else self._family.qkv_bias

    @property
    def o_bias(self) -> bool:
        """True if the output projection of attention has a bias."""
        return bool(self.attention_bias) if self._family.qkv_bias is None else False

    @property
    def has_mlp_bias(self) -> bool:
        """True if the projections of the MLP have biases."""
        return self._family.mlp_bias and bool(self.mlp_bias)

    @property
    def qk_norm(self) -> bool:
        """True if q and k are normalized."""
        return self._family.qk_norm

    def tensor_shapes(self, tied: bool) -> dict[str, tuple[int, ...]]:
        """Return name and shape of every tensor of the checkpoint; `tied`: the embedding is also the output head."""
        hidden, wide = self.hidden_size, self.intermediate_size
        queries, keys = self.num_attention_heads * self.head_width, self.kv_heads * self.head_width
        linears = {
            "self_attn.q_proj": (queries, hidden, self.qkv_bias),
            "self_attn.k_proj": (keys, hidden, self.qkv_bias),
            "self_attn.v_proj": (keys, hidden, self.qkv_bias),
            "self_attn.o_proj": (hidden, queries, self.o_bias),
            "mlp.gate_proj": (wide, hidden, self.has_mlp_bias),
            "mlp.up_proj": (wide, hidden, self.has_mlp_bias),
            "mlp.down_proj": (hidden, wide, self.has_mlp_bias),
        }
        layer: dict[str, tuple[int, ...]] = {}
        for name, (outputs, inputs, bias) in linears.items():
            layer[f"{name}.weight"] = (outputs, inputs)
            if bias:
                layer[f"{name}.bias"] = (outputs,)
        layer |= dict.fromkeys(("input_layernorm.weight", "post_attention_layernorm.weight"), (hidden,))
        if self.qk_norm:
            layer |= dict.fromkeys(("self_attn.q_norm.weight", "self_attn.k_norm.weight"), (self.head_width,))
        shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (self.vocab_size, hidden)}
        for number_ in range(self.num_hidden_layers):
            shapes |= {f"model.layers.{number_}.{name}": shape for name, shape in layer.items()}
        shapes["model.norm.weight"] = (hidden,)
        return shapes if tied else shapes | {HEAD: (self.vocab_size, hidden)}


EMBEDDING = "model.embed_tokens.weight"

HEAD = "lm_head.weight"


class UnsupportedError(RefusedError):
    """A sound model of a kind that tonghua does not compute."""


def read_config(value: dict[str, Any]) -> ModelConfig:
    """Return config.json by its schema.

    Raises UnsupportedError for what the decoder does not compute; RefusedError for wrong types, sizes and relations.
    """
    _require_family(value)
    config = read_typed(ModelConfig, value, CONFIG)
    _require_relations(config)
    _require_computed(config)
    return config


def _require_family(value: dict[str, Any]) -> None:
    model_type = value.get("model_type")
    if not isinstance(model_type, str) or model_type not in MODEL_TYPES:
        supported = ", ".join(MODEL_TYPES)
        raise _unsupported(
            f"不支持 model_type {shown(model_type, 80)}；支持的有 {supported}，请换一个模型",
            f"model_type {shown(model_type, 80)} is not supported; take a model of type {supported}",
        )
    if value.get("quantization_config") is not None:
        raise _unsupported(
            "这是量化过的模型（quantization_config），不能用来训练；请换成未量化的版本",
            "the model is quantized (quantization_config); an unquantized folder is needed",
        )


def _require_relations(config: ModelConfig) -> None:
    heads, hidden = config.num_attention_heads, config.hidden_size
    if heads % config.kv_heads:
        raise refused(
            CONFIG,
            f"num_key_value_heads 应能整除 num_attention_heads（{heads}），现在是 {config.kv_heads}；"
            "请重新下载这个文件",
            f"num_key_value_heads must divide num_attention_heads ({heads}), not be {config.kv_heads}; "
            "fetch this file again",
        )
    if config.head_dim is None and config.head_width * heads != hidden and config.model_type != "qwen3":
        raise refused(
            CONFIG,
            f"没有 head_dim 时，num_attention_heads（{heads}）应能整除 hidden_size（{hidden}）；请重新下载这个文件",
            f"without head_dim, num_attention_heads ({heads}) must divide hidden_size ({hidden}); "
            "fetch this file again",
        )
    if config.head_width % 2:
        raise refused(
            CONFIG,
            f"hidden_size / num_attention_heads 应是偶数，现在是 {config.head_width}；请重新下载这个文件",
            f"hidden_size / num_attention_heads must be even, not {config.head_width}; fetch this file again",
        )
    rope = config.rope
    needed = {"linear": ("factor",), "llama3": ("factor", "low_freq_factor", "high_freq_factor")}.get(rope.kind, ())
    missing = [key for key in needed if getattr(rope, key) is None]
    if missing:
        raise refused(
            CONFIG,
            f"rope_scaling 是 {rope.kind}，却缺少 {missing[0]}；请重新下载这个文件",
            f"rope_scaling is {rope.kind} and lacks {missing[0]}; fetch this file again",
        )
    if rope.kind == "llama3" and not (rope.low_freq_factor or 0) < (rope.high_freq_factor or 0):
        raise refused(
            CONFIG,
            f"rope_scaling 的 low_freq_factor（{rope.low_freq_factor:g}）应小于 high_freq_factor；请重新下载这个文件",
            f"low_freq_factor of rope_scaling ({rope.low_freq_factor:g}) must be below high_freq_factor; "
            "fetch this file again",
        )


def _require_computed(config: ModelConfig) -> None:
    kind = config.rope.kind
    if kind not in ("default", "linear", "llama3"):
        raise _unsupported(
            f"还不支持 rope_scaling 的 {shown(kind, 80)}（支持 default、linear 和 llama3）；如果它只是用来加长上下文，"
            "例如 Qwen 的 yarn，请把 rope_scaling 改成 null，按原来的长度训练；否则请换一个模型",
            f"{shown(kind, 80)} of rope_scaling is not supported (default, linear and llama3 are); if it only "
            "lengthens the context, such as yarn of Qwen, set rope_scaling to null to train within the original "
            "length; else take another model",
        )
    if config.rope.partial_rotary_factor not in (None, 1.0):
        part = config.rope.partial_rotary_factor
        raise _unsupported(
            f"还不支持 partial_rotary_factor={part:g}；请换一个模型",
            f"partial_rotary_factor={part:g} is not supported; take another model",
        )
    if config.hidden_act != "silu":
        act = shown(config.hidden_act, 80)
        raise _unsupported(
            f"还不支持 hidden_act={act}（只支持 silu）；请换一个模型",
            f"hidden_act={act} is not supported (only silu is); take another model",
        )
    odd = next((each for each in config.layer_types or () if each not in ("full_attention", "sliding_attention")), None)
    if odd is not None:
        raise _unsupported(
            f"还不支持 layer_types 里的 {shown(odd, 80)}；请换一个模型",
            f"{shown(odd, 80)} in layer_types is not supported; take another model",
        )
    if config.window is not None:
        raise _unsupported(
            f"还不支持 sliding_window={config.window}；请换一个没有滑动窗口的模型",
            f"sliding_window={config.window} is not supported; take a model without a sliding window",
        )


def _unsupported(zh: str, en: str) -> UnsupportedError:
    return UnsupportedError(f"{CONFIG}：{zh}", f"{CONFIG}: {en}")
