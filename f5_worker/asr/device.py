"""Whisper on the device of the models: our own inference of it, run by the device's one owner."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from f5_worker.asr.loaded import FRAME_SAMPLES, STEP_S, TokenTimes
from f5_worker.audio.levels import Samples
from f5_worker.errors import ModelUnavailable
from f5_worker.models.whisper.batching import AlignmentBatcher
from f5_worker.models.whisper.runner import ForcedText, RunOnDevice, WhisperRunner, load_whisper_runner

if TYPE_CHECKING:
    from tokenizers import Tokenizer

ENGLISH = "en"
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")


class DeviceWhisper:
    """A `LoadedModel` on the device. `run_on_device`: `Engine.run`."""

    def __init__(self, tokenizer: Tokenizer, runner: WhisperRunner, run_on_device: RunOnDevice) -> None:
        self.hf_tokenizer = tokenizer
        self.runner, self.run_on_device = runner, run_on_device
        self._batcher = AlignmentBatcher(runner, run_on_device)
        tokens = self.hf_tokenizer.get_vocab()
        codes = sorted(match[1] for token in tokens if (match := _LANGUAGE.fullmatch(token)))
        self.supported_languages = codes if runner.model.arch.is_multilingual else [ENGLISH]

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
        return cls(tokenizer, load_whisper_runner(directory, device, run_on_device), run_on_device)

    def force(self, audio: Samples, tokens: Sequence[int], language: str) -> TokenTimes:
        """Decode the tokens of a text; see `LoadedModel.force`."""
        prompt = (*self.prompt(language), self.token("notimestamps"))
        steps = -(-len(audio) // FRAME_SAMPLES) // 2
        found = self._batcher.align(audio, ForcedText(prompt, tuple(tokens), self.token("endoftext"), steps))
        return TokenTimes(found.starts * STEP_S, found.probabilities)

    def transcribe(self, audio: Samples, **options: Any) -> tuple[Iterable[Any], Any]:
        """Transcribe as faster-whisper does; see `LoadedModel.transcribe`."""
        from f5_worker.asr.windows import WindowedWhisper

        found: tuple[Iterable[Any], Any] = WindowedWhisper(self).transcribe(audio, **options)
        return found

    @property
    def no_speech(self) -> int:
        """Return the id of the token for sound without speech, which has two names."""
        vocabulary: int | None = self.hf_tokenizer.token_to_id("<|nospeech|>")
        return self.token("nocaptions") if vocabulary is None else vocabulary

    def prompt(self, language: str) -> tuple[int, ...]:
        """Return the tokens that begin a transcript in a language."""
        start = self.token("startoftranscript")
        if not self.runner.model.arch.is_multilingual:
            return (start,)
        return start, self.token(language), self.token("transcribe")

    def token(self, name: str) -> int:
        """Return the id of a special token, `<|name|>`."""
        token: int = self.hf_tokenizer.token_to_id(f"<|{name}|>")
        return token
