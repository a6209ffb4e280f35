"""Settings of a run: one frozen `Config`. All defaults are here."""

import types
from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from .fields import (
    LORA_MODULES,
    OptionalPath,
    OptionalText,
    as_text,
    blank_to_none,
    column_names,
    dtype_name,
    example_lines,
    folder_name,
    lora_modules,
    lora_scale,
    one_line_name,
    share_or_rows,
    tracker_names,
    valid_path,
    valid_paths,
)

_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True)

Overlong = Literal["split", "drop", "error"]
"""What to do with a row of more than `max_length` tokens."""


class Sampling(BaseModel):
    """How to sample answers in chat, evaluation and serving."""

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
        le=2**31,
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
        default=4, ge=1, le=2**31, description="多长以内的重复不罚 / repeats up to this many tokens are free"
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        lt=2**32,
        description="固定它，回答可以重现 / set it and answers can be reproduced",
    )


class Persona(BaseModel):
    """The card of a character: what people see of it. Nothing of it is put into the prompt."""

    model_config = _STRICT

    name: Annotated[OptionalText, AfterValidator(one_line_name)] = Field(
        default=None, max_length=40, description="角色的名字，对话里这样叫 / name of the character in a chat"
    )
    greeting: OptionalText = Field(
        default=None, max_length=2000, description="开始说话前的招呼 / what it says when a chat begins"
    )
    portrait: OptionalText = Field(
        default=None, max_length=4000, description="给人看的介绍：它是谁 / who it is, for people to read"
    )
    examples: Annotated[tuple[str, ...], BeforeValidator(example_lines)] = Field(
        default=(), description="几句它会说的话，给人看 / lines as it would say them, for people to read"
    )


