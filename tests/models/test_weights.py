"""What a base takes in memory, and how running out of it is known."""

import pytest
import torch

from tonghua.core.quantize import Bits
from tonghua.models.scan import scan_model
from tonghua.models.shipped import tiny
from tonghua.models.weights import load_base, needed_bytes
from tonghua.system.device import DevicePlace
from tonghua.system.memory import is_out_of_memory

CPU = torch.device("cpu")


@pytest.mark.parametrize("bits", [None, 8, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_memory_of_a_base_is_known_before_it_is_loaded(bits: Bits | None, dtype: torch.dtype) -> None:
    """Embeddings and norms stay whole when the linears are quantized, and one layer at a time is whole too."""
    files, place = scan_model(tiny()), DevicePlace(CPU, dtype)
    decoder = load_base(files, place, bits)
    held = sum(buffer.nbytes for buffer in decoder.buffers() if not buffer.is_meta)
    layer = 320 * (320 + 64 + 64 + 320) + 3 * 320 * 896
    most = held + layer * dtype.itemsize if bits else held
    # The table of the 16 levels, once for each group of linears, is all that is not counted.
    assert 0.98 * most < needed_bytes(files, place, bits) <= most


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("x"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.63 GB)"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_running_out_of_memory_is_known_by_what_the_libraries_say(error: Exception) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`"),
        RuntimeError("CUDA error: device-side assert triggered"),
    ],
    ids=str,
)
def test_other_faults_are_no_lack_of_memory(error: Exception) -> None:
    assert not is_out_of_memory(error)
