"""What encoders that run on torch share: the device, the number type, and memory that runs out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ragvlm.encoders.vision_ops import import_torchvision
from ragvlm.errors import InputError, RagvlmError, reason, require

DTYPES = ("auto", "float32", "bfloat16", "float16")


def import_package(name: str, extra: str, *parts: str) -> Any:
    """Import ``name``, a package that stands on torch; ``parts`` are names in it that are loaded on first use.

    Raises MissingExtraError where it or torch is absent, RagvlmError where it is there and can't be imported.
    """
    require("torch", extra)
    import_torchvision()
    try:
        package = require(name, extra)
        for part in parts:
            getattr(package, part)
    except (ImportError, AttributeError, RuntimeError, OSError) as error:  # built for another torch, most often
        raise RagvlmError(f"{name} is installed but can't be imported: {reason(error)}") from error
    return package


def choose_device(device: str) -> Any:
    """The ``torch.device``: "auto" is CUDA, else MPS, else the CPU. Raises InputError for one that isn't there."""
    import torch

    has_mps = torch.backends.mps.is_available()
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise InputError(f"device {device!r}: give auto, cpu, cuda, mps or another device of torch") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {device!r}: torch finds no such CUDA device here; give device auto or cpu")
    if chosen.type == "mps" and not has_mps:
        raise InputError(f"device {device!r}: torch finds no MPS here; give device auto or cpu")
    return chosen


def sees_gpu() -> bool:
    """Whether the system has what torch drives as "cuda" (NVIDIA, AMD); asked of the system, without loading torch."""
    import ctypes

    if Path("/dev/kfd").exists():
        return True
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        count = ctypes.c_int(0)
        return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0
    except (OSError, AttributeError):  # no driver
        return False


def choose_dtype(dtype: str, device: Any) -> Any:
    """The ``torch.dtype``: "auto" is bfloat16 on a CUDA device that computes with it, else float32."""
    import torch

    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}: give one of {', '.join(DTYPES)}")
    if dtype == "auto":
        # is_bf16_supported() also says yes to emulation, which is slower than float32
        native = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        dtype = "bfloat16" if native else "float32"
    return getattr(torch, dtype)


def free_memory(device: Any) -> int | None:
    """Bytes that ``device`` can still give; None where the system doesn't say."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    table = Path("/proc/meminfo")
    if not table.is_file():
        return None
    lines = dict(line.split(":", 1) for line in table.read_text(encoding="ascii").splitlines() if ":" in line)
    return int(lines["MemAvailable"].split()[0]) * 1024 if "MemAvailable" in lines else None


def check_memory(what: str, needed: int, device: Any) -> None:
    """Raise RagvlmError if ``needed`` bytes are more than ``device`` has free: the system would kill the process."""
    free = free_memory(device)
    if free is not None and needed > free:
        raise RagvlmError(
            f"{what} needs {needed / 1e9:.1f} GB on {device}, which has {free / 1e9:.1f} GB free: "
            "free some, choose another device or a smaller model"
        )


@contextmanager
def memory_errors(what: str, device: Any) -> Iterator[None]:
    """Turn memory that runs out while ``what`` runs into one RagvlmError."""
    import torch

    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _too_little(what, device) from error
    except RuntimeError as error:
        # torch has no class of its own for the CPU's allocator
        if "not enough memory" in str(error) or "can't allocate memory" in str(error):
            raise _too_little(what, device) from error
        raise


def _too_little(what: str, device: Any) -> RagvlmError:
    return RagvlmError(f"not enough memory on {device} for {what}: give a smaller batch_size, or device cpu")
