"""Read TTML and DFXP: every namespace and form of time that its versions have had.

pysubs2 knows one namespace, `begin` with `end`, and no frames or ticks: it reads two of ten such files. Runs in the
process of `library_child.py`, as Python's XML parser has to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

_CLOCK = re.compile(r"(\d{1,9}):(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9})|:(\d{1,3})(?:\.\d+)?)?", flags=re.ASCII)
_SHORT_CLOCK = re.compile(r"(?:(\d{1,9}):)?(\d{1,2}(?:\.\d{1,9})?)", flags=re.ASCII)
_OFFSET = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)(h|ms|m|s|f|t)", flags=re.ASCII)
_SECONDS = {"h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SPACES = re.compile(r"\s+")
_MAX_DEPTH = 100


class TtmlError(Exception):
    """Why a file cannot be read."""


@dataclass(frozen=True)
class _Rates:
    """Frames and ticks in a second."""

    frames: float
    ticks: float


def parse_ttml(text: str) -> list[tuple[float, float | None, str]]:
    """Return `(start_s, end_s, words)` of each paragraph, the end None where it has none; lines are kept.

    Raises:
        TtmlError: not well-formed XML, or with times that are none.
    """
    # A declaration of an encoding is about the bytes, which were decoded before; one of entities is not needed.
    bare = re.sub(r"\A\s*<\?xml[^>]{0,200}\?>", "", text)
    if re.search(r"<!ENTITY", bare):
        raise TtmlError("declares entities, which captions do not need")
    try:
        root = ElementTree.fromstring(bare)  # noqa: S314 - confined, and without entities of its own
    except ElementTree.ParseError as error:
        raise TtmlError(f"is not well-formed XML in line {error.position[0]}") from None
    body = next((child for child in root if _name(child) == "body"), None)
    if body is None:
        return []
    return list(_cues(body, 0.0, None, _rates(root), 0))


def _cues(
    element: Element, parent_s: float, parent_end_s: float | None, rates: _Rates, depth: int
) -> Iterator[tuple[float, float | None, str]]:
    """Yield the cues in an element; times are relative to those of the element around it."""
    if depth > _MAX_DEPTH:
        raise TtmlError(f"is nested deeper than {_MAX_DEPTH} elements")
    start_s, end_s = _span_s(element, parent_s, parent_end_s, rates)
    if _name(element) != "p":
        for child in element:
            if _name(child) in ("div", "p"):
                yield from _cues(child, start_s, end_s, rates, depth + 1)
        return
    spans = [child for child in element if _name(child) == "span" and _has_times(child)]
    if spans and not _has_times(element):
        for span in spans:
            span_start_s, span_end_s = _span_s(span, start_s, end_s, rates)
            yield span_start_s, span_end_s, _words(span)
        return
    yield start_s, end_s, _words(element)


def _span_s(element: Element, parent_s: float, parent_end_s: float | None, rates: _Rates) -> tuple[float, float | None]:
    begin = _time_s(element, "begin", rates) or 0.0
    end, duration = _time_s(element, "end", rates), _time_s(element, "dur", rates)
    duration = _time_s(element, "duration", rates) if duration is None else duration
    if parent_end_s is not None and parent_s + begin >= parent_end_s > parent_s:
        parent_s = 0.0  # Apple's lyrics count from the beginning of the song
    start_s = round(parent_s + begin, 6)
    if duration is not None:
        return start_s, round(start_s + duration, 6)
    return start_s, parent_end_s if end is None else round(parent_s + end, 6)


def _has_times(element: Element) -> bool:
    return any(name in element.attrib for name in ("begin", "end", "dur"))


def _time_s(element: Element, name: str, rates: _Rates) -> float | None:
    value = element.attrib.get(name)
    if value is None:
        return None
    stamp = value.strip()
    if match := _OFFSET.fullmatch(stamp):
        unit = {**_SECONDS, "f": 1.0 / rates.frames, "t": 1.0 / rates.ticks}[match[2]]
        return float(match[1]) * unit
    if match := _CLOCK.fullmatch(stamp):
        hours, minutes, seconds, fraction, frame = match.groups()
        whole = int(hours) * 3_600 + int(minutes) * 60 + int(seconds)
        return whole + float(f"0.{fraction or 0}") + int(frame or 0) / rates.frames
    if match := _SHORT_CLOCK.fullmatch(stamp):
        return int(match[1] or 0) * 60 + float(match[2])
    raise TtmlError("has a time that cannot be read; write it as 00:00:01.500")


def _rates(root: Element) -> _Rates:
    parameters = {name.rpartition("}")[2]: value for name, value in root.attrib.items()}
    try:
        multiplier, divisor = map(float, parameters.get("frameRateMultiplier", "1 1").replace(":", " ").split())
        frames = float(parameters.get("frameRate", 30.0)) * multiplier / divisor
        ticks = float(parameters.get("tickRate", 0.0)) or (frames if "frameRate" in parameters else 1.0)
    except (ValueError, ZeroDivisionError):
        frames = ticks = 0.0
    if not (0.1 <= frames <= 1e4 and 0.1 <= ticks <= 1e12):
        raise TtmlError("has a rate of frames or ticks that cannot be used")
    return _Rates(frames, ticks)


def _words(element: Element) -> str:
    """Return the text of an element; a line break is one only where it is written as `br`."""
    parts: list[str] = []
    _collect(element, parts, 0)
    return "".join(parts).strip()


def _collect(element: Element, parts: list[str], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise TtmlError(f"is nested deeper than {_MAX_DEPTH} elements")
    parts.append(_SPACES.sub(" ", element.text or ""))
    for child in element:
        if not isinstance(child.tag, str):  # a comment
            pass
        elif _name(child) == "br":
            parts.append("\n")
        elif _name(child) == "span":
            _collect(child, parts, depth + 1)
        parts.append(_SPACES.sub(" ", child.tail or ""))


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
