"""Encode samples to a file in memory, at once or while they are generated; the same bytes each time.

The sizes of the writes change no byte: resampler and codecs buffer up to their own frames. A streamed file
(`streaming=True`) differs from the whole one only where a header gives the file's length, which is not known
beforehand:

    wav, wav_f32      both sizes in the header are 0xFFFFFFFF, "until the end"; wav_f32 has no `fact` chunk
    flac              the header's number of samples and MD5 are 0, "unknown"; libsndfile then cannot tell the length
    mp3               no Info header
    pcm_s16le, ulaw, alaw, opus, aac    the very same bytes

Lossy codecs delay the signal and fill up its last frame. Decoders that use what the container says of this
(FFmpeg, libsndfile) give back the exact number of samples for MP3 by its Info header, and for Ogg by Opus' pre-skip
and the last page's granule position. One exception: an MP3 whose last frame is nearly full decodes to up to 46
more samples (6 ms at 8 kHz, 2 ms at 24 kHz). Without a header decoders cannot know this: a streamed MP3 begins
with 1,105 samples of near silence (46 ms at 24 kHz), AAC, which is ADTS here, with 1,024 (43 ms), and both end with
what is left of their last frame.
"""

from __future__ import annotations

import io
from fractions import Fraction
from typing import cast

import av
import numpy as np
import soxr
from av.container import OutputContainer
from numpy.typing import NDArray

from f5_worker import cancellation
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.audio.levels import SAMPLE_RATE, Samples

_OPTIONS = {
    "fflags": "+bitexact",  # the Ogg serial number is else drawn at random
    "flush_packets": "1",  # at once, not through a buffer of 32 KiB
}
_CONTAINER_OPTIONS = {
    "ogg": {"page_duration": "200000"},  # us; a page or two are held back, and by default each lasts 1 s
    "flac": {"metadata_header_padding": "0"},  # else 8 KiB for tags
}
_FULL_SCALE_S16 = 32_767
PART_SAMPLES = 10 * SAMPLE_RATE  # bounds what resampling and conversion hold at once


class Encoder:
    """An encoder of one file, fed with samples part by part.

    What `write` and `close` return, joined, is the file. With `streaming` each write returns what can be sent
    already: all of it for wav and pcm, all but the last codec frames for the others (up to 0.4 s in Opus). Without,
    everything comes from `close`, since the header comes first and is known last.
    """

    def __init__(self, format: str, sample_rate: int, *, streaming: bool) -> None:
        """Raise ValueError for a format and rate that AUDIO_FORMATS does not have."""
        if format not in AUDIO_FORMATS or sample_rate not in AUDIO_FORMATS[format].sample_rates:
            raise ValueError(f"{format} at {sample_rate} Hz is not offered")
        codec = AUDIO_FORMATS[format].codec
        self._sample_rate, self._sample_format = sample_rate, codec.sample_format
        self._resampler = (
            soxr.ResampleStream(SAMPLE_RATE, sample_rate, 1, dtype="float32", quality="HQ")
            if sample_rate != SAMPLE_RATE
            else None
        )
        self._written_samples = 0  # at 24 kHz
        self._encoded_samples = 0  # at the file's rate
        self._out = _WriteOnlyBuffer() if streaming else io.BytesIO()
        options = _OPTIONS | _CONTAINER_OPTIONS.get(codec.container, {})
        self._container: OutputContainer = av.open(self._out, "w", format=codec.container, options=options)
        self._stream = cast(av.AudioStream, self._container.add_stream(codec.name, rate=sample_rate, layout="mono"))
        bits_per_s = codec.bits_per_s(sample_rate)
        if bits_per_s is not None:
            self._stream.bit_rate = bits_per_s
        self._stream.codec_context.options = dict(codec.options)
        self._container.start_encoding()  # writes the header

    def write(self, samples: Samples) -> bytes:
        """Encode `samples`, float32 `[nw]` at 24 kHz, of any length; return the bytes that are ready.

        Raises:
            ValueError: NaN or infinity among the values.
        """
        if not np.isfinite(samples).all():
            raise ValueError("the samples hold NaN or infinity")
        for begin in range(0, len(samples), PART_SAMPLES):
            cancellation.check()
            self._encode(self._resample(samples[begin : begin + PART_SAMPLES], last=False))
        self._written_samples += len(samples)
        return self._ready()

    def close(self) -> bytes:
        """End the file; return the rest of its bytes.

        Raises:
            ValueError: nothing was written.
        """
        if not self._written_samples:
            raise ValueError("there are no samples to encode")
        self._encode(self._resample(np.zeros(0, np.float32), last=True))
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._ready() if isinstance(self._out, _WriteOnlyBuffer) else self._out.getvalue()

    def _resample(self, samples: Samples, *, last: bool) -> Samples:
        if self._resampler is None:
            return samples
        return np.asarray(self._resampler.resample_chunk(np.ascontiguousarray(samples), last=last), np.float32)

    def _encode(self, signal: Samples) -> None:
        if not len(signal):
            return
        values: NDArray[np.float32] | NDArray[np.int16] = np.clip(signal, -1.0, 1.0, dtype=np.float32)
        if self._sample_format == "s16":
            values = np.rint(values * _FULL_SCALE_S16).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(values[None], format=self._sample_format, layout="mono")
        frame.sample_rate = self._sample_rate
        # Without a time the Ogg pages would count the pre-skip twice, and sounds below 1 s end 6.5 ms late.
        frame.pts, frame.time_base = self._encoded_samples, Fraction(1, self._sample_rate)
        self._encoded_samples += len(signal)
        self._container.mux(self._stream.encode(frame))

    def _ready(self) -> bytes:
        return self._out.take() if isinstance(self._out, _WriteOnlyBuffer) else b""


def encode(samples: Samples, format: str, sample_rate: int) -> bytes:
    """Encode `samples` (float32 `[nw]`, 24 kHz) as a whole file; `format` is a key of AUDIO_FORMATS.

    Raises:
        ValueError: nothing to encode, NaN or infinity, or a format and rate that AUDIO_FORMATS does not have.
    """
    encoder = Encoder(format, sample_rate, streaming=False)
    return encoder.write(samples) + encoder.close()


def from_pcm16(data: bytes) -> Samples:
    """Return the samples of a `pcm_s16le` file at 24 kHz; encoded again they are the same bytes."""
    return np.frombuffer(data, np.int16).astype(np.float32) / np.float32(_FULL_SCALE_S16)


class _WriteOnlyBuffer:
    """A file that cannot seek, so that FFmpeg writes the header of a stream and never returns to it."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def write(self, data: bytes) -> int:
        """Append bytes; return their number, as file objects do."""
        self._bytes += data
        return len(data)

    def take(self) -> bytes:
        """Return and remove all bytes written so far."""
        taken = bytes(self._bytes)
        self._bytes.clear()
        return taken
