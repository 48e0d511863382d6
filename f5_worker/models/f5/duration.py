"""Estimate of how long a text sounds at the pace of a reference."""

from __future__ import annotations

import math

# Below this many bytes the reference's pace predicts too little: single words come out swallowed.
# Upstream slows them to 0.3 (utils_infer.py, `local_speed`; F5-TTS #595, #876).
SHORT_TEXT_BYTES = 10
SHORT_TEXT_SPEED = 0.3


def target_frames(text: str, transcript: str, reference_frames: int, speed: float) -> int:
    """Return the mel frames for `text`, from the reference's frames per byte of its transcript.

    Bytes of UTF-8, as upstream counts: three for a Chinese character, which also takes about as long as three Latin
    letters. With a Latin transcript the duration of a Cyrillic text is estimated twice too long.
    """
    text_bytes = len(text.encode())
    pace = reference_frames / len(transcript.encode())
    effective_speed = min(speed, SHORT_TEXT_SPEED) if text_bytes < SHORT_TEXT_BYTES else speed
    return max(1, math.floor(pace * text_bytes / effective_speed))
