"""Models in the caches of the hubs' own libraries: read where they lie, never copied or changed."""

import os
from collections.abc import Iterator
from pathlib import Path

from .manifest import Model


def hugging_face_cache() -> Path:
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    root = os.environ.get("HF_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(root).expanduser() if root else cache / "huggingface") / "hub"


def modelscope_cache() -> Path:
    named = os.environ.get("MODELSCOPE_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "modelscope"


def cached_models(name: str) -> Iterator[Model]:
    """Folders of this repository in the hubs' caches, the likeliest first; they may be half downloads."""
    for folder in _snapshots(hugging_face_cache() / f"models--{name.replace('/', '--')}"):
        yield Model(name, folder, "huggingface")
    base = modelscope_cache()
    for folder in _snapshots(base / "models" / name.replace("/", "--")):
        yield Model(name, folder, "modelscope")
    # Up to modelscope 1.37 a dot in a name was written as three underscores; still older ones kept it.
    owner, _, plain = name.partition("/")
    for above in (base / "models", base / "hub" / "models", base, base / "hub"):
        for last in (plain.replace(".", "___"), plain):
            if (above / owner / last).is_dir():
                yield Model(name, above / owner / last, "modelscope")


def _snapshots(cached: Path) -> list[Path]:
    """The revisions in `<cached>/snapshots`: the one that `main` or `master` means, then the newest."""
    try:
        found = [folder for folder in (cached / "snapshots").iterdir() if folder.is_dir()]
    except OSError:
        return []
    main = cached / "refs" / "main"
    first = {"master", main.read_text(encoding="utf-8", errors="replace").strip() if main.is_file() else "main"}
    return sorted(found, key=lambda folder: (folder.name in first, folder.stat().st_mtime), reverse=True)


def subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []
