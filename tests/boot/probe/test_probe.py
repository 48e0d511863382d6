"""The probe: its findings follow the installation, and it never raises."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from f5_worker.boot.probe import compiler, probe_child
from f5_worker.boot.probe.probe import Environment, ProbeResult, probe

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
    facts = probe(import_flash_attn=False)
    assert facts.flash_attn is not None
    assert (facts.flash_attn.importable, facts.flash_attn.error) == (None, None)
    put_torch(packages, error="Found no NVIDIA driver on your system.")
    facts = probe(import_flash_attn=False)
    assert facts.flash_attn is not None
    assert (facts.flash_attn.importable, facts.flash_attn.error) == (False, "ImportError: not imported")


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


@pytest.mark.gpu
def test_real_probe() -> None:
    import torch

    facts = probe(paths=[Path("/tmp")])
    assert facts.cuda_available
    assert facts.devices[0].name == torch.cuda.get_device_name(0)
    assert facts.capability == "{}.{}".format(*torch.cuda.get_device_capability(0))
    assert facts.driver is not None
    assert 0 < (facts.devices[0].free_bytes or 0) <= facts.devices[0].total_bytes
