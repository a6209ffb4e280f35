"""Answer a request: check it, wait for a turn, and send the answer whole or as it comes.

body -> request -> model, messages -> tokens counted -> turn -> Telling -> one JSON object, or a stream of chunks
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from ..errors import DataError, UserError
from ..prompt.conversation import Message
from ..text import Language, listed, shown
from .answers import DONE, HEARTBEAT, Choice, Kind, ReplyShape, sse, usage_of
from .bodies import while_connected
from .guard import OnBug, language_of
from .limits import Limits
from .metrics import Meter
from .models import ServedModel
from .queue import Turns
from .refusal import Refusal, bad_request, failed, no_such_model
from .requests import ChatRequest, CompletionRequest, sampled
from .telling import Broken, Event, Finished, Order, Part, Telling


class Service:
    """What answers: models by name, turns, threads and counters. `on_bug` is told what is no mistake of a client."""

    def __init__(self, models: Mapping[str, ServedModel], limits: Limits, on_bug: OnBug):
        self.models, self.limits, self._on_bug = models, limits, on_bug
        self.created = int(time.time())
        self.turns = Turns(limits)
        self.meter = Meter(lambda: self.turns.running, lambda: self.turns.waiting)
        self._threads = ThreadPoolExecutor(limits.running, "answer")
        self._told: set[Telling] = set()

    def model(self, name: str) -> ServedModel:
        """Return what answers under this name. Raises Refusal with 404: no other model answers in its place."""
        if name not in self.models:
            raise no_such_model(shown(name, 60), listed(list(self.models)))
        return self.models[name]

    def stop(self) -> None:
        """End all answers before their next token."""
        for telling in self._told:
            telling.cancel()
        self._threads.shutdown(wait=False, cancel_futures=False)

    async def answer(
        self, kind: Kind, request: Request, asked: ChatRequest | CompletionRequest, messages: Sequence[Message]
    ) -> Response:
        """Return the response to a request. Raises Refusal, and ClientDisconnect if the client leaves first."""
        start = time.perf_counter()
        model = self.model(asked.model)
        prompt_tokens = await _prompt_tokens(model, messages)
        order = Order(model, messages, sampled(asked, model.sampling), asked.n, asked.stop, asked.likeliest)
        client = request.client.host if request.client else ""
        telling = await while_connected(request, Telling.begin(order, self.turns, client, self._threads))
        self._told.add(telling)
        reply = _Reply(
            self, telling, ReplyShape(kind, model.name, model.token_bytes), model, asked, prompt_tokens, start
        )
        try:
            if not asked.stream:
                return JSONResponse(await while_connected(request, reply.whole()))
            first = await while_connected(request, reply.first())
        except BaseException as error:
            if isinstance(error, ClientDisconnect):
                self.meter.disconnects.inc()
            self.end(telling)
            raise
        return _Stream(reply, first, language_of(request.scope))

    def end(self, telling: Telling) -> None:
        """End an answer before its next token, if it has not ended yet."""
        telling.cancel()
        self._told.discard(telling)

    def refusal(self, error: Exception) -> Refusal:
        """Return what a failed answer is refused with."""
        if isinstance(error, Refusal):
            return error
        if isinstance(error, UserError):
            return Refusal(400 if isinstance(error, DataError) else 500, error.text, "answer_failed")
        self._on_bug(error)
        return failed()


async def _prompt_tokens(model: ServedModel, messages: Sequence[Message]) -> int:
    """Return the tokens of the prompt. Raises Refusal if it leaves no room, or the template does not take it."""
    try:
        # In a thread: a long prompt would hold up all other requests.
        count = await asyncio.to_thread(model.prompt_tokens, messages)
    except DataError as error:
        raise bad_request(*error.text, "messages") from None
    if count >= model.context:
        raise bad_request(
            f"对话有 {count} 个 token，模型最多容纳 {model.context} 个，没有地方写回答了；请缩短它",
            f"the conversation has {count} tokens and the model takes {model.context}, so no answer has room;"
            " make it shorter",
            "messages",
            "context_length_exceeded",
        )
    return count


class _Reply:
    """Turns the events of one answer into its response."""

    def __init__(
        self,
        service: Service,
        telling: Telling,
        shape: ReplyShape,
        model: ServedModel,
        asked: ChatRequest | CompletionRequest,
        prompt_tokens: int,
        start: float,
    ):
        self.service, self.telling, self._shape, self._model = service, telling, shape, model
        self._asked, self._prompt_tokens, self._start = asked, prompt_tokens, start
        self._tokens = 0
        self._has_text = False
        service.meter.tokens.labels(model.name, "prompt").inc(prompt_tokens)

    def _usage(self) -> dict[str, int]:
        return usage_of(self._prompt_tokens, self._tokens)

    def _note(self, event: Event | None) -> None:
        """Count an event."""
        meter = self.service.meter
        if isinstance(event, Part) and not self._has_text:
            self._has_text = True
            meter.first_token.observe(time.perf_counter() - self._start)
        elif isinstance(event, Finished):
            self._tokens += event.tokens
            meter.tokens.labels(self._model.name, "answer").inc(event.tokens)
            meter.answers.labels(self._model.name, event.reason).inc()
        elif isinstance(event, Broken):
            meter.answers.labels(self._model.name, "error").inc()

    async def whole(self) -> dict[str, Any]:
        """Return the whole response. Raises Refusal if the answer fails."""
        choices = [Choice() for _ in range(self._asked.n)]
        async for event in self.telling.events():
            self._note(event)
            if isinstance(event, Broken):
                raise self.service.refusal(event.error)
            if isinstance(event, Part):
                choices[event.choice].text += event.text
                choices[event.choice].logs.extend(event.logs)
            else:
                choices[event.choice].reason = event.reason
        self.service.end(self.telling)
        return self._shape.whole(choices, self._asked.likeliest is not None, self._usage())

    async def first(self) -> list[Event | None]:
        """Return the first event, or none if it takes long. Raises Refusal if the answer fails before it begins."""
        try:
            event = await self.telling.next(self.service.limits.heartbeat_s)
        except TimeoutError:
            return []
        if isinstance(event, Broken):
            self._note(event)
            raise self.service.refusal(event.error)
        return [event]

    async def chunks(self, first: list[Event | None], language: Language) -> AsyncIterator[bytes]:
        """Yield the events of the stream; a failure is one of them, and the last."""
        options = self._asked.stream_options
        with_usage = options is not None and options.include_usage
        opened = -1
        while True:
            try:
                event = first.pop() if first else await self.telling.next(self.service.limits.heartbeat_s)
            except TimeoutError:
                yield HEARTBEAT
                continue
            self._note(event)
            if event is None:
                break
            if isinstance(event, Broken):
                yield sse(self.service.refusal(event.error).body(language))
                return
            if event.choice > opened:
                opened = event.choice
                if (opening := self._shape.opening(opened)) is not None:
                    yield self._sent(opening, with_usage)
            if isinstance(event, Part):
                yield self._sent(self._shape.part(event.choice, event.text, event.logs), with_usage)
            else:
                yield self._sent(self._shape.ending(event.choice, event.reason), with_usage)
        if with_usage:
            yield sse(self._shape.counted(self._usage()))
        yield DONE

    @staticmethod
    def _sent(chunk: dict[str, Any], with_usage: bool) -> bytes:
        return sse({**chunk, "usage": None} if with_usage else chunk)


class _Stream(StreamingResponse):
    """A stream of chunks; whoever ends it, and wherever, the answer ends too."""

    def __init__(self, reply: _Reply, first: list[Event | None], language: Language):
        super().__init__(reply.chunks(first, language), media_type="text/event-stream")
        # A proxy that collects the stream before it passes it on would show nothing for long.
        self.headers["X-Accel-Buffering"] = "no"
        self._reply = reply
        self._is_whole = False

    async def stream_response(self, send: Send) -> None:
        """Send all chunks."""
        await super().stream_response(send)
        self._is_whole = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            if not self._is_whole:
                self._reply.service.meter.disconnects.inc()
            self._reply.service.end(self._reply.telling)
