"""Say what is wrong with a pair of PYTORCH_CUDA_ALLOC_CONF, and what was probably meant."""

from __future__ import annotations

import difflib
import re

from f5_worker.boot.alloc_conf.options import OLDEST, OPTIONS, Kind, Option, lookup
from f5_worker.boot.alloc_conf.parser import judge

_DECORATION = "\"'`“”‘’\\#$ \t\r\n\v\f\xa0"
_BOOLS = {"true": "True", "1": "True", "on": "True", "yes": "True"}
_BOOLS |= {"false": "False", "0": "False", "off": "False", "no": "False"}


def explain(pair: str, release: int, says: str) -> tuple[str, str | None]:
    """Why torch 2.`release` refuses `pair`, and a pair that it would take, if one is near."""
    if not pair:
        return "a comma too many; torch takes only one at the end", None
    suggestion = _suggest(pair, release)
    reason = _reason(pair, release, says) + (f"; write {suggestion!r}" if suggestion else "")
    return f"pair {pair!r}: {reason} (torch 2.{release}: {says.strip()})", suggestion


def nearest(key: str, release: int) -> str | None:
    """The known key most like `key` in this release, or else in a later one."""
    word = key.strip(_DECORATION).lower().replace("-", "_")
    now = [name for name, option in OPTIONS.items() if option.since <= release]
    for names in (now, list(OPTIONS)):
        if word in names:
            return word
        close = difflib.get_close_matches(word, names, 1)
        if close:
            return close[0]
    return None


def _reason(pair: str, release: int, says: str) -> str:
    key, colon, value = pair.partition(":")
    option = lookup(key, release)
    if option:
        if not colon:
            return f"the value is missing; {_takes(option, release)}"
        return _bad_value(option, value, release, says)
    if key in OPTIONS:
        return f"{key} needs torch >= 2.{OPTIONS[key].since}"
    word, equals, _ = key.partition("=")
    if equals and word.strip() in OPTIONS:
        return f"{word} is followed by '=' instead of ':'"
    near = nearest(word, release)
    if near is None:
        comma = "; a decimal fraction takes a point" if key.isdigit() else ""
        return f"{key!r} is no option of torch 2.{release}{comma}"
    return f"{key!r} is unknown, did you mean {near}? {_takes(OPTIONS[near], release)}"


def _takes(option: Option, release: int) -> str:
    since = f"since torch 2.{option.since}" if option.since > OLDEST else f"in every torch since 2.{OLDEST}"
    return f"{option.name} takes {option.accepts(release)} ({since})"


def _bad_value(option: Option, value: str, release: int, says: str) -> str:
    takes = _takes(option, release)
    if value.count("[") != value.count("]"):
        return f"the brackets do not match; {takes}"
    if re.search(r"\S\s+\S", value) and not re.fullmatch(r"[\d\s]+", value):
        return f"white space stands where a comma belongs; {takes}"
    if ";" in value:
        return f"';' stands where ',' belongs; {takes}"
    limit = re.search(r"must be >= (\d+)", says)
    if limit and int(limit[1]) > 20:  # large_segment_size_mb in another pair raised it
        takes = f"{option.name} has to be >= large_segment_size_mb, here {limit[1]}"
    return f"{value!r} is not accepted; {takes}"


def _suggest(pair: str, release: int) -> str | None:
    """The pair with every likely slip mended, where torch would take the result."""
    parts = re.split(r"[;\s]+", pair.strip(_DECORATION)) if "[" not in pair else [pair.strip(_DECORATION)]
    mended = ",".join(_mend(part, release) for part in parts if part)
    return mended if mended and mended != pair and judge(mended, release).verdict == "ok" else None


def _mend(part: str, release: int) -> str:
    key, _, value = part.partition(":") if ":" in part else part.partition("=")
    if key not in OPTIONS:  # one of a later release is no slip
        key = nearest(key, release) or key
    value = value.strip(_DECORATION)
    option = lookup(key, release)
    if option and option.kind is Kind.BOOL:
        value = _BOOLS.get(value.lower(), value)
    return f"{key}:{value}"
