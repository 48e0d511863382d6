"""Takes a broken flash-attn out of the way of `import f5_tts`.

f5_tts/model/modules.py asks `find_spec("flash_attn")` and, if there is one, imports from it with no `except`:
a build that does not load kills every import of F5-TTS, though its default attention never calls it.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from f5_worker import process as child
from f5_worker.boot.flash_attn.install import PIP
from f5_worker.boot.flash_attn.verify import with_overlay
from f5_worker.boot.probe import probe
from f5_worker.storage import files as cache

TIMEOUT_S = 60.0
COPIES = 4  # site-packages of user, environment and system may hold one each

# None in sys.modules: find_spec() answers None and an import says ModuleNotFoundError, as if it were absent.
MASK = '''\
"""Hides a flash_attn that does not work and could not be removed; then hands on to the next sitecustomize."""
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
    """`mask` is the directory that has to be first on PYTHONPATH where removing was not possible."""

    how: Literal["removed", "masked", "failed"]
    detail: str
    mask: Path | None = None


def remove(found: probe.Installed, *, overlay_dir: Path, python: str | Path = sys.executable) -> Removal:
    """Uninstall; else delete the files in site-packages; else hide it. Each is checked in a new process."""
    said = _uninstall(found, python)
    left = probe.installed(python, TIMEOUT_S)
    for _ in range(COPIES):
        if left is None:
            return Removal("removed", f"flash_attn was removed from {found.location}")
        problem = _delete(Path(left.location))
        if problem:
            said = problem
            break
        left = probe.installed(python, TIMEOUT_S)
    if left is None:
        return Removal("removed", f"flash_attn was removed from {found.location}")
    return _mask(left, overlay_dir, python, said)


def _uninstall(found: probe.Installed, python: str | Path) -> str:
    if not found.distributions:
        return "no installed package owns it"
    env = {**os.environ, "PIP_BREAK_SYSTEM_PACKAGES": "1"}
    done = child.run([python, *PIP, "uninstall", "-y", *found.distributions], timeout_s=TIMEOUT_S, env=env)
    errors = [line for line in done.output.splitlines() if "Error" in line or line.startswith("ERROR: ")]
    return errors[-1].strip() if errors else f"pip uninstall: {done.ending}"


def _delete(location: Path) -> str | None:
    """Delete what pip left or never knew. Only below site-packages: elsewhere it is somebody's source tree."""
    if location.name not in ("site-packages", "dist-packages"):
        return f"{location} is no site-packages directory"
    try:
        for pattern in ("flash_attn", "flash_attn_2_cuda*.so", "flash_attn-*.dist-info"):
            for path in location.glob(pattern):
                cache.remove_tree(path)
    except OSError as error:
        return cache.explain(error)
    return None


def _mask(left: probe.Installed, overlay_dir: Path, python: str | Path, why: str) -> Removal:
    mask = overlay_dir / "mask"
    where = f"flash_attn in {left.location} could not be removed ({why})"
    try:
        mask.mkdir(parents=True, exist_ok=True)
        cache.write(mask / "sitecustomize.py", MASK.encode())
    except OSError as error:
        return Removal("failed", f"{where}, nor hidden ({cache.explain(error)}): importing f5_tts will fail")
    code = "import importlib.util as u; print(u.find_spec('flash_attn'))"
    env = with_overlay(mask, os.environ)
    done = child.run([python, "-c", code], timeout_s=TIMEOUT_S, env=env, cwd=Path("/"))
    if done.last_line != "None":
        return Removal("failed", f"{where}, and hiding it did not work: importing f5_tts will fail")
    return Removal("masked", f"{where} and is hidden instead", mask)
