"""The table of what bench/verify.py measured, for docs/api.md."""

from __future__ import annotations

import json
from pathlib import Path

RESULTS = Path(__file__).resolve().parent.parent / "bench" / "results"
PLANTED = {
    "replaced": "another text",
    "cut": "first or last words cut off",
    "repeated": "words said twice",
    "silenced": "silence in place of words",
    "noise": "noise in place of words",
    "leaked": "words of the reference before or after it",
}
GOOD = {"good": "good speech", "names_numbers_homophones": "good speech of names, numbers and homophones"}


def verification() -> str:
    """Return a row for each kind of speech."""
    strata = json.loads((RESULTS / "verify.json").read_text(encoding="utf-8"))["strata"]
    rows = ["| speech | utterances | refused |", "|---|---|---|"]
    for name, words in (PLANTED | GOOD).items():
        n, passed = strata[name]["utterances"], strata[name]["passed"]
        rows.append(f"| {words} | {n} | {n - passed} |")
    return "\n".join(rows)