class Config(BaseModel):
    """All settings of a run. Frozen; refuses unknown keys, NaN and infinity."""

    model_config = _STRICT

    model: OptionalPath = Field(default=None, description="模型的名字或文件夹 / name or folder of the model")
    dataset: Annotated[str | tuple[str, ...] | None, BeforeValidator(valid_paths)] = Field(
        default=None,
        description="训练数据，可以有几份；a.json*2 学两遍 / rows to train on, or several; a.json*2 = twice as often",
    )
    columns: Annotated[dict[str, str] | None, BeforeValidator(column_names)] = Field(
        default=None,
        description="哪一列是什么，看列名看不出时才要写 / which column is what, if its name does not say",
    )
    eval_dataset: OptionalPath = Field(
        default=None,
        description="验证数据的路径，不给就从训练数据里留出 / validation rows; none = held out of dataset",
    )
    system: OptionalText = Field(
        default=None,
        max_length=100_000,
        description="系统提示词，不给就用模板自带的 / system prompt; none = the template's own",
    )
    max_length: int = Field(default=1024, ge=8, le=131072, description="一行数据最多多少 token / longest row in tokens")
    overlong: Overlong = Field(
        default="split",
        description="超过 max_length 的行：在段落处拆开、不要、报错 / rows longer than that: split, drop or error",
    )
    enable_thinking: bool | Literal["auto"] = Field(
        default="auto",
        description="思考过程：auto 按每行原样学，true 总是思考，false 去掉"
        " / reasoning: auto = as each row has it, true = always, false = left out",
    )
    val_size: Annotated[float, AfterValidator(share_or_rows)] = Field(
        default=0.05,
        ge=0,
        description="留作验证的比例（小于 1）或行数 / rows held out: a share below 1, or a number",
    )
    max_samples: int | None = Field(
        default=None,
        ge=1,
        le=2**31,
        description="每份数据只用前几行，不给则全用 / only the first rows of each dataset; none = all",
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
        le=2**31,
        description="一次前向打包多少 token，不给则按设备定 / tokens per forward; none = by device",
    )
    num_train_epochs: float = Field(default=3, gt=0, le=100_000, description="把数据学几遍 / passes over the rows")
    max_steps: int | None = Field(
        default=None,
        ge=1,
        le=2**31,
        description="最多更新几步，不给则由遍数定 / most optimizer steps; none = by epochs",
    )

    learning_rate: float = Field(default=2e-4, gt=0, le=1, description="最高学习率 / peak learning rate")
    lr_scheduler_type: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="预热之后学习率怎样下降 / how the learning rate falls after warm-up"
    )
    warmup_ratio: float = Field(
        default=0.03, ge=0, lt=1, description="预热占总步数的比例 / share of steps that warm up"
    )
    warmup_steps: int | None = Field(
        default=None,
        ge=1,
        le=2**31,
        description="预热几步，代替 warmup_ratio / steps that warm up, in place of warmup_ratio",
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
    use_rslora: bool = Field(
        default=False, description="缩放改为 alpha/√r，秩大时用 / scale is alpha / sqrt(rank), for a high rank"
    )
    lora_dropout: float = Field(default=0.0, ge=0, lt=1, description="LoRA 输入的随机丢弃 / dropout before LoRA")
    lora_target: Annotated[Literal["all"] | tuple[str, ...], BeforeValidator(lora_modules)] = Field(
        default="all", description="给哪些层加 LoRA，all 为七种全加 / layers with LoRA; all = the seven"
    )
    adapter: OptionalPath = Field(
        default=None,
        description="从哪个适配器接着学：一次训练，或 PEFT 的文件夹 / adapter to start from: a run, or a PEFT folder",
    )
    gradient_checkpointing: bool | Literal["auto"] = Field(
        default="auto",
        description="重算激活以省内存，auto 为放不下才用 / recompute activations; auto = if need be",
    )

    seed: int = Field(default=42, ge=0, lt=2**32, description="随机种子 / random seed")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="在哪里算，auto 为自动 / where to compute; auto = the best there is"
    )
    dtype: Annotated[Literal["auto", "bfloat16", "float16", "float32"], BeforeValidator(dtype_name)] = Field(
        default="auto",
        description="底模的精度，auto 按设备定 / precision of the base model; auto = by device",
    )

    quantization_bit: Annotated[Literal[4, 8] | None, BeforeValidator(blank_to_none)] = Field(
        default=None,
        description="底模存成 4 位（NF4）或 8 位，省内存但慢 / base in 4 (NF4) or 8 bits: less memory, slower",
    )

    output_dir: Annotated[str, BeforeValidator(as_text), AfterValidator(valid_path)] = Field(
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
        le=2**31,
        description="每隔几步存一个检查点，不给则由 save_minutes 定 / steps between checkpoints; none = by minutes",
    )
    save_total_limit: int = Field(
        default=3,
        ge=2,
        le=2**31,
        description="保留几个检查点，最好的和最后的总会留下 / checkpoints kept; best and last always are",
    )
    run_name: Annotated[str | None, BeforeValidator(blank_to_none), AfterValidator(folder_name)] = Field(
        default=None, description="这次运行的名字，不给则用配方名 / name of the run; none = the recipe's"
    )
    report_to: Annotated[tuple[str, ...], BeforeValidator(tracker_names)] = Field(
        default=(),
        description="向哪些工具报告数字：tensorboard、swanlab、wandb、trackio，可以写几个，none 为不报告"
        " / trackers that get the numbers: tensorboard, swanlab, wandb, trackio, or several; none = sent nowhere",
    )
    reader: OptionalPath = Field(
        default=None,
        description="评估时读回答的另一个模型，不给则用本机最大的 / reads the answers in eval; none = the largest here",
    )
    persona: Persona = Field(
        default_factory=Persona, description="角色卡，给人看的 / card of the character, for people to read"
    )
    sampling: Sampling = Field(default_factory=Sampling, description="怎样生成回答 / how answers are drawn")

    @property
    def samples_per_step(self) -> int:
        """Samples per optimizer step, however they are packed into micro-batches."""
        return self.per_device_train_batch_size * self.gradient_accumulation_steps

    @property
    def card(self) -> Persona | None:
        """The card of the character, or None if nothing of it is set."""
        return None if self.persona == Persona() else self.persona

    @property
    def lora_scale(self) -> float:
        """Factor of the LoRA update."""
        return lora_scale(self.lora_rank, self.lora_alpha, self.use_rslora)

    @property
    def lora_modules(self) -> tuple[str, ...]:
        """Names of the layers that carry LoRA, each once, in block order."""
        return tuple(name for name in LORA_MODULES if self.lora_target == "all" or name in self.lora_target)


GROUPS: Final[Mapping[str, type[BaseModel]]] = types.MappingProxyType({"persona": Persona, "sampling": Sampling})
"""Settings of `Config` that hold settings of their own, written `sampling.temperature` or nested below their name."""

STYLES: Final[Mapping[str, Mapping[str, float]]] = types.MappingProxyType(
    {
        "varied": types.MappingProxyType({"temperature": 0.85, "top_p": 0.95}),
        "steady": types.MappingProxyType({"temperature": 0.55, "repetition_penalty": 1.2}),
        "long": types.MappingProxyType({"max_new_tokens": 1536}),
        "short": types.MappingProxyType({"max_new_tokens": 512}),
    }
)
"""Named answer styles: what each changes in `Sampling`."""
