"""From a text to the segments that the model speaks: the text, length and origin of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from f5_worker import cancellation
from f5_worker.engine.types import Segment
from f5_worker.errors import InvalidInput, TextTooLong
from f5_worker.models.f5.config import FRAMES_PER_S, MAX_SEGMENT_FRAMES, make_segment, mel_frames
from f5_worker.models.f5.duration import target_frames
from f5_worker.models.f5.tokenizer import Vocabulary, tokenize
from f5_worker.reference.prepare import Reference
from f5_worker.settings import Settings
from f5_worker.text.chunk import Chunk, byte_budget, chunk
from f5_worker.text.normalize import ensure_speakable, normalize
from f5_worker.text.seed import segment_seed
from f5_worker.text.spans import SourceMappedText

SPEED_RANGE = (0.25, 4.0)  # how far a wanted duration may bend the reference's pace


@dataclass(frozen=True)
class SamplingParams:
    """The parameters of sampling and of the text, with every default filled in.

    Attributes:
        language: stated by the job or the voice, or else told by the script, or else the model's.
        by_script: it was not stated, and a sentence in the script of another language is of that one.
        expand: write out numbers, units and abbreviations.
        nfe: number of function evaluations, which is the number of steps.
        guidance_scale: strength of classifier-free guidance.
        sway_coefficient: of sway sampling; None for even steps.
    """

    language: str
    by_script: bool
    expand: bool
    nfe: int
    guidance_scale: float
    sway_coefficient: float | None
    seed: int


@dataclass(frozen=True)
class Plan:
    """A text cut into segments, and the warnings for the caller.

    Attributes:
        text: as sent.
        chunks: the text of each segment.
        segments: for the engine.
        duration_s: how long the segments are together, before they are trimmed and joined.
    """

    text: str
    normalized: SourceMappedText
    chunks: list[Chunk]
    segments: list[Segment]
    duration_s: float
    warnings: list[str]


def make_plan(
    text: str,
    reference: Reference,
    vocabulary: Vocabulary,
    params: SamplingParams,
    settings: Settings,
    *,
    speed: float = 1.0,
    first_s: float | None = None,
) -> Plan:
    """Cut a text into segments and estimate the length of each.

    Args:
        speed: relative to the reference's pace.
        first_s: target length of the first of several segments.

    Raises:
        TextTooLong, TextUnspeakable: see `speakable`.
        InvalidInput: a segment would be longer than the model can speak.
    """
    normalized = speakable(text, params, settings)
    spoken = len(reference.transcript.encode())
    first = None if first_s is None else round(spoken / reference.duration_s * first_s * speed)
    chunks = chunk(normalized.text, byte_budget(spoken, reference.duration_s, speed), first)
    frames = [_frames(piece.text, reference, speed) for piece in chunks]
    duration_s = sum(frames) / FRAMES_PER_S
    _check_length(duration_s, settings)
    segments, unknown = [], set[str]()
    for index, (piece, target) in enumerate(zip(chunks, frames, strict=True)):
        cancellation.check()
        tokens, missing = vocabulary.encode(tokenize(reference.transcript + piece.text))
        unknown.update(missing)
        segments.append(_segment(params, reference, tokens, target, segment_seed(params.seed, index)))
    return Plan(text, normalized, chunks, segments, duration_s, _unknown_warning(unknown))


def speakable(text: str, params: SamplingParams, settings: Settings) -> SourceMappedText:
    """Return the text as it will be read.

    Raises:
        TextTooLong: more characters than allowed. TextUnspeakable: no letter and no digit.
    """
    limit = settings.max_text_chars
    if len(text) > limit:
        raise TextTooLong(f"text has {len(text)} characters, at most {limit} (F5_MAX_TEXT_CHARS); send it in parts")
    normalized = normalize(text, language=params.language, by_script=params.by_script, expand=params.expand)
    ensure_speakable(normalized.text, len(text))
    return normalized


def natural_s(text: str, reference: Reference, params: SamplingParams, settings: Settings) -> float:
    """Return how long a text takes at the reference's own pace, in seconds."""
    return _frames(speakable(text, params, settings).text, reference, 1.0) / FRAMES_PER_S


def speed_for(duration_s: float, natural: float) -> float:
    """Return the speed at which `natural` seconds of speech last `duration_s`.

    Raises:
        InvalidInput: outside SPEED_RANGE; the message has the possible durations.
    """
    speed = natural / duration_s
    low, high = SPEED_RANGE
    if not low <= speed <= high:
        raise InvalidInput(
            f"fix_duration_s={duration_s:g}: the text takes about {natural:.1f} s in this voice; "
            f"it can be fitted into {natural / high:.1f}..{natural / low:.1f} s"
        )
    return speed


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
