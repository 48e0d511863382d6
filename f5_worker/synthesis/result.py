"""A job's audio as it grows, and what is known of it in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from f5_worker.alignment.build import AlignedSegment, TimelineBuilder
from f5_worker.alignment.timeline import Timeline, Word, shifted
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.engine.types import SegmentAudio
from f5_worker.synthesis.assemble import AudioPart
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.prepare import Speech

_NONE: Samples = np.zeros(0, np.float32)


@dataclass(frozen=True, eq=False)
class Result:
    """The whole audio of a job, `[nw]` at 24 kHz, and what was said.

    Attributes:
        samples: empty where the audio was sent in chunks as it was spoken, and nothing needs all of it.
        n_samples: its length, also then.
        timeline: None where no times were asked for.
        segments: in order, with their times.
        spoken: the engine's results without their audio, for the metrics.
        in_chunks: the audio was sent in chunks of its encoded file.
        file: the audio in the format that was asked for, where it was encoded as it was spoken.
        lines: of a dubbed track, each line by itself, where that is asked for.
        line_gain: by which lines are to be amplified to be as loud as in the track.
    """

    speech: Speech
    samples: Samples
    n_samples: int
    timeline: Timeline | None
    segments: Sequence[AlignedSegment]
    spoken: Sequence[SegmentAudio]
    warnings: Sequence[str]
    in_chunks: bool = False
    file: bytes | None = None
    lines: Sequence[Samples] = ()
    line_gain: float = 1.0

    @property
    def duration_s(self) -> float:
        """Return the length of the audio."""
        return self.n_samples / SAMPLE_RATE

    def shifted(self, samples: Samples, n_samples: int, shift_s: float) -> Result:
        """Return the result with other samples, `n_samples` in all, in which everything is heard later by `shift_s`."""
        end_s = n_samples / SAMPLE_RATE
        return replace(
            self,
            samples=samples,
            n_samples=n_samples,
            timeline=None if self.timeline is None else shifted(self.timeline, shift_s, end_s),
            segments=[
                replace(
                    segment,
                    start_s=min(max(segment.start_s + shift_s, 0.0), end_s),
                    end_s=min(max(segment.end_s + shift_s, 0.0), end_s),
                )
                for segment in self.segments
            ],
        )


class Recording:
    """Collects the parts of a job's audio.

    Args:
        keeps_samples: the audio is needed as a whole. An hour has 345 MB, which a caller may take an hour to read.
    """

    def __init__(self, job: Job, speech: Speech, *, keeps_samples: bool) -> None:
        self._keeps_samples = keeps_samples
        self._speech, self._stopwatch = speech, job.stopwatch
        self._builder = TimelineBuilder(speech.text, speech.turns) if job.request.wants_times else None
        self._samples: list[Samples] = []
        self._segments: list[AlignedSegment] = []
        self._spoken: list[SegmentAudio] = []
        self._lines: list[Samples] = []
        self._n_samples = 0

    @property
    def duration_s(self) -> float:
        """Return the length of the audio so far."""
        return self._n_samples / SAMPLE_RATE

    def add(self, part: AudioPart) -> None:
        """Append a part."""
        if self._keeps_samples:
            self._samples.append(part.samples)
        self._n_samples += len(part.samples)
        self._lines += part.lines
        self._segments += [replace(segment, samples=_NONE) for segment in part.segments]
        self._spoken += [replace(audio, samples=_NONE) for audio in part.spoken]
        if self._builder is not None:
            with self._stopwatch.stage("timing_ms"):
                for segment in part.segments:
                    self._builder.add(segment, self.duration_s)

    def take_words(self, shift_s: float) -> list[Word]:
        """Return the words that became known since the last call, later by `shift_s`."""
        if self._builder is None:
            return []
        with self._stopwatch.stage("timing_ms"):
            words = self._builder.take_words()
        return [replace(word, start_s=word.start_s + shift_s, end_s=word.end_s + shift_s) for word in words]

    def finish(self) -> Result:
        """Return the whole."""
        timeline = None
        if self._builder is not None:
            with self._stopwatch.stage("timing_ms"):
                timeline = self._builder.finish(self.duration_s)
        samples = np.concatenate([*self._samples, _NONE])
        return Result(
            self._speech,
            samples,
            self._n_samples,
            timeline,
            self._segments,
            self._spoken,
            self._speech.warnings,
            lines=self._lines,
        )
