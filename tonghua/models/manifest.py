"""What a model folder holds: the manifest that a download writes last, and the hashes that it is compared with."""

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ..errors import RefusedError
from .guarded import CONFIG_LIMIT_BYTES, read_json

MANIFEST = "MANIFEST.json"

UNFINISHED = f"{MANIFEST}.part"
"""Present from the first byte of a download until its manifest takes its place."""

WEIGHT_SUFFIX = ".safetensors"

SHA256 = re.compile(r"[0-9a-f]{64}")

GIT_SHA1 = re.compile(r"[0-9a-f]{40}")

Origin = Literal["tiny", "tonghua", "huggingface", "modelscope", "folder"]


@dataclass(frozen=True, slots=True)
class FileRecord:
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a finished download holds; `unchecked` are small files for which the hub told no hash."""

    model: str
    source: str
    revision: str
    files: dict[str, FileRecord]
    unchecked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A model on this machine; `name` is its repository, or the path where a folder was given."""

    name: str
    path: Path
    origin: Origin

    @property
    def has_manifest(self) -> bool:
        """Whether tonghua itself put it there, and noted what it holds."""
        return self.origin in ("tonghua", "tiny")

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())


@dataclass(frozen=True, slots=True)
class Verified:
    """Which files of a model are damaged or missing, and which nothing is known of to compare with."""

    model: Model
    damaged: tuple[str, ...]
    unchecked: tuple[str, ...]


def read_manifest(folder: Path) -> Manifest:
    """What `download` noted of a folder. Raises RefusedError where it is damaged."""
    value = read_json(folder / MANIFEST, CONFIG_LIMIT_BYTES)
    try:
        files = {name: FileRecord(int(entry["size"]), str(entry["sha256"])) for name, entry in value["files"].items()}
        if not files or any(Path(name).name != name or not SHA256.fullmatch(files[name].sha256) for name in files):
            raise ValueError
        model, source, revision = (str(value[key]) for key in ("model", "source", "revision"))
        return Manifest(model, source, revision, files, tuple(map(str, value.get("unchecked", ()))))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise RefusedError(
            f"{folder / MANIFEST} 不是一份完整的清单；请删除它，再运行一次 tonghua download",
            f"{folder / MANIFEST} is not a whole manifest; delete it and run tonghua download again",
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """The last act of a download: from here on the folder counts as whole."""
    unfinished = folder / UNFINISHED
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump({"format": 1, **asdict(manifest)}, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / MANIFEST)


def sha256_of(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def differing_files(folder: Path, manifest: Manifest, weights: bool) -> list[str]:
    """The files that are not as the manifest says; without `weights`, of those the sizes alone are compared."""
    damaged = []
    for name, record in manifest.files.items():
        file = folder / name
        hashed = weights or not name.endswith(WEIGHT_SUFFIX)
        sized = file.is_file() and file.stat().st_size == record.size
        if not sized or (hashed and sha256_of(file) != record.sha256):
            damaged.append(name)
    return damaged


def git_sha1(file: Path) -> str:
    """The name that git gives to a file's content: sha1 of "blob", its size, NUL and the bytes."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
