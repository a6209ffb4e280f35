"""Is what was exported still the run? An independent reader opens it again and is compared with base + adapter here.

    eight questions ──► ids and greedy answers of base + adapter, in torch        Reference
                    ──► what the reader gives to every token of these answers     `readers`
    KL(torch || reader), same first choice, same prompt ids, tuned and not base   Proof, or ProofError

KL: Kullback & Leibler, 1951, in nats a token. Where a reader gives only its likeliest tokens, all others together count
as one: that can only make the divergence smaller, and hardly does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..config.schema import Sampling
from ..core.example import Example
from ..core.forward import hidden_states
from ..core.lora import Adapter
from ..core.model import Decoder
from ..core.packing import pack
from ..errors import DataError
from ..inference.decode import tokens
from ..prompt.contract import Contract
from ..prompt.conversation import Message, with_system
from ..prompt.renderer import Renderer
from ..text import Text

QUESTIONS = (
    "你好，你是谁？",
    "讲一个关于月亮的小故事。",
    "小兔子为什么不敢过河？",
    "用三句话介绍北京。",
    "今天下雨了，我有点难过。",
    "Tell me a short story about a fox.",
    "What is rain, in one sentence?",
    "一加一等于几？",
)

COMPARED_TOKENS = 16
"""Most tokens of each answer that are compared."""

SAMPLE_TOKENS = 64
"""Most tokens of each answer that is kept to show what the run is like."""

LIMITS: Mapping[str, float] = MappingProxyType({"f32": 5e-4, "f16": 5e-4, "bf16": 5e-3, "q8_0": 5e-3, "q4_0": 0.5})
"""Largest mean divergence of each type of weights, in nats a token."""

TOLD = 0.02
"""Limit above which an export that keeps it may still differ so much that the figure comes with a warning."""

HARDLY_APART = 0.05
"""Divergence of tuned from base, in nats a token, below which the training has changed next to nothing."""

Values = NDArray[np.float64]


class Likely(NamedTuple):
    """The tokens that a reader finds likeliest at one place, and the logarithms of their probabilities."""

    ids: NDArray[np.int64]
    logs: Values


class ExportReader(Protocol):
    """Another program that has opened what was exported."""

    name: str

    def prompt(self, question: str) -> list[int]:
        """Return the ids of the prompt that it makes of a question, by the template of the export."""

    def likely(self, ids: Sequence[int], start: int) -> Iterator[Likely]:
        """Yield what it expects at each place of `ids` from `start` on, after those before."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Prompts and greedy answers of base + adapter; log p (tokens, vocabulary) of what is compared of each answer."""

    prompts: tuple[tuple[int, ...], ...]
    written: tuple[tuple[int, ...], ...]
    tuned: tuple[Values, ...]
    base: tuple[Values, ...]

    @property
    def answers(self) -> tuple[tuple[int, ...], ...]:
        """The beginning of each answer, which is compared."""
        return tuple(answer[:COMPARED_TOKENS] for answer in self.written)

    @property
    def apart(self) -> float:
        """Mean divergence of the base from base + adapter, in nats a token."""
        pairs = zip(self.tuned, self.base, strict=True)
        found = [
            divergence(t, Likely(np.arange(len(b)), b))
            for tuned, base in pairs
            for t, b in zip(tuned, base, strict=True)
        ]
        return float(np.mean(found))

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt and answer together."""
        return max(len(p) + len(a) for p, a in zip(self.prompts, self.answers, strict=True))


@dataclass(frozen=True, slots=True)
class Proof:
    """Figures of a comparison; divergences are means in nats a token, `agreement` a share of 0 to 1.

    `from_base` is that of the base without the adapter from the export: if it is far larger, the export is tuned.
    """

    reader: str
    type: str
    questions: int
    tokens: int
    divergence: float
    agreement: float
    from_base: float
    limit: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields for JSON output."""
        return asdict(self)

    @property
    def line(self) -> Text:
        """The figures on one line."""
        kl, base, same = f"{self.divergence:.2g}", f"{self.from_base:.2g}", f"{self.agreement:.1%}"
        zh, en = "", ""
        if self.limit > TOLD:
            zh, en = (
                f"；{self.type} 与训练出来的模型有这样的差别",
                f"; {self.type} differs so much from what was trained",
            )
        return Text(
            f"核对过：{self.reader} 读出的与基座加适配器相比，平均 KL {kl}（与不带适配器的基座相比 {base}），"
            f"首选相同 {same}，提示词的 token 相同（{self.questions} 问 {self.tokens} 处）{zh}",
            f"proven: read by {self.reader} and compared with base and adapter, the mean KL is {kl} (from the base"
            f" alone {base}), the first choice is the same at {same}, prompt ids are equal ({self.questions} questions,"
            f" {self.tokens} places){en}",
        )


