"""Find models in the caches of huggingface_hub and modelscope: read in place, never copied or changed."""

import os
from collections.abc import Iterator
from pathlib import Path

from .manifest import Model


def hugging_face_cache() -> Path:
    """Return the cache folder of huggingface_hub: HF_HUB_CACHE, else `hub` in HF_HOME, else its default."""
    named = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if named:
        return Path(named).expanduser()
    root = os.environ.get("HF_HOME")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (Path(root).expanduser() if root else cache / "huggingface") / "hub"


def modelscope_cache() -> Path:
    """Return the cache folder of modelscope: MODELSCOPE_CACHE, else ~/.cache/modelscope."""
    named = os.environ.get("MODELSCOPE_CACHE")
    return Path(named).expanduser() if named else Path.home() / ".cache" / "modelscope"


def cached_models(name: str) -> Iterator[Model]:
    """Yield the folders of this repository in the caches, most likely first; a folder may be incomplete."""
    for folder in _snapshots(hugging_face_cache() / f"models--{name.replace('/', '--')}"):
        yield Model(name, folder, "huggingface")
    base = modelscope_cache()
    for folder in _snapshots(base / "models" / name.replace("/", "--")):
        yield Model(name, folder, "modelscope")
    # modelscope up to 1.37 writes a dot in a name as three underscores; still older versions keep the dot.
    owner, _, plain = name.partition("/")
    for above in (base / "models", base / "hub" / "models", base, base / "hub"):
        for last in (plain.replace(".", "___"), plain):
            if (above / owner / last).is_dir():
                yield Model(name, above / owner / last, "modelscope")


def _snapshots(cached: Path) -> list[Path]:
    """Return the revisions in `<cached>/snapshots`: first the one of `main` or `master`, then the newest."""
    try:
        found = [folder for folder in (cached / "snapshots").iterdir() if folder.is_dir()]
    except OSError:
        return []
    main = cached / "refs" / "main"
    first = {"master", main.read_text(encoding="utf-8", errors="replace").strip() if main.is_file() else "main"}
    return sorted(found, key=lambda folder: (folder.name in first, folder.stat().st_mtime), reverse=True)


def subfolders(folder: Path) -> list[Path]:
    """Return the subfolders, sorted; an empty list if the folder cannot be read."""
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir())
    except OSError:
        return []
