"""A model's files from a hub to this machine, each compared with the hash that the hub told.

    sources ──► listing ──► plan ──► <file>.part ──► <file> ──► MANIFEST.json
    nearest     names,      only     goes on after    its        last of all: only now
    first       sizes,      what a   a break or a     sha256     is the model whole
                hashes      model    kill             agrees
                            needs

One small fetcher serves both hubs. Their own libraries cannot: huggingface_hub since 1.18 starts a file anew in
each process and compares its size alone, and neither goes on with what the other has begun.
Nothing is printed here; `on_progress` is told what happens.
"""

import email.utils
import errno
import hashlib
import http.client
import json
import os
import random
import re
import shutil
import ssl
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any, NoReturn
from urllib.parse import quote, urlsplit

from filelock import FileLock, Timeout

from . import hub
from .errors import RefusedError, ResourceError, Stopped, UsageError, UserError
from .hub import WEIGHT_SUFFIX, FileRecord, Manifest, Model, Source, Verified
from .shipped import TINY, is_tiny, tiny
from .system.environment import is_offline
from .text import Text
from .version import __version__

PROBE_S = 2.0
TIMEOUT_S = 20.0
ATTEMPTS = 5
BACKOFF_S = 1.0
LONGEST_WAIT_S = 120.0
"""Between two attempts. A hub that asks for a longer pause is left for the next source."""

SLOW_WINDOW_S = 30.0
SLOW_BYTES_PER_S = 10_000
BLOCK_BYTES = 262_144
LISTING_LIMIT_BYTES = 10_000_000
UNSIZED_LIMIT_BYTES = 10_000_000
SPARE_BYTES = 100_000_000
"""Disk space that a download leaves free."""

REPORT_S = 0.2
RATE_WINDOW_S = 5.0

_WANTED = re.compile(
    r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|config\.json|generation_config\.json"
    r"|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|added_tokens\.json|vocab\.json|merges\.txt"
    r"|chat_template\.(jinja|json)|README\.md|(LICENSE|LICENCE|NOTICE)[A-Za-z0-9._-]{0,40}"
)
_PICKLED = re.compile(r".*\.(bin|pt|pth|ckpt|pkl)")
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download is. While it waits, `waiting` says for what; no byte flows then."""

    model: str
    source: str
    file: str
    done_bytes: int
    total_bytes: int
    bytes_per_s: float
    waiting: Text | None = None

    @property
    def remaining_s(self) -> float | None:
        """Seconds to the end at the present speed, None while there is none."""
        return (self.total_bytes - self.done_bytes) / self.bytes_per_s if self.bytes_per_s else None


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A model on this machine, and what it took: `bytes` came over the network in this call.

    `verified`: the sha256 of every file agrees with what the hub told, but for `unchecked` ones, small files of
    which it told none. A folder or a cache without hashes is not verified. `resumed`: earlier bytes were used.
    """

    model: str
    path: Path
    source: str
    bytes: int
    verified: bool
    resumed: bool
    unchecked: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        named = ("model", "path", "source", "bytes", "verified", "resumed")
        return {name: getattr(self, name) for name in named} | {"path": str(self.path)}


@dataclass(frozen=True, slots=True)
class Entry:
    """A file as a hub lists it. `git_sha1` is what Hugging Face tells of small files instead of a sha256."""

    name: str
    url: str
    size: int | None
    sha256: str | None = None
    git_sha1: str | None = None

    @property
    def is_weight(self) -> bool:
        return self.name.endswith(WEIGHT_SUFFIX)

    @property
    def is_known(self) -> bool:
        return self.size is not None and (self.sha256 or self.git_sha1) is not None


@dataclass(frozen=True, slots=True)
class Plan:
    """What one source would deliver, small files first."""

    model: str
    source: Source
    revision: str
    entries: tuple[Entry, ...]

    @property
    def weights(self) -> dict[str, str | None]:
        return {entry.name: entry.sha256 for entry in self.entries if entry.is_weight}

    @property
    def size_bytes(self) -> int:
        return sum(entry.size or 0 for entry in self.entries)


class _FaultyError(Exception):
    """This source cannot deliver; another one may."""

    def __init__(self, kind: type[UserError], what: Text, mend: Text):
        super().__init__(what.en)
        self.kind, self.what, self.mend = kind, what, mend


