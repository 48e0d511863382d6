"""The replacement for nvcc: the kernels it leaves out, stubs that link and throw, and calls passed to nvcc."""

from __future__ import annotations

import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn.nvcc_front import stub_of
from tests.boot.flash_attn.support import kernel_file, needs_compiler

PROGRAM = Path(__file__).parents[3] / "f5_worker/boot/flash_attn/nvcc_front.py"

# The declarations of flash.h and the calls of flash_api.cpp, with bodies for the types of cutlass and CUDA.
CALLER = """#include <cstdio>
#include <stdexcept>
namespace cutlass {{ struct alignas(2) half_t {{ unsigned short storage; }}; struct alignas(2) bfloat16_t {{}}; }}
typedef struct CUstream_st *cudaStream_t;
namespace flash {{
struct Flash_fwd_params {{}};
struct Flash_bwd_params : public Flash_fwd_params {{}};
template<typename T, int Headdim, bool Is_causal> void run_mha_fwd_(Flash_fwd_params &params, cudaStream_t stream);
template<typename T, int Headdim, bool Is_causal>
void run_mha_fwd_splitkv_dispatch(Flash_fwd_params &params, cudaStream_t stream);
template<typename T, int Headdim, bool Is_causal> void run_mha_bwd_(Flash_bwd_params &params, cudaStream_t stream);
}}
int main() {{
    flash::Flash_bwd_params params;
    try {{
        flash::{call}(params, nullptr);
    }} catch (const std::runtime_error &error) {{
        std::puts(error.what());
    }}
}}
"""


def front(folder: Path, *arguments: str | Path) -> tuple[int, list[str] | None]:
    """Return the exit code and the arguments of nvcc, or None if it was not called."""
    nvcc, log = folder / "nvcc", folder / "nvcc.log"
    nvcc.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > '{log}'\nexit 7\n")
    nvcc.chmod(0o755)
    done = subprocess.run([sys.executable, "-I", PROGRAM, nvcc, *arguments], timeout=60, check=False)
    return done.returncode, log.read_text().splitlines() if log.exists() else None


def test_four_of_72_are_kept(tmp_path: Path) -> None:
    kinds, types, sizes = ("fwd", "fwd_split", "bwd"), ("half_t", "bfloat16_t"), (32, 64, 96, 128, 192, 256)
    every = list(product(kinds, types, sizes, (False, True)))
    kept = [file for file in every if stub_of(kernel_file(tmp_path, *file)) is None]
    assert len(every) == 72
    assert kept == list(product(kinds[:2], types, (64,), (False,)))


def test_all_other_calls_go_to_nvcc_unchanged(tmp_path: Path) -> None:
    left_out, kept = (kernel_file(tmp_path, "fwd", "half_t", head_dim, False) for head_dim in (128, 64))
    calls = [
        ("--version",),
        ("-MD", "-MF", "k.d", "-c", kept, "-o", "k.o", "-gencode", "arch=compute_90,code=sm_90", "-DNAME=a b"),
        ("-M", left_out, "-o", "k.d"),
        ("-c", left_out),
        ("-c", left_out, kept, "-o", "k.o"),
        ("-c", tmp_path / "missing.cu", "-o", "k.o"),
    ]
    for call in calls:
        assert front(tmp_path, *call) == (7, [str(word) for word in call])


def test_a_file_with_other_content_is_compiled_as_it_is(tmp_path: Path) -> None:
    for after in ("\nvoid another();", "\n#include <another.h>"):
        source = kernel_file(tmp_path, "bwd", "half_t", 64, False, after)
        call = ("-c", str(source), "-o", "k.o")
        assert front(tmp_path, *call) == (7, list(call))


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("kind", "type_", "head_dim", "causal", "call"),
    [
        ("fwd", "half_t", 64, True, "run_mha_fwd_<cutlass::half_t, 64, true>"),
        ("fwd_split", "bfloat16_t", 128, False, "run_mha_fwd_splitkv_dispatch<cutlass::bfloat16_t, 128, false>"),
        ("bwd", "bfloat16_t", 64, False, "run_mha_bwd_<cutlass::bfloat16_t, 64, false>"),
    ],
)
def test_a_stub_links_and_throws(tmp_path: Path, kind: str, type_: str, head_dim: int, causal: bool, call: str) -> None:
    source = kernel_file(tmp_path, kind, type_, head_dim, causal)
    caller, stub, program = tmp_path / "caller.cpp", tmp_path / "stub.o", tmp_path / "program"
    assert front(tmp_path, "--threads", "1", "-c", source, "-o", stub) == (0, None)
    caller.write_text(CALLER.format(call=call))
    subprocess.run(["c++", caller, stub, "-o", program], check=True, timeout=60)
    output = subprocess.run([program], capture_output=True, text=True, check=True, timeout=60).stdout
    assert output.startswith(f"{source.name} was left out of this build: ")


@pytest.mark.slow
@needs_compiler
def test_a_stub_has_the_symbol_that_the_extension_calls(tmp_path: Path) -> None:
    """The names are those in flash_api.o of flash-attn 2.8.3.post2."""
    symbols = {
        "fwd": "_ZN5flash12run_mha_fwd_IN7cutlass6half_tELi128ELb0EEEvRNS_16Flash_fwd_paramsEP11CUstream_st",
        "fwd_split": (
            "_ZN5flash28run_mha_fwd_splitkv_dispatchIN7cutlass6half_tELi128ELb0EEEvRNS_16Flash_fwd_paramsEP11CUstream_st"
        ),
        "bwd": "_ZN5flash12run_mha_bwd_IN7cutlass6half_tELi128ELb0EEEvRNS_16Flash_bwd_paramsEP11CUstream_st",
    }
    for kind, symbol in symbols.items():
        stub = tmp_path / f"{kind}.o"
        assert front(tmp_path, "-c", kernel_file(tmp_path, kind, "half_t", 128, False), "-o", stub) == (0, None)
        listed = subprocess.run(["nm", "--defined-only", stub], capture_output=True, text=True, check=True).stdout
        assert [line.split()[-1] for line in listed.splitlines() if " T " in line] == [symbol]


@needs_compiler
@pytest.mark.parametrize(
    "options", [("-MD", "-MF"), ("--generate-dependencies-with-compile", "--dependency-output")], ids=["2.11", "2.4"]
)
def test_ninja_finds_its_dependencies(tmp_path: Path, options: tuple[str, str]) -> None:
    """With the options of that torch version."""
    source, stub, dependencies = kernel_file(tmp_path, "bwd", "half_t", 64, False), tmp_path / "k.o", tmp_path / "k.o.d"
    assert front(tmp_path, *options, dependencies, "-c", source, "-o", stub) == (0, None)
    assert dependencies.read_text() == f"{stub}: {source}\n"


@needs_compiler
def test_a_stub_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    source, dependencies = kernel_file(tmp_path, "bwd", "half_t", 64, False), tmp_path / "k.o.d"
    code, called = front(tmp_path, "-MF", dependencies, "-c", source, "-o", tmp_path / "missing" / "k.o")
    assert (code != 0, called, dependencies.exists()) == (True, None, False)
