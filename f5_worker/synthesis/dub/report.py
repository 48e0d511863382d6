"""What is told of a track: each line with its times, each speaker's voice, and what the caller should look at."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from f5_worker.schema.responses import LineResponse, SpeakerResponse
from f5_worker.synthesis.dub.plan import Line
from f5_worker.synthesis.dub.voices import AssignedVoices
from f5_worker.synthesis.takes import KeptTake, report_verified
from f5_worker.voices.info import LoadedVoice

if TYPE_CHECKING:
    from f5_worker.transcripts.cues import Cue


def report_lines(lines: Sequence[Line]) -> list[LineResponse]:
    """Return the report of each line."""
    return [
        LineResponse(
            index=index,
            speaker=line.cue.speaker,
            text=line.cue.text,
            slot_start_s=line.cue.start_s,
            slot_end_s=line.cue.end_s,
            start_s=round(line.fitted.start_s, 6),
            end_s=round(line.fitted.end_s, 6),
            speed=round(line.fitted.speed, 4),
            overlap_s=round(line.fitted.overlap_s, 3),
            fit=line.fitted.step,
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


def report_speakers(voices: AssignedVoices, cues: Sequence[Cue]) -> list[SpeakerResponse]:
    """Return the voice of each speaker, in order of their first lines."""
    speakers = dict.fromkeys(cue.speaker for cue in cues)
    return [_report_speaker(speaker, voices.of(speaker)) for speaker in speakers]


def _report_speaker(speaker: str | None, voice: LoadedVoice) -> SpeakerResponse:
    reference = voice.reference
    return SpeakerResponse(
        speaker=speaker,
        voice=voice.name or None,
        transcript=reference.transcript.strip(),
        clip_start_s=None if voice.name else reference.report.clip_start_s,
        clip_s=round(reference.duration_s, 3),
        verdict=reference.report.verdict,
    )


def line_warnings(lines: Sequence[Line]) -> list[str]:
    """Return the overlaps, the delays, and the warnings of the lines' texts, each once."""
    return [
        *_overlaps(lines),
        *_delays(lines),
        *dict.fromkeys(warning for line in lines for warning in line.plan.warnings),
    ]


def _overlaps(lines: Sequence[Line]) -> list[str]:
    overlapping = [line for line in lines if line.fitted.overlap_s > 0]
    if not overlapping:
        return []
    worst = max(overlapping, key=lambda line: line.fitted.overlap_s)
    return [
        f"{len(overlapping)} lines run into the next one, line {worst.cue.number} by {worst.fitted.overlap_s:.2f} s; "
        "shorten them, move them, or raise max_speed"
    ]


def _delays(lines: Sequence[Line]) -> list[str]:
    delay_s = {line.cue.number: line.fitted.start_s - line.cue.start_s for line in lines}
    late = [number for number, late_s in delay_s.items() if late_s > 0]
    if not late:
        return []
    worst = max(late, key=lambda number: delay_s[number])
    return [
        f"{len(late)} lines start late, line {worst} by {delay_s[worst]:.2f} s, since lines before them are longer "
        "than their times; shorten these, raise fit.max_speed, or bound the delay by fit.max_delay_s"
    ]
