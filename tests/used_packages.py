"""Which packages of a lock the worker imports: `python -m tests.used_packages requirements.txt` prints them as JSON.

Imports every module that the worker's code names, also those named inside functions, in a process that has nothing
but the packages of the lock and those of the base image: torch, numpy, and what they require.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path

from f5_worker.settings import REPOSITORY

BASE = ("torch", "numpy")
OPTIONAL = ("flash_attn", "flash_attn.bert_padding", "flash_attn_interface")  # boot installs or finds it, on a GPU
# Modules of the libraries that they import only when they run.
AT_RUN_TIME = (
    "runpod.serverless.modules.rp_fastapi",  # --rp_serve_api
    "runpod.serverless.modules.rp_system_fitness",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "huggingface_hub.file_download",
)


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: Path) -> dict[str, str]:
    """The version of each package in a lock."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", lock.read_text(encoding="utf-8"), re.MULTILINE))


def named_modules() -> Iterator[tuple[str, str]]:
    """Every module that the worker imports from anywhere, with the name that is imported out of it, if any."""
    for path in [*(REPOSITORY / "f5_worker").rglob("*.py"), *REPOSITORY.glob("*.py")]:
        if path.parent.name == "upstream":  # f5-tts, where the base image has it
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield from ((str(node.module), alias.name) for alias in node.names)


def requirements_of(names: Sequence[str]) -> set[str]:
    """The packages with all that they require, where it is installed."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonical(waiting.pop())
        if name in found:
            continue
        found.add(name)
        try:
            required = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        waiting += [re.split(r"[^\w.-]", entry)[0] for entry in required if "extra ==" not in entry]
    return found


class OnlyThese:
    """An import finder that hides every other package, as if it were not installed."""

    def __init__(self, packages: set[str]) -> None:
        self.packages = packages
        self.providers = importlib.metadata.packages_distributions()

    def provided_by(self, module: str) -> set[str]:
        return {canonical(package) for package in self.providers.get(module.split(".")[0], ())}

    def find_spec(self, module: str, path: object = None, target: object = None) -> ModuleSpec | None:
        providers = self.provided_by(module)
        if providers and not providers & self.packages:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return None


def main(lock: str) -> None:
    packages = set(locked(REPOSITORY / lock))
    finder = OnlyThese(packages | requirements_of(BASE))
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    missing = []
    for module, name in sorted({*named_modules(), *((module, "") for module in AT_RUN_TIME)}):
        try:
            imported = importlib.import_module(module)
            getattr(imported, name or "__name__", None)  # some packages import what is asked for at this moment
        except ModuleNotFoundError as error:
            missing += [] if module in OPTIONAL else [f"{module}: {error}"]
    import httpx2

    httpx2.Client().close()  # imports the rest of itself when it is first used
    used = {package for module in list(sys.modules) for package in finder.provided_by(module)}
    print(json.dumps({"missing": missing, "unused": sorted(packages - used)}))


if __name__ == "__main__":
    main(sys.argv[1])
