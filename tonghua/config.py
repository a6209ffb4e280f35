"""The settings of a run: one frozen `Config`, the only home of defaults.

    shipped recipe  <  the user's YAML file  <  key=value on the command line
    ------------------------- each later one wins -------------------------->  Config (frozen)

`load` reads these layers, accepts the names that other trainers use for the same thing, and reports every
problem at once, one line each. `to_yaml` writes the whole config so that it runs again.

    lr: 1e-4        text 1e-4        read by the type of the field       1e-4 (float)
    system: no      text no          YAML would make it False            an error that says to quote it
"""

import difflib
import os
import re
import types
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .errors import RefusedError, UsageError
from .text import Text

LORA_MODULES: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""The linear layers of a decoder block that can carry LoRA, in the order of the block."""

TRACKERS: Final = ("tensorboard", "swanlab", "wandb", "trackio")
"""The experiment trackers that a run can report to."""

MAX_FILE_BYTES: Final = 1_000_000
MAX_DEPTH: Final = 8
PLACEHOLDER: Final = re.compile("<[^<>]+>")
"""What stands in a script or a page until the user writes a path there."""

DEFAULT_NAME: Final = "tonghua"
"""The name of a run that came from no recipe."""

_YES: Final = frozenset({"true", "yes", "on", "1"})
_NO: Final = frozenset({"false", "no", "off", "0"})
_NOTHING: Final = frozenset({"none", "null", ""})


class _NotAllowed(ValueError):
    """A value that a field refuses for a reason of its own, said in both languages."""

    def __init__(self, zh: str, en: str):
        super().__init__(en)
        self.text = Text(zh, en)


def _as_text(value: object) -> object:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _blank_to_none(value: object) -> object:
    value = _as_text(value)
    return None if isinstance(value, str) and not value.strip() else value


def _path(value: str | None) -> str | None:
    if value and PLACEHOLDER.fullmatch(value.strip()):
        raise _NotAllowed(
            "还是占位符；请换成自己的路径或名字（自带的数据有 fairytale，模型有 tiny）",
            "is still a placeholder; write a path or a name of your own (rows fairytale and model tiny come along)",
        )
    if value and any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in value):
        raise _NotAllowed(
            "路径里有控制字符，多半是双引号把反斜杠当成了转义；请改用单引号，或把 \\ 写成 /",
            "the path holds a control character, most likely a backslash read as an escape inside double"
            " quotes; use single quotes, or write / for \\",
        )
    return value


def _share_or_rows(value: float) -> float:
    if value >= 1 and value != int(value):
        raise _NotAllowed(
            "应是小于 1 的比例（0.05 即 5%），或不小于 1 的整数行数",
            "must be a share below 1 (0.05 is 5 %) or a whole number of rows",
        )
    return value


def _folder_name(value: str | None) -> str | None:
    if value is None:
        return None
    forbidden = any(
        character in '<>:"/\\|?*' or not (character.isprintable() or character == "\u3000") for character in value
    )
    if forbidden or len(value) > 64 or value[0] in ". " or value[-1] in ". ":
        raise _NotAllowed(
            '要用作文件夹名：不超过 64 个字，不含 < > : " / \\ | ? *，首尾不是点或空格',
            'becomes a folder name: at most 64 characters, none of < > : " / \\ | ? *, no dot or space at either end',
        )
    return value


def _modules(value: object) -> object:
    """`all`, a list, or names with commas between them -> "all" or a tuple of names."""
    names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        names = []
    if list(names) in (["all"], ["all-linear"]):
        return "all"
    for name in names:
        if name in ("lm_head", "embed_tokens"):
            raise _NotAllowed(
                f"{name} 不能加 LoRA：这类模型的词表输入和输出共用一份权重，加了就无法合并和导出",
                f"{name} cannot carry LoRA: the embedding and the output head of these models are one matrix,"
                " so the result could not be merged or exported",
            )
    if not names or any(name not in LORA_MODULES for name in names):
        known = ", ".join(LORA_MODULES)
        raise _NotAllowed(f"应是 all，或 {known} 中的几个", f"must be all, or some of {known}")
    return tuple(names)


def _paths(value: object) -> object:
    """One path, or several: a list, or `[a.json, b.json]` -> a tuple."""
    value = _blank_to_none(value)
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        value = [each.strip() for each in value[1:-1].split(",")]
    if not isinstance(value, list | tuple):
        return _path(value) if isinstance(value, str) else value
    paths = tuple(_as_text(each) for each in value)
    if not paths or not all(isinstance(each, str) and each.strip() for each in paths):
        raise _NotAllowed("应是一个或几个文件的路径", "must be the path of a file, or several")
    return tuple(_path(str(each)) for each in paths)


def _trackers(value: object) -> object:
    """`none`, a list, or names with commas between them -> a tuple of names."""
    names = re.split("[,，]", value.strip("[]")) if isinstance(value, str) else value
    names = [] if names is None else names
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        names = tuple(dict.fromkeys(name.strip().lower() for name in names if name.strip().lower() not in _NOTHING))
        if set(names) <= set(TRACKERS):
            return names
    known = ", ".join(TRACKERS)
    raise _NotAllowed(f"应是 none，或 {known} 中的几个", f"must be none, or some of {known}")


def _column_names(value: object) -> object:
    """`{output: 回复, input: 补充}`, with or without the braces -> {role: column}."""
    value = _blank_to_none(value)
    if isinstance(value, str):
        pairs = [each.partition(":") for each in re.split("[,，]", value.strip().strip("{}").replace("：", ":"))]
        value = {role.strip(): column.strip() for role, colon, column in pairs if colon}
        value = value if len(value) == len(pairs) else None
    elif value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(each, str) for pair in value.items() for each in pair):
        raise _NotAllowed(
            "应是 角色:列名，例如 columns=output:回复内容", "must be role:column, such as columns=output:reply"
        )
    return value


def _dtype_name(value: object) -> object:
    short = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
    return short.get(value, value) if isinstance(value, str) else value


_OptionalText = Annotated[str | None, BeforeValidator(_blank_to_none)]
_OptionalPath = Annotated[str | None, BeforeValidator(_blank_to_none), AfterValidator(_path)]
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)


Overlong = Literal["split", "drop", "error"]
"""What becomes of a row that is longer than `max_length`."""


class Sampling(BaseModel):
    """How answers are drawn, in chat, evaluation and serving."""

    model_config = _STRICT

    temperature: float = Field(
        default=0.7,
        ge=0,
        le=5,
        description="温度，越高越多变，0 为总取最可能的字 / higher is more varied, 0 is greedy",
    )
    top_p: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="只在累计概率前 top_p 的字里选 / keep the likeliest tokens up to this share",
    )
    top_k: int = Field(
        default=0,
        ge=0,
        description="只在最可能的前 k 个里选，0 为不限 / keep the k likeliest tokens, 0 = off",
    )
    min_p: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="去掉低于最高概率此倍数的字，0 为不用 / drop below this share of the top, 0 = off",
    )
    repetition_penalty: float = Field(
        default=1.1, gt=0, le=10, description="重复惩罚，1 为不用 / penalty on tokens already used, 1 = off"
    )
    max_new_tokens: int = Field(
        default=1024, ge=1, le=131072, description="一次回答最多多少 token / longest answer in tokens"
    )
    dry_multiplier: float = Field(
        default=0.8,
        ge=0,
        le=10,
        description="整段重复的惩罚强度，0 为不用 / strength against repeated phrases, 0 = off",
    )
    dry_base: float = Field(
        default=1.75,
        ge=1,
        le=10,
        description="重复每长一个 token 惩罚乘几倍 / growth of that penalty per repeated token",
    )
    dry_allowed_length: int = Field(
        default=4, ge=1, description="多长以内的重复不罚 / repeats up to this many tokens are free"
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="固定它，回答可以重现 / set it and answers can be reproduced",
    )


class Config(BaseModel):
    """Everything that a run can be told. Frozen; unknown keys, NaN and infinity are refused."""

    model_config = _STRICT

    model: _OptionalPath = Field(default=None, description="模型的名字或文件夹 / name or folder of the model")
    dataset: Annotated[str | tuple[str, ...] | None, BeforeValidator(_paths)] = Field(
        default=None,
        description="训练数据，可以有几份；a.json*2 学两遍 / rows to train on, or several; a.json*2 = twice as often",
    )
    columns: Annotated[dict[str, str] | None, BeforeValidator(_column_names)] = Field(
        default=None,
        description="哪一列是什么，看列名看不出时才要写 / which column is what, where its name does not tell",
    )
    eval_dataset: _OptionalPath = Field(
        default=None,
        description="验证数据的路径，不给就从训练数据里留出 / validation rows; none = held out of dataset",
    )
    system: _OptionalText = Field(
        default=None,
        max_length=100_000,
        description="系统提示词，不给就用模板自带的 / system prompt; none = the template's own",
    )
    max_length: int = Field(default=1024, ge=8, le=131072, description="一行数据最多多少 token / longest row in tokens")
    overlong: Overlong = Field(
        default="split",
        description="超过 max_length 的行：在段落处拆开、不要、报错 / rows longer than that: split, drop or error",
    )
    val_size: Annotated[float, AfterValidator(_share_or_rows)] = Field(
        default=0.05,
        ge=0,
        description="留作验证的比例（小于 1）或行数 / rows held out: a share below 1, or a number",
    )
    skip_bad_rows: bool = Field(
        default=False, description="跳过有问题的行而不是停下 / leave bad rows out instead of stopping"
    )

    per_device_train_batch_size: int = Field(
        default=16, ge=1, le=65536, description="每次累积的样本数 / samples per accumulation"
    )
    gradient_accumulation_steps: int = Field(
        default=1,
        ge=1,
        le=65536,
        description="累积几次更新一步；两者之积即每步样本数 / times this, samples per step",
    )
    tokens_per_micro_batch: int | None = Field(
        default=None,
        ge=8,
        description="一次前向打包多少 token，不给则按设备定 / tokens per forward; none = by device",
    )
    num_train_epochs: float = Field(default=3, gt=0, le=100_000, description="把数据学几遍 / passes over the rows")
    max_steps: int | None = Field(
        default=None,
        ge=1,
        description="最多更新几步，不给则由遍数定 / most optimizer steps; none = by epochs",
    )

    learning_rate: float = Field(default=2e-4, gt=0, le=1, description="最高学习率 / peak learning rate")
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="预热之后学习率怎样下降 / how the learning rate falls after warm-up"
    )
    warmup_ratio: float = Field(
        default=0.03, ge=0, lt=1, description="预热占总步数的比例 / share of steps that warm up"
    )
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="权重衰减 / decoupled weight decay")
    max_grad_norm: float = Field(
        default=1.0,
        ge=0,
        description="梯度范数的上限，0 为不限 / gradients are clipped to this norm, 0 = off",
    )
    adam_beta1: float = Field(default=0.9, ge=0, lt=1, description="AdamW 一阶动量 / AdamW first moment decay")
    adam_beta2: float = Field(default=0.999, ge=0, lt=1, description="AdamW 二阶动量 / AdamW second moment decay")
    adam_epsilon: float = Field(default=1e-8, gt=0, le=1, description="AdamW 的分母小量 / AdamW epsilon")

    lora_rank: int = Field(
        default=8, ge=1, le=1024, description="LoRA 的秩，越大越能学也越大 / rank: capacity and size"
    )
    lora_alpha: float = Field(
        default=32, gt=0, le=65536, description="LoRA 缩放，实际为 alpha/r / scale is alpha / rank"
    )
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, description="LoRA 输入的随机丢弃 / dropout before LoRA")
    lora_target: Annotated[Literal["all"] | tuple[str, ...], BeforeValidator(_modules)] = Field(
        default="all", description="给哪些层加 LoRA，all 为七种全加 / layers with LoRA; all = the seven"
    )
    gradient_checkpointing: bool | Literal["auto"] = Field(
        default="auto",
        description="重算激活以省内存，auto 为放不下才用 / recompute activations; auto = if need be",
    )

    seed: int = Field(default=42, ge=0, lt=2**32, description="随机种子 / random seed")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="在哪里算，auto 为自动 / where to compute; auto = the best there is"
    )
    dtype: Annotated[Literal["auto", "bfloat16", "float16", "float32"], BeforeValidator(_dtype_name)] = Field(
        default="auto",
        description="底模的精度，auto 按设备定 / precision of the base model; auto = by device",
    )

    quantization_bit: Annotated[Literal[4, 8] | None, BeforeValidator(_blank_to_none)] = Field(
        default=None,
        description="底模存成 4 位（NF4）或 8 位，省内存但慢 / base in 4 (NF4) or 8 bits: less memory, slower",
    )

    output_dir: Annotated[str, BeforeValidator(_as_text), AfterValidator(_path)] = Field(
        default="runs", min_length=1, description="运行结果放在哪个文件夹 / folder that holds the runs"
    )
    save_minutes: float | None = Field(
        default=5,
        gt=0,
        le=100_000,
        description="除每轮结束外，每隔几分钟存一个检查点 / minutes between checkpoints within an epoch",
    )
    save_steps: int | None = Field(
        default=None,
        ge=1,
        description="每隔几步存一个检查点，不给则由 save_minutes 定 / steps between checkpoints; none = by minutes",
    )
    save_total_limit: int = Field(
        default=3,
        ge=2,
        description="保留几个检查点，最好的和最后的总会留下 / checkpoints kept; best and last always are",
    )
    run_name: Annotated[str | None, BeforeValidator(_blank_to_none), AfterValidator(_folder_name)] = Field(
        default=None, description="这次运行的名字，不给则用配方名 / name of the run; none = the recipe's"
    )
    report_to: Annotated[tuple[str, ...], BeforeValidator(_trackers)] = Field(
        default=(),
        description="向哪些工具报告数字：tensorboard、swanlab、wandb、trackio，可以写几个，none 为不报告"
        " / trackers that get the numbers: tensorboard, swanlab, wandb, trackio, or several; none = sent nowhere",
    )
    sampling: Sampling = Field(default_factory=Sampling, description="怎样生成回答 / how answers are drawn")

    @property
    def samples_per_step(self) -> int:
        """Samples per optimizer step, however they are packed into micro-batches."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def lora_modules(self) -> tuple[str, ...]:
        """The names that carry LoRA, each once, in the order of the block."""
        return tuple(name for name in LORA_MODULES if self.lora_target == "all" or name in self.lora_target)


