"""From a text to the segments that the model speaks: the text, length and origin of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from f5_worker import cancellation
from f5_worker.engine.types import Segment
from f5_worker.errors import InvalidInput, TextTooLong
from f5_worker.models.f5.config import FRAMES_PER_S, MAX_SEGMENT_FRAMES, forward_rows, make_segment, mel_frames
from f5_worker.models.f5.duration import SHORT_TEXT_BYTES, target_frames
from f5_worker.models.f5.tokenizer import Vocabulary
from f5_worker.reference.prepare import Reference
from f5_worker.settings import Settings
from f5_worker.text.chunk import byte_budget, chunk_sentences
from f5_worker.text.seed import segment_seed

if TYPE_CHECKING:
    from f5_worker.text.reading import SpokenPassage

MAX_COMPLETE_CHARS = 1_000  # a longer text is cut into segments while the first ones are spoken
BATCH_GROWTH = 4
WORD_BYTES = 5  # of a digit in words, besides its own
SPEED_RANGE = (0.25, 4.0)  # how far a wanted duration may bend the reference's pace


@dataclass(frozen=True)
class SamplingParams:
    """The parameters of sampling, with every default filled in.

    Attributes:
        language: of the text, ISO 639-1.
        nfe: number of function evaluations, which is the number of steps.
        guidance_scale: strength of classifier-free guidance.
        sway_coefficient: of sway sampling; None for even steps.
    """

    language: str
    nfe: int
    guidance_scale: float
    sway_coefficient: float | None
    seed: int


@dataclass(frozen=True)
class VoicedPassage:
    """A passage as it is spoken, the reference of its voice, and the speed relative to the reference's pace."""

    spoken: SpokenPassage
    reference: Reference
    speed: float = 1.0

    @property
    def natural_s(self) -> float:
        """Return how long it takes at the reference's own pace."""
        return _frames(self.spoken.text.text, self.reference, 1.0) / FRAMES_PER_S


@dataclass(frozen=True)
class PlannedSegment:
    """The text of one segment.

    Attributes:
        passage: that it is a part of.
        reference: of its voice.
        origins: for each of its characters the `(begin, end)` in the script's text.
        frames: mel frames that it is given.
        pause_s: the silence after it.
        is_exact: the text asks for that silence, so that it stays with a cross-fade, and at the end.
    """

    passage: SpokenPassage
    reference: Reference
    text: str
    origins: tuple[tuple[int, int], ...]
    frames: int
    pause_s: float
    is_exact: bool

    @property
    def estimated_s(self) -> float:
        """Return how long it will be, before its edges are trimmed."""
        return self.frames / FRAMES_PER_S


class Plan:
    """A text cut into segments; those of a long text are made while the first ones are spoken.

    Attributes:
        lead_s: the silence before the first segment.
        parts: the text of each segment that was made.
        segments: for the engine.
        duration_s: how long all is together, before the segments are trimmed and joined.
        work: frames of a forward, times the steps that they take, at least.
        warnings: for the caller, when all segments are made.
    """

    def __init__(
        self,
        lead_s: float,
        duration_s: float,
        coming: Iterable[tuple[PlannedSegment, Segment, set[str]]],
        work: float = 0.0,
    ) -> None:
        self.lead_s, self.duration_s, self.work = lead_s, duration_s, work
        self.parts: list[PlannedSegment] = []
        self.segments: list[Segment] = []
        self.warnings: list[str] = []
        self._coming = iter(coming)
        self._unknown = set[str]()

    def batches(self) -> Iterator[tuple[Sequence[Segment], tuple[float, float]]]:
        """Yield the segments, one at first and then more at a time, and from where to where they are of the whole.

        Each batch is made when it is asked for.
        """
        begin, begin_share, size = 0, 0.0, max(1, len(self.segments))
        while self.make(size) > begin:
            frames = sum(part.frames for part in self.parts)
            end_share = min(1.0, frames / FRAMES_PER_S / self.duration_s)
            yield self.segments[begin:], (begin_share, end_share)
            begin, begin_share, size = len(self.segments), end_share, size * BATCH_GROWTH

    def make(self, n_more: int | None = None) -> int:
        """Make so many segments more, or all; return how many there are."""
        is_complete = True
        for part, segment, unknown in islice(self._coming, n_more):
            self.parts.append(part)
            self.segments.append(segment)
            self._unknown |= unknown
            is_complete = False
        self.warnings = _unknown_warning(self._unknown) if n_more is None or is_complete else []
        return len(self.segments)


