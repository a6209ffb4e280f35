"""One tokenized sample, the form in which text reaches training: ids, and which of them are to be learned.

ids        <|im_start|> system ... user ... assistant \n  天 黑 了 。 <|im_end|>
is_target        0         0    0   0    0      0      0  1  1  1  1      1
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one conversation and, of the same length, which of them are to be learned.

    `shared` is how many tokens come before the first words of the user: samples that agree in these are
    packed together. Raises ValueError where nothing is to be learned, or the very first token is.
    """

    ids: tuple[int, ...]
    is_target: tuple[bool, ...]
    shared: int = 0

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.is_target):
            raise ValueError("ids and is_target differ in length")
        if not any(self.is_target) or self.is_target[0]:
            raise ValueError("an example needs a target after its first token")

    @property
    def targets(self) -> int:
        """How many tokens are to be learned."""
        return sum(self.is_target)

    @property
    def first_source(self) -> int:
        """The place that predicts the first target."""
        return self.is_target.index(True) - 1

    @property
    def inputs(self) -> tuple[int, ...]:
        """The ids that are read: all before the last target."""
        last = len(self.ids) - 1 - self.is_target[::-1].index(True)
        return self.ids[:last]
