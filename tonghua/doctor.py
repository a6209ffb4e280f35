"""What this machine has for tonghua, what it lacks, and how to mend that.

    versions, device, memory, disks, hubs, fonts ──examine──► Finding, Finding, ...

Each finding is a pure function of its facts; `examine` gathers the facts. Nothing is printed here.
"""

import os
import platform
import re
import shutil
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

import psutil

from .config.schema import Config
from .errors import UsageError
from .models import download as fetch
from .models import hubs as hubs_room
from .models.hubs import Source
from .runs.curves import CHINESE_FONTS
from .system.environment import home, is_offline
from .text import Text
from .version import __version__

State = Literal["ok", "note", "problem"]

SAFE = {"torch": "2.10", "jinja2": "3.1.6", "transformers": "5.10", "gradio": "6.15", "modelscope": "1.27"}
"""Older versions have published security holes (torch: CVE-2026-24747); only what is installed is compared."""

EXTRAS = ("pyarrow", "gradio", "tensorboard", "swanlab", "wandb", "trackio")
"""Packages that tonghua uses where they are there: parquet rows, the page, curves."""

PLOTS = "matplotlib"

MODEL_BYTES = 1_000_000_000
"""What qwen2.5-0.5b takes on disk."""

RUN_BYTES = 300_000_000
"""Room for the checkpoints of one run."""

MEMORY_BYTES = 4_000_000_000
"""What training qwen2.5-0.5b takes; benchmarks/LOG.md has 3.2 to 4.3 GB."""

CUDA_PAGE = "https://pytorch.org/get-started/locally"