class _PassingError(Exception):
    """Worth another attempt at the same source, after `wait_s` if it asks for that."""

    def __init__(self, zh: str, en: str, wait_s: float | None = None):
        super().__init__(en)
        self.what, self.wait_s = Text(zh, en), wait_s


AGAIN = Text(
    "已下载的部分保留着，网络恢复后再运行一次，会从断开的地方继续",
    "what has come is kept; run it again when the network is back, and it goes on from there",
)
ELSEWHERE = Text("请换一个下载源（--source），或稍后再试", "take another source (--source), or try again later")


def download(
    name: str,
    source: str | None = None,
    offline: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    folder: Path | None = None,
) -> Downloaded:
    """The model `name`, whole: what is on this machine if it is sound, else from the nearest hub or from `source`.

    `folder` takes the place of tonghua's own folder and is written anew. `offline`, or TONGHUA_OFFLINE, opens no
    socket. Damaged files of tonghua's own are fetched again. Raises UsageError for what has no such name, is not
    there, or is not here while offline; RefusedError for wrong bytes, hostile listings, pickled weights and
    untrusted certificates; ResourceError for a full disk; Stopped where the network fails, with what has come kept.
    """
    offline = offline or is_offline()
    chosen = hub.sources(source)
    repository = hub.repository(name)
    located = hub.locate(name) if folder is None else _kept_in(folder, repository)
    present = _verified(located) if located else None
    if present is not None and not present.damaged:
        return _reused(present)
    if present is not None and (offline or present.model.origin in ("folder", "tiny")):
        hub.on_disk(name if folder is None else str(folder))  # tells of git-lfs pointers in words of their own
        raise hub.damaged_error(present)
    if is_tiny(name):
        raise UsageError(
            f"{TINY} 随 tonghua 一起装好，不用下载；要拷一份，它在 {tiny()}",
            f"{TINY} came with tonghua and need not be fetched; for a copy, it lies in {tiny()}",
        )
    if repository is None:
        raise hub.no_such(name)
    if offline:
        raise hub.not_here(name)
    target = folder.expanduser().absolute() if folder else hub.folder_of(repository)
    tell = on_progress or (lambda progress: None)
    with _only_one(repository, target, tell) as waited:
        if waited and (target / hub.MANIFEST).is_file():
            finished = _verified(Model(repository, target, "tonghua"))
            if not finished.damaged:
                return _reused(finished)
        if folder is not None:
            _require_own(target, repository)
        return _from_any(chosen, repository, target, tell)


def fetch_if_needed(model: str | None) -> Path:
    """The folder of `model`, ready to be scanned: what is on this machine, else what its name downloads.

    Raises what `hub.on_disk` and `download` raise.
    """
    return hub.on_disk(model) or download(str(model)).path


def _verified(model: Model) -> Verified:
    try:
        return hub.verify(model)
    except RefusedError:
        return Verified(model, (hub.MANIFEST,), ())


def _reused(found: Verified) -> Downloaded:
    model = found.model
    own = model.has_manifest
    source = hub.read_manifest(model.path).source if own else model.origin
    return Downloaded(model.name, model.path, source, 0, own or not found.unchecked, False, found.unchecked)


@contextmanager
def _only_one(repository: str, target: Path, tell: Callable[[Progress], None]) -> Iterator[bool]:
    """Whether another process was at it, waited for. The system frees the lock of a process that was killed."""
    waited = False
    try:
        target.mkdir(parents=True, exist_ok=True)
        lock = FileLock(hub.lock_of(target))
        while True:
            try:
                lock.acquire(timeout=1.0 if waited else 0.0)
                break
            except Timeout:
                waited = True
                text = Text("另一个程序正在下载这个模型，等它结束", "another program is fetching this model; waiting")
                tell(Progress(repository, "", "", 0, 0, 0.0, text))
    except OSError as error:
        raise _disk_error(target, error) from None
    try:
        yield waited
    finally:
        lock.release()


def _kept_in(folder: Path, repository: str | None) -> Model | None:
    """The model in a folder of the user's choice, if an earlier download put this one there."""
    path = folder.expanduser().absolute()
    if repository is None or not (path / hub.MANIFEST).is_file():
        return None
    try:
        return Model(repository, path, "tonghua") if hub.read_manifest(path).model == repository else None
    except RefusedError:
        return None


