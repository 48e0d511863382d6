"""Times of cues and their words in whole ticks of a format's clock."""

from __future__ import annotations

from collections.abc import Sequence

from f5_worker.subtitles.cues import SubtitleCue, TextUnit

ESTIMATED_NOTE = "The times are estimated from the text; they were not measured in the audio."


def cue_spans(cues: Sequence[SubtitleCue], ticks_per_s: int) -> list[tuple[int, int]]:
    """Return `(begin, end)` of each cue in ticks: in order, without overlap, each at least one tick long."""
    spans: list[tuple[int, int]] = []
    earliest = 0
    for cue in cues:
        begin = max(round(cue.start_s * ticks_per_s), earliest)
        earliest = max(round(cue.end_s * ticks_per_s), begin + 1)
        spans.append((begin, earliest))
    return spans


def unit_spans(cue: SubtitleCue, span: tuple[int, int], ticks_per_s: int) -> list[list[tuple[TextUnit, int, int]]]:
    """Return the units of each line with their `(begin, end)` in ticks.

    Each unit lasts until the next one begins, and together they fill the cue. They are rounded as times, not as
    lengths, so that rounding errors do not add up.

    Args:
        span: `(begin, end)` of the cue in ticks, from `cue_spans`.
    """
    units = [unit for line in cue.lines for unit in line]
    begins = [span[0], *(min(max(round(unit.start_s * ticks_per_s), span[0]), span[1]) for unit in units[1:])]
    timed = iter(zip(units, begins, [*begins[1:], span[1]], strict=True))
    return [[next(timed) for _ in line] for line in cue.lines]
