"""The scripts in examples/, as a learner runs them: on `tiny`, with the values at their top filled in."""

import ast
import importlib.util
import json
import socket
import subprocess
import sys
import time
import urllib.request
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import processes
import pytest
from command_line import environment
from tokenizers import Tokenizer

import tonghua
from tonghua.prompt.conversation import Conversation, Message
from tonghua.prompt.renderer import Renderer

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SCRIPTS = ("download_model.py", "qwen_lora_sft.py", "qwen_lora_inference.py", "demo.py", "app_demo.py")
STEP = 'max_steps=1, sampling={"max_new_tokens": 16}'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one step, as `qwen_lora_sft.py` makes it."""
    folder = tmp_path_factory.mktemp("例子 folder")
    filled = {"qwen2.5-1.5b": "tiny", "<your rows / 你的数据.json>": "qa.heldout", "num_train_epochs=5": STEP}
    done = execute("qwen_lora_sft.py", folder, filled)
    assert done.returncode == 0, done.stderr
    made = folder / done.stdout.splitlines()[0]
    assert (made / "contract.json").is_file()
    return made


def execute(name: str, folder: Path, filled: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run a copy of the script in `folder`, with other values in it."""
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    for old, new in filled.items():
        assert text.count(old) == 1, f"{name}: {old}"
        text = text.replace(old, new)
    script = folder / name
    script.write_text(text, encoding="utf-8")
    done = processes.run(script, folder=folder, stdin=stdin.encode())
    return subprocess.CompletedProcess(str(script), done.code, done.out, done.err)


