"""Do the answers make sense? A reader, which wrote none of them, is surprised by what does not fit together.

    answers of base and tuned to the same wishes  --Reader.read-->  nats per token  -->  difference, interval

Each answer counts the same, however long. Surprise falls with plain words too: what surprises the reader less than
the answers that people wrote to such wishes makes no more sense for it. So `worse` asks for both: more surprise
than before, and more than by the rows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .bootstrap import paired_bootstrap
from .reader import Reader, Surprise


def compare_sense(
    reader: Reader,
    answers: Sequence[Mapping[str, str]],
    advance: Callable[[int], None] = lambda done: None,
    rows: Sequence[tuple[str, str]] = (),
) -> dict[str, Any]:
    """Return the mean surprise per token, in nats, of the answers of base and tuned; lower is better.

    answers  [{"prompt": …, "base": …, "tuned": …}, …]
    rows     (wish, answer) by people, for such wishes: their surprise is the mark below which nothing is worse
    advance  gets the number of further texts read, of `2 * len(answers) + len(rows)`

    The difference has the 95 % interval of a paired bootstrap over wishes. A pair with an empty answer is left out
    and counted in `empty`; `unread` are the tokens that did not fit into the reader's context. Raises DataError if
    fewer than two different wishes are left.
    """
    texts = [(each["prompt"], each[model]) for model in ("base", "tuned") for each in answers]
    read = reader.read([*texts, *rows], advance)
    base, tuned, human = read[: len(answers)], read[len(answers) : len(texts)], read[len(texts) :]
    pairs = [(b, t, a["prompt"]) for b, t, a in zip(base, tuned, answers, strict=True) if b.tokens and t.tokens]
    before = np.array([reading.per_token for reading, _, _ in pairs])
    after = np.array([reading.per_token for _, reading, _ in pairs])
    interval = paired_bootstrap(before, after, np.ones(len(pairs)), [wish for _, _, wish in pairs])
    marks = [reading.per_token for reading in human if reading.tokens]
    mark = float(np.mean(marks)) if marks else None
    return {
        "reader": reader.name,
        "better": "lower",
        "answers": len(pairs),
        "base": float(before.mean()),
        "tuned": float(after.mean()),
        "delta": float(after.mean() - before.mean()),
        "interval": [interval.low, interval.high],
        "rows": mark,
        "worse": interval.low > 0 and (mark is None or float(after.mean()) > mark),
        "empty": {"base": _empty(base), "tuned": _empty(tuned)},
        "unread": {"base": sum(r.unread for r in base), "tuned": sum(r.unread for r in tuned)},
    }


def _empty(read: Sequence[Surprise]) -> int:
    return sum(not each.tokens for each in read)
