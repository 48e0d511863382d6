"""The devices that a setting names, as torch sees them."""

from __future__ import annotations

import threading

import pytest
import torch

from f5_worker.errors import HostUnfit, SettingsInvalid
from f5_worker.models import placement
from f5_worker.models.placement import Device, choose_devices, limit_threads
from f5_worker.resources import ResourceLimits
from f5_worker.settings import Settings


def devices(device: str, n_gpus: int, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    return choose_devices(Settings(device=device))


@pytest.mark.parametrize(
    ("device", "n_gpus", "expected"),
    [
        ("auto", 0, ("cpu",)),
        ("auto", 2, ("cuda",)),
        ("cpu", 2, ("cpu",)),
        ("cuda", 2, ("cuda",)),
        ("cuda:1", 2, ("cuda:1",)),
        ("cuda:all", 1, ("cuda:0",)),
        ("cuda:all", 3, ("cuda:0", "cuda:1", "cuda:2")),
    ],
)
def test_a_setting_names_devices(
    device: str, n_gpus: int, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert devices(device, n_gpus, monkeypatch) == expected


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:all"])
def test_a_machine_without_a_gpu_is_unfit(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def init() -> None:
        raise RuntimeError("The NVIDIA driver on your system is too old\nmore")

    monkeypatch.setattr(torch.cuda, "init", init)
    reason = r"torch sees no GPU \(The NVIDIA driver on your system is too old\); give .* set F5_DEVICE=cpu"
    with pytest.raises(HostUnfit, match=f"F5_DEVICE={device}, but {reason}"):
        devices(device, 0, monkeypatch)
    with pytest.raises(HostUnfit, match=f"F5_DEVICE=auto, but {reason}"):
        choose_devices(Settings(device="auto"), has_gpu=True)


@pytest.mark.parametrize(("n_gpus", "seen"), [(1, "1 GPU, cuda:0"), (2, "2 GPUs, cuda:0 to cuda:1")])
def test_a_gpu_that_is_not_there_is_a_fault_of_the_setting(
    n_gpus: int, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SettingsInvalid, match=rf"F5_DEVICE=cuda:7 is not there: torch sees {seen}$"):
        devices("cuda:7", n_gpus, monkeypatch)


@pytest.mark.parametrize(("cores", "setting", "threads"), [(0.5, 0, 1), (64.0, 0, 2), (0.5, 3, 3)])
def test_torch_uses_no_more_threads_than_there_are_cores(
    cores: float, setting: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "limits", lambda: ResourceLimits(None, None, 1, cores))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        limit_threads(Settings(cpu_threads=setting))
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_beside_the_owner_a_thread_of_its_own_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)
    device = Device("cpu", lambda work: work()).beside()
    names = {device.run(lambda: threading.current_thread().name) for _ in range(3)}
    assert names == {"beside_0"}
    assert not torch.backends.cudnn.enabled
    with pytest.raises(ZeroDivisionError):
        device.run(lambda: 1 // 0)
