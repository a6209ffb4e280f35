"""Run one function on a stranger's data in a child process, with bounds on its memory, its time and its answer.

    call("tonghua.prompt.learn:learned", request, Bounds(...))
      parent ──JSON──► child: function(request) ──JSON──► parent
         └─ every 10 ms: is it within its bounds? if not, it is killed ──► OutOfBoundsError

The parent watches the child on every system. Where the system has limits of its own, the child sets these too.
The child gets no secret: its environment holds what its Python needs, and it imports only the function's module.
"""

import importlib
import json
import math
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

from ..errors import ResourceError
from ..text import Text, shown
from .environment import bare

POLL_S = 0.01
"""Seconds between two looks at the child."""

LOOK_FOR_CHILDREN_S = 0.1
"""Seconds between two searches for processes of the child; the Python of a virtual environment is one on Windows."""

WAITS_PER_CPU_S = 10
"""Maximum seconds on the clock for each second of processor time: a busy machine is no fault of the data."""

ADDRESS_SPACE_BYTES = 2_000_000_000
"""What a child may map beyond its memory bound: libraries and their thread stacks are mapped, not used."""

MOST_REASON_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one call: resident memory of the child with its Python, processor time, and the answer's JSON."""

    memory_bytes: int
    cpu_s: float
    answer_bytes: int


class OutOfBoundsError(Exception):
    """The child broke a bound, died or raised. `reason` says which, as the middle of a sentence."""

    def __init__(self, reason: Text):
        super().__init__(reason.en)
        self.reason = reason

    def __reduce__(self) -> tuple[type["OutOfBoundsError"], tuple[Text]]:
        """Pickle the reason in both languages."""
        return type(self), (self.reason,)


def call(function: str, request: Any, bounds: Bounds) -> Any:
    """Return `function(request)`, computed in a child process. `function` is "module:name"; both values are JSON.

    The module is not imported here. Raises OutOfBoundsError if the child breaks a bound, dies or raises, and
    ResourceError if the system starts no process.
    """
    start = "import json, sys; sent = json.load(sys.stdin); sys.path[:] = sent['path']; "
    start += "from tonghua.system.bounded import serve; serve(sent)"
    command = [sys.executable, "-I", "-S", "-X", "utf8", "-c", start]
    here = str(Path(__file__).parents[2])
    # Only JSON with escapes goes through the pipe: no encoding of this system can spoil it.
    sent = {"path": [here, *filter(None, sys.path)], "function": function, "request": request}
    sent |= {"memory_bytes": bounds.memory_bytes, "cpu_s": bounds.cpu_s}
    pipe = subprocess.PIPE
    try:
        child = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=bare())  # noqa: S603
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ResourceError(
            f"启动不了另一个进程（{why}）；请关掉别的程序再试",
            f"another process cannot be started ({why}); close other programs and try again",
        ) from error
    try:
        answer = _watched(child, json.dumps(sent).encode("ascii"), bounds)
    finally:
        for each in _family(child.pid):
            with suppress(psutil.NoSuchProcess):
                each.kill()
        child.wait()
        for end in (child.stdin, child.stdout):
            assert end is not None
            with suppress(OSError):
                end.close()
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        code = child.returncode
        raise OutOfBoundsError(Text(f"处理它的进程中途退出（{code}）", f"its process ended early ({code})")) from None
    if "raised" in told:
        reason = shown(told["raised"], MOST_REASON_CHARACTERS)
        raise OutOfBoundsError(Text(f"出错（{reason}）", f"it fails ({reason})"))
    if "answer" not in told:
        raise _too_much_memory(bounds)
    return told["answer"]


