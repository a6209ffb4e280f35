"""Choose the next token of one answer from its logits.

    logits (V,) --penalize--> logits (V,) --candidates--> ids (n,), probabilities (n,) --pick--> one id
                    ^                                     likeliest first, sum 1
                    answer so far

The choice runs on the CPU in float64 with a CPU generator, so a seed gives the same draw from the same logits
on every device. `candidates_plain` is the definition, with one full sort of the vocabulary; `candidates` gives
the same from the likeliest `HEAD` tokens.
"""

from collections.abc import Callable, Container, Sequence

import torch
from torch import Tensor

from ..config.schema import Sampling
from ..errors import DivergedError
from .dry import dry_penalties

HEAD = 1024
"""Number of likeliest tokens to try before sorting the whole vocabulary."""

Candidates = tuple[Tensor, Tensor]


def penalize(logits: Tensor, answer: Sequence[int], sampling: Sampling, dry_breakers: Container[int]) -> Tensor:
    """Return new logits (V,) after both penalties for the tokens of `answer`, the answer so far without its prompt.

    Repetition penalty: Keskar et al. 2019 (CTRL), section 4.1, once for each distinct token; negative logits are
    multiplied, not divided, as in transformers. DRY: see `dry_penalties`. Finite logits stay finite.
    """
    penalized = logits.clone()
    if sampling.repetition_penalty != 1 and answer:
        ids = torch.tensor(sorted(set(answer)), device=logits.device)
        old = logits[ids]
        factor = sampling.repetition_penalty
        # Dividing a negative logit would raise it, that is reward the repetition.
        penalized[ids] = _bounded(torch.where(old < 0, old * factor, old / factor), old)
    penalties = dry_penalties(answer, sampling, dry_breakers)
    if penalties:
        ids = torch.tensor(list(penalties), device=logits.device)
        amounts = torch.tensor(list(penalties.values()), device=logits.device, dtype=logits.dtype)
        penalized[ids] -= amounts
    return penalized


def _bounded(new: Tensor, old: Tensor) -> Tensor:
    """Return `new` clamped to finite numbers where `old` is finite, else `old`: an excluded token (-inf) stays so."""
    limits = torch.finfo(new.dtype)
    return torch.where(old.isfinite(), new.clamp(limits.min, limits.max), old)


def candidates_plain(logits: Tensor, sampling: Sampling) -> Candidates:
    """Return the ids (n,) that can be drawn and their float64 probabilities (n,), which sum to 1; n >= 1.

    Likeliest first, equal ones by id. `sampling.temperature` must be above 0. The filters in their order:
    temperature; top-k (Fan et al. 2018; tokens as likely as the k-th stay too, as in transformers); nucleus
    (Holtzman et al. 2020: the fewest tokens whose probabilities reach top_p); min-p (Nguyen et al. 2024: at
    least min_p times the top probability).
    """
    # stable: tokens with equal logits keep the order of their ids, on every machine.
    values, ids = torch.sort(logits.double(), descending=True, stable=True)
    # Relative to the largest, so a small temperature cannot overflow exp.
    scaled = (values - values[0]) / sampling.temperature
    if sampling.top_k:
        scaled = scaled[values >= values[min(sampling.top_k, len(values)) - 1]]
    probabilities = torch.softmax(scaled, 0)
    kept = probabilities > 0
    if sampling.top_p < 1:
        mass = torch.cumsum(probabilities, 0)
        # Shifted by one: the token that reaches top_p stays, and the first token always does.
        kept[1:] &= mass[:-1] < sampling.top_p
    kept &= probabilities >= sampling.min_p * probabilities[0]
    probabilities = probabilities[kept]
    return ids[: len(scaled)][kept], probabilities / probabilities.sum()


def candidates(logits: Tensor, sampling: Sampling) -> Candidates:
    """Return what `candidates_plain` returns, and sort the whole vocabulary only if necessary.

    Every filter keeps the likeliest tokens down to some place. If that place is within the first `HEAD` tokens,
    the rest matters only through its mass, which a sum gives.
    """
    head = _likeliest(logits, sampling.top_k or HEAD)
    # top-k comes before the nucleus, so with top-k the mass is that of the k tokens alone.
    mass = _mass(logits[head] if sampling.top_k else logits, sampling.temperature)
    # Relative to the top token's weight, as min_p is.
    weights = _weights(logits[head], sampling.temperature)
    kept = int(((weights >= sampling.min_p) & (weights > 0)).sum())
    if sampling.top_p < 1:
        short_of_nucleus = int((torch.cumsum(weights, 0) < sampling.top_p * mass).sum())
        kept = min(kept, short_of_nucleus + 1)
    # The filters kept the whole head, so tokens after it may pass too.
    if kept == len(head) < len(logits) and not sampling.top_k:
        return candidates_plain(logits, sampling)
    return head[:kept], weights[:kept] / weights[:kept].sum()


def _likeliest(logits: Tensor, count: int) -> Tensor:
    """Return ids of the `count` largest logits and of all that equal the last of them; largest first, then by id."""
    smallest = torch.topk(logits, min(count, len(logits)), sorted=False).values.min()
    # topk does not define which of several equal tokens it returns; a stable sort of ascending ids does.
    ids = torch.nonzero(logits >= smallest).squeeze(1)
    return ids[torch.sort(logits[ids], descending=True, stable=True).indices]


def _weights(logits: Tensor, temperature: float) -> Tensor:
    return torch.exp((logits.double() - logits.max()) / temperature)


def _mass(logits: Tensor, temperature: float) -> Tensor:
    return _weights(logits, temperature).sum()


def pick(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Return the id of the next token, drawn with a CPU `generator` from `logits` (V,); temperature 0 is the argmax.

    Raises DivergedError if the largest logit is NaN or infinite.
    """
    return _pick(logits, sampling, generator, candidates)


def pick_plain(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> int:
    """Return what `pick` returns for the same generator state, by a full sort: its plain twin."""
    return _pick(logits, sampling, generator, candidates_plain)


def _pick(
    logits: Tensor,
    sampling: Sampling,
    generator: torch.Generator,
    choose_from: Callable[[Tensor, Sampling], Candidates],
) -> int:
    logits = logits.detach().to("cpu", torch.float32)
    # max propagates NaN, so one check covers all logits.
    if not logits.max().isfinite():
        raise DivergedError(
            "模型算出了 NaN 或无穷大，选不出下一个字：请改用 float32 精度，或降低学习率重新训练",
            "the model computed NaN or infinity, so no next token can be chosen: "
            "use float32 precision, or train again with a lower learning rate",
        )
    if sampling.temperature == 0:
        return int(logits.argmax())
    ids, probabilities = choose_from(logits, sampling)
    cumulative = torch.cumsum(probabilities, 0)
    # Times the last sum and not 1: after rounding it may be just below 1, and no id lies above it.
    point = torch.rand(1, generator=generator, dtype=torch.float64) * cumulative[-1]
    return int(ids[torch.searchsorted(cumulative, point)])
