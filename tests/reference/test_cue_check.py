"""Subtitles of another recording are recognised by their times alone, where these can show it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from f5_worker.audio.decode import Audio
from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.errors import TranscriptMismatch
from f5_worker.reference.clip import Clip
from f5_worker.reference.cue_check import check_times
from f5_worker.reference.match import TextPiece


def clip_of(lengths_s: Sequence[float], pauses_s: Sequence[float]) -> Clip:
    """Return speech of these lengths, separated by these pauses; its samples do not matter here."""
    begins_s = np.cumsum([0.0, *(length + pause for length, pause in zip(lengths_s, pauses_s, strict=False))])
    edges = [(begin_s, begin_s + length_s) for begin_s, length_s in zip(begins_s, lengths_s, strict=False)]
    regions = tuple((round(begin_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)) for begin_s, end_s in edges)
    samples = np.zeros(regions[-1][1], np.float32)
    return Clip(Audio(samples, SAMPLE_RATE, 1), samples, 0, len(samples), regions, regions)


def recording(seed: int, lines: int = 30) -> tuple[Clip, list[tuple[float, float]]]:
    """Return lines of 1.5 to 5 s with pauses between them and, in every other one, within."""
    generator = np.random.default_rng(seed)
    lengths_s: list[float] = []
    pauses_s: list[float] = []
    times_s: list[tuple[float, float]] = []
    at_s = 0.0
    for index in range(lines):
        length_s = generator.uniform(1.5, 5.0)
        if index % 2:
            lengths_s += [0.4 * length_s, 0.6 * length_s]
            pauses_s.append(generator.uniform(0.15, 0.3))
            length_s += pauses_s[-1]
        else:
            lengths_s.append(length_s)
        times_s.append((at_s, at_s + length_s))
        pauses_s.append(generator.uniform(0.25, 0.8))
        at_s += length_s + pauses_s[-1]
    return clip_of(lengths_s, pauses_s[:-1]), times_s


def pieces(times_s: Sequence[tuple[float, float]], moved_s: float = 0.0) -> list[TextPiece]:
    return [TextPiece(0, 1, start_s + moved_s, end_s + moved_s) for start_s, end_s in times_s]


class TestOwn:
    @pytest.mark.parametrize("seed", [1, 2])
    @pytest.mark.parametrize("style", ["exact", "gapless", "overlong", "inexact", "cut in two"])
    def test_no_style_of_subtitles_gets_a_warning(self, seed: int, style: str) -> None:
        clip, times_s = recording(seed)
        generator = np.random.default_rng(seed)
        nexts = [start_s for start_s, _ in times_s[1:]] + [times_s[-1][1]]
        if style == "gapless":
            times_s = [(start_s, following_s) for (start_s, _), following_s in zip(times_s, nexts, strict=True)]
        if style == "overlong":
            times_s = [(s, min(e + 0.5, following_s)) for (s, e), following_s in zip(times_s, nexts, strict=True)]
        if style == "inexact":
            times_s = [(s + generator.uniform(-0.2, 0.2), e + generator.uniform(-0.2, 0.2)) for s, e in times_s]
        if style == "cut in two":
            cuts = [s + generator.uniform(0.3, 0.7) * (e - s) for s, e in times_s]
            times_s = [part for (s, e), cut in zip(times_s, cuts, strict=True) for part in ((s, cut), (cut, e))]
        assert check_times(clip, pieces(times_s)) is None

    def test_a_line_may_be_shown_a_little_longer_than_the_recording(self) -> None:
        clip, times_s = recording(1)
        times_s[-1] = (times_s[-1][0], times_s[-1][1] + 0.9)
        assert check_times(clip, pieces(times_s)) is None

    def test_sound_without_pauses_proves_nothing(self) -> None:
        clip = clip_of([30.0], [])
        assert "check that" in (check_times(clip, pieces([(s, s + 2.0) for s in range(0, 28, 2)])) or "")

    def test_one_line_of_a_short_clip(self) -> None:
        clip = clip_of([3.0, 4.0], [0.3])
        assert check_times(clip, pieces([(0.0, 7.3)])) is None


class TestOfAnotherRecording:
    def test_most_are_refused_and_nearly_all_others_get_a_warning(self) -> None:
        n_refused = n_warned = 0
        for seed in range(12):
            clip, _ = recording(seed, 24)
            _, others_s = recording(seed + 100, 24)
            fitting = [(s, e) for s, e in others_s if e < clip.audio.duration_s]
            try:
                n_warned += check_times(clip, pieces(fitting)) is not None
            except TranscriptMismatch:
                n_refused += 1
        assert n_refused >= 7
        assert n_refused + n_warned >= 11

    def test_the_refusal_has_its_numbers(self) -> None:
        clip, times_s = recording(3)
        with pytest.raises(TranscriptMismatch, match=r"\d+ of the 60 times .* by chance it would be \d+"):
            check_times(clip, [TextPiece(0, 1, s + 0.8, s + 1.2) for s, _ in times_s])

    def test_lines_beyond_the_end(self) -> None:
        clip, times_s = recording(1)
        with pytest.raises(TranscriptMismatch, match=r"times reach to 146\.0 s and the recording has \d+\.\d s"):
            check_times(clip, [*pieces(times_s), TextPiece(0, 1, 144.0, 146.0)])

    def test_lines_without_words_are_left_out(self) -> None:
        clip, times_s = recording(1)
        assert check_times(clip, [*pieces(times_s), TextPiece(0, 0, None, None)]) is None
        check_times(clip, [TextPiece(0, 0, None, None)])
