"""Voices as callers and jobs see them: what is sent to add one, what is known of one, what a job needs of one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from f5_worker.reference.prepare import Reference
from f5_worker.schema.requests import VoiceDefaultsInput
from f5_worker.voices.listing import VoiceFiles
from f5_worker.voices.naming import extension
from f5_worker.voices.record import StoredVoice, VoiceMetadata
from f5_worker.voices.store import FileStat, VoiceSource
from f5_worker.voices.versions import VersionedVoiceStore

VoiceDefaults = VoiceDefaultsInput  # stored as callers send it


@dataclass(frozen=True)
class NewVoice:
    """A voice to add.

    Attributes:
        audio: a file's bytes.
        transcript: text, subtitles or a table, or the bytes of their file; None: the recogniser writes it.
        consent: the statement of who agreed to the use of the voice.
        replace: whether a voice of that name is replaced.
        original: the name of an uploaded file, of which `name` was made; the voice of another file is never replaced.
    """

    name: str
    audio: bytes
    transcript: str | bytes | None = None
    consent: str | None = None
    defaults: VoiceDefaults = field(default_factory=VoiceDefaults)
    replace: bool = False
    original: str | None = None


@dataclass(frozen=True)
class VoiceInfo:
    """The facts of a voice.

    Attributes:
        format: of the clip: its file's extension.
        size_bytes, modified_at: of the clip.
        has_transcript: whether one came with it; else the recogniser wrote it, or will.
        is_private: whether it is of the caller alone, who may then see all of `metadata`.
        version: changes when the voice is replaced, and is the same on all workers; None in lists.
        metadata: consent, defaults, report and more; None in lists, and for voices that were not added by `add`.
        audio: the clip's bytes, if they were asked for.
    """

    name: str
    source: VoiceSource
    format: str
    size_bytes: int
    modified_at: datetime
    has_transcript: bool
    is_private: bool = False
    version: str | None = None
    metadata: VoiceMetadata | None = None
    audio: bytes | None = None


@dataclass(frozen=True)
class LoadedVoice:
    """A voice ready for a job: reference and defaults, both of one version."""

    name: str
    reference: Reference
    defaults: VoiceDefaults


def stored_info(
    voice: StoredVoice,
    store: VersionedVoiceStore,
    source: tuple[bytes, bytes | None] | None,
    *,
    with_audio: bool,
) -> VoiceInfo:
    """Return all facts of a voice, with its clip if asked for.

    Args:
        source: clip and transcript; None only for a voice that was added, without its clip.
    """
    version = voice.record.version if voice.record else _digest(*source) if source else None
    return VoiceInfo(
        name=voice.name,
        source=store.store.source,
        format=extension(voice.clip),
        size_bytes=voice.clip_stat.size_bytes,
        modified_at=_modified_at(voice.clip_stat),
        has_transcript=voice.transcript is not None,
        is_private=bool(store.owner),
        version=version,
        metadata=voice.record,
        audio=source[0] if source and with_audio else None,
    )


def listed_info(name: str, files: VoiceFiles, store: VersionedVoiceStore) -> VoiceInfo | None:
    """Return the facts that a listing gives, without reading a file; None if the voice was deleted since."""
    clip, has_transcript = files.listed_clip()
    stat = clip.stat()
    if stat is None:
        return None
    return VoiceInfo(
        name=name,
        source=store.store.source,
        format=extension(clip.name),
        size_bytes=stat.size_bytes,
        modified_at=_modified_at(stat),
        has_transcript=has_transcript,
        is_private=bool(store.owner),
    )


def _digest(clip: bytes, transcript: bytes | None) -> str:
    """Return the version of a voice that was not added: a hash of its files, as long as a record's version."""
    files = hashlib.sha256(clip).digest() + hashlib.sha256(transcript or b"").digest()
    return hashlib.sha256(files).hexdigest()[:12]


def _modified_at(stat: FileStat) -> datetime:
    return datetime.fromtimestamp(stat.modified_s, UTC)