STYLES: Final[Mapping[str, Mapping[str, float]]] = types.MappingProxyType(
    {
        "varied": types.MappingProxyType({"temperature": 0.85, "top_p": 0.95}),
        "steady": types.MappingProxyType({"temperature": 0.55, "repetition_penalty": 1.2}),
        "long": types.MappingProxyType({"max_new_tokens": 1536}),
        "short": types.MappingProxyType({"max_new_tokens": 512}),
    }
)
"""Named ways of answering: what each changes in `Sampling`."""

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
"""Names that other trainers use -> ours."""


class Foreign(NamedTuple):
    """A key that other trainers need and tonghua does not: its harmless values (None = any) and why."""

    harmless: frozenset[object] | None
    why: Text
    unsafe: bool = False


_EITHER: Final = frozenset({True, False, None})
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
_NO_WORKERS: Final = Text("数据多时自动用几个进程处理", "several processes are used where there are many rows")
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
        "packing": Foreign(_EITHER, _PACKED),
        "neat_packing": Foreign(_EITHER, _PACKED),
        "sample_packing": Foreign(_EITHER, _PACKED),
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
            _EITHER,
            Text(
                "精度按设备自动选；要固定就写 dtype=bfloat16",
                "precision follows the device; dtype=bfloat16 fixes it",
            ),
        ),
        "fp16": Foreign(
            _EITHER,
            Text(
                "精度按设备自动选；要固定就写 dtype=float16",
                "precision follows the device; dtype=float16 fixes it",
            ),
        ),
        "flash_attn": Foreign(None, Text("注意力的算法按设备自动选", "the attention kernel follows the device")),
        "overwrite_cache": Foreign(_EITHER, Text("没有要覆盖的数据缓存", "there is no cache of rows to overwrite")),
        "preprocessing_num_workers": Foreign(None, _NO_WORKERS),
        "dataloader_num_workers": Foreign(None, _NO_WORKERS),
        "ddp_timeout": Foreign(
            None, Text("只用一张卡，没有进程间等待", "one device is used, so nothing waits for others")
        ),
        "plot_loss": Foreign(_EITHER, Text("总会画出损失曲线", "the loss curve is always drawn")),
        "logging_steps": Foreign(None, Text("每一步都会记录", "every step is logged")),
        "save_strategy": Foreign(None, _EACH_EPOCH),
        "eval_strategy": Foreign(None, _VALIDATION),
        "eval_steps": Foreign(None, _VALIDATION),
        "per_device_eval_batch_size": Foreign(
            None, Text("验证按 token 数打包", "validation rows are packed by tokens")
        ),
        "resume_from_checkpoint": Foreign(
            _OFF, Text("接着训练请用 tonghua train --resume", "tonghua train --resume goes on with a run")
        ),
        "overwrite_output_dir": Foreign(
            _EITHER, Text("每次运行都有自己的新文件夹，不会覆盖", "every run has a new folder of its own")
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
"""Keys that files written for other trainers hold, which need no setting here."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A config, the name of its recipe or file (`tonghua` without one), and notes to show to the user."""

    config: Config
    name: str
    notes: tuple[Text, ...]


_NOWHERE: Final = Text("", "")


class _Problem(NamedTuple):
    text: Text
    unsafe: bool = False


@dataclass(frozen=True, slots=True)
class _Setting:
    """One `key = value` as its writer gave it, with `-` in the key read as `_`.

    `bare`: unquoted text, where the word none means nothing. `retyped`: YAML takes the bare text for
    something other than text, such as a bool, a number or a date.
    """

    key: str
    value: object
    where: Text = _NOWHERE
    bare: bool = False
    retyped: bool = False

    def shown(self) -> str:
        return f"{self.key}={_shown(self.value)}"

    def problem(self, zh: str, en: str, *, unsafe: bool = False) -> _Problem:
        return _Problem(Text(self.where.zh + zh, self.where.en + en), unsafe)


def _shown(value: object) -> str:
    """A value on one short line."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    text = "".join(one if one.isprintable() or one == "\u3000" else repr(one)[1:-1] for one in text)
    return text if len(text) <= 40 else text[:39] + "…"


# --- what a key means and whether its value is allowed ---------------------------------------------------


def _target(key: str) -> tuple[type[BaseModel], str] | None:
    """The model and field that a key or alias sets; sampling keys may be flat or start with `sampling.`."""
    name = ALIASES.get(key, key)
    if name.startswith("sampling."):
        leaf = name.removeprefix("sampling.")
        return (Sampling, leaf) if leaf in Sampling.model_fields else None
    for model in (Config, Sampling):
        if name in model.model_fields and name != "sampling":
            return model, name
    return None


def _members(model: type[BaseModel], name: str) -> tuple[Any, ...]:
    """The types that a field takes: `int | None` -> (int, NoneType)."""
    annotation = model.model_fields[name].annotation
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _typed(setting: _Setting, members: tuple[Any, ...]) -> object:
    """The value by the type of its field. Text that does not fit stays text and fails in validation."""
    value = setting.value
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if type(None) in members and word in _NOTHING and (setting.bare or str not in members):
        return None
    if bool in members and word in _YES | _NO:
        return word in _YES
    numbers = [choice for member in members for choice in get_args(member) if isinstance(choice, int)]
    if word in map(str, numbers):
        return int(word)
    for number in (int, float):
        if number in members:
            try:
                return number(value)
            except ValueError:
                return value
    return value


def _allowed(model: type[BaseModel], name: str) -> Text:
    """What a field takes, in words, from its own bounds: "must be a number (above 0, at most 1)"."""
    schema = model.model_json_schema()["properties"][name]
    choices = [choice for one in schema.get("anyOf", [schema]) for choice in _choices(one)]
    en = " or ".join(filter(None, (", ".join(one.en for one in choices[:-1]), choices[-1].en)))
    zh = "应是" + "、".join(one.zh for one in choices[:-1]) + "或" * (len(choices) > 1) + choices[-1].zh
    return Text(_spaced(zh), f"must be {en}")


def _spaced(zh: str) -> str:
    """Chinese with a space wherever it meets a Latin letter or digit."""
    return re.sub(r"(?<=[\u4e00-\u9fff])(?=[0-9A-Za-z])|(?<=[0-9A-Za-z])(?=[\u4e00-\u9fff])", " ", zh)


def _choices(schema: dict[str, Any]) -> list[Text]:
    words = schema.get("enum") or {"boolean": ["true", "false"], "null": ["none"]}.get(schema["type"])
    words = [schema["const"]] if "const" in schema else words
    if words:
        return [Text(str(word), str(word)) for word in words]
    bounds = [
        Text(zh.format(schema[key]), en.format(schema[key]))
        for key, zh, en in (
            ("minimum", "不小于 {}", "at least {}"),
            ("exclusiveMinimum", "大于 {}", "above {}"),
            ("maximum", "不大于 {}", "at most {}"),
            ("exclusiveMaximum", "小于 {}", "below {}"),
            ("minLength", "至少 {} 个字", "at least {} character"),
            ("maxLength", "最多 {} 个字", "at most {} characters"),
        )
        if key in schema
    ]
    kind = {
        "integer": Text("整数", "a whole number"),
        "number": Text("数", "a number"),
        "string": Text("文字", "text"),
        "array": Text("列表", "a list"),
    }[schema["type"]]
    if not bounds:
        return [kind]
    zh, en = "、".join(bound.zh for bound in bounds), ", ".join(bound.en for bound in bounds)
    return [Text(f"{kind.zh}（{zh}）", f"{kind.en} ({en})")]


def _checked(model: type[BaseModel], name: str, setting: _Setting) -> object:
    """The value that a setting gives its field. Raises _NotAllowed with the whole complaint."""
    members = _members(model, name)
    if setting.retyped and str in members:
        quoted = f'{setting.key}: "{setting.value}"'
        raise _NotAllowed(
            f"{setting.key} 应是文字，YAML 却不会把 {setting.value} 当作文字；请加引号：{quoted}",
            f"{setting.key} is text, but YAML takes {setting.value} for something else; quote it: {quoted}",
        )
    try:
        return getattr(model.model_validate({name: _typed(setting, members)}), name)
    except ValidationError as error:
        reason = error.errors()[0].get("ctx", {}).get("error")
        text = reason.text if isinstance(reason, _NotAllowed) else _allowed(model, name)
    if setting.key == "warmup_steps":
        text = Text(
            "预热按占总步数的比例写，例如 warmup_ratio=0.03",
            "warm-up is a share of all steps, such as warmup_ratio=0.03",
        )
    raise _NotAllowed(f"{setting.shown()}：{text.zh}", f"{setting.shown()}: {text.en}")


def _plain(value: object) -> object:
    """A foreign value as bool, None or a lower-case word."""
    if isinstance(value, list | tuple):
        value = ",".join(map(str, value))
    if not isinstance(value, str):
        return value if isinstance(value, int | float) or value is None else str(value)
    word = value.strip().lower()
    if word in _YES | _NO:
        return word in _YES
    return None if word in _NOTHING else word


def _unknown(setting: _Setting) -> _Problem:
    if setting.key == "recipe":
        return setting.problem(
            "配方要写在命令的最前面，或写进配置文件，不能用 recipe= 来换",
            "a recipe comes first on the command line or stands in a file; recipe= cannot change it",
        )
    known = {*Config.model_fields, *Sampling.model_fields, *ALIASES, *FOREIGN}
    known |= {f"sampling.{name}" for name in Sampling.model_fields}
    near = difflib.get_close_matches(setting.key.lower(), sorted(known), n=1)
    if near:
        return setting.problem(
            f"不认识的配置项 {setting.key}；是不是想写 {near[0]}？",
            f"Unknown config key {setting.key}; did you mean {near[0]}?",
        )
    return setting.problem(
        f"不认识的配置项 {setting.key}；请检查拼写或删掉它",
        f"Unknown config key {setting.key}; check its spelling or remove it",
    )


@dataclass(slots=True)
class _Reading:
    """What the layers have given so far: values by full key, the notes, and every problem."""

    values: dict[str, object] = field(default_factory=dict)
    notes: dict[str, Text] = field(default_factory=dict)
    problems: list[_Problem] = field(default_factory=list)

    def add(self, settings: Sequence[_Setting]) -> None:
        """Lay one layer over the earlier ones. Inside a layer, one thing may not have two values."""
        first: dict[str, tuple[_Setting, object]] = {}
        for setting in settings:
            target = _target(setting.key)
            if target is None:
                self._add_foreign(setting)
                continue
            model, name = target
            try:
                value = _checked(model, name, setting)
            except _NotAllowed as error:
                self.problems.append(setting.problem(*error.text))
                continue
            full = name if model is Config else f"sampling.{name}"
            earlier, earlier_value = first.setdefault(full, (setting, value))
            if earlier_value != value:
                one, two = earlier.shown(), setting.shown()
                self.problems.append(
                    setting.problem(
                        f"{one} 和 {two} 是同一个配置项，值却不同；请只留一个",
                        f"{one} and {two} set the same thing to different values; keep one",
                    )
                )
            self.values[full] = value

    def _add_foreign(self, setting: _Setting) -> None:
        known = FOREIGN.get(setting.key)
        if known is None:
            self.problems.append(_unknown(setting))
        elif known.harmless is None or _plain(setting.value) in known.harmless:
            self.notes[setting.key] = Text(
                f"{setting.key} 不用设置：{known.why.zh}", f"{setting.key} need not be set: {known.why.en}"
            )
        else:
            self.problems.append(
                setting.problem(
                    f"不支持 {setting.shown()}：{known.why.zh}",
                    f"{setting.shown()} is not supported: {known.why.en}",
                    unsafe=known.unsafe,
                )
            )

    def config(self) -> Config:
        """The config, or one error that lists every problem."""
        if self.problems:
            kind = RefusedError if any(problem.unsafe for problem in self.problems) else UsageError
            lines = [problem.text for problem in self.problems]
            raise kind("\n".join(line.zh for line in lines), "\n".join(line.en for line in lines))
        own = {name: value for name, value in self.values.items() if "." not in name}
        drawn = {name.removeprefix("sampling."): value for name, value in self.values.items() if "." in name}
        return Config.model_validate({**own, "sampling": Sampling.model_validate(drawn)})


# --- YAML files ------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """Plain YAML only: tags could run code; aliases and deep nesting let a small file fill the memory."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise RefusedError(
                f"第 {line} 行：配置文件里不能用 & 和 * 引用；请把值直接写出来，文字请加引号",
                f"line {line}: anchors and aliases (& and *) are refused; write the value, or quote the text",
            )
        if getattr(event, "tag", None):
            raise RefusedError(
                f"第 {line} 行：配置文件里不能用 ! 标签；请直接写值，文字请加引号",
                f"line {line}: YAML tags (!) are refused; write the plain value, or quote the text",
            )
        if self.depth >= MAX_DEPTH:
            raise RefusedError(f"第 {line} 行：嵌套太深", f"line {line}: nested too deeply")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _read_file(path: Path) -> bytes:
    if path.suffix.lower() not in (".yaml", ".yml"):
        raise UsageError(f"配置文件要以 .yaml 或 .yml 结尾：{path}", f"A config file must end in .yaml or .yml: {path}")
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        shipped = path.stem in recipe_names()
        raise UsageError(
            f"找不到配置文件：{path}" + (f"；自带的配方直接写 {path.stem}" if shipped else "；请检查路径"),
            f"No such config file: {path}"
            + (f"; the shipped recipe is called {path.stem}" if shipped else "; check the path"),
        ) from None
    except OSError as error:
        raise UsageError(
            f"读不了配置文件：{path}（{error.strerror}）",
            f"Cannot read the config file: {path} ({error.strerror})",
        ) from None


