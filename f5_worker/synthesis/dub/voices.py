"""The voice of each speaker: as the request names it, cut from the source, or the job's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from f5_worker.errors import InvalidInput, ReferenceProblem, SpeakerUnusable
from f5_worker.schema.dub import DubInput
from f5_worker.synthesis.dub.source import SourceVoice
from f5_worker.voices.info import LoadedVoice, VoiceDefaults

if TYPE_CHECKING:
    from f5_worker.transcripts.cues import Cue


@dataclass(frozen=True)
class AssignedVoices:
    """The voice of each speaker.

    Attributes:
        by_speaker: under None that of lines without a speaker, and of the speakers that are not in it.
        warnings: of their references, for the caller.
    """

    by_speaker: Mapping[str | None, LoadedVoice]
    warnings: Sequence[str] = ()

    def of(self, speaker: str | None) -> LoadedVoice:
        """Return the voice of a speaker."""
        return self.by_speaker[speaker if speaker in self.by_speaker else None]


def assign_voices(
    job: DubInput,
    cues: Sequence[Cue],
    load_voice: Callable[[str | None], LoadedVoice],
    all_cues: Sequence[Cue] = (),
    source: Mapping[str | None, SourceVoice] | None = None,
) -> AssignedVoices:
    """Return the voices of the lines.

    Args:
        load_voice: returns the voice of a name; None stands for the job's own.
        all_cues: with those that are silent, whose speakers need no voice.
        source: what the original recording has of the speakers that `voices` does not name; None without one.

    Raises:
        InvalidInput: `voices` names a speaker that no line has.
        SpeakerUnusable: the source has nothing of a speaker, and the job no voice of its own.
    """
    speakers = {cue.speaker for cue in cues}
    named = speakers | {cue.speaker for cue in all_cues}
    unknown = [speaker for speaker in job.voices if speaker not in named]
    if unknown:
        known = ", ".join(sorted(filter(None, named))) or "none"
        raise InvalidInput(f"voices names the speaker {unknown[0][:40]!r}, which no line has; the lines have {known}")
    voices: dict[str | None, LoadedVoice] = {speaker: load_voice(name) for speaker, name in job.voices.items()}
    others = sorted(speakers - voices.keys(), key=str)
    warnings: list[str] = []
    if source is not None:
        for speaker in others:
            voices[speaker], told = _from_source(speaker, source[speaker], job, load_voice)
            warnings += told
    elif others:
        voices[None] = load_voice(None)
        if job.reference is not None:
            warnings += voices[None].reference.warnings
    return AssignedVoices(voices, warnings)


def _from_source(
    speaker: str | None, cut: SourceVoice, job: DubInput, load_voice: Callable[[str | None], LoadedVoice]
) -> tuple[LoadedVoice, list[str]]:
    """Return the voice of a speaker, and warnings that name the speaker."""
    who = f"speaker {speaker[:40]!r}" if speaker else "lines without a speaker"
    if not isinstance(cut.reference, ReferenceProblem):
        return LoadedVoice("", cut.reference, VoiceDefaults()), [f"{who}: {told}" for told in cut.reference.warnings]
    reason = f"{who}: no voice can be cut from the source: {cut.reference.message}"
    if job.voice is None and job.reference is None:
        raise SpeakerUnusable(f"{reason}; or name a voice in voices, or in voice for all such speakers")
    return load_voice(None), [f"{reason}; spoken in the job's own voice"]
