"""What sound shows of words: whether it is there, voiced, and long enough."""

from __future__ import annotations

import numpy as np
import pytest

from f5_worker.alignment.align import AlignedTokens
from f5_worker.alignment.refine import LAG_S
from f5_worker.asr.loaded import TokenTimes
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.verification.evidence import SoundProfile, WordEvidence, weigh
from tests.audio.signals import noise, silence


def voice(seconds: float, hz: float = 110.0) -> Samples:
    """A tone with the harmonics of a voice."""
    at_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    waves = (np.sin(2 * np.pi * hz * n * at_s) / n for n in range(1, 20))
    return np.asarray(0.1 * sum(waves), np.float32)


def profile(*parts: Samples) -> SoundProfile:
    return SoundProfile(np.concatenate(parts))


@pytest.mark.parametrize("hz", [80.0, 110.0, 220.0, 330.0])
def test_a_voice_is_not_noise(hz: float) -> None:
    sound = profile(silence(0.2), voice(1.0, hz), silence(0.2))
    assert sound.sound_s == pytest.approx(1.0, abs=0.05)
    assert sound.longest_noise_s() < 0.1


def test_noise_between_speech_is_found() -> None:
    assert profile(voice(1.0), noise(0.4, 0.1), voice(1.0)).longest_noise_s() == pytest.approx(0.4, abs=0.06)


def test_a_whisper_is_not_taken_for_noise() -> None:
    assert profile(noise(2.0, 0.1), voice(0.3)).longest_noise_s() == 0.0


def test_silence_has_no_sound() -> None:
    assert profile(silence(1.0)).sound_s == 0.0
    assert profile(silence(0.0)).longest_noise_s() == 0.0


def times(starts_s: list[float], probabilities: list[float]) -> TokenTimes:
    return TokenTimes(np.array(probabilities), np.array(starts_s) + LAG_S)


def aligned(starts_s: list[float], probabilities: list[float]) -> AlignedTokens:
    """The tokens of "anne went home", one for each word, and when attention moves to each."""
    return AlignedTokens((1, 2, 3), np.array([(0, 4), (5, 9), (10, 14)]), times(starts_s, probabilities))


def measured(tokens: AlignedTokens, sound: SoundProfile) -> WordEvidence:
    found = weigh("anne went home", tokens, sound)
    assert found is not None
    return found


def test_a_text_without_letters_has_no_words() -> None:
    assert weigh("?!", aligned([0.0, 0.4, 0.8, 1.2], [0.9] * 3), profile(voice(1.2))) is None


def test_words_with_their_share_of_the_sound() -> None:
    found = measured(aligned([0.0, 0.4, 0.8, 1.2], [0.9, 0.8, 0.7]), profile(voice(1.2)))
    assert found.spans == ((0, 4), (5, 9), (10, 14))
    assert found.probabilities.tolist() == [0.9, 0.8, 0.7]
    assert np.abs(found.excess_s).max() < 0.15
    assert found.covered.min() > 0.7
    assert found.tail_s == pytest.approx(0.0, abs=0.03)


def test_sound_after_the_last_word_and_before_the_first() -> None:
    late = measured(aligned([0.0, 0.4, 0.8, 1.2], [0.9] * 3), profile(voice(1.7)))
    assert late.tail_s == pytest.approx(0.5, abs=0.05)
    early = measured(aligned([0.0, 1.0, 1.4, 1.8], [0.9] * 3), profile(voice(1.8)))
    assert early.excess_s.argmax() == 0
    assert early.excess_s[0] > 0.3


@pytest.mark.parametrize(("text", "pause_s"), [("anne went home", 0.4), ("anne, went home", 0.0)])
def test_a_pause_that_the_text_does_not_ask_for(text: str, pause_s: float) -> None:
    at = len(text) - len("went home")
    spans = np.array([(0, 4), (at, at + 4), (at + 5, at + 9)])
    tokens = AlignedTokens((1, 2, 3), spans, times([0.0, 0.8, 1.2, 1.6], [0.9] * 3))
    found = weigh(text, tokens, profile(silence(0.1), voice(0.4), silence(0.4), voice(0.8), silence(0.3)))
    assert found is not None
    assert found.pause == (0, pytest.approx(pause_s, abs=0.05))


def test_a_word_in_silence_is_not_covered() -> None:
    sound = profile(voice(0.4), silence(0.4), voice(0.4))
    found = measured(aligned([0.0, 0.42, 0.78, 1.2], [0.9] * 3), sound)
    assert found.covered[1] < 0.2 < found.covered[0]