def _require_own(target: Path, repository: str) -> None:
    """Files of the user's, such as a README.md, must not be overwritten."""
    names = {entry.name for entry in target.iterdir() if not entry.name.startswith(".")}
    if names and hub.UNFINISHED not in names and _kept_in(target, repository) is None:
        raise UsageError(
            f"文件夹 {target} 里已有别的文件；请换一个空文件夹来放模型",
            f"the folder {target} holds other files; choose an empty one for the model",
        )


def _from_any(sources: Sequence[Source], repository: str, target: Path, tell: Callable[[Progress], None]) -> Downloaded:
    """From the first source that delivers. The weights that the first listing promised bind those after it."""
    line = _Line(repository, tell)
    faults: list[tuple[Source, _FaultyError]] = []
    promised: dict[str, str | None] | None = None
    for source in _nearest_first(sources, line):
        try:
            plan = _plan(line, source, repository)
            if promised not in (None, plan.weights):
                raise _FaultyError(
                    RefusedError,
                    Text("的权重与前一个下载源的不同", "has weights other than those of the source before"),
                    Text(
                        f"如果信得过它，请写 --source {source.name}", f"if you trust it, write --source {source.name}"
                    ),
                )
            promised = plan.weights
            return _transfer(line, plan, target)
        except _FaultyError as fault:
            faults.append((source, fault))
    raise _summary(repository, faults)


def _summary(repository: str, faults: Sequence[tuple[Source, _FaultyError]]) -> UserError:
    """One line for all sources; its kind and its mend are those of the gravest fault."""
    # What one hub lacks, the one that could not be reached may have.
    gravity = (RefusedError, Stopped, UsageError)
    _, gravest = min(faults, key=lambda pair: gravity.index(pair[1].kind))
    zh = "；".join(f"{source.title} {fault.what.zh}" for source, fault in faults)
    en = "; ".join(f"{source.title} {fault.what.en}" for source, fault in faults)
    mend = gravest.mend
    if gravest.kind is Stopped:
        mend = Text(f"{mend.zh}；{hub.MEANWHILE.zh}", f"{mend.en}; {hub.MEANWHILE.en}")
    return gravest.kind(
        f"{repository} 没有下载成：{zh}；{mend.zh}",
        f"{repository} could not be downloaded: {en}; {mend.en}",
    )


def answer_seconds(sources: Sequence[Source]) -> dict[str, float]:
    """How long each source took to answer, by its name; all are asked at once, and late ones are left out.

    Raises UsageError where the environment names certificates that cannot be read.
    """
    return _seconds_by_name(sources, _Line("", lambda progress: None))


def _seconds_by_name(sources: Sequence[Source], line: "_Line") -> dict[str, float]:
    taken_s: dict[str, float] = {}

    def knock(source: Source) -> None:
        began = monotonic()
        if line.answers(source):
            taken_s[source.name] = monotonic() - began

    # Daemons: looking up a name can hang longer than anyone would wait for the program to end.
    threads = [threading.Thread(target=knock, args=(source,), daemon=True) for source in sources]
    for thread in threads:
        thread.start()
    last = monotonic() + PROBE_S
    for thread in threads:
        thread.join(max(0.0, last - monotonic()))
    return dict(taken_s)


def _nearest_first(sources: Sequence[Source], line: "_Line") -> list[Source]:
    """The sources that answer first in front, those that do not at the end; the mirror after the hub it mirrors."""
    if len(sources) == 1:
        return list(sources)
    heard = _seconds_by_name(sources, line)
    return sorted(sources, key=lambda s: (s.name not in heard, s.name == "mirror", heard.get(s.name, 0.0)))


