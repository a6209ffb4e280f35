"""What terminals show besides progress: samples with their targets in colour, tables, and two texts side by side."""

from typing import TYPE_CHECKING

from rich.text import Text as Line

from ..text import Text

if TYPE_CHECKING:
    from ..core.example import Example
    from ..prompt.renderer import Renderer

NARROW_COLUMNS = 60
"""A terminal of fewer columns has no room for two stories side by side."""


def rendered(example: "Example", renderer: "Renderer", console_colours: bool) -> Line:
    """One sample as the model sees it; what it learns is green, or in ⟦ ⟧ where there are no colours."""
    line = Line()
    for ids, learned in example.runs():
        text = renderer.plain(ids)
        if learned and not console_colours:
            text = f"⟦{text}⟧"
        line.append(text, style="bold green" if learned else "dim")
    return line


def recomputing(layers: int) -> Text:
    """How many layers recompute their activations, to be put after something else."""
    return Text(f"，{layers} 层重算激活", f", {layers} layers recompute their activations") if layers else Text("", "")
