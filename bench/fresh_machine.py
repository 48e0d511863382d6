"""The README's commands on a machine with nothing but a distribution's base: `make fresh-machine`.

For each distribution debootstrap makes its smallest root filesystem. In it, a user without rights gets a clone of the
last commit and root installs `make` alone. Then `make demo` is repeated, and after each failure the command run that
its message names, until it speaks; then the other commands run, `make test` unless --run names others. Writes
bench/results/fresh-machine.json; the exit code is the number of machines with a failure.

Needs root on Debian or Ubuntu, debootstrap, and 12 GB of disk. All mounts are in a namespace that ends with this
program.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.record import RESULTS, record  # noqa: E402 - the repository is not an installed package

NAME = "fresh-machine"
# Arguments of debootstrap. Ubuntu's venv is in its universe; an older debootstrap does not know the suite, whose steps
# are those of an early one.
MACHINES: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "Debian 12": (["bookworm"], []),
    "Debian 13": (["trixie"], []),
    "Ubuntu 24.04": (
        ["--components=main,universe", "noble"],
        ["https://archive.ubuntu.com/ubuntu", "/usr/share/debootstrap/scripts/gutsy"],
    ),
}
# How this machine reaches its network, where it has its own ways: the new one gets the same.
NETWORK_FILES = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
LOCAL_AUTHORITIES = "usr/local/share/ca-certificates"  # what the package ca-certificates adds to its own
NETWORK_VARIABLES = re.compile(r"(?i)\w+_proxy|(ssl|pip|requests|curl)\w*_(cert|file|dir|bundle)")
USER = "newcomer"
INSTALL = "apt-get install -q -y --no-install-recommends"
HINT = re.compile(r"^make: .*as root: apt-get install ([a-z0-9. -]+)$", re.MULTILINE)
MAX_HINTS = 4


@dataclass(frozen=True)
class Machine:
    """A root filesystem."""

    directory: Path

    def run(self, command: str, *, user: str = "root") -> tuple[int, str]:
        """Run a shell command there. Return its exit code and its output, which is printed as it comes."""
        print(f"{self.directory.name}$ {command}", flush=True)
        home = "/root" if user == "root" else f"/home/{user}"
        environ = {name: value for name, value in os.environ.items() if NETWORK_VARIABLES.fullmatch(name)}
        environ |= {
            "HOME": home,
            "DEBIAN_FRONTEND": "noninteractive",
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        }
        chroot = ["chroot", f"--userspec={user}:{user}", str(self.directory), "/bin/bash", "-c"]
        inside = f"cd {home}/f5-worker 2> /dev/null || cd; {command}"
        process = subprocess.Popen(
            [*chroot, inside], env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, errors="replace",
        )  # fmt: skip
        said = []
        for line in process.stdout or ():
            said.append(line)
            print(line, end="", flush=True)
        return process.wait(), "".join(said)


def make(name: str, directory: Path) -> Machine:
    """Return a machine of a distribution with a clone of the last commit and with `make`."""
    before, after = MACHINES[name]
    if not (directory / "usr" / "bin" / "apt-get").is_file():
        subprocess.run(["debootstrap", "--variant=minbase", *before, str(directory), *after], check=True)
    for path in NETWORK_FILES:
        if Path("/", path).is_file():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(Path("/", path), directory / path)
    if Path("/", LOCAL_AUTHORITIES).is_dir():
        shutil.copytree(Path("/", LOCAL_AUTHORITIES), directory / LOCAL_AUTHORITIES, dirs_exist_ok=True)
    acquire = subprocess.run(["apt-config", "dump", "Acquire"], check=True, capture_output=True, text=True).stdout
    (directory / "etc" / "apt" / "apt.conf.d" / "99machine").write_text(acquire, encoding="utf-8")
    # The root too: /proc/self/mountinfo lists it on every machine, and in a chroot only if it is a mount.
    for source, target in ((directory, ""), ("/proc", "proc"), ("/sys", "sys"), ("/dev", "dev")):
        subprocess.run(["mount", "--rbind", str(source), str(directory / target)], check=True)
    machine = Machine(directory)
    add_user = f"id {USER} || useradd --create-home --shell /bin/bash {USER}"
    for command in (add_user, f"rm -rf /home/{USER}/f5-worker", f"apt-get update -q && {INSTALL} make"):
        if machine.run(command)[0]:
            raise SystemExit(f"{name}: {command!r} failed")
    clone = directory / "home" / USER / "f5-worker"
    subprocess.run(["git", "clone", "--quiet", f"file://{ROOT}", str(clone)], check=True)
    machine.run(f"chown -R {USER}:{USER} /home/{USER}")
    return machine


def follow(machine: Machine, command: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a command's outcome, repeated as long as it names what is to be installed first, and those commands'."""
    for _ in range(MAX_HINTS):
        started = time.monotonic()
        code, said = machine.run(command, user=USER)
        hint = HINT.search(said)
        yield command, {"exit": code, "s": round(time.monotonic() - started, 1), **outcome(said)}
        if code == 0 or hint is None:
            return
        yield hint[0], {"exit": machine.run(f"{INSTALL} {hint[1]}")[0]}


