"""Look at a model or adapter folder that a stranger made, before anything in it is opened for use.

    folder ──► names and links ──► json files ──► chat templates ──► safetensors headers ──► ModelFiles
               nothing outside     bounded,       parsed, never      offsets, dtypes and     AdapterFiles
                                   plain data     rendered           shapes agree

Only json, template text and safetensors headers are read. No tensor is loaded, nothing from the folder
is run and no pickle is opened. A wrong folder is a `UsageError`; whatever is damaged or could run code
is a `RefusedError` that names the file, the tensor where there is one, and the mend.
"""

import json
import math
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from jinja2 import TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from .errors import RefusedError, UsageError
from .text import Text

MODEL_TYPES = ("qwen2", "qwen3", "llama", "mistral")
"""The architectures whose code is part of this package or its dependencies, never of the folder."""

CONFIG_LIMIT_BYTES = 1_000_000
SIDE_FILE_LIMIT_BYTES = 10_000_000
TOKENIZER_LIMIT_BYTES = 200_000_000
TEMPLATE_LIMIT_BYTES = 200_000
HEADER_LIMIT_BYTES = 100_000_000

SIZE_LIMITS = {
    "hidden_size": 65_536,
    "num_hidden_layers": 512,
    "vocab_size": 2_000_000,
    "intermediate_size": 1_000_000,
    "num_attention_heads": 1_024,
}
RANK_LIMIT = 1_024
ALPHA_LIMIT = 1_000_000

DTYPE_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 2),
    **dict.fromkeys(("U32", "I32", "F32"), 4),
    **dict.fromkeys(("U64", "I64", "F64"), 8),
}
DIMENSIONS_LIMIT = 8
DIMENSION_LIMIT = 2**40

RANGE_LIMIT = 10_000
REPEAT_LIMIT = 1_000
LOOP_DEPTH_LIMIT = 4
# Compiling a template recurses over its tree; far below Python's own limit, far above any real template.
TREE_DEPTH_LIMIT = 100

LFS_POINTER_START = b"version https://git-lfs"
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

# Keys whose value can name code: a module in the folder, or a repository to fetch it from.
_CODE_KEYS = ("auto_map", "custom_pipelines", "model_file", "trust_remote_code")
_CODE_KEY_START = "_attn_implementation"

# Key: the values that leave the adapter a plain `W + scale * B A`; any other would change what it computes.
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
    # PiSSA, OLoRA, CorDA and LoftQ also change the base weights, which the adapter file does not hold.
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}

_MODULE_NAME = re.compile(r"[A-Za-z0-9_.]+")
_SHARD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors")
_TEMPLATE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LORA_TENSOR = re.compile(r"(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?")
_PRIVATE_PART = re.compile(r"(?:^|\.)_\w")
# The filters whose text arguments are names of attributes.
_ATTRIBUTE_FILTERS = frozenset(
    ("attr", "map", "selectattr", "rejectattr", "groupby", "sort", "sum", "unique", "min", "max")
)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor as its file's header declares it; `dtype` is safetensors' name, such as "BF16"."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model folder that passed: its config.json, and where each tensor is."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, TensorEntry]
    weight_files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class AdapterFiles:
    """An adapter folder that passed: its adapter_config.json and the tensors of its one weight file."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, TensorEntry]


def scan_model(folder: Path) -> ModelFiles:
    """The files of a model folder, none of them opened for use.

    Raises UsageError when this is no model folder, RefusedError when a part of it is damaged or unsafe.
    """
    if not _holds(folder, "config.json"):
        raise _not_a_model_folder(folder)
    _check_links(folder)
    config = _read_object(folder / "config.json", CONFIG_LIMIT_BYTES)
    _refuse_code(config, "config.json")
    _check_model_type(config)
    _check_sizes(config)
    scan_tokenizer(folder)
    weight_files, tensors = _model_tensors(folder)
    return ModelFiles(folder=folder, config=config, tensors=tensors, weight_files=weight_files)


def scan_tokenizer(folder: Path) -> None:
    """Whether the files by which a model is prompted are safe to open; raises as `scan_model` does."""
    if _holds(folder, "generation_config.json"):
        generation = _read_object(folder / "generation_config.json", SIDE_FILE_LIMIT_BYTES)
        _refuse_code(generation, "generation_config.json")
    _check_tokenizer(folder)
    _check_templates(folder)


def scan_adapter(folder: Path) -> AdapterFiles:
    """The files of a LoRA adapter folder, in the layout that PEFT writes.

    Raises UsageError when this is no adapter folder, RefusedError when it is damaged, unsafe, or asks for
    more than the scaled product of its two matrices (the scale is alpha / r, or alpha / sqrt(r) with rsLoRA).
    """
    if not _holds(folder, "adapter_config.json"):
        raise _not_an_adapter_folder(folder)
    _check_links(folder)
    config = _read_object(folder / "adapter_config.json", CONFIG_LIMIT_BYTES)
    _refuse_code(config, "adapter_config.json")
    _check_adapter_config(config)
    weights = folder / "adapter_model.safetensors"
    if not _holds(folder, weights.name):
        _refuse_missing_weights(folder, weights.name)
    tensors = read_header(weights)
    _check_adapter_tensors(tensors, config["r"], weights.name)
    return AdapterFiles(folder=folder, config=config, tensors=tensors)


def _refused(where: str, zh: str, en: str) -> RefusedError:
    return RefusedError(f"{where}：{zh}", f"{where}: {en}")


def _shown(value: object, limit: int = 80) -> str:
    """A stranger's value for a one-line message: no control characters, no endless text."""
    if isinstance(value, dict | list):
        # repr() of a deeply nested value could itself run out of stack.
        return "{…}" if isinstance(value, dict) else "[…]"
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    cut = text if len(text) <= limit else text[:limit] + "…"
    return "".join(mark if mark.isprintable() else f"\\u{ord(mark):04x}" for mark in cut)


