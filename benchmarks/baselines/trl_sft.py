"""TRL's SFTTrainer on the same rows, set up well (dropout 0, no checkpointing), timed. Prints one JSON line last.

    MODEL=folder DATA=rows.json SYSTEM=text python trl_sft.py [pack|pad] STEPS [MAX_LENGTH]

Needs torch, transformers, peft, trl.
"""

import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

packing, steps = sys.argv[1] == "pack", int(sys.argv[2])
length = int(sys.argv[3]) if len(sys.argv) > 3 else 1024
system, cuda = os.environ.get("SYSTEM", "现在你要扮演皇帝身边的女人--甄嬛"), torch.cuda.is_available()
tok = AutoTokenizer.from_pretrained(os.environ["MODEL"])
rows = json.loads(Path(os.environ["DATA"]).read_text(encoding="utf-8"))[: 16 * steps * (8 if packing else 1)]
rows = Dataset.from_list(
    [
        dict(
            prompt=[dict(role="system", content=system), dict(role="user", content=r["instruction"] + r["input"])],
            completion=[dict(role="assistant", content=r["output"])],
        )
        for r in rows
    ]
)
seconds = []


class Clock(TrainerCallback):
    def on_step_begin(self, *a, **k):
        self.t = time.perf_counter()

    def on_step_end(self, *a, **k):
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - self.t)


model = AutoModelForCausalLM.from_pretrained(os.environ["MODEL"], dtype=torch.bfloat16)
lora = LoraConfig(
    task_type="CAUSAL_LM",
    r=8,
    lora_alpha=32,
    lora_dropout=0.0,
    target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
)
with tempfile.TemporaryDirectory() as out:
    args = SFTConfig(
        out,
        per_device_train_batch_size=1 if packing else 16,
        gradient_accumulation_steps=1,
        max_steps=steps,
        packing=packing,
        max_length=length,
        gradient_checkpointing=False,
        learning_rate=1e-12,
        per_device_eval_batch_size=16,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=True,
        use_cpu=not cuda,
    )
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=rows, processing_class=tok, peft_config=lora, callbacks=[Clock()]
    )
    per_step = len(rows) / len(trainer.train_dataset) if packing else 16
    trainer.train()
    loss = None if packing else statistics.mean(h["loss"] for h in trainer.state.log_history if "loss" in h)
peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(
    json.dumps(
        dict(
            run=f"trl-{sys.argv[1]}",
            samples_per_s=per_step / statistics.median(seconds[1:] or seconds),
            step_s=seconds,
            loss=loss,
            samples_per_step=per_step,
            peak_gb=peak / 1e9,
        )
    )
)
