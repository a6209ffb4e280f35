"""Small models of every kind, and the reference for training: transformers and PEFT, one sample at a time.

make_model, make_tokenizer      a Hugging Face folder with random weights and a byte-level tokenizer
one_by_one                      loss and gradients by PEFT, one forward pass per sample
packed                          the same by tonghua, with packing; the faults in `Wrong` are negative controls
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tonghua.config.fields import LORA_MODULES
from tonghua.core.example import Example
from tonghua.core.forward import hidden_states
from tonghua.core.lora import Adapter
from tonghua.core.loss import linear_cross_entropy
from tonghua.core.model import Decoder
from tonghua.core.packing import Batch, pack
from tonghua.models.peft import PEFT_PREFIX
from tonghua.models.scan import scan_model
from tonghua.models.weights import load_base
from tonghua.prompt.conversation import Conversation, Message
from tonghua.system.device import DevicePlace

if TYPE_CHECKING:
    from peft import PeftModel

CPU = torch.device("cpu")
VOCABULARY = 448
"""Rows of the embedding: more than the tokenizer has tokens, as in Qwen's own checkpoints."""

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
END, START, STOP = range(3)

_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "rms_norm_eps": 1e-6,
    "bos_token_id": END,
    "eos_token_id": STOP,
}
_PLAIN_ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
# The wavelengths in a head of 16 dimensions go from 6 to 20,000 positions, so kept, blended and stretched ones occur.
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
_LINEAR_ROPE = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}

KINDS: dict[str, tuple[type[PreTrainedModel], Callable[[], PreTrainedConfig]]] = {
    "qwen2": (
        Qwen2ForCausalLM,
        lambda: Qwen2Config(**_SIZES, tie_word_embeddings=True, rope_parameters=_PLAIN_ROPE),
    ),
    "qwen2-untied": (
        Qwen2ForCausalLM,
        lambda: Qwen2Config(**_SIZES, tie_word_embeddings=False, rope_parameters={**_PLAIN_ROPE, "rope_theta": 5e5}),
    ),
    "qwen3": (
        Qwen3ForCausalLM,
        lambda: Qwen3Config(
            **_SIZES, tie_word_embeddings=True, head_dim=32, attention_bias=False, rope_parameters=_PLAIN_ROPE
        ),
    ),
    "llama": (
        LlamaForCausalLM,
        lambda: LlamaConfig(**_SIZES, tie_word_embeddings=False, rope_parameters=_LLAMA3_ROPE),
    ),
    "llama-linear-rope": (
        LlamaForCausalLM,
        lambda: LlamaConfig(**_SIZES, tie_word_embeddings=True, rope_parameters=_LINEAR_ROPE),
    ),
}


def make_model(kind: str, folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Save a random model of this kind and return it: no norm is 1, no bias is 0, logits are a few units apart."""
    model_class, config = KINDS[kind]
    model = model_class(config())
    generator = torch.Generator().manual_seed(len(kind))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name:
                weight.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                weight.copy_(0.3 * noise)
            else:
                weight.copy_(noise * (0.3 if "embed" in name else weight.shape[1] ** -0.5))
    model.to(dtype).save_pretrained(folder)
    settings = {"bos_token_id": END, "eos_token_id": [STOP, END], "pad_token_id": END}
    (folder / "generation_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return model


def reference_model(folder: Path, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """Return the model of a folder as transformers loads it, in evaluation mode with plain attention."""
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    of_type = {"qwen2": Qwen2ForCausalLM, "qwen3": Qwen3ForCausalLM, "llama": LlamaForCausalLM}
    return of_type[kind].from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def our_model(folder: Path, dtype: torch.dtype = torch.float32) -> Decoder:
    """Return the model of a folder as tonghua loads it, on the CPU."""
    return load_base(scan_model(folder), DevicePlace(CPU, dtype))


_SAMPLE = (
    "从前有一只小兔子，住在月亮下面的森林里。天黑了，小兔子说：你好，月亮！月亮说：你好，小兔子。\n",
    "请讲一个关于月亮的故事。请讲一个关于小熊的故事。你是一个讲故事的人。\n",
    "Once upon a time there was a little rabbit who lived in the forest under the moon.\n",
    "You are a storyteller. Tell me a story about the moon. The end.\nsystem\nuser\nassistant\n",
)

# A conversation without a system message gets the one of the template, as with Qwen2.5.
_TEMPLATE = """\
{%- if messages[0].role != 'system' -%}
<|im_start|>system
You are a tiny helper.<|im_end|>
{% endif -%}
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""


def make_tokenizer(folder: Path) -> None:
    """Write a byte-level BPE tokenizer with Chinese and English merges, and a ChatML template, into a model folder."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_SAMPLE, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(_TEMPLATE, encoding="utf-8")


def conversation(system: str | None, *turns: str) -> Conversation:
    """Return a conversation of these turns: user, assistant, user, ..."""
    talk = [Message("assistant" if i % 2 else "user", text) for i, text in enumerate(turns)]
    return Conversation(tuple([Message("system", system), *talk] if system else talk))


STORYTELLER = "你是一个讲故事的人。"
CONVERSATIONS = (
    conversation(STORYTELLER, "请讲一个关于月亮的故事。", "从前有一只小兔子，住在月亮下面。"),
    conversation(STORYTELLER, "请讲一个关于小熊的故事。", "天黑了。"),
    conversation(STORYTELLER, "你好", "你好，月亮！", "再讲一个。", "从前有一个小熊，它说：天黑了，我要回家。The end."),
    conversation("You are a storyteller.", "Tell me a story.", "Once upon a time there was a moon."),
    conversation("You are a storyteller.", "The moon?", "The rabbit lived there."),
    conversation(None, "小兔子呢？", "在森林里。"),
    conversation(None, "你好", "好"),
)
"""Rows with three different system prompts, one of them that of the template; one row has two answers."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Result of a step: the mean loss over all targets in nats, and its gradient for each master."""

    loss: float
    gradients: dict[str, Tensor]


def relative_error(found: Learned, wanted: Learned) -> float:
    """Return the largest relative error of the loss and of any single gradient (by its norm)."""
    assert found.gradients.keys() == wanted.gradients.keys()
    errors = [abs(found.loss - wanted.loss) / abs(wanted.loss)]
    return worst([*errors, *(distance(found.gradients[name], g) for name, g in wanted.gradients.items())])


def worst(errors: Sequence[float]) -> float:
    """Return the largest error, or NaN if any is NaN: then every comparison with a bound fails."""
    return float(torch.tensor(errors, dtype=torch.float64).max())


def distance(found: Tensor, wanted: Tensor) -> float:
    """Return |found - wanted| / |wanted|, computed in fp64."""
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).norm() / wanted.norm())


