"""doctor: what is found on a machine, how it is mended, and `tonghua doctor` itself."""

import re
import shutil
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
from command_line import call
from hub_server import Hub, model_files, serving

from tonghua.doctor import examine as doctor
from tonghua.doctor import surroundings
from tonghua.doctor.diagnosis import Diagnosis, DiagnosisState
from tonghua.doctor.hardware import memory, on_cpu, on_cuda
from tonghua.doctor.packages import EXTRAS, extras, packages, parse_requirement, python, security
from tonghua.doctor.surroundings import Disk, fonts, look_at, room_for_models, room_for_runs
from tonghua.models import hubs as hubs_room
from tonghua.system import device
from tonghua.text import Text

NEEDED = [parse_requirement(line) for line in ("torch<3,>=2.6", "jinja2>=3.1.6,<4", "rich")]
FITTING = {"torch": "2.13.0+cpu", "jinja2": "3.1.6", "rich": "15.0.0"}
GB = 1_000_000_000


def told(finding: Diagnosis) -> str:
    """All that people read, in both languages."""
    return "\n".join([*finding.text, *(finding.mend or ())])


# Versions


def test_packages_that_fit() -> None:
    found = packages(FITTING, NEEDED, "pip")
    assert (found.state, found.mend) == ("ok", None)
    assert "torch 2.13.0+cpu" in found.text.zh


@pytest.mark.parametrize(
    ("installed", "state", "mend"),
    [
        ({"torch": "2.5.1"}, "problem", 'pip install --upgrade "torch>=2.6,<3"'),
        ({"torch": "2.6.0a0+git1"}, "ok", None),
        ({"torch": "2.10.0"}, "ok", None),
        ({"torch": "3.0.0"}, "note", 'pip install --upgrade "torch>=2.6,<3"'),
        ({"jinja2": "3.1.5", "torch": "1.13"}, "problem", 'pip install --upgrade "torch>=2.6,<3" "jinja2>=3.1.6,<4"'),
        ({"rich": None}, "problem", 'pip install --upgrade "rich"'),
    ],
)
def test_packages_that_do_not_fit(installed: Mapping[str, str | None], state: DiagnosisState, mend: str | None) -> None:
    there = {name: version for name, version in {**FITTING, **installed}.items() if version}
    found = packages(there, NEEDED, "pip")
    assert (found.state, found.mend and found.mend.en) == (state, mend)
    if state != "ok":
        for name, version in installed.items():
            assert told(found).count(f"{name} {version or 'is missing'}") >= 1


def test_versions_with_known_holes() -> None:
    found = security({**FITTING, "torch": "2.9.1", "gradio": "6.15.0"}, "pip")
    assert (found.state, found.mend) == ("note", Text(*2 * ('pip install --upgrade "torch>=2.10"',)))
    assert "torch 2.9.1" in found.text.zh and "gradio" not in told(found), "what is safe is not accused"
    assert security({**FITTING, "gradio": "6.15.0"}, "pip").state == "ok"
    assert "transformers" not in told(security(FITTING, "pip")), "what is not installed is not missed"


def test_a_torch_for_cuda_is_not_replaced_by_one_for_the_cpu() -> None:
    for language in security({"torch": "2.9.1+cu128"}, "pip").mend or ():
        assert 'pip install --upgrade "torch>=2.10"' in language and "pytorch.org" in language
    others = security({"torch": "2.12.0+cu128", "jinja2": "3.1.5"}, "pip")
    assert others.mend == Text(*2 * ('pip install --upgrade "jinja2>=3.1.6"',))


def test_python() -> None:
    assert python("3.11.0", "3.11", "Linux x86_64").state == "ok"
    found = python("3.9.18", "3.11", "Linux x86_64")
    assert found.state == "problem" and told(found).count("3.9.18") == 2 and "3.11" in str(found.mend)


# What computes


def test_a_cpu_alone_is_fine() -> None:
    found = on_cpu("bfloat16", 8, 8, nvidia=False, cuda=None, pip="pip")
    assert (found.state, found.mend) == ("ok", None)


