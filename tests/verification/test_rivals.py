"""Texts that the sound may say instead: at the places that are most in doubt, and where there is more sound."""

from __future__ import annotations

import numpy as np
import pytest

from f5_worker.verification.compare import WordSounds, compare
from f5_worker.verification.evidence import Surplus, WordEvidence
from f5_worker.verification.forms import spoken_words
from f5_worker.verification.rivals import Rival, corrected, rival_texts
from f5_worker.verification.thresholds import VERIFICATION
from tests.verification.test_faults import evidence

TEXT = "Anne went home"
REFERENCE = "Some call me nature.".split()


def rivals(found: WordEvidence, fault: str, reference: list[str] = REFERENCE) -> list[Rival]:
    return [rival for rival in rival_texts(TEXT, found, reference) if rival.fault == fault]


def test_where_no_word_is_in_doubt_there_is_no_rival() -> None:
    assert list(rival_texts(TEXT, evidence(), REFERENCE)) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"probabilities": np.array([0.9, 0.1, 0.9]), "surplus": Surplus(0, 1, 0.3)},
        {"excess_s": np.array([0.0, 0.3, 0.0])},
    ],
)
def test_words_before_and_at_a_doubtful_one_are_said_twice(changes: dict[str, object]) -> None:
    found = rivals(evidence(**changes), "repeated")
    assert {"Anne Anne went home", "Anne went Anne went home", "Anne went went home"} <= {one.text for one in found}
    assert {one.min_log_ratio for one in found} == {
        VERIFICATION.repeated_log_ratio - 0.3 * VERIFICATION.log_ratio_per_s
    }


def test_words_that_have_too_much_sound_together_are_tried_wherever_they_may_end() -> None:
    found = rivals(evidence(surplus=Surplus(0, 3, 0.45)), "repeated")
    texts = {one.text for one in found}
    assert {"Anne Anne went home", "Anne went home Anne went home", "Anne went home home"} <= texts


def test_words_of_the_reference_are_tried_where_there_is_more_sound() -> None:
    assert [one.text for one in rivals(evidence(excess_s=np.array([0.25, 0.0, 0.0])), "reference")] == [
        "nature. Anne went home",
        "me nature. Anne went home",
        "call me nature. Anne went home",
    ]
    assert [one.text for one in rivals(evidence(tail_s=0.4), "reference")] == [
        "Anne went home Some",
        "Anne went home Some call",
        "Anne went home Some call me",
    ]


def test_a_reference_without_words_leaks_none() -> None:
    assert list(rival_texts(TEXT, evidence(tail_s=0.4), [])) == []


def test_the_more_sound_there_is_after_a_text_the_less_likely_the_reference_has_to_be() -> None:
    short, long = (rivals(evidence(tail_s=tail_s), "reference")[0].min_log_ratio for tail_s in (0.4, 0.6))
    assert short - long == pytest.approx(0.2 * VERIFICATION.log_ratio_per_tail_s)


@pytest.mark.parametrize(
    ("word", "fault", "text"),
    [(0, "first_word", "went home"), (1, "missing", "Anne home"), (2, "last_word", "Anne went ")],
)
def test_words_without_sound_that_are_unlikely_may_be_left_out(word: int, fault: str, text: str) -> None:
    values = np.ones(3)
    values[word] = 0.0
    found = rivals(evidence(covered=values, probabilities=0.9 * values), fault)
    assert text in {one.text for one in found}
    assert {one.min_log_ratio for one in found} == {VERIFICATION.omitted_log_ratio}


def test_a_transcript_is_corrected_where_it_differs() -> None:
    text, transcript = "Had he but turned his head, 20 men ran.", "He'd be turned his head. Twenty men"
    written, heard = spoken_words(text, "en"), spoken_words(transcript, "en")
    words = ([word.text for word in side] for side in (written, heard))
    found = compare(*words, WordSounds(str.__eq__, lambda one, other: 1.0))
    assert [corrected(transcript, heard, text, written, difference) for difference in found] == [
        "Had he but turned his head. Twenty men",
        "He'd be turned his head. Twenty men ran.",
    ]
