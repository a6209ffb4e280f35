"""Converters and validators for the fields of the config, with error messages in both languages."""

import os
import re
import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator

from ..text import Text

LORA_MODULES: Final = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Linear layers of a decoder block that can carry LoRA, in block order."""

TRACKERS: Final = ("tensorboard", "swanlab", "wandb", "trackio")
"""Experiment trackers that a run can report to."""

PLACEHOLDER: Final = re.compile("<[^<>]+>")
"""Matches the placeholder in a script or a page that the user replaces with a path."""

PATH_CHARACTERS: Final = 4096
"""Maximum length of a path: no system takes a longer one."""

MOST_EXAMPLES: Final = 20
"""Maximum number of example lines of a persona."""

EXAMPLE_CHARACTERS: Final = 500
"""Maximum length of an example line, in characters."""

NOTHING: Final = frozenset({"none", "null", ""})
"""Lower-case words that mean None."""


class NotAllowed(ValueError):
    """A validator refuses a value, with its own message in both languages."""

    def __init__(self, zh: str, en: str):
        super().__init__(en)
        self.text = Text(zh, en)


def lora_scale(rank: int, alpha: float, use_rslora: bool) -> float:
    """Return the factor of the LoRA update B A: alpha / rank (Hu et al. 2021, arXiv 2106.09685).

    With `use_rslora` it is alpha / sqrt(rank) (Kalajdzievski 2023, arXiv 2312.03732).
    """
    return alpha / (rank**0.5 if use_rslora else rank)


def as_text(value: object) -> object:
    """Convert a path object to str; return any other value unchanged."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def blank_to_none(value: object) -> object:
    """Convert blank text to None and a path object to str; return any other value unchanged."""
    value = as_text(value)
    return None if isinstance(value, str) and not value.strip() else value


def valid_path(value: str | None) -> str | None:
    """Return the path. Raises NotAllowed if it is a placeholder, too long or holds a control character."""
    if value and len(value) > PATH_CHARACTERS:
        raise NotAllowed(
            f"路径太长（{len(value)} 个字）；要给的是文件的路径，不是内容",
            f"the path is too long ({len(value)} characters); give the path of a file, not its content",
        )
    if value and PLACEHOLDER.fullmatch(value.strip()):
        raise NotAllowed(
            "还是占位符；请换成自己的路径或名字（自带的数据有 fairytale，模型有 tiny）",
            "is still a placeholder; write a path or a name of your own (rows fairytale and model tiny come along)",
        )
    if value and any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in value):
        raise NotAllowed(
            "路径里有控制字符，多半是双引号把反斜杠当成了转义；请改用单引号，或把 \\ 写成 /",
            "the path holds a control character, most likely a backslash read as an escape inside double"
            " quotes; use single quotes, or write / for \\",
        )
    return value


def share_or_rows(value: float) -> float:
    """Return the value. Raises NotAllowed if it is above 1 and not a whole number."""
    if value >= 1 and value != int(value):
        raise NotAllowed(
            "应是小于 1 的比例（0.05 即 5%），或不小于 1 的整数行数",
            "must be a share below 1 (0.05 is 5 %) or a whole number of rows",
        )
    return value


def folder_name(value: str | None) -> str | None:
    """Return the name. Raises NotAllowed if it is too long or holds characters that Windows forbids in a name."""
    if value is None:
        return None
    forbidden = any(
        character in '<>:"/\\|?*' or not (character.isprintable() or character == "\u3000") for character in value
    )
    if forbidden or len(value) > 64 or value[0] in ". " or value[-1] in ". ":
        raise NotAllowed(
            '要用作文件夹名：不超过 64 个字，不含 < > : " / \\ | ? *，首尾不是点或空格',
            'becomes a folder name: at most 64 characters, none of < > : " / \\ | ? *, no dot or space at either end',
        )
    return value


