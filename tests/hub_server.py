"""Both hubs on loopback, with every fault that they can have.

    GET /api/models/<id>/revision/main   /api/models/<id>/tree/<commit>   /<id>/resolve/<commit>/<file>   Hugging Face
    GET /api/v1/models/<id>/repo/files   /api/v1/models/<id>/repo?FilePath=                             ModelScope

A `Hub` is one server with one repository. Most of its fields are faults; a test sets the ones that it needs.
"""

import hashlib
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, unquote, urlsplit

from written_models import CONFIG, TOKENIZER, data_bytes, declared, laid_out, tensor_file, tensors

MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BLOCK_BYTES = 16_384


@dataclass
class Hub:
    """A repository and how it is served. `log` holds (method, path, headers) of each request, in order."""

    files: dict[str, bytes]
    log: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent_bytes: int = 0
    left: int = 0
    """Number of endless answers that the client has left."""
    endpoint: str = ""

    drop_after_bytes: list[int] = field(default_factory=list)
    """Number of bytes after which the connection ends, for each of the next requests of weights."""
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    """Status and headers that answer the next requests instead."""
    always: int | None = None
    etag: str = '"one"'
    without_ranges: bool = False
    ranges_as_200: bool = False
    wrong_range: bool = False
    page: bytes = b""
    redirect: Callable[[str], str] | None = None
    pause_s: float = 0.0
    pause_from_bytes: int = 0
    block_bytes: int = BLOCK_BYTES
    served: dict[str, bytes] = field(default_factory=dict)
    """Content to send instead of the listed content, by file name."""

    drip: Literal["headers", "redirect", "listing", "file", "chunks"] | None = None
    """What comes byte by byte, every `drip_s`, and never ends; of files, the weights."""
    drip_s: float = 0.02
    flood: Literal["listing", "redirect"] | None = None
    """What comes as fast as it can, and never ends."""

    answer_after_s: float = 0.0
    more: list[dict[str, Any]] = field(default_factory=list)
    """Further entries of each listing."""
    hide: tuple[str, ...] = ()
    """Keys to leave out of every listed file, of either hub."""

    def requests(self, text: str) -> list[tuple[str, str, dict[str, str]]]:
        """Return the logged requests whose path contains `text`."""
        return [entry for entry in self.log if text in entry[1]]

    @property
    def size_bytes(self) -> int:
        """Total size of the files, in bytes."""
        return sum(map(len, self.files.values()))


def listed_by_hugging_face(hub: Hub) -> list[dict[str, Any]]:
    """Return a git tree: weights are LFS files with a sha256, other files have the sha1 of git."""
    told: list[dict[str, Any]] = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "onnx"}]
    for name, content in hub.files.items():
        git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
        entry: dict[str, Any] = {"type": "file", "oid": git, "size": len(content), "path": name}
        if name.endswith((".safetensors", ".bin")):
            digest = hashlib.sha256(content).hexdigest()
            entry |= {"oid": "f" * 40, "lfs": {"oid": digest, "size": len(content), "pointerSize": 134}}
        told.append(entry)
    return [_without(entry, hub.hide) for entry in told] + hub.more


def listed_by_modelscope(hub: Hub) -> dict[str, Any]:
    """Return a listing with the sha256 of every file."""
    told: list[dict[str, Any]] = [{"Name": "onnx", "Path": "onnx", "Type": "tree", "Size": 0, "Sha256": ""}]
    for name, content in hub.files.items():
        entry = {"Name": name, "Path": name, "Type": "blob", "Mode": "33188", "Size": len(content)}
        told.append(entry | {"Sha256": hashlib.sha256(content).hexdigest(), "Revision": COMMIT})
    return {"Code": 200, "Success": True, "Data": {"Files": [_without(e, hub.hide) for e in told] + hub.more}}


