"""Bring a signal to a loudness, by ITU-R BS.1770-4, below a true peak. Signals are float32 `[nw]`, mono, at 24 kHz.

Loudness is gated (silence between sentences does not count) and K-weighted, in LUFS. The true peak is that of the
signal between its samples, found at 4 times the rate; a player's converter and every lossy codec reach it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr

from f5_worker import cancellation
from f5_worker.audio.levels import SAMPLE_RATE, Samples

TRUE_PEAK_DB = -1.0  # EBU R 128 and the platforms' advice
TOLERANCE_LU = 0.1
BLOCK_S = 0.400  # BS.1770's; shorter sounds are one block of their own length
MAX_LIMITED_DB = 24.0  # no peak is attenuated by more, even where the loudness is then not reached
_MAX_ROUNDS = 8  # secant steps: loudness rises less and less with the gain; 1 to 4 are usual
_MIN_SLOPE = 0.1
# The gain falls within 20 ms before a peak, stays for longer than a period of the deepest voice, and rises
# within 20 ms: slow enough to be inaudible, short enough not to change the next syllable.
_SMOOTH_S = 0.005
_OVERSAMPLING = 4
_PART_SAMPLES = 10 * SAMPLE_RATE  # bounds what is held at 4 times the rate
# 0.01 dB less: where a curve attenuates the samples, a peak between them is attenuated slightly less. Of 900
# adversarial signals (bursts, squares, impulses, 5 to 40 dB over) the worst exceeded its limit by 0.0004 dB.
_CEILING = 10.0 ** (TRUE_PEAK_DB / 20.0) * 0.999


@dataclass(frozen=True, eq=False)
class LevelledSignal:
    """A signal and its measurements. `lufs` is -inf if nothing in it is above -70 LUFS.

    gain: by which it was amplified, where no peak was attenuated.
    """

    samples: Samples
    lufs: float
    true_peak_db: float
    gain: float = 1.0


def level(samples: Samples, target_lufs: float) -> LevelledSignal:
    """Bring `samples` to `target_lufs`, within TOLERANCE_LU, with no true peak above TRUE_PEAK_DB.

    One gain for all samples, as long as that stays below the ceiling. Else only the peaks are attenuated, smoothly,
    and the gain rises until the target is reached, or the highest peak is attenuated by MAX_LIMITED_DB.
    Silence is returned as it is.
    """
    reached = lufs(samples)
    peaks = _true_peaks(samples)
    if not math.isfinite(reached):
        return LevelledSignal(samples, reached, _db(_highest(peaks)))
    most_db = _db(_CEILING / _highest(peaks)) + MAX_LIMITED_DB
    result, gain_db, slope = samples, 0.0, 1.0
    for _ in range(_MAX_ROUNDS):
        cancellation.check()
        step_db = min((target_lufs - reached) / slope, most_db - gain_db)
        gain_db += step_db
        result = _limited(samples, peaks, 10.0 ** (gain_db / 20.0))
        before, reached = reached, lufs(result)
        if abs(target_lufs - reached) <= TOLERANCE_LU or gain_db >= most_db:
            break
        slope = min(max((reached - before) / step_db, _MIN_SLOPE), 1.0)
    return LevelledSignal(result, reached, true_peak_db(result), 10.0 ** (gain_db / 20.0))


def lufs(samples: Samples) -> float:
    """Return the integrated loudness in LUFS; -inf for silence."""
    # Imported here, with scipy: most jobs do not need it.
    from pyloudnorm import Meter

    if not samples.any():
        return -math.inf
    # Half a sample less: rounding must not make a block longer than the sound.
    block_s = min(BLOCK_S, (len(samples) - 0.5) / SAMPLE_RATE)
    return float(Meter(SAMPLE_RATE, block_size=block_s).integrated_loudness(samples))


def true_peak_db(samples: Samples) -> float:
    """Return the highest true peak in dB of full scale (dBTP); -inf for silence."""
    return _db(_highest(_true_peaks(samples)))


def _true_peaks(samples: Samples) -> Samples:
    """Return `[nw]`: the highest magnitude from each sample to the next."""
    upsampler = soxr.ResampleStream(SAMPLE_RATE, _OVERSAMPLING * SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    rest = samples[:0]
    parts = [rest]
    for begin in range(0, len(samples), _PART_SAMPLES):
        cancellation.check()
        end = begin + _PART_SAMPLES
        values = np.concatenate([rest, upsampler.resample_chunk(samples[begin:end], last=end >= len(samples))])
        whole = len(values) // _OVERSAMPLING * _OVERSAMPLING
        rows = np.ascontiguousarray(np.abs(values[:whole]).reshape(-1, _OVERSAMPLING).T)  # 5 times as fast as columns
        parts.append(rows.max(axis=0))
        rest = values[whole:]
    # The resampler removes what is above 11 kHz; the samples themselves have it.
    return np.asarray(np.maximum(np.concatenate(parts), np.abs(samples)), np.float32)


def _limited(samples: Samples, peaks: Samples, gain: float) -> Samples:
    """Return `samples` times `gain`, attenuated around the peaks that would exceed the ceiling."""
    if gain * _highest(peaks) <= _CEILING:
        return samples * np.float32(gain)
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    allowed = np.minimum(np.float32(1.0), np.float32(_CEILING / gain) / np.maximum(peaks, np.float32(1e-9)))
    reach = round(_SMOOTH_S * SAMPLE_RATE)
    # The mean over a window of the minimum within that same window nowhere exceeds what is allowed there.
    curve = minimum_filter1d(allowed, 4 * reach + 1, mode="nearest")
    for _ in range(2):
        curve = uniform_filter1d(curve, 2 * reach + 1, mode="nearest")
    return np.asarray(samples * (curve * np.float32(gain)), np.float32)


def _highest(peaks: Samples) -> float:
    return float(peaks.max(initial=0.0))


def _db(ratio: float) -> float:
    return 20.0 * math.log10(ratio) if ratio > 0 else -math.inf
