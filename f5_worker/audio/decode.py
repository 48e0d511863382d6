"""Decode an untrusted recording to samples: in memory, within limits, by an explicit list of formats.

Legend: nw samples, c channels.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TypeAlias

import av
import av.error
import numpy as np
import soxr
from av import AudioCodecContext, AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from f5_worker.audio.formats import input_labels
from f5_worker.audio.levels import SAMPLE_RATE, SILENCE_DB, Samples, limit_peak
from f5_worker.audio.sniff import locate
from f5_worker.errors import ReferenceTooLarge, ReferenceUnreadable
from f5_worker.settings import variable

MAX_CHANNELS = 8
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 8_000, 192_000
# vLLM #44970: 25 MB of Opus became 5.7 GB of samples; vLLM #49948: a forged rate and 8 channels beat a limit
# on seconds alone. So seconds and decoded bytes are both bounded, and counted frame by frame.
MAX_DECODED_BYTES = 256 * 2**20
BYTES_PER_SAMPLE = 4  # float32
# An ALAC packet of a few bytes may hold 16 M samples; no codec below needs more than 65,535 (FLAC) for one.
MAX_FRAME_SAMPLES = 1 << 16
MAX_STREAMS = 4  # that are tried, until one gives sound
# Channels cancel each other where the power of their mean is below this share of what unrelated channels have. Equal
# ones have as many times as they are; a pair of which one is inverted at half the level, which harms no word, 0.2.
CANCELLED = 0.1

# FFmpeg has hundreds of decoders; a voice needs these. The list also stops FFmpeg from opening video
# decoders (a film, a picture in an MP3) while it probes the file.
DECODERS = frozenset(
    (
        *("aac", "alac", "amrnb", "amrwb", "flac", "mp2", "mp2float", "mp3", "mp3float", "opus", "libopus", "vorbis"),
        *("adpcm_ima_wav", "adpcm_ms", "pcm_alaw", "pcm_mulaw", "pcm_s8", "pcm_u8", "pcm_s16be", "pcm_s16le"),
        *("pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le"),
        *("pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le"),
    )
)
# Full scale of FFmpeg's sample formats (a trailing `p` means planar); 24 bits come in the upper part of s32.
FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "flt": 1.0, "dbl": 1.0}

SpansS: TypeAlias = Sequence[tuple[float, float]]  # stretches of a recording, `(begin_s, end_s)`, ascending and apart

# What decoders say of a corrupt packet: noise in place of sound often asks for what FFmpeg does not implement.
CORRUPT = (av.error.InvalidDataError, av.error.PatchWelcomeError)


@dataclass(frozen=True, eq=False)
class Audio:
    """A decoded recording: `samples` float32 `[nw]` in [-1, 1], all channels mixed into one.

    channels: of the file. channel: the only one that was taken, from 0, where their mean would cancel the sound.
    """

    samples: Samples
    sample_rate: int
    channels: int
    channel: int | None = None

    @property
    def duration_s(self) -> float:
        """Return the length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a recording's audio: `samples` float32 `[nw]`, all channels mixed into one; not yet checked.

    channels: of the file. channel: see `Audio`; such parts replace all that came before the first of them.
    """

    samples: Samples
    sample_rate: int
    channels: int
    channel: int | None = None


def decode(data: bytes, *, max_bytes: int, max_s: float) -> Audio:
    """Decode a file held in memory, in this process: see `isolated.decode` for a caller's.

    Of several audio streams the first that can be decoded is taken.
    A truncated file, or one with a corrupt frame, gives the parts that can be decoded.

    Args:
        max_bytes: of the file as sent.
        max_s: of the recording; decoding stops as soon as it is exceeded.

    Raises:
        ReferenceUnreadable: not audio of a known format, or no audio in it.
        ReferenceTooLarge: more bytes, seconds, channels or samples than allowed.
    """
    check_size(len(data), max_bytes)
    return join_parts(decode_parts(data, max_s))


def check_size(n_bytes: int, max_bytes: int) -> None:
    """Raise if a file as sent is too large.

    Raises:
        ReferenceTooLarge: it has more than `max_bytes`.
    """
    if n_bytes > max_bytes:
        raise ReferenceTooLarge(
            f"the recording has {n_bytes} bytes, at most {max_bytes} ({variable('reference_max_bytes')}); "
            "send a shorter or compressed one"
        )


def decode_parts(data: bytes, max_s: float, spans_s: SpansS = ()) -> Iterator[Part]:
    """Yield the audio of a file frame by frame; its memory does not grow with the recording.

    Args:
        max_s: of what is yielded.
        spans_s: the stretches to yield, none for all; nothing after the last one is decoded.

    Raises:
        ReferenceUnreadable, ReferenceTooLarge: as `decode`.
    """
    demuxer, begin = locate(data)
    try:
        mixer = Mixer()
        yield from _decode(data[begin:], demuxer, max_s, spans_s, mixer)
        if (channel := mixer.channel_instead()) is not None:
            yield from _decode(data[begin:], demuxer, max_s, spans_s, Mixer(channel))
    except (av.error.FFmpegError, UnicodeError, MemoryError) as error:
        raise _unreadable(
            f"the file looks like {demuxer} but cannot be opened or decoded ({_reason(error)}); it may be damaged"
        ) from None


def join_parts(parts: Iterable[Part]) -> Audio:
    """Join the parts of a recording.

    Raises:
        ReferenceUnreadable: there is none, or samples are not numbers.
    """
    kept = list(parts)
    if not any(len(part.samples) for part in kept):
        raise _unreadable("the file holds no audio that can be decoded: it is empty or damaged")
    channel = kept[-1].channel
    samples = _checked(np.concatenate([part.samples for part in kept if part.channel == channel]))
    return Audio(samples, kept[0].sample_rate, max(part.channels for part in kept), channel)


def split_spans(audio: Audio, spans_s: SpansS) -> list[Audio]:
    """Return each stretch of a recording of which only these were decoded; those after its end are empty."""
    ends = np.cumsum([end - begin for begin, end in _sample_spans(spans_s, audio.sample_rate)])
    return [replace(audio, samples=samples) for samples in np.split(audio.samples, ends)[:-1]]


def to_model_rate(audio: Audio) -> Samples:
    """Resample a recording to the model's rate: float32 `[nw]` at 24 kHz."""
    if audio.sample_rate == SAMPLE_RATE:
        return audio.samples
    resampled = soxr.resample(audio.samples, audio.sample_rate, SAMPLE_RATE, quality="HQ")
    return limit_peak(np.asarray(resampled, np.float32), 1.0)  # the band limit overshoots at clipped peaks


