"""Encoded files decode to the exact duration and have the same bytes each time, whole or streamed."""

from __future__ import annotations

import functools
import io
import itertools
import struct
import tracemalloc
from collections.abc import Sequence

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from f5_worker.audio.decode import decode
from f5_worker.audio.encode import Encoder, encode
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.audio.levels import Samples
from tests.audio.signals import noise, same, silence, speech, tone

LIMITS = {"max_bytes": 25_000_000, "max_s": 600.0}
EACH = [(name, rate) for name, format in AUDIO_FORMATS.items() for rate in format.sample_rates]
# AAC has no place to say how much silence it begins with; see test_what_players_get_without_a_header.
EXACT = [(name, rate) for name, rate in EACH if name != "aac"]
PCM = ("wav", "wav_f32", "pcm_s16le", "ulaw", "alaw")
# A rate of each format.
ONE_RATE = [
    (name, 24_000 if 24_000 in format.sample_rates else format.sample_rates[0])
    for name, format in AUDIO_FORMATS.items()
]
AAC_FRAME, AAC_DELAY, MP3_DELAY = 1_024, 1_024, 1_105
# Seconds that are held back: by Opus a page or two of 0.2 s, by the others their frames, by the resampler its window.
HELD = [("flac", 0.25), ("mp3", 0.15), ("opus", 0.45), ("aac", 0.15), ("ulaw", 0.08), ("alaw", 0.08)]
SIGNAL = tone(1.2345, 0.4, 330.0)
SPEECH = np.concatenate([speech([0.11, 0.1], [0.05]), tone(0.2, 0.3, 500.0)])


@functools.cache
def encoded(format: str, rate: int) -> bytes:
    return encode(SIGNAL, format, rate)


def decoded(data: bytes, format: str, rate: int) -> tuple[Samples, int]:
    if format == "pcm_s16le":
        return np.frombuffer(data, "<i2").astype(np.float32) / 2**15, rate
    if format in ("ulaw", "alaw"):
        file = {"format": "RAW", "subtype": format.upper(), "samplerate": rate, "channels": 1}
        return soundfile.read(io.BytesIO(data), dtype="float32", **file)[0], rate
    audio = decode(data, **LIMITS)
    return audio.samples[AAC_DELAY if format == "aac" else 0 :], audio.sample_rate


def streamed(samples: Samples, format: str, rate: int, cuts: Sequence[int]) -> bytes:
    """Return all bytes that a listener is sent when `samples` are written in parts, cut at `cuts`."""
    encoder = Encoder(format, rate, streaming=True)
    edges = [0, *sorted(cuts), len(samples)]
    return b"".join([encoder.write(samples[a:b]) for a, b in itertools.pairwise(edges)]) + encoder.close()


@pytest.mark.parametrize(("format", "rate"), EXACT)
def test_the_duration_is_exact(format: str, rate: int) -> None:
    samples, decoded_rate = decoded(encoded(format, rate), format, rate)
    assert decoded_rate == (48_000 if format == "opus" else rate)
    # Within one sample of the encoded rate: far below a codec frame (20 ms in Opus, 24 to 72 ms in MP3).
    assert len(samples) / decoded_rate == pytest.approx(len(SIGNAL) / 24_000, abs=1.01 / rate)


