"""Read the file listing of a model at each hub, and select the files that the model needs."""

import re
from typing import Any
from urllib.parse import quote

from ..errors import RefusedError
from ..text import Text, shown
from .delivery import ELSEWHERE, Delivery, FaultyError, ListedFile, odd_answer
from .hubs import HubSource
from .network import HubLine

_WANTED = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|config\.json|generation_config\.json"
    r"|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.json|merges\.txt"
    r"|chat_template\.(jinja|json)|README\.md|(LICENSE|LICENCE|NOTICE)[A-Za-z0-9._-]{0,40}"
)

_PICKLED = re.compile(r".*\.(bin|pt|pth|ckpt|pkl)")

_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def find_delivery(line: "HubLine", source: HubSource, repository: str) -> Delivery:
    """Return the files to download from this source, weights last.

    Raises RefusedError if the listing is unsafe; FaultyError if a file, or the size or hash of a weight, is missing.
    """
    revision, entries = (_modelscope if source.name == "modelscope" else _hugging_face)(line, source, repository)
    wanted = [entry for entry in entries if _WANTED.fullmatch(entry.name)]
    weights = [entry for entry in wanted if entry.is_weight]
    if not weights:
        pickled = next((entry.name for entry in entries if _PICKLED.fullmatch(entry.name)), None)
        raise _no_weights(pickled)
    present = {entry.name for entry in wanted}
    if len({name.casefold() for name in present}) < len(wanted):
        raise _hostile(source, repository, "有同名的文件", "two files of one name")
    missing = [name for name in ("config.json", "tokenizer.json") if name not in present]
    if missing:
        raise FaultyError(
            RefusedError,
            Text(f"没有 {missing[0]}，这不是完整的语言模型", f"has no {missing[0]}: this is no whole language model"),
            Text("请换一个模型", "take another model"),
        )
    bare = next((entry.name for entry in weights if entry.sha256 is None or entry.size is None), None)
    if bare:
        raise FaultyError(
            RefusedError,
            Text(f"没有给出权重 {bare} 的大小和 sha256", f"tells no size and sha256 of the weights {bare}"),
            ELSEWHERE,
        )
    wanted.sort(key=lambda entry: (entry.is_weight, entry.name))
    return Delivery(repository, source, revision, tuple(wanted))


def _no_weights(pickled: str | None) -> FaultyError:
    if pickled is None:
        what = Text("没有 safetensors 权重", "has no safetensors weights")
    else:
        what = Text(
            f"只有 pickle 格式的权重（{shown(pickled, 80)}），这种文件能运行任意代码，不下载",
            f"has pickled weights alone ({shown(pickled, 80)}), which can run any code and are not fetched",
        )
    mend = Text(
        "请换一个带 model.safetensors 的模型，例如 qwen2.5-0.5b",
        "take a model with model.safetensors, such as qwen2.5-0.5b",
    )
    return FaultyError(RefusedError, what, mend)


def _hugging_face(line: "HubLine", source: HubSource, repository: str) -> tuple[str, list[ListedFile]]:
    """Return the current commit of `main` and the files at its root (api/models/.../tree/<commit>)."""
    api = f"{source.endpoint}/api/models/{repository}"
    commit = _asked(line.json(source, f"{api}/revision/main"), "sha")
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise odd_answer()
    entries = []
    for told in _list_of(line.json(source, f"{api}/tree/{commit}")):
        if told.get("type") == "directory":
            continue
        name = _safe_name(told.get("path"), source, repository)
        lfs: dict[str, Any] = told["lfs"] if isinstance(told.get("lfs"), dict) else {}
        url = f"{source.endpoint}/{repository}/resolve/{commit}/{quote(name)}"
        size, git = _size(lfs.get("size", told.get("size"))), None if lfs else _hex(told.get("oid"), 40)
        entries.append(ListedFile(name, url, size, _hex(lfs.get("oid"), 64), git))
    return commit, entries


def _modelscope(line: "HubLine", source: HubSource, repository: str) -> tuple[str, list[ListedFile]]:
    """Return the files at the root of `master`. No commit pins them here; the sha256 of each file does."""
    api = f"{source.endpoint}/api/v1/models/{repository}/repo"
    answer = line.json(source, f"{api}/files?Revision=master&Recursive=False")
    entries = []
    for told in _list_of(_asked(_asked(answer, "Data"), "Files")):
        if told.get("Type") == "tree":
            continue
        name = _safe_name(told.get("Path"), source, repository)
        if str(told.get("Mode")) == str(0o120000):
            raise _hostile(source, repository, f"{name} 是一个链接", f"{name} is a link")
        url = f"{api}?Revision=master&FilePath={quote(name, safe='')}"
        entries.append(ListedFile(name, url, _size(told.get("Size")), _hex(told.get("Sha256"), 64)))
    return "master", entries


def _asked(value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise odd_answer()
    return value[key]


def _list_of(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise odd_answer()
    return value


def _size(told: Any) -> int | None:
    return told if type(told) is int and told >= 0 else None


def _hex(told: Any, digits: int) -> str | None:
    return told.lower() if isinstance(told, str) and re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", told) else None


def _safe_name(told: Any, source: HubSource, repository: str) -> str:
    """Return the listed path if it stays in its folder on every OS; else refuse the whole listing."""
    parts = told.split("/") if isinstance(told, str) else [""]
    odd = not isinstance(told, str) or not told.isprintable() or set(told) & set('\\:*?"<>|')
    if odd or any(part in ("", ".", "..") or part[-1] in ". " or _DEVICE.fullmatch(part) for part in parts):
        name = shown(told, 80)
        raise _hostile(source, repository, f"文件名 {name} 不安全", f"the file name {name} is unsafe")
    return str(told)


def _hostile(source: HubSource, repository: str, zh: str, en: str) -> RefusedError:
    return RefusedError(
        f"{source.title} 上 {repository} 的文件列表里{zh}，什么都没有下载；请换一个可信的模型或下载源",
        f"in the listing of {repository} at {source.title}, {en}; nothing was fetched, take a trusted model or source",
    )
