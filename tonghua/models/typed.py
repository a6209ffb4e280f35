"""Read a stranger's JSON object by one schema: a type and bounds for each key, one message for each fault.

    class Generation(Typed):
        eos_token_id: TokenIds = ()

    read_typed(Generation, {"eos_token_id": "x"}, "generation_config.json")    RefusedError

A schema names the keys that tonghua uses. Other keys are ignored.
"""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError

from ..config.fields import NotAllowed
from ..text import Text, shown
from .guarded import refused


class Typed(BaseModel):
    """Base class of the schemas."""

    model_config = ConfigDict(frozen=True, extra="ignore")


Schema = TypeVar("Schema", bound=Typed)


def read_typed(schema: type[Schema], value: object, where: str) -> Schema:
    """Return the object as an instance of the schema. Raises RefusedError for the first wrong key of `where`."""
    try:
        return schema.model_validate(value)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
    key = shown(".".join(map(str, fault["loc"])), 80)
    if fault["type"] == "missing":
        raise refused(where, f"缺少 {key}；请重新下载这个文件", f"{key} is missing; fetch this file again")
    wrong, found = fault.get("ctx", {}).get("error"), shown(fault["input"], 80)
    if isinstance(wrong, PartNotAllowed):
        zh, en = wrong.text
        raise refused(where, f"{key} {zh}；请重新下载这个文件", f"{key} {en}; fetch this file again")
    # What has a schema of its own has no validator of ours: the file itself, or an object in it.
    must = wrong.text if isinstance(wrong, NotAllowed) else Text("应是一个 JSON 对象", "must be a JSON object")
    named = Text(f"{key} ", f"{key} ") if key else Text("内容", "its content ")
    raise refused(
        where,
        f"{named.zh}{must.zh}，现在是 {found}；请重新下载这个文件",
        f"{named.en}{must.en}, not {found}; fetch this file again",
    )


class PartNotAllowed(NotAllowed):
    """A part of a list or an object is refused; the message names the part."""


def checked(fits: Callable[[Any], bool], zh: str, en: str) -> PlainValidator:
    """Return a validator that keeps a value that fits, as it is."""

    def keep(value: Any) -> Any:
        if not fits(value):
            raise NotAllowed(zh, en)
        return value

    return PlainValidator(keep)


def is_whole(value: object, low: int, high: int) -> bool:
    """True if the value is an int (not a bool) from `low` to `high`."""
    return type(value) is int and low <= value <= high


def whole(low: int, high: int) -> PlainValidator:
    """Return a validator for a whole number, written without a point."""
    return checked(
        lambda value: is_whole(value, low, high),
        f"应是 {low} 到 {high} 的整数",
        f"must be a whole number from {low} to {high}",
    )


def number(above: float, high: float) -> PlainValidator:
    """Return a validator for a number over `above` and at most `high`; it becomes a float."""

    def keep(value: object) -> float:
        if type(value) not in (int, float) or not above < value <= high:  # type: ignore[operator]
            raise NotAllowed(
                f"应大于 {above:g} 且不超过 {high:g}", f"must be a number above {above:g} and at most {high:g}"
            )
        return float(value)  # type: ignore[arg-type]

    return PlainValidator(keep)


Flag = Annotated[bool, checked(lambda value: type(value) is bool, "应是 true 或 false", "must be true or false")]

TEXT_LIMIT = 1_000
"""Maximum length of a name in a model's files, in characters."""

Word = Annotated[
    str,
    checked(
        lambda value: isinstance(value, str) and 0 < len(value) <= TEXT_LIMIT,
        f"应是 1 到 {TEXT_LIMIT} 个字的文本",
        f"must be a text of 1 to {TEXT_LIMIT} characters",
    ),
]


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise NotAllowed("应是文本的列表", "must be a list of texts")
    return tuple(value)


Names = Annotated[tuple[str, ...], PlainValidator(_names)]

ID_LIMIT = 2**31 - 1


def _token_ids(value: object) -> tuple[int, ...]:
    listed: list[Any] = value if isinstance(value, list) else [] if value is None else [value]
    # Some models write -1 for a token that they do not have.
    if len(listed) > TEXT_LIMIT or not all(is_whole(each, -1, ID_LIMIT) for each in listed):
        raise NotAllowed("应是一个 token 编号，或编号的列表", "must be the id of a token, or a list of ids")
    return tuple(each for each in listed if each >= 0)


TokenIds = Annotated[tuple[int, ...], PlainValidator(_token_ids)]
"""The ids of a key such as `eos_token_id`: null, one id or a list; a tuple here. -1 means none."""
