"""What a server answers with: each model name is a run, or the base of a run.

daiyu -> the run, daiyu@base -> its base without the adapter, under the same prompt contract
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..config.schema import Sampling
from ..errors import UsageError
from ..inference.engine import Answer
from ..inference.teller import Teller
from ..prompt.conversation import Message, with_system
from ..text import shown

BASE = "@base"

NAME_CHARACTERS = 100

Pieces = Generator[str | Answer, None, None]
Stream = Callable[[Sequence[Message], Sampling], Pieces]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model name and what answers under it.

    `system` is the system prompt that the training fixed, or None. `prompt_tokens` counts those of a conversation as
    it is asked, `text_tokens` those of a text; `context` is the maximum of prompt and answer together. `stream` may be
    called, and read, by several threads.
    """

    name: str
    base: str
    system: str | None
    sampling: Sampling
    context: int
    stream: Stream
    prompt_tokens: Callable[[Sequence[Message]], int]
    text_tokens: Callable[[str], int]


def models_of(name: str, teller: Teller, sampling: Sampling) -> tuple[ServedModel, ServedModel]:
    """Return the two models of an opened run: itself, and its base."""
    contract, renderer = teller.run.contract, teller.engine.renderer

    def prompt_tokens(messages: Sequence[Message]) -> int:
        return len(renderer.prompt(with_system(messages, contract.system), contract.thinking))

    def text_tokens(text: str) -> int:
        return len(renderer.tokenizer.encode(text, add_special_tokens=False).ids)

    shared = _Shared(teller)
    tuned, base = (
        ServedModel(
            made,
            contract.base["name"],
            contract.system,
            sampling,
            teller.base.config.context,
            partial(shared.stream, tuned=is_tuned),
            prompt_tokens,
            text_tokens,
        )
        for made, is_tuned in ((name, True), (name + BASE, False))
    )
    return tuned, base


class _Shared:
    """A teller that several threads read: they take turns, token by token."""

    def __init__(self, teller: Teller):
        self._teller = teller
        self._turn = _FairLock()

    def stream(self, messages: Sequence[Message], sampling: Sampling, tuned: bool) -> Pieces:
        pieces = self._teller.stream(messages, sampling, tuned)
        while True:
            with self._turn:
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece


class _FairLock:
    """A lock that goes to whoever waits longest; threading.Lock lets the one that releases it take it again."""

    def __init__(self) -> None:
        self._inner = threading.Lock()
        self._is_held = False
        self._waiting: deque[threading.Event] = deque()

    def __enter__(self) -> None:
        with self._inner:
            if not self._is_held:
                self._is_held = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def __exit__(self, *raised: object) -> None:
        with self._inner:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._is_held = False


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
