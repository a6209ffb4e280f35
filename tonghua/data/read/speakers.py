"""Who speaks in a message: the names that files give to the system, the user, the assistant, and tools."""

from collections.abc import Mapping

from ...prompt.conversation import Role
from .roles import LATER_NAMES, OTHER_NAMES, plain_name

SPEAKERS: Mapping[str, Role] = {
    **dict.fromkeys(("system", "developer", "系统"), "system"),
    **dict.fromkeys(("user", "human", "prompter", "用户"), "user"),
    **dict.fromkeys(("assistant", "gpt", "bot", "model", "chatgpt", "chatbot", "ai", "助手"), "assistant"),
}

TOOL_SPEAKERS = frozenset(
    (
        *("tool", "tools", "tool_call", "tool_calls", "tool_response", "tool_responses", "tool_result"),
        *("function", "function_call", "function_response", "observation", "observations", "ipython"),
    )
)

_ROUND: Mapping[str, str] = {
    "system": "system",
    "input": "input",
    **dict.fromkeys(("instruction", *OTHER_NAMES["instruction"], *LATER_NAMES["instruction"]), "question"),
    **dict.fromkeys(("output", *OTHER_NAMES["output"], *LATER_NAMES["output"]), "answer"),
}


def role_of(said: str) -> Role | None:
    """Return the role of a speaker, or None if the name is unknown. Case and outer white space do not count."""
    return SPEAKERS.get(said) or SPEAKERS.get(plain_name(said))


def is_tool(said: str) -> bool:
    """True if the name stands for a tool call or its result."""
    return plain_name(said).replace("-", "_") in TOOL_SPEAKERS


def round_part(key: str) -> str | None:
    """Return what a key of a round holds: system, question, input or answer; None if it is no part of a round."""
    return _ROUND.get(key) or _ROUND.get(plain_name(key))