def _file_settings(content: bytes, name: str) -> list[_Setting]:
    """The settings of one YAML file, in order. `name` is what messages call the file."""
    if len(content) > MAX_FILE_BYTES:
        raise RefusedError(
            f"{name} 超过 1 MB，不像配置文件；数据请用 dataset= 给",
            f"{name} is over 1 MB and no config file; rows are given with dataset=",
        )
    try:
        loader = _Loader(content.decode("utf-8"))  # PyYAML itself skips a byte order mark
        node = loader.get_single_node()
    except UnicodeDecodeError:
        raise UsageError(
            f"{name} 不是 UTF-8 编码；请在编辑器里另存为 UTF-8",
            f"{name} is not UTF-8; save it as UTF-8 in your editor",
        ) from None
    except RefusedError as error:
        raise RefusedError(f"{name} {error.text.zh}", f"{name}, {error.text.en}") from None
    except yaml.YAMLError as error:
        raise _not_yaml(error, name) from None
    if node is None:
        return []
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(
            f"{name} 里应是一行行的「配置项: 值」；冒号要用半角，后面空一格",
            f"{name} must hold lines of `key: value`, with a space after the colon",
        )
    return list(_node_settings(node, name, ""))


def _not_yaml(error: yaml.YAMLError, name: str) -> UsageError:
    """What PyYAML could not read, with the mend for the usual causes."""
    problem = str(getattr(error, "problem", None) or error)
    mends = {
        "mapping values are not allowed": Text("文字里有冒号时要加引号", "quote text that holds a colon"),
        "escape": Text(
            "双引号里的反斜杠是转义，路径请用单引号",
            "a backslash in double quotes is an escape; put paths in single quotes",
        ),
        "'\\t'": Text("缩进要用空格，不能用 Tab", "indent with spaces, not tabs"),
    }
    usual = Text("请检查冒号后的空格、缩进和引号", "check the space after each colon, the indents and the quotes")
    mend = next((mend for part, mend in mends.items() if part in problem), usual)
    mark = getattr(error, "problem_mark", None)
    where = Text(f" 第 {mark.line + 1} 行", f", line {mark.line + 1}") if mark else Text("", "")
    return UsageError(f"{name}{where.zh}不是正确的 YAML；{mend.zh}", f"{name}{where.en}: not valid YAML; {mend.en}")