def imported(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_is_short_and_stands_on_the_public_names(name: str) -> None:
    text = (EXAMPLES / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    used = {
        node.attr
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "tonghua"
    }
    assert used <= set(tonghua.__all__)


def test_download_model(tmp_path: Path) -> None:
    done = execute("download_model.py", tmp_path, {'"qwen2.5-1.5b"': '"tiny"'})
    assert (done.returncode, Path(done.stdout.strip()).name) == (0, "tiny")


def test_a_placeholder_left_in_names_its_line(tmp_path: Path) -> None:
    done = execute("qwen_lora_sft.py", tmp_path, {})
    lines = (EXAMPLES / "qwen_lora_sft.py").read_text(encoding="utf-8").splitlines()
    number = next(n for n, line in enumerate(lines, 1) if line.startswith("DATASET"))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"qwen_lora_sft.py line {number}: dataset=<your rows / 你的数据.json>: is still a placeholder" in done.stderr
    filled = execute(
        "qwen_lora_sft.py", tmp_path, {"<your rows / 你的数据.json>": "nothing.json", "qwen2.5-1.5b": "tiny"}
    )
    assert filled.returncode == 3
    assert "line" not in filled.stderr


def test_qwen_lora_inference(run: Path) -> None:
    filled = {"RUN = None": f"RUN = {str(run)!r}", '"max_new_tokens": 1024': '"max_new_tokens": 8'}
    done = execute("qwen_lora_inference.py", run.parent.parent, filled, "讲一个故事\n\nexit\n讲两个\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("> ") == 3
    assert len(done.stdout.replace("愿望 / wish>", "").strip()) > 2


def test_demo_shows_both(run: Path) -> None:
    filled = {"RUN = None": f"RUN = {str(run)!r}"}
    done = execute("demo.py", run.parent.parent, filled, "你好\n退出\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("before】") == done.stdout.count("after】") == 1


def test_app_demo_answers_in_its_boxes(run: Path) -> None:
    app: Any = imported("app_demo")
    app.teller = tonghua.load(run)
    page = app.page()
    texts = list(app.answer("讲一个故事"))
    assert texts
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    said = [
        {"role": "user", "content": [{"type": "text", "text": "你好"}], "metadata": None},
        {"role": "assistant", "content": [{"type": "text", "text": "你好呀。"}], "metadata": None},
    ]
    assert list(app.answer("再见", said))
    with pytest.raises(app.gradio.Error, match="history"):
        list(app.answer("再见", [{"role": "system", "content": "你是海盗"}]))
    # Nothing is sent anywhere, and nobody's wishes are written to disk.
    blocks = [page, *(block for block in page.blocks.values() if hasattr(block, "analytics_enabled"))]
    assert not any(block.analytics_enabled for block in blocks)
    assert not any("flag" in str(getattr(block, "value", "")).lower() for block in page.blocks.values())


def test_app_demo_serves_its_page(run: Path) -> None:
    """As a script, on loopback alone, until it is stopped."""
    script = run.parent.parent / "app_demo.py"
    text = (EXAMPLES / "app_demo.py").read_text(encoding="utf-8")
    script.write_text(text.replace("RUN = None", f"RUN = {str(run)!r}"), encoding="utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = environment(GRADIO_SERVER_PORT=str(port))
    with subprocess.Popen(
        [sys.executable, str(script)], cwd=script.parent, env=served, stdout=subprocess.DEVNULL
    ) as page:
        try:
            shown = until_served(f"http://127.0.0.1:{port}/config")
        finally:
            page.terminate()
    assert "聊天 / chat" in shown
    assert not (script.parent / ".gradio").exists()


def until_served(address: str) -> str:
    """What the address gives, once there is somebody to give it."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(address, timeout=10) as page:  # noqa: S310 - loopback
                return json.dumps(json.loads(page.read()), ensure_ascii=False)
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing at {address}")


def test_app_demo_without_gradio_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "gradio.py").write_text("raise ImportError", encoding="utf-8")
    done = execute("app_demo.py", tmp_path, {})
    assert (done.returncode, done.stderr) == (1, '先运行 / first run: pip install -e ".[web]"\n')


def test_the_end_of_what_is_typed_leaves(run: Path) -> None:
    done = execute("demo.py", run.parent.parent, {"RUN = None": f"RUN = {str(run)!r}"}, "")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


def test_train_by_hand_as_a_script(tmp_path: Path) -> None:
    done = execute("train_by_hand.py", tmp_path, {"= 20, 2e-3": "= 1, 2e-3"})
    assert (done.returncode, done.stdout.count("round ")) == (0, 1), done.stderr
    wrong = execute("train_by_hand.py", tmp_path, {'MODEL = "tiny"': 'MODEL = "nothing"'})
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_train_by_hand_has_the_loss_of_tonghua(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same rows, the same model in fp32: by hand with padding, and by tonghua with packing."""
    by_hand: Any = imported("train_by_hand")
    found = by_hand.main(rounds=3)
    shown = capsys.readouterr().out
    assert len((EXAMPLES / "train_by_hand.py").read_text(encoding="utf-8").splitlines()) < 120
    assert "ids (3, " in shown and "round   3  loss" in shown
    assert found[2] < found[0]

    rows = tmp_path / "rows.json"
    rows.write_text(json.dumps(by_hand.ROWS, ensure_ascii=False), encoding="utf-8")
    result = tonghua.train(
        quiet=True,
        model="tiny",
        dataset=str(rows),
        system=by_hand.SYSTEM,
        output_dir=tmp_path,
        val_size=0,
        max_steps=1,
        dtype="float32",
        device="cpu",
    )
    assert found[0] == pytest.approx(result.train_loss, rel=1e-5)

    teller = tonghua.load(result.run)
    questions = ["\n".join(part for part in (row["instruction"], row["input"]) if part) for row in by_hand.ROWS]
    conversations = [
        Conversation((Message("system", by_hand.SYSTEM), Message("user", asked), Message("assistant", row["output"])))
        for asked, row in zip(questions, by_hand.ROWS, strict=True)
    ]
    renderer = Renderer(teller.base.folder)
    for row, example in zip(by_hand.ROWS, renderer.examples(conversations, None), strict=True):
        ids, labels = by_hand.example(Tokenizer.from_file(str(renderer.folder / "tokenizer.json")), row)
        assert list(example.ids)[: len(ids)] == ids
        assert sum(label != -100 for label in labels) == example.targets


def test_train_by_hand_without_the_end_token_would_be_seen() -> None:
    """The negative control: a row whose end is not learned has another loss."""
    by_hand: Any = imported("train_by_hand")
    folder = tonghua.download("tiny")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = by_hand.Model(folder)
    ids, real, labels = by_hand.padded([by_hand.example(tokenizer, row) for row in by_hand.ROWS], 0)
    whole = by_hand.loss_of(model(ids, real), labels).item()
    cut = labels.clone()
    cut[cut == tokenizer.token_to_id("<|im_end|>")] = -100
    assert abs(by_hand.loss_of(model(ids, real), cut).item() - whole) > 1e-3
