"""Compare the base with the tuned model on held-out rows.

    loss        -log p of the human answers per token, the same prompts for both; the difference with a paired
                bootstrap interval over rows
    generated   answers of both to the same prompts: do they stop, end whole, repeat themselves?
    endings     share of these answers that end by themselves, with a whole sentence and without a loop

All samples of a long row are one draw of the bootstrap, and so are rows that ask the same.

The loss alone misleads: a model with a low loss can still loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..config.schema import Sampling
from ..core.example import Example
from ..data.samples.samples import Samples
from ..data.sentences import ends_complete, without_space
from ..inference.engine import Engine, StopReason
from ..inference.torch_engine import TorchEngine
from ..prompt.conversation import Conversation, Message
from ..prompt.renderer import Renderer
from ..prompt.thoughts import without_thought
from .bootstrap import difference
from .losses import Losses, losses
from .measures import bits_per_character, clause_length, dialogue_share, rep_n

ANSWERS_AT_A_TIME = 8

LOOPS = 0.20
"""An answer with more repetition (rep-4) than this goes in circles; 95 % of what people write has at most 0.15."""

Written = tuple[str, StopReason]
"""The text of an answer, and how it ended."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Health of generated answers; `measures` says what each number can and cannot show."""

    stop_rate: float  # share of answers that the model ended by itself, 0 to 1
    ends_complete: float  # share of answers that stopped and whose last sentence is whole, 0 to 1
    rep4: float  # mean share of repeated 4-character sequences, 0 to 1
    chars: float  # mean length in characters without white space
    clause_length: float  # mean clause length in letters, digits and han characters
    dialogue_share: float  # mean share of characters inside quotation marks, 0 to 1


def health(answers: Sequence[Written]) -> Generated:
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
    engine: TorchEngine, samples: Samples, advance: Callable[[int], None] = lambda done: None
) -> dict[str, Any]:
    """Return what `loss_difference` returns. `advance` gets the number of further samples done, over both models.

    Leaves the adapter on.
    """
    base, tuned = both_losses(engine, samples.examples, advance)
    return loss_difference(engine.renderer, samples, base, tuned)


def both_losses(
    engine: TorchEngine, examples: Sequence[Example], advance: Callable[[int], None]
) -> tuple[Losses, Losses]:
    """Return the losses of base and tuned; the engine must have an adapter. Leaves it on."""
    adapter, decoder = engine.adapter, engine.decoder
    assert adapter is not None
    adapter.attach()
    with adapter.off():
        base = losses(decoder, examples, advance=advance)
    return base, losses(decoder, examples, advance=advance)


def loss_difference(renderer: Renderer, samples: Samples, base: Losses, tuned: Losses) -> dict[str, Any]:
    """Return the difference in nats per token (see `bootstrap`), with rows, targets, and both in bits per character."""
    characters = sum(_learned_characters(renderer, example) for example in samples.examples)
    return {
        **difference(base.nll, tuned.nll, base.targets, samples.asked.tolist()),
        "rows": samples.row_count,
        "targets": int(base.targets.sum()),
        "bits_per_char": {
            name: bits_per_character(float(found.nll.sum()), characters)
            for name, found in (("base", base), ("tuned", tuned))
        },
    }


def _learned_characters(renderer: Renderer, example: Example) -> int:
    """Return the characters of the targets, those whose loss is counted; what is only context has none."""
    learned = [token for token, wanted in zip(example.ids, example.is_target, strict=True) if wanted]
    return len(without_space(renderer.decode(learned)))


def compare_answers(
    engine: Engine,
    conversations: Sequence[Conversation],
    sampling: Sampling,
    advance: Callable[[int], None] = lambda done: None,
    look: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Return "generated", "endings" and "answers" of base and tuned to the last question of each conversation.

    `advance` gets 1 per answer; `look` is called for every token, and may raise. Without a seed in `sampling` the
    seed is 0.
    """
    prompts = [c.messages[:-1] for c in conversations]
    # A seed: both models draw with the same random numbers, and a second comparison gives the same texts.
    sampling = sampling if sampling.seed is not None else sampling.model_copy(update={"seed": 0})
    base, tuned = (_answers(engine, prompts, sampling, advance, look, tuned) for tuned in (False, True))
    asked = [prompt[-1].content for prompt in prompts]
    return {
        "generated": {"base": asdict(health(base)), "tuned": asdict(health(tuned))},
        "endings": compare_endings(asked, base, tuned),
        "answers": [
            {"prompt": prompt, "base": b[0], "tuned": t[0], "ended": {"base": b[1] == "stop", "tuned": t[1] == "stop"}}
            for prompt, b, t in zip(asked, base, tuned, strict=True)
        ],
    }


def compare_endings(asked: Sequence[str], base: Sequence[Written], tuned: Sequence[Written]) -> dict[str, Any]:
    """Return the difference of the share of answers that end well (see `bootstrap`); 1 is best."""
    before, after = (np.array([float(ends_well(*each)) for each in answers]) for answers in (base, tuned))
    return difference(before, after, np.ones(len(asked)), asked)


def ends_well(text: str, stop: StopReason) -> bool:
    """True if the model ended the answer itself, its last sentence is whole, and it does not go in circles."""
    text = without_thought(text)
    return stop == "stop" and ends_complete(text) and rep_n(text) <= LOOPS


def _answers(
    engine: Engine,
    prompts: Sequence[Sequence[Message]],
    sampling: Sampling,
    advance: Callable[[int], None],
    look: Callable[[], None],
    tuned: bool,
) -> list[Written]:
    """Return the answer to each prompt."""
    answers: list[Written] = [("", "length")] * len(prompts)
    # Several at a time read the weights once per token; the bound keeps the key-value cache small.
    for start in range(0, len(prompts), ANSWERS_AT_A_TIME):
        for row, text, stop in engine.answers(prompts[start : start + ANSWERS_AT_A_TIME], sampling, look, tuned):
            answers[start + row] = (text, stop)
            advance(1)
    return answers
