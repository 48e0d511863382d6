"""Installations of torch made for a test: the files that tell of its build, and what its import does."""

from __future__ import annotations

from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

CXX11 = b"\0_ZN3c105ErrorC2ENS_14SourceLocationENSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE\0"
OLD_ABI = b"\0_ZN3c105ErrorC2ENS_14SourceLocationESs\0"
VERSION = """
from typing import Optional
__version__ = '2.4.1+cu121'
cuda: Optional[str] = '12.1'
git_version = 'abc'
hip: Optional[str] = None
"""


def plant_torch(packages: Path, imported: str, *, version: str = VERSION, libc10: bytes = OLD_ABI) -> Path:
    """Make a torch in a directory of packages; `imported` is the code that its import runs."""
    folder = packages / "torch"
    (folder / "lib").mkdir(parents=True)
    (folder / "__init__.py").write_text(imported)
    (folder / "version.py").write_text(version)
    (folder / "lib" / "libc10.so").write_bytes(libc10)
    (folder / f"_C{EXTENSION_SUFFIXES[0]}").write_bytes(b"")
    return folder
