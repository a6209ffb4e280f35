"""The numbers are right: tonghua against transformers and PEFT, and every fast path against its plain twin.

Each comparison is a function that returns an error, so that the same function can be shown to see a fault.
"""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
import torch.nn.functional as F
from reference import (
    CONVERSATIONS,
    CPU,
    KINDS,
    STORYTELLER,
    VOCABULARY,
    Learned,
    Tamper,
    Wrong,
    add_adapter,
    as_peft,
    conversation,
    distance,
    make_model,
    one_by_one,
    our_model,
    packed,
    reference_model,
    relative_error,
    worst,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoTokenizer, LlamaConfig, MistralConfig, PreTrainedModel, Qwen2Config, Qwen3Config

from tonghua.config.fields import LORA_MODULES
from tonghua.config.schema import Config
from tonghua.core import attention, loss, model, pointwise
from tonghua.core.attention import Attend, Layout, attend_blocks, attend_causal, attend_plain, lay_out, visible_mask
from tonghua.core.example import Example
from tonghua.core.forward import hidden_states
from tonghua.core.lora import Adapter, LoRALinear, lora_linear_fused, lora_linear_plain
from tonghua.core.loss import linear_cross_entropy, linear_cross_entropy_plain, token_nll
from tonghua.core.model import Decoder
from tonghua.core.packing import pack
from tonghua.core.pointwise import rms_norm, rms_norm_plain, rotate, rotate_plain, swiglu, swiglu_plain
from tonghua.errors import DataError, RefusedError
from tonghua.evaluation.losses import losses
from tonghua.models.model_config import read_config
from tonghua.models.peft import adapter_files, load_adapter
from tonghua.models.scan import scan_model
from tonghua.models.scan_adapter import scan_adapter
from tonghua.prompt.conversation import Conversation
from tonghua.prompt.renderer import Renderer

if TYPE_CHECKING:
    from peft import PeftModel

pytestmark = pytest.mark.xdist_group("peft")

Zoo = Callable[[str], Path]

TINY = 1e-5
REAL = 1e-4
SEEN = 1e-3
"""A fault must make an error larger than this."""

FAST: tuple[Attend, ...] = (attend_blocks, attend_causal)
FAMILIES: tuple[Any, ...] = (Qwen2Config, Qwen3Config, LlamaConfig, MistralConfig)
ATTENDS: tuple[Attend, ...] = (attend_plain, *FAST)


@pytest.fixture(scope="module")
def examples(zoo: Zoo) -> list[Example]:
    """`CONVERSATIONS` as token ids; the tokenizer is the same for every kind."""
    return Renderer(zoo("qwen2")).examples(CONVERSATIONS, None)


@pytest.fixture
def attend_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Attend], None]:
    """Sets which attention `hidden_states` takes."""
    return lambda attend: monkeypatch.setattr(attention, "choose_attention", lambda device: attend)


# ---- logits ------------------------------------------------------------------------------------------------


def our_logits(decoder: Decoder, ids: Tensor) -> Tensor:
    """(T, V) of one row that is read alone."""
    layout = lay_out(0, [len(ids)], decoder.shape.heads, decoder.shape.kv_heads, CPU, decoder.dtype)
    with torch.no_grad():
        hidden = decoder(ids, torch.arange(len(ids)), lambda layer, q, k, v: attend_blocks(q, k, v, layout))
    return hidden @ decoder.head.T


def their_logits(reference: torch.nn.Module, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return reference(input_ids=ids[None]).logits[0]


def some_ids(count: int = 200) -> Tensor:
    return torch.randint(VOCABULARY, (count,), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kind", KINDS)
def test_logits_of_every_kind_equal_those_of_transformers(zoo: Zoo, kind: str) -> None:
    reference = reference_model(zoo(kind), torch.float64)
    assert distance(our_logits(our_model(zoo(kind)), some_ids()), their_logits(reference, some_ids())) < TINY


def test_kinds_cover_the_flags_of_a_shape(zoo: Zoo) -> None:
    shapes = {kind: our_model(zoo(kind)).shape for kind in KINDS}
    assert [kind for kind, s in shapes.items() if s.tied] == ["qwen2", "qwen3", "llama-linear-rope"]
    assert [kind for kind, s in shapes.items() if s.qkv_bias] == ["qwen2", "qwen2-untied"]
    assert [kind for kind, s in shapes.items() if s.qk_norm] == ["qwen3"]
    assert [kind for kind, s in shapes.items() if s.head_dim * s.heads != s.hidden_size] == ["qwen3"]
    scaling = shapes["llama"].rope_scaling
    assert scaling is not None
    turns = [64 / (2 * torch.pi) * 10_000 ** (-i / 8) for i in range(8)]
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    regimes = [(t > low) + (t > high) for t in turns]
    assert {regimes.count(r) > 0 for r in range(3)} == {True}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("qwen2", {"rope_theta": 20_000.0}),
        ("qwen2", {"norm_epsilon": 1e-2}),
        ("qwen3", {"qk_norm": False}),
        ("llama", {"rope_scaling": None}),
        ("llama", {"rope_scaling": model.RopeScaling(8.0, linear=True)}),
        ("llama-linear-rope", {"rope_scaling": None}),
    ],
)
def test_a_wrong_shape_is_seen_in_the_logits(zoo: Zoo, kind: str, change: dict[str, Any]) -> None:
    decoder = our_model(zoo(kind))
    decoder.shape = replace(decoder.shape, **change)
    for block in decoder.blocks():
        block.self_attn.shape = decoder.shape
        block.input_layernorm.epsilon = decoder.shape.norm_epsilon
    wanted = their_logits(reference_model(zoo(kind)), some_ids())
    assert distance(our_logits(decoder, some_ids()), wanted) > SEEN


