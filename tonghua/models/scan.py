"""Check an untrusted model folder before anything in it is loaded; `scan_adapter.py` does so for adapters.

    folder ──► names and links ──► JSON files ──► chat templates ──► safetensors headers ──► ModelFiles
               nothing outside     one schema     bounded, never     offsets, dtypes and
                                   each           parsed             shapes agree

Only JSON, template text and safetensors headers are read. No tensor is loaded, no code of the folder runs, no
pickle is opened. `UsageError` means a wrong folder. `RefusedError` means a file that is damaged or could run
code; it names the file, the tensor if there is one, and the remedy.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from .model_config import CONFIG, ModelConfig, read_config
from .safetensors_file import TensorEntry
from .vocabulary import (
    GENERATION,
    TOKENIZER_CONFIG,
    TOKENIZER_LIMIT_BYTES,
    compare_vocabulary,
    read_generation,
    read_tokenizer_config,
)
from .weight_files import read_weight_files, required_tensors

TEMPLATE_LIMIT_BYTES = 200_000
"""Maximum size of a chat template, in bytes."""

# Keys whose value can name code: a module in the folder, or a repository to download it from.
_CODE_KEYS = ("auto_map", "custom_pipelines", "model_file", "trust_remote_code")

_CODE_KEY_START = "_attn_implementation"

_TEMPLATE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model folder that passed the scan. `tensors`: those that the decoder has a place for, and no others.

    `config` is config.json by its schema, `raw_config` as it stands. `tied`: the embedding is also the output head.
    `notes` tell what is unusual.
    """

    folder: Path
    config: ModelConfig
    raw_config: dict[str, Any]
    tensors: dict[str, TensorEntry]
    weight_files: tuple[Path, ...]
    tied: bool
    notes: tuple[Text, ...] = ()


def scan_model(folder: Path) -> ModelFiles:
    """Check a model folder and return its files; no tensor is loaded.

    Raises UsageError if this is not a model folder, RefusedError if a file is damaged or unsafe.
    """
    if not holds(folder, "config.json"):
        raise _not_a_model_folder(folder)
    check_links(folder)
    raw_config = read_object(folder / CONFIG, CONFIG_LIMIT_BYTES)
    refuse_code(raw_config, CONFIG)
    config = read_config(raw_config)
    scan_tokenizer(folder)
    weight_files, found = read_weight_files(folder)
    tensors, tied, notes = required_tensors(config, found)
    notes += compare_vocabulary(folder, config)
    return ModelFiles(folder, config, raw_config, tensors, weight_files, tied, notes)


def scan_tokenizer(folder: Path) -> None:
    """Check the tokenizer, the chat templates and generation_config.json; raise as `scan_model` does."""
    if holds(folder, GENERATION):
        generation = read_object(folder / GENERATION, SIDE_FILE_LIMIT_BYTES)
        refuse_code(generation, GENERATION)
        read_generation(generation)
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
    if holds(folder, TOKENIZER_CONFIG):
        path = folder / TOKENIZER_CONFIG
        config = read_object(path, SIDE_FILE_LIMIT_BYTES)
        refuse_code(config, path.name)
        for name, template in _named_templates(read_tokenizer_config(config).chat_template, path):
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
