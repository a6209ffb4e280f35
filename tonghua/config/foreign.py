"""Keys of other trainers: aliases of our keys, and keys that need no setting here, with the reason."""

import types
from collections.abc import Mapping
from typing import Final, NamedTuple

from ..text import Text

ALIASES: Final[Mapping[str, str]] = types.MappingProxyType(
    {
        "model_name_or_path": "model",
        "base_model": "model",
        "checkpoint_dir": "model",
        "data": "dataset",
        "dataset_path": "dataset",
        "local_dataset": "dataset",
        "default_system": "system",
        "cutoff_len": "max_length",
        "max_seq_length": "max_length",
        "sequence_len": "max_length",
        "val_set_size": "val_size",
        "split_dataset_ratio": "val_size",
        "batch_size": "per_device_train_batch_size",
        "micro_batch_size": "per_device_train_batch_size",
        "grad_accumulation_steps": "gradient_accumulation_steps",
        "epochs": "num_train_epochs",
        "num_epochs": "num_train_epochs",
        "lr": "learning_rate",
        "lr_scheduler": "lr_scheduler_type",
        "warmup_steps": "warmup_ratio",
        "r": "lora_rank",
        "lora_r": "lora_rank",
        "target_modules": "lora_target",
        "lora_target_modules": "lora_target",
        "activation_checkpointing": "gradient_checkpointing",
        "random_seed": "seed",
        "out_dir": "output_dir",
    }
)
"""Key of another trainer -> our key."""


class Foreign(NamedTuple):
    """A key that only other trainers need, and why. `harmless`: the values that are ignored (None = any value).

    Any other value is an error: a RefusedError if `unsafe`, else a UsageError.
    """

    harmless: frozenset[object] | None
    why: Text
    unsafe: bool = False


EITHER: Final = frozenset({True, False, None})
"""Harmless values of a switch that may be on or off."""

_OFF: Final = frozenset({False, None})

_PACKED: Final = Text(
    "总是打包，而且和逐条训练的结果一致",
    "rows are always packed, with the result of training one row at a time",
)

_ANSWERS: Final = Text("总是只在回答上计算损失", "the loss is always on the answers alone")

_EACH_EPOCH: Final = Text(
    "每轮结束都会保存，其间由 save_steps 或 save_minutes 定",
    "every epoch is saved; save_steps or save_minutes say when else",
)

_NO_WORKERS: Final = Text("数据多时自动用几个进程处理", "several processes are used if there are many rows")

_QUANTIZATION_BIT: Final = Text(
    "量化由 quantization_bit=4 或 8 决定",
    "quantization_bit=4 or 8 decides on it",
)

_VALIDATION: Final = Text("验证由 val_size 或 eval_dataset 决定", "validation follows val_size or eval_dataset")

FOREIGN: Final[Mapping[str, Foreign]] = types.MappingProxyType(
    {
        "stage": Foreign(
            frozenset({"sft"}), Text("这里只做指令微调（sft）", "instruction tuning (sft) is all there is")
        ),
        "finetuning_type": Foreign(frozenset({"lora"}), Text("这里只训练 LoRA", "LoRA is all that is trained")),
        "do_train": Foreign(frozenset({True}), Text("train 命令总是训练", "the train command always trains")),
        "template": Foreign(None, Text("总是用模型自带的对话模板", "the model's own chat template is always used")),
        "packing": Foreign(EITHER, _PACKED),
        "neat_packing": Foreign(EITHER, _PACKED),
        "sample_packing": Foreign(EITHER, _PACKED),
        "train_on_prompt": Foreign(_OFF, _ANSWERS),
        "train_on_inputs": Foreign(_OFF, _ANSWERS),
        "mask_prompt": Foreign(frozenset({True}), _ANSWERS),
        "optim": Foreign(
            frozenset(
                {
                    "adamw_torch",
                    "adamw_torch_fused",
                    "adamw_8bit",
                    "adamw_bnb_8bit",
                    "paged_adamw_8bit",
                    "paged_adamw_32bit",
                }
            ),
            Text(
                "总是用 fp32 的 AdamW，参数合成一块更新；8 位状态只能省约 26 MB（0.5B）或 55 MB（1.5B）",
                "fp32 AdamW over one flat buffer is always used; an 8-bit state would save about 26 MB (0.5B)"
                " or 55 MB (1.5B)",
            ),
        ),
        "bf16": Foreign(
            EITHER,
            Text(
                "精度按设备自动选；要固定就写 dtype=bfloat16",
                "precision follows the device; dtype=bfloat16 fixes it",
            ),
        ),
        "fp16": Foreign(
            EITHER,
            Text(
                "精度按设备自动选；要固定就写 dtype=float16",
                "precision follows the device; dtype=float16 fixes it",
            ),
        ),
        "flash_attn": Foreign(None, Text("注意力的算法按设备自动选", "the attention kernel follows the device")),
        "overwrite_cache": Foreign(EITHER, Text("没有要覆盖的数据缓存", "there is no cache of rows to overwrite")),
        "preprocessing_num_workers": Foreign(None, _NO_WORKERS),
        "dataloader_num_workers": Foreign(None, _NO_WORKERS),
        "ddp_timeout": Foreign(
            None, Text("只用一张卡，没有进程间等待", "one device is used, so nothing waits for others")
        ),
        "plot_loss": Foreign(EITHER, Text("总会画出损失曲线", "the loss curve is always drawn")),
        "logging_steps": Foreign(None, Text("每一步都会记录", "every step is logged")),
        "save_strategy": Foreign(None, _EACH_EPOCH),
        "eval_strategy": Foreign(None, _VALIDATION),
        "eval_steps": Foreign(None, _VALIDATION),
        "per_device_eval_batch_size": Foreign(
            None, Text("验证按 token 数打包", "validation rows are packed by tokens")
        ),
        "resume_from_checkpoint": Foreign(
            _OFF, Text("接着训练请用 tonghua train --resume", "tonghua train --resume continues a run")
        ),
        "overwrite_output_dir": Foreign(
            EITHER, Text("每次运行都有自己的新文件夹，不会覆盖", "every run has a new folder of its own")
        ),
        "load_in_4bit": Foreign(_OFF, _QUANTIZATION_BIT),
        "load_in_8bit": Foreign(_OFF, _QUANTIZATION_BIT),
        "trust_remote_code": Foreign(
            _OFF,
            Text("从不运行模型自带的代码", "remote code is never run"),
            unsafe=True,
        ),
    }
)
"""Keys from config files of other trainers that need no setting here."""
