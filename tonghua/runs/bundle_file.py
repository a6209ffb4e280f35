"""A run in one zip file, as `export --to bundle` writes it and `chat FILE.zip` opens it.

    daiyu.zip                       <home>/bundles/<sha256 of the file>/
      SHA256SUMS          ──►         checked: every file, and no other
      adapter, contract, ...          a run folder without rows, steps and checkpoints

A bundle comes from anybody: only files of known names are taken out, each within its bounds, none with a path.
"""

import hashlib
import re
import shutil
import zipfile
from pathlib import Path

from ..errors import RefusedError, ResourceError
from ..system.environment import home
from ..system.files import rename
from ..text import shown

SUMS = "SHA256SUMS"

_KILO, _GIGA = 1_000, 1_000_000_000

FILES = {
    "adapter_model.safetensors": 8 * _GIGA,
    "adapter_config.json": 1000 * _KILO,
    "contract.json": 1000 * _KILO,
    "config.yaml": 1000 * _KILO,
    "tokenizer.json": 200_000 * _KILO,
    "tokenizer_config.json": 10_000 * _KILO,
    "chat_template.jinja": 200 * _KILO,
    "generation_config.json": 10_000 * _KILO,
    "samples.json": 10_000 * _KILO,
    "export.json": 1000 * _KILO,
    "README.md": 1000 * _KILO,
    "LICENSE": 1000 * _KILO,
    "NOTICE": 1000 * _KILO,
}
"""The files that a bundle may hold, and their largest sizes in bytes."""

LARGEST_RATIO = 100
"""Largest size of a file over that of the whole zip: weights hardly shrink, and what shrinks more would fill a disk."""

ALWAYS_BYTES = 10_000 * _KILO
"""Bytes that a file may have whatever the size of the zip."""

_SUM = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_.]+)")


def is_bundle(path: Path) -> bool:
    """True if this is the path of a zip file."""
    return path.suffix.lower() == ".zip" and path.is_file()


def sums(files: dict[str, str]) -> str:
    """Return the text of SHA256SUMS for file name to sha256, as `sha256sum --check` reads it."""
    return "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(files.items()))


def unpacked(bundle: Path) -> Path:
    """Return the run folder that a bundle holds, in tonghua's data folder; an earlier one is used again.

    Raises RefusedError if the file is damaged or holds anything else, ResourceError if it cannot be written.
    """
    try:
        with bundle.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        folder = home() / "bundles" / sha256[:32] / (bundle.stem or "bundle")
        if not folder.is_dir():
            part = folder.with_name(f".{folder.name}.part")
            try:
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir(parents=True)
                with zipfile.ZipFile(bundle) as packed:
                    _unpack(bundle, packed, part)
                rename(part, folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        return folder
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        # RuntimeError: the zip asks for a password.
        raise _refused(bundle, f"读不了（{error}）", f"cannot be read ({error})") from None
    except OSError as error:
        raise ResourceError(
            f"打不开 {bundle}（{error.strerror or error}）；请检查这个文件和磁盘的空间",
            f"cannot open {bundle} ({error.strerror or error}); check the file and the free space on the disk",
        ) from error


def _unpack(bundle: Path, packed: zipfile.ZipFile, folder: Path) -> None:
    names = packed.namelist()
    odd = next((name for name in names if name not in FILES and name != SUMS), None)
    if odd is not None or len(set(names)) < len(names):
        name = shown(odd or "", 80)
        raise _refused(bundle, f"里面有不认识或重复的文件 {name}", f"it holds an unknown or repeated file {name}")
    if SUMS not in names:
        raise _refused(bundle, f"里面没有 {SUMS}", f"it holds no {SUMS}")
    listed = _SUM.findall(_read(bundle, packed, SUMS, 100 * _KILO).decode("ascii", "replace"))
    wanted = {name: sha256 for sha256, name in listed}
    if wanted.keys() != {*names} - {SUMS}:
        raise _refused(bundle, f"{SUMS} 列的不是里面的文件", f"{SUMS} does not list the files in it")
    for name, sha256 in wanted.items():
        if _extract(bundle, packed, name, folder / name) != sha256:
            raise _refused(bundle, f"{name} 与它的 sha256 不符", f"{name} does not have its sha256")


def _read(bundle: Path, packed: zipfile.ZipFile, name: str, limit_bytes: int) -> bytes:
    with packed.open(name) as opened:
        data = opened.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise _too_large(bundle, name)
    return data


def _extract(bundle: Path, packed: zipfile.ZipFile, name: str, to: Path) -> str:
    """Write a file of the bundle and return its sha256. What the zip says of its size is not trusted."""
    digest, size = hashlib.sha256(), 0
    limit = min(FILES[name], LARGEST_RATIO * bundle.stat().st_size + ALWAYS_BYTES)
    with packed.open(name) as opened, to.open("xb") as file:
        while block := opened.read(1_048_576):
            size += len(block)
            if size > limit:
                raise _too_large(bundle, name)
            digest.update(block)
            file.write(block)
    return digest.hexdigest()


def _too_large(bundle: Path, name: str) -> RefusedError:
    return _refused(bundle, f"{name} 太大了", f"{name} is too large")


def _refused(bundle: Path, zh: str, en: str) -> RefusedError:
    return RefusedError(
        f"{bundle.name} 不是完好的包：{zh}；请重新取得这个文件",
        f"{bundle.name} is no sound bundle: {en}; fetch the file again",
    )
