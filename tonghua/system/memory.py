"""Memory of a device: free bytes, the peak of this process, and out-of-memory errors."""

import ctypes
import platform
import threading

import psutil
import torch


def keep_freed_memory() -> None:
    """Make glibc keep memory that a training step frees, for the next step.

    Each step frees and allocates hundreds of megabytes. Without this, page faults take a tenth of a CPU step.
    Does nothing with another C library.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_threshold, 2**25)  # maximum that glibc allows
        libc.mallopt(trim_threshold, 2**31 - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """True if the error means that PyTorch or the system ran out of memory, on any device."""
    said = str(error).lower()
    told = (
        *("out of memory", "not enough memory", "can't allocate memory", "cannot allocate memory"),
        # cuBLAS, cuDNN and cuSOLVER tell only their own status when they get no memory for their workspaces.
        "status_alloc_failed",
        "cudaerrormemoryallocation",
    )
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError) and any(each in said for each in told)
    )


def free_bytes(device: torch.device) -> int:
    """Return the free memory of a CUDA device, else of the system, in bytes. The system's file cache counts as free."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def available_bytes(device: torch.device) -> int:
    """Return the memory that this process can hold there, in bytes: what is free plus what it already holds."""
    if device.type == "cuda":
        return free_bytes(device) + int(torch.cuda.memory_reserved(device))
    return free_bytes(device) + int(psutil.Process().memory_info().rss)


def give_back_memory(device: torch.device) -> None:
    """Release the GPU allocator's cached blocks, so that smaller allocations fit. Does nothing on a CPU."""
    if device.type in ("cuda", "mps"):
        getattr(torch, device.type).empty_cache()


class PeakMemory:
    """Peak memory since `start`: allocated memory on CUDA, else the resident set of the process."""

    def __init__(self, device: torch.device):
        self._device, self._peak, self._stop = device, 0, threading.Event()
        self._process = psutil.Process()
        self._before = self._now()

    def start(self) -> None:
        """Start measuring. Except on CUDA, a thread samples the memory every 20 ms."""
        self._before = self._now()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self._peak = max(self._peak, self._now())

    def stop(self) -> None:
        """End the sampling thread."""
        self._stop.set()

    def peak_bytes(self) -> int:
        """Return the peak, in bytes."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        return self._peak or self._now()

    def gained_bytes(self) -> int:
        """Return the peak minus what was held at `start`, in bytes."""
        return max(0, self.peak_bytes() - self._before)

    def _now(self) -> int:
        if self._device.type == "cuda":
            return int(torch.cuda.memory_allocated(self._device))
        return int(self._process.memory_info().rss)
