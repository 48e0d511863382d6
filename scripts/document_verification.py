"""The tables of what bench/verify.py and bench/verified.py measured, for docs/api.md."""

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


def checked_speech() -> str:
    """Return the word error rates of the small model's speech with and without checks, a row for each recogniser."""
    found = read("verified-f5-tiny")
    rows = [
        f"{found['sentences']} literary sentences by f5-tiny, NFE {found['nfe']}; word error rates by:\n",
        "| | without | with `verify` | of Piper's speech |",
        "|---|---|---|---|",
    ]
    for row in found["word_error_rate"]:
        rows.append(f"| {row['judge']} | {row['plain']:.1%} | {row['verified']:.1%} | {row['piper']:.1%} |")
    return "\n".join(rows)
