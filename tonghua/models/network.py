"""HTTP requests to one hub at a time: limited in time, size and redirects, retried if that can help."""

import json
import math
import random
import re
import ssl
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from ..errors import RefusedError, Stopped, UsageError
from ..text import Text
from ..version import __version__
from .delivery import (
    AGAIN,
    ELSEWHERE,
    Delivery,
    DownloadProgress,
    FaultyError,
    ListedFile,
    PassingError,
    RangeError,
    odd_answer,
    web_page,
    wrong_size,
)
from .exchange import Exchange, Head, raise_status, too_slow
from .hubs import HubSource, certificate_file
from .manifest import FileRecord
from .part import PartialFile

PROBE_S = 2.0
"""Timeout to find out whether a source answers, in seconds."""

TIMEOUT_S = 20.0

ATTEMPTS = 5
"""Failed attempts in a row, without a new byte, before trying the next source."""

BACKOFF_S = 1.0
"""Maximum pause after the first failed attempt, in seconds; it doubles each time, up to 30 s."""

LONGEST_WAIT_S = 120.0
"""Maximum pause between two attempts, in seconds. If a hub asks for more, the next source is tried."""

ANSWER_S = 30.0
"""Maximum time until the headers of an answer are here, redirects included, in seconds."""

LISTING_S = 30.0
"""Maximum time for a whole listing, in seconds."""

SLOW_WINDOW_S = 30.0

SLOW_BYTES_PER_S = 10_000
"""Minimum average speed over SLOW_WINDOW_S; below it the next source is tried."""

LISTING_LIMIT_BYTES = 10_000_000

UNSIZED_LIMIT_BYTES = 10_000_000
"""Maximum size of a file for which the hub lists no size, in bytes."""

REPORT_S = 0.2
"""Minimum interval between two progress reports, in seconds."""

RATE_WINDOW_S = 5.0

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class _Pace:
    """Bytes and time of one file over all its requests; pauses between them do not count."""

    def __init__(self) -> None:
        self._since, self._active_s, self._bytes = monotonic(), 0.0, 0

    def start(self) -> None:
        """Begin the body of an answer; its headers have a limit of their own."""
        self._since = monotonic()

    def count(self, size_bytes: int = 0) -> None:
        """Count bytes that came. Raises FaultyError if a window of time has brought too few."""
        now = monotonic()
        self._active_s += now - self._since
        self._since = now
        self._bytes += size_bytes
        if self._active_s >= SLOW_WINDOW_S:
            if self._bytes < SLOW_BYTES_PER_S * self._active_s:
                raise too_slow()
            self._active_s, self._bytes = 0.0, 0


