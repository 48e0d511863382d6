"""Word times of spoken segments, mapped to the text as the caller wrote it."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from f5_worker.alignment.align import Aligned
from f5_worker.alignment.estimate import estimate
from f5_worker.alignment.timeline import SpeakerTurn, Timeline, TimingSource, Word
from f5_worker.alignment.words import phonetic_length, word_spans
from f5_worker.audio.levels import Samples

ROUNDING_S = 0.001  # words that overlap by less are in order


@dataclass(frozen=True, eq=False)
class AlignedSegment:
    """The text of one segment, and when it is spoken.

    Attributes:
        text: as spoken.
        origins: for each character of `text` the `(begin, end)` in the caller's text that it is from; empty
            (begin == end) for characters that were added.
        start_s, end_s: its bounds in the whole audio.
        samples: `[nw]` at 24 kHz, the audio between these bounds.
        aligned: the time of each word, relative to `start_s`; None to estimate them.
    """

    text: str
    origins: tuple[tuple[int, int], ...]
    start_s: float
    end_s: float
    samples: Samples
    aligned: Aligned | None
    speaker: str | None = None


class _Part(NamedTuple):
    """Characters `begin` to `end` of the caller's text, and when they are spoken. confidence: None if estimated."""

    begin: int
    end: int
    start_s: float
    end_s: float
    confidence: float | None


class TimelineBuilder:
    """Times of a text whose segments are spoken one after another.

    Characters that are not spoken take no time, at the end of the word before them. Text that is spoken in another
    order than it is written ("$5": five dollars) shares one stretch of time, and a word of several spoken ones has
    the least of their confidences.

    Args:
        text: as the caller sent it, without its markup.
        turns: who speaks which part of it.
    """

    def __init__(self, text: str, turns: Sequence[SpeakerTurn] = ()) -> None:
        self._text, self._turns = text, tuple(turns)
        self._spans = word_spans(text)
        self._parts: list[_Part] = []
        self._in_order: list[_Part] = []
        self._measured: list[bool] = []
        self._covered = 0  # characters of the text that segments so far reach to
        self._n_taken = 0
        self._taken_until_s: float | None = None  # end of the last word taken

    def add(self, segment: AlignedSegment, duration_s: float) -> None:
        """Add the next segment; the audio has `duration_s` so far."""
        parts = list(_parts(segment))
        self._parts += parts
        self._measured.append(segment.aligned is not None)
        self._covered = max([self._covered, *(end for _, end in segment.origins)])
        _merge(self._in_order, parts, duration_s)

    def take_words(self) -> list[Word]:
        """Return the words whose text is spoken since the last call; the time is linear in their number."""
        last = bisect_right(self._spans, self._covered, key=lambda span: span[1])
        spans, self._n_taken = self._spans[self._n_taken : last], max(self._n_taken, last)
        if not spans:
            return []
        first = bisect_right(self._in_order, spans[0][0], key=lambda part: part.end)
        at_s = self._taken_until_s
        if at_s is None:
            at_s = self._in_order[0].start_s if self._in_order else 0.0
        words = [word for word, _ in _timed_words(self._text, spans, self._in_order[first:], at_s)]
        self._taken_until_s = words[-1].end_s
        return words

    def finish(self, duration_s: float) -> Timeline:
        """Return the times of the whole text, in audio of `duration_s`."""
        parts: list[_Part] = []
        _merge(parts, self._parts, duration_s)
        at_s = parts[0].start_s if parts else 0.0
        times = [(0.0, 0.0)] * len(self._text)
        words: list[Word] = []
        last = 0
        for word, inner in _timed_words(self._text, self._spans, parts, at_s):
            times[last : word.begin] = [(at_s, at_s)] * (word.begin - last)
            times[word.begin : word.end] = inner
            at_s, last = word.end_s, word.end
            words.append(word)
        times[last:] = [(at_s, at_s)] * (len(self._text) - last)
        measured = bool(self._measured) and all(self._measured)
        source: TimingSource = "aligned" if measured else "estimated"
        return Timeline(self._text, tuple(words), tuple(times), duration_s, source, self._turns)


