"""The recogniser on the device: the words and times that faster-whisper finds on the same weights."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from f5_worker.alignment.align import WhisperAligner
from f5_worker.asr.device import DeviceWhisper
from f5_worker.asr.loaded import BEAM_SIZE, MAX_PREFIX_TOKENS
from f5_worker.asr.vocabulary import WhisperVocabulary
from f5_worker.asr.whisper import SILENCE_SKIPPED_S, Recogniser, recogniser_from
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.cancellation import JobControl
from f5_worker.engine.engine import Engine
from f5_worker.engine.types import Segment, WaitForSamples
from f5_worker.errors import JobCancelled, ModelUnavailable
from f5_worker.models.f5.config import make_segment
from f5_worker.models.placement import Device
from f5_worker.models.whisper.search import ExpectedTokens
from f5_worker.settings import Settings
from tests.audio.signals import noise, silence
from tests.listen import cpu_whisper, whisper_directory, word_error_rate
from tests.models.whisper.small import ARCH, END, clip, small_whisper, write_ctranslate2, write_hugging_face

SETTINGS = Settings(model="f5-tiny", device="cpu")
OPTIONS = {
    "language": "en", "beam_size": BEAM_SIZE, "temperature": 0.0, "condition_on_previous_text": False,
    "word_timestamps": True, "hallucination_silence_threshold": SILENCE_SKIPPED_S,
}  # fmt: skip


class SlowSteps:
    """A model whose steps take a while and whose audio is silent: what the device does besides."""

    whole_segments = False

    def __init__(self) -> None:
        self.n_steps = 0
        self.threads: set[str] = set()

    def begin(self, segment: Segment) -> int:
        return segment.frames

    def step(self, states: Sequence[int]) -> None:
        self.n_steps += 1
        self.threads.add(threading.current_thread().name)
        threading.Event().wait(0.01)

    def finish(self, states: Sequence[int]) -> list[WaitForSamples]:
        return [partial(np.zeros, frames * 256, np.float32) for frames in states]


@pytest.fixture
def busy() -> Iterator[tuple[Engine, SlowSteps]]:
    """An engine with a job of a thousand steps on it."""
    runner = SlowSteps()
    engine = Engine(runner, 8_192)
    segment = make_segment(np.zeros(2_400, np.float32), (1, 2), 200, 1_000, 2.0, -1.0, 0)
    spoken = engine.submit([segment], JobControl(60.0))
    yield engine, runner
    spoken.close()  # type: ignore[attr-defined]
    engine.close()


class TestBesideJobs:
    """With a small random network: what is found does not matter, but when and by which thread."""

    def test_word_times_come_while_a_job_is_spoken(self, busy: tuple[Engine, SlowSteps], tmp_path: Path) -> None:
        engine, runner = busy
        directory = write_ctranslate2(tmp_path / "whisper", small_whisper(), "float16")
        whisper = DeviceWhisper.load(directory, "cpu", engine.run)
        clip = noise(1.0)[:16_000]
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda n: whisper.force(clip, range(n), "en"), range(3, 11)))
            scored = list(
                threads.map(lambda n: whisper.token_probabilities(clip, [range(n), range(2)], "en"), range(3, 11))
            )
        assert [len(times.starts_s) for times in found] == list(range(4, 12))
        assert [list(map(len, both)) for both in scored] == [[n, 2] for n in range(3, 11)]
        assert runner.threads == {"device"}
        assert 0 < runner.n_steps < 1_000

    @pytest.mark.parametrize("reason", ["asr_preload", "verify"])
    def test_the_recogniser_is_loaded_on_the_device_and_at_start(
        self, busy: tuple[Engine, SlowSteps], tmp_path: Path, reason: str
    ) -> None:
        directory = write_hugging_face(tmp_path / "whisper", small_whisper())
        settings = Settings(model="f5-tiny", device="cpu", asr_model=str(directory)).model_copy(update={reason: True})
        calls = []

        def run(work: Callable[[], Any]) -> Any:
            calls.append(work)
            return busy[0].run(work)

        recogniser = recogniser_from(settings, [Device("cpu", run)])
        assert recogniser is not None
        assert not calls
        recogniser.preload()
        assert calls
        assert recogniser._idle_timer is None  # it stays
        with recogniser.loaded_model() as model:
            assert isinstance(model, DeviceWhisper)
            assert model.supported_languages == ["en"]


@pytest.mark.parametrize(("name", "is_kept"), [("cuda", True), ("cpu", False)])
def test_it_is_kept_where_the_memory_of_a_gpu_is_bounded(tmp_path: Path, name: str, is_kept: bool) -> None:
    """The bound is checked against the memory of all that is loaded at start, the recogniser's included."""
    directory = write_hugging_face(tmp_path / "whisper", small_whisper())
    devices = [Device(name, lambda work: work())]
    assert Recogniser(directory, Settings(gpu_memory_mb=6_000), devices).is_kept == is_kept
    assert not Recogniser(directory, Settings(), devices).is_kept