class Mixer:
    """Mixes the channels of a recording into one: their mean or, where it cancels the sound, one of them.

    channel: the one to take; None for the mean, which is then compared with the channels.
    """

    def __init__(self, channel: int | None = None) -> None:
        self.channel = channel
        self._channels = self._n = 0
        # Of the channels `[c]`: sums of the samples, and of their squares; the latter also of their mean.
        self._sums, self._squares, self._mean_square = np.zeros(MAX_CHANNELS), np.zeros(MAX_CHANNELS), 0.0

    def mix(self, frame: av.AudioFrame) -> Samples:
        """Return one frame as float32 `[nw]`."""
        sample_format = frame.format.name.removesuffix("p")
        if sample_format not in FULL_SCALE:
            raise _unreadable(f"its sample format is {frame.format.name}, which this worker does not read")
        raw: NDArray[np.generic] = frame.to_ndarray()  # planar [c, nw], packed [1, nw * c]
        values = (raw if frame.format.is_planar else raw.reshape(-1, frame.layout.nb_channels).T).astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are refused at the end
            mixed = values.mean(axis=0) if self.channel is None else values[min(self.channel, len(values) - 1)]
            if self.channel is None and len(values) > 1:
                self._measure(values, mixed, FULL_SCALE[sample_format])
            mixed = mixed - (FULL_SCALE["u8"] if sample_format == "u8" else 0.0)
            return np.asarray(mixed / FULL_SCALE[sample_format], np.float32)

    def channel_instead(self) -> int | None:
        """Return the loudest channel, if the mean of all has lost the sound; None while the mean serves."""
        if not self._n:
            return None
        # Without an offset, which the mean keeps.
        powers = (self._squares / self._n - np.square(self._sums / self._n))[: self._channels]
        mean_power = self._mean_square / self._n - (self._sums.sum() / self._n / self._channels) ** 2
        cancels = mean_power < CANCELLED * powers.sum() / self._channels**2
        return int(powers.argmax()) if cancels and powers.max() > 10.0 ** (SILENCE_DB / 10.0) else None

    def _measure(self, values: NDArray[np.float64], mixed: NDArray[np.float64], scale: float) -> None:
        n = len(values)
        self._channels, self._n = max(self._channels, n), self._n + len(mixed)
        self._sums[:n] += values.sum(axis=1) / scale
        self._squares[:n] += np.einsum("cn,cn->c", values, values) / scale**2
        self._mean_square += float(mixed @ mixed) / scale**2


def _decode(data: bytes, demuxer: str, max_s: float, spans_s: SpansS, mixer: Mixer) -> Iterator[Part]:
    """Yield the parts of the first audio stream that gives any."""
    options = {
        "codec_whitelist": ",".join(sorted(DECODERS)),
        "protocol_whitelist": "none",  # the file object is open already; nothing else may be opened
    }
    for index in range(MAX_STREAMS):
        file = io.BytesIO(data)
        with av.open(file, "r", format=demuxer, options=options, metadata_errors="replace") as container:
            streams, n_parts = _streams(container, demuxer)[index:], 0
            if not streams:
                return
            for part in _decode_stream(container, streams[0], max_s, spans_s, mixer):
                yield part
                n_parts += 1
        if n_parts:
            return


