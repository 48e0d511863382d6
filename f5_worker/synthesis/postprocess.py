"""The finished audio as asked for: trimmed, at its loudness, padded. All signals are float32 `[nw]` at 24 kHz."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from f5_worker.audio.join import LEAD_S, TAIL_S
from f5_worker.audio.levels import SAMPLE_RATE, Samples, sound_span
from f5_worker.audio.loudness import level
from f5_worker.schema.actions import SpeechRequest
from f5_worker.schema.dub import DubInput
from f5_worker.synthesis.result import Result

LOUDNESS_TOLERANCE_LU = 0.5


@dataclass(frozen=True, eq=False)
class Shifted:
    """A signal, and by how much later than before everything in it is heard; negative where its begin was cut."""

    samples: Samples
    shift_s: float


def needs_whole_audio(request: SpeechRequest) -> bool:
    """Return whether nothing of the audio can be sent before its end: it is trimmed or levelled, or lines overlap."""
    return request.trim_silence or request.loudness_lufs is not None or isinstance(request, DubInput)


def postprocess(request: SpeechRequest, result: Result) -> Result:
    """Return the result trimmed, at its loudness and padded, as asked; times move with the audio."""
    if not len(result.samples):  # sent as it was spoken: neither trimmed nor levelled
        lead, tail = (len(silence(pad_s)) for pad_s in (request.pad_start_s, request.pad_end_s))
        return result.shifted(result.samples, lead + result.n_samples + tail, lead / SAMPLE_RATE)
    samples, shift_s, warnings, gain = result.samples, 0.0, list(result.warnings), 1.0
    if request.trim_silence:
        trimmed = trim_silence(samples)
        samples, shift_s = trimmed.samples, trimmed.shift_s
    if request.loudness_lufs is not None:
        levelled = level(samples, request.loudness_lufs)
        samples, gain = levelled.samples, levelled.gain
        if abs(levelled.lufs - request.loudness_lufs) > LOUDNESS_TOLERANCE_LU:
            warnings.append(
                f"the result is at {levelled.lufs:.1f} LUFS, not at {request.loudness_lufs:g}: "
                "its peaks leave no more room; ask for less"
            )
    padded = pad(samples, request.pad_start_s, request.pad_end_s)
    shift_s += padded.shift_s
    return replace(result, warnings=warnings, line_gain=gain).shifted(padded.samples, len(padded.samples), shift_s)


def trim_silence(samples: Samples) -> Shifted:
    """Cut the silence at both ends down to LEAD_S and TAIL_S; a signal without any sound stays as it is."""
    begin, end = sound_span(samples, LEAD_S, tail_s=TAIL_S)
    return Shifted(samples[begin:end], -begin / SAMPLE_RATE) if end else Shifted(samples, 0.0)


def pad(samples: Samples, lead_s: float, tail_s: float) -> Shifted:
    """Add digital silence before and after, to the nearest sample."""
    lead, tail = len(silence(lead_s)), len(silence(tail_s))
    return Shifted(np.pad(samples, (lead, tail)), lead / SAMPLE_RATE)


def silence(duration_s: float) -> Samples:
    """Return digital silence of that length, to the nearest sample."""
    return np.zeros(round(duration_s * SAMPLE_RATE), np.float32)
