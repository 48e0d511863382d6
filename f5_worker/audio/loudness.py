"""As loud as asked, by ITU-R BS.1770-4, and never above a true peak. Signals are float32 `[nw]`, mono, at 24 kHz.

Loudness is gated (silence between sentences does not count) and K-weighted, in LUFS. The true peak is that of the
signal between its samples, found by 4 times the rate; a player's converter and every lossy codec reach it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import soxr

from f5_worker.audio.levels import SAMPLE_RATE, Samples

TRUE_PEAK_DB = -1.0  # EBU R 128 and the platforms' advice
TOLERANCE_LU = 0.1
BLOCK_S = 0.400  # BS.1770's; shorter sounds are one block of their own length
MAX_LIMITED_DB = 24.0  # no peak is turned down by more, whatever loudness that leaves unreached
_MAX_ROUNDS = 8  # secant steps: loudness rises by less and less of what the gain does; 1 to 4 are usual
_LEAST_SLOPE = 0.1
# The gain comes down within 20 ms before a peak, stays for longer than a period of the deepest voice, and rises
# within 20 ms: slow enough for no sound of its own, short enough to leave the next syllable alone.
_SMOOTH_S = 0.005
_OVERSAMPLING = 4
_PIECE_SAMPLES = 10 * SAMPLE_RATE  # bounds what is held at 4 times the rate
# 0.01 dB less: a peak between samples that are turned down by a curve is not quite turned down by that curve. Of 900
# hostile signals (bursts, squares, impulses, 5 to 40 dB over) the worst passed its mark by 0.0004 dB.
_CEILING = 10.0 ** (TRUE_PEAK_DB / 20.0) * 0.999


@dataclass(frozen=True, eq=False)
class Levelled:
    """A signal, and what was measured of it. `lufs` is -inf if nothing in it is above -70 LUFS."""

    samples: Samples
    lufs: float
    true_peak_db: float


def level(samples: Samples, target_lufs: float) -> Levelled:
    """`samples` at `target_lufs`, to TOLERANCE_LU, with no true peak above TRUE_PEAK_DB.

    One gain for all, as long as that stays below the ceiling. Else the peaks alone are turned down, smoothly, and
    the gain goes up until the rest is as loud as asked, or the highest peak is turned down by MAX_LIMITED_DB.
    Silence is returned as it is.
    """
    reached = lufs(samples)
    peaks = _true_peaks(samples)
    if not math.isfinite(reached):
        return Levelled(samples, reached, _db(_highest(peaks)))
    most_db = _db(_CEILING / _highest(peaks)) + MAX_LIMITED_DB
    result, gain_db, slope = samples, 0.0, 1.0
    for _ in range(_MAX_ROUNDS):
        step_db = min((target_lufs - reached) / slope, most_db - gain_db)
        gain_db += step_db
        result = _limited(samples, peaks, 10.0 ** (gain_db / 20.0))
        before, reached = reached, lufs(result)
        if abs(target_lufs - reached) <= TOLERANCE_LU or gain_db >= most_db:
            break
        slope = min(max((reached - before) / step_db, _LEAST_SLOPE), 1.0)
    return Levelled(result, reached, true_peak_db(result))


def lufs(samples: Samples) -> float:
    """Integrated loudness; -inf for silence."""
    # Imported here, with scipy: most jobs do without.
    from pyloudnorm import Meter

    if not samples.any():
        return -math.inf
    # Half a sample less: rounding must not make a block longer than the sound.
    block_s = min(BLOCK_S, (len(samples) - 0.5) / SAMPLE_RATE)
    return float(Meter(SAMPLE_RATE, block_size=block_s).integrated_loudness(samples))


def true_peak_db(samples: Samples) -> float:
    """The highest true peak in dB of full scale (dBTP); -inf for silence."""
    return _db(_highest(_true_peaks(samples)))


def _true_peaks(samples: Samples) -> Samples:
    """`[nw]`: the highest magnitude from each sample to the next."""
    fine = soxr.ResampleStream(SAMPLE_RATE, _OVERSAMPLING * SAMPLE_RATE, 1, dtype="float32", quality="HQ")
    rest = samples[:0]
    parts = [rest]
    for begin in range(0, len(samples), _PIECE_SAMPLES):
        end = begin + _PIECE_SAMPLES
        values = np.concatenate([rest, fine.resample_chunk(samples[begin:end], last=end >= len(samples))])
        whole = len(values) // _OVERSAMPLING * _OVERSAMPLING
        rows = np.ascontiguousarray(np.abs(values[:whole]).reshape(-1, _OVERSAMPLING).T)  # 5 times as fast as columns
        parts.append(rows.max(axis=0))
        rest = values[whole:]
    # The resampler takes off what is above 11 kHz; the samples themselves have it.
    return np.asarray(np.maximum(np.concatenate(parts), np.abs(samples)), np.float32)


def _limited(samples: Samples, peaks: Samples, gain: float) -> Samples:
    """`samples` times `gain`, turned down around the peaks that would pass the ceiling."""
    if gain * _highest(peaks) <= _CEILING:
        return samples * np.float32(gain)
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    allowed = np.minimum(np.float32(1.0), np.float32(_CEILING / gain) / np.maximum(peaks, np.float32(1e-9)))
    reach = round(_SMOOTH_S * SAMPLE_RATE)
    # The mean over a window of the least within that same window is nowhere more than what is allowed there.
    curve = minimum_filter1d(allowed, 4 * reach + 1, mode="nearest")
    for _ in range(2):
        curve = uniform_filter1d(curve, 2 * reach + 1, mode="nearest")
    return np.asarray(samples * (curve * np.float32(gain)), np.float32)


def _highest(peaks: Samples) -> float:
    return float(peaks.max(initial=0.0))


def _db(ratio: float) -> float:
    return 20.0 * math.log10(ratio) if ratio > 0 else -math.inf