def _damaged(path: Path, zh: str, en: str) -> RefusedError:
    """A fault that only a broken transfer or a forger makes."""
    return _refused(
        _shown(path.name),
        f"{zh}，文件已损坏；请重新下载这个文件",
        f"{en}, so the file is damaged; fetch this file again",
    )


def _not_a_model_folder(folder: Path) -> UsageError:
    wanted = Text(
        "请给出装有 config.json、tokenizer.json 和 model.safetensors 的文件夹",
        "give the folder that holds config.json, tokenizer.json and model.safetensors",
    )
    if not folder.is_dir():
        return _no_folder(folder, wanted)
    if _holds(folder, "adapter_config.json"):
        return UsageError(
            f"这不是模型文件夹：{folder} 里只有适配器，没有 config.json；{wanted.zh}",
            f"not a model folder: {folder} holds an adapter, but no config.json; {wanted.en}",
        )
    return UsageError(
        f"这不是模型文件夹：{folder} 里没有 config.json；{wanted.zh}",
        f"not a model folder: {folder} has no config.json; {wanted.en}",
    )


def _not_an_adapter_folder(folder: Path) -> UsageError:
    wanted = Text(
        "请给出装有 adapter_config.json 和 adapter_model.safetensors 的文件夹",
        "give the folder that holds adapter_config.json and adapter_model.safetensors",
    )
    if not folder.is_dir():
        return _no_folder(folder, wanted)
    if _holds(folder, "config.json"):
        return UsageError(
            f"这不是适配器文件夹：{folder} 是完整的模型，没有 adapter_config.json；{wanted.zh}",
            f"not an adapter folder: {folder} is a whole model, without adapter_config.json; {wanted.en}",
        )
    return UsageError(
        f"这不是适配器文件夹：{folder} 里没有 adapter_config.json；{wanted.zh}",
        f"not an adapter folder: {folder} has no adapter_config.json; {wanted.en}",
    )


def _no_folder(folder: Path, wanted: Text) -> UsageError:
    if folder.is_file():
        return UsageError(
            f"{folder} 是一个文件，不是文件夹；{wanted.zh}", f"{folder} is a file, not a folder; {wanted.en}"
        )
    return UsageError(f"找不到文件夹 {folder}；{wanted.zh}", f"no such folder: {folder}; {wanted.en}")


