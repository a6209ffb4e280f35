"""Write each kind of export into a folder, and prove it with the reader that fits.

Writing(source, type, folder, reference)  --WRITERS["ollama"]-->  Written(type, proof, how to open it)
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..evaluation.proof import Proof, Reference, prove
from ..evaluation.readers import LlamaCppReader, has_transformers, llama_cpp_reader, transformers_reader
from ..events import Doing
from ..inference.loading import CheckedRun
from ..inference.opening import Tell
from ..models.gguf_file import write_adapter, write_base
from ..models.scan import scan_model
from ..models.scan_adapter import AdapterFiles, scan_adapter
from ..prompt.plain_template import plain_template
from ..text import Text
from .browser import MARK, MODEL, write_page
from .bundle import write_parts
from .merged import merged_type, template_of, write_merged
from .ollama import modelfile, ollama_name

MERGED = "merged"

PUBLISHER = "tonghua"
"""The folder above the model's own in LM Studio."""

PROVING = Doing(
    Text("请另一个程序打开它，与训练出来的相比", "opening it with another program, to compare with the run")
)


@dataclass(frozen=True, slots=True)
class Writing:
    """What is written where. `kind` is the type of the weights in GGUF."""

    source: CheckedRun
    kind: str
    folder: Path
    wanted: Reference
    tell: Tell


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the type of its weights, its proof, and how it is opened."""

    type: str
    proof: Proof
    use: Text


def _merged(work: Writing) -> Written:
    source, kind = work.source, merged_type(work.source)
    work.tell(Doing(Text("合并权重", "merging the weights")))
    write_merged(source, work.folder)
    work.tell(PROVING)
    if has_transformers():
        with transformers_reader(work.folder) as reader:
            proof = prove(work.wanted, reader, kind)
    else:
        # From the written folder: its weights, its tokenizer and its template go through llama.cpp.
        file = work.folder / ".proof.gguf"
        try:
            again = scan_model(work.folder)
            stored = "bf16" if kind == "bf16" else "f16"
            write_base(again, work.folder, template_of(source), source.contract.stop_ids, stored, file)
            with _in_llama_cpp(work, file) as reading:
                proof = prove(work.wanted, reading, kind)
        finally:
            file.unlink(missing_ok=True)
    use = Text(
        "用 transformers 打开这个文件夹，或运行 vllm serve 加上这个文件夹的路径",
        "open this folder with transformers, or run `vllm serve` with its path",
    )
    return Written(kind, proof, use)


def _gguf(work: Writing) -> Written:
    name = f"{work.source.name}-{work.kind}.gguf"
    proof = _write_gguf(work, work.folder / name)
    use = Text(f"llama-cli -m {name}，或任何读 GGUF 的程序", f"`llama-cli -m {name}`, or any program that reads GGUF")
    return Written(work.kind, proof, use)


def _lmstudio(work: Writing) -> Written:
    name = work.source.name
    folder = work.folder / PUBLISHER / f"{name}-GGUF"
    folder.mkdir(parents=True)
    proof = _write_gguf(work, folder / f"{name}-{work.kind}.gguf")
    use = Text(
        f"把 {PUBLISHER} 文件夹放进 LM Studio 的 models 文件夹（在 LM Studio 的 My Models 里能看到它在哪里）",
        f"put the folder {PUBLISHER} into the models folder of LM Studio, whose place it shows under My Models",
    )
    return Written(work.kind, proof, use)


def _ollama(work: Writing) -> Written:
    source = work.source
    file = f"{source.name}-{work.kind}.gguf"
    proof = _write_gguf(work, work.folder / file)
    contract, template = source.contract, plain_template(source.renderer, source.contract)
    stops = [source.renderer.plain([id]) for id in contract.stop_ids]
    text = modelfile(file, template, contract.system, stops, source.run.config.sampling)
    (work.folder / "Modelfile").write_bytes(text.encode())
    name = ollama_name(contract.persona or source.name)
    use = Text(
        f"在这个文件夹里运行 ollama create {name} -f Modelfile，然后 ollama run {name}",
        f"in this folder, run `ollama create {name} -f Modelfile`, then `ollama run {name}`",
    )
    return Written(work.kind, proof, use)


def _browser(work: Writing) -> Written:
    proof = _write_gguf(work, work.folder / MODEL, MARK)
    write_page(work.source, work.folder)
    use = Text(
        "在这个文件夹里运行 python -m http.server，再打开 http://127.0.0.1:8000；要给别人用，把整个文件夹放到静态网站上",
        "in this folder, run `python -m http.server` and open http://127.0.0.1:8000; for others, put the whole folder"
        " on a static web host",
    )
    return Written(work.kind, proof, use)


def _lora(work: Writing) -> Written:
    name = f"{work.source.name}-lora.gguf"
    proof = _prove_adapter(work, work.source.adapter, work.folder / name)
    base = work.source.described.base
    use = Text(
        f"llama-cli -m {base} 的 GGUF 文件 --lora {name}（每次还要自己写上系统提示词）",
        f"`llama-cli -m FILE --lora {name}`, where FILE is a GGUF file of {base}; the system prompt must be given too",
    )
    return Written("f16", proof, use)


def _bundle(work: Writing) -> Written:
    write_parts(work.source, work.folder, work.wanted)
    file = work.folder / ".proof-lora.gguf"
    try:
        # From the copy in the bundle, so that it is this copy that is proven.
        proof = _prove_adapter(work, scan_adapter(work.folder), file)
    finally:
        file.unlink(missing_ok=True)
    use = Text("tonghua chat 加上这个 zip 文件", "`tonghua chat` with this zip file")
    return Written("f16", proof, use)


def _write_gguf(work: Writing, file: Path, mark: str = "") -> Proof:
    """Write base and adapter as one file and prove it; `mark` goes before the name of each control token."""
    source = work.source
    work.tell(Doing(Text(f"写 {file.name}", f"writing {file.name}")))
    template = plain_template(source.renderer, source.contract, mark).jinja()
    write_base(
        source.base,
        source.run.folder,
        template,
        source.contract.stop_ids,
        work.kind,
        file,
        adapter=source.adapter,
        described=source.described,
        mark=mark,
    )
    work.tell(PROVING)
    with _in_llama_cpp(work, file) as reader:
        return prove(work.wanted, reader, work.kind)


def _prove_adapter(work: Writing, adapter: AdapterFiles, file: Path) -> Proof:
    """Write an adapter as GGUF and prove it beside its base, which is written for this alone."""
    source, base = work.source, work.folder / ".base.gguf"
    work.tell(Doing(Text("写适配器，也写基座来核对它", "writing the adapter, and its base to prove it")))
    described = source.described
    write_adapter(adapter, source.base, file, described=described)
    template = plain_template(source.renderer, source.contract).jinja()
    try:
        write_base(source.base, source.run.folder, template, source.contract.stop_ids, "f16", base)
        work.tell(PROVING)
        with _in_llama_cpp(work, base, file) as reader:
            return prove(work.wanted, reader, "f16")
    finally:
        base.unlink(missing_ok=True)


@contextmanager
def _in_llama_cpp(work: Writing, file: Path, adapter: Path | None = None) -> Iterator[LlamaCppReader]:
    with llama_cpp_reader(file, adapter, work.source.renderer.vocabulary.letter, work.wanted.longest) as reader:
        yield reader


WRITERS: dict[str, Callable[[Writing], Written]] = {
    MERGED: _merged,
    "gguf": _gguf,
    "gguf-lora": _lora,
    "ollama": _ollama,
    "lmstudio": _lmstudio,
    "browser": _browser,
    "bundle": _bundle,
}
