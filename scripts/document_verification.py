"""The table of what bench/verify.py measured, for docs/api.md."""

from __future__ import annotations

from bench.record import read

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
    strata = read("verify")["strata"]
    rows = ["| speech | utterances | refused |", "|---|---|---|"]
    for name, words in (PLANTED | GOOD).items():
        n, passed = strata[name]["utterances"], strata[name]["passed"]
        rows.append(f"| {words} | {n} | {n - passed} |")
    return "\n".join(rows)
