"""The voice of each speaker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from f5_worker.errors import InvalidInput
from f5_worker.schema.dub import DubInput
from f5_worker.voices.info import LoadedVoice

if TYPE_CHECKING:
    from f5_worker.transcripts.cues import Cue


def assign_voices(
    job: DubInput,
    cues: Sequence[Cue],
    load_voice: Callable[[str | None], LoadedVoice],
    all_cues: Sequence[Cue] = (),
) -> dict[str | None, LoadedVoice]:
    """Return the voice of each speaker, and under None the voice of all others.

    Args:
        load_voice: returns the voice of a name; None stands for the job's own.
        all_cues: with those that are silent, whose speakers need no voice.

    Raises:
        InvalidInput: `voices` names a speaker that no line has.
    """
    speakers = {cue.speaker for cue in cues}
    named = speakers | {cue.speaker for cue in all_cues}
    unknown = [speaker for speaker in job.voices if speaker not in named]
    if unknown:
        known = ", ".join(sorted(filter(None, named))) or "none"
        raise InvalidInput(f"voices names the speaker {unknown[0][:40]!r}, which no line has; the lines have {known}")
    voices: dict[str | None, LoadedVoice] = {speaker: load_voice(name) for speaker, name in job.voices.items()}
    if speakers - voices.keys():
        voices[None] = load_voice(None)
    return voices
