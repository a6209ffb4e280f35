"""What packing, the adapter, the optimizer and the loop promise, each with a fault that the check must see."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import (
    CONVERSATIONS,
    CPU,
    STORYTELLER,
    Learned,
    Wrong,
    add_adapter,
    as_peft,
    conversation,
    distance,
    one_by_one,
    our_model,
    reference_model,
    relative_error,
    worst,
)
from torch import Tensor

from tonghua.config.fields import LORA_MODULES
from tonghua.config.load import load
from tonghua.config.schema import Config
from tonghua.core.attention import attend_blocks, attend_causal, attend_plain, lay_out
from tonghua.core.example import Example
from tonghua.core.forward import hidden_states
from tonghua.core.lora import Adapter, LoRALinear, lora_linear_fused, lora_linear_plain
from tonghua.core.loss import linear_cross_entropy
from tonghua.core.model import Decoder
from tonghua.core.packing import Batch, common_prefix, pack
from tonghua.core.pointwise import rms_norm, rotate, swiglu
from tonghua.core.rounding import rounded
from tonghua.errors import UsageError
from tonghua.prompt.renderer import Renderer
from tonghua.system.signals import Stop
from tonghua.training.optimizer import Optimizer, learning_rate
from tonghua.training.plan import Plan
from tonghua.training.progress import StepRecord
from tonghua.training.setup import count_steps
from tonghua.training.trainer import Trainer

pytestmark = pytest.mark.xdist_group("peft")


@pytest.fixture(scope="module")
def renderer(tiny_folder: Path) -> Renderer:
    return Renderer(tiny_folder)


@pytest.fixture(scope="module")
def examples(renderer: Renderer) -> list[Example]:
    return renderer.examples(CONVERSATIONS, None)


@pytest.fixture
def decoder(tiny_folder: Path) -> Decoder:
    return our_model(tiny_folder)


def settings_of(**values: Any) -> Config:
    return load(None, values).config


# ---- packing -----------------------------------------------------------------------------------------------

FAMILIES = ((), (1, 1), (1, 2, 3, 3, 3, 1), (1, 2, 3, 1))


@st.composite
def random_examples(draw: st.DrawFn) -> Example:
    """Few different tokens and few beginnings, so that prefixes are often shared, and by chance."""
    family = draw(st.sampled_from(FAMILIES))
    own = draw(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=12))
    is_target = [False] * len(family) + [wanted for _, wanted in own]
    is_target[0] = False
    if not any(is_target):
        is_target[-1] = True
    return Example((*family, *(token for token, _ in own)), tuple(is_target), len(family))


def pairs_of(example: Example) -> list[tuple[tuple[int, ...], int]]:
    """(everything read before, the token to be predicted) of each target."""
    return [(example.ids[:at], example.ids[at]) for at, wanted in enumerate(example.is_target) if wanted]


def learned_from(batch: Batch) -> dict[int, list[tuple[tuple[int, ...], int]]]:
    """What each example of the batch teaches, read off the tensors alone; places must count up from 0."""
    starts = list(accumulate(batch.lengths, initial=batch.prefix))
    pairs = iter(zip(batch.source.tolist(), batch.target.tolist(), strict=True))
    learned: dict[int, list[tuple[tuple[int, ...], int]]] = {}
    for example, start, end, count in zip(batch.order, starts, starts[1:], batch.targets, strict=False):
        learned[example] = []
        for source, target in [next(pairs) for _ in range(count)]:
            assert start <= source < end, "a source stands in its own sample, never in the prefix"
            seen = [*range(batch.prefix), *range(start, source + 1)]
            assert batch.positions[seen].tolist() == list(range(len(seen))), "places count up from 0"
            learned[example].append((tuple(batch.ids[seen].tolist()), target))
    assert next(pairs, None) is None
    return learned


def check(batches: Sequence[Batch], examples: Sequence[Example], max_tokens: int) -> None:
    """All that a packing promises."""
    found: dict[int, list[tuple[tuple[int, ...], int]]] = {}
    for batch in batches:
        assert len(batch.ids) == len(batch.positions) == batch.prefix + sum(batch.lengths)
        own = learned_from(batch)
        assert not own.keys() & found.keys(), "an example is learned once"
        found |= own
        real = batch.prefix + sum(batch.lengths[: len(batch.order)])
        assert real <= max_tokens or len(batch.order) == 1, "only one long example may exceed the tokens"
        assert len(batch.ids) == rounded(real), "a row is filled up to a round size, not further"
    assert found == {i: pairs_of(e) for i, e in enumerate(examples)}
    families = [examples[i].ids[: examples[i].shared] for batch in batches for i in batch.order]
    runs = [family for family, _ in groupby(families)]
    assert len(runs) == len(set(runs)), "samples of one beginning stand together"


@given(st.lists(random_examples(), min_size=1, max_size=12), st.integers(1, 60), st.booleans())
@settings(max_examples=200, deadline=None, database=None)
def test_each_target_is_learned_once_after_exactly_its_own_past(
    drawn: list[Example], max_tokens: int, share_prefix: bool
) -> None:
    """No boundary target, no hole in the places, no source in the prefix, no sample that reads another."""
    batches = pack(drawn, max_tokens, share_prefix)
    check(batches, drawn, max_tokens)
    if not share_prefix:
        assert {batch.prefix for batch in batches} == {0}


@given(st.lists(random_examples(), min_size=2, max_size=6))
@settings(max_examples=200, deadline=None, database=None)
def test_the_shared_prefix_is_the_longest_that_holds_no_source(drawn: list[Example]) -> None:
    prefix = common_prefix(drawn)
    assert len({e.ids[:prefix] for e in drawn}) == 1
    assert prefix <= min(e.first_source for e in drawn)
    longer = prefix + 1
    assert len({e.ids[:longer] for e in drawn}) > 1 or longer > min(e.first_source for e in drawn)


def test_a_single_example_has_nothing_to_share(examples: list[Example]) -> None:
    assert common_prefix(examples[:1]) == 0
    assert pack([], 100) == []


FAULTS = {
    "positions": Wrong.positions_run_on,
    "positions from 0": Wrong.positions_restart_at_zero,
    "prefix": Wrong.prefix_of_first_sample_alone,
    "boundary": Wrong.first_target_from_neighbour,
    "shift": Wrong.targets_shifted,
    "twice": lambda b: replace(b, source=b.source.repeat(2), target=b.target.repeat(2)),
    "a pair in the prefix": lambda b: replace(b, source=b.source.clone().index_fill_(0, torch.tensor(0), b.prefix - 1)),
    "another order": lambda b: replace(b, order=b.order[::-1]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_packing_is_seen(examples: list[Example], fault: str) -> None:
    batches = pack(examples, 150)
    check(batches, examples, 150)
    with pytest.raises(AssertionError):
        check([FAULTS[fault](batch) for batch in batches], examples, 150)
    with pytest.raises(AssertionError):
        check(batches[1:], examples, 150)


def test_the_first_word_of_an_answer_is_predicted_by_the_last_of_its_own_prompt(
    renderer: Renderer, examples: list[Example]
) -> None:
    """Not by the last token of the sample before it, and not from a shared place."""
    for batch in pack(examples, 1_000_000):
        firsts = list(accumulate(batch.targets, initial=0))[:-1]
        starts = list(accumulate(batch.lengths, initial=batch.prefix))
        for example, first, start in zip(batch.order, firsts, starts, strict=False):
            talk = CONVERSATIONS[example].messages
            first_answer = next(i for i, m in enumerate(talk) if m.role == "assistant")
            prompt = renderer.prompt(talk[:first_answer])
            source = int(batch.source[first])
            assert source - start + batch.prefix == len(prompt) - 1
            assert int(batch.ids[source]) == prompt[-1]
            assert int(batch.target[first]) == examples[example].ids[len(prompt)]


def test_a_sample_with_another_system_prompt_falls_out_of_the_group(renderer: Renderer) -> None:
    """The template puts a system prompt of its own where a row has none: sharing goes by ids, never by text."""
    turns = [("你好", "好"), ("小兔子呢？", "在家。"), ("月亮呢？", "在天上。")]
    own = [conversation(STORYTELLER, *turn) for turn in turns]
    none = [conversation(None, *turn) for turn in turns]
    mixed = renderer.examples([own[0], none[1], own[2]], None)
    assert "tiny helper" in renderer.decode(mixed[1].ids)
    assert len({e.ids[: e.shared] for e in mixed}) == 2
    opening = len(renderer.tokenizer.encode("system\n").ids) + 1
    assert common_prefix(mixed) == opening
    together = renderer.examples([own[0], none[1], own[2]], STORYTELLER)
    assert len({e.ids[: e.shared] for e in together}) == 1
    assert common_prefix(together) >= together[0].shared > opening
    tokens = sum(len(e.inputs) for e in (mixed[0], mixed[2])) - together[0].shared
    assert sorted(b.order for b in pack(mixed, tokens)) == [(0, 2), (1,)]


# ---- the adapter -------------------------------------------------------------------------------------------


def hidden_of(decoder: Decoder, examples: Sequence[Example]) -> Tensor:
    return torch.cat([hidden_states(decoder, batch) for batch in pack(examples, 150)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_new_adapter_changes_nothing(tiny_folder: Path, examples: list[Example], dtype: torch.dtype) -> None:
    decoder = our_model(tiny_folder, dtype)
    base = hidden_of(decoder, examples)
    adapter = Adapter(decoder.linears(), LORA_MODULES, 8, 4.0, 0.0)
    assert torch.equal(hidden_of(decoder, examples), base)
    assert all(bool(m.any()) == ("lora_A" in name) for name, m in adapter.masters.items())
    adapter.masters["model.layers.0.mlp.up_proj.lora_B.weight"].data.fill_(0.01)
    adapter.refresh()
    assert not torch.equal(hidden_of(decoder, examples), base)
    adapter.enable(False)
    assert torch.equal(hidden_of(decoder, examples), base)
    adapter.enable(True)
    assert not torch.equal(hidden_of(decoder, examples), base)


def test_a_seed_gives_the_same_start_again(tiny_folder: Path) -> None:
    """A is uniform in ±1/sqrt(inputs), which is what kaiming_uniform_(a=sqrt(5)) comes to."""

    def start(seed: int) -> Adapter:
        return Adapter(our_model(tiny_folder).linears(), LORA_MODULES, 8, 4.0, 0.0, torch.Generator().manual_seed(seed))

    first = start(1)
    assert torch.equal(first.flat, start(1).flat)
    assert not torch.equal(first.flat, start(2).flat)
    for name, master in first.masters.items():
        if "lora_A" in name:
            bound = master.shape[1] ** -0.5
            assert 0.98 * bound < float(master.detach().abs().max()) <= bound
            assert float(master.detach().var()) == pytest.approx(bound**2 / 3, rel=0.2)


def test_masters_and_gradients_are_views_of_one_flat_buffer(decoder: Decoder, examples: list[Example]) -> None:
    adapter = add_adapter(decoder)
    grads = adapter.flat.grad
    assert grads is not None
    assert adapter.flat.dtype == grads.dtype == torch.float32
    assert adapter.flat.numel() == sum(m.numel() for m in adapter.masters.values())
    places = [m.data_ptr() for m in adapter.masters.values()]
    sizes = [m.numel() * 4 for m in adapter.masters.values()]
    assert places == list(accumulate(sizes[:-1], initial=adapter.flat.data_ptr()))
    (batch,) = pack(examples, 1_000_000)
    for _ in range(2):
        linear_cross_entropy(hidden_states(decoder, batch), decoder.head, batch.target).backward()
        assert torch.equal(grads, torch.cat([m.grad.flatten() for m in adapter.masters.values()]))
        assert adapter.flat.grad is grads
    assert all(bool(m.grad.any()) for m in adapter.masters.values())


def test_nothing_but_the_adapter_can_learn(decoder: Decoder, examples: list[Example]) -> None:
    """The base is buffers without gradient; layer 0 reads frozen embeddings and still learns."""
    before = {name: slot.clone() for name, slot in decoder.slots()}
    adapter = add_adapter(decoder, ["q_proj"])
    assert {id(p) for p in decoder.parameters()} == {id(m) for m in adapter.masters.values()}
    for recomputed in (0, 1, 3):
        decoder.recomputed_layers = recomputed
        (batch,) = pack(examples, 1_000_000)
        linear_cross_entropy(hidden_states(decoder, batch), decoder.head, batch.target).backward()
        assert bool(adapter.masters["model.layers.0.self_attn.q_proj.lora_A.weight"].grad.any())
        adapter.flat.grad.zero_()
    for name, slot in decoder.slots():
        assert slot.grad is None
        assert torch.equal(slot, before[name])


@pytest.mark.parametrize("targets", [["lm_head"], ["embed_tokens"], ["wq"], []])
def test_an_adapter_on_no_layer_is_refused(decoder: Decoder, targets: list[str]) -> None:
    with pytest.raises(ValueError, match="no layer of this model is named in") as caught:
        Adapter(decoder.linears(), targets, 8, 4.0, 0.0)
    assert str(targets) in str(caught.value)


@pytest.mark.parametrize("module", ["lm_head", "embed_tokens"])
def test_lora_on_the_vocabulary_is_refused_by_the_config(module: str) -> None:
    """Tied to each other, they would be trained and then lost in the export."""
    with pytest.raises(UsageError) as caught:
        settings_of(lora_target=["q_proj", module])
    assert f"{module} cannot carry LoRA" in caught.value.text.en
    assert f"{module} 不能加 LoRA" in caught.value.text.zh


@pytest.mark.parametrize("key", ["use_dora", "modules_to_save", "lora_bias"])
def test_kinds_of_lora_that_are_not_trained_are_refused_by_the_config(key: str) -> None:
    with pytest.raises(UsageError, match=key):
        settings_of(**{key: True})


def test_a_small_update_of_a_master_is_kept_where_bf16_would_lose_it(tiny_folder: Path) -> None:
    adapter = add_adapter(our_model(tiny_folder, torch.bfloat16))
    master = adapter.masters["model.layers.2.mlp.down_proj.lora_A.weight"]
    assert {m.dtype for m in adapter.masters.values()} == {torch.float32}
    master.data.fill_(0.1)
    rounded_start = master.detach().bfloat16()
    for _ in range(100):
        master.data.add_(1e-5)
    assert torch.allclose(master.detach(), torch.tensor(0.101), rtol=1e-5)
    for _ in range(100):
        rounded_start.add_(1e-5)
    assert torch.equal(rounded_start, torch.full_like(rounded_start, 0.1))


def test_refresh_brings_masters_to_the_copies_that_compute(tiny_folder: Path) -> None:
    """A is stacked; each B stands on the diagonal, with zeros beside it."""
    decoder = our_model(tiny_folder, torch.bfloat16)
    adapter = add_adapter(decoder, ["q_proj", "v_proj", "up_proj"])
    adapter.flat.data.copy_(torch.randn(adapter.flat.shape))
    stale = decoder.layers[0].self_attn.qkv.A.clone()
    assert torch.equal(decoder.layers[0].self_attn.qkv.A, stale)
    adapter.refresh()
    assert not torch.equal(decoder.layers[0].self_attn.qkv.A, stale)
    for path, layer in decoder.linears():
        masters = [
            (m, *(adapter.masters[f"{path}.{m.name}.{kind}.weight"] for kind in ("lora_A", "lora_B")))
            for m in layer.members
            if m.name in adapter.targets
        ]
        if not masters:
            assert layer.A is None
            continue
        assert layer.A.dtype == layer.B.dtype == torch.bfloat16
        assert torch.equal(layer.A, torch.cat([a.detach().bfloat16() for _, a, _ in masters]))
        wanted = torch.zeros(layer.weight.shape[0], 4 * len(masters))
        for i, (member, _, b) in enumerate(masters):
            wanted[member.rows, 4 * i : 4 * i + 4] = b.detach()
        assert torch.equal(layer.B, wanted.bfloat16())


def qk_layer() -> LoRALinear:
    """A group of two linears whose weights, biases and adapters are random."""
    generator = torch.Generator().manual_seed(0)
    layer = LoRALinear(6, {"q_proj": 4, "k_proj": 3}, True, torch.float32, CPU)
    adapter = Adapter([("m", layer)], ["q_proj", "k_proj"], 2, 1.0, 0.0)
    assert layer.bias is not None
    for values in (layer.weight, layer.bias, adapter.flat.data):
        values.normal_(generator=generator)
    adapter.refresh()
    return layer


def of_one_tensor(attend: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    """Attention whose q, k and v are cut from one tensor (6, 4 + 2 + 2, 4), as they come from one product."""
    layout = lay_out(2, (1, 3), 4, 2, CPU, torch.float32)
    return lambda x: attend(*x.split([4, 2, 2], dim=1), layout)


LAYER = qk_layer()
ANGLE = torch.linspace(0, 3, 14).view(7, 1, 2)
OPERATIONS: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
    "rms_norm": (lambda x: rms_norm(x, torch.linspace(0.5, 2, 6), 1e-6), (7, 6)),
    "rotate": (lambda x: rotate(x, ANGLE.cos(), ANGLE.sin()), (7, 3, 4)),
    "swiglu": (swiglu, (7, 10)),
    "lora_linear_fused": (lambda x: lora_linear_fused(x, LAYER), (7, 6)),
    "lora_linear_fused, gated": (lambda x: lora_linear_fused(x, LAYER, gated=True), (7, 12)),
    "lora_linear_plain": (lambda x: lora_linear_plain(x, LAYER), (7, 6)),
    "attend_plain": (of_one_tensor(attend_plain), (6, 8, 4)),
    "attend_blocks": (of_one_tensor(attend_blocks), (6, 8, 4)),
    "attend_causal": (of_one_tensor(attend_causal), (6, 8, 4)),
    "linear_cross_entropy": (
        lambda x: linear_cross_entropy(x, torch.linspace(-1, 1, 30).view(5, 6), torch.arange(7) % 5),
        (7, 6),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_leaves_what_it_is_given_as_it_was(name: str) -> None:
    """Whoever else reads the argument, or the gradient that comes back, must find what he left there."""
    function, size = OPERATIONS[name]
    x = torch.randn(size, requires_grad=True)
    before = x.detach().clone()
    out = function(x)
    result = out.detach().clone()
    gradient = torch.randn(out.shape)
    given_gradient = gradient.clone()
    first = torch.autograd.grad(out, x, gradient, retain_graph=True)[0].clone()
    assert torch.equal(x, before)
    assert torch.equal(out, result)
    assert torch.equal(gradient, given_gradient), "the gradient that came in was written over"
    assert torch.equal(torch.autograd.grad(out, x, given_gradient)[0], first)


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_argument_of_an_operation_may_be_used_elsewhere(name: str) -> None:
    """As in a residual connection: d/dx of sum(out · g) + sum(x · h), and of out where somebody else reads out."""
    function, size = OPERATIONS[name]
    x = torch.randn(size, requires_grad=True)
    other = torch.zeros(function(x).shape, requires_grad=True)
    g, h = torch.randn(other.shape), torch.randn(size)
    alone = torch.autograd.grad(function(x), x, g.clone())[0].clone()
    ((function(x) + other).mul(g).sum() + (x * h).sum()).backward()
    assert distance(x.grad, alone + h) < 1e-6
    assert distance(other.grad, g) < 1e-6


# ---- the optimizer -----------------------------------------------------------------------------------------


def schedule(kind: str, warmup: float, steps: int, **settings: object) -> list[float]:
    config = settings_of(learning_rate=0.5, lr_scheduler_type=kind, warmup_ratio=warmup, **settings)
    return [learning_rate(config, step, steps) for step in range(steps)]


def test_the_learning_rate_of_each_step() -> None:
    up = [0.5 / 3, 1 / 3]
    assert schedule("constant", 0.2, 10) == pytest.approx([*up, *[0.5] * 8])
    assert schedule("linear", 0.2, 10) == pytest.approx([*up, *(0.5 * n / 8 for n in range(8, 0, -1))])
    falling = [0.5 * math.cos(math.pi * n / 16) ** 2 for n in range(8)]
    assert schedule("cosine", 0.2, 10) == pytest.approx([*up, *falling])
    assert schedule("cosine", 0.0, 4) == pytest.approx([0.5, 0.4267767, 0.25, 0.0732233])
    assert schedule("linear", 0.0, 1) == [0.5]
    assert schedule("cosine", 0.5, 3) == pytest.approx([0.5 / 3, 1 / 3, 0.5])
    assert schedule("cosine", 0.0, 10, warmup_steps=2) == schedule("cosine", 0.2, 10)
    assert schedule("linear", 0.5, 3, warmup_steps=9) == pytest.approx([0.05, 0.1, 0.15])
    for kind in ("constant", "linear", "cosine"):
        assert min(schedule(kind, 0.1, 50)) > 0


STEPS = 6


def random_gradients(names: Sequence[str], masters: dict[str, Tensor], step: int) -> dict[str, Tensor]:
    """Of norm 3, 0.3, 3, ...: some steps are clipped at 1, some are not."""
    generator = torch.Generator().manual_seed(step)
    grads = {name: torch.randn(masters[name].shape, generator=generator) for name in names}
    norm = torch.cat([g.flatten() for g in grads.values()]).norm()
    return {name: g * (0.3 if step % 2 else 3.0) / norm for name, g in grads.items()}


def by_torch(config: Config, masters: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[float]]:
    """The masters after `STEPS` steps, each a parameter of its own, and the norms before clipping."""
    parameters = {name: torch.nn.Parameter(m.detach().clone()) for name, m in masters.items()}
    adam = torch.optim.AdamW(
        parameters.values(),
        lr=config.learning_rate,
        betas=(config.adam_beta1, config.adam_beta2),
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
    )
    norms = []
    for step in range(STEPS):
        for name, gradient in random_gradients(list(masters), masters, step).items():
            parameters[name].grad = gradient
        limit = config.max_grad_norm or math.inf
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters.values(), limit)))
        adam.param_groups[0]["lr"] = learning_rate(config, step, STEPS)
        adam.step()
    return {name: p.detach() for name, p in parameters.items()}, norms


def by_us(config: Config, adapter: Adapter, rates: Callable[[int], float]) -> list[float]:
    optimizer = Optimizer(config, adapter, half=False)
    norms = []
    for step in range(STEPS):
        for name, gradient in random_gradients(list(adapter.masters), adapter.masters, step).items():
            adapter.masters[name].grad.copy_(gradient)
        norms.append(optimizer.gradient_norm())
        optimizer.step(rates(step), norms[-1])
        assert not adapter.flat.grad.any()
    return norms


@pytest.mark.parametrize("max_grad_norm", [1.0, 0.0], ids=["clipped", "not clipped"])
@pytest.mark.parametrize("kind", ["cosine", "linear", "constant"])
def test_steps_equal_adamw_over_separate_parameters(decoder: Decoder, kind: str, max_grad_norm: float) -> None:
    config = settings_of(
        learning_rate=0.01,
        lr_scheduler_type=kind,
        warmup_ratio=0.3,
        weight_decay=0.1,
        max_grad_norm=max_grad_norm,
        adam_beta1=0.8,
        adam_beta2=0.95,
        adam_epsilon=1e-4,
    )
    adapter = add_adapter(decoder)
    start = {name: m.detach().clone() for name, m in adapter.masters.items()}
    wanted, norms = by_torch(config, adapter.masters)
    assert by_us(config, adapter, lambda step: learning_rate(config, step, STEPS)) == pytest.approx(norms, rel=1e-5)
    assert norms == pytest.approx([3.0, 0.3] * 3, rel=1e-5)
    for name, master in adapter.masters.items():
        assert distance(master - start[name], wanted[name] - start[name]) < 1e-4, name
    for path, layer in decoder.linears():
        for (a, b), member in zip(layer.blocks(), layer.adapted, strict=True):
            assert torch.equal(a, adapter.masters[f"{path}.{member.name}.lora_A.weight"].detach())
            assert torch.equal(b, adapter.masters[f"{path}.{member.name}.lora_B.weight"].detach())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_grad_norm": 0.5},
        {"weight_decay": 0.0},
        {"adam_epsilon": 1e-3},
        {"adam_beta2": 0.99},
        {"lr_scheduler_type": "linear"},
    ],
    ids=str,
)
def test_another_setting_of_the_optimizer_is_seen(decoder: Decoder, wrong: dict[str, Any]) -> None:
    values = {"learning_rate": 0.01, "weight_decay": 0.1, "adam_beta2": 0.95, "adam_epsilon": 1e-4}
    right, other = settings_of(**values), settings_of(**{**values, **wrong})
    adapter = add_adapter(decoder)
    start = {name: m.detach().clone() for name, m in adapter.masters.items()}
    wanted, _ = by_torch(right, adapter.masters)
    by_us(other, adapter, lambda step: learning_rate(other, step, STEPS))
    errors = [distance(m - start[name], wanted[name] - start[name]) for name, m in adapter.masters.items()]
    assert worst(errors) > 1e-3


def step_with(optimizer: Optimizer, adapter: Adapter, gradient: Tensor) -> float:
    """One step whose gradient comes from a loss, as it does in training."""
    optimizer.backward((adapter.flat * gradient).sum())
    norm = optimizer.gradient_norm()
    if math.isfinite(norm):
        optimizer.step(0.01, norm)
    else:
        optimizer.skip()
    return norm


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(decoder: Decoder, half: bool, bad: float) -> None:
    """Neither the masters, nor what the optimizer remembers for the steps after."""
    config = settings_of(weight_decay=0.1)
    adapter = add_adapter(decoder)
    good = [torch.randn(adapter.flat.shape) for _ in range(3)]
    broken = good[0].clone()
    broken[17] = bad
    start = adapter.flat.detach().clone()
    ends = []
    for gradients in ([good[0], good[1], good[2]], [good[0], broken, good[1], broken, good[2]]):
        adapter.flat.data.copy_(start)
        adapter.refresh()
        optimizer = Optimizer(config, adapter, half)
        for gradient in gradients:
            before = adapter.flat.detach().clone()
            norm = step_with(optimizer, adapter, gradient)
            assert math.isfinite(norm) == (gradient is not broken)
            assert torch.equal(adapter.flat.detach(), before) == (gradient is broken)
            assert not adapter.flat.grad.any()
        ends.append(adapter.flat.detach().clone())
    assert torch.equal(*ends)


def test_scaling_the_loss_for_fp16_changes_no_update(decoder: Decoder) -> None:
    config = settings_of(max_grad_norm=1.0)
    adapter = add_adapter(decoder)
    gradient, start = torch.randn(adapter.flat.shape), adapter.flat.detach().clone()
    ends, norms = [], []
    for half in (False, True):
        adapter.flat.data.copy_(start)
        norms.append(step_with(Optimizer(config, adapter, half), adapter, gradient))
        ends.append(adapter.flat.detach().clone())
    assert norms[1] == pytest.approx(norms[0], rel=1e-6)
    assert distance(ends[1] - start, ends[0] - start) < 1e-6


# ---- the loop ----------------------------------------------------------------------------------------------


class Recorded(Optimizer):
    """Keeps the gradient of each step."""

    gradients: list[dict[str, Tensor]]

    def __init__(self, config: Config, adapter: Adapter, half: bool):
        super().__init__(config, adapter, half)
        self.masters = adapter.masters

    def step(self, rate: float, norm: float) -> None:
        self.gradients.append({name: m.grad.clone() for name, m in self.masters.items()})
        super().step(rate, norm)


@pytest.fixture
def gradients(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """Of the steps that any trainer makes from here on."""
    monkeypatch.setattr(Recorded, "gradients", [], raising=False)
    monkeypatch.setattr(sys.modules[Trainer.__module__], "Optimizer", Recorded)
    return Recorded.gradients


def trainer(decoder: Decoder, examples: Sequence[Example], tokens: int, steps: int, **values: Any) -> Trainer:
    config = settings_of(**{"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, **values})
    samples: Any = Listed(examples)
    plan = Plan(tokens, recomputed_layers=0)
    return Trainer(config, decoder, add_adapter(decoder), samples, steps, plan, Stop(), lambda kind, text: None)


class Listed:
    """Samples that are at hand, and not on disk."""

    def __init__(self, examples: Sequence[Example]):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def row(self, place: int) -> int:
        return place + 1


def steps_of(made: Trainer) -> list[StepRecord]:
    return [made.step() for _ in range(made.steps)]


TOKENS = (1, 60, 150, 1_000_000)
"""One row a micro-batch, a few uneven ones, all in one."""


def test_a_step_is_so_many_samples_however_they_are_packed(tiny_folder: Path, examples: list[Example]) -> None:
    """7 rows, 4 a step: 4 and 3, twice; packing changes neither that nor the rate nor the loss."""
    runs = []
    for tokens in TOKENS:
        made = trainer(our_model(tiny_folder), examples, tokens, 4, learning_rate=1e-3)
        runs.append(steps_of(made))
    for run in runs:
        assert [(s.samples, s.epoch, s.step) for s in run] == [(4, 0.5, 1), (3, 1.0, 2), (4, 1.5, 3), (3, 2.0, 4)]
        assert [s.targets for s in run] == [s.targets for s in runs[0]]
        assert [s.learning_rate for s in run] == [s.learning_rate for s in runs[0]]
        assert [s.loss for s in run] == pytest.approx([s.loss for s in runs[0]], rel=1e-4)
    assert runs[0][0].targets + runs[0][1].targets == sum(e.targets for e in examples)
    assert runs[0][0].tokens != runs[3][0].tokens


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize(("batch", "accumulation"), [(1, 7), (7, 1), (4, 2)])
def test_a_step_divides_by_all_targets_of_its_own_samples(
    tiny_folder: Path,
    examples: list[Example],
    gradients: list[dict[str, Tensor]],
    tokens: int,
    batch: int,
    accumulation: int,
) -> None:
    """1 x 7 = 7 x 1 = packed = one at a time by PEFT."""
    decoder = our_model(tiny_folder)
    made = trainer(
        decoder,
        examples,
        tokens,
        1,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
    )
    start = made.adapter.flat.detach().clone()
    (step,) = steps_of(made)
    found = Learned(step.loss, gradients[0])
    made.adapter.flat.data.copy_(start)
    wrapped = as_peft(reference_model(tiny_folder, torch.float64), made.adapter)
    assert relative_error(found, one_by_one(wrapped, made.adapter, examples)) < 1e-5
    assert step.grad_norm == pytest.approx(
        float(torch.cat([g.flatten() for g in gradients[0].values()]).norm()), rel=1e-5
    )


def test_the_shorter_step_that_ends_an_epoch_divides_by_its_own_targets(
    tiny_folder: Path, examples: list[Example], gradients: list[dict[str, Tensor]]
) -> None:
    made = trainer(our_model(tiny_folder), examples, 60, 2, learning_rate=1e-12)
    steps = steps_of(made)
    assert [s.samples for s in steps] == [4, 3]
    wrapped = as_peft(reference_model(tiny_folder, torch.float64), made.adapter)
    wanted = [one_by_one(wrapped, made.adapter, [examples[place] for place in made.places(step)]) for step in range(2)]
    found = [Learned(s.loss, g) for s, g in zip(steps, gradients, strict=True)]
    assert [relative_error(f, w) < 1e-5 for f, w in zip(found, wanted, strict=True)] == [True, True]
    assert relative_error(found[1], wanted[0]) > 1e-3


def test_each_epoch_reads_every_row_once_in_an_order_of_its_own(decoder: Decoder, examples: list[Example]) -> None:
    def orders(seed: int, tokens: int) -> list[list[int]]:
        made = trainer(decoder, examples, tokens, 4, seed=seed)
        read = [[examples[place] for place in made.places(step)] for step in range(4)]
        assert [len(samples) for samples in read] == [4, 3, 4, 3]
        return [[examples.index(e) for e in (*read[n], *read[n + 1])] for n in (0, 2)]

    first = orders(1, 60)
    assert [sorted(order) for order in first] == [list(range(7))] * 2
    assert first[0] != first[1]
    assert orders(1, 1_000_000) == first
    assert orders(2, 60) != first


def test_steps_of_a_run_count_samples() -> None:
    def count(samples: int, **values: Any) -> int:
        return count_steps(settings_of(per_device_train_batch_size=4, gradient_accumulation_steps=2, **values), samples)

    assert count(16, num_train_epochs=3) == 6
    assert count(17, num_train_epochs=3) == 9
    assert count(1, num_train_epochs=3) == 3
    assert count(16, num_train_epochs=2.5) == 5
    assert count(17, num_train_epochs=3, max_steps=4) == 4


def test_training_lowers_the_loss(decoder: Decoder, examples: list[Example]) -> None:
    made = trainer(decoder, examples, 150, 30, learning_rate=0.02, per_device_train_batch_size=7)
    losses = [s.loss for s in steps_of(made)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_step_that_is_not_finite_is_told_and_changes_nothing(
    decoder: Decoder, examples: list[Example], value: float
) -> None:
    made = trainer(decoder, examples, 150, 4)
    told: list[str] = []
    made.note = lambda kind, text: told.append(text.en)
    made.step()
    made.adapter.masters["model.layers.0.mlp.up_proj.lora_B.weight"].data[0, 0] = value
    made.adapter.refresh()
    before = made.adapter.flat.detach().clone()
    step = made.step()
    assert (step.step, step.loss, made.progress.skipped_in_a_row) == (2, None, 1)
    assert [line.startswith("step 2: the loss is not finite, so nothing was updated; rows") for line in told] == [True]
    assert torch.equal(made.adapter.flat.detach().nan_to_num(), before.nan_to_num())


def test_the_loss_is_summed_in_fp32() -> None:
    """A bf16 sum of many losses would be rounded to three digits."""
    hidden = torch.zeros(5000, 8, dtype=torch.bfloat16)
    weight = torch.zeros(7, 8, dtype=torch.bfloat16)
    total = linear_cross_entropy(hidden, weight, torch.zeros(5000, dtype=torch.long))
    assert total.dtype == torch.float32
    assert float(total) == pytest.approx(5000 * math.log(7), rel=1e-6)
    in_bf16 = F.cross_entropy(hidden @ weight.T, torch.zeros(5000, dtype=torch.long), reduction="sum")
    assert abs(float(in_bf16) / (5000 * math.log(7)) - 1) > 1e-4
