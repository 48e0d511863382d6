"""Faults of a recording are measured and reported; a good recording has none."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import soundfile

from f5_worker.audio.decode import Audio, decode
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.errors import InvalidInput, ReferenceUnreadable
from f5_worker.reference.clip import detect_speech
from f5_worker.reference.prepare import examine, prepare
from f5_worker.reference.report import VoiceReport
from f5_worker.settings import Settings
from tests.audio.signals import file, muxed, noise, same, silence, speech, words
from tests.conftest import TINY

SETTINGS = Settings()
PACE = 14.0


def low_passed(seconds: float, hertz: float, rate: int = SAMPLE_RATE) -> Samples:
    """Noise that ends at a frequency, as a converted telephone recording does."""
    spectrum = np.fft.rfft(noise(seconds, rate=rate))
    spectrum[round(hertz * seconds) :] = 0.0
    return np.fft.irfft(spectrum).astype(np.float32)


def report_of(
    samples: np.ndarray, speech_s: float | None = None, rate: int = SAMPLE_RATE, pace: float = PACE
) -> VoiceReport:
    length_s = len(samples) / rate if speech_s is None else speech_s
    return examine(file(samples, rate), words(round(length_s * pace)), SETTINGS)


class TestMeasures:
    def test_a_good_clip(self) -> None:
        report = report_of(speech([3.0, 3.0], [0.5]), 6.0)
        assert (report.verdict, report.reasons) == ("good", ())
        assert report.duration_s == 6.5
        assert report.clip_start_s == 0.0
        assert report.clip_s == pytest.approx(6.55, abs=0.03)
        assert report.sample_rate == SAMPLE_RATE
        assert report.silence_share == pytest.approx(0.5 / 6.5, abs=0.01)
        assert report.chars_per_s == pytest.approx(PACE, abs=0.2)
        assert (report.clipped_share, report.agreement, report.language) == (0.0, None, None)

    def test_it_is_the_report_of_prepare(self) -> None:
        data = file(speech([3.0, 3.0], [0.5], level=0.01) + noise(6.5, 0.002, seed=5))
        reference = prepare(data, words(84), SETTINGS, language="en")
        assert reference.report == examine(data, words(84), SETTINGS, language="en")
        assert reference.warnings == reference.report.reasons != ()
        assert reference.language == "en"

    @pytest.mark.parametrize("snr_db", [12, 15, 30, 50])
    def test_noise(self, snr_db: float) -> None:
        clip = speech([3.0, 3.0], [0.6])
        report = report_of(clip + noise(6.6, 0.1 * 10 ** (-snr_db / 20), seed=7), 6.0)
        assert report.snr_db == pytest.approx(snr_db, abs=0.15)
        assert report.verdict == ("usable" if snr_db < 20 else "good")
        assert any(f"only {report.snr_db:.0f} dB below" in reason for reason in report.reasons) == (snr_db < 20)

    def test_much_noise_makes_a_poor_clip(self) -> None:
        clip = speech([3.0, 3.0], [0.6])
        clip *= np.where(np.arange(len(clip)) // 1_200 % 10 == 0, 1.0, 0.4).astype(np.float32)
        report = report_of(clip + noise(6.6, 0.025, seed=7), 6.0)
        assert report.snr_db is not None
        assert report.snr_db < 10
        assert report.verdict == "poor"

    def test_without_pauses_the_noise_is_not_known(self) -> None:
        assert report_of(noise(5.0)).snr_db is None

    def test_without_noise_the_ratio_is_bounded(self) -> None:
        assert report_of(speech([3.0, 3.0], [0.6]), 6.0).snr_db == 90.0

    @pytest.mark.parametrize(("hertz", "verdict"), [(3_400, "usable"), (7_500, "good")])
    def test_bandwidth(self, hertz: float, verdict: str) -> None:
        report = report_of(low_passed(5.0, hertz))
        assert report.bandwidth_hz == pytest.approx(hertz, abs=60)
        assert report.verdict == verdict
        assert any("holds nothing above" in reason for reason in report.reasons) == (verdict == "usable")

    def test_the_band_ends_where_the_recording_does_not_the_model(self) -> None:
        assert report_of(noise(5.0, rate=8_000), rate=8_000).bandwidth_hz == pytest.approx(4_000, abs=10)
        assert report_of(noise(5.0, rate=48_000), rate=48_000).bandwidth_hz == pytest.approx(24_000, abs=50)

    @pytest.mark.parametrize(
        ("pace", "words_of_reason"), [(5.0, "speak as slowly"), (26.0, "speak as fast"), (14.0, "")]
    )
    def test_pace(self, pace: float, words_of_reason: str) -> None:
        report = report_of(noise(5.0), pace=pace)
        assert report.chars_per_s == pytest.approx(pace, abs=0.3)
        assert words_of_reason in " ".join(report.reasons)
        assert bool(report.reasons) == bool(words_of_reason)

    def test_only_the_part_that_is_used_counts(self) -> None:
        sentences_s, pauses_s = (4.0, 4.0, 5.0, 4.5), (0.5,) * 3
        samples = speech(sentences_s, pauses_s)
        samples[14 * SAMPLE_RATE :: 7] = 1.0
        text = " ".join(words(round(length_s * PACE)) + "." for length_s in sentences_s)
        report = examine(file(samples), text, SETTINGS)
        assert report.clip_start_s == pytest.approx(0.0, abs=0.1)
        assert report.clip_s < 9.0
        assert report.clipped_share == 0.0
        assert report.duration_s == 19.0

    def test_where_the_part_begins(self) -> None:
        silence = np.zeros(SAMPLE_RATE, np.float32)
        report = report_of(np.concatenate([silence, speech([3.0, 3.0], [0.5])]), 6.5)
        assert report.clip_start_s == pytest.approx(1.0, abs=0.2)

    def test_it_can_be_sent(self) -> None:
        sent = json.loads(report_of(noise(5.0)).model_dump_json())
        assert sent["verdict"] == "good"
        assert sent["reasons"] == []


class TestOffset:
    """A constant or drifting offset is taken out before anything is measured or cloned."""

    WORDS = (TINY / "voices" / "joe.txt").read_text()
    CLIP = decode((TINY / "voices" / "joe.wav").read_bytes(), max_bytes=10**7, max_s=60).samples
    TIME_S = np.arange(len(CLIP)) / SAMPLE_RATE

    @pytest.mark.parametrize(
        ("offset", "said"),
        [
            (0.003, "0.3%"),
            (-0.01, "1.0%"),
            (0.2, "20.0%"),
            (0.03 * np.sin(2 * np.pi * 0.2 * TIME_S), "2.1%"),
            (np.where(TIME_S < 2.0, 0.02, -0.04), "3.2%"),
        ],
        ids=["little", "usual", "much", "drifting", "jumping"],
    )
    def test_it_is_removed_and_named(self, offset: float | np.ndarray, said: str) -> None:
        clean = prepare(file(self.CLIP), self.WORDS, SETTINGS)
        shifted = prepare(file(self.CLIP + offset, subtype="FLOAT"), self.WORDS, SETTINGS)
        assert shifted.report.repairs == (f"an offset of {said} of full scale was removed from the recording",)
        assert shifted.warnings == shifted.report.repairs
        assert shifted.report.verdict == clean.report.verdict == "good"
        assert shifted.report.snr_db is not None
        assert clean.report.snr_db is not None
        assert shifted.report.snr_db > clean.report.snr_db - 2.0
        assert same(shifted.samples, clean.samples) > 0.99

    def test_a_recording_without_one_is_unchanged(self) -> None:
        clip = detect_speech(Audio(self.CLIP, SAMPLE_RATE, 1))
        assert clip.recording is self.CLIP
        assert clip.repairs == ()

    def test_clipping_is_measured_in_what_was_sent(self) -> None:
        clipped = np.clip(3.0 * self.CLIP + 0.2, -1.0, 1.0)
        report = examine(file(clipped, subtype="FLOAT"), self.WORDS, SETTINGS)
        assert report.clipped_share > 0.01
        assert len(report.repairs) == 1


class TestInputs:
    """Each kind of recording that people send."""

    def test_silent(self) -> None:
        report = examine(file(silence(5.0)), words(60), SETTINGS)
        assert report.verdict == "poor"
        assert report.reasons == (
            "the recording is silent: its loudest parts are at -120.0 dBFS, at least -60 is needed; "
            "record it closer to the microphone",
        )
        assert (report.duration_s, report.silence_share, report.bandwidth_hz) == (5.0, 1.0, 0.0)
        assert (report.snr_db, report.chars_per_s) == (None, None)

    def test_clipped(self) -> None:
        report = report_of(np.clip(noise(5.0, 0.8), -1, 1))
        assert report.verdict == "poor"
        assert report.clipped_share == pytest.approx(0.21, abs=0.02)
        assert "21.1% of the clip is clipped" in report.reasons[0]
        slightly = noise(5.0)
        slightly[::500] = 1.0
        assert report_of(slightly).verdict == "usable"

    def test_8_khz(self) -> None:
        report = report_of(noise(5.0, rate=8_000), rate=8_000)
        assert report.verdict == "usable"
        assert report.reasons == ("the recording has 8000 Hz; send 16000 Hz or more",)

    @pytest.mark.parametrize("channels", [2, 5])
    def test_channels_are_mixed(self, channels: int) -> None:
        report = report_of(np.repeat(speech([3.0, 3.0], [0.5])[:, None], channels, axis=1), 6.0)
        assert report == report_of(speech([3.0, 3.0], [0.5]), 6.0)

    def test_amr_of_a_telephone(self) -> None:
        sound = speech([3.0, 3.0], [0.5])[::3].copy()
        report = examine(muxed(sound, "amr", "libopencore_amrnb", 8_000), words(84), SETTINGS)
        assert report.verdict == "usable"
        assert "the recording has 8000 Hz; send 16000 Hz or more" in report.reasons

    def test_channels_out_of_phase(self) -> None:
        sound = speech([3.0, 3.0], [0.5])
        report = report_of(np.stack([0.9 * sound, -sound], axis=1), 6.0)
        assert report.verdict == "good"
        assert report.repairs == (
            "the channels of the recording cancel each other when they are mixed; only channel 2 of 2 is used",
        )
        assert report.model_copy(update={"repairs": ()}) == report_of(sound, 6.0)

    def test_a_fifth_of_a_second(self) -> None:
        report = report_of(noise(0.2))
        assert report.verdict == "poor"
        assert "0.20 s of speech, at least 1 s is needed" in report.reasons[0]
        assert report.duration_s == 0.2

    def test_two_seconds(self) -> None:
        assert report_of(noise(2.0)).verdict == "usable"
        assert report_of(noise(1.2)).verdict == "poor"

    @pytest.mark.slow
    def test_ten_minutes(self) -> None:
        lengths_s, pauses_s = [4.0] * 133, [0.5] * 132
        samples = speech(lengths_s, pauses_s)
        text = " ".join(words(round(4.0 * PACE)) + "." for _ in lengths_s)
        report = examine(file(samples, format="MP3"), text, SETTINGS)
        assert report.duration_s == pytest.approx(598.0, abs=0.2)
        assert report.verdict == "good"
        assert 3.0 < report.clip_s <= 12.0

    def test_mismatched(self) -> None:
        report = report_of(noise(5.0), pace=100.0)
        assert report.verdict == "poor"
        assert "100.0 letters a second" in report.reasons[0]

    def test_without_words_the_sound_is_judged(self) -> None:
        report = examine(file(speech([3.0, 3.0], [0.5])), None, SETTINGS)
        assert (report.verdict, report.chars_per_s) == ("good", None)

    def test_other_files_are_refused(self) -> None:
        with pytest.raises(ReferenceUnreadable):
            examine(b"<html>", "hello", SETTINGS)
        with pytest.raises(InvalidInput):
            examine(file(noise(5.0)), "...", SETTINGS)

    def test_all_measurements_are_finite(self) -> None:
        rng = np.random.default_rng(0)
        for samples in (np.ones(48_000), np.sign(rng.standard_normal(48_000)), silence(0.01), noise(3.0, 1e-5)):
            out = io.BytesIO()
            soundfile.write(out, samples, SAMPLE_RATE, format="WAV", subtype="FLOAT")
            text = examine(out.getvalue(), words(28), SETTINGS).model_dump_json()
            assert "NaN" not in text
            assert "Infinity" not in text
