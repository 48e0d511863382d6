"""Where a model runs, and in which precision."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from f5_worker.errors import HostUnfit, SettingsInvalid
from f5_worker.log import logger
from f5_worker.models.cuda.cudnn import disable_cudnn
from f5_worker.resources import limits
from f5_worker.settings import Settings

Precision = Literal["fp32", "fp16", "bf16"]
RunOnDevice = Callable[[Callable[[], Any]], Any]
"""Calls a function in a thread that uses the device, and returns its result."""

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CPU_INFO = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}


@dataclass(frozen=True)
class Device:
    """A device, and what runs work on it.

    Attributes:
        name: `cpu`, `cuda`, or with its number `cuda:1`.
        run: while jobs run, `Engine.run` of the device's owner, or a thread `beside` it.
    """

    name: str
    run: RunOnDevice

    @property
    def is_gpu(self) -> bool:
        """Return whether it is one."""
        return self.name != "cpu"

    @classmethod
    def at_start(cls, name: str) -> Device:
        """Return the device as it is used before it has an owner: by any thread."""

        def run(work: Callable[[], Any]) -> Any:
            with on_device(torch.device(name)):
                return work()

        return cls(name, run)

    def beside(self) -> Device:
        """Return the device as a thread of its own uses it, beside the one that owns it: for small pieces of work.

        What it computes should be on a stream of its own. Disables cuDNN.
        """
        disable_cudnn()
        pool, run = ThreadPoolExecutor(1, thread_name_prefix="beside"), Device.at_start(self.name).run
        return replace(self, run=lambda work: pool.submit(run, work).result())

    def owned_by(self, run: RunOnDevice) -> Device:
        """Return the device as it is used through the thread that owns it, whose kernels go there from now on."""
        if ":" in self.name:
            run(lambda: torch.cuda.set_device(self.name))
        return replace(self, run=run)


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which this thread's kernels go to a device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def choose_devices(settings: Settings, *, has_gpu: bool = False) -> tuple[str, ...]:
    """Return the names of the devices that the settings ask for: `cpu`, `cuda`, or with their numbers `cuda:0`, ...

    Args:
        has_gpu: the machine is known to have a GPU, which `auto` then asks for.

    Raises:
        HostUnfit: torch sees no GPU, and one is asked for.
        SettingsInvalid: there are GPUs, but not the one that is asked for.
    """
    device, n_gpus = settings.device, torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        device = "cuda" if n_gpus or has_gpu else "cpu"
    if device != "cpu" and not n_gpus:
        raise HostUnfit(
            f"F5_DEVICE={settings.device}, but torch sees no GPU ({_why_no_gpu()}); give the container one, or set "
            "F5_DEVICE=cpu"
        )
    if device == "cuda:all":
        return tuple(f"cuda:{number}" for number in range(n_gpus))
    if device == "cuda" and n_gpus > 1:
        logger.info("of %d GPUs the first is used; F5_DEVICE=cuda:all uses all", n_gpus)
    number = device.partition(":")[2]
    if number and int(number) >= n_gpus:
        seen = "1 GPU, cuda:0" if n_gpus == 1 else f"{n_gpus} GPUs, cuda:0 to cuda:{n_gpus - 1}"
        raise SettingsInvalid([f"F5_DEVICE={device} is not there: torch sees {seen}"])
    return (device,)


def devices_at_start(settings: Settings, *, has_gpu: bool = False) -> list[Device]:
    """Return the devices that `choose_devices` names, before they have owners; raise as it does."""
    return [Device.at_start(name) for name in choose_devices(settings, has_gpu=has_gpu)]


def _why_no_gpu() -> str:
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return str(error).partition("\n")[0]
    return "no reason given"


def limit_threads(settings: Settings) -> None:
    """Let torch compute with F5_CPU_THREADS, or with no more threads than this container has cores.

    torch does not see a quota of the cgroup: with 2 threads for half a core a sentence took 12.0 s, with one 11.1 s.
    """
    torch.set_num_threads(settings.cpu_threads or min(torch.get_num_threads(), limits().n_threads))


def fastest_precision(device: str) -> Precision:
    """Return fp16 on CUDA, bf16 on a CPU with native bf16, where it takes half of the time of fp32, and else fp32."""
    if device != "cpu":
        return "fp16"
    return "fp32" if BF16_FLAGS.isdisjoint(cpu_flags()) else "bf16"


def cpu_flags() -> set[str]:
    """Return the features of this CPU, as Linux names them; none elsewhere."""
    try:
        return set(CPU_INFO.read_text("ascii", "replace").split())
    except OSError:
        return set()


def name_device(device: torch.device) -> str:
    """Return the name of a device, such as `cpu` or `NVIDIA L4`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def count_bytes(*modules: nn.Module) -> int:
    """Return the memory that the parameters and buffers of modules take."""
    return sum(tensor.nbytes for module in modules for tensor in chain(module.parameters(), module.buffers()))


def device_bytes(device: torch.device) -> tuple[int, int] | None:
    """Return the memory of a device that this process has reserved, and all of it; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.memory_reserved(device), torch.cuda.get_device_properties(device).total_memory


def name_precision(dtype: torch.dtype) -> str:
    """Return `fp32`, `fp16` or `bf16`."""
    return next(name for name, known in DTYPES.items() if known == dtype)
