"""Fixtures of all tests: an empty home, no network, a fixed seed, and models small enough to be fast."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from made_runs import Place

# huggingface_hub reads this on import. Without it a test could wait for a network that it must not use.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

LOOPBACK = ("127.0.0.1", "::1", "localhost")
NETWORK = (
    *("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "MODELSCOPE_CACHE", "MODELSCOPE_ENDPOINT"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(scope="session", autouse=True)
def signals_arrive() -> None:
    """Undo `nohup` and the `&` of a shell, which leave signals ignored: tests send them, to child processes too."""
    for name, usual in (
        ("SIGINT", signal.default_int_handler),
        ("SIGHUP", signal.SIG_DFL),
        ("SIGTERM", signal.SIG_DFL),
    ):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual)


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty home folder whose name has Chinese characters and a space."""
    return tmp_path_factory.mktemp("家 home")


@pytest.fixture(scope="session", autouse=True)
def alone_from_the_start(home: Path) -> Iterator[None]:
    """Isolate session fixtures as `alone` isolates a test."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        _leave_alone(home, monkeypatch)
        yield


@pytest.fixture(autouse=True)
def alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Isolate a test: it sees no user settings and no terminal, connects to this machine only, and has a fixed seed."""
    _leave_alone(home, monkeypatch)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


def _leave_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "XDG_DATA_HOME", "LOCALAPPDATA", "HF_HOME"):
        monkeypatch.setenv(name, str(home))
    for name in (*NETWORK, *PROXIES, *map(str.upper, PROXIES)):
        monkeypatch.delenv(name, raising=False)
    for name in ("LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name in [name for name in os.environ if name.startswith("TONGHUA_") and name != "TONGHUA_TEST_MODEL"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TONGHUA_LANG", "en")
    monkeypatch.setenv("NO_COLOR", "1")
    _cut_off(monkeypatch)


def _cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow connections to this machine only."""

    def guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
        def connect_here(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in LOOPBACK:
                raise OSError(f"a test must not connect to {address[0]}")
            return connect(self, address)

        return connect_here

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, guarded(getattr(socket.socket, name)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder whose name has Chinese characters and a space."""
    made = tmp_path / "我的 数据"
    made.mkdir()
    return made


@pytest.fixture(scope="session")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that maps a kind of `reference.KINDS` to a model folder, made on first use."""
    import reference

    root = tmp_path_factory.mktemp("小 模型")
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            reference.make_model(kind, root / kind)
            reference.make_tokenizer(root / kind)
            made[kind] = root / kind
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def tiny_folder(zoo: Callable[[str], Path]) -> Path:
    """Return a complete Hugging Face folder of a random Qwen2 with 3 layers, in fp32. A test must not write into it."""
    return zoo("qwen2")


@pytest.fixture
def place(tmp_path: Path, tiny_folder: Path) -> "Place":
    """Return a user's folder in which a test starts, stops and resumes runs."""
    from made_runs import Place

    return Place(tmp_path / "我的 地方", tiny_folder)


@pytest.fixture(scope="session")
def straight(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> "Place":
    """Return the folder of a run without interruption. A test must not write into it."""
    from made_runs import STEPS, Place

    place = Place(tmp_path_factory.mktemp("一口气 完"), tiny_folder)
    called = place.train()
    assert (called.code, called.json["steps"]) == (0, STEPS)
    return place


@pytest.fixture(scope="session")
def real_folder() -> Path:
    """Return the folder of a real Qwen2.5. Skips the test if TONGHUA_TEST_MODEL is not set."""
    named = os.environ.get("TONGHUA_TEST_MODEL")
    if not named:
        pytest.skip("TONGHUA_TEST_MODEL does not name the folder of a real model")
    return Path(named)
