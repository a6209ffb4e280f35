"""Programs of Python in processes of their own, for tests of signals, terminals, files and exits.

    started = start("-m", "tonghua", "train", ..., folder=place)      `python -m tonghua train ...`
    out, err = started.communicate()

Importing torch takes far longer than most of what these programs do. So each is forked from a process that has imported
it and has done nothing else (see zygote.py); where a system cannot fork, it is a new interpreter.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from command_line import Called, environment

CAN_FORK = hasattr(os, "fork") and hasattr(socket, "send_fds") and sys.platform != "darwin"
"""macOS forbids much of what libraries do after a fork."""

USUAL = (
    "tonghua.training.train",
    "tonghua.training.resume",
    "tonghua.evaluation.evaluate",
    "tonghua.runs.pages",
    "rich.progress",
)
"""What a training run imports, none of which reads the environment."""


class Started:
    """A program that was started; the names are those of subprocess.Popen."""

    def __init__(self, connection: socket.socket, out: IO[bytes], err: IO[bytes]):
        self._connection, self._out, self._err = connection, out, err
        self.pid = int.from_bytes(self._received(None) or b"", "big")
        self.returncode: int | None = None

    def _received(self, timeout: float | None) -> bytes | None:
        """A number from the nanny; None if it does not come in time."""
        self._connection.settimeout(timeout)
        try:
            data = self._connection.recv(8)
        except (TimeoutError, BlockingIOError):
            return None
        assert len(data) == 8, "the process that starts programs has died"
        return data

    def wait(self, timeout: float | None = 120) -> int:
        """Return how it ended: its exit code, or minus the number of the signal."""
        if self.returncode is None:
            status = self._received(timeout)
            if status is None:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
            self.returncode = os.waitstatus_to_exitcode(int.from_bytes(status, "big"))
            self._connection.close()
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0.0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = 120) -> tuple[bytes, bytes]:
        """Wait for the end; return all that it printed."""
        self.wait(timeout)
        return read_back(self._out, self._err)


class Zygote:
    """A process to fork from, which has imported these modules; it ends with this one."""

    def __init__(self, modules: Sequence[str]):
        self._folder = tempfile.TemporaryDirectory(prefix="zygote")
        self._path = str(Path(self._folder.name) / "socket")
        command = [sys.executable, str(Path(__file__).with_name("zygote.py")), self._path, *modules]
        # Pipes: Python takes for granted later on that a stream which can seek at its start always can.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
        )
        atexit.register(self._end)
        assert self._process.stdout is not None
        assert b"ready\n" in self._process.stdout, "it could not start"

    def start(self, request: Mapping[str, Any], files: Sequence[int]) -> socket.socket:
        """Start a program with these files as its stdin, stdout and stderr; return where it tells of itself."""
        data = json.dumps(request).encode()
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(self._path)
        connection.sendall(len(data).to_bytes(8, "big"))
        socket.send_fds(connection, [b"f"], files)
        connection.sendall(data)
        return connection

    def _end(self) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self._path)
            connection.sendall(bytes(8))
        self._process.wait(20)
        self._folder.cleanup()


zygote = cache(Zygote)
"""One for each list of modules."""


class Spawned(subprocess.Popen[bytes]):
    """The same as `Started` where nothing can be forked."""

    def __init__(self, command: Sequence[str], out: IO[bytes], err: IO[bytes], errors: int | None, **given: Any):
        super().__init__(command, stdout=out, stderr=err if errors is None else errors, **given)
        self._told = out, err

    def wait(self, timeout: float | None = 120) -> int:
        return super().wait(timeout)

    def communicate(self, input: Any = None, timeout: float | None = 120) -> tuple[bytes, bytes]:
        self.wait(timeout)
        return read_back(*self._told)


Process = Started | Spawned


def read_back(*files: IO[bytes]) -> Any:
    told = []
    for file in files:
        file.seek(0)
        told.append(file.read())
        file.close()
    return tuple(told)


def start(
    *arguments: object,
    folder: Path,
    stdin: bytes = b"",
    terminal: int | None = None,
    errors: int | None = None,
    modules: tuple[str, ...] = USUAL,
    **variables: str,
) -> Process:
    """Start `python arguments...`; with `terminal`, in a session of its own, with that file for all three streams.

    `errors`: a file for its stderr.
    """
    out, err = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115 - closed when they are read
    told = (out.fileno(), err.fileno() if errors is None else errors) if terminal is None else (terminal, terminal)
    reading, writing = os.pipe()
    os.write(writing, stdin)
    os.close(writing)
    source = reading if terminal is None else terminal
    written, values = [*map(str, arguments)], environment(**variables)
    try:
        if not CAN_FORK:
            streams = {"stdin": source} if terminal is None else {"stdin": terminal, "start_new_session": True}
            return Spawned([sys.executable, *written], out, err, errors, cwd=folder, env=values, **streams)
        request = {"arguments": written, "folder": str(folder), "environment": values, "session": terminal is not None}
        return Started(zygote(modules).start(request, (source, *told)), out, err)
    finally:
        os.close(reading)


def ended(started: Process, timeout: float = 120) -> Called:
    """Wait for the end of a program."""
    out, err = started.communicate(timeout=timeout)
    assert started.returncode is not None
    return Called(started.returncode, out.decode("utf-8"), err.decode("utf-8"))


def run(*arguments: object, folder: Path, timeout: float = 120, **given: Any) -> Called:
    """Run `python arguments...` to its end."""
    return ended(start(*arguments, folder=folder, **given), timeout)
