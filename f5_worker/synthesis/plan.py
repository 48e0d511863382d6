"""From a text to the segments that the model speaks: the text, length and origin of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from f5_worker import cancellation
from f5_worker.engine.types import Segment
from f5_worker.errors import InvalidInput, TextTooLong
from f5_worker.models.f5.config import FRAMES_PER_S, MAX_SEGMENT_FRAMES, make_segment, mel_frames
from f5_worker.models.f5.duration import SHORT_TEXT_BYTES, target_frames
from f5_worker.models.f5.tokenizer import Vocabulary, tokenize
from f5_worker.reference.prepare import Reference
from f5_worker.settings import Settings
from f5_worker.text.chunk import byte_budget, chunk, origins
from f5_worker.text.seed import segment_seed

if TYPE_CHECKING:
    from f5_worker.text.reading import SpokenPassage

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
        origins: for each of its characters the `(begin, end)` in the script's text.
        frames: mel frames that it is given.
        pause_s: the silence after it.
        is_exact: the text asks for that silence, so that it stays with a cross-fade, and at the end.
    """

    passage: SpokenPassage
    text: str
    origins: tuple[tuple[int, int], ...]
    frames: int
    pause_s: float
    is_exact: bool

    @property
    def estimated_s(self) -> float:
        """Return how long it will be, before its edges are trimmed."""
        return self.frames / FRAMES_PER_S


@dataclass(frozen=True)
class Plan:
    """A text cut into segments, and the warnings for the caller.

    Attributes:
        lead_s: the silence before the first segment.
        parts: the text of each segment.
        segments: for the engine.
        duration_s: how long all is together, before the segments are trimmed and joined.
    """

    lead_s: float
    parts: Sequence[PlannedSegment]
    segments: Sequence[Segment]
    duration_s: float
    warnings: Sequence[str]


def make_plan(
    passages: Sequence[VoicedPassage],
    vocabulary: Vocabulary,
    params: SamplingParams,
    settings: Settings,
    *,
    lead_s: float = 0.0,
    first_s: float | None = None,
    one_sentence: bool = False,
) -> Plan:
    """Cut passages into segments and estimate the length of each.

    Args:
        lead_s: silence before the first one.
        first_s: target length of the first of several segments.
        one_sentence: of each segment.

    Raises:
        TextTooLong: it would sound for longer than allowed.
        InvalidInput: a segment would be longer than the model can speak.
    """
    voiced = [(passage, part) for passage in passages for part in _cut(passage, first_s, one_sentence)]
    parts = [part for _, part in voiced]
    pauses_s = lead_s + sum(part.pause_s for part in parts if part.is_exact)
    duration_s = sum(part.frames for part in parts) / FRAMES_PER_S + pauses_s
    _check_length(duration_s, settings)
    segments, unknown = [], set[str]()
    for index, (passage, part) in enumerate(voiced):
        cancellation.check()
        tokens, missing = vocabulary.encode(tokenize(passage.reference.transcript + part.text))
        unknown.update(missing)
        segments.append(_segment(params, passage.reference, tokens, part.frames, segment_seed(params.seed, index)))
    return Plan(lead_s, parts, segments, duration_s, _unknown_warning(unknown))


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
    pieces = chunk(spoken.text.text, budget, first, one_sentence=one_sentence, end_rank=spoken.end_rank)
    for index, piece in enumerate(pieces):
        is_last = index == len(pieces) - 1
        yield PlannedSegment(
            spoken,
            piece.text,
            origins(piece, spoken.text),
            _frames(piece.text, reference, passage.speed),
            spoken.pause_s if is_last and spoken.pause_s is not None else piece.pause_s,
            is_exact=is_last and spoken.pause_s is not None,
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
    return [f"{len(unknown)} characters are unknown to the model and were read as spaces: {shown}"]
