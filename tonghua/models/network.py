"""HTTP requests to one hub at a time: limited in time, size and redirects, retried if that can help."""

import email.utils
import http.client
import json
import random
import re
import ssl
import urllib.request
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any, NoReturn
from urllib.parse import urlsplit

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
from .hubs import LOOPBACK, HubSource, certificate_file
from .manifest import FileRecord
from .part import BLOCK_BYTES, PartialFile

PROBE_S = 2.0
"""Timeout to find out whether a source answers, in seconds."""

TIMEOUT_S = 20.0

ATTEMPTS = 5
"""Failed attempts in a row, without a new byte, before trying the next source."""

BACKOFF_S = 1.0
"""Maximum pause after the first failed attempt, in seconds; it doubles each time, up to 30 s."""

LONGEST_WAIT_S = 120.0
"""Maximum pause between two attempts, in seconds. If a hub asks for more, the next source is tried."""

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


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects only to https or between addresses of this machine, so never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        local = old.scheme == "http" and new.scheme == "http" and new.hostname in LOOPBACK
        if new.scheme != "https" and not local:
            raise FaultyError(
                RefusedError,
                Text("想转到没有加密的网址，已拒绝", "redirects to an address without encryption, which was refused"),
                ELSEWHERE,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


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
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Redirects())

    def begin(self, plan: Delivery, kept_bytes: int) -> None:
        """Start the progress of a plan, of which `kept_bytes` are on disk already."""
        self._progress = DownloadProgress(plan.model, plan.source.name, "", kept_bytes, plan.size_bytes, 0.0)

    def end(self) -> None:
        """Report the final progress without waiting for REPORT_S."""
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
            with self._opener.open(request, timeout=PROBE_S):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return True
        except (OSError, http.client.HTTPException, FaultyError):
            return False

    def _open(self, source: HubSource, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
        """Return the response to one GET. Raises only PassingError and FaultyError."""
        # The address comes from hubs.sources, so it is https or loopback; redirects obey the same rule.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        request.add_header("User-Agent", f"tonghua/{__version__}")
        request.add_header("Accept-Encoding", "identity")
        if source.token:
            # urllib sends an "unredirected" header only to this address, never along a redirect.
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
            raise web_page()
        return answer

    def _patiently(self, source: HubSource, attempt: Callable[[], Any]) -> Any:
        """Return the attempt's value. Retry temporary errors after growing pauses; a new byte resets the count."""
        failed, fetched = 0, self.fetched_bytes
        while True:
            try:
                return attempt()
            except PassingError as passing:
                failed = 1 if self.fetched_bytes > fetched else failed + 1
                fetched = self.fetched_bytes
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
            raise web_page() if _is_page(told) else odd_answer() from None

    def file(self, source: HubSource, entry: ListedFile, target: Path) -> FileRecord:
        """Download one file into `target`, resuming an earlier part of the same content; return size and sha256.

        Raises FaultyError if the source fails or the content does not match the listing.
        """
        part = PartialFile(target, entry)
        self._progress = replace(self._progress, file=entry.name)
        began = part.digest.size
        self._report(began)
        if began != entry.size:
            self._patiently(source, lambda: self._receive(source, part))
        if began and not part.digest.agrees:
            # The earlier part may be damaged on disk: try once more from the start.
            self._clear(part)
            self._patiently(source, lambda: self._receive(source, part))
        if part.digest.agrees:
            return part.finish()
        self._clear(part)
        what = Text(f"的 {entry.name} 与它公布的 sha256 不符", f"sends a {entry.name} that does not fit its own hash")
        raise FaultyError(RefusedError, what, ELSEWHERE)

    def _clear(self, part: "PartialFile") -> None:
        self._report(-part.digest.size)
        part.clear()

    def _receive(self, source: HubSource, part: "PartialFile") -> None:
        """Complete a part with one request. Raises PassingError if fewer bytes arrive than promised."""
        if not part.entry.is_known:
            self._clear(part)
        try:
            answer = self._open(source, part.entry.url, part.range_headers())
        except RangeError:
            self._clear(part)
            raise
        with answer:
            start = _start_of(answer, part.entry)
            if start not in (0, part.digest.size):
                self._clear(part)
                raise PassingError("给的不是所要的那一段", "sends another part than was asked for")
            if start == 0:
                self._clear(part)
                part.begin(answer.headers.get("ETag"))
            self._pour(answer, part)

    def _pour(self, answer: http.client.HTTPResponse, part: "PartialFile") -> None:
        since, bytes_then = monotonic(), self.fetched_bytes
        entry = part.entry
        limit = UNSIZED_LIMIT_BYTES if entry.size is None else entry.size
        with part.file.open("ab") as file:
            while block := _read(answer):
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
                now = monotonic()
                if now - since >= SLOW_WINDOW_S:
                    if self.fetched_bytes - bytes_then < SLOW_BYTES_PER_S * (now - since):
                        slow = Text("太慢了", "is too slow")
                        raise FaultyError(Stopped, slow, AGAIN)
                    since, bytes_then = now, self.fetched_bytes
        if answer.length or entry.size not in (None, part.digest.size):
            raise PassingError("的连接中断了", "broke the connection")


def _start_of(answer: http.client.HTTPResponse, entry: ListedFile) -> int:
    """Return the offset in the file at which a response begins. Raises FaultyError if the size is not the listed one.

    ModelScope answers a range request with status 200 and a Content-Range, so the header decides.
    """
    told = answer.headers.get("Content-Range")
    length = answer.length
    start, size = 0, length
    if told is not None or answer.status == HTTPStatus.PARTIAL_CONTENT:
        found = _CONTENT_RANGE.fullmatch(told or "")
        if found is None:
            raise wrong_size(entry)
        start, size = int(found[1]), int(found[3])
    if None not in (entry.size, size) and size != entry.size:
        raise wrong_size(entry)
    return start


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        _raise_network(error)


def _is_page(start: bytes) -> bool:
    return start[:200].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _raise_status(code: int, retry_after: str | None) -> NoReturn:
    if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        raise RangeError("给不出所要的那一段", "has no such part of the file")
    if code == HTTPStatus.NETWORK_AUTHENTICATION_REQUIRED:
        raise web_page()
    if code in (408, 425, 429) or code >= 500:
        raise PassingError(f"回答 HTTP {code}", f"answers HTTP {code}", _asked_wait_s(retry_after))
    if code == HTTPStatus.NOT_FOUND:
        raise FaultyError(
            UsageError,
            Text("没有这个模型或文件", "has no such model or file"),
            Text("请检查名字", "check the name"),
        )
    if code in (401, 403):
        raise FaultyError(
            UsageError,
            Text(f"拒绝访问（HTTP {code}）", f"denies access (HTTP {code})"),
            Text(
                "如果这个模型要先同意许可，请在网站上同意，并把令牌设到 HF_TOKEN；否则请检查名字",
                "if the model asks for consent to a licence, give it on the site and set HF_TOKEN; else check the name",
            ),
        )
    raise FaultyError(Stopped, Text(f"回答 HTTP {code}", f"answers HTTP {code}"), ELSEWHERE)


def _asked_wait_s(retry_after: str | None) -> float | None:
    """Return Retry-After in seconds; the header is a number or a date (RFC 9110, section 10.2.3)."""
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
    """Raise the error for a failed connection: final for an untrusted certificate, temporary for all else."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, ssl.SSLCertVerificationError):
        raise FaultyError(
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
        raise PassingError("没有回应", "does not answer")
    detail = (reason.strerror if isinstance(reason, OSError) else None) or type(reason).__name__
    raise PassingError(f"连接失败（{detail}）", f"cannot be reached ({detail})")
