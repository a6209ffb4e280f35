"""The official client of OpenAI against a server of a trained run: what it parses, and what it raises."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from made_runs import Place
from served import Served, running

import tonghua
from tonghua.config.load import resampled
from tonghua.inference.engine import Answer
from tonghua.inference.teller import Teller
from tonghua.prompt.conversation import Message
from tonghua.server.limits import Limits
from tonghua.server.models import models_of

ASK: list[Any] = [{"role": "user", "content": "请讲一个关于月亮的故事。"}]
KEY = "a-key-of-the-tests"


@dataclass
class Told:
    """A server of one run, its teller, and a client."""

    served: Served
    teller: Teller
    client: openai.OpenAI

    def alone(self, tuned: bool, **sampling: Any) -> Answer:
        """What the run answers without a server."""
        sampled = resampled(self.teller.run.config.sampling, sampling)
        *_, answer = self.teller.stream([Message("user", ASK[0]["content"])], sampled, tuned)
        assert isinstance(answer, Answer)
        return answer


@pytest.fixture(scope="module")
def told(straight: Place) -> Iterator[Told]:
    teller = tonghua.load(straight.run, device="cpu", dtype="float32", on_event=lambda event: None)
    models = models_of("月", teller, teller.run.config.sampling)
    with ExitStack() as stack:
        served = stack.enter_context(running(models, Limits(), KEY))
        client = openai.OpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0)
        yield Told(served, teller, stack.enter_context(client))


def ask(told: Told, model: str = "月", **more: Any) -> Any:
    return told.client.chat.completions.create(
        model=model, messages=ASK, extra_body={"repetition_penalty": 1}, **{"max_tokens": 12, "temperature": 0, **more}
    )


def test_models(told: Told) -> None:
    assert [model.id for model in told.client.models.list()] == ["月", "月@base"]
    assert told.client.models.retrieve("月@base").owned_by == "tonghua"


@pytest.mark.parametrize(("model", "tuned"), [("月", True), ("月@base", False)])
def test_an_answer_is_that_of_the_run(told: Told, model: str, tuned: bool) -> None:
    alone = told.alone(tuned, temperature=0, repetition_penalty=1, max_new_tokens=12)
    found = ask(told, model)
    assert isinstance(found, openai.types.chat.ChatCompletion)
    assert found.choices[0].message.content == alone.text
    assert found.choices[0].finish_reason == alone.stop
    assert found.usage.completion_tokens == alone.tokens
    other = told.alone(not tuned, temperature=0, repetition_penalty=1, max_new_tokens=12)
    assert other.text != alone.text
    renderer = told.teller.engine.renderer
    assert found.usage.prompt_tokens == len(renderer.prompt([Message("user", ASK[0]["content"])]))


def test_a_stream_is_the_same_answer_with_its_usage(told: Told) -> None:
    whole = ask(told)
    chunks = list(ask(told, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_a_seed_repeats_and_choices_differ(told: Told) -> None:
    drawn = [ask(told, temperature=1.5, seed=5, n=3) for _ in range(2)]
    texts = [[choice.message.content for choice in found.choices] for found in drawn]
    assert texts[0] == texts[1] and len(set(texts[0])) == 3


def test_a_stop_string(told: Told) -> None:
    whole = ask(told).choices[0].message.content
    cut = ask(told, stop=whole[3:5])
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == (whole[: whole.find(whole[3:5])], "stop")


def test_log_p(told: Told) -> None:
    """Greedily, a token is the likeliest unless it repeats too much; the bytes of all are those of the answer."""
    (choice,) = ask(told, logprobs=True, top_logprobs=3, temperature=0).choices
    entries = choice.logprobs.content
    told_bytes = b"".join(bytes(each.bytes) for each in entries)
    assert told_bytes.decode("utf-8", "replace") == choice.message.content
    for each in entries:
        assert len(each.top_logprobs) == 3 and each.logprob <= each.top_logprobs[0].logprob <= 0
    first = entries[0]
    assert (first.bytes, first.logprob) == (first.top_logprobs[0].bytes, first.top_logprobs[0].logprob)
    streamed = [
        entry
        for chunk in ask(told, logprobs=True, top_logprobs=3, stream=True)
        if chunk.choices[0].logprobs
        for entry in chunk.choices[0].logprobs.content
    ]
    assert streamed == entries
    assert ask(told).choices[0].logprobs is None


def test_a_completion(told: Told) -> None:
    found = told.client.completions.create(
        model="月", prompt=ASK[0]["content"], max_tokens=12, temperature=0, extra_body={"repetition_penalty": 1}
    )
    assert found.choices[0].text == ask(told).choices[0].message.content


def test_answers_asked_for_at_once_do_not_mix(told: Told) -> None:
    """The adapter is switched between tokens: each answer must still be that of its own model."""
    alone = [ask(told, name).choices[0].message.content for name in ("月", "月@base")]
    streams = [ask(told, name, stream=True) for name in ("月", "月@base")]
    texts = ["", ""]
    for chunks in zip(*streams, strict=False):
        for at, chunk in enumerate(chunks):
            texts[at] += chunk.choices[0].delta.content or ""
    assert all(whole.startswith(text) and text for whole, text in zip(alone, texts, strict=True))


def test_mistakes_are_errors_of_the_client(told: Told) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        ask(told, "gpt-4o")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as unable:
        ask(told, presence_penalty=0.5)
    assert unable.value.param == "presence_penalty" and "not supported" in unable.value.message
    with pytest.raises(openai.BadRequestError) as long:
        told.client.chat.completions.create(model="月", messages=[{"role": "user", "content": "月" * 5000}])
    assert long.value.code == "context_length_exceeded"
    stranger = told.client.with_options(api_key="another-key-of-20-chars")
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()


def test_a_client_that_closes_its_stream_frees_the_server(told: Told) -> None:
    with ask(told, stream=True, max_tokens=500) as stream:
        next(iter(stream))
    turns = told.served.server._service.turns
    while turns.running:
        pass
    assert ask(told).choices[0].message.content


def test_a_control_token_in_a_message_is_text(told: Told) -> None:
    def ids(text: str) -> int:
        found = told.client.chat.completions.create(
            model="月", messages=[{"role": "user", "content": text}], max_tokens=1
        )
        return int(found.usage.prompt_tokens)

    assert ids("a<|im_end|>b") > ids("ab") + 1
