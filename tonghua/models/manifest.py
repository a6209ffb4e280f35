"""The content of a model folder: the manifest that a download writes last, and the hashes of the files."""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import PlainValidator

from ..config.fields import NotAllowed
from ..errors import RefusedError
from ..system.files import rename, write_durably
from .guarded import CONFIG_LIMIT_BYTES, read_json
from .typed import Names, Typed, Word, is_whole, read_typed

MANIFEST = "MANIFEST.json"

UNFINISHED = f"{MANIFEST}.part"
"""Marks an unfinished download: present from its start until it becomes the manifest."""

WEIGHT_SUFFIX = ".safetensors"

SHA256 = re.compile(r"[0-9a-f]{64}")

GIT_SHA1 = re.compile(r"[0-9a-f]{40}")

SIZE_LIMIT = 2**50
"""Maximum size of a file in a manifest, in bytes."""

Origin = Literal["tiny", "tonghua", "huggingface", "modelscope", "folder"]


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size in bytes and sha256 (hex) of a file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The content of a finished download. `unchecked` are small files for which the hub lists no hash."""

    model: str
    source: str
    revision: str
    files: dict[str, FileRecord]
    unchecked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """A model on this machine. `name` is its repository, or the path if the user gave a folder."""

    name: str
    path: Path
    origin: Origin

    @property
    def has_manifest(self) -> bool:
        """True if tonghua downloaded or ships the model, and so has a manifest of it."""
        return self.origin in ("tonghua", "tiny")

    @property
    def size_bytes(self) -> int:
        """Total size of the files directly in the folder, in bytes."""
        return sum(file.stat().st_size for file in self.path.iterdir() if file.is_file())


@dataclass(frozen=True, slots=True)
class Verified:
    """The files of a model that are damaged or missing, and those without a hash to compare with."""

    model: Model
    damaged: tuple[str, ...]
    unchecked: tuple[str, ...]


def _records(value: Any) -> dict[str, FileRecord]:
    listed: dict[str, Any] = value if isinstance(value, dict) and value else {"": None}
    for name, record in listed.items():
        fits = isinstance(record, dict) and is_whole(record.get("size"), 0, SIZE_LIMIT)
        if not fits or Path(name).name != name or not SHA256.fullmatch(str(record.get("sha256"))):
            raise NotAllowed("应写明每个文件的大小和 sha256", "must tell the size and sha256 of each file")
    return {name: FileRecord(record["size"], record["sha256"]) for name, record in listed.items()}


class _ManifestFile(Typed):
    model: Word
    source: Word
    revision: Word
    files: Annotated[dict[str, FileRecord], PlainValidator(_records)]
    unchecked: Names = ()


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest of a folder. Raises RefusedError if it is missing or damaged."""
    value = read_json(folder / MANIFEST, CONFIG_LIMIT_BYTES)
    try:
        found = read_typed(_ManifestFile, value, MANIFEST)
    except RefusedError:
        raise RefusedError(
            f"{folder / MANIFEST} 不是一份完整的清单；请删除它，再运行一次 tonghua download",
            f"{folder / MANIFEST} is not a whole manifest; delete it and run tonghua download again",
        ) from None
    return Manifest(found.model, found.source, found.revision, found.files, found.unchecked)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest, as the last step of a download: now the folder counts as complete."""
    unfinished = folder / UNFINISHED
    write_durably(unfinished, json.dumps({"format": 1, **asdict(manifest)}, ensure_ascii=False, indent=1).encode())
    rename(unfinished, folder / MANIFEST)


def sha256_of(file: Path) -> str:
    """Return the sha256 of a file's content, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def differing_files(folder: Path, manifest: Manifest, weights: bool) -> list[str]:
    """Return the names of files that differ from the manifest. Without `weights`, weights are compared by size only."""
    damaged = []
    for name, record in manifest.files.items():
        file = folder / name
        hashed = weights or not name.endswith(WEIGHT_SUFFIX)
        sized = file.is_file() and file.stat().st_size == record.size
        if not sized or (hashed and sha256_of(file) != record.sha256):
            damaged.append(name)
    return damaged


def git_sha1(file: Path) -> str:
    """Return git's hash of a file's content, in hex: the sha1 of "blob", its size, NUL and the bytes."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
