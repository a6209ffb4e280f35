"""Keys of other trainers: what they are called here, what they set here, and what need not be set.

cutoff_len: 2048       ALIASES    max_length: 2048
load_in_4bit: true     SETS       quantization_bit: 4
plot_loss: true        FOREIGN    ignored: the loss curve is always drawn
use_dora: true         FOREIGN    an error: it would change the result
"""

import types
from collections.abc import Mapping
from typing import Final, NamedTuple

from ..text import Text

ALIASES: Final[Mapping[str, str]] = types.MappingProxyType(
    {
        alias: name
        for name, aliases in {
            "model": "model_name_or_path base_model checkpoint_dir",
            "adapter": "adapter_name_or_path adapters lora_model_dir",
            "dataset": "data dataset_path dataset_name local_dataset",
            "eval_dataset": "val_dataset",
            "system": "default_system",
            "max_length": "cutoff_len max_seq_length max_seq_len sequence_len",
            "val_size": "val_set_size split_dataset_ratio val_split_fraction",
            "per_device_train_batch_size": "batch_size micro_batch_size",
            "gradient_accumulation_steps": "grad_accumulation_steps",
            "num_train_epochs": "epochs num_epochs",
            "learning_rate": "lr",
            "lr_scheduler_type": "lr_scheduler",
            "lora_rank": "r lora_r",
            "lora_target": "target_modules lora_target_modules",
            "use_rslora": "peft_use_rslora",
            "gradient_checkpointing": "activation_checkpointing",
            "quantization_bit": "quant_bits",
            "dtype": "torch_dtype",
            "seed": "random_seed",
            "output_dir": "out_dir",
        }.items()
        for alias in aliases.split()
    }
)
"""Key of another trainer -> our key."""

SETS: Final[Mapping[tuple[str, object], tuple[str, str]]] = types.MappingProxyType(
    {
        ("load_in_4bit", True): ("quantization_bit", "4"),
        ("load_in_8bit", True): ("quantization_bit", "8"),
        ("adapter", "lora"): ("finetuning_type", "lora"),
        ("adapter", "qlora"): ("quantization_bit", "4"),
        ("pure_bf16", True): ("dtype", "bfloat16"),
        ("use_cpu", True): ("device", "cpu"),
        ("no_cuda", True): ("device", "cpu"),
        ("use_swanlab", True): ("report_to", "swanlab"),
        ("disable_gradient_checkpointing", True): ("gradient_checkpointing", "false"),
        ("gradient_checkpointing", "offload"): ("gradient_checkpointing", "true"),
        ("gradient_checkpointing", "unsloth"): ("gradient_checkpointing", "true"),
        ("save_total_limit", "1"): ("save_total_limit", "2"),  # the best and the last are always kept
        ("max_steps", "-1"): ("max_steps", "none"),
        ("lr_scheduler_type", "constant_with_warmup"): ("lr_scheduler_type", "constant"),
        ("lr_scheduler_type", "cosine_with_restarts"): ("lr_scheduler_type", "cosine"),  # one cycle, unless asked
    }
)
"""Key and value of another trainer, a switch as a bool and the rest as a lower-case word -> key and value here."""


class Foreign(NamedTuple):
    """A key that only other trainers need, and why. `harmless`: the values that are ignored (None: any value).

    Any other value is an error. `loud`: the user may count on an ignored value, so its note says why.
    """

    harmless: frozenset[object] | None
    why: Text
    loud: bool = False


EITHER: Final = frozenset({True, False, None})
"""Harmless values of a switch that may be on or off."""

_ON: Final = frozenset({True, None})

_OFF: Final = frozenset({False, None})

_ANSWERS: Final = Text("总是只在回答上计算损失", "the loss is always on the answers alone")

_QUANTIZED: Final = Text("量化由 quantization_bit=4（NF4）或 8 决定", "quantization_bit=4 (NF4) or 8 decides on it")

_NOT_HERE: Final = Text("这里没有这种做法；请去掉它", "there is no such thing here; leave it out")

_WEIGHTS: Final = Text(
    "几份数据各学几遍写在名字后面，例如 dataset=[a.json,b.json*2]",
    "how often rows are seen stands behind their name, such as dataset=[a.json,b.json*2]",
)


def _words(*words: str) -> frozenset[object]:
    return frozenset({None, *words})