def add_adapter(
    decoder: Decoder, targets: Sequence[str] = LORA_MODULES, dropout: float = 0.0, b_size: float = 0.1
) -> Adapter:
    """Add LoRA of rank 4 and scale 2; B is random with standard deviation `b_size`, so every gradient is non-zero."""
    generator = torch.Generator().manual_seed(7)
    adapter = Adapter(decoder.linears(), targets, 4, 2.0, dropout, generator)
    with torch.no_grad():
        for name, master in adapter.masters.items():
            if "lora_B" in name:
                master.copy_(b_size * torch.randn(master.shape, generator=generator))
    adapter.refresh()
    return adapter


def as_peft(model: PreTrainedModel, adapter: Adapter) -> "PeftModel":
    """Return the reference model in PEFT, with the values of the adapter's masters."""
    # Its import takes seconds, and few tests need it: those of the group "peft", which one process runs.
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.scale * adapter.rank,
        lora_dropout=0.0,
        target_modules=list(adapter.targets),
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(model, config)
    parameters = dict(wrapped.named_parameters())
    with torch.no_grad():
        for name, master in adapter.masters.items():
            parameters[_name_in_peft(name)].copy_(master)
    return wrapped


def _name_in_peft(name: str) -> str:
    return PEFT_PREFIX + name.removesuffix(".weight") + ".default.weight"


def one_by_one(wrapped: "PeftModel", adapter: Adapter, examples: Sequence[Example]) -> Learned:
    """Return the mean loss over all targets and its gradients, with a forward pass per sample."""
    total = sum(e.targets for e in examples)
    loss = 0.0
    wrapped.zero_grad()
    for example in examples:
        ids = torch.tensor([example.ids])
        labels = torch.where(torch.tensor([example.is_target]), ids, -100)
        logits = wrapped(input_ids=ids).logits[0, :-1]
        part = torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum") / total
        part.backward()
        loss += float(part.detach())
    trained = {name: p for name, p in wrapped.named_parameters() if p.requires_grad}
    assert trained.keys() == {_name_in_peft(name) for name in adapter.masters}
    gradients = {name: trained[_name_in_peft(name)].grad for name in adapter.masters}
    return Learned(loss, {name: g.clone() for name, g in gradients.items() if g is not None})


Tamper = Callable[[Batch], Batch]


def packed(
    decoder: Decoder,
    adapter: Adapter,
    examples: Sequence[Example],
    max_tokens: int = 1_000_000,
    share_prefix: bool = True,
    tamper: Tamper = lambda batch: batch,
    per_micro_batch: bool = False,
) -> Learned:
    """Return the same as `one_by_one`, in packed micro-batches; `tamper` and `per_micro_batch` add a fault."""
    batches = [tamper(batch) for batch in pack(examples, max_tokens, share_prefix)]
    total = sum(e.targets for e in examples)
    adapter.flat.grad.zero_()
    loss = 0.0
    for batch in batches:
        targets = len(batch.target) * len(batches) if per_micro_batch else total
        part = linear_cross_entropy(hidden_states(decoder, batch), decoder.head, batch.target) / targets
        part.backward()
        loss += float(part.detach())
    return Learned(loss, {name: master.grad.clone() for name, master in adapter.masters.items()})


class Wrong:
    """Faults that a packed batch could have; the comparison with `one_by_one` must show each of them."""

    @staticmethod
    def positions_run_on(batch: Batch) -> Batch:
        return replace(batch, positions=torch.arange(len(batch.ids)))

    @staticmethod
    def positions_restart_at_zero(batch: Batch) -> Batch:
        own = [torch.arange(n) for n in batch.lengths]
        return replace(batch, positions=torch.cat([torch.arange(batch.prefix), *own]))

    @staticmethod
    def later_samples_see_earlier(batch: Batch) -> Batch:
        return replace(batch, lengths=(sum(batch.lengths),))

    @staticmethod
    def prefix_of_first_sample_alone(batch: Batch) -> Batch:
        return replace(batch, prefix=0, lengths=(batch.prefix + batch.lengths[0], *batch.lengths[1:]))

    @staticmethod
    def first_target_from_neighbour(batch: Batch) -> Batch:
        """The last token of each sample predicts the first of the next one."""
        source, pair, end = batch.source.clone(), 0, batch.prefix
        for length, targets in zip(batch.lengths, batch.targets[:-1], strict=False):
            pair, end = pair + targets, end + length
            source[pair] = end - 1
        return replace(batch, source=source)

    @staticmethod
    def targets_shifted(batch: Batch) -> Batch:
        return replace(batch, target=batch.target.roll(1))
