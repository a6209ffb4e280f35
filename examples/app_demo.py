"""A web page with a story tab and a chat tab; answers appear word by word. First: pip install -e ".[web]" """

import os
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import tonghua
from tonghua.errors import UserError

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before the import: gradio sends no usage data
try:
    import gradio
except ImportError:
    raise SystemExit('先运行 / first run: pip install -e ".[web]"') from None

RUN = None  # 例如 runs/fairytale-20260101-120000；None 为最新的 / None is the newest


def answer(text: str, history: list[dict[str, Any]] | None = None) -> Iterator[str]:
    """Yield the answer so far, again each time it grows. `history` holds the earlier turns."""
    try:
        yield from accumulate(teller.pieces(text, history=history or ()))
    except UserError as error:
        raise gradio.Error(str(error)) from None


def page() -> gradio.TabbedInterface:
    """Return the page: a story tab and a chat tab."""
    wish, text = gradio.Textbox(label="愿望 / wish"), gradio.Textbox(label="故事 / story", lines=18)
    boxes = [gradio.Interface(answer, wish, text, flagging_mode="never"), gradio.ChatInterface(answer)]
    return gradio.TabbedInterface(boxes, ["故事 / story", "聊天 / chat"], title="童话 tonghua")


if __name__ == "__main__":
    with tonghua.plain_errors():
        teller = tonghua.load(RUN)
        page().launch(server_name="127.0.0.1")
