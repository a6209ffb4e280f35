"""What a request may hold: every bound from both sides, and what a conversation may look like."""

import json
from typing import Any

import pytest

from tonghua.config.schema import Sampling
from tonghua.prompt.conversation import Message
from tonghua.server.refusal import Refusal
from tonghua.server.requests import MOST_MESSAGES, UNABLE, ChatRequest, CompletionRequest, conversation, parsed, sampled
from tonghua.server.stops import StopFinder

HELLO = [{"role": "user", "content": "你好"}]


def asked(**given: Any) -> ChatRequest:
    body = {"model": "m", "messages": HELLO, **given}
    return parsed(ChatRequest, json.dumps(body).encode())


def refusal(**given: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        asked(**given)
    assert caught.value.status == 400
    assert caught.value.text.zh != caught.value.text.en
    return caught.value


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("model", ["m", "黛玉@base"], ["", 7, ["m"], "m" * 201]),
        ("temperature", [0, 1, 2, 0.5], [-0.1, 2.1, 50, "1", True, [1]]),
        ("top_p", [1, 0.01], [0, 1.1, -1, "0.5"]),
        ("top_k", [0, 40], [-1, 1.5, 2**40]),
        ("min_p", [0, 0.9], [1, -0.1]),
        ("repetition_penalty", [1, 1.2], [0, 11]),
        ("max_tokens", [1, 131072], [0, -1, 10**9, 1.5, "5", True, 10**30]),
        ("max_completion_tokens", [1], [0, 10**9]),
        ("seed", [0, -5, 2**63 - 1], [2**63, 1.5, "1"]),
        ("n", [1, 4], [0, 5, 10**9, -1, 1.5]),
        ("stop", ["。", ["a", "b", "c", "d"], []], ["", [""], ["a"] * 5, "x" * 65, 7, [7], {"a": 1}]),
        ("stream", [True, False], ["yes", 1]),
        ("stream_options", [{"include_usage": True}, {}], [{"include_usage": 1}, {"more": 1}, "a"]),
        ("logprobs", [True, False], [1, 0, "true"]),
        ("top_logprobs", [0], [1, 21, -1, True]),
        ("user", ["a"], ["a" * 513, 7]),
        ("messages", [HELLO], [[], "你好", {}, 7, HELLO * (MOST_MESSAGES + 1)]),
    ],
)
def test_each_parameter_has_bounds(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert asked(**{name: value})
    for value in bad:
        found = refusal(**{name: value})
        assert found.param == name and name in found.text.en and name in found.text.zh
    assert asked(**{name: None}) if name not in ("model", "messages") else refusal(**{name: None}).param == name


@pytest.mark.parametrize(
    "given",
    [
        {"presence_penalty": 0.5}, {"frequency_penalty": -1},
        {"logit_bias": {"5": 1}}, {"tools": [{"type": "function"}]}, {"response_format": {"type": "json_object"}},
        {"best_of": 2}, {"echo": True}, {"tool_choice": "required"}, {"store": True},
        {"chat_template": "{{ 1 }}"}, {"prompt_embeds": "x"}, {"guided_regex": "a"}, {"temprature": 1},
        {"chat_template_kwargs": {}}, {"模型": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_done_is_refused_by_name(given: dict[str, Any]) -> None:
    (name,) = given
    found = refusal(**given)
    assert found.param == name and "leave it out" in found.text.en


def test_likeliest_tokens_are_told_beside_log_p() -> None:
    assert [asked(logprobs=True, top_logprobs=top).likeliest for top in (None, 0, 20)] == [0, 0, 20]
    assert asked(logprobs=False, top_logprobs=0).likeliest is None


def test_what_asks_for_nothing_is_taken() -> None:
    for name, values in UNABLE.items():
        for value in (*values, None):
            assert asked(**{name: value}) == asked()


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"7", b'"a"', b"null", b"\xff\xfe", b'{"model": NaN}', b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000, b'{"seed": ' + b"9" * 100_000 + b"}", b'{"model": "\\ud800"}',
    ],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parsed(ChatRequest, body)
    assert caught.value.status == 400
    assert len(caught.value.text.en) < 300


def test_a_number_that_is_infinite_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        parsed(ChatRequest, b'{"model": "m", "messages": [1], "temperature": 1e999}')
    assert (caught.value.status, caught.value.param) == (400, "temperature")


def test_a_message_that_nests_deeply_is_refused() -> None:
    deep = json.loads("[" * 150 + "]" * 150)
    found = asked(messages=[{"role": "user", "content": deep}])
    with pytest.raises(Refusal, match=r"messages\[0\]\.content must be a text"):
        conversation(found.messages, None)


def said(*roles: str, text: str = "好") -> list[dict[str, Any]]:
    return [{"role": role, "content": text} for role in roles]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (said("alien"), "messages[0].role"),
        (said("user", "tool"), "messages[1].role"),
        ([{"content": "好"}], "messages[0].role"),
        ([{"role": 7, "content": "好"}], "messages[0].role"),
        ([{"role": ["user"], "content": "好"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": ["好"]}], "messages[0].content"),
        ([{"role": "user", "content": " \n"}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}],
         "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text", "text": 7}]}], "messages[0].content"),
        ([{"role": "user", "content": "好", "tool_calls": [1]}], "messages[0].tool_calls"),
        ([{"role": "user", "content": "好", "name": "a"}], "messages[0].name"),
        (["好"], "messages[0]"),
        (said("assistant"), "messages[0]"),
        (said("user", "assistant"), "messages[1]"),
        (said("user", "user"), "messages[1]"),
        (said("user", "assistant", "assistant", "user"), "messages[2]"),
        (said("user", "system", "user"), "messages[1]"),
        (said("system"), "messages[0]"),
        (said("system", "user", text="另一个"), "messages[0]"),
        (said("developer", "user", text="另一个"), "messages[0]"),
    ],
    ids=str,
)  # fmt: skip
def test_a_conversation_of_another_kind_is_refused(messages: list[Any], param: str) -> None:
    with pytest.raises(Refusal) as caught:
        conversation(messages, "你是熊。")
    assert (caught.value.status, caught.value.param) == (400, param)
    assert param.partition(".")[0] in caught.value.text.en or param == "messages[0]"


