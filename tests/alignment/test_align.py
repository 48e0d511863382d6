"""Words are found where they are spoken; Piper gives the true times."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.alignment.align import Aligned, AlignedTokens, WhisperAligner
from f5_worker.alignment.refine import BOUNDARY_MARGIN_S, LAG_S, ApproximateWord, refine
from f5_worker.alignment.words import word_spans
from f5_worker.asr.loaded import TokenTimes
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from tests.audio.signals import noise, silence
from tests.listen import cpu_whisper

# Some of those that the constants of alignment/refine.py were fitted to; bench/timing_sentences.txt has others.
TEXTS = (
    "When the rain finally stopped, everyone walked down to the river.",
    "Please put the books back on the shelf, and close the door behind you.",
    "Of course, you could always ask your teacher for more time.",
    "The engine failed, the lights went out, and the ship began to drift.",
    "Turn left at the church. Then follow the road for two miles. You cannot miss it.",
    "Thank you for watching, and see you in the next one.",
)
SPEEDS = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
MEAN_ERROR_S, NEAR_S, NEAR_SHARE = 0.040, 0.100, 0.95  # what bench/timing.py holds over many more


def in_samples(*regions_s: tuple[float, float]) -> list[tuple[int, int]]:
    return [(round(begin * SAMPLE_RATE), round(end * SAMPLE_RATE)) for begin, end in regions_s]


def test_the_tokens_before_a_character_are_those_that_end_before_it() -> None:
    times = TokenTimes(np.ones(4), np.arange(5.0))
    tokens = AlignedTokens((9, 8, 7, 6), np.array([(0, 3), (3, 4), (5, 8), (8, 11)]), times)  # "Yes, Robert"
    assert [tokens.count_before(at) for at in (0, 3, 4, 5, 8, 10, 11)] == [0, 1, 2, 2, 3, 3, 4]


def test_words_end_and_begin_at_the_pause_between_them() -> None:
    words = [
        ApproximateWord(0.1, 0.95, 6),
        ApproximateWord(0.95, 1.9, 6),
    ]  # attention is some 100 ms off, and sees no pause
    first, second = refine(words, in_samples((0.2, 0.8), (1.1, 1.8)), 2.0)
    assert first == pytest.approx((0.2, 0.8))
    assert second == pytest.approx((1.1, 1.8))


def test_attention_decides_where_no_pause_marks_a_boundary() -> None:
    words = [ApproximateWord(LAG_S, 0.9 + LAG_S, 5), ApproximateWord(0.9 + LAG_S, 2.0 + LAG_S, 5)]
    (_, end), (start, _) = refine(words, in_samples((0.0, 2.0)), 2.0)
    assert start - end == pytest.approx(2 * BOUNDARY_MARGIN_S)
    assert (start + end) / 2 == pytest.approx(0.92, abs=0.03)  # half the letters would be 1.0


def test_length_corrects_attention_that_is_far_off() -> None:
    words = [ApproximateWord(LAG_S, 0.3, 12), ApproximateWord(0.3, 2.0, 12)]
    (_, end), _ = refine(words, in_samples((0.0, 2.0)), 2.0)
    assert 0.3 < end < 0.7


def test_a_word_may_have_a_pause_within() -> None:
    (only,) = refine([ApproximateWord(0.1, 1.9, 8)], in_samples((0.2, 0.9), (1.1, 1.8)), 2.0)
    assert only == pytest.approx((0.2, 1.8))


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 20)), min_size=1, max_size=15),
    st.lists(st.floats(0, 3), min_size=2, max_size=8, unique=True),
)
def test_times_never_cross_however_wrong_attention_is(drawn: list[tuple[float, int]], edges: list[float]) -> None:
    starts = sorted(start for start, _ in drawn)
    words = [
        ApproximateWord(start, end, letters)
        for (start, end), (_, letters) in zip(itertools.pairwise([*starts, starts[-1]]), drawn, strict=True)
    ]
    ordered = sorted(edges)[: len(edges) // 2 * 2]
    regions = in_samples(*zip(ordered[::2], ordered[1::2], strict=True))
    flat = [time for word in refine(words, regions, 3.0) for time in word]
    assert len(flat) == 2 * len(words)
    assert flat == sorted(flat)
    assert flat[0] >= 0.0
    assert flat[-1] <= 3.0


@pytest.fixture(scope="module")
def aligner() -> WhisperAligner:
    return WhisperAligner(lambda: contextlib.nullcontext(cpu_whisper()), "en-US")


def checked(aligned: Aligned | None, text: str, length_s: float) -> Aligned:
    """Return the spans after checking what holds for all of them."""
    assert aligned is not None
    assert len(aligned) == len(word_spans(text))
    flat = [time for span in aligned for time in (span.start_s, span.end_s)]
    assert flat == sorted(flat)
    assert flat[0] >= 0.0
    assert flat[-1] <= length_s
    assert all(span.confidence is None or 0.0 <= span.confidence <= 1.0 for span in aligned)
    return aligned


@pytest.mark.model
def test_word_times_are_as_precise_as_documented(aligner: WhisperAligner) -> None:
    from tests.speak import speak

    errors: list[float] = []
    for text, speed in zip(TEXTS, SPEEDS, strict=True):
        said = speak(text, speed)
        aligned = checked(aligner.align(said.samples, text), text, len(said.samples) / SAMPLE_RATE)
        for span, word in zip(aligned, said.words, strict=True):
            errors += [abs(span.start_s - word.start_s), abs(span.end_s - word.end_s)]
            assert span.confidence is not None
    assert np.mean(errors) <= MEAN_ERROR_S
    assert np.mean(np.array(errors) <= NEAR_S) >= NEAR_SHARE


@pytest.mark.model
def test_silence_around_and_punctuation_between_do_not_move_words(aligner: WhisperAligner) -> None:
    from tests.speak import speak

    said = speak(TEXTS[0])
    plain = checked(aligner.align(said.samples, TEXTS[0]), TEXTS[0], 10.0)
    sound = np.concatenate([silence(0.8), said.samples, silence(1.5)])
    signed = TEXTS[0].replace("stopped,", "stopped, -").replace("river.", "river. ...")
    framed = checked(aligner.align(sound, signed), signed, len(sound) / SAMPLE_RATE)
    spoken = [span for span in framed if span.confidence is not None]
    assert len(framed) == len(plain) + 2
    for before, after in zip(plain, spoken, strict=True):
        assert after.start_s - 0.8 == pytest.approx(before.start_s, abs=0.08)


@pytest.mark.model
def test_confidence_is_low_for_words_that_are_not_spoken(aligner: WhisperAligner) -> None:
    from tests.speak import speak

    said = speak("The quick brown fox jumps over the lazy dog.").samples
    text = "The quick brown fox jumps over the {}."
    right, wrong = (
        checked(aligner.align(said, text.format(end)), text.format(end), len(said) / SAMPLE_RATE)
        for end in ("lazy dog", "angry bear")
    )
    assert min(span.confidence or 0.0 for span in right[1:]) > 0.5
    assert max(span.confidence or 0.0 for span in wrong[-2:]) < 0.1


@pytest.mark.model
@pytest.mark.parametrize(
    ("text", "sound"),
    [
        ("Nothing of this is what the signal says at all.", lambda: noise(3.0)),
        ("Nothing is heard.", lambda: silence(3.0)),
        ("More words than can be spoken in such a time.", lambda: noise(0.2)),
        ("... !", lambda: noise(1.0)),
        ("", lambda: noise(1.0)),
        ("Nothing.", lambda: silence(0.0)),
        ("Longer than the window of Whisper.", lambda: noise(31.0)),
    ],
)
def test_a_text_that_cannot_be_aligned_gives_none(
    aligner: WhisperAligner, text: str, sound: Callable[[], Samples]
) -> None:
    assert aligner.align(sound(), text) is None


@pytest.mark.model
def test_a_language_that_the_model_does_not_know_is_not_aligned() -> None:
    german = WhisperAligner(lambda: contextlib.nullcontext(cpu_whisper()), "de")
    assert german.align(noise(2.0), "Guten Tag.") is None


@pytest.mark.model
def test_threads_find_the_same_times(aligner: WhisperAligner) -> None:
    from tests.speak import speak

    sounds = [(speak(text).samples, text) for text in TEXTS[:3]]
    alone = [aligner.align(*sound) for sound in sounds]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda sound: aligner.align(*sound), sounds * 3)) == alone * 3


@pytest.mark.model
def test_the_test_voice_gives_times_of_every_word() -> None:
    from tests.speak import speak

    said = speak("Of the two men, one was late. It cost him 25 dollars!")
    assert [word.text for word in said.words] == re.findall(
        r"\w+", "Of the two men one was late It cost him 25 dollars"
    )
    assert all(a.end_s <= b.start_s and a.start_s < a.end_s for a, b in itertools.pairwise(said.words))
    assert said.words[-1].end_s <= len(said.samples) / SAMPLE_RATE
    assert np.array_equal(said.samples, speak("Of the two men, one was late. It cost him 25 dollars!").samples)
