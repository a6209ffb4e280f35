"""What strangers write reaches the screen as text: every verb, on names, rows and files made to drive a terminal."""

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from command_line import QUICK, ROWS, Called, call, settings, write_rows
from rich.console import Console
from written_runs import event_line

import tonghua
from tonghua.errors import DataError
from tonghua.events import Counting, Doing, Happened, Said
from tonghua.exits import print_error
from tonghua.inference.engine import Answer, AnswerPiece, Pieces
from tonghua.inference.teller import Teller
from tonghua.models.delivery import DownloadProgress
from tonghua.runs import trackers
from tonghua.system.files import quoted
from tonghua.terminal import printer
from tonghua.terminal.printer import put_traceback
from tonghua.terminal.screen import Screen
from tonghua.text import Text, json_text, one_line, printable, shown

SEQUENCES = (
    *("\x1b[2J", "\x1b]0;title\x07", "\x1b]52;c;aGk=\x07", "\x1b]8;;http://a.test\x1b\\", "\x9b31m", "\x90", "\x85"),
    *("\b\b\b", "hidden\rshown", "\x00", "\x7f", "\v\f", "\u202egnp.exe", "\u2066\u2069", "\u200b", "\u2028", "\ufeff"),
    *("\u00ad", "\U000e0041", "a\u200db", "\ud800"),
)
MARKUP = "[red]red[/red] [link=http://a.test]x[/link] :heart: [/]"
SPOOF = "\nSPOOF"
ANSWER = "".join(SEQUENCES) + MARKUP
EVIL = ANSWER + SPOOF

SAID = "".join(char for char in ANSWER if char not in "\ud800\0")
"""What rows and settings may hold. Rows have lines of their own, which are shown as such."""

SETTING = "\u202egnp\u200b [red] [bold]b"
"""What a path in a setting may hold: no control character."""

NAME = "".join(char for char in SAID if char not in "/=") + SPOOF if os.name == "posix" else f"\x9b31m{SETTING}"
"""What a name of a file may hold."""


def require_plain(*texts: str) -> None:
    """No character drives a terminal or is invisible, and no line of a stranger's stands as one of ours."""
    for text in texts:
        kinds = {char: unicodedata.category(char) for char in set(text) - {"\n"}}
        assert [char for char, kind in kinds.items() if kind in ("Cc", "Cf", "Cs", "Zl", "Zp")] == []
        assert [line for line in text.splitlines() if line.startswith("SPOOF")] == []


