"""Seams neither click nor swallow, and the bounds say where each segment is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.audio.join import PEAK, SILENT_SEGMENT_S, fit, join
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from tests.audio.signals import noise, silence, tone

# The largest step from sample to sample of a 220 Hz tone of level 0.5.
STEP = 0.5 * 2 * np.pi * 220 / SAMPLE_RATE


def energy(samples: Samples) -> float:
    return float(np.sum(np.square(samples, dtype=np.float64)))


def padded(samples: Samples, before_s: float = 0.4, after_s: float = 0.5) -> Samples:
    return np.concatenate([silence(before_s), samples, silence(after_s)])


def test_segments_stand_apart_by_their_pauses() -> None:
    joined = join([padded(tone(1.0))] * 3, pauses_s=[0.25, 0.5], cross_fade_s=None)
    (a, b), (c, d), (e, f) = joined.bounds
    assert (a, f) == (0.0, len(joined.samples) / SAMPLE_RATE)
    assert (c - b, e - d) == (pytest.approx(0.25), pytest.approx(0.5))
    for begin, end in joined.bounds:
        assert end - begin == pytest.approx(1.08, abs=0.03)
    assert not joined.samples[round(b * SAMPLE_RATE) : round(c * SAMPLE_RATE)].any()


def test_no_sound_is_swallowed() -> None:
    segments = [padded(noise(0.7, 0.1, seed)) for seed in range(4)]
    joined = join(segments, pauses_s=[0.2] * 3, cross_fade_s=None)
    assert energy(joined.samples) == pytest.approx(sum(map(energy, segments)), rel=1e-6)


def test_a_soft_onset_and_a_dying_consonant_survive() -> None:
    onset, fall = noise(0.15, 0.002, 1), noise(0.25, 0.1, 2) * np.logspace(0, -1.7, 6_000, dtype=np.float32)
    segment = padded(np.concatenate([onset, noise(0.5, 0.1, 3), fall]))
    joined = join([segment, segment], pauses_s=[0.2], cross_fade_s=None)
    assert energy(joined.samples) == pytest.approx(2 * energy(segment), rel=1e-6)
    begin, end = joined.bounds[0]
    assert end - begin >= 0.9


@pytest.mark.parametrize("trim", [True, False])
def test_seams_of_abrupt_segments_do_not_click(trim: bool) -> None:
    abrupt = tone(0.5)[30:-17]  # begins and ends in the middle of a swing
    joined = join([abrupt] * 4, pauses_s=[0.0, 0.1, 0.3], cross_fade_s=None, trim=trim)
    assert np.abs(np.diff(joined.samples, prepend=0.0, append=0.0)).max() <= STEP * 1.1


def test_a_silent_segment_keeps_its_place() -> None:
    joined = join([padded(tone(0.5)), silence(3.0), padded(tone(0.5))], pauses_s=[0.2, 0.2], cross_fade_s=None)
    begin, end = joined.bounds[1]
    assert end - begin == pytest.approx(SILENT_SEGMENT_S)
    assert not joined.samples[round(begin * SAMPLE_RATE) : round(end * SAMPLE_RATE)].any()


def test_one_segment_and_none() -> None:
    assert join([], pauses_s=[], cross_fade_s=None).bounds == ()
    assert join([], pauses_s=[], cross_fade_s=0.1).bounds == ()
    assert len(join([tone(1.0)], pauses_s=[], cross_fade_s=None).bounds) == 1


def test_the_number_of_pauses_is_checked() -> None:
    with pytest.raises(ValueError, match="2 segments cannot be set apart by 2 pauses"):
        join([tone(1.0)] * 2, pauses_s=[0.1, 0.1], cross_fade_s=None)


@pytest.mark.parametrize("cross_fade_s", [None, 0.0, 0.15])
def test_one_gain_keeps_the_peak(cross_fade_s: float | None) -> None:
    joined = join([tone(0.5, 1.5), tone(0.5, 0.3)], pauses_s=[0.2], cross_fade_s=cross_fade_s)
    assert np.abs(joined.samples).max() == pytest.approx(PEAK, abs=1e-3)
    assert np.abs(joined.samples[-7_000:-2_000]).max() == pytest.approx(0.3 * PEAK / 1.5, rel=0.01)


def test_the_cross_fade_is_upstreams() -> None:
    left, right = tone(0.5, 0.2, 200.0), tone(0.4, 0.2, 300.0)
    joined = join([left, right], pauses_s=[9.0], cross_fade_s=0.1)
    rising = np.linspace(0, 1, 2_400)
    middle = left[-2_400:] * np.linspace(1, 0, 2_400) + right[:2_400] * rising
    np.testing.assert_allclose(joined.samples, np.concatenate([left[:-2_400], middle, right[2_400:]]), atol=1e-6)
    assert joined.bounds == ((0.0, 0.45), (0.45, 0.8))


def test_no_cross_fade_is_plain_concatenation() -> None:
    segments = [padded(tone(0.5)), silence(0.2), tone(0.3)]
    joined = join(segments, pauses_s=[0.1, 0.1], cross_fade_s=0.0)
    assert np.array_equal(joined.samples, np.concatenate(segments))
    assert [end for _, end in joined.bounds] == pytest.approx([1.4, 1.6, 1.9])


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=6), st.one_of(st.none(), st.floats(0, 0.2)))
def test_bounds_are_ordered_and_span_the_whole(lengths: list[int], cross_fade_s: float | None) -> None:
    segments = [noise(length / SAMPLE_RATE, seed=length) for length in lengths]
    joined = join(segments, pauses_s=[0.05] * (len(lengths) - 1), cross_fade_s=cross_fade_s)
    flat = [edge for bound in joined.bounds for edge in bound]
    assert flat == sorted(flat)
    assert (flat[0], flat[-1]) == (0.0, len(joined.samples) / SAMPLE_RATE)
    assert len(joined.bounds) == len(segments)
    assert np.isfinite(joined.samples).all()


@pytest.mark.parametrize("n", [0, 1, 100, 11_999, 12_000, 12_001, 30_000])
def test_fit_is_exact_and_silent_at_a_cut(n: int) -> None:
    signal = tone(0.5)
    fitted = fit(signal, n)
    assert len(fitted) == n
    assert fitted.dtype == np.float32
    if 0 < n < len(signal):
        assert abs(float(fitted[-1])) < 0.01
        assert np.array_equal(fitted[: max(0, n - 480)], signal[: max(0, n - 480)])


def test_inputs_are_left_alone() -> None:
    segment = tone(0.5)
    before = segment.copy()
    join([segment, segment], pauses_s=[0.1], cross_fade_s=None, trim=False)
    join([segment, segment], pauses_s=[0.1], cross_fade_s=0.1)
    fit(segment, 1_000)
    assert np.array_equal(segment, before)
