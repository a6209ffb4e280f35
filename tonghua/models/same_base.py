"""Whether an adapter was trained on a base, as far as the name in adapter_config.json tells.

    unsloth/qwen2.5-0.5b-instruct-bnb-4bit ─┐
    D:/models/Qwen2___5-0___5B-Instruct    ├─►  qwen2.5-0.5b-instruct
    Qwen/Qwen2.5-0.5B-Instruct             ─┘

Base and Instruct have the same shapes, so the name is all that tells them apart.
"""

import re
from pathlib import Path, PureWindowsPath

from ..errors import DataError
from ..text import Text, shown
from .scan_adapter import AdapterFiles
from .store import locate, name_of

_CACHED = re.compile(r"models--[^/\\]+?--([^/\\]+)")

_QUANTIZED = re.compile(r"(-unsloth)?(-bnb)?-[48]bit$|-(awq|gptq)(-int[48])?$")


def base_note(files: AdapterFiles, model: str | None, folder: Path) -> Text | None:
    """Return a note if the names leave it open whether this base is the adapter's; None if they agree.

    Raises DataError if both are names of repositories, and differ.
    """
    told, here = files.config.base_name, name_of(model, folder)
    if told and _plain(told) == _plain(here):
        return None
    located = locate(model)
    is_folder = located is None or located.origin == "folder"
    if told and not is_folder and re.fullmatch(r"[\w.-]+/[\w.-]+", told):
        raise DataError(
            f"适配器 {files.folder.name} 是在 {shown(told, 80)} 上训练的，不是 {here}；请写 model={shown(told, 80)}，"
            "确知两者相同的话，写 model=那个基座的文件夹",
            f"adapter {files.folder.name} was trained on {shown(told, 80)}, not on {here}; write"
            f" model={shown(told, 80)}, or, if you know them to be the same, model=FOLDER of the base",
        )
    was = Text(shown(told, 80) or "没有写明的基座", shown(told, 80) or "a base that it does not name")
    return Text(
        f"适配器 {files.folder.name} 是在 {was.zh} 上训练的，这里用的是 {here}；大小对得上，是不是同一个请自己确认",
        f"adapter {files.folder.name} was trained on {was.en}, and here it is put on {here}; the sizes fit, but only"
        " you can know if they are the same",
    )


def _plain(name: str) -> str:
    """Return the last part of a name or path, without case, quantization, and the marks of the hubs' caches."""
    cached = _CACHED.search(name)
    last = cached[1] if cached else PureWindowsPath(name).name  # the rules of Windows split the paths of every system
    return _QUANTIZED.sub("", last.lower().replace("___", "."))
