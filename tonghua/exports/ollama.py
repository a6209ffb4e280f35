"""The Modelfile of Ollama: which file, how prompts are written, where answers end and how they are drawn.

Ollama prefers the template in the GGUF file if that one can do more; ours in both are equally plain.
Format: docs.ollama.com/modelfile.
"""

import re
from collections.abc import Sequence

from ..config.schema import Sampling
from ..prompt.plain_template import PlainTemplate


def modelfile(file: str, template: PlainTemplate, system: str | None, stops: Sequence[str], sampling: Sampling) -> str:
    """Return the text of a Modelfile for the GGUF file of this name beside it."""
    lines = [f"FROM ./{file}", "", f'TEMPLATE """{template.go()}"""', ""]
    # Nothing escapes three quotes there; the template writes the same system prompt by itself.
    if system is not None and '"""' not in system and not system.endswith('"'):
        lines += [f'SYSTEM """{system}"""', ""]
    lines += [f'PARAMETER stop "{stop}"' for stop in stops]
    figures = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repetition_penalty,
        "num_predict": sampling.max_new_tokens,
        "seed": sampling.seed,
    }
    lines += [f"PARAMETER {name} {value}" for name, value in figures.items() if value is not None]
    return "\n".join(lines) + "\n"


def ollama_name(name: str) -> str:
    """Return a name that Ollama takes: small Latin letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._") or "persona"
