"""Transcription of recordings on the device: faster-whisper's way through them, with our own inference below it.

faster-whisper decides which window of 30 s comes next, what is silence or made up, and where words begin; all of that
is Python above CTranslate2's model, which is replaced here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.feature_extractor import FeatureExtractor
from faster_whisper.utils import get_logger
from numpy.typing import NDArray

from f5_worker import cancellation
from f5_worker.asr.vocabulary import WhisperVocabulary
from f5_worker.audio.levels import Samples
from f5_worker.models.placement import RunOnDevice
from f5_worker.models.spectrogram import HOP_SAMPLES, SAMPLE_RATE
from f5_worker.models.whisper.config import MAX_TOKENS, STEP_S
from f5_worker.models.whisper.network import Sound
from f5_worker.models.whisper.runner import STEPS_AT_ONCE, ForcedText, WhisperRunner
from f5_worker.models.whisper.search import SearchOptions


class WindowedWhisper(WhisperModel):  # type: ignore[misc]
    """faster-whisper's `WhisperModel` on our own inference; not constructed as such, which would load CTranslate2's."""

    def __init__(
        self, tokenizer: Any, vocabulary: WhisperVocabulary, runner: WhisperRunner, run_on_device: RunOnDevice
    ) -> None:
        self.logger = get_logger()
        self.model = _DeviceModel(vocabulary, runner, run_on_device)
        self.hf_tokenizer = tokenizer
        self.feat_kwargs: Mapping[str, Any] = {"feature_size": runner.model.arch.mels}
        self.feature_extractor = _DeviceFeatures(runner, run_on_device, **self.feat_kwargs)
        self.input_stride = 2
        self.num_samples_per_token = HOP_SAMPLES * self.input_stride
        self.frames_per_second = SAMPLE_RATE // HOP_SAMPLES
        self.tokens_per_second = SAMPLE_RATE // self.num_samples_per_token
        self.time_precision = STEP_S
        self.max_length = MAX_TOKENS

    def encode(self, features: NDArray[np.float32]) -> Sound:
        """Return what the decoder attends to of the log-mel `[m, f]` of a window."""
        return self.model.encode(features)


class _DeviceFeatures(FeatureExtractor):  # type: ignore[misc]
    """faster-whisper's spectrogram, computed on the device."""

    def __init__(self, runner: WhisperRunner, run_on_device: RunOnDevice, **options: Any) -> None:
        super().__init__(**options)
        self._runner, self._run_on_device = runner, run_on_device

    def __call__(self, waveform: Samples, padding: int = 160, chunk_length: int | None = None) -> NDArray[np.float32]:
        assert padding == 160 and chunk_length is None  # noqa: S101, PT018 - as `transcribe` calls it
        mel: NDArray[np.float32] = self._run_on_device(partial(self._runner.log_mel, waveform))
        return mel


class _DeviceModel:
    """The methods of `ctranslate2.models.Whisper` that faster-whisper calls, for one window."""

    def __init__(self, vocabulary: WhisperVocabulary, runner: WhisperRunner, run_on_device: RunOnDevice) -> None:
        self._vocabulary, self._runner, self._run_on_device = vocabulary, runner, run_on_device
        self.is_multilingual = vocabulary.is_multilingual

    def encode(self, features: NDArray[np.float32]) -> Sound:
        mel = np.ascontiguousarray(features, np.float32)
        sound: Sound = self._run_on_device(partial(self._runner.encode, mel))
        return sound

    def detect_language(self, sound: Sound) -> list[list[tuple[str, float]]]:
        vocabulary = self._vocabulary
        ids = [vocabulary.token(code) for code in vocabulary.languages]
        probabilities = self._run_on_device(partial(self._runner.token_probabilities, sound, vocabulary.start, ids))
        names = [f"<|{code}|>" for code in vocabulary.languages]
        return [sorted(zip(names, probabilities, strict=True), key=lambda pair: -pair[1])]

    def generate(
        self,
        sound: Sound,
        prompts: Sequence[Sequence[int]],
        *,
        beam_size: int,
        suppress_blank: bool,
        suppress_tokens: Sequence[int],
        max_initial_timestamp_index: int,
        max_length: int,
        **_: Any,
    ) -> list[Any]:
        vocabulary, runner = self._vocabulary, self._runner
        first_timestamp = vocabulary.no_timestamps + 1
        options = SearchOptions(
            prompt=tuple(prompts[0]),
            beams=beam_size,
            end=vocabulary.end,
            no_speech=vocabulary.no_speech,
            suppress=tuple(suppress_tokens),
            suppress_at_start=runner.decoding.suppress_at_start if suppress_blank else (),
            first_timestamp=first_timestamp,
            last_initial_timestamp=first_timestamp + max_initial_timestamp_index,
            max_length=max_length,
        )
        search = self._run_on_device(partial(runner.search, sound, options))
        while not search.done:
            cancellation.check()  # a recording without speech has no segments between which its job could end
            self._run_on_device(partial(runner.advance, search, STEPS_AT_ONCE))
        (best,) = search.transcripts
        return [
            SimpleNamespace(
                sequences_ids=[list(best.tokens)], scores=[best.score], no_speech_prob=best.no_speech_probability
            )
        ]

    def align(
        self, sound: Sound, prompt: Sequence[int], texts: Sequence[Sequence[int]], num_frames: int, **_: Any
    ) -> list[Any]:
        vocabulary, runner = self._vocabulary, self._runner
        n_steps = max(1, num_frames // 2)  # of the last window of a recording, which may have a single frame
        found = []
        for tokens in texts:
            text = ForcedText((*prompt, vocabulary.no_timestamps), tuple(tokens), vocabulary.end, n_steps)
            pending = self._run_on_device(partial(runner.align_encoded, sound, text))
            alignment = pending.result(0)
            steps = list(enumerate(alignment.starts.tolist()))
            found.append(SimpleNamespace(alignments=steps, text_token_probs=alignment.probabilities.tolist()))
        return found