@pytest.mark.parametrize("kind", ["qwen2", "llama", "llama-linear-rope"])
def test_rope_settings_are_read_from_either_place_in_a_config(zoo: Zoo, tmp_path: Path, kind: str) -> None:
    """Checkpoints older than transformers 5 have rope_theta at the top and the rest in rope_scaling."""
    folder = tmp_path / "旧 config"
    shutil.copytree(zoo(kind), folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kept = rope if kind == "llama" else {"type": rope["rope_type"], "factor": rope.get("factor")}
    config["rope_scaling"] = None if kind == "qwen2" else kept
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert our_model(folder).shape == our_model(zoo(kind)).shape


@pytest.mark.parametrize("kind", KINDS)
def test_the_tensors_of_a_config_are_those_of_the_decoder(zoo: Zoo, kind: str) -> None:
    files = scan_model(zoo(kind))
    slots = {name: tuple(slot.shape) for name, slot in our_model(zoo(kind)).slots()}
    assert files.config.tensor_shapes(files.tied) == slots == {n: e.shape for n, e in files.tensors.items()}


@pytest.mark.parametrize(
    ("family", "change"),
    [
        *((each, {}) for each in FAMILIES),
        *((each, {"rope_theta": 5}) for each in FAMILIES),
        *((each, {"rope_parameters": {"rope_theta": 5.0, "rope_type": "default"}}) for each in FAMILIES),
        *((each, {"num_key_value_heads": None}) for each in (Qwen2Config, Qwen3Config, LlamaConfig)),
        *((each, {"head_dim": None}) for each in (Qwen2Config, LlamaConfig, MistralConfig)),
    ],
)
def test_what_a_config_leaves_out_is_as_in_transformers(family: Any, change: dict[str, Any]) -> None:
    sizes = {"hidden_size": 4096, "num_hidden_layers": 2, "vocab_size": 9, "intermediate_size": 6}
    told = {**sizes, "num_attention_heads": 32, **change}
    theirs = family.from_dict(dict(told))
    # A window of its own is not supported: leave it out.
    ours = read_config({**told, "model_type": theirs.model_type, "sliding_window": None})
    heads = theirs.num_attention_heads
    width = getattr(theirs, "head_dim", None) or theirs.hidden_size // heads
    assert (ours.kv_heads, ours.head_width) == (theirs.num_key_value_heads or heads, width)
    assert (ours.context, ours.rms_norm_eps) == (theirs.max_position_embeddings, theirs.rms_norm_eps)
    assert (ours.theta, ours.rope.kind) == (theirs.rope_parameters["rope_theta"], theirs.rope_parameters["rope_type"])
    assert bool(ours.tie_word_embeddings) == theirs.tie_word_embeddings


@pytest.mark.parametrize("own", [False, True])
def test_a_head_beside_a_tied_embedding_is_used_as_transformers_uses_it(zoo: Zoo, tmp_path: Path, own: bool) -> None:
    folder = tmp_path / "有 head"
    shutil.copytree(zoo("qwen2"), folder)
    tensors = load_file(folder / "model.safetensors")
    head = tensors["model.embed_tokens.weight"]
    save_file({**tensors, "lm_head.weight": head.flip(0) if own else head.clone()}, folder / "model.safetensors")
    wanted = their_logits(reference_model(folder), some_ids())
    found = our_model(folder)
    assert distance(our_logits(found, some_ids()), wanted) < TINY
    assert (found.lm_head is not None) == own
    if own:
        assert distance(our_logits(our_model(zoo("qwen2")), some_ids()), wanted) > SEEN


def test_a_bf16_file_is_read_into_fp32_and_a_fp32_file_into_bf16(zoo: Zoo, tmp_path: Path) -> None:
    make_model("qwen2", tmp_path, torch.bfloat16)
    shutil.copy(zoo("qwen2") / "tokenizer.json", tmp_path)
    halved = dict(our_model(zoo("qwen2"), torch.bfloat16).slots())
    for name, slot in our_model(tmp_path).slots():
        assert slot.dtype == torch.float32
        assert torch.equal(slot, halved[name].float())


# ---- loss and gradients ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wanted(zoo: Zoo, examples: list[Example]) -> Callable[..., Learned]:
    """PEFT's loss and gradients over `examples` in fp64, for a kind and a choice of modules."""

    @cache
    def compute(kind: str = "qwen2", targets: tuple[str, ...] = LORA_MODULES) -> Learned:
        adapter = add_adapter(our_model(zoo(kind)), targets)
        return one_by_one(as_peft(reference_model(zoo(kind), torch.float64), adapter), adapter, examples)

    return compute


def test_rows_are_of_several_families_and_have_uneven_targets(examples: list[Example]) -> None:
    families = {e.ids[: e.shared] for e in examples}
    assert len(families) == 3
    assert [e.targets for e in examples] == [13, 5, 40, 11, 9, 8, 2]
    turns = [sum(a and not b for a, b in itertools.pairwise((*e.is_target, False))) for e in examples]
    assert turns == [1, 1, 2, 1, 1, 1, 1]
    batches = pack(examples, 150)
    assert len({len(b.target) for b in batches}) == len(batches) == 2
    assert all(b.prefix for b in batches)


@pytest.mark.parametrize("recomputed", [0, 2, 3])
@pytest.mark.parametrize("attend", ATTENDS, ids=lambda a: a.__name__)
@pytest.mark.parametrize(
    ("max_tokens", "share_prefix"),
    [(1_000_000, True), (1_000_000, False), (150, True), (60, True), (60, False), (1, True)],
)
def test_loss_and_every_gradient_equal_those_of_peft(
    zoo: Zoo,
    examples: list[Example],
    wanted: Callable[..., Learned],
    attend_by: Callable[[Attend], None],
    max_tokens: int,
    share_prefix: bool,
    attend: Attend,
    recomputed: int,
) -> None:
    attend_by(attend)
    decoder = our_model(zoo("qwen2"))
    decoder.recomputed_layers = recomputed
    adapter = add_adapter(decoder)
    assert len(adapter.masters) == 3 * 7 * 2
    found = packed(decoder, adapter, examples, max_tokens, share_prefix)
    assert relative_error(found, wanted()) < TINY


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "qwen2"])
def test_loss_and_every_gradient_of_the_other_kinds_equal_those_of_peft(
    zoo: Zoo, examples: list[Example], wanted: Callable[..., Learned], kind: str
) -> None:
    decoder = our_model(zoo(kind))
    assert relative_error(packed(decoder, add_adapter(decoder), examples, 150), wanted(kind)) < TINY


@pytest.mark.parametrize(
    "targets", [("q_proj", "v_proj"), ("k_proj",), ("o_proj", "up_proj"), ("gate_proj", "down_proj")], ids="+".join
)
def test_loss_and_gradients_of_some_modules_equal_those_of_peft(
    zoo: Zoo, examples: list[Example], wanted: Callable[..., Learned], targets: tuple[str, ...]
) -> None:
    decoder = our_model(zoo("qwen2"))
    adapter = add_adapter(decoder, targets)
    assert len(adapter.masters) == 3 * len(targets) * 2
    assert relative_error(packed(decoder, adapter, examples, 150), wanted(targets=targets)) < TINY


