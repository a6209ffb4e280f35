"""Pieces of text for a terminal: a sample with its targets in colour, and the number of recomputed layers."""

from typing import TYPE_CHECKING

from rich.text import Text as Line

from ..text import Text, printable

if TYPE_CHECKING:
    from ..core.example import Example
    from ..prompt.renderer import Renderer

NARROW_COLUMNS = 60
"""Minimum width of a terminal, in columns, for two stories side by side."""


def rendered(example: "Example", renderer: "Renderer", console_colours: bool) -> Line:
    """Return one sample as the model sees it, its targets in green, or in ⟦ ⟧ if there are no colours."""
    line = Line()
    for ids, learned in example.runs():
        text = printable(renderer.plain(ids))
        if learned and not console_colours:
            text = f"⟦{text}⟧"
        line.append(text, style="bold green" if learned else "dim")
    return line


def recomputing(layers: int) -> Text:
    """Return the number of layers that recompute their activations, with a comma before it; empty for 0."""
    return Text(f"，{layers} 层重算激活", f", {layers} layers recompute their activations") if layers else Text("", "")
