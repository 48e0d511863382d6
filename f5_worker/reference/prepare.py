"""A recording and its transcript to what the model is given: a short level clip and exactly its words.

All signals are float32 `[nw]`, mono, at 24 kHz.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

from f5_worker.asr.whisper import Recogniser
from f5_worker.audio.decode import decode
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.errors import (
    ReferenceSilent,
    ReferenceTooLong,
    ReferenceTooShort,
    TranscriptMismatch,
    TranscriptNeeded,
)
from f5_worker.reference.candidates import Choice, confirmed, of_cues, of_sound, of_text
from f5_worker.reference.clip import Clip, find_speech, finish, listen
from f5_worker.reference.report import VoiceReport, measure
from f5_worker.settings import Settings, variable
from f5_worker.text.letters import finish_transcript
from f5_worker.transcripts.parse import Transcript, parse_transcript


@dataclass(frozen=True, eq=False)
class Reference:
    """What the model clones: `samples` and exactly the words in them.

    Attributes:
        transcript: ends in sentence punctuation and, unless that is Chinese or Japanese, a space.
        source_s: length of the recording as sent, in seconds.
        warnings: what was done to the recording, and what makes the clip a poor one, in words for the caller.
        report: what was measured of the clip.
    """

    samples: Samples
    transcript: str
    source_s: float
    warnings: tuple[str, ...]
    report: VoiceReport

    @property
    def language(self) -> str | None:
        """ISO 639-1, as given or detected; None if nobody said."""
        return self.report.language

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    @cached_property
    def key(self) -> str:
        """Equal for equal samples and transcript, in every process."""
        return hashlib.sha256(self.samples.tobytes() + self.transcript.encode()).hexdigest()


def prepare(
    data: bytes,
    transcript: str | None,
    settings: Settings,
    recogniser: Recogniser | None = None,
    language: str | None = None,
) -> Reference:
    """Make a reference of a recording (a file's bytes) and the words spoken in it.

    What is longer than F5_REFERENCE_MAX_S is cut, sound and words together, to its best part as the transcript's
    times or the recogniser tell it. Without either it is cut at a pause that belongs to a punctuation mark for
    certain; where none does, it is refused: a transcript that says more than its clip makes the model speak
    garbled and far too fast.

    Args:
        transcript: plain text, SRT, VTT or CSV; None has the recogniser write it.
        language: ISO 639-1, of the recording; None has the recogniser detect it.

    Raises:
        InvalidInput: the transcript says nothing.
        SubtitlesUnreadable: it looks like subtitles and is none.
        ReferenceProblem: one of its kinds, with what was measured.
        ModelUnavailable: the recogniser's files are broken.
    """
    given = None if transcript is None else parse_transcript(transcript)
    if given is not None:
        given = replace(given, text=finish_transcript(given.text))
    audio = decode(data, max_bytes=settings.reference_max_bytes, max_s=settings.reference_decode_max_s)
    choices = _choices(find_speech(audio), given, settings.reference_max_s, recogniser, language)
    choice = confirmed(choices, recogniser if settings.check_transcripts else None, language)
    text = finish_transcript(choice.text)
    # Where the recogniser wrote the words, how far it agrees with itself says nothing.
    agreement = choice.agreement if given is not None else None
    report = measure(choice.clip, text, agreement=agreement, language=language or choice.language)
    notes = [choice.note, choice.doubt if choice.agreement is None else None]
    warnings = (*filter(None, notes), *report.reasons)
    return Reference(finish(choice.clip), text, audio.duration_s, warnings, report)


def examine(
    data: bytes,
    transcript: str | None,
    settings: Settings,
    recogniser: Recogniser | None = None,
    language: str | None = None,
) -> VoiceReport:
    """What `prepare` finds out about a recording; a report of all of it, with the reason, where it refuses.

    Without words, and with nobody to find them, the sound alone is judged.

    Raises:
        InvalidInput, SubtitlesUnreadable: as `prepare`.
        ReferenceUnreadable, ReferenceTooLarge: it is no recording that can be measured.
        ModelUnavailable: the recogniser's files are broken.
    """
    try:
        return prepare(data, transcript, settings, recogniser, language).report
    except TranscriptNeeded as error:
        refusal = error.message if recogniser is not None else None
    except (ReferenceSilent, ReferenceTooShort, ReferenceTooLong, TranscriptMismatch) as error:
        refusal = error.message
    clip = listen(decode(data, max_bytes=settings.reference_max_bytes, max_s=settings.reference_decode_max_s))
    if clip.regions:
        clip = clip.part(0, len(clip.regions))
    return measure(clip, "", language=language, fatal=refusal)


def _choices(
    whole: Clip, given: Transcript | None, max_s: float, recogniser: Recogniser | None, language: str | None
) -> list[Choice]:
    if given is not None and given.cues:
        return of_cues(whole, given.cues, max_s)
    if given is not None:
        return of_text(whole, given.text, max_s, recogniser, language)
    if recogniser is None:
        raise TranscriptNeeded(
            "the clip came without its words and this worker has no recogniser to find them "
            f"({variable('asr_model')}); send its transcript"
        )
    return of_sound(whole, max_s, recogniser, language)