def character_times(word: Word) -> list[tuple[float, float]]:
    """Return `(start_s, end_s)` for each character of a word: its time is shared by letters, marks take none."""
    part = _Part(0, len(word.text), word.start_s, word.end_s, word.confidence)
    return [(letter.start_s, letter.end_s) for _, letter in _characters(word.text, part)]


def _timed_words(
    text: str, spans: Sequence[tuple[int, int]], parts: Sequence[_Part], at_s: float
) -> Iterator[tuple[Word, list[tuple[float, float]]]]:
    """Yield each word with the times of its characters. `at_s`: where the word before the first one ends."""
    spoken = dict(itertools.chain.from_iterable(_characters(text, part) for part in parts))
    for begin, end in spans:
        inside = [spoken[at] for at in range(begin, end) if at in spoken]
        start_s = at_s = inside[0].start_s if inside else at_s
        times = []
        for at in range(begin, end):
            times.append((spoken[at].start_s, spoken[at].end_s) if at in spoken else (at_s, at_s))
            at_s = times[-1][1]
        yield Word(text[begin:end], begin, end, start_s, at_s, _least([part.confidence for part in inside])), times


def _parts(segment: AlignedSegment) -> Iterator[_Part]:
    """Yield each spoken letter that is from the caller's text, with its place there."""
    spans = segment.aligned if segment.aligned is not None else estimate(segment.samples, segment.text)
    for (begin, end), span in zip(word_spans(segment.text), spans, strict=True):
        word = _Part(begin, end, segment.start_s + span.start_s, segment.start_s + span.end_s, span.confidence)
        for at, letter in _characters(segment.text, word):
            origin = segment.origins[at]
            if phonetic_length(segment.text[at]) and origin[0] < origin[1]:
                yield letter._replace(begin=origin[0], end=origin[1])


def _characters(text: str, part: _Part) -> list[tuple[int, _Part]]:
    """Return each character of a part with its share of the time, by letters; marks between letters take none."""
    weights = [phonetic_length(char) for char in text[part.begin : part.end]]
    shares = list(itertools.accumulate(weights if any(weights) else [1.0] * len(weights), initial=0.0))
    length_s = part.end_s - part.start_s  # rounding may reach one step beyond the end
    times = [min(part.start_s + length_s * share / shares[-1], part.end_s) for share in shares]
    return [
        (at, part._replace(begin=at, end=at + 1, start_s=start_s, end_s=end_s))
        for at, (start_s, end_s) in enumerate(itertools.pairwise(times), start=part.begin)
    ]


def _merge(found: list[_Part], parts: Iterable[_Part], duration_s: float) -> None:
    """Add parts to `found`, ascending in text and in time; parts that cross each other become one."""
    for part in sorted(parts, key=lambda part: part.begin):
        while found and (part.begin < found[-1].end or part.start_s < found[-1].end_s - ROUNDING_S):
            part = _union(found.pop(), part)
        start_s = max(min(part.start_s, duration_s), found[-1].end_s if found else 0.0)
        found.append(part._replace(start_s=start_s, end_s=max(min(part.end_s, duration_s), start_s)))


def _union(left: _Part, right: _Part) -> _Part:
    begin, end = min(left.begin, right.begin), max(left.end, right.end)
    start_s, end_s = min(left.start_s, right.start_s), max(left.end_s, right.end_s)
    return _Part(begin, end, start_s, end_s, _least([left.confidence, right.confidence]))


def _least(confidences: Sequence[float | None]) -> float | None:
    """Return the least confidence; None for no words, and if one of them is estimated."""
    known = [value for value in confidences if value is not None]
    return min(known) if known and len(known) == len(confidences) else None
