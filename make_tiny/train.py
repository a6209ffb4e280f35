"""Train `tiny` from random weights.

    python -m make_tiny.train --out FOLDER [--tokens 16_000_000] [--seed 1]

    corpus of a seed ──► tokenizer ──► ids (uint16) ──► rows of 512, later 1,024 tokens ──► Qwen2, 9 M weights, bf16

The same seed gives the same text and the same order; the weights agree to rounding between machines. About an
hour on two cores with AVX512-BF16 or AMX, many times as long with AVX2 alone. Needs transformers (`pip install --group
test`), which tonghua itself does not.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import Qwen2Config, Qwen2ForCausalLM

from make_tiny import tokenizer as tokens
from make_tiny.corpus import Conversation, conversations
from tonghua.models.manifest import MANIFEST, FileRecord, Manifest, sha256_of, write_manifest
from tonghua.prompt.template import compiled

TOKENS_PER_STEP = 8192
LOGITS_AT_A_TIME = 512
LONG_SHARE = 0.3  # of the steps, at the end, in rows of 1,024 tokens instead of 512
MATRIX_RATE, OTHER_RATE = 0.01, 3e-3
WARM_UP_STEPS = 50
COOL_DOWN_SHARE = 0.6
HELD_OUT_ROWS = 32

SHAPE = {
    "vocab_size": tokens.VOCABULARY,
    "hidden_size": 320,
    "intermediate_size": 896,
    "num_hidden_layers": 6,
    "num_attention_heads": 5,
    "num_key_value_heads": 1,
    "max_position_embeddings": 2048,
    "rope_theta": 10_000.0,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
}


def renderer() -> Callable[[Conversation], str]:
    """Return a function that renders a conversation with the chat template."""
    template = compiled(tokens.CHAT_TEMPLATE)
    return lambda talk: template.render(messages=[{"role": role, "content": text} for role, text in talk])


def documents(seed: int, tokenizer: Tokenizer) -> Iterator[NDArray[np.uint16]]:
    """Yield the ids of one conversation after another, each with the end-of-text token at its end."""
    end = tokenizer.token_to_id(tokens.END_OF_TEXT)
    endless, rendered = conversations(seed), renderer()
    while True:
        texts = [rendered(each) for each in islice(endless, 1000)]
        for encoded in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
            yield np.array([*encoded.ids, end], dtype=np.uint16)


def rows(source: Iterator[NDArray[np.uint16]], length: int) -> Iterator[NDArray[np.uint16]]:
    """Yield rows of length + 1 ids. A row begins with a conversation; its last conversation is cut to fit."""
    while True:
        parts, size = [], 0
        while size <= length:
            parts.append(next(source))
            size += len(parts[-1])
        yield np.concatenate(parts)[: length + 1]


def hidden_states(body: Callable[..., Any], batch: torch.Tensor) -> torch.Tensor:
    """Return the last hidden states (rows * length, width) of (rows, length + 1) ids."""
    with torch.autocast("cpu", torch.bfloat16):
        states: torch.Tensor = body(input_ids=batch[:, :-1]).last_hidden_state
    return states.flatten(0, 1)


def losses(hidden: torch.Tensor, head: torch.Tensor, batch: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield the parts of the mean -log p of every next token: their sum is the loss.

    In parts, whose logits stay in the cache of the processor: a quarter of a step faster than all at once.
    """
    targets = batch[:, 1:].flatten()
    for states, some in zip(hidden.split(LOGITS_AT_A_TIME), targets.split(LOGITS_AT_A_TIME), strict=True):
        with torch.autocast("cpu", torch.bfloat16):
            logits = F.linear(states, head)
        yield F.cross_entropy(logits.float(), some, reduction="sum") / targets.numel()


def backward(body: Callable[..., Any], head: torch.Tensor, batch: torch.Tensor) -> float:
    """Add the gradients of the loss of a batch to the parameters, and return the loss."""
    hidden = hidden_states(body, batch)
    cut = hidden.detach().requires_grad_()
    total = 0.0
    for part in losses(cut, head, batch):
        part.backward()
        total += part.item()
    hidden.backward(cut.grad)
    return total