def _node_settings(node: yaml.MappingNode, name: str, prefix: str) -> Iterator[_Setting]:
    """The settings of a mapping; those of a nested one get its key and a dot in front."""
    first_lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        where = Text(f"{name} 第 {line} 行：", f"{name}, line {line}: ")
        if not isinstance(key_node, yaml.ScalarNode):
            raise UsageError(where.zh + "冒号前应是一个配置项的名字", where.en + "a key must stand before the colon")
        key = prefix + key_node.value
        if key in first_lines:
            raise UsageError(
                f"{where.zh}{key} 在第 {first_lines[key]} 行已经写过；请只留一个",
                f"{where.en}{key} is already on line {first_lines[key]}; keep one",
            )
        first_lines[key] = line
        yield from _value_settings(key, value_node, name, where)


def _value_settings(key: str, node: yaml.Node, name: str, where: Text) -> Iterator[_Setting]:
    spelled = key.replace("-", "_")
    if isinstance(node, yaml.MappingNode) and spelled == "columns":
        yield _Setting(spelled, {str(role.value): str(column.value) for role, column in node.value}, where)
    elif isinstance(node, yaml.MappingNode):
        # Only sampling has keys of its own; for any other key the dotted names come out as unknown.
        yield from _node_settings(node, name, f"{spelled}.")
    elif isinstance(node, yaml.SequenceNode):
        yield _Setting(spelled, [item.value for item in node.value], where)
    elif isinstance(node, yaml.ScalarNode):
        nothing = node.tag == "tag:yaml.org,2002:null"
        if nothing and spelled == "sampling":  # every key below it is commented out
            return
        retyped = not nothing and node.tag != "tag:yaml.org,2002:str"
        yield _Setting(spelled, None if nothing else node.value, where, bare=node.style is None, retyped=retyped)


