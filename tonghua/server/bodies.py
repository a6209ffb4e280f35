"""Read the body of a request within bounds, and notice a client that leaves."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from ..text import Text
from .limits import Limits
from .refusal import Refusal

T = TypeVar("T")


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the body. Raises Refusal: 415 if it is not JSON, 413 if it is too large, 408 if it comes too slowly.

    A body somewhat too large is read to its end and dropped: if the connection closed while the client still sends, it
    would see that and not the refusal. What is far too large is refused unread. Raises ClientDisconnect if the client
    leaves.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        # A page of another site can send forms and plain text without asking first, but no JSON.
        raise Refusal(415, Text("Content-Type 应是 application/json", "Content-Type must be application/json"))
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.dropped_bytes:
        raise _too_large(limits)
    body, size_bytes = bytearray(), 0
    try:
        async with asyncio.timeout(limits.body_s):
            async for chunk in request.stream():
                size_bytes += len(chunk)
                if size_bytes > limits.dropped_bytes:
                    raise _too_large(limits)
                if size_bytes <= limits.body_bytes:
                    body += chunk
    except TimeoutError:
        raise Refusal(408, Text("请求来得太慢", "the request came too slowly")) from None
    if size_bytes > limits.body_bytes:
        raise _too_large(limits)
    return bytes(body)


def _too_large(limits: Limits) -> Refusal:
    size = limits.body_bytes // 1024
    return Refusal(413, Text(f"请求太大，至多 {size} KiB", f"the request is too large; at most {size} KiB"))


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns. Raises ClientDisconnect, and cancels the work, if the client leaves first."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_leaving(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return await task
    finally:
        for each in (task, gone):
            each.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await each


async def _leaving(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
