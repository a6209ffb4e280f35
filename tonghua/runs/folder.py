"""Run folders: create, find, lock and open them.

runs/<name>-<time>/
  adapter_model.safetensors  adapter_config.json   the best adapter, in PEFT's own format
  tokenizer.json ...  contract.json                how to prompt it, and on which base
  prompt.jinja                                     the contract as a chat template, with the system prompt, for vLLM
  config.yaml                                      complete, with absolute paths; can be run again
  facts.json                                       base, data and settings, written at the start
  metrics.jsonl                                    every step, every held-out loss, every event
  samples.jsonl                                    answers to the same prompts during training
  checkpoints/step-000120/                         state to resume from; see `checkpoint`
  evaluation.json                                  base against tuned: at the end of training, and after each eval
  result.json                                      only if the run has finished
  report.html  loss.png                            for people; see `report`, `curves`
  run.lock                                         held by the process that trains
"""

import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..config.load import load
from ..config.schema import Config
from ..errors import DataError, ResourceError, UsageError
from ..prompt.contract import Contract
from ..prompt.renderer import TOKENIZER_FILES
from ..system.files import is_folder, is_there, user_path, write_files
from . import checkpoint
from .bundle_file import is_bundle, unpacked

CONTRACT = "contract.json"

TEMPLATE = "prompt.jinja"
"""What `vllm serve --chat-template` takes. None is written if the model's template is more than constant text."""

FACTS = "facts.json"

METRICS = "metrics.jsonl"

SAMPLES = "samples.jsonl"

RESULT = "result.json"

EVALUATION = "evaluation.json"

LOCK = "run.lock"

LOSS_PLOT = "loss.png"


@dataclass(frozen=True, slots=True)
class Run:
    """An opened run that has an adapter and its contract. `adapter` is the folder itself, or a checkpoint in it."""

    folder: Path
    config: Config
    contract: Contract
    adapter: Path

    def __repr__(self) -> str:
        return f"Run(folder={str(self.folder)!r}, base={self.contract.base['name']!r})"


def create(output_dir: Path, name: str, needed_bytes: int) -> Path:
    """Create a folder <name>-<time> for one run and return it.

    Raises ResourceError if it cannot be made or the disk has less than `needed_bytes` free.
    """
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


def copy_tokenizer(base: Path, run: Path) -> None:
    """Copy the tokenizer files of the base, byte for byte."""
    write_files(run, {n: (base / n).read_bytes() for n in TOKENIZER_FILES if (base / n).is_file()})


def newest(output_dir: Path) -> Path:
    """Return the run whose adapter was published last. Raises UsageError if there is none."""
    runs = [path.parent for path in output_dir.glob(f"*/{CONTRACT}")] if is_folder(output_dir) else []
    if not runs:
        raise UsageError(
            f"{output_dir} 里还没有训练好的结果；请先 tonghua train，或写出结果所在的文件夹",
            f"there is no finished run in {output_dir}; run tonghua train first, or name the folder of a run",
        )
    return max(runs, key=_published)


def _published(run: Path) -> tuple[int, str]:
    return (run / CONTRACT).stat().st_mtime_ns, run.name


def _newest_called(name: str, output_dir: Path) -> Path | None:
    """Return the run <name>-<time> whose adapter was published last, or None: `daiyu` is daiyu-20260101-120000."""
    if not is_folder(output_dir):
        return None
    called = re.compile(re.escape(name) + r"-\d{8}-\d{6}(-\d+)?")
    runs = [run for run in output_dir.iterdir() if called.fullmatch(run.name) and is_there(run / CONTRACT)]
    return max(runs, key=_published, default=None)


def open_run(path: Path | None, output_dir: Path) -> Run:
    """Open the run at `path`, or of this name in `output_dir`, or the newest one if `path` is None.

    Of a name without its time, the newest is opened. The folder of a checkpoint opens the run with that adapter; a
    bundle is unpacked first. Raises UsageError if there is no such run, DataError if a file is missing or damaged,
    RefusedError for an unsound bundle. Its config raises as `load` does.
    """
    if path is not None and is_bundle(path):
        path = unpacked(path)
    folder = newest(output_dir) if path is None else path
    if not is_folder(folder) and path is not None:
        folder = output_dir / path
        if not is_folder(folder):
            folder = _newest_called(str(path), output_dir) or folder
    if not is_folder(folder):
        raise UsageError(
            f"没有 {path} 这个文件夹；请写出训练结果所在的文件夹",
            f"there is no folder {path}; name the folder of a run",
        )
    adapter, folder = folder, run_of(folder) or folder
    missing = [n for n in (CONTRACT, "config.yaml", "adapter_config.json") if not (folder / n).is_file()]
    if missing:
        raise DataError(
            f"{folder} 不是完整的训练结果：缺少 {missing[0]}；请另选一个，或重新训练",
            f"{folder} is not a finished run: {missing[0]} is missing; choose another or train again",
        )
    contract = Contract.from_json((folder / CONTRACT).read_text(encoding="utf-8", errors="replace"))
    return Run(folder, load(folder / "config.yaml").config, contract, adapter)