def test_a_card_that_is_not_used_is_noted() -> None:
    without = on_cpu("float32", 8, 8, nvidia=True, cuda=None, pip="py -m pip")
    assert without.state == "note" and told(without).count("py -m pip uninstall torch") == 2
    with_cuda = on_cpu("float32", 8, 8, nvidia=True, cuda="13.0", pip="pip")
    assert with_cuda.state == "note" and told(with_cuda).count("CUDA 13.0") == 2
    assert "uninstall" not in told(with_cuda), "here the driver is to blame"


def test_little_memory_is_noted() -> None:
    assert memory(16 * GB, 4 * GB).state == "ok"
    assert on_cuda("Card", 8 * GB, 4 * GB, native_bfloat16=True).state == "ok"
    for found in (
        memory(8 * GB, 4 * GB - 1),
        on_cuda("Card", 8 * GB, 4 * GB - 1, native_bfloat16=False),
    ):
        assert found.state == "note" and "model=tiny" in told(found)


def test_a_gpu_that_cannot_compute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def choose() -> device.DevicePlace:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with ...")

    monkeypatch.setattr(device, "choose_place", choose)
    found = examined(tmp_path, monkeypatch)["device"]
    assert found.state == "problem" and "device=cpu" in told(found)
    assert found.text.en.endswith("CUDA error: no kernel image is available"), "one line"


def test_a_torch_that_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    found = examined(tmp_path, monkeypatch)
    assert found["device"].state == "problem" and "install --force-reinstall torch" in told(found["device"])
    assert "extras" in found, "the rest is looked at all the same"


def examined(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, Diagnosis]:
    """The findings about this machine, with `folder` for runs and without a network."""
    patch.chdir(folder)
    return {finding.name: finding for finding in doctor.examine(offline=True)}


# Disks


def test_a_folder_that_is_yet_to_be_made(folder: Path) -> None:
    found = look_at(folder / "还没有" / "runs")
    assert (found.folder, found.fault) == (folder / "还没有" / "runs", None)
    assert found.free_bytes > 0
    assert list(folder.iterdir()) == [], "nothing stays behind"


def test_a_folder_that_cannot_be_written(folder: Path) -> None:
    (folder / "runs").write_text("我的", encoding="utf-8")
    found = look_at(folder / "runs" / "one")
    assert found.fault
    assert room_for_runs(found).state == "problem" and "output_dir=" in told(room_for_runs(found))
    assert room_for_models(found).state == "note" and "TONGHUA_HOME" in told(room_for_models(found))
    assert (folder / "runs").read_text(encoding="utf-8") == "我的"


def test_a_disk_that_is_full(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(200_000_000))
    full = look_at(folder)
    for found, state in ((room_for_runs(full), "problem"), (room_for_models(full), "note")):
        assert found.state == state and found.mend and found.text.zh.count("0.2 GB") == 1
    assert room_for_models(Disk(folder, GB, None)).state == "note", "a model takes 1 GB and must leave some"
    assert room_for_models(Disk(folder, 2 * GB, None)).state == "ok"
    assert room_for_runs(Disk(folder, GB, None)).state == "ok"


# Hubs


def test_hubs() -> None:
    found = surroundings.hubs(hubs_room.sources(), {"modelscope": 0.123})
    assert (found.state, found.mend) == ("ok", None)
    assert found.text.zh == "下载源：ModelScope 0.12 秒、Hugging Face 没有回应、hf-mirror 没有回应"


def test_no_hub_at_all_is_a_note() -> None:
    found = surroundings.hubs(hubs_room.sources(), {})
    assert found.state == "note" and all("model=tiny" in text for text in found.mend or ("",))


