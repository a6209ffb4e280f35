"""Fetch a model by name and report the download as events."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ..events import Ended, Happened, Said
from ..system.signals import stopping
from ..text import Text
from . import store
from .delivery import Downloaded, DownloadProgress
from .download import download

KEPT = Text(
    "下载已停下；下载好的部分保留着，再运行一次会从断开的地方继续",
    "the download has stopped; what has come is kept, run it again and it resumes from there",
)

NAMES_SHOWN = 3
"""Maximum number of unchecked files that a message names."""

Tell = Callable[[DownloadProgress | Said | Happened | Ended], None]


def require_model(model: str | None, tell: Tell, offline: bool) -> None:
    """Fetch a model if it is not on this machine. Raises what `store.on_disk` and `fetch` raise."""
    if store.on_disk(model) is None:
        fetch(str(model), tell, offline=offline)


def fetch(
    name: str, tell: Tell, source: str | None = None, offline: bool = False, folder: Path | None = None
) -> Downloaded:
    """Return what `download` returns, and report it. Raises Stopped after a signal; the bytes so far are kept."""
    with stopping(KEPT):
        done = download(name, source, offline, tell, folder)
    tell(Ended())
    if done.bytes:
        tell(Said(Text(f"下载完成：{done.path}", f"downloaded: {done.path}")))
    else:
        tell(Said(Text(f"本机已经有了：{done.path}", f"already on this machine: {done.path}")))
    tell_unchecked(done.unchecked, tell)
    return done


def tell_unchecked(files: Sequence[str], tell: Tell) -> None:
    """Report the files without a known checksum, if there are any."""
    if not files:
        return
    more = len(files) - NAMES_SHOWN
    zh, en = (f" 等 {len(files)} 个文件", f" and {more} more") if more > 0 else ("", "")
    names = Text("、".join(files[:NAMES_SHOWN]) + zh, ", ".join(files[:NAMES_SHOWN]) + en)
    note = Text(
        f"没有校验值可以比对，无法确认内容完好：{names.zh}",
        f"no hash is known, so this was not checked: {names.en}",
    )
    tell(Happened("unchecked", note))
