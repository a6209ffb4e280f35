"""The usual tutorials' training script, unchanged in what it computes, timed.

    python benchmarks/baselines/tutorial.py --model FOLDER --data rows.json --variant verbatim --steps 3

verbatim: a batch of 2 per device, 8 times accumulated, activation checkpointing, and prepare_model_for_kbit_training,
which casts the weights to fp32. bf16: the same step without the last two. On a GPU the optimizer is the tutorials'
paged_adamw_8bit if bitsandbytes is installed. `train_step.py` runs this beside tonghua.
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import report

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LONGEST = 1024


def encoded(tokenizer: Any, system: str, row: dict[str, str]) -> dict[str, list[int]]:
    prompt = tokenizer(
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{row['instruction']}{row['input']}<|im_end|>\n"
        "<|im_start|>assistant\n",
        add_special_tokens=False,
    )["input_ids"]
    answer = tokenizer(row["output"], add_special_tokens=False)["input_ids"] + [tokenizer.eos_token_id]
    ids, labels = (prompt + answer)[:LONGEST], ([-100] * len(prompt) + answer)[:LONGEST]
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}


def new_model(folder: str, verbatim: bool) -> Any:
    import torch
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    if torch.cuda.is_available():
        model.cuda()
    if verbatim:
        model = prepare_model_for_kbit_training(model)
    lora = LoraConfig(task_type=TaskType.CAUSAL_LM, r=8, lora_alpha=32, lora_dropout=0.1, target_modules=MODULES)
    model = get_peft_model(model, lora)
    model.enable_input_require_grads()
    return model


def timed_steps(model: Any, tokenizer: Any, rows: list[Any], options: argparse.Namespace) -> tuple[list[float], float]:
    """Seconds of each step, and the mean loss."""
    import torch
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    cuda, seconds = torch.cuda.is_available(), []

    with tempfile.TemporaryDirectory() as out:
        arguments = TrainingArguments(
            out,
            per_device_train_batch_size=options.batch,
            gradient_accumulation_steps=report.SAMPLES // options.batch,
            max_steps=options.steps,
            logging_steps=1,
            learning_rate=1e-12,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            bf16=True,
            use_cpu=not cuda,
            gradient_checkpointing=options.variant == "verbatim",
            optim="paged_adamw_8bit" if cuda and importlib.util.find_spec("bitsandbytes") else "adamw_torch",
        )
        collator = DataCollatorForSeq2Seq(tokenizer=tokenizer, padding=True)
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            callbacks=[report.step_clock(seconds)],
            data_collator=collator,
        )
        trainer.train()
    return seconds, statistics.mean(float(each["loss"]) for each in trainer.state.log_history if "loss" in each)


def parser() -> argparse.ArgumentParser:
    made = report.step_parser(__doc__)
    made.add_argument("--variant", choices=("verbatim", "bf16"), default="verbatim", help="see above")
    made.add_argument("--batch", type=int, default=2, help="rows in one forward pass (default: %(default)s)")
    return made


def main() -> None:
    options = parser().parse_args()
    report.require(sys.executable, "transformers", "peft")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(options.model)
    rows = report.read_rows(options.data, options.steps)[: report.SAMPLES * options.steps]
    examples = [encoded(tokenizer, options.system, row) for row in rows]
    seconds, loss = timed_steps(new_model(options.model, options.variant == "verbatim"), tokenizer, examples, options)
    tokens = sum(len(example["input_ids"]) for example in examples) / options.steps
    name = f"tutorial-{options.variant}-{options.batch}"
    report.finish_steps(name, seconds, report.SAMPLES, loss, tokens_per_step=tokens)


if __name__ == "__main__":
    main()
