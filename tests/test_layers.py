"""The rules of the house that a machine can hold."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.conftest import ROOT

MAX_FILE_LINES, MAX_FUNCTION_LINES = 350, 80
SOURCES = sorted(
    [
        *(ROOT / "f5_worker").rglob("*.py"),
        *(ROOT / "scripts").rglob("*.py"),
        *(ROOT / "bench").rglob("*.py"),
        *ROOT.glob("*.py"),
    ]
)
TORCH_ROOMS = ("f5", "cuda", "train_tiny", "bench")
# Programs of their own, started by boot in a process that may die of it.
CHILDREN = ("probe_child.py", "verify_child.py", "weights_child.py")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files_and_functions_stay_readable() -> None:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= MAX_FILE_LINES, name(path)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, f"{name(path)}: {node.name}"


def imported(path: Path) -> set[str]:
    """Top-level packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_only_the_engine_and_what_measures_or_trains_it_import_torch_and_only_upstream_imports_f5_tts() -> None:
    for path in SOURCES:
        if path.parent.name not in TORCH_ROOMS and path.name not in CHILDREN:
            assert "torch" not in imported(path), name(path)
        if path.name != "upstream.py":
            assert "f5_tts" not in imported(path), name(path)
