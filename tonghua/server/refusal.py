"""What a request is refused with: an HTTP status and one line in Chinese and English, in the shape of OpenAI's errors.

Refusal
 ├─ bad_request       400   invalid_request_error, with the parameter at fault
 ├─ wrong_key         401   invalid_api_key
 ├─ no_such_model     404   model_not_found
 ├─ too_many          429   rate_limit_exceeded, with Retry-After
 └─ stopping          503   server_stopping
"""

from typing import Any

from ..text import Language, Text


class Refusal(Exception):
    """A request that is not answered; `param` names what is wrong in it, `code` is for programs."""

    def __init__(self, status: int, text: Text, code: str | None = None, param: str | None = None, retry_s: int = 0):
        super().__init__(text.en)
        self.status, self.text, self.code, self.param, self.retry_s = status, text, code, param, retry_s

    def body(self, language: Language) -> dict[str, Any]:
        """Return the error as OpenAI's clients read it."""
        if self.status == 429:
            kind = "rate_limit_error"
        else:
            kind = "invalid_request_error" if self.status < 500 else "server_error"
        said = {"message": self.text.to(language), "type": kind, "param": self.param, "code": self.code}
        return {"error": said}

    def headers(self) -> dict[str, str]:
        """Return the headers that belong to the status."""
        found = {"Retry-After": str(self.retry_s)} if self.retry_s else {}
        return {**found, "WWW-Authenticate": "Bearer"} if self.status == 401 else found


def bad_request(zh: str, en: str, param: str | None = None, code: str | None = None) -> Refusal:
    return Refusal(400, Text(zh, en), code, param)


def wrong_key() -> Refusal:
    text = Text(
        "缺少密钥，或密钥不对；请在 Authorization: Bearer 后面写上服务的密钥",
        "the key is missing or wrong; send the key of this server as Authorization: Bearer KEY",
    )
    return Refusal(401, text, "invalid_api_key")


def no_such_model(name: str, known: Text) -> Refusal:
    text = Text(f"没有叫 {name} 的模型；有的是 {known.zh}", f"there is no model {name}; there are {known.en}")
    return Refusal(404, text, "model_not_found", "model")


def too_many(retry_s: int) -> Refusal:
    text = Text("等着的人太多了，请过一会儿再试", "too many requests are waiting; try again in a moment")
    return Refusal(429, text, "rate_limit_exceeded", retry_s=retry_s)


def waited_too_long(retry_s: int) -> Refusal:
    text = Text("一直没有轮到，请过一会儿再试", "no turn came in time; try again in a moment")
    return Refusal(503, text, "overloaded", retry_s=retry_s)


def stopping(retry_s: int) -> Refusal:
    text = Text("服务正在停下，不再回答新的请求", "the server is stopping and answers no new request")
    return Refusal(503, text, "server_stopping", retry_s=retry_s)


def failed() -> Refusal:
    text = Text("服务内部出错，详情在它的终端里", "the server failed inside; its terminal has the details")
    return Refusal(500, text, "internal_error")
