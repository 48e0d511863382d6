"""The flash-attn of an image: `python -m f5_worker.boot.bake_flash_attn auto|none|URL#sha256=SUM|FILE DIRECTORY`.

Run while the image is built. `auto` is the wheel that fits the base's Python, torch, CUDA and C++ ABI, if there is one.
A build has no GPU: here the package is only imported, and running it is left to the start of a container.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

from f5_worker import process
from f5_worker.boot.flash_attn.install import PIP
from f5_worker.boot.flash_attn.wheels import WheelManifest, resolve
from f5_worker.boot.probe.probe import Environment, probe

CAPABILITY = "8.0"  # no GPU is there to ask; it decides nothing about the wheels that are tried first
PIP_S, PROBE_S = 1_800.0, 300.0
HASHED_URL = re.compile(r"https?://\S+#sha256=[0-9a-f]{64}")
NAME = re.compile(
    r"flash_attn-[^-+]+(\+(?P<build>[^-]+))?-cp(?P<python>3\d+)-[^-]+-[\w.]*linux[\w.]*_(?P<machine>x86_64|aarch64)\.whl"
)


class Refused(Exception):
    """The message says what is wrong with the wheel that was asked for, and what to do."""


def bake(wheel: str, directory: Path, python: str = sys.executable, manifest: WheelManifest | None = None) -> str:
    """Install the wheel that is asked for, and return what was done in one line.

    Args:
        wheel: `auto`, `none`, a URL with its sha256, or a file in `directory`.

    Raises:
        Refused: it does not fit the base, or cannot be installed or imported.
    """
    if wheel == "none":
        return "flash-attn is left out, as FLASH_ATTN_WHEEL=none asks"
    facts = probe(python, PROBE_S)
    env = facts.environment()
    if env is None:
        raise Refused(f"the base's torch cannot be examined: {facts.torch_error}")
    if wheel != "auto":
        _install(_checked(wheel, directory, env), python)
        return _imported(python)
    if facts.flash_attn is not None and facts.flash_attn.importable:
        return f"the base has flash-attn {facts.flash_attn.version}, which imports"
    resolution = resolve(replace(env, capability=CAPABILITY), manifest)
    reason = resolution.reason
    for candidate in resolution.candidates if resolution.decision == "wheel" else ():
        if candidate.sha256 is None:
            continue
        _install(f"{candidate.url}#sha256={candidate.sha256}", python)
        try:
            return _imported(python)
        except Refused as error:
            reason = str(error)
            process.run([python, *PIP, "uninstall", "-y", "flash-attn"], timeout_s=PIP_S)
    return f"flash-attn is left out: {reason}"


def why_not(filename: str, env: Environment) -> str | None:
    """Return why a wheel is not for this base, from its name, or None if it may be."""
    match = NAME.fullmatch(filename)
    if match is None:
        return (
            f"{filename!r} is not the name of a flash-attn wheel for Linux; keep the name that it was published under"
        )
    build = match["build"] or ""
    cuda, torch, abi = (re.search(part, build) for part in (r"cu(1\d)", r"torch(\d+\.\d+)", r"cxx11abi(TRUE|FALSE)"))
    wanted = {
        "Python": (f"{match['python'][0]}.{match['python'][1:]}", ".".join(env.python.split(".")[:2])),
        "torch": (torch and torch[1], ".".join(env.torch.split(".")[:2])),
        "CUDA": (cuda and cuda[1], str(env.cuda).split(".")[0]),
        "C++11 ABI": (abi and abi[1], str(env.abi).upper()),
        "machine": (match["machine"], env.machine),
    }
    wrong = [
        f"{name} {found}, this base has {here}" for name, (found, here) in wanted.items() if found and found != here
    ]
    return f"{filename} is for {'; for '.join(wrong)}" if wrong else None


def _checked(wheel: str, directory: Path, env: Environment) -> str:
    """Return what pip installs, if its name fits the base."""
    is_url = "://" in wheel
    if is_url and not HASHED_URL.fullmatch(wheel):
        raise Refused(f"{_name(wheel)} has no sha256: FLASH_ATTN_WHEEL=URL#sha256=SUM")
    path = directory / _name(wheel)
    if not is_url and not path.is_file():
        raise Refused(f"{path.name} is not in the directory wheels/ beside the Dockerfile")
    if reason := why_not(path.name, env):
        raise Refused(reason)
    return wheel if is_url else str(path)


def _name(wheel: str) -> str:
    """Return the file's name, without the password that an address may hold."""
    return Path(unquote(urlsplit(wheel).path) if "://" in wheel else wheel).name


def _install(wheel: str, python: str) -> None:
    """Install with pip, which knows proxies, checks the sha256 and refuses wheels for another platform."""
    options = ("install", "--no-deps", "--no-cache-dir", "--force-reinstall")
    done = process.run([python, *PIP, *options, wheel], timeout_s=PIP_S)
    if not done.ok:
        errors = [line.removeprefix("ERROR: ") for line in done.output.splitlines() if line.startswith("ERROR: ")]
        reason = " ".join(errors) or done.last_line or done.ending
        raise Refused(f"{_name(wheel)} cannot be installed: {reason}; FLASH_ATTN_WHEEL=none builds without it")


def _imported(python: str) -> str:
    found = probe(python, PROBE_S).flash_attn
    if found is None or not found.importable:
        raise Refused(f"flash-attn was installed and does not import: {found.error if found else 'it is not found'}")
    return f"flash-attn {found.version} is installed and imports; it is run at the first start on a GPU"


def main(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    wheel, directory = arguments
    try:
        print(bake(wheel, Path(directory)))
    except Refused as error:
        print(f"FLASH_ATTN_WHEEL: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
