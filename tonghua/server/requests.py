"""What a client may ask for: bounded models of the two requests, and the messages of a conversation.

    bytes --pydantic_core.from_json--> object --ChatRequest, CompletionRequest--> numbers within bounds
                                              --conversation--> (Message, ...) of the contract's kind

A value that would change the answer and that we cannot honour is refused, never ignored. `null` means "not given".
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import from_json

from ..config.schema import Sampling
from ..prompt.conversation import Message, Role
from ..text import Text, shown
from .refusal import Refusal, bad_request

MOST_MESSAGES = 256

UNABLE: Mapping[str, tuple[Any, ...]] = {
    "presence_penalty": (0, 0.0),
    "frequency_penalty": (0, 0.0),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "store": (False,),
    "metadata": ({},),
    "service_tier": ("auto", "default"),
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
}
"""Parameters of OpenAI's that are not supported, and the values of each that ask for nothing."""


def _given(value: Any) -> Any:
    """Return the object without what is null, or asks for nothing. Raises Refusal for what is not supported."""
    if not isinstance(value, dict):
        return value
    kept = {}
    for key, asked in value.items():
        nothing = UNABLE.get(key, ())
        if asked is None or any(type(asked) is type(each) and asked == each for each in nothing):
            continue
        if key in UNABLE:
            raise bad_request(f"这里不支持 {key}，请去掉它", f"{key} is not supported here; leave it out", key)
        kept[key] = asked
    return kept


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Number = Annotated[float | None, Field(allow_inf_nan=False)]
Longest = Annotated[int | None, Field(ge=1, le=131072, description="1 到 131072 的整数 / an integer from 1 to 131072")]


class StreamOptions(BaseModel):
    """Options of a stream. The second is about padding that hides lengths of tokens; there is none here."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    include_usage: bool = False
    include_obfuscation: bool = False


class _Request(BaseModel):
    """What both requests share. Each description says in both languages what a value must be."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: str = Field(min_length=1, max_length=200, description="模型的名字 / the name of a model")
    max_tokens: int | None = Field(
        None, ge=1, le=131072, description="1 到 131072 的整数 / an integer from 1 to 131072"
    )
    temperature: Number = Field(None, ge=0, le=2, description="0 到 2 的数 / a number from 0 to 2")
    top_p: Number = Field(None, gt=0, le=1, description="大于 0、至多 1 的数 / a number above 0, at most 1")
    top_k: int | None = Field(None, ge=0, le=2**31, description="不小于 0 的整数 / an integer of at least 0")
    min_p: Number = Field(None, ge=0, lt=1, description="不小于 0、小于 1 的数 / a number from 0, below 1")
    repetition_penalty: Number = Field(
        None, gt=0, le=10, description="大于 0、至多 10 的数 / a number above 0, at most 10"
    )
    seed: int | None = Field(None, ge=-(2**63), lt=2**63, description="64 位的整数 / an integer of 64 bits")
    n: int = Field(1, ge=1, le=4, description="1 到 4 的整数 / an integer from 1 to 4")
    stop: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=64)], ...],
        BeforeValidator(lambda value: tuple(_listed(value)) if isinstance(value, str | list) else value),
    ] = Field(
        (),
        max_length=4,
        description="一段文字，或至多 4 段，每段 1 到 64 个字 / a text, or up to 4, each of 1 to 64 characters",
    )
    stream: bool = Field(False, description="true 或 false / true or false")
    stream_options: StreamOptions | None = Field(
        None, description='{"include_usage": true 或 false} / {"include_usage": true or false}'
    )
    user: str | None = Field(None, max_length=512, description="至多 512 个字 / a text of at most 512 characters")

    @property
    def longest(self) -> int | None:
        """The most tokens of an answer, or None."""
        return self.max_tokens

    @property
    def likeliest(self) -> int | None:
        """How many of the likeliest tokens to tell beside each token of the answer, or None to tell no log p."""
        return None