def run_of(folder: Path) -> Path | None:
    """Return the run whose adapter this folder holds: the folder itself, or that of a checkpoint; None if none of ours.

    Only a run with a contract counts.
    """
    above = folder.absolute().parent
    places = (folder, above.parent) if above.name == checkpoint.FOLDER else (folder,)
    return next((run for run in places if (run / CONTRACT).is_file()), None)


def begun(path: Path | None, output_dir: Path) -> Path:
    """Return the run folder at `path`, or of this name in `output_dir`, or the newest one if `path` is None.

    The run need not be finished. Raises UsageError if there is none.
    """
    if path is not None:
        return _named(path, output_dir)
    there = _all(output_dir)
    if not there:
        raise UsageError(
            f"{output_dir} 里没有训练结果；请先 tonghua train",
            f"there is no run in {output_dir}; start one with tonghua train",
        )
    return max(there, key=_age)


def unfinished(path: Path | None, output_dir: Path) -> Path:
    """Return the run to resume: the one at `path`, or of this name in `output_dir`, or the newest unfinished one.

    Returns a finished run only if it is named, or if no other has a checkpoint. Raises UsageError if there is none.
    """
    if path is not None:
        return _named(path, output_dir)
    there = [run for run in _all(output_dir) if checkpoint.steps(run)]
    if not there:
        raise UsageError(
            f"{output_dir} 里没有可以接着训练的结果；请先 tonghua train",
            f"there is no run to resume in {output_dir}; start one with tonghua train",
        )
    return max(there, key=lambda run: (finished(run) is None, _age(run)))


def _named(path: Path, output_dir: Path) -> Path:
    folder = path if is_folder(path) else output_dir / path
    if not is_there(folder / "config.yaml"):
        raise UsageError(
            f"{path} 不是一次训练的文件夹；请写出 runs 里的那个文件夹",
            f"{path} is not the folder of a run; name one of those in runs",
        )
    return folder


def left_unfinished(output_dir: Path) -> list[Path]:
    """Return the runs that can be resumed, the newest first."""
    there = [run for run in _all(output_dir) if checkpoint.steps(run) and finished(run) is None]
    return sorted(there, key=_age, reverse=True)


def _all(output_dir: Path) -> list[Path]:
    return [found.parent for found in output_dir.glob("*/config.yaml")] if is_folder(output_dir) else []


def _age(run: Path) -> tuple[int, str]:
    """Return a sort key that grows with the time when the run was started or last resumed."""
    return (run / "config.yaml").stat().st_mtime_ns, run.name


def finished(run: Path) -> dict[str, Any] | None:
    """Return the content of result.json, or None if the run has not finished or the file is damaged."""
    try:
        found = json.loads((run / RESULT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("steps"), int) else None


def runs_folder(asked: Mapping[str, Any]) -> Path:
    """The folder of the runs, by these settings."""
    return user_path(load(None, asked).config.output_dir)


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of the run inside the block, so that only this process writes it.

    The system frees the lock of a killed process. Raises UsageError if another process holds the lock, and
    ResourceError if the lock file cannot be written.
    """
    lock = FileLock(run / LOCK)
    try:
        lock.acquire(timeout=1)  # a process that lists runs holds the lock for a moment
    except Timeout:
        raise UsageError(
            f"另一个进程正在训练 {run}；等它结束，或先让它停下",
            f"another process is training {run}; wait until it ends, or stop it first",
        ) from None
    except OSError as error:
        raise ResourceError(
            f"不能锁住 {run}：{error.strerror}；这个文件夹要能写，请换一个 output_dir",
            f"cannot lock {run}: {error.strerror}; the folder must be writable, set another output_dir",
        ) from error
    try:
        yield
    finally:
        lock.release()
