"""A replacement for nvcc while boot builds flash-attn: it compiles only the kernels that this worker runs.

flash-attn has 72 kernel files, one for each direction, head dimension, type and mask, and takes hours of processor
time. F5 runs four of them: forward, whole and split, of head dimension 64, not causal, in fp16 and bf16. The others
become stubs that define the same symbol, so that the extension links, and throw an exception when they are called.

A program, `python -I nvcc_front.py NVCC ARGUMENT...`, called by torch's build as PYTORCH_NVCC. Calls that it does not
recognise are passed to nvcc unchanged: the build is then slower, and still correct.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

COMPILER = "c++"
FUNCTIONS, HEAD_DIM = ("run_mha_fwd_", "run_mha_fwd_splitkv_dispatch"), "64"
# Matches a complete kernel file: a file with any other content must not be replaced.
KERNEL_FILE = re.compile(
    r"(?://.*\n)*"
    r'(?:#include "\w+\.h"\n)+\s*'
    r"namespace FLASH_NAMESPACE \{\s*"
    r"template\s*(?:<>)?\s*void (?P<function>\w+)<cutlass::(?P<type>\w+), (?P<head_dim>\d+), (?P<causal>true|false)>"
    r"\((?P<params>\w+) &params, cudaStream_t stream\)\s*(?:\{[^{}]*\}|;)\s*"
    r"\} // namespace FLASH_NAMESPACE\s*"
)
STUB = """#include <stdexcept>
struct CUstream_st;
namespace cutlass {{ struct {type}; }}
namespace flash {{
struct {params};
template <typename, int, bool> void {function}({params} &, CUstream_st *);
template <> void {function}<cutlass::{type}, {head_dim}, {causal}>({params} &, CUstream_st *) {{
    throw std::runtime_error("{file} was left out of this build: it has only the kernels that F5-TTS runs");
}}
}}
"""


def stub_of(source: Path) -> str | None:
    """Return the C++ code that replaces a kernel file, or None for a file that has to be compiled as it is."""
    try:
        kernel = KERNEL_FILE.fullmatch(source.read_text())
    except (OSError, UnicodeDecodeError):
        return None
    if kernel is None:
        return None
    if kernel["function"] in FUNCTIONS and kernel["head_dim"] == HEAD_DIM and kernel["causal"] == "false":
        return None
    return STUB.format(file=source.name, **kernel.groupdict())


def compile_stub(text: str, source: Path, output: str, dependencies: str | None) -> int:
    """Compile a stub with the host's compiler and return its exit code.

    Args:
        source: the kernel file that the stub replaces.
        dependencies: the file in which ninja expects the object's dependencies.
    """
    command = [COMPILER, "-x", "c++", "-fPIC", "-c", "-", "-o", output]
    code = subprocess.run(command, input=text.encode(), check=False).returncode  # noqa: S603 - a fixed command line
    if code == 0 and dependencies is not None:
        target, prerequisite = (str(path).replace(" ", "\\ ") for path in (output, source))
        Path(dependencies).write_text(f"{target}: {prerequisite}\n")
    return code


def main(nvcc: str, *arguments: str) -> int:
    """Compile a stub in place of an unused kernel file; otherwise replace this process by nvcc."""
    sources = [word for word in arguments if word.endswith(".cu")]
    output = value_of(arguments, "-o")
    if "-c" in arguments and output is not None and len(sources) == 1:
        source = Path(sources[0])
        if (stub := stub_of(source)) is not None:
            # torch 2.11 passes -MF, torch 2.4 --dependency-output.
            return compile_stub(stub, source, output, value_of(arguments, "-MF", "--dependency-output"))
    os.execv(nvcc, [nvcc, *arguments])  # noqa: S606 - the call that torch made


def value_of(arguments: Sequence[str], *names: str) -> str | None:
    """Return the argument after the first occurrence of one of the options, or None."""
    return next((word for name, word in pairwise(arguments) if name in names), None)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
