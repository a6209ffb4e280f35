"""A real server over loopback whose answers are written in the test: responses, limits, strangers, and the end."""

import json
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from served import Script, Served

from tonghua.errors import DivergedError
from tonghua.server.limits import Limits

CHAT = "/v1/chat/completions"
Serving = Callable[..., Served]


def events(response: httpx.Response) -> list[Any]:
    """The objects of a stream, which must end with [DONE]."""
    *lines, done = [line for line in response.text.split("\n\n") if line and not line.startswith(":")]
    assert done == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def error(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a response, in the shape of OpenAI's."""
    assert response.status_code == status, response.text
    found = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"} and found["message"]
    assert "access-control-allow-origin" not in response.headers
    return dict(found)


def metric(served: Served, name: str) -> float:
    lines = served.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def wait_until(holds: Callable[[], bool]) -> None:
    """A test that never gets there is ended by the time limit of all tests."""
    while not holds():
        threading.Event().wait(0.01)


# Answers


def test_a_whole_answer(bear: Served, script: Script) -> None:
    found = bear.chat(temperature=0.5, max_tokens=4, seed=7).json()
    (choice,) = found["choices"]
    assert choice["message"] == {"role": "assistant", "content": "从前有一只小熊。", "refusal": None}
    assert (choice["finish_reason"], choice["index"], found["object"]) == ("stop", 0, "chat.completion")
    assert found["usage"] == {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}
    ((messages, sampling),) = script.asked
    assert [(message.role, message.content) for message in messages] == [("user", "你好")]
    assert (sampling.temperature, sampling.max_new_tokens, sampling.seed) == (0.5, 4, 7)
    assert bear.chat(max_tokens=2).json()["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("stop", [None, "一只", "只小", "。"])
def test_log_p_goes_with_the_text_that_is_shown(bear: Served, stop: str | None) -> None:
    """Tokens that a stop string takes away are not told; one that it cuts is."""
    more = {"logprobs": True, "top_logprobs": 2, **({"stop": stop} if stop else {})}
    (choice,) = bear.chat(**more).json()["choices"]
    pieces = ("从前", "有一", "只小熊", "。")
    shown = choice["message"]["content"]
    begun = [piece for at, piece in enumerate(pieces) if len("".join(pieces[:at])) < len(shown)]
    told = choice["logprobs"]["content"]
    assert [each["bytes"] for each in told] == [[120] * len(piece) for piece in begun]
    assert [(each["token"], each["logprob"]) for each in told] == [("x" * len(piece), -0.5) for piece in begun]
    assert [top["logprob"] for top in told[0]["top_logprobs"]] == [0, -1]
    chunks = [chunk["choices"][0] for chunk in events(bear.chat(stream=True, **more))]
    assert [entry for each in chunks if each["logprobs"] for entry in each["logprobs"]["content"]] == told


def test_log_p_of_a_completion(bear: Served) -> None:
    body = {"model": "熊", "prompt": "你好", "logprobs": 1, "max_tokens": 2}
    (choice,) = bear.post("/v1/completions", json=body).json()["choices"]
    assert choice["logprobs"] == {
        **{"tokens": ["xx", "xx"], "token_logprobs": [-0.5, -0.5]},
        **{"top_logprobs": [{"": 0.0}, {"": 0.0}], "text_offset": [0, 2]},
    }
    assert bear.post("/v1/completions", json={**body, "logprobs": 0}).json()["choices"][0]["logprobs"]["tokens"]
    assert bear.post("/v1/completions", json={**body, "logprobs": None}).json()["choices"][0]["logprobs"] is None
    assert error(bear.post("/v1/completions", json={**body, "logprobs": 6}), 400)["param"] == "logprobs"


def test_a_stream_is_the_same_answer(bear: Served) -> None:
    response = bear.chat(stream=True, stream_options={"include_usage": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    *chunks, usage = events(response)
    assert [chunk["usage"] for chunk in chunks] == [None] * 6
    assert usage["choices"] == [] and usage["usage"]["total_tokens"] == 6
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": ""} and deltas[-1] == {}
    assert (
        "".join(delta.get("content", "") for delta in deltas) == bear.chat().json()["choices"][0]["message"]["content"]
    )
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 5 + ["stop"]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert "usage" not in events(bear.chat(stream=True))[0]


def test_several_choices_of_one_seed_are_drawn_apart(bear: Served, script: Script) -> None:
    found = bear.chat(n=3, seed=2**32 - 1).json()
    assert [choice["index"] for choice in found["choices"]] == [0, 1, 2]
    assert found["usage"] == {"prompt_tokens": 2, "completion_tokens": 12, "total_tokens": 14}
    assert [sampling.seed for _, sampling in script.asked] == [2**32 - 1, 0, 1]
    streamed = events(bear.chat(n=2, stream=True))
    assert sorted({chunk["choices"][0]["index"] for chunk in streamed}) == [0, 1]


def test_a_stop_string_ends_the_answer_and_the_work(bear: Served, script: Script) -> None:
    found = bear.chat(stop="只小").json()
    assert found["choices"][0]["message"]["content"] == "从前有一"
    assert (found["choices"][0]["finish_reason"], script.said) == ("stop", 3)
    assert found["usage"]["completion_tokens"] == len("从前有一只小熊")
    chunks = events(bear.chat(stop=["一只"], stream=True))
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == "从前有"


def test_a_completion_asks_its_prompt_as_a_user(bear: Served, script: Script) -> None:
    found = bear.post("/v1/completions", json={"model": "熊", "prompt": "讲"}).json()
    assert (found["object"], found["choices"][0]["text"]) == ("text_completion", "从前有一只小熊。")
    assert [(message.role, message.content) for message in script.asked[0][0]] == [("user", "讲")]
    streamed = bear.post("/v1/completions", json={"model": "熊", "prompt": "讲", "stream": True})
    assert "".join(chunk["choices"][0]["text"] for chunk in events(streamed)) == "从前有一只小熊。"


def test_models_are_listed_and_no_other_answers(serving: Serving, script: Script) -> None:
    fox = Script(pieces=("狐",))
    served = serving([script.model(), fox.model("狐/狸", system=None)])
    listed = served.get("/v1/models").json()
    assert [each["id"] for each in listed["data"]] == ["熊", "狐/狸"]
    assert served.get("/v1/models/狐/狸").json() == listed["data"][1]
    assert served.chat(model="狐/狸").json()["choices"][0]["message"]["content"] == "狐"
    for name in ("虎", "tiny", "熊 ", "../熊", "a/b", "\x1b[2J"):
        assert error(served.chat(model=name), 404)["code"] == "model_not_found"
    error(served.get("/v1/models/虎"), 404)
    assert (len(script.asked), len(fox.asked)) == (0, 1)


def test_an_address_or_a_method_that_is_not_there(bear: Served) -> None:
    for method, path, status in (("GET", "/v1/engines", 404), ("GET", CHAT, 405), ("OPTIONS", CHAT, 405)):
        with bear.client() as client:
            error(client.request(method, path), status)
    for path in ("/docs", "/redoc", "/openapi.json", "/../etc/passwd", "/%2e%2e/page.html"):
        error(bear.get(path), 404)


def test_a_mistake_is_told_in_the_language_of_the_client(bear: Served) -> None:
    body = {"model": "熊", "messages": []}
    assert "list" in error(bear.post(CHAT, json=body), 400)["message"]
    zh = error(bear.post(CHAT, json=body, headers={"Accept-Language": "zh-CN,en;q=0.5"}), 400)
    assert "条消息的列表" in zh["message"] and zh["param"] == "messages"


def test_a_prompt_without_room_is_refused_before_it_waits(serving: Serving, script: Script) -> None:
    served = serving([script.model(context=10)])
    found = error(served.chat("好" * 10), 400)
    assert found["code"] == "context_length_exceeded" and "10" in found["message"]
    assert served.chat("好" * 9).status_code == 200 and len(script.asked) == 1


# Answers that fail


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("raised", "status", "words", "bugs"),
    [(DivergedError("坏数", "bad numbers"), 500, "bad numbers", 0), (RuntimeError("秘密"), 500, "failed inside", 1)],
    ids=["known", "bug"],
)
def test_an_answer_that_fails_at_once(
    serving: Serving, raised: Exception, status: int, words: str, bugs: int, stream: bool
) -> None:
    served = serving([Script(pieces=(raised,)).model()])
    found = error(served.chat(stream=stream), status)
    assert words in found["message"] and "秘密" not in found["message"]
    assert len(served.bugs) == bugs
    assert served.get("/health").status_code == 200


def test_an_answer_that_fails_midway_says_so_in_the_stream(serving: Serving) -> None:
    served = serving([Script(pieces=("从前", RuntimeError("秘密"))).model()])
    *chunks, last = [part for part in served.chat(stream=True).text.split("\n\n") if part]
    assert len(chunks) == 2 and "从前" in chunks[1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "internal_error"
    assert "秘密" not in last
    error(served.chat(), 500)
    assert served.get("/health").status_code == 200 and served.server._service.turns.running == 0


# Bodies


def head(more: str = "", length: object = 2) -> bytes:
    return (
        f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {length}\r\n{more}\r\n"
    ).encode()


def test_a_body_that_is_announced_far_too_large_is_not_read(bear: Served) -> None:
    for length in (2 * 2**30, 10**19, Limits().dropped_bytes + 1):
        assert bear.raw(head(length=length)).startswith(b"HTTP/1.1 413 ")


def test_an_endless_body_is_cut_off(bear: Served) -> None:
    start = head().replace(b"Content-Length: 2", b"Transfer-Encoding: chunked")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert bear.raw(start + chunk * 129).startswith(b"HTTP/1.1 413 ")


def test_a_client_that_sends_too_much_hears_why(bear: Served) -> None:
    """It sends all of it before it listens; a connection closed meanwhile would be all that it sees."""
    for size in (Limits().body_bytes + 1, Limits().dropped_bytes):
        assert bear.raw(head(length=size) + b" " * size).startswith(b"HTTP/1.1 413 ")


def test_a_body_at_the_limit_is_read(serving: Serving, script: Script) -> None:
    served = serving([script.model(context=10**7)], Limits(body_bytes=2000))
    for room, status in ((0, 200), (1, 413)):
        body = json.dumps({"model": "熊", "messages": [{"role": "user", "content": "x"}]})
        response = served.post(CHAT, content=body.ljust(2000 + room), headers={"Content-Type": "application/json"})
        assert response.status_code == status


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_is_no_json_is_refused_by_its_type(bear: Served, kind: str) -> None:
    error(bear.post(CHAT, content=b"{}", headers={"Content-Type": kind}), 415)


def test_a_slow_body_and_a_slow_head_are_cut_off(serving: Serving, script: Script) -> None:
    served = serving([script.model()], Limits(body_s=0.2, head_s=0.2))
    assert served.raw(head(length=100) + b"{").startswith(b"HTTP/1.1 408 ")
    for begun in (b"", b"GET /health HTTP/1.1\r\nHost: loc"):
        assert served.raw(begun) == b""
    # Also after a request on the same connection.
    whole = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert served.raw(whole + b"GET /hea").count(b"HTTP/1.1 200 OK") == 1
    assert served.chat().status_code == 200


def test_many_slow_clients_keep_out_nobody(serving: Serving, script: Script) -> None:
    served = serving([script.model()])
    lines = [socket.create_connection((served.host, served.port), timeout=30) for _ in range(64)]
    for line in lines:
        line.sendall(head(length=100) + b"{")
    assert served.chat().status_code == 200
    for line in lines:
        line.close()


def test_more_connections_than_fit_are_refused_and_it_recovers(serving: Serving, script: Script) -> None:
    served = serving([script.model()], Limits(connections=4))
    lines = [socket.create_connection((served.host, served.port), timeout=30) for _ in range(4)]
    wait_until(lambda: len(served.server.server_state.connections) == 4)
    assert served.get("/health").status_code == 503
    for line in lines:
        line.close()
    wait_until(lambda: not served.server.server_state.connections)
    assert served.get("/health").status_code == 200


def test_a_head_that_is_too_long_is_refused(bear: Served) -> None:
    assert bear.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000).startswith(b"HTTP/1.1 400 ")
    assert bear.raw(b"\x16\x03\x01\x00\r\n\r\n").startswith(b"HTTP/1.1 400 ")


# Strangers


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", CHAT])
@pytest.mark.parametrize(
    "host", ["evil.com", "evil.com:8080", "localhost.evil.com", "127.0.0.1.evil.com", "", "localhost:x", "[::1].evil"]
)
def test_another_host_is_refused(bear: Served, host: str, path: str) -> None:
    error(bear.get(path, headers={"Host": host}), 400)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:80", "192.0.2.7", "tale.example"])
def test_an_address_or_a_name_on_the_list_is_taken(serving: Serving, script: Script, host: str) -> None:
    assert serving([script.model()], hosts=["Tale.example"]).get("/health", headers={"Host": host}).status_code == 200


def test_another_origin_is_refused(bear: Served) -> None:
    body = {"model": "熊", "messages": [{"role": "user", "content": "好"}]}
    for origin in ("http://evil.com", "null", "https://127.0.0.1", f"http://127.0.0.1:{bear.port}.evil.com", "file://"):
        assert error(bear.post(CHAT, json=body, headers={"Origin": origin}), 403)["code"] == "foreign_origin"
    assert bear.post(CHAT, json=body, headers={"Origin": bear.url}).status_code == 200


def test_a_key_is_asked_for(serving: Serving, script: Script) -> None:
    key = "k" * 20
    served = serving([script.model()], Limits(wrong_keys=5), key)
    wrong: list[dict[str, str]] = [
        {}, {"Authorization": key}, {"Authorization": f"Basic {key}"}, {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {key}x"}, {"Authorization": "Bearer \xff"}, {"X-Api-Key": key},
    ]  # fmt: skip
    for headers in wrong:
        response = served.get("/v1/models", headers={k: v.encode("latin-1") for k, v in headers.items()})
        assert error(response, 401)["code"] == "invalid_api_key"
        assert response.headers["www-authenticate"] == "Bearer"
    assert not script.asked
    for path in ("/", "/health"):
        assert served.get(path).status_code == 200
    error(served.get("/metrics"), 401)
    right = {"Authorization": f"Bearer {key}"}
    for path in ("/v1/models", "/metrics"):
        assert served.get(path, headers=right).status_code == 200
    assert served.chat().status_code == 401
    for _ in range(5):
        served.get("/v1/models", headers={"Authorization": "Bearer guess"})
    assert served.get("/v1/models", headers=right).status_code == 429
    assert served.get("/health").status_code == 200


def test_every_response_carries_what_protects_a_browser(bear: Served) -> None:
    for response in (bear.get("/"), bear.get("/v1/models"), bear.chat(), bear.chat(n=0), bear.get("/none")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in response.headers
        assert "server" not in response.headers


# The line, and clients that leave


def test_those_who_find_no_place_are_told_when_to_come_back(serving: Serving) -> None:
    script = Script(gate=threading.Semaphore(0))
    assert script.gate is not None
    served = serving([script.model()], Limits(running=1, waiting=16))
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(served.chat) for _ in range(17)]
        wait_until(lambda: served.server._service.turns.waiting == 16)
        for _ in range(3):
            refused = served.chat()
            assert error(refused, 429)["type"] == "rate_limit_error"
            assert refused.headers["retry-after"] == "5"
        assert served.get("/health").status_code == 200
        assert metric(served, "tonghua_waiting") == 16
        script.gate.release(17 * 4)
        assert [each.result().status_code for each in asked] == [200] * 17
    assert len(script.asked) == 17
    assert metric(served, 'tonghua_answers_total{finish="stop"') == 17


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_answer_at_the_next_token(serving: Serving, stream: bool) -> None:
    script = Script(pieces=("好",) * 1000, gate=threading.Semaphore(0))
    assert script.gate is not None
    served = serving([script.model()], Limits(running=1))
    body = json.dumps({"model": "熊", "messages": [{"role": "user", "content": "好"}], "stream": stream}).encode()
    with socket.create_connection((served.host, served.port), timeout=30) as line:
        line.sendall(head(length=len(body)) + body)
        script.begun.acquire()
        script.gate.release(3)
        wait_until(lambda: script.said == 3)
        assert not stream or line.recv(100)
    wait_until(lambda: metric(served, "tonghua_disconnects_total") == 1)
    script.gate.release()
    script.closed.acquire()
    assert script.said == 4
    wait_until(lambda: served.server._service.turns.running == 0)
    script.gate.release(1000)
    assert served.chat(max_tokens=2).status_code == 200


def test_a_client_that_leaves_the_line_is_never_answered(serving: Serving) -> None:
    script = Script(gate=threading.Semaphore(0))
    assert script.gate is not None
    served = serving([script.model()], Limits(running=1))
    body = json.dumps({"model": "熊", "messages": [{"role": "user", "content": "好"}]}).encode()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(served.chat)
        script.begun.acquire()
        with socket.create_connection((served.host, served.port), timeout=30) as line:
            line.sendall(head(length=len(body)) + body)
            wait_until(lambda: served.server._service.turns.waiting == 1)
        wait_until(lambda: served.server._service.turns.waiting == 0)
        script.gate.release(4)
        assert first.result().status_code == 200
    assert len(script.asked) == 1


def ask_and_read_nothing(served: Served) -> socket.socket:
    body = json.dumps({"model": "熊", "messages": [{"role": "user", "content": "好"}], "stream": True}).encode()
    line = socket.create_connection((served.host, served.port), timeout=30)
    line.sendall(head(length=len(body)) + body)
    return line


def test_a_client_that_reads_nothing_holds_up_nobody(serving: Serving) -> None:
    script = Script(pieces=("好" * 20_000,) * 200)
    served = serving([script.model()], Limits(running=1))
    with ask_and_read_nothing(served):
        script.closed.acquire()
        assert script.said == 200
        assert len(served.server.server_state.connections) == 1
        assert served.chat(max_tokens=1).status_code == 200


def test_a_client_that_reads_nothing_is_cut_off(serving: Serving) -> None:
    script = Script(pieces=("好" * 20_000,) * 200)
    served = serving([script.model()], Limits(stalled_s=0.3))
    with ask_and_read_nothing(served):
        script.begun.acquire()
        wait_until(lambda: not served.server.server_state.connections)
    assert served.chat(max_tokens=1).status_code == 200


def test_an_answer_has_a_time_limit(serving: Serving) -> None:
    script = Script(pieces=("好",) * 1000)
    served = serving([script.model()], Limits(answer_s=0))
    found = served.chat().json()["choices"][0]
    assert (found["finish_reason"], found["message"]["content"]) == ("length", "好")


def test_a_stream_with_nothing_to_say_yet_stays_open(serving: Serving) -> None:
    script = Script(gate=threading.Semaphore(0))
    assert script.gate is not None
    served = serving([script.model()], Limits(heartbeat_s=0.05))
    body = {"model": "熊", "messages": [{"role": "user", "content": "好"}], "stream": True}
    with served.client() as client, client.stream("POST", CHAT, json=body) as response:
        lines = response.iter_lines()
        assert next(lines) == ": waiting"
        script.gate.release(4)
        text = "".join(lines)
    assert "小熊" in text and text.endswith("data: [DONE]")


# The end


def test_a_stop_finishes_what_runs_and_refuses_what_comes(serving: Serving) -> None:
    script = Script(gate=threading.Semaphore(0))
    assert script.gate is not None
    served = serving([script.model()], Limits(running=1))
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(served.chat, stream=True)
        script.begun.acquire()
        waiting = pool.submit(served.chat)
        wait_until(lambda: served.server._service.turns.waiting == 1)
        served.stop()
        assert error(waiting.result(), 503)["code"] == "server_stopping"
        assert served.get("/health").status_code == 503
        assert error(served.chat(), 503)["code"] == "server_stopping"
        script.gate.release(4)
        assert events(running.result())[-1]["choices"][0]["finish_reason"] == "stop"
    served.thread.join(30)
    assert not served.thread.is_alive()


def test_a_stop_waits_only_so_long(serving: Serving) -> None:
    script = Script(pieces=("好",) * 1000, gate=threading.Semaphore(0))
    assert script.gate is not None
    served = serving([script.model()], Limits(finish_s=0.1))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(served.chat)
        script.begun.acquire()
        served.stop()
        wait_until(lambda: served.server.should_exit)
        script.gate.release(1000)
        served.thread.join(30)
        assert not served.thread.is_alive()
        assert script.said < 1000
        running.exception()


def test_no_word_of_a_request_is_written_anywhere(bear: Served, capfd: pytest.CaptureFixture[str]) -> None:
    bear.chat("一个秘密")
    bear.chat("一个秘密", n=0)
    bear.raw(b"nonsense\r\n\r\n")
    bear.stop()
    bear.thread.join(30)
    assert capfd.readouterr() == ("", "")