def _holds(folder: Path, name: str) -> bool:
    """Whether the folder has an entry of this name, of whatever kind; what kind is told when it is read."""
    try:
        return any(entry.name == name for entry in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        # ValueError: the path holds a NUL character.
        return False
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(
            f"打不开文件夹 {folder}（{reason}）；请检查路径和权限",
            f"the folder {folder} cannot be opened ({reason}); check the path and its permissions",
        ) from None


def _check_links(folder: Path) -> None:
    """Refuse links that lead out, so that every direct entry may then be read by its plain name.

    The cache of huggingface_hub links `<repository>/snapshots/<revision>/<name>` to `<repository>/blobs/`;
    there the repository's own folder is the fence.
    """
    real = folder.resolve()
    repository = real.parent.parent
    cached = real.parent.name == "snapshots" and (repository / "blobs").is_dir()
    fence = repository if cached else real
    for entry in sorted(folder.iterdir()):
        if not entry.is_symlink():
            continue
        name = _shown(entry.name)
        try:
            target = entry.resolve(strict=True)
        except (OSError, RuntimeError):
            # RuntimeError is how Python up to 3.12 tells of a loop of links.
            raise _refused(
                name,
                "链接指向的文件不存在；请重新下载这个模型",
                "the link leads to nothing; fetch the folder again",
            ) from None
        if not target.is_relative_to(fence):
            raise _refused(
                name,
                "链接指向了文件夹之外；如果信得过它，请把原文件复制进来代替链接",
                "the link leads out of the folder; if you trust its target, copy the file here in its place",
            )


def _read_bounded(path: Path, limit_bytes: int) -> bytes:
    _require_regular(path)
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    if len(data) > limit_bytes:
        raise _too_large(_shown(path.name), limit_bytes)
    _refuse_lfs_pointer(path, data)
    return data


def _require_regular(path: Path) -> None:
    # Opening a pipe or a device could wait for ever.
    if not path.is_file():
        raise _refused(
            _shown(path.name),
            "缺少这个文件，或者它不是普通文件；请重新下载",
            "missing, or not a plain file; fetch it again",
        )


def _unreadable(path: Path, error: OSError) -> RefusedError:
    reason = error.strerror or type(error).__name__
    return _refused(
        _shown(path.name),
        f"无法读取（{reason}）；请检查文件权限",
        f"cannot be read ({reason}); check its permissions",
    )


def _too_large(where: str, limit_bytes: int) -> RefusedError:
    limit = f"{limit_bytes // 1_000_000} MB" if limit_bytes >= 1_000_000 else f"{limit_bytes // 1_000} kB"
    return _refused(
        where,
        f"超过 {limit}，正常的文件没有这么大；请从官方来源重新下载",
        f"over {limit}, which no sound file is; fetch it again from the official source",
    )


def _refuse_lfs_pointer(path: Path, start: bytes) -> None:
    if start.startswith(LFS_POINTER_START):
        raise _refused(
            _shown(path.name),
            "这只是 Git LFS 的指针，不是文件本身；请在该文件夹里运行 git lfs pull",
            "this is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder",
        )


def read_json(path: Path, limit_bytes: int) -> Any:
    """What a json file holds; raises RefusedError unless it is a plain UTF-8 file of at most `limit_bytes`.

    Stricter than the json module: no key twice in one object (two readers could each take another one),
    no NaN or infinity; text that is nested too deeply is refused like any other damage.
    """
    return _parse_json(_read_bounded(path, limit_bytes), path)


def _parse_json(data: bytes, path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        known: dict[str, Any] = {}
        for key, value in pairs:
            key.encode("utf-8")  # half a surrogate pair is no text, and could not even be printed
            if key in known:
                raise _damaged(path, f"“{_shown(key)}”出现了两次", f'"{_shown(key)}" appears twice')
            known[key] = value
        return known

    def finite(text: str) -> float:
        number = float(text)
        if not math.isfinite(number):
            raise _damaged(path, f"{_shown(text)} 不是有限的数", f"{_shown(text)} is not a finite number")
        return number

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_float=finite, parse_constant=finite)
    except json.JSONDecodeError as error:
        place = f"{error.lineno}:{error.colno}"
        raise _damaged(path, f"不是正确的 JSON（行:列 {place}）", f"not valid JSON (line:column {place})") from None
    except UnicodeError:
        raise _damaged(path, "不是 UTF-8 文本", "not UTF-8 text") from None
    except (RecursionError, ValueError):
        raise _damaged(
            path, "JSON 嵌套太深或数字太长", "its JSON is nested too deeply or a number is too long"
        ) from None


def _read_object(path: Path, limit_bytes: int) -> dict[str, Any]:
    value = read_json(path, limit_bytes)
    if not isinstance(value, dict):
        raise _damaged(path, "内容不是一个 JSON 对象", "it does not hold a JSON object")
    return value


def _refuse_code(config: dict[str, Any], where: str) -> None:
    """Refuse every key, at any depth, by which a config can bring code along or fetch it."""
    pending: list[Any] = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                if _names_code(key, inner):
                    raise _refused(
                        where,
                        f"“{_shown(key)}”会让加载器运行模型自带的代码，tonghua 不支持；"
                        "请换用 Qwen2.5 这类不带自定义代码的模型",
                        f'"{_shown(key)}" makes loaders run code that comes with the model, '
                        "which tonghua never does; take a model without custom code, such as Qwen2.5",
                    )
            pending.extend(value.values())


def _names_code(key: str, value: object) -> bool:
    if value is None or value is False:
        return False
    # Older transformers wrote `_attn_implementation_autoset: true`; a bool names no code.
    return key in _CODE_KEYS or (key.startswith(_CODE_KEY_START) and value is not True)


def _check_model_type(config: dict[str, Any]) -> None:
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        supported = ", ".join(MODEL_TYPES)
        raise _refused(
            "config.json",
            f"不支持 model_type {_shown(model_type)}；支持的有 {supported}，请换一个模型",
            f"model_type {_shown(model_type)} is not supported; take a model of type {supported}",
        )
    if config.get("quantization_config") is not None:
        raise _refused(
            "config.json",
            "这是量化过的模型（quantization_config），不能用来训练；请换成未量化的版本",
            "the model is quantized (quantization_config); an unquantized folder is needed",
        )


def _check_sizes(config: dict[str, Any]) -> None:
    for key, limit in SIZE_LIMITS.items():
        value = config.get(key)
        if not _is_count(value, limit):
            raise _refused(
                "config.json",
                f"{key} 应是 1 到 {limit} 的整数，现在是 {_shown(value)}；请重新下载这个文件",
                f"{key} must be a whole number from 1 to {limit}, not {_shown(value)}; fetch this file again",
            )
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads")
    if groups is not None and not (_is_count(groups, heads) and heads % groups == 0):
        raise _refused(
            "config.json",
            f"num_key_value_heads 应能整除 num_attention_heads（{heads}），现在是 {_shown(groups)}；请重新下载这个文件",
            f"num_key_value_heads must divide num_attention_heads ({heads}), not be {_shown(groups)}; "
            "fetch this file again",
        )


def _is_count(value: object, limit: int) -> bool:
    # True is an int to isinstance.
    return type(value) is int and 1 <= value <= limit


def _check_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    if not _holds(folder, path.name):
        raise UsageError(
            f"模型文件夹 {folder} 里没有 tokenizer.json；请把它和模型一起下载",
            f"the model folder {folder} has no tokenizer.json; fetch it along with the model",
        )
    _require_regular(path)
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(256)
    except OSError as error:
        raise _unreadable(path, error) from None
    if size_bytes > TOKENIZER_LIMIT_BYTES:
        raise _too_large(path.name, TOKENIZER_LIMIT_BYTES)
    _refuse_lfs_pointer(path, start)
    if not start.lstrip().startswith(b"{"):
        raise _damaged(path, "内容不是一个 JSON 对象", "it does not hold a JSON object")


def _check_templates(folder: Path) -> None:
    """Lint every chat template of the folder; having none is no fault here."""
    if _holds(folder, "tokenizer_config.json"):
        path = folder / "tokenizer_config.json"
        config = _read_object(path, SIDE_FILE_LIMIT_BYTES)
        _refuse_code(config, path.name)
        for name, template in _named_templates(config.get("chat_template"), path):
            lint_template(template, f"tokenizer_config.json chat_template {name}")
    if _holds(folder, "chat_template.jinja"):
        path = folder / "chat_template.jinja"
        try:
            text = _read_bounded(path, TEMPLATE_LIMIT_BYTES).decode("utf-8")
        except UnicodeDecodeError:
            raise _damaged(path, "不是 UTF-8 文本", "not UTF-8 text") from None
        lint_template(text, path.name)


def _named_templates(value: Any, path: Path) -> Iterator[tuple[str, str]]:
    """The templates of tokenizer_config.json: none, one text, or a list of {"name", "template"}."""
    if value is None:
        return
    listed = [{"name": "default", "template": value}] if isinstance(value, str) else value
    if not isinstance(listed, list):
        raise _damaged(path, "chat_template 既不是文本也不是列表", "chat_template is neither a text nor a list")
    for item in listed:
        name, template = (item.get("name"), item.get("template")) if isinstance(item, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(template, str):
            raise _damaged(
                path,
                "chat_template 的每一项都要有 name 和 template",
                "each chat_template needs a name and a template",
            )
        # Such names have been used as file names by programs that save the tokenizer.
        if not _TEMPLATE_NAME.fullmatch(name):
            raise _refused(
                path.name,
                f"chat_template 的名字“{_shown(name)}”不合规，只能用 1 到 64 个英文字母、数字、_ 和 -；"
                "请改名或删掉这一项",
                f'chat_template name "{_shown(name)}" is not 1 to 64 letters, digits, _ and -; rename or drop it',
            )
        yield name, template


def _model_tensors(folder: Path) -> tuple[tuple[Path, ...], dict[str, TensorEntry]]:
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    placed: dict[str, str] = {}
    if _holds(folder, index.name):
        placed = _read_index(index)
        names = sorted(set(placed.values()))
        if single.name not in names and _holds(folder, single.name):
            raise _refused(
                single.name,
                f"与 {index.name} 各是一套权重，分不清该用哪套；请只留一套",
                f"this and {index.name} are two sets of weights; keep only the one that you mean",
            )
    elif _holds(folder, single.name):
        names = [single.name]
    else:
        _refuse_missing_weights(folder, single.name)
    weight_files = tuple(folder / name for name in names)
    tensors = _merged_headers(weight_files)
    for tensor, name in placed.items():
        if tensor not in tensors or tensors[tensor].file.name != name:
            raise _refused(
                name,
                f"{index.name} 说张量 {_shown(tensor)} 在这里，其实没有；请重新下载这两个文件",
                f"tensor {_shown(tensor)} is not here, although {index.name} says so; fetch both files again",
            )
    return weight_files, tensors


def _merged_headers(weight_files: Iterable[Path]) -> dict[str, TensorEntry]:
    tensors: dict[str, TensorEntry] = {}
    for path in weight_files:
        header = read_header(path)
        if not header:
            raise _damaged(path, "里面没有张量", "it holds no tensors")
        for name, entry in header.items():
            if name in tensors:
                first = tensors[name].file.name
                raise _refused(
                    path.name,
                    f"张量 {_shown(name)} 在 {first} 里也有；请重新下载权重",
                    f"tensor {_shown(name)} is in {first} too; fetch the weights again",
                )
            tensors[name] = entry
    return tensors


def _read_index(path: Path) -> dict[str, str]:
    """Tensor name to file name, each file a plain name that is there."""
    weight_map = _read_object(path, SIDE_FILE_LIMIT_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise _damaged(path, "没有 weight_map", "it has no weight_map")
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or not _SHARD_NAME.fullmatch(name):
            raise _refused(
                path.name,
                f"张量 {_shown(tensor)} 的文件名“{_shown(name)}”不是本文件夹里的 .safetensors 文件；"
                "请从官方来源重新下载",
                f'tensor {_shown(tensor)} is placed in "{_shown(name)}", which is no .safetensors file '
                "of this folder; fetch it again from the official source",
            )
    missing = [name for name in sorted(set(weight_map.values())) if not (path.parent / name).is_file()]
    if missing:
        more = len(missing) - 1
        raise _refused(
            missing[0],
            f"{path.name} 里列了这个文件，但文件夹里没有（另缺 {more} 个）；请继续下载",
            f"listed in {path.name} but not in the folder ({more} more are missing); finish the download",
        )
    return weight_map


def _refuse_missing_weights(folder: Path, wanted: str) -> NoReturn:
    """Say why there is nothing to read: pickles only, shards without their index, or no weights."""
    names = sorted(entry.name for entry in folder.iterdir())
    pickles = [name for name in names if name.lower().endswith(PICKLE_SUFFIXES)]
    shards = [name for name in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", name)]
    if shards:
        raise _refused(
            "model.safetensors.index.json",
            f"有分片 {shards[0]}，却缺少这个索引文件；请把它一起下载",
            f"there is a shard {shards[0]}, but not this index of the shards; fetch it too",
        )
    if pickles:
        raise _refused(
            _shown(pickles[0]),
            f"权重只有 pickle 格式，打开它可能会运行别人的代码，所以没有打开；请下载 safetensors 版本（{wanted}）",
            "the weights come only as a pickle, which can run code when opened, so it was left closed; "
            f"get the safetensors edition ({wanted})",
        )
    raise _refused(
        wanted,
        "文件夹里没有这个权重文件；请下载完整的 safetensors 版本",
        "the folder has no such weights; fetch the complete safetensors edition",
    )


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors that one safetensors file declares, in the header's order; no tensor data is read.

    Format (safetensors README): the header's length in 8 little-endian bytes, the header as a JSON object
    {name: {dtype, shape, data_offsets}}, then the data. Raises RefusedError unless the tensors fill the data
    exactly, each span being dtype times shape.
    """
    header, data_start, size_bytes = _read_header_json(path)
    entries: dict[str, TensorEntry] = {}
    spans: list[tuple[int, int, str]] = []
    for name, declared in header.items():
        if name == "__metadata__":
            if not isinstance(declared, dict) or not all(isinstance(text, str) for text in declared.values()):
                raise _damaged(path, "__metadata__ 不是文本", "__metadata__ does not hold texts")
            continue
        entries[name], (start, end) = _tensor_entry(path, name, declared)
        spans.append((start, end, name))
    _check_spans(path, spans, data_start, size_bytes)
    return entries


def _read_header_json(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header, where the data after it starts, and where the file ends, both in bytes."""
    _require_regular(path)
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER_START))
            _refuse_lfs_pointer(path, start)
            if len(start) < 8:
                raise _cut_short(path, 8, size_bytes)
            (length,) = struct.unpack("<Q", start[:8])
            if length > HEADER_LIMIT_BYTES:
                raise _damaged(
                    path,
                    f"开头不是 safetensors 的文件头（长度写作 {length}）",
                    f"it does not begin with a safetensors header (its length reads {length})",
                )
            if 8 + length > size_bytes:
                raise _cut_short(path, 8 + length, size_bytes)
            file.seek(8)
            data = file.read(length)
    except OSError as error:
        raise _unreadable(path, error) from None
    # The format allows nothing before the brace, not even a space.
    if not data.startswith(b"{"):
        raise _damaged(path, "文件头不是一个 JSON 对象", "its header is not a JSON object")
    return _parse_json(data, path), 8 + length, size_bytes


def _cut_short(path: Path, wanted_bytes: int, size_bytes: int) -> RefusedError:
    return _refused(
        _shown(path.name),
        f"文件不完整：至少应有 {wanted_bytes} 字节，只有 {size_bytes} 字节；请重新下载这个文件",
        f"the file is cut short: {size_bytes} bytes of at least {wanted_bytes}; fetch this file again",
    )


def _tensor_entry(path: Path, name: str, declared: Any) -> tuple[TensorEntry, tuple[int, int]]:
    fields = declared if isinstance(declared, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    shown = _shown(name)
    if not isinstance(dtype, str) or dtype not in DTYPE_BYTES:
        raise _damaged(
            path,
            f"张量 {shown} 的 dtype 是 {_shown(dtype)}，无法识别",
            f"tensor {shown} has the unknown dtype {_shown(dtype)}",
        )
    if not isinstance(shape, list) or len(shape) > DIMENSIONS_LIMIT or not all(map(_is_dimension, shape)):
        raise _damaged(path, f"张量 {shown} 的 shape 不合理", f"tensor {shown} has an impossible shape")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_dimension, offsets)):
        raise _damaged(path, f"张量 {shown} 的 data_offsets 不合理", f"tensor {shown} has impossible data_offsets")
    start, end = offsets
    wanted_bytes = math.prod(shape) * DTYPE_BYTES[dtype]
    if end - start != wanted_bytes:
        raise _damaged(
            path,
            f"张量 {shown} 按 dtype 和 shape 应占 {wanted_bytes} 字节，data_offsets 却是 {end - start} 字节",
            f"tensor {shown} needs {wanted_bytes} bytes by its dtype and shape, "
            f"but its data_offsets span {end - start}",
        )
    return TensorEntry(file=path, dtype=dtype, shape=tuple(shape)), (start, end)


def _is_dimension(value: object) -> bool:
    return type(value) is int and 0 <= value <= DIMENSION_LIMIT


def _check_spans(path: Path, spans: list[tuple[int, int, str]], data_start: int, size_bytes: int) -> None:
    """The spans must follow one another without overlap or hole, from the header to the end of the file."""
    position = 0
    for start, end, name in sorted(spans):
        if start < position:
            raise _damaged(
                path,
                f"张量 {_shown(name)} 与前一个张量重叠",
                f"tensor {_shown(name)} overlaps the one before",
            )
        if start > position:
            raise _damaged(path, f"张量 {_shown(name)} 之前有空洞", f"tensor {_shown(name)} follows a hole")
        position = end
    if data_start + position > size_bytes:
        raise _cut_short(path, data_start + position, size_bytes)
    extra_bytes = size_bytes - data_start - position
    if extra_bytes > 0:
        raise _damaged(path, f"末尾多出 {extra_bytes} 字节", f"{extra_bytes} bytes follow the last tensor")


def _check_adapter_config(config: dict[str, Any]) -> None:
    where = "adapter_config.json"
    if config.get("peft_type") != "LORA":
        shown = _shown(config.get("peft_type"))
        raise _refused(
            where,
            f"peft_type 是 {shown}；只支持 LORA，请换一个 LoRA 适配器",
            f"peft_type is {shown}; only LORA is supported, take a LoRA adapter",
        )
    if config.get("auto_mapping") is not None:
        raise _refused(
            where,
            "auto_mapping 会让加载器导入别的模块，tonghua 不支持；如果是您自己的适配器，请把它改成 null",
            "auto_mapping makes loaders import other modules; if the adapter is your own, set it to null",
        )
    for key, plain in _ADAPTER_PLAIN_VALUES.items():
        value = config.get(key, plain[0])
        if value not in plain:
            raise _refused(
                where,
                f"{key} 是 {_shown(value)}，这会改变适配器的算法，tonghua 不支持；请换一个普通的 LoRA 适配器",
                f"{key} is {_shown(value)}, which changes what the adapter computes and is not supported; "
                "take a plain LoRA adapter",
            )
    if not _is_count(config.get("r"), RANK_LIMIT):
        shown = _shown(config.get("r"))
        raise _refused(
            where,
            f"r 应是 1 到 {RANK_LIMIT} 的整数，现在是 {shown}；请重新下载这个文件",
            f"r must be a whole number from 1 to {RANK_LIMIT}, not {shown}; fetch this file again",
        )
    _check_alpha(config.get("lora_alpha"), where)
    _check_target_modules(config.get("target_modules"), where)


def _check_alpha(alpha: object, where: str) -> None:
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not 0 < alpha <= ALPHA_LIMIT:
        raise _refused(
            where,
            f"lora_alpha 应大于 0 且不超过 {ALPHA_LIMIT}，现在是 {_shown(alpha)}；请重新下载这个文件",
            f"lora_alpha must be above 0, at most {ALPHA_LIMIT}, not {_shown(alpha)}; fetch this file again",
        )


def _check_target_modules(modules: object, where: str) -> None:
    if modules == "all-linear":
        return
    listed = modules if isinstance(modules, list) else []
    wrong = [name for name in listed if not (isinstance(name, str) and _MODULE_NAME.fullmatch(name))]
    if wrong or not listed:
        # A text is a regular expression to PEFT, and one can be written that never ends.
        shown = _shown(wrong[0] if wrong else modules)
        raise _refused(
            where,
            f'target_modules 应是模块名的列表或 "all-linear"，不能是 {shown}；请把模块名逐个列出',
            f'target_modules must be a list of module names or "all-linear", not {shown}; list the names one by one',
        )


def _check_adapter_tensors(tensors: dict[str, TensorEntry], rank: int, where: str) -> None:
    """Each tensor is an A (rank, in) or a B (out, rank), and each A has its B."""
    sides: dict[str, set[str]] = {}
    for name, entry in tensors.items():
        found = _LORA_TENSOR.fullmatch(name)
        if found is None:
            raise _refused(
                where,
                f"张量 {_shown(name)} 不是 LoRA 的 A 或 B 矩阵；请换一个普通的 LoRA 适配器",
                f"tensor {_shown(name)} is not an A or B matrix of LoRA; take a plain LoRA adapter",
            )
        module, side = found.groups()
        rank_dimension = 0 if side == "A" else 1
        if len(entry.shape) != 2 or entry.shape[rank_dimension] != rank:
            raise _refused(
                where,
                f"张量 {_shown(name)} 的 shape 是 {list(entry.shape)}，"
                f"与 adapter_config.json 的 r={rank} 不符；请把两个文件一起重新下载",
                f"tensor {_shown(name)} has the shape {list(entry.shape)}, which does not fit r={rank} "
                "in adapter_config.json; fetch both files again",
            )
        sides.setdefault(module, set()).add(side)
    alone = [module for module, present in sides.items() if len(present) == 1]
    if alone or not sides:
        module = _shown(alone[0] if alone else "lora_A")
        raise _refused(
            where,
            f"{module} 的 A、B 两个矩阵不成对；请重新下载这个文件",
            f"{module} lacks one of its matrices A and B; fetch this file again",
        )


class _GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}` marks the trained text; for the lint it is just its body."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def lint_template(template: str, where: str) -> None:
    """Raise RefusedError unless the chat template is one that a sandbox can be trusted with.

    The template is parsed, never rendered. This narrows what the sandbox has to hold (imports, private
    attributes, the largest loops and repeats); it does not bound the time that rendering takes.
    """
    try:
        size_bytes = len(template.encode("utf-8"))
        if size_bytes > TEMPLATE_LIMIT_BYTES:
            raise _too_large(where, TEMPLATE_LIMIT_BYTES)
        environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols", _GenerationBlock])
        tree = environment.parse(template)
    except TemplateSyntaxError as error:
        reason = _shown(error.message or "", 160)
        raise _template_refused(
            where, error.lineno, Text(f"模板语法错误（{reason}）", f"syntax error ({reason})")
        ) from None
    except (RecursionError, ValueError, SyntaxError, OverflowError):
        raise _template_refused(where, 1, Text("模板无法解析", "the template cannot be parsed")) from None
    pending: list[tuple[nodes.Node, int, int]] = [(tree, 0, 0)]
    while pending:
        node, loops, depth = pending.pop()
        loops += isinstance(node, nodes.For)
        fault = _template_fault(node)
        if loops > LOOP_DEPTH_LIMIT:
            fault = Text(f"循环嵌套超过 {LOOP_DEPTH_LIMIT} 层", f"loops are nested deeper than {LOOP_DEPTH_LIMIT}")
        if depth > TREE_DEPTH_LIMIT:
            fault = Text("嵌套太深", "it is nested too deeply")
        if fault is not None:
            raise _template_refused(where, node.lineno, fault)
        pending.extend((child, loops, depth + 1) for child in node.iter_child_nodes())


def _template_refused(where: str, line: int, fault: Text) -> RefusedError:
    return _refused(
        where,
        f"第 {line} 行：{fault.zh}；请换回模型官方的 chat_template",
        f"line {line}: {fault.en}; put back the chat_template of the official model",
    )


def _template_fault(node: nodes.Node) -> Text | None:
    """What is wrong with this one node of a template's tree, its children left aside."""
    match node:
        case nodes.Import() | nodes.FromImport() | nodes.Include() | nodes.Extends():
            return Text("模板不能引入别的模板", "a template must not bring in another one")
        case nodes.Getattr(attr=name) | nodes.NSRef(attr=name) if name.startswith("_"):
            return _private(name)
        case nodes.Getitem(arg=nodes.Const(value=str(name))) if name.startswith("_"):
            return _private(name)
        case nodes.Filter(name=name) if name in _ATTRIBUTE_FILTERS:
            return next((_private(text) for text in _text_arguments(node) if _PRIVATE_PART.search(text)), None)
        case nodes.Name(name="cycler" | "joiner" | "lipsum" as name, ctx="load"):
            return Text(f"不允许使用 {name}", f"{name} is not allowed")
        case nodes.Call(node=nodes.Name(name="range"), args=arguments):
            if any(abs(_constant(argument) or 0) > RANGE_LIMIT for argument in arguments):
                return Text(f"range() 超过 {RANGE_LIMIT}", f"range() over {RANGE_LIMIT}")
        case nodes.Mul():
            return _repeat_fault(node)
        case nodes.Pow():
            # Constants are multiplied out when a template is compiled: 9**9**9 would never come back.
            return Text("不允许乘方（**）", "powers (**) are not allowed")
    return None


def _private(name: str) -> Text:
    return Text(f"不允许访问以 _ 开头的属性 {_shown(name)}", f"private attribute {_shown(name)} is not allowed")


def _text_arguments(node: nodes.Filter) -> Iterator[str]:
    for argument in (*node.args, *(pair.value for pair in node.kwargs)):
        if isinstance(argument, nodes.Const) and isinstance(argument.value, str):
            yield argument.value


def _constant(node: nodes.Node) -> float | None:
    """The number that the template writes here, with its sign; None for whatever is not a written number."""
    if isinstance(node, nodes.Neg):
        value = _constant(node.node)
        return None if value is None else -value
    if isinstance(node, nodes.Const) and type(node.value) in (int, float):
        return float(min(node.value, 2**62))
    return None


def _repeat_fault(product: nodes.Mul) -> Text | None:
    """A text (or anything but written numbers) times written numbers that come to more than the limit."""
    factors: list[nodes.Node] = []
    pending: list[nodes.Node] = [product]
    while pending:
        node = pending.pop()
        if isinstance(node, nodes.Mul):
            pending += [node.left, node.right]
        else:
            factors.append(node)
    numbers = [number for number in map(_constant, factors) if number is not None]
    if len(numbers) < len(factors) and math.prod(numbers) > REPEAT_LIMIT:
        return Text(f"文本重复超过 {REPEAT_LIMIT} 次", f"a text repeated more than {REPEAT_LIMIT} times")
    return None
