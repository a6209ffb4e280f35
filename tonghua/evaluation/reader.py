"""A reader: a model that reads texts which it did not write, and tells how much they surprise it.

    <|im_start|>user\\n ⟨wish⟩ <|im_end|>\\n<|im_start|>assistant\\n | ⟨sentence⟩ ⟨sentence⟩ ⟨the same again⟩ ⟨sentence⟩
    `---------------------- not counted ----------------------´ `----- counted ----´ `- not counted -´ `-counted-´

The reader renders the wish with its own template and tokenizer, so any model can read the texts of any other.
A sentence that the text has said before is read and not counted: it surprises nobody, and a loop would win by it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.example import Example
from ..core.model import Decoder
from ..data.sentences import CLOSERS, ENDINGS, without_space
from ..models.scan import scan_model
from ..models.weights import load_base
from ..prompt.conversation import Message
from ..prompt.renderer import Renderer
from ..prompt.thoughts import without_thought
from ..system.device import DevicePlace
from .losses import losses

_SENTENCE = re.compile(rf"[^{ENDINGS}\n]*(?:[{ENDINGS}]+[{re.escape(CLOSERS)}]*|\n|\Z)\s*")


@dataclass(frozen=True, slots=True)
class Surprise:
    """How much one text surprised its reader: summed -log p in nats of the tokens that count, and their number.

    `unread`: tokens after these that did not fit into the context of the reader.
    """

    nats: float
    tokens: int
    unread: int = 0

    @property
    def per_token(self) -> float:
        """Mean surprise in nats per token; there must be one."""
        return self.nats / self.tokens


@dataclass(frozen=True, slots=True)
class Reader:
    """A model that reads; `name` is that of its folder."""

    name: str
    decoder: Decoder
    renderer: Renderer

    def read(
        self, texts: Sequence[tuple[str, str]], advance: Callable[[int], None] = lambda done: None
    ) -> list[Surprise]:
        """Return the surprise at each (wish, text); `advance` gets the number of further texts read.

        The end of the turn is not counted, and reasoning before the text is not read. A text without a word, and one
        whose wish alone fills the context, have no tokens.
        """
        laid = [self._lay_out(wish, without_thought(text)) for wish, text in texts]
        examples = [example for example, _ in laid if example is not None]
        advance(len(texts) - len(examples))
        found = losses(self.decoder, examples, advance=advance) if examples else None
        sums = iter([] if found is None else zip(found.nll, found.targets, strict=True))
        nothing = (0.0, 0.0)
        read = [(*(nothing if example is None else next(sums)), unread) for example, unread in laid]
        return [Surprise(float(nats), int(tokens), unread) for nats, tokens, unread in read]

    def _lay_out(self, wish: str, text: str) -> tuple[Example | None, int]:
        """Return the ids of a text after its wish, None if nothing of it can be counted, and the tokens left out."""
        prompt = self.renderer.prompt([Message("user", wish)])
        ids, counts = list(prompt), [False] * len(prompt)
        said: set[str] = set()
        for sentence in sentences(text):
            # Each for itself, so that the same sentence has the same tokens wherever it stands.
            own = self.renderer.tokenizer.encode(sentence, add_special_tokens=False).ids
            ids += own
            counts += [without_space(sentence) not in said] * len(own)
            said.add(without_space(sentence))
        room = self.decoder.shape.max_positions
        unread = max(0, len(ids) - max(room, len(prompt)))
        counts = counts[:room]
        if not any(counts):
            return None, unread
        # `shared`: texts of one wish stand together, so that their wish is computed once.
        return Example(tuple(ids[:room]), tuple(counts), len(prompt)), unread


def open_reader(folder: Path, place: DevicePlace) -> Reader:
    """Open the model in `folder` as a reader.

    Raises UsageError or RefusedError if it is no sound model with a chat template, ResourceError if memory cannot
    hold it.
    """
    files = scan_model(folder)
    renderer = Renderer(folder)
    return Reader(folder.name, load_base(files, place), renderer)


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text, with the white space after each; joined they are the text from its first word.

    A sentence ends at its marks and the closing quotes after them, or at a line break.
    """
    yield from (match.group() for match in _SENTENCE.finditer(text.lstrip()) if match.group())
