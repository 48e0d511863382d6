"""Removal of a broken flash-attn, so that `import f5_tts` works.

f5_tts/model/modules.py calls `find_spec("flash_attn")` and, if there is one, imports from it without an `except`:
a build that does not load makes every import of F5-TTS fail, although its default attention never calls it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from f5_worker import process
from f5_worker.boot.flash_attn.install import PIP
from f5_worker.boot.flash_attn.verify import with_overlay
from f5_worker.boot.probe import probe
from f5_worker.storage import files

TIMEOUT_S = 60.0
MAX_COPIES = 4  # site-packages of user, environment and system may have one each

# None in sys.modules: find_spec() returns None and an import raises ModuleNotFoundError, as if it were absent.
MASK = '''\
"""Hides a flash_attn that does not work and could not be removed; then runs the next sitecustomize."""
import importlib.machinery
import importlib.util
import os
import sys

sys.modules.update(dict.fromkeys(("flash_attn", "flash_attn_2_cuda")))
_here = os.path.dirname(os.path.abspath(__file__))
_rest = [entry for entry in sys.path if os.path.abspath(entry) != _here]
_next = importlib.machinery.PathFinder.find_spec("sitecustomize", _rest)
if _next is not None and _next.loader is not None:
    _next.loader.exec_module(importlib.util.module_from_spec(_next))
'''


@dataclass(frozen=True)
class Removal:
    """The result. `mask` is the directory that has to be first on PYTHONPATH if removal was not possible."""

    how: Literal["removed", "masked", "failed"]
    detail: str
    mask: Path | None = None


def remove(found: probe.Installed, *, overlay_dir: Path, python: str | Path = sys.executable) -> Removal:
    """Uninstall it; else delete its files in site-packages; else hide it. Each step is checked in a new process."""
    reason = _uninstall(found, python)
    left = probe.installed(python, TIMEOUT_S)
    for _ in range(MAX_COPIES):
        if left is None:
            return Removal("removed", f"flash_attn was removed from {found.location}")
        problem = _delete(Path(left.location))
        if problem:
            reason = problem
            break
        left = probe.installed(python, TIMEOUT_S)
    if left is None:
        return Removal("removed", f"flash_attn was removed from {found.location}")
    return _mask(left, overlay_dir, python, reason)


def _uninstall(found: probe.Installed, python: str | Path) -> str:
    """Run `pip uninstall` and return the reason to give if it did not help."""
    if not found.distributions:
        return "it belongs to no installed package"
    env = {**os.environ, "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    done = process.run([python, *PIP, "uninstall", "-y", *found.distributions], timeout_s=TIMEOUT_S, env=env)
    errors = [line for line in done.output.splitlines() if "Error" in line or line.startswith("ERROR: ")]
    return errors[-1].strip() if errors else f"pip uninstall: {done.ending}"


def _delete(location: Path) -> str | None:
    """Delete the files that pip left or does not know. Only in site-packages: elsewhere it may be a source tree."""
    if location.name not in ("site-packages", "dist-packages"):
        return f"{location} is not a site-packages directory"
    try:
        for pattern in ("flash_attn", "flash_attn_2_cuda*.so", "flash_attn-*.dist-info"):
            for path in location.glob(pattern):
                files.remove_tree(path)
    except OSError as error:
        return files.explain(error)
    return None


def hide(overlay_dir: Path, python: str | Path = sys.executable) -> Path:
    """Hide flash_attn by a `sitecustomize`; return the directory that has to be first on PYTHONPATH.

    Raises:
        OSError: the directory cannot be written to, or a new process still finds the package.
    """
    mask = overlay_dir / "mask"
    mask.mkdir(parents=True, exist_ok=True)
    files.write(mask / "sitecustomize.py", MASK.encode())
    code = "import importlib.util as u; print(u.find_spec('flash_attn'))"
    env = with_overlay(mask, os.environ)
    done = process.run([python, "-c", code], timeout_s=TIMEOUT_S, env=env, cwd=Path("/"))
    if done.last_line != "None":
        raise OSError("a new process finds it all the same")
    return mask


def _mask(left: probe.Installed, overlay_dir: Path, python: str | Path, reason: str) -> Removal:
    where = f"flash_attn in {left.location} could not be removed ({reason})"
    try:
        mask = hide(overlay_dir, python)
    except OSError as error:
        return Removal("failed", f"{where} or hidden ({files.explain(error)}): importing f5_tts will fail")
    return Removal("masked", f"{where} and is hidden instead", mask)
