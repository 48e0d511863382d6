"""The chosen part of a long recording sounds best, has the recording's own pace, and is cut at pauses only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.audio.decode import Audio
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.reference.clip import Clip, trim_to_speech
from f5_worker.reference.match import TextPiece
from f5_worker.reference.select import CandidateSpan, rank_spans, snap_to_pauses
from tests.audio.signals import noise, speech, words

PACE = 14.0  # letters a second
LENGTHS_S, PAUSES_S = (4.0, 3.0, 3.5, 4.5, 3.0, 4.0), (0.5,) * 5


def clip_of(samples: Samples) -> Clip:
    return trim_to_speech(Audio(samples, SAMPLE_RATE, 1))


def lines(lengths_s: Sequence[float], pauses_s: Sequence[float], stop: str = ".") -> tuple[str, list[TextPiece]]:
    """Return a sentence for each length at an even pace, and when each is spoken."""
    text, begin_s = "", 0.0
    pieces = []
    for length_s, pause_s in zip(lengths_s, [*pauses_s, 0.0], strict=True):
        sentence = words(round(length_s * PACE)) + stop
        pieces.append(TextPiece(len(text), len(text) + len(sentence), begin_s, begin_s + length_s))
        text += sentence + " "
        begin_s += length_s + pause_s
    return text, pieces


def moved(pieces: Sequence[TextPiece], start_s: float = 0.0, end_s: float = 0.0) -> list[TextPiece]:
    return [replace(piece, start_s=piece.start_s + start_s, end_s=piece.end_s + end_s) for piece in pieces]


def taken(span: CandidateSpan, pieces: Sequence[TextPiece]) -> list[int]:
    """Return the indices of the pieces in a span."""
    return [index for index, piece in enumerate(pieces) if span.begin <= piece.begin and piece.end <= span.end]


class TestBounds:
    CLIP = clip_of(speech(LENGTHS_S, PAUSES_S))
    TEXT, PIECES = lines(LENGTHS_S, PAUSES_S)
    ALL = ([0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])

    @pytest.mark.parametrize(("start_s", "end_s"), [(0, 0), (-0.2, -0.2), (0.2, 0.2), (-0.3, 0.45), (0, 0.5)])
    def test_inexact_times_are_put_at_the_pauses(self, start_s: float, end_s: float) -> None:
        assert snap_to_pauses(self.CLIP, self.TEXT, moved(self.PIECES, start_s, end_s)) == self.ALL

    def test_a_time_far_from_any_pause_is_none(self) -> None:
        begins, ends = snap_to_pauses(self.CLIP, self.TEXT, moved(self.PIECES, 1.5, 1.5))
        assert begins == [None] * 6
        assert ends[:-1] == [None] * 5

    def test_without_punctuation_a_bound_has_to_be_closer(self) -> None:
        text, pieces = lines(LENGTHS_S, PAUSES_S, stop="")
        assert snap_to_pauses(self.CLIP, text, moved(pieces, 0.05, 0.05)) == self.ALL
        begins, ends = snap_to_pauses(self.CLIP, text, moved(pieces, 0.2, 0.2))
        assert begins[1:] == [None] * 5
        assert ends[:-1] == self.ALL[1][:-1]

    def test_a_pause_between_two_words_belongs_to_the_nearer_bound(self) -> None:
        clip = clip_of(speech([2.0, 2.0], [0.4]))
        text = "one, two, three, four."
        pieces = [
            TextPiece(0, 4, 0.0, 1.75),
            TextPiece(5, 9, 1.75, 2.0),
            TextPiece(10, 16, 2.4, 2.7),
            TextPiece(17, 22, 2.7, 4.4),
        ]
        assert snap_to_pauses(clip, text, pieces) == ([0, None, 1, None], [None, 1, None, 2])

    def test_a_pause_between_two_bounds_belongs_to_neither(self) -> None:
        clip = clip_of(speech([2.0, 2.0], [0.2]))
        text = "one, two, three, four."
        pieces = [TextPiece(0, 4, 0.0, 1.9), TextPiece(5, 9, 1.9, 2.3), TextPiece(10, 22, 2.3, 4.2)]
        assert snap_to_pauses(clip, text, pieces) == ([0, None, None], [None, None, 2])

    def test_beside_words_of_unknown_time_nothing_is_cut(self) -> None:
        pieces = list(self.PIECES)
        pieces[2] = replace(pieces[2], start_s=None, end_s=None)
        begins, ends = snap_to_pauses(self.CLIP, self.TEXT, pieces)
        assert begins == [0, 1, None, None, 4, 5]
        assert ends == [1, None, None, 4, 5, 6]


class TestChoice:
    def test_the_text_is_that_of_the_sound(self) -> None:
        clip, (text, pieces) = clip_of(speech(LENGTHS_S, PAUSES_S)), lines(LENGTHS_S, PAUSES_S)
        spans = rank_spans(clip, text, pieces, 12.0)
        for span in spans:
            part, chosen = clip.cut(span.first, span.last), taken(span, pieces)
            assert 5.0 <= part.rendered_s <= 11.5
            assert part.begin / SAMPLE_RATE == pytest.approx(pieces[chosen[0]].start_s, abs=0.1)
            assert part.end / SAMPLE_RATE == pytest.approx(pieces[chosen[-1]].end_s, abs=0.1)
        assert [span.cost for span in spans] == sorted(span.cost for span in spans)

    def best(self, samples: Samples, text: str, pieces: Sequence[TextPiece]) -> list[int]:
        return taken(rank_spans(clip_of(samples), text, pieces, 12.0)[0], pieces)

    def test_noise_is_avoided(self) -> None:
        """Wherever it is: also where the best part would be without it."""
        text, pieces = lines(LENGTHS_S, PAUSES_S)
        samples = speech(LENGTHS_S, PAUSES_S)
        best = self.best(samples, text, pieces)
        begin_s, end_s = pieces[best[0]].start_s or 0.0, pieces[best[-1]].end_s or 0.0
        begin, end = round(begin_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
        samples[begin:end] += noise((end - begin) / SAMPLE_RATE, 0.01, seed=9)
        assert len(set(best) & set(self.best(samples, text, pieces))) == 0

    def test_clipping_is_avoided(self) -> None:
        text, pieces = lines(LENGTHS_S, PAUSES_S)
        samples = speech(LENGTHS_S, PAUSES_S)
        for second in (1, 9, 13):
            samples[second * SAMPLE_RATE : second * SAMPLE_RATE + 240] = 1.0
        assert self.best(samples, text, pieces) == [4, 5]

    def test_an_odd_pace_is_never_taken(self) -> None:
        text, pieces = lines(LENGTHS_S, PAUSES_S)
        extra = "abcde " * 14
        text = text[: pieces[1].begin] + extra + text[pieces[1].begin :]
        longer = [piece if i < 1 else replace(piece, end=piece.end + len(extra)) for i, piece in enumerate(pieces)]
        longer = [p if i < 2 else replace(p, begin=p.begin + len(extra)) for i, p in enumerate(longer)]
        spans = rank_spans(clip_of(speech(LENGTHS_S, PAUSES_S)), text, longer, 12.0)
        assert spans
        assert all(1 not in taken(span, longer) for span in spans[:5])
        assert all(taken(span, longer) != [1, 2] for span in spans)

    def test_the_usual_pace_is_preferred(self) -> None:
        text, pieces = lines(LENGTHS_S, PAUSES_S)
        best = self.best(speech(LENGTHS_S, PAUSES_S), text, pieces)
        paces = [PACE * (0.75 if index in best else 1.0) for index in range(6)]
        sentences = [words(round(length_s * pace)) + "." for length_s, pace in zip(LENGTHS_S, paces, strict=True)]
        text = " ".join(sentences)
        begins = [sum(len(line) + 1 for line in sentences[:index]) for index in range(6)]
        slower = [
            replace(piece, begin=begin, end=begin + len(line))
            for piece, begin, line in zip(pieces, begins, sentences, strict=True)
        ]
        assert set(self.best(speech(LENGTHS_S, PAUSES_S), text, slower)) != set(best)

    def test_a_span_that_begins_with_a_sentence_is_preferred(self) -> None:
        text, pieces = lines(LENGTHS_S, PAUSES_S)
        first = self.best(speech(LENGTHS_S, PAUSES_S), text, pieces)[0]
        assert first > 0
        end = pieces[first - 1].end
        text = text[: end - 1] + "," + text[end:]
        assert self.best(speech(LENGTHS_S, PAUSES_S), text, pieces)[0] != first

    def test_sounds_that_are_not_speech_are_in_no_span(self) -> None:
        text, pieces = lines([1.6] * 8, [0.5] * 7)
        sound = replace(pieces[3], end=pieces[3].begin, confidence=0.0)
        spans = rank_spans(clip_of(speech([1.6] * 8, [0.5] * 7)), text, [*pieces[:3], sound, *pieces[4:]], 12.0)
        chosen = [taken(span, pieces) for span in spans]
        assert [0, 1, 2] in chosen
        assert all(3 not in span for span in chosen)

    def test_whole_sentences_are_preferred(self) -> None:
        text, pieces = lines(LENGTHS_S, PAUSES_S, stop=",")
        text = text[: pieces[3].end - 1] + "." + text[pieces[3].end :]
        assert self.best(speech(LENGTHS_S, PAUSES_S), text, pieces)[-1] == 3

    def test_one_speaker_only(self) -> None:
        text, pieces = lines(LENGTHS_S, PAUSES_S)
        named = [replace(piece, speaker="AABABA"[index]) for index, piece in enumerate(pieces)]
        spans = rank_spans(clip_of(speech(LENGTHS_S, PAUSES_S)), text, named, 12.0)
        assert [taken(span, named) for span in spans] == [[0, 1]]

    def test_sound_that_no_line_has_is_in_no_span(self) -> None:
        text, pieces = lines(LENGTHS_S, PAUSES_S)
        left = pieces[:3] + pieces[4:]
        spans = rank_spans(clip_of(speech(LENGTHS_S, PAUSES_S)), text, left, 12.0)
        chosen = [[left[index] for index in taken(span, left)] for span in spans]
        assert chosen
        assert all(not (pieces[2] in span and pieces[4] in span) for span in chosen)

    def test_words_the_recogniser_is_not_sure_of_are_avoided(self) -> None:
        text, pieces = lines(LENGTHS_S, PAUSES_S)
        doubtful = [replace(piece, confidence=0.75 if index < 3 else 0.99) for index, piece in enumerate(pieces)]
        assert min(self.best(speech(LENGTHS_S, PAUSES_S), text, doubtful)) >= 3
        unsure = [replace(piece, confidence=0.5) for piece in pieces]
        assert rank_spans(clip_of(speech(LENGTHS_S, PAUSES_S)), text, unsure, 12.0) == []

    def test_shorter_ones_are_taken_only_where_there_is_nothing_longer(self) -> None:
        lengths_s = (3.5, 9.0, 3.2)
        text, pieces = lines(lengths_s, (0.5, 0.5))
        clip = clip_of(speech(lengths_s, (0.5, 0.5)))
        assert [taken(span, pieces) for span in rank_spans(clip, text, pieces, 12.0)] == [[1]]
        assert [taken(span, pieces) for span in rank_spans(clip, text, pieces, 5.0)] == [[0], [2]]
        assert rank_spans(clip, text, pieces, 3.0) == []

    def test_no_span_without_pieces(self) -> None:
        assert rank_spans(clip_of(speech([4.0], [])), "", [], 12.0) == []

    @pytest.mark.slow
    def test_thousands_of_lines_take_little_time(self) -> None:
        """However many lines a file claims: at one time, at one pause, or at none."""
        clip = clip_of(speech([1.0] * 40, [0.3] * 39))
        text = "ab, " * 6_000
        for begin_s, step_s in ((0.0, 0.0), (1.0, 0.0), (0.0, 0.008)):
            pieces = [
                TextPiece(4 * index, 4 * index + 3, begin_s + step_s * index, begin_s + step_s * (index + 1))
                for index in range(6_000)
            ]
            begun = time.monotonic()
            rank_spans(clip, text, pieces, 12.0)
            assert time.monotonic() - begun < 10.0

    @hypothesis.settings(max_examples=10)
    @given(
        st.lists(st.tuples(st.floats(1.5, 5.0), st.floats(0.25, 0.8)), min_size=4, max_size=8),
        st.floats(-0.12, 0.12),
        st.floats(-0.12, 0.3),
    )
    def test_sound_and_text_always_agree(self, plan: list[tuple[float, float]], start_s: float, end_s: float) -> None:
        lengths_s, pauses_s = [length for length, _ in plan], [pause for _, pause in plan[:-1]]
        text, pieces = lines(lengths_s, pauses_s)
        clip = clip_of(speech(lengths_s, pauses_s))
        for span in rank_spans(clip, text, moved(pieces, start_s, end_s), 12.0):
            part, chosen = clip.cut(span.first, span.last), taken(span, pieces)
            said_s = sum(lengths_s[index] for index in chosen)
            assert part.speech_s == pytest.approx(said_s, abs=0.03 * len(chosen))
            assert part.begin / SAMPLE_RATE == pytest.approx(pieces[chosen[0]].start_s, abs=0.1)


def test_all_costs_are_finite() -> None:
    text, pieces = lines(LENGTHS_S, PAUSES_S)
    spans = rank_spans(clip_of(speech(LENGTHS_S, PAUSES_S)), text, pieces, 12.0)
    assert np.isfinite([span.cost for span in spans]).all()
