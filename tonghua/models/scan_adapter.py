"""Check an untrusted LoRA adapter folder before anything in it is loaded.

    adapter_config.json          rank, alpha; whatever would change the formula is refused by its name
    adapter_model.safetensors    which linears it is for: the names of its tensors say so

PEFT, LLaMA-Factory, ms-swift and Unsloth all write this format. `target_modules` may be a regular expression of theirs;
it is never run.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

from ..config.fields import LORA_MODULES, lora_scale
from ..errors import RefusedError, UsageError
from ..system.files import is_folder
from ..text import Text, shown
from .guarded import CONFIG_LIMIT_BYTES, holds, read_object, refused
from .safetensors_file import TensorEntry, read_header
from .scan import check_links, no_folder, refuse_code
from .typed import Flag, PartNotAllowed, Typed, checked, number, read_typed, whole
from .weight_files import refuse_missing_weights

RANK_LIMIT = 1_024
"""Maximum of `r` in adapter_config.json."""

ALPHA_LIMIT = 1_000_000
"""Maximum of `lora_alpha` in adapter_config.json."""

# Keys that say how the adapter was made, or how others load it; the formula does not depend on them.
_NO_MATTER = (
    *("peft_type", "auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "peft_version"),
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "target_modules", "exclude_modules", "layers_pattern"),
    *("megatron_core", "loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size"),
)

_NOTHING: tuple[Any, ...] = (None, False, "", [], {})

# The values of each key with which the adapter computes `W + scale * B A`; any other value changes that.
_ADAPTER_PLAIN_VALUES: dict[str, tuple[Any, ...]] = {
    "task_type": ("CAUSAL_LM", None),
    "bias": ("none",),
    "lora_bias": (False, None),
    "use_dora": (False, None),
    "use_qalora": (False, None),
    "use_bdlora": (False, None),
    "kasa_config": (None,),
    "fan_in_fan_out": (False, None),
    "modules_to_save": (None, []),
    "rank_pattern": (None, {}),
    "alpha_pattern": (None, {}),
    "layers_to_transform": (None,),
    "layer_replication": (None,),
    "target_parameters": (None, []),
    "trainable_token_indices": (None,),
    "alora_invocation_tokens": (None,),
    # PiSSA, OLoRA, CorDA and LoftQ also change the base weights, but the adapter file does not hold those.
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}

_MODULE_NAME = re.compile(r"[A-Za-z0-9_.]+")

# `lora_A.weight` as PEFT saves it; `lora_A.default.weight`, with the name of the adapter, as in the model's own state.
_LORA_TENSOR = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:(?:\.\w+)?\.weight)?")

_OTHER_TENSORS: Mapping[str, Text] = {
    "lora_magnitude_vector": Text("DoRA", "DoRA"),
    ".bias": Text("偏置，bias 或 lora_bias", "a bias, by bias or lora_bias"),
    "lora_embedding": Text("词表上的 LoRA", "LoRA on the embedding"),
    "trainable_tokens": Text("单独训练的词，trainable_token_indices", "tokens of its own, by trainable_token_indices"),
    "embed_tokens": Text("整个词表，modules_to_save", "a whole embedding, by modules_to_save"),
    "lm_head": Text("整个输出层，modules_to_save", "a whole output head, by modules_to_save"),
    "modules_to_save": Text("整层的权重，modules_to_save", "a whole layer, by modules_to_save"),
}
"""Parts of the names of tensors that are no LoRA of a linear, and what wrote them."""

_FLOATS = ("F16", "BF16", "F32", "F64")


def _modules(value: object) -> object:
    # A text is "all-linear" or a regular expression. It is not run, as it could run forever: the tensors tell enough.
    if isinstance(value, str) and value:
        return value
    listed = value if isinstance(value, list) else []
    wrong = [name for name in listed if not (isinstance(name, str) and _MODULE_NAME.fullmatch(name))]
    if wrong or not listed:
        found = shown(wrong[0] if wrong else value, 80)
        raise PartNotAllowed(
            f"应是模块名的列表，不能是 {found}；请把模块名逐个列出",
            f"must be a list of module names, not {found}; list the names one by one",
        )
    return value


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1  # type: ignore[operator]


class AdapterConfig(Typed):
    """The numbers of adapter_config.json, and what it says of the modules and the base that the adapter is for."""

    r: Annotated[int, whole(1, RANK_LIMIT)]
    lora_alpha: Annotated[float, number(0, ALPHA_LIMIT)]
    lora_dropout: Annotated[float, checked(_is_share, "应是 0 到 1 之间的数", "must be a number from 0 to below 1")] = (
        0.0
    )
    use_rslora: Flag | None = None
    target_modules: Annotated[list[str] | str, PlainValidator(_modules)]
    exclude_modules: Any = None
    base_model_name_or_path: Any = None

    @property
    def scale(self) -> float:
        """What the product of B and A is multiplied by."""
        return lora_scale(self.r, self.lora_alpha, bool(self.use_rslora))

    @property
    def base_name(self) -> str:
        """The base as the trainer wrote it: the name of a repository, a path of that machine, or nothing."""
        told = self.base_model_name_or_path
        return told if isinstance(told, str) else ""


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter folder that passed the scan: its adapter_config.json and the tensors of its one weight file."""

    folder: Path
    config: AdapterConfig
    tensors: dict[str, TensorEntry]

    @property
    def modules(self) -> tuple[str, ...]:
        """The kinds of linears that carry an update, in block order; kinds that no base here has come last."""
        found = {name.rsplit(".", 3)[-3] for name in self.names}
        return (*(name for name in LORA_MODULES if name in found), *sorted(found - {*LORA_MODULES}))

    @property
    def names(self) -> dict[str, str]:
        """The name of each tensor in the file, by its name in a model: `model.layers.0.….q_proj.lora_A.weight`."""
        return {_name_in_model(name): name for name in self.tensors}


