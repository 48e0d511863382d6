"""The probe: its findings follow the installation, and it never raises."""

from __future__ import annotations

import compileall
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from f5_worker.boot.probe import compiler, probe_child
from f5_worker.boot.probe.probe import Environment, Gpu, ProbeResult, probe
from tests.boot.probe.planted import CXX11, OLD_ABI, VERSION, plant_torch
from tests.models.cuda.fake_driver import compile_driver

TORCH = """
import types
__version__ = "{version}"
version = types.SimpleNamespace(git_version="{git}", cuda={cuda!r})
_C = types.SimpleNamespace(_GLIBCXX_USE_CXX11_ABI={abi}, _cuda_getArchFlags=lambda: "sm_80 sm_90")
def _init():
    if {error!r}: raise RuntimeError({error!r} + "\\nmore")
_device = types.SimpleNamespace(name="{gpu}", major={major}, minor=9, total_memory=24 << 30)
cuda = types.SimpleNamespace(
    init=_init, is_available=lambda: not {error!r}, device_count=lambda: 2,
    get_device_properties=lambda i: _device, mem_get_info=lambda i: (5, 6),
)
print("hello from torch", end="")
"""
L4 = {"version": "2.4.0", "git": "abc", "cuda": "12.4", "abi": 0, "error": "", "gpu": "NVIDIA L4", "major": 8}


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def no_nvcc(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Leave nvcc out, which takes 0.1 s each time, except in its own test."""
    if request.node.name != "test_nvcc":
        monkeypatch.setattr("f5_worker.boot.probe.probe.nvcc", lambda: (None, None))


def put_torch(packages: Path, **changes: Any) -> ProbeResult:
    (packages / "torch.py").write_text(TORCH.format(**L4 | changes))
    return probe()


def put_flash_attn(packages: Path, code: str) -> ProbeResult:
    (packages / "flash_attn").mkdir()
    (packages / "flash_attn" / "__init__.py").write_text(code)
    (packages / "flash_attn" / "bert_padding.py").write_text("pad_input = unpad_input = None")
    return put_torch(packages)


def test_facts_follow_the_installation(packages: Path) -> None:
    facts = put_torch(packages)
    assert (facts.torch, facts.torch_git, facts.cuda, facts.abi) == ("2.4.0", "abc", "12.4", False)
    assert (facts.capability, facts.cuda_available, facts.arch_list) == ("8.9", True, ("sm_80", "sm_90"))
    assert [device.free_bytes for device in facts.devices] == [5, None]
    assert facts.python_tag == f"cp{sys.version_info[0]}{sys.version_info[1]}"
    assert (facts.torch_error, facts.flash_attn) == (None, None)
    json.dumps(asdict(facts))
    environment = facts.environment()
    assert isinstance(environment, Environment)
    assert (environment.torch, environment.cuda, environment.capability) == ("2.4.0", "12.4", "8.9")

    other = put_torch(packages, version="2.8.0+cu128", cuda="12.8", abi=1, gpu="NVIDIA B200", major=10)
    assert (other.torch, other.cuda, other.abi, other.capability) == ("2.8.0+cu128", "12.8", True, "10.9")
    assert other.devices[0].name == "NVIDIA B200"


def test_no_gpu_has_a_reason(packages: Path) -> None:
    facts = put_torch(packages, error="Found no NVIDIA driver on your system.")
    assert (facts.cuda_available, facts.devices) == (False, ())
    assert facts.cuda_error == "RuntimeError: Found no NVIDIA driver on your system."
    environment = facts.environment()
    assert environment is not None
    assert environment.capability is None


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("raise ImportError('undefined symbol: _ZN3c10\\nmore')", "ImportError: undefined symbol: _ZN3c10"),
        ("", "cannot import name 'flash_attn_func'"),
        ("import os; os.abort()", "import flash_attn: killed by SIGABRT"),
        ("import sys; sys.exit(3)", "import flash_attn: exit code 3"),
    ],
)
def test_broken_flash_attn(packages: Path, code: str, error: str) -> None:
    facts = put_flash_attn(packages, code)
    assert facts.torch == "2.4.0"
    assert facts.flash_attn is not None
    assert not facts.flash_attn.importable
    assert error in str(facts.flash_attn.error)
    assert facts.flash_attn.location == str(packages)


def test_working_flash_attn(packages: Path) -> None:
    facts = put_flash_attn(packages, "flash_attn_func = flash_attn_varlen_func = None")
    assert facts.flash_attn is not None
    assert (facts.flash_attn.importable, facts.flash_attn.error) == (True, None)


def test_with_a_gpu_flash_attn_need_not_be_imported(packages: Path) -> None:
    put_flash_attn(packages, "raise ImportError('not imported')")
    facts = probe(imports="torch")
    assert facts.flash_attn is not None
    assert (facts.flash_attn.importable, facts.flash_attn.error) == (None, None)
    put_torch(packages, error="Found no NVIDIA driver on your system.")
    facts = probe(imports="torch")
    assert facts.flash_attn is not None
    assert (facts.flash_attn.importable, facts.flash_attn.error) == (False, "ImportError: not imported")


def use_driver(directory: Path, monkeypatch: pytest.MonkeyPatch, **faults: Any) -> None:
    """Let child processes find a fake driver before a real one."""
    compile_driver(directory, **faults)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(directory))


def test_torch_is_not_imported_where_its_files_and_the_driver_say_enough(
    packages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant_torch(packages, "raise OSError('imported')")
    use_driver(packages, monkeypatch)
    facts = probe(imports="needed")
    assert (facts.torch_error, facts.torch_imported, facts.cuda_error) == (None, False, None)
    assert (facts.torch, facts.torch_git, facts.cuda, facts.abi) == ("2.4.1+cu121", "abc", "12.1", False)
    assert facts.cuda_available
    assert facts.devices[0] == Gpu("NVIDIA Fake", "8.9", 24 << 30, 20 << 30)
    assert [gpu.free_bytes for gpu in facts.devices[1:]] == [None, None]
    assert facts.environment() is not None
    facts = probe(imports="torch")
    assert (facts.torch_error, facts.torch_imported) == ("import torch: OSError: imported", True)


def test_whether_torch_is_compiled(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = plant_torch(packages, "")
    use_driver(packages, monkeypatch)
    assert probe(imports="needed").torch_compiled is False
    compileall.compile_dir(folder, quiet=1)
    assert probe(imports="needed").torch_compiled is True


def test_the_abi_is_that_of_torchs_library(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_torch(packages, "", libc10=CXX11)
    use_driver(packages, monkeypatch)
    assert probe(imports="needed").abi is True


def test_without_a_driver_torch_is_not_imported_either(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant_torch(packages, "raise OSError('imported')")
    (packages / "libcuda.so.1").write_text("damaged")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(packages))
    facts = probe(imports="needed")
    assert (facts.torch, facts.torch_error, facts.cuda_available) == ("2.4.1+cu121", None, False)
    assert str(facts.cuda_error).startswith("no NVIDIA driver is found: ")


def test_a_torch_without_cuda_needs_no_driver(packages: Path) -> None:
    plant_torch(packages, "raise OSError('imported')", version=VERSION.replace("'12.1'", "None"))
    facts = probe(imports="needed")
    assert (facts.torch_error, facts.cuda, facts.cuda_error) == (None, None, "torch is built without CUDA")


@pytest.mark.parametrize(
    "files",
    [
        {"version": "raise OSError"},
        {"version": VERSION.replace("cuda", "cuda_version")},
        {"version": VERSION.replace("'12.1'", "'a new format'")},
        {"version": VERSION.replace("None", "'6.4'")},
        {"libc10": b"another symbol"},
        {"libc10": CXX11 + OLD_ABI},
    ],
)
def test_torch_is_imported_where_a_file_is_not_as_expected(
    packages: Path, monkeypatch: pytest.MonkeyPatch, files: Any
) -> None:
    plant_torch(packages, TORCH.format(**L4), **files)
    use_driver(packages, monkeypatch)
    facts = probe(imports="needed")
    assert (facts.torch, facts.torch_imported, facts.capability) == ("2.4.0", True, "8.9")


@pytest.mark.parametrize("name", ["version.py", "lib/libc10.so", "_C*.so"])
def test_torch_is_imported_where_a_file_is_missing(packages: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (path,) = plant_torch(packages, TORCH.format(**L4)).glob(name)
    path.unlink()
    use_driver(packages, monkeypatch)
    assert probe(imports="needed").torch_imported


@pytest.mark.parametrize(
    "faults",
    [
        {"version": 12_000},  # perhaps too old for torch's 12.1
        {"version": 11_080},
        {"failing": "cuInit"},
        {"failing": "cuDeviceGetCount"},
        {"failing": "cuDevicePrimaryCtxRetain"},  # the GPU is full, lost, or another process has it for itself
        {"failing": "cuMemGetInfo_v2"},
    ],
)
def test_torch_itself_says_what_is_wrong_with_the_gpu(
    packages: Path, monkeypatch: pytest.MonkeyPatch, faults: Any
) -> None:
    plant_torch(packages, TORCH.format(**L4 | {"error": "The NVIDIA driver on your system is too old"}))
    use_driver(packages, monkeypatch, **faults)
    facts = probe(imports="needed")
    assert facts.torch_imported
    assert facts.cuda_error == "RuntimeError: The NVIDIA driver on your system is too old"


@pytest.mark.parametrize(("failing", "ending"), [("crash", "killed by SIGABRT"), ("hang", "no answer within 1 s")])
def test_a_driver_that_ends_or_holds_the_probe(
    packages: Path, monkeypatch: pytest.MonkeyPatch, failing: str, ending: str
) -> None:
    plant_torch(packages, "")
    use_driver(packages, monkeypatch, failing=failing)
    facts = probe(timeout_s=1.0, imports="needed")
    assert facts.torch_error == f"the probe ended while it examined driver: {ending}"
    assert not facts.cuda_available


@pytest.mark.parametrize("name", ["flash-attn", "flash-attn-4", "somebodys-wheels"])
def test_the_package_that_installed_flash_attn(packages: Path, name: str) -> None:
    info = packages / f"{name.replace('-', '_')}-2.8.3.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.8.3\n")
    (info / "RECORD").write_text("flash_attn/__init__.py,,\n")
    facts = put_flash_attn(packages, "flash_attn_func = flash_attn_varlen_func = None")
    assert facts.flash_attn is not None
    assert (facts.flash_attn.distributions, facts.flash_attn.version) == ((name,), "2.8.3")


@pytest.mark.parametrize(
    ("torch", "error"),
    [
        ("import os; os.abort()", "the probe ended while it examined torch: killed by SIGABRT"),
        ("raise OSError('libcudart.so.12: cannot open shared object file')", "OSError: libcudart.so.12"),
        ("import no_such_thing", "No module named 'no_such_thing'"),
        ("raise SystemExit(4)", "exit code 4"),
    ],
)
def test_torch_that_does_not_import(packages: Path, torch: str, error: str) -> None:
    (packages / "torch.py").write_text(torch)
    facts = probe()
    assert error in str(facts.torch_error)
    assert facts.environment() is None
    assert facts.python is not None  # found before


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("import time; time.sleep(60)", "no answer within 0"),
        ("print('\\x00garbage ' * 10**6)", "exit code 0"),
        ("import sys; print(sys.argv[2], '{\"torch\": ')", "exit code 0"),
        ("import sys; print(sys.argv[2], '{\"surprise\": 1}')", "unknown finding 'surprise'"),
        ("import sys; print(sys.argv[2], '{\"devices\": [{}]}')", "cannot be read"),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
    ],
)
def test_probe_that_fails(tmp_path: Path, program: str, error: str) -> None:
    path = tmp_path / "program.py"
    path.write_text(program)
    facts = probe(timeout_s=0.4, program=path)
    assert error in str(facts.torch_error)
    assert "\n" not in str(facts.torch_error)
    assert facts.memory_bytes > 0


def test_missing_interpreter() -> None:
    facts = probe("/no/such/python", paths=[Path("/tmp")])
    assert "No such file" in str(facts.torch_error)
    assert facts.paths[0].error == "not answered: exit code 127"


def test_paths(packages: Path) -> None:
    (packages / "torch.py").write_text("raise OSError")
    file = packages / "file"
    file.write_text("")
    here, missing, proc, not_a_directory = probe(
        paths=[packages, packages / "a" / "b", Path("/proc"), file / "x"]
    ).paths
    assert (here.exists, here.writable, here.error) == (True, True, None)
    assert (missing.exists, missing.writable) == (False, True)
    assert here.free_bytes
    assert here.fs_type
    assert (proc.writable, proc.is_mount, proc.fs_type, proc.mount_point) == (False, True, "proc", "/proc")
    assert not not_a_directory.writable
    assert [path.name for path in packages.iterdir() if path.name.startswith(".f5")] == []


def test_nvcc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvcc = tmp_path / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 12.4, V12.4.131'\n")
    nvcc.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert compiler.nvcc() == ("12.4", str(tmp_path))


def test_attributes_exist_in_the_real_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked in this process: the tests need torch anyway."""
    import torch

    found: dict[str, Any] = {}
    monkeypatch.setattr(probe_child, "emit", lambda **finding: found.update(finding))
    probe_child.probe_torch()
    assert (found["torch"], found["cuda"]) == (torch.__version__, torch.version.cuda)
    assert found["abi"] == torch._C._GLIBCXX_USE_CXX11_ABI
    assert found["cuda_available"] == torch.cuda.is_available()
    assert ("cuda_error" in found) != torch.cuda.is_available()


def test_the_files_of_the_real_torch_say_what_its_import_does() -> None:
    import torch

    assert probe_child.torch_build() == {
        "torch": torch.__version__,
        "torch_git": torch.version.git_version,
        "cuda": torch.version.cuda,
        "abi": torch._C._GLIBCXX_USE_CXX11_ABI,
    }


@pytest.mark.gpu
def test_files_and_driver_say_what_torch_does() -> None:
    quick, full = probe(imports="needed"), probe(imports="torch")
    assert (quick.torch_imported, full.torch_imported) == (False, True)
    assert quick.seconds < full.seconds
    assert abs((quick.devices[0].free_bytes or 0) - (full.devices[0].free_bytes or 0)) < 1 << 30
    same = {"torch_imported": True, "arch_list": (), "seconds": 0.0}
    bare = [
        replace(facts, **same, devices=tuple(replace(gpu, free_bytes=None) for gpu in facts.devices))
        for facts in (quick, full)
    ]
    assert bare[0] == bare[1]
    print(f"the probe takes {quick.seconds} s without importing torch, {full.seconds} s with it")


@pytest.mark.gpu
def test_real_probe() -> None:
    import torch

    facts = probe(paths=[Path("/tmp")])
    assert facts.cuda_available
    assert facts.devices[0].name == torch.cuda.get_device_name(0)
    assert facts.capability == "{}.{}".format(*torch.cuda.get_device_capability(0))
    assert facts.driver is not None
    assert 0 < (facts.devices[0].free_bytes or 0) <= facts.devices[0].total_bytes
