"""A clip and its words stay together; those that cannot belong together are refused with the measured values."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.audio.levels import SAMPLE_RATE, Samples, rms
from f5_worker.errors import (
    InvalidInput,
    ReferenceProblem,
    ReferenceSilent,
    ReferenceTooLong,
    ReferenceTooShort,
    ReferenceUnreadable,
    TranscriptMismatch,
    TranscriptNeeded,
)
from f5_worker.reference.pauses import _match_certainty
from f5_worker.reference.prepare import Reference, prepare
from f5_worker.reference.thresholds import PAUSES
from f5_worker.settings import Settings
from f5_worker.text.letters import spoken_letters
from f5_worker.text.sentences import finish_transcript
from tests.audio.signals import file, noise, same, silence, speech, tone, words

SETTINGS = Settings()
PACE = 14.0  # letters a second


def sentences_of(sentences_s: Sequence[float], stop: str = ".") -> list[str]:
    """Return a sentence for each length, at an even pace."""
    return [words(round(length_s * PACE)) + stop for length_s in sentences_s]


def content_key(reference: Reference) -> str:
    """Return a key that is equal for equal samples and transcript."""
    return hashlib.sha256(reference.samples.tobytes() + reference.transcript.encode()).hexdigest()


def made(samples: Samples, transcript: str, **options: object) -> Reference:
    return prepare(file(samples, **options), transcript, SETTINGS)  # type: ignore[arg-type]


class TestClip:
    def test_edges_are_trimmed_and_a_tail_is_left(self) -> None:
        clip = np.concatenate([silence(1.5), noise(4.0), silence(2.0)])
        reference = made(clip, sentences_of([4.0])[0])
        assert reference.duration_s == pytest.approx(4.07, abs=0.03)
        assert not reference.samples[-int(0.03 * SAMPLE_RATE) :].any()
        assert reference.source_s == 7.5
        assert reference.warnings == ()

    def test_a_tail_is_added_where_the_recording_ends_abruptly(self) -> None:
        reference = made(noise(4.0), sentences_of([4.0])[0])
        assert reference.duration_s == pytest.approx(4.05, abs=0.001)
        assert not reference.samples[-1_200:].any()
        assert reference.samples[-2_400:-1_500].any()

    @pytest.mark.parametrize(
        "spoil",
        [
            *("\u200b".join, "\u00ad".join, "\u200d".join, "\ufe0f".join, "\ufeff".join, "\u3164".join),
            lambda text: text + "🎉" * 40,
            lambda text: text + " ." * 100,
            lambda text: text + " ? !" * 100,
            lambda text: text + '"' * 100 + ".",
        ],
    )
    def test_what_is_not_spoken_has_no_length(self, spoil: Callable[[str], str]) -> None:
        text = sentences_of([4.0])[0]
        assert made(noise(4.0), spoil(text)).transcript.rstrip(' ".?') == text.rstrip(".")
        times = srt([(0.0, 4.0)], [spoil(text)])
        assert made(noise(4.0), times).transcript.rstrip(' ".?') == text.rstrip(".")

    @pytest.mark.parametrize("spoil", ["*".join, "-".join, "\u0304\u0317".join])
    def test_signs_are_no_words(self, spoil: Callable[[str], str]) -> None:
        with pytest.raises(TranscriptMismatch, match=r"\d+ punctuation marks and symbols for \d+ letters"):
            made(noise(4.0), spoil(sentences_of([4.0])[0]))

    def test_the_encoding_of_a_file_is_told_unless_it_is_utf_8(self) -> None:
        text = "Утренний свет медленно поднимался над холмами, и никто не проснулся."
        known = prepare(file(noise(5.0)), text.encode(), SETTINGS)
        guessed = prepare(file(noise(5.0)), text.encode("cp1251"), SETTINGS)
        assert guessed.transcript == known.transcript == text + " "
        assert (known.warnings, known.report.verdict) == ((), "good")
        assert guessed.report.verdict == "usable"
        assert guessed.warnings == guessed.report.reasons
        assert "read as Windows-1251 (Cyrillic)" in guessed.warnings[0]

    def test_soft_onsets_and_decays_are_kept(self) -> None:
        onset, decay = noise(0.08, 0.003, 1), noise(0.15, 0.003, 2)
        reference = made(np.concatenate([silence(1), onset, noise(4.0), decay, silence(1)]), sentences_of([4.0])[0])
        assert reference.duration_s == pytest.approx(0.02 + 0.08 + 4.0 + 0.15 + 0.05, abs=0.03)

    @pytest.mark.parametrize("rate", [8_000, 44_100, 96_000])
    def test_any_rate_becomes_the_models(self, rate: int) -> None:
        reference = made(noise(4.0, rate=rate), sentences_of([4.0])[0], rate=rate)
        assert reference.duration_s == pytest.approx(4.05, abs=0.03)
        assert reference.samples.dtype == np.float32

    @pytest.mark.parametrize(("level", "expected"), [(0.003, 0.1), (0.03, 0.1), (0.15, 0.15)])
    def test_quiet_clips_are_raised_and_loud_ones_left(self, level: float, expected: float) -> None:
        assert rms(made(noise(4.0, level), sentences_of([4.0])[0]).samples) == pytest.approx(expected, rel=0.05)

    def test_raising_the_level_never_clips(self) -> None:
        clip = noise(4.0, 0.02)
        clip[50_000] = 0.9
        reference = made(clip, sentences_of([4.0])[0])
        assert np.abs(reference.samples).max() <= 0.99
        assert rms(reference.samples) < 0.03

    def test_silence_is_refused_with_its_level(self) -> None:
        with pytest.raises(ReferenceSilent, match=r"-120\.0 dBFS"):
            made(silence(5.0), sentences_of([4.0])[0])
        with pytest.raises(ReferenceSilent, match=r"-79\.\d dBFS, at least -60"):
            made(noise(5.0, 1e-4), sentences_of([4.0])[0], subtype="FLOAT")

    def test_an_offset_is_silence(self) -> None:
        with pytest.raises(ReferenceSilent):
            made(np.full(120_000, 0.5, np.float32), sentences_of([4.0])[0])

    def test_too_little_speech_is_refused_with_its_length(self) -> None:
        with pytest.raises(ReferenceTooShort, match=r"0\.8\d s of speech, at least 1 s"):
            made(np.concatenate([silence(2), noise(0.85), silence(2)]), "abcdefghijkl")

    def test_clicks_are_not_speech(self) -> None:
        clip = silence(5.0)
        clip[::24_000] = 0.9
        with pytest.raises(ReferenceSilent):
            made(clip, sentences_of([4.0])[0])


class TestMatch:
    @pytest.mark.parametrize(("seconds", "letters"), [(4.0, 17), (4.0, 60), (4.0, 118), (11.0, 150)])
    def test_human_rates_pass(self, seconds: float, letters: int) -> None:
        made(noise(seconds), words(letters))

    def test_a_whole_recordings_transcript_with_a_clip_is_refused_with_its_numbers(self) -> None:
        transcript = words(1_702) + "."
        assert len(transcript) == 2_043
        with pytest.raises(TranscriptMismatch, match=r"2043 characters for 8\.0 s of speech, which is 21\d\.\d"):
            made(noise(8.0), transcript)

    def test_a_transcript_of_a_few_words_for_a_long_clip_is_refused(self) -> None:
        with pytest.raises(TranscriptMismatch, match=r"6 characters for 8\.0 s of speech, which is 0\.6"):
            made(noise(8.0), "Hello")

    def test_pauses_do_not_count_as_speech(self) -> None:
        with pytest.raises(TranscriptMismatch, match=r"for 2\.0 s of speech"):
            made(speech([1.0, 1.0], [5.0]), words(80))

    def test_the_check_comes_before_cutting(self) -> None:
        with pytest.raises(TranscriptMismatch, match=r"for 30\.\d s of speech"):
            made(speech([10.0] * 3, [0.5] * 2), words(2_000))

    @pytest.mark.parametrize("per_s", [3, 4.5, 6])
    def test_chinese_has_fewer_characters(self, per_s: float) -> None:
        reference = made(noise(6.0), "字" * round(6 * per_s))
        assert reference.transcript.endswith("字。")

    @pytest.mark.parametrize("per_s", [0.9, 15])
    def test_chinese_outside_is_refused(self, per_s: float) -> None:
        with pytest.raises(TranscriptMismatch):
            made(noise(6.0), "字" * round(6 * per_s))

    @pytest.mark.parametrize(
        ("text", "letters"),
        [
            ("ab, c!", 3),
            ("42", 8),
            ("字", 3),
            ("かな", 4),
            ("한", 3),
            ("नमस्ते", 4),
            ("... — 🙂", 0),
            ("é", 1),
            ("e\u0301", 1),
        ],
    )
    def test_the_spoken_letters_of_a_text(self, text: str, letters: float) -> None:
        assert spoken_letters(text) == letters

    def test_no_message_holds_the_transcript(self) -> None:
        for samples in (noise(8.0), speech([4.0] * 6, [0.3] * 5)):
            with pytest.raises(ReferenceProblem) as caught:
                made(samples, "secretword " * (200 if len(samples) < 200_000 else 30))
            assert "secretword" not in str(caught.value)


class TestCut:
    LENGTHS = (4.0, 3.5, 5.0, 4.5)
    PAUSES = (0.4, 0.35, 0.5)

    def test_audio_and_text_are_cut_together(self) -> None:
        clip, sentences = speech(self.LENGTHS, self.PAUSES), sentences_of(self.LENGTHS)
        reference = made(clip, " ".join(sentences))
        assert reference.transcript == f"{sentences[0]} {sentences[1]} "
        assert reference.duration_s == pytest.approx(4.0 + 0.4 + 3.5 + 0.05, abs=0.03)
        kept = reference.samples[: round(7.85 * SAMPLE_RATE)]
        assert same(kept, clip) > 0.99
        assert not reference.samples[-int(0.03 * SAMPLE_RATE) :].any()
        (warning,) = reference.warnings
        assert "18.3 s; its first 8.0 s" in warning
        assert f"first {len(reference.transcript.strip())} of {len(' '.join(sentences))} characters" in warning
        assert "abcde" not in warning

    def test_an_uneven_pace_is_tolerated(self) -> None:
        sentences = [words(round(s * pace)) + "." for s, pace in zip(self.LENGTHS, (15, 13, 14, 14.5), strict=True)]
        reference = made(speech(self.LENGTHS, self.PAUSES), " ".join(sentences))
        assert reference.transcript == f"{sentences[0]} {sentences[1]} "

    def test_breaths_without_punctuation_are_skipped(self) -> None:
        clip = speech([2.0, 2.0, 3.5, 2.5, 2.5, 4.5], [0.3, 0.4, 0.35, 0.3, 0.5])
        sentences = sentences_of(self.LENGTHS)
        reference = made(clip, " ".join(sentences))
        assert reference.transcript == f"{sentences[0]} {sentences[1]} "
        assert reference.duration_s == pytest.approx(2.0 + 0.3 + 2.0 + 0.4 + 3.5 + 0.05, abs=0.03)

    def test_a_full_stop_is_preferred_to_a_comma(self) -> None:
        """It may be spoken with a pause or without: a shorter clip that ends with its sentence is the safer one."""
        sentences = sentences_of(self.LENGTHS)
        sentences[1] = sentences[1].replace(".", ",")
        reference = made(speech(self.LENGTHS, self.PAUSES), " ".join(sentences))
        assert reference.transcript == f"{sentences[0]} "
        assert reference.duration_s == pytest.approx(4.05, abs=0.03)

    def test_marks_side_by_side_are_one_break(self) -> None:
        sentences = sentences_of(self.LENGTHS, stop='." —')
        reference = made(speech(self.LENGTHS, self.PAUSES), " ".join(sentences))
        assert reference.transcript == f"{sentences[0]} {sentences[1].removesuffix(' —')} "

    def test_chinese(self) -> None:
        sentences = ["字" * round(length_s * 4) + "。" for length_s in self.LENGTHS]
        reference = made(speech(self.LENGTHS, self.PAUSES), "".join(sentences))
        assert reference.transcript == sentences[0] + sentences[1]

    def test_clicks_within_a_pause_do_not_hide_it(self) -> None:
        clip = speech(self.LENGTHS, [0.6, 0.6, 0.6])
        clip[round(8.4 * SAMPLE_RATE)] = 0.5  # in the middle of the second pause
        sentences = sentences_of(self.LENGTHS)
        assert made(clip, " ".join(sentences)).transcript == f"{sentences[0]} {sentences[1]} "

    @pytest.mark.parametrize("snr_db", [18, 30])
    def test_pauses_are_found_in_noise(self, snr_db: float) -> None:
        clip = speech(self.LENGTHS, self.PAUSES)
        clip = clip + noise(len(clip) / SAMPLE_RATE, 0.1 * 10 ** (-snr_db / 20), seed=77)
        sentences = sentences_of(self.LENGTHS)
        reference = made(clip, " ".join(sentences))
        assert reference.transcript == f"{sentences[0]} {sentences[1]} "
        assert any("background" in warning for warning in reference.warnings) == (snr_db < 20)

    @pytest.mark.parametrize(
        ("lengths", "pauses", "transcript"),
        [
            ([17.0], [], " ".join(sentences_of([8.0, 9.0]))),  # no pause
            ([8.0, 9.0], [0.4], words(238)),  # no punctuation
            ([8.0, 9.0], [0.4], " ".join(sentences_of([10.0, 7.0]))),  # pause and punctuation too far apart
            ([8.0, 9.0], [0.4], " ".join(sentences_of([7.8, 0.4, 8.8]))),  # two breaks that could both be meant
            ([7.8, 0.4, 8.8], [0.3, 0.3], " ".join(sentences_of([8.0, 9.0]))),  # two pauses that could both be meant
            ([14.0, 5.0], [0.4], " ".join(sentences_of([14.0, 5.0]))),  # the pair lies behind the limit
            ([1.5, 16.0], [0.4], " ".join(sentences_of([1.5, 16.0]))),  # what is before the pair is too short
        ],
    )
    def test_no_cut_without_certainty(self, lengths: list[float], pauses: list[float], transcript: str) -> None:
        with pytest.raises(ReferenceTooLong, match=r"at most 12 s is used \(F5_REFERENCE_MAX_S\).*5 to 12 s"):
            made(speech(lengths, pauses), transcript)

    def test_the_limit_is_a_setting(self) -> None:
        clip, sentences = speech(self.LENGTHS, self.PAUSES), sentences_of(self.LENGTHS)
        longer = prepare(file(clip), " ".join(sentences), Settings(reference_max_s=18.5))
        assert longer.duration_s == pytest.approx(18.3, abs=0.03)
        assert longer.transcript == " ".join(sentences) + " "
        shorter = prepare(file(clip), " ".join(sentences), Settings(reference_max_s=5.0))
        assert shorter.transcript == sentences[0] + " "

    @pytest.mark.slow
    @hypothesis.settings(max_examples=12)
    @given(st.lists(st.tuples(st.floats(2.0, 6.0), st.floats(0.2, 0.8), st.floats(0.9, 1.1)), min_size=3, max_size=5))
    def test_text_and_audio_always_agree(self, plan: list[tuple[float, float, float]]) -> None:
        """Whatever the sentences: a cut keeps as many in the text as in the sound, or is not made."""
        lengths = [length for length, _, _ in plan]
        sentences = [words(round(length * PACE * pace)) + "." for length, _, pace in plan]
        try:
            reference = made(speech(lengths, [pause for _, pause, _ in plan[:-1]]), " ".join(sentences))
        except ReferenceTooLong:
            return
        count = reference.transcript.count(".")
        expected_s = sum(lengths[:count]) + sum(pause for _, pause, _ in plan[: count - 1]) + 0.05
        assert reference.duration_s == pytest.approx(expected_s, abs=0.04)
        assert reference.duration_s <= SETTINGS.reference_max_s


def srt(times_s: Sequence[tuple[float, float]], texts: Sequence[str]) -> str:
    def clock(at_s: float) -> str:
        return (
            f"{int(at_s) // 3600:02}:{int(at_s) // 60 % 60:02}:{int(at_s) % 60:02},{round(at_s % 1 * 1000) % 1000:03}"
        )

    lines = zip(times_s, texts, strict=True)
    return "\n".join(f"{n}\n{clock(a)} --> {clock(b)}\n{text}\n" for n, ((a, b), text) in enumerate(lines, start=1))


class TestTimes:
    """Subtitles: sound and text are cut together where a line's time and a pause meet."""

    LENGTHS, PAUSES = (4.0, 3.5, 5.0, 4.5), (0.4, 0.35, 0.5)
    TIMES = ((0.0, 4.0), (4.4, 7.9), (8.25, 13.25), (13.75, 18.25))
    TEXTS = tuple(sentences_of(LENGTHS))

    def test_lines_and_sound_are_cut_together(self) -> None:
        samples = speech(self.LENGTHS, self.PAUSES)
        samples[: 8 * SAMPLE_RATE] += noise(8.0, 0.01, seed=9)
        reference = made(samples, srt(self.TIMES, self.TEXTS))
        first, second = self.TEXTS[2], self.TEXTS[3]
        assert reference.transcript == f"{first} {second} "
        assert reference.duration_s == pytest.approx(0.02 + 5.0 + 0.5 + 4.5 + 0.05, abs=0.03)
        excerpt = samples[round(8.5 * SAMPLE_RATE) :][:2_400]
        at = int(np.correlate(reference.samples[:SAMPLE_RATE], excerpt, "valid").argmax())
        assert at / SAMPLE_RATE == pytest.approx(8.5 - 8.25 + 0.02, abs=0.03)
        assert same(reference.samples[at:], excerpt) > 0.99
        assert reference.warnings == (
            "the recording has 18.2 s; its part from 8.2 to 18.2 s and the 161 characters spoken in it are used",
        )

    def test_a_short_clip_is_used_as_it_is(self) -> None:
        reference = made(speech([3.0, 4.0], [0.4]), srt([(0.1, 3.2), (3.3, 7.5)], sentences_of([3.0, 4.0])))
        assert reference.transcript == " ".join(sentences_of([3.0, 4.0])) + " "
        assert reference.duration_s == pytest.approx(7.45, abs=0.03)
        assert reference.warnings == ()

    def test_a_short_clip_whose_times_are_rough(self) -> None:
        reference = made(noise(5.0), srt([(0.9, 4.1)], sentences_of([5.0])))
        assert reference.transcript == sentences_of([5.0])[0] + " "

    def test_times_beyond_the_end_are_a_mismatch(self) -> None:
        times_s = [(start_s + 140, end_s + 140) for start_s, end_s in self.TIMES]
        with pytest.raises(TranscriptMismatch, match=r"reach to 158\.2 s and the recording has 18\.2 s"):
            made(speech(self.LENGTHS, self.PAUSES), srt(times_s, self.TEXTS))

    def test_too_many_words_for_the_sound_are_a_mismatch(self) -> None:
        with pytest.raises(TranscriptMismatch, match=r"characters for 17\.\d s of speech, which is \d+\.\d letters"):
            made(speech(self.LENGTHS, self.PAUSES), srt(self.TIMES, [text * 3 for text in self.TEXTS]))

    def test_lines_may_be_of_a_part_only(self) -> None:
        samples = np.concatenate([speech(self.LENGTHS, self.PAUSES), silence(0.5), noise(60.0)])
        reference = made(samples, srt(self.TIMES, self.TEXTS))
        assert reference.transcript.strip() in " ".join(self.TEXTS)
        assert 5.0 <= reference.duration_s <= 12.0

    def test_no_line_at_a_pause_is_too_long(self) -> None:
        with pytest.raises(ReferenceTooLong, match=r"none of the transcript's 3 lines could be cut out.* 0 pauses"):
            made(noise(20.0), srt([(1.0, 6.0), (6.0, 12.0), (12.0, 19.0)], sentences_of([6.0, 6.0, 7.0])))

    def test_lines_without_ends_last_until_the_next(self) -> None:
        lyrics = "\n".join(
            f"[00:{start_s:05.2f}]{text}" for (start_s, _), text in zip(self.TIMES, self.TEXTS, strict=True)
        )
        samples = speech(self.LENGTHS, self.PAUSES)
        assert made(samples, lyrics).transcript == made(samples, srt(self.TIMES, self.TEXTS)).transcript

    def test_sounds_in_brackets_are_not_words(self) -> None:
        texts = [f"[music] {self.TEXTS[0]}", "[applause]", self.TEXTS[2], f"♪ {self.TEXTS[3]}"]
        reference = made(speech(self.LENGTHS, self.PAUSES), srt(self.TIMES, texts))
        assert reference.transcript == f"{self.TEXTS[2]} {self.TEXTS[3]} "

    def test_no_message_holds_the_transcript(self) -> None:
        texts = [text.replace("abcde", "secret") for text in self.TEXTS]
        for times_s in (self.TIMES, [(start_s + 50, end_s + 50) for start_s, end_s in self.TIMES]):
            with pytest.raises(ReferenceProblem) as caught:
                made(noise(18.25), srt(times_s, texts))
            assert "secret" not in str(caught.value)

    def test_chinese_lines_are_joined_without_spaces(self) -> None:
        texts = ["字" * round(length_s * 4) + "。" for length_s in self.LENGTHS]
        reference = made(speech(self.LENGTHS, self.PAUSES), srt(self.TIMES, texts))
        assert reference.transcript in "".join(texts)


