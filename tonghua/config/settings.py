"""Types of the settings of a run as keyword arguments, so that an editor completes them.

`schema.Config` defines their defaults, limits and meanings; a setting added there must be added here too.
"""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict


class SamplingSettings(TypedDict, total=False):
    """Settings of sampling: the fields of `schema.Sampling`."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    max_new_tokens: int
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    seed: int | None


class PersonaSettings(TypedDict, total=False):
    """The card of a character: the fields of `schema.Persona`."""

    name: str | None
    greeting: str | None
    portrait: str | None
    examples: Sequence[str]


class Settings(TypedDict, total=False):
    """Every field of `schema.Config` except `dataset` and `model`, which are parameters of the functions in `api`."""

    columns: Mapping[str, str] | None
    eval_dataset: str | PathLike[str] | Sequence[Mapping[str, Any]] | None
    system: str | None
    max_length: int
    overlong: Literal["split", "drop", "error"]
    enable_thinking: bool | Literal["auto"]
    val_size: float
    max_samples: int | None
    skip_bad_rows: bool
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    tokens_per_micro_batch: int | None
    num_train_epochs: float
    max_steps: int | None
    learning_rate: float
    lr_scheduler_type: Literal["cosine", "linear", "constant"]
    warmup_ratio: float
    warmup_steps: int | None
    weight_decay: float
    max_grad_norm: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    lora_rank: int
    lora_alpha: float
    use_rslora: bool
    lora_dropout: float
    lora_target: str | Sequence[str]
    adapter: str | PathLike[str] | None
    gradient_checkpointing: bool | Literal["auto"]
    seed: int
    device: Literal["auto", "cpu", "cuda", "mps"]
    dtype: Literal["auto", "bfloat16", "float16", "float32"]
    quantization_bit: Literal[4, 8] | None
    output_dir: str | PathLike[str]
    save_minutes: float | None
    save_steps: int | None
    save_total_limit: int
    run_name: str | None
    report_to: str | Sequence[str]
    reader: str | PathLike[str] | None
    persona: PersonaSettings
    sampling: SamplingSettings