class World:
    """A folder with a hostile name: rows, a model and a run in it, all of a stranger's making."""

    def __init__(self, folder: Path, model: Path):
        self.language = "en"
        self.folder = folder / SETTING
        self.folder.mkdir()
        self.strange = self.folder / NAME
        self.rows = write_rows(self.folder / f"{SETTING}.json", self._rows())
        self.model = shutil.copytree(model, self.folder / f"模型 {SETTING}")
        self.runs = self.folder / f"结果 {SETTING}"
        named = {"dataset": self.rows, "model": self.model, "output_dir": self.runs}
        self.settings = settings(**named, **QUICK, system=SAID, cutoff_len=1024)
        self.run = self.runs / NAME

    @staticmethod
    def _rows() -> list[dict[str, Any]]:
        hostile = {"instruction": f"问{SAID}", "input": SAID, "output": f"答{SAID}。", "system": SAID, SAID: SAID}
        return [*({**row, "system": "", SAID: ""} for row in ROWS), *[hostile] * 6]

    def call(self, *arguments: object, stdin: str = "") -> Called:
        return call(*arguments, folder=self.folder, stdin=stdin, language=self.language)

    def bad_rows(self) -> Path:
        rows = [{SAID: SAID}, SAID, {"messages": SAID}, {"messages": [{"role": SAID, "content": SAID}]}]
        return write_rows(self.folder / "坏.json", [*rows, {"instruction": {SAID: 1}, "output": SAID}])

    def no_model(self, **files: object) -> Path:
        """The model with these files instead of its own."""
        folder = self.folder / "no model"
        shutil.copytree(self.model, folder, dirs_exist_ok=True)
        for name, values in files.items():
            (folder / f"{name}.json").write_text(json.dumps(values), encoding="utf-8")
        return folder

    def play(self) -> Path:
        path = self.strange.with_name(f"{NAME}.txt")
        lines = f"船客:「好{SAID}」\n柳翁:「去{SAID}」\n" * 2
        path.write_text(f"{lines}旁白{SAID}\n“{SAID}”\n{SAID}：「好」\n", encoding="utf-8")
        return path

    def train(self) -> None:
        """Train, then let a stranger rename the run and write into its files."""
        done = self.call("train", *self.settings, "max_steps=1", "run_name=[red]run", "--json")
        assert done.code == 0, done.err
        require_plain(done.out, done.err)
        next(self.runs.iterdir()).rename(self.run)
        contract = json.loads((self.run / "contract.json").read_text(encoding="utf-8"))
        (self.run / "contract.json").write_text(json.dumps({**contract, "persona": EVIL}), encoding="utf-8")
        facts = json.loads((self.run / "facts.json").read_text(encoding="utf-8"))
        strange = {"name": EVIL, "dataset": [EVIL], "base": {"name": EVIL}, "started": EVIL, "place": EVIL}
        (self.run / "facts.json").write_text(json.dumps({**facts, **strange}), encoding="utf-8")
        with (self.run / "metrics.jsonl").open("a", encoding="utf-8") as opened:
            opened.write(json.dumps(event_line(1, "x", EVIL, EVIL)) + "\n")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> World:
    made = World(tmp_path_factory.mktemp("世界 world"), tiny_folder)
    made.train()
    return made


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every model answers with everything hostile, a character at a time."""

    def stream(teller: Teller, messages: object, sampling: object, tuned: bool) -> Pieces:
        yield from (AnswerPiece(0, each, False) for each in ANSWER)
        yield Answer(ANSWER, "stop", tokens=1, prompt_tokens=9, first_token_s=1.0, tokens_per_s=1.0)

    monkeypatch.setattr(Teller, "stream", stream)


VERBS: dict[str, Callable[[World], Called]] = {
    "check": lambda at: at.call("check", *at.settings),
    "check --fix --html": lambda at: at.call(
        "check", *at.settings, "--html", "a.html", "--fix", "b.json", "--json", "--force"
    ),
    "check bad rows": lambda at: at.call("check", at.bad_rows(), *at.settings[1:]),
    "check a folder": lambda at: at.call("check", at.folder, *at.settings[1:]),
    "check no file": lambda at: at.call("check", at.strange / "x.json", *at.settings[1:]),
    "check columns": lambda at: at.call("check", *at.settings, "columns={instruction: " + json.dumps(SAID) + "}"),
    "check a template": lambda at: at.call(
        "check", *at.settings, f"model={at.no_model(tokenizer_config={'chat_template': SAID + '{%'})}"
    ),
    "check a model": lambda at: at.call("check", *at.settings, f"model={at.no_model(config={'model_type': SAID})}"),
    "train on bad rows": lambda at: at.call("train", f"dataset={at.bad_rows()}", *at.settings[1:]),
    "train a setting": lambda at: at.call("train", *at.settings, f"{SAID}={SAID}"),
    "train a value": lambda at: at.call("train", *at.settings, f"learning_rate={SAID}"),
    "train a recipe": lambda at: at.call("train", SAID),
    "train a model": lambda at: at.call("train", *at.settings, f"model={SAID}"),
    "train --resume": lambda at: at.call("train", "--resume", at.run),
    "train --resume nothing": lambda at: at.call("train", "--resume", at.strange),
    "plan": lambda at: at.call("plan", *at.settings),
    "chat": lambda at: at.call("chat", at.run, "--prompt", ANSWER),
    "chat --json": lambda at: at.call("chat", at.run, "--prompt", "-", "--json", stdin=SAID),
    "chat by line": lambda at: at.call("chat", at.run, stdin=f"{SAID}\nexit\n"),
    "chat nobody": lambda at: at.call("chat", at.strange),
    "eval": lambda at: at.call("eval", at.run, "--data", at.rows, "--json"),
    "report": lambda at: at.call("report", at.run),
    "report --json": lambda at: at.call("report", at.run, "--json"),
    "report nothing": lambda at: at.call("report", at.strange),
    "runs": lambda at: at.call("runs", at.runs),
    "runs --json": lambda at: at.call("runs", at.runs, "--json"),
    "runs of none": lambda at: at.call("runs", at.model),
    "runs of nothing": lambda at: at.call("runs", at.strange),
    "watch": lambda at: at.call("watch", at.run, "--json"),
    "watch nothing": lambda at: at.call("watch", at.strange),
    "models": lambda at: at.call("models", at.model),
    "models --json": lambda at: at.call("models", at.model, "--json"),
    "models --verify": lambda at: at.call("models", at.model, "--verify"),
    "models --remove": lambda at: at.call("models", at.model, "--remove"),
    "models not here": lambda at: at.call("models", SAID),
    "download": lambda at: at.call("download", SAID, "--offline"),
    "download from": lambda at: at.call("download", "qwen2.5-0.5b", "--source", SAID),
    "rows": lambda at: at.call("rows", at.play(), "--speaker", "柳翁", "--force", "--json"),
    "rows of nobody": lambda at: at.call("rows", at.play(), "--speaker", "nobody", "--force"),
    "rows of a stranger": lambda at: at.call("rows", at.play(), "--speaker", SAID),
    "rows with names": lambda at: at.call("rows", at.play(), "--speaker", "柳翁", "--alias", SAID),
    "rows of nothing": lambda at: at.call("rows", at.strange, "--speaker", "柳翁"),
    "demo": lambda at: at.call("demo", SAID),
    "an option": lambda at: at.call("rows", f"--{SAID}"),
    "a verb": lambda at: at.call(SAID),
}


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.usefixtures("answers")
def test_every_verb(world: World, verb: str, language: str) -> None:
    world.language = language
    done = VERBS[verb](world)
    assert done.out + done.err, "it says something"
    require_plain(done.out, done.err)


def test_doctor(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it tells of the environment may be anyone's."""
    for variable in ("TONGHUA_HOME", "HF_ENDPOINT", "MODELSCOPE_ENDPOINT"):
        monkeypatch.setenv(variable, SAID)
    done = world.call("doctor", "--offline")
    assert "problem" in done.out or "ok" in done.out
    require_plain(done.out, done.err)


