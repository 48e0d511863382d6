"""Joins neither click nor lose sound, the bounds say where each segment is, and streamed parts add up to the whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.audio.join import FADE_OUT_S, PEAK, SILENT_SEGMENT_S, Fitter, Joiner, fade_edges
from f5_worker.audio.levels import SAMPLE_RATE, Samples, limit_peak
from tests.audio.signals import noise, silence, tone

# The largest step from sample to sample of a 220 Hz tone of level 0.5.
STEP = 0.5 * 2 * np.pi * 220 / SAMPLE_RATE


def energy(samples: Samples) -> float:
    return float(np.sum(np.square(samples, dtype=np.float64)))


def padded(samples: Samples, before_s: float = 0.4, after_s: float = 0.5) -> Samples:
    return np.concatenate([silence(before_s), samples, silence(after_s)])


class Joined(NamedTuple):
    samples: Samples
    bounds: tuple[tuple[float, float], ...]


def join(
    segments: Sequence[Samples], *, pauses_s: Sequence[float], cross_fade_s: float | None, trim: bool = True
) -> Joined:
    """Join `segments` at once; `pauses_s` has one for each gap and is not used with `cross_fade_s`."""
    if cross_fade_s is None and len(pauses_s) != max(len(segments) - 1, 0):
        raise ValueError(f"{len(segments)} segments cannot be separated by {len(pauses_s)} pauses")
    joiner = Joiner(cross_fade_s=cross_fade_s, trim=trim)
    parts = [joiner.push(*pair) for pair in zip_longest(segments, pauses_s[: len(segments)], fillvalue=0.0)]
    return Joined(np.concatenate([*parts, joiner.finish()]), joiner.bounds)


def fit(samples: Samples, n_samples: int) -> Samples:
    """Bring `samples` to `n_samples` at once."""
    fitter = Fitter(n_samples)
    return np.concatenate([fitter.push(samples), fitter.finish()])


def test_segments_are_separated_by_their_pauses() -> None:
    joined = join([padded(tone(1.0))] * 3, pauses_s=[0.25, 0.5], cross_fade_s=None)
    (a, b), (c, d), (e, f) = joined.bounds
    assert (a, f) == (0.0, len(joined.samples) / SAMPLE_RATE)
    assert (c - b, e - d) == (pytest.approx(0.25), pytest.approx(0.5))
    for begin, end in joined.bounds:
        assert end - begin == pytest.approx(1.08, abs=0.03)
    assert not joined.samples[round(b * SAMPLE_RATE) : round(c * SAMPLE_RATE)].any()


def test_no_sound_is_lost() -> None:
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
def test_joins_of_abrupt_segments_do_not_click(trim: bool) -> None:
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
    with pytest.raises(ValueError, match="2 segments cannot be separated by 2 pauses"):
        join([tone(1.0)] * 2, pauses_s=[0.1, 0.1], cross_fade_s=None)


@pytest.mark.parametrize("cross_fade_s", [None, 0.0, 0.15])
def test_a_segment_too_loud_is_turned_down_alone(cross_fade_s: float | None) -> None:
    segments = [tone(0.5, 0.3), tone(0.5, 1.5), tone(0.5, 0.3)]
    joined = join(segments, pauses_s=[0.2, 0.2], cross_fade_s=cross_fade_s)
    assert np.abs(joined.samples).max() == pytest.approx(PEAK, abs=1e-3)
    for part in (joined.samples[2_000:7_000], joined.samples[-7_000:-2_000]):
        assert np.abs(part).max() == pytest.approx(0.3, rel=0.01)


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


SEGMENT = st.builds(
    lambda lead, sound, tail, level: np.concatenate([silence(lead), noise(sound, level), silence(tail)]),
    *[st.sampled_from([0.0, 0.0003, 0.02, 0.11]) for _ in range(3)],
    st.sampled_from([0.02, 0.1, 0.6]),  # the last one exceeds PEAK
)
SPOKEN = st.lists(st.tuples(SEGMENT, st.sampled_from([0.0, 0.00004, 0.01, 0.2])), max_size=6)
CROSS_FADE_S = st.one_of(st.none(), st.sampled_from([0.0, 0.00005, 0.01, 0.05, 0.3]))


def push_all(joiner: Joiner, spoken: list[tuple[Samples, float]]) -> Samples:
    return np.concatenate([*(joiner.push(*item) for item in spoken), joiner.finish()])


@given(SPOKEN, CROSS_FADE_S, st.booleans())
def test_streamed_segments_are_the_whole(
    spoken: list[tuple[Samples, float]], cross_fade_s: float | None, trim: bool
) -> None:
    """The whole is also computed here independently, from all segments at once."""
    joiner = Joiner(cross_fade_s=cross_fade_s, trim=trim)
    samples = push_all(joiner, spoken)
    segments, pauses_s = [segment for segment, _ in spoken], [pause_s for _, pause_s in spoken[:-1]]
    joined = join(segments, pauses_s=pauses_s, cross_fade_s=cross_fade_s, trim=trim)
    assert np.array_equal(samples, joined.samples)
    assert joiner.bounds == joined.bounds
    if cross_fade_s is not None:
        assert np.array_equal(samples, overlapped(segments, round(cross_fade_s * SAMPLE_RATE)))
    assert np.abs(samples).max(initial=0.0) <= PEAK * 1.000001


def overlapped(segments: list[Samples], cross_fade: int) -> Samples:
    whole = np.zeros(sum(map(len, segments)), np.float32)
    end = previous = 0
    for segment in (limit_peak(segment, PEAK) for segment in segments):
        shared = min(cross_fade, previous, len(segment))
        rising = np.linspace(0, 1, shared, dtype=np.float32)
        whole[end - shared : end] *= rising[::-1]
        whole[end - shared : end] += segment[:shared] * rising
        whole[end : end - shared + len(segment)] = segment[shared:]
        end, previous = end - shared + len(segment), len(segment)
    return whole[:end]


def test_a_segment_is_sent_when_it_comes_and_its_pause_with_the_next() -> None:
    joiner = Joiner(cross_fade_s=None)
    first = joiner.push(tone(0.5), 0.25)
    assert len(first) == 12_000
    assert joiner.bounds == ((0.0, 0.5),)
    second = joiner.push(tone(0.5), 0.25)
    assert len(second) == 18_000
    assert not second[:6_000].any()
    assert len(joiner.finish()) == 0


def test_a_cross_fade_is_held_back_and_no_more() -> None:
    joiner = Joiner(cross_fade_s=0.1)
    assert len(joiner.push(tone(0.5), 9.0)) == 12_000 - 2_400
    assert len(joiner.push(tone(0.5), 9.0)) == 12_000 - 2_400
    assert len(joiner.finish()) == 2_400


@given(
    st.lists(st.integers(0, 900), max_size=8),
    st.one_of(st.integers(0, 4_000), st.sampled_from([479, 480, 481])),
)
def test_streamed_fitting_is_fitting_the_whole(lengths: list[int], n_samples: int) -> None:
    signal = noise(sum(lengths) / SAMPLE_RATE)
    fitter = Fitter(n_samples)
    sent, given_away = [], 0
    for part in np.split(signal, np.cumsum(lengths)):
        given_away += len(part)
        sent.append(fitter.push(part))
        # All samples before a fade that may still come.
        safe = n_samples if given_away > n_samples else n_samples - round(FADE_OUT_S * SAMPLE_RATE)
        assert sum(map(len, sent)) >= min(given_away, safe)
    streamed = np.concatenate([*sent, fitter.finish()])
    assert np.array_equal(streamed, fit(signal, n_samples))
    if len(signal) <= n_samples:
        assert np.array_equal(streamed, np.pad(signal, (0, n_samples - len(signal))))
    else:
        assert np.array_equal(streamed, fade_edges(signal[:n_samples], fade_in_s=0.0))


@pytest.mark.parametrize("cross_fade_s", [None, 0.0, 0.2])
def test_an_asked_pause_is_exact_and_overlapped_by_nothing(cross_fade_s: float | None) -> None:
    joiner = Joiner(cross_fade_s=cross_fade_s, trim=False)
    parts = [joiner.pause(0.25)]
    for _ in range(2):
        parts += [joiner.push(tone(0.5), 0.3), joiner.pause(1.0)]
    parts.append(joiner.finish())
    samples = np.concatenate(parts)
    assert joiner.bounds == ((0.25, 0.75), (1.75, 2.25))
    assert len(samples) == round(3.25 * SAMPLE_RATE)
    for begin_s, end_s in ((0, 0.25), (0.75, 1.75), (2.25, 3.25)):
        assert not samples[round(begin_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)].any()
    sound = samples[round(0.25 * SAMPLE_RATE) : round(0.75 * SAMPLE_RATE)]
    assert np.array_equal(sound, tone(0.5) if cross_fade_s is not None else fade_edges(tone(0.5)))


def test_a_pause_in_a_cross_fade_sends_all_that_was_held_back() -> None:
    joiner = Joiner(cross_fade_s=0.2)
    assert len(joiner.push(tone(0.5), 0.0)) == round(0.3 * SAMPLE_RATE)
    assert len(joiner.pause(0.1)) == round(0.3 * SAMPLE_RATE)
    assert len(joiner.finish()) == 0


def test_inputs_are_left_alone() -> None:
    segment = tone(0.5)
    before = segment.copy()
    join([segment, segment], pauses_s=[0.1], cross_fade_s=None, trim=False)
    join([segment, segment], pauses_s=[0.1], cross_fade_s=0.1)
    fit(segment, 1_000)
    assert np.array_equal(segment, before)
