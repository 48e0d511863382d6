"""Segments that are spoken again: which take is kept, and what the caller is told. The model speaks tones."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from f5_worker.audio.levels import Samples
from f5_worker.cancellation import JobControl
from f5_worker.engine.types import Segment
from f5_worker.errors import JobCancelled, SpeechNotVerified
from f5_worker.models.f5.config import mel_frames
from f5_worker.schema.dub import DubInput
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.schema.responses import DubResponse, SynthesizeResponse
from f5_worker.synthesis import takes
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.encoding import AudioChunk
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.response import speak, stream
from f5_worker.text.seed import segment_seed, take_seed
from f5_worker.verification.check import SpeechVerdict
from tests.conftest import ToneDevice, tone

TEXT = "The first sentence is here, and it is long enough to be spoken alone. " * 12
SEED = 7


class ScriptedVerifier:
    """Stands where the recogniser's comparison stands: says of each segment of the device how wrong it is."""

    def __init__(self, device: ToneDevice, wer: Callable[[Segment], float]) -> None:
        self._device, self._wer = device, wer
        self.texts: list[str] = []
        self.lock = threading.Lock()
        self.alter: Callable[[SpeechVerdict, Segment], SpeechVerdict] = lambda verdict, spoken: verdict

    def check(self, samples: Samples, text: str, reference_transcript: str) -> SpeechVerdict:
        spoken = next(segment for segment in list(self._device.segments) if np.array_equal(tone(segment), samples))
        wer = self._wer(spoken)
        with self.lock:
            self.texts.append(text)
        verdict = SpeechVerdict(wer, round(10 * wer), ("words",) if wer > 0.1 else (), "heard", wer, heard_wer=wer)
        return self.alter(verdict, spoken)


@pytest.fixture
def verifying(
    worker: Worker, device: ToneDevice, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Segment], float]], ScriptedVerifier]:
    """Have the speech checked by a script."""

    def use(wer: Callable[[Segment], float]) -> ScriptedVerifier:
        verifier = ScriptedVerifier(device, wer)
        monkeypatch.setattr(takes.SpeechVerifier, "for_language", lambda *_: verifier)
        monkeypatch.setattr(Worker, "recogniser", object(), raising=False)
        return verifier

    return use


def job_of(worker: Worker, **fields: Any) -> Job:
    streaming = fields.pop("streaming", False)
    fields = {"text": TEXT, "voice": "joe", "seed": SEED, "verify": True} | fields
    worker = dataclasses.replace(worker, recogniser=object())  # type: ignore[arg-type]
    return Job(SynthesizeInput.model_validate(fields), worker, JobControl(60), streaming=streaming)


def spoken(worker: Worker, **fields: Any) -> SynthesizeResponse:
    response = speak(job_of(worker, **fields))
    assert isinstance(response, SynthesizeResponse)
    return response


def seeds(take: int, n_segments: int) -> list[int]:
    return [segment_seed(take_seed(SEED, take), index) for index in range(n_segments)]


def test_speech_that_is_right_is_spoken_once_and_unchanged(worker: Worker, device: ToneDevice, verifying: Any) -> None:
    verifier = verifying(lambda segment: 0.0)
    response = spoken(worker)
    assert [segment.seed for segment in device.segments] == seeds(0, len(response.segments))
    assert sorted(verifier.texts) == sorted(segment.text for segment in response.segments)
    for segment in response.segments:
        assert segment.verified is not None
        assert segment.verified.to_json() == {"passed": True, "wer": 0.0, "run": 0, "takes": 1, "seed": SEED}
    assert response.warnings == []
    assert response.metrics.verify_ms >= 0
    assert response.audio.data == spoken(worker, verify=False).audio.data


def test_the_best_take_is_kept(worker: Worker, device: ToneDevice, verifying: Any) -> None:
    wrong = seeds(0, 10)[1]
    wers = {wrong: 0.5, seeds(1, 10)[1]: 0.3, seeds(2, 10)[1]: 0.05}
    verifying(lambda segment: wers.get(segment.seed, 0.0))
    response = spoken(worker)
    assert len(response.segments) > 2
    first, second = (segment.verified for segment in response.segments[:2])
    assert first is not None
    assert second is not None
    assert (first.takes, second.takes, second.wer, second.passed) == (1, 3, 0.05, True)
    assert second.seed == take_seed(SEED, 2)
    assert response.warnings == []
    assert len(device.segments) == len(response.segments) + 2


