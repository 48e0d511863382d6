"""Stand-ins for the images that the Dockerfile is built on, from Debian's and PyPI's packages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

PACKAGES = Path("usr/local/lib/python3.11/dist-packages")
SYMBOL = "_ZN3c105ErrorC2ENS_14SourceLocationESs"  # what a flash-attn for another torch lacks


@dataclass(frozen=True)
class Base:
    """A base: its packages of Debian 12, which has Python 3.11, and of PyPI.

    flash_attn: what the names of flash-attn wheels for it have in common.
    """

    name: str
    debian: tuple[str, ...]
    python: tuple[str, ...]
    torch: str
    flash_attn: str
    has_f5_tts: bool

    def fill(self, files: Path) -> None:
        """Install it into an empty directory."""
        packages = ",".join(("ca-certificates", "python3", "python3-venv", *self.debian))
        _run("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", files)
        for name in ("etc/ssl/certs/ca-certificates.crt", "etc/pip.conf"):  # how this machine reaches PyPI
            if Path("/", name).is_file():
                shutil.copy(Path("/", name), files / name)
        uv = Path(sys.executable).with_name("uv")
        target = ("--python", sys.executable, "--python-version", "3.11", "--target", files / PACKAGES)
        _run(uv, "pip", "install", "-q", *target, *self.python)
        # As pip leaves it. Some packages have files for other versions of Python, so its exit code tells nothing.
        _run("chroot", files, "python3", "-m", "compileall", "-q", "-j", "0", f"/{PACKAGES}", check=False)


BASES = (
    # What ghcr.io/swivid/f5-tts:main has. It is older than the pyarrow that needs numpy 2.
    Base(
        "f5-tts",
        ("gcc", "libc6-dev"),
        ("torch==2.4.0", "torchaudio==2.4.0", "numpy<2", "pyarrow<20", "f5-tts==1.1.22"),
        torch="2.4.0",
        flash_attn="2.8.3+cu12torch2.4cxx11abiFALSE",
        has_f5_tts=True,
    ),
    # Today's torch alone, as pytorch/pytorch has it: no f5-tts, no compiler.
    Base(
        "torch",
        (),
        ("torch==2.11.0", "numpy"),
        torch="2.11.0",
        flash_attn="2.8.3+cu13torch2.11cxx11abiTRUE",
        has_f5_tts=False,
    ),
)


def plant_broken_flash_attn(files: Path) -> None:
    """Add a flash-attn to a base's files whose library was built for another torch."""
    for name, text in _flash_attn("2.8.3", f'raise ImportError("undefined symbol: {SYMBOL}")\n').items():
        path = files / PACKAGES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_wheel(directory: Path, build: str, python: str = "311") -> str:
    """Write a wheel that is named like flash-attn's and has its functions' names, and return its name."""
    name = f"flash_attn-{build}-cp{python}-cp{python}-linux_x86_64.whl"
    functions = "def flash_attn_func(): ...\ndef flash_attn_varlen_func(): ...\n"
    with zipfile.ZipFile(directory / name, "w") as wheel:
        for path, text in _flash_attn(build, functions, f"cp{python}-cp{python}-linux_x86_64").items():
            wheel.writestr(path, text)
    return name


def _flash_attn(version: str, module: str, tag: str = "py3-none-any") -> dict[str, str]:
    """Return the files of a flash-attn that consists of one module."""
    info = f"flash_attn-{version}.dist-info"
    files = {
        "flash_attn/__init__.py": module,
        "flash_attn/bert_padding.py": "def pad_input(): ...\ndef unpad_input(): ...\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: flash-attn\nVersion: {version}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n",
        f"{info}/INSTALLER": "pip\n",
    }
    return {**files, f"{info}/RECORD": "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))}


def _run(*command: object, check: bool = True) -> None:
    done = subprocess.run(
        [str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if check and done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stdout[-2000:]}")