def outcome(said: str) -> dict[str, Any]:
    """Return what pytest's last lines count, summed, and what was left out in so many words."""
    counts: dict[str, Any] = {}
    for line in re.findall(r"^=*\s?((?:\d+ \w+(?:, )?)+) in [\d.]+s", said, flags=re.MULTILINE):
        for number, word in re.findall(r"(\d+) (\w+)", line):
            counts[word] = counts.get(word, 0) + int(number)
    skipped = re.findall(r"^[\w-]+: SKIPPED, .*$", said, flags=re.MULTILINE)
    return {**counts, **({"left_out": skipped} if skipped else {})}


def measure(name: str, directory: Path, commands: Sequence[str]) -> dict[str, Any]:
    """Return what each command did on a new machine."""
    machine = make(name, directory)
    steps = [step for command in ("make demo", *commands) for step in follow(machine, command)]
    python = machine.run(".venv/bin/python -V", user=USER)[1].split()[-1]
    disk = machine.run("du -sm .venv* --total | tail -1", user=USER)[1].split()[0]
    return {
        "python": python,
        "venv_mb": int(disk),
        "steps": [{"command": command, **result} for command, result in steps],
        "ok": all(last["exit"] == 0 for last in dict(steps).values()),  # of each command, how it ended at last
    }


def in_own_namespace() -> None:
    """Start this program again where its mounts are its own and end with it."""
    if os.environ.get("FRESH_MACHINE_NAMESPACE") is None:
        environ = {**os.environ, "FRESH_MACHINE_NAMESPACE": "1"}
        os.execvpe("unshare", ["unshare", "--mount", sys.executable, *sys.argv], environ)


def remove(directory: Path, *, keep: bool) -> None:
    """Unmount what `make` mounted and remove the rest, unless it is kept."""
    subprocess.run(["umount", "--recursive", "--lazy", str(directory)], check=True)
    if not keep:
        subprocess.run(["rm", "-rf", "--one-file-system", str(directory)], check=True)


def add_to_results(name: str, measured: Mapping[str, Any]) -> None:
    """Write a machine into the results beside those of other runs."""
    path = RESULTS / f"{NAME}.json"
    machines = json.loads(path.read_text(encoding="utf-8"))["machines"] if path.is_file() else {}
    machines[name] = measured
    record(NAME, {"machines": {name: machines[name] for name in MACHINES if name in machines}})


def main() -> int:
    """Measure, write the results, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("machines", nargs="*", default=list(MACHINES), metavar="MACHINE", help=", ".join(MACHINES))
    parser.add_argument("--run", action="append", metavar="COMMAND", help="instead of `make test`; may be repeated")
    parser.add_argument("--keep", type=Path, metavar="DIRECTORY", help="leave the filesystems there; use those there")
    arguments = parser.parse_args()
    in_own_namespace()
    n_failed = 0
    home = arguments.keep or Path(tempfile.mkdtemp())
    for name in arguments.machines:
        directory = home / name.lower().replace(" ", "-")
        measured = measure(name, directory, arguments.run or ["make test"])
        remove(directory, keep=arguments.keep is not None)
        add_to_results(name, measured)
        n_failed += not measured["ok"]
    if not arguments.keep:
        home.rmdir()
    return n_failed


if __name__ == "__main__":
    sys.exit(main())