class TestWithoutWords:
    def test_they_are_needed(self) -> None:
        with pytest.raises(TranscriptNeeded, match=r"no recogniser to find them \(F5_ASR_MODEL\); send its transcript"):
            prepare(file(noise(4.0)), None, SETTINGS)

    def test_the_sound_is_checked_first(self) -> None:
        with pytest.raises(ReferenceSilent):
            prepare(file(silence(4.0)), None, SETTINGS)


class TestCertainty:
    """The matching alone, with speakers as they are."""

    def speaker(self, seed: int, total_s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int], float]:
        """Pauses, breaks and how often they are spoken as pauses, each pause's true break (-1: a breath), total speech.

        The pace varies by 10 % from sentence to sentence and by 8 % within; two commas in five have no pause.
        """
        generator = np.random.default_rng(seed)
        pauses, breaks, paused, truth = list[float](), list[float](), list[float](), list[int]()
        spoken_s = read = 0.0
        while spoken_s < total_s:
            pace = np.exp(generator.normal(0, 0.1))
            clauses = int(generator.integers(1, 4))
            for clause in range(clauses):
                ends = clause == clauses - 1
                length_s = generator.uniform(0.8, 3.5)
                if generator.random() < 0.15:
                    pauses.append(spoken_s + length_s * generator.uniform(0.3, 0.7))
                    truth.append(-1)
                spoken_s += length_s
                read += length_s * pace * np.exp(generator.normal(0, 0.08))
                breaks.append(read)
                paused.append(0.95 if ends else 0.6)
                if ends or generator.random() < 0.6:
                    pauses.append(spoken_s)
                    truth.append(len(breaks) - 1)
        scaled = np.array(breaks[:-1]) * (spoken_s / read)
        return np.array(pauses[:-1]), scaled, np.array(paused[:-1]), truth, spoken_s

    @pytest.mark.parametrize("total_s", [16, 30])
    def test_most_are_certain_and_few_wrong(self, total_s: float) -> None:
        verdicts: list[bool] = []
        for seed in range(30):
            pauses, breaks, paused, truth, spoken_s = self.speaker(seed, total_s)
            certainty = _match_certainty(
                pauses[: PAUSES.max_pauses], breaks[: PAUSES.max_breaks], paused[: PAUSES.max_breaks], spoken_s
            )
            certain = [
                (row, column)
                for row, column in np.argwhere(certainty >= PAUSES.min_certainty)
                if 3 <= pauses[row] <= 11
            ]
            verdicts += [truth[row] == column for row, column in certain[-1:]]
        assert len(verdicts) >= 24
        assert verdicts.count(False) <= 1

    @hypothesis.settings(max_examples=30)
    @given(
        st.lists(st.floats(0.1, 9.9), max_size=5),
        st.lists(st.tuples(st.floats(0.1, 9.9), st.booleans()), max_size=5),
    )
    def test_certainties_are_probabilities(self, pauses: list[float], breaks: list[tuple[float, bool]]) -> None:
        certainty = _match_certainty(
            np.array(sorted(pauses)),
            np.array([at for at, _ in sorted(breaks)]),
            np.array([0.95 if stop else 0.6 for _, stop in sorted(breaks)]),
            10.0,
        )
        assert certainty.shape == (len(pauses), len(breaks))
        assert (certainty >= 0).all()
        assert (certainty.sum(axis=1) <= 1 + 1e-6).all()
        assert (certainty.sum(axis=0) <= 1 + 1e-6).all()

    def test_many_marks_and_pauses_take_little_time(self) -> None:
        begun = time.monotonic()
        with pytest.raises(ReferenceTooLong):
            made(speech([0.2] * 60, [0.25] * 59), "ab, " * 170)
        assert time.monotonic() - begun < 5.0


