"""TRL's SFTTrainer on the same rows, set up well: dropout 0, no activation checkpointing; timed.

    python benchmarks/baselines/trl_sft.py --model FOLDER --data rows.json --layout pack --steps 3

pack: one row of --length tokens a step, with as many samples as go into it. pad: 16 samples a step.
`train_step.py` runs this beside tonghua.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import report

MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def messages(system: str, row: dict[str, str]) -> dict[str, list[dict[str, str]]]:
    asked = row["instruction"] + row["input"]
    return {
        "prompt": [{"role": "system", "content": system}, {"role": "user", "content": asked}],
        "completion": [{"role": "assistant", "content": row["output"]}],
    }


def new_arguments(options: argparse.Namespace, out: str, cuda: bool) -> Any:
    from trl import SFTConfig

    packing = options.layout == "pack"
    return SFTConfig(
        out,
        per_device_train_batch_size=1 if packing else report.SAMPLES,
        gradient_accumulation_steps=1,
        max_steps=options.steps,
        packing=packing,
        max_length=options.length,
        gradient_checkpointing=False,
        learning_rate=1e-12,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=True,
        use_cpu=not cuda,
    )


def timed_steps(rows: list[dict[str, Any]], options: argparse.Namespace) -> tuple[list[float], float, float]:
    """Seconds of each step, its samples, and the mean loss."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTTrainer

    cuda, seconds = torch.cuda.is_available(), []

    with tempfile.TemporaryDirectory() as out:
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.bfloat16),
            args=new_arguments(options, out, cuda),
            train_dataset=Dataset.from_list(rows),
            processing_class=AutoTokenizer.from_pretrained(options.model),
            peft_config=LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=32, lora_dropout=0.0, target_modules=MODULES),
            callbacks=[report.step_clock(seconds)],
        )
        samples = len(rows) / len(trainer.train_dataset) if options.layout == "pack" else report.SAMPLES
        trainer.train()
    return seconds, samples, statistics.mean(each["loss"] for each in trainer.state.log_history if "loss" in each)


def parser() -> argparse.ArgumentParser:
    made = report.step_parser(__doc__)
    made.add_argument("--layout", choices=("pack", "pad"), default="pack", help="see above")
    made.add_argument("--length", type=int, default=1024, help="longest row in tokens (default: %(default)s)")
    return made


def main() -> None:
    options = parser().parse_args()
    report.require(sys.executable, "transformers", "peft", "trl", "datasets")
    # Packed rows hold many samples, so that more of them are needed for as many steps.
    most = report.SAMPLES * options.steps * (8 if options.layout == "pack" else 1)
    rows = [messages(options.system, row) for row in report.read_rows(options.data, options.steps)[:most]]
    seconds, samples, loss = timed_steps(rows, options)
    report.finish_steps(f"trl-{options.layout}", seconds, samples, loss, samples_per_step=samples)


if __name__ == "__main__":
    main()
