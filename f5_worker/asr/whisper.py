"""Speech recognition: a Whisper model, loaded when first needed and unloaded when idle.

Beside models on GPUs it runs on each of them too, as work of the engine that owns it. On a CPU it is faster-whisper's,
whose int8 kernels are the faster ones there.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from f5_worker import cancellation
from f5_worker.asr.loaded import BEAM_SIZE, WHISPER_RATE, LoadedModel, to_whisper_rate
from f5_worker.audio.levels import Samples
from f5_worker.errors import ModelUnavailable
from f5_worker.models.published import is_hugging_face, recogniser_files
from f5_worker.resources import limits
from f5_worker.settings import REPOSITORY, Settings

if TYPE_CHECKING:
    from f5_worker.models.placement import Device

OFF = "off"
ENGLISH = "en"
MAX_THREADS = 8  # more gain nothing for models this small
MAX_COMPRESSION = 2.4  # text that repeats itself more is made up; Whisper's own limit
SILENCE_SKIPPED_S = 2.0  # longer silences in which improbable words are recognised are skipped
MAX_CACHED = 64  # transcriptions of the clips used last


@dataclass(frozen=True)
class TranscribedWord:
    """A word, with its punctuation and the space before it, and when it is spoken; probability 0..1."""

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True)
class Transcription:
    """The recognised words. `language` is ISO 639-1, given or detected."""

    text: str
    language: str
    words: tuple[TranscribedWord, ...]

    @property
    def mean_word_probability(self) -> float:
        """Return the mean probability of the words, 0 for none; noises become punctuation, which does not count."""
        probabilities = [word.probability for word in self.words if any(map(str.isalnum, word.text))]
        return sum(probabilities) / len(probabilities) if probabilities else 0.0


class Recogniser:
    """Whisper from a directory, in Hugging Face's or CTranslate2's layout; never downloads. Many threads may use it.

    Args:
        devices: of the models; none for the CPU. What is asked for goes to the one with the fewest users.

    Attributes:
        is_kept: it is to be loaded at start and kept; also on a GPU of which a bounded part is used.
    """

    def __init__(self, directory: Path, settings: Settings, devices: Sequence[Device] = ()) -> None:
        """
        Raises:
            ModelUnavailable: a file is missing.
        """
        _check_files(directory)
        self._directory = directory
        self._devices = devices
        self._threads = settings.cpu_threads or min(MAX_THREADS, limits().n_threads)
        is_bounded = settings.gpu_memory_mb is not None and any(device.is_gpu for device in devices)
        self.is_kept = settings.asr_preload or settings.verify or is_bounded
        self._idle_s = math.inf if self.is_kept else settings.asr_idle_s
        self._max_samples = round(settings.reference_decode_max_s * WHISPER_RATE)
        self._lock = threading.Lock()
        self._models: Sequence[LoadedModel] = ()
        self._n_users: list[int] = []  # of each
        self._idle_timer: threading.Timer | None = None
        self._cache: OrderedDict[tuple[str, str | None], Transcription] = OrderedDict()

    @contextmanager
    def loaded_model(self) -> Iterator[LoadedModel]:
        """Load the model if necessary and keep it loaded at least until the end of the block.

        Raises:
            ModelUnavailable: the files are not a Whisper model.
        """
        with self._lock:
            if self._idle_timer is not None:
                self._idle_timer.cancel()
                self._idle_timer = None
            if not self._models:
                self._models = self._load()
                self._n_users = [0] * len(self._models)
            index = self._n_users.index(min(self._n_users))
            model = self._models[index]
            self._n_users[index] += 1
        try:
            yield model
        finally:
            with self._lock:
                self._n_users[index] -= 1
                if not any(self._n_users) and self._idle_s < math.inf:
                    self._idle_timer = threading.Timer(self._idle_s, self._unload)
                    self._idle_timer.daemon = True
                    self._idle_timer.start()

    def understands(self, language: str | None) -> bool:
        """Return True if the model knows a language (`de`, `pt-BR`); also for None, a language that is not known."""
        code = _language_code(language)
        if code is None:
            return True
        with self.loaded_model() as model:
            return code in model.supported_languages

    @property
    def is_english_only(self) -> bool:
        """Return True if English is the model's only language."""
        with self.loaded_model() as model:
            return list(model.supported_languages) == [ENGLISH]

    def transcribe(self, samples: Samples, language: str | None = None) -> Transcription:
        """Transcribe a signal `[nw]` at 24 kHz, at most F5_REFERENCE_DECODE_MAX_S of it.

        Args:
            language: as in `understands`; one that the model does not know is detected instead.
        """
        key = (hashlib.sha256(samples.tobytes()).hexdigest(), _language_code(language))
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        transcription = self._transcribe(samples, key[1])
        with self._lock:
            self._cache[key] = transcription
            while len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return transcription

    def _transcribe(self, samples: Samples, language: str | None) -> Transcription:
        audio = to_whisper_rate(samples)[: self._max_samples]
        with self.loaded_model() as model:
            found, info = model.transcribe(
                audio,
                language=language if language in model.supported_languages else None,
                beam_size=BEAM_SIZE,
                temperature=0.0,  # never the fallback to sampling: equal sound gives equal words
                condition_on_previous_text=False,  # else one hallucination leads to the next
                word_timestamps=True,
                hallucination_silence_threshold=SILENCE_SKIPPED_S,
            )
            segments = []
            for segment in found:  # recognised window by window, as they are asked for
                cancellation.check()
                if segment.compression_ratio <= MAX_COMPRESSION:
                    segments.append(segment)
        words = [
            TranscribedWord(word.word, float(word.start), float(word.end), float(word.probability))
            for segment in segments
            for word in segment.words or ()
        ]
        text = "".join(segment.text for segment in segments).strip()
        return Transcription(text, info.language, tuple(words))

    def preload(self) -> None:
        """Load the model now.

        Raises:
            ModelUnavailable: the files are not a Whisper model.
        """
        with self.loaded_model():
            pass

    def _load(self) -> Sequence[LoadedModel]:
        if any(device.is_gpu for device in self._devices) or is_hugging_face(self._directory):
            from f5_worker.asr.device import DeviceWhisper
            from f5_worker.models.placement import Device

            devices = self._devices or [Device.at_start("cpu")]
            return [DeviceWhisper.load(self._directory, device.name, device.run) for device in devices]
        from f5_worker.asr.cpu import CpuWhisper

        try:
            return [CpuWhisper(str(self._directory), device="cpu", compute_type="int8", cpu_threads=self._threads)]
        except (RuntimeError, ValueError) as error:
            raise ModelUnavailable(
                f"the recogniser cannot be loaded ({type(error).__name__}); fetch it again or set F5_ASR_MODEL=off"
            ) from error

    def _unload(self) -> None:
        with self._lock:
            # Another user may have come between the timer's end and the lock.
            if not any(self._n_users):
                self._models = ()


