"""Explain what is wrong with a pair of PYTORCH_CUDA_ALLOC_CONF, and suggest what was probably meant."""

from __future__ import annotations

import difflib
import re

from f5_worker.boot.alloc_conf.options import OLDEST, OPTIONS, Kind, Option, lookup
from f5_worker.boot.alloc_conf.parser import judge

_DECORATION = "\"'`“”‘’\\#$ \t\r\n\v\f\xa0"
_BOOLS = {"true": "True", "1": "True", "on": "True", "yes": "True"}
_BOOLS |= {"false": "False", "0": "False", "off": "False", "no": "False"}


def explain(pair: str, release: int, torch_message: str) -> tuple[str, str | None]:
    """Return why torch 2.`release` refuses `pair`, and a similar pair that it accepts, or None.

    Args:
        torch_message: the text of torch's own error.
    """
    if not pair:
        return "there is a comma too many; torch accepts one only at the end", None
    suggestion = _suggest(pair, release)
    reason = _reason(pair, release, torch_message) + (f"; write {suggestion!r}" if suggestion else "")
    return f"pair {pair!r}: {reason} (torch 2.{release}: {torch_message.strip()})", suggestion


def nearest(key: str, release: int) -> str | None:
    """Return the known key that is most similar to `key` in this release, or else in a later one."""
    word = key.strip(_DECORATION).lower().replace("-", "_")
    of_release = [name for name, option in OPTIONS.items() if option.since <= release]
    for names in (of_release, list(OPTIONS)):
        if word in names:
            return word
        close = difflib.get_close_matches(word, names, 1)
        if close:
            return close[0]
    return None


def _reason(pair: str, release: int, torch_message: str) -> str:
    key, colon, value = pair.partition(":")
    option = lookup(key, release)
    if option:
        if not colon:
            return f"the value is missing; {_accepted(option, release)}"
        return _bad_value(option, value, release, torch_message)
    if key in OPTIONS:
        return f"{key} needs torch >= 2.{OPTIONS[key].since}"
    word, equals, _ = key.partition("=")
    if equals and word.strip() in OPTIONS:
        return f"{word} is followed by '=' instead of ':'"
    similar = nearest(word, release)
    if similar is None:
        hint = "; write decimal fractions with a point" if key.isdigit() else ""
        return f"{key!r} is not an option of torch 2.{release}{hint}"
    return f"{key!r} is unknown, did you mean {similar}? {_accepted(OPTIONS[similar], release)}"


def _accepted(option: Option, release: int) -> str:
    since = f"since torch 2.{option.since}" if option.since > OLDEST else f"in every torch since 2.{OLDEST}"
    return f"{option.name} takes {option.accepts(release)} ({since})"


def _bad_value(option: Option, value: str, release: int, torch_message: str) -> str:
    accepted = _accepted(option, release)
    if value.count("[") != value.count("]"):
        return f"the brackets do not match; {accepted}"
    if re.search(r"\S\s+\S", value) and not re.fullmatch(r"[\d\s]+", value):
        return f"there is white space in place of a comma; {accepted}"
    if ";" in value:
        return f"there is a ';' in place of a ','; {accepted}"
    limit = re.search(r"must be >= (\d+)", torch_message)
    if limit and int(limit[1]) > 20:  # large_segment_size_mb in another pair raised it
        accepted = f"{option.name} has to be >= large_segment_size_mb, here {limit[1]}"
    return f"{value!r} is not accepted; {accepted}"


def _suggest(pair: str, release: int) -> str | None:
    """Return the pair with every likely mistake corrected, or None if torch would not accept the result."""
    parts = re.split(r"[;\s]+", pair.strip(_DECORATION)) if "[" not in pair else [pair.strip(_DECORATION)]
    corrected = ",".join(_correct(part, release) for part in parts if part)
    return corrected if corrected and corrected != pair and judge(corrected, release).verdict == "ok" else None


def _correct(part: str, release: int) -> str:
    key, _, value = part.partition(":") if ":" in part else part.partition("=")
    if key not in OPTIONS:  # a key of a later release is not a typing mistake
        key = nearest(key, release) or key
    value = value.strip(_DECORATION)
    option = lookup(key, release)
    if option and option.kind is Kind.BOOL:
        value = _BOOLS.get(value.lower(), value)
    return f"{key}:{value}"
