"""Installation of a wheel into an overlay: a directory of its own, which can be deleted without affecting others."""

from __future__ import annotations

import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from f5_worker import process
from f5_worker.storage import files
from f5_worker.storage.staging import staging_directory

TIMEOUT_S = 180.0
SPARE_BYTES = 64 << 20

PIP = ("-m", "pip", "--disable-pip-version-check", "--no-input", "--no-color")


class InstallFailed(Exception):
    """The message is one line; `log` is the end of pip's output; `damaged` is true for an incomplete file."""

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
    """Install into `overlay`, which appears in one step; if another process was first, its result is kept.

    Raises:
        InstallFailed: there is no space, the file is damaged, or pip refuses it.
    """
    try:
        with staging_directory(overlay, on_tick) as staging:
            (staging.path / "tmp").mkdir()
            _check_space(wheel, staging.path)
            _pip(wheel, staging.path, python, timeout_s, staging.heartbeat)
            _publish(staging.path / "site", overlay)
    except OSError as error:
        raise InstallFailed(files.explain(error)) from error


def _check_space(wheel: Path, staging_dir: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            needed = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise InstallFailed("the file is not a complete wheel", damaged=True) from None
    free = files.free_bytes(staging_dir)
    if needed + SPARE_BYTES > free:
        raise InstallFailed(f"{needed} bytes unpacked do not fit: {free} are free in the overlay directory")


def _pip(wheel: Path, staging_dir: Path, python: str | Path, timeout_s: float, on_tick: Callable[[], None]) -> None:
    """Install with pip, which checks python, ABI and platform tags only, not torch and CUDA.

    --isolated: PIP_USER or PIP_TARGET of the image would direct the files elsewhere. TMPDIR: pip unpacks there
    first, and a rename on the same disk needs no second copy of 700 MB.
    """
    options = ("--isolated", "install", "--no-deps", "--no-index", "--no-cache-dir", "--no-compile")
    done = process.run(
        [python, *PIP, *options, "--target", staging_dir / "site", wheel],
        timeout_s=timeout_s,
        env={**os.environ, "TMPDIR": str(staging_dir / "tmp")},
        on_tick=on_tick,
    )
    if done.ok:
        return
    errors = [line for line in done.output.splitlines() if line.startswith("ERROR: ")]
    reason = errors[0].removeprefix("ERROR: ") if errors else f"pip: {done.ending} {done.last_line}"
    raise InstallFailed(reason, done.tail(20))


def _publish(site: Path, overlay: Path) -> None:
    try:
        site.rename(overlay)
    except OSError:
        if not overlay.is_dir():
            raise
