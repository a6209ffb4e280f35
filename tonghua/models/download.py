"""Download a model's files from a hub and check each file against the hash that the hub lists.

    sources ──► listing ──► plan ──► <file>.part ──► <file> ──► MANIFEST.json
    fastest     names,      only     resumes after    its        written last: only
    first       sizes,      what a   a break or a     hash       now is the model
                hashes      model    kill             agrees     complete
                            needs

One small client serves both hubs, because their own libraries are not enough. Since 1.18, huggingface_hub restarts
a file in each process and checks only its size. Neither library resumes a download that the other began.
This module prints nothing; it reports to `on_progress`.
"""

import errno
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from filelock import FileLock, Timeout

from ..errors import RefusedError, ResourceError, Stopped, UsageError, UserError
from ..system.environment import is_offline
from ..text import Text
from . import hubs, store
from .delivery import Delivery, Downloaded, DownloadProgress, FaultyError, ListedFile
from .hubs import MEANWHILE, HubSource, no_such, not_here
from .listings import find_delivery
from .manifest import MANIFEST, UNFINISHED, FileRecord, Manifest, Model, Verified, read_manifest, write_manifest
from .network import PROBE_S, HubLine
from .part import Digest
from .shipped import TINY, is_tiny, tiny

SPARE_BYTES = 100_000_000
"""Disk space that a download leaves free, in bytes."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def download(
    name: str,
    source: str | None = None,
    offline: bool = False,
    on_progress: Callable[[DownloadProgress], None] | None = None,
    folder: Path | None = None,
) -> Downloaded:
    """Return the complete model `name`: from this machine if it is intact, else from the fastest hub or `source`.

    `folder` replaces tonghua's own folder; it must be empty or hold this model. Damaged downloads are repaired.
    `offline` or TONGHUA_OFFLINE opens no socket. Raises UsageError if the name is unknown, the hubs lack the model,
    it is not here while offline, or the folder cannot be used; RefusedError for damaged files or wrong bytes, unsafe
    listings, pickled weights and untrusted certificates; ResourceError if the disk is full; Stopped if the network
    fails (the received bytes are kept).
    """
    offline = offline or is_offline()
    chosen = hubs.sources(source)
    repository = hubs.repository(name)
    located = store.locate(name) if folder is None else _kept_in(folder, repository)
    present = _verified(located) if located else None
    if present is not None and not present.damaged:
        return _reused(present)
    if present is not None and (offline or present.model.origin in ("folder", "tiny")):
        store.on_disk(name if folder is None else str(folder))  # raises its own error for Git LFS pointers
        raise store.damaged_error(present)
    if is_tiny(name):
        raise UsageError(
            f"{TINY} 随 tonghua 一起装好，不用下载；要拷一份，它在 {tiny()}",
            f"{TINY} came with tonghua and need not be fetched; for a copy, it lies in {tiny()}",
        )
    if repository is None:
        raise no_such(name)
    if offline:
        raise not_here(name)
    target = folder.expanduser().absolute() if folder else store.folder_of(repository)
    tell = on_progress or (lambda progress: None)
    with _only_one(repository, target, tell) as waited:
        if waited and (target / MANIFEST).is_file():
            finished = _verified(Model(repository, target, "tonghua"))
            if not finished.damaged:
                return _reused(finished)
        if folder is not None:
            _require_own(target, repository)
        return _from_any(chosen, repository, target, tell)


def _verified(model: Model) -> Verified:
    try:
        return store.verify(model)
    except RefusedError:
        return Verified(model, (MANIFEST,), ())


def _reused(found: Verified) -> Downloaded:
    model = found.model
    own = model.has_manifest
    source = read_manifest(model.path).source if own else model.origin
    return Downloaded(model.name, model.path, source, 0, own or not found.unchecked, False, found.unchecked)


@contextmanager
def _only_one(repository: str, target: Path, tell: Callable[[DownloadProgress], None]) -> Iterator[bool]:
    """Yields True if another process held the lock and we waited. The OS frees the lock of a killed process."""
    waited = False
    try:
        target.mkdir(parents=True, exist_ok=True)
        lock = FileLock(store.lock_of(target))
        while True:
            try:
                lock.acquire(timeout=1.0 if waited else 0.0)
                break
            except Timeout:
                waited = True
                text = Text("另一个程序正在下载这个模型，等它结束", "another program is fetching this model; waiting")
                tell(DownloadProgress(repository, "", "", 0, 0, 0.0, text))
    except OSError as error:
        raise _disk_error(target, error) from None
    try:
        yield waited
    finally:
        lock.release()


def _kept_in(folder: Path, repository: str | None) -> Model | None:
    """Return the model in a folder of the user's choice; None if no earlier download put this model there."""
    path = folder.expanduser().absolute()
    if repository is None or not (path / MANIFEST).is_file():
        return None
    try:
        return Model(repository, path, "tonghua") if read_manifest(path).model == repository else None
    except RefusedError:
        return None