@pytest.mark.parametrize("is_device", [True, False])
def test_a_window_of_a_single_frame_has_words(tmp_path: Path, is_device: bool) -> None:
    from faster_whisper.tokenizer import Tokenizer

    from f5_worker.asr.cpu import CpuWhisper
    from f5_worker.asr.windows import WindowedWhisper

    directory = write_ctranslate2(tmp_path / "whisper", small_whisper(), None)
    loaded = DeviceWhisper.load(directory, "cpu", lambda work: work())
    whisper: Any = (
        WindowedWhisper(loaded.hf_tokenizer, loaded._vocabulary, loaded._runner, lambda work: work())
        if is_device
        else CpuWhisper(str(directory), device="cpu", cpu_threads=1)
    )
    sound = whisper.encode(loaded._runner.log_mel(clip(0.5))[:, :2])
    tokenizer = Tokenizer(loaded.hf_tokenizer, False)
    (words,) = whisper.find_alignment(tokenizer, [[1, 2]], sound, 1)
    assert words
    assert {(word["start"], word["end"]) for word in words} == {(0.0, 0.0)}


@pytest.mark.parametrize("n_tokens", [1, MAX_PREFIX_TOKENS])
def test_behind_a_prefix_a_transcript_is_that_of_faster_whisper(tmp_path: Path, n_tokens: int) -> None:
    from f5_worker.asr.cpu import CpuWhisper

    directory = write_ctranslate2(tmp_path / "whisper", small_whisper(), None)
    tokens = np.random.default_rng(0).integers(8, END, n_tokens).tolist()
    ours, theirs = (
        model.transcribe_clip(clip(1.0), "en", ExpectedTokens(tuple(tokens)))
        for model in (
            DeviceWhisper.load(directory, "cpu", lambda work: work()),
            CpuWhisper(str(directory), device="cpu", compute_type="float32", cpu_threads=1),
        )
    )
    assert ours.text == theirs.text
    assert ours.text.split()[:n_tokens] == [f"w{token}" for token in tokens]
    assert ours.mean_log_probability == pytest.approx(theirs.mean_log_probability, abs=1e-3)


def test_a_cancelled_job_ends_within_a_window(tmp_path: Path) -> None:
    loaded = DeviceWhisper.load(
        write_ctranslate2(tmp_path / "whisper", small_whisper(), None), "cpu", lambda work: work()
    )
    control = JobControl(60.0)
    n_pieces = 0

    def advance(search: Any, n_steps: int) -> None:
        nonlocal n_pieces
        n_pieces += 1
        control.cancel()

    loaded._runner.advance = advance  # type: ignore[method-assign]
    with pytest.raises(JobCancelled):
        control.run(lambda: list(loaded.transcribe(clip(0.5), **OPTIONS)[0]))
    assert n_pieces == 1


