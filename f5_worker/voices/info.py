"""What is told of voices, and what is told to keep one."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone

from f5_worker.reference.prepare import Reference
from f5_worker.schema.requests import VoiceDefaultsInput
from f5_worker.voices.naming import Entry, extension
from f5_worker.voices.store import FileStat, VoiceSource
from f5_worker.voices.versions import Found, VoiceMetadata

VoiceDefaults = VoiceDefaultsInput  # what a caller may set is what is kept


@dataclass(frozen=True)
class NewVoice:
    """A voice to keep. `audio` is a file's bytes, `transcript` text, SRT, VTT or CSV; None: the recogniser listens."""

    name: str
    audio: bytes
    transcript: str | None = None
    consent: str | None = None
    defaults: VoiceDefaults = field(default_factory=VoiceDefaults)
    replace: bool = False


@dataclass(frozen=True)
class VoiceInfo:
    """What is known of a voice.

    Attributes:
        format: of the clip: its file's extension.
        size_bytes, modified_at: of the clip.
        has_transcript: whether one came with it; else the recogniser wrote it, or will.
        details: consent, defaults, report and more; None in lists, and for voices that were not added by `add`.
        audio: the clip's bytes, if they were asked for.
    """

    name: str
    source: VoiceSource
    format: str
    size_bytes: int
    modified_at: datetime
    has_transcript: bool
    details: VoiceMetadata | None = None
    audio: bytes | None = None


@dataclass(frozen=True)
class TakenVoice:
    """What a job needs of a voice, all of one version."""

    name: str
    reference: Reference
    defaults: VoiceDefaults


def info_of(found: Found, source: VoiceSource, audio: bytes | None = None) -> VoiceInfo:
    return VoiceInfo(
        name=found.name,
        source=source,
        format=extension(found.clip),
        size_bytes=found.facts.size_bytes,
        modified_at=_utc(found.facts),
        has_transcript=found.transcript is not None,
        details=found.record,
        audio=audio,
    )


def listed_info(name: str, entry: Entry, source: VoiceSource) -> VoiceInfo | None:
    """From names alone; None if it was deleted since."""
    clip, has_transcript = entry.listed()
    facts = clip.facts()
    if facts is None:
        return None
    return VoiceInfo(name, source, extension(clip.name), facts.size_bytes, _utc(facts), has_transcript)


def _utc(facts: FileStat) -> datetime:
    return datetime.fromtimestamp(facts.modified_s, timezone.utc)