def test_a_take_that_passes_but_may_differ_is_spoken_again(worker: Worker, verifying: Any) -> None:
    """The take of which the fewest words are heard otherwise is kept, though all pass."""
    heard_wers = dict(zip(seeds(0, 1) + seeds(1, 1) + seeds(2, 1), (0.3, 0.1, 0.2), strict=True))

    def alter(verdict: SpeechVerdict, segment: Segment) -> SpeechVerdict:
        return dataclasses.replace(verdict, heard_wer=heard_wers[segment.seed], may_differ=True)

    verifying(lambda segment: 0.0).alter = alter
    response = spoken(worker, text="One short sentence is enough for this.")
    (verified,) = (segment.verified for segment in response.segments)
    assert verified is not None
    assert (verified.passed, verified.takes, verified.seed) == (True, 3, take_seed(SEED, 1))
    assert response.warnings == []


def test_a_take_that_passes_is_better_than_one_that_does_not(worker: Worker, verifying: Any) -> None:
    wers = dict(zip(seeds(0, 1) + seeds(1, 1) + seeds(2, 1), (0.2, 0.05, 0.2), strict=True))
    verifying(lambda segment: wers[segment.seed]).alter = lambda verdict, segment: dataclasses.replace(
        verdict, heard_wer=0.3 if verdict.passed else 0.2
    )
    response = spoken(worker, text="One short sentence is enough for this.")
    assert response.segments[0].verified is not None
    assert response.segments[0].verified.seed == take_seed(SEED, 1)


def test_the_first_of_equal_takes_is_kept(worker: Worker, verifying: Any) -> None:
    verifying(lambda segment: 0.5)
    response = spoken(worker)
    assert all(segment.verified and segment.verified.seed == SEED for segment in response.segments)


def test_what_stays_wrong_is_named(worker: Worker, verifying: Any) -> None:
    wrong = {seeds(take, 10)[1] for take in range(3)}
    verifying(lambda segment: 0.5 if segment.seed in wrong else 0.0)
    response = spoken(worker)
    assert response.warnings == ["segment 2 does not sound like the text, in the best of up to 3 takes; see `verified`"]
    verified = response.segments[1].verified
    assert verified is not None
    assert (verified.passed, verified.faults, verified.heard) == (False, ["words"], "heard")


def test_what_stays_wrong_can_be_an_error(worker: Worker, verifying: Any) -> None:
    verifying(lambda segment: 0.5)
    with pytest.raises(
        SpeechNotVerified, match=r"segment 1 .* best of 2 takes: 50% of its words are wrong, 5 in a row"
    ):
        spoken(worker, verify={"on_failure": "fail", "takes": 2})


def test_further_takes_have_other_lengths(worker: Worker, device: ToneDevice, verifying: Any) -> None:
    verifying(lambda segment: 0.5)
    spoken(worker, text="One short sentence is enough for this.", verify={"takes": 4})
    targets = [segment.frames - mel_frames(len(segment.reference)) for segment in device.segments]
    assert targets == [targets[0], round(1.1 * targets[0]), round(0.93 * targets[0]), targets[0]]
    assert len({segment.seed for segment in device.segments}) == 4
    assert all(segment.forward_frames == 2 * segment.frames for segment in device.segments)


def test_a_fixed_duration_keeps_the_lengths(worker: Worker, device: ToneDevice, verifying: Any) -> None:
    verifying(lambda segment: 0.5)
    spoken(worker, text="One short sentence is enough for this.", fix_duration_s=3.0)
    assert len({segment.frames for segment in device.segments}) == 1
    assert len(device.segments) == 3


def test_the_same_request_gives_the_same_takes(worker: Worker, verifying: Any) -> None:
    verifying(lambda segment: segment.seed % 10 / 10)
    first, second = spoken(worker), spoken(worker)
    assert first.audio.data == second.audio.data
    assert first.segments == second.segments


