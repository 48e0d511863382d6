"""Names of faults, by the words that were heard and by the sound."""

from __future__ import annotations

import numpy as np
import pytest

from f5_worker.verification.compare import WordSounds, compare
from f5_worker.verification.evidence import SoundProfile, Surplus, UnaskedPause, WordEvidence
from f5_worker.verification.faults import acoustic_faults, doubtful_words, rival_faults, word_faults
from f5_worker.verification.rivals import Rival
from tests.audio.signals import noise
from tests.verification.test_evidence import aligned, profile, voice

EQUAL = WordSounds(str.__eq__, lambda one, other: 1.0)
REFERENCE = "some call me nature".split()


def named(text: str, transcript: str) -> list[str]:
    written, heard = text.split(), transcript.split()
    found = compare(written, heard, EQUAL)
    return list(dict.fromkeys(word_faults(written, heard, found, REFERENCE, str.__eq__)))


@pytest.mark.parametrize(
    ("text", "heard", "faults"),
    [
        ("take the stairs the soup needs salt", "take the stairs the soup needs salt", []),
        ("take the stairs the soup needs salt", "the stairs the soup needs salt", ["first_word"]),
        ("take the stairs the soup needs salt", "take the stairs the soup", ["last_word"]),
        ("take the stairs the soup needs salt", "take the stairs soup needs salt", ["missing"]),
        (
            "take the stairs now the soup needs salt",
            "take the stairs now the stairs now the soup needs salt",
            ["repeated"],
        ),
        ("take the stairs the soup needs salt", "take the the stairs the soup needs salt", ["repeated"]),
        ("take the stairs the soup needs salt", "take the stairs the soup stairs the soup needs salt", ["repeated"]),
        ("so it was", "so it was was", ["repeated"]),
        ("no no no he said", "no no no he said", []),
        ("take the stairs", "call me take the stairs", ["reference"]),
        ("take the stairs", "take the stairs some", ["reference"]),
        ("take the stairs", "take all of the stairs", ["added"]),
        ("take the stairs", "take all the stairs", []),  # one word: it may be misrecognised
        ("take the stairs", "take the steps", []),  # counted, not named
        ("take the stairs", "call the stairs", []),
    ],
)
def test_words(text: str, heard: str, faults: list[str]) -> None:
    assert named(text, heard) == faults


def evidence(**changes: object) -> WordEvidence:
    """Three likely words, each with its share of the sound."""
    fields = {
        "tokens": aligned([0.0, 0.4, 0.8, 1.2], [0.9] * 3),
        "spans": ((0, 4), (5, 9), (10, 14)),
        "lengths": np.array([4.0, 4.0, 4.0]),
        "probabilities": np.array([0.9, 0.9, 0.9]),
        "covered": np.array([1.0, 1.0, 1.0]),
        "excess_s": np.array([0.0, 0.0, 0.0]),
        "surplus": Surplus(0, 1, 0.0),
        "pause": UnaskedPause(0, 0.0),
        "tail_s": 0.0,
    }
    return WordEvidence(**(fields | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def speech() -> SoundProfile:
    return profile(voice(1.2))


def test_good_speech_has_no_fault_and_leaves_no_doubt(speech: SoundProfile) -> None:
    assert doubtful_words(evidence(), speech) is None
    assert list(acoustic_faults(evidence(), speech)) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"probabilities": np.array([0.9, 0.05, 0.9])}, (1, 2)),
        ({"excess_s": np.array([0.0, 0.35, 0.0])}, (1, 3)),
        ({"tail_s": 0.35}, (3, 4)),
        ({"surplus": Surplus(0, 2, 0.45)}, (0, 2)),
        ({"covered": np.array([1.0, 0.1, 1.0])}, (1, 2)),
        ({"probabilities": np.array([0.9, 0.05, 0.9]), "tail_s": 0.35}, (1, 4)),
    ],
)
def test_what_leaves_a_doubt(changes: dict[str, object], words: tuple[int, int], speech: SoundProfile) -> None:
    assert doubtful_words(evidence(**changes), speech) == words
    assert list(acoustic_faults(evidence(**changes), speech)) == []  # not a fault by itself


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"excess_s": np.array([0.4, 0.0, 0.0])}, "added"),
        ({"tail_s": 0.5}, "added"),
        ({"surplus": Surplus(0, 2, 1.1)}, "added"),
        ({"covered": np.array([1.0, 1.0, 0.5]), "probabilities": np.array([0.9, 0.9, 1e-5])}, "last_word"),
        ({"pause": UnaskedPause(0, 0.3), "probabilities": np.array([0.9, 0.1, 0.9])}, "silence"),
    ],
)
def test_what_sound_shows_by_itself(changes: dict[str, object], fault: str, speech: SoundProfile) -> None:
    assert list(acoustic_faults(evidence(**changes), speech)) == [fault]


def test_a_pause_beside_likely_words_is_a_pause(speech: SoundProfile) -> None:
    assert list(acoustic_faults(evidence(pause=UnaskedPause(0, 0.6)), speech)) == []
    far = evidence(pause=UnaskedPause(0, 0.6), probabilities=np.array([0.9, 0.9, 0.1]))
    assert list(acoustic_faults(far, speech)) == []


def test_noise_in_place_of_a_voice() -> None:
    sound = profile(voice(1.0), noise(0.35, 0.1), voice(1.0))
    assert list(acoustic_faults(evidence(), sound)) == ["noise"]
    assert list(acoustic_faults(evidence(), profile(voice(1.0), noise(0.15, 0.1), voice(1.0)))) == []


def test_the_rival_that_is_likelier_by_most_names_the_fault() -> None:
    rivals = [Rival("a", "repeated", 3.0), Rival("b", "missing", 8.0), Rival("c", "reference", -6.0)]
    assert rival_faults(rivals, [2.9, 7.9, -6.1]) == []
    assert rival_faults(rivals, [4.0, 10.0, -6.1]) == ["missing"]
    assert rival_faults(rivals, [4.0, 10.0, 0.0]) == ["reference"]
    assert rival_faults([], []) == []
