"""The DRY penalty: what a token costs if it goes on with something that the answer has said already."""

from collections.abc import Container, Sequence

from ..config.schema import Sampling

LONGEST_EXCESS = 50
"""Maximum tokens of a match that count beyond `dry_allowed_length`."""

LARGEST_PENALTY = 1e30
"""Maximum DRY penalty: as good as a ban, yet the lowest float32 minus this is still finite."""


def dry_penalties(answer: Sequence[int], sampling: Sampling, breakers: Container[int]) -> dict[int, float]:
    """Return the DRY penalties ("don't repeat yourself") to subtract from the logits: {token: amount}.

    If the last n tokens of the answer also stand earlier in it, the token that followed them there would
    extend the repetition. It costs dry_multiplier * dry_base ** (n - dry_allowed_length) for the longest
    such n, if n >= dry_allowed_length. A breaker is never part of a match and is never penalized.
    Definition and names: text-generation-webui pull request 5677, and llama.cpp.
    """
    if sampling.dry_multiplier == 0 or not answer or answer[-1] in breakers:
        return {}
    last = answer[-1]
    longest = sampling.dry_allowed_length + LONGEST_EXCESS
    matches: dict[int, int] = {}
    for end in range(len(answer) - 2, -1, -1):
        if answer[end] != last:
            continue
        follower = answer[end + 1]
        # In a loop nearly every occurrence is a full match. One is enough, else 2,000 tokens are slow.
        if follower in breakers or matches.get(follower, 0) >= longest:
            continue
        matches[follower] = max(matches.get(follower, 0), _match_length(answer, end, longest, breakers))
    return {
        token: _dry_penalty(sampling, length - sampling.dry_allowed_length)
        for token, length in matches.items()
        if length >= sampling.dry_allowed_length
    }


def _match_length(answer: Sequence[int], end: int, longest: int, breakers: Container[int]) -> int:
    """Return how many tokens up to and including `end`, at most `longest`, equal those at the end of the answer."""
    length = 1
    while length < longest and length <= end:
        token = answer[-1 - length]
        if token in breakers or answer[end - length] != token:
            break
        length += 1
    return length


def _dry_penalty(sampling: Sampling, excess: int) -> float:
    try:
        power = sampling.dry_base**excess
    except OverflowError:
        return LARGEST_PENALTY
    return min(sampling.dry_multiplier * power, LARGEST_PENALTY)