def make_plan(
    passages: Sequence[VoicedPassage],
    vocabulary: Vocabulary,
    params: SamplingParams,
    settings: Settings,
    *,
    lead_s: float = 0.0,
    first_s: float | None = None,
    one_sentence: bool = False,
    at_once: bool = True,
) -> Plan:
    """Cut passages into segments and estimate the length of each.

    Args:
        lead_s: silence before the first one.
        first_s: target length of the first of several segments.
        one_sentence: of each segment.
        at_once: make all segments now; otherwise those of a long text are made as they are taken.

    Raises:
        TextTooLong: it would sound for longer than allowed.
        InvalidInput: a segment would be longer than the model can speak.
    """
    cut = ((passage, part) for passage in passages for part in _cut(passage, first_s, one_sentence))
    if at_once or sum(len(passage.spoken.sentences.plain.text) for passage in passages) <= MAX_COMPLETE_CHARS:
        voiced = list(cut)
        pauses_s = lead_s + sum(part.pause_s for _, part in voiced if part.is_exact)
        duration_s = sum(part.frames for _, part in voiced) / FRAMES_PER_S + pauses_s
        _check_length(duration_s, settings)
        plan = Plan(lead_s, duration_s, _segments(voiced, lead_s, vocabulary, params, settings))
        plan.make()
        plan.work = sum(segment.work for segment in plan.segments)
        return plan
    # Figures are shorter than their words: what is too long with them need not be read.
    least_s = lead_s + sum(_natural_s(passage, 0) for passage in passages)
    _check_length(least_s, settings)
    estimated_s = lead_s + sum(_natural_s(passage, WORD_BYTES) for passage in passages)
    coming = _segments(cut, lead_s, vocabulary, params, settings)
    work = least_s * FRAMES_PER_S * params.nfe * forward_rows(params.guidance_scale)
    return Plan(lead_s, min(estimated_s, settings.max_audio_s), coming, work)


def _segments(
    voiced: Iterable[tuple[VoicedPassage, PlannedSegment]],
    sounded_s: float,
    vocabulary: Vocabulary,
    params: SamplingParams,
    settings: Settings,
) -> Iterator[tuple[PlannedSegment, Segment, set[str]]]:
    """Yield each segment with the characters of it that the model does not know."""
    for index, (passage, part) in enumerate(voiced):
        cancellation.check()
        sounded_s += part.frames / FRAMES_PER_S + part.pause_s * part.is_exact
        _check_length(sounded_s, settings)
        tokens, unknown = vocabulary.encode(vocabulary.tokens(passage.reference.transcript + part.text))
        segment = _segment(params, passage.reference, tokens, part.frames, segment_seed(params.seed, index))
        yield part, segment, set(unknown)


def _natural_s(passage: VoicedPassage, digit_bytes: int) -> float:
    """Return how long a passage is without its numbers in words, if a digit takes so many bytes more."""
    text = passage.spoken.sentences.plain.text
    spelled = text + "x" * (digit_bytes * sum(map(str.isdecimal, text)))
    return _frames(spelled, passage.reference, passage.speed) / FRAMES_PER_S + (passage.spoken.pause_s or 0.0)


def check_chars(text: str, settings: Settings) -> None:
    """Raise if a text has more characters than allowed.

    Raises:
        TextTooLong
    """
    limit = settings.max_text_chars
    if len(text) > limit:
        raise TextTooLong(f"text has {len(text)} characters, at most {limit} (F5_MAX_TEXT_CHARS); send it in parts")