@pytest.mark.parametrize(
    "fault", [f for n, f in vars(Wrong).items() if not n.startswith("_")], ids=lambda f: f.__name__
)
def test_a_fault_of_packing_is_seen_in_the_gradients(
    zoo: Zoo,
    examples: list[Example],
    wanted: Callable[..., Learned],
    attend_by: Callable[[Attend], None],
    fault: Tamper,
) -> None:
    attend_by(attend_plain)
    decoder = our_model(zoo("qwen2"))
    found = packed(decoder, add_adapter(decoder), examples, 150, tamper=fault)
    assert relative_error(found, wanted()) > SEEN


def test_a_denominator_of_each_micro_batch_is_seen_in_the_gradients(
    zoo: Zoo, examples: list[Example], wanted: Callable[..., Learned], attend_by: Callable[[Attend], None]
) -> None:
    attend_by(attend_plain)
    decoder = our_model(zoo("qwen2"))
    found = packed(decoder, add_adapter(decoder), examples, 150, per_micro_batch=True)
    assert relative_error(found, wanted()) > SEEN


def test_one_wrong_module_is_seen_in_the_gradients(wanted: Callable[..., Learned]) -> None:
    """The error is that of the worst module, not of all together."""
    right = wanted()
    name = "model.layers.1.self_attn.k_proj.lora_A.weight"
    wrong = replace(right, gradients={**right.gradients, name: right.gradients[name] * 1.01})
    assert relative_error(right, right) == 0
    assert relative_error(wrong, right) == pytest.approx(0.01, rel=1e-6)


# ---- samples and each other --------------------------------------------------------------------------------


def start_of(batch: Any, sample: int) -> int:
    return int(batch.prefix + sum(batch.lengths[:sample]))


@pytest.mark.parametrize("attend", ATTENDS, ids=lambda a: a.__name__)
def test_other_words_in_one_sample_change_no_bit_of_the_others(
    zoo: Zoo, examples: list[Example], attend_by: Callable[[Attend], None], attend: Attend
) -> None:
    attend_by(attend)
    decoder = our_model(zoo("qwen2"))
    add_adapter(decoder)
    (batch,) = pack(examples, 1_000_000)
    assert batch.prefix > 0
    before = hidden_states(decoder, batch).split(batch.targets)
    for changed in range(len(batch.targets)):
        start = start_of(batch, changed)
        ids = batch.ids.clone()
        ids[start : start + batch.lengths[changed]] = (ids[start : start + batch.lengths[changed]] + 5) % VOCABULARY
        after = hidden_states(decoder, replace(batch, ids=ids)).split(batch.targets)
        same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert same == [sample != changed for sample in range(len(batch.targets))]


def test_another_word_in_the_prefix_changes_every_sample(zoo: Zoo, examples: list[Example]) -> None:
    decoder = our_model(zoo("qwen2"))
    (batch,) = pack(examples, 1_000_000)
    ids = batch.ids.clone()
    ids[batch.prefix - 1] += 1
    before, after = (hidden_states(decoder, b).split(batch.targets) for b in (batch, replace(batch, ids=ids)))
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_a_layout_that_lets_samples_mix_is_seen(zoo: Zoo, examples: list[Example]) -> None:
    decoder = our_model(zoo("qwen2"))
    batch = Wrong.later_samples_see_earlier(pack(examples, 1_000_000)[0])
    ids = batch.ids.clone()
    ids[batch.prefix] += 1
    before, after = (hidden_states(decoder, b)[-1] for b in (batch, replace(batch, ids=ids)))
    assert not torch.equal(before, after)


def test_the_loss_of_each_example_is_its_own_whatever_the_order(zoo: Zoo, examples: list[Example]) -> None:
    decoder = our_model(zoo("qwen2"))
    reference = reference_model(zoo("qwen2"), torch.float64)
    alone = []
    for e in examples:
        logits = their_logits(reference, torch.tensor(e.ids))[:-1]
        nll = F.cross_entropy(logits, torch.tensor(e.ids[1:]), reduction="none")
        alone.append(float(nll[torch.tensor(e.is_target[1:])].sum()))
    assert list(losses(decoder, examples).nll) == pytest.approx(alone, rel=TINY)
    assert list(losses(decoder, examples[::-1]).nll) == pytest.approx(alone[::-1], rel=TINY)


def test_two_samples_that_change_places_keep_their_losses(zoo: Zoo) -> None:
    decoder = our_model(zoo("qwen2"))
    talks = [conversation(STORYTELLER, "你好", answer) for answer in ("小兔子，", "月亮！")]
    one, other = Renderer(zoo("qwen2")).examples(talks, None)
    assert len(one.ids) == len(other.ids)
    assert [b.order for b in pack([one, other], 1024)] == [b.order for b in pack([other, one], 1024)] == [(0, 1)]
    first, second = losses(decoder, [one, other]).nll
    assert abs(first - second) > SEEN
    assert list(losses(decoder, [other, one]).nll) == pytest.approx([second, first], rel=1e-6)


# ---- adapters that travel ----------------------------------------------------------------------------------


@pytest.mark.parametrize("use_rslora", [False, True], ids=["alpha/r", "alpha/sqrt(r)"])
@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
@pytest.mark.parametrize("targets", [LORA_MODULES, ("q_proj", "down_proj")], ids=["all", "some"])
def test_peft_reads_our_adapter(
    zoo: Zoo, tmp_path: Path, kind: str, targets: tuple[str, ...], use_rslora: bool
) -> None:
    """And computes the same, with the scale of rsLoRA too (Kalajdzievski 2023, arXiv 2312.03732)."""
    decoder = our_model(zoo(kind))
    plain = our_logits(decoder, some_ids())
    adapter = add_adapter(decoder, targets)
    config = Config(lora_rank=adapter.rank, lora_alpha=8, use_rslora=use_rslora)
    assert (config.lora_scale == adapter.scale) is not use_rslora
    for layer in adapter.layers:
        layer.scale = config.lora_scale
    folder = tmp_path / "适配器 1"
    folder.mkdir()
    for name, content in adapter_files(adapter, config.lora_alpha, use_rslora, "小 模型").items():
        (folder / name).write_bytes(content)
    from peft import PeftModel

    theirs = PeftModel.from_pretrained(reference_model(zoo(kind)), folder)
    found = our_logits(decoder, some_ids())
    assert distance(found, their_logits(theirs, some_ids())) < TINY
    assert distance(found, plain) > SEEN


