"""Talk to a trained model: type one wish per line, read a story for each; `exit` quits.

python examples/qwen_lora_inference.py
"""

import tonghua

RUN = None  # 例如 runs/fairytale-20260101-120000；None 为最新的 / None is the newest
SAMPLING = {"temperature": 0.7, "top_p": 0.9, "repetition_penalty": 1.1, "max_new_tokens": 1024}

with tonghua.plain_errors():
    teller = tonghua.load(RUN)
    while (wish := input("愿望 / wish> ").strip()) not in ("exit", "退出"):
        if wish:
            for piece in teller.pieces(wish, **SAMPLING):
                print(piece, end="", flush=True)
            print()
