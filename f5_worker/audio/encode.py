"""Samples to a file in memory, at once or while they are made; the same bytes each time.

How the samples are cut into writes changes no byte: resampler and codecs buffer up to their own frames. What is
sent while it is made (`streaming=True`) differs from the whole file only where a header says how long the file is,
which nobody knows beforehand:

    wav, wav_f32      both sizes in the header are 0xFFFFFFFF, "until the end"; wav_f32 has no `fact` chunk
    flac              the header's number of samples and MD5 are 0, "unknown"; libsndfile then cannot tell the length
    mp3               no Info header
    pcm_s16le, opus, aac    the very same bytes

Lossy codecs delay the signal and fill up its last frame. Decoders that heed what the container says of this
(FFmpeg, libsndfile) give back the exact number of samples for MP3 by its Info header, and for Ogg by Opus' pre-skip
and the last page's granule position. One exception: an MP3 whose last frame is nearly full comes out up to 46
samples longer (6 ms at 8 kHz, 2 ms at 24 kHz). Without a header there is nothing to heed: a streamed MP3 begins
with 1,105 samples of near silence (46 ms at 24 kHz), AAC, which is ADTS here, with 1,024 (43 ms), and both end with
what is left of their last frame.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple, cast

import av
import numpy as np
import soxr
from av.container import OutputContainer
from numpy.typing import NDArray

from f5_worker.audio.levels import SAMPLE_RATE, Samples

RATES = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
OPUS_RATES = (8_000, 16_000, 24_000, 48_000)  # of those that RFC 6716 knows; players decode it at 48 kHz


class AudioFormat(NamedTuple):
    """A way to send sound."""

    mime: str
    extension: str
    sample_rates: tuple[int, ...]


class _Codec(NamedTuple):
    """FFmpeg's names; the bit rate is lowered to `bits_per_sample` where the sample rate has no more."""

    name: str
    container: str
    sample_format: str
    bit_rate: int | None = None
    bits_per_sample: float = 0.0


FORMATS: Mapping[str, AudioFormat] = {
    "wav": AudioFormat("audio/wav", "wav", RATES),
    "wav_f32": AudioFormat("audio/wav", "wav", RATES),
    "flac": AudioFormat("audio/flac", "flac", RATES),
    "mp3": AudioFormat("audio/mpeg", "mp3", RATES),
    "opus": AudioFormat("audio/ogg", "opus", OPUS_RATES),
    "aac": AudioFormat("audio/aac", "aac", RATES),
    "pcm_s16le": AudioFormat("audio/pcm", "pcm", RATES),  # not audio/L16: that is big-endian (RFC 2586)
}
_CODECS = {
    "wav": _Codec("pcm_s16le", "wav", "s16"),
    "wav_f32": _Codec("pcm_f32le", "wav", "flt"),
    "flac": _Codec("flac", "flac", "s16"),
    "mp3": _Codec("libmp3lame", "mp3", "fltp", 128_000, 8.0),  # MPEG 2.5 ends at 64 kbit/s; it begins at 8 kHz
    "opus": _Codec("libopus", "ogg", "flt", 64_000, 8.0),
    "aac": _Codec("aac", "adts", "fltp", 128_000, 6.0),  # 6,144 bits in a frame of 1,024 samples (ISO 14496-3)
    "pcm_s16le": _Codec("pcm_s16le", "s16le", "s16"),
}
_OPTIONS = {
    "fflags": "+bitexact",  # the Ogg serial number is else drawn at random
    "flush_packets": "1",  # to us, not into a buffer of 32 KiB
}
_CONTAINER_OPTIONS = {
    "ogg": {"page_duration": "200000"},  # us; a page or two are held back, and by default each lasts 1 s
    "flac": {"metadata_header_padding": "0"},  # else 8 KiB of room for tags
}
_FULL_SCALE_S16 = 32_767
_PIECE_SAMPLES = 10 * SAMPLE_RATE  # bounds what resampling and conversion hold at once


