"""Views of the samples on disk of one or more datasets, weighted and split without copying.

A row is what a person wrote; a sample is what a step learns. A long row is several samples: its parts.

    rows     0    1           2
    samples  0    1  2  3     4          part 0 of a row asks what the row asks; later parts go on with its answer
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...core.example import Example
from ...prompt.conversation import Conversation
from .store import Tokenized

T = TypeVar("T")


class Samples:
    """Samples read from disk on access: those with the indices `order` (n,) in the concatenation of `parts`."""

    def __init__(self, parts: Sequence[Tokenized], order: NDArray[np.int64] | None = None):
        self.parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self.order = np.arange(self._starts[-1]) if order is None else order
        every = [part.samples for part in parts]
        self._index = every[0] if len(every) == 1 else np.concatenate(every)

    def __len__(self) -> int:
        return len(self.order)

    @property
    def tokens(self) -> NDArray[np.int64]:
        """Tokens of each sample, (n,)."""
        return self._index["tokens"][self.order].astype(np.int64)

    @property
    def targets(self) -> NDArray[np.int64]:
        """Targets (learned tokens) of each sample, (n,)."""
        return self._index["targets"][self.order].astype(np.int64)

    @property
    def rows(self) -> NDArray[np.int64]:
        """Number of the row that each sample came from, (n,), counted from 0 over the usable rows of all parts."""
        numbers: NDArray[np.int64] = np.cumsum(self._index["part"] == 0)[self.order] - 1
        return numbers

    @property
    def row_count(self) -> int:
        """Number of different rows that the samples came from."""
        return len(np.unique(self.rows))

    @property
    def asked(self) -> NDArray[np.uint64]:
        """Hash of all that system and user say in each sample's row, (n,)."""
        return self._index["asked"][self.order].astype(np.uint64)

    @property
    def first_parts(self) -> "Samples":
        """The first sample of each row: it asks what the row asks."""
        return self.chosen(self._firsts)

    @property
    def _firsts(self) -> NDArray[np.int64]:
        """Places of the first samples of the rows, (rows,)."""
        return np.flatnonzero(self._index["part"][self.order] == 0)

    def of_rows(self, numbers: NDArray[np.int64]) -> "Samples":
        """Return all samples of these rows of this object, in this order; a number may occur several times.

        Numbers count the first parts in `order`, from 0. `order` must keep all samples of a row together.
        """
        firsts = self._firsts
        sizes = np.diff(np.append(firsts, len(self)))[numbers]
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.chosen(np.repeat(firsts[numbers], sizes) + within)

    def packed_tokens(self, samples_per_step: int) -> int:
        """Estimate the tokens of an epoch if all samples of a step share one copy of their system prompt."""
        shared = int(self._index["shared"][self.order].astype(np.int64).sum())
        return int(self.tokens.sum()) - shared + shared // samples_per_step

    @property
    def row_tokens(self) -> NDArray[np.int64]:
        """Tokens of each whole row, (rows,), however many samples it was split into."""
        return self._index["row_tokens"][self.order[self._firsts]].astype(np.int64)

    @property
    def row_targets(self) -> NDArray[np.int64]:
        """Targets of each row, (rows,). `order` must keep all samples of a row together, the first one first."""
        firsts = self._firsts
        return np.add.reduceat(self.targets, firsts) if len(firsts) else np.zeros(0, np.int64)

    @property
    def questions(self) -> NDArray[np.uint64]:
        """Hash of the first question of each sample's row, (n,)."""
        return self._index["question"][self.order].astype(np.uint64)

    @property
    def examples(self) -> "View[Example]":
        """The token ids and targets of each sample."""
        return View(self, lambda part, index: part[index])

    @property
    def conversations(self) -> "View[Conversation]":
        """The conversation of each sample."""
        return View(self, lambda part, index: part.conversation(index))

    @property
    def keys(self) -> tuple[str, ...]:
        """Cache keys of the parts. They change with the rows and with their tokenization."""
        return tuple(part.folder.name for part in self.parts)

    def row(self, place: int) -> int:
        """Return the 1-based number, among the usable rows of its part, of the row of this sample."""
        part, index = self.at(place)
        return part.row(index)

    def chosen(self, order: NDArray[np.int64]) -> "Samples":
        """Return only the samples at the places `order`, which index this object."""
        return Samples(self.parts, self.order[order])

    def at(self, place: int) -> tuple[Tokenized, int]:
        """Return a sample's part, and its index in that part."""
        index = int(self.order[place])
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[part], index - int(self._starts[part])


class View(Sequence[T]):
    """A sequence of one property of each sample, read on access."""

    def __init__(self, samples: Samples, read: Callable[[Tokenized, int], T]):
        self._samples, self._read = samples, read

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        if isinstance(place, slice):
            return [self[i] for i in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        return self._read(*self._samples.at(place % len(self)))
