"""Speech that is ready to begin."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from f5_worker.schema.responses import LineResponse
from f5_worker.synthesis.assemble import AudioPart
from f5_worker.synthesis.plan import SamplingParams

AudioParts: TypeAlias = Generator[AudioPart, None, None]


@dataclass(frozen=True, eq=False)
class Speech:
    """A job's speech, prepared.

    Attributes:
        text: what the word times are of.
        parts: the audio in order. The device begins when the first part is asked for; closing it stops the device.
        model: name of the checkpoint.
        lines: of a dubbed track.
    """

    text: str
    parts: AudioParts
    params: SamplingParams
    model: str
    warnings: Sequence[str]
    lines: Sequence[LineResponse] = ()
