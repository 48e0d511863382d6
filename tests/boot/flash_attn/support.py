"""Helpers of the flash-attn tests: an image as the probe would describe it, and its releases."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from f5_worker.boot.flash_attn.build import BuildLimits
from f5_worker.boot.flash_attn.download import DownloadLimits
from f5_worker.boot.flash_attn.ensure import ensure
from f5_worker.boot.flash_attn.install_run import FlashAttnOutcome
from f5_worker.boot.flash_attn.wheels import Wheel, WheelManifest, fingerprint
from f5_worker.boot.probe.probe import Gpu, ProbeResult
from tests.boot.flash_attn.release_server import RIGHT, Asset, Releases, make_wheel

TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
MACHINE = platform.machine()
needs_pip = pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="this environment has no pip")
needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler is installed")
FAKE_VERIFIER = Path(__file__).with_name("fake_verifier.py")
GIB = 1 << 30

# The image, except for the interpreter: pip has to accept the wheels.
FACTS = ProbeResult(
    executable=sys.executable,
    python=platform.python_version(),
    python_tag=TAG,
    machine=MACHINE,
    glibc="2.35",
    torch="2.4.0+cu124",
    cuda="12.4",
    abi=False,
    cuda_available=True,
    devices=(Gpu("NVIDIA L4", "8.9", 24 * GIB, 23 * GIB),),
    nvcc="12.4",
    memory_bytes=64 * GIB,
    cores=16.0,
)
QUICK = DownloadLimits(connect_s=2, read_s=0.5, total_s=5, attempts=3, backoff_s=0.01, spare_bytes=1 << 20)
LISTED = ("2.8.3", "2.8.2")
SDIST_VERSION = "2.8.3.post2"

# In the form of the kernel files of flash-attn 2.8.3.
KERNEL_HEADER = """// copyright
// generator
#include "namespace_config.h"
#include "flash_{direction}_launch_template.h"

namespace FLASH_NAMESPACE {{

"""
SPECIALISED = (
    "template<>\nvoid run_mha_{direction}_<cutlass::{type}, {head_dim}, {causal}>"
    "(Flash_{direction}_params &params, cudaStream_t stream) {{\n"
    "    run_mha_{direction}_hdim{head_dim}<cutlass::{type}, {causal}>(params, stream);\n}}\n"
)
INSTANTIATED = (
    "template void run_mha_fwd_splitkv_dispatch<cutlass::{type}, {head_dim}, {causal}>"
    "(Flash_fwd_params &params, cudaStream_t stream);\n"
)
KERNEL_FOOTER = "\n}} // namespace FLASH_NAMESPACE"


def filename(version: str, tag: str = TAG) -> str:
    return f"flash_attn-{version}+cu12torch2.4cxx11abiFALSE-{tag}-{tag}-linux_{MACHINE}.whl"


def wheel(code: str = RIGHT, version: str = "2.8.3", tag: str = TAG) -> bytes:
    return make_wheel(code, version, f"{tag}-{tag}-linux_{MACHINE}")


def kernel_file(folder: Path, kind: str, type_: str, head_dim: int, causal: bool, after: str = "") -> Path:
    """A kernel file under the name and with the text that the source distribution has."""
    short = {"half_t": "fp16", "bfloat16_t": "bf16"}[type_]
    text = KERNEL_HEADER + (INSTANTIATED if kind == "fwd_split" else SPECIALISED) + KERNEL_FOOTER
    path = folder / f"flash_{kind}_hdim{head_dim}_{short}_{'causal_' * causal}sm80.cu"
    words = {"direction": kind[:3], "type": type_, "head_dim": head_dim, "causal": str(causal).lower()}
    path.write_text(text.format(**words) + after)
    return path


@dataclass
class Container:
    """One container with an empty disk in front of a release server."""

    releases: Releases
    root: Path
    facts: ProbeResult = FACTS
    sdist_sha256: str = "0" * 64

    @property
    def cache(self) -> Path:
        environment = self.facts.environment()
        assert environment is not None
        return self.root / "cache" / fingerprint(environment)

    @property
    def overlays(self) -> Path:
        return self.root / "overlay" / self.cache.name

    def publish(self, bodies: Mapping[str, bytes]) -> None:
        self.releases.assets |= {name: Asset(body) for name, body in bodies.items()}

    def manifest(self) -> WheelManifest:
        """Return a manifest with the hashes of the published files of the listed versions."""
        base = "https://github.com/Dao-AILab/flash-attention/releases/download"
        wheels = {}
        for version in LISTED:
            name = filename(version, str(self.facts.python_tag))
            body = self.releases.assets[name].body if name in self.releases.assets else b""
            url = f"{base}/v{version}/{name.replace('+', '%2B')}"
            wheels[name] = Wheel(name, url, hashlib.sha256(body).hexdigest(), version)
        sdist = Wheel(f"flash_attn-{SDIST_VERSION}.tar.gz", None, self.sdist_sha256, SDIST_VERSION)
        return WheelManifest(base, wheels, sdist)

    def ensure(self, **changes: Any) -> FlashAttnOutcome:
        options: dict[str, Any] = {
            "mode": "auto",
            "build": "never",
            "cache_dir": self.root / "cache",
            "overlay_dir": self.root / "overlay",
            "seconds_left": 300.0,
            "manifest": self.manifest(),
            "base_url": self.releases.url,
            "limits": QUICK,
            "build_limits": BuildLimits(),
            "verifier": FAKE_VERIFIER,
        }
        return ensure(self.facts, **options | changes)

    def overlay_names(self) -> list[str]:
        """Return the names of all entries of the overlay directory."""
        return sorted(path.name for path in self.overlays.iterdir()) if self.overlays.exists() else []

    def temporaries(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.name.endswith((".part", ".staging", ".lease"))]


def with_python(facts: ProbeResult, version: str, tag: str) -> ProbeResult:
    return replace(facts, python=version, python_tag=tag)


def import_of(outcome: FlashAttnOutcome, environ: Mapping[str, str], python: str = sys.executable) -> str:
    """Return the result of f5_tts's check and `import flash_attn`: works, absent, or the error."""
    code = (
        "import importlib.util as u\n"
        "if u.find_spec('flash_attn') is None: print('absent')\n"
        "else:\n from flash_attn import flash_attn_func\n print('works')"
    )
    env = outcome.environment(environ)
    done = subprocess.run([python, "-c", code], env=env, cwd="/", capture_output=True, text=True, timeout=30)
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def site_packages(home: Path) -> Path:
    """Return the directory of the packages of a virtual environment."""
    return next((home / "lib").glob("python3*")) / "site-packages"
