"""Decode an untrusted recording to samples: in memory, within limits, by an explicit list of formats.

Legend: nw samples, c channels.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import av.error
import numpy as np
import soxr
from av import AudioCodecContext
from av.container import InputContainer
from numpy.typing import NDArray

from f5_worker.audio.formats import input_labels
from f5_worker.audio.levels import SAMPLE_RATE, Samples, limit_peak
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
MAX_ID3_TAGS = 16  # a tagger that appends instead of replacing leaves two

# FFmpeg has hundreds of decoders; a voice needs these. The list also stops FFmpeg from opening video
# decoders (a film, a picture in an MP3) while it probes the file.
DECODERS = frozenset(
    (
        *("aac", "alac", "flac", "mp2", "mp2float", "mp3", "mp3float", "opus", "libopus", "vorbis"),
        *("adpcm_ima_wav", "adpcm_ms", "pcm_alaw", "pcm_mulaw", "pcm_s8", "pcm_u8", "pcm_s16be", "pcm_s16le"),
        *("pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le"),
        *("pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le"),
    )
)
# Full scale of FFmpeg's sample formats (a trailing `p` means planar); 24 bits come in the upper part of s32.
FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "flt": 1.0, "dbl": 1.0}


@dataclass(frozen=True, eq=False)
class Audio:
    """A decoded recording: `samples` float32 `[nw]` in [-1, 1], all channels mixed into one.

    channels: of the file.
    """

    samples: Samples
    sample_rate: int
    channels: int

    @property
    def duration_s(self) -> float:
        """Return the length in seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a recording's audio: `samples` float32 `[nw]`, all channels mixed into one; not yet checked.

    channels: of the file.
    """

    samples: Samples
    sample_rate: int
    channels: int


def decode(data: bytes, *, max_bytes: int, max_s: float) -> Audio:
    """Decode the first audio stream of a file held in memory, in this process: see `isolated.decode` for a caller's.

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


def decode_parts(data: bytes, max_s: float) -> Iterator[Part]:
    """Yield the audio of a file frame by frame; its memory does not grow with the recording.

    Raises:
        ReferenceUnreadable, ReferenceTooLarge: as `decode`.
    """
    demuxer = sniff(data)
    try:
        yield from _decode(data[id3_bytes(data) :], demuxer, max_s)
    except (av.error.FFmpegError, UnicodeError, MemoryError) as error:
        raise _unreadable(f"the file looks like {demuxer} but cannot be opened ({_reason(error)})") from None


def join_parts(parts: Iterable[Part]) -> Audio:
    """Join the parts of a recording.

    Raises:
        ReferenceUnreadable: there is none, or samples are not numbers.
    """
    kept = list(parts)
    if not any(len(part.samples) for part in kept):
        raise _unreadable("the file holds no audio")
    samples = _checked(np.concatenate([part.samples for part in kept]))
    return Audio(samples, kept[0].sample_rate, max(part.channels for part in kept))


def to_model_rate(audio: Audio) -> Samples:
    """Resample a recording to the model's rate: float32 `[nw]` at 24 kHz."""
    if audio.sample_rate == SAMPLE_RATE:
        return audio.samples
    resampled = soxr.resample(audio.samples, audio.sample_rate, SAMPLE_RATE, quality="HQ")
    return limit_peak(np.asarray(resampled, np.float32), 1.0)  # the band limit overshoots at clipped peaks


