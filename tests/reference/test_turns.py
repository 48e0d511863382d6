"""The turns of each speaker in a long recording: only what one person says alone, cut at pauses, never into another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from f5_worker.audio.decode import Audio
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.errors import ReferenceTooShort
from f5_worker.reference.prepare import Reference, prepare_turns
from f5_worker.reference.turns import JoinedTurns, choose_turns, cut_turn, find_turns, join_turns, merge_spans
from f5_worker.settings import Settings
from f5_worker.transcripts.cues import Cue

PITCH_HZ = {"Ann": 220.0, "Bob": 900.0, None: 3_000.0}
LETTERS_PER_S = 14


def cue(start_s: float, end_s: float, speaker: str | None = "Ann", text: str | None = None) -> Cue:
    words = "a" * round((end_s - start_s) * LETTERS_PER_S) + "."
    return Cue(start_s, end_s, words if text is None else text, speaker)


def recording(cues: Sequence[Cue], length_s: float, noise: float = 0.001) -> Audio:
    """Each line as a tone of its speaker's pitch; what is not a line's speech has a third one."""
    samples = np.random.default_rng(1).normal(0, noise, round(length_s * SAMPLE_RATE)).astype(np.float32)
    for line in cues:
        begin, end = round(line.start_s * SAMPLE_RATE), round(line.end_s * SAMPLE_RATE)
        time_s = np.arange(end - begin) / SAMPLE_RATE
        samples[begin:end] += np.sin(2 * np.pi * PITCH_HZ[line.speaker if line.text else None] * time_s) / 4
    return Audio(samples, SAMPLE_RATE, 1)


def joined(cues: Sequence[Cue], audio: Audio, speaker: str | None = "Ann") -> JoinedTurns:
    turns = choose_turns(turn for turn in find_turns(cues) if turn.speaker == speaker)
    spans_s = merge_spans(turns)
    parts = [Audio(audio.samples[round(a * SAMPLE_RATE) : round(b * SAMPLE_RATE)], SAMPLE_RATE, 1) for a, b in spans_s]
    cut = [cut_turn(turn, cues, spans_s, parts) for turn in turns]
    return join_turns([turn for turn in cut if turn is not None])


def prepare(cues: Sequence[Cue], audio: Audio, speaker: str | None = "Ann") -> Reference:
    return prepare_turns(joined(cues, audio, speaker), Settings())


def power_db(samples: Samples, speaker: str | None) -> float:
    """The level of a speaker's pitch, over that of the loudest one."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    hertz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    at = np.abs(hertz - PITCH_HZ[speaker]) < 20
    return float(20 * np.log10(spectrum[at].max() / spectrum.max()))


def texts(cues: Sequence[Cue]) -> list[tuple[str | None, int]]:
    return [(turn.speaker, len(turn.cues)) for turn in find_turns(cues)]


# -- turns ------------------------------------------------------------------------------------------------------------


def test_a_turn_is_consecutive_lines_of_one_speaker() -> None:
    cues = [cue(0, 2), cue(2.3, 4), cue(4.2, 6, "Bob"), cue(6.3, 8), cue(12, 14)]
    assert texts(cues) == [("Ann", 2), ("Bob", 1), ("Ann", 1), ("Ann", 1)]


def test_what_is_no_speech_or_not_alone_is_in_no_turn() -> None:
    assert texts([cue(0, 2), cue(2.1, 3, text=""), cue(3.1, 5)]) == [("Ann", 1), ("Ann", 1)]
    assert texts([cue(0, 2), cue(1.5, 3, "Bob"), cue(3.1, 5)]) == [("Ann", 1)]
    assert texts([cue(0, 9), cue(2, 3, "Bob"), cue(4, 5, "Bob"), cue(9.1, 11)]) == [("Ann", 1)]
    assert texts([cue(0, 2.1), cue(2, 3, "Bob")]) == [("Ann", 1), ("Bob", 1)], "times are inexact"


def test_a_long_speech_is_several_turns_and_a_line_that_is_too_long_none() -> None:
    cues = [cue(6 * n, 6 * n + 5.5) for n in range(9)]
    turns = find_turns(cues)
    assert [len(turn.cues) for turn in turns] == [3, 3, 3]
    assert max(turn.length_s for turn in turns) <= 20
    assert texts([cue(0, 30), cue(30.2, 32)]) == [("Ann", 1)]


