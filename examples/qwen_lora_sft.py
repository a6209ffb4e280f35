"""Fine-tune Qwen2.5 with LoRA on your own rows: instruction, input, output, in JSON or CSV.

python examples/qwen_lora_sft.py
"""

import tonghua

MODEL = "qwen2.5-1.5b"  # 名字或文件夹；不想下载可先写 tiny / a name or a folder; tiny needs no download
DATASET = "<your rows / 你的数据.json>"  # 想先试试可以写 fairytale / fairytale to try it out
SYSTEM = "你是一个优秀的童话故事作家，请根据用户的要求创作一个完整、有教育意义的童话故事。"

with tonghua.plain_errors():
    result = tonghua.train(
        model=MODEL,
        dataset=DATASET,
        system=SYSTEM,
        run_name="fairytale",
        max_length=1024,
        lora_rank=8,
        lora_alpha=32,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=8,
        num_train_epochs=5,
        learning_rate=2e-4,
    )
    print(f"{result.run}\nloss {result.train_loss:.3f}, held out {result.heldout_loss}")
