"""The model hubs: their addresses, the short names of models, and the errors for unknown models."""

import difflib
import os
import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from ..errors import UsageError
from ..text import Text, shown

NAMES = {
    **{f"qwen2.5-{size}": f"Qwen/Qwen2.5-{size.upper()}-Instruct" for size in ("0.5b", "1.5b", "3b", "7b")},
    **{f"qwen3-{size}": f"Qwen/Qwen3-{size.upper()}" for size in ("0.6b", "1.7b", "4b", "8b")},
}
"""Short names of models; each repository has the same name on every hub."""

MEANWHILE = Text(
    "想先试试，可以写 model=tiny：随 tonghua 一起装好的小模型，不用下载",
    "to try things meanwhile, write model=tiny: a small model that came with tonghua, nothing to download",
)
"""Advice if a model is not on this machine and cannot be downloaded."""

MODELSCOPE = "https://modelscope.cn"

HUGGING_FACE = "https://huggingface.co"

MIRROR = "https://hf-mirror.com"

LOOPBACK = ("127.0.0.1", "::1", "localhost")

_NAME_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"

_REPOSITORY = re.compile(rf"{_NAME_PART}/{_NAME_PART}")

SourceName = Literal["modelscope", "huggingface", "mirror"]


@dataclass(frozen=True, slots=True)
class HubSource:
    """A hub to download from. `token` is sent only to the host of this endpoint."""

    name: SourceName
    title: str
    endpoint: str
    token: str | None = None


def sources(name: str | None = None) -> tuple[HubSource, ...]:
    """Return the hubs to try, or only the hub `name`. With HF_ENDPOINT, the mirror is used only by name.

    Raises UsageError if there is no such source, or if an endpoint is neither https nor on this machine.
    """
    endpoint = os.environ.get("HF_ENDPOINT")
    token = os.environ.get("HF_TOKEN") or None
    known = [
        HubSource("modelscope", "ModelScope", _endpoint("MODELSCOPE_ENDPOINT", MODELSCOPE)),
        HubSource("huggingface", "Hugging Face", _endpoint("HF_ENDPOINT", HUGGING_FACE), token),
        # Volunteers run the mirror, so it gets no token.
        HubSource("mirror", "hf-mirror", MIRROR),
    ]
    if urlsplit(known[1].endpoint).hostname == urlsplit(MIRROR).hostname:
        known[1] = HubSource("huggingface", "hf-mirror", known[1].endpoint)
    if name is None:
        return tuple(known[:2] if endpoint else known)
    chosen = tuple(source for source in known if source.name == name)
    if not chosen:
        names = [source.name for source in known]
        raise UsageError(
            f"没有叫 {shown(name)} 的下载源；请写 {'、'.join(names)} 之一",
            f"there is no source {shown(name)}; write one of {', '.join(names)}",
        )
    return chosen


def _endpoint(variable: str, usual: str) -> str:
    value = (os.environ.get(variable) or usual).strip()
    value = value if "://" in value else f"https://{value}"
    try:
        parts = urlsplit(value)
        sound = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    except ValueError:
        sound = False
    if not sound or not parts.hostname:
        raise UsageError(
            f"{variable} 应是 https:// 开头的网址，现在是 {shown(value)}；请改正，或取消这个环境变量",
            f"{variable} must be an https:// address, not {shown(value)}; mend it, or unset the variable",
        )
    return value.rstrip("/")


def certificate_file() -> str | None:
    """Return the extra certificate file in REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE; ssl itself reads SSL_CERT_FILE."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or None


def repository(model: str) -> str | None:
    """Return `owner/name` for a short name or a repository's name; None if the text is neither."""
    short = model.lower()
    if short.removesuffix("-instruct") in NAMES:
        return NAMES[short.removesuffix("-instruct")]
    if _REPOSITORY.fullmatch(model):
        return next((known for known in NAMES.values() if known.lower() == short), model)
    return None


def not_here(model: str) -> UsageError:
    """Return the error for a model that is not on this machine. It says how to get it with and without a network."""
    name = repository(model) or model
    short = next((short for short, known in NAMES.items() if known == name), name)
    return UsageError(
        f"本机还没有模型 {name}；请运行 tonghua download {short}。这台电脑不能联网时，在另一台上运行 "
        f"modelscope download --model {name} --local_dir 文件夹（或设 HF_ENDPOINT={MIRROR} 后运行 "
        f"hf download {name} --local-dir 文件夹），把文件夹拷过来，再写 model=文件夹；{MEANWHILE.zh}",
        f"the model {name} is not on this machine; run tonghua download {short}. Without a network here, run "
        f"modelscope download --model {name} --local_dir FOLDER on another machine (or set HF_ENDPOINT={MIRROR} "
        f"and run hf download {name} --local-dir FOLDER), copy the folder over and write model=FOLDER; {MEANWHILE.en}",
    )


def no_such(model: str) -> UsageError:
    """Return the error for a text that is neither a folder nor a model's name."""
    near = difflib.get_close_matches(model.lower(), NAMES, 1)
    example = near[0] if near else "qwen2.5-0.5b"
    return UsageError(
        f"找不到模型文件夹 {shown(model)}；请检查路径，或写模型的名字，例如 {example}",
        f"there is no model folder {shown(model)}; check the path, or write a model's name, such as {example}",
    )
