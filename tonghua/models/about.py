"""What a model is called, where it comes from and under which licence: what its own files tell.

MANIFEST.json of a download    Qwen/Qwen2.5-0.5B-Instruct, modelscope
models--owner--name/           the cache of huggingface_hub
README.md                      `license:` in its header
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .guarded import SIDE_FILE_LIMIT_BYTES, read_bounded
from .hubs import HUGGING_FACE, MODELSCOPE
from .manifest import MANIFEST, read_manifest

_LICENCE = re.compile(r"^license(?:_name)?:[ \t]*[\"']?([\w.+-]{1,60})", re.MULTILINE)

_ADDRESSES = {"modelscope": f"{MODELSCOPE}/models/", "huggingface": f"{HUGGING_FACE}/", "mirror": f"{HUGGING_FACE}/"}


@dataclass(frozen=True, slots=True)
class About:
    """A name for people, the repository of the base, its address, and its licence; "" for what is not known."""

    name: str
    base: str = ""
    url: str = ""
    licence: str = ""


def about(folder: Path) -> About:
    """Return what the files of a model folder tell of it. A name is no path: others shall read it."""
    name, url = folder.name, ""
    real = folder.resolve()
    if real.parent.name == "snapshots" and real.parents[1].name.startswith("models--"):
        name = real.parents[1].name.removeprefix("models--").replace("--", "/", 1)
        url = f"{HUGGING_FACE}/{name}"
    elif (folder / MANIFEST).is_file():
        try:
            manifest = read_manifest(folder)
        except UserError:
            return About(name, name, licence=_licence(folder))
        name = manifest.model
        url = _ADDRESSES[manifest.source] + name if manifest.source in _ADDRESSES else ""
    return About(name, name, url, _licence(folder))


def _licence(folder: Path) -> str:
    try:
        text = read_bounded(folder / "README.md", SIDE_FILE_LIMIT_BYTES).decode("utf-8", "replace")
    except UserError:
        return ""
    header = text.split("\n---", 1)[0] if text.startswith("---") else ""
    found = _LICENCE.search(header)
    return found[1] if found else ""
