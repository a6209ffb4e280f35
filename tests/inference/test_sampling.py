"""What the choice of the next token promises: the penalties' arithmetic, the kept set, honest draws."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from tonghua.config.schema import Sampling
from tonghua.errors import DivergedError
from tonghua.inference import sampling as room
from tonghua.inference.dry import LARGEST_PENALTY, LONGEST_EXCESS, dry_penalties
from tonghua.inference.sampling import (
    HEAD,
    Candidates,
    candidates,
    candidates_plain,
    penalize,
    pick,
    pick_plain,
)

QWEN_VOCABULARY = 151_936
NO_BREAKERS: frozenset[int] = frozenset()


def settings(
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    dry: tuple[float, float, int] = (0.0, 1.75, 2),
) -> Sampling:
    multiplier, base, allowed_length = dry
    return Sampling(
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        dry_multiplier=multiplier,
        dry_base=base,
        dry_allowed_length=allowed_length,
    )


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def logits_of(*probabilities: float) -> Tensor:
    return torch.tensor(probabilities).log()


# Repetition penalty


def test_repetition_penalty_divides_positive_and_multiplies_negative_once_per_token() -> None:
    logits = torch.tensor([3.0, -3.0, 0.0, 3.0, -3.0])
    penalized = penalize(logits, [1, 0, 0, 1, 2, 0], settings(repetition_penalty=1.5), NO_BREAKERS)
    assert penalized.tolist() == [2.0, -4.5, 0.0, 3.0, -3.0]
    assert logits.tolist() == [3.0, -3.0, 0.0, 3.0, -3.0]


def test_repetition_penalty_reaches_back_to_the_first_token_of_a_long_answer() -> None:
    answer = [0] + [1] * 1999
    penalized = penalize(torch.tensor([1.0, 1.0, 1.0]), answer, settings(repetition_penalty=2.0), NO_BREAKERS)
    assert penalized.tolist() == [0.5, 0.5, 1.0]


def test_nothing_to_penalize_leaves_the_logits_equal() -> None:
    logits = torch.randn(50, generator=seeded(0))
    everything = settings(repetition_penalty=1.3, dry=(0.8, 1.75, 2))
    assert torch.equal(penalize(logits, [], everything, NO_BREAKERS), logits)
    assert torch.equal(penalize(logits, [3, 4, 3, 4, 3], settings(), NO_BREAKERS), logits)


def test_penalties_keep_finite_logits_finite_and_ruled_out_tokens_out() -> None:
    smallest = torch.finfo(torch.float32).min
    logits = torch.tensor([smallest, -math.inf, 5.0, smallest])
    # Token 3 follows the repeated 2 and so meets both penalties.
    harsh = settings(repetition_penalty=2.0, dry=(10.0, 10.0, 1))
    penalized = penalize(logits, [0, 1, 2, 3, 2], harsh, NO_BREAKERS)
    assert penalized.tolist() == [smallest, -math.inf, 2.5, smallest]


@pytest.mark.parametrize("base", [1.75, 10.0])
def test_dry_penalty_of_a_long_loop_is_finite_for_any_base(base: float) -> None:
    answer = [1, 2] * 1000
    penalized = penalize(torch.zeros(4), answer, settings(dry=(0.8, base, 2)), NO_BREAKERS)
    assert penalized.isfinite().all()
    assert penalized.argmin() == 1
    assert penalized[1] >= -LARGEST_PENALTY * 1.001


# DRY


def dry_by_brute_force(answer: list[int], chosen: Sampling, breakers: frozenset[int]) -> dict[int, float]:
    """For each token and each n: is (last n tokens + token) somewhere in the answer, without a breaker?"""
    longest = chosen.dry_allowed_length + LONGEST_EXCESS
    penalties: dict[int, float] = {}
    for token in set(answer) - breakers:
        for n in range(chosen.dry_allowed_length, min(longest, len(answer) - 1) + 1):
            prolonged = [*answer[-n:], token]
            occurs = any(answer[i : i + n + 1] == prolonged for i in range(len(answer) - n))
            if occurs and not breakers & set(prolonged):
                penalties[token] = chosen.dry_multiplier * chosen.dry_base ** (n - chosen.dry_allowed_length)
    return penalties


@pytest.mark.parametrize("allowed_length", [1, 2, 4])
@pytest.mark.parametrize("breakers", [frozenset(), frozenset({4}), frozenset({4, 6})])
def test_dry_equals_brute_force(allowed_length: int, breakers: frozenset[int]) -> None:
    chosen = settings(dry=(0.8, 1.75, allowed_length))
    generator = seeded(allowed_length)
    penalized_answers = 0
    for trial in range(300):
        length, alphabet = 1 + trial % 40, 2 + trial % 7
        answer = torch.randint(alphabet, (length,), generator=generator).tolist()
        if trial % 3 == 0:
            answer = (answer[-5:] * 30)[: 60 + trial % 80]
        penalties = dry_penalties(answer, chosen, breakers)
        assert penalties == pytest.approx(dry_by_brute_force(answer, chosen, breakers)), answer
        penalized_answers += bool(penalties)
    assert penalized_answers > 30


def test_dry_counts_the_longest_match() -> None:
    # 7 8 9 ends the answer; before it stand "8 9 5" (n = 2), "7 8 9 5" (n = 3) and "9 6" (n = 1).
    answer = [8, 9, 5, 7, 8, 9, 5, 9, 6, 7, 8, 9]
    assert dry_penalties(answer, settings(dry=(0.5, 2.0, 2)), NO_BREAKERS) == {5: 1.0}
    assert dry_penalties(answer, settings(dry=(0.5, 2.0, 1)), NO_BREAKERS) == {5: 2.0, 6: 0.5}
    assert dry_penalties(answer, settings(dry=(0.5, 2.0, 4)), NO_BREAKERS) == {}


def test_dry_is_subtracted_after_the_repetition_penalty() -> None:
    chosen = settings(repetition_penalty=2.0, dry=(0.5, 2.0, 2))
    penalized = penalize(torch.full((5,), 4.0), [1, 2, 3, 1, 2], chosen, NO_BREAKERS)
    assert penalized.tolist() == [4.0, 2.0, 2.0, 1.5, 4.0]


def test_dry_matches_stop_at_breakers() -> None:
    answer = [1, 2, 3, 4, 1, 2, 3]
    chosen = settings(dry=(1.0, 2.0, 1))
    assert dry_penalties(answer, chosen, NO_BREAKERS) == {4: 4.0}
    assert dry_penalties(answer, chosen, frozenset({1})) == {4: 2.0}, "not over a breaker"
    assert dry_penalties(answer, chosen, frozenset({3})) == {}, "a breaker as the last token"
    assert dry_penalties(answer, chosen, frozenset({4})) == {}, "a breaker is never penalized"


def test_dry_is_off_with_multiplier_zero() -> None:
    assert dry_penalties([1, 2] * 50, settings(dry=(0.0, 1.75, 2)), NO_BREAKERS) == {}


def test_dry_growth_stops_at_the_longest_excess() -> None:
    chosen = settings(dry=(1.0, 1.5, 3))
    assert dry_penalties([1, 2] * 500, chosen, NO_BREAKERS) == {1: 1.5**LONGEST_EXCESS}


def greedy_answer(chosen: Sampling, length: int) -> list[int]:
    """Greedy decoding of a model that always favours the next token of the cycle 0 1 ... 9 by far."""
    answer: list[int] = []
    for _ in range(length):
        logits = torch.zeros(30)
        logits[10:] += torch.linspace(0, 1, 20)
        logits[(answer[-1] + 1) % 10 if answer and answer[-1] < 10 else 0] = 12.0
        answer.append(pick(penalize(logits, answer, chosen, NO_BREAKERS), chosen, seeded(0)))
    return answer


def test_dry_breaks_a_loop_that_greedy_decoding_never_leaves() -> None:
    assert greedy_answer(settings(temperature=0.0), 200) == list(range(10)) * 20
    answer = greedy_answer(settings(temperature=0.0, dry=(0.8, 1.75, 2)), 200)
    assert answer[:10] == list(range(10))
    assert answer[:20] != list(range(10)) * 2
    assert max(answer) >= 10


# Kept tokens and their probabilities


def kept_by(chosen: Sampling, logits: Tensor) -> dict[int, float]:
    ids, probabilities = candidates(logits, chosen)
    plain_ids, plain_probabilities = candidates_plain(logits, chosen)
    assert ids.tolist() == plain_ids.tolist()
    assert probabilities.tolist() == pytest.approx(plain_probabilities.tolist())
    return dict(zip(ids.tolist(), probabilities.tolist(), strict=True))


def test_each_filter_by_hand() -> None:
    logits = logits_of(0.1, 0.4, 0.2, 0.3)
    assert kept_by(settings(), logits) == pytest.approx({1: 0.4, 3: 0.3, 2: 0.2, 0: 0.1})
    assert kept_by(settings(top_k=2), logits) == pytest.approx({1: 4 / 7, 3: 3 / 7})
    assert kept_by(settings(top_k=9), logits) == pytest.approx({1: 0.4, 3: 0.3, 2: 0.2, 0: 0.1})
    assert kept_by(settings(top_p=0.65), logits) == pytest.approx({1: 4 / 7, 3: 3 / 7})
    assert kept_by(settings(top_p=0.75), logits) == pytest.approx({1: 4 / 9, 3: 3 / 9, 2: 2 / 9})
    assert kept_by(settings(min_p=0.6), logits) == pytest.approx({1: 4 / 7, 3: 3 / 7})
    assert kept_by(settings(temperature=0.5), logits) == pytest.approx({1: 16 / 30, 3: 9 / 30, 2: 4 / 30, 0: 1 / 30})


def test_order_of_the_filters_shows_in_what_survives() -> None:
    logits = logits_of(0.4, 0.3, 0.2, 0.1)
    # Of the top three, 0.4 / 0.9 = 0.44 and 0.7 / 0.9 = 0.78: two tokens reach 0.75 only after top-k.
    assert list(kept_by(settings(top_k=3, top_p=0.75), logits)) == [0, 1]
    assert list(kept_by(settings(top_p=0.75), logits)) == [0, 1, 2]
    # Temperature comes first: 0.16 / 0.30 = 0.53 is past 0.5 with one token.
    assert list(kept_by(settings(top_p=0.5), logits)) == [0, 1]
    assert list(kept_by(settings(temperature=0.5, top_p=0.5), logits)) == [0]


@pytest.mark.parametrize(
    "chosen", [settings(top_p=1e-9), settings(min_p=0.999), settings(top_k=1), settings(temperature=1e-6)]
)
def test_one_token_always_survives(chosen: Sampling) -> None:
    assert kept_by(chosen, torch.tensor([0.0, 5.0, 4.0])) == {1: 1.0}


def test_equal_logits_stand_in_the_order_of_their_ids_and_share_the_last_place_of_top_k() -> None:
    logits = torch.tensor([1.0, 2.0, 1.0, 2.0, 1.0])
    assert list(kept_by(settings(top_k=1), logits)) == [1, 3]
    assert list(kept_by(settings(), logits)) == [1, 3, 0, 2, 4]


def test_ruled_out_tokens_are_never_candidates() -> None:
    logits = torch.tensor([-math.inf, 0.0, -math.inf])
    assert kept_by(settings(), logits) == {1: 1.0}
    assert kept_by(settings(top_k=2), logits) == {1: 1.0}


def cases(trials: int, vocabulary: int, seed: int) -> Iterator[tuple[Tensor, Sampling]]:
    """Random logits from flat to peaked, a third of them rounded so that many are equal; mixed settings."""
    generator = seeded(seed)
    for trial in range(trials):
        spread = (0.02, 0.5, 2.0, 5.0)[trial % 4]
        logits = torch.randn(vocabulary, generator=generator) * spread
        if trial % 3 == 0:
            logits = logits.bfloat16().float()
        unit = torch.rand(4, generator=generator).tolist()
        yield (
            logits,
            settings(
                temperature=0.2 + 1.5 * unit[0],
                top_p=unit[1] if trial % 5 else 1.0,
                top_k=(0, 0, 0, 40, 1500)[trial // 4 % 5],
                min_p=(0.0, 0.2 * unit[2])[trial // 2 % 2],
            ),
        )


def check_parity(fast: Callable[[Tensor, Sampling], Candidates], trials: int, vocabulary: int) -> None:
    for logits, chosen in cases(trials, vocabulary, seed=vocabulary):
        ids, probabilities = fast(logits, chosen)
        plain_ids, plain_probabilities = candidates_plain(logits, chosen)
        assert torch.equal(ids, plain_ids), chosen
        assert torch.allclose(probabilities, plain_probabilities, rtol=1e-9, atol=0), chosen


@pytest.mark.parametrize(("trials", "vocabulary"), [(2500, 300), (600, 2500), (6, QWEN_VOCABULARY)])
def test_fast_candidates_equal_the_full_sort(trials: int, vocabulary: int) -> None:
    check_parity(candidates, trials, vocabulary)


def test_parity_check_notices_a_normaliser_over_the_head_only(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = room._mass
    monkeypatch.setattr(room, "_mass", lambda logits, t: whole(logits.topk(min(HEAD, len(logits))).values, t))
    with pytest.raises(AssertionError):
        check_parity(candidates, 200, 3000)


def test_parity_check_notices_a_missing_fallback(monkeypatch: pytest.MonkeyPatch) -> None:
    def head_only(logits: Tensor, chosen: Sampling) -> Candidates:
        head = room._likeliest(logits, HEAD)
        ids, probabilities = candidates_plain(logits[head], chosen)
        return head[ids], probabilities

    with pytest.raises(AssertionError):
        check_parity(head_only, 200, 3000)


def test_the_whole_vocabulary_is_sorted_only_when_the_head_is_too_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sorted_fully: list[Sampling] = []

    def noted(logits: Tensor, chosen: Sampling) -> Candidates:
        sorted_fully.append(chosen)
        return candidates_plain(logits, chosen)

    monkeypatch.setattr(room, "candidates_plain", noted)
    peaked = torch.linspace(20, 0, 5000)
    flat = torch.linspace(0.001, 0, 5000)
    nucleus, everything = settings(top_p=0.9), settings()
    candidates(peaked, nucleus)
    candidates(peaked, settings(min_p=0.05))
    candidates(peaked, settings(top_k=2000))
    candidates(flat[:500], everything)
    assert sorted_fully == []
    assert len(candidates(flat, nucleus)[0]) > 4000
    assert len(candidates(flat, everything)[0]) == 5000
    assert sorted_fully == [nucleus, everything]


def test_agrees_with_transformers() -> None:
    process = pytest.importorskip("transformers.generation.logits_process")
    answer = torch.randint(500, (60,), generator=seeded(1)).tolist()
    for logits, chosen in cases(200, 500, seed=5):
        # transformers cuts equal logits in an order of its own.
        logits = logits + torch.linspace(0, 1e-3, 500)
        scores = process.RepetitionPenaltyLogitsProcessor(1.2)(torch.tensor([answer]), logits[None].clone())
        with_penalty = settings(repetition_penalty=1.2)
        assert torch.equal(penalize(logits, answer, with_penalty, NO_BREAKERS), scores[0])
        scores = logits[None].double() / chosen.temperature
        if chosen.top_k:
            scores = process.TopKLogitsWarper(chosen.top_k)(None, scores)
        if chosen.top_p < 1:
            scores = process.TopPLogitsWarper(chosen.top_p)(None, scores)
        if chosen.min_p:
            scores = process.MinPLogitsWarper(chosen.min_p)(None, scores)
        ids, probabilities = candidates(logits, chosen)
        mine = torch.zeros(500, dtype=torch.float64).scatter(0, ids, probabilities)
        assert torch.allclose(mine, torch.softmax(scores[0], 0), rtol=1e-9, atol=0), chosen


# Drawing


def test_frequencies_of_draws_fit_the_probabilities() -> None:
    expected = [0.4, 0.3, 0.15, 0.1, 0.05]
    logits, chosen, draws = logits_of(*expected), settings(), 8000

    def chi_square(counts: list[int], shares: list[float]) -> float:
        return sum((c - draws * s) ** 2 / (draws * s) for c, s in zip(counts, shares, strict=True))

    generator = seeded(7)
    drawn = torch.tensor([pick(logits, chosen, generator) for _ in range(draws)])
    counts = torch.bincount(drawn, minlength=5).tolist()
    # 99.9th percentile of chi-square with 4 degrees of freedom; slightly wrong shares go far beyond it.
    assert chi_square(counts, expected) < 18.5
    assert chi_square(counts, [0.36, 0.34, 0.15, 0.1, 0.05]) > 18.5


def test_draws_stay_within_the_nucleus() -> None:
    logits, generator = logits_of(0.1, 0.4, 0.2, 0.3), seeded(3)
    assert {pick(logits, settings(top_p=0.65), generator) for _ in range(300)} == {1, 3}


def test_a_seed_gives_the_same_draws_fast_or_plain() -> None:
    def draws(choose: Callable[[Tensor, Sampling, torch.Generator], int], seed: int) -> list[int]:
        generator = seeded(seed)
        return [choose(logits, chosen, generator) for logits, chosen in cases(120, 2000, seed=11)]

    first = draws(pick, 42)
    assert draws(pick, 42) == first
    assert draws(pick_plain, 42) == first
    assert draws(pick, 43) != first


def test_temperature_zero_is_the_argmax_whatever_the_rest() -> None:
    for logits, _ in cases(50, 400, seed=2):
        assert pick(logits, settings(temperature=0.0, top_p=0.5, top_k=3), seeded(0)) == logits.argmax()


@pytest.mark.parametrize("temperature", [1e-4, 1e-30, 5e-324])
def test_small_temperatures_approach_the_argmax(temperature: float) -> None:
    generator = seeded(9)
    for trial in range(30):
        logits = torch.randperm(3000, generator=generator).float() / 100 - trial
        for choose in (pick, pick_plain):
            assert choose(logits, settings(temperature=temperature), generator) == logits.argmax()


@pytest.mark.parametrize("temperature", [0.0, 0.7])
@pytest.mark.parametrize("broken", [[1.0, math.nan, 2.0], [1.0, math.inf, 2.0], [-math.inf, -math.inf, -math.inf]])
def test_logits_that_are_not_finite_are_reported(broken: list[float], temperature: float) -> None:
    with pytest.raises(DivergedError) as caught:
        pick(torch.tensor(broken), settings(temperature=temperature), seeded(0))
    assert caught.value.text.zh == (
        "模型算出了 NaN 或无穷大，选不出下一个字：请改用 float32 精度，或降低学习率重新训练"
    )
    assert caught.value.text.en == (
        "the model computed NaN or infinity, so no next token can be chosen: "
        "use float32 precision, or train again with a lower learning rate"
    )
