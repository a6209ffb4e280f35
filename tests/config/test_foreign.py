"""Settings as other trainers write them: their own examples run, and every key is honoured, told or refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tonghua.config.foreign import ALIASES, FOREIGN, SETS
from tonghua.config.layers import nearest_key
from tonghua.config.load import Loaded, load
from tonghua.config.schema import Config, Sampling
from tonghua.errors import UsageError
from tonghua.text import Text


def written(folder: Path, text: str) -> Path:
    path = folder / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(loaded: Loaded) -> dict[str, Any]:
    return loaded.config.model_dump(exclude_defaults=True)


def complaint(recipe: Path | None, overrides: Any = ()) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        load(recipe, overrides)
    return tuple(caught.value.text)


def told(loaded: Loaded) -> list[str]:
    return [note.en for note in loaded.notes]


# --- the examples of other trainers, in shape ---

LLAMA_FACTORY = """
### model
model_name_or_path: Qwen/Qwen3-4B-Instruct-2507
trust_remote_code: true

### method
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 8
lora_target: all

### dataset
dataset: one,two
template: qwen3_nothink
cutoff_len: 2048
max_samples: 1000
overwrite_cache: true
preprocessing_num_workers: 16
dataloader_num_workers: 4

### output
output_dir: saves/qwen3-4b/lora/sft
logging_steps: 10
save_steps: 500
plot_loss: true
overwrite_output_dir: true
save_only_model: false
report_to: none

### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null

### eval
val_size: 0.1
per_device_eval_batch_size: 1
eval_strategy: steps
eval_steps: 500
"""


def test_an_example_of_llama_factory_is_taken_as_it_is(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, LLAMA_FACTORY))
    assert changed(loaded) == {
        **{"model": "Qwen/Qwen3-4B-Instruct-2507", "dataset": ("one", "two"), "max_length": 2048, "val_size": 0.1},
        **{"max_samples": 1000, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
        **{"learning_rate": 1e-4, "warmup_ratio": 0.1, "output_dir": "saves/qwen3-4b/lora/sft", "save_steps": 500},
    }
    loud = ["trust_remote_code", "template", "bf16"]
    assert [note.split()[0] for note in told(loaded)[:-1]] == loud
    assert told(loaded)[-1] == (
        "these need not be set here: stage, do_train, finetuning_type, overwrite_cache, preprocessing_num_workers,"
        " dataloader_num_workers, logging_steps, plot_loss, overwrite_output_dir, save_only_model, ddp_timeout,"
        " per_device_eval_batch_size, eval_strategy, eval_steps"
    )


SWIFT = """--model Qwen/Qwen2.5-0.5B-Instruct --train_type lora --dataset a.json --torch_dtype bfloat16
--num_train_epochs 1 --per_device_train_batch_size 1 --per_device_eval_batch_size 1 --learning_rate 1e-4
--lora_rank 8 --lora_alpha 32 --target_modules all-linear --gradient_accumulation_steps 16 --eval_steps 50
--save_steps 50 --save_total_limit 2 --logging_steps 5 --max_length 2048 --output_dir output
--warmup_ratio 0.05 --dataloader_num_workers 4 --model_author swift --model_name robot --split_dataset_ratio 0.01"""


def test_a_command_of_ms_swift_is_taken_as_it_is() -> None:
    assert changed(load(None, [*SWIFT.split(), "--system", "You are a helpful assistant."])) == {
        **{"model": "Qwen/Qwen2.5-0.5B-Instruct", "dataset": "a.json", "dtype": "bfloat16", "num_train_epochs": 1.0},
        **{"per_device_train_batch_size": 1, "learning_rate": 1e-4, "gradient_accumulation_steps": 16},
        **{"save_steps": 50, "save_total_limit": 2, "max_length": 2048, "output_dir": "output", "warmup_ratio": 0.05},
        **{"val_size": 0.01, "system": "You are a helpful assistant."},
    }


def test_several_values_may_follow_one_another() -> None:
    """As ms-swift and Hugging Face write lists."""
    loaded = load(None, ["--dataset", "a.json", "b.json*2", "--target_modules", "q_proj", "v_proj", "lr=1e-4"])
    assert changed(loaded) == {
        "dataset": ("a.json", "b.json*2"),
        "lora_target": ("q_proj", "v_proj"),
        "learning_rate": 1e-4,
    }
    assert "Cannot read b.json" in complaint(None, ["--model", "a", "b.json"])[1]


AXOLOTL = """
base_model: NousResearch/Llama-3.2-1B
load_in_8bit: false
load_in_4bit: true
strict: false
datasets:
  - path: rows.json
    type: alpaca
