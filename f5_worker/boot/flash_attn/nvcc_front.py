"""Stands before nvcc while boot builds flash-attn: only the kernels that this worker runs are really compiled.

flash-attn has 72 kernel files, one for each direction, head dimension, type and mask, and takes hours of processor
time. F5 runs four of them: forward, whole and split, of head dimension 64, not causal, in fp16 and bf16. The others
become stubs that define the same symbol, so that the extension links, and throw where they are called.

A program of its own, `python -I nvcc_front.py NVCC ARGUMENT...`, called by torch's build as PYTORCH_NVCC. What it does
not recognise goes to nvcc as it came: the build is then slower, and still right.
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
# The whole of a kernel file: a file that says anything besides must not be replaced.
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
    throw std::runtime_error("{file} was left out of this build: it has what F5-TTS runs, and nothing else");
}}
}}
"""


def stub_of(source: Path) -> str | None:
    """C++ in place of a kernel file; None for a file that has to be compiled as it is."""
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
    """Exit code of the host's compiler. `dependencies` is the file where ninja looks for what the object is made of."""
    command = [COMPILER, "-x", "c++", "-fPIC", "-c", "-", "-o", output]
    code = subprocess.run(command, input=text.encode(), check=False).returncode  # noqa: S603 - our own command line
    if code == 0 and dependencies is not None:
        target, prerequisite = (str(path).replace(" ", "\\ ") for path in (output, source))
        Path(dependencies).write_text(f"{target}: {prerequisite}\n")
    return code


def main(nvcc: str, *arguments: str) -> int:
    sources = [word for word in arguments if word.endswith(".cu")]
    output = value_of(arguments, "-o")
    if "-c" in arguments and output is not None and len(sources) == 1:
        source = Path(sources[0])
        if (stub := stub_of(source)) is not None:
            # torch 2.11 says -MF, torch 2.4 --dependency-output.
            return compile_stub(stub, source, output, value_of(arguments, "-MF", "--dependency-output"))
    os.execv(nvcc, [nvcc, *arguments])  # noqa: S606 - the very call that was meant for it


def value_of(arguments: Sequence[str], *names: str) -> str | None:
    """The word behind the first of the options."""
    return next((word for name, word in pairwise(arguments) if name in names), None)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
