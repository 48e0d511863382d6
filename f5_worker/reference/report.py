"""Measure how well a clip will do as a reference, and say so with reasons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from f5_worker.audio.levels import SAMPLE_RATE, SILENCE_DB, Samples
from f5_worker.reference.clip import Clip
from f5_worker.reference.thresholds import CLIP, REPORT
from f5_worker.text.letters import spoken_letters

ClipVerdict = Literal["good", "usable", "poor"]


class VoiceReport(BaseModel):
    """The measurements of the part of a recording that is used, or of all of it where no part can be used.

    Attributes:
        duration_s, sample_rate: of the recording as it was sent.
        clip_start_s: where the part begins in the recording; None in the records of voices stored before it was kept.
        clip_s: length of the part.
        bandwidth_hz: the highest frequency with energy.
        snr_db: level of the speech over that of its pauses; None where the pauses are too short to measure it.
        clipped_share, silence_share: of the part, 0..1.
        chars_per_s: Latin letters, or their equivalent in other characters, per second of speech.
        agreement: of the caller's transcript with the recognised words, 0..1; None where it was not compared.
        language: ISO 639-1, given or detected.
        reasons: why the verdict is not better.
        repairs: what was corrected in the recording before it was measured.
    """

    model_config = ConfigDict(frozen=True)

    duration_s: float
    sample_rate: int
    clip_start_s: float | None = None
    clip_s: float
    bandwidth_hz: float
    snr_db: float | None
    clipped_share: float
    silence_share: float
    chars_per_s: float | None
    agreement: float | None
    language: str | None
    verdict: ClipVerdict
    reasons: tuple[str, ...]
    repairs: tuple[str, ...] = ()


class _Fault(NamedTuple):
    """A measurement outside its bounds; a severe one makes the clip a poor one."""

    is_severe: bool
    reason: str


def measure(
    clip: Clip,
    text: str,
    *,
    agreement: float | None = None,
    language: str | None = None,
    doubt: str | None = None,
    refusal: str | None = None,
) -> VoiceReport:
    """Measure a clip and judge it.

    Args:
        text: the words in it; may be empty.
        agreement: of the caller's transcript with the recognised words.
        doubt: why the words may be wrong; does not matter where the recogniser confirms them.
        refusal: why it cannot be used at all; then the only reason of the report.
    """
    source = _source_samples(clip)
    length_s = max((clip.end - clip.begin) / SAMPLE_RATE, 1e-9)
    measured = {
        "duration_s": round(clip.audio.duration_s, 3),
        "sample_rate": clip.audio.sample_rate,
        "clip_start_s": round(clip.begin / SAMPLE_RATE, 3),
        "clip_s": round(clip.rendered_s, 3),
        "bandwidth_hz": round(_bandwidth_hz(source, clip.audio.sample_rate)),
        "snr_db": None if (snr_db := _snr_db(clip)) is None else round(snr_db, 1),
        "clipped_share": round(float(np.mean(np.abs(source) >= CLIP.clipped_level)), 5) if len(source) else 0.0,
        "silence_share": round(1.0 - min(1.0, clip.speech_s / length_s), 3),
        "chars_per_s": round(spoken_letters(text) / clip.speech_s, 1) if text and clip.speech_s else None,
        "agreement": None if agreement is None else round(agreement, 3),
        "language": language,
        "repairs": clip.repairs,
    }
    report = VoiceReport.model_validate({**measured, "verdict": "good", "reasons": ()})
    faults = [_Fault(True, refusal)] if refusal else [*_recording_faults(report), *_clip_faults(report)]
    if doubt and not refusal and (agreement is None or agreement < REPORT.good_agreement):
        faults.append(_Fault(False, doubt))
    verdict = "poor" if any(fault.is_severe for fault in faults) else "usable" if faults else "good"
    return report.model_copy(update={"verdict": verdict, "reasons": tuple(fault.reason for fault in faults)})


def _recording_faults(report: VoiceReport) -> list[_Fault]:
    """Return the faults that only another recording can fix."""
    faults: list[_Fault] = []
    if report.clipped_share > REPORT.max_clipped_share:
        reason = f"{report.clipped_share:.1%} of the clip is clipped; record it at a lower level"
        faults.append(_Fault(report.clipped_share > REPORT.bad_clipped_share, reason))
    if report.sample_rate < REPORT.good_sample_rate:
        reason = f"the recording has {report.sample_rate} Hz; send {REPORT.good_sample_rate} Hz or more"
        faults.append(_Fault(False, reason))
    elif report.bandwidth_hz < REPORT.good_bandwidth_hz:
        reason = (
            f"the recording holds nothing above {report.bandwidth_hz:.0f} Hz, like a telephone's, and the result "
            "will sound as dull; send the original instead of a converted copy"
        )
        faults.append(_Fault(False, reason))
    if report.snr_db is not None and report.snr_db < REPORT.good_snr_db:
        reason = f"the background is only {report.snr_db:.0f} dB below the speech and may be heard in the result"
        faults.append(_Fault(report.snr_db < REPORT.min_snr_db, reason))
    return faults


def _clip_faults(report: VoiceReport) -> list[_Fault]:
    """Return the faults that another part of the recording, or another transcript, may fix."""
    faults: list[_Fault] = []
    if report.clip_s < REPORT.good_clip_s:
        reason = f"the clip has {report.clip_s:.1f} s; a voice is copied better from 5 to 12 s"
        faults.append(_Fault(report.clip_s < REPORT.min_clip_s, reason))
    if report.silence_share > REPORT.max_silence_share:
        reason = f"{report.silence_share:.0%} of the clip is silence, so the result may speak slowly"
        faults.append(_Fault(report.silence_share > REPORT.bad_silence_share, reason))
    pace = report.chars_per_s
    if pace is not None and not REPORT.slow_chars_per_s <= pace <= REPORT.fast_chars_per_s:
        how = "slowly" if pace < REPORT.slow_chars_per_s else "fast"
        reason = f"the clip has {pace:.0f} letters a second and the result will speak as {how}; check the transcript"
        faults.append(_Fault(False, reason))
    if report.agreement is not None and report.agreement < REPORT.good_agreement:
        reason = (
            f"the transcript agrees with what is heard by {report.agreement:.0%} only; "
            "extra or missing words make the result stumble"
        )
        faults.append(_Fault(False, reason))
    return faults


def _source_samples(clip: Clip) -> Samples:
    """Return the part as it was sent, at its own rate: resampling hides clipping and moves the band's edge."""
    rate = clip.audio.sample_rate
    return clip.audio.samples[clip.begin * rate // SAMPLE_RATE : clip.end * rate // SAMPLE_RATE]


def _snr_db(clip: Clip) -> float | None:
    """Return speech over the pauses between its regions: mean power over median power of short frames."""
    frame = round(REPORT.frame_s * SAMPLE_RATE)
    pauses = [(end, begin) for (_, end), (begin, _) in zip(clip.regions, clip.regions[1:], strict=False)]
    quiet, loud = _frame_powers(clip, pauses, frame), _frame_powers(clip, clip.regions, frame)
    if len(quiet) * REPORT.frame_s < REPORT.min_background_s or not len(loud):
        return None
    background = max(float(np.median(quiet)), 10.0 ** (SILENCE_DB / 10.0))
    excess = float(np.mean(loud)) / background - 1.0  # the background continues beneath the speech
    return min(REPORT.max_snr_db, 10.0 * float(np.log10(max(excess, 1e-3))))


def _frame_powers(clip: Clip, spans: Sequence[tuple[int, int]], frame: int) -> NDArray[np.float64]:
    """Return the mean power of each whole frame of `frame` samples in the spans: `[n]`."""
    parts = [clip.recording[begin : begin + (end - begin) // frame * frame] for begin, end in spans]
    if not parts:
        return np.zeros(0)
    return np.asarray(np.mean(np.square(np.concatenate(parts).reshape(-1, frame), dtype=np.float64), axis=1))


def _bandwidth_hz(samples: Samples, sample_rate: int) -> float:
    """Return the highest frequency within reach of the strongest one, in the mean spectrum of the louder frames."""
    size = REPORT.spectrum_samples
    n_frames = len(samples) // size
    if not n_frames:
        return 0.0
    blocks = samples[: n_frames * size].reshape(n_frames, size)[:: -(-n_frames // REPORT.max_spectra)]
    power = np.mean(np.square(blocks), axis=1)
    blocks = blocks[power >= np.median(power)]
    spectrum = np.mean(np.square(np.abs(np.fft.rfft(blocks * np.hanning(size)))), axis=0)
    hertz = np.fft.rfftfreq(size, 1.0 / sample_rate)
    voiced = np.where(hertz >= REPORT.min_voice_hz, spectrum, 0.0)
    floor = max(float(voiced.max()) * 10.0 ** (-REPORT.bandwidth_range_db / 10.0), 1e-12)
    strong = np.flatnonzero(voiced > floor)
    return float(hertz[strong[-1]]) if len(strong) else 0.0