def _name_in_model(name: str) -> str:
    found = _LORA_TENSOR.fullmatch(name)
    return f"{found[1]}.lora_{found[2]}.weight" if found else name


def scan_adapter(folder: Path) -> AdapterFiles:
    """Check a LoRA adapter folder in PEFT's format and return its files; no tensor is loaded.

    The adapter adds scale * B A to a weight: scale is alpha / r (Hu et al., 2021), or alpha / sqrt(r) with rsLoRA
    (Kalajdzievski, 2023). Raises UsageError if this is not an adapter folder; RefusedError if it is damaged,
    unsafe, or computes anything else.
    """
    if not holds(folder, "adapter_config.json"):
        raise _not_an_adapter_folder(folder)
    check_links(folder)
    raw_config = read_object(folder / "adapter_config.json", CONFIG_LIMIT_BYTES)
    refuse_code(raw_config, "adapter_config.json")
    config = _read_adapter_config(raw_config)
    weights = folder / "adapter_model.safetensors"
    if not holds(folder, weights.name):
        refuse_missing_weights(folder, weights.name)
    tensors = read_header(weights)
    _check_adapter_tensors(tensors, config.r, weights.name)
    _check_complete(tensors, config, weights.name)
    return AdapterFiles(folder=folder, config=config, tensors=tensors)


def _not_an_adapter_folder(folder: Path) -> UsageError:
    wanted = Text(
        "请给出装有 adapter_config.json 和 adapter_model.safetensors 的文件夹",
        "give the folder that holds adapter_config.json and adapter_model.safetensors",
    )
    if not is_folder(folder):
        return no_folder(folder, wanted)
    inside = sorted(folder.glob("*/adapter_config.json"), key=lambda path: (len(path.parent.name), path.parent.name))
    if inside:
        return UsageError(
            f"{folder} 里面还有一层：适配器在 {inside[-1].parent} 这样的文件夹里；请写出其中一个",
            f"the adapters are one level below {folder}, in folders such as {inside[-1].parent}; name one of these",
        )
    if holds(folder, "config.json"):
        return UsageError(
            f"这不是适配器文件夹：{folder} 是完整的模型，没有 adapter_config.json；{wanted.zh}",
            f"not an adapter folder: {folder} is a whole model, without adapter_config.json; {wanted.en}",
        )
    return UsageError(
        f"这不是适配器文件夹：{folder} 里没有 adapter_config.json；{wanted.zh}",
        f"not an adapter folder: {folder} has no adapter_config.json; {wanted.en}",
    )


