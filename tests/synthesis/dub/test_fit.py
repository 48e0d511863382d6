"""When a line is spoken and how fast, from the times of its cue and its natural length alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.errors import InvalidInput, LinesTooLong
from f5_worker.schema.actions import parse_input
from f5_worker.schema.dub import FitInput
from f5_worker.synthesis.dub.fit import BREATH_S, FittedLine, fill_slots, fit_lines
from f5_worker.transcripts.cues import Cue


def cues(*spans_s: tuple[float, float]) -> list[Cue]:
    return [Cue(start_s, end_s, "words", None, number) for number, (start_s, end_s) in enumerate(spans_s, start=1)]


def fit(
    spans_s: list[tuple[float, float]], natural_s: list[float], track_s: float | None = None, **policy: object
) -> list[FittedLine]:
    return fit_lines(cues(*spans_s), natural_s, FitInput.model_validate(policy), track_s=track_s)


def test_a_line_fills_its_cue_up_to_the_speed_that_is_accepted() -> None:
    spans = [(0, 2), (2, 4), (4, 6), (6, 8)]
    lines = fit(spans, [1.8, 2.0, 2.4, 1.0])
    assert [line.step for line in lines] == ["slot"] * 4
    assert [line.speed for line in lines] == pytest.approx([0.9, 1.0, 1.2, 0.8])
    assert [line.duration_s for line in lines] == pytest.approx([2.0, 2.0, 2.0, 1.25])


def test_then_it_may_last_until_a_breath_before_the_next_one() -> None:
    first, _ = fit([(0, 2), (4, 6)], [3.0, 2.0])
    assert (first.step, first.speed, first.duration_s) == ("gap", 1.2, 2.5)
    at_the_bound, _ = fit([(0, 2), (4, 6)], [1.2 * (4 - BREATH_S), 2.0])
    assert (at_the_bound.step, at_the_bound.end_s) == ("gap", pytest.approx(4 - BREATH_S))
    without, _ = fit([(0, 2), (4, 6)], [3.0, 2.0], use_gaps=False)
    assert (without.step, without.speed, without.end_s) == ("speed", 1.5, 2.0)


def test_then_it_is_spoken_faster() -> None:
    first, _ = fit([(0, 2), (4, 6)], [5.2, 2.0])
    assert first.step == "speed"
    assert first.end_s == pytest.approx(4 - BREATH_S)
    assert first.speed == pytest.approx(5.2 / (4 - BREATH_S))
    no_breath, _ = fit([(0, 2), (4, 6)], [5.9, 2.0])
    assert (no_breath.step, no_breath.speed) == ("speed", 1.5)
    assert 4 - BREATH_S < no_breath.end_s < 4


def test_what_is_longer_even_so_lets_the_next_lines_wait_until_pauses_make_up_for_it() -> None:
    lines = fit([(0, 2), (2, 4), (4, 6), (8, 9)], [6.0, 3.0, 2.4, 1.0])
    assert [line.step for line in lines] == ["overrun", "overrun", "speed", "slot"]
    assert [line.start_s for line in lines] == pytest.approx([0.0, 4.0, 6.0, 8.0])
    assert all(line.overlap_s == 0 for line in lines)


def test_no_line_waits_longer_than_it_may_and_then_begins_over_the_one_before() -> None:
    spans = [(0, 2), (2, 4), (4, 6), (12, 13)]
    natural = [6.0, 6.0, 3.0, 1.0]
    lines = fit(spans, natural, max_delay_s=2.5)
    assert [line.start_s for line in lines] == pytest.approx([0.0, 4.0, 6.5, 12.0])
    assert [line.overlap_s for line in lines] == pytest.approx([0.0, 1.5, 0.0, 0.0])
    assert fit(spans, natural, max_delay_s=0) == fit(spans, natural, on_overrun="overlap")
    assert fit(spans, natural, max_delay_s=4.0) == fit(spans, natural)


def test_or_both_are_heard() -> None:
    first, second = fit([(0, 2), (2, 4)], [6.0, 2.0], on_overrun="overlap")
    assert (first.step, first.speed, first.overlap_s) == ("overrun", 1.5, 2.0)
    assert (second.start_s, second.end_s) == (2.0, 4.0)


def test_or_the_job_fails_before_anything_is_spoken() -> None:
    with pytest.raises(
        LinesTooLong, match=r"2 of 3 lines do not fit their times at speed 1.5: cues 1, 2; shorten them"
    ):
        fit([(0, 2), (2, 4), (4, 6)], [6.0, 3.5, 2.0], on_overrun="fail")
    assert fit([(0, 2), (2, 4)], [3.0, 2.0], on_overrun="fail")


def test_the_last_line_has_all_the_time_or_that_of_the_track() -> None:
    (line,) = fit([(0, 2)], [6.0])
    assert (line.step, line.speed, line.room_s) == ("gap", 1.2, None)
    (line,) = fit([(0, 2)], [6.0], track_s=4.5)
    assert (line.step, line.end_s) == ("speed", pytest.approx(4.5 - BREATH_S))


def test_lines_that_are_shown_together_do_not_wait_for_each_other() -> None:
    lines = fit([(0, 4), (0.5, 4), (4, 6)], [4.0, 3.0, 2.0])
    assert [line.start_s for line in lines] == [0, 0.5, 4]
    assert [line.room_s for line in lines] == [4.0, 3.5, None]


@pytest.mark.parametrize("step_s", [0.0, 0.001, 1.0])
def test_many_lines_take_no_quadratic_time(step_s: float) -> None:
    """A second of them, whether shown together or one after the other; comparing each with each took half a minute."""
    many = cues(*[(step_s * number, step_s * number + 2.0) for number in range(6_000)])
    begun = time.monotonic()
    assert len(fit_lines(many, [3.0] * len(many), FitInput())) == len(many)
    assert time.monotonic() - begun < 5.0


@given(
    st.lists(st.tuples(st.floats(0, 60), st.floats(0, 9), st.floats(0.1, 20)), min_size=1, max_size=12),
    st.floats(0.5, 1),
    st.tuples(st.floats(1, 2), st.floats(1, 2)).map(sorted),
    st.booleans(),
)
def test_speeds_are_within_those_of_the_request(
    rows: list[tuple[float, float, float]], min_speed: float, speeds: list[float], use_gaps: bool
) -> None:
    """For all that the schema lets through: no `min_speed` is above 1, and no `accept` below it."""
    rows.sort()
    policy = FitInput(accept=speeds[0], max_speed=speeds[1], use_gaps=use_gaps)
    lines = fit_lines(
        cues(*[(start_s, start_s + length_s) for start_s, length_s, _ in rows]),
        [natural_s for _, _, natural_s in rows],
        policy,
        min_speed=min_speed,
    )
    for line in lines:
        assert min_speed <= line.speed <= (policy.accept if line.step in ("slot", "gap") else policy.max_speed) + 1e-9
    for fields in ({"min_speed": 1.01}, {"fit": {"accept": 0.99}}):
        with pytest.raises(InvalidInput):
            parse_input({"action": "dub", "subtitles": "1\n00:00:01,000 --> 00:00:02,000\nA.\n", **fields})


def test_a_cue_that_ends_a_little_after_the_next_one_begins_does_not_make_them_overlap() -> None:
    first, second = fit([(0, 2.2), (2, 4)], [2.3, 2.0])
    assert first.end_s == pytest.approx(2.0)
    assert (second.start_s, first.overlap_s) == (2.0, 0.0)


def test_a_cue_without_length_has_the_time_until_the_next_one() -> None:
    first, _ = fit([(1, 1), (4, 5)], [2.0, 1.0])
    assert (first.step, first.speed) == ("gap", 1.2)


def test_without_a_policy_lines_fill_their_cues_within_the_speeds() -> None:
    lines = fill_slots(cues((0, 2), (2, 4), (4, 4), (6, 8)), [1.0, 6.0, 3.0, 2.0], 0.8, 1.5)
    assert [line.speed for line in lines] == [0.8, 1.5, 1.5, 1.0]
    assert [line.overlap_s for line in lines] == [0, 2.0, 0, 0]
    assert [line.step for line in lines] == [None] * 4
