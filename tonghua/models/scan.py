"""Check an untrusted model folder before anything in it is loaded; `scan_adapter.py` does so for adapters.

    folder ──► names and links ──► JSON files ──► chat templates ──► safetensors headers ──► ModelFiles
               nothing outside     bounded,       bounded, never     offsets, dtypes and
                                   plain data     parsed             shapes agree

Only JSON, template text and safetensors headers are read. No tensor is loaded, no code of the folder runs, no
pickle is opened. `UsageError` means a wrong folder. `RefusedError` means a file that is damaged or could run
code; it names the file, the tensor if there is one, and the remedy.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..errors import UsageError
from ..text import Text, shown
from .guarded import (
    CONFIG_LIMIT_BYTES,
    SIDE_FILE_LIMIT_BYTES,
    damaged_file,
    holds,
    read_bounded,
    read_object,
    refuse_lfs_pointer,
    refused,
    require_regular,
    too_large,
    unreadable,
)
from .safetensors_file import TensorEntry, read_header

MODEL_TYPES = ("qwen2", "qwen3", "llama", "mistral")
"""Supported architectures: their code is in this package or its dependencies, never in the folder."""

TOKENIZER_LIMIT_BYTES = 200_000_000
"""Maximum size of tokenizer.json, in bytes."""

TEMPLATE_LIMIT_BYTES = 200_000
"""Maximum size of a chat template, in bytes."""

SIZE_LIMITS = {
    "hidden_size": 65_536,
    "num_hidden_layers": 512,
    "vocab_size": 2_000_000,
    "intermediate_size": 1_000_000,
    "num_attention_heads": 1_024,
}
"""Maximum of each size in config.json; the minimum is 1."""

PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")

# Keys whose value can name code: a module in the folder, or a repository to download it from.
_CODE_KEYS = ("auto_map", "custom_pipelines", "model_file", "trust_remote_code")

_CODE_KEY_START = "_attn_implementation"

_SHARD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.safetensors")

_TEMPLATE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model folder that passed the scan: its config.json, and the file of each tensor."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, TensorEntry]
    weight_files: tuple[Path, ...]


def scan_model(folder: Path) -> ModelFiles:
    """Check a model folder and return its files; no tensor is loaded.

    Raises UsageError if this is not a model folder, RefusedError if a file is damaged or unsafe.
    """
    if not holds(folder, "config.json"):
        raise _not_a_model_folder(folder)
    check_links(folder)
    config = read_object(folder / "config.json", CONFIG_LIMIT_BYTES)
    refuse_code(config, "config.json")
    _check_model_type(config)
    _check_sizes(config)
    scan_tokenizer(folder)
    weight_files, tensors = _model_tensors(folder)
    return ModelFiles(folder=folder, config=config, tensors=tensors, weight_files=weight_files)


def scan_tokenizer(folder: Path) -> None:
    """Check the tokenizer, the chat templates and generation_config.json; raise as `scan_model` does."""
    if holds(folder, "generation_config.json"):
        generation = read_object(folder / "generation_config.json", SIDE_FILE_LIMIT_BYTES)
        refuse_code(generation, "generation_config.json")
    _check_tokenizer(folder)
    _check_templates(folder)


def _not_a_model_folder(folder: Path) -> UsageError:
    wanted = Text(
        "请给出装有 config.json、tokenizer.json 和 model.safetensors 的文件夹",
        "give the folder that holds config.json, tokenizer.json and model.safetensors",
    )
    if not folder.is_dir():
        return no_folder(folder, wanted)
    if holds(folder, "adapter_config.json"):
        return UsageError(
            f"这不是模型文件夹：{folder} 里只有适配器，没有 config.json；{wanted.zh}",
            f"not a model folder: {folder} holds an adapter, but no config.json; {wanted.en}",
        )
    return UsageError(
        f"这不是模型文件夹：{folder} 里没有 config.json；{wanted.zh}",
        f"not a model folder: {folder} has no config.json; {wanted.en}",
    )


def no_folder(folder: Path, wanted: Text) -> UsageError:
    """Return the error for a path that is missing or is a file; `wanted` says which folder to give."""
    if folder.is_file():
        return UsageError(
            f"{folder} 是一个文件，不是文件夹；{wanted.zh}", f"{folder} is a file, not a folder; {wanted.en}"
        )
    return UsageError(f"找不到文件夹 {folder}；{wanted.zh}", f"no such folder: {folder}; {wanted.en}")


def check_links(folder: Path) -> None:
    """Raise RefusedError for a link that leads out of the folder. Every direct entry is then safe to read by name.

    The cache of huggingface_hub links `<repository>/snapshots/<revision>/<name>` to `<repository>/blobs/`;
    there, links may lead anywhere in `<repository>`.
    """
    real = folder.resolve()
    repository = real.parent.parent
    cached = real.parent.name == "snapshots" and (repository / "blobs").is_dir()
    fence = repository if cached else real
    for entry in sorted(folder.iterdir()):
        if not entry.is_symlink():
            continue
        name = shown(entry.name, 80)
        try:
            target = entry.resolve(strict=True)
        except (OSError, RuntimeError):
            # Python up to 3.12 raises RuntimeError for a loop of links.
            raise refused(
                name,
                "链接指向的文件不存在；请重新下载这个模型",
                "the link leads to nothing; fetch the folder again",
            ) from None
        if not target.is_relative_to(fence):
            raise refused(
                name,
                "链接指向了文件夹之外；如果信得过它，请把原文件复制进来代替链接",
                "the link leads out of the folder; if you trust its target, copy the file here in its place",
            )


def refuse_code(config: dict[str, Any], where: str) -> None:
    """Raise RefusedError for a key, at any depth, that makes loaders run code of the folder or download it."""
    pending: list[Any] = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            for key, inner in value.items():
                if _names_code(key, inner):
                    raise refused(
                        where,
                        f"“{shown(key, 80)}”会让加载器运行模型自带的代码，tonghua 不支持；"
                        "请换用 Qwen2.5 这类不带自定义代码的模型",
                        f'"{shown(key, 80)}" makes loaders run code that comes with the model, '
                        "which tonghua never does; take a model without custom code, such as Qwen2.5",
                    )
            pending.extend(value.values())


def _names_code(key: str, value: object) -> bool:
    if value is None or value is False:
        return False
    # Older transformers versions write `_attn_implementation_autoset: true`; a bool names no code.
    return key in _CODE_KEYS or (key.startswith(_CODE_KEY_START) and value is not True)


def _check_model_type(config: dict[str, Any]) -> None:
    model_type = config.get("model_type")
    if model_type not in MODEL_TYPES:
        supported = ", ".join(MODEL_TYPES)
        raise refused(
            "config.json",
            f"不支持 model_type {shown(model_type, 80)}；支持的有 {supported}，请换一个模型",
            f"model_type {shown(model_type, 80)} is not supported; take a model of type {supported}",
        )
    if config.get("quantization_config") is not None:
        raise refused(
            "config.json",
            "这是量化过的模型（quantization_config），不能用来训练；请换成未量化的版本",
            "the model is quantized (quantization_config); an unquantized folder is needed",
        )


def _check_sizes(config: dict[str, Any]) -> None:
    for key, limit in SIZE_LIMITS.items():
        value = config.get(key)
        if not is_count(value, limit):
            raise refused(
                "config.json",
                f"{key} 应是 1 到 {limit} 的整数，现在是 {shown(value, 80)}；请重新下载这个文件",
                f"{key} must be a whole number from 1 to {limit}, not {shown(value, 80)}; fetch this file again",
            )
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads")
    if groups is not None and not (is_count(groups, heads) and heads % groups == 0):
        raise refused(
            "config.json",
            f"num_key_value_heads 应能整除 num_attention_heads（{heads}），"
            f"现在是 {shown(groups, 80)}；请重新下载这个文件",
            f"num_key_value_heads must divide num_attention_heads ({heads}), not be {shown(groups, 80)}; "
            "fetch this file again",
        )


def is_count(value: object, limit: int) -> bool:
    """True if the value is an int (not a bool) from 1 to `limit`."""
    return type(value) is int and 1 <= value <= limit


def _check_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    if not holds(folder, path.name):
        raise UsageError(
            f"模型文件夹 {folder} 里没有 tokenizer.json；请把它和模型一起下载",
            f"the model folder {folder} has no tokenizer.json; fetch it along with the model",
        )
    require_regular(path)
    try:
        size_bytes = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(256)
    except OSError as error:
        raise unreadable(path, error) from None
    if size_bytes > TOKENIZER_LIMIT_BYTES:
        raise too_large(path.name, TOKENIZER_LIMIT_BYTES)
    refuse_lfs_pointer(path, start)
    if not start.lstrip().startswith(b"{"):
        raise damaged_file(path, "内容不是一个 JSON 对象", "it does not hold a JSON object")


def _check_templates(folder: Path) -> None:
    """Check the form of every chat template of the folder; none is parsed. A folder without one passes."""
    if holds(folder, "tokenizer_config.json"):
        path = folder / "tokenizer_config.json"
        config = read_object(path, SIDE_FILE_LIMIT_BYTES)
        refuse_code(config, path.name)
        for name, template in _named_templates(config.get("chat_template"), path):
            if len(template.encode("utf-8", "surrogatepass")) > TEMPLATE_LIMIT_BYTES:
                raise too_large(f"tokenizer_config.json chat_template {name}", TEMPLATE_LIMIT_BYTES)
    if holds(folder, "chat_template.jinja"):
        path = folder / "chat_template.jinja"
        try:
            read_bounded(path, TEMPLATE_LIMIT_BYTES).decode("utf-8")
        except UnicodeDecodeError:
            raise damaged_file(path, "不是 UTF-8 文本", "not UTF-8 text") from None


def _named_templates(value: Any, path: Path) -> Iterator[tuple[str, str]]:
    """Yield (name, template) from tokenizer_config.json: none, one text, or a list of {"name", "template"}."""
    if value is None:
        return
    listed = [{"name": "default", "template": value}] if isinstance(value, str) else value
    if not isinstance(listed, list):
        raise damaged_file(path, "chat_template 既不是文本也不是列表", "chat_template is neither a text nor a list")
    for item in listed:
        name, template = (item.get("name"), item.get("template")) if isinstance(item, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(template, str):
            raise damaged_file(
                path,
                "chat_template 的每一项都要有 name 和 template",
                "each chat_template needs a name and a template",
            )
        # Some programs use these names as file names when they save the tokenizer.
        if not _TEMPLATE_NAME.fullmatch(name):
            raise refused(
                path.name,
                f"chat_template 的名字“{shown(name, 80)}”不合规，只能用 1 到 64 个英文字母、数字、_ 和 -；"
                "请改名或删掉这一项",
                f'chat_template name "{shown(name, 80)}" is not 1 to 64 letters, digits, _ and -; rename or drop it',
            )
        yield name, template


def _model_tensors(folder: Path) -> tuple[tuple[Path, ...], dict[str, TensorEntry]]:
    index = folder / "model.safetensors.index.json"
    single = folder / "model.safetensors"
    placed: dict[str, str] = {}
    if holds(folder, index.name):
        placed = _read_index(index)
        names = sorted(set(placed.values()))
        if single.name not in names and holds(folder, single.name):
            raise refused(
                single.name,
                f"与 {index.name} 各是一套权重，分不清该用哪套；请只留一套",
                f"this and {index.name} are two sets of weights; keep only the one that you mean",
            )
    elif holds(folder, single.name):
        names = [single.name]
    else:
        refuse_missing_weights(folder, single.name)
    weight_files = tuple(folder / name for name in names)
    tensors = _merged_headers(weight_files)
    for tensor, name in placed.items():
        if tensor not in tensors or tensors[tensor].file.name != name:
            raise refused(
                name,
                f"{index.name} 说张量 {shown(tensor, 80)} 在这里，其实没有；请重新下载这两个文件",
                f"tensor {shown(tensor, 80)} is not here, although {index.name} says so; fetch both files again",
            )
    return weight_files, tensors


def _merged_headers(weight_files: Iterable[Path]) -> dict[str, TensorEntry]:
    tensors: dict[str, TensorEntry] = {}
    for path in weight_files:
        header = read_header(path)
        if not header:
            raise damaged_file(path, "里面没有张量", "it holds no tensors")
        for name, entry in header.items():
            if name in tensors:
                first = tensors[name].file.name
                raise refused(
                    path.name,
                    f"张量 {shown(name, 80)} 在 {first} 里也有；请重新下载权重",
                    f"tensor {shown(name, 80)} is in {first} too; fetch the weights again",
                )
            tensors[name] = entry
    return tensors


def _read_index(path: Path) -> dict[str, str]:
    """Return tensor name to file name. Each file must exist directly in the folder."""
    weight_map = read_object(path, SIDE_FILE_LIMIT_BYTES).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise damaged_file(path, "没有 weight_map", "it has no weight_map")
    for tensor, name in weight_map.items():
        if not isinstance(name, str) or not _SHARD_NAME.fullmatch(name):
            raise refused(
                path.name,
                f"张量 {shown(tensor, 80)} 的文件名“{shown(name, 80)}”不是本文件夹里的 .safetensors 文件；"
                "请从官方来源重新下载",
                f'tensor {shown(tensor, 80)} is placed in "{shown(name, 80)}", which is no .safetensors file '
                "of this folder; fetch it again from the official source",
            )
    missing = [name for name in sorted(set(weight_map.values())) if not (path.parent / name).is_file()]
    if missing:
        more = len(missing) - 1
        raise refused(
            missing[0],
            f"{path.name} 里列了这个文件，但文件夹里没有（另缺 {more} 个）；请继续下载",
            f"listed in {path.name} but not in the folder ({more} more are missing); finish the download",
        )
    return weight_map


def refuse_missing_weights(folder: Path, wanted: str) -> NoReturn:
    """Raise RefusedError that says why: shards without their index, only pickles, or no weights at all."""
    names = sorted(entry.name for entry in folder.iterdir())
    pickles = [name for name in names if name.lower().endswith(PICKLE_SUFFIXES)]
    shards = [name for name in names if re.fullmatch(r"model-\d+-of-\d+\.safetensors", name)]
    if shards:
        raise refused(
            "model.safetensors.index.json",
            f"有分片 {shards[0]}，却缺少这个索引文件；请把它一起下载",
            f"there is a shard {shards[0]}, but not this index of the shards; fetch it too",
        )
    if pickles:
        raise refused(
            shown(pickles[0], 80),
            f"权重只有 pickle 格式，打开它可能会运行别人的代码，所以没有打开；请下载 safetensors 版本（{wanted}）",
            "the weights come only as a pickle, which can run code when opened, so it was left closed; "
            f"get the safetensors edition ({wanted})",
        )
    raise refused(
        wanted,
        "文件夹里没有这个权重文件；请下载完整的 safetensors 版本",
        "the folder has no such weights; fetch the complete safetensors edition",
    )