def lora_modules(value: object) -> object:
    """Convert `all`, a list or comma-separated names to "all" or a tuple. Raises NotAllowed for an unknown layer."""
    names = [name.strip() for name in value.strip("[]").split(",")] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        names = []
    if [str(name).lower() for name in names] in (["all"], ["all-linear"], ["all_linear"]):
        return "all"
    for name in names:
        if name in ("lm_head", "embed_tokens"):
            raise NotAllowed(
                f"{name} 不能加 LoRA：这类模型的词表输入和输出共用一份权重，加了就无法合并和导出",
                f"{name} cannot carry LoRA: the embedding and the output head of these models are one matrix,"
                " so the result could not be merged or exported",
            )
    if not names or any(name not in LORA_MODULES for name in names):
        known = ", ".join(LORA_MODULES)
        raise NotAllowed(f"应是 all，或 {known} 中的几个", f"must be all, or some of {known}")
    return tuple(names)


def valid_paths(value: object) -> object:
    """Return one path as it is; convert a list or the text `[a.json, b.json]` to a tuple. Raises NotAllowed."""
    value = blank_to_none(value)
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        value = [each.strip() for each in value[1:-1].split(",")]
    if not isinstance(value, list | tuple):
        return valid_path(value) if isinstance(value, str) else value
    paths = tuple(as_text(each) for each in value)
    if not paths or not all(isinstance(each, str) and each.strip() for each in paths):
        raise NotAllowed("应是一个或几个文件的路径", "must be the path of a file, or several")
    return tuple(valid_path(str(each)) for each in paths)


def tracker_names(value: object) -> object:
    """Convert `none`, `false`, a list or comma-separated names to a tuple. Raises NotAllowed for an unknown tracker."""
    value = () if value is False else value
    names = re.split("[,，]", value.strip("[]")) if isinstance(value, str) else value
    names = [] if names is None else names
    if isinstance(names, list | tuple) and all(isinstance(name, str) for name in names):
        words = (name.strip().lower() for name in names)
        names = tuple(dict.fromkeys(word for word in words if word not in NOTHING | {"false"}))
        if set(names) <= set(TRACKERS):
            return names
    known = ", ".join(TRACKERS)
    raise NotAllowed(
        f"应是 none（不上报），或 {known} 中的几个", f"must be none, to report to nothing, or some of {known}"
    )


def column_names(value: object) -> object:
    """Convert the text `output: 回复, input: 补充`, with or without braces, to {role: column}. Raises NotAllowed."""
    value = blank_to_none(value)
    if isinstance(value, str):
        pairs = [each.partition(":") for each in re.split("[,，]", value.strip().strip("{}").replace("：", ":"))]
        value = {role.strip(): column.strip() for role, colon, column in pairs if colon}
        value = value if len(value) == len(pairs) else None
    elif value is None:
        return None
    if not isinstance(value, dict) or not all(isinstance(each, str) for pair in value.items() for each in pair):
        raise NotAllowed(
            "应是 角色:列名，例如 columns=output:回复内容", "must be role:column, such as columns=output:reply"
        )
    return value


def one_line_name(value: str | None) -> str | None:
    """Return the name. Raises NotAllowed if it holds a line break or what else does not print."""
    if value is not None and not all(character.isprintable() or character == "\u3000" for character in value):
        raise NotAllowed(
            "名字要写在一行里，不含看不见的字符", "a name stands on one line, without invisible characters"
        )
    return value


def example_lines(value: object) -> object:
    """Convert one line or a list of lines to a tuple. Raises NotAllowed for too many, or for one that is too long."""
    value = blank_to_none(value)
    if isinstance(value, str):
        value = () if value.strip().lower() in NOTHING else (value,)
    lines = () if value is None else value
    if (
        isinstance(lines, list | tuple)
        and len(lines) <= MOST_EXAMPLES
        and all(isinstance(line, str) and line.strip() and len(line) <= EXAMPLE_CHARACTERS for line in lines)
    ):
        return tuple(lines)
    raise NotAllowed(
        f"应是几句话的列表：最多 {MOST_EXAMPLES} 句，每句最多 {EXAMPLE_CHARACTERS} 个字",
        f"must be a list of lines: at most {MOST_EXAMPLES}, each of at most {EXAMPLE_CHARACTERS} characters",
    )


def dtype_name(value: object) -> object:
    """Expand bf16, fp16 and fp32 to the full name; return any other value unchanged."""
    short = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
    return short.get(value, value) if isinstance(value, str) else value


OptionalText = Annotated[str | None, BeforeValidator(blank_to_none)]

OptionalPath = Annotated[str | None, BeforeValidator(blank_to_none), AfterValidator(valid_path)]
