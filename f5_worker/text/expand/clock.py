"""Times of day, from the frames of a language in `languages.json`: zeventien uur twee, not zeventien: twee.

Frames have {} for the number, and a form for one, few and many, or fewer. `hour` stands before minutes, `minute` after
the hour, `full` instead of both if the minutes are zero, `exact` instead of `minute` before seconds, `zero` before
minutes below ten. `after` and `before` are what is written next to a time; one with a point needs it. `*_ends` are
endings of numbers where nouns are feminine or follow; ^ is the beginning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from f5_worker.text.expand.words import agreeing, converted

_HOUR, _SIXTY = r"(?:[01]?\d|2[0-4])", r"[0-5]\d"
_POLISH_BEFORE = re.compile(r"\b(?:o|od|do|po|około|godz\.|godzinie) $", re.IGNORECASE)
_POLISH = {False: {"drugi": "druga", "i": "ia", "y": "a"}, True: {"i": "iej", "y": "ej"}}  # the latter after these
_SHORT = re.compile(r"\d+:\d+")
_VERSE = re.compile(r"(?<![^\W_])[A-ZÀ-ÞА-Я][^\W\d_]+\.? $")  # Jan 3:16


def clock_pattern(rules: Mapping[str, Any] | None) -> str | None:
    """Return the pattern of a time in a language, None if its words are not known."""
    if rules is None:
        return None
    end = r"(?![^\W_]|[.,:/]\d)"
    after = rules.get("after")
    forms = [rf"{_HOUR}:{_SIXTY}(?::{_SIXTY})?(?: ?(?:{f'{after}|h' if after else 'h'}))?{end}"]
    if after:
        forms.append(rf"{_HOUR}(?:\.{_SIXTY})? ?(?:{after}){end}")
    if "before" in rules:
        written = "|".join(f"(?<={re.escape(word)})" for word in rules["before"])
        forms.append(rf"(?:{written}){_HOUR}\.{_SIXTY}{end}")
    return "|".join(forms)


def time_of_day(written: str, before: str, rules: Mapping[str, Any], code: str) -> str:
    """Read a time that has the pattern of the language.

    Args:
        before: what stands before it.
    """
    numbers = list(map(int, re.findall(r"\d+", written)))
    if _SHORT.fullmatch(written) and _VERSE.search(before):
        return " ".join(converted(number, code) for number in numbers)
    hour, minute, second = (*numbers, 0, 0)[:3]
    hours = _ended(converted(hour, code), rules.get("hour_ends", {}))
    if code == "pl" and hour:  # feminine for godzina: siedemnasta; o siedemnastej
        ends = _POLISH[bool(_POLISH_BEFORE.search(before))]
        hours = " ".join(_ended(word, ends) for word in converted(hour, code, "ordinal").split())
    if not minute and not second:
        return agreeing(rules.get("full", rules["hour"]), hour, code).format(hours)
    words = [agreeing(rules["hour"], hour, code).format(hours)]
    is_exact = second and "exact" in rules
    minutes = _ended(converted(minute, code), rules.get("second_ends" if is_exact else "minute_ends", {}))
    if "zero" in rules and minute < 10 and not is_exact:
        minutes = f"{rules['zero']} {minutes if minute else rules['zero']}"
    words.append(agreeing(rules["exact" if is_exact else "minute"], minute, code).format(minutes))
    if second:
        seconds = _ended(converted(second, code), rules.get("second_ends", {}))
        words.append(agreeing(rules["second"], second, code).format(seconds))
    return " ".join(words)


def _ended(words: str, ends: Mapping[str, str]) -> str:
    """Replace the ending of a number, the first that it has of those given."""
    for end, other in ends.items():
        if f"^{words}".endswith(end):
            return f"^{words}".removesuffix(end).removeprefix("^") + other
    return words
