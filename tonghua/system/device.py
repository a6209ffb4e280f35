"""Choose the device and the dtype: the fastest on this machine, unless the user sets them."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import psutil
import torch

from ..errors import UsageError

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


class DevicePlace(NamedTuple):
    """A device and the dtype of the frozen base on it. The LoRA master weights are fp32 on every device."""

    device: torch.device
    dtype: torch.dtype

    def __str__(self) -> str:
        return f"{self.device.type} {str(self.dtype).removeprefix('torch.')}"


def choose_place(device: str = "auto", dtype: str = "auto", talking: bool = False) -> DevicePlace:
    """Return the place for these settings; `talking`: the dtype that answers fastest, not the one that trains fastest.

    Raises UsageError if the device is missing, or for float16 on a CPU.
    """
    found = choose_device(device)
    if dtype == "auto":
        return DevicePlace(found, _fast_dtype(found, talking))
    if dtype == "float16" and found.type == "cpu":
        raise UsageError(
            "CPU 上不支持 dtype=float16；请用 auto、bfloat16 或 float32",
            "dtype=float16 is not for a CPU; use auto, bfloat16 or float32",
        )
    return DevicePlace(found, DTYPES[dtype])


def choose_device(wanted: str) -> torch.device:
    """Return the device of this name; "auto" takes a GPU if there is one. Raises UsageError if it is missing."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    name = next(n for n in available if available[n]) if wanted == "auto" else wanted
    if not available[name]:
        raise UsageError(
            f"这台机器上的 PyTorch 用不了 {name}；请用 device=auto 或 device=cpu",
            f"PyTorch cannot use {name} on this machine; use device=auto or device=cpu",
        )
    return torch.device(name)


def _fast_dtype(device: torch.device, talking: bool) -> torch.dtype:
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float16
    # Native bf16 is at least twice as fast as fp32, emulated bf16 is slower. So the threshold need not be exact.
    # One row at a time, reading the weights decides: there emulated bf16 is the faster one too.
    timed = _seconds_of_a_row if talking else _seconds
    faster = timed(device, torch.bfloat16) < 0.8 * timed(device, torch.float32)
    return torch.bfloat16 if faster else torch.float32


def _seconds(device: torch.device, dtype: torch.dtype) -> float:
    """Return the least time of a matrix product of training size, in seconds; inf if the dtype does not work."""
    return _least_seconds(device, dtype, 256, 2048, lambda x, w: (x @ w.t())[0, 0])


def _seconds_of_a_row(device: torch.device, dtype: torch.dtype) -> float:
    """Return the least time of one row times a weight that fits into no cache, in seconds; inf as above."""
    return _least_seconds(device, dtype, 1, 32_768, lambda x, w: torch.mv(w, x[0])[0])


def _least_seconds(
    device: torch.device,
    dtype: torch.dtype,
    rows: int,
    outputs: int,
    product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> float:
    try:
        x, w = (torch.ones(n, 1024, dtype=dtype, device=device) for n in (rows, outputs))
        times = []
        for _ in range(6):
            start = time.perf_counter()
            float(product(x, w))
            times.append(time.perf_counter() - start)
        return min(times)
    except (RuntimeError, TypeError):
        return float("inf")


def operations_per_s(place: DevicePlace) -> float:
    """Measure a matrix product of training size. Return floating-point operations per second."""
    return 2 * 256 * 1024 * 2048 / _seconds(*place)


def machine_name(device: torch.device) -> str:
    """Return the kind and the memory of a device, and the cores of a CPU; the same on the same machine."""
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return f"{found.name}, {found.total_memory / 2**30:.0f} GiB"
    memory = psutil.virtual_memory().total / 2**30
    return f"{device.type} {platform.machine()}, {os.cpu_count()} cores, {memory:.0f} GiB"


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """Return the states of the generators that dropout draws from: the CPU's and, if it has one, the device's own."""
    states = {"random_cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states["random_device"] = getattr(torch, device.type).get_rng_state()
    return states


def restore_random(states: Mapping[str, torch.Tensor], device: torch.device) -> None:
    """Restore the states from `random_states`. Ignores the state of a device that is not in use here."""
    torch.set_rng_state(states["random_cpu"])
    if device.type != "cpu" and "random_device" in states:
        getattr(torch, device.type).set_rng_state(states["random_device"])
