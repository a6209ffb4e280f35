"""Config: recipes, other trainers' names, YAML traps, overrides, and the exact words of every complaint."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tonghua.config import schema as room
from tonghua.config.fields import LORA_MODULES
from tonghua.config.load import load, recipe_names
from tonghua.config.overrides import parse_overrides
from tonghua.config.schema import GROUPS, STYLES, Config, Persona, Sampling
from tonghua.config.yaml_file import MAX_FILE_BYTES, to_yaml
from tonghua.errors import RefusedError, UsageError, UserError

RECIPES = ["daiyu", "demo", "fairytale", "qa", "zhenhuan"]
RECIPE_FOLDER = Path(room.__file__).parent.parent / "recipes"


def written(folder: Path, text: str | bytes, name: str = "我的 配方.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def complaint(recipe: str | Path | None, overrides: Any = (), kind: type[UserError] = UsageError) -> tuple[str, str]:
    with pytest.raises(UserError) as caught:
        load(recipe, overrides)
    assert type(caught.value) is kind
    return tuple(caught.value.text)


def changed(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(exclude_defaults=True)


# --- defaults and the model itself ---


def test_the_defaults():
    config = load(None).config
    assert config == Config()
    assert (config.model, config.dataset, config.system, config.max_length) == (None, None, None, 1024)
    assert (config.learning_rate, config.lr_scheduler_type, config.warmup_ratio) == (2e-4, "cosine", 0.03)
    assert (config.lora_rank, config.lora_alpha, config.lora_dropout) == (8, 32.0, 0.0)
    assert (config.samples_per_step, config.num_train_epochs, config.val_size) == (16, 3.0, 0.05)
    assert config.lora_modules == LORA_MODULES
    assert config.gradient_checkpointing == "auto"
    assert config.sampling == Sampling(
        temperature=0.7, top_p=0.9, repetition_penalty=1.1, max_new_tokens=1024, dry_multiplier=0.8
    )


def test_it_is_frozen_strict_and_hashable():
    config = Config()
    with pytest.raises(ValidationError):
        config.learning_rate = 1.0
    with pytest.raises(ValidationError):
        config.sampling.temperature = 1.0
    with pytest.raises(ValidationError):
        Config(lora_rank="8")
    with pytest.raises(ValidationError):
        Config(learning_rat=1.0)
    with pytest.raises(ValidationError):
        Config(learning_rate=float("nan"))
    assert hash(config) == hash(Config())
    assert isinstance(config.num_train_epochs, float)


@pytest.mark.parametrize("model", [Config, *GROUPS.values()])
def test_every_field_is_described_in_both_languages(model):
    for name, field in model.model_fields.items():
        zh, slash, en = (field.description or "").partition(" / ")
        assert slash and any("\u4e00" <= one <= "\u9fff" for one in zh), name
        assert en.isascii() and en, name


def test_every_number_has_bounds():
    for model in (Config, *GROUPS.values()):
        for name, schema in model.model_json_schema()["properties"].items():
            for one in schema.get("anyOf", [schema]):
                if one.get("type") in ("integer", "number"):
                    assert {"minimum", "exclusiveMinimum", "enum"} & one.keys(), name


def test_config_needs_no_torch():
    code = "import sys, tonghua.config.load; sys.exit('torch' in sys.modules)"
    root = str(Path(room.__file__).parents[2])
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0


def test_styles_change_only_what_they_name_and_stay_as_they_are():
    assert {name: dict(style) for name, style in STYLES.items()} == {
        "varied": {"temperature": 0.85, "top_p": 0.95},
        "steady": {"temperature": 0.55, "repetition_penalty": 1.2},
        "long": {"max_new_tokens": 1536},
        "short": {"max_new_tokens": 512},
    }
    for style in STYLES.values():
        assert changed(load(None, style).config) == {"sampling": dict(style)}
    with pytest.raises(TypeError):
        STYLES["long"]["max_new_tokens"] = 1


# --- recipes ---

DIFFERENCES = {
    "fairytale": {
        "model": "qwen2.5-1.5b-instruct",
        "system": "你是一个优秀的童话故事作家，请根据用户的要求创作一个完整、有教育意义的童话故事。",
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 8,
        "num_train_epochs": 5.0,
    },
    "daiyu": {
        "model": "qwen2.5-0.5b-instruct",
        "system": "你是林黛玉，贾宝玉的表妹。",
        "sampling": {"repetition_penalty": 1.2, "max_new_tokens": 128},
    },
    "zhenhuan": {
        "model": "qwen2.5-0.5b-instruct",
        "system": "现在你要扮演皇帝身边的女人--甄嬛",
        "sampling": {"max_new_tokens": 128},
    },
    "qa": {
        "model": "qwen2.5-0.5b-instruct",
        "sampling": {
            "temperature": 0.3,
            "repetition_penalty": 1.05,
            "max_new_tokens": 512,
            "dry_multiplier": 0.0,
        },
    },
    "demo": {
        "model": "tiny",
        "dataset": "bedtime",
        "eval_dataset": "bedtime.heldout",
        "system": "你是小夜灯，每天晚上给孩子讲一个睡前故事。",
        "learning_rate": 2e-3,
        "lora_rank": 16,
        "num_train_epochs": 4.0,
        "per_device_train_batch_size": 4,
        "sampling": {
            "temperature": 0.3,
            "min_p": 0.2,
            "top_p": 1.0,
            "repetition_penalty": 1.0,
            "max_new_tokens": 640,
        },
    },
}


CARDS = {
    "daiyu": {"name", "greeting", "portrait", "examples"},
    "zhenhuan": {"name", "greeting", "portrait", "examples"},
    "demo": {"name", "greeting", "portrait"},
}


def keys_at_default(text: str) -> list[str]:
    """Keys of a recipe that say what is the default anyway."""
    given_keys = yaml.safe_load(text)
    default = Config()
    same = []
    for group in GROUPS:
        nested = given_keys.pop(group, {})
        same += [key for key, value in nested.items() if getattr(getattr(default, group), key) == value]
    return same + [key for key, value in given_keys.items() if getattr(default, key) == value]


def keys_without_comment(text: str) -> list[str]:
    """Keys of a recipe with neither a comment nor the key of the same block right above."""
    lines = text.splitlines()
    keys = [number for number, line in enumerate(lines) if line.strip() and not line.lstrip().startswith("#")]
    return [lines[number] for number in keys if number == 0 or not lines[number - 1].strip()]


def test_the_shipped_recipes_by_name():
    assert recipe_names() == RECIPES == sorted(DIFFERENCES)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_holds_exactly_what_differs_from_the_defaults(name):
    loaded = load(name)
    assert (loaded.name, loaded.notes) == (name, ())
    differing = changed(loaded.config)
    card = differing.pop("persona", {})
    assert differing == DIFFERENCES[name]
    # What a card says is nobody's default; that it says something is what a recipe of a character is for.
    assert set(card) == CARDS.get(name, set())
    text = (RECIPE_FOLDER / f"{name}.yaml").read_text("utf-8")
    assert keys_at_default(text) == []
    assert keys_without_comment(text) == []
    assert f"tonghua train {name} " in text


def test_the_recipe_checks_can_fail():
    text = "lora_rank: 8\nseed: 7\nsampling: {top_k: 0}\npersona: {name: 甲, greeting: null}"
    assert keys_at_default(text) == ["greeting", "top_k", "lora_rank"]
    assert keys_without_comment("# why\nseed: 7\n\nlora_rank: 4\n") == ["lora_rank: 4"]


DOCUMENT_VALUES = """
lora_r: 8
lora_alpha: 32
lora_dropout: 0.1
target_modules: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]
gradient_checkpointing: true
optim: paged_adamw_8bit
lr_scheduler_type: linear
warmup_ratio: 0
per_device_train_batch_size: 2
gradient_accumulation_steps: 8
num_train_epochs: 5
learning_rate: 2e-4
max_length: 1024
logging_steps: 5
save_strategy: epoch
save_total_limit: 3
report_to: none
fp16: false
bf16: true
"""


@pytest.mark.parametrize("name", RECIPES)
def test_the_documents_own_values_work_on_every_recipe(name, tmp_path):
    loaded = load(written(tmp_path, f"recipe: {name}\n{DOCUMENT_VALUES}"))
    config = loaded.config
    assert (config.lora_dropout, config.gradient_checkpointing, config.samples_per_step) == (0.1, True, 16)
    assert (config.lr_scheduler_type, config.warmup_ratio, config.num_train_epochs) == ("linear", 0.0, 5.0)
    assert config.lora_target == LORA_MODULES == config.lora_modules
    assert config.sampling == load(name).config.sampling
    assert config.system == load(name).config.system
    assert [note.en.partition(":")[0] for note in loaded.notes] == [
        "optim need not be set",
        "bf16 need not be set",
        "these need not be set here",
    ]
    assert loaded.notes[-1].en.endswith(": logging_steps, save_strategy, fp16")
    tokens = [line.replace(": ", "=").replace("[", "").replace("]", "") for line in DOCUMENT_VALUES.split("\n")]
    assert load(name, [token for token in tokens if token]).config == config


# --- a user's own file ---


def test_a_users_file_with_a_base_and_overrides(tmp_path):
    path = written(tmp_path, "recipe: daiyu\nlr: 1e-4\nsampling:\n  top-p: 0.8\nmax_new_tokens: 64\n")
    loaded = load(path, ["sampling.temperature=0.5", "learning_rate=3e-4"])
    assert loaded.name == "我的 配方"
    assert loaded.config.persona == load("daiyu").config.persona
    assert changed(loaded.config.model_copy(update={"persona": Persona()})) == {
        "model": "qwen2.5-0.5b-instruct",
        "system": "你是林黛玉，贾宝玉的表妹。",
        "learning_rate": 3e-4,
        "sampling": {"temperature": 0.5, "top_p": 0.8, "repetition_penalty": 1.2, "max_new_tokens": 64},
    }
    assert load(str(path)).config.learning_rate == 1e-4


def test_an_empty_file_and_an_empty_sampling_are_the_defaults(tmp_path):
    assert load(written(tmp_path, "# nothing yet\n")).config == Config()
    assert load(written(tmp_path, "sampling:\n  # temperature: 0.9\n")).config == Config()


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_utf8_with_and_without_bom_and_with_windows_lines(tmp_path, start, newline):
    text = f"system: 你是作家{newline}dataset: '数据 集\\故事.json'{newline}"
    config = load(written(tmp_path, start + text.encode())).config
    assert (config.system, config.dataset) == ("你是作家", "数据 集\\故事.json")


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("learning_rate: 1e-4", "learning_rate", 1e-4),
        ("learning_rate: '1e-4'", "learning_rate", 1e-4),
        ("lora_rank: 010", "lora_rank", 10),
        ("skip_bad_rows: on", "skip_bad_rows", True),
        ("max_steps: None", "max_steps", None),
        ("max_steps: ~", "max_steps", None),
        ("system: None", "system", None),
        ("system: 'None'", "system", "None"),
        ("system: 'no'", "system", "no"),
        ('system: "2024"', "system", "2024"),
        ("system: |\n  你好\n  世界\n", "system", "你好\n世界\n"),
        ("system: '  '", "system", None),
        ("lora_target: q_proj, v_proj", "lora_target", ("q_proj", "v_proj")),
        ("lora_target: [v_proj, q_proj]", "lora_target", ("v_proj", "q_proj")),
        ("gradient-checkpointing: no", "gradient_checkpointing", False),
        ("val_size: 10", "val_size", 10.0),
        ("save_steps: 500.0", "save_steps", 500),
        ("max_samples: 1e3", "max_samples", 1000),
        ("lora_rank: ３", "lora_rank", 3),
    ],
)
def test_yaml_values_are_read_by_the_type_of_their_field(tmp_path, text, field, value):
    got = getattr(load(written(tmp_path, text)).config, field)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("value", ["no", "yes", "123", "1.5", "2024-01-02", "0x10", "1:30"])
def test_text_that_yaml_would_retype_must_be_quoted(tmp_path, value):
    assert complaint(written(tmp_path, f"seed: 1\nsystem: {value}\n")) == (
        f'我的 配方.yaml 第 2 行：system 应是文字，YAML 却不会把 {value} 当作文字；请加引号：system: "{value}"',
        f"我的 配方.yaml, line 2: system is text, but YAML takes {value} for something else;"
        f' quote it: system: "{value}"',
    )
    assert load(written(tmp_path, f'system: "{value}"')).config.system == value


NAME = "我的 配方.yaml"


@pytest.mark.parametrize(
    ("text", "zh", "en"),
    [
        (
            "seed: 1\nlora_rank: 4\nseed: 1\n",
            f"{NAME} 第 3 行：seed 在第 1 行已经写过；请只留一个",
            f"{NAME}, line 3: seed is already on line 1; keep one",
        ),
        (
            "{seed: 1, seed: 2}",
            f"{NAME} 第 1 行：seed 在第 1 行已经写过；请只留一个",
            f"{NAME}, line 1: seed is already on line 1; keep one",
        ),
        (
            "sampling:\n  top_k: 1\n  top_k: 1\n",
            f"{NAME} 第 3 行：sampling.top_k 在第 2 行已经写过；请只留一个",
            f"{NAME}, line 3: sampling.top_k is already on line 2; keep one",
        ),
        (
            "learning_rate：1e-4",
            f"{NAME} 里应是一行行的「配置项: 值」；冒号要用半角，后面空一格",
            f"{NAME} must hold lines of `key: value`, with a space after the colon",
        ),
        (
            "- seed",
            f"{NAME} 里应是一行行的「配置项: 值」；冒号要用半角，后面空一格",
            f"{NAME} must hold lines of `key: value`, with a space after the colon",
        ),
        (
            "seed: 1\nsystem: 规则: 写童话\n",
            f"{NAME} 第 2 行不是正确的 YAML；文字里有冒号时要加引号",
            f"{NAME}, line 2: not valid YAML; quote text that holds a colon",
        ),
        (
            'model: "D:\\模型"\n',
            f"{NAME} 第 1 行不是正确的 YAML；双引号里的反斜杠是转义，路径请用单引号",
            f"{NAME}, line 1: not valid YAML; a backslash in double quotes is an escape; put paths in single quotes",
        ),
        (
            "sampling:\n\ttop_k: 1\n",
            f"{NAME} 第 2 行不是正确的 YAML；缩进要用空格，不能用 Tab",
            f"{NAME}, line 2: not valid YAML; indent with spaces, not tabs",
        ),
        (
            "seed: [1\n",
            f"{NAME} 第 2 行不是正确的 YAML；请检查冒号后的空格、缩进和引号",
            f"{NAME}, line 2: not valid YAML; check the space after each colon, the indents and the quotes",
        ),
        (
            "[seed]: 1",
            f"{NAME} 第 1 行：冒号前应是一个配置项的名字",
            f"{NAME}, line 1: a key must stand before the colon",
        ),
        (
            'model: "D:\\new"',
            f"{NAME} 第 1 行：model=D:\\new：路径里有控制字符，多半是双引号把反斜杠当成了转义；"
            "请改用单引号，或把 \\ 写成 /",
            f"{NAME}, line 1: model=D:\\new: the path holds a control character, most likely a backslash"
            " read as an escape inside double quotes; use single quotes, or write / for \\",
        ),
        (
            "recipe: daiyv",
            f"{NAME} 第 1 行：recipe=daiyv：应是自带的配方：daiyu, demo, fairytale, qa, zhenhuan",
            f"{NAME}, line 1: recipe=daiyv: must be a shipped recipe: daiyu, demo, fairytale, qa, zhenhuan",
        ),
        (
            "lora_alpha: true",
            f"{NAME} 第 1 行：lora_alpha=true：应是数（大于 0、不大于 65536）",
            f"{NAME}, line 1: lora_alpha=true: must be a number (above 0, at most 65536)",
        ),
        (
            "model: [a, b]",
            f"{NAME} 第 1 行：model=a,b：应是文字或 none",
            f"{NAME}, line 1: model=a,b: must be text or none",
        ),
        (
            "dataset: []",
            f"{NAME} 第 1 行：dataset=：应是一个或几个文件的路径",
            f"{NAME}, line 1: dataset=: must be the path of a file, or several",
        ),
        (
            "columns: output",
            f"{NAME} 第 1 行：columns=output：应是 角色:列名，例如 columns=output:回复内容",
            f"{NAME}, line 1: columns=output: must be role:column, such as columns=output:reply",
        ),
    ],
)
def test_files_that_cannot_be_read(tmp_path, text, zh, en):
    assert complaint(written(tmp_path, text)) == (zh, en)


def test_several_datasets(tmp_path):
    both = ("故事 一.json", "chat.jsonl*0.5")
    assert load(written(tmp_path, "dataset: [故事 一.json, chat.jsonl*0.5]"), []).config.dataset == both
    assert load(None, ["dataset=[故事 一.json,chat.jsonl*0.5]"]).config.dataset == both
    assert load(None, {"dataset": [Path("故事 一.json"), "chat.jsonl*0.5"]}).config.dataset == both
    config = load(None, {"dataset": both}).config
    assert load(written(tmp_path, to_yaml(config)), []).config == config


@pytest.mark.parametrize("text", ["{output: 回复, input: 补充}", "output:回复,input:补充", "output：回复，input：补充"])
def test_columns_are_named(tmp_path, text):
    columns = {"output": "回复", "input": "补充"}
    assert load(None, [f"columns={text}"]).config.columns == columns
    assert load(written(tmp_path, "columns:\n  output: 回复\n  input: 补充"), []).config.columns == columns
    config = load(None, {"columns": columns}).config
    assert load(written(tmp_path, to_yaml(config)), []).config == config


@pytest.mark.parametrize(
    ("text", "zh", "en"),
    [
        (
            "seed: 1\nsystem: !!python/object/apply:os.system [dir]\n",
            f"{NAME} 第 2 行：配置文件里不能用 ! 标签；请直接写值，文字请加引号",
            f"{NAME}, line 2: YAML tags (!) are refused; write the plain value, or quote the text",
        ),
        (
            "a: &a [x, x]\nb: &b [*a, *a]\n",
            f"{NAME} 第 1 行：配置文件里不能用 & 和 * 引用；请把值直接写出来，文字请加引号",
            f"{NAME}, line 1: anchors and aliases (& and *) are refused; write the value, or quote the text",
        ),
        (
            "seed: *here\n",
            f"{NAME} 第 1 行：配置文件里不能用 & 和 * 引用；请把值直接写出来，文字请加引号",
            f"{NAME}, line 1: anchors and aliases (& and *) are refused; write the value, or quote the text",
        ),
        ("seed: " + "[" * 5000, f"{NAME} 第 1 行：嵌套太深", f"{NAME}, line 1: nested too deeply"),
        (
            "#" * 1_000_001,
            f"{NAME} 超过 1 MB，不像配置文件；数据请用 dataset= 给",
            f"{NAME} is over 1 MB and no config file; rows are given with dataset=",
        ),
    ],
)
def test_files_that_are_not_safe_are_refused(tmp_path, text, zh, en):
    assert complaint(written(tmp_path, text), kind=RefusedError) == (zh, en)


def test_a_file_of_exactly_the_limit_is_read(tmp_path):
    assert load(written(tmp_path, "#" * MAX_FILE_BYTES)).config == Config()


def test_other_encodings_and_wrong_paths(tmp_path):
    assert complaint(written(tmp_path, "system: 童话".encode("gbk"))) == (
        "我的 配方.yaml 不是 UTF-8 编码；请在编辑器里另存为 UTF-8",
        "我的 配方.yaml is not UTF-8; save it as UTF-8 in your editor",
    )
    assert complaint("daiy") == (
        "没有名为 daiy 的配方；自带的有 daiyu, demo, fairytale, qa, zhenhuan，也可以给一个 .yaml 文件",
        "There is no recipe called daiy; there are daiyu, demo, fairytale, qa, zhenhuan, or give a .yaml file",
    )
    missing = tmp_path / "没有 这个.yaml"
    assert complaint(missing) == (
        f"找不到配置文件：{missing}；请检查路径",
        f"No such config file: {missing}; check the path",
    )
    near = tmp_path / "daiyu.yaml"
    assert complaint(near) == (
        f"找不到配置文件：{near}；自带的配方直接写 daiyu",
        f"No such config file: {near}; the shipped recipe is called daiyu",
    )
    toml = written(tmp_path, "", "x.toml")
    assert complaint(toml) == (
        f"配置文件要以 .yaml 或 .yml 结尾：{toml}",
        f"A config file must end in .yaml or .yml: {toml}",
    )


# --- the command line ---


def test_every_spelling_of_an_override():
    tokens = [
        "lr=1e-4",
        "--lora-rank",
        "4",
        "--max_length=64",
        "--sampling.top-k=5",
        "system=a=b:c",
        "--seed",
        "7",
    ]
    assert parse_overrides(tokens) == (
        ("lr", "1e-4"),
        ("lora_rank", "4"),
        ("max_length", "64"),
        ("sampling.top_k", "5"),
        ("system", "a=b:c"),
        ("seed", "7"),
    )
    assert changed(load(None, tokens).config) == {
        "learning_rate": 1e-4,
        "lora_rank": 4,
        "max_length": 64,
        "system": "a=b:c",
        "seed": 7,
        "sampling": {"top_k": 5},
    }


def test_switches_may_stand_alone():
    assert parse_overrides(["--skip-bad-rows", "lr=1e-4", "--do_train", "--bf16"]) == (
        ("skip_bad_rows", "true"),
        ("lr", "1e-4"),
        ("do_train", "true"),
        ("bf16", "true"),
    )
    assert parse_overrides(["--gradient_checkpointing", "auto", "--fp16", "no"]) == (
        ("gradient_checkpointing", "auto"),
        ("fp16", "no"),
    )


def test_tokens_that_are_no_setting():
    with pytest.raises(UsageError) as caught:
        parse_overrides(["data.json", "-x=1", "--lr", "--seed=1", "lr＝1e-4", "=3", "--", "--system"])
    unreadable = ["data.json", "-x=1", "lr＝1e-4", "=3", "--"]
    zh = {one: f"看不懂 {one}；配置要写成 配置项=值，等号用半角" for one in unreadable}
    en = {one: f"Cannot read {one}; settings are written key=value" for one in unreadable}
    assert caught.value.text.zh.split("\n") == [
        zh["data.json"],
        zh["-x=1"],
        "--lr 后面缺少值",
        zh["lr＝1e-4"],
        zh["=3"],
        zh["--"],
        "--system 后面缺少值",
    ]
    assert caught.value.text.en.split("\n") == [
        en["data.json"],
        en["-x=1"],
        "--lr needs a value",
        en["lr＝1e-4"],
        en["=3"],
        en["--"],
        "--system needs a value",
    ]


@pytest.mark.parametrize("text", ["123", "no", "true", "1e-4", "a=b", "说：你好", "键: 值", "-1", "[x]", "写 # 童话"])
def test_text_stays_as_it_is(text):
    assert load(None, [f"system={text}"]).config.system == text
    assert load(None, ["--system", text]).config.system == text
    assert load(None, {"system": text}).config.system == text


@pytest.mark.parametrize("nothing", ["none", "null", "None", ""])
def test_optional_settings_can_be_taken_back(nothing):
    config = load("daiyu", [f"system={nothing}", f"max_steps={nothing}", f"sampling.seed={nothing}"]).config
    assert (config.system, config.max_steps, config.sampling.seed) == (None, None, None)


@pytest.mark.parametrize(("words", "value"), [("true yes on 1 TRUE", True), ("false no off 0 False", False)])
def test_words_for_true_and_false(words, value):
    for word in words.split():
        config = load(None, [f"skip_bad_rows={word}", f"gradient_checkpointing={word}"]).config
        assert config.skip_bad_rows is value
        assert config.gradient_checkpointing is value


@pytest.mark.parametrize("path", [r"D:\模型\qwen 0.5b", r"C:\new\temp=1", "/家/我的 数据/a.json", r"\\server\share\x"])
def test_paths_come_through_untouched(path, tmp_path):
    for tokens in ([f"model={path}", f"dataset={path}"], ["--model", path, "--dataset", path]):
        config = load(None, tokens).config
        assert (config.model, config.dataset) == (path, path)
    assert load(written(tmp_path, f"output_dir: '{path}'")).config.output_dir == path
    assert load(None, {"dataset": Path(path)}).config.dataset == str(Path(path))


def test_a_mapping_of_python_values():
    config = load(None, {"lr": 1e-4, "lora-rank": 4, "sampling": {"top_k": 3}, "lora_target": ["q_proj"]}).config
    assert changed(config) == {
        "learning_rate": 1e-4,
        "lora_rank": 4,
        "lora_target": ("q_proj",),
        "sampling": {"top_k": 3},
    }
    assert load(None, {"max_steps": None, "system": None}).config == Config()


def test_seed_is_of_training_and_sampling_seed_of_sampling():
    config = load(None, ["seed=1", "sampling.seed=2"]).config
    assert (config.seed, config.sampling.seed) == (1, 2)


def test_one_thing_given_twice():
    assert complaint(None, ["lr=1e-4", "seed=1", "learning_rate=2e-4"]) == (
        "lr=1e-4 和 learning_rate=2e-4 是同一个配置项，值却不同；请只留一个",
        "lr=1e-4 and learning_rate=2e-4 set the same thing to different values; keep one",
    )
    assert complaint(None, ["top_k=1", "sampling.top_k=2"]) == (
        "top_k=1 和 sampling.top_k=2 是同一个配置项，值却不同；请只留一个",
        "top_k=1 and sampling.top_k=2 set the same thing to different values; keep one",
    )
    assert load(None, ["lr=1e-4", "learning_rate=0.0001"]).config.learning_rate == 1e-4


# --- what is wrong with a value ---


def test_unknown_keys():
    assert complaint(None, ["learning_rat=1"]) == (
        "不认识的配置项 learning_rat；是不是想写 learning_rate？",
        "Unknown config key learning_rat; did you mean learning_rate?",
    )
    assert complaint(None, ["拼写=1"]) == (
        "不认识的配置项 拼写；请检查拼写或删掉它",
        "Unknown config key 拼写; check its spelling or remove it",
    )
    assert complaint(None, ["sampling.temprature=1"])[1] == (
        "Unknown config key sampling.temprature; did you mean sampling.temperature?"
    )
    assert complaint(None, ["recipe=qa"]) == (
        "配方要写在命令的最前面，或写进配置文件，不能用 recipe= 来换",
        "a recipe comes first on the command line or stands in a file; recipe= cannot change it",
    )


WHOLE = "must be a whole number (at least 1, at most 2147483648)"
NAMES = "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj"
FOLDER = (
    '要用作文件夹名：不超过 64 个字，不含 < > : " / \\ | ? *，首尾不是点或空格',
    'becomes a folder name: at most 64 characters, none of < > : " / \\ | ? *, no dot or space at either end',
)


@pytest.mark.parametrize(
    ("token", "zh", "en"),
    [
        (
            "lora_r=8.5",
            "应是整数（不小于 1、不大于 1024）",
            "must be a whole number (at least 1, at most 1024)",
        ),
        (
            "lora_rank=true",
            "应是整数（不小于 1、不大于 1024）",
            "must be a whole number (at least 1, at most 1024)",
        ),
        ("lr=0", "应是数（大于 0、不大于 1）", "must be a number (above 0, at most 1)"),
        (
            "lr=none",
            "应是数（大于 0、不大于 1）；不写就是 0.0002",
            "must be a number (above 0, at most 1); it is 0.0002 if left out",
        ),
        (
            "lora_alpha=none",
            "应是数（大于 0、不大于 65536）；不写就是 32，LLaMA-Factory 的 none 则是 lora_rank 的两倍",
            "must be a number (above 0, at most 65536); it is 32 if left out, while none of LLaMA-Factory is twice"
            " lora_rank",
        ),
        (
            "report_to=true",
            "应是 none（不上报），或 tensorboard, swanlab, wandb, trackio 中的几个",
            "must be none, to report to nothing, or some of tensorboard, swanlab, wandb, trackio",
        ),
        ("lr=nan", "应是数（大于 0、不大于 1）", "must be a number (above 0, at most 1)"),
        ("max_grad_norm=inf", "应是数（不小于 0）", "must be a number (at least 0)"),
        ("lora_dropout=1", "应是数（不小于 0、小于 1）", "must be a number (at least 0, below 1)"),
        (
            "max_length=7",
            "应是整数（不小于 8、不大于 131072）",
            "must be a whole number (at least 8, at most 131072)",
        ),
        ("max_steps=-2", "应是整数（不小于 1、不大于 2147483648）或 none", f"{WHOLE} or none"),
        ("lora_rank=0", "应是整数（不小于 1、不大于 1024）", "must be a whole number (at least 1, at most 1024)"),
        ("skip_bad_rows=maybe", "应是 true 或 false", "must be true or false"),
        ("device=gpu", "应是 auto、cpu、cuda 或 mps", "must be auto, cpu, cuda or mps"),
        ("gradient_checkpointing=x", "应是 true、false 或 auto", "must be true, false or auto"),
        ("output_dir=", "应是文字（至少 1 个字）", "must be text (at least 1 character)"),
        ("val_size=-1", "应是数（不小于 0）", "must be a number (at least 0)"),
        (
            "val_size=1.5",
            "应是小于 1 的比例（0.05 即 5%），或不小于 1 的整数行数",
            "must be a share below 1 (0.05 is 5 %) or a whole number of rows",
        ),
        ("lora_target=foo", f"应是 all，或 {NAMES} 中的几个", f"must be all, or some of {NAMES}"),
        ("lora_target=", f"应是 all，或 {NAMES} 中的几个", f"must be all, or some of {NAMES}"),
        (
            "lora_target=q_proj,lm_head",
            "lm_head 不能加 LoRA：这类模型的词表输入和输出共用一份权重，加了就无法合并和导出",
            "lm_head cannot carry LoRA: the embedding and the output head of these models are one matrix,"
            " so the result could not be merged or exported",
        ),
        ("run_name=a/b", *FOLDER),
        ("run_name=..", *FOLDER),
        ("run_name=a:b", *FOLDER),
        ("sampling.top_p=0", "应是数（大于 0、不大于 1）", "must be a number (above 0, at most 1)"),
    ],
)
def test_values_that_are_not_allowed(token, zh, en):
    assert complaint(None, [token]) == (f"{token}：{zh}", f"{token}: {en}")


def test_names_people_use_for_values():
    config = load(None, ["lora_target=all-linear", "dtype=bf16", "run_name=童话 第一次"]).config
    assert (config.lora_target, config.dtype, config.run_name) == ("all", "bfloat16", "童话 第一次")
    assert load(None, ["lora_target=v_proj, q_proj,v_proj"]).config.lora_modules == ("q_proj", "v_proj")


@pytest.mark.parametrize("word", ["none", "false", "False", "[]", "", None, False])
def test_nothing_is_reported_to_where_people_say_so(word):
    assert load(None, {"report_to": word}).config.report_to == ()


def test_long_values_are_shortened_to_one_line():
    zh, en = complaint(None, {"lora_rank": "x\n" * 40})
    assert "\n" not in zh + en
    assert en.startswith("lora_rank=x\\nx\\n")
    assert "…: must be a whole number" in en


def test_all_problems_come_at_once_base_file_and_command_line(tmp_path):
    path = written(tmp_path, "lora_rank: 0\nepoch: 3\nsystem: no\n")
    where = "我的 配方.yaml, line"
    assert complaint(path, ["lr=x", "data.json"])[1].split("\n") == [
        f"{where} 1: lora_rank=0: must be a whole number (at least 1, at most 1024)",
        f"{where} 2: Unknown config key epoch; did you mean epochs?",
        f'{where} 3: system is text, but YAML takes no for something else; quote it: system: "no"',
        "Cannot read data.json; settings are written key=value",
        "lr=x: must be a number (above 0, at most 1)",
    ]


# --- writing it out ---


def reread(config: Config) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        return load(written(Path(folder), to_yaml(config), "config.yaml")).config


@pytest.mark.parametrize("name", [None, *RECIPES])
def test_to_yaml_is_complete_readable_and_comes_back_equal(name):
    config = load(name).config
    text = to_yaml(config)
    assert list(yaml.safe_load(text)) == list(Config.model_fields)
    for group, model in GROUPS.items():
        assert list(yaml.safe_load(text)[group]) == list(model.model_fields)
    assert reread(config) == config
    if config.system:
        assert config.system in text


PERSONA = """
persona:
  name: 黛玉
  greeting: |-
    来了？
    坐罢。
  examples: [甲, "乙"]
