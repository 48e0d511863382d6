"""Voices by name: kept in a directory, kept in a bucket, shipped with the model; the first that has one gives it."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias, TypeVar

from f5_worker.audio.decode import sniff
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
from f5_worker.voices.cache import Prepared, References, dump_samples
from f5_worker.voices.info import NewVoice, TakenVoice, VoiceDefaults, VoiceInfo, info_of, listed_info
from f5_worker.voices.naming import PREPARED, is_name, name_from_file
from f5_worker.voices.store import Store
from f5_worker.voices.store_directory import DirectoryStore
from f5_worker.voices.store_s3 import BucketStore
from f5_worker.voices.versions import TRANSCRIPT, Found, StaleVersionError, VersionedVoiceStore, VoiceMetadata

__all__ = ["Library", "NewVoice", "TakenVoice", "VoiceDefaults", "VoiceInfo", "name_from_file", "open_stores"]

DEFAULT = "default"
FOLDER = "f5-voices"
MIN_CONSENT_CHARS, MAX_CONSENT_CHARS = 10, 2_000
MAX_TRANSCRIPT_BYTES = 4 * MAX_SUBTITLE_CHARS
MAX_PREPARED_BYTES = 4_000_000  # 40 s; F5_REFERENCE_MAX_S ends at 20
TRIES = 5  # to read a voice that others replace again and again
NAMED = 20  # voices in a message that lists them
# The extension under which a clip is kept, by its kind: what the caller's file was called is not known.
EXTENSIONS = {"mov": "m4a", "matroska": "webm"}

T = TypeVar("T")


Names: TypeAlias = list[str]  # `list` is a method below
Infos: TypeAlias = list[VoiceInfo]
Prepare: TypeAlias = Callable[[bytes, str | None, Settings], Reference]
Examine: TypeAlias = Callable[[bytes, str | None, Settings], VoiceReport]


class Library:
    """All voices that this worker offers. Any thread may call any method; each sees what others have kept."""

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
            shipped: the model's own voices.
            stores: where voices are kept; the first takes new ones.
            prepare, examine: of reference.py, with the recogniser bound to them if there is one.
            prepare_shipped: for the model's own voices, whose words need no listening to; None for `prepare`.
        """
        self._settings = settings
        self._prepare, self._examine = prepare, examine
        self._prepare_shipped = prepare_shipped or prepare
        self._kept = [VersionedVoiceStore(store) for store in stores]
        self._shipped = VersionedVoiceStore(DirectoryStore(shipped, "model"))
        self._references = References(settings.voice_cache)

    # -- asking ------------------------------------------------------------------------------------------

    def names(self) -> Names:
        """Of all voices; others' changes may be missing for 5 s."""
        return sorted({name for shelf in self._shelves for name in shelf.listing()})

    def names_here(self) -> Names:
        """The same without those in a bucket: it is not asked, so this never waits."""
        here = [shelf for shelf in self._shelves if shelf.store.source != "bucket"]
        return sorted({name for shelf in here for name in shelf.listing()})

    def list(self, after: str = "", limit: int | None = None) -> Infos:
        """FileStat of the voices in order of their names; others' changes may be missing for 5 s.

        Args:
            after: only names after this one.
        """
        found = {name: (shelf, entry) for shelf in reversed(self._shelves) for name, entry in shelf.listing().items()}
        wanted = sorted(name for name in found if name > after)[:limit]
        infos = (listed_info(name, entry, shelf.store.source) for name in wanted for shelf, entry in [found[name]])
        return [info for info in infos if info is not None]

    def get(self, name: str, *, with_audio: bool = False) -> VoiceInfo:
        """One voice.

        Raises:
            UnknownVoice: with the nearest names.
            StorageFailed: the directory or the bucket cannot be read.
        """

        def read(shelf: VersionedVoiceStore, found: Found) -> VoiceInfo:
            audio = shelf.read(found, found.clip, self._settings.reference_max_bytes) if with_audio else None
            return info_of(found, shelf.store.source, audio)

        return self._with_voice(self._resolve(name), read)

    def take(self, name: str | None) -> TakenVoice:
        """The voice of a job: reference and defaults. None and `default` stand for F5_DEFAULT_VOICE.

        Raises:
            UnknownVoice: with the nearest names.
            InvalidInput: none is named and there is no default.
            ReferenceProblem: a clip of the earlier layout is unfit, or needs a transcript.
            StorageFailed: the directory or the bucket cannot be read.
        """

        def read(shelf: VersionedVoiceStore, found: Found) -> TakenVoice:
            reference = self._references.get(found.name, found.key, lambda: self._make(shelf, found))
            return TakenVoice(found.name, reference, found.defaults)

        return self._with_voice(self._resolve(name), read)

    def reference(self, name: str | None) -> Reference:
        """`take`'s reference."""
        return self.take(name).reference

    def defaults(self, name: str | None) -> VoiceDefaults:
        """`take`'s defaults, without preparing the reference."""
        return self._with_voice(self._resolve(name), lambda shelf, found: found.defaults)

    def report(self, name: str) -> VoiceReport:
        """How well the voice will clone; a clip that cannot be used at all has a report, too.

        Raises:
            UnknownVoice: with the nearest names.
            ReferenceUnreadable: a clip of the earlier layout is no recording.
            StorageFailed: the directory or the bucket cannot be read.
        """

        def read(shelf: VersionedVoiceStore, found: Found) -> VoiceReport:
            if found.record is not None:
                return found.record.prepared.report
            return self._examine(*self._read_source(shelf, found), self._settings)

        return self._with_voice(self._resolve(name), read)

    # -- changing ----------------------------------------------------------------------------------------

    def add(self, new: NewVoice) -> VoiceInfo:
        """Keep a voice; `details.prepared.report` of what is returned says how well it will clone.

        Raises:
            InvalidInput: the name cannot be one.
            ConsentMissing: there is no statement of consent.
            VoiceExists: there is a voice of that name, or one ships with the model.
            InputError: whatever `prepare` has against clip and transcript.
            StorageFailed: no place to keep voices, or it does not take this one.
        """
        self._check(new)
        first, *others = self._kept
        reference = self._prepare(new.audio, new.transcript, self._settings)
        contents = {_extension(new.audio): new.audio, PREPARED: dump_samples(reference)}
        if new.transcript is not None:
            contents[TRANSCRIPT] = new.transcript.encode()
        details = _details(new, reference)
        if not first.add(new.name, contents, details, replace=new.replace):
            raise _exists(new.name)
        for shelf in others:
            shelf.delete(new.name)
        self._references.drop(new.name)
        return VoiceInfo(
            name=new.name,
            source=first.store.source,
            format=_extension(new.audio),
            size_bytes=len(new.audio),
            modified_at=details.created_at,
            has_transcript=new.transcript is not None,
            details=details,
        )

    def delete(self, name: str) -> None:
        """Delete a voice: its clip, all versions of it, and this process's prepared copy.

        Other workers find it gone when they are next asked for it; their copies in memory go then.

        Raises:
            UnknownVoice: with the nearest names.
            InvalidInput: the voice ships with the model.
            StorageFailed: the directory or the bucket does not let go of it.
        """
        deleted = [shelf.delete(name) for shelf in self._kept if is_name(name)]
        self._references.drop(name)
        if any(deleted):
            return
        if name in self._shipped.listing():
            raise InvalidInput(f"voice {name!r} ships with the model and cannot be deleted")
        raise self._unknown(name)

    # -- parts of these ----------------------------------------------------------------------------------

    @property
    def _shelves(self) -> Sequence[VersionedVoiceStore]:
        return (*self._kept, self._shipped)

    def _resolve(self, name: str | None) -> str:
        default = self._settings.default_voice
        if name is None and default is None:
            raise InvalidInput(
                'voice is missing; give voice: "<name>" or reference: {audio, transcript}, '
                f"or set {variable('default_voice')}"
            )
        return default if default is not None and name in (None, DEFAULT) else name or ""

    def _with_voice(self, name: str, use: Callable[[VersionedVoiceStore, Found], T]) -> T:
        """What `use` makes of the voice; again, if others changed the voice in the midst of it."""
        for _ in range(TRIES):
            found = next(((shelf, found) for shelf in self._shelves if (found := shelf.find(name))), None)
            if found is None:
                break
            try:
                return use(*found)
            except StaleVersionError:
                continue
        self._references.drop(name)
        raise self._unknown(name)

    def _make(self, shelf: VersionedVoiceStore, found: Found) -> Reference:
        record, limit_s = found.record, self._settings.reference_max_s
        if record is not None and found.samples is not None and record.prepared.report.clip_s <= limit_s:
            return record.prepared.with_samples(shelf.read(found, found.samples, MAX_PREPARED_BYTES))
        prepare = self._prepare_shipped if shelf is self._shipped else self._prepare
        return prepare(*self._read_source(shelf, found), self._settings)

    def _read_source(self, shelf: VersionedVoiceStore, found: Found) -> tuple[bytes, str | None]:
        """Clip and transcript as they were sent; an empty transcript is none."""
        clip = shelf.read(found, found.clip, self._settings.reference_max_bytes)
        if found.transcript is None:
            return clip, None
        text = decode_transcript(shelf.read(found, found.transcript, MAX_TRANSCRIPT_BYTES))
        return clip, text if text.strip() else None

    def _check(self, new: NewVoice) -> None:
        """Whatever can be said against a voice without looking at its clip."""
        if not is_name(new.name):
            raise InvalidInput(
                "a voice's name is 1 to 64 small letters, digits, - and _, and begins with none of - and _"
            )
        if new.name == DEFAULT:
            raise InvalidInput(f"{DEFAULT!r} stands for the voice of {variable('default_voice')}; choose another name")
        if not self._kept:
            raise StorageFailed(
                "this worker has no place to keep voices; mount a network volume, or set "
                f"{variable('voices_dir')} or {variable('voices_s3_prefix')}"
            )
        self._check_consent(new.consent)
        if new.name in self._shipped.listing():
            raise VoiceExists(f"voice {new.name!r} ships with the model and stays; choose another name")
        if not new.replace and any(shelf.find(new.name) for shelf in self._kept):
            raise _exists(new.name)

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

    def _unknown(self, name: str) -> UnknownVoice:
        names = self.names()
        near = difflib.get_close_matches(name, names, n=3)
        hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        have = f"this worker has {', '.join(names[:NAMED])}{more}" if names else "this worker has no voices"
        return UnknownVoice(f"there is no such voice; {hint}{have}; choose one, or send a reference of your own")


