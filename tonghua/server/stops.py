"""Find stop strings in an answer while it comes, and show nothing of one.

StopFinder(("\\nUser:",)):  "Hi.\\nUs" -> "Hi."   "er: x" -> "", found
"""

from collections.abc import Sequence


class StopFinder:
    """Passes the text of one answer through, up to the first stop string; holds back what may begin one."""

    def __init__(self, stops: Sequence[str]):
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def add(self, piece: str) -> str:
        """Return the text that can be shown now; nothing after a stop string."""
        if self.found:
            return ""
        text, self._held = self._held + piece, ""
        places = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if places:
            self.found = True
            return text[: min(places)]
        held = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def end(self) -> str:
        """Return what was held back, when the answer has ended."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of the text begin the stop string."""
    return next((size for size in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:size])), 0)
