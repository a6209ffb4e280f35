"""Find, list, verify and remove the models on this machine by name.

    "qwen2.5-0.5b"    ──► Qwen/Qwen2.5-0.5B-Instruct ─┬► <home>/models/Qwen--Qwen2.5-0.5B-Instruct/   tonghua's own
    "owner/name"      ──►                             ├► <cache of huggingface_hub>/models--owner--name/snapshots/
    "D:/模型/qwen"     ──► this folder                  └► <cache of modelscope>/models/...
    "tiny"            ──► the folder that ships with tonghua

A model in tonghua's own folder is complete once it has a MANIFEST.json, which `download` writes last. The manifest
holds the size and sha256 of every file. The caches of the hubs' own libraries are read in place, never copied or
changed.
"""

import hashlib
import json
import re
import shutil
from pathlib import Path

from filelock import FileLock, Timeout

from ..errors import RefusedError, UsageError, UserError
from ..system.environment import home
from ..text import Text
from .caches import cached_models, hugging_face_cache, modelscope_cache, subfolders
from .guarded import LFS_POINTER_START
from .hubs import NAMES, no_such, not_here, repository
from .manifest import (
    GIT_SHA1,
    MANIFEST,
    SHA256,
    UNFINISHED,
    WEIGHT_SUFFIX,
    Model,
    Verified,
    differing_files,
    git_sha1,
    read_manifest,
    sha256_of,
)
from .model_config import UnsupportedError
from .safetensors_file import read_header
from .scan import ModelFiles, scan_model
from .shipped import TINY, is_tiny, tiny
from .weight_files import INDEX, read_index

FINGERPRINT_WINDOWS = 16
"""Windows that the fingerprint reads from each weight file, at equal distances."""

FINGERPRINT_BYTES = 65536
"""Size of a window, in bytes."""

POINTER_LIMIT_BYTES = 1024
"""Maximum size of a Git LFS pointer, in bytes."""

_POINTER_SIZE = re.compile(rb"^size (\d{1,15})$", re.MULTILINE)


def folder_of(repository: str) -> Path:
    """Return the folder where tonghua keeps this repository; it may not exist."""
    return home() / "models" / repository.replace("/", "--")


def lock_of(folder: Path) -> Path:
    """Return the lock file to hold while a model folder is written or removed."""
    return folder.parent / f".{folder.name}.lock"


def locate(model: str | None) -> Model | None:
    """Return the model on this machine that `model` names: a folder, `tiny`, tonghua's own, or in a hub's cache.

    Its files are not verified. Returns None if it names a repository that is not here. Raises UsageError if `model`
    is empty or names neither a folder nor a repository.
    """
    if not model:
        raise UsageError("没有指定模型；请写 model=模型文件夹", "no model is named; write model=FOLDER of a model")
    folder = _folder(model)
    if folder is not None:
        return Model(str(folder), folder, "folder")
    if is_tiny(model):
        return shipped()
    named = repository(model)
    if named is None:
        raise no_such(model)
    return _stored(named)


def shipped() -> Model:
    """Return the model that ships with tonghua."""
    return Model(TINY, tiny(), "tiny")


def name_of(model: str | None, folder: Path) -> str:
    """Return a name for the model in `folder` that others can read too: its repository, or the folder's own name.

    Raises what `locate` raises.
    """
    located = locate(model)
    return folder.name if located is None or located.origin == "folder" else located.name


def _stored(name: str) -> Model | None:
    own = folder_of(name)
    if (own / MANIFEST).is_file():
        return Model(name, own, "tonghua")
    return next((found for found in cached_models(name) if not _weight_faults(found.path)), None)


