"""Pauses, voices and pronunciations in a text, through all stages but the model."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from f5_worker.audio.decode import decode
from f5_worker.cancellation import JobControl
from f5_worker.errors import InvalidInput
from f5_worker.models.f5.config import FRAMES_PER_S, mel_frames
from f5_worker.schema.dub import DubInput
from f5_worker.schema.requests import SynthesizeInput, VoiceDefaultsInput
from f5_worker.schema.responses import SynthesizeResponse
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak, stream
from f5_worker.text.markup.pronunciations import Pronunciation
from f5_worker.text.traits import TextTraits
from f5_worker.voices.library import Library
from tests.conftest import ToneDevice

RATE = 24_000
DIALOGUE = "Ann: Hello Bob, how are you?\nBob: Fine, [pause:1.25s] thanks."
VOICES = {"Ann": "bella", "Bob": "george"}


def request(text: str, **fields: Any) -> SynthesizeInput:
    return SynthesizeInput.model_validate({"text": text, "voice": "joe", "seed": 1} | fields)


def say(worker: Worker, text: str, **fields: Any) -> SynthesizeResponse:
    response = speak(Job(request(text, **fields), worker, JobControl(60)))
    assert isinstance(response, SynthesizeResponse)
    return response


def samples_of(response: SynthesizeResponse) -> np.ndarray[Any, Any]:
    return decode(response.audio.data or b"", max_bytes=10**9, max_s=3_600).samples


@pytest.mark.parametrize("cross_fade_s", [None, 0.0, 0.15])
def test_pauses_are_exact_to_the_sample(worker: Worker, cross_fade_s: float | None) -> None:
    text = "[pause:0.5s]Hello there. [pause:1.5s] My friend.[pause:0.25s]"
    response = say(worker, text, cross_fade_s=cross_fade_s, format="wav_f32")
    samples = samples_of(response)
    (first_s, first_end_s), (second_s, second_end_s) = [(part.start_s, part.end_s) for part in response.segments]
    assert round(first_s * RATE) == 12_000
    assert round(second_s * RATE) - round(first_end_s * RATE) == 36_000
    assert len(samples) - round(second_end_s * RATE) == 6_000
    for begin, end in ((0, first_s), (first_end_s, second_s), (second_end_s, len(samples) / RATE)):
        assert not samples[round(begin * RATE) : round(end * RATE)].any()
    assert np.abs(samples[round(first_s * RATE) : round(first_end_s * RATE)]).max() > 0.1


def test_a_pause_of_nothing_joins_two_segments(worker: Worker) -> None:
    response = say(worker, "Hello there. [pause:0s] My friend.")
    assert response.segments[0].end_s == response.segments[1].start_s


def test_a_fixed_duration_has_room_for_its_pauses(worker: Worker) -> None:
    text = "The first sentence is here. [pause:2s] And then comes another one."
    response = say(worker, text, fix_duration_s=7.0)
    assert len(samples_of(response)) == 7 * RATE
    assert response.segments[1].start_s - response.segments[0].end_s == pytest.approx(2, abs=1e-5)
    with pytest.raises(
        InvalidInput, match=r"with 2\.0 s of pauses and single words; it can be fitted into 2\.\d\.\.\d+\.\d s"
    ):
        say(worker, text, fix_duration_s=2.0)


def test_a_fixed_duration_is_kept_by_the_longer_segments(worker: Worker, device: ToneDevice) -> None:
    device.traits = TextTraits(one_sentence=True)
    say(worker, "Hi. Yes. The first sentence is here.", fix_duration_s=2.0)
    spoken_s = sum(segment.frames - mel_frames(len(segment.reference)) for segment in device.segments) / FRAMES_PER_S
    assert spoken_s == pytest.approx(2.0, abs=0.05)


def test_a_text_is_read_in_the_language_of_its_model(worker: Worker, device: ToneDevice) -> None:
    device.traits = TextTraits(languages=("fr", "en"), guillemets=True)
    assert [part.text for part in say(worker, "« 3 élèves »").segments] == ["« trois élèves »"]
    assert [part.text for part in say(worker, "3 cups", language="en").segments] == ["three cups"]
    device.traits = TextTraits()
    assert [part.text for part in say(worker, "« 3 cups »").segments] == ['" three cups "']


def test_several_voices_are_one_job_of_the_engine(worker: Worker, device: ToneDevice) -> None:
    response = say(worker, DIALOGUE, voices=VOICES, timings="words", captions={"formats": ["vtt"]})
    bella, george = (worker.voices.of(None).load(name).reference.samples for name in ("bella", "george"))
    assert [segment.reference is bella for segment in device.segments] == [True, False, False]
    assert [segment.reference is george for segment in device.segments] == [False, True, True]
    assert [(part.text, part.speaker) for part in response.segments] == [
        ("Hello Bob, how are you?", "Ann"),
        ("Fine,", "Bob"),
        ("thanks.", "Bob"),
    ]
    assert response.timings is not None
    assert [word.text for word in response.timings.words] == "Hello Bob, how are you? Fine, thanks.".split()
    starts = [word.start_s for word in response.timings.words]
    assert starts == sorted(starts)
    assert starts[-1] == pytest.approx(response.segments[2].start_s, abs=0.1)


def test_captions_show_what_is_written_and_may_name_who_speaks(worker: Worker) -> None:
    style = {"speakers": True}
    response = say(worker, DIALOGUE, voices=VOICES, captions={"formats": ["vtt", "srt"], "style": style})
    assert response.captions is not None
    vtt = response.captions["vtt"].content or ""
    assert [line for line in vtt.splitlines() if line.startswith("<v")] == [
        "<v Ann>Hello Bob, how are you?",
        "<v Bob>Fine,",
        "<v Bob>thanks.",
    ]
    srt = response.captions["srt"].content or ""
    assert [line for line in srt.splitlines() if line[:1].isalpha()] == [
        "Ann: Hello Bob, how are you?",
        "Bob: Fine,",
        "thanks.",
    ]
    plain = say(worker, DIALOGUE, voices=VOICES, captions={"formats": ["vtt"]}).captions
    assert plain is not None
    assert "<v" not in (plain["vtt"].content or "")


@pytest.mark.parametrize("fields", [{}, {"cross_fade_s": 0.15}, {"fix_duration_s": 12.0}])
def test_a_stream_is_the_same_and_its_words_come_once(worker: Worker, fields: dict[str, Any]) -> None:
    text = "[pause:0.5s]" + DIALOGUE + "\n\n[voice:joe]The *end* of it all. [pause:1s]"
    job = request(text, voices=VOICES, timings="words", format="pcm_s16le", first_segment_s=2.5, **fields)
    whole = speak(Job(job, worker, JobControl(60)))
    *chunks, last = stream(Job(job, worker, JobControl(60), streaming=True))
    parts = [chunk for chunk in chunks if isinstance(chunk, AudioChunk)]
    assert b"".join(part.data for part in parts) == whole.audio.data
    words = [word.text for part in parts for word in part.words]
    assert words == "Hello Bob, how are you? Fine, thanks. The end of it all.".split()
    assert isinstance(last, SynthesizeResponse)
    assert last.timings == whole.timings


def test_voices_in_the_text_need_no_voice_of_the_job(worker: Worker) -> None:
    response = say(worker, "[voice:bella]Hello there.", voice=None)
    assert response.segments[0].text == "Hello there."


def test_pronunciations_of_the_job_the_voice_and_the_worker(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    of_worker = (Pronunciation("tea", "worker tea"), Pronunciation("milk", "worker milk"), Pronunciation("cup", "kap"))
    worker = dataclasses.replace(worker, pronunciations=of_worker)
    given = [{"written": "tea", "spoken": "voice tea"}, {"written": "milk", "spoken": "voice milk"}]
    defaults = VoiceDefaultsInput.model_validate({"pronunciations": given})
    load = Library.load
    monkeypatch.setattr(Library, "load", lambda self, name: dataclasses.replace(load(self, name), defaults=defaults))
    job = [{"written": "tea", "spoken": "job tea"}, {"written": "cup", "spoken": "bob cup", "voice": "george"}]
    response = say(worker, "Tea, milk, cup.", pronunciations=job, timings="words")
    assert response.segments[0].text == "job tea, voice milk, kap."
    assert response.timings is not None
    assert [word.text for word in response.timings.words] == ["Tea,", "milk,", "cup."]
    assert say(worker, "Cup.", voice="george", pronunciations=job).segments[0].text == "bob cup."


def test_pronunciations_are_for_dubbed_lines_too_but_directives_are_not(worker: Worker) -> None:
    subtitles = "1\n00:00:00,500 --> 00:00:03,000\nHello Xiaomi [pause:1s] again.\n"
    fields = {"action": "dub", "subtitles": subtitles, "voice": "joe", "format": "pcm_s16le"}
    fields["pronunciations"] = [{"written": "Xiaomi", "spoken": "shao mee"}]
    response = speak(Job(DubInput.model_validate(fields), worker, JobControl(60)))
    assert [line.text for line in response.lines] == ["Hello Xiaomi again."]  # type: ignore[attr-defined]


def test_a_model_of_single_sentences_gets_them_one_by_one(worker: Worker, device: ToneDevice) -> None:
    text = "Hi. How are you? No. He did not come, since it was late."
    assert len(say(worker, text).segments) == 1
    device.traits = TextTraits(one_sentence=True)
    assert [part.text for part in say(worker, text).segments] == [
        "Hi.",
        "How are you?",
        "No.",
        "He did not come, since it was late.",
    ]