def test_a_tracker_that_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise RuntimeError(EVIL)

    monkeypatch.setattr(trackers, "_OPEN", {"tensorboard": fails})
    done = world.call("train", *world.settings, "max_steps=1", "report_to=tensorboard", "run_name=two")
    assert "note: tensorboard failed and gets no more numbers" in done.err
    require_plain(done.out, done.err)
    shutil.rmtree(next(world.runs.glob("two*")))


def test_what_a_training_writes(world: World) -> None:
    """Whoever looks at the files of a run with `cat` sees text, and a program reads what there was."""
    for name in ("facts.json", "metrics.jsonl", "samples.jsonl", "result.json", "contract.json", "adapter_config.json"):
        text = (world.run / name).read_text(encoding="utf-8")
        require_plain(text)
    assert json.loads((world.run / "contract.json").read_text(encoding="utf-8"))["system"] == SAID


def test_what_rows_and_check_write(world: World) -> None:
    VERBS["rows"](world)
    VERBS["check --fix --html"](world)
    for name in (
        f"{world.strange.name}.rows.json",
        f"{world.strange.name}.rows.json.unsure.txt",
        "b.json.changes.txt",
        "a.html",
    ):
        require_plain((world.folder / name).read_text(encoding="utf-8"))


# ---- the printer itself ----------------------------------------------------------------------------------------