class TestWarnings:
    def warned(self, samples: Samples, rate: int = SAMPLE_RATE) -> str:
        length_s = len(samples) / rate
        return " | ".join(made(samples, words(round(length_s * 9)), rate=rate).warnings)

    def test_clipping(self) -> None:
        assert "% of the clip is clipped" in self.warned(np.clip(noise(5.0, 0.8), -1, 1))

    def test_a_low_rate(self) -> None:
        assert "8000 Hz" in self.warned(noise(5.0, rate=8_000), 8_000)

    def test_a_short_clip(self) -> None:
        assert "the clip has 2.0 s" in self.warned(noise(2.0))

    def test_much_silence(self) -> None:
        assert "% of the clip is silence" in self.warned(speech([2.0, 2.0], [3.0]))

    def test_a_good_clip_has_none(self) -> None:
        assert self.warned(speech([2.5, 2.5], [0.4])) == ""


class TestTranscript:
    @pytest.mark.parametrize(
        ("given", "finished"),
        [
            ("Hello there", "Hello there. "),
            ("Hello there.", "Hello there. "),
            ("Hello there. ", "Hello there. "),
            ("  Hello\n\tthere!  ", "Hello there! "),
            ("Is it?", "Is it? "),
            ("Well...", "Well... "),
            ("Hello,", "Hello. "),
            ("Hello -", "Hello. "),
            ('He said "go."', 'He said "go." '),
            ('He said "go"', 'He said "go". '),
            ("你好", "你好。"),
            ("你好。", "你好。"),
            ("你好！", "你好！"),
            ("你好，", "你好。"),
            ("こんにちは", "こんにちは。"),
            ("नमस्ते।", "नमस्ते। "),
            ("नमस्ते", "नमस्ते. "),
            ("price in $", "price in $. "),
        ],
    )
    def test_endings(self, given: str, finished: str) -> None:
        assert finish_transcript(given) == finished

    @given(st.text(max_size=60))
    def test_finishing_twice_changes_nothing(self, text: str) -> None:
        try:
            once = finish_transcript(text)
        except InvalidInput:
            return
        assert finish_transcript(once) == once
        assert once.endswith((" ", "。", "！", "？", "｡")) or not once[-1].isascii() or once[-1] in "\"')]}»"

    @pytest.mark.parametrize("text", ["", "  ", "...", "🙂"])
    def test_a_transcript_is_needed(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="transcript is empty or has no letters; send"):
            made(noise(4.0), text)


class TestIdentity:
    """Equal recordings and transcripts give equal references, bit for bit."""

    def test_the_reference_follows_content(self) -> None:
        first, again = (made(noise(4.0), words(50)) for _ in range(2))
        assert content_key(first) == content_key(again)
        assert content_key(first) != content_key(made(noise(4.0), words(51)))
        assert content_key(first) != content_key(made(noise(4.0, seed=1), words(50)))

    def test_the_reference_depends_on_nothing_else(self) -> None:
        samples = noise(4.0)
        wav, aiff = (made(samples, words(50), format=container) for container in ("WAV", "AIFF"))
        assert content_key(wav) == content_key(aiff)


def test_other_files_are_unreadable() -> None:
    with pytest.raises(ReferenceUnreadable):
        prepare(b"<html>", words(20), SETTINGS)


def test_all_samples_are_finite() -> None:
    for clip in (tone(4.0, 1.0), noise(4.0, 0.0012), np.sign(tone(4.0)).astype(np.float32)):
        assert np.isfinite(made(clip, words(50)).samples).all()
