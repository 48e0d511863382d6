"""Ears: a Whisper model on the CPU, loaded when first needed and let go when nobody needs it.

The GPU has one owner, the engine; a few seconds of a reference take the recogniser about as long on a CPU.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soxr

from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.errors import ModelUnavailable
from f5_worker.settings import REPOSITORY, Settings

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

OFF = "off"
WHISPER_RATE = 16_000
ENGLISH = "en"
BEAM = 5
MAX_THREADS = 8  # more gain nothing for models this small
MAX_COMPRESSION = 2.4  # text that repeats itself more is made up; Whisper's own limit
SILENCE_SKIPPED_S = 2.0  # longer silences in which improbable words are "heard" are skipped
CACHED = 64  # clips whose words are remembered


@dataclass(frozen=True)
class TranscribedWord:
    """A word, punctuation and the space before it included, and when it is heard; probability 0..1."""

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True)
class Transcription:
    """What was heard. `language` is ISO 639-1; its probability is 1 where it was given or is the only one."""

    text: str
    language: str
    language_probability: float
    words: tuple[TranscribedWord, ...]

    @property
    def mean_word_probability(self) -> float:
        """Mean probability of the words, 0 for none; noises are "heard" as punctuation, which does not count."""
        found = [word.probability for word in self.words if any(map(str.isalnum, word.text))]
        return sum(found) / len(found) if found else 0.0


class Recogniser:
    """Whisper in CTranslate2's format, from a directory; never downloads. Safe to use from many threads."""

    def __init__(self, directory: Path, settings: Settings) -> None:
        """
        Raises:
            ModelUnavailable: a file is missing.
        """
        check_files(directory)
        self._directory = directory
        self._threads = settings.cpu_threads or min(MAX_THREADS, os.cpu_count() or 1)
        self._idle_s = settings.asr_idle_s
        self._max_samples = round(settings.reference_decode_max_s * WHISPER_RATE)
        self._lock = threading.Lock()
        self._model: WhisperModel | None = None
        self._borrowers = 0
        self._timer: threading.Timer | None = None
        self._heard: OrderedDict[tuple[str, str | None], Transcription] = OrderedDict()

    @property
    def loaded(self) -> bool:
        return self._model is not None

    @contextmanager
    def borrow(self) -> Iterator[WhisperModel]:
        """The model, loaded; it stays so at least until it is given back.

        Raises:
            ModelUnavailable: the files are no Whisper model.
        """
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._model is None:
                self._model = self._load()
            model = self._model
            self._borrowers += 1
        try:
            yield model
        finally:
            with self._lock:
                self._borrowers -= 1
                if not self._borrowers:
                    self._timer = threading.Timer(self._idle_s, self._unload)
                    self._timer.daemon = True
                    self._timer.start()

    def understands(self, language: str | None) -> bool:
        """Whether the model knows a language (`de`, `pt-BR`); None, not known, is understood by all."""
        code = _code(language)
        if code is None:
            return True
        with self.borrow() as model:
            return code in model.supported_languages

    @property
    def is_english_only(self) -> bool:
        with self.borrow() as model:
            return list(model.supported_languages) == [ENGLISH]

    def transcribe(self, samples: Samples, language: str | None = None) -> Transcription:
        """The words in a signal `[nw]` at 24 kHz, at most F5_REFERENCE_DECODE_MAX_S of it.

        Args:
            language: as in `understands`; a language that the model does not know is detected anew.
        """
        key = (hashlib.sha256(samples.tobytes()).hexdigest(), _code(language))
        with self._lock:
            if key in self._heard:
                self._heard.move_to_end(key)
                return self._heard[key]
        heard = self._transcribe(samples, key[1])
        with self._lock:
            self._heard[key] = heard
            while len(self._heard) > CACHED:
                self._heard.popitem(last=False)
        return heard

    def _transcribe(self, samples: Samples, language: str | None) -> Transcription:
        audio = soxr.resample(samples, SAMPLE_RATE, WHISPER_RATE)[: self._max_samples]
        with self.borrow() as model:
            found, info = model.transcribe(
                np.asarray(audio, np.float32),
                language=language if language in model.supported_languages else None,
                beam_size=BEAM,
                temperature=0.0,  # never the fallback to sampling: equal sound gives equal words
                condition_on_previous_text=False,  # else one hallucination breeds the next
                word_timestamps=True,
                hallucination_silence_threshold=SILENCE_SKIPPED_S,
            )
            segments = [segment for segment in found if segment.compression_ratio <= MAX_COMPRESSION]
        words = [
            TranscribedWord(word.word, float(word.start), float(word.end), float(word.probability))
            for segment in segments
            for word in segment.words or ()
        ]
        text = "".join(segment.text for segment in segments).strip()
        return Transcription(text, info.language, float(info.language_probability), tuple(words))

    def _load(self) -> WhisperModel:
        from faster_whisper import WhisperModel

        try:
            return WhisperModel(str(self._directory), device="cpu", compute_type="int8", cpu_threads=self._threads)
        except (RuntimeError, ValueError) as error:
            raise ModelUnavailable(
                f"the recogniser cannot be loaded ({type(error).__name__}); fetch it anew or set F5_ASR_MODEL=off"
            ) from error

    def _unload(self) -> None:
        with self._lock:
            # A borrower may have come between the timer's end and the lock.
            if not self._borrowers:
                self._model = None


def recogniser_from(settings: Settings) -> Recogniser | None:
    """The recogniser that the settings name, as boot found it; None if it is off or nowhere.

    Raises:
        ModelUnavailable: a directory is named that lacks a file.
    """
    if settings.asr_model == OFF:
        return None
    if settings.asr_dir is not None:
        return Recogniser(settings.asr_dir, settings)
    places = (Path(), REPOSITORY / "models", settings.models_dir)
    found = next((place / settings.asr_model for place in places if (place / settings.asr_model).is_dir()), None)
    return Recogniser(found, settings) if found else None


def check_files(directory: Path) -> None:
    """Return if a directory holds all that loading needs.

    Raises:
        ModelUnavailable: it names the file. tokenizer.json too is needed, or faster-whisper would download one.
    """
    for name in ("config.json", "model.bin", "tokenizer.json"):
        if not (directory / name).is_file():
            raise ModelUnavailable(f"the recogniser has no {name}; fetch it anew or set F5_ASR_MODEL=off")
    if not any((directory / f"vocabulary.{kind}").is_file() for kind in ("json", "txt")):
        raise ModelUnavailable("the recogniser has no vocabulary; fetch it anew or set F5_ASR_MODEL=off")


def _code(language: str | None) -> str | None:
    """`pt-BR` -> `pt`."""
    return language.replace("_", "-").split("-")[0].lower() if language else None
