"""Levels and sound regions, whatever the gain, the offset and the noise of a recording."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.audio.levels import (
    SILENCE_DB,
    Samples,
    limit_peak,
    loud_db,
    offset_db,
    remove_offset,
    rms,
    speech_regions,
    trim,
)
from tests.audio.signals import noise, rms_db, silence, speech, tone

NEAR_S = 0.03  # within which an edge has to be found


def regions_s(samples: Samples, rate: int = 24_000, **options: float) -> list[tuple[float, float]]:
    return [(begin / rate, end / rate) for begin, end in speech_regions(samples, rate, **options)]


def test_rms_of_known_signals() -> None:
    assert rms(tone(1.0, 0.5)) == pytest.approx(0.5 / np.sqrt(2), rel=1e-4)
    assert rms(np.full(100, -0.25, np.float32)) == 0.25
    assert rms(silence(0)) == rms(silence(1)) == 0.0
    assert rms_db(np.ones(10, np.float32)) == 0.0
    assert rms_db(silence(1)) == rms_db(silence(0)) == SILENCE_DB


@given(st.floats(0, 3, width=32), st.floats(0.125, 1, width=32))
def test_peaks_are_limited_and_shapes_kept(level: float, ceiling: float) -> None:
    signal = tone(0.1, level)
    limited = limit_peak(signal, ceiling)
    assert np.abs(limited).max() <= ceiling * 1.000001
    if np.abs(signal).max() <= ceiling:
        assert limited is signal


@pytest.mark.parametrize("rate", [8_000, 24_000, 48_000])
def test_an_offset_is_measured_and_removed_beneath_a_voice_that_stays(rate: int) -> None:
    voice = tone(4.0, 0.2, 90.0, rate)
    drift = 0.05 * np.cos(2 * np.pi * 0.2 * np.arange(len(voice)) / rate)
    assert offset_db(voice, rate) < -80
    for offset, level_db in ((0.1, -20.0), (-0.01, -40.0), (drift, -30.0)):
        shifted = (voice + offset).astype(np.float32)
        assert offset_db(shifted, rate) == pytest.approx(level_db, abs=0.5)
        left = remove_offset(shifted, rate)
        assert left.dtype == np.float32
        np.testing.assert_allclose(left[rate // 4 : -rate // 4], voice[rate // 4 : -rate // 4], atol=0.005)


def test_no_samples_have_no_offset() -> None:
    assert offset_db(silence(0)) == offset_db(silence(0.1)) == SILENCE_DB


def test_loudness_is_that_of_speech_not_of_pauses() -> None:
    clip = speech([1.0, 1.0], [6.0])
    assert loud_db(clip) == pytest.approx(-20.0, abs=1.0)
    assert loud_db(silence(1)) == loud_db(silence(0)) == SILENCE_DB


def test_bursts_are_found_where_they_are() -> None:
    clip = np.concatenate([silence(0.3), speech([1.0, 0.5, 2.0], [0.4, 0.2]), silence(0.7)])
    found = regions_s(clip)
    assert np.allclose(found, [(0.3, 1.3), (1.7, 2.2), (2.4, 4.4)], atol=NEAR_S)


@pytest.mark.parametrize("gain", [0.01, 0.1, 1.0])
@pytest.mark.parametrize("offset", [0.0, 0.4])
def test_neither_gain_nor_offset_matters(gain: float, offset: float) -> None:
    clip = np.concatenate([silence(0.3), speech([1.0, 0.5], [0.4], level=0.2), silence(0.7)])
    assert np.allclose(regions_s((clip * gain + offset).astype(np.float32)), [(0.3, 1.3), (1.7, 2.2)], atol=NEAR_S)


@pytest.mark.parametrize("below_db", [20, 30, 50])
def test_pauses_are_found_in_a_noise_floor(below_db: float) -> None:
    clip = np.concatenate([silence(0.3), speech([1.0, 0.5], [0.4]), silence(0.7)])
    clip = clip + noise(2.9, 0.1 * 10 ** (-below_db / 20), seed=99)
    assert np.allclose(regions_s(clip), [(0.3, 1.3), (1.7, 2.2)], atol=NEAR_S)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_other_rates(rate: int) -> None:
    clip = np.concatenate([silence(0.5, rate), noise(1.0, rate=rate), silence(0.5, rate)])
    assert np.allclose(regions_s(clip, rate), [(0.5, 1.5)], atol=NEAR_S)


def test_short_gaps_are_part_of_the_sound() -> None:
    assert len(speech_regions(speech([0.5, 0.5], [0.07]))) == 1
    assert len(speech_regions(speech([0.5, 0.5], [0.15]))) == 2


@pytest.mark.parametrize(
    "signal",
    [silence(0), silence(1), np.full(24_000, 0.5, np.float32), noise(1.0, 1e-5)],
    ids=lambda s: str(len(s)),
)
def test_silence_offset_and_dither_hold_no_sound(signal: Samples) -> None:
    assert speech_regions(signal) == []
    assert len(trim(signal, 0.02)) == 0


@pytest.mark.parametrize("signal", [tone(1.0), noise(1.0), tone(0.005)], ids=["tone", "noise", "five milliseconds"])
def test_sound_throughout_is_one_region(signal: Samples) -> None:
    assert speech_regions(signal) == [(0, len(signal))]
    assert np.array_equal(trim(signal, 0.02), signal)


def test_trimming_keeps_what_was_asked() -> None:
    clip = np.concatenate([silence(1.0), tone(1.0), silence(1.0)])
    assert len(trim(clip, 0.05)) == pytest.approx(1.1 * 24_000, abs=NEAR_S * 24_000)
    assert len(trim(clip, 0.02, tail_s=0.4)) == pytest.approx(1.42 * 24_000, abs=NEAR_S * 24_000)
    assert len(trim(tone(1.0), 0.5)) == 24_000


def test_a_soft_onset_and_a_decay_are_kept() -> None:
    onset, decay = (
        noise(0.2, 0.002, seed=1),
        noise(0.3, 0.1, seed=2) * np.logspace(0, -1.7, 7_200, dtype=np.float32),
    )
    clip = np.concatenate([silence(0.5), onset, noise(1.0, 0.1, seed=3), decay, silence(0.5)])
    kept = trim(clip, 0.02)
    assert len(kept) >= 1.5 * 24_000
    assert rms(kept) ** 2 * len(kept) == pytest.approx(rms(clip) ** 2 * len(clip), rel=1e-6)


@given(st.lists(st.floats(0.03, 0.4), min_size=1, max_size=6), st.floats(0.0, 0.5))
def test_regions_are_ordered_inside_and_apart(lengths_s: list[float], pause_s: float) -> None:
    clip = speech(lengths_s, [pause_s] * (len(lengths_s) - 1))
    flat = [edge for region in speech_regions(clip) for edge in region]
    assert flat == sorted(flat)
    assert all(0 <= edge <= len(clip) for edge in flat)