def on_disk(model: str | None) -> Path | None:
    """Return the folder of a model, ready to scan; None if the name is valid but the model is not here.

    If there is a manifest, compares all sizes, and all hashes but those of the weights (`verify` compares these).
    Raises UsageError if this names no model or the download is unfinished; RefusedError for pointers and damage.
    """
    found = locate(model)
    if found is None:
        return None
    _refuse_unfinished(found.path)
    _refuse_pointers(found.path)
    if found.has_manifest:
        damaged = differing_files(found.path, read_manifest(found.path), weights=False)
        if damaged:
            raise damaged_error(Verified(found, tuple(damaged), ()))
    return found.path


def find(model: str | None) -> Path:
    """Return the folder of `model`, without a download.

    Raises UsageError if it is not on this machine (the message says how to get it), and what `on_disk` raises.
    """
    folder = on_disk(model)
    if folder is None:
        raise not_here(str(model))
    return folder


def _folder(model: str) -> Path | None:
    try:
        folder = Path(model).expanduser()
        return folder.resolve() if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        # No folder has such a path: an unknown ~user, a name that is too long, a NUL character.
        return None


def _weight_faults(folder: Path) -> list[str]:
    """Return weight files that are missing or damaged (by their headers), and other needed files that are missing."""
    index = folder / INDEX
    names = {file.name for file in folder.glob(f"*{WEIGHT_SUFFIX}")}
    try:
        if index.is_file():
            names |= set(read_index(index).values())
    except UserError:
        return [index.name]
    wanted = names or {f"model{WEIGHT_SUFFIX}"}
    return sorted(name for name in wanted if _is_damaged_weight(folder / name)) + [
        name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()
    ]


def _is_damaged_weight(file: Path) -> bool:
    try:
        read_header(file)
    except UserError:
        return True
    return False


def _refuse_unfinished(folder: Path) -> None:
    if (folder / UNFINISHED).is_file():
        raise UsageError(
            f"{folder} 里的模型还没有下载完；请再运行一次 tonghua download，会从断开的地方继续",
            f"the download into {folder} is not finished; run tonghua download again, which resumes where it stopped",
        )


def pointers(folder: Path) -> dict[str, int]:
    """Return the files that are only Git LFS pointers, with the size of the missing content in bytes (0 if unknown)."""
    found = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and file.stat().st_size <= POINTER_LIMIT_BYTES:
            start = file.read_bytes()
            if start.startswith(LFS_POINTER_START):
                size = _POINTER_SIZE.search(start)
                found[file.name] = int(size[1]) if size else 0
    return found


def _refuse_pointers(folder: Path) -> None:
    found = pointers(folder)
    if found:
        megabytes = sum(found.values()) / 1e6
        raise RefusedError(
            f"{folder} 里的 {'、'.join(found)} 只是 Git LFS 指针，内容（{megabytes:.0f} MB）还没有下载；"
            "请在这个文件夹里依次运行 git lfs install 和 git lfs pull",
            f"{', '.join(found)} in {folder} are mere Git LFS pointers, the content ({megabytes:.0f} MB) is missing; "
            "run git lfs install and then git lfs pull in that folder",
        )


def models() -> list[Model]:
    """Return every complete model that was downloaded: tonghua's own first, then those in the hubs' caches."""
    own = home() / "models"
    kept = [folder.name for folder in subfolders(own) if (folder / MANIFEST).is_file()]
    cached = [folder.name.removeprefix("models--") for folder in subfolders(hugging_face_cache())]
    cached += [folder.name for folder in subfolders(modelscope_cache() / "models")]
    names = {name.replace("--", "/", 1): None for name in (*kept, *cached) if "--" in name}
    names |= dict.fromkeys(NAMES.values())  # older modelscope layouts look like any folder: try known names
    found = [_stored(name) for name in names if repository(name) == name]
    return [model for model in found if model is not None]


