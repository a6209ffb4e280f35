"""A server on a free port with models whose answers are written in the test."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tonghua.config.schema import Sampling
from tonghua.inference.engine import Answer, AnswerPiece, Pieces
from tonghua.prompt.conversation import Message
from tonghua.server.limits import Limits
from tonghua.server.models import ServedModel
from tonghua.server.serve import Server, known_hosts, new_server
from tonghua.text import Text


@dataclass
class Script:
    """What a model says, and what it saw. `gate` lets one piece through for each release; None lets all through."""

    pieces: Sequence[str | Exception] = ("从前", "有一", "只小熊", "。")
    gate: threading.Semaphore | None = None
    asked: list[tuple[list[Message], Sampling]] = field(default_factory=list)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    said: int = 0
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def stream(self, messages: Sequence[Message], sampling: Sampling, likeliest: int | None) -> Pieces:
        self.asked.append((list(messages), sampling))
        self.begun.release()
        text = ""
        try:
            for piece in self.pieces[: sampling.max_new_tokens]:
                if self.gate is not None:
                    self.gate.acquire()
                if isinstance(piece, Exception):
                    raise piece
                self.said += 1
                text += piece
                logs = () if likeliest is None else ((len(piece), -0.5), *((id, -float(id)) for id in range(likeliest)))
                yield AnswerPiece(0, piece, False, logs)
            ended = len(self.pieces) <= sampling.max_new_tokens
            tokens = min(len(self.pieces), sampling.max_new_tokens)
            yield Answer(text, "stop" if ended else "length", tokens, 9, 0.1, 9.0)
        finally:
            self.closed.release()

    def model(self, name: str = "熊", system: str | None = "你是熊。", context: int = 500) -> ServedModel:
        def prompt_tokens(messages: Sequence[Message]) -> int:
            return sum(len(message.content) for message in messages)

        def token_bytes(id: int) -> bytes:
            return b"x" * id

        return ServedModel(name, "tiny", system, Sampling(), context, self.stream, prompt_tokens, len, token_bytes)


class Served:
    """A running server; `bugs` are the errors that it reported."""

    def __init__(self, server: Server, place: socket.socket, bugs: list[BaseException]):
        self.server, self.bugs = server, bugs
        self.host, self.port = place.getsockname()
        self.url = f"http://{self.host}:{self.port}"
        self._place = place
        self._loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._loop.run_until_complete(self.server.serve([self._place]))
        self._loop.close()

    def stop(self) -> None:
        """What a signal does."""
        self._loop.call_soon_threadsafe(self.server.stop)

    def client(self, **given: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=30, trust_env=False, **given)

    def get(self, path: str, **given: Any) -> httpx.Response:
        with self.client() as client:
            return client.get(path, **given)

    def post(self, path: str, **given: Any) -> httpx.Response:
        with self.client() as client:
            return client.post(path, **given)

    def chat(self, content: object = "你好", **more: Any) -> httpx.Response:
        body = {"model": "熊", "messages": [{"role": "user", "content": content}], **more}
        return self.post("/v1/chat/completions", json=body)

    def raw(self, data: bytes, finish: bool = True) -> bytes:
        """What the server sends back for these bytes, up to the end of the connection."""
        with socket.create_connection((self.host, self.port), timeout=30) as line:
            line.sendall(data)
            received = b""
            while finish and (more := line.recv(65536)):
                received += more
            return received


@contextmanager
def running(
    models: Sequence[ServedModel], limits: Limits | None = None, key: str | None = None, hosts: Sequence[str] = ()
) -> Iterator[Served]:
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    bugs: list[BaseException] = []

    def tell(text: Text) -> None:
        pass

    server = new_server(models, known_hosts("127.0.0.1", hosts), key, limits or Limits(), tell, bugs.append)
    served = Served(server, place, bugs)
    served.thread.start()
    try:
        while not server.started:
            assert served.thread.is_alive()
        yield served
    finally:
        if served.thread.is_alive():
            served.stop()
            served.stop()
        served.thread.join(30)
        assert not served.thread.is_alive()
