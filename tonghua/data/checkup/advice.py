"""What so many rows and tokens suggest: passes, rank and what to expect."""

from dataclasses import dataclass

from ...text import Text


@dataclass(frozen=True, slots=True)
class Advice:
    """A starting point for `num_train_epochs`, `lora_rank` and `learning_rate`, and its reasons."""

    epochs: int
    lora_rank: int
    learning_rate: float
    why: Text


TOKENS_PER_RANK = 500_000
"""Target tokens that one rank can take in: on Qwen2.5-0.5B it has 550,000 parameters, each good for about 2 bits
(Allen-Zhu & Li 2024), and a token of a tuned chat model costs about 1 to 2 bits."""

_FEW = Text(
    "数据很少：多学几遍才记得住口吻，但也容易整句背下来，先加数据最有用",
    "so few rows need many passes to leave a mark and are easily learnt by heart; more rows would help most",
)

_SOME = Text(
    "数据不多：学五遍左右，留意验证损失，开始回升就停",
    "few rows: about five passes, and stop where the held-out loss begins to rise",
)

_MANY = Text("数据够用：学三遍是通常的做法", "enough rows: three passes are the usual choice")

_VERY_MANY = Text(
    "数据很多：一两遍就够，再多只是背书，学习率也可以低些",
    "plenty of rows: one or two passes will do, and a lower learning rate is safer over so many steps",
)


def advice(rows: int, mean_target_tokens: float) -> Advice:
    """What so many rows, whose answers have so many tokens on average, suggest to start from.

    Epochs and learning rate by rows, from what the common trainers set and advise for LoRA: 3 epochs and 1e-4
    to 2e-4 (LLaMA-Factory, ms-swift, Unsloth), more of both for short runs (Schulman et al. 2025, "LoRA
    Without Regret": the best rate is higher for short runs and hardly depends on the rank); Zhou et al. 2023
    (LIMA) took 15 passes over 1,000 rows, but beyond 5 memorisation grows. Rank: the smallest of 8 to 64
    whose parameters can hold all target tokens, see `TOKENS_PER_RANK`. These are habits, not laws: only the
    held-out loss of a run knows.
    """
    if rows < 300:
        epochs, rate, why = 10, 2e-4, _FEW
    elif rows < 2_000:
        epochs, rate, why = 5, 2e-4, _SOME
    elif rows < 20_000:
        epochs, rate, why = 3, 2e-4, _MANY
    else:
        epochs, rate, why = 2, 1e-4, _VERY_MANY
    tokens = rows * mean_target_tokens
    rank = next((rank for rank in (8, 16, 32) if rank * TOKENS_PER_RANK >= tokens), 64)
    return Advice(epochs, rank, rate, why)
