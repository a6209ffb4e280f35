"""Memory of the device: what is free, what a process took at its peak, and whether it ran out."""

import ctypes
import platform
import threading

import psutil
import torch


def keep_freed_memory() -> None:
    """Let glibc keep what a training step frees for the next step, instead of asking the system for it anew.

    Each step frees and takes hundreds of megabytes; without this a tenth of a CPU step goes to page faults.
    Where the C library is another one, nothing happens.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 2**25)  # the most that glibc allows
        libc.mallopt(trim_threshold, 2**31 - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch or the system had no more memory to give, on any device."""
    said = str(error).lower()
    told = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError) and any(each in said for each in told)
    )


def free_bytes(device: torch.device) -> int:
    """The memory that can still be had there; what the system keeps as a cache counts as free."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def available_bytes(device: torch.device) -> int:
    """The memory that this process can come to hold there: what is free, and what it holds already."""
    if device.type == "cuda":
        return free_bytes(device) + int(torch.cuda.memory_reserved(device))
    return free_bytes(device) + int(psutil.Process().memory_info().rss)


def give_back_memory(device: torch.device) -> None:
    """Let go of what an allocator keeps for later, so that smaller pieces fit."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).empty_cache()


class PeakMemory:
    """The most memory held since `start`: what the allocator gave out on a GPU, the process's resident set on a CPU."""

    def __init__(self, device: torch.device):
        self._device, self._peak, self._stop = device, 0, threading.Event()
        self._process = psutil.Process()
        self._before = self._now()

    def start(self) -> None:
        self._before = self._now()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self._peak = max(self._peak, self._now())

    def stop(self) -> None:
        self._stop.set()

    def peak_bytes(self) -> int:
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        return self._peak or self._now()

    def gained_bytes(self) -> int:
        """Of the peak, what came since `start`."""
        return max(0, self.peak_bytes() - self._before)

    def _now(self) -> int:
        if self._device.type == "cuda":
            return int(torch.cuda.memory_allocated(self._device))
        return int(self._process.memory_info().rss)
