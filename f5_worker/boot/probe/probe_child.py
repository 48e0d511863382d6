"""The part of the probe that may crash or hang, run by probe.py as a program of its own.

Each finding is one line `MARK {json}`, written as soon as it is known: what was found before a crash counts.
`torch MARK` looks at the interpreter, torch, the GPU and flash-attn; `paths MARK PATH...` at directories.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from typing import Any

MARK = ""


def emit(**finding: Any) -> None:
    # One write, so that a library's chatter cannot end up inside; a new line first, in case it left one open.
    os.write(1, f"\n{MARK} {json.dumps(finding)}\n".encode())


def python() -> None:
    version = platform.python_version()
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    emit(python=version, python_tag=tag, machine=platform.machine(), glibc=glibc())


def glibc() -> str | None:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):  # musl
        return None
    return version if name == "glibc" else None


def driver() -> None:
    """The NVIDIA driver and the newest CUDA it serves, by NVML: nvidia-smi is not in every container."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return
    if nvml.nvmlInit_v2() != 0:
        return
    text, number = ctypes.create_string_buffer(96), ctypes.c_int()
    if nvml.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text))) == 0:
        emit(driver=text.value.decode("ascii", "replace"))
    if nvml.nvmlSystemGetCudaDriverVersion_v2(ctypes.byref(number)) == 0:
        emit(driver_cuda=f"{number.value // 1000}.{number.value % 1000 // 10}")
    nvml.nvmlShutdown()


def torch_itself() -> None:
    try:
        import torch
    except ModuleNotFoundError as error:
        emit(torch_error=f"torch is not installed: {error}" if error.name == "torch" else one_line(error))
        raise SystemExit(0) from None
    except Exception as error:  # noqa: BLE001 - the edge of a process; whatever import torch raises is the finding
        emit(torch_error=f"import torch: {one_line(error)}")
        raise SystemExit(0) from None
    emit(torch=torch.__version__)
    emit(torch_git=torch.version.git_version, cuda=torch.version.cuda, abi=bool(torch._C._GLIBCXX_USE_CXX11_ABI))
    if torch.version.cuda:
        # get_arch_list() answers [] where no GPU is visible; the flags are what torch was compiled with.
        emit(arch_list=(torch._C._cuda_getArchFlags() or "").split())
    gpu(torch)


def gpu(torch: Any) -> None:
    try:
        torch.cuda.init()
        devices = []
        for index in range(torch.cuda.device_count()):
            seen = torch.cuda.get_device_properties(index)
            devices.append(
                {
                    "name": seen.name,
                    "capability": f"{seen.major}.{seen.minor}",
                    "total_bytes": seen.total_memory,
                    # Asking makes a context of some hundred MB on the device, so only the one that serves is asked.
                    "free_bytes": torch.cuda.mem_get_info(0)[0] if index == 0 else None,
                }
            )
    except (RuntimeError, AssertionError) as error:
        emit(cuda_available=False, cuda_error=one_line(error))
    else:
        emit(cuda_available=True, devices=devices)


def flash_attn() -> None:
    """What is installed under that name, and whether F5-TTS's own import of it works."""
    try:
        spec = importlib.util.find_spec("flash_attn")
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        emit(flash_attn=None)
        return
    folder = next(iter(spec.submodule_search_locations or []), spec.origin or "")
    # Not the version of `flash-attn` alone: flash-attn-4 brings a `flash_attn` without functions of this name.
    owners = sorted(set(importlib.metadata.packages_distributions().get("flash_attn", [])))
    found: dict[str, Any] = {"location": os.path.dirname(folder), "distributions": owners, "version": None}
    if owners:
        found["version"] = importlib.metadata.version(owners[0])
    # Said before the import, which can end the process.
    emit(flash_attn=found | {"importable": False, "error": "import flash_attn did not return"})
    try:
        # The lines of f5_tts/model/modules.py, which has no `except` around them.
        from flash_attn import (  # type: ignore[import-not-found, unused-ignore]
            flash_attn_func,
            flash_attn_varlen_func,
        )
        from flash_attn.bert_padding import (  # type: ignore[import-not-found, unused-ignore]
            pad_input,
            unpad_input,
        )
    except Exception as error:  # noqa: BLE001 - the edge of a process; a broken package may raise anything
        emit(flash_attn=found | {"importable": False, "error": one_line(error)})
        return
    del flash_attn_func, flash_attn_varlen_func, pad_input, unpad_input
    emit(flash_attn=found | {"importable": True, "error": None})


def one_path(path: str) -> dict[str, Any]:
    """Free space and the like of one directory; of its nearest parent if it does not exist yet."""
    there = path
    while not os.path.exists(there) and os.path.dirname(there) != there:
        there = os.path.dirname(there)
    found: dict[str, Any] = {"path": path, "exists": there == path, "error": None}
    usage = os.statvfs(there)
    found |= {"free_bytes": usage.f_bavail * usage.f_frsize, "free_inodes": usage.f_favail}
    mount, fs_type = mounted(os.path.realpath(there))
    found |= {"is_mount": there == path and os.path.ismount(path), "mount_point": mount, "fs_type": fs_type}
    try:
        with tempfile.NamedTemporaryFile(dir=there, prefix=".f5-probe-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())  # a full quota shows only here on some network volumes
    except OSError as error:
        return found | {"writable": False, "error": error.strerror}
    return found | {"writable": True}


def mounted(path: str) -> tuple[str | None, str | None]:
    """Mount point and file system type, from the last mount that covers the path."""
    best: tuple[str | None, str | None] = (None, None)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return best
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        covers = path == point or path.startswith(point.rstrip("/") + "/")
        if covers and len(point) >= len(best[0] or ""):
            best = point, after.split(" ")[0]
    return best


def one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]


def main(what: str, mark: str, *paths: str) -> None:
    global MARK
    MARK = mark
    # A program started by its path looks for imports beside itself first, where `flash_attn.py` is our own.
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(__file__)]
    if what == "paths":
        for path in paths:
            try:
                emit(found=one_path(path))
            except OSError as error:
                emit(found={"path": path, "exists": False, "writable": False, "error": error.strerror})
        return
    stages: tuple[Callable[[], None], ...] = (python, driver, torch_itself, flash_attn)
    for stage in stages:
        emit(stage=stage.__name__)
        stage()
    emit(stage="done")


if __name__ == "__main__":
    main(*sys.argv[1:])
