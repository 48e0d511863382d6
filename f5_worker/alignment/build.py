"""Times of what was spoken to times of what the caller wrote."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from f5_worker.alignment.align import Aligned
from f5_worker.alignment.estimate import estimate
from f5_worker.alignment.timeline import Timeline, Word
from f5_worker.alignment.words import phonetic_length, word_spans
from f5_worker.audio.levels import Samples

ROUNDING_S = 0.001  # words that overlap by less are in order


@dataclass(frozen=True, eq=False)
class AlignedSegment:
    """What one segment says, and where it is heard.

    text: as spoken. origins: for each character of it the `(begin, end)` in the caller's text that it is from;
    equal and empty for what was added. start_s, end_s: its bounds in the whole audio. samples: `[nw]` at 24 kHz
    between them. aligned: a span for each of its words, relative to its start; None to have them estimated.
    """

    text: str
    origins: tuple[tuple[int, int], ...]
    start_s: float
    end_s: float
    samples: Samples
    aligned: Aligned | None


class _Part(NamedTuple):
    """Characters `begin` to `end` of the caller's text, and when they are heard. confidence: None if estimated."""

    begin: int
    end: int
    start_s: float
    end_s: float
    confidence: float | None


def build_timeline(text: str, segments: Sequence[AlignedSegment], duration_s: float) -> Timeline:
    """When each word and character of the caller's text is heard.

    What is not spoken takes no time, where the word before it ends. What is spoken in another order than it is
    written ("$5": five dollars) shares its time, and a word of several spoken ones has the least of their
    confidences.

    Args:
        text: as the caller sent it.
        segments: all that was spoken, in order.
        duration_s: length of the whole audio.
    """
    parts = _in_order([part for segment in segments for part in _parts(segment)], duration_s)
    heard = dict(itertools.chain.from_iterable(_characters(text, part) for part in parts))
    at_s = parts[0].start_s if parts else 0.0
    times = [(0.0, 0.0)] * len(text)
    words: list[Word] = []
    last = 0
    for begin, end in word_spans(text):
        inside = [heard[at] for at in range(begin, end) if at in heard]
        times[last:begin] = [(at_s, at_s)] * (begin - last)
        start_s = at_s = inside[0].start_s if inside else at_s
        for at in range(begin, end):
            times[at] = (heard[at].start_s, heard[at].end_s) if at in heard else (at_s, at_s)
            at_s = times[at][1]
        words.append(Word(text[begin:end], begin, end, start_s, at_s, _least([part.confidence for part in inside])))
        last = end
    times[last:] = [(at_s, at_s)] * (len(text) - last)
    measured = bool(segments) and all(segment.aligned is not None for segment in segments)
    return Timeline(text, tuple(words), tuple(times), duration_s, "aligned" if measured else "estimated")


def _parts(segment: AlignedSegment) -> Iterator[_Part]:
    """Each spoken letter, and from where in the caller's text it is; what was added from nowhere is left out."""
    spans = segment.aligned if segment.aligned is not None else estimate(segment.samples, segment.text)
    for (begin, end), span in zip(word_spans(segment.text), spans, strict=True):
        word = _Part(begin, end, segment.start_s + span.start_s, segment.start_s + span.end_s, span.confidence)
        for at, letter in _characters(segment.text, word):
            origin = segment.origins[at]
            if phonetic_length(segment.text[at]) and origin[0] < origin[1]:
                yield letter._replace(begin=origin[0], end=origin[1])


def _characters(text: str, part: _Part) -> list[tuple[int, _Part]]:
    """Each character of a part with its share of the time, by letters; marks between letters take none."""
    weights = [phonetic_length(char) for char in text[part.begin : part.end]]
    shares = list(itertools.accumulate(weights if any(weights) else [1.0] * len(weights), initial=0.0))
    length_s = part.end_s - part.start_s  # rounding may reach one step beyond the end
    times = [min(part.start_s + length_s * share / shares[-1], part.end_s) for share in shares]
    return [
        (at, part._replace(begin=at, end=at + 1, start_s=start_s, end_s=end_s))
        for at, (start_s, end_s) in enumerate(itertools.pairwise(times), start=part.begin)
    ]


def _in_order(parts: Sequence[_Part], duration_s: float) -> list[_Part]:
    """The parts in the order of the caller's text, apart in it and in time: those that are not become one."""
    found: list[_Part] = []
    for part in sorted(parts, key=lambda part: part.begin):
        while found and (part.begin < found[-1].end or part.start_s < found[-1].end_s - ROUNDING_S):
            part = _both(found.pop(), part)
        start_s = max(min(part.start_s, duration_s), found[-1].end_s if found else 0.0)
        found.append(part._replace(start_s=start_s, end_s=max(min(part.end_s, duration_s), start_s)))
    return found


def _both(left: _Part, right: _Part) -> _Part:
    begin, end = min(left.begin, right.begin), max(left.end, right.end)
    start_s, end_s = min(left.start_s, right.start_s), max(left.end_s, right.end_s)
    return _Part(begin, end, start_s, end_s, _least([left.confidence, right.confidence]))


def _least(confidences: Sequence[float | None]) -> float | None:
    """None for none, and if one of them is an estimate."""
    known = [value for value in confidences if value is not None]
    return min(known) if known and len(known) == len(confidences) else None
