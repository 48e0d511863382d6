"""The part of the probe that may crash or hang, run by probe.py as a program in a child process.

Each finding is one line `MARK {json}`, written as soon as it is known, so that findings before a crash are kept.
`paths MARK PATH...` examines directories; the others examine the interpreter, torch, the GPU and flash-attn:

- `all MARK` imports torch and flash-attn;
- `torch MARK` imports flash-attn only where there is no GPU to run it on;
- `needed MARK` imports torch, too, only where its files and the GPU's driver do not say enough: the import takes
  seconds, and the handler does it again.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.metadata
import importlib.util
import json
import os
import platform
import runpy
import sys
import sysconfig
import tempfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from f5_worker.models.cuda.driver import Driver

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
# One of them is exported by libc10.so: c10::Error(SourceLocation, std::string), by the type of its string.
ABI_SYMBOLS = {
    True: b"_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_string",
    False: b"_ZN3c105ErrorC2ENS_14SourceLocationESs",
}
MARK = ""


def emit(**finding: Any) -> None:
    """Write one finding to stdout."""
    # One write, so that output of libraries cannot get into the line; a new line first, in case they left one open.
    os.write(1, f"\n{MARK} {json.dumps(finding)}\n".encode())


def probe_python() -> None:
    """Emit the version of the interpreter, the machine and glibc."""
    threading = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""  # free-threaded: PEP 703
    version = platform.python_version() + threading
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}{threading}"
    emit(python=version, python_tag=tag, machine=platform.machine(), glibc=glibc())


def glibc() -> str | None:
    """Return the version of glibc, or None if the interpreter uses another C library."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):  # musl
        return None
    return version if name == "glibc" else None


def probe_compiled() -> None:
    """Emit whether Python's compiled form of torch's modules is kept, by that of the first one."""
    try:
        spec = importlib.util.find_spec("torch")
    except (ImportError, ValueError):
        return
    if spec is not None and spec.origin is not None:
        emit(torch_compiled=os.path.exists(importlib.util.cache_from_source(spec.origin)))


def probe_driver() -> None:
    """Emit the NVIDIA driver and the newest CUDA that it supports, from NVML: not every container has nvidia-smi."""
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


def probe_torch_files() -> bool | None:
    """Emit torch's build and the GPUs without importing it, and return whether there is one.

    None, with nothing emitted, where only `import torch` can tell whether it can use them, or why not.
    """
    build = torch_build()
    if build is None:
        return None
    if build["cuda"] is None:
        emit(**build, cuda_error="torch is built without CUDA")
        return False
    sys.path.append(ROOT)  # last: it hides no installed package
    from f5_worker.models.cuda.driver import LIBRARY, Driver

    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        emit(**build, cuda_error=f"no NVIDIA driver is found: {error}")
        return False
    try:
        driver = Driver()
        if driver.newest_cuda() < tuple(map(int, build["cuda"].split("."))):  # only torch knows if it is too old
            return None
        devices = gpus_of_driver(driver)
    except (OSError, AttributeError, ValueError):  # an error of the driver; one that lacks a call; no version
        return None
    emit(**build, cuda_available=True, devices=devices)
    return True


def torch_build() -> dict[str, Any] | None:
    """Return what the files of the installed torch say of its build, or None if one is not as expected."""
    try:
        if (spec := importlib.util.find_spec("torch")) is None or spec.origin is None:
            return None
        folder = os.path.dirname(spec.origin)
        version = runpy.run_path(os.path.join(folder, "version.py"))
        with open(os.path.join(folder, "lib", "libc10.so"), "rb") as file:
            library = file.read()
    except Exception:  # noqa: BLE001 - any error of the installation is for the import of torch to tell
        return None
    abis = [abi for abi, symbol in ABI_SYMBOLS.items() if symbol in library]
    is_for_this_python = any(
        os.path.isfile(f"{folder}/_C{suffix}") for suffix in importlib.machinery.EXTENSION_SUFFIXES
    )
    names = {"torch": "__version__", "torch_git": "git_version", "cuda": "cuda"}
    other_gpus = [name for name in ("hip", "xpu") if version.get(name)]
    if len(abis) != 1 or not is_for_this_python or other_gpus or not version.keys() >= set(names.values()):
        return None
    return {name: version[there] for name, there in names.items()} | {"abi": abis[0]}


def gpus_of_driver(driver: Driver) -> list[dict[str, Any]]:
    """Return the GPUs.

    Raises:
        OSError: a call of the driver failed, or the first GPU, which serves, cannot be used.
    """
    devices = [{**driver.describe_gpu(index)._asdict(), "free_bytes": None} for index in range(driver.count_gpus())]
    driver.open_context(0)
    devices[0]["free_bytes"] = driver.free_bytes()
    return devices


def probe_torch() -> bool:
    """Import torch, emit its build and its GPUs, or the error, and return whether there is a GPU that it can use."""
    emit(torch_imported=True)
    try:
        import torch
    except ModuleNotFoundError as error:
        emit(torch_error=f"torch is not installed: {error}" if error.name == "torch" else one_line(error))
        raise SystemExit(0) from None
    except Exception as error:  # noqa: BLE001 - any error of `import torch` is the finding
        emit(torch_error=f"import torch: {one_line(error)}")
        raise SystemExit(0) from None
    emit(torch=torch.__version__)
    emit(torch_git=torch.version.git_version, cuda=torch.version.cuda, abi=bool(torch._C._GLIBCXX_USE_CXX11_ABI))
    if torch.version.cuda:
        # get_arch_list() returns [] if no GPU is visible; the flags are those of torch's compilation.
        emit(arch_list=(torch._C._cuda_getArchFlags() or "").split())
    return probe_gpus(torch)


