"""Diagnose the device that training would use, and its memory."""

import os
import shutil
import warnings
from pathlib import Path

import psutil

from ..text import Text
from .diagnosis import LITTLE_MEMORY, MEMORY_BYTES, Diagnosis, gb
from .packages import CUDA_PAGE


def on_cpu(dtype: str, cores: int, threads: int, nvidia: bool, cuda: str | None, pip: str) -> Diagnosis:
    """Diagnose a CPU. `nvidia`: there is a card that PyTorch does not use; `cuda`: the CUDA of this PyTorch build."""
    cpu = Text(
        f"用 CPU 训练：{cores} 核，{threads} 线程，用 {dtype} 更快",
        f"training on the CPU: cores {cores}, threads {threads}, faster in {dtype}",
    )
    if not nvidia:
        return Diagnosis("device", "ok", cpu)
    if cuda is None:
        return Diagnosis(
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
    return Diagnosis(
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


def on_cuda(name: str, total_bytes: int, free_bytes: int, native_bfloat16: bool) -> Diagnosis:
    """Diagnose a working GPU; a note if less than MEMORY_BYTES are free."""
    precision = (
        Text("支持 bfloat16", "with bfloat16")
        if native_bfloat16
        else Text("不支持 bfloat16，用 float16", "without bfloat16, so in float16")
    )
    told = Text(
        f"用显卡训练：{name}，显存 {gb(total_bytes)}，空闲 {gb(free_bytes)}，{precision.zh}",
        f"training on the GPU: {name}, {gb(total_bytes)} of memory, {gb(free_bytes)} free, {precision.en}",
    )
    if free_bytes >= MEMORY_BYTES:
        return Diagnosis("device", "ok", told)
    return Diagnosis("device", "note", told, LITTLE_MEMORY)


def unusable_gpu(reason: str, pip: str) -> Diagnosis:
    """Return the diagnosis of a GPU that PyTorch finds but cannot compute on."""
    return Diagnosis(
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


def unloadable_torch(reason: str, pip: str) -> Diagnosis:
    """Return the diagnosis of a PyTorch that cannot be imported."""
    return Diagnosis(
        "device",
        "problem",
        Text(f"PyTorch 装载不了：{reason}", f"PyTorch cannot be loaded: {reason}"),
        Text(
            f"{pip} install --force-reinstall torch；Windows 上还要装最新的 Microsoft Visual C++ 运行库（x64）",
            f"{pip} install --force-reinstall torch; on Windows also the newest Microsoft Visual C++ runtime (x64)",
        ),
    )


def memory(total_bytes: int, available_bytes: int) -> Diagnosis:
    """Diagnose the memory of the machine; a note if less than MEMORY_BYTES are available."""
    told = Text(
        f"内存 {gb(total_bytes)}，可用 {gb(available_bytes)}",
        f"memory: {gb(total_bytes)}, {gb(available_bytes)} available",
    )
    if available_bytes >= MEMORY_BYTES:
        return Diagnosis("memory", "ok", told)
    return Diagnosis("memory", "note", told, LITTLE_MEMORY)


def diagnose_device(pip: str) -> Diagnosis:
    """Import PyTorch, try the device that training would choose, and diagnose it."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a DLL or shared object is missing
        return unloadable_torch(_first_line(error), pip)
    from ..system import device

    try:
        with warnings.catch_warnings():
            # PyTorch warns of unsuitable drivers and cards; the diagnosis says it in both languages.
            warnings.simplefilter("ignore")
            place = device.choose_place()
            dtype = str(place.dtype).removeprefix("torch.")
            if place.device.type == "cuda":
                # A build without kernels for this card fails only when it computes.
                float((torch.ones(8, 8, device=place.device) @ torch.ones(8, 8, device=place.device)).sum())
                free, total = torch.cuda.mem_get_info(place.device)
                name = torch.cuda.get_device_name(place.device)
                return on_cuda(name, total, free, place.dtype is torch.bfloat16)
    except RuntimeError as error:
        return unusable_gpu(_first_line(error), pip)
    if place.device.type == "mps":
        told = Text(f"用苹果芯片的 GPU 训练，与 CPU 共用内存，用 {dtype}", f"training on Apple's GPU, in {dtype}")
        return Diagnosis("device", "ok", told)
    nvidia = shutil.which("nvidia-smi") is not None or Path("/proc/driver/nvidia/version").is_file()
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return on_cpu(dtype, cores, torch.get_num_threads(), nvidia, torch.version.cuda, pip)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
