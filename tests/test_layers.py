"""The rules of the code that a machine can hold: packages, their order, sizes, names and language."""

from __future__ import annotations

import ast
import functools
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "f5_worker"
# From top to bottom, as docs/architecture.md lists them; the last line is the modules directly in the package.
ORDER = (
    "http server api boot synthesis delivery verification voices reference subtitles alignment asr transcripts models "
    "engine schema storage audio text"
).split()
BASE = ("cancellation", "process", "resources", "settings", "errors", "log")
MAX_MODULES, MAX_BASE_MODULES = 12, 8
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_ENTRY_LINES = 350, 80, 120

SOURCES = sorted(
    [*PACKAGE.rglob("*.py"), *(ROOT / "scripts").rglob("*.py"), *(ROOT / "bench").rglob("*.py"), *ROOT.glob("*.py")]
)
WORKER = [path for path in SOURCES if PACKAGE in path.parents]
# Programs of their own, started by boot in a process that may die of it.
CHILDREN = ("probe_child.py", "verify_child.py", "weights_child.py")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def imported(path: Path) -> Sequence[str]:
    """Every module that a file imports, anywhere in it, by its whole name."""
    modules: list[str] = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name(path)}: imports are absolute"
            modules += [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return modules


def package_of(module: str) -> str | None:
    """The package, or base module, of this project that a module belongs to."""
    parts = module.split(".")
    return parts[1] if parts[0] == "f5_worker" and len(parts) > 1 and parts[1] in (*ORDER, *BASE) else None


# -- packages ---------------------------------------------------------------------------------------------------------


def test_the_packages_are_those_of_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)/` \|", text, flags=re.MULTILINE)
    assert listed == ORDER
    assert sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__") == sorted(
        ORDER
    )
    assert sorted(path.stem for path in PACKAGE.glob("*.py")) == sorted((*BASE, "__init__"))
    assert len(BASE) <= MAX_BASE_MODULES


def test_imports_lead_downward_only() -> None:
    rank = {package: index for index, package in enumerate((*ORDER, *BASE))}
    for path in WORKER:
        own = package_of(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for module in imported(path):
            package = package_of(module)
            if own is None or package is None or package == own or (own in BASE and package in BASE):
                continue
            assert rank[package] > rank[own], f"{name(path)} imports {module}, which is above it"


def test_no_import_cycle_between_modules() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in WORKER}
    edges = {module: {other for other in imported(path) if other in modules} for module, path in modules.items()}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for other in sorted(edges[module]):
                visit(other, (*path, module))
            done.add(module)

    for module in modules:
        visit(module, ())


def test_packages_stay_small() -> None:
    for directory in [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]:
        modules = [path for path in directory.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MAX_MODULES, f"{name(directory)} has {len(modules)} modules"


def test_only_models_import_torch_and_only_upstream_imports_f5_tts() -> None:
    for path in SOURCES:
        libraries = {module.split(".")[0] for module in imported(path)}
        may_import_torch = PACKAGE / "models" in path.parents or path.parent.name in ("train_tiny", "bench")
        if not may_import_torch and path.name not in CHILDREN:
            assert "torch" not in libraries, name(path)
        if path.parent != PACKAGE / "models" / "upstream":
            assert not {"f5_tts", "vocos", "third_party"} & libraries, name(path)


# What belongs to RunPod's transport, or to a request's form, and the packages that may know it.
TRANSPORT = {
    r"\bbase64\b": ("http", "server", "api", "schema", "boot"),
    r"\bs3Config\b": ("server", "api", "schema", "boot"),
    r"/runpod-volume\b": ("server", "api", "schema", "boot"),
    r"\b(?:1|10|20) MB\b|\b(?:950_000|680_000|9_500_000)\b": ("server", "api", "schema", "boot"),
}


@pytest.mark.parametrize(("pattern", "packages"), TRANSPORT.items())
def test_the_stages_know_nothing_of_the_transport(pattern: str, packages: tuple[str, ...]) -> None:
    for path in WORKER:
        if path.relative_to(PACKAGE).parts[0] in (*packages, "settings.py"):
            continue
        found = re.search(pattern, path.read_text(encoding="utf-8"))
        assert found is None, f"{name(path)}: {found and found[0]}"


def test_only_the_server_imports_the_sdk() -> None:
    for path in WORKER:
        if path.parent.name != "server":
            assert "runpod" not in {module.split(".")[0] for module in imported(path)}, name(path)


# -- sizes and names --------------------------------------------------------------------------------------------------


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_files_and_functions_stay_readable() -> None:
    for path in SOURCES:
        limit = MAX_ENTRY_LINES if path.parent == ROOT else MAX_FILE_LINES
        assert len(path.read_text(encoding="utf-8").splitlines()) <= limit, name(path)
        for node in functions(path):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, f"{name(path)}: {node.name}"


def test_a_public_class_name_stands_in_one_file() -> None:
    places = defaultdict(set)
    for path in WORKER:
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].add(name(path))
    assert {cls: paths for cls, paths in places.items() if len(paths) > 1} == {}


def public_functions(body: list[ast.stmt]) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Module-level functions and the methods of public classes; properties are values and overloads have no text."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
            if not any(decorator.endswith(("property", "setter")) for decorator in decorators):
                yield node


VERBS = frozenset(
    """
    Abort Acquire Add Advance Align Answer Append Apply Attend
    Begin Bound Bring Build
    Call Cancel Capture Check Choose Close Collect Compare Compile Compute Concatenate Confine Connect Convert Convolve
    Copy Count Create Cut
    Decide Decode Delete Deliver Describe Disable Do Download
    Embed Encode End Estimate Examine
    Fetch Fill Find Finish
    Give
    Have Hide
    Implement Import Install
    Join Judge
    Keep
    Let List Load Log Look
    Make Measure Move
    Normalise
    Open
    Pack Parse Post Prepare Probe Project
    Queue
    Raise Read Record Remove Renew Repair Replace Report Resample Return Run
    Save Send Serve Set Speak Split Start Stop Store
    Take Transcribe Translate
    Uninstall Update
    Validate Verify
    Wait Write
    Yield
    """.split()
)


def test_public_functions_say_what_they_do_beginning_with_a_verb() -> None:
    wrong = []
    for path in WORKER:
        if path.name in CHILDREN or path.name == "nvcc_front.py":
            continue
        for node in public_functions(tree(path).body):
            first = (ast.get_docstring(node) or "").split(" ")[0].strip("`,.:;")
            if first not in VERBS:
                wrong.append(f"{name(path)}: {node.name}: {first!r}")
    assert wrong == []


