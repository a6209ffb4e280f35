"""Data types of a download: listed files, the plan, the progress, the result and the errors."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import RefusedError, UserError
from ..text import Text
from .hubs import HubSource
from .manifest import WEIGHT_SUFFIX


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """Progress of a download.

    If `waiting` is set, it says what the download waits for; no bytes arrive then. Before the first file, `asking`
    says which hub is asked.
    """

    model: str
    source: str
    file: str
    done_bytes: int
    total_bytes: int
    bytes_per_s: float
    waiting: Text | None = None
    asking: Text | None = None

    @property
    def remaining_s(self) -> float | None:
        """Seconds left at the present speed; None if the speed is zero."""
        return (self.total_bytes - self.done_bytes) / self.bytes_per_s if self.bytes_per_s else None


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A model on this machine. `bytes` counts what this call received over the network.

    `verified`: every file matches its known hash, except the `unchecked` small files, for which the hub lists none.
    A folder or a cache without hashes is not verified. `resumed`: the download used bytes from an earlier one.
    """

    model: str
    path: Path
    source: str
    bytes: int
    verified: bool
    resumed: bool
    unchecked: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the fields for JSON output, without `unchecked`."""
        named = ("model", "path", "source", "bytes", "verified", "resumed")
        return {name: getattr(self, name) for name in named} | {"path": str(self.path)}


@dataclass(frozen=True, slots=True)
class ListedFile:
    """A file in a hub's listing. For small files, Hugging Face lists `git_sha1` instead of a sha256."""

    name: str
    url: str
    size: int | None
    sha256: str | None = None
    git_sha1: str | None = None

    @property
    def is_weight(self) -> bool:
        """True if this is a safetensors file."""
        return self.name.endswith(WEIGHT_SUFFIX)

    @property
    def is_known(self) -> bool:
        """True if the hub lists both a size and a hash."""
        return self.size is not None and (self.sha256 or self.git_sha1) is not None


@dataclass(frozen=True, slots=True)
class Delivery:
    """The files to download from one source, weights last."""

    model: str
    source: HubSource
    revision: str
    entries: tuple[ListedFile, ...]

    @property
    def weights(self) -> dict[str, str | None]:
        """The sha256 of each weight file, by file name."""
        return {entry.name: entry.sha256 for entry in self.entries if entry.is_weight}

    @property
    def size_bytes(self) -> int:
        """Total size of the files whose size is listed, in bytes."""
        return sum(entry.size or 0 for entry in self.entries)


class FaultyError(Exception):
    """This source cannot deliver the model; another source may."""

    def __init__(self, kind: type[UserError], what: Text, mend: Text):
        super().__init__(what.en)
        self.kind, self.what, self.mend = kind, what, mend


class PassingError(Exception):
    """A temporary error: retry the same source, after `wait_s` seconds if it asks for that."""

    def __init__(self, zh: str, en: str, wait_s: float | None = None):
        super().__init__(en)
        self.what, self.wait_s = Text(zh, en), wait_s


AGAIN = Text(
    "已下载的部分保留着，网络恢复后再运行一次，会从断开的地方继续",
    "what has come is kept; run it again when the network is back, and it resumes from there",
)

ELSEWHERE = Text("请换一个下载源（--source），或稍后再试", "take another source (--source), or try again later")


def odd_answer() -> FaultyError:
    """Return the error for a listing in an unexpected format."""
    return FaultyError(RefusedError, Text("的文件列表看不懂", "gives a listing that makes no sense"), ELSEWHERE)


class RangeError(PassingError):
    """The hub does not have the requested range of the file (HTTP 416)."""


def web_page() -> FaultyError:
    """Return the error for a web page in place of a file, such as a network's login page."""
    return FaultyError(
        RefusedError,
        Text("给的是一个网页，不是文件", "sends a web page instead of the file"),
        Text(
            "校园网、酒店或公司网络可能要先登录：请用浏览器打开任意网页登录，再运行一次",
            "a campus, hotel or company network may want a login first: open any page in a browser, then run it again",
        ),
    )


def wrong_size(entry: ListedFile) -> FaultyError:
    """Return the error for a file whose size differs from the listed size."""
    what = Text(f"的 {entry.name} 与它公布的大小不符", f"sends a {entry.name} that is not of the size it told")
    return FaultyError(RefusedError, what, ELSEWHERE)