class Encoder:
    """One file, written bit by bit.

    What `write` and `close` return, joined, is the file. With `streaming` each write gives what can be sent
    already: all of it for wav and pcm, all but the last codec frames for the others (up to 0.4 s in Opus). Without,
    everything comes from `close`, since the header comes first and is known last.
    """

    def __init__(self, format: str, sample_rate: int, *, streaming: bool) -> None:
        """Raises ValueError for a pair that FORMATS does not have."""
        if format not in FORMATS or sample_rate not in FORMATS[format].sample_rates:
            raise ValueError(f"{format} at {sample_rate} Hz is not offered")
        codec = _CODECS[format]
        self._sample_rate, self._kind = sample_rate, codec.sample_format
        self._resampler = (
            soxr.ResampleStream(SAMPLE_RATE, sample_rate, 1, dtype="float32", quality="HQ")
            if sample_rate != SAMPLE_RATE
            else None
        )
        self._taken = self._encoded = 0  # samples at 24 kHz, and at the rate of the file
        self._out = _Pipe() if streaming else io.BytesIO()
        options = _OPTIONS | _CONTAINER_OPTIONS.get(codec.container, {})
        self._container: OutputContainer = av.open(self._out, "w", format=codec.container, options=options)
        self._stream = cast(av.AudioStream, self._container.add_stream(codec.name, rate=sample_rate, layout="mono"))
        if codec.bit_rate is not None:
            self._stream.bit_rate = min(codec.bit_rate, round(codec.bits_per_sample * sample_rate))
        self._container.start_encoding()  # writes the header

    def write(self, samples: Samples) -> bytes:
        """Take `samples`, float32 `[nw]` at 24 kHz, any number; return the bytes that are ready.

        Raises:
            ValueError: values that are no numbers.
        """
        if not np.isfinite(samples).all():
            raise ValueError("samples hold values that are no numbers")
        for begin in range(0, len(samples), _PIECE_SAMPLES):
            self._encode(self._at_rate(samples[begin : begin + _PIECE_SAMPLES], last=False))
        self._taken += len(samples)
        return self._ready()

    def close(self) -> bytes:
        """End the file; return the rest of its bytes.

        Raises:
            ValueError: nothing was written.
        """
        if not self._taken:
            raise ValueError("there are no samples to encode")
        self._encode(self._at_rate(np.zeros(0, np.float32), last=True))
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._ready() if isinstance(self._out, _Pipe) else self._out.getvalue()

    def _at_rate(self, samples: Samples, *, last: bool) -> Samples:
        if self._resampler is None:
            return samples
        return np.asarray(self._resampler.resample_chunk(np.ascontiguousarray(samples), last=last), np.float32)

    def _encode(self, signal: Samples) -> None:
        if not len(signal):
            return
        values: NDArray[np.float32] | NDArray[np.int16] = np.clip(signal, -1.0, 1.0, dtype=np.float32)
        if self._kind == "s16":
            values = np.rint(values * _FULL_SCALE_S16).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(values[None], format=self._kind, layout="mono")
        frame.sample_rate = self._sample_rate
        # Without a time the Ogg pages would count the pre-skip twice, and sounds below 1 s end 6.5 ms late.
        frame.pts, frame.time_base = self._encoded, Fraction(1, self._sample_rate)
        self._encoded += len(signal)
        self._container.mux(self._stream.encode(frame))

    def _ready(self) -> bytes:
        return self._out.take() if isinstance(self._out, _Pipe) else b""


def encode(samples: Samples, format: str, sample_rate: int) -> bytes:
    """A whole file of `samples` (float32 `[nw]`, 24 kHz): `format` is one of FORMATS.

    Raises:
        ValueError: nothing to encode, values that are no numbers, or a pair that FORMATS does not have.
    """
    encoder = Encoder(format, sample_rate, streaming=False)
    return encoder.write(samples) + encoder.close()


class _Pipe:
    """A file that cannot seek, so that FFmpeg writes the header of a stream and never comes back to it."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        self._bytes += data
        return len(data)

    def take(self) -> bytes:
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken
