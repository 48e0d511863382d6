"""Voices by name: kept in a directory or a bucket, or shipped with the model; the first place that has one is used."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias, TypeVar

from f5_worker.audio.formats import INPUT_CONTAINERS
from f5_worker.audio.sniff import locate
from f5_worker.errors import (
    ConsentMissing,
    InvalidInput,
    SettingsInvalid,
    StorageFailed,
    UnknownVoice,
    VoiceExists,
)
from f5_worker.reference import prepare as references
from f5_worker.reference.prepare import Reference
from f5_worker.reference.report import VoiceReport
from f5_worker.schema.requests import MAX_SUBTITLE_CHARS
from f5_worker.settings import VOLUME, Settings, variable
from f5_worker.storage.s3 import Bucket
from f5_worker.transcripts.parse import decode_transcript
from f5_worker.voices.cache import PreparedReference, ReferenceCache, dump_samples
from f5_worker.voices.info import LoadedVoice, NewVoice, VoiceInfo, listed_info, stored_info
from f5_worker.voices.naming import ADDED_TRANSCRIPT_EXTENSION, SAMPLES_EXTENSION, is_name
from f5_worker.voices.store import Store
from f5_worker.voices.store_directory import DirectoryStore
from f5_worker.voices.store_s3 import BucketStore
from f5_worker.voices.versions import StaleVersionError, StoredVoice, VersionedVoiceStore, VoiceMetadata

DEFAULT = "default"
VOLUME_FOLDER = "f5-voices"
MIN_CONSENT_CHARS, MAX_CONSENT_CHARS = 10, 2_000
MAX_TRANSCRIPT_BYTES = 4 * MAX_SUBTITLE_CHARS
MAX_SAMPLES_BYTES = 4_000_000  # 40 s; F5_REFERENCE_MAX_S ends at 20
MAX_TRIES = 5  # to read a voice that others replace again and again
MAX_NAMED = 20  # voices in a message that lists them

T = TypeVar("T")

Names: TypeAlias = list[str]  # `list` is a method below
Infos: TypeAlias = list[VoiceInfo]
Prepare: TypeAlias = Callable[[bytes, str | None, Settings], Reference]
Examine: TypeAlias = Callable[[bytes, str | None, Settings], VoiceReport]


class Library:
    """All voices that this worker offers. Any thread may call any method; each sees what other workers have added."""

    def __init__(
        self,
        shipped: Path,
        settings: Settings,
        *,
        stores: Sequence[Store] = (),
        prepare: Prepare = references.prepare,
        examine: Examine = references.examine,
        prepare_shipped: Prepare | None = None,
    ) -> None:
        """
        Args:
            shipped: directory of the model's own voices.
            stores: where voices are kept; the first takes new ones.
            prepare, examine: of `reference.prepare`, with the recogniser bound to them if there is one.
            prepare_shipped: for the model's own voices, whose words need not be checked; None for `prepare`.
        """
        self._settings = settings
        self._prepare, self._examine = prepare, examine
        self._prepare_shipped = prepare_shipped or prepare
        self._stores = [VersionedVoiceStore(store) for store in stores]
        self._shipped = VersionedVoiceStore(DirectoryStore(shipped, "model"))
        self._references = ReferenceCache(settings.voice_cache)

    def names(self) -> Names:
        """Return the names of all voices; others' changes may be missing for 5 s."""
        return sorted({name for store in self._all_stores for name in store.listing()})

    def local_names(self) -> Names:
        """Return the names of the voices outside a bucket, which is not asked, so that this never waits for it."""
        local = [store for store in self._all_stores if store.store.source != "bucket"]
        return sorted({name for store in local for name in store.listing()})

    def list(self, after: str = "", limit: int | None = None) -> Infos:
        """Return the voices in order of their names; others' changes may be missing for 5 s.

        Args:
            after: only names after this one.
        """
        offered = {
            name: (store, files) for store in reversed(self._all_stores) for name, files in store.listing().items()
        }
        names = sorted(name for name in offered if name > after)[:limit]
        infos = (listed_info(name, files, store.store.source) for name in names for store, files in [offered[name]])
        return [info for info in infos if info is not None]

    def get(self, name: str, *, with_audio: bool = False) -> VoiceInfo:
        """Return the facts of one voice, with its clip if asked for.

        Raises:
            UnknownVoice: with the nearest names.
            StorageFailed: the directory or the bucket cannot be read.
        """

        def read(store: VersionedVoiceStore, voice: StoredVoice) -> VoiceInfo:
            audio = store.read(voice, voice.clip, self._settings.reference_max_bytes) if with_audio else None
            return stored_info(voice, store.store.source, audio)

        return self._with_voice(self._resolve_name(name), read)

    def load(self, name: str | None) -> LoadedVoice:
        """Return the voice of a job: reference and defaults. None and `default` mean F5_DEFAULT_VOICE.

        Raises:
            UnknownVoice: with the nearest names.
            InvalidInput: none is named and there is no default.
            ReferenceProblem: a clip of the earlier layout is unfit, or needs a transcript.
            StorageFailed: the directory or the bucket cannot be read.
        """

        def read(store: VersionedVoiceStore, voice: StoredVoice) -> LoadedVoice:
            reference = self._references.get(voice.name, voice.key, lambda: self._load_reference(store, voice))
            return LoadedVoice(voice.name, reference, voice.defaults)

        return self._with_voice(self._resolve_name(name), read)

    def report(self, name: str) -> VoiceReport:
        """Return how well the voice will clone; a clip that cannot be used at all has a report, too.

        Raises:
            UnknownVoice: with the nearest names.
            ReferenceUnreadable: a clip of the earlier layout is not a recording.
            StorageFailed: the directory or the bucket cannot be read.
        """

        def read(store: VersionedVoiceStore, voice: StoredVoice) -> VoiceReport:
            if voice.record is not None:
                return voice.record.prepared.report
            return self._examine(*self._read_source(store, voice), self._settings)

        return self._with_voice(self._resolve_name(name), read)

    def add(self, new: NewVoice) -> VoiceInfo:
        """Add a voice; `metadata.prepared.report` of the result tells how well it will clone.

        Raises:
            InvalidInput: the name is not a valid one.
            ConsentMissing: there is no statement of consent.
            VoiceExists: there is a voice of that name, or one ships with the model.
            InputError: `prepare` refuses clip or transcript.
            StorageFailed: there is no place to keep voices, or it cannot be written to.
        """
        self._check_new(new)
        first, *others = self._stores
        reference = self._prepare(new.audio, new.transcript, self._settings)
        clip_extension = INPUT_CONTAINERS[locate(new.audio).demuxer].extension
        contents = {clip_extension: new.audio, SAMPLES_EXTENSION: dump_samples(reference)}
        if new.transcript is not None:
            contents[ADDED_TRANSCRIPT_EXTENSION] = new.transcript.encode()
        metadata = VoiceMetadata(
            created_at=datetime.now(timezone.utc),
            consent=new.consent,
            defaults=new.defaults,
            clip_bytes=len(new.audio),
            prepared=PreparedReference.from_reference(reference),
        )
        if not first.add(new.name, contents, metadata, replace=new.replace):
            raise _exists_error(new.name)
        for store in others:
            store.delete(new.name)
        self._references.drop(new.name)
        return VoiceInfo(
            name=new.name,
            source=first.store.source,
            format=clip_extension,
            size_bytes=len(new.audio),
            modified_at=metadata.created_at,
            has_transcript=new.transcript is not None,
            metadata=metadata,
        )

    def delete(self, name: str) -> None:
        """Delete a voice: its clip, all versions of it, and this process's prepared copy.

        Other workers notice it when they are next asked for the voice; they then drop their copies in memory.

        Raises:
            UnknownVoice: with the nearest names.
            InvalidInput: the voice ships with the model.
            StorageFailed: the directory or the bucket cannot be changed.
        """
        deleted = [store.delete(name) for store in self._stores if is_name(name)]
        self._references.drop(name)
        if any(deleted):
            return
        if name in self._shipped.listing():
            raise InvalidInput(f"voice {name!r} ships with the model and cannot be deleted")
        raise self._unknown_error(name)

    @property
    def _all_stores(self) -> Sequence[VersionedVoiceStore]:
        return (*self._stores, self._shipped)

    def _resolve_name(self, name: str | None) -> str:
        default = self._settings.default_voice
        if name is None and default is None:
            raise InvalidInput(
                'voice is missing; give voice: "<name>" or reference: {audio, transcript}, '
                f"or set {variable('default_voice')}"
            )
        return default if default is not None and name in (None, DEFAULT) else name or ""

    def _with_voice(self, name: str, use: Callable[[VersionedVoiceStore, StoredVoice], T]) -> T:
        """Return the result of `use` with the voice; call it again if others changed the voice meanwhile."""
        for _ in range(MAX_TRIES):
            located = next(((store, voice) for store in self._all_stores if (voice := store.find(name))), None)
            if located is None:
                break
            try:
                return use(*located)
            except StaleVersionError:
                continue
        self._references.drop(name)
        raise self._unknown_error(name)

    def _load_reference(self, store: VersionedVoiceStore, voice: StoredVoice) -> Reference:
        record, limit_s = voice.record, self._settings.reference_max_s
        if record is not None and voice.samples is not None and record.prepared.report.clip_s <= limit_s:
            return record.prepared.with_samples(store.read(voice, voice.samples, MAX_SAMPLES_BYTES))
        prepare = self._prepare_shipped if store is self._shipped else self._prepare
        return prepare(*self._read_source(store, voice), self._settings)

    def _read_source(self, store: VersionedVoiceStore, voice: StoredVoice) -> tuple[bytes, str | None]:
        """Return clip and transcript as they were sent; None for an empty transcript."""
        clip = store.read(voice, voice.clip, self._settings.reference_max_bytes)
        if voice.transcript is None:
            return clip, None
        text = decode_transcript(store.read(voice, voice.transcript, MAX_TRANSCRIPT_BYTES))
        return clip, text if text.strip() else None

    def _check_new(self, new: NewVoice) -> None:
        """Check all of a new voice that can be checked without its clip."""
        if not is_name(new.name):
            raise InvalidInput(
                "a voice's name is 1 to 64 small letters, digits, - and _, and does not begin with - or _"
            )
        if new.name == DEFAULT:
            raise InvalidInput(f"{DEFAULT!r} means the voice of {variable('default_voice')}; choose another name")
        if not self._stores:
            raise StorageFailed(
                "this worker has no place to keep voices; mount a network volume, or set "
                f"{variable('voices_dir')} or {variable('voices_s3_prefix')}"
            )
        self._check_consent(new.consent)
        if new.name in self._shipped.listing():
            raise VoiceExists(f"voice {new.name!r} ships with the model and cannot be replaced; choose another name")
        if not new.replace and any(store.find(new.name) for store in self._stores):
            raise _exists_error(new.name)

    def _check_consent(self, consent: str | None) -> None:
        if consent is None:
            if self._settings.require_consent:
                raise ConsentMissing(
                    "a voice is kept only with consent: who agreed to its use, when and for what, in "
                    f"{MIN_CONSENT_CHARS} to {MAX_CONSENT_CHARS} characters"
                )
        elif not MIN_CONSENT_CHARS <= len(consent.strip()) <= MAX_CONSENT_CHARS:
            raise ConsentMissing(
                f"consent has {len(consent.strip())} characters, it takes {MIN_CONSENT_CHARS} to {MAX_CONSENT_CHARS} "
                "to say who agreed to the use of this voice, when and for what"
            )

    def _unknown_error(self, name: str) -> UnknownVoice:
        names = self.names()
        nearest = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, nearest))}? " if nearest else ""
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        have = f"this worker has {', '.join(names[:MAX_NAMED])}{more}" if names else "this worker has no voices"
        return UnknownVoice(
            f"there is no voice of this name; {hint}{have}; choose one, or send a reference of your own"
        )


def open_stores(settings: Settings, bucket: Bucket | None = None, volume: Path = VOLUME) -> list[Store]:
    """Return the places to keep voices that the settings name; else a directory on a mounted volume, if there is one.

    Raises:
        SettingsInvalid: voices are to be kept in a bucket, and none is configured.
    """
    directory, prefix = settings.voices_dir, settings.voices_s3_prefix
    if directory is None and prefix is None and os.path.ismount(volume) and os.access(volume, os.W_OK | os.X_OK):
        directory = volume / VOLUME_FOLDER
    stores: list[Store] = [DirectoryStore(directory)] if directory is not None else []
    if prefix is not None:
        if bucket is None:
            raise SettingsInvalid([f"{variable('voices_s3_prefix')}={prefix!r} needs a bucket, and none is configured"])
        stores.append(BucketStore(bucket, prefix))
    return stores


def _exists_error(name: str) -> VoiceExists:
    return VoiceExists(f"there is a voice {name!r}; send replace: true, or choose another name")