# -- language ---------------------------------------------------------------------------------------------------------

# Words of an earlier private vocabulary, and archaisms; the right words are in docs/architecture.md.
OLD_WORDS = re.compile(
    r"\b(?:Batcher|Turns\(|Flight|flights?|Crew|crews?|Speaker\[|Manner|Shelf|shelf|shelves|Spoken|Heard|HeardSegment"
    r"|OpenAiEvents|Earlier|[A-Z]?[a-z]*Reply|Gone|Details|cook(?:s|ed)?|kitchen|Ingredients?|reins|sureness"
    r"|device_faults_named|F5_PACK|x_at|widen|anew|whoever|whomever|mend(?:s|ed|ing)?|nobody|somebody|hardly)\b"
    r"|\bis no (?:number|object|text|time|path|such)\b|\blies? (?:in|at|beside|on|under)\b"
)
ALLOWED = {
    "f5_worker/settings.py": ("F5_PACK",),  # read for a while
}


@pytest.mark.parametrize(
    "path",
    [
        *WORKER,
        *ROOT.glob("*.py"),
        ROOT / "README.md",
        ROOT / "SECURITY.md",
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "Dockerfile",
    ],
    ids=name,
)
def test_the_words_are_those_of_the_field(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = sorted({match[0] for match in OLD_WORDS.finditer(text)})
    allowed = ALLOWED.get(name(path), ())
    assert [word for word in found if not word.startswith(tuple(allowed) or ("\0",))] == []
