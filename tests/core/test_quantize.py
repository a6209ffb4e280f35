"""Weights in 8 and 4 bits: rounded as they should be, small, and exact in what is trained upon them."""

from pathlib import Path

import pytest
import reference
import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

import tonghua
from tonghua.core.lora import Adapter, LoRALinear
from tonghua.core.model import Decoder
from tonghua.core.quantize import BLOCK, Bits, QuantizedWeight, normal_float_levels
from tonghua.errors import UsageError
from tonghua.evaluation.losses import losses
from tonghua.models.scan import scan_model
from tonghua.models.weights import load_base
from tonghua.prompt.conversation import Conversation, Message
from tonghua.prompt.renderer import Renderer
from tonghua.system.device import DevicePlace

CPU = torch.device("cpu")
BITS: tuple[Bits, ...] = (8, 4)
# Appendix E of arXiv 2305.14314.
PUBLISHED = [
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635),
    *(-0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725),
    *(0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
]


def weight(dtype: torch.dtype = torch.float32) -> Tensor:
    """(6, 192), each block of another size, one of them all zero."""
    values = torch.randn(6, 3, BLOCK, dtype=dtype) * torch.logspace(-6, 1, 18).view(6, 3, 1).to(dtype)
    values[2, 1] = 0
    return values.flatten(1)


def test_the_levels_are_those_of_the_paper() -> None:
    assert normal_float_levels().tolist() == pytest.approx(PUBLISHED, abs=1e-6)


def rounding_error(found: Tensor, wanted: Tensor) -> Tensor:
    """The largest error of each block over the block's largest magnitude."""
    blocks, right = found.unflatten(1, (-1, BLOCK)), wanted.unflatten(1, (-1, BLOCK))
    return (blocks - right).abs().amax(-1) / right.abs().amax(-1).clamp(min=1e-30)


@pytest.mark.parametrize(("bits", "bound"), [(8, 0.5 / 127), (4, (1 - 0.6961928) / 2)])
def test_each_block_is_rounded_to_the_nearest_level(bits: Bits, bound: float) -> None:
    right = weight()
    quantized = QuantizedWeight(right, bits)
    errors = rounding_error(quantized.dense(), right)
    assert errors.max() <= bound * (1 + 1e-5)
    assert errors.max() > bound / 3
    quantized.scales *= 1.02
    assert rounding_error(quantized.dense(), right).max() > bound


@pytest.mark.parametrize("bits", BITS)
def test_zeros_and_the_largest_stay_what_they_are(bits: Bits) -> None:
    right = weight()
    dense = QuantizedWeight(right, bits).dense()
    assert not dense[2, BLOCK : 2 * BLOCK].any()
    largest = right.unflatten(1, (-1, BLOCK)).abs().argmax(-1, keepdim=True)
    kept, wanted = (x.unflatten(1, (-1, BLOCK)).gather(-1, largest) for x in (dense, right))
    # NF4 has a level at both ends, and so have the 255 even ones.
    assert torch.allclose(kept, wanted, rtol=1e-6)


def test_each_value_keeps_its_place() -> None:
    right = torch.tensor(PUBLISHED).roll(5).repeat(2, 4 * 2)
    assert torch.allclose(QuantizedWeight(right, 4).dense(), right, atol=1e-6)
    even = (torch.arange(2 * 2 * BLOCK).view(2, -1) % 255 - 127) / 127
    even[:, ::BLOCK] = 1
    assert torch.allclose(QuantizedWeight(even, 8).dense(), even, atol=1e-6)


@pytest.mark.parametrize(("bits", "share"), [(8, 8.25 / 16), (4, 4.25 / 16)])
def test_it_takes_the_memory_that_is_promised(bits: Bits, share: float) -> None:
    right = torch.randn(256, 1024, dtype=torch.bfloat16)
    quantized = QuantizedWeight(right, bits)
    assert sum(x.nbytes for x in (quantized.codes, quantized.scales)) == share * right.nbytes


def layer(bits: Bits | None) -> LoRALinear:
    generator = torch.Generator().manual_seed(1)
    made = LoRALinear(BLOCK, {"gate_proj": 12, "up_proj": 140}, True, torch.float32, CPU, bits)
    made.open()
    made.frozen.copy_(torch.randn(152, BLOCK, generator=generator))
    assert made.bias is not None
    made.bias.normal_(generator=generator)
    made.close()
    adapter = Adapter([("m", made)], ["up_proj"], 4, 2.0, 0.0)
    adapter.flat.data.normal_(generator=generator)
    adapter.refresh()
    return made


