"""The audio formats: AUDIO_FORMATS, which the worker encodes, and INPUT_CONTAINERS, which it decodes.

These are the only tables of either. The `Literal`s of the contracts repeat names for the type checker;
`tests/audio/test_formats.py` holds them equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

SAMPLE_RATES = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
OPUS_SAMPLE_RATES = (8_000, 16_000, 24_000, 48_000)  # of those in RFC 6716; players decode it at 48 kHz
_CONTAINER_OVERHEAD = 1.05  # of the bit rate: headers of frames and pages, and the last frame
_HEADER_BYTES = 3_000
_PCM_HEADER_BYTES = 100
_SAMPLE_BYTES = {"pcm_f32le": 4, "pcm_mulaw": 1, "pcm_alaw": 1}  # the others have 2, or fewer


class Codec(NamedTuple):
    """How FFmpeg encodes a format, by FFmpeg's names.

    The bit rate, in bits a second, is lowered to `bits_per_sample` where a sample rate does not allow it.
    """

    name: str
    container: str
    sample_format: str
    bit_rate: int | None = None
    bits_per_sample: float = 0.0
    options: Mapping[str, str] = MappingProxyType({})

    def bits_per_s(self, sample_rate: int) -> int | None:
        """Return the bit rate at a sample rate; None for a codec without loss."""
        return None if self.bit_rate is None else min(self.bit_rate, round(self.bits_per_sample * sample_rate))


class AudioFormat(NamedTuple):
    """An output format.

    extension: of its files; several formats may share one.
    sample_rates: in Hz, those that a job may ask for.
    openai, elevenlabs: its name as OpenAI's `response_format`, and the first part of its names as ElevenLabs'
        `output_format`, where it has one.
    """

    mime: str
    extension: str
    sample_rates: tuple[int, ...]
    codec: Codec
    openai: str | None = None
    elevenlabs: str | None = None

    @property
    def is_pcm(self) -> bool:
        """Return whether each sample is stored by itself: `max_bytes` is then exact but for the header."""
        return self.codec.name.startswith("pcm_")

    def max_bytes(self, sample_rate: int, duration_s: float) -> int:
        """Return a bound of the size of a file; measured with noise, tones, clicks and voices in each format."""
        bits_per_s = self.codec.bits_per_s(sample_rate)
        if bits_per_s is None:  # flac may store samples as they are
            sample_bytes = _SAMPLE_BYTES.get(self.codec.name, 2)
            header_bytes = _PCM_HEADER_BYTES if self.is_pcm else _HEADER_BYTES
            return round(sample_rate * duration_s) * sample_bytes + header_bytes
        return round(_CONTAINER_OVERHEAD * bits_per_s / 8 * duration_s) + _HEADER_BYTES


# MPEG 2.5 ends at 64 kbit/s and begins at 8 kHz. AAC has 6,144 bits for a frame of 1,024 samples (ISO 14496-3).
_MP3 = Codec("libmp3lame", "mp3", "fltp", bit_rate=128_000, bits_per_sample=8.0)
# Constrained: else Opus takes 1.2 to 1.6 times the rate for voices, and what was to fit a response may not.
_OPUS = Codec("libopus", "ogg", "flt", 64_000, 8.0, options=MappingProxyType({"vbr": "constrained"}))
_AAC = Codec("aac", "adts", "fltp", bit_rate=128_000, bits_per_sample=6.0)

AUDIO_FORMATS: Mapping[str, AudioFormat] = {
    "wav": AudioFormat(
        "audio/wav", "wav", SAMPLE_RATES, Codec("pcm_s16le", "wav", "s16"), openai="wav", elevenlabs="wav"
    ),
    "wav_f32": AudioFormat("audio/wav", "wav", SAMPLE_RATES, Codec("pcm_f32le", "wav", "flt")),
    "flac": AudioFormat("audio/flac", "flac", SAMPLE_RATES, Codec("flac", "flac", "s16"), openai="flac"),
    "mp3": AudioFormat("audio/mpeg", "mp3", SAMPLE_RATES, _MP3, openai="mp3", elevenlabs="mp3"),
    "opus": AudioFormat("audio/ogg", "opus", OPUS_SAMPLE_RATES, _OPUS, openai="opus", elevenlabs="opus"),
    "aac": AudioFormat("audio/aac", "aac", SAMPLE_RATES, _AAC, openai="aac"),
    # Not audio/L16: that is big-endian (RFC 2586).
    "pcm_s16le": AudioFormat(
        "audio/pcm", "pcm", SAMPLE_RATES, Codec("pcm_s16le", "s16le", "s16"), openai="pcm", elevenlabs="pcm"
    ),
    # G.711, as telephone networks carry it, raw.
    "ulaw": AudioFormat("audio/basic", "ulaw", (8_000,), Codec("pcm_mulaw", "mulaw", "s16"), elevenlabs="ulaw"),
    "alaw": AudioFormat("audio/x-alaw-basic", "alaw", (8_000,), Codec("pcm_alaw", "alaw", "s16"), elevenlabs="alaw"),
}
OPENAI_FORMATS: Mapping[str, str] = {
    audio_format.openai: name for name, audio_format in AUDIO_FORMATS.items() if audio_format.openai is not None
}
ELEVENLABS_FORMATS: Mapping[str, str] = {
    audio_format.elevenlabs: name for name, audio_format in AUDIO_FORMATS.items() if audio_format.elevenlabs is not None
}
MIME_BY_EXTENSION: Mapping[str, str] = {
    audio_format.extension: audio_format.mime for audio_format in AUDIO_FORMATS.values()
}


class ContainerFormat(NamedTuple):
    """A container of recordings that the worker reads.

    label: for messages. extension: of a file that the worker stores. extensions: of all files that it accepts.
    """

    label: str
    mime: str
    extension: str
    extensions: tuple[str, ...]


# By FFmpeg's name of the demuxer. Where a voice has several recordings the first in this order is used: the one
# that lost least.
INPUT_CONTAINERS: Mapping[str, ContainerFormat] = {
    "wav": ContainerFormat("WAV", "audio/wav", "wav", ("wav",)),
    "flac": ContainerFormat("FLAC", "audio/flac", "flac", ("flac",)),
    "aiff": ContainerFormat("AIFF", "audio/aiff", "aiff", ("aiff", "aif")),
    "mov": ContainerFormat("M4A/MP4/3GP", "audio/mp4", "m4a", ("m4a", "mp4", "mov", "qta", "3gp", "3ga")),
    "ogg": ContainerFormat("Ogg (Opus, Vorbis)", "audio/ogg", "ogg", ("opus", "ogg")),
    "matroska": ContainerFormat("WebM/Matroska", "audio/webm", "webm", ("webm", "mka")),
    "mp3": ContainerFormat("MP3", "audio/mpeg", "mp3", ("mp3",)),
    "aac": ContainerFormat("AAC", "audio/aac", "aac", ("aac",)),
    "amr": ContainerFormat("AMR", "audio/amr", "amr", ("amr", "awb")),
}
INPUT_EXTENSIONS = tuple(extension for container in INPUT_CONTAINERS.values() for extension in container.extensions)


def input_labels() -> str:
    """Return the formats of recordings that are read, for a message: `WAV, FLAC, ... or AAC`."""
    *others, last = (container.label for container in INPUT_CONTAINERS.values())
    return f"{', '.join(others)} or {last}"