def test_a_conversation_is_taken_as_it_is() -> None:
    parts = [{"type": "text", "text": "你"}, {"type": "text", "text": "好"}]
    back = {"role": "assistant", "content": "", "refusal": None, "annotations": [], "tool_calls": None}
    found = conversation([{"role": "user", "content": parts}, back, *said("user")], "你是熊。")
    assert found == [Message("user", "你好"), Message("assistant", ""), Message("user", "好")]
    greeted = conversation([{"role": "developer", "content": "你是熊。"}, *said("assistant", "user")], "你是熊。")
    assert [message.role for message in greeted] == ["system", "assistant", "user"]
    assert conversation(said("system", "user", text="任何一个"), None)[0] == Message("system", "任何一个")


def test_sampling_is_that_of_the_run_with_what_is_asked_for() -> None:
    own = Sampling(temperature=0.9, max_new_tokens=77, dry_multiplier=0.3)
    assert sampled(asked(), own) == own
    changed = sampled(asked(temperature=0, top_p=0.5, max_tokens=9, seed=-1), own)
    assert changed == own.model_copy(update={"temperature": 0, "top_p": 0.5, "max_new_tokens": 9, "seed": 2**32 - 1})
    assert Sampling(**changed.model_dump()) == changed
    assert sampled(asked(max_tokens=9, max_completion_tokens=5), own).max_new_tokens == 5


@pytest.mark.parametrize("prompt", ["", 7, ["a", "b"], [1, 2], [], None, [[1]]], ids=str)
def test_a_prompt_is_one_text(prompt: object) -> None:
    with pytest.raises(Refusal) as caught:
        parsed(CompletionRequest, json.dumps({"model": "m", "prompt": prompt}).encode())
    assert (caught.value.status, caught.value.param) == (400, "prompt")
    for good in ("你好", ["你好"]):
        assert parsed(CompletionRequest, json.dumps({"model": "m", "prompt": good}).encode()).prompt == "你好"


@pytest.mark.parametrize(
    ("stops", "text", "shown"),
    [
        (["b"], "abc", "a"),
        (["bc", "b"], "abc", "a"),
        (["cd", "bcx"], "abcde", "ab"),
        (["\nUser:"], "Hi.\nUs\nUser: x", "Hi.\nUs"),
        (["aab"], "aaaab", "aa"),
        (["。"], "好", "好"),
        (["zz"], "az", "az"),
        ([], "abc", "abc"),
    ],
)
def test_a_stop_string_ends_the_text_wherever_it_is_cut(stops: list[str], text: str, shown: str) -> None:
    for size in range(1, len(text) + 1):
        finder = StopFinder(stops)
        parts = [finder.add(text[at : at + size]) for at in range(0, len(text), size)]
        assert "".join([*parts, finder.end()]) == shown
        assert finder.found == (shown != text)
