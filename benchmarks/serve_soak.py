"""A server under mixed requests of many clients: does it answer every good one, and does it grow?

    python benchmarks/serve_soak.py --requests 2000

Trains three short runs of `tiny`, serves them in a process of its own, and asks from several threads. A third of the
requests is malformed, a tenth of the good ones leave midway. Says how many were answered, refused and left, how many of
them wrongly, and how the memory of the server has grown since a fifth of the requests were through.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import report

NAMES = ("lamp", "bear", "moon")
QUESTIONS = ("讲一个关于月亮的故事。", "你是谁？", "小熊在哪里？", "Tell me a story.", "好" * 200)
CHAT = "/v1/chat/completions"
SMALL: dict[str, Any] = {"per_device_train_batch_size": 2, "sampling": {"max_new_tokens": 2}}

Part = tuple[int, bytes]
"""The status that is right, and the bytes of a request."""


def chat(content: object, **more: object) -> dict[str, Any]:
    return {"model": "lamp", "messages": [{"role": "user", "content": content}], "max_tokens": 8, **more}


def posted(body: bytes, path: str = CHAT, kind: str = "application/json", host: str = "localhost") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def malformed() -> list[Part]:
    """Requests of every kind that a server must refuse, and how."""

    def wrong(status: int = 400, **more: object) -> Part:
        return status, posted(json.dumps({**chat("你好"), **more}).encode())

    return [
        (400, posted(b"")),
        (400, posted(b"{")),
        (400, posted(b"[" * 100_000)),
        (400, posted(b"\xff\xfe\x00")),
        (413, posted(b"").replace(b"Content-Length: 0", b"Content-Length: 9999999999")),
        (413, posted(b" " * (2 << 20))),
        (415, posted(b"a=b", kind="text/plain")),
        (400, posted(b"{}", host="evil.example")),
        (404, posted(b"{}", path="/v1/engines")),
        (400, b"nonsense\r\n\r\n"),
        wrong(404, model="gpt-4o"),
        wrong(n=10**9),
        wrong(max_tokens=-1),
        wrong(temperature=50),
        wrong(logit_bias={str(at): 1 for at in range(10_000)}),
        wrong(top_logprobs=3),
        wrong(messages=[]),
        wrong(messages=[{"role": "alien", "content": "好"}]),
        wrong(messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
        wrong(messages=[{"role": "user", "content": "好"}] * 1000),
        wrong(messages=[{"role": "user", "content": "好" * 100_000}]),
        wrong(chat_template="{{ 1 }}"),
    ]


class Client:
    """Asks one server; `found` counts what came of it."""

    def __init__(self, port: int):
        self._port = port
        self._bad = malformed()
        self.found: Counter[str] = Counter()
        self.faults: list[str] = []

    def ask(self, seed: int) -> None:
        """Make one request, drawn by its number."""
        chance = random.Random(seed)  # noqa: S311 - a mixture, not a secret
        if chance.random() < 1 / 3:
            self._refused(*chance.choice(self._bad))
            return
        stream = chance.random() < 0.5
        model = chance.choice(NAMES) + chance.choice(("", "", "@base"))
        body = {**chat(chance.choice(QUESTIONS), stream=stream, n=chance.choice((1, 1, 2))), "model": model}
        if chance.random() < 0.1:
            read = chance.choice((0, 1, 200))
            # An answer that is not streamed has no first byte before its last token.
            body |= {"max_tokens": 200, "stream": stream or read > 0}
            self._left(posted(json.dumps(body).encode()), read)
        else:
            self._answered(posted(json.dumps(body).encode()), stream)

    def _answered(self, data: bytes, stream: bool) -> None:
        for attempt in range(600):
            answer = self._sent(data)
            status = status_of(answer)
            if status != 429:
                break
            self.found["told to wait"] += 1
            time.sleep(0.1 + attempt / 100)
        whole = b"data: [DONE]" in answer if stream else b'"finish_reason"' in answer
        self._count("answered", status == 200 and whole, f"{status} {answer[-300:]!r}")

    def _refused(self, status: int, data: bytes) -> None:
        found = status_of(self._sent(data))
        self._count("refused", found == status, f"{found} and not {status} for {data[:300]!r}")

    def _left(self, data: bytes, size: int) -> None:
        with socket.create_connection(("127.0.0.1", self._port), timeout=120) as line:
            line.sendall(data)
            if size:
                line.recv(size)
        self.found["left"] += 1

    def _sent(self, data: bytes) -> bytes:
        received = b""
        with socket.create_connection(("127.0.0.1", self._port), timeout=300) as line:
            try:
                line.sendall(data)
                while more := line.recv(65536):
                    received += more
            except OSError:
                # A server that refuses a large body stops reading it; what it said may still have come.
                pass
        return received

    def _count(self, name: str, is_right: bool, fault: str) -> None:
        self.found[name if is_right else f"not {name}"] += 1
        if not is_right:
            self.faults.append(fault)


def status_of(answer: bytes) -> int:
    """The status of a response, 0 if there is none."""
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) == 3 and words[0] == b"HTTP/1.1" else 0


def train(folder: Path) -> list[str]:
    """Three runs, each of one step; return NAME=RUN of each."""
    import tonghua

    made = []
    for name in NAMES:
        settings: dict[str, Any] = {"max_steps": 1, "val_size": 0, "eval_dataset": None, "device": "cpu", **SMALL}
        made.append(f"{name}={tonghua.train('demo', output_dir=folder / name, quiet=True, **settings).run}")
    return made


def memory_mb(process: int) -> float:
    import psutil

    return float(psutil.Process(process).memory_info().rss) / 1e6


def wait_for(port: int, process: "subprocess.Popen[str]") -> None:
    opener = build_opener(ProxyHandler({}))
    while True:
        if process.poll() is not None:
            sys.exit(f"tonghua serve ended with {process.returncode}:\n{process.communicate()[1]}")
        try:
            opener.open(Request(f"http://127.0.0.1:{port}/health"), timeout=10)
            return
        except HTTPError as error:
            sys.exit(f"the server is not well: {error}")
        except OSError:
            time.sleep(0.2)


def parser() -> argparse.ArgumentParser:
    made = report.parser(__doc__)
    made.add_argument("runs", nargs="*", help="NAME=RUN of the names lamp, bear and moon (default: three short runs)")
    made.add_argument("--requests", type=int, default=2000, help="number of requests (default: %(default)s)")
    made.add_argument("--clients", type=int, default=12, help="clients at a time (default: %(default)s)")
    made.add_argument("--engine", default="auto", help="auto, torch or llama (default: %(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of the mixture (default: %(default)s)")
    return made


def main() -> None:
    options = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        runs = options.runs or train(Path(folder))
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        command = [sys.executable, "-m", "tonghua", "serve", *runs, "--port", str(port), "--engine", options.engine]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", env=dict(os.environ))
        try:
            wait_for(port, process)
            client, start = Client(port), time.perf_counter()
            warm = options.requests // 5
            with ThreadPoolExecutor(options.clients) as pool:
                list(pool.map(client.ask, range(options.seed, options.seed + warm)))
                before = memory_mb(process.pid)
                list(pool.map(client.ask, range(options.seed + warm, options.seed + options.requests)))
            seconds = time.perf_counter() - start
            after = memory_mb(process.pid)
            process.send_signal(signal.SIGINT if sys.platform != "win32" else signal.SIGTERM)
            _, said = process.communicate(timeout=120)
        finally:
            process.kill()
    growth = after / before - 1
    report.header("figure", "value")
    figures = {name: client.found[name] for name in ("answered", "refused", "left", "told to wait")}
    figures |= {f"not {name}": client.found[f"not {name}"] for name in ("answered", "refused")}
    for name, value in figures.items():
        report.row(name, value)
    report.row("memory growth", f"{100 * growth:.1f} %")
    report.row("exit code", process.returncode)
    for fault in client.faults[:5]:
        print(fault, file=sys.stderr)
    if "Traceback" in said:
        print(said, file=sys.stderr)
    memory = {"before_mb": before, "after_mb": after, "growth": growth}
    report.finish(
        "serve_soak",
        {
            "engine": options.engine,
            **figures,
            **memory,
            "seconds": seconds,
            "exit_code": process.returncode,
            "tracebacks": said.count("Traceback"),
        },
    )


if __name__ == "__main__":
    main()