def verify(model: Model) -> Verified:
    """Read every byte of a model and compare it with the known hashes; return the damaged and unchecked files.

    tonghua's own models and `tiny` have a manifest. The cache of huggingface_hub names each file by its hash. In
    other folders, only the headers of the weights can be checked. Raises RefusedError if the manifest is damaged.
    """
    if model.has_manifest:
        manifest = read_manifest(model.path)
        return Verified(model, tuple(differing_files(model.path, manifest, weights=True)), manifest.unchecked)
    damaged = set(_weight_faults(model.path)) | set(pointers(model.path))
    unchecked = []
    for file in sorted(model.path.iterdir()):
        if not file.is_file():
            continue
        told = file.resolve().name if model.origin == "huggingface" and file.is_symlink() else ""
        if not (SHA256.fullmatch(told) or GIT_SHA1.fullmatch(told)):
            unchecked.append(file.name)
        elif told != (sha256_of(file) if len(told) == 64 else git_sha1(file)):
            damaged.add(file.name)
    return Verified(model, tuple(sorted(damaged)), tuple(unchecked))


def contradiction(model: Model) -> Text | None:
    """Return what does not fit together in a model whose files are intact; None if all do.

    A model of a kind that tonghua does not compute contradicts nothing.
    """
    try:
        scan_model(model.path)
    except UnsupportedError:
        return None
    except UserError as error:
        return error.text
    return None


def damaged_error(verified: Verified) -> RefusedError:
    """Return the error for a model with damaged or missing files."""
    files = ", ".join(verified.damaged)
    if verified.model.origin == "folder":
        mend_zh, mend = "请重新下载或拷贝这些文件", "fetch or copy these files again"
    elif verified.model.origin == "tiny":
        mend_zh, mend = "请重新安装 tonghua", "install tonghua again"
    else:
        mend_zh = f"请运行 tonghua download {verified.model.name}，只会重新下载坏的文件"
        mend = f"run tonghua download {verified.model.name}, which fetches only the damaged files again"
    return RefusedError(
        f"模型 {verified.model.name} 的文件损坏或缺失：{files}；{mend_zh}",
        f"files of the model {verified.model.name} are damaged or missing: {files}; {mend}",
    )


def remove(model: str) -> int:
    """Delete a model from tonghua's own folder, even an unfinished one; return the freed bytes.

    Raises UsageError if there is none, if it is in another program's cache, or if a download of it is running.
    """
    named = repository(model)
    if named is None:
        raise no_such(model)
    folder = folder_of(named)
    if not folder.is_dir():
        cached = _stored(named)
        if cached is None:
            raise not_here(model)
        raise UsageError(
            f"{named} 在 {cached.origin} 的缓存里，不归 tonghua 管；要删除请自己删掉文件夹 {cached.path}",
            f"{named} lies in the cache of {cached.origin}, which is not tonghua's; to remove it, delete {cached.path}",
        )
    try:
        with FileLock(lock_of(folder), timeout=0):
            freed = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
            # The manifest goes first: without it, a folder that is only half removed does not count as a model.
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)
            return freed
    except Timeout:
        raise UsageError(
            f"{named} 正在被另一个程序下载；请等它结束再删除",
            f"{named} is being downloaded by another program; remove it when that has ended",
        ) from None


def fingerprint(files: ModelFiles) -> dict[str, str]:
    """Return the sha256 of config.json, and of the name, size, header and 16 windows of 64 KiB of all weight files.

    The windows distinguish a base from its Instruct version or another revision in a tenth of a second.
    """
    config = hashlib.sha256(json.dumps(files.raw_config, sort_keys=True).encode()).hexdigest()
    weights = hashlib.sha256()
    for file in sorted(files.weight_files):
        size = file.stat().st_size
        weights.update(f"{file.name} {size}".encode())
        with file.open("rb") as opened:
            weights.update(opened.read(8 + int.from_bytes(opened.read(8), "little")))
            for window in range(FINGERPRINT_WINDOWS):
                opened.seek(max(0, size - FINGERPRINT_BYTES) * window // (FINGERPRINT_WINDOWS - 1))
                weights.update(opened.read(FINGERPRINT_BYTES))
    return {"config_sha256": config, "weights_sha256": weights.hexdigest()}
