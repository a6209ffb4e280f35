"""Crash-safe checkpoints: each is complete or absent, and its checksums prove it.

    checkpoints/
      step-000120/            renamed into place after all of it is on the disk
        adapter_model.safetensors  adapter_config.json     the adapter, in PEFT's own format
        state.safetensors          state.json              the rest of the training state (see `state`)
        MANIFEST.json                                      size and sha256 of each file; written last
      .step-000120-<random>/  being written, or left over from a process that died

    write files, fsync each -> MANIFEST.json, fsync -> rename -> fsync of the parent -> only then `rotate`

A checkpoint is valid if its files match its manifest; names and times do not count. The protocol is that of Orbax
(orbax.readthedocs.io, "Checkpointing: atomicity").
"""

import hashlib
import json
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RefusedError
from ..system.files import put_in_place, sync_folder, write_durably
from ..text import Text

FOLDER = "checkpoints"

MANIFEST = "MANIFEST.json"

MAX_MANIFEST_BYTES = 1_000_000

_NAME = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A valid checkpoint, with verified checksums: the step after which it was made, and its folder."""

    step: int
    folder: Path

    def read(self, name: str) -> bytes:
        """Return the content of one of its files. Raises OSError."""
        return (self.folder / name).read_bytes()


class Damaged(Exception):
    """A checkpoint does not match its manifest, or has none."""

    def __init__(self, what: Text):
        super().__init__(what.en)
        self.what = what


def commit(run: Path, step: int, files: Mapping[str, bytes]) -> None:
    """Write a checkpoint of this step, {file name: content}. If it raises OSError, nothing of it remains.

    An identical checkpoint stays as it is; a different one of this step is replaced.
    """
    parent = run / FOLDER
    target = parent / _name(step)
    listed = {name: {"size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for name, c in files.items()}
    manifest = json.dumps({"step": step, "files": listed}, indent=2).encode()
    if _is_same(target, manifest):
        return
    part = parent / f".{target.name}-{uuid.uuid4().hex[:8]}"
    try:
        part.mkdir(parents=True)
        for name, content in files.items():
            write_durably(part / name, content)
        write_durably(part / MANIFEST, manifest)
        sync_folder(part)
        put_in_place(part, target)
        sync_folder(parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def steps(run: Path) -> list[int]:
    """Return the steps that have a checkpoint, valid or not, in ascending order."""
    folder = run / FOLDER
    names = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    return sorted(int(found[1]) for found in map(_NAME.fullmatch, names) if found)


def newest_valid(run: Path, upto: int | None = None) -> tuple[Checkpoint, list[Text]]:
    """Return the valid checkpoint of the highest step (at most `upto`), and the damage of each one above it.

    Raises RefusedError if none is valid, with the damage of each. Deletes nothing.
    """
    damages: list[Text] = []
    for step in reversed([step for step in steps(run) if upto is None or step <= upto]):
        try:
            return open_checkpoint(run, step), damages
        except Damaged as damage:
            damages.append(damage.what)
    zh, en = "；".join(each.zh for each in damages), "; ".join(each.en for each in damages)
    raise RefusedError(
        f"{run} 里没有可用的检查点（{zh or '一个也没有'}）；请重新训练，原来的文件都还在",
        f"{run} has no valid checkpoint ({en or 'there is none'}); train again; what is there stays as it is",
    )


def open_checkpoint(run: Path, step: int) -> Checkpoint:
    """Return the checkpoint of this step. Raises Damaged, with the file name, if a file does not match the manifest."""
    folder = run / FOLDER / _name(step)
    manifest = _manifest(folder)
    if manifest.get("step") != step:
        raise Damaged(
            Text(f"{folder.name}：{MANIFEST} 属于另一步", f"{folder.name}: {MANIFEST} is that of another step")
        )
    for name, told in _listed(manifest, folder):
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise Damaged(
                Text(
                    f"{folder.name}：{name} 读不了（{error.strerror}）",
                    f"{folder.name}: cannot read {name} ({error.strerror})",
                )
            ) from None
        if len(content) != told.get("size") or hashlib.sha256(content).hexdigest() != told.get("sha256"):
            raise Damaged(Text(f"{folder.name}：{name} 的内容变了", f"{folder.name}: {name} has changed"))
    return Checkpoint(step, folder)


def rotate(run: Path, limit: int, keep: Collection[int]) -> None:
    """Remove the oldest checkpoints until `limit` are left, but none of the steps in `keep`."""
    there = steps(run)
    for step in [step for step in there if step not in keep][: max(0, len(there) - limit)]:
        shutil.rmtree(run / FOLDER / _name(step), ignore_errors=True)


def sweep(run: Path) -> None:
    """Remove incomplete checkpoints that a dead process left."""
    for part in (run / FOLDER).glob(".step-*"):
        shutil.rmtree(part, ignore_errors=True)


def forget_after(run: Path, step: int) -> None:
    """Remove the checkpoints after a step to which the run rolled back; the new ones will differ."""
    for later in [each for each in steps(run) if each > step]:
        shutil.rmtree(run / FOLDER / _name(later), ignore_errors=True)


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _is_same(folder: Path, manifest: bytes) -> bool:
    """True if `folder` is a valid checkpoint with this manifest."""
    try:
        if (folder / MANIFEST).read_bytes() != manifest:
            return False
        open_checkpoint(folder.parents[1], int(folder.name.removeprefix("step-")))
    except (OSError, Damaged):
        return False
    return True


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        with (folder / MANIFEST).open("rb") as file:
            found = json.loads(file.read(MAX_MANIFEST_BYTES))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Damaged(Text(f"{folder.name}：没有完整的 {MANIFEST}", f"{folder.name}: no whole {MANIFEST}"))
    return found


def _listed(manifest: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    files = manifest.get("files")
    for name, told in files.items() if isinstance(files, dict) else ():
        if Path(name).name != name or not isinstance(told, dict):
            raise Damaged(
                Text(f"{folder.name}：{MANIFEST} 里有奇怪的文件名", f"{folder.name}: {MANIFEST} names odd files")
            )
        yield name, told