def test_the_hubs_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that answers, and one where nobody listens."""
    with serving(Hub(model_files())) as gone:
        monkeypatch.setenv("HF_ENDPOINT", gone.endpoint)
    with serving(Hub(model_files())) as there:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", there.endpoint)
        called = call("doctor", "--json")
    (hubs,) = (each for each in called.json["findings"] if each["name"] == "hubs")
    assert hubs["state"] == "ok"
    assert re.match(r"hubs: ModelScope \d\.\d\d s, ", hubs["en"]) and hubs["en"].endswith(
        "Hugging Face does not answer"
    )


def test_a_wrong_address_of_a_hub_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://example.com")
    (hubs,) = (each for each in call("doctor", "--json").json["findings"] if each["name"] == "hubs")
    assert hubs["state"] == "note" and "HF_ENDPOINT" in hubs["zh"]


@pytest.mark.parametrize("how", ["switch", "variable"])
def test_offline_opens_no_socket(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def no_socket(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", no_socket)
    monkeypatch.setattr(socket, "getaddrinfo", no_socket)
    if how == "variable":
        monkeypatch.setenv("TONGHUA_OFFLINE", "1")
    called = call("doctor", *(["--offline"] if how == "switch" else []))
    assert "hubs: not asked (offline)" in called.out


# Fonts and extras


def test_fonts() -> None:
    assert fonts({"DejaVu Sans", "SimHei"}, "缓存").text.en.endswith("SimHei")
    found = fonts({"DejaVu Sans"}, "缓存")
    assert found.state == "note" and told(found).count("fonts-noto-cjk") == told(found).count("缓存") == 2


def test_extras_are_no_fault() -> None:
    found = extras({"pyarrow": "26.0"}, "pip")
    assert found.state == "ok" and "pyarrow 26.0" in found.text.zh
    absent = [name for name in EXTRAS if name != "pyarrow"]
    assert found.mend and found.mend.en.endswith(f"pip install {' '.join(absent)}")
    assert extras(dict.fromkeys(EXTRAS, "1.0"), "pip").mend is None


# The verb

NAMES = ["python", "packages", "security", "device", "memory", "runs", "models", "hubs", "extras"]


def test_doctor_as_json(folder: Path) -> None:
    called = call("doctor", "--offline", "--json", folder=folder)
    assert (called.code, called.out.count("\n")) == (0, 1)
    findings = called.json["findings"]
    assert [each["name"] for each in findings if each["name"] != "fonts"] == NAMES
    for each in findings:
        assert list(each) == ["name", "state", "zh", "en", "mend_zh", "mend_en"]
        assert each["zh"] and each["en"] and "\n" not in each["zh"] + each["en"]
        assert each["mend_zh"] or each["state"] != "problem"
        assert bool(each["mend_zh"]) == bool(each["mend_en"])


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        ("zh", ["正常  内存 16 GB", "提示  没有字体", "      → 装一种"]),
        ("en", ["ok       memory 16 GB", "note     no font", "         -> install one"]),
    ],
)
def test_doctor_in_both_languages(monkeypatch: pytest.MonkeyPatch, language: str, lines: list[str]) -> None:
    findings = [
        Diagnosis("memory", "ok", Text("内存 16 GB", "memory 16 GB")),
        Diagnosis("fonts", "note", Text("没有字体", "no font"), Text("装一种", "install one")),
    ]
    monkeypatch.setattr(doctor, "examine", lambda offline: iter(findings))
    called = call("doctor", language=language)
    assert (called.code, called.out.splitlines(), called.err) == (0, lines, "")


def test_what_makes_training_impossible_is_exit_code_5(folder: Path) -> None:
    (folder / "runs").write_text("", encoding="utf-8")
    for language, mark, line in (
        ("zh", "问题  训练结果要放在 ", "这台机器现在还不能训练：请先解决标着“问题”的 1 项"),
        (
            "en",
            "problem  runs go to ",
            "nothing can be trained on this machine yet: first mend what is marked as a problem (1)",
        ),
    ):
        called = call("doctor", "--offline", language=language, folder=folder)
        assert (called.code, called.err.splitlines()[-1]) == (5, line)
        assert sum(each.startswith(mark) for each in called.out.splitlines()) == 1
    called = call("doctor", "--offline", "--json", folder=folder)
    assert (called.code, [each["name"] for each in called.json["findings"] if each["state"] == "problem"]) == (
        5,
        ["runs"],
    )
