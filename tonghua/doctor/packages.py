"""Diagnose Python and the packages: installed, of a fitting version, and without known security holes."""

import re
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from ..text import Text
from ..version import __version__
from .diagnosis import Diagnosis, joined

SAFE = {"torch": "2.10", "jinja2": "3.1.6", "transformers": "5.10", "gradio": "6.15", "modelscope": "1.27"}
"""Minimum versions without published security holes (torch: CVE-2026-24747). Only installed packages are compared."""

EXTRAS = (
    *("xllamacpp", "gguf", "fastapi", "pyarrow", "python-calamine", "gradio"),
    *("tensorboard", "swanlab", "wandb", "trackio"),
)
"""Packages that tonghua uses if they are installed: llama.cpp, the server, Parquet and Excel, the page, curves."""

PLOTS = "matplotlib"

CUDA_PAGE = "https://pytorch.org/get-started/locally"


class Requirement(NamedTuple):
    """A package that tonghua needs, such as `torch>=2.6,<3`."""

    name: str
    least: str | None
    below: str | None

    def __str__(self) -> str:
        bounds = (f">={self.least}" if self.least else "", f"<{self.below}" if self.below else "")
        return self.name + ",".join(filter(None, bounds))


def parse_requirement(line: str) -> Requirement:
    """Parse a line of tonghua's own package metadata, without a marker."""
    name = re.match(r"[A-Za-z0-9._-]+", line)
    assert name is not None
    least, below = (re.search(rf"{sign}\s*([\d.]+)", line) for sign in (">=", "<"))
    return Requirement(name[0].lower(), least and least[1], below and below[1])


def python(version: str, least: str, system: str) -> Diagnosis:
    """Diagnose the Python version; a problem if it is below `least`."""
    if _numbers(version) >= _numbers(least):
        told = f"tonghua {__version__}, Python {version}, {system}"
        return Diagnosis("python", "ok", Text(told.replace(", ", "，"), told))
    return Diagnosis(
        "python",
        "problem",
        Text(
            f"Python {version} 太旧，tonghua 需要 {least} 以上", f"Python {version} is too old, tonghua needs {least}"
        ),
        Text(
            f"装一个新的 Python（{least} 以上），用它新建虚拟环境，再装一次 tonghua",
            f"install Python {least} or newer, make a new virtual environment with it and install tonghua there",
        ),
    )


def packages(installed: Mapping[str, str], needed: Sequence[Requirement], pip: str) -> Diagnosis:
    """Diagnose the packages that tonghua needs: a problem if one is missing or too old, a note if one is too new."""
    unfit = [each for each in needed if _is_missing(each, installed)]
    newer = [each for each in needed if each not in unfit and _is_newer(each, installed)]
    if not unfit and not newer:
        there = joined([f"{each.name} {installed[each.name]}" for each in needed])
        return Diagnosis("packages", "ok", Text(f"需要的软件包都合适：{there.zh}", f"the packages fit: {there.en}"))
    parts = [
        (
            f"{each.name} {installed.get(each.name, '没有装')}（需要 {str(each).removeprefix(each.name)}）",
            f"{each.name} {installed.get(each.name, 'is missing')} (needed: {str(each).removeprefix(each.name)})",
        )
        for each in (*unfit, *newer)
    ]
    zh, en = "、".join(zh for zh, _ in parts), ", ".join(en for _, en in parts)
    if unfit:
        told = Text(f"软件包缺少或版本不合：{zh}", f"packages are missing or do not fit: {en}")
    else:
        told = Text(f"软件包比 tonghua 试过的新：{zh}", f"packages are newer than tonghua was tried with: {en}")
    mend = install_line([str(each) for each in (*unfit, *newer)], installed, pip)
    return Diagnosis("packages", "problem" if unfit else "note", told, mend)


