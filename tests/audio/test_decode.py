"""Every format decodes with its length and shape, and every limit names the measured value."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.audio.decode import Audio, decode, to_model_rate
from f5_worker.audio.sniff import locate
from f5_worker.errors import ReferenceProblem, ReferenceTooLarge, ReferenceUnreadable
from tests.audio.signals import amr_wb, file, muxed, noise, same, silence, tone, tracks

LIMITS = {"max_bytes": 25_000_000, "max_s": 600.0}


@pytest.mark.parametrize(
    ("format", "subtype", "rate"),
    [
        ("WAV", "PCM_16", 24_000),
        ("WAV", "PCM_24", 48_000),
        ("WAV", "PCM_32", 96_000),
        ("WAV", "PCM_U8", 8_000),
        ("WAV", "FLOAT", 44_100),
        ("WAV", "DOUBLE", 22_050),
        ("WAV", "ULAW", 8_000),
        ("WAV", "IMA_ADPCM", 16_000),
        ("RF64", "PCM_16", 24_000),
        ("AIFF", "PCM_24", 24_000),
        ("FLAC", "PCM_16", 24_000),
        ("FLAC", "PCM_24", 192_000),
        ("OGG", "VORBIS", 44_100),
        ("OGG", "OPUS", 48_000),
        ("MP3", "MPEG_LAYER_III", 24_000),
    ],
)
def test_each_format_keeps_length_and_shape(format: str, subtype: str, rate: int) -> None:
    signal = tone(1.5, rate=rate)
    audio = decode(file(signal, rate, format, subtype), **LIMITS)
    assert (audio.sample_rate, audio.channels) == (rate, 1)
    assert audio.samples.dtype == np.float32
    exact = subtype.startswith(("PCM", "FLOAT", "DOUBLE"))
    assert audio.duration_s == pytest.approx(1.5, abs=1e-4 if exact else 0.1)
    if exact:
        assert np.abs(audio.samples - signal).max() < 0.01


@pytest.mark.parametrize(
    ("container", "codec", "demuxer"),
    [
        ("mp4", "aac", "mov"),
        ("mov", "alac", "mov"),
        ("matroska", "pcm_s16le", "matroska"),
        ("webm", "libopus", "matroska"),
        ("adts", "aac", "aac"),
        ("mp3", "libmp3lame", "mp3"),
        ("ogg", "libopus", "ogg"),
    ],
)
def test_each_container_is_known_by_its_first_bytes(container: str, codec: str, demuxer: str) -> None:
    data = muxed(tone(1.0, rate=48_000), container, codec)
    assert locate(data).demuxer == demuxer
    assert decode(data, **LIMITS).duration_s == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("container", ["amr", "3gp"])
def test_a_telephones_recording_has_its_8_khz(container: str) -> None:
    audio = decode(muxed(tone(1.0, rate=8_000), container, "libopencore_amrnb", 8_000), **LIMITS)
    assert (audio.sample_rate, audio.channels) == (8_000, 1)
    assert audio.duration_s == pytest.approx(1.0, abs=0.05)
    assert max(same(audio.samples[lag:], tone(1.0, rate=8_000)) for lag in range(60)) > 0.95  # the codec delays


def test_wide_band_speech_of_a_telephone() -> None:
    audio = decode(amr_wb(1.0), **LIMITS)
    assert (audio.sample_rate, audio.duration_s) == (16_000, 1.0)


@pytest.mark.parametrize("first", ["ac3", "wavpack"])
def test_the_first_track_that_can_be_decoded_is_read(first: str) -> None:
    sound = tone(1.0, rate=48_000)
    audio = decode(tracks("matroska", first, "aac", samples=sound), **LIMITS)
    assert audio.duration_s == pytest.approx(1.0, abs=0.06)
    with pytest.raises(ReferenceUnreadable, match=f"holds {first} audio"):
        decode(tracks("matroska", first, samples=sound), **LIMITS)


def test_a_track_of_an_unknown_codec_is_passed_over() -> None:
    data = tracks("mov", "aac", "aac", samples=tone(1.0, rate=48_000))
    at = data.index(b"mp4a", data.index(b"stsd"))
    spatial = data[:at] + b"apac" + data[at + 4 :]  # as an iPhone writes it
    assert decode(spatial, **LIMITS).duration_s == pytest.approx(1.0, abs=0.06)


def test_a_track_that_gives_nothing_is_passed_over() -> None:
    data = bytearray(tracks("matroska", "flac", "pcm_s16le", samples=tone(1.0, rate=48_000)))
    for at in (match.start() for match in re.finditer(rb"\xff\xf8", bytes(data))):
        data[at] = 0  # the sync code of each frame of FLAC
    assert decode(bytes(data), **LIMITS).duration_s == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("payload", [bytes(2_000), b"\xff\xf1\x50\x80\x10\x1f\xfc" * 300, bytes(range(256)) * 20])
def test_a_damaged_file_is_said_to_be_one(payload: bytes) -> None:
    with pytest.raises(ReferenceUnreadable, match="looks like aac, but none of its audio can be decoded"):
        decode(b"\xff\xf1\x50\x80" + payload, **LIMITS)


def test_mp3_without_any_tag_is_found_by_its_frame() -> None:
    data = muxed(tone(1.0, rate=48_000), "mp3", "libmp3lame")
    bare = data[data.index(b"\xff\xfb") :]
    assert locate(bare).demuxer == "mp3"
    assert decode(bare, **LIMITS).duration_s == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize(
    ("container", "codec", "demuxer"),
    [("adts", "aac", "aac"), ("flac", "flac", "flac"), ("mp3", "libmp3lame", "mp3")],
)
def test_a_tag_may_precede_other_formats(container: str, codec: str, demuxer: str) -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128)
    data = muxed(tone(1.0, rate=48_000), container, codec)
    data = tag + (data[data.index(b"\xff\xfb") :] if demuxer == "mp3" else data)
    assert locate(data).demuxer == demuxer
    assert decode(data, **LIMITS).duration_s == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("n_tags", [1, 2, 16])
def test_several_tags_may_precede_an_mp3(n_tags: int) -> None:
    data = muxed(tone(1.0, rate=48_000), "mp3", "libmp3lame")
    tags = n_tags * (b"ID3\x04\x00\x00\x00\x00\x01\x00" + bytes(128))
    assert decode(tags + data[data.index(b"\xff\xfb") :], **LIMITS).duration_s == pytest.approx(1.0, abs=0.06)


def test_a_file_of_tags_is_refused_at_once() -> None:
    with pytest.raises(ReferenceUnreadable, match="more than 16 tags"):
        decode(1_000_000 * b"ID3\x04\x00\x00\x00\x00\x00\x00", **LIMITS)


def test_an_mp3_with_a_cover_picture_is_audio_only() -> None:
    picture = b"\x00image/png\x00\x03\x00\x89PNG\r\n\x1a\n" + bytes(200)
    frame = b"APIC" + struct.pack(">I", len(picture)) + b"\x00\x00" + picture
    tag = b"ID3\x03\x00\x00" + bytes([0, 0, len(frame) >> 7, len(frame) & 127]) + frame
    data = muxed(tone(1.0, rate=48_000), "mp3", "libmp3lame")
    assert decode(tag + data[data.index(b"\xff\xfb") :], **LIMITS).duration_s == pytest.approx(1.0, abs=0.06)


def test_channels_are_averaged() -> None:
    five = np.stack([tone(0.5, level) for level in (0.1, 0.2, 0.3, 0.4, 0.5)], axis=1)
    audio = decode(file(five), **LIMITS)
    assert audio.channels == 5
    np.testing.assert_allclose(audio.samples, tone(0.5, 0.3), atol=1e-4)


def test_planar_channels_are_averaged() -> None:
    audio = decode(muxed(tone(1.0, rate=48_000), "ogg", "libopus", layout="stereo"), **LIMITS)
    assert audio.channels == 2
    assert np.abs(audio.samples).max() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("other", [0.0, 0.3, 1.0, -0.3, "noise"])
def test_ordinary_stereo_is_the_mean_of_its_channels_to_the_bit(other: float | str) -> None:
    left = (noise(1.0) + 0.05).astype(np.float32)
    right = noise(1.0, seed=1) if isinstance(other, str) else (other * left).astype(np.float32)
    audio = decode(file(np.stack([left, right], axis=1), subtype="FLOAT"), **LIMITS)
    assert audio.channel is None
    expected = np.stack([left, right]).astype(np.float64).mean(axis=0).astype(np.float32)
    assert np.array_equal(audio.samples, expected)


@pytest.mark.parametrize(("levels", "channel"), [((1.0, -1.0), 0), ((-0.8, 1.0), 1), ((0.5, 0.4, -0.9), 2)])
@pytest.mark.parametrize("offset", [0.0, 0.2])
def test_of_channels_that_cancel_each_other_the_loudest_is_taken(
    levels: tuple[float, ...], channel: int, offset: float
) -> None:
    voice = noise(2.0)
    channels = np.stack([level * voice + offset for level in levels], axis=1)
    audio = decode(file(channels, subtype="FLOAT"), **LIMITS)
    assert (audio.channel, audio.channels) == (channel, len(levels))
    np.testing.assert_array_equal(audio.samples, channels[:, channel].astype(np.float32))


def test_channels_of_a_lossy_codec_cancel_as_well() -> None:
    sound = noise(1.0, rate=48_000)
    audio = decode(muxed(np.stack([sound, -sound]), "mp3", "libmp3lame", layout="stereo"), **LIMITS)
    assert audio.channel is not None
    assert np.abs(audio.samples).max() > 0.1


def test_silence_in_stereo_is_silence() -> None:
    audio = decode(file(np.zeros((24_000, 2), np.float32)), **LIMITS)
    assert audio.channel is None
    assert not audio.samples.any()


def test_samples_above_full_scale_are_attenuated_as_a_whole() -> None:
    audio = decode(file(tone(0.5, 8.0), subtype="FLOAT"), **LIMITS)
    assert np.abs(audio.samples).max() <= 1.0
    assert same(audio.samples, tone(0.5)) > 0.9999


def test_an_offset_is_kept() -> None:
    audio = decode(file(np.full(24_000, 0.25, np.float32)), **LIMITS)
    np.testing.assert_allclose(audio.samples, 0.25, atol=1e-4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_non_finite_values_are_refused(value: float, subtype: str) -> None:
    signal = tone(0.5)
    signal[100] = value
    with pytest.raises(ReferenceUnreadable, match="NaN or infinity"):
        decode(file(signal, subtype=subtype), **LIMITS)


def test_doubles_beyond_float32_are_refused() -> None:
    signal = tone(0.5).astype(np.float64)
    signal[100] = 1e300
    with pytest.raises(ReferenceUnreadable, match="NaN or infinity"):
        decode(file(signal, subtype="DOUBLE"), **LIMITS)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3", "OGG", "AIFF"])
def test_a_file_cut_off_gives_what_is_there(format: str) -> None:
    data = file(tone(10.0), 24_000, format)
    audio = decode(data[: len(data) * 6 // 10], **LIMITS)
    assert 3.0 < audio.duration_s < 7.0


def test_corrupt_frames_in_the_middle_are_skipped() -> None:
    data = bytearray(file(np.tile(tone(2.0), 2), format="FLAC"))
    data[len(data) // 2 : len(data) // 2 + 400] = bytes(400)
    assert 3.0 < decode(bytes(data), **LIMITS).duration_s <= 4.1


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [(bytes, "no audio that can be decoded: it is empty or damaged"), (np.random.default_rng(0).bytes, "damaged")],
    ids=["zeros", "noise"],
)
def test_a_file_without_its_sound_is_said_to_be_damaged(spoilt: Callable[[int], bytes], words: str) -> None:
    data = muxed(tone(2.0, rate=48_000), "mp4", "aac")
    begin, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    with pytest.raises(ReferenceUnreadable, match=words):
        decode(data[:begin] + spoilt(end - begin) + data[end:], **LIMITS)


def test_empty_files_are_unreadable() -> None:
    with pytest.raises(ReferenceUnreadable, match="empty"):
        decode(b"", **LIMITS)
    with pytest.raises(ReferenceUnreadable, match="no audio"):
        decode(file(silence(0)), **LIMITS)


def test_video_without_sound_is_unreadable() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as target:
        stream = target.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        target.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        target.mux(stream.encode(None))
    with pytest.raises(ReferenceUnreadable, match="no audio stream"):
        decode(out.getvalue(), **LIMITS)


def test_the_limit_on_bytes_is_named() -> None:
    with pytest.raises(ReferenceTooLarge, match=r"1001 bytes, at most 1000 \(F5_REFERENCE_MAX_BYTES\)"):
        decode(bytes(1001), max_bytes=1000, max_s=600)


def test_the_limit_on_seconds_is_named_and_exact() -> None:
    data = file(tone(2.0))
    assert decode(data, max_bytes=10**6, max_s=2.0).duration_s == 2.0
    with pytest.raises(ReferenceTooLarge, match=r"longer than 1.9 s \(F5_REFERENCE_DECODE_MAX_S"):
        decode(data, max_bytes=10**6, max_s=1.9)


@pytest.mark.parametrize("rate", [4_000, 7_999, 192_001, 400_000])
def test_the_limits_on_rate_are_named(rate: int) -> None:
    with pytest.raises(ReferenceTooLarge, match=f"{rate} Hz, accepted are 8000..192000"):
        decode(file(tone(0.5), rate), **LIMITS)


def test_the_limit_on_channels_is_named() -> None:
    with pytest.raises(ReferenceTooLarge, match="9 channels, at most 8"):
        decode(file(np.zeros((2_400, 9), np.float32)), **LIMITS)


def test_a_decoder_outside_the_list_is_not_used() -> None:
    with pytest.raises(ReferenceUnreadable, match="wavpack"):
        decode(muxed(tone(1.0, rate=48_000), "matroska", "wavpack"), **LIMITS)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100, 96_000])
def test_the_model_rate_keeps_duration_and_pitch(rate: int) -> None:
    samples = to_model_rate(Audio(tone(1.0, 0.5, 440.0, rate), rate, 1))
    assert samples.dtype == np.float32
    assert len(samples) == pytest.approx(24_000, abs=1)
    assert same(samples[1_000:-1_000], tone(1.0, 0.5, 440.0)[1_000:-1_000]) > 0.999


def test_the_model_rate_stays_within_full_scale() -> None:
    square = np.sign(tone(1.0, rate=48_000)).astype(np.float32)
    assert np.abs(to_model_rate(Audio(square, 48_000, 1))).max() <= 1.0


@given(st.binary(max_size=300), st.sampled_from([b"", b"RIFF\x00\x00\x00\x00WAVE", b"fLaC", b"OggS", b"ID3\x04"]))
def test_random_bytes_are_a_problem_of_the_reference(data: bytes, magic: bytes) -> None:
    with pytest.raises(ReferenceProblem):
        decode(magic + data, **LIMITS)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_flipped_bytes_never_break_the_decoder(seed: int, flips: int) -> None:
    generator = np.random.default_rng(seed)
    data = np.frombuffer(SMALL_FLAC, np.uint8).copy()
    data[generator.integers(0, len(data), flips)] = generator.integers(0, 256, flips, dtype=np.uint8)
    try:
        audio = decode(data.tobytes(), **LIMITS)
    except ReferenceProblem:
        return
    assert np.isfinite(audio.samples).all()


SMALL_FLAC = file(tone(0.2), format="FLAC")
