"""Whisper on the CPU: faster-whisper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.audio import pad_or_trim
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_ctranslate2_storage
from numpy.typing import NDArray

from f5_worker.asr.loaded import BEAM_SIZE, FRAME_SAMPLES, STEP_S, ClipTranscript, TokenTimes
from f5_worker.audio.levels import Samples
from f5_worker.models.whisper.search import NOTHING_EXPECTED, ExpectedTokens

FRAMES_PER_STEP = 2  # of the encoder


class CpuWhisper(WhisperModel):  # type: ignore[misc]
    """faster-whisper's model, which can also be forced to decode a text: a `LoadedModel`."""

    def force(self, audio: Samples, tokens: Sequence[int], language: str) -> TokenTimes:
        """Decode the tokens of a text; see `LoadedModel.force`."""
        (found,) = self._align(audio, [tokens], language)
        indices, steps = np.array(found.alignments).T
        starts = np.array([steps[indices == token].min() for token in range(len(tokens) + 1)])
        return TokenTimes(np.array(found.text_token_probs), starts * STEP_S)

    def token_probabilities(
        self, audio: Samples, texts: Sequence[Sequence[int]], language: str
    ) -> list[NDArray[np.float64]]:
        """Return the probabilities of texts; see `LoadedModel.token_probabilities`."""
        return [np.array(found.text_token_probs) for found in self._align(audio, texts, language)]

    def _align(self, audio: Samples, texts: Sequence[Sequence[int]], language: str) -> Sequence[Any]:
        mel = self._log_mel(audio)
        frames = mel.shape[1]
        # Only the sound itself: padded to 30 s, as in Whisper's training, it takes longer and is no better.
        encoded = self.model.encode(get_ctranslate2_storage(np.pad(mel, ((0, 0), (0, frames % 2)))[None]))
        if len(texts) > 1:
            encoded = get_ctranslate2_storage(np.repeat(np.array(encoded), len(texts), axis=0))
        found: Sequence[Any] = self.model.align(
            encoded, self._tokenizer(language).sot_sequence, [list(text) for text in texts], frames
        )
        return found

    def transcribe_clip(
        self, audio: Samples, language: str, expected: ExpectedTokens = NOTHING_EXPECTED
    ) -> ClipTranscript:
        """Transcribe a clip as a whole; see `LoadedModel.transcribe_clip`."""
        tokenizer = self._tokenizer(language)
        found = self.model.generate(
            get_ctranslate2_storage(pad_or_trim(self._log_mel(audio))[None]),
            [[*tokenizer.sot_sequence, tokenizer.no_timestamps, *expected.prefix]],
            beam_size=BEAM_SIZE,
            suppress_blank=not expected.prefix,  # nor is the end, which may follow at once
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        text = self.hf_tokenizer.decode(found.sequences_ids[0]).strip()
        return ClipTranscript(text, found.scores[0], found.no_speech_prob)

    def find_alignment(self, tokenizer: Tokenizer, text_tokens: Any, encoder_output: Any, num_frames: int) -> Any:
        """Return the words and times of a window's texts; of one with a single frame too, the last of a recording."""
        return super().find_alignment(tokenizer, text_tokens, encoder_output, max(FRAMES_PER_STEP, num_frames))

    def _log_mel(self, audio: Samples) -> NDArray[np.float32]:
        frames = -(-len(audio) // FRAME_SAMPLES)
        mel: NDArray[np.float32] = self.feature_extractor(audio)[:, :frames]
        return mel

    def _tokenizer(self, language: str) -> Tokenizer:
        return Tokenizer(self.hf_tokenizer, self.model.is_multilingual, task="transcribe", language=language)
