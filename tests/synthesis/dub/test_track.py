"""Subtitles to a track: every line at its time, fitted to its slot, overlaps told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from f5_worker.audio.decode import decode
from f5_worker.audio.levels import Samples
from f5_worker.cancellation import JobControl
from f5_worker.engine.types import WaitForSamples
from f5_worker.errors import InvalidInput, LinesTooLong, SubtitlesUnreadable, TextTooLong, TextUnspeakable, UnknownVoice
from f5_worker.schema.actions import parse_input
from f5_worker.schema.dub import DubInput
from f5_worker.schema.responses import DubResponse
from f5_worker.settings import Settings
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.dub.cues import read_cues, select_spoken
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak
from tests.conftest import ToneDevice, ToneState

VTT = """WEBVTT

00:01.000 --> 00:04.000
<v Ann>The first line is spoken here.

00:06.000 --> 00:07.000
<v Bob>This one has far more words than there is time for, so that it has to be pressed.

00:07.500 --> 00:09.000
Short.
"""


def dub(worker: Worker, **fields: Any) -> DubResponse:
    value = {"action": "dub", "subtitles": VTT, "voice": "joe", "seed": 1} | fields
    reply = speak(Job(DubInput.model_validate(value), worker, JobControl(60)))
    assert isinstance(reply, DubResponse)
    return reply


def samples_of(reply: DubResponse) -> np.ndarray[Any, Any]:
    return decode(reply.audio.data or b"", max_bytes=10**9, max_s=3_600).samples


def test_lines_start_at_their_times_and_are_silent_between(worker: Worker) -> None:
    reply = dub(worker)
    sound = samples_of(reply)
    assert not sound[: 24_000 - 10].any()
    assert np.abs(sound[24_000 : 24_000 + 4_800]).max() > 0.01
    first = reply.lines[0]
    assert not sound[round(first.end_s * 24_000) + 10 : 6 * 24_000 - 10].any()
    assert [line.start_s for line in reply.lines] == [1.0, 6.0, 7.5]
    assert [line.speaker for line in reply.lines] == ["Ann", "Bob", None]


def test_a_line_fills_its_slot_where_the_speeds_allow(worker: Worker) -> None:
    relaxed = dub(worker, min_speed=0.5).lines[0]
    assert relaxed.end_s == pytest.approx(4.0, abs=0.01)
    assert relaxed.speed < 1
    strict = dub(worker, min_speed=1.0).lines[0]
    assert (strict.speed, strict.end_s < 4.0) == (1.0, True)


def test_a_line_too_long_runs_on_and_says_so(worker: Worker) -> None:
    reply = dub(worker, max_speed=1.2)
    pressed = reply.lines[1]
    assert pressed.speed == 1.2
    assert pressed.overlap_s == pytest.approx(pressed.end_s - 7.5, abs=0.01)
    assert any("line 2 by" in warning for warning in reply.warnings)


def test_a_track_of_a_wanted_length(worker: Worker) -> None:
    assert len(samples_of(dub(worker, track_s=20.0))) == 20 * 24_000
    with pytest.raises(InvalidInput, match=r"track_s=8: the lines end at"):
        dub(worker, track_s=8.0)


def test_a_track_that_is_too_short_is_refused_before_its_lines_are_spoken(worker: Worker, device: ToneDevice) -> None:
    with pytest.raises(InvalidInput, match="the lines end at"):
        dub(worker, track_s=8.0)
    assert device.segments == []


def test_lines_that_push_each_other_beyond_the_longest_track_are_refused(worker: Worker, device: ToneDevice) -> None:
    short = replace(worker, settings=worker.settings.model_copy(update={"max_audio_s": 10.0}))
    lines = timed(*[(second, second + 1, LONG) for second in range(9)])
    with pytest.raises(TextTooLong, match=r"the lines end at \d\d s, after their times; at most 10 s"):
        dub(short, subtitles=lines, fit={})
    assert device.segments == []


def test_speakers_get_their_voices(worker: Worker) -> None:
    assert dub(worker, voices={"Ann": "joe", "Bob": "joe"}).lines
    assert dub(worker, voices={"Ann": "joe"}).lines
    with pytest.raises(InvalidInput, match=r"names the speaker 'Ana', which no line has; the lines have Ann, Bob"):
        dub(worker, voices={"Ana": "joe"})
    with pytest.raises(UnknownVoice):
        dub(worker, voices={"Ann": "nobody"})


def test_words_are_timed_across_the_lines(worker: Worker) -> None:
    reply = dub(worker, timings="words", captions={"formats": ["srt"]})
    assert reply.timings is not None
    words = reply.timings.words
    assert [word.text for word in words[:6]] == ["The", "first", "line", "is", "spoken", "here."]
    assert words[0].start_s >= 1.0
    assert words[6].start_s >= 6.0
    assert words[-1].start_s >= 7.5
    assert reply.captions is not None


def test_plain_text_is_no_subtitles(worker: Worker) -> None:
    with pytest.raises(SubtitlesUnreadable, match="subtitles holds no times"):
        dub(worker, subtitles="Just a text.")


def test_hours_are_refused_before_anything_is_spoken(worker: Worker) -> None:
    late = "1\n05:00:00,000 --> 05:00:02,000\nToo late.\n"
    with pytest.raises(TextTooLong, match="F5_MAX_AUDIO_S"):
        dub(worker, subtitles=late)


def test_the_same_seed_gives_the_same_track(worker: Worker) -> None:
    assert dub(worker).audio.data == dub(worker).audio.data
    assert dub(worker).audio.data != dub(worker, seed=2).audio.data


@pytest.mark.parametrize("fields", [{"trim_silence": True}, {"pad_start_s": 1.0}])
def test_nothing_moves_the_lines_from_their_times(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="would move the lines from their times"):
        parse_input({"action": "dub", "subtitles": VTT, "voice": "joe", **fields})


def srt(*lines: str) -> str:
    cues = (f"{n}\n00:00:0{2 * n - 2},500 --> 00:00:0{2 * n},000\n{line}\n" for n, line in enumerate(lines, start=1))
    return "\n".join(cues)


@pytest.mark.parametrize("silent", ["♪ ♪", "...", "-", "🎉"])
def test_a_cue_without_words_is_silence_and_named(worker: Worker, silent: str) -> None:
    reply = dub(worker, subtitles=srt("Hello there.", silent))
    assert [line.text for line in reply.lines] == ["Hello there."]
    assert "cue 2 has no letter and no digit: silent" in reply.warnings
    sound = samples_of(reply)
    assert len(sound) == 4 * 24_000
    assert not sound[round(reply.lines[0].end_s * 24_000) + 10 :].any()


def test_sounds_and_music_are_silence_unless_they_are_to_be_spoken(worker: Worker) -> None:
    lines = ("[door slams]", "[sighs] Hello there.", "♪ la la ♪", "[Ann]: Good bye.")
    reply = dub(worker, subtitles=srt(*lines), voices={"Ann": "joe"})
    assert [(line.speaker, line.text) for line in reply.lines] == [(None, "Hello there."), ("Ann", "Good bye.")]
    assert any(warning.startswith("cues 1, 3 have sounds or music only: silent") for warning in reply.warnings)
    spoken = dub(worker, subtitles=srt(*lines), non_speech="speak")
    assert [line.text for line in spoken.lines] == ["[door slams]", "[sighs] Hello there.", "♪ la la ♪", "Good bye."]


def test_a_speaker_of_silent_cues_needs_no_voice(worker: Worker) -> None:
    subtitles = srt("[Ann]: Hello there.", "[Bob]: (sighs)")
    assert dub(worker, subtitles=subtitles, voices={"Ann": "joe", "Bob": "joe"}, voice=None).lines


def test_a_track_of_silence_is_refused() -> None:
    cues = read_cues(srt("...", "[door slams]"), Settings())
    with pytest.raises(TextUnspeakable, match=r"none of the 2 cues .* only sounds and music; send non_speech"):
        select_spoken(cues, "skip")
    with pytest.raises(TextUnspeakable, match=r"none of the 1 cues .* only signs; send words"):
        select_spoken(cues[:1], "speak")


# -- fit --------------------------------------------------------------------------------------------------------------

LONG = "This one has far more words than there is time for, so that it has to be pressed and pressed."


def timed(*lines: tuple[float, float, str]) -> str:
    return "WEBVTT\n\n" + "\n".join(f"00:{start:06.3f} --> 00:{end:06.3f}\n{text}\n" for start, end, text in lines)


def test_what_each_line_took_is_told(worker: Worker) -> None:
    lines = ((0, 2, "A short line of words."), (3, 4, "A longer line of a few words."), (9, 10, LONG), (12, 14, "Yes."))
    reply = dub(worker, subtitles=timed(*lines), fit={})
    assert [line.fit for line in reply.lines] == ["slot", "gap", "overrun", "slot"]
    assert [line.slot_start_s for line in reply.lines] == [0, 3, 9, 12]
    assert reply.lines[3].start_s == pytest.approx(reply.lines[2].end_s)
    assert all(line.overlap_s == 0 for line in reply.lines)
    assert any("1 lines start late, line 4 by" in warning for warning in reply.warnings)


def test_lines_that_must_fit_are_refused_before_the_device_begins(worker: Worker, device: ToneDevice) -> None:
    with pytest.raises(LinesTooLong, match=r"1 of 2 lines do not fit .* cues 1;"):
        dub(worker, subtitles=timed((0, 1, LONG), (1, 2, "Yes.")), fit={"on_overrun": "fail"})
    assert device.segments == []


def test_with_a_policy_the_first_word_is_at_the_time_of_the_cue(worker: Worker, device: ToneDevice) -> None:
    plain = device.finish

    def silence_lead(wait_for_samples: WaitForSamples) -> Samples:
        samples = wait_for_samples()
        samples[: round(0.2 * 24_000)] = 0.0
        return samples

    def with_lead(states: Sequence[ToneState]) -> list[WaitForSamples]:
        return [partial(silence_lead, spoken) for spoken in plain(states)]

    device.finish = with_lead  # type: ignore[method-assign]
    lines = ((1, 3, "A line of some words."), (5, 7, "Another line of words."))
    first, told = {}, {}
    for fit in ({}, None):
        reply = dub(worker, subtitles=timed(*lines), fit=fit, timings="words", format="wav_f32")
        sound = np.abs(samples_of(reply)) > 0.02
        first[fit is None] = [int(sound[at * 24_000 :].argmax()) / 24_000 for at in (1, 5)]
        assert reply.timings is not None
        told[fit is None] = reply.timings.words[0].start_s
    assert told[True] - told[False] == pytest.approx(0.19, abs=0.02)
    assert first[True] == pytest.approx([0.2, 0.2], abs=0.01)
    assert max(first[False]) < 0.03
