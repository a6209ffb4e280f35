"""Compare before and after training: type one wish per line, read the story of each model; `exit` quits.

python examples/demo.py
"""

import tonghua

RUN = None  # 例如 runs/demo-20260101-120000；None 为最新的 / None is the newest

with tonghua.plain_errors():
    teller = tonghua.load(RUN)
    while (wish := input("愿望 / wish> ").strip()) not in ("exit", "退出"):
        if wish:
            print(f"【训练前 / before】\n{teller.tell(wish, tuned=False)}\n")
            print(f"【训练后 / after】\n{teller.tell(wish)}\n")
