"""The tutorials' training script, unchanged in what it computes, timed. Prints one JSON line last.

    MODEL=folder DATA=rows.json SYSTEM=text python tutorial.py [verbatim|bf16] STEPS [MICRO_BATCH]

verbatim: per-device batch 2 x accumulation 8, activation checkpointing, prepare_model_for_kbit_training (which
casts the weights to fp32). bf16: the same step without those two. Needs torch, transformers, peft, datasets.
On a GPU the optimizer is the tutorials' paged_adamw_8bit when bitsandbytes is installed.
"""

import importlib.util
import json
import os
import resource
import statistics
import sys
import tempfile
import time

import torch
from datasets import load_dataset
from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

variant, steps = sys.argv[1], int(sys.argv[2])
micro = int(sys.argv[3]) if len(sys.argv) > 3 else 2
verbatim, cuda = variant == "verbatim", torch.cuda.is_available()
system = os.environ.get("SYSTEM", "现在你要扮演皇帝身边的女人--甄嬛")
tok = AutoTokenizer.from_pretrained(os.environ["MODEL"])


def encode(row):
    a = tok(
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{row['instruction']}{row['input']}<|im_end|>\n"
        "<|im_start|>assistant\n",
        add_special_tokens=False,
    )["input_ids"]
    b = tok(row["output"], add_special_tokens=False)["input_ids"] + [tok.eos_token_id]
    return dict(input_ids=(a + b)[:1024], attention_mask=[1] * len((a + b)[:1024]), labels=([-100] * len(a) + b)[:1024])


rows = load_dataset("json", data_files=os.environ["DATA"], split="train").select(range(16 * steps))
rows = rows.map(encode, remove_columns=rows.column_names)
model = AutoModelForCausalLM.from_pretrained(os.environ["MODEL"], dtype=torch.bfloat16)
if cuda:
    model.cuda()
if verbatim:
    model = prepare_model_for_kbit_training(model)
model = get_peft_model(
    model,
    LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=8,
        lora_alpha=32,
        lora_dropout=0.1,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    ),
)
model.enable_input_require_grads()
seconds, losses = [], []


class Clock(TrainerCallback):
    def on_step_begin(self, *a, **k):
        self.t = time.perf_counter()

    def on_step_end(self, *a, **k):
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - self.t)

    def on_log(self, args, state, control, logs=None, **k):
        if logs and "loss" in logs:
            losses.append(float(logs["loss"]))


with tempfile.TemporaryDirectory() as out:
    args = TrainingArguments(
        out,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=16 // micro,
        max_steps=steps,
        logging_steps=1,
        learning_rate=1e-12,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=True,
        use_cpu=not cuda,
        gradient_checkpointing=verbatim,
        optim="paged_adamw_8bit" if cuda and importlib.util.find_spec("bitsandbytes") else "adamw_torch",
    )
    Trainer(
        model=model,
        args=args,
        train_dataset=rows,
        callbacks=[Clock()],
        data_collator=DataCollatorForSeq2Seq(tokenizer=tok, padding=True),
    ).train()
peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(
    json.dumps(
        dict(
            run=f"tutorial-{variant}-{micro}",
            samples_per_s=16 / statistics.median(seconds[1:] or seconds),
            step_s=seconds,
            loss=statistics.mean(losses),
            tokens_per_step=sum(map(len, rows["input_ids"])) / steps,
            peak_gb=peak / 1e9,
        )
    )
)