def test_the_longest_turns_are_chosen_up_to_the_bound_in_order() -> None:
    turns = find_turns([cue(0, 3), cue(10, 18), cue(30, 34), cue(40, 47)])
    assert [turn.cues[0].start_s for turn in choose_turns(turns, 19.0)] == [10, 40]
    assert [turn.cues[0].start_s for turn in choose_turns(turns, 24.0)] == [10, 30, 40]
    assert choose_turns(turns, 2.0) == []


def test_stretches_are_ascending_and_apart() -> None:
    turns = find_turns([cue(0, 3), cue(3.2, 6, "Bob"), cue(20, 22)])
    assert merge_spans(reversed(turns)) == [(0.0, 6.6), (pytest.approx(19.4), pytest.approx(22.6))]


# -- references -------------------------------------------------------------------------------------------------------


def dialogue(gap_s: float, line_s: float = 2.0, n: int = 8) -> list[Cue]:
    starts_s = [1.0 + index * (line_s + gap_s) for index in range(n)]
    return [cue(at, at + line_s, "Ann" if index % 2 else "Bob") for index, at in enumerate(starts_s)]


@pytest.mark.parametrize("gap_s", [0.2, 0.4, 1.0, 3.0])
def test_short_lines_are_joined_to_the_length_of_a_good_clip(gap_s: float) -> None:
    cues = dialogue(gap_s)
    audio = recording(cues, cues[-1].end_s + 1)
    for speaker, other in (("Ann", "Bob"), ("Bob", "Ann")):
        reference = prepare(cues, audio, speaker)
        assert 5.0 <= reference.duration_s <= 11.5
        assert power_db(reference.samples, other) < -50
        n_lines = len(reference.transcript.split())
        assert n_lines * 2.0 == pytest.approx(reference.duration_s, abs=0.8 * n_lines), (
            "its words are those of the lines"
        )


def test_lines_of_one_speaker_grow_over_the_silence_between_them() -> None:
    cues = [cue(1, 4), cue(4.5, 8), cue(8.2, 12, "Bob")]
    reference = prepare(cues, recording(cues, 13))
    assert reference.duration_s == pytest.approx(7.0, abs=0.3)
    assert reference.report.clip_start_s == pytest.approx(1.0, abs=0.12)


def test_a_line_that_runs_into_anothers_is_not_used() -> None:
    cues = [cue(1, 5), cue(5.0, 9, "Bob"), cue(12, 14.5)]
    reference = prepare(cues, recording(cues, 16))
    assert reference.report.clip_start_s == pytest.approx(12.0, abs=0.12)
    assert power_db(reference.samples, "Bob") < -50


@pytest.mark.parametrize("late_s", [-0.15, 0.15])
def test_times_may_be_inexact(late_s: float) -> None:
    true = dialogue(0.5, line_s=3.0)
    cues = [Cue(line.start_s + late_s, line.end_s + late_s / 2, line.text, line.speaker) for line in true]
    reference = prepare(cues, recording(true, true[-1].end_s + 1))
    assert power_db(reference.samples, "Bob") < -50
    n_lines = len(reference.transcript.split())
    assert reference.duration_s == pytest.approx(3.0 * n_lines, abs=0.8 * n_lines)


def test_a_sound_that_no_line_has_is_in_no_clip() -> None:
    cues = [cue(1, 4), cue(5.5, 8.5)]
    sounds = [*cues, cue(4.5, 5.0, None, "slam")]
    reference = prepare(cues, recording(sounds, 10))
    assert power_db(reference.samples, None) < -50
    assert reference.duration_s == pytest.approx(3.0, abs=0.4)


def test_a_speaker_of_few_words_has_a_short_clip_and_one_of_a_word_none() -> None:
    cues = [cue(1, 2.6), cue(3, 9, "Bob")]
    reference = prepare(cues, recording(cues, 10))
    assert reference.duration_s == pytest.approx(1.6, abs=0.2)
    assert any("a voice is copied better" in warning for warning in reference.warnings)
    cues = [cue(1, 1.5), cue(3, 9, "Bob")]
    with pytest.raises(ReferenceTooShort, match=r"0\.\d+ s of speech"):
        prepare(cues, recording(cues, 10))


def test_where_a_joined_clip_begins_in_the_long_recording() -> None:
    cues = [cue(10, 11, "Bob"), cue(20, 26), cue(50, 51.2)]
    turns = joined(cues, recording(cues, 60))
    assert [round(turn.begin_s, 1) for turn in turns.turns] == [19.7, 49.7]
    assert turns.source_s(1.0) == pytest.approx(20.7, abs=0.05)
    assert turns.source_s(turns.turns[0].audio.duration_s + 0.5) == pytest.approx(50.2, abs=0.05)