def probe_gpus(torch: Any) -> bool:
    """Emit the GPUs that torch can use, or the error of its initialisation, and return whether there is one."""
    try:
        torch.cuda.init()
        devices = []
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            devices.append(
                {
                    "name": properties.name,
                    "capability": f"{properties.major}.{properties.minor}",
                    "total_bytes": properties.total_memory,
                    # The call creates a context of some hundred MB on the device, so only for the one that serves.
                    "free_bytes": torch.cuda.mem_get_info(0)[0] if index == 0 else None,
                }
            )
    except (RuntimeError, AssertionError) as error:
        emit(cuda_available=False, cuda_error=one_line(error))
        return False
    emit(cuda_available=True, devices=devices)
    return True


def owners_of_flash_attn(location: str) -> list[str]:
    """Return the packages that installed `flash_attn` in a directory.

    flash-attn-4 installs one, too, without the functions that are called. The search through all packages takes longer.
    """
    names = [
        name
        for name in ("flash-attn", "flash-attn-4")
        if any(importlib.metadata.distributions(name=name, path=[location]))
    ]
    return names or sorted(set(importlib.metadata.packages_distributions().get("flash_attn", [])))


def probe_flash_attn(*, imports: bool) -> None:
    """Emit what is installed as `flash_attn`, and, if it is to be imported, whether F5-TTS's own import of it works."""
    try:
        spec = importlib.util.find_spec("flash_attn")
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        emit(flash_attn=None)
        return
    folder = next(iter(spec.submodule_search_locations or []), spec.origin or "")
    owners = owners_of_flash_attn(os.path.dirname(folder))
    found: dict[str, Any] = {"location": os.path.dirname(folder), "distributions": owners, "version": None}
    if owners:
        found["version"] = importlib.metadata.version(owners[0])
    if not imports:
        emit(flash_attn=found | {"importable": None, "error": None})
        return
    # Emitted before the import, which can end the process.
    emit(flash_attn=found | {"importable": False, "error": "import flash_attn did not return"})
    try:
        # The lines of f5_tts/model/modules.py, which has no `except` around them.
        from flash_attn import (  # type: ignore[import-not-found, unused-ignore]
            flash_attn_func,
            flash_attn_varlen_func,
        )

        if importlib.util.find_spec("einops") is not None:  # it comes with F5-TTS; the worker does without both
            from flash_attn.bert_padding import (  # type: ignore[import-not-found, unused-ignore]
                pad_input,
                unpad_input,
            )

            del pad_input, unpad_input
    except Exception as error:  # noqa: BLE001 - a broken package may raise any error
        emit(flash_attn=found | {"importable": False, "error": one_line(error)})
        return
    del flash_attn_func, flash_attn_varlen_func
    emit(flash_attn=found | {"importable": True, "error": None})


def probe_path(path: str) -> dict[str, Any]:
    """Return the free space and other properties of a directory, or of its nearest parent if it does not exist."""
    existing = path
    while not os.path.exists(existing) and os.path.dirname(existing) != existing:
        existing = os.path.dirname(existing)
    found: dict[str, Any] = {"path": path, "exists": existing == path, "error": None}
    usage = os.statvfs(existing)
    found |= {"free_bytes": usage.f_bavail * usage.f_frsize, "free_inodes": usage.f_favail}
    mount, fs_type = mount_of(os.path.realpath(existing))
    found |= {"is_mount": existing == path and os.path.ismount(path), "mount_point": mount, "fs_type": fs_type}
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".f5-probe-") as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())  # on some network volumes, a full quota fails only here
    except OSError as error:
        return found | {"writable": False, "error": error.strerror}
    return found | {"writable": True}


def mount_of(path: str) -> tuple[str | None, str | None]:
    """Return the mount point and file system type of a path, from the last mount that covers it."""
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
    """Return the type and the first line of an error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:500]


def main(what: str, mark: str, *paths: str) -> None:
    """Examine what the module's first lines say; `mark` begins each line with a finding."""
    global MARK
    MARK = mark
    # A program started by its path searches its own directory first, whose modules could hide installed packages.
    sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(__file__)]
    if what == "paths":
        for path in paths:
            try:
                emit(found=probe_path(path))
            except OSError as error:
                emit(found={"path": path, "exists": False, "writable": False, "error": error.strerror})
        return
    emit(stage="python")
    probe_python()
    probe_compiled()  # before an import that may compile them
    emit(stage="driver")
    probe_driver()
    has_gpu = probe_torch_files() if what == "needed" else None
    if has_gpu is None:
        emit(stage="torch")
        has_gpu = probe_torch()
    emit(stage="flash_attn")
    probe_flash_attn(imports=what == "all" or not has_gpu)  # with a GPU it is run after the probe, which imports it too
    emit(stage="done")


if __name__ == "__main__":
    main(*sys.argv[1:])