def sniff(data: bytes) -> str:
    """Return the name of FFmpeg's demuxer for a file, a key of INPUT_CONTAINERS, by its first bytes.

    FFmpeg's own detection is never used: it also knows playlists (HLS, concat, SDP), which make it open other
    files and addresses.

    Raises:
        ReferenceUnreadable: none of the accepted formats.
    """
    if data[:3] == b"ID3":
        return _after_id3(data)
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] == b"FORM" and data[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    if data[4:8] == b"ftyp":
        return "mov"
    for magic, demuxer in ((b"fLaC", "flac"), (b"OggS", "ogg"), (b"\x1aE\xdf\xa3", "matroska")):
        if data.startswith(magic):
            return demuxer
    return _sniff_frame(data)


def id3_bytes(data: bytes) -> int:
    """Return the length of the ID3v2 tags in front of a file.

    FFmpeg never reads them: its dictionary of tags takes quadratic time, 21 s for a tag of 0.9 MB.

    Raises:
        ReferenceUnreadable: the file ends within the header of a tag, or has more than MAX_ID3_TAGS.
    """
    header, footer_flag = 10, 0x10
    begin, n_tags = 0, 0
    while data[begin : begin + 3] == b"ID3":
        n_tags += 1
        if n_tags > MAX_ID3_TAGS:
            raise _unreadable(f"the file begins with more than {MAX_ID3_TAGS} ID3 tags")
        head = data[begin : begin + header]
        if len(head) < header:
            raise _unreadable("the file ends within its first tag")
        size = (head[6] & 127) << 21 | (head[7] & 127) << 14 | (head[8] & 127) << 7 | (head[9] & 127)
        begin += header + size + (header if head[5] & footer_flag else 0)
    return begin


def _after_id3(data: bytes) -> str:
    """Return the demuxer for what follows the ID3v2 tags."""
    begin = id3_bytes(data)
    following = data[begin : begin + 4]
    if following == b"fLaC":
        return "flac"
    # Padding often follows a tag, so anything that is not clearly AAC is left to the MP3 demuxer's search.
    return "aac" if len(following) >= 2 and _is_adts(following) else "mp3"


def _sniff_frame(data: bytes) -> str:
    """Return the demuxer for MP3 or AAC without a container; both begin with 11 set bits."""
    if len(data) >= 4 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        if _is_adts(data):
            return "aac"
        version, layer, bit_rate, rate = data[1] >> 3 & 3, data[1] >> 1 & 3, data[2] >> 4, data[2] >> 2 & 3
        if version != 1 and layer != 0 and bit_rate != 15 and rate != 3:  # the reserved values
            return "mp3"
    raise _unreadable("the file is empty" if not data else "the file's format is not one that this worker reads")


def _is_adts(data: bytes) -> bool:
    return data[0] == 0xFF and data[1] & 0xF6 == 0xF0


def _decode(data: bytes, demuxer: str, max_s: float) -> Iterator[Part]:
    options = {
        "codec_whitelist": ",".join(sorted(DECODERS)),
        "protocol_whitelist": "none",  # the file object is open already; nothing else may be opened
    }
    file = io.BytesIO(data)
    with av.open(file, "r", format=demuxer, options=options, metadata_errors="replace") as container:
        rate, channels = _inspect(container)
        samples = 0
        for frame in _frames(container):
            _check_stream(frame.sample_rate, frame.layout.nb_channels)
            if frame.sample_rate != rate:
                raise _unreadable(f"its sample rate changes from {rate} to {frame.sample_rate} Hz")
            samples += frame.samples
            channels = max(channels, frame.layout.nb_channels)
            _check_length(samples, rate, channels, max_s)
            yield Part(_mix(frame), rate, channels)


def _inspect(container: InputContainer) -> tuple[int, int]:
    """Return the sample rate and the channels of the first audio stream, as its header gives them."""
    if not container.streams.audio:
        raise _unreadable("the file holds no audio stream")
    # None, whatever PyAV's types say, for a codec that FFmpeg does not know.
    context: AudioCodecContext | None = container.streams.audio[0].codec_context
    if context is None or context.name not in DECODERS:
        name = context.name if context else "unknown"
        raise _unreadable(f"the file holds {name} audio, which this worker does not read")
    context.options = {"max_samples": str(MAX_FRAME_SAMPLES)}
    _check_stream(context.sample_rate, context.channels)
    return context.sample_rate, context.channels


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


def _frames(container: InputContainer) -> Iterator[av.AudioFrame]:
    """Yield the frames that can be decoded; corrupt ones are skipped, a corrupt container ends the file."""
    packets = container.demux(container.streams.audio[0])
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:
            return
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue


def _mix(frame: av.AudioFrame) -> Samples:
    """Return one frame as float32 `[nw]`, the mean of its channels."""
    sample_format = frame.format.name.removesuffix("p")
    if sample_format not in FULL_SCALE:
        raise _unreadable(f"its sample format is {frame.format.name}, which this worker does not read")
    raw: NDArray[np.generic] = frame.to_ndarray()  # planar [c, nw], packed [1, nw * c]
    values = raw if frame.format.is_planar else raw.reshape(-1, frame.layout.nb_channels).T
    with np.errstate(over="ignore", invalid="ignore"):  # infinities are refused at the end
        mixed = values.astype(np.float64).mean(axis=0) - (FULL_SCALE["u8"] if sample_format == "u8" else 0.0)
        return np.asarray(mixed / FULL_SCALE[sample_format], np.float32)


def _checked(samples: Samples) -> Samples:
    if not np.isfinite(samples).all():
        raise _unreadable("the file holds samples that are NaN or infinity")
    return limit_peak(samples, 1.0)  # float files and lossy codecs may exceed full scale


def _unreadable(what: str) -> ReferenceUnreadable:
    return ReferenceUnreadable(f"{what}; send {input_labels()}")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
