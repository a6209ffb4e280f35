"""What a training step, an evaluation and a token ask of a device: waits, copies, and types that MPS has too.

`far_device` runs them with the device of no machine. Every wait of the host is listed here with its number, so that
a new one is seen; float64 and operations of tensors on two devices are not there at all.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from far_device import FAR, FarDevice, lacking_on_mps

from tonghua.config.fields import LORA_MODULES
from tonghua.config.schema import Config, Sampling
from tonghua.core.attention import lay_out
from tonghua.core.example import Example
from tonghua.core.lora import Adapter
from tonghua.core.model import Decoder, RopeScaling, Shape
from tonghua.core.packing import pack
from tonghua.core.quantize import Bits
from tonghua.data.samples.prepare import open_model, prepare
from tonghua.data.samples.samples import Samples
from tonghua.evaluation.losses import losses
from tonghua.inference.decode import tokens
from tonghua.system.signals import Stop
from tonghua.training.plan import Plan
from tonghua.training.progress import StepRecord
from tonghua.training.trainer import Trainer

CPU = torch.device("cpu")
LAYERS = 2
QWEN2 = Shape(448, 64, 128, LAYERS, 4, 2, 16, 1e-6, 1e4, 1024, tied=True, qkv_bias=True)
QWEN3 = Shape(448, 64, 128, LAYERS, 4, 2, 16, 1e-6, 1e6, 1024, tied=False, qk_norm=True)
LLAMA = Shape(448, 64, 128, LAYERS, 4, 2, 16, 1e-5, 1e4, 1024, tied=False, rope_scaling=RopeScaling(8, 1, 4, 64))
ROWS = [{"instruction": f"讲{row}", "output": "月亮说你好。" * (1 + row % 4 * 6)} for row in range(8)]
TOKENS = 150
"""Per micro-batch: the first step has two of them."""


@dataclass(frozen=True)
class Kind:
    """A model and a way to train it."""

    shape: Shape = QWEN2
    dtype: torch.dtype = torch.float32
    bits: Bits | None = None
    dropout: float = 0.0
    recomputed: int = 0
    fused: bool = True


KINDS = {
    "qwen2": Kind(),
    "qwen3, dropout": Kind(QWEN3, dropout=0.1),
    "llama, bf16, recomputed": Kind(LLAMA, torch.bfloat16, recomputed=LAYERS),
    "8 bits": Kind(bits=8),
    "4 bits, one layer recomputed": Kind(bits=4, recomputed=1),
    "mps has no fused AdamW": Kind(fused=False),
    "fp16": Kind(dtype=torch.float16),
}


@pytest.fixture
def samples(tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Samples:
    monkeypatch.setenv("TONGHUA_HOME", str(tmp_path / "家"))
    path = tmp_path / "行.json"
    path.write_text(json.dumps(ROWS, ensure_ascii=False), encoding="utf-8")
    files, renderer = open_model(str(tiny_folder))
    return prepare(Config.model_validate({"model": str(tiny_folder), "dataset": str(path)}), files, renderer).samples


@pytest.fixture(autouse=True)
def known_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch takes the far device for one with generators and a fused AdamW."""
    own = SimpleNamespace(get_rng_state=torch.get_rng_state, set_rng_state=lambda state: None)
    monkeypatch.setattr(torch, FAR.type, own, raising=False)
    optimizer = sys.modules["torch.optim.optimizer"]
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["cpu", FAR.type])


def made(kind: Kind, device: torch.device) -> tuple[Decoder, Adapter]:
    decoder = Decoder(kind.shape, kind.dtype, device, kind.bits)
    for _, group in decoder.linears():
        group.open()
    draw = torch.Generator().manual_seed(4)
    for name, slot in decoder.slots():
        noise = torch.randn(slot.shape, generator=draw)
        slot.copy_(1 + 0.1 * noise if "norm" in name else noise * slot.shape[-1] ** -0.5)
    for _, group in decoder.linears():
        group.close()
    adapter = Adapter(decoder.linears(), LORA_MODULES, 4, 2.0, kind.dropout, torch.Generator().manual_seed(0))
    return decoder, adapter