def _require_own(target: Path, repository: str) -> None:
    """Raise UsageError if the folder holds the user's own files: a download must not overwrite them."""
    names = {entry.name for entry in target.iterdir() if not entry.name.startswith(".")}
    if names and UNFINISHED not in names and _kept_in(target, repository) is None:
        raise UsageError(
            f"文件夹 {target} 里已有别的文件；请换一个空文件夹来放模型",
            f"the folder {target} holds other files; choose an empty one for the model",
        )


def _from_any(
    sources: Sequence[HubSource], repository: str, target: Path, tell: Callable[[DownloadProgress], None]
) -> Downloaded:
    """Download from the first source that can deliver. Later sources must list the same weights as the first."""
    line = HubLine(repository, tell)
    faults: list[tuple[HubSource, FaultyError]] = []
    promised: dict[str, str | None] | None = None
    order = _nearest_first(sources, line)
    for source in order:
        try:
            plan = find_delivery(line, source, repository)
            if promised not in (None, plan.weights):
                raise FaultyError(
                    RefusedError,
                    Text("的权重与前一个下载源的不同", "has weights other than those of the source before"),
                    Text(
                        f"如果信得过它，请写 --source {source.name}", f"if you trust it, write --source {source.name}"
                    ),
                )
            promised = plan.weights
            return _transfer(line, plan, target)
        except FaultyError as fault:
            faults.append((source, fault))
            if source is not order[-1]:
                zh, en = f"{source.title} {fault.what.zh}", f"{source.title} {fault.what.en}"
                line.ask(Text(f"{zh}，换一个下载源", f"{en}; trying another source"))
    raise _summary(repository, faults)


def _summary(repository: str, faults: Sequence[tuple[HubSource, FaultyError]]) -> UserError:
    """Combine the faults of all sources in one error. Its type and remedy come from the gravest fault."""
    # Stopped before UsageError: the hub that could not be reached may have what another hub lacks.
    gravity = (RefusedError, Stopped, UsageError)
    _, gravest = min(faults, key=lambda pair: gravity.index(pair[1].kind))
    zh = "；".join(f"{source.title} {fault.what.zh}" for source, fault in faults)
    en = "; ".join(f"{source.title} {fault.what.en}" for source, fault in faults)
    mend = gravest.mend
    if gravest.kind is Stopped:
        mend = Text(f"{mend.zh}；{MEANWHILE.zh}", f"{mend.en}; {MEANWHILE.en}")
    return gravest.kind(
        f"{repository} 没有下载成：{zh}；{mend.zh}",
        f"{repository} could not be downloaded: {en}; {mend.en}",
    )


def answer_seconds(sources: Sequence[HubSource]) -> dict[str, float]:
    """Return the response time of each source in seconds, by name. Probes all at once and omits late ones.

    Raises UsageError if the certificate file that the environment names cannot be read.
    """
    return _seconds_by_name(sources, HubLine("", lambda progress: None))


