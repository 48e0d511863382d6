"""What is told of a track: each line with its times, and what the caller should look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice

from f5_worker.schema.responses import LineResponse
from f5_worker.synthesis.dub.plan import Line
from f5_worker.synthesis.takes import KeptTake, report_verified


def report_lines(lines: Sequence[Line]) -> list[LineResponse]:
    """Return the report of each line."""
    return [
        LineResponse(
            index=index,
            speaker=line.cue.speaker,
            text=line.cue.text,
            slot_start_s=line.cue.start_s,
            slot_end_s=line.cue.end_s,
            start_s=line.cue.start_s,
            end_s=round(line.end_s, 6),
            speed=round(line.speed, 4),
            overlap_s=round(line.overlap_s, 3),
        )
        for index, line in enumerate(lines)
    ]


def add_verified(
    reports: Sequence[LineResponse], lines: Sequence[Line], kept: Iterable[KeptTake]
) -> list[LineResponse]:
    """Return the reports with how each line was heard. kept: the takes of all lines' segments, in order."""
    takes = iter(kept)
    return [
        report.model_copy(update={"verified": report_verified(list(islice(takes, len(line.plan.segments))))})
        for report, line in zip(reports, lines, strict=True)
    ]


def line_warnings(lines: Sequence[Line]) -> list[str]:
    """Return the overlaps, and the warnings of the lines' texts, each once."""
    return [*_overlaps(lines), *dict.fromkeys(warning for line in lines for warning in line.plan.warnings)]


def _overlaps(lines: Sequence[Line]) -> list[str]:
    overlapping = [line for line in lines if line.overlap_s > 0]
    if not overlapping:
        return []
    worst = max(overlapping, key=lambda line: line.overlap_s)
    return [
        f"{len(overlapping)} lines run into the next one, line {worst.cue.number} by {worst.overlap_s:.2f} s; "
        "shorten them, move them, or raise max_speed"
    ]
