"""Convert an adapter to and from PEFT's format: adapter_model.safetensors and adapter_config.json."""

from collections.abc import Mapping

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..core.lora import Adapter
from ..core.model import Decoder
from ..errors import DataError
from ..text import json_text, listed
from .guarded import refused
from .scan_adapter import AdapterFiles

PEFT_PREFIX = "base_model.model."


def adapter_files(adapter: Adapter, alpha: float, use_rslora: bool, base_name: str) -> dict[str, bytes]:
    """Return the files of an adapter in PEFT's format, as file name to content.

    PEFT computes its scale from them: alpha / rank, or alpha / sqrt(rank) with `use_rslora`.
    """
    tensors = {PEFT_PREFIX + name: master.detach().cpu().contiguous() for name, master in adapter.masters.items()}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": adapter.rank,
        "lora_alpha": int(alpha) if float(alpha).is_integer() else alpha,
        "lora_dropout": adapter.dropout,
        "target_modules": sorted(adapter.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": use_rslora,
        "use_dora": False,
        "init_lora_weights": True,
        "inference_mode": True,
        "modules_to_save": None,
    }
    return {
        "adapter_model.safetensors": save(tensors, metadata={"format": "pt"}),
        "adapter_config.json": (json_text(config, indent=2) + "\n").encode(),
    }


def load_adapter(files: AdapterFiles, decoder: Decoder, dropout: float = 0.0) -> Adapter:
    """Add a saved adapter, from tonghua or another trainer, to its base model, and return it.

    Raises DataError if its tensors do not fit the layers of `decoder`, RefusedError if a number is not finite.
    """
    config = files.config
    try:
        adapter = Adapter(decoder.linears(), files.modules, config.r, config.scale, dropout)
    except ValueError:
        modules = listed(files.modules)
        raise DataError(
            f"适配器 {files.folder.name} 要加在 {modules.zh} 上，这个基座模型里一个也没有；请用训练它的那个基座",
            f"adapter {files.folder.name} is for {modules.en}, none of which this base model has; use the base that it"
            " was trained on",
        ) from None
    _compare(adapter.masters, files)
    with safe_open(files.folder / "adapter_model.safetensors", "pt") as opened, torch.no_grad():
        names = files.names
        for name, master in adapter.masters.items():
            master.copy_(opened.get_tensor(names[name]))
    if not adapter.flat.isfinite().all():
        raise refused(
            "adapter_model.safetensors",
            "里面有不是有限数的权重；请换一个检查点，或重新下载",
            "it holds weights that are not finite; take another checkpoint, or fetch it again",
        )
    adapter.refresh()
    return adapter


def _compare(masters: Mapping[str, Tensor], files: AdapterFiles) -> None:
    wanted = {name: tuple(master.shape) for name, master in masters.items()}
    found = {name: files.tensors[own].shape for name, own in files.names.items()}
    differing = sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
    if differing:
        name = differing[0]
        raise DataError(
            f"适配器 {files.folder.name} 与这个基座模型对不上：{name} 应为 {wanted.get(name)}，实为 {found.get(name)}"
            f"（共 {len(differing)} 处）；请用训练它的那个基座",
            f"adapter {files.folder.name} does not fit this base model: {name} should be {wanted.get(name)} and is"
            f" {found.get(name)} ({len(differing)} in all); use the base that it was trained on",
        )
