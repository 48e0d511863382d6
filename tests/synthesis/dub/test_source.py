"""A dub whose voices are those of the original recording."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from f5_worker.audio import isolated
from f5_worker.audio.decode import decode
from f5_worker.audio.encode import encode
from f5_worker.audio.loudness import lufs
from f5_worker.cancellation import JobControl
from f5_worker.errors import (
    InvalidInput,
    ResultTooLarge,
    SpeakerUnusable,
    SubtitlesUnreadable,
    TextTooLong,
    TranscriptMismatch,
)
from f5_worker.schema.dub import DubInput
from f5_worker.schema.responses import DubResponse, LineResponse
from f5_worker.server.limits import JsonLimit
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak, stream
from tests.conftest import FakeBucket, ToneDevice
from tests.synthesis.dub.dialogue import DIALOGUE, Line, recording, sound, vtt, who

TRANSLATED = "These are other words."


def source(lines: Any = DIALOGUE, **fields: Any) -> dict[str, Any]:
    return {"audio": recording(lines), "subtitles": vtt(lines), **fields}


def dub(worker: Worker, **fields: Any) -> DubResponse:
    value = {"action": "dub", "subtitles": vtt(text=TRANSLATED), "source": source(), "seed": 1} | fields
    response = speak(Job(DubInput.model_validate(value), worker, JobControl(60)))
    assert isinstance(response, DubResponse)
    return response


def samples_of(response: DubResponse) -> np.ndarray[Any, Any]:
    return decode(response.audio.data or b"", max_bytes=10**9, max_s=3_600).samples


def lines_cloned(response: DubResponse, device: ToneDevice) -> list[tuple[str | None, str]]:
    by_length = {len(segment.reference): who(segment.reference) for segment in device.segments}
    voices = {speaker.speaker: speaker for speaker in response.speakers or ()}
    return [
        (line.speaker, by_length[min(by_length, key=lambda n: abs(n / 24_000 - voices[line.speaker].clip_s))])
        for line in response.lines
    ]


def test_each_speaker_is_cloned_from_their_own_words_in_the_source(worker: Worker, device: ToneDevice) -> None:
    response = dub(worker)
    assert [line.speaker for line in response.lines] == ["Ann", "Bob", "Ann", "Bob", "Ann"]
    assert lines_cloned(response, device) == [(line.speaker, line.speaker) for line in response.lines]
    ann, bob = response.speakers or ()
    assert set(ann.transcript.replace(".", "").replace(" ", "").lower()) == {"a"}
    assert set(bob.transcript.replace(".", "").replace(" ", "").lower()) == {"b"}
    assert (ann.voice, ann.clip_start_s) == (None, pytest.approx(0.5, abs=0.15))
    assert [line.start_s for line in response.lines] == [line.start_s for line in DIALOGUE]


def test_lines_without_speakers_have_those_of_the_source_at_the_same_time(worker: Worker, device: ToneDevice) -> None:
    response = dub(worker, subtitles=vtt(named=False, text=TRANSLATED))
    assert [line.speaker for line in response.lines] == ["Ann", "Bob", "Ann", "Bob", "Ann"]
    assert lines_cloned(response, device) == [(line.speaker, line.speaker) for line in response.lines]


def test_speakers_may_be_given_by_the_numbers_of_cues(worker: Worker, device: ToneDevice) -> None:
    named = source(subtitles=vtt(named=False), speakers={"Ann": "1, 3, 5", "Bob": "2, 4"})
    response = dub(worker, subtitles=vtt(named=False, text=TRANSLATED), source=named)
    assert lines_cloned(response, device) == [(line.speaker, line.speaker) for line in DIALOGUE]
    with pytest.raises(InvalidInput, match=r"source.speakers has cue 6, and source.subtitles ends with cue 5"):
        dub(worker, source=source(speakers={"Ann": "1, 3-6"}))


def test_without_any_speaker_the_source_is_one_voice(worker: Worker) -> None:
    lines = [line for line in DIALOGUE if line.speaker == "Ann"]
    alone = {"audio": recording(lines), "subtitles": vtt(lines, named=False)}
    response = dub(worker, subtitles=vtt(lines, named=False, text=TRANSLATED), source=alone)
    (speaker,) = response.speakers or ()
    assert speaker.speaker is None
    assert speaker.clip_s > 5


def test_voices_come_before_the_source(worker: Worker) -> None:
    response = dub(worker, voices={"Bob": "joe"})
    assert [(speaker.speaker, speaker.voice) for speaker in response.speakers or ()] == [("Ann", None), ("Bob", "joe")]


def test_a_speaker_without_speech_is_named_or_has_the_jobs_own_voice(worker: Worker) -> None:
    subtitles = vtt([*DIALOGUE, Line(19.2, 19.9, "Cy")], text=TRANSLATED)
    with pytest.raises(
        SpeakerUnusable, match=r"speaker 'Cy': .* has no line of this speaker; it has Ann, Bob; or name"
    ):
        dub(worker, subtitles=subtitles)
    response = dub(worker, subtitles=subtitles, voice="joe")
    assert (response.speakers or ())[-1].voice == "joe"
    assert any(
        "speaker 'Cy': no voice can be cut" in warning and "own voice" in warning for warning in response.warnings
    )


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("♪ la la la ♪", "they have sounds"),
        ("[door slams]", "they have sounds"),
        ("...", "they have sounds"),
        ("(sighs) Well, there is nothing to be done about it now.", "they have sounds"),
        ("- Where have you been? - At home, as always.", "they have sounds"),
        ("Hi.", "s of speech"),
    ],
)
def test_what_is_not_speech_of_one_person_is_no_reference(worker: Worker, said: str, reason: str) -> None:
    lines = [*DIALOGUE[:-1], Line(16.0, 16.5 if said == "Hi." else 19.0, "Cy", said)]
    audio = recording([line._replace(speaker="") if line.speaker == "Cy" else line for line in lines])
    with pytest.raises(SpeakerUnusable, match=reason):
        dub(worker, subtitles=vtt(lines, text=TRANSLATED), source={"audio": audio, "subtitles": vtt(lines)})


def test_cues_of_the_translation_that_are_no_speech_are_silent_and_named(worker: Worker) -> None:
    lines = [*DIALOGUE[:2], DIALOGUE[2]._replace(text="♪ la la ♪"), DIALOGUE[3]._replace(text="[door slams]")]
    response = dub(worker, subtitles=vtt(lines))
    track = samples_of(response)
    assert len(response.lines) == 2
    assert not track[round(8.6 * 24_000) :].any()
    assert any(warning.startswith("cues 3, 4 have sounds or music only: silent") for warning in response.warnings)


def test_only_the_turns_of_the_source_are_decoded(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[float] = []

    def spy(*args: Any, **limits: Any) -> Any:
        parts = isolated.decode_spans(*args, **limits)
        kept.extend(part.duration_s for part in parts)
        return parts

    monkeypatch.setattr("f5_worker.synthesis.dub.source.decode_spans", spy)
    later = [line._replace(start_s=line.start_s + 80, end_s=line.end_s + 80) for line in DIALOGUE]
    lines = [*DIALOGUE, *later]
    dub(worker, source={"audio": recording(lines, 110.0), "subtitles": vtt(lines)})
    assert sum(kept) < 45


def test_a_long_source_is_bounded_as_a_track_is(worker: Worker) -> None:
    late = vtt([Line(3_700, 3_701, "Ann", "Late.")])
    with pytest.raises(TextTooLong, match=r"the last line of source.subtitles ends at 3701 s, at most 3600 s"):
        dub(worker, source=source(subtitles=late))
    with pytest.raises(SubtitlesUnreadable, match=r"source.subtitles holds no times"):
        dub(worker, source=source(subtitles="Just words."))


def test_subtitles_of_another_recording_are_refused(worker: Worker) -> None:
    lines = [line._replace(start_s=line.start_s + 60, end_s=line.end_s + 60) for line in DIALOGUE]
    with pytest.raises(TranscriptMismatch, match=r"reach to 79.0 s and source.audio ends before"):
        dub(worker, source=source(subtitles=vtt(lines)))


def test_a_recording_that_does_not_agree_with_its_words_is_no_voice(worker: Worker) -> None:
    lines = [line._replace(text="a" * 400) for line in DIALOGUE]
    with pytest.raises(SpeakerUnusable, match=r"speaker 'Ann'.*usual pace"):
        dub(worker, source=source(subtitles=vtt(lines)))


def test_too_many_speakers(worker: Worker) -> None:
    lines = [Line(n, n + 0.5, f"S{n}") for n in range(33)]
    with pytest.raises(InvalidInput, match=r"33 speakers, at most 32"):
        dub(worker, subtitles=vtt(lines, text="Yes."))


# -- loudness and files -----------------------------------------------------------------------------------------------


def test_each_speaker_is_as_loud_as_in_the_source(worker: Worker) -> None:
    lines = [line for line in DIALOGUE if line.speaker == "Ann"], [line for line in DIALOGUE if line.speaker == "Bob"]
    mixed = sound(lines[0], level=0.25) + sound(lines[1], level=0.05)
    audio = base64.b64encode(encode(mixed, "flac", 24_000)).decode()
    response = dub(worker, source={"audio": audio, "subtitles": vtt()}, loudness="source", format="wav_f32")
    track = samples_of(response)
    measured = {
        name: lufs(np.concatenate([_of(track, line) for line in response.lines if line.speaker == name]))
        for name in ("Ann", "Bob")
    }
    assert measured["Ann"] - measured["Bob"] == pytest.approx(20 * np.log10(5), abs=1.5)  # BS.1770 weighs pitches
    ann = lufs(np.concatenate([_of(mixed, line) for line in response.lines if line.speaker == "Ann"]))
    assert measured["Ann"] == pytest.approx(ann, abs=0.5)


def _of(samples: np.ndarray[Any, Any], line: LineResponse) -> np.ndarray[Any, Any]:
    return samples[round(line.start_s * 24_000) : round(line.end_s * 24_000)]


def test_each_line_is_also_a_file_of_its_own(worker: Worker) -> None:
    response = dub(worker, cue_files=True, format="wav_f32")
    track, files = samples_of(response), response.cue_files or {}
    assert list(files) == ["0", "1", "2", "3", "4"]
    for line in response.lines:
        file = files[str(line.index)]
        own = decode(file.data or b"", max_bytes=10**9, max_s=60).samples
        assert file.duration_s == pytest.approx(line.end_s - line.start_s, abs=1e-4)
        assert np.allclose(own, _of(track, line)[: len(own)], atol=1e-6)
    assert response.to_json()["cue_files"]["0"].keys() == {"format", "sample_rate", "duration_s", "bytes", "base64"}


def test_files_of_lines_are_as_loud_as_in_the_track(worker: Worker) -> None:
    response = dub(worker, cue_files=True, loudness_lufs=-20.0, format="wav_f32")
    track = samples_of(response)
    for line in response.lines:
        own = decode((response.cue_files or {})[str(line.index)].data or b"", max_bytes=10**9, max_s=60).samples
        assert np.allclose(own, _of(track, line)[: len(own)], atol=1e-5)


def test_files_of_lines_go_where_the_track_goes(worker: Worker) -> None:
    bucket = FakeBucket(worker.settings)
    response = dub(dataclasses.replace(worker, bucket=bucket), cue_files=True, delivery="s3", format="opus")
    files = response.cue_files or {}
    assert [file.key for file in files.values()] == [f"output/job-000{n}.opus" for n in range(5)]
    assert all(file.url and file.data is None for file in files.values())
    assert bucket.files.keys() == {"output/job.opus", *(file.key for file in files.values())}


def test_the_files_of_lines_count_towards_what_a_response_carries(worker: Worker) -> None:
    value = {"action": "dub", "subtitles": vtt(text=TRANSLATED), "source": source(), "cue_files": True, "seed": 1}
    track_bytes = 4 / 3 * 20 * 48_000

    def send(max_bytes: float, **fields: Any) -> DubResponse:
        request = DubInput.model_validate(value | fields)
        response = speak(Job(request, worker, JobControl(60), limit=JsonLimit(round(max_bytes))))
        assert isinstance(response, DubResponse)
        return response

    assert send(1.9 * track_bytes).cue_files
    with pytest.raises(ResultTooLarge):
        send(1.3 * track_bytes)
    smaller = send(1.3 * track_bytes, allow_reencode=True)
    assert {file.format for file in (smaller.cue_files or {}).values()} == {smaller.audio.format} == {"mp3"}
    assert len(json.dumps(smaller.to_json())) < 1.3 * track_bytes


def test_a_stream_ends_with_the_files_of_the_lines(worker: Worker) -> None:
    value = {"action": "dub", "subtitles": vtt(text=TRANSLATED), "source": source(), "cue_files": True, "seed": 1}
    *chunks, last = stream(Job(DubInput.model_validate(value), worker, JobControl(60), streaming=True))
    assert isinstance(last, DubResponse)
    assert all(isinstance(chunk, AudioChunk) for chunk in chunks)
    assert last.audio.data is None
    assert all(file.data for file in (last.cue_files or {"": last.audio}).values())
