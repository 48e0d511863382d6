"""Samples to a file in memory, the same bytes each time.

Lossy codecs delay the signal and fill up its last frame. Both containers say by how much, and decoders
that heed it (FFmpeg, libsndfile) give back the exact number of samples: MP3 in its Info header (delay and
padding), Ogg in Opus' pre-skip and the last page's granule position. One exception: an MP3 whose last frame
is nearly full comes out up to 46 samples longer (6 ms at 8 kHz, 2 ms at 24 kHz).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple, cast

import av
import numpy as np
import soundfile
import soxr

from f5_worker.audio.levels import SAMPLE_RATE, Samples

RATES = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
OPUS_RATES = (8_000, 16_000, 24_000, 48_000)  # of those that RFC 6716 knows; players decode it at 48 kHz


class Format(NamedTuple):
    """A way to send sound."""

    mime: str
    extension: str
    sample_rates: tuple[int, ...]


class _Codec(NamedTuple):
    name: str
    container: str
    sample_format: str
    bit_rate: int


FORMATS: Mapping[str, Format] = {
    "wav": Format("audio/wav", "wav", RATES),
    "flac": Format("audio/flac", "flac", RATES),
    "mp3": Format("audio/mpeg", "mp3", RATES),
    "opus": Format("audio/ogg", "opus", OPUS_RATES),
    "pcm_s16le": Format("audio/L16", "pcm", RATES),
}
_CODECS = {
    "mp3": _Codec("libmp3lame", "mp3", "fltp", 128_000),
    "opus": _Codec("libopus", "ogg", "flt", 64_000),
}
_MP3_8K_BIT_RATE = 64_000  # the highest that MPEG 2.5 has at 8 kHz
_FULL_SCALE_S16 = 32_767


def encode(samples: Samples, format: str, sample_rate: int) -> bytes:
    """Encode `samples` (float32 `[nw]`, 24 kHz) as `format`, one of FORMATS, at `sample_rate`.

    Raises:
        ValueError: nothing to encode, values that are no numbers, or a pair that FORMATS does not have.
    """
    if format not in FORMATS or sample_rate not in FORMATS[format].sample_rates:
        raise ValueError(f"{format} at {sample_rate} Hz is not offered")
    if not len(samples) or not np.isfinite(samples).all():
        raise ValueError("samples are empty or hold values that are no numbers")
    signal = np.clip(_at_rate(samples, sample_rate), -1.0, 1.0)
    if format in _CODECS:
        return _encode_lossy(signal, _CODECS[format], sample_rate)
    if format == "pcm_s16le":
        return np.rint(signal * _FULL_SCALE_S16).astype("<i2").tobytes()
    out = io.BytesIO()
    soundfile.write(out, signal, sample_rate, format=format.upper(), subtype="PCM_16")
    return out.getvalue()


def _at_rate(samples: Samples, sample_rate: int) -> Samples:
    if sample_rate == SAMPLE_RATE:
        return samples
    return np.asarray(soxr.resample(samples, SAMPLE_RATE, sample_rate, quality="HQ"), np.float32)


def _encode_lossy(signal: Samples, codec: _Codec, sample_rate: int) -> bytes:
    out = io.BytesIO()
    # bitexact: the Ogg serial number is else drawn at random.
    with av.open(out, "w", format=codec.container, options={"fflags": "+bitexact"}) as container:
        stream = cast(av.AudioStream, container.add_stream(codec.name, rate=sample_rate, layout="mono"))
        low = codec.name == "libmp3lame" and sample_rate == min(RATES)
        stream.bit_rate = _MP3_8K_BIT_RATE if low else codec.bit_rate
        frame = av.AudioFrame.from_ndarray(signal[None], format=codec.sample_format, layout="mono")
        frame.sample_rate = sample_rate
        # Without a time the Ogg pages would count the pre-skip twice, and sounds below 1 s end 6.5 ms late.
        frame.pts, frame.time_base = 0, Fraction(1, sample_rate)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()