def _plan(line: "_Line", source: Source, repository: str) -> Plan:
    """The files to fetch from this source, small ones first. Raises RefusedError for a hostile listing."""
    revision, entries = (_modelscope if source.name == "modelscope" else _hugging_face)(line, source, repository)
    wanted = [entry for entry in entries if _WANTED.fullmatch(entry.name)]
    weights = [entry for entry in wanted if entry.is_weight]
    if not weights:
        pickled = next((entry.name for entry in entries if _PICKLED.fullmatch(entry.name)), None)
        raise _no_weights(pickled)
    present = {entry.name for entry in wanted}
    if len({name.casefold() for name in present}) < len(wanted):
        raise _hostile(source, repository, "有同名的文件", "two files of one name")
    missing = [name for name in ("config.json", "tokenizer.json") if name not in present]
    if missing:
        raise _FaultyError(
            RefusedError,
            Text(f"没有 {missing[0]}，这不是完整的语言模型", f"has no {missing[0]}: this is no whole language model"),
            Text("请换一个模型", "take another model"),
        )
    bare = next((entry.name for entry in weights if entry.sha256 is None or entry.size is None), None)
    if bare:
        raise _FaultyError(
            RefusedError,
            Text(f"没有给出权重 {bare} 的大小和 sha256", f"tells no size and sha256 of the weights {bare}"),
            ELSEWHERE,
        )
    wanted.sort(key=lambda entry: (entry.is_weight, entry.name))
    return Plan(repository, source, revision, tuple(wanted))


def _no_weights(pickled: str | None) -> _FaultyError:
    if pickled is None:
        what = Text("没有 safetensors 权重", "has no safetensors weights")
    else:
        what = Text(
            f"只有 pickle 格式的权重（{_short(pickled)}），这种文件能运行任意代码，不下载",
            f"has pickled weights alone ({_short(pickled)}), which can run any code and are not fetched",
        )
    mend = Text(
        "请换一个带 model.safetensors 的模型，例如 qwen2.5-0.5b",
        "take a model with model.safetensors, such as qwen2.5-0.5b",
    )
    return _FaultyError(RefusedError, what, mend)


def _hugging_face(line: "_Line", source: Source, repository: str) -> tuple[str, list[Entry]]:
    """The commit that `main` is now, and the files at the root of it (api/models/.../tree/<commit>)."""
    api = f"{source.endpoint}/api/models/{repository}"
    commit = _asked(line.json(source, f"{api}/revision/main"), "sha")
    if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise _odd_answer()
    entries = []
    for told in _list_of(line.json(source, f"{api}/tree/{commit}")):
        if told.get("type") == "directory":
            continue
        name = _safe_name(told.get("path"), source, repository)
        lfs: dict[str, Any] = told["lfs"] if isinstance(told.get("lfs"), dict) else {}
        url = f"{source.endpoint}/{repository}/resolve/{commit}/{quote(name)}"
        size, git = _size(lfs.get("size", told.get("size"))), None if lfs else _hex(told.get("oid"), 40)
        entries.append(Entry(name, url, size, _hex(lfs.get("oid"), 64), git))
    return commit, entries


def _modelscope(line: "_Line", source: Source, repository: str) -> tuple[str, list[Entry]]:
    """The files at the root of `master`. ModelScope pins no commit here; the sha256 of every file does instead."""
    api = f"{source.endpoint}/api/v1/models/{repository}/repo"
    answer = line.json(source, f"{api}/files?Revision=master&Recursive=False")
    entries = []
    for told in _list_of(_asked(_asked(answer, "Data"), "Files")):
        if told.get("Type") == "tree":
            continue
        name = _safe_name(told.get("Path"), source, repository)
        if str(told.get("Mode")) == str(0o120000):
            raise _hostile(source, repository, f"{name} 是一个链接", f"{name} is a link")
        url = f"{api}?Revision=master&FilePath={quote(name, safe='')}"
        entries.append(Entry(name, url, _size(told.get("Size")), _hex(told.get("Sha256"), 64)))
    return "master", entries


def _asked(value: Any, key: str) -> Any:
    if not isinstance(value, dict) or key not in value:
        raise _odd_answer()
    return value[key]