def _seconds_by_name(sources: Sequence[HubSource], line: "HubLine") -> dict[str, float]:
    taken_s: dict[str, float] = {}

    def knock(source: HubSource) -> None:
        began = monotonic()
        if line.answers(source):
            taken_s[source.name] = monotonic() - began

    # Daemon threads: a DNS lookup can hang, and it must not delay the end of the program.
    threads = [threading.Thread(target=knock, args=(source,), daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    last = monotonic() + PROBE_S
    for thread in threads:
        thread.join(max(0.0, last - monotonic()))
    return dict(taken_s)


def _nearest_first(sources: Sequence[HubSource], line: "HubLine") -> list[HubSource]:
    """Sort the sources: those that answer, fastest first but the mirror last; then those that do not answer."""
    if len(sources) == 1:
        return list(sources)
    line.ask(Text("看哪个下载源先回应", "looking which source answers first"))
    heard = _seconds_by_name(sources, line)
    return sorted(sources, key=lambda s: (s.name not in heard, s.name == "mirror", heard.get(s.name, 0.0)))


def _transfer(line: "HubLine", plan: Delivery, target: Path) -> Downloaded:
    """Download all files of a plan. Keep files that are already there if their hash agrees."""
    try:
        # From here until the manifest is written, the folder does not count as a model.
        (target / UNFINISHED).touch()
        (target / MANIFEST).unlink(missing_ok=True)
        kept = {entry.name: record for entry in plan.entries if (record := _kept_file(target / entry.name, entry))}
        line.begin(plan, sum(record.size for record in kept.values()))
        _require_space(plan, target, kept)
        files = {entry.name: kept.get(entry.name) or line.file(plan.source, entry, target) for entry in plan.entries}
        line.end()
        unchecked = tuple(entry.name for entry in plan.entries if not entry.is_known)
        write_manifest(target, Manifest(plan.model, plan.source.name, plan.revision, files, unchecked))
    except OSError as error:
        raise _disk_error(target, error) from None
    resumed = line.fetched_bytes < plan.size_bytes
    return Downloaded(plan.model, target, plan.source.name, line.fetched_bytes, True, resumed, unchecked)


def _kept_file(file: Path, entry: ListedFile) -> FileRecord | None:
    if not entry.is_known or not file.is_file() or file.stat().st_size != entry.size:
        return None
    digest = Digest(entry)
    digest.read(file)
    return FileRecord(entry.size, digest.sha256) if digest.agrees else None


def _require_space(plan: Delivery, target: Path, kept: dict[str, FileRecord]) -> None:
    parts = sum(part.stat().st_size for part in target.glob("*.part"))
    needed = plan.size_bytes - sum(record.size for record in kept.values()) - parts + SPARE_BYTES
    free = shutil.disk_usage(target).free
    if free < needed:
        raise ResourceError(
            f"磁盘空间不够：下载 {plan.model} 还需要 {needed / 1e6:.0f} MB，"
            f"{target} 所在的磁盘只剩 {free / 1e6:.0f} MB；"
            "请腾出空间，或把 TONGHUA_HOME 设为别的磁盘上的文件夹",
            f"not enough disk space: {plan.model} needs {needed / 1e6:.0f} MB more, but the disk of {target} has "
            f"{free / 1e6:.0f} MB left; free some, or set TONGHUA_HOME to a folder on another disk",
        )


def _disk_error(target: Path, error: OSError) -> UserError:
    reason = error.strerror or type(error).__name__
    if error.errno in _FULL:
        return ResourceError(
            f"{target} 所在的磁盘写满了（{reason}）；请腾出空间再运行一次，会从断开的地方继续",
            f"the disk of {target} is full ({reason}); free some space and run it again, it resumes from there",
        )
    return UsageError(
        f"无法写入文件夹 {target}（{reason}）；请检查权限，或把 TONGHUA_HOME 设为可写的文件夹",
        f"the folder {target} cannot be written ({reason}); check its permissions, or set TONGHUA_HOME to one that can",
    )
