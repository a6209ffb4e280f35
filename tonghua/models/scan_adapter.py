"""Check an untrusted LoRA adapter folder before anything in it is loaded."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

from ..errors import UsageError
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

# The values of each key with which the adapter computes `W + scale * B A`; any other value changes that.
_ADAPTER_PLAIN_VALUES: dict[str, tuple[Any, ...]] = {
    "bias": ("none",),
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

_LORA_TENSOR = re.compile(r"(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?")


def _modules(value: object) -> object:
    listed = value if isinstance(value, list) else []
    wrong = [name for name in listed if not (isinstance(name, str) and _MODULE_NAME.fullmatch(name))]
    if value != "all-linear" and (wrong or not listed):
        # PEFT reads a string as a regular expression, and a hostile one can run forever.
        found = shown(wrong[0] if wrong else value, 80)
        raise PartNotAllowed(
            f'应是模块名的列表或 "all-linear"，不能是 {found}；请把模块名逐个列出',
            f'must be a list of module names or "all-linear", not {found}; list the names one by one',
        )
    return value


def _is_share(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value < 1  # type: ignore[operator]


class AdapterConfig(Typed):
    """The numbers of adapter_config.json, and the modules that the adapter is for."""

    r: Annotated[int, whole(1, RANK_LIMIT)]
    lora_alpha: Annotated[float, number(0, ALPHA_LIMIT)]
    lora_dropout: Annotated[float, checked(_is_share, "应是 0 到 1 之间的数", "must be a number from 0 to below 1")] = (
        0.0
    )
    use_rslora: Flag | None = None
    target_modules: Annotated[list[str] | str, PlainValidator(_modules)]

    @property
    def scale(self) -> float:
        """What the product of B and A is multiplied by."""
        return self.lora_alpha / (self.r**0.5 if self.use_rslora else self.r)


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter folder that passed the scan: its adapter_config.json and the tensors of its one weight file."""

    folder: Path
    config: AdapterConfig
    tensors: dict[str, TensorEntry]


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
    return AdapterFiles(folder=folder, config=config, tensors=tensors)


def _not_an_adapter_folder(folder: Path) -> UsageError:
    wanted = Text(
        "请给出装有 adapter_config.json 和 adapter_model.safetensors 的文件夹",
        "give the folder that holds adapter_config.json and adapter_model.safetensors",
    )
    if not folder.is_dir():
        return no_folder(folder, wanted)
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
    if config.get("auto_mapping") is not None:
        raise refused(
            where,
            "auto_mapping 会让加载器导入别的模块，tonghua 不支持；如果是您自己的适配器，请把它改成 null",
            "auto_mapping makes loaders import other modules; if the adapter is your own, set it to null",
        )
    for key, plain in _ADAPTER_PLAIN_VALUES.items():
        value = config.get(key, plain[0])
        # By type too: to Python, 0 is False.
        if not any(type(value) is type(each) and value == each for each in plain):
            raise refused(
                where,
                f"{key} 是 {shown(value, 80)}，这会改变适配器的算法，tonghua 不支持；请换一个普通的 LoRA 适配器",
                f"{key} is {shown(value, 80)}, which changes what the adapter computes and is not supported; "
                "take a plain LoRA adapter",
            )
    return read_typed(AdapterConfig, config, where)


def _check_adapter_tensors(tensors: dict[str, TensorEntry], rank: int, where: str) -> None:
    """Raise RefusedError unless the tensors are pairs of A (rank, inputs) and B (outputs, rank)."""
    sides: dict[str, set[str]] = {}
    for name, entry in tensors.items():
        found = _LORA_TENSOR.fullmatch(name)
        if found is None:
            raise refused(
                where,
                f"张量 {shown(name, 80)} 不是 LoRA 的 A 或 B 矩阵；请换一个普通的 LoRA 适配器",
                f"tensor {shown(name, 80)} is not an A or B matrix of LoRA; take a plain LoRA adapter",
            )
        module, side = found.groups()
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
