"""Does the model still know what it knew? Its surprise at right answers to general questions and at plain texts.

    knowledge.json: [{"ask": …, "answer": …}, …]  --the model's own template-->  loss of both, with an interval

The questions ask what children learn at school, in Chinese and in English; they were written for this and have nothing
to do with anybody's rows. It is a check for damage: a model that has learned one voice by heart finds plain texts odd.
It does not show how much a model knows.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from typing import Any

from ..core.example import Example
from ..inference.torch_engine import TorchEngine
from ..prompt.conversation import Conversation, Message
from ..prompt.renderer import Renderer
from .bootstrap import difference
from .compare import both_losses


def knowledge_examples(renderer: Renderer) -> list[Example]:
    """Return the items as the model's own template writes them, without a system prompt of a run.

    Raises DataError if the template takes no question and answer.
    """
    written = json.loads((resources.files("tonghua.evaluation") / "knowledge.json").read_text(encoding="utf-8"))
    conversations = [
        Conversation((Message("user", item["ask"]), Message("assistant", item["answer"]))) for item in written
    ]
    return [_without_end(example, renderer) for example in renderer.examples(conversations, None)]


def _without_end(example: Example, renderer: Renderer) -> Example:
    """Return it with the words of the answer alone as targets: when to end is judged elsewhere."""
    ends = renderer.stop_ids
    targets = (wanted and token not in ends for token, wanted in zip(example.ids, example.is_target, strict=True))
    return replace(example, is_target=tuple(targets))


def compare_knowledge(engine: TorchEngine, advance: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """Return the difference in nats per token (see `bootstrap`). `advance` gets the number of further items done.

    Leaves the adapter on. Raises what `knowledge_examples` raises.
    """
    examples = knowledge_examples(engine.renderer)
    base, tuned = both_losses(engine, examples, advance)
    return difference(base.nll, tuned.nll, base.targets, range(len(examples)))