"""


def test_a_persona_is_a_group_of_settings(tmp_path):
    card = Persona(name="黛玉", greeting="来了？\n坐罢。", examples=("甲", "乙"))
    assert load(written(tmp_path, PERSONA)).config.persona == card
    python = {"persona": {"name": "黛玉", "greeting": "来了？\n坐罢。", "examples": ["甲", "乙"]}}
    assert load(None, python).config.persona == load(None, python).config.card == card
    assert load(None, ["persona.name=黛玉", "--persona.examples", "甲"]).config.persona == Persona(
        name="黛玉", examples=("甲",)
    )
    assert load(written(tmp_path, "persona:\n")).config.card is None
    assert load(None, ["persona.name=none"]).config.card is None


@pytest.mark.parametrize(
    ("token", "zh", "en"),
    [
        ("persona=黛玉", "persona=黛玉：persona 下面写 name", "persona=黛玉: persona holds keys such as name"),
        ("persona.nam=黛玉", "不认识的配置项 persona.nam；是不是想写 persona.name？", "Unknown config key persona.nam"),
        ("name=黛玉", "不认识的配置项 name", "Unknown config key name"),
        ("persona.name=" + "长" * 41, "persona.name=长", "persona.name=长"),
        ("persona.greeting=" + "长" * 2001, "persona.greeting=长", "persona.greeting=长"),
        ("persona.portrait=" + "长" * 4001, "persona.portrait=长", "persona.portrait=长"),
        ("persona.examples=" + "长" * 501, "persona.examples=长", "persona.examples=长"),
        (
            "persona.name=黛\n玉",
            "persona.name=黛\\n玉：名字要写在一行里",
            "persona.name=黛\\n玉: a name stands on one line",
        ),
    ],
)
def test_a_persona_has_bounds(token, zh, en):
    chinese, english = complaint(None, [token])
    assert chinese.startswith(zh) and english.startswith(en)
    assert len(chinese) < 200 and "\n" not in chinese


def test_the_card_of_a_recipe_goes_with_its_system_prompt(tmp_path):
    """What is said to be somebody else does not greet as 黛玉."""
    other = "recipe: daiyu\nsystem: 你是汴河边茶铺的柳掌柜。\n"
    assert load(written(tmp_path, other)).config.card is None
    assert load("daiyu", ["system=你是柳掌柜。", "persona.name=柳掌柜"]).config.card == Persona(name="柳掌柜")
    own = written(tmp_path, f"{other}persona:\n  greeting: 喝茶？\n")
    assert load(own, ["system=你是掌柜。"]).config.card == Persona(greeting="喝茶？"), "a card of one's own stays"
    same = ["system=你是林黛玉，贾宝玉的表妹。", "persona.name=颦儿"]
    assert load("daiyu", same).config.persona == load("daiyu").config.persona.model_copy(update={"name": "颦儿"})


def test_a_persona_within_its_bounds_is_taken():
    """Negative control."""
    longest = {"name": "长" * 40, "greeting": "长" * 2000, "portrait": "长" * 4000, "examples": ["长" * 500] * 20}
    assert load(None, {"persona": longest}).config.persona.name == "长" * 40
    with pytest.raises(UsageError, match="at most 20, each of at most 500 characters"):
        load(None, {"persona": {**longest, "examples": ["甲"] * 21}})


def test_to_yaml_with_everything_changed_comes_back_equal():
    config = Config(
        model=r"D:\模型\qwen 0.5b",
        system="none",
        lora_target=("q_proj", "down_proj"),
        gradient_checkpointing=True,
        val_size=20,
        run_name="no",
        output_dir="null",
        max_steps=7,
        adam_epsilon=1e-12,
        persona=Persona(name="no", greeting="一\n二: #", portrait="null", examples=("- 甲", "none", "乙\n丙")),
        sampling=Sampling(seed=3, temperature=0),
    )
    assert reread(config) == config


@settings(max_examples=100, deadline=None, database=None)
@given(st.text())
def test_any_text_comes_back_from_yaml_as_it_was(text):
    config = load(None, {"system": text}).config
    assert config.system == (text if text.strip() else None)
    assert reread(config) == config


@pytest.mark.parametrize(
    "text", ["none", "Null", "~", "no", "1e-4", "a\r\nb", "\x85", "a\u2028b", "🦊 & *", "- x", "\x00"]
)
def test_awkward_text_comes_back_from_yaml_as_it_was(text):
    config = load(None, {"system": text}).config
    assert reread(config) == config
