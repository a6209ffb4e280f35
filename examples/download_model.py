"""Download a base model, every file checked; run it again after a break and it goes on.

python examples/download_model.py
"""

import tonghua

MODEL = "qwen2.5-1.5b"  # 或 qwen2.5-0.5b / or qwen2.5-0.5b
FOLDER = None  # 放在哪里；None 为默认的文件夹 / where to put it; None is tonghua's own folder
SOURCE = None  # modelscope、huggingface 或 mirror；None 为最快的 / None takes the one that answers first

with tonghua.plain_errors():
    print(tonghua.download(MODEL, FOLDER, SOURCE))
