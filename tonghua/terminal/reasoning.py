"""Tell the reasoning of an answer from the rest while it comes, so that a terminal can show it dimmed.

"<th", "ink>先想。</thi", "nk>好。"   ->   ("<think>先想。", True), ("</think>", True), ("好。", False)
"""

from typing import Literal

from ..prompt.thoughts import CLOSED, OPENED


class ReasoningSplitter:
    """Splits one answer; what it returns is the answer, and holds back only what may be a part of a mark."""

    def __init__(self) -> None:
        self._at: Literal["start", "reasoning", "answer"] = "start"
        self._held = ""

    def add(self, piece: str) -> list[tuple[str, bool]]:
        """Return what can be shown now, in order, and whether each part is reasoning; the marks are part of it."""
        text, self._held = self._held + piece, ""
        if self._at == "start":
            begun = text.lstrip()
            if OPENED.startswith(begun) and begun != OPENED:
                self._held = text
                return []
            self._at = "reasoning" if begun.startswith(OPENED) else "answer"
        if self._at == "answer":
            return [(text, False)]
        thought, mark, answer = text.partition(CLOSED)
        if mark:
            self._at = "answer"
            return [(thought + mark, True), (answer, False)]
        held = max(size for size in range(len(CLOSED)) if text.endswith(CLOSED[:size]))
        self._held = text[len(text) - held :]
        return [(text[: len(text) - held], True)]

    def end(self) -> list[tuple[str, bool]]:
        """Return what was held back."""
        held, self._held = self._held, ""
        return [(held, self._at == "reasoning")]
