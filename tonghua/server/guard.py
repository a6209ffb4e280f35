"""What every request passes first: its Host, its Origin and its key; and what every response carries.

    request -> Host on the list? -> Origin our own? -> key? -> the routes
                  400                 403               401, after several wrong ones 429

The list of hosts stops DNS rebinding: a page of a stranger whose name points to this machine sends its own name as
Host. An address is no name that could point elsewhere, so every address passes.
"""

import hmac
import ipaddress
import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..text import Language, Text
from .limits import Limits
from .refusal import Refusal, bad_request, failed, wrong_key

OPEN_PATHS = ("/", "/health")
"""What is served without the key: the page, which holds no secret, and whether the server is well."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

OnBug = Callable[[BaseException], None]


class Guard:
    """ASGI middleware around the routes."""

    def __init__(
        self,
        app: ASGIApp,
        hosts: Collection[str],
        key: str | None,
        limits: Limits,
        count: Callable[[int], None],
        on_bug: OnBug,
    ):
        self._app, self._hosts, self._count, self._on_bug = app, frozenset(map(str.lower, hosts)), count, on_bug
        self._keys = KeyCheck(key, limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def sending(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                self._count(message["status"])
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if message["status"] >= 400:
                    # What else the client sends, such as the rest of a body that is too large, is not read.
                    headers["Connection"] = "close"
            await send(message)

        try:
            self._check(Headers(scope=scope), scope)
            await self._app(scope, receive, sending)
        except Refusal as refusal:
            await respond(refusal, scope, sending)
        except Exception as error:
            self._on_bug(error)
            if has_begun:
                raise
            await respond(failed(), scope, sending)

    def _check(self, headers: Headers, scope: Scope) -> None:
        host = headers.get("host", "")
        if not is_allowed(host, self._hosts):
            raise bad_request(
                "这个 Host 不在名单里；请用启动时显示的地址，或加 --allow-host",
                "this Host is not on the list; use the address shown at the start, or add --allow-host",
            )
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise Refusal(
                403, Text("不接受别的网站的请求", "requests of other web sites are not taken"), "foreign_origin"
            )
        if scope["path"] not in OPEN_PATHS:
            self._keys.check(headers.get("authorization", ""), _client(scope))


def _client(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def is_allowed(host: str, names: Collection[str]) -> bool:
    """True if the name in a Host header is one of `names`, or is an address."""
    name = host.lower()
    if name.startswith("["):
        name, _, port = name[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = name.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return False
    if name.removesuffix(".") in names:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class KeyCheck:
    """Compares keys in constant time, and stops an address that guesses."""

    MOST_ADDRESSES = 1024

    def __init__(self, key: str | None, limits: Limits):
        self._key, self._limits = None if key is None else key.encode(), limits
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def check(self, authorization: str, client: str) -> None:
        """Raise Refusal if a key is needed and this is none: 401, and 429 after many wrong ones in a minute."""
        if self._key is None:
            return
        now = time.monotonic()
        wrong = self._wrong.get(client, deque())
        while wrong and now - wrong[0] > 60:
            wrong.popleft()
        if len(wrong) >= self._limits.wrong_keys:
            text = Text("密钥错得太多，请过一分钟再试", "too many wrong keys; try again in a minute")
            raise Refusal(429, text, "too_many_wrong_keys", retry_s=60)
        kind, _, given = authorization.partition(" ")
        # Headers are latin-1; compare_digest takes no other text than ASCII, so both are bytes.
        if kind.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key):
            self._wrong.pop(client, None)
            return
        if given:  # a request without a key is no guess
            wrong.append(now)
            self._wrong[client] = wrong
            self._wrong.move_to_end(client)
            if len(self._wrong) > self.MOST_ADDRESSES:
                self._wrong.popitem(last=False)
        raise wrong_key()


def language_of(scope: Scope) -> Language:
    """Return the language of an error: Chinese if that is the first that the client accepts."""
    accepted = Headers(scope=scope).get("accept-language", "")
    return "zh" if accepted.strip().lower().startswith("zh") else "en"


async def respond(refusal: Refusal, scope: Scope, send: Send) -> None:
    """Send a refusal as JSON."""
    body = json.dumps(refusal.body(language_of(scope)), ensure_ascii=False).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers()}
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