def _decode_stream(
    container: InputContainer, stream: AudioStream, max_s: float, spans_s: SpansS, mixer: Mixer
) -> Iterator[Part]:
    context = stream.codec_context
    context.options = {"max_samples": str(MAX_FRAME_SAMPLES)}
    rate, channels, begin, n_kept = context.sample_rate, context.channels, 0, 0
    _check_stream(rate, channels)
    spans = deque(_sample_spans(spans_s, rate) or [(0, 2**63)])
    for frame in _frames(container, stream):
        _check_stream(frame.sample_rate, frame.layout.nb_channels)
        if frame.sample_rate != rate:
            raise _unreadable(f"its sample rate changes from {rate} to {frame.sample_rate} Hz")
        channels, end = max(channels, frame.layout.nb_channels), begin + frame.samples
        pieces = _cut(spans, begin, end)
        n_kept += sum(last - first for first, last in pieces)
        _check_length(n_kept, rate, channels, max_s)
        if pieces:
            samples = mixer.mix(frame)
            for first, last in pieces:
                yield Part(samples[first - begin : last - begin], rate, channels, mixer.channel)
        elif begin == 0:
            yield Part(np.zeros(0, np.float32), rate, channels, mixer.channel)  # tells that it can be decoded
        begin = end
        while spans and spans[0][1] <= begin:
            spans.popleft()
        if not spans:
            return


def _cut(spans: Iterable[tuple[int, int]], begin: int, end: int) -> list[tuple[int, int]]:
    """Return what of ascending spans, all of which end after `begin`, is from there to `end`."""
    return [(max(first, begin), min(last, end)) for first, last in takewhile(lambda span: span[0] < end, spans)]


def _sample_spans(spans_s: SpansS, rate: int) -> list[tuple[int, int]]:
    return [(round(begin_s * rate), round(end_s * rate)) for begin_s, end_s in spans_s]


def _streams(container: InputContainer, demuxer: str) -> list[AudioStream]:
    """Return the audio streams that may be decoded, by their headers."""
    if not container.streams.audio:
        raise _unreadable("the file holds no audio stream")
    # None, whatever PyAV's types say, for a codec that FFmpeg does not know.
    contexts: list[AudioCodecContext | None] = [stream.codec_context for stream in container.streams.audio]
    names = [context.name if context else "unknown" for context in contexts]
    if not DECODERS.intersection(names):
        raise _unreadable(f"the file holds {names[0]} audio, which this worker does not read")
    streams = [
        stream
        for stream, context, name in zip(container.streams.audio, contexts, names, strict=True)
        if name in DECODERS and context and context.sample_rate and context.channels
    ]
    if not streams:
        raise ReferenceUnreadable(
            f"the file looks like {demuxer}, but none of its audio can be decoded: it is damaged or incomplete; "
            "send it again from the original"
        )
    return streams


def _check_stream(rate: int, channels: int) -> None:
    if not 1 <= channels <= MAX_CHANNELS:
        raise ReferenceTooLarge(f"the recording has {channels} channels, at most {MAX_CHANNELS}; send it in mono")
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise ReferenceTooLarge(
            f"the recording's sample rate is {rate} Hz, accepted are {MIN_SAMPLE_RATE}..{MAX_SAMPLE_RATE}; "
            f"send it at {SAMPLE_RATE} Hz"
        )


def _check_length(samples: int, rate: int, channels: int, max_s: float) -> None:
    if samples > max_s * rate:
        raise ReferenceTooLarge(
            f"the recording is longer than {max_s:g} s ({variable('reference_decode_max_s')}; decoding "
            f"stopped at {samples / rate:.1f} s); send a clip of 5 to 12 s"
        )
    decoded = samples * channels * BYTES_PER_SAMPLE
    if decoded > MAX_DECODED_BYTES:
        raise ReferenceTooLarge(
            f"the recording decodes to more than {MAX_DECODED_BYTES} bytes (decoding stopped at {decoded}, "
            f"{channels} channels at {rate} Hz); send it in mono at {SAMPLE_RATE} Hz"
        )


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """Yield the frames that can be decoded; corrupt ones are skipped, a corrupt container ends the file."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except CORRUPT:
            continue


def _checked(samples: Samples) -> Samples:
    if not np.isfinite(samples).all():
        raise _unreadable("the file holds samples that are NaN or infinity")
    return limit_peak(samples, 1.0)  # float files and lossy codecs may exceed full scale


def _unreadable(what: str) -> ReferenceUnreadable:
    return ReferenceUnreadable(f"{what}; send {input_labels()}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