LITTLE_MEMORY = Text(
    "训练 qwen2.5-0.5b 约需 4 GB：关掉别的程序，或写 tokens_per_micro_batch=512（慢一些），或先用 model=tiny",
    "qwen2.5-0.5b trains in about 4 GB: close other programs, write tokens_per_micro_batch=512 (slower), or model=tiny",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `problem`: nothing can be trained until it is mended; `note`: worth knowing."""

    name: str
    state: State
    text: Text
    mend: Text | None = None

    def as_json(self) -> dict[str, str | None]:
        mend = self.mend._asdict() if self.mend else {"zh": None, "en": None}
        return {
            "name": self.name,
            "state": self.state,
            **self.text._asdict(),
            **{f"mend_{language}": text for language, text in mend.items()},
        }


def examine(offline: bool) -> Iterator[Finding]:
    """Every finding about this machine, as it is made. `offline`, or TONGHUA_OFFLINE, opens no socket."""
    needed = _requirements()
    installed = _installed((*SAFE, *EXTRAS, PLOTS, *(requirement.name for requirement in needed)))
    pip = _pip()
    yield python(platform.python_version(), _least_python(), f"{platform.system()} {platform.machine()}")
    yield packages(installed, needed, pip)
    yield security(installed, pip)
    yield _device(pip)
    machine = psutil.virtual_memory()
    yield memory(machine.total, machine.available)
    yield runs_folder(look_at(Path(Config.model_fields["output_dir"].default)))
    yield models_folder(look_at(home()))
    yield _hubs(offline or is_offline())
    if PLOTS in installed:
        yield _fonts()
    yield extras(installed, pip)


def _joined(parts: Sequence[str]) -> Text:
    return Text("、".join(parts), ", ".join(parts))


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"


class Requirement(NamedTuple):
    """A package that tonghua needs: `torch>=2.6,<3`."""

    name: str
    least: str | None
    below: str | None

    def __str__(self) -> str:
        bounds = (f">={self.least}" if self.least else "", f"<{self.below}" if self.below else "")
        return self.name + ",".join(filter(None, bounds))


def parse_requirement(line: str) -> Requirement:
    """A line as tonghua's own metadata have it, without a marker."""
    name = re.match(r"[A-Za-z0-9._-]+", line)
    assert name is not None
    least, below = (re.search(rf"{sign}\s*([\d.]+)", line) for sign in (">=", "<"))
    return Requirement(name[0].lower(), least and least[1], below and below[1])


def python(version: str, least: str, system: str) -> Finding:
    if _numbers(version) >= _numbers(least):
        told = f"tonghua {__version__}, Python {version}, {system}"
        return Finding("python", "ok", Text(told.replace(", ", "，"), told))
    return Finding(
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


def packages(installed: Mapping[str, str], needed: Sequence[Requirement], pip: str) -> Finding:
    """Whether the packages that tonghua needs are there, old enough and new enough."""
    unfit = [each for each in needed if _is_missing(each, installed)]
    newer = [each for each in needed if each not in unfit and _is_newer(each, installed)]
    if not unfit and not newer:
        there = _joined([f"{each.name} {installed[each.name]}" for each in needed])
        return Finding("packages", "ok", Text(f"需要的软件包都合适：{there.zh}", f"the packages fit: {there.en}"))
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
    mend = _install([str(each) for each in (*unfit, *newer)], installed, pip)
    return Finding("packages", "problem" if unfit else "note", told, mend)


def security(installed: Mapping[str, str], pip: str) -> Finding:
    """Whether what is installed is new enough to be without the holes that are known."""
    there = [name for name in SAFE if name in installed]
    holes = [name for name in there if _numbers(installed[name]) < _numbers(SAFE[name])]
    zh = "、".join(f"{name} {installed[name]}（{SAFE[name]} 起安全）" for name in holes or there)
    en = ", ".join(f"{name} {installed[name]} (safe from {SAFE[name]})" for name in holes or there)
    if not holes:
        told = Text(f"没有版本带着已知的安全漏洞：{zh}", f"no version with a known security hole: {en}")
        return Finding("security", "ok", told)
    told = Text(f"版本带着已知的安全漏洞：{zh}", f"versions with known security holes: {en}")
    return Finding("security", "note", told, _install([f"{name}>={SAFE[name]}" for name in holes], installed, pip))


def _is_missing(needed: Requirement, installed: Mapping[str, str]) -> bool:
    version = installed.get(needed.name)
    return version is None or (needed.least is not None and _numbers(version) < _numbers(needed.least))


def _is_newer(needed: Requirement, installed: Mapping[str, str]) -> bool:
    return needed.below is not None and _numbers(installed[needed.name]) >= _numbers(needed.below)


def _numbers(version: str) -> tuple[int, ...]:
    """(2, 10, 0) of 2.10.0+cpu: what follows the numbers plays no part."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _install(requirements: Sequence[str], installed: Mapping[str, str], pip: str) -> Text:
    quoted = " ".join(f'"{each}"' for each in requirements)
    line = f"{pip} install --upgrade {quoted}"
    # Where the index has no CUDA build under the plain name, as for Windows, pip puts one for the CPU in its place.
    if "+cu" in installed.get("torch", "") and any(each.startswith("torch") for each in requirements):
        return Text(
            f"{line}（其中 torch 请改用 {CUDA_PAGE} 上选 CUDA 后给出的命令，免得换成只用 CPU 的）",
            f"{line} (for torch take the line that {CUDA_PAGE} shows for CUDA, or it becomes one for the CPU alone)",
        )
    return Text(line, line)


def _requirements() -> list[Requirement]:
    """Those of tonghua itself; none where it runs without being installed."""
    try:
        lines = metadata.requires("tonghua") or []
    except metadata.PackageNotFoundError:
        return []
    return [parse_requirement(line) for line in lines if ";" not in line]


def _least_python() -> str:
    try:
        return metadata.metadata("tonghua")["Requires-Python"].removeprefix(">=")
    except metadata.PackageNotFoundError:
        return ""


def _installed(names: Collection[str]) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        if version:  # an installation that was broken off leaves a package without one
            found[name] = version
    return found


def _pip() -> str:
    """How to call the pip of this very Python: another one would install for another."""
    beside = shutil.which("pip")
    if beside and Path(beside).parent == Path(sys.executable).parent:
        return "pip"
    return f'"{sys.executable}" -m pip' if " " in sys.executable else f"{sys.executable} -m pip"


def on_cpu(dtype: str, cores: int, threads: int, nvidia: bool, cuda: str | None, pip: str) -> Finding:
    """Training on the CPU. `nvidia`: there is a card that PyTorch does not use; `cuda`: what PyTorch was built for."""
    cpu = Text(
        f"用 CPU 训练：{cores} 核，{threads} 线程，用 {dtype} 更快",
        f"training on the CPU: cores {cores}, threads {threads}, faster in {dtype}",
    )
    if not nvidia:
        return Finding("device", "ok", cpu)
    if cuda is None:
        return Finding(
            "device",
            "note",
            Text(
                f"有 NVIDIA 显卡，但装的 PyTorch 不带 CUDA，用不上它；{cpu.zh}",
                f"there is an NVIDIA card, but this PyTorch is without CUDA and cannot use it; {cpu.en}",
            ),
            Text(
                f"先运行 {pip} uninstall torch，再用 {CUDA_PAGE} 上选 CUDA 后给出的命令安装",
                f"run {pip} uninstall torch, then install it with the line that {CUDA_PAGE} shows for CUDA",
            ),
        )
    return Finding(
        "device",
        "note",
        Text(
            f"有 NVIDIA 显卡，但 PyTorch（CUDA {cuda}）用不上它；{cpu.zh}",
            f"there is an NVIDIA card, but PyTorch (CUDA {cuda}) cannot use it; {cpu.en}",
        ),
        Text(
            "把 NVIDIA 驱动更新到最新；如果设了环境变量 CUDA_VISIBLE_DEVICES，检查它的值",
            "update the NVIDIA driver; if the variable CUDA_VISIBLE_DEVICES is set, check its value",
        ),
    )


def on_cuda(name: str, total_bytes: int, free_bytes: int, native_bfloat16: bool) -> Finding:
    precision = (
        Text("支持 bfloat16", "with bfloat16")
        if native_bfloat16
        else Text("不支持 bfloat16，用 float16", "without bfloat16, so in float16")
    )
    told = Text(
        f"用显卡训练：{name}，显存 {_gb(total_bytes)}，空闲 {_gb(free_bytes)}，{precision.zh}",
        f"training on the GPU: {name}, {_gb(total_bytes)} of memory, {_gb(free_bytes)} free, {precision.en}",
    )
    if free_bytes >= MEMORY_BYTES:
        return Finding("device", "ok", told)
    return Finding("device", "note", told, LITTLE_MEMORY)


def unusable_gpu(reason: str, pip: str) -> Finding:
    return Finding(
        "device",
        "problem",
        Text(f"PyTorch 找到了显卡，但算不了：{reason}", f"PyTorch finds a GPU but cannot compute on it: {reason}"),
        Text(
            "关掉别的用显卡的程序，或训练时写 device=cpu；还不行就更新显卡驱动，运行 "
            f"{pip} uninstall torch，再到 {CUDA_PAGE} 换一个 CUDA 版本（旧显卡选较旧的，新显卡选最新的）",
            "close other programs that use the GPU, or train with device=cpu; else update the driver, run "
            f"{pip} uninstall torch and take another CUDA at {CUDA_PAGE} (an old card needs an older one)",
        ),
    )


def unloadable_torch(reason: str, pip: str) -> Finding:
    return Finding(
        "device",
        "problem",
        Text(f"PyTorch 装载不了：{reason}", f"PyTorch cannot be loaded: {reason}"),
        Text(
            f"{pip} install --force-reinstall torch；Windows 上还要装最新的 Microsoft Visual C++ 运行库（x64）",
            f"{pip} install --force-reinstall torch; on Windows also the newest Microsoft Visual C++ runtime (x64)",
        ),
    )


def memory(total_bytes: int, available_bytes: int) -> Finding:
    told = Text(
        f"内存 {_gb(total_bytes)}，可用 {_gb(available_bytes)}",
        f"memory: {_gb(total_bytes)}, {_gb(available_bytes)} available",
    )
    if available_bytes >= MEMORY_BYTES:
        return Finding("memory", "ok", told)
    return Finding("memory", "note", told, LITTLE_MEMORY)


def _device(pip: str) -> Finding:
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a DLL or shared object that is not there
        return unloadable_torch(_first_line(error), pip)
    from .system import device

    try:
        with warnings.catch_warnings():
            # Of drivers that are too old and cards that are too old or new; the finding says it in both languages.
            warnings.simplefilter("ignore")
            place = device.choose()
            dtype = str(place.dtype).removeprefix("torch.")
            if place.device.type == "cuda":
                # A build without kernels for this card only fails when it is asked to compute.
                float((torch.ones(8, 8, device=place.device) @ torch.ones(8, 8, device=place.device)).sum())
                free, total = torch.cuda.mem_get_info(place.device)
                name = torch.cuda.get_device_name(place.device)
                return on_cuda(name, total, free, place.dtype is torch.bfloat16)
    except RuntimeError as error:
        return unusable_gpu(_first_line(error), pip)
    if place.device.type == "mps":
        told = Text(f"用苹果芯片的 GPU 训练，与 CPU 共用内存，用 {dtype}", f"training on Apple's GPU, in {dtype}")
        return Finding("device", "ok", told)
    nvidia = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").is_file()
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return on_cpu(dtype, cores, torch.get_num_threads(), nvidia, torch.version.cuda, pip)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


class Disk(NamedTuple):
    """Where a folder is or would be, and what is free there; `fault`: why nothing can be written."""

    folder: Path
    free_bytes: int
    fault: str | None


def look_at(folder: Path) -> Disk:
    """Writes a byte into the nearest folder above that exists, and takes it away again."""
    folder = folder.absolute()
    try:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        probe = there / f".tonghua-doctor-{os.getpid()}"
        try:
            probe.write_bytes(b"1")
        finally:
            probe.unlink(missing_ok=True)
        return Disk(folder, shutil.disk_usage(there).free, None)
    except (OSError, StopIteration) as error:  # StopIteration: a drive that is not there
        reason = error.strerror if isinstance(error, OSError) else None
        return Disk(folder, 0, reason or type(error).__name__)


def runs_folder(disk: Disk) -> Finding:
    """Where runs go: without room for one, nothing can be trained."""
    mend = Text(
        "到一个可以写、空间够的文件夹里运行，或写 output_dir=这样的文件夹",
        "work in a folder that can be written and has room, or write output_dir=FOLDER",
    )
    return _folder("runs", Text("训练结果", "runs"), disk, RUN_BYTES, "problem", mend)


def models_folder(disk: Disk) -> Finding:
    """Where downloaded models go; without room there are still `tiny` and models in other folders."""
    mend = Text(
        "腾出空间，或把环境变量 TONGHUA_HOME 设为别处可写的文件夹；qwen2.5-0.5b 约 1 GB",
        "free some space, or set TONGHUA_HOME to a folder elsewhere that can be written; qwen2.5-0.5b takes about 1 GB",
    )
    needed = MODEL_BYTES + fetch.SPARE_BYTES
    return _folder("models", Text("下载的模型", "downloaded models"), disk, needed, "note", mend)


def _folder(name: str, what: Text, disk: Disk, needed_bytes: int, otherwise: State, mend: Text) -> Finding:
    if disk.fault:
        told = Text(
            f"{what.zh}要放在 {disk.folder}，那里写不进去（{disk.fault}）",
            f"{what.en} go to {disk.folder}, where nothing can be written ({disk.fault})",
        )
        return Finding(name, otherwise, told, mend)
    free = _gb(disk.free_bytes)
    if disk.free_bytes < needed_bytes:
        told = Text(
            f"{what.zh}放在 {disk.folder}，磁盘只剩 {free}，至少要 {_gb(needed_bytes)}",
            f"{what.en} go to {disk.folder}; {free} are free there, {_gb(needed_bytes)} are needed",
        )
        return Finding(name, otherwise, told, mend)
    told = Text(f"{what.zh}放在 {disk.folder}，磁盘还有 {free}", f"{what.en} go to {disk.folder}, {free} free")
    return Finding(name, "ok", told)


def hubs(sources: Sequence[Source], seconds: Mapping[str, float]) -> Finding:
    """Which hubs answer; `seconds`: how long each took that did, by its name."""
    zh, en = [], []
    for source in sources:
        taken = seconds.get(source.name)
        zh.append(f"{source.title} {f'{taken:.2f} 秒' if taken is not None else '没有回应'}")
        en.append(f"{source.title} {f'{taken:.2f} s' if taken is not None else 'does not answer'}")
    told = Text(f"下载源：{'、'.join(zh)}", f"hubs: {', '.join(en)}")
    if seconds:
        return Finding("hubs", "ok", told)
    mend = Text(
        "要下载模型，先检查网络和代理；model=tiny 和本机文件夹里的模型不用联网",
        "to download models, check the network and its proxy; model=tiny and models in local folders need none",
    )
    return Finding("hubs", "note", told, mend)


def _hubs(offline: bool) -> Finding:
    if offline:
        return Finding("hubs", "ok", Text("下载源：没有联网查看（离线）", "hubs: not asked (offline)"))
    try:
        sources = hubs_room.sources()
        return hubs(sources, fetch.answer_seconds(sources))
    except UsageError as error:  # an address or a file of certificates in the environment that is wrong
        return Finding("hubs", "note", error.text)


def fonts(families: Collection[str], cache: str) -> Finding:
    """Whether one of the fonts that matplotlib knows has Chinese; `cache`: the folder where it keeps their list."""
    font = next((name for name in CHINESE_FONTS if name in families), None)
    if font:
        return Finding("fonts", "ok", Text(f"图里的中文用字体 {font}", f"Chinese in plots: the font {font}"))
    return Finding(
        "fonts",
        "note",
        Text("没有中文字体，图里的文字会是英文", "no font with Chinese: the labels of plots will be English"),
        Text(
            "装一种中文字体，例如 Noto Sans CJK（Debian、Ubuntu：sudo apt install fonts-noto-cjk），"
            f"再删掉文件夹 {cache}，让 matplotlib 重新找字体",
            "install a font such as Noto Sans CJK (Debian, Ubuntu: sudo apt install fonts-noto-cjk), "
            f"then delete the folder {cache}, so that matplotlib looks for fonts anew",
        ),
    )


def _fonts() -> Finding:
    import matplotlib
    from matplotlib.font_manager import fontManager

    return fonts(fontManager.get_font_names(), matplotlib.get_cachedir())


def extras(installed: Mapping[str, str], pip: str) -> Finding:
    """Packages that nobody must have: none of them missing is a fault."""
    there = _joined([f"{name} {installed[name]}" for name in EXTRAS if name in installed] or ["-"])
    absent = [name for name in EXTRAS if name not in installed]
    if not absent:
        return Finding("extras", "ok", Text(f"可选的软件包：{there.zh}", f"optional packages: {there.en}"))
    missing = _joined(absent)
    line = f"{pip} install {' '.join(absent)}"
    return Finding(
        "extras",
        "ok",
        Text(
            f"可选的软件包：{there.zh}；没有装：{missing.zh}", f"optional packages: {there.en}; not there: {missing.en}"
        ),
        Text(f"用得上哪个再装哪个：{line}", f"install those that you want: {line}"),
    )