class ProofError(DataError):
    """What was exported does not answer as the run does, so it is not kept."""


def reference(
    decoder: Decoder, adapter: Adapter, renderer: Renderer, contract: Contract, answer_tokens: int = COMPARED_TOKENS
) -> Reference:
    """Return what base + adapter answers to the questions, in at most `answer_tokens` each. Leaves the adapter on."""
    prompts = [renderer.prompt(_asked(question, contract), contract.thinking) for question in QUESTIONS]
    greedy = Sampling(
        temperature=0, repetition_penalty=1, dry_multiplier=0, top_p=1, min_p=0, max_new_tokens=answer_tokens
    )
    answers: list[list[int]] = [[] for _ in prompts]
    adapter.enable(True)
    for token in tokens(decoder, prompts, greedy, contract.stop_ids, frozenset()):
        answers[token.row].append(token.id)
    compared = [(prompt, answer[:COMPARED_TOKENS]) for prompt, answer in zip(prompts, answers, strict=True)]
    tuned = tuple(_logs(decoder, *both) for both in compared)
    with adapter.off():
        base = tuple(_logs(decoder, *both) for both in compared)
    return Reference(tuple(map(tuple, prompts)), tuple(map(tuple, answers)), tuned, base)


def _asked(question: str, contract: Contract) -> tuple[Message, ...]:
    return with_system((Message("user", question),), contract.system)


def _logs(decoder: Decoder, prompt: Sequence[int], answer: Sequence[int]) -> Values:
    """Return log p (tokens of the answer, vocabulary)."""
    is_target = (False,) * len(prompt) + (True,) * len(answer)
    (batch,) = pack([Example((*prompt, *answer), is_target, 0)], len(is_target), False)
    with torch.no_grad():
        logits = hidden_states(decoder, batch.to(decoder.device)) @ decoder.head.T
    found: Values = logits.double().log_softmax(-1).cpu().numpy()
    return found


def prove(wanted: Reference, reader: ExportReader, kind: str) -> Proof:
    """Return how far what the reader opened is from the reference; `kind` is the type of its weights.

    Raises ProofError if a prompt differs, the divergence is over the limit of this type, or it is nearer to the base.
    """
    kl: list[float] = []
    from_base: list[float] = []
    same: list[bool] = []
    rows = zip(QUESTIONS, wanted.prompts, wanted.answers, wanted.tuned, wanted.base, strict=True)
    for question, prompt, answer, tuned, base in rows:
        if reader.prompt(question) != list(prompt):
            raise _failed(
                reader,
                f"“{question}”的提示词与训练时的不同",
                f'its prompt for "{question}" is not that of the training',
            )
        for place, found in enumerate(reader.likely([*prompt, *answer], len(prompt))):
            kl.append(divergence(tuned[place], found))
            from_base.append(divergence(base[place], found))
            same.append(int(found.ids[found.logs.argmax()]) == int(tuned[place].argmax()))
    made = Proof(
        reader.name,
        kind,
        len(QUESTIONS),
        len(kl),
        float(np.mean(kl)),
        float(np.mean(same)),
        float(np.mean(from_base)),
        LIMITS[kind],
    )
    _require(made, reader, wanted.apart)
    return made


def _require(made: Proof, reader: ExportReader, apart: float) -> None:
    if not made.divergence <= made.limit:  # NaN is no figure either
        raise _failed(
            reader,
            f"平均 KL 是 {made.divergence:.2g}，{made.type} 不应超过 {made.limit}",
            f"the mean KL is {made.divergence:.2g}, and {made.type} allows {made.limit}",
        )
    # Where base and tuned are hardly apart, noise alone could make either the nearer one.
    if apart > HARDLY_APART and made.divergence > made.from_base:
        raise _failed(reader, "它更像没有训练过的基座", "it is nearer to the base that was not trained")


def divergence(wanted: Values, found: Likely) -> float:
    """Return KL(wanted || found) in nats; the tokens that the reader left out count as one."""
    logs = wanted[found.ids]
    chances = np.exp(logs)
    rest, found_rest = max(1 - chances.sum(), 1e-12), max(1 - np.exp(found.logs).sum(), 1e-12)
    return float((chances * (logs - found.logs)).sum() + rest * np.log(rest / found_rest))


def _failed(reader: ExportReader, zh: str, en: str) -> ProofError:
    return ProofError(
        f"导出的没有通过核对（{reader.name}）：{zh}；没有留下文件。请换一种类型，例如 f16；还不行请报告这个问题",
        f"the export did not pass its proof ({reader.name}): {en}; nothing was kept. Take another type, such as f16; if"
        " that fails too, please report it",
    )
