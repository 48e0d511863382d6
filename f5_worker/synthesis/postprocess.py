"""The edges of a finished signal: silence cut off or added. All signals are float32 `[nw]`, mono, at 24 kHz."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from f5_worker.audio.join import LEAD_S, TAIL_S
from f5_worker.audio.levels import SAMPLE_RATE, Samples, sound_span


@dataclass(frozen=True, eq=False)
class Shaped:
    """A signal, and by how much later than before everything in it is heard: negative where its begin was cut."""

    samples: Samples
    shift_s: float


def trim_silence(samples: Samples) -> Shaped:
    """Without the silence at both ends, down to LEAD_S and TAIL_S; a signal without any sound stays as it is."""
    begin, end = sound_span(samples, LEAD_S, tail_s=TAIL_S)
    return Shaped(samples[begin:end], -begin / SAMPLE_RATE) if end else Shaped(samples, 0.0)


def pad(samples: Samples, lead_s: float, tail_s: float) -> Shaped:
    """With so much digital silence before and after, to the nearest sample."""
    lead, tail = round(lead_s * SAMPLE_RATE), round(tail_s * SAMPLE_RATE)
    return Shaped(np.pad(samples, (lead, tail)), lead / SAMPLE_RATE)
