"""`tonghua serve`: what it refuses before it loads anything, and a whole life up to a signal."""

import importlib.util
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from command_line import call, environment
from made_runs import Place

from tonghua.cli.serve import _named
from tonghua.errors import UsageError
from tonghua.server.serve import address_of, is_loopback, read_key, take_place
from tonghua.text import Text

KEY = "k" * 32


def refused(*arguments: object, words: Text, language: str = "en") -> None:
    called = call("serve", *arguments, language=language)
    assert (called.code, called.out) == (2, "")
    assert words.to("zh" if language == "zh" else "en") in called.err.splitlines()[-1]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com"])  # noqa: S104
@pytest.mark.parametrize("language", ["zh", "en"])
def test_beyond_this_machine_it_needs_a_key(host: str, language: str) -> None:
    refused("nothing", "--host", host, words=Text("必须有密钥", "needs a key"), language=language)


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded(straight: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(straight.run, "--port", port, words=Text("请换一个 --port", "choose another --port"))


def test_without_its_libraries_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr("tonghua.cli.serve.find_spec", lambda name: None if name == "fastapi" else real(name))
    refused("nothing", words=Text('pip install "tonghua[serve]"', 'needs fastapi; run pip install "tonghua[serve]"'))


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "没有", "--port", 0, words=Text("", "there is no folder"))


def test_two_of_one_name_are_refused(straight: Place) -> None:
    given = (straight.run, straight.run, "--port", 0, "device=cpu")
    refused(*given, words=Text("", f"two models are called {straight.run.name}; name one of them: NAME=RUN"))
    refused(f"a@b={straight.run}", "--port", 0, words=Text("", "a@b cannot be the name of a model"))


def test_names_runs_and_settings_are_told_apart(tmp_path: Path) -> None:
    odd = tmp_path / "a=b"
    odd.mkdir()
    runs, settings = _named(["runs/x", "黛玉=runs/y", "device=cpu", str(odd), "seed=3", "max-new-tokens=9"])
    assert runs == [(None, "runs/x"), ("黛玉", "runs/y"), (None, str(odd))]
    assert settings == {"device": "cpu", "sampling.seed": "3", "max_new_tokens": "9"}


def test_what_is_on_this_machine_alone() -> None:
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        assert is_loopback(host)
    for host in ("0.0.0.0", "::", "192.168.0.1", "localhost.example.com", "example.com", ""):  # noqa: S104
        assert not is_loopback(host)
    with take_place("127.0.0.1", 0, None) as place:
        assert address_of(place) == f"http://127.0.0.1:{place.getsockname()[1]}"


def test_a_key_file_is_made_once_and_read_again(tmp_path: Path) -> None:
    file, told = tmp_path / "密 钥.txt", []
    key = read_key(file, None, told.append)
    assert key is not None and len(key) == 43 and len(told) == 1
    assert key not in str(told)
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_key(file, "another key, not used", told.append) == key and len(told) == 1
    assert (read_key(None, KEY, told.append), read_key(None, None, told.append)) == (KEY, None)


@pytest.mark.parametrize("text", ["", "short", "a" * 600, "密钥" * 20, "two words of a key here", f"{KEY}\n{KEY}"])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "key"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match="16"):
        read_key(file, None, lambda text: None)
    with pytest.raises(UsageError, match="TONGHUA_KEY"):
        read_key(None, text, lambda text: None)
    with pytest.raises(UsageError, match="key file"):
        read_key(tmp_path, None, lambda text: None)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM for a single process")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_life_from_the_start_to_a_signal(straight: Place, number: signal.Signals, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "tonghua", "serve", f"月={straight.run}", "device=cpu", "dtype=float32"),
        *("--port", "0", "--host", "0.0.0.0"),  # noqa: S104
    ]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment(TONGHUA_KEY=KEY), stderr=subprocess.PIPE, encoding="utf-8"
    )
    assert process.stderr is not None
    try:
        lines: list[str] = []
        while not any(line.startswith("page: http://") for line in lines):
            lines.append(process.stderr.readline())
            assert lines[-1], lines
        port = lines[-1].partition("/ ")[0].rpartition(":")[2]
        base: dict[str, Any] = {"base_url": f"http://127.0.0.1:{port}", "trust_env": False, "timeout": 60}
        with httpx.Client(**base, headers={"Authorization": f"Bearer {KEY}"}) as client:
            body = {"model": "月", "messages": [{"role": "user", "content": "好"}], "max_tokens": 3}
            assert client.post("/v1/chat/completions", json=body).json()["usage"]["completion_tokens"] <= 3
            assert client.post("/v1/chat/completions", json={**body, "model": "月@base"}).status_code == 200
            assert client.get("/v1/models", headers={"Authorization": ""}).status_code == 401
        process.send_signal(number)
        _, rest = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "Traceback" not in rest and KEY not in "".join(lines) + rest
    finally:
        process.kill()
