"""Mutation testing of the critical files: `make mutants`, with mutmut, in a copy of the repository.

Each mutant is run against the tests of its file that reach it. Writes bench/results/mutants.json; the exit code is the
number of groups in which fewer than 85 % of the mutants were killed. Surviving mutants are named there; to read one:
`cd out/mutants && mutmut show NAME`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.record import record  # noqa: E402 - the repository is not an installed package

COPY = ROOT / "out" / "mutants"
MIN_KILLED = 0.85
SURVIVED, NO_TESTS = 0, 33  # mutmut's exit codes; all others are of mutants that were killed, or never ended


@dataclass(frozen=True)
class Group:
    """Files that do one thing, and their tests."""

    sources: Sequence[str]
    tests: Sequence[str]


GROUPS: Mapping[str, Group] = {
    "allocator parser": Group(
        [f"f5_worker/boot/alloc_conf/{name}.py" for name in ("parser", "numbers", "options", "check")],
        ["tests/boot/alloc_conf/test_check.py", "tests/boot/alloc_conf/test_parser.py"],
    ),
    "wheel resolver": Group(["f5_worker/boot/flash_attn/wheels.py"], ["tests/boot/flash_attn/test_wheels.py"]),
    "requests": Group(
        ["f5_worker/schema/requests.py", "f5_worker/schema/bounds.py"],
        ["tests/schema/test_requests.py", "tests/schema/test_bounds.py"],
    ),
    "fetch": Group(
        ["f5_worker/storage/fetch.py", "f5_worker/storage/addresses.py"],
        ["tests/storage/test_fetch.py", "tests/attacks/test_urls.py"],
    ),
}


def configuration(groups: Sequence[Group]) -> str:
    """Return mutmut's settings."""
    sources = "".join(f"\n    {path}" for group in groups for path in group.sources)
    tests = "".join(f"\n    {path}" for group in groups for path in group.tests)
    copied = "".join(f"\n    {path.name}" for path in sorted(COPY.iterdir()) if path.suffix != ".cfg")
    return (
        f"[mutmut]\nsource_paths={sources}\nalso_copy={copied}\npytest_add_cli_args_test_selection={tests}\n"
        "pytest_add_cli_args=\n    -p\n    no:cacheprovider\n"
    )


def copy_repository() -> None:
    """Copy the files under version control, as they are now: mutmut writes beside them."""
    shutil.rmtree(COPY, ignore_errors=True)
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    for name in listed:
        if (ROOT / name).is_file():
            (COPY / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, COPY / name)


def killed_of(group: Group) -> dict[str, Any]:
    """Return how many mutants of a group were killed, and the names of the others."""
    codes: dict[str, int | None] = {}
    for source in group.sources:
        codes |= json.loads((COPY / "mutants" / f"{source}.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
    tested = {name: code for name, code in codes.items() if code is not None}
    alive = sorted(name for name, code in tested.items() if code in (SURVIVED, NO_TESTS))
    share = 1 - len(alive) / max(1, len(tested))
    files = [Path(source).name for source in group.sources]
    return {"files": files, "mutants": len(tested), "killed": round(share, 4), "survivors": alive}


def main() -> int:
    """Make the mutants, run the tests, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--group", choices=GROUPS, action="append", help="only this one; nothing is written")
    parser.add_argument("--children", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    arguments = parser.parse_args()
    chosen = {name: GROUPS[name] for name in arguments.group or GROUPS}
    copy_repository()
    (COPY / "setup.cfg").write_text(configuration(list(chosen.values())), encoding="utf-8")
    command = ["nice", "-n", "10", sys.executable, "-m", "mutmut", "run", "--max-children", str(arguments.children)]
    with (COPY / "log.txt").open("w", encoding="utf-8") as log:  # a line for each turn of its spinner
        subprocess.run(command, cwd=COPY, check=True, stdout=log, stderr=subprocess.STDOUT)
    results = {name: killed_of(group) for name, group in chosen.items()}
    if arguments.group:
        print(json.dumps(results, indent=2))
    else:
        record("mutants", results)
    return sum(result["killed"] < MIN_KILLED for result in results.values())


if __name__ == "__main__":
    sys.exit(main())