RICH = re.compile(r"\x1b\[(?:\d+(?:;\d+)*m|\?25[lh]|2K|1A)|\r")
"""What rich writes of its own: colours, the cursor, and a line drawn anew."""


def drawn(act: Callable[[Screen], None]) -> str:
    """What a terminal of 80 columns gets."""
    stream = io.StringIO()
    act(
        Screen("en", Console(file=stream, force_terminal=True, width=80, color_system="standard", legacy_windows=False))
    )
    return stream.getvalue()


TOLD = Text(EVIL, EVIL)
EVENTS = (
    *(Said(TOLD), Happened("x", TOLD), Doing(TOLD), Counting(TOLD, 1, 2)),
    *(DownloadProgress(EVIL, EVIL, EVIL, 1, 2, 1.0), DownloadProgress(EVIL, EVIL, EVIL, 1, 2, 0.0, TOLD)),
)


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_events_in_a_terminal(event: Any) -> None:
    def act(screen: Screen) -> None:
        screen.event(event)
        screen.stop()

    seen = drawn(act)
    require_plain(RICH.sub("", seen))
    assert "[red]red[/red]" in RICH.sub("", seen).replace("\n", "") or isinstance(event, Doing | Counting)
    assert ":heart:" in seen or isinstance(event, Doing | Counting)


def test_answers_side_by_side_in_a_terminal() -> None:
    seen = RICH.sub("", drawn(lambda screen: screen.side_by_side(EVIL, EVIL, EVIL)))
    require_plain(seen)
    assert seen.count("[red]") == 3


