"""Puts a wheel into a directory of its own, an overlay, from where it can be dropped without a trace."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from f5_worker import process as child
from f5_worker.storage import files as cache

TIMEOUT_S = 180.0
SPARE_BYTES = 64 << 20

PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color")


class InstallFailed(Exception):
    """In one line; `log` has the end of what pip said, `damaged` is true if the file is no whole wheel."""

    def __init__(self, reason: str, log: str = "", *, damaged: bool = False) -> None:
        super().__init__(reason)
        self.log = log
        self.damaged = damaged


def install(
    wheel: Path,
    overlay: Path,
    *,
    python: str | Path = sys.executable,
    timeout_s: float = TIMEOUT_S,
    on_tick: Callable[[], None] = lambda: None,
) -> None:
    """Install into `overlay`, which comes into being complete; if another process was first, its work stays.

    Raises:
        InstallFailed
    """
    room = cache.temporary_beside(overlay)
    try:
        (room / "tmp").mkdir(parents=True)
        _check_room(wheel, room)
        _pip(wheel, room, python, timeout_s, on_tick)
        _put_in_place(room / "site", overlay)
    except OSError as error:
        raise InstallFailed(cache.explain(error)) from error
    finally:
        cache.remove_tree(room)


def _check_room(wheel: Path, room: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            needed = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise InstallFailed("the file is no whole wheel", damaged=True) from None
    free = cache.free_bytes(room)
    if needed + SPARE_BYTES > free:
        raise InstallFailed(f"{needed} bytes unpacked do not fit: {free} are free in the overlay directory")


def _pip(wheel: Path, room: Path, python: str | Path, timeout_s: float, on_tick: Callable[[], None]) -> None:
    """pip judges python, ABI and platform tags, and nothing else: torch and CUDA it never looks at.

    --isolated: a PIP_USER or PIP_TARGET of the image would send the files elsewhere. TMPDIR: pip unpacks there
    first, and a rename needs no second copy of 700 MB.
    """
    options = ("--isolated", "install", "--no-deps", "--no-index", "--no-cache-dir", "--no-compile")
    done = child.run(
        [python, *PIP, *options, "--target", room / "site", wheel],
        timeout_s=timeout_s,
        env={**os.environ, "TMPDIR": str(room / "tmp")},
        on_tick=on_tick,
    )
    if done.ok:
        return
    errors = [line for line in done.output.splitlines() if line.startswith("ERROR: ")]
    reason = errors[0].removeprefix("ERROR: ") if errors else f"pip: {done.ending} {done.last_line}"
    raise InstallFailed(reason, done.tail(20))


def _put_in_place(site: Path, overlay: Path) -> None:
    try:
        site.rename(overlay)
    except OSError:
        if not overlay.is_dir():
            raise
