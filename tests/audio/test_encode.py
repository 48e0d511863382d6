"""What is encoded decodes to the promised duration, the same bytes each time."""

from __future__ import annotations

import functools
import io

import numpy as np
import pytest
import soundfile

from f5_worker.audio.decode import decode
from f5_worker.audio.encode import FORMATS, encode
from f5_worker.audio.levels import Samples
from tests.audio.signals import noise, same, silence, tone

LIMITS = {"max_bytes": 25_000_000, "max_s": 600.0}
EACH = [(name, rate) for name, format in FORMATS.items() for rate in format.sample_rates]
SIGNAL = tone(1.2345, 0.4, 330.0)


@functools.cache
def encoded(format: str, rate: int) -> bytes:
    return encode(SIGNAL, format, rate)


def decoded(data: bytes, format: str, rate: int) -> tuple[Samples, int]:
    if format == "pcm_s16le":
        return np.frombuffer(data, "<i2").astype(np.float32) / 2**15, rate
    audio = decode(data, **LIMITS)
    return audio.samples, audio.sample_rate


@pytest.mark.parametrize(("format", "rate"), EACH)
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
    assert same(samples[:n][inner], expected[:n][inner]) > (0.99 if format in ("mp3", "opus") else 0.9999)


@pytest.mark.parametrize(("format", "rate"), EACH)
def test_equal_samples_give_equal_bytes(format: str, rate: int) -> None:
    assert encode(SIGNAL.copy(), format, rate) == encoded(format, rate)


@pytest.mark.parametrize(("format", "rate"), EACH)
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


@pytest.mark.parametrize("format", FORMATS)
def test_full_scale_and_beyond_do_not_wrap(format: str) -> None:
    samples, _ = decoded(encode(np.sign(tone(0.2, hertz=100.0)) * np.float32(1.5), format, 24_000), format, 24_000)
    middle = samples[len(samples) // 2 - 300 : len(samples) // 2 + 300]
    assert np.abs(np.diff(middle)).max() <= 2.5
    assert np.abs(middle).max() > 0.9


@pytest.mark.parametrize("format", FORMATS)
def test_silence_is_silent(format: str) -> None:
    samples, _ = decoded(encode(silence(0.5), format, 24_000), format, 24_000)
    assert np.abs(samples).max() < 1e-4


def test_lossy_formats_are_small() -> None:
    ten_s = noise(10.0, 0.1)
    assert len(encode(ten_s, "mp3", 24_000)) == pytest.approx(160_000, rel=0.05)
    assert len(encode(ten_s, "opus", 24_000)) == pytest.approx(80_000, rel=0.25)


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_other_readers_agree(format: str) -> None:
    info = soundfile.info(io.BytesIO(encode(SIGNAL, format, 44_100)))
    assert (info.samplerate, info.channels, info.subtype) == (44_100, 1, "PCM_16")


@pytest.mark.parametrize(("format", "rate"), [("wave", 24_000), ("wav", 12_345), ("opus", 44_100), ("", 0)])
def test_what_is_not_offered_is_an_error(format: str, rate: int) -> None:
    with pytest.raises(ValueError, match="not offered"):
        encode(SIGNAL, format, rate)


@pytest.mark.parametrize("samples", [silence(0), np.array([0.0, np.nan], np.float32)])
def test_nothing_and_no_numbers_are_an_error(samples: Samples) -> None:
    with pytest.raises(ValueError, match="empty or hold"):
        encode(samples, "wav", 24_000)
