"""One HTTP request, read by a thread of its own: no hub can hold up the caller, whatever it sends or withholds.

    caller                            thread
    answered(...)   <── headers ───── look up, connect, redirects
    next_block(...) <── blocks ────── the body, as it comes
    close()         ─── no socket ──► ends

A timeout of a socket bounds each wait for a byte. A byte every few seconds never meets it, and the headers, the
listing or the file never end. So the caller waits by its own clock and leaves the thread behind.
"""

import email.utils
import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from http import HTTPStatus
from queue import Empty, Full, Queue
from time import monotonic, time
from typing import Any, NoReturn
from urllib.parse import urlsplit

from ..errors import RefusedError, Stopped, UsageError
from ..text import Text
from .delivery import AGAIN, ELSEWHERE, FaultyError, PassingError, RangeError, web_page
from .hubs import LOOPBACK
from .part import BLOCK_BYTES

SLICE_S = 0.2
"""Maximum time that the caller waits at once, in seconds: on Windows, Ctrl-C does not end a longer wait."""

BLOCKS_AHEAD = 16
"""Blocks that the thread may read before the caller takes them."""


# ValueError: a number or an address in the answer is none.
_BROKEN = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an answer; `length`: the bytes that its body should have, if it tells.

    After a status that is an error, no body follows.
    """

    status: int
    headers: Message
    length: int | None


class Exchange:
    """A request on its way. `close` it, whatever happens."""

    def __init__(self, request: urllib.request.Request, context: ssl.SSLContext, silence_s: float):
        self._items: Queue[Any] = Queue(BLOCKS_AHEAD)
        self._closed = threading.Event()
        self._sockets: list[socket.socket] = []
        handlers = (_Plain(self._sockets), _Secure(self._sockets, context), _Redirects())
        self._opener = urllib.request.build_opener(*handlers)
        # A daemon: looking up a name can hang, and it must not delay the end of the program.
        threading.Thread(target=self._read, args=(request, silence_s), daemon=True).start()

    def _read(self, request: urllib.request.Request, silence_s: float) -> None:
        try:
            with self._opened(request, silence_s) as answer:
                self._put(Head(answer.status, answer.headers, answer.length))
                while block := _read(answer):
                    if not self._put(block):
                        return
                if answer.length:
                    raise PassingError("的连接中断了", "broke the connection")
                self._put(b"")
        except urllib.error.HTTPError as error:
            error.close()
            self._put(Head(error.code, error.headers, None))
        except Exception as error:  # raised again where the caller takes it
            self._put(error)

    def _opened(self, request: urllib.request.Request, silence_s: float) -> http.client.HTTPResponse:
        try:
            answer: http.client.HTTPResponse = self._opener.open(request, timeout=silence_s)
            return answer
        except urllib.error.HTTPError:
            raise
        except _BROKEN as error:
            _raise_network(error)

    def _put(self, item: object) -> bool:
        """Hand an item to the caller. Returns False if the caller has left."""
        while not self._closed.is_set():
            with suppress(Full):
                self._items.put(item, timeout=SLICE_S)
                return True
        return False

    def head(self, until: float, look: Callable[[], None] = lambda: None) -> Head:
        """Return the headers; call `look` while waiting.

        Raises what the request raised; FaultyError at `until`, a time of `monotonic`.
        """
        head = self._take(until, look)
        assert isinstance(head, Head)  # the first item that is no error
        return head

    def next_block(self, until: float, look: Callable[[], None] = lambda: None) -> bytes:
        """Return the next bytes of the body, empty at its end; call `look` while waiting. Raises as `head` does."""
        block = self._take(until, look)
        assert isinstance(block, bytes)
        return block

    def _take(self, until: float, look: Callable[[], None]) -> object:
        while True:
            left_s = until - monotonic()
            if left_s <= 0:
                raise too_slow()
            try:
                item = self._items.get(timeout=min(SLICE_S, left_s))
            except Empty:
                look()
                continue
            if isinstance(item, Exception):
                raise item
            return item

    def close(self) -> None:
        """End the request, even in the middle."""
        self._closed.set()
        for line in self._sockets:
            with suppress(OSError):
                # The method of the plain socket: that of TLS would wait for the other side.
                socket.socket.shutdown(line, socket.SHUT_RDWR)


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read1(BLOCK_BYTES)
    except _BROKEN as error:
        _raise_network(error)


def too_slow() -> FaultyError:
    """Return the error for a source that sends too little in the time that it gets."""
    return FaultyError(Stopped, Text("太慢了", "is too slow"), AGAIN)


class _Plain(urllib.request.HTTPHandler):
    """Notes the socket of each connection, so that another thread can shut it."""

    def __init__(self, sockets: list[socket.socket]):
        super().__init__()
        self._sockets = sockets

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        sockets = self._sockets

        class Connection(http.client.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                sockets.append(self.sock)

        return self.do_open(Connection, req)


class _Secure(urllib.request.HTTPSHandler):
    """The same for TLS."""

    def __init__(self, sockets: list[socket.socket], context: ssl.SSLContext):
        super().__init__(context=context)
        self._sockets, self._trusted = sockets, context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        sockets = self._sockets

        class Connection(http.client.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                sockets.append(self.sock)

        return self.do_open(Connection, req, context=self._trusted)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects only to https or between addresses of this machine, so never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        # urllib would read the body of a redirect to its end, into memory, however long it is.
        fp.close()
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        local = old.scheme == "http" and new.scheme == "http" and new.hostname in LOOPBACK
        if new.scheme != "https" and not local:
            raise FaultyError(
                RefusedError,
                Text("想转到没有加密的网址，已拒绝", "redirects to an address without encryption, which was refused"),
                ELSEWHERE,
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def raise_status(code: int, retry_after: str | None) -> NoReturn:
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
