"""Texts that the sound may say instead: at the place that is most in doubt, and where there is room for more words."""

from __future__ import annotations

import numpy as np

from f5_worker.verification.evidence import Surplus, WordEvidence
from f5_worker.verification.rivals import Rival, rival_texts
from tests.verification.test_faults import evidence

TEXT = "Anne went home"
REFERENCE = "Some call me nature.".split()


def rivals(found: WordEvidence, reference: list[str] = REFERENCE) -> list[Rival]:
    return list(rival_texts(TEXT, found, reference))


def test_words_before_and_at_the_most_doubtful_one_are_said_twice() -> None:
    found = rivals(evidence(probabilities=np.array([0.9, 0.1, 0.9])))
    assert {rival.fault for rival in found} == {"repeated"}
    assert {rival.text for rival in found} == {"Anne Anne went home", "Anne went Anne went home", "Anne went went home"}


def test_sound_beyond_a_words_share_is_a_doubt_as_well() -> None:
    found = rivals(evidence(excess_s=np.array([0.0, 0.0, 0.3])))
    assert Rival("Anne went home home", "repeated") in found


def test_words_that_have_too_much_sound_together_are_tried_wherever_they_may_end() -> None:
    likely = rivals(evidence())
    found = rivals(evidence(surplus=Surplus(0, 3, 0.4)))
    assert set(likely) < set(found)
    assert {Rival("Anne Anne went home", "repeated"), Rival("Anne went home Anne went home", "repeated")} <= set(found)


def test_words_of_the_reference_are_tried_where_there_is_more_sound() -> None:
    assert [
        rival.text for rival in rivals(evidence(excess_s=np.array([0.25, 0.0, 0.0]))) if rival.fault == "reference"
    ] == [
        "nature. Anne went home",
        "me nature. Anne went home",
        "call me nature. Anne went home",
    ]
    assert [rival.text for rival in rivals(evidence(tail_s=0.25)) if rival.fault == "reference"] == [
        "Anne went home Some",
        "Anne went home Some call",
        "Anne went home Some call me",
    ]


def test_a_reference_without_words_leaks_none() -> None:
    assert {rival.fault for rival in rivals(evidence(tail_s=0.25), [])} == {"repeated"}
