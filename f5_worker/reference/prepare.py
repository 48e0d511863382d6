"""Turn a recording and its transcript into a reference for the model: a short, levelled clip and exactly its words.

All signals are float32 `[nw]`, mono, at 24 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from f5_worker.asr.whisper import Recogniser
from f5_worker.audio.decode import Audio
from f5_worker.audio.isolated import decode
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.errors import (
    ReferenceSilent,
    ReferenceTooLong,
    ReferenceTooShort,
    TranscriptMismatch,
    TranscriptNeeded,
)
from f5_worker.reference.candidates import (
    Candidate,
    candidates_from_cues,
    candidates_from_speech,
    candidates_from_text,
    candidates_from_turns,
    choose_confirmed,
)
from f5_worker.reference.clip import Clip, detect_speech, render_clip, trim_to_speech
from f5_worker.reference.report import VoiceReport, measure
from f5_worker.reference.turns import JoinedTurns
from f5_worker.settings import Settings, variable
from f5_worker.text.normalize import normalize_transcript
from f5_worker.text.sentences import finish_transcript

if TYPE_CHECKING:
    from f5_worker.transcripts.parse import Transcript


@dataclass(frozen=True, eq=False)
class Reference:
    """The clip that the model clones: `samples` and exactly the words in them.

    Attributes:
        transcript: ends in sentence punctuation and, unless that is Chinese or Japanese, a space.
        source_s: length of the recording as sent, in seconds.
        warnings: for the caller: what was done to the recording, and what makes the clip a poor one.
        report: the clip's measurements.
    """

    samples: Samples
    transcript: str
    source_s: float
    warnings: tuple[str, ...]
    report: VoiceReport

    @property
    def language(self) -> str | None:
        """Return ISO 639-1, as given or detected; None if not known."""
        return self.report.language

    @property
    def duration_s(self) -> float:
        """Return the length of the samples in seconds."""
        return len(self.samples) / SAMPLE_RATE


def prepare(
    data: bytes,
    transcript: str | bytes | None,
    settings: Settings,
    recogniser: Recogniser | None = None,
    language: str | None = None,
) -> Reference:
    """Make a reference from a recording (a file's bytes) and the words spoken in it.

    A recording longer than F5_REFERENCE_MAX_S is cut, sound and words together, to its best part, as the times of
    the transcript or of the recogniser tell it. Without either it is cut at a pause that certainly belongs to a
    punctuation mark, or refused where there is none: a transcript that says more than its clip makes the model speak
    garbled and far too fast.

    Args:
        transcript: plain text, subtitles of any kind or a table, as text or as a file's bytes; None lets the
            recogniser write it.
        language: ISO 639-1, of the recording; None lets the recogniser detect it.

    Raises:
        InvalidInput: the transcript has no words.
        SubtitlesUnreadable: it looks like subtitles and cannot be read as such.
        ReferenceProblem: one of its kinds, with what was measured.
        ModelUnavailable: the recogniser's files are broken.
    """
    given = _parse_given(transcript)
    return _prepare(_decode(data, settings), given, settings, recogniser, language)


def _parse_given(transcript: str | bytes | None) -> Transcript | None:
    from f5_worker.transcripts.parse import parse_transcript  # compiles 20 ms of patterns

    if transcript is None:
        return None
    given = parse_transcript(transcript)
    cues = tuple(replace(cue, text=normalize_transcript(cue.text)) for cue in given.cues)
    return replace(given, cues=cues, text=finish_transcript(normalize_transcript(given.text)))


def _decode(data: bytes, settings: Settings) -> Audio:
    return decode(data, max_bytes=settings.reference_max_bytes, max_s=settings.reference_decode_max_s)


def _prepare(
    audio: Audio, given: Transcript | None, settings: Settings, recogniser: Recogniser | None, language: str | None
) -> Reference:
    candidates = _find_candidates(trim_to_speech(audio), given, settings.reference_max_s, recogniser, language)
    chosen = choose_confirmed(candidates, recogniser if settings.check_transcripts else None, language)
    # Where the recogniser wrote the words, its agreement with itself says nothing.
    agreement = chosen.agreement if given is not None else None
    return _make_reference(audio, chosen, agreement, language, given.warning if given is not None else None)


def prepare_turns(
    turns: JoinedTurns, settings: Settings, recogniser: Recogniser | None = None, language: str | None = None
) -> Reference:
    """Make a reference from the turns of one speaker in a long recording; the words are never of anyone else.

    Its report says where in the long recording it begins.

    Raises:
        ReferenceProblem: one of its kinds, with what was measured.
    """
    candidates = candidates_from_turns(trim_to_speech(turns.audio), turns.cues, settings.reference_max_s)
    chosen = choose_confirmed(candidates, recogniser if settings.check_transcripts else None, language)
    reference = _make_reference(turns.audio, chosen, chosen.agreement, language, None)
    begin_s = round(turns.source_s(chosen.clip.begin / SAMPLE_RATE), 3)
    return replace(reference, report=reference.report.model_copy(update={"clip_start_s": begin_s}))


def _make_reference(
    audio: Audio, chosen: Candidate, agreement: float | None, language: str | None, encoding: str | None
) -> Reference:
    text = finish_transcript(chosen.text)
    report = measure(chosen.clip, text, agreement=agreement, language=language or chosen.language, doubt=encoding)
    warnings = [chosen.cut_warning, chosen.times_warning if chosen.agreement is None else None, encoding]
    told = dict.fromkeys((*filter(None, warnings), *report.repairs, *report.reasons))
    return Reference(render_clip(chosen.clip), text, audio.duration_s, tuple(told), report)


def examine(
    data: bytes,
    transcript: str | bytes | None,
    settings: Settings,
    recogniser: Recogniser | None = None,
    language: str | None = None,
) -> VoiceReport:
    """Return the report of the reference that `prepare` makes or, where it refuses, of the whole recording.

    A refusal is the reason in that report. Without a transcript and a recogniser only the sound is judged.

    Raises:
        InvalidInput, SubtitlesUnreadable: as `prepare`.
        ReferenceUnreadable, ReferenceTooLarge: it is not a recording that can be measured.
        ModelUnavailable: the recogniser's files are broken.
    """
    given = _parse_given(transcript)
    audio = _decode(data, settings)
    try:
        return _prepare(audio, given, settings, recogniser, language).report
    except TranscriptNeeded as error:
        refusal = error.message if recogniser is not None else None
    except (ReferenceSilent, ReferenceTooShort, ReferenceTooLong, TranscriptMismatch) as error:
        refusal = error.message
    clip = detect_speech(audio)
    if clip.regions:
        clip = clip.cut(0, len(clip.regions))
    return measure(clip, "", language=language, refusal=refusal)


def _find_candidates(
    whole: Clip, given: Transcript | None, max_s: float, recogniser: Recogniser | None, language: str | None
) -> list[Candidate]:
    if given is not None and given.cues:
        return candidates_from_cues(whole, given.cues, max_s)
    if given is not None:
        return candidates_from_text(whole, given.text, max_s, recogniser, language)
    if recogniser is None:
        raise TranscriptNeeded(
            "the clip came without its words and this worker has no recogniser to find them "
            f"({variable('asr_model')}); send its transcript"
        )
    return candidates_from_speech(whole, max_s, recogniser, language)
