"""One tokenized sample, the form in which text reaches training: ids, and which of them are targets.

ids        <|im_start|> system ... user ... assistant \n  天 黑 了 。 <|im_end|>
is_target        0         0    0   0    0      0      0  1  1  1  1      1
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one conversation and, of equal length, True for each id that is a target.

    `shared`: number of tokens before the first words of the user. Samples with equal first `shared` tokens are
    packed together. Raises ValueError if the lengths differ, if there is no target, or if the first token is one.
    """

    ids: tuple[int, ...]
    is_target: tuple[bool, ...]
    shared: int = 0

    def __post_init__(self) -> None:
        if len(self.ids) != len(self.is_target):
            raise ValueError("ids and is_target differ in length")
        # The token before a target predicts it, so the first token can never be a target.
        if not any(self.is_target) or self.is_target[0]:
            raise ValueError("an example needs a target after its first token")

    def runs(self) -> Iterator[tuple[tuple[int, ...], bool]]:
        """Yield the ids in runs that are all targets, or all not, in order."""
        for wanted, run in groupby(zip(self.ids, self.is_target, strict=True), key=itemgetter(1)):
            yield tuple(token for token, _ in run), wanted

    @property
    def targets(self) -> int:
        """Number of targets."""
        return sum(self.is_target)

    @property
    def first_source(self) -> int:
        """Index of the token that predicts the first target."""
        return self.is_target.index(True) - 1

    @property
    def inputs(self) -> tuple[int, ...]:
        """The ids that the model reads: all before the last target."""
        # The last target is only predicted: reading it, or anything after it, would change no loss.
        last = len(self.ids) - 1 - self.is_target[::-1].index(True)
        return self.ids[:last]