def _read_adapter_config(config: dict[str, Any]) -> AdapterConfig:
    where = "adapter_config.json"
    if config.get("peft_type") != "LORA":
        found = shown(config.get("peft_type"), 80)
        raise refused(
            where,
            f"peft_type 是 {found}；只支持 LORA，请换一个 LoRA 适配器",
            f"peft_type is {found}; only LORA is supported, take a LoRA adapter",
        )
    if not _names_transformers(config.get("auto_mapping")):
        raise refused(
            where,
            "auto_mapping 会让加载器导入别的模块，tonghua 不支持；如果是您自己的适配器，请把它改成 null",
            "auto_mapping makes loaders import other modules; if the adapter is your own, set it to null",
        )
    for key, value in config.items():
        # Also a key of a later version of PEFT: switched on, it would compute something that nobody here knows.
        plain = _ADAPTER_PLAIN_VALUES.get(key, _NOTHING)
        # By type too: to Python, 0 is False.
        if key not in _NO_MATTER and not any(type(value) is type(each) and value == each for each in plain):
            raise refused(
                where,
                f"{shown(key, 80)} 是 {shown(value, 80)}，这会改变适配器的算法，tonghua 不支持；"
                "请换一个普通的 LoRA 适配器",
                f"{shown(key, 80)} is {shown(value, 80)}, which changes what the adapter computes and is not"
                " supported; take a plain LoRA adapter",
            )
    return read_typed(AdapterConfig, config, where)


def _names_transformers(mapping: object) -> bool:
    """True if `auto_mapping` is empty, or names a class of transformers as PEFT itself writes it. It is never used."""
    if mapping is None:
        return True
    library = mapping.get("parent_library") if isinstance(mapping, dict) else None
    return isinstance(library, str) and re.fullmatch(r"transformers(\.\w+)*", library) is not None


def _check_adapter_tensors(tensors: dict[str, TensorEntry], rank: int, where: str) -> None:
    """Raise RefusedError unless the tensors are pairs of A (rank, inputs) and B (outputs, rank)."""
    sides: dict[str, set[str]] = {}
    for name, entry in tensors.items():
        found = _LORA_TENSOR.fullmatch(name)
        if found is None or entry.dtype not in _FLOATS or any(part in name for part in ("embed_tokens", "lm_head")):
            raise _not_lora(name, entry, where)
        module, side = found.groups()
        if side in sides.get(module, ()):
            raise refused(
                where,
                f"{shown(module, 80)} 的 {side} 有两个，多半是两个适配器存在了一起；请只留一个",
                f"{shown(module, 80)} has two matrices {side}, most likely of two adapters in one file; keep one",
            )
        rank_dimension = 0 if side == "A" else 1
        if len(entry.shape) != 2 or entry.shape[rank_dimension] != rank:
            raise refused(
                where,
                f"张量 {shown(name, 80)} 的 shape 是 {list(entry.shape)}，"
                f"与 adapter_config.json 的 r={rank} 不符；请把两个文件一起重新下载",
                f"tensor {shown(name, 80)} has the shape {list(entry.shape)}, which does not fit r={rank} "
                "in adapter_config.json; fetch both files again",
            )
        sides.setdefault(module, set()).add(side)
    alone = [module for module, present in sides.items() if len(present) == 1]
    if alone or not sides:
        module = shown(alone[0] if alone else "lora_A", 80)
        raise refused(
            where,
            f"{module} 的 A、B 两个矩阵不成对；请重新下载这个文件",
            f"{module} lacks one of its matrices A and B; fetch this file again",
        )


def _not_lora(name: str, entry: TensorEntry, where: str) -> RefusedError:
    of = next((text for part, text in _OTHER_TENSORS.items() if part in name), Text(entry.dtype, entry.dtype))
    return refused(
        where,
        f"张量 {shown(name, 80)} 不是线性层上 LoRA 的 A 或 B 矩阵（{of.zh}）；请换一个普通的 LoRA 适配器",
        f"tensor {shown(name, 80)} is not an A or B matrix of LoRA on a linear ({of.en}); take a plain LoRA adapter",
    )


def _check_complete(tensors: dict[str, TensorEntry], config: AdapterConfig, where: str) -> None:
    """Raise RefusedError if a linear that the config lists by its name has no tensor."""
    listed = config.target_modules if isinstance(config.target_modules, list) and not config.exclude_modules else []
    there = {_name_in_model(name).rsplit(".", 3)[-3] for name in tensors}
    missing = [name for name in LORA_MODULES if name in {each.rsplit(".", 1)[-1] for each in listed} - there]
    if missing:
        raise refused(
            where,
            f"adapter_config.json 说 {missing[0]} 上有 LoRA，这里却没有它的张量；请把两个文件一起重新下载",
            f"adapter_config.json lists {missing[0]}, but no tensor is for it; fetch both files again",
        )