_RULES: Final = (
    ("stage", Foreign(_words("sft"), Text("这里只做指令微调（sft）", "instruction tuning (sft) is all there is"))),
    (
        "finetuning_type train_type sft_type tuner_type",
        Foreign(_words("lora"), Text("这里只训练 LoRA", "LoRA is all that is trained")),
    ),
    ("do_train use_peft", Foreign(_ON, Text("train 命令总是训练 LoRA", "the train command always trains LoRA"))),
    (
        "do_eval do_predict predict_with_generate",
        Foreign(
            EITHER,
            Text("验证由 val_size 定；看回答用 tonghua eval", "val_size holds rows out; tonghua eval shows answers"),
        ),
    ),
    ("train_on_prompt train_on_inputs", Foreign(_OFF, _ANSWERS)),
    ("mask_prompt assistant_only_loss completion_only_loss train_on_completions", Foreign(_ON, _ANSWERS)),
    ("loss_scale", Foreign(_words("default"), _ANSWERS)),
    (
        "mask_history",
        Foreign(
            _OFF,
            Text(
                '一行里的回答都会学；不学的那句写上 "loss": false',
                'all answers of a row are learned; mark one that is not with "loss": false',
            ),
        ),
    ),
    (
        "template chat_template tool_format",
        Foreign(None, Text("总是用模型自带的对话模板", "the model's own chat template is always used"), loud=True),
    ),
    (
        "packing neat_packing sample_packing eval_sample_packing pad_to_sequence_len padding_free group_by_length",
        Foreign(
            EITHER,
            Text(
                "总是打包，而且和逐条训练的结果一致",
                "rows are always packed, with the result of training one row at a time",
            ),
        ),
    ),
    (
        "optim optimizer",
        Foreign(
            _words(
                *("adamw", "adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_8bit", "adamw_bnb_8bit"),
                *("adamw_torch_4bit", "adamw_torch_8bit", "paged_adamw_8bit", "paged_adamw_32bit"),
            ),
            Text(
                "总是用 fp32 的 AdamW，参数合成一块更新；8 位状态只能省约 26 MB（0.5B）或 55 MB（1.5B）",
                "fp32 AdamW over one flat buffer is always used; an 8-bit state would save about 26 MB (0.5B)"
                " or 55 MB (1.5B)",
            ),
            loud=True,
        ),
    ),
    (
        "bf16",
        Foreign(
            EITHER | {"auto"},
            Text(
                "精度按设备自动选；要固定就写 dtype=bfloat16", "precision follows the device; dtype=bfloat16 fixes it"
            ),
            loud=True,
        ),
    ),
    (
        "fp16",
        Foreign(
            EITHER | {"auto"},
            Text("精度按设备自动选；要固定就写 dtype=float16", "precision follows the device; dtype=float16 fixes it"),
            loud=True,
        ),
    ),
    (
        "flash_attn attn_impl attn_implementation flash_attention xformers_attention sdp_attention",
        Foreign(None, Text("注意力的算法按设备自动选", "the attention kernel follows the device")),
    ),
    (
        "use_unsloth use_unsloth_gc enable_liger_kernel use_liger_kernel use_liger lora_mlp_kernel lora_qkv_kernel"
        " lora_o_kernel torch_compile tf32 plugins gradient_checkpointing_kwargs low_cpu_mem_usage",
        Foreign(None, Text("快的算法本来就用着", "the fast kernels are in use as it is")),
    ),
    (
        "overwrite_cache load_from_cache_file dataset_prepared_path cache_dir",
        Foreign(None, Text("处理好的数据按内容找回，不会用错", "prepared rows are found by content, never stale")),
    ),
    (
        "preprocessing_num_workers dataloader_num_workers dataset_num_proc dataset_processes preprocessing_batch_size"
        " dataloader_pin_memory dataloader_persistent_workers dataloader_prefetch_factor dataloader_drop_last"
        " streaming buffer_size lazy_tokenize remove_unused_columns",
        Foreign(None, Text("数据多时自动用几个进程处理", "several processes are used if there are many rows")),
    ),
    (
        "ddp_timeout ddp_backend ddp_find_unused_parameters deepspeed fsdp fsdp_config local_rank device_map",
        Foreign(None, Text("只用一张卡，没有进程间等待", "one device is used, so nothing waits for others")),
    ),
    ("plot_loss", Foreign(EITHER, Text("总会画出损失曲线", "the loss curve is always drawn"))),
    (
        "logging_steps logging_first_step logging_strategy logging_dir log_level disable_tqdm"
        " include_num_input_tokens_seen",
        Foreign(None, Text("每一步都会记录", "every step is logged")),
    ),
    (
        "save_strategy saves_per_epoch save_safetensors",
        Foreign(
            None,
            Text(
                "每轮结束都会保存，其间由 save_steps 或 save_minutes 定",
                "every epoch is saved; save_steps or save_minutes say when else",
            ),
        ),
    ),
    (
        "save_only_model",
        Foreign(
            EITHER,
            Text(
                "检查点总带着接着训练要用的状态；留几个由 save_total_limit 定",
                "a checkpoint always holds what a resume needs; save_total_limit says how many are kept",
            ),
        ),
    ),
    (
        "eval_strategy evaluation_strategy eval_steps evals_per_epoch eval_on_start",
        Foreign(
            None,
            Text(
                "验证数据由 val_size 或 eval_dataset 定，每轮结束时算损失",
                "val_size or eval_dataset hold rows out, and their loss is measured after each epoch",
            ),
        ),
    ),
    (
        "load_best_model_at_end metric_for_best_model greater_is_better early_stopping_patience",
        Foreign(
            None, Text("留下的总是验证损失最低的适配器", "the adapter with the lowest held-out loss is what is kept")
        ),
    ),
    (
        "per_device_eval_batch_size eval_batch_size eval_accumulation_steps",
        Foreign(None, Text("验证按 token 数打包", "validation rows are packed by tokens")),
    ),
    (
        "resume_from_checkpoint auto_resume_from_checkpoints",
        Foreign(_OFF, Text("接着训练请用 tonghua train --resume", "tonghua train --resume continues a run")),
    ),
    (
        "overwrite_output_dir add_version",
        Foreign(EITHER, Text("每次运行都有自己的新文件夹，不会覆盖", "every run has a new folder of its own")),
    ),
    ("load_in_4bit load_in_8bit", Foreign(_OFF, _QUANTIZED)),
    ("double_quantization bnb_4bit_use_double_quant", Foreign(EITHER, _QUANTIZED)),
    ("bnb_4bit_compute_dtype", Foreign(None, _QUANTIZED)),
    ("quantization_method quant_method", Foreign(_words("bnb", "bitsandbytes"), _QUANTIZED)),
    ("quantization_type bnb_4bit_quant_type", Foreign(_words("nf4"), _QUANTIZED)),
    (
        "trust_remote_code",
        Foreign(
            EITHER,
            Text(
                "模型自带的代码从不运行；离了它就不能用的模型会被拒绝",
                "a model's own code is never run; a model that needs it is refused",
            ),
            loud=True,
        ),
    ),
    (
        "use_dora peft_use_dora pissa_init use_galore use_apollo use_badam use_llama_pro use_adam_mini use_muon"
        " neftune_noise_alpha noisy_embedding_alpha freeze_llm shift_attn lora_fan_in_fan_out"
        " train_on_eot resize_vocab",
        Foreign(_OFF, _NOT_HERE),
    ),
    (
        "additional_target modules_to_save lora_modules_to_save loraplus_lr_ratio lora_lr_ratio lr_scheduler_kwargs"
        " rope_scaling label_smoothing_factor target_regex cosine_min_lr_ratio",
        Foreign(frozenset({None, 0, "", "{}"}), _NOT_HERE),
    ),
    ("bias lora_bias lora_bias_trainable", Foreign(_words("none"), _NOT_HERE)),
    ("lora_target_linear init_lora_weights", Foreign(_ON, _NOT_HERE)),
    ("mix_strategy", Foreign(_words("concat"), _WEIGHTS)),
    ("interleave_probs", Foreign(_words(), _WEIGHTS)),
    (
        "push_to_hub hub_model_id hub_token hub_strategy hub_private_repo",
        Foreign(None, Text("训练结果从不上传", "a run is never uploaded"), loud=True),
    ),
    (
        "wandb_project wandb_entity wandb_watch wandb_name wandb_run_id wandb_log_model use_wandb swanlab_project"
        " swanlab_workspace swanlab_run_name swanlab_mode swanlab_api_key",
        Foreign(
            None,
            Text(
                "要上报请写 report_to=wandb 或 swanlab；项目名由它们自己的环境变量定",
                "to send the numbers write report_to=wandb or swanlab; their own variables name the project",
            ),
            loud=True,
        ),
    ),
    ("do_sample", Foreign(_ON, Text("不要随机就写 temperature=0", "for no chance write temperature=0"))),
    (
        "use_hf use_modelscope hub_revision",
        Foreign(None, Text("哪个站先答就从哪里下载", "a model comes from the hub that answers first")),
    ),
    (
        "pure_bf16 use_cpu no_cuda use_swanlab disable_gradient_checkpointing",
        Foreign(_OFF, Text("应是 true 或 false", "must be true or false")),
    ),
    (
        "model_type tokenizer_type model_author model_name special_tokens strict debug data_seed full_determinism"
        " check_model media_dir loss_watchdog_threshold loss_watchdog_patience task_type lora_task_type tuner_backend"
        " lora_dtype model_revision split_special_tokens use_cache infer_backend infer_dtype"
        " use_fast_tokenizer label_names dataset_text_field freeze_vision_tower freeze_vit freeze_aligner"
        " auto_find_batch_size skip_memory_metrics prediction_loss_only ignore_pad_token_for_loss print_param_status"
        " compute_accuracy",
        Foreign(None, Text("这里用不到", "nothing here needs it")),
    ),
)

FOREIGN: Final[Mapping[str, Foreign]] = types.MappingProxyType(
    {key: rule for keys, rule in _RULES for key in keys.split()}
)
"""Keys from config files of other trainers that need no setting here."""
