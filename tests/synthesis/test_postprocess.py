"""Edges are cut and added to the sample, and the shift says by how much everything moved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.audio.join import LEAD_S, TAIL_S
from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.synthesis.postprocess import pad, trim_silence
from tests.audio.signals import noise, silence, tone


@given(st.floats(0, 1), st.floats(0, 1))
def test_silence_is_cut_to_its_margins_and_the_shift_says_so(before_s: float, after_s: float) -> None:
    sound = noise(0.5)
    clip = np.concatenate([silence(before_s), sound, silence(after_s)])
    shaped = trim_silence(clip)
    at = round(before_s * SAMPLE_RATE) + round(shaped.shift_s * SAMPLE_RATE)
    assert np.array_equal(shaped.samples[at : at + len(sound)], sound)
    assert at == pytest.approx(min(before_s, LEAD_S) * SAMPLE_RATE, abs=0.02 * SAMPLE_RATE)
    rest = len(shaped.samples) - at - len(sound)
    assert rest == pytest.approx(min(after_s, TAIL_S) * SAMPLE_RATE, abs=0.02 * SAMPLE_RATE)


def test_silence_inside_stays() -> None:
    clip = np.concatenate([tone(0.5), silence(2.0), tone(0.5)])
    assert np.array_equal(trim_silence(clip).samples, clip)


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_a_clip_without_sound_stays(seconds: float) -> None:
    shaped = trim_silence(silence(seconds))
    assert (len(shaped.samples), shaped.shift_s) == (round(seconds * SAMPLE_RATE), 0.0)


@given(st.integers(0, 5_000), st.floats(0, 0.3), st.floats(0, 0.3))
def test_padding_is_exact(n: int, lead_s: float, tail_s: float) -> None:
    signal = noise(n / SAMPLE_RATE)
    shaped = pad(signal, lead_s, tail_s)
    lead = round(lead_s * SAMPLE_RATE)
    assert shaped.shift_s * SAMPLE_RATE == pytest.approx(lead)
    assert shaped.samples.dtype == np.float32
    assert np.array_equal(shaped.samples[lead : lead + n], signal)
    assert len(shaped.samples) == lead + n + round(tail_s * SAMPLE_RATE)
    assert not shaped.samples[:lead].any()
    assert not shaped.samples[lead + n :].any()
