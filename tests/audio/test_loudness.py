"""The target loudness is reached below the ceiling without harm to the voice: a recording, and synthetic signals."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest
import soxr
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.audio.decode import decode
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.audio.loudness import MAX_LIMITED_DB, TRUE_PEAK_DB, level, lufs, true_peak_db
from tests.audio.signals import noise, same, silence, speech, tone
from tests.conftest import TINY

pytestmark = pytest.mark.slow  # the meter brings scipy, whose import takes seconds

# -26 LUFS with true peaks of -6 dBTP: a voice with high peaks, hard to bring up.
VOICE = decode((TINY / "voices" / "joe.wav").read_bytes(), max_bytes=10**6, max_s=60.0).samples


def true_peak(samples: Samples) -> float:
    """Return the true peak in dBTP with another filter than the code's, with silence on both sides."""
    fine = soxr.resample(np.pad(samples, 2_400), SAMPLE_RATE, 4 * SAMPLE_RATE, quality="VHQ")
    return 20 * math.log10(float(np.abs(fine).max()))


def test_the_meter_reads_what_the_standard_says() -> None:
    """BS.1770: a full-scale sine of 997 Hz on one channel reads -3.01 LUFS."""
    assert lufs(tone(3.0, 1.0, 997.0)) == pytest.approx(-3.01, abs=0.1)
    assert lufs(tone(3.0, 0.1, 997.0)) == pytest.approx(-23.01, abs=0.1)


def test_pauses_do_not_count() -> None:
    assert lufs(speech([2.0, 2.0], [3.0])) == pytest.approx(lufs(noise(4.0)), abs=0.5)


@pytest.mark.parametrize("n", [1, 10, 240, 2_400, 9_599, 9_600, 9_601, 12_000])
def test_short_sounds_are_measured_too(n: int) -> None:
    result = level(tone(1.0, 0.1, 997.0)[1 : n + 1], -20.0)
    assert len(result.samples) == n
    assert result.lufs == pytest.approx(-20.0, abs=0.1)
    if n >= 2_400:
        assert lufs(tone(1.0, 0.1, 997.0)[:n]) == pytest.approx(-23.01, abs=0.3)


def test_the_true_peak_is_found_between_the_samples() -> None:
    # A quarter of the rate, in the middle between two samples: each sample is 3 dB below the peak.
    between = (0.5 * np.sin(np.pi / 2 * np.arange(24_000) + np.pi / 4)).astype(np.float32)
    assert np.abs(between).max() == pytest.approx(0.5 / math.sqrt(2), abs=1e-4)
    assert true_peak_db(between[1_000:-1_000]) >= 20 * math.log10(0.5) - 0.05
    assert true_peak_db(silence(1.0)) == -math.inf


@pytest.mark.parametrize("target_lufs", [-40.0, -30.0, -23.0, -19.0, -16.0, -14.0, -12.0])
def test_a_voice_reaches_its_target_below_the_ceiling(target_lufs: float) -> None:
    result = level(VOICE, target_lufs)
    assert len(result.samples) == len(VOICE)
    assert result.samples.dtype == np.float32
    assert lufs(result.samples) == pytest.approx(target_lufs, abs=0.15)
    assert result.lufs == pytest.approx(lufs(result.samples), abs=0.01)
    assert true_peak(result.samples) <= TRUE_PEAK_DB
    assert result.true_peak_db == pytest.approx(true_peak(result.samples), abs=0.02)


def test_while_the_ceiling_is_far_it_is_one_gain() -> None:
    result = level(VOICE, -23.0)
    loud = np.abs(VOICE) > 0.01
    ratio = result.samples[loud] / VOICE[loud]
    assert np.ptp(ratio) < 1e-5


def test_at_usual_targets_only_peaks_are_touched() -> None:
    result = level(VOICE, -16.0)
    loud = np.abs(VOICE) > 0.01
    gain_db = 20 * np.log10(result.samples[loud] / VOICE[loud])
    assert np.mean(gain_db > gain_db.max() - 0.1) > 0.7
    assert same(result.samples, VOICE) > 0.98


def test_the_gain_moves_without_a_click() -> None:
    """A tone with one loud burst: the limiter adds no energy above the tone."""
    signal = tone(2.0, 0.1, 200.0)
    signal[24_000:25_200] *= 8
    result = level(signal, -14.0)
    assert true_peak(result.samples) <= TRUE_PEAK_DB
    gain = result.samples[np.abs(signal) > 0.02] / signal[np.abs(signal) > 0.02]
    assert np.abs(np.diff(20 * np.log10(gain))).max() < 0.5


@pytest.mark.parametrize("signal", [silence(0), silence(1), noise(1.0, 1e-6)], ids=["none", "silence", "dither"])
def test_silence_stays_silence(signal: Samples) -> None:
    result = level(signal, -16.0)
    assert result.lufs == -math.inf
    assert np.array_equal(result.samples, signal)


def test_a_target_out_of_reach_is_reported() -> None:
    clicks = noise(5.0, 1e-4)
    clicks[::12_000] = 0.9
    result = level(clicks, -8.0)
    assert result.lufs == pytest.approx(lufs(result.samples), abs=0.01)
    assert result.lufs < -20
    assert true_peak(result.samples) <= TRUE_PEAK_DB
    # The noise between the clicks came up by no more than the clicks were held down, and they by their limit.
    risen_db = 20 * math.log10(float(np.std(result.samples[6_000:11_000]) / np.std(clicks[6_000:11_000])))
    assert 20.0 < risen_db <= MAX_LIMITED_DB + 1.0


@given(
    st.lists(st.floats(0.05, 0.6), min_size=1, max_size=4),
    st.lists(st.sampled_from([0.003, 0.05, 0.3, 1.0]), min_size=4, max_size=4),
    st.floats(-40, -8),
)
def test_the_ceiling_holds_whatever_comes(lengths_s: list[float], levels: list[float], target_lufs: float) -> None:
    signal = np.concatenate(
        [noise(length_s, value, seed) for seed, (length_s, value) in enumerate(zip(lengths_s, levels, strict=False))]
    )
    before = signal.copy()
    result = level(signal, target_lufs)
    assert result.lufs <= target_lufs + 0.15
    assert true_peak_db(result.samples) <= TRUE_PEAK_DB
    assert np.array_equal(signal, before)


def test_jobs_without_a_target_do_not_load_scipy() -> None:
    code = "import sys, f5_worker.audio.loudness; sys.exit('scipy' in sys.modules or 'pyloudnorm' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