class TestFiles:
    @pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer.json"])
    def test_a_missing_file_is_named(self, tmp_path: Path, name: str) -> None:
        directory = write_hugging_face(tmp_path / "whisper", small_whisper())
        (directory / name).unlink()
        with pytest.raises(ModelUnavailable, match=name) as caught:
            Recogniser(directory, SETTINGS)
        assert str(tmp_path) not in caught.value.message

    def test_a_tokenizer_of_more_tokens_than_the_network_has_is_refused(self, tmp_path: Path) -> None:
        directory = write_hugging_face(tmp_path / "whisper", small_whisper())
        tokenizer = json.loads((directory / "tokenizer.json").read_text())
        tokenizer["model"]["vocab"]["one more"] = ARCH.vocabulary
        (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
        with pytest.raises(ModelUnavailable, match="another network"):
            DeviceWhisper.load(directory, "cpu", lambda work: work())

    def test_a_broken_tokenizer_is_the_models_fault(self, tmp_path: Path) -> None:
        directory = write_hugging_face(tmp_path / "whisper", small_whisper())
        (directory / "tokenizer.json").write_text("{")
        with pytest.raises(ModelUnavailable, match=r"tokenizer\.json"), Recogniser(directory, SETTINGS).loaded_model():
            pass


def test_a_multilingual_vocabulary_has_the_languages_prompts_and_both_names_of_silence() -> None:
    from tokenizers import Tokenizer, models

    names = ["endoftext", "startoftranscript", "en", "de", "haw", "transcribe", "nocaptions", "notimestamps"]
    tokenizer = Tokenizer(models.WordLevel({f"<|{name}|>": index for index, name in enumerate(names)}, ""))
    vocabulary = WhisperVocabulary(tokenizer, is_multilingual=True)
    assert vocabulary.languages == ["de", "en", "haw"]
    assert vocabulary.prompt("de") == (1, 3, 5)
    assert vocabulary.no_speech == 6
    assert WhisperVocabulary(tokenizer, is_multilingual=False).prompt("en") == (1,)
    with pytest.raises(ModelUnavailable, match=r"no <\|fr\|>"):
        vocabulary.prompt("fr")


@pytest.fixture(scope="module")
def device_whisper() -> DeviceWhisper:
    return DeviceWhisper.load(whisper_directory(), "cpu", lambda work: work())


def words(model: Any, samples: Samples) -> list[tuple[str, float, float, float]]:
    audio = np.asarray(soxr.resample(samples, SAMPLE_RATE, 16_000), np.float32)
    segments, _ = model.transcribe(audio, **OPTIONS)
    return [(word.word, word.start, word.end, word.probability) for segment in segments for word in segment.words]


@pytest.mark.model
class TestReal:
    def test_it_stands_in_for_faster_whispers_model(self, device_whisper: DeviceWhisper) -> None:
        from f5_worker.asr.windows import WindowedWhisper

        ours = WindowedWhisper(
            device_whisper.hf_tokenizer, device_whisper._vocabulary, device_whisper._runner, lambda work: work()
        )
        assert vars(ours).keys() == vars(cpu_whisper()).keys()

    @pytest.mark.parametrize(
        "text",
        ["The morning light came slowly over the quiet hills, and nobody was awake to see it.", "Good morning to you."],
    )
    def test_the_same_words_and_times(self, device_whisper: DeviceWhisper, text: str) -> None:
        from tests.speak import speak

        samples = speak(text).samples
        ours, theirs = words(device_whisper, samples), words(cpu_whisper(), samples)
        assert [word[:3] for word in ours] == [word[:3] for word in theirs]
        assert [word[3] for word in ours] == pytest.approx([word[3] for word in theirs], abs=1e-3)

    @pytest.mark.slow
    def test_the_same_words_over_several_windows(self, device_whisper: DeviceWhisper) -> None:
        from bench.timing import paragraphs
        from tests.speak import speak

        samples = np.concatenate([speak(text).samples for text in paragraphs()[:4]])
        assert len(samples) > 30 * SAMPLE_RATE
        ours, theirs = words(device_whisper, samples), words(cpu_whisper(), samples)
        assert [word[:3] for word in ours] == [word[:3] for word in theirs]

    def test_the_same_transcript_of_a_clip(self, device_whisper: DeviceWhisper) -> None:
        from tests.speak import speak

        text = "Of the two men, one was late."
        audio = np.asarray(soxr.resample(speak(text).samples, SAMPLE_RATE, 16_000), np.float32)
        ours, theirs = (model.transcribe_clip(audio, "en") for model in (device_whisper, cpu_whisper()))
        assert ours.text == theirs.text
        assert word_error_rate([text], [ours.text]) == 0.0
        assert ours.mean_log_probability == pytest.approx(theirs.mean_log_probability, abs=1e-3)
        assert ours.no_speech_probability == pytest.approx(theirs.no_speech_probability, abs=1e-4)

    def test_where_words_are_in_doubt_the_same_transcript(self, device_whisper: DeviceWhisper) -> None:
        from tests.speak import speak

        audio = np.asarray(
            soxr.resample(speak("Of the two men, one was late for dinner with us.").samples, SAMPLE_RATE, 16_000),
            np.float32,
        )
        doubted = "Of the two men, none was late for dinner with us."
        ids = device_whisper.hf_tokenizer.encode(f" {doubted}", add_special_tokens=False).ids
        expected = ExpectedTokens(tuple(ids[:4]), tuple(ids[6:]))
        for model in (device_whisper, cpu_whisper()):
            found = model.transcribe_clip(audio, "en", expected)
            assert found.text == doubted.replace("none", "one")

    @pytest.mark.parametrize("samples", [silence(3.0), noise(3.0, 0.05), silence(0.0), silence(0.01)])
    def test_the_same_of_what_is_no_speech(self, device_whisper: DeviceWhisper, samples: Samples) -> None:
        assert [word[:3] for word in words(device_whisper, samples)] == [
            word[:3] for word in words(cpu_whisper(), samples)
        ]

    def test_words_are_aligned_as_on_the_cpu(self, device_whisper: DeviceWhisper) -> None:
        from tests.speak import speak

        text = "When the rain finally stopped, everyone walked down to the river."
        samples = speak(text).samples
        ours, theirs = (
            WhisperAligner(lambda model=model: contextlib.nullcontext(model), "en").align(samples, text)
            for model in (device_whisper, cpu_whisper())
        )
        assert ours is not None
        assert theirs is not None
        for word, other in zip(ours, theirs, strict=True):
            assert (word.start_s, word.end_s) == (other.start_s, other.end_s)
            assert word.confidence == pytest.approx(other.confidence, abs=1e-3)

    @pytest.mark.parametrize("kind", ["device", "cpu"])
    def test_texts_together_are_as_likely_as_alone(self, device_whisper: DeviceWhisper, kind: str) -> None:
        from tests.speak import speak

        text = "Of the two men, one was late."
        model = device_whisper if kind == "device" else cpu_whisper()
        audio = np.asarray(soxr.resample(speak(text).samples, SAMPLE_RATE, 16_000), np.float32)
        texts = [model.hf_tokenizer.encode(f" {said}", add_special_tokens=False).ids for said in (text, "Of the two")]
        together = model.token_probabilities(audio, texts, "en")
        for tokens, probabilities in zip(texts, together, strict=True):
            alone = model.force(audio, tokens, "en").probabilities
            assert probabilities.tolist() == pytest.approx(alone.tolist(), abs=1e-3)