# --- the command line ------------------------------------------------------------------------------------


def parse_overrides(tokens: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """`key=value`, `--key=value`, `--key value` and bare switches -> (key, text) pairs, `-` read as `_`.

    Only splits; keys and values are not judged. Raises UsageError for tokens that are none of these.
    """
    pairs, problems = _split(tokens)
    if problems:
        lines = [problem.text for problem in problems]
        raise UsageError("\n".join(line.zh for line in lines), "\n".join(line.en for line in lines))
    return pairs


def _split(tokens: Sequence[str]) -> tuple[tuple[tuple[str, str], ...], list[_Problem]]:
    pairs: list[tuple[str, str]] = []
    problems: list[_Problem] = []
    left = list(reversed(tokens))
    while left:
        token = left.pop()
        key, equals, value = token.removeprefix("--").partition("=")
        key = key.replace("-", "_")
        if token.startswith("--") and key and not equals:
            switch = _is_switch(key)
            if left and not left[-1].startswith("--") and not (switch and "=" in left[-1]):
                value = left.pop()
            elif switch:
                value = "true"
            else:
                problems.append(_Problem(Text(f"{token} 后面缺少值", f"{token} needs a value")))
                continue
        elif not key or not equals or token.startswith("-") != token.startswith("--"):
            short = _shown(token)
            problems.append(
                _Problem(
                    Text(
                        f"看不懂 {short}；配置要写成 配置项=值，等号用半角",
                        f"Cannot read {short}; settings are written key=value",
                    )
                )
            )
            continue
        pairs.append((key, value))
    return tuple(pairs), problems


def _is_switch(key: str) -> bool:
    """Whether `--key` alone means true."""
    target = _target(key)
    if target is not None:
        return bool in _members(*target)
    foreign = FOREIGN.get(key)
    return foreign is not None and foreign.harmless is not None and foreign.harmless <= _EITHER


def _override_settings(overrides: Sequence[str] | Mapping[str, Any], reading: _Reading) -> list[_Setting]:
    if isinstance(overrides, Mapping):
        settings = []
        for key, value in overrides.items():
            nested = value.items() if key == "sampling" and isinstance(value, Mapping) else None
            if nested is None:
                settings.append(_Setting(key.replace("-", "_"), value))
            else:
                settings += [_Setting(f"sampling.{name}", one) for name, one in nested]
        return settings
    pairs, problems = _split(overrides)
    reading.problems += problems
    return [_Setting(key, value, bare=True) for key, value in pairs]


# --- what the other rooms use ----------------------------------------------------------------------------


def recipe_names() -> list[str]:
    """The names of the recipes that come with the package, in alphabetical order."""
    files = (resources.files("tonghua") / "recipes").iterdir()
    return sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))


