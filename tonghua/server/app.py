"""The routes of a server.

GET  /                       the chat page
GET  /health                 200, or 503 while the server stops
GET  /metrics                counters for Prometheus
GET  /v1/models[/NAME]       the models by name
POST /v1/chat/completions    an answer, whole or as it comes
POST /v1/completions         the same; the prompt is asked as the message of a user
"""

from collections.abc import Collection
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp

from ..prompt.conversation import Message
from ..text import Text
from .answers import model_entry
from .bodies import read_body
from .guard import Guard, OnBug, language_of
from .page import read_page
from .refusal import Refusal
from .requests import ChatRequest, CompletionRequest, conversation, parsed
from .service import Service


def guarded_app(service: Service, hosts: Collection[str], key: str | None, on_bug: OnBug) -> ASGIApp:
    """Return the whole application: the routes behind the checks of `guard`."""
    responses = service.meter.responses
    return Guard(
        _routes(service), hosts, key, service.limits, lambda status: responses.labels(str(status)).inc(), on_bug
    )


def _routes(service: Service) -> FastAPI:
    # No pages of documentation: they load scripts from elsewhere.
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    page = read_page()

    @app.get("/")
    async def chat_page() -> Response:
        return HTMLResponse(page.html, headers={"Content-Security-Policy": page.policy})

    @app.get("/health")
    async def health() -> Response:
        stops = service.turns.is_closed
        return JSONResponse({"status": "stopping" if stops else "ok"}, 503 if stops else 200)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.meter.text(), media_type=service.meter.content_type)

    @app.get("/v1/models")
    async def list_models() -> Response:
        entries = [model_entry(model, service.created) for model in service.models.values()]
        return JSONResponse({"object": "list", "data": entries})

    @app.get("/v1/models/{name:path}")
    async def one_model(name: str) -> Response:
        return JSONResponse(model_entry(service.model(name), service.created))

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        asked = parsed(ChatRequest, await read_body(request, service.limits))
        messages = conversation(asked.messages, service.model(asked.model).system)
        return await service.answer("chat", request, asked, messages)

    @app.post("/v1/completions")
    async def completion(request: Request) -> Response:
        asked = parsed(CompletionRequest, await read_body(request, service.limits))
        return await service.answer("completion", request, asked, [Message("user", asked.prompt)])

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> Response:
        return JSONResponse(refusal.body(language_of(request.scope)), refusal.status, refusal.headers())

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        return await refused(request, _no_route(error))

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it

    return app


def _no_route(error: HTTPException) -> Refusal:
    words: dict[int, Any] = {
        404: Text("没有这个地址", "there is nothing at this address"),
        405: Text("这个地址不接受这种请求", "this address takes no such request"),
    }
    text = words.get(error.status_code, Text(str(error.detail), str(error.detail)))
    return Refusal(error.status_code, text)
