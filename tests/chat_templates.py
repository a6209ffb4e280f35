"""Chat templates of the families, for models of the tests."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from tonghua.prompt.renderer import TOKENIZER_FILES

CHATML = """\
{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\n你是默认的助手。<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


THINKING = """\
{%- for message in messages %}
{%- if message.role == 'assistant' and loop.last %}
{{- '<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n' + message.content + '<|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}
"""


def with_template(folder: Path, at: Path, template: str | None, specials: Sequence[str] = ()) -> Path:
    """The tokenizer of `folder` in a folder of its own, with this template and more control tokens."""
    made = at / "改过的 模型"
    made.mkdir()
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copy(folder / name, made / name)
    values = json.loads((made / "tokenizer_config.json").read_text(encoding="utf-8"))
    values.pop("chat_template", None)
    if specials:
        tokenizer = Tokenizer.from_file(str(made / "tokenizer.json"))
        tokenizer.add_special_tokens(list(specials))
        tokenizer.save(str(made / "tokenizer.json"))
        values |= {"bos_token": specials[0], "eos_token": specials[-1]}
    (made / "tokenizer_config.json").write_text(json.dumps(values), encoding="utf-8")
    (made / "chat_template.jinja").unlink(missing_ok=True)
    if template is not None:
        (made / "chat_template.jinja").write_text(template, encoding="utf-8")
    return made