@pytest.mark.parametrize(("format", "rate"), EACH)
def test_the_sound_is_kept_and_in_its_place(format: str, rate: int) -> None:
    samples, decoded_rate = decoded(encoded(format, rate), format, rate)
    expected = tone(1.2345, 0.4, 330.0, decoded_rate)
    inner = slice(decoded_rate // 10, -decoded_rate // 10)
    n = min(len(samples), len(expected))
    # A shift by 0.1 ms already lowers this below 0.98.
    assert same(samples[:n][inner], expected[:n][inner]) > (0.99 if format in ("mp3", "opus", "aac") else 0.9999)


@pytest.mark.slow
@pytest.mark.parametrize(("format", "rate"), EACH)
def test_equal_samples_give_equal_bytes(format: str, rate: int) -> None:
    assert encode(SIGNAL.copy(), format, rate) == encoded(format, rate)


@pytest.mark.slow
@pytest.mark.parametrize(("format", "rate"), EXACT)
def test_short_sounds_lose_nothing(format: str, rate: int) -> None:
    for n in (100, 501, 7_777, 23_999):
        samples, decoded_rate = decoded(encode(SIGNAL[:n], format, rate), format, rate)
        surplus_samples = (len(samples) / decoded_rate - n / 24_000) * rate
        assert -1.01 <= surplus_samples <= (47 if format == "mp3" else 1.01)


@pytest.mark.parametrize("format", ["wav", "flac", "pcm_s16le"])
def test_lossless_formats_keep_16_bits(format: str) -> None:
    signal = noise(0.5, 0.2)
    samples, _ = decoded(encode(signal, format, 24_000), format, 24_000)
    assert np.abs(samples - signal).max() <= 1.6 / 2**15  # half a step, and 32767 against 32768


def test_floats_are_kept_exactly() -> None:
    signal = noise(0.5, 0.2)
    assert np.array_equal(decoded(encode(signal, "wav_f32", 24_000), "wav_f32", 24_000)[0], np.clip(signal, -1, 1))


@pytest.mark.parametrize(("format", "rate"), ONE_RATE)
def test_full_scale_and_beyond_do_not_wrap(format: str, rate: int) -> None:
    samples, _ = decoded(encode(np.sign(tone(0.2, hertz=100.0)) * np.float32(1.5), format, rate), format, rate)
    middle = samples[len(samples) // 2 - 300 : len(samples) // 2 + 300]
    assert np.abs(np.diff(middle)).max() <= 2.5
    # AAC overshoots at the first edge by a third, and `decode` turns the whole down for it.
    assert np.abs(middle).max() > (0.6 if format == "aac" else 0.9)


@pytest.mark.parametrize(("format", "rate"), ONE_RATE)
def test_silence_is_silent(format: str, rate: int) -> None:
    samples, _ = decoded(encode(silence(0.5), format, rate), format, rate)
    assert np.abs(samples).max() < (1e-3 if format == "alaw" else 1e-4)  # A-law has no zero


def test_lossy_formats_are_small() -> None:
    three_s = noise(3.0, 0.1)
    assert len(encode(three_s, "mp3", 24_000)) == pytest.approx(48_000, rel=0.05)
    assert len(encode(three_s, "opus", 24_000)) == pytest.approx(24_000, rel=0.25)
    assert len(encode(three_s, "aac", 24_000)) == pytest.approx(48_000, rel=0.15)


@pytest.mark.parametrize(("format", "rate"), ONE_RATE)
def test_a_short_file_is_not_mostly_header(format: str, rate: int) -> None:
    assert len(encode(tone(0.05), format, rate)) < 5_000


@pytest.mark.parametrize("streaming", [True, False])
def test_a_sound_shorter_than_one_sample_of_the_file_is_a_file_without_any(streaming: bool) -> None:
    encoder = Encoder("wav", 8_000, streaming=streaming)
    data = encoder.write(silence(1 / 24_000)) + encoder.close()
    assert (len(data), data[:4]) == (44, b"RIFF")


@pytest.mark.parametrize(
    ("format", "subtype"),
    [("wav", "PCM_16"), ("wav_f32", "FLOAT"), ("flac", "PCM_16"), ("mp3", "MPEG_LAYER_III"), ("opus", "OPUS")],
)
def test_other_readers_agree(format: str, subtype: str) -> None:
    rate = 48_000
    with soundfile.SoundFile(io.BytesIO(encode(SIGNAL, format, rate))) as reader:
        assert (reader.samplerate, reader.channels, reader.subtype) == (rate, 1, subtype)
        assert len(reader.read()) == 2 * len(SIGNAL)


@pytest.mark.slow
@pytest.mark.parametrize(("format", "rate"), EACH)
@given(cuts=st.lists(st.integers(0, len(SPEECH)), max_size=12))
@settings(max_examples=2)
def test_cuts_change_no_byte(format: str, rate: int, cuts: list[int]) -> None:
    assert streamed(SPEECH, format, rate, cuts) == streamed(SPEECH, format, rate, [])


@pytest.mark.parametrize(("format", "rate"), [(name, rate) for name, rate in EACH if name in PCM])
def test_streamed_samples_are_those_of_the_whole_file(format: str, rate: int) -> None:
    whole, sent = encode(SPEECH, format, rate), streamed(SPEECH, format, rate, range(0, len(SPEECH), 1_234))
    assert np.array_equal(decoded(whole, format, rate)[0], decoded(sent, format, rate)[0])
    header_bytes = {"wav": 44, "wav_f32": 46}.get(format, 0)
    assert whole.endswith(sent[header_bytes:])


@pytest.mark.slow
@pytest.mark.parametrize(("format", "rate"), [(name, rate) for name, rate in EACH if name not in PCM])
def test_streamed_codecs_decode_to_what_the_whole_file_does(format: str, rate: int) -> None:
    whole, sent = encode(SPEECH, format, rate), streamed(SPEECH, format, rate, range(0, len(SPEECH), 1_234))
    expected, _ = decoded(whole, format, rate)
    samples, _ = decoded(sent, format, rate)
    begin = MP3_DELAY if format == "mp3" else 0
    np.testing.assert_allclose(samples[begin : begin + len(expected)], expected, atol=1e-6)
    if format != "mp3":
        assert len(samples) == len(expected)
    if format in ("opus", "aac"):
        assert sent == whole


@pytest.mark.parametrize("format", ["wav", "wav_f32"])
def test_a_streamed_wav_says_until_the_end(format: str) -> None:
    sent = streamed(SIGNAL, format, 24_000, [])
    at = sent.index(b"data") + 4
    assert (sent[4:8], sent[at : at + 4]) == (b"\xff" * 4, b"\xff" * 4)
    assert len(soundfile.read(io.BytesIO(sent))[0]) == len(SIGNAL)
    whole = encode(SIGNAL, format, 24_000)
    at = whole.index(b"data") + 4
    assert struct.unpack("<I", whole[4:8])[0] == len(whole) - 8
    assert struct.unpack("<I", whole[at : at + 4])[0] == len(whole) - at - 4


@pytest.mark.parametrize("rate", AUDIO_FORMATS["aac"].sample_rates)
def test_what_players_get_without_a_header(rate: int) -> None:
    """Silence of the codec's delay before the sound, and the rest of the last frame after it."""
    n = round(len(SIGNAL) * rate / 24_000)
    aac = decode(encode(SIGNAL, "aac", rate), **LIMITS).samples
    assert len(aac) == AAC_DELAY + -(-n // AAC_FRAME) * AAC_FRAME
    mp3 = decode(streamed(SIGNAL, "mp3", rate, []), **LIMITS).samples
    assert 0 <= len(mp3) - MP3_DELAY - n <= 2 * 1_152
    for samples, delay in ((aac, AAC_DELAY), (mp3, MP3_DELAY)):
        assert np.abs(samples[: delay - 300]).max() < 0.02
        shifted = samples[delay : delay + n][rate // 10 : -rate // 10]
        assert same(shifted, tone(1.2345, 0.4, 330.0, rate)[rate // 10 : -rate // 10]) > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("format", ["wav", "wav_f32", "flac", "mp3"])
@given(n=st.integers(200, 60_000))
@settings(max_examples=10)
def test_players_show_the_true_duration(format: str, n: int) -> None:
    with av.open(io.BytesIO(encode(np.resize(SIGNAL, n), format, 24_000))) as container:
        assert container.duration is not None
        surplus_samples = container.duration * 24_000 / 1e6 - n
        assert -0.1 <= surplus_samples <= (47 if format == "mp3" else 0.1)


@given(n=st.integers(1, 60_000))
@settings(max_examples=20)
def test_the_last_page_of_ogg_holds_the_true_duration(n: int) -> None:
    data = encode(np.resize(SIGNAL, n), "opus", 24_000)
    head, last_page = data.index(b"OpusHead"), data.rindex(b"OggS")
    (pre_skip,) = struct.unpack("<H", data[head + 10 : head + 12])
    (granule,) = struct.unpack("<q", data[last_page + 6 : last_page + 14])
    assert granule - pre_skip == 2 * n  # RFC 7845: in samples at 48 kHz


@pytest.mark.parametrize(("format", "held_s"), [(name, 0.0) for name in PCM if name not in dict(HELD)] + HELD)
def test_each_write_returns_what_can_be_sent(format: str, held_s: float) -> None:
    rate = dict(ONE_RATE)[format]
    encoder = Encoder(format, rate, streaming=True)
    sent = b""
    for second in range(3):
        sent += encoder.write(tone(1.0, hertz=300.0 + 100 * second))
        heard_s = len(decoded(sent, format, rate)[0]) / (48_000 if format == "opus" else rate)
        assert heard_s >= second + 1 - held_s


def test_a_file_whose_header_is_known_last_comes_at_the_end() -> None:
    encoder = Encoder("wav", 24_000, streaming=False)
    assert encoder.write(SIGNAL) == b""
    assert encoder.close() == encoded("wav", 24_000)


@pytest.mark.parametrize(("format", "rate"), ONE_RATE)
@pytest.mark.parametrize("streaming", [True, False])
def test_an_encoder_may_be_dropped_unclosed(format: str, rate: int, streaming: bool) -> None:
    encoder = Encoder(format, rate, streaming=streaming)
    encoder.write(SIGNAL)
    del encoder
    assert encode(SIGNAL, format, rate) == encoded(format, rate)


def test_memory_is_that_of_the_file_and_one_part() -> None:
    minutes = np.tile(SIGNAL, 200)  # 23.7 MB of samples
    tracemalloc.start()
    data = encode(minutes, "pcm_s16le", 24_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2.5 * len(data) + 2**23


@pytest.mark.parametrize(("format", "rate"), [("wave", 24_000), ("wav", 12_345), ("opus", 44_100), ("", 0)])
def test_what_is_not_offered_is_an_error(format: str, rate: int) -> None:
    with pytest.raises(ValueError, match="not offered"):
        encode(SIGNAL, format, rate)


@pytest.mark.parametrize("streaming", [True, False])
def test_empty_and_non_finite_input_is_an_error(streaming: bool) -> None:
    encoder = Encoder("wav", 24_000, streaming=streaming)
    with pytest.raises(ValueError, match="NaN or infinity"):
        encoder.write(np.array([0.0, np.nan], np.float32))
    encoder.write(silence(0))
    with pytest.raises(ValueError, match="no samples"):
        encoder.close()
    with pytest.raises(ValueError, match="no samples"):
        encode(silence(0), "wav", 24_000)