def security(installed: Mapping[str, str], pip: str) -> Diagnosis:
    """Diagnose known security holes; a note if an installed version has one."""
    there = [name for name in SAFE if name in installed]
    holes = [name for name in there if _numbers(installed[name]) < _numbers(SAFE[name])]
    zh = "、".join(f"{name} {installed[name]}（{SAFE[name]} 起安全）" for name in holes or there)
    en = ", ".join(f"{name} {installed[name]} (safe from {SAFE[name]})" for name in holes or there)
    if not holes:
        told = Text(f"没有版本带着已知的安全漏洞：{zh}", f"no version with a known security hole: {en}")
        return Diagnosis("security", "ok", told)
    told = Text(f"版本带着已知的安全漏洞：{zh}", f"versions with known security holes: {en}")
    return Diagnosis(
        "security", "note", told, install_line([f"{name}>={SAFE[name]}" for name in holes], installed, pip)
    )


def _is_missing(needed: Requirement, installed: Mapping[str, str]) -> bool:
    version = installed.get(needed.name)
    return version is None or (needed.least is not None and _numbers(version) < _numbers(needed.least))


def _is_newer(needed: Requirement, installed: Mapping[str, str]) -> bool:
    return needed.below is not None and _numbers(installed[needed.name]) >= _numbers(needed.below)


def _numbers(version: str) -> tuple[int, ...]:
    """Return (2, 10, 0) for 2.10.0+cpu; ignores what follows the numbers."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def install_line(requirements: Sequence[str], installed: Mapping[str, str], pip: str) -> Text:
    """Return the pip command that installs the requirements; for a CUDA build of torch, it also names CUDA_PAGE."""
    quoted = " ".join(f'"{each}"' for each in requirements)
    line = f"{pip} install --upgrade {quoted}"
    # If the index has no CUDA build under the plain name, as for Windows, pip installs the CPU build instead.
    if "+cu" in installed.get("torch", "") and any(each.startswith("torch") for each in requirements):
        return Text(
            f"{line}（其中 torch 请改用 {CUDA_PAGE} 上选 CUDA 后给出的命令，免得换成只用 CPU 的）",
            f"{line} (for torch take the line that {CUDA_PAGE} shows for CUDA, or it becomes one for the CPU alone)",
        )
    return Text(line, line)


def requirements() -> list[Requirement]:
    """Return the requirements of tonghua itself; none if it runs without being installed."""
    try:
        lines = metadata.requires("tonghua") or []
    except metadata.PackageNotFoundError:
        return []
    return [parse_requirement(line) for line in lines if ";" not in line]


def least_python() -> str:
    """Return the minimum Python version of tonghua; empty if it runs without being installed."""
    try:
        return metadata.metadata("tonghua")["Requires-Python"].removeprefix(">=")
    except metadata.PackageNotFoundError:
        return ""


def installed_versions(names: Collection[str]) -> dict[str, str]:
    """Return the version of each of these packages that is installed."""
    found = {}
    for name in names:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if version:  # an interrupted installation leaves a package without a version
            found[name] = version
    return found


def pip_command() -> str:
    """Return the command for the pip of this Python; another pip would install for another Python."""
    beside = shutil.which("pip")
    if beside and Path(beside).parent == Path(sys.executable).parent:
        return "pip"
    return f'"{sys.executable}" -m pip' if " " in sys.executable else f"{sys.executable} -m pip"


def extras(installed: Mapping[str, str], pip: str) -> Diagnosis:
    """Report the optional packages; a missing one is no fault."""
    there = joined([f"{name} {installed[name]}" for name in EXTRAS if name in installed] or ["-"])
    absent = [name for name in EXTRAS if name not in installed]
    if not absent:
        return Diagnosis("extras", "ok", Text(f"可选的软件包：{there.zh}", f"optional packages: {there.en}"))
    missing = joined(absent)
    line = f"{pip} install {' '.join(absent)}"
    return Diagnosis(
        "extras",
        "ok",
        Text(
            f"可选的软件包：{there.zh}；没有装：{missing.zh}", f"optional packages: {there.en}; not there: {missing.en}"
        ),
        Text(f"用得上哪个再装哪个：{line}", f"install those that you want: {line}"),
    )
