"""Whisper on the device of the models: our own inference of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from f5_worker.asr.loaded import BEAM_SIZE, FRAME_SAMPLES, STEP_S, ClipTranscript, TokenTimes
from f5_worker.asr.vocabulary import WhisperVocabulary
from f5_worker.audio.levels import Samples
from f5_worker.errors import ModelUnavailable
from f5_worker.models.placement import RunOnDevice
from f5_worker.models.whisper.batching import AlignmentBatcher, TranscriptBatcher
from f5_worker.models.whisper.runner import ForcedText, WhisperRunner, load_whisper_runner
from f5_worker.models.whisper.search import NOTHING_EXPECTED, ExpectedTokens, SearchOptions

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class DeviceWhisper:
    """A `LoadedModel` on the device. `run_on_device`: `Engine.run`."""

    def __init__(self, tokenizer: Tokenizer, runner: WhisperRunner, run_on_device: RunOnDevice) -> None:
        self.hf_tokenizer = tokenizer
        self._runner, self._run_on_device = runner, run_on_device
        self._alignments = AlignmentBatcher(runner, run_on_device)
        self._transcripts = TranscriptBatcher(runner, run_on_device)
        self._vocabulary = WhisperVocabulary(tokenizer, is_multilingual=runner.model.arch.is_multilingual)

    @classmethod
    def load(cls, directory: Path, device: str, run_on_device: RunOnDevice) -> DeviceWhisper:
        """Load a directory in either layout; only what uses the device runs there.

        Raises:
            ModelUnavailable: files are missing or damaged, or do not belong together.
            OutOfMemory: the device has no room for it.
        """
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        except Exception as error:  # the library raises plain ones
            raise ModelUnavailable("the recogniser's tokenizer.json cannot be read; fetch it again") from error
        runner = load_whisper_runner(directory, device, run_on_device)
        # A token that the network does not have would end the work of the whole GPU.
        if max(tokenizer.get_vocab().values(), default=0) >= runner.model.arch.vocabulary:
            raise ModelUnavailable("the recogniser's tokenizer.json is that of another network; fetch it again")
        return cls(tokenizer, runner, run_on_device)

    @property
    def supported_languages(self) -> list[str]:
        """Return the languages that it knows."""
        return self._vocabulary.languages

    def force(self, audio: Samples, tokens: Sequence[int], language: str) -> TokenTimes:
        """Decode the tokens of a text; see `LoadedModel.force`."""
        found = self._alignments.align(audio, self._forced(audio, tokens, language))
        return TokenTimes(found.probabilities.astype(np.float64), (found.starts * STEP_S).astype(np.float64))

    def token_probabilities(
        self, audio: Samples, texts: Sequence[Sequence[int]], language: str
    ) -> list[NDArray[np.float64]]:
        """Return the probabilities of texts; see `LoadedModel.token_probabilities`."""
        found = self._alignments.score(audio, [self._forced(audio, tokens, language) for tokens in texts])
        return [probabilities.astype(np.float64) for probabilities in found]

    def transcribe_clip(
        self, audio: Samples, language: str, expected: ExpectedTokens = NOTHING_EXPECTED
    ) -> ClipTranscript:
        """Transcribe a clip as a whole; see `LoadedModel.transcribe_clip`."""
        vocabulary, decoding = self._vocabulary, self._runner.decoding
        options = SearchOptions(
            prompt=(*vocabulary.prompt(language), vocabulary.no_timestamps),
            beams=BEAM_SIZE,
            end=vocabulary.end,
            no_speech=vocabulary.no_speech,
            suppress=decoding.suppress,
            suppress_at_start=decoding.suppress_at_start,
        )
        found = self._transcripts.transcribe(audio, options, expected)
        text = self.hf_tokenizer.decode(found.tokens).strip()
        return ClipTranscript(text, found.score, found.no_speech_probability)

    def transcribe(self, audio: Samples, **options: Any) -> tuple[Iterable[Any], Any]:
        """Transcribe as faster-whisper does; see `LoadedModel.transcribe`."""
        from f5_worker.asr.windows import WindowedWhisper

        windowed = WindowedWhisper(self.hf_tokenizer, self._vocabulary, self._runner, self._run_on_device)
        found: tuple[Iterable[Any], Any] = windowed.transcribe(audio, **options)
        return found

    def _forced(self, audio: Samples, tokens: Sequence[int], language: str) -> ForcedText:
        vocabulary = self._vocabulary
        prompt = (*vocabulary.prompt(language), vocabulary.no_timestamps)
        return ForcedText(prompt, tuple(tokens), vocabulary.end, -(-len(audio) // FRAME_SAMPLES) // 2)
