"""The user that the worker runs as. A container starts as root, and continues as a user without rights where it can.

An image that names its user could not write to a network volume: those belong to root on most of RunPod's machines, and
RunPod has no field for a user. So root looks at what the worker reads and writes, and stays only where it must.
"""

from __future__ import annotations

import ctypes
import os
import pwd
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from f5_worker.errors import SettingsInvalid
from f5_worker.settings import VOICES_FOLDER, VOLUME, Settings, load_settings
from f5_worker.storage.files import temporary_directory

WORKER_ID = 1000  # user and group; the Dockerfile gives them a name
MAX_FILES = 1_000  # looked at in one directory: a volume takes about a millisecond for each
FIRST_PORT = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
_PR_SET_DUMPABLE = 4  # linux/prctl.h

Access = Literal["read", "write"]
_MODES: dict[Access, int] = {"read": os.R_OK, "write": os.W_OK}


@dataclass(frozen=True)
class RunAs:
    """The user of the worker, and why it is that one."""

    uid: int
    reason: str


def leave_root(environ: MutableMapping[str, str]) -> RunAs:
    """Set the user of this process to the one that it can do with, for good; return that user."""
    user = choose_user(environ)
    become(user, environ)
    return user


def choose_user(environ: Mapping[str, str]) -> RunAs:
    """Return the user to continue as: WORKER_ID, unless root is asked for or has access that the user lacks."""
    if os.geteuid() != 0:
        return RunAs(os.geteuid(), "the container was started as this user")
    try:
        settings = load_settings(environ)
    except SettingsInvalid:  # boot reports it
        settings = Settings()
    if settings.user == "root":
        return RunAs(0, "F5_USER=root")
    ports = (settings.http_port, settings.http_health_port)
    if privileged := [port for port in ports if port and port < _first_port_of_users()]:
        return RunAs(0, f"only root may listen on port {privileged[0]}")
    wanted = [*_wanted(settings, environ)]
    allowed = [_has_access(path, access) for path, access in wanted]
    try:
        with _acting_as(WORKER_ID):
            missing = [item for item, root in zip(wanted, allowed, strict=True) if root and not _has_access(*item)]
    except OSError as error:
        return RunAs(0, f"the user cannot be changed: {error.strerror}")
    if missing:
        path, access = missing[0]
        return RunAs(0, f"only root may {access} {path}")
    return RunAs(WORKER_ID, "root is not needed")


def become(user: RunAs, environ: MutableMapping[str, str]) -> None:
    """Set the user of this process, for good, and their home in `environ`."""
    if user.uid == os.geteuid():
        return
    os.setgroups([])
    os.setresgid(user.uid, user.uid, user.uid)
    os.setresuid(user.uid, user.uid, user.uid)
    # Until the next exec the kernel gives /proc/self to root, where subprocess looks for files to close.
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)
    try:
        environ["HOME"] = pwd.getpwuid(user.uid).pw_dir
    except KeyError:
        environ["HOME"] = "/"


def _wanted(settings: Settings, environ: Mapping[str, str]) -> Iterator[tuple[Path, Access]]:
    """Yield what the worker uses: directories that it writes to with what is in them, models, and the GPU's devices."""
    from f5_worker.boot.weights.weights import WeightRoots  # not at import: the handler reads reports with this module

    writes = [settings.cache_dir, settings.overlay_dir, settings.voices_dir, settings.save_dir]
    if os.path.ismount(VOLUME):
        writes += [VOLUME / "f5-worker", VOLUME / VOICES_FOLDER]
    for directory in filter(None, writes):
        yield _nearest(directory), "write"
        for child in _subdirectories(directory):
            yield child, "write"
    for path in temporary_directory().glob("f5-worker*"):  # of an earlier start in this container
        yield path, "write"
    models = [settings.model, *settings.extra_model_names, settings.asr_model]
    reads = [Path(model) for model in models if os.path.isabs(model)]
    reads += [settings.pronunciations] if settings.pronunciations else []
    roots = WeightRoots.from_environment(
        environ, models_dir=settings.models_dir, cache_dir=settings.cache_dir, volume=VOLUME
    )
    for hub in roots.hub_caches:
        reads += [directory for directory in _subdirectories(hub) if directory.name.startswith("models--")]
    for directory in (*reads, settings.models_dir):
        for path in islice(_below(directory), MAX_FILES):
            yield path, "read"
    for device in Path("/dev").glob("nvidia*"):
        if device.is_char_device():
            yield device, "write"


def _first_port_of_users() -> int:
    """Return the first port that a user may listen on; in Docker's own network that is any."""
    try:
        return int(FIRST_PORT.read_text())
    except (OSError, ValueError):
        return 1024


def _below(path: Path) -> Iterator[Path]:
    """Yield a file, or a directory with all that is in it."""
    if os.path.isfile(path):
        yield path
    for folder, _, names in os.walk(path):
        yield Path(folder)
        yield from (Path(folder, name) for name in names)


def _subdirectories(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as entries:
            return [Path(entry) for entry in islice(entries, MAX_FILES) if entry.is_dir()]
    except OSError:
        return []


def _nearest(directory: Path) -> Path:
    """Return the directory, or the nearest one above it that exists."""
    parents: Iterable[Path] = (directory, *directory.parents)
    return next(path for path in parents if os.path.exists(path))  # Path.exists() raises where a mount is dead


def _has_access(path: Path, access: Access) -> bool:
    mode = _MODES[access] | (os.X_OK if os.path.isdir(path) else 0)
    return os.access(path, mode, effective_ids=True)


@contextmanager
def _acting_as(uid: int) -> Iterator[None]:
    groups = os.getgroups()
    os.setgroups([])
    try:
        os.setegid(uid)
        os.seteuid(uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