def _watched(child: subprocess.Popen[bytes], sent: bytes, bounds: Bounds) -> bytes:
    """Return all that the child writes. Raises OutOfBoundsError if it breaks a bound before its end."""
    assert child.stdin is not None
    assert child.stdout is not None
    pieces: list[bytes] = []
    ended = threading.Event()
    threading.Thread(target=_write, args=(child.stdin, sent), daemon=True).start()
    threading.Thread(
        target=_read, args=(child.stdout, bounds.answer_bytes, pieces, ended), name="answer of a child", daemon=True
    ).start()
    begun = time.monotonic()
    family, searched = _family(child.pid), begun
    while not ended.wait(POLL_S):
        now = time.monotonic()
        if now - searched > LOOK_FOR_CHILDREN_S:
            family, searched = _family(child.pid), now
        memory_bytes, cpu_s = _used(family)
        if memory_bytes > bounds.memory_bytes:
            raise _too_much_memory(bounds)
        if cpu_s > bounds.cpu_s or now - begun > bounds.cpu_s * WAITS_PER_CPU_S:
            seconds = f"{bounds.cpu_s:.2g}"
            raise OutOfBoundsError(
                Text(f"算了 {seconds} 秒还没有结果", f"it takes more than {seconds} seconds of processor time")
            )
    answer = b"".join(pieces)
    if len(answer) > bounds.answer_bytes:
        limit = f"{bounds.answer_bytes:,}"
        raise OutOfBoundsError(Text(f"结果超过 {limit} 字节", f"it gives more than {limit} bytes"))
    return answer


def _too_much_memory(bounds: Bounds) -> OutOfBoundsError:
    limit = f"{bounds.memory_bytes // 1_000_000} MB"
    return OutOfBoundsError(Text(f"内存超过 {limit}", f"it takes more than {limit} of memory"))


def _write(pipe: IO[bytes], sent: bytes) -> None:
    with suppress(OSError, ValueError):  # the child ended first, or its pipe is closed
        pipe.write(sent)
        pipe.close()


def _read(pipe: IO[bytes], most_bytes: int, pieces: list[bytes], ended: threading.Event) -> None:
    left = most_bytes + 1
    with suppress(OSError, ValueError):  # ValueError: the pipe was closed after the child was killed
        while left and (piece := pipe.read(min(left, 1 << 16))):
            pieces.append(piece)
            left -= len(piece)
    ended.set()


def _family(pid: int) -> list[psutil.Process]:
    """Return the child and its descendants; none if it has ended."""
    try:
        child = psutil.Process(pid)
        return [child, *child.children(recursive=True)]
    except psutil.Error:
        return []


def _used(family: list[psutil.Process]) -> tuple[int, float]:
    """Return resident bytes and processor seconds of these processes together."""
    memory_bytes, cpu_s = 0, 0.0
    for each in family:
        with suppress(psutil.Error), each.oneshot():
            memory_bytes += each.memory_info().rss
            times = each.cpu_times()
            cpu_s += times.user + times.system
    return memory_bytes, cpu_s


def serve(sent: dict[str, Any]) -> None:
    """Run in the child: answer the one request."""
    sink, sys.stdout = sys.stdout, sys.stderr  # what a library prints must not mix with the answer
    _limit_itself(sent["memory_bytes"], sent["cpu_s"])
    module, _, name = sent["function"].partition(":")
    try:
        told = {"answer": getattr(importlib.import_module(module), name)(sent["request"])}
    except MemoryError:
        told = {"memory": True}
    except BaseException as error:  # a panic of a library in Rust does not derive from Exception
        words = f"{type(error).__name__}: {error}"
        told = {"raised": words.encode("ascii", "backslashreplace").decode()[: 4 * MOST_REASON_CHARACTERS]}
    json.dump(told, sink)
    sink.flush()


def _limit_itself(memory_bytes: int, cpu_s: float) -> None:
    """Set the limits that this system has; on the others, the parent alone watches."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for limit, most in (
        (resource.RLIMIT_AS, memory_bytes + ADDRESS_SPACE_BYTES),
        (resource.RLIMIT_CPU, math.ceil(cpu_s) + 1),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # the system refuses this limit, as macOS does for some
            resource.setrlimit(limit, (most, most))
