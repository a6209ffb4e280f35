"""Run folders: made, filled, found and opened again.

runs/<name>-<time>/
  adapter_model.safetensors  adapter_config.json   the best adapter, in PEFT's own format
  tokenizer.json ...  contract.json                how to prompt it, and on which base
  config.yaml                                      resolved, complete, runnable again
  metrics.jsonl                                    every step and every held-out loss
  checkpoints/step-000120/                         adapters kept on the way; MANIFEST.json is written last
"""

import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .config import Config, load
from .errors import DataError, ResourceError, UsageError
from .prompt import TOKENIZER_FILES, Contract

MANIFEST = "MANIFEST.json"
CONTRACT = "contract.json"


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run, opened."""

    folder: Path
    config: Config
    contract: Contract


def create(output_dir: Path, name: str, needed_bytes: int) -> Path:
    """A new folder for one run. Raises ResourceError where it cannot be made or `needed_bytes` are not free."""
    stem = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(output_dir).free
        if free < needed_bytes:
            raise ResourceError(
                f"{output_dir} 所在磁盘只剩 {free / 1e9:.2f} GB，这次训练要 {needed_bytes / 1e9:.2f} GB；"
                "请腾出空间或换一个 output_dir",
                f"the disk of {output_dir} has {free / 1e9:.2f} GB left and this run needs {needed_bytes / 1e9:.2f} GB;"
                " free some space or set another output_dir",
            )
        for attempt in range(100):
            folder = output_dir / (f"{stem}-{attempt + 1}" if attempt else stem)
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                if not folder.is_dir():
                    raise
        raise FileExistsError(stem)
    except OSError as error:
        raise ResourceError(
            f"不能在 {output_dir} 里建立文件夹：{error.strerror}；请换一个 output_dir",
            f"cannot make a folder in {output_dir}: {error.strerror}; set another output_dir",
        ) from error


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever the disk refuses inside becomes a ResourceError that names `path`."""
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"写不进 {path}：{error.strerror}；请腾出空间或换一个 output_dir",
            f"cannot write {path}: {error.strerror}; free some space or set another output_dir",
        ) from error


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all. Raises ResourceError for a full or read-only disk."""
    part = path.with_name(f".{path.name}.part")
    with writing(path):
        try:
            with part.open("wb") as opened:
                opened.write(content)
                opened.flush()
                os.fsync(opened.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Each file whole or not at all."""
    for name, content in files.items():
        write_atomic(folder / name, content)


def write_checkpoint(run: Path, step: int, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> Path:
    """One folder under `checkpoints/`, there whole or not at all; its manifest names sizes and hashes."""
    target = run / "checkpoints" / f"step-{step:06d}"
    part = target.with_name(f".{target.name}-{uuid.uuid4().hex}")
    listed = {name: {"size": len(c), "sha256": hashlib.sha256(c).hexdigest()} for name, c in files.items()}
    manifest = json.dumps({"step": step, **facts, "files": listed}, indent=2, ensure_ascii=False)
    with writing(target):
        try:
            part.mkdir(parents=True)
            write_files(part, {**files, MANIFEST: manifest.encode()})
            shutil.rmtree(target, ignore_errors=True)
            part.replace(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return target


def copy_tokenizer(base: Path, run: Path) -> None:
    """The base's tokenizer files, byte for byte."""
    write_files(run, {n: (base / n).read_bytes() for n in TOKENIZER_FILES if (base / n).is_file()})


def newest(output_dir: Path) -> Path:
    """The finished run that was made last. Raises UsageError where there is none."""
    runs = [path.parent for path in output_dir.glob(f"*/{CONTRACT}")] if output_dir.is_dir() else []
    if not runs:
        raise UsageError(
            f"{output_dir} 里还没有训练好的结果；请先 tonghua train，或写出结果所在的文件夹",
            f"there is no finished run in {output_dir}; run tonghua train first, or name the folder of a run",
        )
    return max(runs, key=lambda run: ((run / CONTRACT).stat().st_mtime_ns, run.name))


def open_run(path: Path | None, output_dir: Path) -> Run:
    """The run in `path`, else of this name in `output_dir`, else the newest. Raises UsageError, DataError."""
    folder = newest(output_dir) if path is None else path
    if not folder.is_dir() and path is not None:
        folder = output_dir / path
    if not folder.is_dir():
        raise UsageError(
            f"没有 {path} 这个文件夹；请写出训练结果所在的文件夹",
            f"there is no folder {path}; name the folder of a run",
        )
    missing = [n for n in (CONTRACT, "config.yaml", "adapter_config.json") if not (folder / n).is_file()]
    if missing:
        raise DataError(
            f"{folder} 不是完整的训练结果：缺少 {missing[0]}；请另选一个，或重新训练",
            f"{folder} is not a finished run: {missing[0]} is missing; choose another or train again",
        )
    contract = Contract.from_json((folder / CONTRACT).read_text(encoding="utf-8", errors="replace"))
    return Run(folder, load(folder / "config.yaml").config, contract)


def remove_checkpoint(run: Path, step: int) -> None:
    shutil.rmtree(run / "checkpoints" / f"step-{step:06d}")


def remove_unless_checkpointed(run: Path) -> None:
    """Remove the folder of a run that failed before it had kept anything."""
    if not any(run.glob(f"checkpoints/step-*/{MANIFEST}")):
        shutil.rmtree(run, ignore_errors=True)