def save_by_peft(reference: PreTrainedModel, folder: Path, **settings: Any) -> "PeftModel":
    """A random adapter, B included, in PEFT's own files."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=6, lora_alpha=9, init_lora_weights=False, task_type="CAUSAL_LM", **settings)
    theirs = get_peft_model(reference, config)
    theirs.save_pretrained(folder, save_embedding_layers=False)
    return theirs.eval()


@pytest.mark.parametrize("use_rslora", [False, True], ids=["alpha/r", "alpha/sqrt(r)"])
@pytest.mark.parametrize("targets", ["all-linear", ["v_proj", "up_proj"]], ids=["all", "some"])
def test_we_read_an_adapter_of_peft(zoo: Zoo, tmp_path: Path, targets: Any, use_rslora: bool) -> None:
    reference = reference_model(zoo("qwen2"))
    theirs = save_by_peft(reference, tmp_path, target_modules=targets, use_rslora=use_rslora, lora_dropout=0.3)
    decoder = our_model(zoo("qwen2"))
    plain = our_logits(decoder, some_ids())
    adapter = load_adapter(scan_adapter(tmp_path), decoder)
    decoder.eval()
    found = our_logits(decoder, some_ids())
    assert distance(found, their_logits(theirs, some_ids())) < TINY
    assert distance(found, plain) > SEEN
    assert adapter.scale == (9 / 6**0.5 if use_rslora else 1.5)


@pytest.mark.parametrize("form", ["regex", "default", "bare", "mapped", "half"])
def test_we_read_what_other_trainers_write(zoo: Zoo, tmp_path: Path, form: str) -> None:
    """A regular expression for the modules (Unsloth, ms-swift), the adapter's name or no prefix in the names of the
    tensors, no task and a class of transformers in its place, and half precision."""
    reference = reference_model(zoo("qwen2"))
    regex = r"model\.layers\.\d+\.(?:self_attn|mlp)\.(?:q_proj|o_proj|down_proj)"
    targets = f".*{regex}$" if form == "regex" else ["q_proj", "o_proj", "down_proj"]
    theirs = save_by_peft(reference, tmp_path, target_modules=targets)
    path, config_path = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    tensors, config = load_file(path), json.loads(config_path.read_text(encoding="utf-8"))
    if form == "default":
        tensors = {name.replace(".weight", ".default.weight"): each for name, each in tensors.items()}
    elif form == "bare":
        tensors = {name.removeprefix("base_model.model."): each for name, each in tensors.items()}
    elif form == "half":
        tensors = {name: each.half() for name, each in tensors.items()}
    elif form == "mapped":
        library = "transformers.models.qwen2.modeling_qwen2"
        config |= {
            "auto_mapping": {"base_model_class": "Qwen2ForCausalLM", "parent_library": library},
            "task_type": None,
        }
    save_file(tensors, path)
    config_path.write_text(json.dumps(config), encoding="utf-8")
    decoder = our_model(zoo("qwen2"))
    files = scan_adapter(tmp_path)
    load_adapter(files, decoder)
    decoder.eval()
    assert files.modules == ("q_proj", "o_proj", "down_proj")
    error = distance(our_logits(decoder, some_ids()), their_logits(theirs, some_ids()))
    assert error < (1e-3 if form == "half" else TINY)


def test_weights_that_are_not_finite_are_refused(zoo: Zoo, tmp_path: Path) -> None:
    save_by_peft(reference_model(zoo("qwen2")), tmp_path, target_modules=["q_proj"])
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    next(iter(tensors.values()))[0, 0] = float("inf")
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    with pytest.raises(RefusedError, match="not finite"):
        load_adapter(scan_adapter(tmp_path), our_model(zoo("qwen2")))


def test_an_adapter_of_another_base_is_refused_by_name(zoo: Zoo, tmp_path: Path) -> None:
    save_by_peft(reference_model(zoo("qwen3")), tmp_path, target_modules=["q_proj"])
    with pytest.raises(DataError) as caught:
        load_adapter(scan_adapter(tmp_path), our_model(zoo("qwen2")))
    name = "model.layers.0.self_attn.q_proj.lora_B.weight"
    assert f"{name} should be (64, 6) and is (128, 6) (3 in all)" in caught.value.text.en
    assert f"{name} 应为 (64, 6)，实为 (128, 6)（共 3 处）" in caught.value.text.zh


def test_an_adapter_for_layers_that_the_base_does_not_have_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    save_by_peft(reference_model(zoo("qwen2")), tmp_path, target_modules=["q_proj"])
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    renamed = {name.replace("q_proj", "c_attn"): each for name, each in tensors.items()}
    save_file(renamed, tmp_path / "adapter_model.safetensors")
    config = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["c_attn"]}), "utf-8")
    with pytest.raises(DataError, match="is for c_attn, none of which this base model has"):
        load_adapter(scan_adapter(tmp_path), our_model(zoo("qwen2")))


# ---- LoRA and its dropout ----------------------------------------------------------------------------------

QKV = {"q_proj": 10, "k_proj": 6, "v_proj": 6}


def group(
    outputs: dict[str, int] = QKV,
    inputs: int = 12,
    rank: int = 3,
    dropout: float = 0.0,
    targets: Sequence[str] = tuple(QKV),
    dtype: torch.dtype = torch.float32,
) -> tuple[LoRALinear, Adapter]:
    """One group of linears, everything in it random, with scale 2."""
    layer = LoRALinear(inputs, outputs, True, dtype, CPU)
    assert layer.bias is not None
    layer.weight.normal_()
    layer.bias.normal_()
    adapter = Adapter([("m", layer)], targets, rank, 2.0, dropout)
    adapter.flat.data.normal_()
    adapter.refresh()
    return layer, adapter


def by_layer(path: Callable[[Tensor, LoRALinear], Tensor], x: Tensor, layer: LoRALinear, adapter: Adapter) -> Learned:
    """A weighted sum of the outputs, and the gradients of the masters and of x."""
    x = x.clone().requires_grad_()
    adapter.flat.grad.zero_()
    out = path(x, layer)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    total = (out.float() * weights).sum()
    total.backward()
    grads = {name: master.grad.clone() for name, master in adapter.masters.items()}
    return Learned(float(total.detach()), {**grads, "x": x.grad, "out": out.detach()})


@pytest.mark.parametrize("targets", [tuple(QKV), ("k_proj",), ("q_proj", "v_proj")], ids="+".join)
@pytest.mark.parametrize("rows", [1, 7])
def test_the_fused_layer_equals_the_formula(targets: tuple[str, ...], rows: int) -> None:
    layer, adapter = group(targets=targets)
    x = torch.randn(rows, 12)
    plain, fused = (by_layer(path, x, layer, adapter) for path in (lora_linear_plain, lora_linear_fused))
    assert relative_error(fused, plain) < 1e-6
    y = F.linear(x, layer.weight, layer.bias)
    for member, a, b in zip(layer.adapted, layer.lora_A, layer.lora_B, strict=True):
        y[:, member.rows] += 2.0 * x @ a.T @ b.T
    assert distance(plain.gradients["out"], y) < 1e-6


def test_the_fused_layer_with_a_gate_equals_the_formula_after_the_gate() -> None:
    layer, adapter = group({"down_proj": 5}, 12, targets=["down_proj"])
    gate_up = torch.randn(7, 24)
    plain = by_layer(lambda x, layer: lora_linear_plain(swiglu_plain(x), layer), gate_up, layer, adapter)
    fused = by_layer(partial(lora_linear_fused, gated=True), gate_up, layer, adapter)
    assert relative_error(fused, plain) < 1e-6
    swapped = by_layer(partial(lora_linear_fused, gated=True), gate_up.roll(12, dims=1), layer, adapter)
    assert relative_error(swapped, plain) > SEEN
    for called in (layer(gate_up, gated=True), layer.eval()(gate_up, gated=True)):
        assert torch.equal(called, fused.gradients["out"])
    adapter.enable(False)
    base = F.linear(swiglu_plain(gate_up), layer.weight, layer.bias)
    assert distance(layer(gate_up, gated=True), base) < 1e-6


def test_with_dropout_the_gate_comes_first() -> None:
    """What is dropped are the inputs of the product, after the gate."""
    layer, _ = group({"down_proj": 5}, 12, targets=["down_proj"], dropout=0.3)
    gate_up = torch.randn(7, 24)
    outs = []
    for make in (lambda: layer(gate_up, gated=True), lambda: lora_linear_plain(swiglu(gate_up), layer)):
        torch.manual_seed(3)
        outs.append(make())
    assert torch.equal(*outs)


def test_a_stale_copy_of_the_masters_is_seen() -> None:
    layer, adapter = group()
    adapter.masters["m.k_proj.lora_B.weight"].data.mul_(1.01)
    x = torch.randn(7, 12)
    plain, fused = (by_layer(path, x, layer, adapter) for path in (lora_linear_plain, lora_linear_fused))
    assert relative_error(fused, plain) > SEEN


def test_in_bf16_the_fused_layer_is_as_near_as_the_formula() -> None:
    layer, adapter = group(QKV, 256, 8, dtype=torch.bfloat16)
    adapter.flat.data.div_(16)
    adapter.refresh()
    exact, exact_adapter = group(QKV, 256, 8)
    exact.weight.copy_(layer.weight)
    assert exact.bias is not None and layer.bias is not None
    exact.bias.copy_(layer.bias)
    exact_adapter.flat.data.copy_(adapter.flat.data.bfloat16())
    exact_adapter.refresh()
    x = torch.randn(65, 256).bfloat16()
    right = by_layer(lora_linear_plain, x.float(), exact, exact_adapter)
    plain, fused = (by_layer(path, x, layer, adapter) for path in (lora_linear_plain, lora_linear_fused))
    for name, value in right.gradients.items():
        assert distance(fused.gradients[name], value) <= 1.5 * distance(plain.gradients[name], value), name


def test_dropout_keeps_the_mean_and_has_the_right_variance() -> None:
    """Of a member's update, over masks m: mean s·BAx; variance s²·p/(1-p)·Σ_i ((BA)_oi·x_i)²."""
    p, rows = 0.3, 40_000
    layer, _ = group(dropout=p)
    x = torch.randn(12)
    without = lora_linear_fused(x[None], layer)[0].detach()
    with torch.no_grad():
        dropped = layer(x.expand(rows, -1)).double()
    for member, a, b in zip(layer.adapted, layer.lora_A, layer.lora_B, strict=True):
        variance = ((2.0 * b @ a * x).double().square().sum(1) * p / (1 - p)).detach()
        error = (dropped.mean(0) - without)[member.rows] / (variance / rows).sqrt()
        assert float(error.abs().max()) < 5
        assert torch.allclose(dropped.var(0)[member.rows], variance, rtol=0.05)
        wrong_scale = (dropped.mean(0) - without / (1 - p))[member.rows] / (variance / rows).sqrt()
        assert float(wrong_scale.abs().max()) > 5


