"""Compare the base with the tuned model on held-out rows.

    loss        -log p of the human answers per token, the same prompts for both; the difference with a paired
                bootstrap interval over rows
    generated   answers of both to the same prompts: do they stop, end whole, repeat themselves?

All samples of a long row are one draw of the bootstrap, and so are rows that ask the same.

The loss alone misleads: a model with a low loss can still loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..config.schema import Sampling
from ..core.example import Example
from ..core.lora import Adapter
from ..data.samples.samples import Samples
from ..data.sentences import ends_complete, without_space
from ..errors import DataError
from ..inference.engine import Engine
from ..prompt.conversation import Conversation, Message
from ..prompt.thoughts import without_thought
from .bootstrap import paired_bootstrap
from .losses import Losses, losses
from .measures import bits_per_character, clause_length, dialogue_share, rep_n

ANSWERS_AT_A_TIME = 8


@dataclass(frozen=True, slots=True)
class Generated:
    """Health of generated answers; `measures` says what each number can and cannot show."""

    stop_rate: float  # share of answers that the model ended by itself, 0 to 1
    ends_complete: float  # share of answers that stopped and whose last sentence is whole, 0 to 1
    rep4: float  # mean share of repeated 4-character sequences, 0 to 1
    chars: float  # mean length in characters without white space
    clause_length: float  # mean clause length in letters, digits and han characters
    dialogue_share: float  # mean share of characters inside quotation marks, 0 to 1


def health(answers: Sequence[tuple[str, str]]) -> Generated:
    """Return the health of answers given as (text, stop) pairs, without their reasoning; needs at least one."""
    answers = [(without_thought(text), stop) for text, stop in answers]
    count = len(answers)
    return Generated(
        sum(stop == "stop" for _, stop in answers) / count,
        sum(stop == "stop" and ends_complete(text) for text, stop in answers) / count,
        sum(rep_n(text) for text, _ in answers) / count,
        sum(len(without_space(text)) for text, _ in answers) / count,
        sum(clause_length(text) for text, _ in answers) / count,
        sum(dialogue_share(text) for text, _ in answers) / count,
    )


def compare_losses(
    engine: Engine, adapter: Adapter, samples: Samples, advance: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """Return losses in nats per token and bits per character of base and tuned, with their difference and interval.

    `advance` gets the number of further samples done, over both models. Leaves the adapter on. Raises DataError if
    all rows ask the same.
    """
    groups = samples.asked.tolist()
    if len(set(groups)) < 2:
        raise DataError(
            "比较需要至少两个不同的问题；请给更多的数据",
            "a comparison needs two different questions; give more rows",
        )
    with adapter.off():
        base = losses(engine.decoder, samples.examples, advance=advance)
    tuned = losses(engine.decoder, samples.examples, advance=advance)
    characters = sum(_learned_characters(engine, example) for example in samples.examples)
    interval = paired_bootstrap(base.nll, tuned.nll, base.targets, groups)
    return {
        "rows": samples.row_count,
        "targets": int(base.targets.sum()),
        "base": _summary(base, characters),
        "tuned": _summary(tuned, characters),
        "delta": tuned.per_token - base.per_token,
        "interval": [interval.low, interval.high],
    }


def _learned_characters(engine: Engine, example: Example) -> int:
    """Return the characters of the targets, those whose loss is counted; what is only context has none."""
    learned = [token for token, wanted in zip(example.ids, example.is_target, strict=True) if wanted]
    return len(without_space(engine.renderer.decode(learned)))


def _summary(found: Losses, characters: int) -> dict[str, float]:
    return {
        "nll_per_token": found.per_token,
        "bits_per_char": bits_per_character(float(found.nll.sum()), characters),
    }


def compare_answers(
    engine: Engine,
    adapter: Adapter,
    conversations: Sequence[Conversation],
    sampling: Sampling,
    advance: Callable[[int], None] = lambda done: None,
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Return the health and the texts of base and tuned answers to the last question of each conversation.

    `advance` gets 1 per answer. Without a seed in `sampling` the seed is 0. Leaves the adapter on.
    """
    prompts = [c.messages[:-1] for c in conversations]
    # A seed: both models draw with the same random numbers, and a second comparison gives the same texts.
    sampling = sampling if sampling.seed is not None else sampling.model_copy(update={"seed": 0})
    with adapter.off():
        base = _answers(engine, prompts, sampling, advance)
    written = {"base": base, "tuned": _answers(engine, prompts, sampling, advance)}
    texts = [
        {"prompt": p[-1].content, "base": b[0], "tuned": t[0]}
        for p, b, t in zip(prompts, written["base"], written["tuned"], strict=True)
    ]
    return {name: asdict(health(answers)) for name, answers in written.items()}, texts


def _answers(
    engine: Engine, prompts: Sequence[Sequence[Message]], sampling: Sampling, advance: Callable[[int], None]
) -> list[tuple[str, str]]:
    """Return (text, stop) of the answer to each prompt."""
    answers = [("", "length")] * len(prompts)
    # Several at a time read the weights once per token; the bound keeps the key-value cache small.
    for start in range(0, len(prompts), ANSWERS_AT_A_TIME):
        for row, text, stop in engine.answers(prompts[start : start + ANSWERS_AT_A_TIME], sampling):
            answers[start + row] = (text, stop)
            advance(1)
    return answers