class ChatRequest(_Request):
    """The body of /v1/chat/completions. `conversation` checks the messages."""

    messages: tuple[Any, ...] = Field(
        min_length=1,
        max_length=MOST_MESSAGES,
        description=f"1 到 {MOST_MESSAGES} 条消息的列表 / a list of 1 to {MOST_MESSAGES} messages",
    )
    max_completion_tokens: Longest = None
    logprobs: bool = Field(False, description="true 或 false / true or false")
    top_logprobs: int | None = Field(
        None,
        ge=0,
        le=20,
        description="0 到 20 的整数，同时要写 logprobs: true / an integer from 0 to 20, beside logprobs: true",
    )

    @field_validator("top_logprobs")
    @classmethod
    def _beside_logprobs(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value and not info.data.get("logprobs"):
            raise ValueError("top_logprobs")
        return value

    @property
    def longest(self) -> int | None:
        """The most tokens of an answer, by whichever of its two names, or None."""
        given = [value for value in (self.max_tokens, self.max_completion_tokens) if value is not None]
        return min(given) if given else None

    @property
    def likeliest(self) -> int | None:
        """How many of the likeliest tokens to tell beside each token of the answer, or None to tell no log p."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(_Request):
    """The body of /v1/completions: one prompt, which is asked as the message of a user."""

    prompt: Annotated[
        str,
        BeforeValidator(lambda value: value[0] if isinstance(value, list) and len(value) == 1 else value),
    ] = Field(min_length=1, description="一段不空的文字，不是 token / one text that is not empty, and no token ids")
    logprobs: int | None = Field(None, ge=0, le=5, description="0 到 5 的整数 / an integer from 0 to 5")

    @property
    def likeliest(self) -> int | None:
        """How many of the likeliest tokens to tell beside each token of the answer, or None to tell no log p."""
        return self.logprobs


R = TypeVar("R", bound=_Request)


def parsed(kind: type[R], body: bytes) -> R:
    """Return the request in a body. Raises Refusal with 400, naming the parameter."""
    try:
        # Its parser bounds depth and digits itself; json.loads would overflow the stack.
        value = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        where = shown(error, 100)
        raise bad_request(f"请求不是合法的 JSON：{where}", f"the request is no valid JSON: {where}") from None
    if not isinstance(value, dict):
        raise bad_request("请求应是一个 JSON 对象", "the request must be a JSON object")
    given = _given(value)
    # A tuple field takes no list of Python in strict mode.
    given = {key: tuple(each) if key == "messages" and isinstance(each, list) else each for key, each in given.items()}
    if isinstance(given.get("stream_options"), dict):
        given["stream_options"] = _given(given["stream_options"])
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise _refused(kind, error) from None


def _refused(kind: type[BaseModel], error: ValidationError) -> Refusal:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    name = shown(first["loc"][0] if first["loc"] else "", 40)
    if name not in kind.model_fields:
        return bad_request(f"不认识参数 {name}，请去掉它", f"the parameter {name} is not known; leave it out", name)
    if first["type"] == "missing":
        return bad_request(f"缺少 {name}", f"{name} is missing", name)
    wanted = Text(*str(kind.model_fields[name].description).split(" / "))
    return bad_request(f"{name} 应是{wanted.zh}", f"{name} must be {wanted.en}", name)


def conversation(messages: Sequence[Any], system: str | None) -> list[Message]:
    """Return the messages: [system] [greeting] user, then assistant and user in turn.

    `system` is the system prompt of the training: a message that differs from it is refused, because the run knows
    no other. A run that fixed none takes any. Raises Refusal with 400, naming the message.
    """
    made = [_message(value, f"messages[{at}]") for at, value in enumerate(messages)]
    for at, message in enumerate(made):
        if message.role == "system" and at:
            raise _misplaced(at, "system 只能是第一条", "a system message can only be the first")
        if at and message.role == made[at - 1].role:
            raise _misplaced(at, "user 和 assistant 要一人一句", "user and assistant must take turns")
    if made[-1].role != "user":
        raise _misplaced(len(made) - 1, "最后一条应是 user 的", "the last message must be that of a user")
    if made[0].role == "system" and system is not None and made[0].content != system:
        raise bad_request(
            "这个模型的系统提示词在训练时就定下了；请去掉 system 消息",
            "the system prompt of this model was settled in training; leave the system message out",
            "messages[0]",
        )
    return made


def _misplaced(at: int, zh: str, en: str) -> Refusal:
    return bad_request(f"messages[{at}]：{zh}", f"messages[{at}]: {en}", f"messages[{at}]")


ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}

_EMPTY_PARTS = ("refusal", "annotations", "audio", "tool_calls", "function_call")
"""What clients send back with an answer, empty; anything in it would be lost."""


def _message(value: Any, where: str) -> Message:
    if not isinstance(value, dict):
        raise bad_request(f"{where} 应是一个对象", f"{where} must be an object", where)
    given = {key: each for key, each in value.items() if each not in (None, []) or key not in _EMPTY_PARTS}
    said = given.pop("role", None)
    role = ROLES.get(said) if isinstance(said, str) else None
    if role is None:
        raise bad_request(
            f"{where}.role 应是 system、user 或 assistant",
            f"{where}.role must be system, user or assistant",
            f"{where}.role",
        )
    content = _text(given.pop("content", None), f"{where}.content")
    for key in given:
        name = shown(key, 40)
        raise bad_request(f"{where} 里不支持 {name}", f"{name} is not supported in {where}", f"{where}.{name}")
    if not content.strip() and role != "assistant":
        raise bad_request(f"{where}.content 是空的", f"{where}.content is empty", f"{where}.content")
    return Message(role, content)


def _text(content: Any, where: str) -> str:
    """Return the text of a content: a text, or a list of parts of text, which are joined."""
    if isinstance(content, str):
        return content
    parts: list[Any] = content if isinstance(content, list) and content else [None]
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise bad_request(
                f'{where} 应是文字，或 {{"type": "text", "text": …}} 的列表；图片和声音不支持',
                f'{where} must be a text, or a list of {{"type": "text", "text": …}}; no images, no sound',
                where,
            )
    return "".join(part["text"] for part in parts)


def sampled(request: _Request, own: Sampling) -> Sampling:
    """Return the sampling of an answer: that of the run, with what the request asks for."""
    names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
    asked: dict[str, Any] = {name: value for name in names if (value := getattr(request, name)) is not None}
    if request.longest is not None:
        asked["max_new_tokens"] = request.longest
    if request.seed is not None:
        asked["seed"] = request.seed % 2**32
    return own.model_copy(update=asked)