def test_gradients_with_dropout_have_the_mean_of_those_without() -> None:
    layer, adapter = group(dropout=0.3)
    x = torch.randn(12).expand(40_000, -1)

    def mean_gradients() -> dict[str, Tensor]:
        adapter.flat.grad.zero_()
        layer(x).mean(0).sum().backward()
        return {name: master.grad.clone() for name, master in adapter.masters.items()}

    dropped = mean_gradients()
    layer.eval()
    for name, value in mean_gradients().items():
        assert distance(dropped[name], value) < 0.02, name


def masks(layer: LoRALinear, rows: int = 500) -> list[Tensor]:
    """What of an input of ones reaches each member; needs A and B to be unit matrices and W to be zero."""
    with torch.no_grad():
        out = layer(torch.ones(rows, layer.weight.shape[1]))
    return [out[:, member.rows] / layer.scale for member in layer.adapted]


def transparent(p: float) -> LoRALinear:
    layer, adapter = group({"q_proj": 8, "k_proj": 8, "v_proj": 8}, inputs=8, rank=8, dropout=p)
    layer.weight.zero_()
    layer.bias.zero_()
    for master in adapter.masters.values():
        master.data.copy_(torch.eye(8))
    adapter.refresh()
    return layer


def test_each_member_drops_inputs_of_its_own() -> None:
    p = 0.25
    layer = transparent(p)
    q, k, v = masks(layer)
    for mask in (q, k, v):
        assert mask.unique().tolist() == pytest.approx([0, 1 / (1 - p)])
        assert float((mask == 0).float().mean()) == pytest.approx(p, abs=0.03)
    for one, other in ((q, k), (k, v), (q, v)):
        assert float((one == other).float().mean()) == pytest.approx(p * p + (1 - p) * (1 - p), abs=0.03)


def test_a_seed_gives_its_masks_again_and_another_seed_others() -> None:
    layer = transparent(0.25)
    made = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        made.append(torch.cat(masks(layer)))
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_without_training_nothing_is_dropped() -> None:
    layer, _ = group(dropout=0.5)
    x = torch.randn(7, 12)
    trained = layer(x)
    layer.eval()
    assert torch.equal(layer(x), lora_linear_fused(x, layer))
    assert distance(lora_linear_plain(x, layer), layer(x)) < 1e-6
    assert distance(trained, layer(x)) > SEEN