@pytest.mark.parametrize("encoding", ["ascii", "gbk", "cp1252"])
def test_a_stream_without_these_characters(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets escapes and no error: a console of Windows, or a pipe that somebody else has opened."""
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(written, encoding=encoding))
    screen = Screen("zh")
    screen.event(Said(Text("童话 🦔 é", "")))
    sys.stderr.flush()
    assert written.getvalue().decode(encoding).rstrip().encode(encoding, "backslashreplace") == "童话 🦔 é".encode(
        encoding, "backslashreplace"
    )


def printed(*pieces: str) -> str:
    stream = io.StringIO()
    with redirect_stdout(stream):
        one = printer.Pieces()
        for piece in pieces:
            one.add(piece)
        one.end()
    return stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        *SEQUENCES,
        ANSWER,
        "一\r\n二\r三\r",
        "\r\r\n",
        "👨\u200d👩\u200d👧 क्\u200dष می\u200cخواهم x\u200dy",
        "\u200d\u200d",
        "",
    ],
)
def test_pieces_print_what_the_whole_prints(text: str) -> None:
    """However an answer is cut into pieces: an escape sequence, a line end or an emoji may be split."""
    whole = printable(text) + "\n"
    require_plain(whole.replace("\u200d", "").replace("\u200c", ""))
    assert printed(text) == printed(*text) == whole
    assert printed(text[:3], text[3:], "") == whole


@pytest.mark.parametrize(
    "text",
    [
        "童话，第一章。\n\t“你好！”\u3000",
        "😀 ☺️ 👍🏽 🇨🇳 👨\u200d👩\u200d👧 🏳️\u200d🌈",
        "می\u200cخواهم क्\u200dष ไทย עברית",
        "a\u00a0b\u2003c",
        "\U0001fae9",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    """Also an emoji of a newer Unicode than Python's, and joiners where a script needs them."""
    assert printable(text) == text
    assert printed(*text) == text + "\n"


def test_a_joiner_elsewhere_is_shown() -> None:
    assert one_line("ad\u200dmin 童\u200c话 👨\u200d\u200d") == "ad\\u200dmin 童\\u200c话 👨\u200d\\u200d"


def test_long_lines_are_cut() -> None:
    assert len(one_line("好" * 10**6)) == 4000
    assert len(shown("\x1b" * 10**6)) < 1300
    assert printable("好\n" * 5000) == "好\n" * 5000, "an answer is not"


def test_json_reads_back() -> None:
    values = {"童话": [EVIL, "👨\u200d👩 一\n二"], EVIL: None}
    for indent in (None, 2):
        text = json_text(values, indent)
        require_plain(text)
        assert "童话" in text and json.loads(text) == values


def test_errors_of_several_lines() -> None:
    """Those below the first are indented, so that a name with a line break cannot write a line of ours."""
    stream = io.StringIO()
    with redirect_stderr(stream):
        print_error(DataError("", f"3 rows:\n  line 1: x\n  line 2: y{SPOOF}"))
    assert stream.getvalue() == "3 rows:\n  line 1: x\n  line 2: y\n  SPOOF\n"


def test_a_traceback() -> None:
    stream = io.StringIO()
    try:
        raise ValueError(EVIL)
    except ValueError as error:
        with redirect_stderr(stream):
            put_traceback(type(error), error, error.__traceback__)
    assert stream.getvalue().startswith("Traceback")
    require_plain(stream.getvalue().removesuffix("SPOOF\n"))


@pytest.mark.skipif(os.name != "posix", reason="the shells of Windows quote otherwise")
def test_commands_with_hostile_names_can_be_copied() -> None:
    """What is shown names the same file, in bash."""
    names = [NAME, os.fsdecode(b"\xff\xe9 a"), "it's\\ \x1b"]
    for name in names:
        require_plain(quoted(Path(name)))
    script = "printf '%s\\0' " + " ".join(quoted(Path(name)) for name in names)
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash")
    done = subprocess.run([bash, "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}, timeout=60)
    assert [os.fsdecode(name) for name in done.stdout.split(b"\0")[:-1]] == names


# ---- nobody else prints ----------------------------------------------------------------------------------------

DOORS = {"terminal/printer.py": {"print", "Console"}, "terminal/screen.py": {"Console"}}
"""The modules that may print, and by what."""


def printers(path: Path) -> set[str]:
    """What a module prints with: print(), a console of rich, echo of typer, or the streams themselves."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name in ("print", "Console", "Progress.print", "typer.echo", "typer.secho", "rich.print"):
                found.add(name)
            if re.fullmatch(r"sys\.(__)?std(out|err)(__)?(\.buffer)?\.write(lines)?", name):
                found.add(name)
    return found


def test_nobody_else_prints() -> None:
    package = Path(tonghua.__file__).parent
    found = {path.relative_to(package).as_posix(): printers(path) for path in package.rglob("*.py")}
    assert {name: calls for name, calls in found.items() if calls} == DOORS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("<think>\n先\x1b[2J想。\n</think>\n\n好 a<b。", "⟦<think>\n先\\x1b[2J想。\n</think>⟧\n\n好 a<b。\n"),
        (" <think>没想完 </thi", "⟦ <think>没想完 </thi⟧\n"),
        ("<thin 不是。<think>也不是。</think>", "<thin 不是。<think>也不是。</think>\n"),
        ("<th", "<th\n"),
        ("[red]好。", "[red]好。\n"),
    ],
)
def test_reasoning_is_dimmed_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, answer: str, shown: str, size: int
) -> None:
    """However it is cut into pieces; where stdout is no terminal, the same characters come without a style."""
    monkeypatch.setenv("TERM", "xterm-256color")
    for stream in (Terminal(), io.StringIO()):
        monkeypatch.setattr(sys, "stdout", stream)
        pieces = printer.Pieces()
        for start in range(0, len(answer), size):
            pieces.add(answer[start : start + size])
        pieces.end()
        seen = re.sub("(\x1b\\[0m)(\\s*)\x1b\\[2m", r"\2", stream.getvalue())
        seen = seen.replace("\x1b[2m", "⟦").replace("\x1b[0m", "⟧")
        assert seen == (shown if stream.isatty() else shown.replace("⟦", "").replace("⟧", ""))
