"""What the user's environment says: language, the data folder, and whether the network may be used."""

import locale
import os
import sys
from pathlib import Path

from ..text import Language


def home() -> Path:
    """tonghua's own folder: TONGHUA_HOME, or the one where this system keeps a user's data."""
    named = os.environ.get("TONGHUA_HOME")
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "tonghua"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "tonghua"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "tonghua"


def is_offline() -> bool:
    """Whether the user wants no network: TONGHUA_OFFLINE is set, and not to 0."""
    return os.environ.get("TONGHUA_OFFLINE", "") not in ("", "0")


def language() -> Language:
    """zh where TONGHUA_LANG, the shell or the system says Chinese, else en."""
    names = (os.environ.get(name) for name in ("TONGHUA_LANG", "LC_ALL", "LC_MESSAGES", "LANG"))
    named = next((name for name in names if name), None) or locale.getlocale()[0] or ""
    return "zh" if named.lower().startswith(("zh", "chinese")) else "en"


def write_utf8() -> None:
    """Texts in Chinese come through on any terminal and in any pipe."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace")