def load(recipe: str | Path | None, overrides: Sequence[str] | Mapping[str, Any] = ()) -> Loaded:
    """The config of a recipe with the overrides laid on top.

    recipe     the name of a shipped recipe, the path of a YAML file (which may name its base as
               `recipe: daiyu`), or None for the defaults
    overrides  tokens as on the command line (`parse_overrides`), or a mapping of Python values

    Raises UsageError with one line per problem, or RefusedError when a file or a value is not safe.
    """
    reading = _Reading()
    name = DEFAULT_NAME if recipe is None else _read_recipe(str(recipe), reading)
    reading.add(_override_settings(overrides, reading))
    return Loaded(reading.config(), name, tuple(reading.notes.values()))


def resampled(sampling: Sampling, changes: Mapping[str, Any]) -> Sampling:
    """The sampling with `temperature=0.8` and the like in it. Raises UsageError as `load` does."""
    reading = _Reading()
    reading.add(_override_settings({f"sampling.{key}": value for key, value in changes.items()}, reading))
    reading.config()
    return sampling.model_copy(update={name.removeprefix("sampling."): value for name, value in reading.values.items()})


def _read_recipe(recipe: str, reading: _Reading) -> str:
    """Add the layers of a shipped recipe or of a user's file; gives the name of the recipe."""
    if recipe in recipe_names():
        _add_shipped(recipe, reading)
        return recipe
    path = Path(recipe)
    if not path.suffix and not path.is_file():
        names = ", ".join(recipe_names())
        raise UsageError(
            f"没有名为 {recipe} 的配方；自带的有 {names}，也可以给一个 .yaml 文件",
            f"There is no recipe called {recipe}; there are {names}, or give a .yaml file",
        )
    settings = _file_settings(_read_file(path), path.name)
    for base in (setting for setting in settings if setting.key == "recipe"):
        if base.value in recipe_names():
            _add_shipped(str(base.value), reading)
        else:
            names = ", ".join(recipe_names())
            reading.problems.append(
                base.problem(
                    f"{base.shown()}：应是自带的配方：{names}",
                    f"{base.shown()}: must be a shipped recipe: {names}",
                )
            )
    reading.add([setting for setting in settings if setting.key != "recipe"])
    return path.stem


def _add_shipped(name: str, reading: _Reading) -> None:
    file = resources.files("tonghua") / "recipes" / f"{name}.yaml"
    reading.add(_file_settings(file.read_bytes(), f"{name}.yaml"))


class _Dumper(yaml.SafeDumper):
    """Quotes whatever is not one plain word, so that text comes back exactly as it was."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    word = text.isidentifier() and text.lower() not in _NOTHING
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if word else '"')


_Dumper.add_representer(str, _represent_text)


def to_yaml(config: Config) -> str:
    """The whole config as YAML, every key written out: saved to a file, `load` gives an equal config."""
    return yaml.dump(
        config.model_dump(),
        Dumper=_Dumper,
        allow_unicode=True,
        sort_keys=False,
        width=2**31,
        default_flow_style=False,
    )