def _list_of(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _odd_answer()
    return value


def _odd_answer() -> _FaultyError:
    return _FaultyError(RefusedError, Text("的文件列表看不懂", "gives a listing that makes no sense"), ELSEWHERE)


def _size(told: Any) -> int | None:
    return told if type(told) is int and told >= 0 else None


def _hex(told: Any, digits: int) -> str | None:
    return told.lower() if isinstance(told, str) and re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", told) else None


def _safe_name(told: Any, source: Source, repository: str) -> str:
    """The listed path, if it stays in its folder on every system; one that does not condemns the listing."""
    parts = told.split("/") if isinstance(told, str) else [""]
    odd = not isinstance(told, str) or not told.isprintable() or set(told) & set('\\:*?"<>|')
    if odd or any(part in ("", ".", "..") or part[-1] in ". " or _DEVICE.fullmatch(part) for part in parts):
        raise _hostile(source, repository, f"文件名 {_short(told)} 不安全", f"the file name {_short(told)} is unsafe")
    return str(told)


def _short(told: Any) -> str:
    return ascii(told) if not isinstance(told, str) or not told.isprintable() else told[:80]


def _hostile(source: Source, repository: str, zh: str, en: str) -> RefusedError:
    return RefusedError(
        f"{source.title} 上 {repository} 的文件列表里{zh}，什么都没有下载；请换一个可信的模型或下载源",
        f"in the listing of {repository} at {source.title}, {en}; nothing was fetched, take a trusted model or source",
    )


def _transfer(line: "_Line", plan: Plan, target: Path) -> Downloaded:
    """All files of a plan; those already there are hashed and kept."""
    try:
        # From here until the end this folder is no model, whatever it was.
        (target / hub.UNFINISHED).touch()
        (target / hub.MANIFEST).unlink(missing_ok=True)
        kept = {entry.name: record for entry in plan.entries if (record := _kept_file(target / entry.name, entry))}
        line.begin(plan, sum(record.size for record in kept.values()))
        _require_space(plan, target, kept)
        files = {entry.name: kept.get(entry.name) or line.file(plan.source, entry, target) for entry in plan.entries}
        line.end()
        unchecked = tuple(entry.name for entry in plan.entries if not entry.is_known)
        hub.write_manifest(target, Manifest(plan.model, plan.source.name, plan.revision, files, unchecked))
    except OSError as error:
        raise _disk_error(target, error) from None
    resumed = line.fetched_bytes < plan.size_bytes
    return Downloaded(plan.model, target, plan.source.name, line.fetched_bytes, True, resumed, unchecked)


def _kept_file(file: Path, entry: Entry) -> FileRecord | None:
    if not entry.is_known or not file.is_file() or file.stat().st_size != entry.size:
        return None
    digest = _Digest(entry)
    digest.read(file)
    return FileRecord(entry.size, digest.sha256) if digest.agrees else None


def _require_space(plan: Plan, target: Path, kept: dict[str, FileRecord]) -> None:
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
            f"the disk of {target} is full ({reason}); free some space and run it again, it goes on from there",
        )
    return UsageError(
        f"无法写入文件夹 {target}（{reason}）；请检查权限，或把 TONGHUA_HOME 设为可写的文件夹",
        f"the folder {target} cannot be written ({reason}); check its permissions, or set TONGHUA_HOME to one that can",
    )