def _cut(passage: VoicedPassage, first_s: float | None, one_sentence: bool) -> Iterator[PlannedSegment]:
    """Yield the segments of a passage."""
    spoken, reference = passage.spoken, passage.reference
    n_bytes = len(reference.transcript.encode())
    first = None if first_s is None else round(n_bytes / reference.duration_s * first_s * passage.speed)
    budget = byte_budget(n_bytes, reference.duration_s, passage.speed)
    pieces = chunk_sentences(spoken.sentences, budget, first, one_sentence=one_sentence, end_rank=spoken.end_rank)
    following = next(pieces, None)
    while following:
        (piece, places), following = following, next(pieces, None)
        is_exact = following is None and spoken.pause_s is not None
        yield PlannedSegment(
            spoken,
            reference,
            piece.text,
            places,
            _frames(piece.text, reference, passage.speed),
            spoken.pause_s if is_exact and spoken.pause_s is not None else piece.pause_s,
            is_exact,
        )


def speed_into(duration_s: float, passages: Sequence[VoicedPassage], lead_s: float, one_sentence: bool) -> float:
    """Return the speed at which passages, with the pauses that their text asks for, last `duration_s`.

    A segment of a word or two has its own pace (`duration.SHORT_TEXT_SPEED`), unless there are no others.

    Raises:
        InvalidInput: outside SPEED_RANGE; the message has the possible durations.
    """
    parts = [part for passage in passages for part in _cut(replace(passage, speed=1.0), None, one_sentence)]
    pauses_s = lead_s + sum(part.pause_s for part in parts if part.is_exact)
    short_s = sum(part.estimated_s for part in parts if len(part.text.encode()) < SHORT_TEXT_BYTES)
    natural_s = sum(part.estimated_s for part in parts)
    if short_s == natural_s:
        return speed_for(duration_s, natural_s, pauses_s)
    return speed_for(duration_s, natural_s - short_s, pauses_s + short_s)


def speed_for(duration_s: float, natural_s: float, fixed_s: float = 0.0) -> float:
    """Return the speed at which `natural_s` of speech, and `fixed_s` that no speed changes, last `duration_s`.

    Raises:
        InvalidInput: outside SPEED_RANGE; the message has the possible durations.
    """
    low, high = SPEED_RANGE
    shortest_s, longest_s = fixed_s + natural_s / high, fixed_s + natural_s / low
    if not shortest_s <= duration_s <= longest_s:
        with_pauses = f" with {fixed_s:.1f} s of pauses and single words" if fixed_s else ""
        raise InvalidInput(
            f"fix_duration_s={duration_s:g}: the text takes about {natural_s + fixed_s:.1f} s in this voice"
            f"{with_pauses}; it can be fitted into {shortest_s:.1f}..{longest_s:.1f} s"
        )
    return natural_s / (duration_s - fixed_s)


def _frames(text: str, reference: Reference, speed: float) -> int:
    return target_frames(text, reference.transcript, mel_frames(len(reference.samples)), speed)


def _segment(params: SamplingParams, reference: Reference, tokens: Sequence[int], target: int, seed: int) -> Segment:
    # Upstream keeps at least one frame more than tokens (cfm.py, `duration`).
    frames = max(mel_frames(len(reference.samples)) + target, len(tokens) + 1)
    if frames > MAX_SEGMENT_FRAMES:
        raise InvalidInput(
            f"a segment would last {frames / FRAMES_PER_S:.0f} s with its reference, "
            f"at most {MAX_SEGMENT_FRAMES / FRAMES_PER_S:.0f} s; raise speed, lower fix_duration_s, "
            "or use a reference that speaks faster"
        )
    return make_segment(
        reference=reference.samples,
        tokens=tuple(tokens),
        frames=frames,
        nfe=params.nfe,
        guidance_scale=params.guidance_scale,
        sway_coefficient=params.sway_coefficient,
        seed=seed,
    )


def _check_length(target_s: float, settings: Settings) -> None:
    if target_s > settings.max_audio_s:
        raise TextTooLong(
            f"the text would sound for about {target_s:.0f} s, at most {settings.max_audio_s:.0f} s "
            "(F5_MAX_AUDIO_S); send it in parts or raise speed"
        )


def _unknown_warning(unknown: set[str]) -> list[str]:
    if not unknown:
        return []
    shown = " ".join(sorted(unknown)[:10]) + (" ..." if len(unknown) > 10 else "")
    return [f"{len(unknown)} characters are unknown to the model and were read as plain letters or spaces: {shown}"]
