"""Export a run: write it in another form, open that again with an independent reader, and keep it only if it passes.

merged      a folder with config.json and model.safetensors     read by transformers, or as GGUF by llama.cpp
gguf        one file, base and adapter merged                    llama.cpp
gguf-lora   the adapter alone, for llama.cpp with --lora         llama.cpp, beside the base
ollama      gguf and a Modelfile                                 llama.cpp
lmstudio    gguf in the folders that LM Studio expects           llama.cpp
browser     a web page that runs the model by itself             llama.cpp
bundle      a zip for `tonghua chat FILE.zip`                    llama.cpp, as gguf-lora
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from ..errors import UsageError
from ..evaluation.proof import COMPARED_TOKENS, SAMPLE_TOKENS, Proof
from ..evaluation.readers import has_transformers, require_llama_cpp
from ..events import Doing, Ended, Said
from ..inference.loading import CheckedRun
from ..inference.opening import Tell
from ..models.gguf_file import KINDS, gguf_package, require_writable
from ..prompt.plain_template import plain_template
from ..system.files import user_path, write_files
from ..text import Text, json_text, shown
from .browser import require_fits
from .bundle import pack
from .card import card
from .formats import MERGED, WRITERS, Writing
from .source import copy_licences, open_source, reference_of
from .target import FIGURES, building, require_free

FORMATS = tuple(name for name in WRITERS if name != MERGED)
"""What `export --to` takes."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An export that passed its proof. `path` is a folder, or the zip of a bundle; `type` that of its weights."""

    path: Path
    format: str
    type: str
    size_bytes: int
    proof: Proof

    def as_json(self) -> dict[str, Any]:
        """Return the fields for JSON output."""
        told = {"path": str(self.path), "format": self.format, "type": self.type, "size_bytes": self.size_bytes}
        return told | {"proof": self.proof.as_json()}


class Options(TypedDict, total=False):
    """What `export` may be told besides the run and the format."""

    out: str | Path | None
    type: str
    force: bool
    model: str | Path | None
    output_dir: str | Path
    offline: bool


def export_run(
    run: str | Path | None,
    format: str,
    tell: Tell,
    *,
    out: str | Path | None = None,
    type: str = KINDS[0],
    force: bool = False,
    model: str | Path | None = None,
    output_dir: str | Path = "runs",
    offline: bool = False,
) -> Exported:
    """Export a run and return where it is and its proof.

    run         a folder or name; None: the newest in `output_dir`
    format      MERGED or one of FORMATS
    out         a folder, or a zip for a bundle; None: exports/<run>-<format>
    type        one of KINDS, of the weights in GGUF
    force       replace an earlier export
    model       the base, if it has moved

    Raises UsageError for a wrong format, type, run or target, or a missing package; DataError if base and run do not
    belong together; RefusedError for a model that cannot be written so; ProofError if the export is not the run;
    ResourceError if memory or disk is short. After any of these, nothing stands at the target.
    """
    asked = {"output_dir": str(output_dir)} | ({} if model is None else {"model": str(model)})
    kind = type
    _require_known(format, kind)
    if format != MERGED or not has_transformers():
        gguf_package()
        require_llama_cpp()
    source = open_source(run, asked, tell, offline)
    if format != MERGED:
        require_writable(source.base.config)
        plain_template(source.renderer, source.contract)
    if format == "browser":
        require_fits(source, kind)
    target = _target(source, format, out)
    require_free(target, force)
    tell(
        Doing(
            Text("先让基座加适配器回答八个问题，好与导出的相比", "asking base and adapter the questions of the proof")
        )
    )
    wanted = reference_of(source, SAMPLE_TOKENS if format == "bundle" else COMPARED_TOKENS)
    tell(Ended())
    with building(target, pack if format == "bundle" else None) as part:
        made = WRITERS[format](Writing(source, kind, part, wanted, tell))
        tell(Ended())
        copy_licences(source, part)
        figures: dict[str, Any] = {
            "run": source.name,
            "format": format,
            "type": made.type,
            "base": source.described.base,
            "proof": made.proof.as_json(),
        }
        files = {"README.md": card(source, made.use, made.proof), FIGURES: json_text(figures, indent=2) + "\n"}
        write_files(part, {name: text.encode() for name, text in files.items()})
    tell(Said(made.proof.line))
    return Exported(target, format, made.type, _size_bytes(target), made.proof)


def _size_bytes(target: Path) -> int:
    files = [target] if target.is_file() else target.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def _require_known(format: str, kind: str) -> None:
    if format not in (MERGED, *FORMATS):
        raise UsageError(
            f"没有 {shown(format, 40)} 这种导出；可以写 {'、'.join(FORMATS)}；要模型文件夹，用 tonghua merge",
            f"there is no export to {shown(format, 40)}; write {', '.join(FORMATS)}; for a model folder, tonghua merge",
        )
    if kind not in KINDS:
        raise UsageError(
            f"没有 {shown(kind, 40)} 这种类型；可以写 {'、'.join(KINDS)}",
            f"there is no type {shown(kind, 40)}; write {', '.join(KINDS)}",
        )


def _target(source: CheckedRun, format: str, out: str | Path | None) -> Path:
    suffix = ".zip" if format == "bundle" else ""
    if out is None:
        return Path("exports") / f"{source.name}-{format}{suffix}"
    out = user_path(str(out))
    if (out.suffix.lower() == ".zip") != bool(suffix) or out.suffix.lower() == ".gguf":
        raise UsageError(
            f"--out {out}：这种导出应写{'一个 .zip 文件' if suffix else '一个文件夹'}",
            f"--out {out}: this export takes {'a .zip file' if suffix else 'a folder'}",
        )
    return out