dataset_prepared_path: last_run_prepared
val_set_size: 0.1
output_dir: ./outputs/lora-out
adapter: qlora
lora_model_dir:
sequence_len: 2048
sample_packing: true
eval_sample_packing: true
pad_to_sequence_len: true
lora_r: 16
lora_alpha: 32
lora_dropout: 0.05
lora_fan_in_fan_out:
lora_target_modules:
  - q_proj
  - v_proj
wandb_project:
wandb_entity:
gradient_accumulation_steps: 2
micro_batch_size: 2
num_epochs: 1
optimizer: adamw_8bit
lr_scheduler: cosine
learning_rate: 0.0002
train_on_inputs: false
group_by_length: false
bf16: auto
fp16:
tf32: false
gradient_checkpointing: true
gradient_checkpointing_kwargs:
  use_reentrant: false
resume_from_checkpoint:
logging_steps: 1
flash_attention: true
loss_watchdog_threshold: 5.0
warmup_steps: 10
evals_per_epoch: 4
saves_per_epoch: 1
weight_decay: 0.0
fsdp_config:
special_tokens:
  pad_token: "<|end_of_text|>"
"""


def test_an_example_of_axolotl_is_taken_as_it_is(tmp_path: Path) -> None:
    loaded = load(written(tmp_path, AXOLOTL))
    assert changed(loaded) == {
        **{"model": "NousResearch/Llama-3.2-1B", "dataset": ("rows.json",), "max_length": 2048, "val_size": 0.1},
        **{"quantization_bit": 4, "output_dir": "./outputs/lora-out", "lora_rank": 16, "lora_dropout": 0.05},
        **{"lora_target": ("q_proj", "v_proj"), "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2},
        **{"num_train_epochs": 1.0, "gradient_checkpointing": True, "warmup_steps": 10},
    }
    assert "adapter=qlora is quantization_bit=4 here" in told(loaded)


def test_the_adapter_of_axolotl_is_a_method_unless_a_folder_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, ["adapter=lora"]).config.adapter is None
    assert load(None, ["adapter=runs/x"]).config.adapter == "runs/x"
    (tmp_path / "lora").mkdir()
    assert load(None, ["adapter=lora"]).config.adapter == "lora"


@pytest.mark.parametrize("kind", ["completion", "input_output", {"field_instruction": "q"}, ["alpaca"]])
def test_rows_of_axolotl_that_need_more_than_their_columns_are_refused(kind: object) -> None:
    said = complaint(None, {"datasets": [{"path": "rows.json", "type": kind}]})
    assert said[1].startswith("datasets: the type of rows.json is not supported; leave it out")
    assert complaint(None, {"datasets": [{"type": "alpaca"}]})[1].startswith("datasets: each entry needs a path")


# --- one key after the other ---


def test_names_do_not_collide() -> None:
    fields = {*Config.model_fields, *Sampling.model_fields}
    assert not fields & ALIASES.keys()
    assert not (fields | ALIASES.keys()) & FOREIGN.keys()
    assert set(ALIASES.values()) <= Config.model_fields.keys()
    for (key, _), (ours, _) in SETS.items():
        assert key in fields | FOREIGN.keys()
        assert ours in fields | FOREIGN.keys()


ALIAS_VALUES = {
    "model": "m",
    "adapter": "a",
    "dataset": "d.json",
    "eval_dataset": "e.json",
    "system": "s",
    "max_length": 64,
    "val_size": 0.1,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "num_train_epochs": 2.0,
    "learning_rate": 1e-5,
    "lr_scheduler_type": "linear",
    "lora_rank": 4,
    "lora_target": ("q_proj", "v_proj"),
    "use_rslora": True,
    "gradient_checkpointing": True,
    "quantization_bit": 8,
    "dtype": "float32",
    "seed": 3,
    "output_dir": "o",
}


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases(alias: str) -> None:
    name = ALIASES[alias]
    value = ALIAS_VALUES[name]
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    assert changed(load(None, [f"{alias}={text}"])) == {name: value}


@pytest.mark.parametrize(("key", "value"), SETS)
def test_a_value_of_another_trainer_sets_ours_and_says_so(key: str, value: object) -> None:
    ours, expected = SETS[key, value]
    loaded = load(None, {key: value})
    assert loaded.config == load(None, [f"{ours}={expected}"]).config
    shown = f"{key}={str(value).lower() if isinstance(value, bool) else value}"
    assert f"{shown} is {ours}={expected} here" in told(loaded)


def test_a_number_is_no_switch() -> None:
    assert load(None, {"save_total_limit": 1, "load_in_8bit": 1}).config == Config(
        save_total_limit=2, quantization_bit=8
    )
    for value in ("yes", True):
        assert "save_total_limit" in complaint(None, {"save_total_limit": value})[1]


@pytest.mark.parametrize("key", FOREIGN)
def test_a_key_that_is_not_ours_is_ignored_with_a_word_or_refused_with_the_reason(key: str) -> None:
    """And nothing is said of a key that is left empty, as in many examples."""
    harmless, why, _ = FOREIGN[key]
    empty = load(None, {key: None})
    assert (empty.config, empty.notes) == (Config(), ())
    for value in sorted(map(str, (harmless or {"whatever"}) - {None, "", "none"})):
        loaded = load(None, [f"{key}={value}"])
        assert loaded.config == Config()
        assert loaded.notes == (Text(f"{key} 不用设置：{why.zh}", f"{key} need not be set: {why.en}"),)
    if harmless is not None:
        assert complaint(None, [f"{key}=whatever"]) == (
            f"不支持 {key}=whatever：{why.zh}",
            f"{key}=whatever is not supported: {why.en}",
        )


@pytest.mark.parametrize(
    "token",
    [
        *("stage=dpo", "finetuning_type=full", "do_train=false", "train_on_prompt=true", "mask_prompt=false"),
        *("optim=sgd", "resume_from_checkpoint=runs/x", "use_dora=true", "neftune_noise_alpha=5", "mask_history=true"),
        *("label_smoothing_factor=0.1", "modules_to_save=lm_head", "loraplus_lr_ratio=16", "lora_bias=all"),
        *(
            "init_lora_weights=pissa",
            "quantization_method=gptq",
            "quantization_type=fp4",
            "mix_strategy=interleave_under",
        ),
    ],
)
def test_what_would_change_the_result_and_is_not_there_is_refused(token: str) -> None:
    assert f"{token} is not supported: " in complaint(None, [token])[1]


def test_one_key_is_told_with_its_reason_and_many_in_one_line() -> None:
    assert load(None, ["plot_loss=true"]).notes == (
        Text("plot_loss 不用设置：总会画出损失曲线", "plot_loss need not be set: the loss curve is always drawn"),
    )
    assert load(None, ["plot_loss=true", "logging_steps=1"]).notes == (
        Text("这些在这里不用设置：plot_loss、logging_steps", "these need not be set here: plot_loss, logging_steps"),
    )
    assert load(None, ["optim=paged_adamw_8bit"]).notes == (
        Text(
            "optim 不用设置：总是用 fp32 的 AdamW，参数合成一块更新；8 位状态只能省约 26 MB（0.5B）或 55 MB（1.5B）",
            "optim need not be set: fp32 AdamW over one flat buffer is always used; an 8-bit state would save"
            " about 26 MB (0.5B) or 55 MB (1.5B)",
        ),
    )


@pytest.mark.parametrize("value", ["0", "0.0", "false", "none"])
def test_zero_asks_for_nothing(value: str) -> None:
    assert load(None, [f"neftune_noise_alpha={value}", f"label_smoothing_factor={value}"]).config == Config()


def test_remote_code_is_never_run_and_the_wish_is_told() -> None:
    """A model that needs code of its own is refused when its files are scanned."""
    assert told(load(None, ["trust_remote_code=true"])) == [
        "trust_remote_code need not be set: a model's own code is never run; a model that needs it is refused"
    ]


# --- warm-up and schedule ---


@pytest.mark.parametrize(
    ("tokens", "steps", "ratio"),
    [
        (["warmup_steps=100"], 100, 0.03),
        (["warmup_steps=1e2"], 100, 0.03),
        (["warmup_steps=100", "warmup_ratio=0.1"], 100, 0.1),
        (["warmup_steps=0", "warmup_ratio=0.1"], None, 0.1),
        (["warmup_steps=0"], None, 0.0),
        (["warmup_steps=0.1"], None, 0.1),
        (["warmup_ratio=0.1"], None, 0.1),
    ],
)
def test_warm_up_is_steps_or_a_share_as_hugging_face_has_it(tokens: list[str], steps: int | None, ratio: float) -> None:
    config = load(None, tokens).config
    assert (config.warmup_steps, config.warmup_ratio) == (steps, ratio)


def test_a_later_share_replaces_steps_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "warmup_steps: 100")
    assert load(path).config.warmup_steps == 100
    assert load(path, ["warmup_ratio=0.1"]).config.warmup_steps is None
    assert "warmup_steps=-1: must be a whole number" in complaint(path, ["warmup_steps=-1"])[1]


def test_a_schedule_that_is_not_there_is_told_with_those_that_are() -> None:
    assert load(None, ["lr_scheduler_type=constant_with_warmup"]).config.lr_scheduler_type == "constant"
    assert load(None, ["lr_scheduler=cosine_with_restarts"]).config.lr_scheduler_type == "cosine"
    assert complaint(None, ["lr_scheduler_type=inverse_sqrt"])[1] == (
        "lr_scheduler_type=inverse_sqrt: must be cosine, linear or constant"
    )


# --- which rows ---


def test_names_between_commas_are_datasets_unless_a_file_has_this_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, ["dataset=a.json, b.json*2"]).config.dataset == ("a.json", "b.json*2")
    assert load(written(tmp_path, "dataset: a.json,b.json")).config.dataset == ("a.json", "b.json")
    assert load(None, ["dataset=dir/a.json,dir/b.json"]).config.dataset == "dir/a.json,dir/b.json"
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "b.json").write_text("[]")
    assert load(None, ["dataset=dir/a.json,dir/b.json"]).config.dataset == ("dir/a.json", "dir/b.json")
    (tmp_path / "a,b.json").write_text("[]")
    assert load(None, ["dataset=a,b.json"]).config.dataset == "a,b.json"
    assert "held-out rows are one dataset" in complaint(None, ["eval_dataset=a.json,b.json"])[1]


INFO = {
    "identity": {"file_name": "identity.json"},
    "alpaca_demo": {"file_name": "demo/alpaca.json", "columns": {"prompt": "instruction", "response": "output"}},
    "own": {"file_name": "own.json", "columns": {"prompt": "q", "response": "a"}},
    "chat": {
        "file_name": "chat.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
    },
    "odd": {"file_name": "chat.jsonl", "formatting": "sharegpt", "tags": {"user_tag": "甲"}},
    "pairs": {"file_name": "dpo.json", "ranking": True},
    "pictures": {"file_name": "vl.json", "columns": {"images": "images"}},
    "far": {"hf_hub_url": "someone/far"},
}


def with_info(folder: Path, name: str = "data") -> None:
    (folder / name).mkdir()
    (folder / name / "dataset_info.json").write_text(json.dumps(INFO), encoding="utf-8")


def test_names_of_dataset_info_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(None, ["dataset=identity,alpaca_demo"]).config.dataset == ("identity", "alpaca_demo")
    with_info(tmp_path)
    config = load(None, ["dataset=identity,alpaca_demo*2", "eval_dataset=chat"]).config
    assert config.dataset == (str(Path("data", "identity.json")), str(Path("data", "demo/alpaca.json")) + "*2")
    assert (config.eval_dataset, config.columns) == (str(Path("data", "chat.jsonl")), None)
    config = load(None, ["dataset=own"]).config
    assert (config.dataset, config.columns) == (str(Path("data", "own.json")), {"instruction": "q", "output": "a"})
    assert load(None, ["dataset=own", "columns=output:b"]).config.columns == {"output": "b"}
    assert load(None, ["dataset=fairytale"]).config.dataset == "fairytale"


def test_a_file_of_the_users_own_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with_info(tmp_path, "名单")
    (tmp_path / "identity").mkdir()
    config = load(None, ["dataset=identity,chat", "dataset_dir=名单"]).config
    assert config.dataset == ("identity", str(Path("名单", "chat.jsonl")))


@pytest.mark.parametrize(
    ("names", "en"),
    [
        ("far", "gives far no file_name (rows on a hub are not fetched); download them and write dataset=FILE"),
        ("pairs", "pairs is for another kind of training (dataset_info.json has ranking)"),
        ("pictures", "pictures is for another kind of training (dataset_info.json has images)"),
        ("odd", "the conversations of odd use the name 甲"),
        ("own,chat", "these datasets name their columns differently"),
    ],
)
def test_rows_of_dataset_info_that_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, en: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with_info(tmp_path)
    path = written(tmp_path, f"seed: 1\ndataset: {names}")
    said = complaint(path)
    assert said[1].startswith("my.yaml, line 2: ")
    assert en in said[1]


def test_a_folder_without_dataset_info_is_told_if_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "name the files of rows themselves" in complaint(None, ["dataset=identity", "dataset_dir=nowhere"])[1]
    with_info(tmp_path)
    for text in ("[]", "{", "\udc80", "[" * 100_000):
        (tmp_path / "data" / "dataset_info.json").write_bytes(text.encode(errors="surrogateescape"))
        assert load(None, ["dataset=identity"]).config.dataset == "identity"
        assert "is no JSON object" in complaint(None, ["dataset=identity", "dataset_dir=data"])[1]


@pytest.mark.parametrize(
    "entry", [None, 5, [], {}, {"file_name": 3}, {"file_name": "a.json", "columns": 3, "tags": []}]
)
def test_entries_of_dataset_info_of_any_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: object) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "dataset_info.json").write_text(json.dumps({"it": entry}))
    if isinstance(entry, dict) and "columns" in entry:
        assert load(None, ["dataset=it"]).config.dataset == str(Path("data", "a.json"))
    else:
        assert "no file_name" in complaint(None, ["dataset=it"])[1]


# --- keys that nobody knows ---

MISSPELT = {
    "learning_rat": "learning_rate",
    "lerning_rate": "learning_rate",
    "learning_raet": "learning_rate",
    "learningrate": "learning_rate",
    "num_train_epoch": "num_train_epochs",
    "epoch": "epochs",
    "max_step": "max_steps",
    "max_lenght": "max_length",
    "sampling.temprature": "sampling.temperature",
    "repitition_penalty": "repetition_penalty",
    "Lora_Rank": "lora_rank",
    "lora_dropuot": "lora_dropout",
    "per_device_train_batchsize": "per_device_train_batch_size",
    "save_step": "save_steps",
    "warmup_step": "warmup_steps",
}
OTHER_THINGS = (
    *(
        "max_epochs",
        "max_turns",
        "max_prompt_length",
        "max_completion_length",
        "max_pixels",
        "min_pixels",
        "min_lr",
        "max_lr",
        "min_steps",
        "min_samples",
        "num_samples",
        "num_workers",
        "num_layers",
        "lora_path",
        "lora_init",
        "lora_plus",
        "lora_r1",
        "save_epochs",
        "save_model_dir",
        "save_strategies_x",
        "eval_dir",
        "eval_ratio",
        "top_n",
        "top_p_max",
        "adam_beta3",
        "adam_mini",
        "load_in_2bit",
        "base_url",
        "base_path",
        "data_format",
        "dataset_split",
        "dataset_ratio",
        "test_size",
        "train_size",
        "train_file",
        "train_path",
        "val_file",
        "dev_file",
        "report_dir",
        "report_name",
        "report_to_x",
        "run_id",
        "run_dir",
        "run_mode",
        "output_file",
        "output_format",
        "system_message",
        "system_file",
        "seed_everything",
        "device_count",
        "dtype_x",
        "pref_beta",
        "kl_coef",
        "vf_coef",
        "reward_model",
        "ref_model",
        "rank",
        "alpha",
        "dropout",
        "bits",
        "iters",
        "fp8",
        "q_lora",
        "template_path",
        "model_dir",
        "model_id",
        "export_dir",
    ),
)


@pytest.mark.parametrize("written", MISSPELT)
def test_a_misspelt_key_is_answered_with_the_one_that_was_meant(written: str) -> None:
    assert f"did you mean {MISSPELT[written]}?" in complaint(None, [f"{written}=1"])[1]


@pytest.mark.parametrize("other", OTHER_THINGS)
def test_a_key_for_another_thing_is_not_taken_for_a_misspelling(other: str) -> None:
    """A wrong guess misleads: what is asked is whatever the key means elsewhere."""
    assert complaint(None, [f"{other}=1"])[1] == f"Unknown config key {other}; check its spelling or remove it"


def test_no_key_misspells_another() -> None:
    """Every key but itself: two keys that are alike would make each guess a lottery."""
    assert nearest_key("lora_rank") == "lora_rank"
    assert nearest_key("x" * 100_000) is None


def test_keys_below_another_key_are_told_where_settings_stand(tmp_path: Path) -> None:
    assert complaint(written(tmp_path, "lora:\n  lora_r: 8\n"))[1] == (
        "my.yaml, line 1: Unknown config key lora; settings stand at the top level, not below another key"
        " (but for persona and sampling)"
    )
    assert "sampling holds keys such as temperature" in complaint(written(tmp_path, "sampling: 0.7"))[1]
