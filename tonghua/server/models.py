"""What a server answers with: each model name is a run, or the base of a run.

daiyu -> the run, daiyu@base -> its base without the adapter, under the same prompt contract
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..config.schema import Persona, Sampling
from ..errors import UsageError
from ..inference.engine import Pieces
from ..inference.teller import Teller
from ..prompt.conversation import Message
from ..text import shown

BASE = "@base"

NAME_CHARACTERS = 100

Stream = Callable[[Sequence[Message], Sampling, int | None], Pieces]
"""(messages, sampling, likeliest) -> pieces, as `Engine.stream` has them."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model name and what answers under it.

    `system` is the system prompt that the training fixed, or None. `prompt_tokens` counts those of a conversation as
    it is asked, `text_tokens` those of a text; `token_bytes` are those that a token adds to a text; `context` is
    the maximum of prompt and answer together. `stream` may be called, and read, by several threads. `card` is what
    people see of its character.
    """

    name: str
    base: str
    system: str | None
    sampling: Sampling
    context: int
    stream: Stream
    prompt_tokens: Callable[[Sequence[Message]], int]
    text_tokens: Callable[[str], int]
    token_bytes: Callable[[int], bytes]
    card: Persona | None = None


def models_of(name: str, teller: Teller, sampling: Sampling) -> tuple[ServedModel, ServedModel]:
    """Return the two models of an opened run: itself, and its base."""
    contract, renderer = teller.run.contract, teller.engine.renderer

    def prompt_tokens(messages: Sequence[Message]) -> int:
        return len(teller.engine.prompt(messages))

    def text_tokens(text: str) -> int:
        return len(renderer.tokenizer.encode(text, add_special_tokens=False).ids)

    tuned, base = (
        ServedModel(
            made,
            contract.base["name"],
            contract.system,
            sampling,
            teller.engine.context_tokens,
            partial(_stream, teller, is_tuned),
            prompt_tokens,
            text_tokens,
            renderer.vocabulary.bytes_of,
            card=contract.card if is_tuned else None,
        )
        for made, is_tuned in ((name, True), (name + BASE, False))
    )
    return tuned, base


def _stream(
    teller: Teller, tuned: bool, messages: Sequence[Message], sampling: Sampling, likeliest: int | None
) -> Pieces:
    return teller.stream(messages, sampling, tuned, likeliest)


def by_name(models: Sequence[ServedModel]) -> Mapping[str, ServedModel]:
    """Return the models by their names. Raises UsageError if two have the same, or a name cannot be one."""
    found: dict[str, ServedModel] = {}
    for model in models:
        name = model.name.removesuffix(BASE)
        if not name or len(name) > NAME_CHARACTERS or not name.isprintable() or name != name.strip() or "@" in name:
            raise UsageError(
                f"{shown(name, 40)} 不能用作模型的名字：要 1 到 {NAME_CHARACTERS} 个字，不含 @；请写 名字=结果文件夹",
                f"{shown(name, 40)} cannot be the name of a model: 1 to {NAME_CHARACTERS} characters without @;"
                " write NAME=RUN",
            )
        if model.name in found:
            raise UsageError(
                f"有两个模型都叫 {name}；请给其中一个另起名字：名字=结果文件夹",
                f"two models are called {name}; name one of them: NAME=RUN",
            )
        found[model.name] = model
    return found
