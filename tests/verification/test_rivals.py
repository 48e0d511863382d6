"""Texts that the sound may say instead: at the place that is most in doubt, and where there is room for more words."""

from __future__ import annotations

import numpy as np

from f5_worker.verification.evidence import Surplus, WordEvidence
from f5_worker.verification.rivals import Rival, rival_texts
from f5_worker.verification.thresholds import VERIFICATION
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
    assert Rival("Anne went home home", "repeated", VERIFICATION.repeated_log_ratio) in found


def test_words_that_have_too_much_sound_together_are_tried_wherever_they_may_end() -> None:
    likely = rivals(evidence())
    found = rivals(evidence(surplus=Surplus(0, 3, 0.4)))
    assert {rival.text for rival in likely} < {rival.text for rival in found}
    assert {rival.min_log_ratio for rival in likely} == {VERIFICATION.repeated_log_ratio}
    assert {rival.min_log_ratio for rival in found} == {VERIFICATION.surplus_log_ratio}
    assert {"Anne Anne went home", "Anne went home Anne went home"} <= {rival.text for rival in found}


def test_words_of_the_reference_are_tried_where_there_is_more_sound() -> None:
    assert [
        rival.text for rival in rivals(evidence(excess_s=np.array([0.25, 0.0, 0.0]))) if rival.fault == "reference"
    ] == [
        "nature. Anne went home",
        "me nature. Anne went home",
        "call me nature. Anne went home",
    ]
    assert [rival.text for rival in rivals(evidence(tail_s=0.4)) if rival.fault == "reference"] == [
        "Anne went home Some",
        "Anne went home Some call",
        "Anne went home Some call me",
    ]


def test_a_reference_without_words_leaks_none() -> None:
    assert {rival.fault for rival in rivals(evidence(tail_s=0.4), [])} == {"repeated"}


def test_words_of_the_reference_need_less_likelihood_where_there_is_sound_for_them() -> None:
    def ratios(lead_s: float) -> set[float]:
        found = rivals(evidence(excess_s=np.array([lead_s, 0.0, 0.0])))
        return {rival.min_log_ratio for rival in found if rival.fault == "reference"}

    assert ratios(0.1) == set()
    assert ratios(0.2) == {VERIFICATION.lead_log_ratio}
    assert ratios(0.3) == {VERIFICATION.reference_log_ratio}
