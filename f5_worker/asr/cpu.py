"""Whisper on the CPU: faster-whisper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_ctranslate2_storage

from f5_worker.asr.loaded import FRAME_SAMPLES, STEP_S, TokenTimes
from f5_worker.audio.levels import Samples


class CpuWhisper(WhisperModel):  # type: ignore[misc]
    """faster-whisper's model, which can also be forced to decode a text: a `LoadedModel`."""

    def force(self, audio: Samples, tokens: Sequence[int], language: str) -> TokenTimes:
        """Decode the tokens of a text; see `LoadedModel.force`."""
        frames = -(-len(audio) // FRAME_SAMPLES)
        # Only the sound itself: padded to 30 s, as in Whisper's training, it takes longer and is no better.
        mel = self.feature_extractor(audio)[:, :frames]
        encoded = self.model.encode(get_ctranslate2_storage(np.pad(mel, ((0, 0), (0, frames % 2)))[None]))
        prompt = Tokenizer(self.hf_tokenizer, self.model.is_multilingual, task="transcribe", language=language)
        result = self.model.align(encoded, prompt.sot_sequence, [list(tokens)], frames)[0]
        indices, steps = np.array(result.alignments).T
        starts = [steps[indices == token].min() for token in range(len(tokens) + 1)]
        return TokenTimes(np.array(starts) * STEP_S, np.array(result.text_token_probs))
