"""Training settings to start from, chosen by the size of a dataset: epochs, LoRA rank, learning rate."""

from dataclasses import dataclass

from ...text import Text


@dataclass(frozen=True, slots=True)
class Advice:
    """Starting values for `num_train_epochs`, `lora_rank` and `learning_rate`, and the reason for them."""

    epochs: int
    lora_rank: int
    learning_rate: float
    why: Text


TOKENS_PER_RANK = 500_000
"""Target tokens that one LoRA rank can store. On Qwen2.5-0.5B one rank has 550,000 parameters, each stores about
2 bits (Allen-Zhu & Li 2024), and a target token of a fine-tuned chat model holds about 1 to 2 bits."""

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
    """Return the settings to start from for `rows` rows with `mean_target_tokens` learned tokens each.

    The rows set epochs and learning rate. The common LoRA trainers use 3 epochs and 1e-4 to 2e-4
    (LLaMA-Factory, ms-swift, Unsloth); short runs get more of both. The best rate is higher for short runs and
    hardly depends on the rank (Schulman et al. 2025, "LoRA Without Regret"). Zhou et al. 2023 (LIMA) train 15
    epochs on 1,000 rows, but memorisation grows after 5. The rank is the smallest of 8, 16, 32 and 64 that can
    store all target tokens (see `TOKENS_PER_RANK`), else 64. These are rules of thumb; the held-out loss decides.
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