class HubLine:
    """The network connection of one download: counts received bytes, reports progress, retries errors."""

    def __init__(self, model: str, tell: Callable[[DownloadProgress], None]):
        self.fetched_bytes = 0
        self._tell = tell
        self._progress = DownloadProgress(model, "", "", 0, 0, 0.0)
        self._reported = 0.0
        self._recent = deque([(monotonic(), 0)])
        # Proxies come from the environment, certificates from the system and the environment; both always apply.
        context = ssl.create_default_context()
        authorities = certificate_file()
        if authorities:
            try:
                context.load_verify_locations(authorities)
            except OSError as error:
                raise UsageError(
                    f"读不了证书文件 {authorities}（{error.strerror}）；请检查 REQUESTS_CA_BUNDLE 和 CURL_CA_BUNDLE",
                    f"the certificates {authorities} cannot be read ({error.strerror}); "
                    "check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE",
                ) from None
        self._context = context

    def begin(self, plan: Delivery, kept_bytes: int) -> None:
        """Start the progress of a plan, of which `kept_bytes` are on disk already."""
        self._progress = DownloadProgress(plan.model, plan.source.name, "", kept_bytes, plan.size_bytes, 0.0)

    def end(self) -> None:
        """Report the final progress without waiting for REPORT_S."""
        self._reported = 0.0
        self._report()

    def ask(self, what: Text) -> None:
        """Report what is asked before the first file comes."""
        self._progress = replace(self._progress, asking=what)
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

    def answers(self, source: HubSource) -> bool:
        """True if the source answers with any HTTP status within PROBE_S."""
        try:
            request = urllib.request.Request(source.endpoint, method="HEAD")  # noqa: S310
            with closing(Exchange(request, self._context, PROBE_S)) as exchange:
                exchange.head(monotonic() + PROBE_S)
            return True
        except (FaultyError, PassingError):
            return False

    @contextmanager
    def _asked(self, source: HubSource, url: str, headers: dict[str, str]) -> Iterator[tuple[Exchange, Head]]:
        """Yield the answer to one GET. Raises only PassingError and FaultyError."""
        # The address comes from hubs.sources, so it is https or loopback; redirects obey the same rule.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        request.add_header("User-Agent", f"tonghua/{__version__}")
        request.add_header("Accept-Encoding", "identity")
        if source.token:
            # urllib sends an "unredirected" header only to this address, never along a redirect.
            request.add_unredirected_header("Authorization", f"Bearer {source.token}")
        with closing(Exchange(request, self._context, TIMEOUT_S)) as exchange:
            head = exchange.head(monotonic() + ANSWER_S, self._report)
            if head.status >= HTTPStatus.MULTIPLE_CHOICES:
                raise_status(head.status, head.headers.get("Retry-After"))
            if head.headers.get_content_type() == "text/html":
                raise web_page()
            yield exchange, head

    def _patiently(self, source: HubSource, attempt: Callable[[], Any]) -> Any:
        """Return the attempt's value. Retry temporary errors after growing pauses; good speed resets the count."""
        failed, fetched, since = 0, self.fetched_bytes, monotonic()
        while True:
            try:
                return attempt()
            except PassingError as passing:
                # A byte for each attempt would go on for ever, so what has come must be worth the time.
                gained, fetched = self.fetched_bytes - fetched, self.fetched_bytes
                worth, since = gained > SLOW_BYTES_PER_S * (monotonic() - since), monotonic()
                failed = 1 if worth else failed + 1
                wait_s = min(BACKOFF_S * 2 ** (failed - 1), 30.0) * random.uniform(0.5, 1.0)  # noqa: S311
                wait_s = max(wait_s, passing.wait_s or 0.0)
                if failed >= ATTEMPTS or wait_s > LONGEST_WAIT_S:
                    raise FaultyError(Stopped, passing.what, AGAIN) from None
                zh = f"{source.title} {passing.what.zh}，{wait_s:.0f} 秒后再试"
                en = f"{source.title} {passing.what.en}; next try in {wait_s:.0f} s"
                self._report(waiting=Text(zh, en))
                sleep(wait_s)

    def json(self, source: HubSource, url: str) -> Any:
        """Return the parsed JSON at `url`. Raises FaultyError if the source fails or sends no JSON."""
        self._progress = replace(self._progress, source=source.name)
        self.ask(Text(f"正在问 {source.title}", f"asking {source.title}"))

        def attempt() -> bytes:
            until = monotonic() + LISTING_S
            told = bytearray()
            with self._asked(source, url, {}) as (exchange, _):
                while block := exchange.next_block(until, self._report):
                    told += block
                    if len(told) > LISTING_LIMIT_BYTES:
                        raise odd_answer()
            return bytes(told)

        told = self._patiently(source, attempt)
        try:
            return json.loads(told)
        except (ValueError, RecursionError):
            raise web_page() if _is_page(told) else odd_answer() from None

    def file(self, source: HubSource, entry: ListedFile, target: Path) -> FileRecord:
        """Download one file into `target`, resuming an earlier part of the same content; return size and sha256.

        Raises FaultyError if the source fails or the content does not match the listing.
        """
        part = PartialFile(target, entry)
        self._progress = replace(self._progress, file=entry.name)
        began = part.digest.size
        self._report(began)
        pace = _Pace()
        if began != entry.size:
            self._patiently(source, lambda: self._receive(source, part, pace))
        if began and not part.digest.agrees:
            # The earlier part may be damaged on disk: try once more from the start.
            self._clear(part)
            self._patiently(source, lambda: self._receive(source, part, pace))
        if part.digest.agrees:
            return part.finish()
        self._clear(part)
        what = Text(f"的 {entry.name} 与它公布的 sha256 不符", f"sends a {entry.name} that does not fit its own hash")
        raise FaultyError(RefusedError, what, ELSEWHERE)

    def _clear(self, part: "PartialFile") -> None:
        self._report(-part.digest.size)
        part.clear()

    def _receive(self, source: HubSource, part: "PartialFile", pace: _Pace) -> None:
        """Complete a part with one request. Raises PassingError if fewer bytes arrive than promised."""
        if not part.entry.is_known:
            self._clear(part)
        try:
            with self._asked(source, part.entry.url, part.range_headers()) as (exchange, head):
                pace.start()
                start = _start_of(head, part.entry)
                if start not in (0, part.digest.size):
                    self._clear(part)
                    raise PassingError("给的不是所要的那一段", "sends another part than was asked for")
                if start == 0:
                    self._clear(part)
                    part.begin(head.headers.get("ETag"))
                self._pour(exchange, part, pace)
        except RangeError:
            self._clear(part)
            raise

    def _pour(self, exchange: Exchange, part: "PartialFile", pace: _Pace) -> None:
        def look() -> None:
            pace.count()
            self._report()

        entry = part.entry
        limit = UNSIZED_LIMIT_BYTES if entry.size is None else entry.size
        with part.file.open("ab") as file:
            while block := exchange.next_block(math.inf, look):
                if part.digest.size + len(block) > limit:
                    raise wrong_size(entry)
                if part.digest.size == 0 and _is_page(block):
                    raise web_page()
                file.write(block)
                # After the flush, the bytes survive a kill of this process.
                file.flush()
                part.digest.update(block)
                self.fetched_bytes += len(block)
                self._report(len(block))
                pace.count(len(block))
        if entry.size not in (None, part.digest.size):
            raise PassingError("的连接中断了", "broke the connection")


def _start_of(head: Head, entry: ListedFile) -> int:
    """Return the offset in the file at which a response begins. Raises FaultyError if the size is not the listed one.

    ModelScope answers a range request with status 200 and a Content-Range, so the header decides.
    """
    told = head.headers.get("Content-Range")
    start, size = 0, head.length
    if told is not None or head.status == HTTPStatus.PARTIAL_CONTENT:
        found = _CONTENT_RANGE.fullmatch(told or "")
        if found is None:
            raise wrong_size(entry)
        start, size = int(found[1]), int(found[3])
    if None not in (entry.size, size) and size != entry.size:
        raise wrong_size(entry)
    return start


def _is_page(start: bytes) -> bool:
    return start[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))
