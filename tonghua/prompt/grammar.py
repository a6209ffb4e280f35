"""How a chat template writes conversations: the text around each message, and what it trims from a message.

    <|im_start|>user\n  ⟨question⟩  <|im_end|>\n<|im_start|>assistant\n  ⟨answer⟩  <|im_end|>\n
    '---- gap ------'    slot       '----------------- gap -----------'    slot    '-- gap --'

A slot is a place where a message stands: its content, or the reasoning of an answer. Its key holds all that the text
around it may depend on. So a grammar learned on short conversations writes longer ones; no template code runs then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..text import Text

START, END, ASK = "start", "end", "ask"
"""Keys beside those of slots: before the first slot, after the last, and after it where an answer is asked for."""

NEAR = 2
"""Distance from either end of a conversation from which on messages are written alike."""

Shape = tuple[tuple[str, bool], ...]
"""The role of each message, and whether it is an answer with reasoning."""


class Trim(NamedTuple):
    """Characters that a template takes from each end of a text: None = none, "" = all white space."""

    left: str | None = None
    right: str | None = None

    def __call__(self, text: str) -> str:
        """Return the text as the template writes it."""
        if self.left is not None:
            text = text.lstrip(self.left or None)
        return text if self.right is None else text.rstrip(self.right or None)


class Slot(NamedTuple):
    """A place of a message in a conversation."""

    message: int
    is_reasoning: bool
    key: str


@dataclass(frozen=True, slots=True)
class Grammar:
    """What a template writes in one way of asking, for conversations that begin in one way.

    `gaps` maps the keys of two neighbours, with a space between, to the text between them. `trims` maps the key of a
    slot to its trim; None = the template leaves this text out. `refusal` says why such conversations are refused.
    """

    gaps: Mapping[str, str] = field(default_factory=dict)
    trims: Mapping[str, Trim | None] = field(default_factory=dict)
    refusal: Text | None = None

    def skeleton(self, shape: Shape, ask: bool) -> list[str | Slot]:
        """Return text, slot, text, ..., slot, text. Raises KeyError if such a conversation was not learned."""
        shown = [slot for slot in slots(shape) if self.trims[slot.key] is not None]
        pieces: list[str | Slot] = []
        before = START
        for slot in shown:
            pieces += [self.gaps[f"{before} {slot.key}"], slot]
            before = slot.key
        return [*pieces, self.gaps[f"{before} {ASK if ask else END}"]]

    def tail(self, shape: Shape, ask: bool) -> list[str | Slot]:
        """Return the end of the skeleton, from the text before the first slot of the last message that has one."""
        own: list[Slot] = []
        before, index = START, len(shape)
        while index and before == START:
            index -= 1
            shown = [slot for slot in _slots_of(shape, index) if self.trims[slot.key] is not None]
            if own and shown:
                before = shown[-1].key
            own = own or shown
        pieces: list[str | Slot] = []
        for slot in own:
            pieces += [self.gaps[f"{before} {slot.key}"], slot]
            before = slot.key
        return [*pieces, self.gaps[f"{before} {ASK if ask else END}"]]

    def trim(self, slot: Slot) -> Trim:
        """Return the trim of a slot that the template writes."""
        return self.trims[slot.key] or Trim()


def slots(shape: Shape) -> list[Slot]:
    """Return the slots of a conversation in order, whether the template writes them or not."""
    return [slot for index in range(len(shape)) for slot in _slots_of(shape, index)]


def _slots_of(shape: Shape, index: int) -> list[Slot]:
    role, thought = shape[index]
    place = f"{role}{'+' if thought else ''}:{min(index, NEAR)}:{min(len(shape) - 1 - index, NEAR)}"
    content = Slot(index, False, f"{place}:content")
    return [Slot(index, True, f"{place}:reasoning"), content] if thought else [content]


class Opening(NamedTuple):
    """What grammars differ by: the way of asking, a system message in front, and an answer as the first turn."""

    thinking: bool
    system: bool
    greeting: bool

    @property
    def name(self) -> str:
        """The key in JSON, such as "thinking system"."""
        return " ".join(name for name, holds in self._asdict().items() if holds) or "plain"


def opening(shape: Shape, thinking: bool) -> Opening:
    """Return which grammar writes this conversation."""
    roles = [role for role, _ in shape[:2]]
    system = roles[:1] == ["system"]
    return Opening(thinking, system, roles[system : system + 1] == ["assistant"])


@dataclass(frozen=True, slots=True)
class Grammars:
    """All that was learned of a template. `thoughts`: it writes the reasoning of an answer at a place of its own."""

    by_opening: Mapping[str, Grammar]
    thoughts: bool

    def of(self, shape: Shape, thinking: bool) -> Grammar:
        """Return the grammar that writes this conversation."""
        return self.by_opening[opening(shape, thinking).name]

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> "Grammars":
        """Return what the child process or a kept copy says. Raises ValueError, KeyError or TypeError if it is none."""
        made = {}
        for name, told in values["grammars"].items():
            gaps, trims, refusal = told["gaps"], told["trims"], told["refusal"]
            ends = [end for trim in trims.values() if trim for end in trim if end is not None]
            if not all(isinstance(text, str) for text in (*(refusal or ()), *gaps.values(), *ends)):
                raise ValueError("a text is none")
            made[name] = Grammar(
                gaps, {key: trim and Trim(*trim) for key, trim in trims.items()}, refusal and Text(*refusal)
            )
        return Grammars(made, bool(values["thoughts"]))
