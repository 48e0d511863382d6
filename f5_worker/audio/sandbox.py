"""What a process gives up before it reads an untrusted file: rights, memory, files and most system calls.

Each measure is taken where the kernel has it; none is needed for another. Linux.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from f5_worker.errors import InternalError

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65_534
MAX_FILES = 8

# System calls of x86-64 that decoding needs: its pipe, memory, locks, clocks, the limit on its time, and to end.
ALLOWED_CALLS = {
    "read": 0, "write": 1, "close": 3, "lseek": 8, "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12,
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sched_yield": 24, "mremap": 25, "madvise": 28,
    "setitimer": 38, "getpid": 39, "exit": 60, "getrusage": 98, "gettid": 186, "futex": 202, "sched_getaffinity": 204,
    "clock_gettime": 228, "exit_group": 231, "getrandom": 318,
}  # fmt: skip

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38  # linux/prctl.h
_SECCOMP_MODE_FILTER = 2
_ALLOW, _REFUSE, _KILL = 0x7FFF_0000, 0x0005_0000 | 1, 0x8000_0000  # SECCOMP_RET_ALLOW, _ERRNO with EPERM, _KILL
_ARCH_X86_64 = 0xC000_003E
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF, 32 bits
_OFFSET_CALL, _OFFSET_ARCH = 0, 4  # in struct seccomp_data
_X32_BIT = 0x4000_0000


def child_environment() -> dict[str, str]:
    """Return a child's whole environment: no key and no token is in it. It finds packages where this process does."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
    path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return {**kept, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def start_child(module: str, *arguments: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start one of our own modules as a process; return it with the other end of the socket that is its input.

    Raises:
        InternalError: it cannot be started.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", module, *arguments],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd=ROOT,
                env=child_environment(),
                start_new_session=True,
            )
    except OSError as error:
        ours.close()
        raise InternalError(f"a process for audio could not be started ({error.strerror})") from None
    return process, ours


def confine(memory_bytes: int) -> list[str]:
    """Confine this process for the rest of its life; return the measures that the kernel did not take.

    Args:
        memory_bytes: address space that it may take in addition to what it has.
    """
    measures: dict[str, Callable[[], None]] = {
        "order of killing": _be_killed_first,
        "limits": lambda: _limit(memory_bytes),
        "user": _become_nobody,
        "system calls": _filter_system_calls,
    }
    missing = []
    for name, measure in measures.items():
        try:
            measure()
        except OSError as error:
            missing.append(f"{name}: {error.strerror}")
    return missing


def _limit(memory_bytes: int) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    limits = {
        resource.RLIMIT_AS: used + memory_bytes,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: MAX_FILES,
    }
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _be_killed_first() -> None:
    """Let the kernel kill this process, not the worker, where memory ends."""
    with open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:
        file.write("1000")


def _become_nobody() -> None:
    if os.geteuid() != 0:
        return
    with suppress(OSError):  # a user namespace may forbid it
        os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _filter_system_calls() -> None:
    """Refuse every system call but ALLOWED_CALLS with EPERM: no file can be opened, no socket, no program."""
    if platform.machine() != "x86_64":
        raise OSError(0, "only known for x86-64")
    program = _program(sorted(ALLOWED_CALLS.values()))
    libc = ctypes.CDLL(None, use_errno=True)
    code = ctypes.create_string_buffer(b"".join(program), 8 * len(program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    for arguments in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_void_p(ctypes.addressof(header)), 0, 0),
    ):
        if libc.prctl(*arguments) != 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))


def _program(calls: Sequence[int]) -> list[bytes]:
    """Return the filter in classic BPF (linux/filter.h): one comparison for each call that is allowed."""

    def step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    n = len(calls)
    return [
        step(_LOAD, _OFFSET_ARCH),
        step(_JUMP_IF_EQUAL, _ARCH_X86_64, 1, 0),
        step(_RETURN, _KILL),
        step(_LOAD, _OFFSET_CALL),
        step(_JUMP_IF_AT_LEAST, _X32_BIT, n, 0),
        *(step(_JUMP_IF_EQUAL, call, n - index, 0) for index, call in enumerate(calls)),
        step(_RETURN, _REFUSE),
        step(_RETURN, _ALLOW),
    ]