def optimizers(model: Qwen2ForCausalLM) -> list[torch.optim.Optimizer]:
    """Return Muon (Jordan et al. 2024) for the matrices of the blocks, AdamW for all other parameters."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.05, momentum=0.95),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def rate_share(step: int, steps: int, goes_on: bool) -> float:
    """Return the share of the peak rate: warm-up, plateau, linear decay to 0 in the last `COOL_DOWN_SHARE` of steps.

    If it goes on from other weights, it falls from half the rate, from the first step on.
    """
    falling = (steps - step) / ((2 if goes_on else COOL_DOWN_SHARE) * steps)
    return min(1.0, (step + 1) / WARM_UP_STEPS, falling)


def stacked(source: Iterator[NDArray[np.uint16]], count: int) -> torch.Tensor:
    """Return the next `count` rows as one (count, length + 1) int64 tensor."""
    return torch.from_numpy(np.stack(list(islice(source, count))).astype(np.int64))


def train(tokenizer: Tokenizer, seed: int, total: int, start: Path | None) -> Qwen2ForCausalLM:
    """Return a model trained on `total` tokens, from the weights in `start` or from random ones.

    Raises SystemExit if the loss is not finite.
    """
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE, attn_implementation="eager"))
    if start is not None:
        model.load_state_dict(load_file(start / "model.safetensors"), strict=False)  # the head is the embedding
    steps = total // TOKENS_PER_STEP
    source = documents(seed, tokenizer)
    held_out = stacked(rows(documents(seed + 1, tokenizer), 512), HELD_OUT_ROWS)
    body, head = torch.compile(model.model), model.lm_head.weight  # compiled, it is a quarter faster
    both = optimizers(model)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in both]
    began = time.perf_counter()
    for step in range(steps):
        length = 1024 if step >= (1 - LONG_SHARE) * steps else 512
        batch = stacked(rows(source, length), TOKENS_PER_STEP // length)
        loss = backward(body, head, batch)
        if not math.isfinite(loss):
            raise SystemExit(f"the loss of step {step + 1} is not finite")
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, peak in zip(both, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * rate_share(step, steps, start is not None)
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % 50 == 0 or step + 1 == steps:
            elapsed = time.perf_counter() - began
            note = f"step {step + 1}/{steps}  loss {loss:.3f}  {elapsed:.0f} s"
            if (step + 1) % 200 == 0 or step + 1 == steps:
                with torch.no_grad():
                    note += f"  held-out {sum(losses(hidden_states(model.model, held_out), head, held_out)):.4f}"
            print(note, flush=True)
    return model


def write(model: Qwen2ForCausalLM, tokenizer: Tokenizer, folder: Path, seed: int) -> None:
    """Write the model as a Hugging Face folder, with weights in bf16 and a manifest that tonghua verifies."""
    end, turn_end = (tokenizer.token_to_id(mark) for mark in (tokens.END_OF_TEXT, tokens.TURN_END))
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.bfloat16().contiguous() for name, weight in model.state_dict().items()}
    weights.pop("lm_head.weight")  # the same matrix as the embedding
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "torch_dtype": "bfloat16", **SHAPE}
    drawn = {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "eos_token_id": [turn_end, end], "pad_token_id": end}
    for name, values in (
        ("config.json", {**config, "eos_token_id": turn_end, "bos_token_id": None, "pad_token_id": end}),
        ("generation_config.json", drawn),
    ):
        (folder / name).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8", newline="\n")
    tokens.write(tokenizer, folder)
    files = {
        file.name: FileRecord(file.stat().st_size, sha256_of(file))
        for file in sorted(folder.iterdir())
        if file.suffix in (".json", ".safetensors") and file.name != MANIFEST
    }
    write_manifest(folder, Manifest("tiny", "tonghua", f"seed-{seed}", files))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tokens", type=int, default=16_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--start", type=Path, help="folder of a model to go on from, with its tokenizer")
    options = parser.parse_args()
    tokenizer = (
        Tokenizer.from_file(str(options.start / "tokenizer.json")) if options.start else tokens.build(options.seed)
    )
    write(train(tokenizer, options.seed, options.tokens, options.start), tokenizer, options.out, options.seed)


if __name__ == "__main__":
    main()
