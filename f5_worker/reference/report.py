"""What a clip is worth as a reference: measured, and said in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from f5_worker.audio.levels import SAMPLE_RATE, SILENCE_DB, Samples
from f5_worker.reference.clip import CLIPPED, Clip
from f5_worker.text.letters import spoken_letters

ClipVerdict = Literal["good", "usable", "poor"]

MAX_CLIPPED_SHARE, BAD_CLIPPED_SHARE = 0.001, 0.02
GOOD_SAMPLE_RATE = 16_000
GOOD_BANDWIDTH_HZ = 6_000.0  # a telephone ends at 3,400 Hz, wide-band telephony at 7,000 Hz
GOOD_CLIP_S, MIN_CLIP_S = 3.0, 1.5
MIN_BACKGROUND_S = 0.2
GOOD_SNR_DB, MIN_SNR_DB, MAX_SNR_DB = 20.0, 10.0, 90.0
MAX_SILENT_SHARE, BAD_SILENT_SHARE = 0.35, 0.6
SLOW_CHARS_PER_S, FAST_CHARS_PER_S = 7.0, 24.0
GOOD_AGREEMENT = 0.85

FRAME_S = 0.010
SPECTRUM_SAMPLES, MAX_SPECTRA = 2_048, 1_000
MIN_VOICE_HZ = 80.0  # below is rumble
BANDWIDTH_DB = 60.0  # what is this far below the strongest part of the spectrum is nothing


class VoiceReport(BaseModel):
    """What was measured of the part of a recording that is used, or of all of it where none could be.

    Attributes:
        duration_s, sample_rate: of the recording as it was sent.
        clip_s: length of the part.
        bandwidth_hz: the highest frequency with energy.
        snr_db: level of the speech over that of its pauses; None where there are hardly any pauses.
        silence_share: of the part.
        chars_per_s: Latin letters, or what other characters are worth in these, per second of speech.
        agreement: of the caller's transcript with what the recogniser hears, 0..1; None where it did not judge.
        language: ISO 639-1, given or detected.
        reasons: what speaks against this clip.
    """

    model_config = ConfigDict(frozen=True)

    duration_s: float
    sample_rate: int
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


class _Fault(NamedTuple):
    """Something measured that is outside its bounds; `bad` makes the clip a poor one."""

    bad: bool
    reason: str


def measure(
    clip: Clip, text: str, *, agreement: float | None = None, language: str | None = None, fatal: str | None = None
) -> VoiceReport:
    """Measure a clip and judge it.

    Args:
        text: what is said in it; may be empty.
        fatal: why it cannot be used at all.
    """
    source = _source(clip)
    length_s = max((clip.end - clip.begin) / SAMPLE_RATE, 1e-9)
    found = {
        "duration_s": round(clip.audio.duration_s, 3),
        "sample_rate": clip.audio.sample_rate,
        "clip_s": round(clip.finished_s, 3),
        "bandwidth_hz": round(_bandwidth_hz(source, clip.audio.sample_rate)),
        "snr_db": None if (snr_db := _snr_db(clip)) is None else round(snr_db, 1),
        "clipped_share": round(float(np.mean(np.abs(source) >= CLIPPED)), 5) if len(source) else 0.0,
        "silence_share": round(1.0 - min(1.0, clip.speech_s / length_s), 3),
        "chars_per_s": round(spoken_letters(text) / clip.speech_s, 1) if text and clip.speech_s else None,
        "agreement": None if agreement is None else round(agreement, 3),
        "language": language,
    }
    report = VoiceReport.model_validate({**found, "verdict": "good", "reasons": ()})
    faults = [_Fault(True, fatal)] if fatal else _faults(report)
    verdict = "poor" if any(fault.bad for fault in faults) else "usable" if faults else "good"
    return report.model_copy(update={"verdict": verdict, "reasons": tuple(fault.reason for fault in faults)})


def _faults(report: VoiceReport) -> list[_Fault]:
    return [*_recording_faults(report), *_clip_faults(report)]


def _recording_faults(report: VoiceReport) -> list[_Fault]:
    """What only another recording can mend."""
    found: list[_Fault] = []
    if report.clipped_share > MAX_CLIPPED_SHARE:
        reason = f"{report.clipped_share:.1%} of the clip is clipped; record it at a lower level"
        found.append(_Fault(report.clipped_share > BAD_CLIPPED_SHARE, reason))
    if report.sample_rate < GOOD_SAMPLE_RATE:
        found.append(_Fault(False, f"the recording has {report.sample_rate} Hz; send {GOOD_SAMPLE_RATE} Hz or more"))
    elif report.bandwidth_hz < GOOD_BANDWIDTH_HZ:
        found.append(
            _Fault(
                False,
                f"the recording holds nothing above {report.bandwidth_hz:.0f} Hz, like a telephone's, and the result "
                "will sound as dull; send the original instead of a converted copy",
            )
        )
    if report.snr_db is not None and report.snr_db < GOOD_SNR_DB:
        reason = f"the background is only {report.snr_db:.0f} dB below the speech and may be heard in the result"
        found.append(_Fault(report.snr_db < MIN_SNR_DB, reason))
    return found


def _clip_faults(report: VoiceReport) -> list[_Fault]:
    """What another part of the recording, or other words for it, may mend."""
    found: list[_Fault] = []
    if report.clip_s < GOOD_CLIP_S:
        reason = f"the clip has {report.clip_s:.1f} s; a voice is copied better from 5 to 12 s"
        found.append(_Fault(report.clip_s < MIN_CLIP_S, reason))
    if report.silence_share > MAX_SILENT_SHARE:
        reason = f"{report.silence_share:.0%} of the clip is silence, so the result may speak slowly"
        found.append(_Fault(report.silence_share > BAD_SILENT_SHARE, reason))
    pace = report.chars_per_s
    if pace is not None and not SLOW_CHARS_PER_S <= pace <= FAST_CHARS_PER_S:
        how = "slowly" if pace < SLOW_CHARS_PER_S else "fast"
        reason = f"the clip has {pace:.0f} letters a second and the result will speak as {how}; check the transcript"
        found.append(_Fault(False, reason))
    if report.agreement is not None and report.agreement < GOOD_AGREEMENT:
        reason = (
            f"the transcript agrees with what is heard by {report.agreement:.0%} only; "
            "words too many or too few make the result stumble"
        )
        found.append(_Fault(False, reason))
    return found


def _source(clip: Clip) -> Samples:
    """The part as it was sent, at its own rate: resampling hides clipping and moves the band's edge."""
    rate = clip.audio.sample_rate
    return clip.audio.samples[clip.begin * rate // SAMPLE_RATE : clip.end * rate // SAMPLE_RATE]


def _snr_db(clip: Clip) -> float | None:
    """Speech over the pauses between its regions: mean power over median power, of frames of 10 ms."""
    frame = round(FRAME_S * SAMPLE_RATE)
    gaps = [(end, begin) for (_, end), (begin, _) in zip(clip.regions, clip.regions[1:], strict=False)]
    quiet, loud = _frame_powers(clip, gaps, frame), _frame_powers(clip, clip.regions, frame)
    if len(quiet) * FRAME_S < MIN_BACKGROUND_S or not len(loud):
        return None
    background = max(float(np.median(quiet)), 10.0 ** (SILENCE_DB / 10.0))
    over = float(np.mean(loud)) / background - 1.0  # the background goes on beneath the speech
    return min(MAX_SNR_DB, 10.0 * float(np.log10(max(over, 1e-3))))


def _frame_powers(clip: Clip, spans: Sequence[tuple[int, int]], frame: int) -> NDArray[np.float64]:
    parts = [clip.recording[begin : begin + (end - begin) // frame * frame] for begin, end in spans]
    if not parts:
        return np.zeros(0)
    return np.asarray(np.mean(np.square(np.concatenate(parts).reshape(-1, frame), dtype=np.float64), axis=1))


def _bandwidth_hz(samples: Samples, sample_rate: int) -> float:
    """The highest frequency within BANDWIDTH_DB of the strongest one, in the mean spectrum of the louder frames."""
    frames = len(samples) // SPECTRUM_SAMPLES
    if not frames:
        return 0.0
    blocks = samples[: frames * SPECTRUM_SAMPLES].reshape(frames, SPECTRUM_SAMPLES)[:: -(-frames // MAX_SPECTRA)]
    power = np.mean(np.square(blocks), axis=1)
    blocks = blocks[power >= np.median(power)]
    spectrum = np.mean(np.square(np.abs(np.fft.rfft(blocks * np.hanning(SPECTRUM_SAMPLES)))), axis=0)
    hertz = np.fft.rfftfreq(SPECTRUM_SAMPLES, 1.0 / sample_rate)
    voiced = np.where(hertz >= MIN_VOICE_HZ, spectrum, 0.0)
    strong = np.flatnonzero(voiced > max(float(voiced.max()) * 10.0 ** (-BANDWIDTH_DB / 10.0), 1e-12))
    return float(hertz[strong[-1]]) if len(strong) else 0.0
