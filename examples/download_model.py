"""Download a base model and verify every file. Run it again to resume an interrupted download.

python examples/download_model.py
"""

import tonghua

MODEL = "qwen2.5-1.5b"  # 或 qwen2.5-0.5b / or qwen2.5-0.5b
FOLDER = None  # 放在哪里；None 为默认的文件夹 / where to put it; None is the default folder
SOURCE = None  # modelscope、huggingface 或 mirror；None 为最快的 / None is the first to answer

with tonghua.plain_errors():
    print(tonghua.download(MODEL, FOLDER, SOURCE))
