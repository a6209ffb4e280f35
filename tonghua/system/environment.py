"""Read the user's environment: language, data folder, and permission to use the network."""

import locale
import os
import sys
from pathlib import Path

from ..text import Language


def home() -> Path:
    """Return tonghua's data folder: TONGHUA_HOME, or `tonghua` in the standard folder for user data of this system."""
    named = os.environ.get("TONGHUA_HOME")
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "tonghua"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "tonghua"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "tonghua"


def is_offline() -> bool:
    """True if the user wants no network: TONGHUA_OFFLINE is set and is not 0."""
    return os.environ.get("TONGHUA_OFFLINE", "") not in ("", "0")


def server_key() -> str | None:
    """Return the key that the user set for `tonghua serve`: TONGHUA_KEY, or None."""
    return os.environ.get("TONGHUA_KEY") or None


def bare() -> dict[str, str]:
    """Return the few variables without which a Python of ours does not start; no secret of the user is among them."""
    needed = ("SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
    kept = {name: value for name in needed if (value := os.environ.get(name)) is not None}
    return {**kept, "TOKENIZERS_PARALLELISM": "false"}


def language() -> Language:
    """Return "zh" if TONGHUA_LANG, else the shell, else the system is set to Chinese; "en" if not."""
    names = (os.environ.get(name) for name in ("TONGHUA_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))
    named = next((name for name in names if name), None) or locale.getlocale()[0] or ""
    return "zh" if named.lower().startswith(("zh", "chinese")) else "en"


def write_utf8() -> None:
    """Set stdin, stdout and stderr to UTF-8, so that Chinese text passes any terminal and any pipe."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