class _Digest:
    """The hashes of bytes as they come: sha256 always, and git's sha1 where the hub told that one."""

    def __init__(self, entry: Entry):
        self._entry = entry
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % (entry.size or 0), usedforsecurity=False)
        self.size = 0

    def update(self, block: bytes) -> None:
        self.size += len(block)
        self._sha256.update(block)
        if self._entry.git_sha1:
            self._git.update(block)

    def read(self, file: Path) -> None:
        with file.open("rb") as opened:
            while block := opened.read(BLOCK_BYTES):
                self.update(block)

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def agrees(self) -> bool:
        entry = self._entry
        return (
            entry.size in (None, self.size)
            and entry.sha256 in (None, self.sha256)
            and entry.git_sha1 in (None, self._git.hexdigest())
        )


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow to https, and between addresses of this machine; nowhere else, so never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        local = old.scheme == "http" and new.scheme == "http" and new.hostname in hub.LOOPBACK
        if new.scheme != "https" and not local:
            raise _FaultyError(
                RefusedError,
                Text("想转到没有加密的网址，已拒绝", "redirects to an address without encryption, which was refused"),
                ELSEWHERE,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Line:
    """The way to the network for one download: what has come, how fast, and how long to bear with faults."""

    def __init__(self, model: str, tell: Callable[[Progress], None]):
        self.fetched_bytes = 0
        self._tell = tell
        self._progress = Progress(model, "", "", 0, 0, 0.0)
        self._reported = 0.0
        self._recent = deque([(monotonic(), 0)])
        # Proxies come from the environment, certificates from the system and the environment; both are always on.
        context = ssl.create_default_context()
        authorities = hub.certificate_file()
        if authorities:
            try:
                context.load_verify_locations(authorities)
            except OSError as error:
                raise UsageError(
                    f"读不了证书文件 {authorities}（{error.strerror}）；请检查 REQUESTS_CA_BUNDLE 和 CURL_CA_BUNDLE",
                    f"the certificates {authorities} cannot be read ({error.strerror}); "
                    "check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE",
                ) from None
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Redirects())

    # What the caller is told.

    def begin(self, plan: Plan, kept_bytes: int) -> None:
        self._progress = Progress(plan.model, plan.source.name, "", kept_bytes, plan.size_bytes, 0.0)

    def end(self) -> None:
        self._reported = 0.0
        self._report()

    def _report(self, done_change: int = 0, waiting: Text | None = None) -> None:
        now = monotonic()
        self._progress = replace(self._progress, done_bytes=self._progress.done_bytes + done_change, waiting=waiting)
        if waiting is None and now - self._reported < REPORT_S:
            return
        self._reported = now
        self._recent.append((now, self.fetched_bytes))
        while len(self._recent) > 2 and now - self._recent[1][0] > RATE_WINDOW_S:
            self._recent.popleft()
        since, bytes_then = self._recent[0]
        rate = (self.fetched_bytes - bytes_then) / max(now - since, 1e-3)
        self._tell(replace(self._progress, bytes_per_s=0.0 if waiting else rate))

    # One request.

    def answers(self, source: Source) -> bool:
        """Whether anything that speaks HTTP answers there within the time of a probe."""
        try:
            request = urllib.request.Request(source.endpoint, method="HEAD")  # noqa: S310
            with self._opener.open(request, timeout=PROBE_S):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return True
        except (OSError, http.client.HTTPException, _FaultyError):
            return False

    def _open(self, source: Source, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """The answer to one GET. Raises _PassingError or _FaultyError, whatever goes wrong."""
        # The address is one of hub.sources, https or loopback, and redirects are held to the same.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        request.add_header("User-Agent", f"tonghua/{__version__}")
        request.add_header("Accept-Encoding", "identity")
        if source.token:
            # "Unredirected": urllib sends it to this address alone, to no other host and along no redirect.
            request.add_unredirected_header("Authorization", f"Bearer {source.token}")
        try:
            answer: http.client.HTTPResponse = self._opener.open(request, timeout=TIMEOUT_S)
        except urllib.error.HTTPError as error:
            with error:
                _raise_status(error.code, error.headers.get("Retry-After"))
        except (OSError, http.client.HTTPException) as error:
            _raise_network(error)
        if answer.headers.get_content_type() == "text/html":
            answer.close()
            raise _web_page()
        return answer

    def _patiently(self, source: Source, attempt: Callable[[], Any]) -> Any:
        """The attempt's value, with growing pauses after faults that pass; a new byte starts the count anew."""
        failed, fetched = 0, self.fetched_bytes
        while True:
            try:
                return attempt()
            except _PassingError as passing:
                failed = 1 if self.fetched_bytes > fetched else failed + 1
                fetched = self.fetched_bytes
                wait_s = min(BACKOFF_S * 2 ** (failed - 1), 30.0) * random.uniform(0.5, 1.0)  # noqa: S311
                wait_s = max(wait_s, passing.wait_s or 0.0)
                if failed >= ATTEMPTS or wait_s > LONGEST_WAIT_S:
                    raise _FaultyError(Stopped, passing.what, AGAIN) from None
                zh = f"{source.title} {passing.what.zh}，{wait_s:.0f} 秒后再试"
                en = f"{source.title} {passing.what.en}; next try in {wait_s:.0f} s"
                self._report(waiting=Text(zh, en))
                sleep(wait_s)

    def json(self, source: Source, url: str) -> Any:
        """What a hub's listing says."""
        self._progress = replace(self._progress, source=source.name)

        def attempt() -> bytes:
            with self._open(source, url, {}) as answer:
                try:
                    return answer.read(LISTING_LIMIT_BYTES)
                except (OSError, http.client.HTTPException) as error:
                    _raise_network(error)

        told = self._patiently(source, attempt)
        try:
            return json.loads(told)
        except (ValueError, RecursionError):
            raise _web_page() if _is_page(told) else _odd_answer() from None

    # One file.

    def file(self, source: Source, entry: Entry, target: Path) -> FileRecord:
        """Fetch one file and put it in its place; what had come of it before is kept if it is the same content."""
        part = _Part(target, entry)
        self._progress = replace(self._progress, file=entry.name)
        began = part.digest.size
        self._report(began)
        if began != entry.size:
            self._patiently(source, lambda: self._receive(source, part))
        if began and not part.digest.agrees:
            # The disk may have spoilt what was there before: once more, from the start.
            self._clear(part)
            self._patiently(source, lambda: self._receive(source, part))
        if part.digest.agrees:
            return part.finish()
        self._clear(part)
        what = Text(f"的 {entry.name} 与它公布的 sha256 不符", f"sends a {entry.name} that does not fit its own hash")
        raise _FaultyError(RefusedError, what, ELSEWHERE)

    def _clear(self, part: "_Part") -> None:
        self._report(-part.digest.size)
        part.clear()

    def _receive(self, source: Source, part: "_Part") -> None:
        """Bring a part to its end by one request. Raises _PassingError where less came than was promised."""
        if not part.entry.is_known:
            self._clear(part)
        try:
            answer = self._open(source, part.entry.url, part.range_headers())
        except _RangeError:
            self._clear(part)
            raise
        with answer:
            start = _start_of(answer, part.entry)
            if start not in (0, part.digest.size):
                self._clear(part)
                raise _PassingError("给的不是所要的那一段", "sends another part than was asked for")
            if start == 0:
                self._clear(part)
                part.begin(answer.headers.get("ETag"))
            self._pour(answer, part)

    def _pour(self, answer: http.client.HTTPResponse, part: "_Part") -> None:
        since, bytes_then = monotonic(), self.fetched_bytes
        entry = part.entry
        limit = UNSIZED_LIMIT_BYTES if entry.size is None else entry.size
        with part.file.open("ab") as file:
            while block := _read(answer):
                if part.digest.size + len(block) > limit:
                    raise _wrong_size(entry)
                if part.digest.size == 0 and _is_page(block):
                    raise _web_page()
                file.write(block)
                # What has come survives a kill of this process from here on.
                file.flush()
                part.digest.update(block)
                self.fetched_bytes += len(block)
                self._report(len(block))
                now = monotonic()
                if now - since >= SLOW_WINDOW_S:
                    if self.fetched_bytes - bytes_then < SLOW_BYTES_PER_S * (now - since):
                        slow = Text("太慢了", "is too slow")
                        raise _FaultyError(Stopped, slow, AGAIN)
                    since, bytes_then = now, self.fetched_bytes
        if answer.length or entry.size not in (None, part.digest.size):
            raise _PassingError("的连接中断了", "broke the connection")


class _Part:
    """The beginning of a file on disk, `<name>.part`, and beside it what it is the beginning of."""

    def __init__(self, target: Path, entry: Entry):
        self.entry = entry
        self.file = target / f"{entry.name}.part"
        self.note = target / f"{entry.name}.part.json"
        self.digest = _Digest(entry)
        self._content = {"size": entry.size, "sha256": entry.sha256, "git_sha1": entry.git_sha1}
        self._told: dict[str, Any] = {}
        try:
            self._told = dict(json.loads(self.note.read_text(encoding="utf-8")))
            size = self.file.stat().st_size
        except (OSError, ValueError, TypeError):
            size = 0
        # The same content may go on from another source: the hash of the whole decides in the end.
        same = entry.is_known and all(self._told.get(key) == value for key, value in self._content.items())
        if same and 0 < size <= (entry.size or 0):
            self.digest.read(self.file)
        else:
            self.clear()

    def clear(self) -> None:
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self.digest, self._told = _Digest(self.entry), {}

    def begin(self, etag: str | None) -> None:
        """Note what the bytes to come belong to, before the first of them is written."""
        self._told = {"url": self.entry.url, "etag": etag, **self._content}
        self.note.write_text(json.dumps(self._told), encoding="utf-8")

    def range_headers(self) -> dict[str, str]:
        """Ask for the rest alone, and for the whole file if it is no longer the one that was begun."""
        if not self.digest.size:
            return {}
        headers = {"Range": f"bytes={self.digest.size}-"}
        etag = self._told.get("etag")
        # A weak ETag ("W/...") says nothing of bytes, and one of another address nothing of this one.
        if isinstance(etag, str) and etag.startswith('"') and self._told.get("url") == self.entry.url:
            headers["If-Range"] = etag
        return headers

    def finish(self) -> FileRecord:
        with self.file.open("ab") as file:
            os.fsync(file.fileno())
        self.file.replace(self.file.with_name(self.entry.name))
        self.note.unlink(missing_ok=True)
        return FileRecord(self.digest.size, self.digest.sha256)


class _RangeError(_PassingError):
    """The hub has no such part of the file (HTTP 416)."""


def _start_of(answer: http.client.HTTPResponse, entry: Entry) -> int:
    """Where in the file an answer begins. Raises _FaultyError where it is not of the promised size.

    ModelScope answers a range with the status 200 and a Content-Range, so that the header decides.
    """
    told = answer.headers.get("Content-Range")
    length = answer.length
    start, size = 0, length
    if told is not None or answer.status == HTTPStatus.PARTIAL_CONTENT:
        found = _CONTENT_RANGE.fullmatch(told or "")
        if found is None:
            raise _wrong_size(entry)
        start, size = int(found[1]), int(found[3])
    if None not in (entry.size, size) and size != entry.size:
        raise _wrong_size(entry)
    return start


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        _raise_network(error)


def _is_page(start: bytes) -> bool:
    return start[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _web_page() -> _FaultyError:
    return _FaultyError(
        RefusedError,
        Text("给的是一个网页，不是文件", "sends a web page instead of the file"),
        Text(
            "校园网、酒店或公司网络可能要先登录：请用浏览器打开任意网页登录，再运行一次",
            "a campus, hotel or company network may want a login first: open any page in a browser, then run it again",
        ),
    )


def _wrong_size(entry: Entry) -> _FaultyError:
    what = Text(f"的 {entry.name} 与它公布的大小不符", f"sends a {entry.name} that is not of the size it told")
    return _FaultyError(RefusedError, what, ELSEWHERE)


def _raise_status(code: int, retry_after: str | None) -> NoReturn:
    if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise _RangeError("给不出所要的那一段", "has no such part of the file")
    if code == HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED:
        raise _web_page()
    if code in (408, 425, 429) or code >= 500:
        raise _PassingError(f"回答 HTTP {code}", f"answers HTTP {code}", _seconds(retry_after))
    if code == HTTPStatus.NOT_FOUND:
        raise _FaultyError(
            UsageError,
            Text("没有这个模型或文件", "has no such model or file"),
            Text("请检查名字", "check the name"),
        )
    if code in (401, 403):
        raise _FaultyError(
            UsageError,
            Text(f"拒绝访问（HTTP {code}）", f"denies access (HTTP {code})"),
            Text(
                "如果这个模型要先同意许可，请在网站上同意，并把令牌设到 HF_TOKEN；否则请检查名字",
                "if the model asks for consent to a licence, give it on the site and set HF_TOKEN; else check the name",
            ),
        )
    raise _FaultyError(Stopped, Text(f"回答 HTTP {code}", f"answers HTTP {code}"), ELSEWHERE)


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After in seconds: it is a number of them, or a date (RFC 9110, 10.2.3)."""
    if retry_after is None:
        return None
    try:
        return float(int(retry_after))
    except ValueError:
        pass
    try:
        return email.utils.parsedate_to_datetime(retry_after).timestamp() - time()
    except (ValueError, OverflowError):
        return None


def _raise_network(error: Exception) -> NoReturn:
    """Tell what a failed connection means: a certificate is not tried again, all else is."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise _FaultyError(
            RefusedError,
            Text(f"的证书不可信（{reason.verify_message}）", f"has an untrusted certificate ({reason.verify_message})"),
            Text(
                "请先登录网络并检查系统时间；公司网络请把它的根证书文件设到 SSL_CERT_FILE；"
                "macOS 上请运行 Python 自带的 Install Certificates.command",
                "log in to the network and check the clock; in a company, set SSL_CERT_FILE to its root certificate; "
                "on macOS, run the Install Certificates.command of Python",
            ),
        )
    if isinstance(reason, TimeoutError):
        raise _PassingError("没有回应", "does not answer")
    detail = (reason.strerror if isinstance(reason, OSError) else None) or type(reason).__name__
    raise _PassingError(f"连接失败（{detail}）", f"cannot be reached ({detail})")
