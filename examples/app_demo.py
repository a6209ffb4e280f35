"""A page in the browser: a box for stories, a box for chat, words as they come. First: pip install -e ".[web]" """

import os
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import tonghua
from tonghua.errors import UserError

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # before it is imported: sends nothing anywhere
try:
    import gradio
except ImportError:
    raise SystemExit('先运行 / first run: pip install -e ".[web]"') from None

RUN = None  # 例如 runs/fairytale-20260101-120000；None 为最新的 / None is the newest


def answer(text: str, history: list[dict[str, Any]] | None = None) -> Iterator[str]:
    """The answer so far, again and again as it grows, with what was said before in mind."""
    try:
        yield from accumulate(teller.pieces(text, history=history or ()))
    except UserError as error:
        raise gradio.Error(str(error)) from None


def page() -> gradio.TabbedInterface:
    wish, text = gradio.Textbox(label="愿望 / wish"), gradio.Textbox(label="故事 / story", lines=18)
    boxes = [gradio.Interface(answer, wish, text, flagging_mode="never"), gradio.ChatInterface(answer)]
    return gradio.TabbedInterface(boxes, ["故事 / story", "聊天 / chat"], title="童话 tonghua")


if __name__ == "__main__":
    with tonghua.plain_errors():
        teller = tonghua.load(RUN)
        page().launch(server_name="127.0.0.1")
