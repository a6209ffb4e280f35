"""LoRA fine-tuning by hand, in plain PyTorch: every step that a trainer hides, with the shapes of the tensors.

The losses equal those of `tonghua train` on the same rows. `tonghua train` packs rows, so it is faster.
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

import tonghua

MODEL = "tiny"  # 换成 qwen2.5-0.5b 也一样 / qwen2.5-0.5b works as well
SYSTEM = "你是林黛玉，贾宝玉的表妹。"
ROWS = [
    {"instruction": "窗前的竹子可要修剪？", "input": "", "output": "留着罢，风一过，倒像有人来看我。"},
    {"instruction": "替这盏灯写一句话。", "input": "不超过十个字", "output": "照我一夜，又不问我一夜。"},
    {"instruction": "今天冷吗？", "input": "", "output": "冷也罢，暖也罢，不过是自己的事。"},
]
ROUNDS, LEARNING_RATE, RANK, ALPHA = 20, 2e-3, 8, 32
MODULES = ("self_attn.q", "self_attn.k", "self_attn.v", "self_attn.o", "mlp.gate", "mlp.up", "mlp.down")


def example(tokenizer: Tokenizer, row: dict[str, str]) -> tuple[list[int], list[int]]:
    """Return the ids and labels of one row. Labels are the answer and its end token; -100 marks the rest."""
    question = "\n".join(part for part in (row["instruction"], row["input"]) if part)  # with `input`
    prompt = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    before = tokenizer.encode(prompt, add_special_tokens=False).ids
    answer = tokenizer.encode(row["output"] + "<|im_end|>", add_special_tokens=False).ids  # it learns to stop
    return before + answer, [-100] * len(before) + answer


def padded(examples: list[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pad on the right. Return ids, mask (1 = token, 0 = padding) and labels, each (rows, tokens)."""
    longest = max(len(ids) for ids, _ in examples)
    ids = [ids + [pad] * (longest - len(ids)) for ids, _ in examples]
    real = [[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in examples]
    labels = [labels + [-100] * (longest - len(labels)) for _, labels in examples]  # padding is not learned either
    return torch.tensor(ids), torch.tensor(real), torch.tensor(labels)


class Model:
    """Qwen2 from scratch: frozen weights by their names in the file, and a trainable A and B for each linear layer."""

    def __init__(self, folder: Path):
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.weights = {k: v.float() for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}
        self.lora: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for layer in range(self.config["num_hidden_layers"]):
            for name in (f"model.layers.{layer}.{module}_proj" for module in MODULES):
                wide, narrow = self.weights[f"{name}.weight"].shape
                a, b = torch.empty(RANK, narrow).uniform_(-1, 1) * narrow**-0.5, torch.zeros(wide, RANK)
                self.lora[name] = a.requires_grad_(), b.requires_grad_()  # B = 0: LoRA adds nothing at first

    def linear(self, x: torch.Tensor, name: str) -> torch.Tensor:
        """Return W x + b + (alpha / r) B A x (LoRA, Hu et al. 2021)."""
        a, b = self.lora[name]
        y = F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))
        return y + (x @ a.T @ b.T) * (ALPHA / RANK)

    def norm(self, x: torch.Tensor, name: str) -> torch.Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.config["rms_norm_eps"])

    def __call__(self, ids: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        """Return the logits (rows, tokens, vocabulary): at each token, the scores of the next one."""
        size = self.config["hidden_size"] // self.config["num_attention_heads"]
        theta = self.config.get("rope_theta") or self.config["rope_parameters"]["rope_theta"]
        turns = torch.arange(ids.shape[1])[:, None] / theta ** (torch.arange(0, size, 2) / size)
        cos, sin = turns.cos().repeat(1, 2), torch.cat([-turns.sin(), turns.sin()], -1)
        # Causal mask: a token attends to itself and to earlier tokens, but not to padding.
        seen = torch.ones(ids.shape[1], ids.shape[1]).tril().bool() & real[:, None, None, :].bool()
        x = self.weights["model.embed_tokens.weight"][ids]
        for layer in (f"model.layers.{i}" for i in range(self.config["num_hidden_layers"])):
            h = self.norm(x, f"{layer}.input_layernorm")
            q, k, v = (self.linear(h, f"{layer}.self_attn.{n}_proj").unflatten(-1, (-1, size)) for n in "qkv")
            q, k, v = (each.transpose(1, 2) for each in (q, k, v))  # (rows, heads, tokens, size)
            q, k = (each * cos + each.roll(size // 2, -1) * sin for each in (q, k))
            h = F.scaled_dot_product_attention(q, k, v, attn_mask=seen, enable_gqa=True).transpose(1, 2).flatten(2)
            x = x + self.linear(h, f"{layer}.self_attn.o_proj")
            h = self.norm(x, f"{layer}.post_attention_layernorm")
            h = F.silu(self.linear(h, f"{layer}.mlp.gate_proj")) * self.linear(h, f"{layer}.mlp.up_proj")
            x = x + self.linear(h, f"{layer}.mlp.down_proj")
        head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        return self.norm(x, "model.norm") @ head.T


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean -log p of the labels. Logits at token t predict token t + 1, so labels shift by one."""
    print("logits", tuple(logits.shape), end="  ")
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def main(model_name: str = MODEL, rounds: int = ROUNDS) -> list[float]:
    """Train. Return the loss of every round."""
    torch.manual_seed(0)
    folder = tonghua.download(model_name)
    tokenizer, model = Tokenizer.from_file(str(folder / "tokenizer.json")), Model(folder)
    ids, real, labels = padded([example(tokenizer, row) for row in ROWS], tokenizer.token_to_id("<|endoftext|>"))
    print("ids", tuple(ids.shape), " real", real.sum(1).tolist(), " learned", (labels != -100).sum(1).tolist())
    print("row 1 learns", tokenizer.decode(labels[0][labels[0] != -100].tolist(), skip_special_tokens=False))
    weights = [weight for pair in model.lora.values() for weight in pair]
    print("trainable", sum(map(torch.numel, weights)), "of", sum(map(torch.numel, model.weights.values())))
    optimizer, losses = torch.optim.AdamW(weights, LEARNING_RATE, weight_decay=0.0), []  # once: it holds state
    for number in range(rounds):
        loss = loss_of(model(ids, real), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        print(f"round {number + 1:3}  loss {losses[-1]:.4f}")
    return losses


if __name__ == "__main__":
    with tonghua.plain_errors():
        main()
