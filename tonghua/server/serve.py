"""Run a server until a signal: take a place, answer, then let running answers finish.

first Ctrl-C or SIGTERM    new requests get 503, running answers finish, at most `finish_s`
second                     all answers end before their next token
"""

import asyncio
import contextlib
import ipaddress
import os
import secrets
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from ..errors import UsageError
from ..text import Text
from .app import guarded_app
from .connections import protocol
from .guard import OnBug
from .limits import Limits
from .models import ServedModel, by_name
from .service import Service

KEY_CHARACTERS = (16, 512)
"""Minimum and maximum length of a key."""


def take_place(host: str, port: int, key: str | None) -> socket.socket:
    """Return a socket bound to host and port, before models are loaded, which takes long.

    Raises UsageError beyond this machine without a key, and if the port or the host cannot be had.
    """
    if key is None and not is_loopback(host):
        raise UsageError(
            f"--host {host} 让别的机器也能连上，必须有密钥；请加 --key-file 文件（没有这个文件就会新写一把）",
            f"--host {host} lets other machines in and needs a key; add --key-file FILE (a new key is written if there"
            " is no such file)",
        )
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        place = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _no_place(host, port, error) from None
    try:
        if sys.platform != "win32":  # there it would let a second program take the same port
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
    except OSError as error:
        place.close()
        raise _no_place(host, port, error) from None
    return place


def _no_place(host: str, port: int, error: OSError) -> UsageError:
    reason = error.strerror or error
    return UsageError(
        f"不能在 {host}:{port} 上等待连接（{reason}）；请换一个 --port 或 --host",
        f"cannot listen on {host}:{port} ({reason}); choose another --port or --host",
    )


def is_loopback(host: str) -> bool:
    """True if only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address_of(place: socket.socket) -> str:
    """Return the address of a server for a browser."""
    host, port = place.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def read_key(file: Path | None, given: str | None, tell: Callable[[Text], None]) -> str | None:
    """Return the key of a file, or else `given`, or None; a file that is not there is written with a new key.

    Raises UsageError if it cannot be read or written, or is no key.
    """
    if file is None:
        return None if given is None else _valid_key(given, "TONGHUA_KEY")
    try:
        with contextlib.suppress(FileExistsError):
            key = secrets.token_urlsafe(32)
            # Nobody else on this machine may read it, from the first moment on.
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as new:
                new.write(key + "\n")
            tell(Text(f"新的密钥写在 {file}", f"a new key was written to {file}"))
            return key
        with file.open(encoding="utf-8") as old:
            return _valid_key(old.read(KEY_CHARACTERS[1] + 2), str(file))
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or error) if isinstance(error, OSError) else error
        raise UsageError(
            f"读写不了密钥文件 {file}（{reason}）；请换一个", f"cannot use the key file {file} ({reason}); name another"
        ) from None


def _valid_key(text: str, where: str) -> str:
    key, (least, most) = text.strip(), KEY_CHARACTERS
    if not (least <= len(key) <= most and key.isascii() and key.isprintable() and " " not in key):
        raise UsageError(
            f"{where} 里的密钥要是一行 {least} 到 {most} 个英文字符，不含空格",
            f"the key in {where} must be one line of {least} to {most} ASCII characters without spaces",
        )
    return key


def known_hosts(host: str, more: Sequence[str]) -> list[str]:
    """Return the names that a Host header may have, besides addresses."""
    return ["localhost", socket.gethostname(), host, *more]


class Server(uvicorn.Server):
    """A server that finishes running answers before it ends."""

    def __init__(
        self, config: uvicorn.Config, service: Service, tell: Callable[[Text], None], on_ready: Callable[[], None]
    ):
        super().__init__(config)
        self._service, self._tell, self._on_ready = service, tell, on_ready
        self._asked = False
        self._finishing: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until `stop`."""
        self._loop = asyncio.get_running_loop()
        try:
            await super().serve(sockets)
        finally:
            self._service.stop()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Stop as a signal would; at the second call at once."""
        if self._asked:
            self._service.stop()
            self.should_exit = True
            return
        self._asked = True
        self._service.turns.close()
        if count := self._service.turns.running:
            self._tell(
                Text(
                    f"正在停下：还有 {count} 个回答没写完；再按一次 Ctrl-C 立刻停",
                    f"stopping: {count} answers are being finished; Ctrl-C again stops at once",
                )
            )
        self._finishing = asyncio.get_running_loop().create_task(self._finish())

    async def _finish(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._service.limits.finish_s):
                await self._service.turns.idle()
        self._service.stop()
        self.should_exit = True


def new_server(
    models: Sequence[ServedModel],
    hosts: Sequence[str],
    key: str | None,
    limits: Limits,
    tell: Callable[[Text], None],
    on_bug: OnBug,
    on_ready: Callable[[], None] = lambda: None,
) -> Server:
    """Return a server of these models; it calls `on_ready` when clients can connect.

    Raises UsageError if two models have one name.
    """
    service = Service(by_name(models), limits, on_bug)
    config = uvicorn.Config(
        guarded_app(service, hosts, key, on_bug),
        http=protocol(limits),
        ws="none",
        lifespan="off",
        # uvicorn's own logging would change that of the whole program, and its access log names clients.
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        h11_max_incomplete_event_size=limits.head_bytes,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
    return Server(config, service, tell, on_ready)