def run(made: LoRALinear) -> list[Tensor]:
    """The result and the gradients of the input and of A and B."""
    x = torch.linspace(-1, 1, 5 * BLOCK).view(5, BLOCK).requires_grad_()
    y = made(x)
    return [y.detach(), *torch.autograd.grad(y.sin().sum(), [x, *made.lora_A, *made.lora_B])]


@pytest.mark.parametrize("bits", BITS)
def test_result_and_gradients_are_those_of_the_rounded_weight(bits: Bits) -> None:
    quantized, plain = layer(bits), layer(None)
    unrounded = run(plain)
    plain.frozen.copy_(quantized.weight)
    for found, wanted, before in zip(run(quantized), run(plain), unrounded, strict=True):
        assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-5)
        assert not torch.allclose(found, before, rtol=1e-3, atol=1e-3)
    assert quantized.frozen.is_meta


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model whose layers part into whole blocks."""
    sizes = {**reference._SIZES, "intermediate_size": 2 * BLOCK}
    made = Qwen2ForCausalLM, lambda: Qwen2Config(**sizes, tie_word_embeddings=True)
    monkeypatch.setitem(reference.KINDS, "blocks", made)
    reference.make_model("blocks", tmp_path / "模型 blocks")
    reference.make_tokenizer(tmp_path / "模型 blocks")
    return tmp_path / "模型 blocks"


def rounded_by_hand(decoder: Decoder, bits: Bits) -> Decoder:
    for _, group in decoder.linears():
        for member in group.members:
            group.frozen[member.rows] = QuantizedWeight(group.frozen[member.rows].contiguous(), bits).dense()
    return decoder


def loss_of(decoder: Decoder, renderer: Renderer) -> float:
    rows = [Conversation((Message("user", f"第{i}问"), Message("assistant", f"答{i}。" * 3)), i) for i in range(8)]
    return losses(decoder, renderer.examples(rows, None)).per_token


@pytest.mark.parametrize("bits", BITS)
def test_a_model_loads_as_if_its_linears_had_been_rounded_in_the_file(folder: Path, bits: Bits) -> None:
    files, place, renderer = scan_model(folder), DevicePlace(CPU, torch.float32), Renderer(folder)
    quantized, plain = load_base(files, place, bits), load_base(files, place)
    before = loss_of(plain, renderer)
    wanted = loss_of(rounded_by_hand(plain, bits), renderer)
    assert loss_of(quantized, renderer) == pytest.approx(wanted, rel=1e-6)
    assert wanted != pytest.approx(before, rel=1e-6)


def test_a_run_on_a_quantized_base_is_opened_on_the_same(folder: Path, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    row = '{"instruction": "第%d问", "output": "答%d。"}\n'
    rows.write_text("".join(row % (i, i) for i in range(8)), encoding="utf-8")
    settings = {"dataset": rows, "model": folder, "max_steps": 2, "output_dir": tmp_path / "runs", "dtype": "float32"}
    run = tonghua.train(None, **settings, quantization_bit=4, sampling={"max_new_tokens": 8}).run
    teller = tonghua.load(run)
    groups = [group for _, group in teller.engine.decoder.linears()]
    assert all(group.quantized is not None and group.quantized.bits == 4 for group in groups)
    assert teller.run.config.quantization_bit == 4
    assert isinstance(teller.tell("第1问"), str)


def test_a_model_that_does_not_part_into_blocks_is_told(tiny_folder: Path) -> None:
    with pytest.raises(UsageError) as told:
        load_base(scan_model(tiny_folder), DevicePlace(CPU, torch.float32), 4)
    assert told.value.text.en == (
        f"the layers of {tiny_folder.name} are no multiple of 64 wide and cannot be quantized;"
        " leave out quantization_bit"
    )


def test_the_real_model_loses_little(real_folder: Path) -> None:
    files, renderer = scan_model(real_folder), Renderer(real_folder)
    place = DevicePlace(CPU, torch.float32)  # bf16 is emulated on many processors, and slow
    plain = loss_of(load_base(files, place), renderer)
    bounds: dict[Bits, float] = {8: 0.03, 4: 0.2}
    for bits, bound in bounds.items():
        assert loss_of(load_base(files, place, bits), renderer) == pytest.approx(plain, rel=bound)