def _without(entry: dict[str, Any], hidden: tuple[str, ...]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key not in hidden}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.hub.log.append(("HEAD", self.path, dict(self.headers)))
        time.sleep(self.hub.answer_after_s)
        self._answer(200, b"", {})

    def do_GET(self) -> None:
        hub = self.hub
        hub.log.append(("GET", self.path, dict(self.headers)))
        is_listing = self.path.endswith("/revision/main") or "/repo/files" in self.path
        if hub.drip == "headers":
            self._endless(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x", hub.drip_s)
            return
        if hub.drip == "redirect" or hub.flood == "redirect":
            start = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n"
            self._endless(start, b"x" if hub.drip else bytes(BLOCK_BYTES), hub.drip_s if hub.drip else 0.0)
            return
        if (hub.drip == "listing" or hub.flood == "listing") and is_listing:
            start = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n["
            self._endless(start, b" " if hub.drip else b" " * BLOCK_BYTES, hub.drip_s if hub.drip else 0.0)
            return
        if hub.drip in ("file", "chunks") and "model.safetensors" in self.path:
            kind = b"Transfer-Encoding: chunked\r\n\r\n" if hub.drip == "chunks" else b"\r\n"
            block = b"1\r\nx\r\n" if hub.drip == "chunks" else b"x"
            self._endless(b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n" + kind, block, hub.drip_s)
            return
        if hub.always or hub.statuses:
            status, headers = (hub.always, {}) if hub.always else hub.statuses.pop(0)
            self._answer(status, b"{}", headers)
            return
        if hub.page:
            self._answer(200, hub.page, {"Content-Type": "text/html; charset=utf-8"})
            return
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), parse_qs(parts.query)
        told: Any = None
        if path == f"/api/models/{MODEL}/revision/main":
            told = {"id": MODEL, "sha": COMMIT}
        elif path == f"/api/models/{MODEL}/tree/{COMMIT}":
            told = listed_by_hugging_face(hub)
        elif path == f"/api/v1/models/{MODEL}/repo/files":
            told = listed_by_modelscope(hub)
        if told is not None:
            self._answer(200, json.dumps(told).encode(), {"Content-Type": "application/json"})
        elif path == f"/api/v1/models/{MODEL}/repo":
            self._send_file(query["FilePath"][0])
        elif path.startswith((f"/{MODEL}/resolve/{COMMIT}/", "/cdn/")):
            self._send_file(path.rsplit("/", 1)[1])
        else:
            self._answer(404, b"{}", {"Content-Type": "application/json"})

    def _endless(self, start: bytes, block: bytes, pause_s: float) -> None:
        """Send the start, and the block again and again until the client has gone."""
        self.close_connection = True
        try:
            self.wfile.write(start)
            while True:
                self.wfile.write(block)
                self.hub.sent_bytes += len(block)
                time.sleep(pause_s)
        except OSError:
            self.hub.left += 1

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_file(self, name: str) -> None:
        hub = self.hub
        if hub.redirect and not self.path.startswith("/cdn/"):
            self._answer(302, b"", {"Location": hub.redirect(name)})
            return
        content = hub.served.get(name, hub.files[name])
        start = self._start()
        if start and start >= len(content):
            self._answer(416, b"", {"Content-Range": f"bytes */{len(content)}"})
            return
        headers = {"Content-Type": "application/octet-stream", "ETag": hub.etag}
        rest = content[start:]
        if start:
            told = start + 7 if hub.wrong_range else start
            headers["Content-Range"] = f"bytes {told}-{len(content) - 1}/{len(content)}"
        self.send_response(206 if start and not hub.ranges_as_200 else 200)
        for key, value in (headers | {"Content-Length": str(len(rest))}).items():
            self.send_header(key, value)
        self.end_headers()
        if hub.drop_after_bytes and name.endswith(".safetensors"):
            rest = rest[: hub.drop_after_bytes.pop(0)]
        self._pour(rest, start)

    def _start(self) -> int:
        asked = self.headers.get("Range", "")
        if self.hub.without_ranges or not asked or self.headers.get("If-Range", self.hub.etag) != self.hub.etag:
            return 0
        return int(asked.removeprefix("bytes=").removesuffix("-"))

    def _pour(self, rest: bytes, start: int) -> None:
        hub = self.hub
        for place in range(0, len(rest), hub.block_bytes):
            block = rest[place : place + hub.block_bytes]
            try:
                self.wfile.write(block)
            except OSError:  # the client was killed
                return
            hub.sent_bytes += len(block)
            if hub.pause_s and start + place >= hub.pause_from_bytes:
                time.sleep(hub.pause_s)
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: tests end connections on purpose."""


@contextmanager
def serving(hub: Hub, certificate: Path | None = None) -> Iterator[Hub]:
    """Serve the hub on a free port inside the block; `certificate`: a PEM file of key and certificate, for https."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    scheme = "http"
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        scheme = "https"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.endpoint = f"{scheme}://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def model_files(weight_bytes: int = 200_000) -> dict[str, bytes]:
    """Return the files of a repository that passes as a model, with about `weight_bytes` bytes of valid weights."""
    config = CONFIG | {"hidden_size": 64, "vocab_size": weight_bytes // 128}
    layout = laid_out(tensors(config))
    size = data_bytes(layout)
    return {
        "config.json": json.dumps(config).encode(),
        "generation_config.json": b"{}\n",
        "tokenizer.json": json.dumps(TOKENIZER).encode(),
        "tokenizer_config.json": b"{}\n",
        "merges.txt": "#version: 0.2\n床 前\n".encode(),
        "LICENSE": b"Apache License\n",
        "README.md": "# 模型\n".encode(),
        "model.safetensors": tensor_file(declared(layout), (bytes(range(256)) * (size // 256 + 1))[:size]),
    }