def test_the_reported_seed_speaks_that_take(worker: Worker, verifying: Any) -> None:
    text, wers = "One short sentence is enough for this.", {seeds(3, 1)[0]: 0.0}
    verifying(lambda segment: wers.get(segment.seed, 0.5))  # the fourth take has the length of the first
    response = spoken(worker, text=text, verify={"takes": 4})
    verified = response.segments[0].verified
    assert verified is not None
    assert verified.seed != SEED
    assert response.audio.data == spoken(worker, text=text, seed=verified.seed, verify=False).audio.data


def test_a_stream_sends_a_segment_once_it_passed(worker: Worker, device: ToneDevice, verifying: Any) -> None:
    wrong = seeds(0, 10)[0]
    verifying(lambda segment: 0.5 if segment.seed == wrong else 0.0)
    items = list(stream(job_of(worker, streaming=True)))
    chunks = [item for item in items if isinstance(item, AudioChunk)]
    assert len(chunks) > 2
    last = items[-1]
    assert isinstance(last, SynthesizeResponse)
    assert [segment.verified.takes for segment in last.segments if segment.verified][:2] == [3, 1]


def test_no_further_takes_are_begun_when_the_time_is_short(
    worker: Worker, device: ToneDevice, verifying: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    verifying(lambda segment: 0.5)
    monkeypatch.setattr(takes, "LOAD_FACTOR", 1e9)
    response = spoken(worker)
    assert {segment.verified.takes for segment in response.segments if segment.verified} == {1}
    assert "does not sound like the text" in response.warnings[0] or "do not sound like" in response.warnings[0]


def test_a_cancelled_job_begins_no_further_takes(worker: Worker, device: ToneDevice, verifying: Any) -> None:
    job = job_of(worker)
    checks = []

    def wer(segment: Segment) -> float:
        checks.append(segment)
        job.control.cancel()
        return 0.5

    verifying(wer)
    with pytest.raises(JobCancelled):
        speak(job)
    assert {segment.seed for segment in device.segments} <= set(seeds(0, 10))


class ScriptedEncoder:
    """Stands where the speaker encoder stands."""

    def __init__(self, device: ToneDevice, similarity: Callable[[Segment], float | None]) -> None:
        self._device, self._similarity = device, similarity

    def compare(self, samples: Samples, reference: Samples) -> float | None:
        spoken = next(segment for segment in list(self._device.segments) if np.array_equal(tone(segment), samples))
        assert np.array_equal(spoken.reference, reference)
        return self._similarity(spoken)


def with_encoder(job: Job, device: ToneDevice, similarity: Callable[[Segment], float | None]) -> Job:
    encoder: Any = ScriptedEncoder(device, similarity)
    return dataclasses.replace(job, worker=dataclasses.replace(job.worker, speaker_encoder=encoder))


def test_a_voice_that_is_too_unlike_is_spoken_again(worker: Worker, device: ToneDevice, verifying: Any) -> None:
    verifying(lambda segment: 0.0)
    alike = dict(zip(seeds(0, 1) + seeds(1, 1) + seeds(2, 1), (0.5, 0.8, 0.9), strict=True))
    job = job_of(worker, text="One short sentence is enough for this.", verify={"min_similarity": 0.7})
    response = speak(with_encoder(job, device, lambda segment: alike[segment.seed]))
    assert isinstance(response, SynthesizeResponse)
    verified = response.segments[0].verified
    assert verified is not None
    assert (verified.passed, verified.similarity, verified.takes) == (True, 0.9, 3)


@pytest.mark.parametrize(("alike", "faults"), [(0.5, ["voice"]), (0.8, None), (None, None)])
def test_how_like_the_reference_a_segment_is(
    worker: Worker, device: ToneDevice, verifying: Any, alike: float | None, faults: list[str] | None
) -> None:
    verifying(lambda segment: 0.0)
    job = job_of(worker, verify={"min_similarity": 0.7, "takes": 1})
    response = speak(with_encoder(job, device, lambda segment: alike))
    assert isinstance(response, SynthesizeResponse)
    verified = [segment.verified for segment in response.segments if segment.verified]
    assert all((each.similarity, each.faults) == (alike, faults) for each in verified)
    plain = speak(with_encoder(job_of(worker), device, lambda segment: alike))
    assert isinstance(plain, SynthesizeResponse)
    assert all(segment.verified and segment.verified.passed for segment in plain.segments)


def test_wrong_words_weigh_more_than_the_voice(worker: Worker, device: ToneDevice, verifying: Any) -> None:
    wers = dict(zip(seeds(0, 1) + seeds(1, 1) + seeds(2, 1), (0.5, 0.3, 0.3), strict=True))
    alike = dict(zip(wers, (0.95, 0.6, 0.8), strict=True))
    verifying(lambda segment: wers[segment.seed])
    job = job_of(worker, text="One short sentence is enough for this.")
    response = speak(with_encoder(job, device, lambda segment: alike[segment.seed]))
    assert isinstance(response, SynthesizeResponse)
    assert response.segments[0].verified is not None
    assert response.segments[0].verified.seed == take_seed(SEED, 2)


def test_without_a_speaker_encoder_no_voice_is_said_to_be_alike(worker: Worker, verifying: Any) -> None:
    verifying(lambda segment: 0.0)
    response = spoken(worker, verify={"min_similarity": 0.7})
    assert response.warnings == ["the voice was not compared: this worker has no speaker encoder (F5_SPEAKER_MODEL)"]
    with pytest.raises(SpeechNotVerified, match="no speaker encoder"):
        spoken(worker, verify={"min_similarity": 0.7, "on_failure": "fail"})


@pytest.mark.parametrize(("on_failure", "fails"), [("warn", False), ("fail", True)])
def test_without_a_recogniser_nothing_pretends(worker: Worker, on_failure: str, fails: bool) -> None:
    fields = {"text": TEXT, "voice": "joe", "seed": SEED, "verify": {"on_failure": on_failure}}
    job = Job(SynthesizeInput.model_validate(fields), worker, JobControl(60))
    if fails:
        with pytest.raises(SpeechNotVerified, match="this worker has no recogniser"):
            speak(job)
        return
    response = speak(job)
    assert isinstance(response, SynthesizeResponse)
    assert response.warnings == ["the speech was not checked: this worker has no recogniser (F5_ASR_MODEL)"]
    assert all(segment.verified is None for segment in response.segments)


def test_the_setting_is_what_an_absent_field_means(worker: Worker, verifying: Any) -> None:
    verifying(lambda segment: 0.0)
    default = dataclasses.replace(worker, settings=worker.settings.model_copy(update={"verify": True}))
    fields = {"text": TEXT, "voice": "joe"}
    for given, n_takes in (({}, 1), ({"verify": False}, None), ({"verify": {"takes": 2}}, 1)):
        job = job_of(default)
        job.request = SynthesizeInput.model_validate(fields | given)
        response = speak(job)
        assert isinstance(response, SynthesizeResponse)
        verified = response.segments[0].verified
        assert (verified and verified.takes) == n_takes


SRT = "\n".join(
    f"{number}\n00:00:{3 * index:02},000 --> 00:00:{3 * index + 2:02},500\nThis is a line of the film.\n"
    for index, number in enumerate([4, 7, 9])
)


def test_lines_of_a_track_are_checked(worker: Worker, device: ToneDevice, verifying: Any) -> None:
    def seed(take: int, line: int) -> int:
        return segment_seed(segment_seed(take_seed(SEED, take), line), 0)

    wers = {seed(0, 1): 0.5, seed(1, 1): 0.0, seed(2, 1): 0.2} | {seed(take, 2): 0.5 for take in range(3)}
    verifying(lambda segment: wers.get(segment.seed, 0.0))
    job = job_of(worker)
    job.request = DubInput.model_validate(
        {"action": "dub", "subtitles": SRT, "voice": "joe", "seed": SEED, "verify": True}
    )
    response = speak(job)
    assert isinstance(response, DubResponse)
    reports = [line.verified for line in response.lines]
    assert [(report.passed, report.takes, report.seed) for report in reports if report] == [
        (True, 1, SEED), (True, 3, take_seed(SEED, 1)), (False, 3, SEED),
    ]  # fmt: skip
    assert response.warnings == ["cue 3 does not sound like the text, in the best of up to 3 takes; see `verified`"]
    assert [line.start_s for line in response.lines] == [0.0, 3.0, 6.0]
    lengths = {segment.frames - mel_frames(len(segment.reference)) for segment in device.segments}
    assert len(lengths) == 1
