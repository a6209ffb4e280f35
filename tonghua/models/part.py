"""A partial download: the bytes go to `<file>.part`, which gets the final name when the hash agrees."""

import hashlib
import json
from pathlib import Path
from typing import Any

from ..system.files import rename, sync
from .delivery import ListedFile
from .manifest import FileRecord

BLOCK_BYTES = 262_144


class Digest:
    """Running hashes of the received bytes: always sha256, and git's sha1 if the hub lists that."""

    def __init__(self, entry: ListedFile):
        self._entry = entry
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % (entry.size or 0), usedforsecurity=False)
        self.size = 0

    def update(self, block: bytes) -> None:
        """Add a block of bytes to the hashes."""
        self.size += len(block)
        self._sha256.update(block)
        if self._entry.git_sha1:
            self._git.update(block)

    def read(self, file: Path) -> None:
        """Add the content of a file to the hashes."""
        with file.open("rb") as opened:
            while block := opened.read(BLOCK_BYTES):
                self.update(block)

    @property
    def sha256(self) -> str:
        """The sha256 of the bytes so far, in hex."""
        return self._sha256.hexdigest()

    @property
    def agrees(self) -> bool:
        """True if size and hashes equal the listed ones; values that are not listed are ignored."""
        entry = self._entry
        return (
            entry.size in (None, self.size)
            and entry.sha256 in (None, self.sha256)
            and entry.git_sha1 in (None, self._git.hexdigest())
        )


class PartialFile:
    """The first bytes of a file in `<name>.part`; `<name>.part.json` notes which content they belong to."""

    def __init__(self, target: Path, entry: ListedFile):
        self.entry = entry
        self.file = target / f"{entry.name}.part"
        self.note = target / f"{entry.name}.part.json"
        self.digest = Digest(entry)
        self._content = {"size": entry.size, "sha256": entry.sha256, "git_sha1": entry.git_sha1}
        self._told: dict[str, Any] = {}
        try:
            self._told = dict(json.loads(self.note.read_text(encoding="utf-8")))
            size = self.file.stat().st_size
        except (OSError, ValueError, TypeError):
            size = 0
        # Another source may resume the same content: the hash of the complete file decides in the end.
        same = entry.is_known and all(self._told.get(key) == value for key, value in self._content.items())
        if same and 0 < size <= (entry.size or 0):
            self.digest.read(self.file)
        else:
            self.clear()

    def clear(self) -> None:
        """Delete the part and its note."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.digest, self._told = Digest(self.entry), {}

    def begin(self, etag: str | None) -> None:
        """Write the note of which content the bytes belong to, before the first byte is written."""
        self._told = {"url": self.entry.url, "etag": etag, **self._content}
        self.note.write_text(json.dumps(self._told), encoding="utf-8")

    def range_headers(self) -> dict[str, str]:
        """Return the request headers: none for a new file, else Range for the missing bytes.

        If-Range makes the hub send the whole file if it has changed since (RFC 9110, section 13.1.5).
        """
        if not self.digest.size:
            return {}
        headers = {"Range": f"bytes={self.digest.size}-"}
        etag = self._told.get("etag")
        # A weak ETag ("W/...") does not guarantee equal bytes, and an ETag holds only for its own URL.
        if isinstance(etag, str) and etag.startswith('"') and self._told.get("url") == self.entry.url:
            headers["If-Range"] = etag
        return headers

    def finish(self) -> FileRecord:
        """Flush the part to disk and give it the final name; return its size and sha256."""
        with self.file.open("ab") as file:
            sync(file)
        rename(self.file, self.file.with_name(self.entry.name))
        self.note.unlink(missing_ok=True)
        return FileRecord(self.digest.size, self.digest.sha256)
