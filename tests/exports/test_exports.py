"""Each export is proven, opens where it is meant to, tells nothing private, and leaves nothing behind if it fails."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from command_line import ROWS, call
from llama_cpp import in_torch
from made_runs import Place
from reference import CPU, reference_model
from safetensors.torch import load_file, save_file

from tonghua.config.schema import Persona, Sampling
from tonghua.config.yaml_file import to_yaml
from tonghua.errors import RefusedError, UsageError, UserError
from tonghua.evaluation import readers
from tonghua.evaluation.proof import QUESTIONS, Likely, ProofError, divergence
from tonghua.exports import export as exporting
from tonghua.exports import formats
from tonghua.exports.card import card
from tonghua.exports.export import FORMATS, export_run
from tonghua.exports.merged import stored
from tonghua.exports.ollama import modelfile, ollama_name
from tonghua.exports.source import open_source
from tonghua.exports.target import FIGURES
from tonghua.models.peft import load_adapter
from tonghua.models.weights import load_base
from tonghua.prompt.conversation import Message
from tonghua.prompt.plain_template import PlainTemplate, Turn
from tonghua.prompt.renderer import Renderer
from tonghua.runs import bundle_file
from tonghua.runs.folder import open_run
from tonghua.system.device import DevicePlace
from tonghua.text import Text

ROW_TEXTS = [text for row in ROWS for text in (row["instruction"], row["output"])]

SYSTEM = "你是讲故事的人。\n说“话”。"


@pytest.fixture(scope="session")
def tuned(straight: Place, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose adapter changes its base a lot. A test must not write into it."""
    run = tmp_path_factory.mktemp("结果") / "黛玉-1"
    shutil.copytree(straight.run, run)
    file = run / "adapter_model.safetensors"
    torch.manual_seed(3)
    tensors = {name: t if "lora_A" in name else 0.02 * torch.randn_like(t) for name, t in load_file(file).items()}
    save_file(tensors, file)
    contract = json.loads((run / "contract.json").read_text(encoding="utf-8"))
    (run / "contract.json").write_text(json.dumps({**contract, "system": SYSTEM}), encoding="utf-8")
    config = open_run(run, run.parent).config.model_copy(update={"system": SYSTEM})
    (run / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    return run


def exported(run: Path, format: str, out: Path, **more: Any) -> exporting.Exported:
    return export_run(run, format, lambda event: None, out=out, **more)


def files_of(out: Path) -> dict[str, bytes]:
    """Return every file of an export by its name, also those in a zip."""
    if out.is_file():
        with zipfile.ZipFile(out) as packed:
            return {name: packed.read(name) for name in packed.namelist()}
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


# What comes out


@pytest.mark.parametrize("format", ["merged", *FORMATS])
def test_an_export_is_proven_and_tells_nothing_private(
    format: str, tuned: Path, folder: Path, tiny_folder: Path
) -> None:
    out = folder / ("出.zip" if format == "bundle" else "出")
    verb = ("merge", tuned, "--to", out) if format == "merged" else ("export", tuned, "--to", format, "--out", out)
    called = call(*verb, "--json")
    assert called.code == 0, called.err
    told = called.json
    assert (told["path"], told["format"], told["proof"]["questions"]) == (str(out), format, len(QUESTIONS))
    assert told["proof"]["divergence"] < told["proof"]["limit"] < told["proof"]["from_base"]
    assert f"{told['proof']['divergence']:.2g}" in called.err
    assert [path.name for path in folder.iterdir()] == [out.name]
    held = files_of(out)
    card = held["README.md"].decode()
    assert f"{told['proof']['divergence']:.2g}" in card
    assert "## 中文" in card
    assert json.loads(held[FIGURES])["proof"] == told["proof"]
    private = [str(tuned.parent), str(tiny_folder.parent), str(Path.home()), str(folder), *ROW_TEXTS]
    for name, content in held.items():
        for secret in private:
            assert secret.encode() not in content, (name, secret)
            assert json.dumps(secret)[1:-1].encode() not in content, (name, secret)


def test_the_model_card_tells_who_it_is_as_text(tuned: Path) -> None:
    source = open_source(tuned, {}, lambda event: None, True)
    persona = Persona(name="林<b>|黛玉", portrait="潇湘馆的\n主人。<script>")
    carded = replace(source, run=replace(source.run, contract=replace(source.contract, card=persona)))
    carded = replace(carded, contract=carded.run.contract)
    told = card(carded, Text("打开", "open"), None)
    assert "| 角色 | 林&lt;b&gt;/黛玉 |\n| 介绍 | 潇湘馆的 主人。&lt;script&gt; |\n" in told
    assert "| character | 林&lt;b&gt;/黛玉 |\n" in told
    assert "| character |" not in card(source, Text("打开", "open"), None)


def test_a_row_would_be_seen(tuned: Path) -> None:
    assert any(text.encode() in content for content in files_of(tuned).values() for text in ROW_TEXTS)


def test_a_merged_folder_is_base_and_adapter_in_transformers(tuned: Path, folder: Path) -> None:
    exported(tuned, "merged", folder / "m")
    source = open_source(tuned, {}, lambda event: None, True)
    decoder = load_base(source.base, DevicePlace(CPU, torch.float32))
    adapter = load_adapter(source.adapter, decoder)
    ids = source.renderer.prompt((Message("user", "讲一个故事。"),))
    with torch.no_grad():
        found = reference_model(folder / "m")(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1).numpy()
    assert np.allclose(in_torch(decoder, ids), found, atol=1e-4)
    adapter.enable(False)
    assert not np.allclose(in_torch(decoder, ids), found, atol=1e-2)


def test_the_type_of_the_base_is_kept_and_rounded_once() -> None:
    values = np.random.default_rng(1).standard_normal((9, 7)).astype(np.float32)
    wanted = torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()
    assert np.array_equal(stored(values, "BF16"), wanted)
    assert np.array_equal(stored(values, "F16"), values.astype(np.float16))
    assert stored(values, "F32").dtype == np.float32


def test_a_run_on_a_quantized_base_is_merged_into_the_real_one(tuned: Path, folder: Path) -> None:
    run = folder / "run"
    shutil.copytree(tuned, run)
    config = open_run(run, folder).config.model_copy(update={"quantization_bit": 4})
    (run / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    for language, words in (("zh", "没有量化的基座"), ("en", "the unquantized base")):
        called = call("merge", run, "--to", folder / language, language=language)
        assert called.code == 0
        assert words in called.err
    plain = exported(tuned, "merged", folder / "plain")
    assert plain.proof.divergence < 5e-4
    same = [(folder / name / "model.safetensors").read_bytes() for name in ("zh", "plain")]
    assert same[0] == same[1]


def test_without_transformers_llama_cpp_reads_the_folder(
    tuned: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats, "has_transformers", lambda: False)
    assert exported(tuned, "merged", folder / "m").proof.reader == "llama.cpp"
    assert not [path for path in (folder / "m").iterdir() if path.name.startswith(".")]


def test_the_type_can_be_chosen_and_q4_0_is_told_with_its_figure(tuned: Path, folder: Path) -> None:
    called = call("export", tuned, "--out", folder / "q4", "--type", "q4_0", "--json")
    assert called.code == 0
    assert "q4_0 differs so much" in called.err
    assert called.json["proof"]["divergence"] > 0
    (file,) = (folder / "q4").glob("*.gguf")
    kinds = {each.name: each.tensor_type.name for each in gguf.GGUFReader(file).tensors}
    assert kinds["blk.0.ffn_up.weight"] == "Q4_0"


# The proof


def test_an_export_without_the_adapter_is_not_kept(tuned: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = formats.write_base

    def unmerged(*arguments: Any, **more: Any) -> None:
        real(*arguments, **{**more, "adapter": None})

    monkeypatch.setattr(formats, "write_base", unmerged)
    for kind in ("q8_0", "q4_0"):
        with pytest.raises(ProofError):
            exported(tuned, "gguf", folder / "出", type=kind)
        assert list(folder.iterdir()) == []


def test_a_prompt_without_the_system_prompt_is_not_kept(
    tuned: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = formats.plain_template

    def stock(renderer: Renderer, contract: Any, mark: str) -> PlainTemplate:
        made = real(renderer, contract, mark)
        return PlainTemplate(made.start, "", made.turns, made.ask)

    monkeypatch.setattr(formats, "plain_template", stock)
    with pytest.raises(ProofError, match="prompt"):
        exported(tuned, "ollama", folder / "出")
    assert list(folder.iterdir()) == []


def test_a_divergence_counts_what_a_reader_leaves_out() -> None:
    wanted = np.log(np.array([0.5, 0.25, 0.15, 0.1]))
    assert divergence(wanted, Likely(np.arange(4), wanted)) == pytest.approx(0, abs=1e-9)
    assert divergence(wanted, Likely(np.arange(2), wanted[:2])) == pytest.approx(0, abs=1e-9)
    other = np.log(np.array([0.25, 0.5, 0.15, 0.1]))
    whole = divergence(wanted, Likely(np.arange(4), other))
    assert whole == pytest.approx(0.25 * np.log(2))
    assert divergence(wanted, Likely(np.arange(2), other[:2])) == pytest.approx(whole)


# Targets


def test_what_stands_at_the_target_is_kept_unless_it_is_an_earlier_export(tuned: Path, folder: Path) -> None:
    own = folder / "我的文章"
    own.mkdir()
    (own / "a.txt").write_text("mine", encoding="utf-8")
    for more in ({}, {"force": True}):
        with pytest.raises(UsageError):
            exported(tuned, "gguf-lora", own, **more)
    assert [path.name for path in own.iterdir()] == ["a.txt"]
    out = folder / "出"
    exported(tuned, "gguf-lora", out)
    (out / "later.txt").write_text("x", encoding="utf-8")
    with pytest.raises(UsageError, match="--force"):
        exported(tuned, "gguf-lora", out)
    assert (out / "later.txt").is_file()
    exported(tuned, "gguf-lora", out, force=True)
    assert not (out / "later.txt").exists()
    assert {path.name for path in folder.iterdir()} == {"我的文章", "出"}


def test_a_bundle_replaces_no_other_zip(tuned: Path, folder: Path) -> None:
    out = folder / "a.zip"
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("mine.txt", "mine")
    with pytest.raises(UsageError, match="not exported by tonghua"):
        exported(tuned, "bundle", out, force=True)
    out.unlink()
    exported(tuned, "bundle", out)
    before = out.read_bytes()
    exported(tuned, "bundle", out, force=True)
    assert out.read_bytes() == before  # equal runs give equal files


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_export_that_breaks_off_leaves_nothing(
    error: BaseException, tuned: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr(formats, "write_adapter", broken)
    with pytest.raises(type(error) if isinstance(error, KeyboardInterrupt) else UserError):
        exported(tuned, "bundle", folder / "出.zip")
    assert list(folder.iterdir()) == []


# Mistakes


def test_mistakes_are_one_line(tuned: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "voll").mkdir()
    (folder / "voll" / "a").write_text("", encoding="utf-8")
    wrong: dict[tuple[object, ...], tuple[int, str]] = {
        ("export", tuned, "--to", "olama"): (2, "olama"),
        ("export", tuned, "--type", "q5"): (2, "q5"),
        ("export", tuned, "--out", folder / "a.gguf"): (2, "a.gguf"),
        ("export", tuned, "--to", "bundle", "--out", folder / "a"): (2, ".zip"),
        ("export", tuned, "--out", folder / "voll"): (2, "--force"),
        ("export", folder / "nirgends"): (2, "nirgends"),
        ("export", tuned, "temperature=1"): (2, "temperature"),
        ("merge", tuned, f"model={folder}"): (2, str(folder)),
    }
    for verb, (code, words) in wrong.items():
        for language in ("zh", "en"):
            called = call(*verb, language=language, folder=folder)
            assert (called.code, called.out, called.err.count("\n")) == (code, "", 1), called.err
            assert words in called.err
    monkeypatch.setattr(readers, "find_spec", lambda name: None)
    called = call("export", tuned, folder=folder)
    assert (called.code, called.err.count("\n"), 'pip install "tonghua[fast]"' in called.err) == (2, 1, True)
    assert [path.name for path in folder.iterdir()] == ["voll"]


# Ollama


def _plain(opening: str = "") -> PlainTemplate:
    turns = {role: Turn(f"<{role}>", "<end>", False) for role in ("system", "user", "assistant")}
    return PlainTemplate("", opening, turns, "<assistant>")  # type: ignore[arg-type]


def test_a_modelfile_has_both_stops_the_system_prompt_and_the_sampling() -> None:
    text = modelfile("m.gguf", _plain(), 'a\n"b" {{ x }}', ["<|im_end|>", "<|endoftext|>"], Sampling(temperature=0.3))
    assert text.startswith("FROM ./m.gguf\n")
    assert 'SYSTEM """a\n"b" {{ x }}"""\n' in text
    assert 'PARAMETER stop "<|im_end|>"\nPARAMETER stop "<|endoftext|>"\n' in text
    assert "PARAMETER temperature 0.3\n" in text
    assert "seed" not in text


@pytest.mark.parametrize("system", ['a """ b', 'ends with "'])
def test_three_quotes_stand_in_the_template_alone(system: str) -> None:
    text = modelfile("m.gguf", _plain(f"<system>{system}<end>"), system, [], Sampling())
    assert "SYSTEM" not in text
    assert json.dumps(system)[1:-1] in text
    assert text.count('"""') == 2


def test_a_name_for_ollama_is_latin() -> None:
    assert [ollama_name(each) for each in ("Dai Yu_1", "黛玉", "a.b")] == ["dai-yu_1", "persona", "a.b"]


# Bundles


@pytest.fixture(scope="session")
def bundle(tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("包") / "黛玉.zip"
    exported(tuned, "bundle", out)
    return out


def test_a_bundle_talks_as_its_run_does(bundle: Path, tuned: Path, tiny_folder: Path) -> None:
    asked = ("--prompt", "你好", f"model={tiny_folder}", "temperature=0", "max_new_tokens=8", "dtype=float32", "--json")
    once, twice, run = (call("chat", each, *asked) for each in (bundle, bundle, tuned))
    assert once.code == 0, once.err
    assert once.json["text"] == twice.json["text"] == run.json["text"]


def changed(bundle: Path, to: Path, change: Callable[[dict[str, bytes]], None], resum: bool = True) -> Path:
    """Return a copy of the bundle with other files in it, and with sums that fit if `resum`."""
    held = files_of(bundle)
    change(held)
    if resum:
        del held["SHA256SUMS"]
        held["SHA256SUMS"] = bundle_file.sums({n: hashlib.sha256(c).hexdigest() for n, c in held.items()}).encode()
    with zipfile.ZipFile(to, "w") as packed:
        for name, content in held.items():
            packed.writestr(name, content)
    return to


def _traversal(held: dict[str, bytes]) -> None:
    held["../outside.txt"] = b"x"


def _absolute(held: dict[str, bytes]) -> None:
    held[str(Path("/outside.txt").absolute())] = b"x"


def _code(held: dict[str, bytes]) -> None:
    held["modeling.py"] = b"x"


def _other_bytes(held: dict[str, bytes]) -> None:
    held["contract.json"] += b" "


def _no_sums(held: dict[str, bytes]) -> None:
    del held["SHA256SUMS"]


def _too_large(held: dict[str, bytes]) -> None:
    held["contract.json"] += b" " * 1_000_001


@pytest.mark.parametrize(
    ("change", "resum"),
    [
        (_traversal, True),
        (_absolute, True),
        (_code, True),
        (_too_large, True),
        (_other_bytes, False),
        (_no_sums, False),
    ],
)
def test_a_bundle_from_a_stranger_is_checked(
    change: Callable[[dict[str, bytes]], None], resum: bool, bundle: Path, folder: Path
) -> None:
    strange = changed(bundle, folder / "s.zip", change, resum)
    with pytest.raises(RefusedError):
        bundle_file.unpacked(strange)
    assert not list(folder.rglob("outside.txt"))
    assert not list((bundle_file.home() / "bundles").rglob("s"))
    sound = changed(bundle, folder / "t.zip", lambda held: None)
    assert (bundle_file.unpacked(sound) / "contract.json").is_file()


def test_a_file_that_would_fill_the_disk_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_file, "ALWAYS_BYTES", 1000)
    zeros = bytes(5_000_000)
    sha256 = hashlib.sha256(zeros).hexdigest()
    with zipfile.ZipFile(folder / "b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("adapter_model.safetensors", zeros)
        packed.writestr("SHA256SUMS", bundle_file.sums({"adapter_model.safetensors": sha256}))
    with pytest.raises(RefusedError, match="too large"):
        bundle_file.unpacked(folder / "b.zip")
    monkeypatch.setattr(bundle_file, "LARGEST_RATIO", 10_000)
    assert (bundle_file.unpacked(folder / "b.zip") / "adapter_model.safetensors").stat().st_size == len(zeros)


def test_what_is_no_zip_is_one_line(folder: Path) -> None:
    (folder / "x.zip").write_bytes(b"no zip")
    called = call("chat", folder / "x.zip", "--prompt", "a")
    assert (called.code, called.err.count("\n")) == (4, 1)