@pytest.mark.parametrize("module", LORA_MODULES)
def test_every_module_has_dropout_and_evaluation_has_none(zoo: Zoo, examples: list[Example], module: str) -> None:
    decoder = our_model(zoo("qwen2"))
    add_adapter(decoder, [module], dropout=0.5)
    batch = pack(examples, 1_000_000)[0]
    with torch.no_grad():
        trained = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            trained.append(hidden_states(decoder, batch))
        decoder.eval()
        evaluated = hidden_states(decoder, batch)
        without = our_model(zoo("qwen2"))
        add_adapter(without, [module])
        assert torch.equal(evaluated, hidden_states(without, batch))
    assert torch.equal(trained[0], trained[1])
    assert distance(trained[0], trained[2]) > SEEN
    assert distance(trained[0], evaluated) > SEEN


def dropped_gradients(folder: Path, examples: list[Example], recomputed: int) -> Learned:
    decoder = our_model(folder)
    decoder.recomputed_layers = recomputed
    adapter = add_adapter(decoder, dropout=0.3)
    torch.manual_seed(5)
    return packed(decoder, adapter, examples, 150)


def test_recomputing_drops_the_same_inputs_again(
    zoo: Zoo, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, recomputed = (dropped_gradients(zoo("qwen2"), examples, layers) for layers in (0, 3))
    assert relative_error(recomputed, kept) < 1e-6
    monkeypatch.setattr(model, "checkpoint", partial(model.checkpoint, preserve_rng_state=False))
    forgetful = dropped_gradients(zoo("qwen2"), examples, recomputed=3)
    assert relative_error(forgetful, kept) > SEEN


# ---- attention ---------------------------------------------------------------------------------------------

LENGTHS = ((1,), (2, 7, 1), (7, 5, 7, 6), (127, 130, 128, 129), (300, 7, 256, 1))
HEADS = {1: (2, 2), 2: (4, 2), 7: (7, 1)}


def rows_of(prefix: int, lengths: Sequence[int], sharing: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Random q, k, v and a gradient for the result."""
    heads, kv_heads = HEADS[sharing]
    tokens, head_dim = prefix + sum(lengths), 8
    sizes = [(heads, head_dim), (kv_heads, head_dim), (kv_heads, head_dim), (heads * head_dim,)]
    generator = torch.Generator().manual_seed(tokens)
    return [torch.randn(tokens, *size, dtype=torch.float64, generator=generator).to(dtype) for size in sizes]


def run_attention(attend: Attend, values: list[Tensor], layout: Layout) -> list[Tensor]:
    """The result and the gradients of q, k and v."""
    *inputs, gradient = values
    inputs = [x.clone().requires_grad_() for x in inputs]
    out = attend(*inputs, layout)
    return [out.detach(), *torch.autograd.grad(out, inputs, gradient)]


def attention_error(found: list[Tensor], wanted: list[Tensor]) -> float:
    """The largest relative error; absolute where the right values vanish (a softmax over one key has no gradient)."""
    return worst([float((f - w).norm() / w.norm().clamp(min=1)) for f, w in zip(found, wanted, strict=True)])


def test_who_sees_whom_is_the_table_of_the_docstring() -> None:
    table = """
        x.......
        xx......
        xxx.....
        xxxx....
        xxxxx...
        xxxxxx..
        xxx...x.
        xxx...xx
    """
    wanted = [[mark == "x" for mark in line] for line in table.split()]
    layout = lay_out(3, [3, 2], 1, 1, CPU, torch.float32)
    assert visible_mask(layout, CPU).tolist() == wanted
    assert layout.tokens == 8


def attend_one_by_one(q: Tensor, k: Tensor, v: Tensor, prefix: int, lengths: Sequence[int]) -> Tensor:
    """Attention as it is told to a child: each token, each head, a softmax over the keys that it sees."""
    starts = [0, *itertools.accumulate(lengths, initial=prefix)]
    out = torch.empty_like(q)
    for start, end in itertools.pairwise(starts):
        for t, head in itertools.product(range(start, end), range(q.shape[1])):
            seen = [*range(min(prefix, start)), *range(start, t + 1)]
            shared = head // (q.shape[1] // k.shape[1])
            weights = ((k[seen, shared] @ q[t, head]) / q.shape[2] ** 0.5).softmax(0)
            out[t, head] = weights @ v[seen, shared]
    return out.flatten(1)


@pytest.mark.parametrize(("prefix", "sharing"), [(0, 1), (1, 2), (5, 7)])
def test_plain_attention_is_a_softmax_over_what_each_token_sees(prefix: int, sharing: int) -> None:
    q, k, v, _ = rows_of(prefix, (2, 7, 1), sharing)
    layout = lay_out(prefix, (2, 7, 1), *HEADS[sharing], CPU, torch.float64)
    assert distance(attend_plain(q, k, v, layout), attend_one_by_one(q, k, v, prefix, (2, 7, 1))) < 1e-14


@pytest.mark.parametrize("attend", FAST, ids=lambda a: a.__name__)
@pytest.mark.parametrize("sharing", HEADS)
@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
def test_fast_attention_equals_the_plain_one(
    attend: Attend, lengths: tuple[int, ...], prefix: int, sharing: int
) -> None:
    for dtype, bound in ((torch.float64, 1e-13), (torch.float32, 1e-5)):
        values = rows_of(prefix, lengths, sharing, dtype)
        layout = lay_out(prefix, lengths, *HEADS[sharing], CPU, dtype)
        wanted = run_attention(attend_plain, values, layout)
        assert attention_error(run_attention(attend, values, layout), wanted) < bound


# On a CPU the library's kernel rounds the gradients of each query head before it adds those of a key head.
@pytest.mark.parametrize(("attend", "bound"), [(attend_blocks, 1.5), (attend_causal, 2.5)], ids=["blocks", "causal"])
@pytest.mark.parametrize("prefix", [0, 5])
@pytest.mark.parametrize("lengths", LENGTHS[1:], ids=str)
def test_in_bf16_fast_attention_is_as_near_as_the_plain_one(
    attend: Attend, bound: float, lengths: tuple[int, ...], prefix: int
) -> None:
    values = rows_of(prefix, lengths, 7, torch.bfloat16)
    layout = lay_out(prefix, lengths, *HEADS[7], CPU, torch.bfloat16)
    exact = run_attention(attend_plain, [x.double() for x in values], layout)
    plain, fast = (run_attention(a, values, layout) for a in (attend_plain, attend))
    for f, p, e in zip(fast, plain, exact, strict=True):
        assert distance(f, e) <= bound * distance(p, e)


def aligned_to_the_left(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """The first token of a sample sees one key, the second two, as if the prefix were a part of them."""
    wrong = []
    for b in layout.buckets:
        mask = torch.full((b.length, b.prefix + b.length), float("-inf"), dtype=q.dtype).triu(1)
        wrong.append(replace(b, mask=mask.repeat_interleave(q.shape[1] // k.shape[1], dim=0)))
    return attend_blocks(q, k, v, replace(layout, buckets=tuple(wrong)))


def prefix_learns_nothing(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Keys of the prefix get gradients from the prefix alone, as in a cache that was filled without them."""
    own = attend_blocks(q, k, v, layout)
    frozen = [torch.cat([x[: layout.prefix].detach(), x[layout.prefix :]]) for x in (k, v)]
    return torch.cat([own[: layout.prefix], attend_blocks(q, *frozen, layout)[layout.prefix :]])


def only_the_first_head_is_shared(q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
    """Query heads in the order of another grouping."""
    order = torch.arange(q.shape[1]).view(-1, k.shape[1]).T.flatten()
    out = attend_blocks(q[:, order], k, v, layout).unflatten(1, (q.shape[1], -1))
    return out[:, order.argsort()].flatten(1)


@pytest.mark.parametrize("fault", [aligned_to_the_left, prefix_learns_nothing, only_the_first_head_is_shared])
def test_a_fault_of_attention_is_seen(fault: Attend) -> None:
    values = rows_of(5, (7, 7), 2)
    layout = lay_out(5, (7, 7), *HEADS[2], CPU, torch.float64)
    wanted = run_attention(attend_plain, values, layout)
    assert attention_error(run_attention(attend_blocks, values, layout), wanted) < 1e-13
    assert attention_error(run_attention(fault, values, layout), wanted) > SEEN


# ---- the loss ----------------------------------------------------------------------------------------------

WIDTH, WORDS = 24, 331


def head_and_rows(rows: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, WIDTH, generator=generator).to(dtype)
    weight = torch.randn(WORDS, WIDTH, generator=generator).to(dtype)
    return hidden, weight, torch.randint(WORDS, (rows,), generator=generator)


def run_loss(function: Callable[..., Tensor], hidden: Tensor, weight: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The sum and the gradient of a third of it."""
    hidden = hidden.clone().requires_grad_()
    total = function(hidden, weight, target)
    (total / 3).backward()
    assert hidden.grad is not None
    return total.detach(), hidden.grad


def exact_loss(hidden: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(hidden @ weight.T, target, reduction="sum")


@pytest.mark.parametrize("rows", [1, 2, 511, 512, 513, 1025])
def test_the_loss_in_parts_equals_the_formula(rows: int) -> None:
    values = head_and_rows(rows)
    exact = run_loss(exact_loss, *(x.double() if x.is_floating_point() else x for x in values))
    for function in (linear_cross_entropy_plain, linear_cross_entropy):
        total, gradient = run_loss(function, *values)
        assert total.dtype == torch.float32
        assert distance(total, exact[0]) < 1e-6
        assert distance(gradient, exact[1]) < 1e-6
    each = F.cross_entropy(values[0].double() @ values[1].double().T, values[2], reduction="none")
    assert distance(token_nll(*values), each) < 1e-6


def test_a_wrong_target_in_one_of_many_rows_is_seen() -> None:
    hidden, weight, target = head_and_rows(513)
    wrong = target.clone()
    wrong[512] = (wrong[512] + 1) % WORDS
    right, other = (run_loss(linear_cross_entropy, hidden, weight, t)[1] for t in (target, wrong))
    assert distance(other, right) > SEEN


@pytest.mark.parametrize("rows", [1, 511, 513])
def test_in_bf16_the_loss_in_parts_is_as_near_as_the_formula(rows: int) -> None:
    values = head_and_rows(rows, torch.bfloat16)
    exact = run_loss(exact_loss, *(x.double() if x.is_floating_point() else x for x in values))
    plain, parts = (run_loss(f, *values) for f in (linear_cross_entropy_plain, linear_cross_entropy))
    for p, ours, e in zip(plain, parts, exact, strict=True):
        assert distance(ours, e) <= 1.5 * distance(p, e) + 1e-7


def test_no_rows_give_a_zero_that_can_be_differentiated() -> None:
    hidden, weight, target = head_and_rows(0)
    total, gradient = run_loss(linear_cross_entropy, hidden, weight, target)
    assert total == 0
    assert gradient.shape == (0, WIDTH)
    assert token_nll(hidden, weight, target).shape == (0,)


@pytest.mark.parametrize("gap", [60.0, 80.0, 150.0, 5000.0])
def test_a_target_of_no_probability_has_a_finite_loss_and_a_gradient(gap: float) -> None:
    """exp(-gap) underflows fp32 from 104 on; the second row is an ordinary one."""
    hidden = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    weight = torch.tensor([[0.0, 0.0], [gap, 1.0], [-1.0, 2.0]])
    target = torch.tensor([0, 2])
    found = token_nll(hidden, weight, target)
    ordinary = torch.tensor([0.0, 1.0, 2.0]).logsumexp(0) - 2.0
    assert found.tolist() == pytest.approx([gap, float(ordinary)], rel=1e-6)
    _, gradient = run_loss(linear_cross_entropy, hidden, weight, target)
    assert gradient[0].tolist() == pytest.approx([gap / 3, 1 / 3], rel=1e-6)


class Largest(TorchDispatchMode):
    """Elements of the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        made = [x for x in (out if isinstance(out, tuple | list) else [out]) if isinstance(x, Tensor)]
        self.elements = max([self.elements, *(x.numel() for x in made)])
        return out


def largest(function: Callable[..., Tensor], *values: Tensor) -> int:
    with Largest() as watched:
        run_loss(function, *values)
    return watched.elements


@pytest.mark.parametrize("softmax_elements", [1, 5 * WORDS, 2**20])
def test_only_some_rows_of_logits_exist_at_a_time(monkeypatch: pytest.MonkeyPatch, softmax_elements: int) -> None:
    values = head_and_rows(200)
    whole = run_loss(linear_cross_entropy, *values)
    monkeypatch.setattr(loss, "ROWS_AT_A_TIME", 30)
    monkeypatch.setattr(loss, "SOFTMAX_ELEMENTS", softmax_elements)
    parts = run_loss(linear_cross_entropy, *values)
    assert distance(parts[0], whole[0]) < 1e-6
    assert distance(parts[1], whole[1]) < 1e-6
    assert largest(linear_cross_entropy, *values) == 30 * WORDS
    assert largest(linear_cross_entropy_plain, *values) == 200 * WORDS


# ---- pointwise steps ---------------------------------------------------------------------------------------


def rms_norm_exact(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt() * weight


def rotate_exact(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Pairs as complex numbers, each times cos + i·sin."""
    half = x.shape[-1] // 2
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.complex(cos, sin)
    return torch.cat([turned.real, turned.imag], dim=-1)


def swiglu_exact(gate_up: Tensor) -> Tensor:
    gate, up = gate_up.chunk(2, dim=-1)
    return gate / (1 + (-gate).exp()) * up


Step = tuple[Callable[..., Tensor], Callable[..., Tensor], Callable[..., Tensor], tuple[Any, ...]]


def steps(dtype: torch.dtype) -> Iterator[tuple[str, Step]]:
    """(name, (fast, plain, exact, arguments)) in odd sizes."""
    for size in ((1, 5), (3, 97), (1000, 64), (7, 3, 33)):
        arguments = (2 * torch.randn(size).to(dtype), (1 + torch.randn(size[-1])).to(dtype), 1e-3)
        yield f"rms_norm {size}", (rms_norm, rms_norm_plain, rms_norm_exact, arguments)
    for tokens, heads, half in ((1, 1, 1), (7, 3, 5), (130, 16, 32)):
        angle = 10 * torch.rand(tokens, 1, half)
        arguments = (torch.randn(tokens, heads, 2 * half).to(dtype), angle.cos().to(dtype), angle.sin().to(dtype))
        yield f"rotate {(tokens, heads, half)}", (rotate, rotate_plain, rotate_exact, arguments)
    for tokens, wide in ((1, 1), (3, 97), (1001, 300)):
        yield (
            f"swiglu {(tokens, wide)}",
            (swiglu, swiglu_plain, swiglu_exact, (3 * torch.randn(tokens, 2 * wide).to(dtype),)),
        )


def run_step(function: Callable[..., Tensor], x: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    out = function(x, *rest)
    gradient = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out.dtype)
    return out.detach(), torch.autograd.grad(out, x, gradient)[0]


def in_fp64(arguments: tuple[Any, ...]) -> list[Any]:
    return [a.double() if isinstance(a, Tensor) else a for a in arguments]


@pytest.mark.parametrize("block_elements", [1, 1000, 2**18])
def test_pointwise_steps_equal_their_formulas(monkeypatch: pytest.MonkeyPatch, block_elements: int) -> None:
    monkeypatch.setattr(pointwise, "BLOCK_ELEMENTS", block_elements)
    for name, (fast, plain, exact, arguments) in steps(torch.float32):
        wanted = run_step(exact, *in_fp64(arguments))
        for function in (fast, plain):
            found = run_step(function, *arguments)
            assert [distance(f, w) < 1e-6 for f, w in zip(found, wanted, strict=True)] == [True, True], name


def test_in_bf16_pointwise_steps_are_as_near_as_their_formulas() -> None:
    for name, (fast, plain, exact, arguments) in steps(torch.bfloat16):
        wanted = run_step(exact, *in_fp64(arguments))
        ours, formula = (run_step(f, *arguments) for f in (fast, plain))
        for value, twin, right in zip(ours, formula, wanted, strict=True):
            assert value.dtype == torch.bfloat16
            assert distance(value, right) <= 1.5 * distance(twin, right) + 1e-3, name


def test_a_wrong_sense_or_half_is_seen_in_the_pointwise_steps() -> None:
    x, angle = torch.randn(7, 3, 10), torch.rand(7, 1, 5)
    turned, wanted = rotate(x, angle.cos(), angle.sin()), rotate_exact(x, angle.cos(), angle.sin())
    assert distance(turned, wanted) < 1e-6
    assert distance(rotate(x, angle.cos(), -angle.sin()), wanted) > SEEN
    gate_up = torch.randn(7, 10)
    assert distance(swiglu(gate_up.roll(5, dims=1)), swiglu_exact(gate_up)) > SEEN


# ---- a real model ------------------------------------------------------------------------------------------

REAL_CONVERSATIONS = (
    conversation("你是一个给孩子讲睡前故事的人。", "讲一个小刺猬的故事", "小刺猬背着一颗红果子，慢慢走回了家。"),
    conversation("你是一个给孩子讲睡前故事的人。", "月亮呢？", "月亮睡着了。", "星星呢？", "星星还醒着，在看你。"),
    conversation("你是一个给孩子讲睡前故事的人。", "A story, please", "The hedgehog went home."),
    conversation(None, "你好！", "你好呀，今天想听什么？"),
)


def assert_rendered_as_by_transformers(folder: Path, conversations: Sequence[Conversation]) -> list[Example]:
    """Ids are the template's own; targets are what follows each prompt up to the end of the turn."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    renderer = Renderer(folder)
    examples = renderer.examples(conversations, None)
    for talk, example in zip(conversations, examples, strict=True):
        messages = [{"role": m.role, "content": m.content} for m in talk.messages]
        assert list(example.ids) == tokenizer.apply_chat_template(messages, return_dict=False)
        targets: list[int] = []
        for i, message in enumerate(messages):
            if message["role"] == "assistant":
                prompt, answered = (
                    tokenizer.apply_chat_template(messages[:n], add_generation_prompt=n == i, return_dict=False)
                    for n in (i, i + 1)
                )
                end = len(answered) - answered[::-1].index(renderer.stop_ids[0])
                targets += range(len(prompt), end)
        assert [i for i, wanted in enumerate(example.is_target) if wanted] == targets
    return examples


def test_tiny_rows_are_rendered_as_by_transformers(zoo: Zoo) -> None:
    assert_rendered_as_by_transformers(zoo("qwen2"), CONVERSATIONS)


def test_the_real_model_gives_the_logits_loss_and_gradients_of_transformers_and_peft(real_folder: Path) -> None:
    examples = assert_rendered_as_by_transformers(real_folder, REAL_CONVERSATIONS)
    decoder = our_model(real_folder)
    reference = reference_model(real_folder)
    ids = torch.tensor(examples[0].ids)
    assert distance(our_logits(decoder, ids), their_logits(reference, ids)) < REAL
    adapter = add_adapter(decoder, b_size=0.02)
    assert len(adapter.masters) == decoder.shape.layers * 7 * 2
    wanted = one_by_one(as_peft(reference, adapter), adapter, examples)
    assert relative_error(packed(decoder, adapter, examples), wanted) < REAL
    broken = packed(decoder, adapter, examples, tamper=Wrong.positions_run_on)
    assert relative_error(broken, wanted) > SEEN
