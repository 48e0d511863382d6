"""Measure how loud a signal is, and where there is sound in it.

All signals are float32 `[nw]`, mono, in [-1, 1].
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]

SAMPLE_RATE = 24_000  # of the model, and of every signal whose rate is not given

SILENCE_DB = -120.0  # the level of no signal at all; float32 full scale is 0 dB
FLOOR_DB = -70.0  # nothing below is ever sound
RANGE_DB = 45.0  # nor is anything this far below the clip's loud parts
NOISE_MARGIN_DB = 4.0  # a steady background varies by less than this around its level
CORE_DB = 6.0  # sound has a part this far above the threshold; a swell of the background has not
LOUD_PERCENTILE = 95.0

WINDOW_S, HOP_S = 0.020, 0.010
BACKGROUND_S = 0.150  # the background is the quietest part of this length
OFFSET_S = 1.0  # what stays over this long is not sound
LOWEST_HZ = 20.0  # of what is heard
MERGE_S = 0.100  # closures of consonants last up to 80 ms and are not pauses


def rms(samples: Samples) -> float:
    """Return the root mean square, 0 for no samples."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def limit_peak(samples: Samples, ceiling: float = 0.99) -> Samples:
    """Return the signal, attenuated as a whole if its peak exceeds `ceiling`; its shape stays."""
    peak = float(np.abs(samples).max(initial=0.0))
    return samples * np.float32(ceiling / peak) if peak > ceiling else samples


def offset_db(samples: Samples, sample_rate: int = SAMPLE_RATE) -> float:
    """Return the level of a constant or slowly drifting offset in dB of full scale."""
    if not len(samples):
        return SILENCE_DB
    blocks = np.array_split(samples, max(1, round(len(samples) / (OFFSET_S * sample_rate))))
    square = float(np.mean(np.square([block.mean(dtype=np.float64) for block in blocks])))
    return max(SILENCE_DB, 10.0 * float(np.log10(max(square, 1e-30))))


def remove_offset(samples: Samples, sample_rate: int = SAMPLE_RATE) -> Samples:
    """Return the signal without what is slower than LOWEST_HZ, a voice unchanged.

    Its mean is not the offset: the waves of a voice are steeper on one side, so their own mean is not zero.
    """
    from scipy.ndimage import uniform_filter1d  # takes 0.5 s; few recordings have an offset

    slow = samples.astype(np.float64)
    for _ in range(2):
        slow = uniform_filter1d(slow, round(sample_rate / LOWEST_HZ), mode="nearest")
    return np.asarray(samples - slow, np.float32)


def loud_db(samples: Samples, sample_rate: int = SAMPLE_RATE) -> float:
    """Return the level of the loud parts in dB of full scale: of speech itself, however long its pauses."""
    if not len(samples):
        return SILENCE_DB
    return float(np.percentile(_frame_db(samples, sample_rate), LOUD_PERCENTILE))


def speech_regions(
    samples: Samples, sample_rate: int = SAMPLE_RATE, *, softest_db: float = 12.0
) -> list[tuple[int, int]]:
    """Return where there is sound: `[(begin, end), ...]` in samples, ascending, to about 10 ms.

    The threshold follows the clip's own loud parts and its background, so that neither the gain of a
    recording nor its noise matters. Gaps shorter than MERGE_S are part of the sound.

    Args:
        softest_db: anything less than this below the loud parts is sound, even where it looks like a steady
            background. Small values find pauses in noise; large ones keep soft sounds at any cost.
    """
    if not len(samples):
        return []
    levels = _frame_db(samples, sample_rate)
    low = _threshold(levels, softest_db)
    hop = round(HOP_S * sample_rate)
    runs = [run for run in _runs(levels >= low) if levels[run[0] : run[1]].max() >= low + CORE_DB]
    regions: list[tuple[int, int]] = []
    for first, last in runs:
        begin, end = first * hop, min(last * hop, len(samples))
        if regions and begin - regions[-1][1] < MERGE_S * sample_rate:
            begin = regions.pop()[0]
        regions.append((begin, end))
    return regions


def trim(samples: Samples, keep_s: float, *, tail_s: float | None = None, softest_db: float = 40.0) -> Samples:
    """Return the signal without its silent edges; empty if there is no sound. Arguments as in `sound_span`."""
    begin, end = sound_span(samples, keep_s, tail_s=tail_s, softest_db=softest_db)
    return samples[begin:end]


def sound_span(
    samples: Samples, keep_s: float, *, tail_s: float | None = None, softest_db: float = 40.0
) -> tuple[int, int]:
    """Return where the sound begins and ends, in samples; `(0, 0)` if there is none.

    Args:
        keep_s: seconds of silence that stay before the sound, and after it unless `tail_s` is given.
        softest_db: see `speech_regions`.
    """
    regions = speech_regions(samples, softest_db=softest_db)
    if not regions:
        return 0, 0
    after_s = keep_s if tail_s is None else tail_s
    begin = max(0, regions[0][0] - round(keep_s * SAMPLE_RATE))
    return begin, min(len(samples), regions[-1][1] + round(after_s * SAMPLE_RATE))


def _frame_db(samples: Samples, sample_rate: int) -> NDArray[np.float64]:
    """Return the level `[frames]` of each hop in dB of full scale, over a window centred on it.

    Each window's mean is removed first: a constant offset and rumble below the voice are not sound.
    """
    hop, window = round(HOP_S * sample_rate), round(WINDOW_S * sample_rate)
    frames = -(-len(samples) // hop)
    before = (window - hop) // 2
    # Running sums of the samples and, as imaginary parts, of their squares: each addition waits for the one before, so
    # that the second sum takes no time of its own.
    sums = np.zeros(1 + frames * hop + window, np.complex128)
    padded = sums.real[1:]
    padded[before : before + len(samples)] = samples
    # Padded with the nearest sample: a step to zero would look like sound in a clip with an offset.
    padded[:before], padded[before + len(samples) :] = samples[0], samples[-1]
    np.square(padded, out=sums.imag[1:])
    np.cumsum(sums, out=sums)
    windows = (sums[window::hop] - sums[:-window:hop])[:frames]
    power = windows.imag / window - np.square(windows.real / window)
    floor = 10.0 ** (SILENCE_DB / 10.0)
    return np.asarray(10.0 * np.log10(np.maximum(power, floor)))


def _threshold(levels: NDArray[np.float64], softest_db: float) -> float:
    loud = float(np.percentile(levels, LOUD_PERCENTILE))
    span = min(len(levels), round(BACKGROUND_S / HOP_S))
    powers = np.convolve(10.0 ** (levels / 10.0), np.full(span, 1.0 / span), mode="valid")
    background = 10.0 * float(np.log10(powers.min()))
    return max(FLOOR_DB, loud - RANGE_DB, min(background + NOISE_MARGIN_DB, loud - softest_db))


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the runs of True as `(first, one past last)`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]