def recogniser_from(settings: Settings, devices: Sequence[Device] = ()) -> Recogniser | None:
    """Open the recogniser that the settings name, as boot found it; return None if it is off or not there.

    Args:
        devices: as those of `Recogniser`.

    Raises:
        ModelUnavailable: a directory is named that lacks a file.
    """
    if settings.asr_model == OFF:
        return None
    if settings.asr_dir is not None:
        return Recogniser(settings.asr_dir, settings, devices)
    candidates = (place / settings.asr_model for place in (Path(), REPOSITORY / "models", settings.models_dir))
    directory = next((candidate for candidate in candidates if candidate.is_dir()), None)
    return Recogniser(directory, settings, devices) if directory else None


def _check_files(directory: Path) -> None:
    """Raise if a directory lacks a file that loading needs.

    Raises:
        ModelUnavailable: with the file's name. It may be tokenizer.json, or faster-whisper would download one.
    """
    for name in recogniser_files(directory):
        if not (directory / name).is_file():
            raise ModelUnavailable(f"the recogniser has no {name}; fetch it again or set F5_ASR_MODEL=off")
    if is_hugging_face(directory):
        return
    if not any((directory / f"vocabulary.{kind}").is_file() for kind in ("json", "txt")):
        raise ModelUnavailable("the recogniser has no vocabulary; fetch it again or set F5_ASR_MODEL=off")


def _language_code(language: str | None) -> str | None:
    """Return the language of a tag: `pt` of `pt-BR`."""
    return language.replace("_", "-").split("-")[0].lower() if language else None