def trainer(kind: Kind, device: torch.device, samples: Samples) -> Trainer:
    torch.manual_seed(0)
    config = Config.model_validate({"per_device_train_batch_size": 4, "max_grad_norm": 0.01, "learning_rate": 0.01})
    decoder, adapter = made(kind, device)
    plan = Plan(TOKENS, kind.recomputed)
    training = Trainer(config, decoder, adapter, samples, 2, plan, Stop(), lambda kind, text: None)
    training.optimizer._adam.param_groups[0]["fused"] = kind.fused
    return training


def figures(step: StepRecord) -> list[float | None]:
    return [step.loss, step.grad_norm]


def buckets(examples: Sequence[Example], most: int) -> tuple[int, int]:
    """Number of micro-batches, and of their buckets of attention together."""
    batches = pack(examples, most)
    return len(batches), sum(len(lay_out(b.prefix, b.lengths, 4, 2, CPU, torch.float32).buckets) for b in batches)


def forward(micro_batches: int, of_attention: int) -> dict[str, int]:
    """Copies and waits of the forward pass of so many micro-batches with so many buckets, and of their loss."""
    return {
        "core.packing.Batch.to: to device": 4 * micro_batches,
        "core.attention.lay_out: to device": 5 * micro_batches + 3 * of_attention,
        "core.attention.attend_causal: to host": LAYERS * of_attention,  # an index by a mask
        "core.loss._minus_log: to host": micro_batches,  # is any probability too small?
    }


@pytest.mark.parametrize("name", KINDS)
def test_a_training_step_on_a_device(name: str, samples: Samples) -> None:
    kind = KINDS[name]
    with FarDevice() as device:
        far = trainer(kind, FAR, samples)
        assert far.decoder.embed_tokens.device == far.adapter.flat.device == FAR
        of_loading = {what: count for what, count in device.told.items() if "to device" not in what}
        device.told.clear()
        steps = [far.step(), far.step()]
    step_examples = [[samples.examples[place] for place in far.places(step)] for step in range(2)]
    counts = [buckets(examples, TOKENS) for examples in step_examples]
    micro_batches, of_attention = (sum(count) for count in zip(*counts, strict=True))
    assert micro_batches > 2
    expected = forward(micro_batches, of_attention) | {
        "training.optimizer.Optimizer.backward: to host": LAYERS * of_attention,  # the way back of the index
        "training.trainer.Trainer._accumulate: to host": 2,
        "training.optimizer.Optimizer.gradient_norm: to host": 2,
    }
    # A layer that recomputes runs once more in the backward pass.
    expected["core.attention.attend_causal: to host"] += kind.recomputed * of_attention
    if kind.dtype == torch.float16:
        # PyTorch's own GradScaler: float64 on every device but MPS, and one wait for what overflowed.
        expected["training.optimizer.Optimizer.gradient_norm: wide _to_copy"] = 2
        expected["training.optimizer.Optimizer.gradient_norm: wide reciprocal"] = 2
    assert dict(device.told) == expected
    assert of_loading == {}
    assert lacking_on_mps([op for op in device.ops if "fused" not in op]) == []
    near = trainer(kind, CPU, samples)
    loose = {"rel": 2e-2} if kind.dtype != torch.float32 else {"rel": 1e-4}
    for step in steps:
        assert figures(step) == pytest.approx(figures(near.step()), **loose)


def test_an_evaluation_on_a_device(samples: Samples) -> None:
    with FarDevice() as device:
        decoder, _ = made(KINDS["qwen2"], FAR)
        device.told.clear()
        found = losses(decoder, samples.examples)
    micro_batches, of_attention = buckets(samples.examples[:], 1024)
    expected = forward(micro_batches, of_attention) | {"evaluation.losses._each: to host": micro_batches}
    assert dict(device.told) == expected
    assert lacking_on_mps([*device.ops]) == []
    near, _ = made(KINDS["qwen2"], CPU)
    assert found.nll == pytest.approx(losses(near, samples.examples).nll, rel=1e-5)