def open_stores(settings: Settings, bucket: Bucket | None = None, volume: Path = VOLUME) -> list[Store]:
    """The places to keep voices that the settings name; if they name none, a directory on a mounted volume.

    Raises:
        SettingsInvalid: voices are to be kept in a bucket, and there is none.
    """
    directory, prefix = settings.voices_dir, settings.voices_s3_prefix
    if directory is None and prefix is None and os.path.ismount(volume) and os.access(volume, os.W_OK | os.X_OK):
        directory = volume / FOLDER
    stores: list[Store] = [DirectoryStore(directory)] if directory is not None else []
    if prefix is not None:
        if bucket is None:
            raise SettingsInvalid([f"{variable('voices_s3_prefix')}={prefix!r} needs a bucket, and none is configured"])
        stores.append(BucketStore(bucket, prefix))
    return stores


def _details(new: NewVoice, reference: Reference) -> VoiceMetadata:
    return VoiceMetadata(
        created_at=datetime.now(timezone.utc),
        consent=new.consent,
        defaults=new.defaults,
        clip_bytes=len(new.audio),
        prepared=Prepared.of(reference),
    )


def _extension(audio: bytes) -> str:
    kind = sniff(audio)
    return EXTENSIONS.get(kind, kind)


def _exists(name: str) -> VoiceExists:
    return VoiceExists(f"there is a voice {name!r}; send replace: true, or choose another name")
