"""Moonshine tiny, a recogniser of another kind than Whisper: it judges speech that Whisper has chosen.

Weights (MIT) and runtime come with the package moonshine-voice, the last release of it that has them.
"""

from __future__ import annotations

import sys
import types
from functools import lru_cache
from pathlib import Path
from typing import Any

import soxr

from f5_worker.audio.levels import SAMPLE_RATE, Samples

MOONSHINE_RATE = 16_000


def transcribe_by_moonshine(samples: Samples) -> str:
    """Return what Moonshine hears in a signal `[nw]` at 24 kHz."""
    audio = soxr.resample(samples, SAMPLE_RATE, MOONSHINE_RATE)
    transcript = _transcriber().transcribe_without_streaming(audio.tolist(), MOONSHINE_RATE)
    return " ".join(line.text.strip() for line in transcript.lines)


@lru_cache(maxsize=1)
def _transcriber() -> Any:
    # The package imports what opens microphones, which needs a system library; nothing here opens one.
    sys.modules.setdefault("sounddevice", types.ModuleType("sounddevice"))
    import moonshine_voice
    from moonshine_voice.moonshine_api import ModelArch
    from moonshine_voice.transcriber import Transcriber

    directory = Path(moonshine_voice.__file__).parent / "assets" / "tiny-en"
    return Transcriber(str(directory), ModelArch.TINY)