PROMPTS = ([5, 6, 7, 5, 6, 7, 5, 6], [8, 9], [10, 11, 12])
DRAWN = Sampling(seed=1, max_new_tokens=6, temperature=0.5)


def answers(decoder: Decoder, sampling: Sampling) -> Iterator[tuple[int, int]]:
    """`tokens` without inference mode, which takes no tensors of a class of one's own."""
    return tokens.__wrapped__(decoder, PROMPTS, sampling, (2,), frozenset())  # type: ignore[attr-defined, no-any-return]


def test_a_generated_token_on_a_device() -> None:
    with torch.no_grad(), FarDevice() as device:
        decoder, _ = made(KINDS["qwen2"], FAR)
        device.told.clear()
        drawn = answers(decoder.eval(), DRAWN)
        found = [next(drawn) for _ in PROMPTS]
        of_prompts = dict(device.told)
        device.told.clear()
        found += [next(drawn) for _ in PROMPTS]
        of_a_token = dict(device.told)
        found += drawn
    assert of_prompts == {
        "inference.decode.Cache.prefill: to device": 2 * len(PROMPTS),
        "core.attention.lay_out: to device": (5 + 3) * len(PROMPTS),
        "core.attention.attend_causal: to host": LAYERS * len(PROMPTS),
        "inference.decode.tokens: to host": 1,
    }
    # One wait for all answers side by side: their logits.
    assert of_a_token == {"inference.decode.tokens: to device": 1, "inference.decode.tokens: to host": 1}
    assert lacking_on_mps([*device.ops]) == []
    with torch.no_grad():
        assert found == [*answers(made(KINDS["qwen2"], CPU)[0].eval(), DRAWN)]


def test_an_answer_that_ends_copies_what_goes_on() -> None:
    """Dropping a row of the cache is one more copy, of the numbers of the rows that stay."""
    with torch.no_grad(), FarDevice() as device:
        decoder, _ = made(KINDS["qwen2"], FAR)
        ids = [token.id for token in answers(decoder.eval(), DRAWN) if token.row == 1]
        device.told.clear()
        drawn = tokens.__wrapped__(decoder, PROMPTS, DRAWN, (ids[0],), frozenset())  # type: ignore[attr-defined]
        for _ in range(2 * len(PROMPTS) - 1):
            next(drawn)
    assert device.told["inference.decode.Cache.keep: to device"] == 1


# The far device itself: each kind of fault is seen


def each_kind() -> dict[str, Any]:
    x = torch.ones(3).to(FAR)
    near = torch.ones(3)
    return {
        "to host": [
            lambda: x.sum().item(),
            lambda: bool(x.any()),
            lambda: x.tolist(),
            lambda: x.cpu(),
            lambda: x.nonzero(),
            lambda: x[x > 0],
            lambda: float(x.max()),
            lambda: near.copy_(x),
            lambda: torch.equal(x, x),
            lambda: x.masked_fill_(x > 0, 2)[x > 5],
        ],
        "to device": [lambda: near.to(FAR), lambda: x.copy_(near), lambda: torch.tensor([1.0], device=FAR)],
        "mixed add": [lambda: x + near],
        "mixed index": [lambda: x[torch.tensor([0, 1])]],
        "wide _to_copy": [lambda: x.double()],
        "wide arange": [lambda: torch.arange(3, dtype=torch.float64, device=FAR)],
    }


def test_every_kind_of_fault_is_told() -> None:
    with FarDevice() as device:
        for what, actions in each_kind().items():
            for place, action in enumerate(actions):
                device.told.clear()
                action()
                assert f"test: {what}" in device.told, (what, place)
        device.told.clear()
        x = torch.ones(3, device=FAR)
        assert (x * 2 + x.sum()).device == FAR
        assert dict(device.told) == {}


def test_an_operation_that_mps_lacks_is_named() -> None:
    assert lacking_on_mps(["linalg_eig", "mm.out", "add.Tensor", "silu_backward.grad_input"]) == ["linalg_eig"]
