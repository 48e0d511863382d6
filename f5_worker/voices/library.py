"""Voices by name: kept in a directory or a bucket, or shipped with the model; the first place that has one is used."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias, TypeVar

from pydantic import SecretStr

from f5_worker.audio.formats import INPUT_CONTAINERS
from f5_worker.audio.sniff import locate
from f5_worker.errors import InvalidInput, StorageFailed, UnknownVoice, VoiceExists, list_some
from f5_worker.reference import prepare as references
from f5_worker.reference.prepare import Reference
from f5_worker.reference.report import VoiceReport
from f5_worker.schema.requests import MAX_SUBTITLE_CHARS
from f5_worker.settings import Settings, variable
from f5_worker.voices.cache import PreparedReference, ReferenceCache, dump_samples
from f5_worker.voices.consent import check_consent
from f5_worker.voices.info import LoadedVoice, NewVoice, VoiceDefaults, VoiceInfo, listed_info, stored_info
from f5_worker.voices.listing import ADDED_TRANSCRIPT_EXTENSION, SAMPLES_EXTENSION
from f5_worker.voices.naming import check_name, nearest_names, upload_names
from f5_worker.voices.places import check_quota, missing_key_error, owner_folder, owner_of
from f5_worker.voices.record import StoredVoice, VoiceMetadata
from f5_worker.voices.store import Store
from f5_worker.voices.store_directory import DirectoryStore
from f5_worker.voices.versions import StaleVersionError, VersionedVoiceStore, find_voice

DEFAULT = "default"
BLANK_BYTES = b" \t\r\n\0\xef\xbb\xbf\xff\xfe"  # marks of encodings among them
MAX_TRANSCRIPT_BYTES = 4 * MAX_SUBTITLE_CHARS
MAX_SAMPLES_BYTES = 4_000_000  # 40 s; F5_REFERENCE_MAX_S ends at 20
MAX_TRIES = 5  # to read a voice that others replace again and again
MAX_NAMED = 20  # voices in a message that lists them
MAX_OWNERS = 256  # whose lists are kept in memory for MAX_LISTING_AGE_S

T = TypeVar("T")

Names: TypeAlias = list[str]  # `list` is a method below
Infos: TypeAlias = list[VoiceInfo]
Prepare: TypeAlias = Callable[[bytes, str | bytes | None, Settings], Reference]
Examine: TypeAlias = Callable[[bytes, str | bytes | None, Settings], VoiceReport]


class Library:
    """All voices that this worker offers. Any thread may call any method; each sees what other workers have added.

    With F5_VOICES_SCOPE=per_key this is what callers without a key see: the voices that the operator has put there,
    which no caller can change. `of` returns the library of a key's holder, which has these and the holder's own.
    """

    def __init__(
        self,
        shipped: Path,
        settings: Settings,
        *,
        shipped_with: Mapping[str, Path] = MappingProxyType({}),
        stores: Sequence[Store] = (),
        prepare: Prepare = references.prepare,
        examine: Examine = references.examine,
        prepare_shipped: Prepare | None = None,
    ) -> None:
        """
        Args:
            shipped: directory of the model's own voices.
            shipped_with: those of further models, by the model's name, which speaks them unless a job names another.
            stores: where voices are kept; the first takes new ones.
            prepare, examine: of `reference.prepare`, with the recogniser bound to them if there is one.
            prepare_shipped: for the models' own voices, whose words need not be checked; None for `prepare`.
        """
        self._settings = settings
        self._prepare, self._examine = prepare, examine
        self._prepare_shipped = prepare_shipped or prepare
        self._places = [VersionedVoiceStore(store) for store in stores]
        self._own = self._places if settings.voices_scope == "shared" else []  # those that this caller may change
        folders: list[tuple[str | None, Path]] = [(None, shipped), *shipped_with.items()]
        self._shipped = {VersionedVoiceStore(DirectoryStore(path, "model")): name for name, path in folders}
        self.references = ReferenceCache(settings.voice_cache)
        self._changing = threading.Lock()  # a process that dies has then been at one change of a voice at most
        self._of_owner = lru_cache(MAX_OWNERS)(self._open_for)

    def of(self, key: SecretStr | None) -> Library:
        """Return the library as a caller with this key sees it, or one without a key.

        Raises:
            InvalidInput: there is a key, and this worker keeps one set of voices for all callers.
        """
        owner = owner_of(key, self._settings)
        return self if owner is None else self._of_owner(owner)

    def _open_for(self, owner: str) -> Library:
        library = copy.copy(self)
        library._own = [VersionedVoiceStore(place.store.within(owner_folder(owner)), owner) for place in self._places]
        library._changing = threading.Lock()
        return library

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
        infos = (listed_info(name, files, store) for name in names for store, files in [offered[name]])
        return [info for info in infos if info is not None]

    def get(self, name: str, *, with_audio: bool = False) -> VoiceInfo:
        """Return the facts of one voice, with its clip if asked for.

        Raises:
            UnknownVoice: with the nearest names.
            StorageFailed, ReferenceTooLarge: the directory or the bucket cannot be read; it has a larger file.
        """

        def read(store: VersionedVoiceStore, voice: StoredVoice) -> VoiceInfo:
            store.verify(voice)
            source = self._read_source(store, voice) if with_audio or voice.record is None else None
            return stored_info(voice, store, source, with_audio=with_audio)

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
            cached_as = _cached_as(store, voice.name)
            reference = self.references.get(cached_as, voice.key, lambda: self._load_reference(store, voice))
            model = self._shipped.get(store)
            return LoadedVoice(voice.name, reference, VoiceDefaults(model=model) if model else voice.defaults)

        return self._with_voice(self._resolve_name(name), read)

    def report(self, name: str) -> VoiceReport:
        """Return how well the voice will clone; a clip that cannot be used at all has a report, too.

        Raises:
            UnknownVoice: with the nearest names.
            ReferenceUnreadable: a clip of the earlier layout is not a recording.
            StorageFailed: the directory or the bucket cannot be read.
        """

        def read(store: VersionedVoiceStore, voice: StoredVoice) -> VoiceReport:
            store.verify(voice)
            if voice.record is not None:
                return voice.record.prepared.report
            return self._examine(*self._read_source(store, voice), self._settings)

        return self._with_voice(self._resolve_name(name), read)

    def add(self, new: NewVoice) -> VoiceInfo:
        """Add a voice; `metadata.prepared.report` of the result tells how well it will clone.

        Raises:
            InvalidInput: the name is not a valid one, or there is no key where one is needed.
            ConsentMissing: there is no statement of consent, or it says nothing.
            VoiceExists: there is a voice of that name that is not to be replaced, or cannot be.
            VoicesFull: there are as many voices, or bytes of them, as the operator allows.
            InputError: `prepare` refuses clip or transcript.
            StorageFailed: there is no place to keep voices, or it cannot be written to.
        """
        self._check_new(new)
        reference = self._prepare(new.audio, new.transcript, self._settings)
        clip_extension = INPUT_CONTAINERS[locate(new.audio).demuxer].extension
        contents = {clip_extension: new.audio, SAMPLES_EXTENSION: dump_samples(reference)}
        if new.transcript is not None:
            words = new.transcript
            contents[ADDED_TRANSCRIPT_EXTENSION] = words if isinstance(words, bytes) else words.encode()
        metadata = VoiceMetadata(
            created_at=datetime.now(UTC),
            consent=new.consent,
            defaults=new.defaults,
            clip_bytes=len(new.audio),
            prepared=PreparedReference.from_reference(reference),
            original=new.original,
        )
        with self._changing:
            name = self._store(new, contents, metadata)
        first = self._own[0]
        self.references.drop(_cached_as(first, name))
        return VoiceInfo(
            name=name,
            source=first.store.source,
            format=clip_extension,
            size_bytes=len(new.audio),
            modified_at=metadata.created_at,
            has_transcript=new.transcript is not None,
            is_private=bool(first.owner),
            metadata=metadata,
        )

    def delete(self, name: str) -> str:
        """Delete a voice: its clip, all versions of it, and this process's prepared copy. Return its listed name.

        Other workers notice it when they are next asked for the voice; they then drop their copies in memory.

        Raises:
            UnknownVoice: with the nearest names.
            InvalidInput: the voice ships with the model, or there is no key where one is needed.
            StorageFailed: the directory or the bucket cannot be changed.
        """
        self._check_may_change()
        located = find_voice(name, self._own)
        found = located[1].name if located is not None else name
        with self._changing:  # first those that others hide, so that none of them is offered in between
            deleted = [store.delete(found) for store in reversed(self._own)]
        for store in self._own:
            self.references.drop(_cached_as(store, found))
        if any(deleted):
            return found
        if (fixed := find_voice(name, self._fixed)) is not None:
            raise InvalidInput(f"voice {name!r} {self._whose(fixed[0])} and cannot be deleted")
        raise self._unknown_error(name)

    @property
    def _all_stores(self) -> Sequence[VersionedVoiceStore]:
        return (*self._own, *self._fixed)

    @property
    def _fixed(self) -> Sequence[VersionedVoiceStore]:
        """Return the places of voices that this caller cannot change."""
        return (*(place for place in self._places if place not in self._own), *self._shipped)

    def _whose(self, fixed: VersionedVoiceStore) -> str:
        return "ships with the model" if fixed in self._shipped else "is the operator's"

    def _store(self, new: NewVoice, contents: Mapping[str, bytes], metadata: VoiceMetadata) -> str:
        """Write the files of a new voice and return its name. An upload never replaces one of another original."""
        first, *others = self._own
        n_bytes = sum(map(len, contents.values()))
        for name in (new.name,) if new.original is None else upload_names(new.original):
            replace = new.replace
            if new.original is not None:
                stored = [voice for store in self._own if (voice := store.find(name, verify=True))]
                if any(not voice.is_of(new.original) for voice in stored):
                    continue
                replace = bool(stored)
            check = partial(check_quota, [store.usage(without=name) for store in others], n_bytes, self._settings)
            if first.add(name, contents, metadata, replace=replace, check=check):
                for store in others:
                    store.delete(name)
                return name
        raise _exists_error(new.name)

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
        for n_tries in range(MAX_TRIES):
            located = find_voice(name, self._all_stores, verify=n_tries > 0)
            if located is None:
                break
            try:
                return use(*located)
            except StaleVersionError:
                continue
        for store in self._all_stores:
            self.references.drop(_cached_as(store, name))
        raise self._unknown_error(name)

    def _load_reference(self, store: VersionedVoiceStore, voice: StoredVoice) -> Reference:
        record, limit_s = voice.record, self._settings.reference_max_s
        if record is not None and voice.samples is not None and record.prepared.report.clip_s <= limit_s:
            store.verify(voice)
            return record.prepared.with_samples(store.read(voice, voice.samples, MAX_SAMPLES_BYTES))
        prepare = self._prepare_shipped if store in self._shipped else self._prepare
        return prepare(*self._read_source(store, voice), self._settings)

    def _read_source(self, store: VersionedVoiceStore, voice: StoredVoice) -> tuple[bytes, bytes | None]:
        """Return clip and transcript as they were sent; None for an empty transcript."""
        clip = store.read(voice, voice.clip, self._settings.reference_max_bytes)
        if voice.transcript is None:
            return clip, None
        transcript = store.read(voice, voice.transcript, MAX_TRANSCRIPT_BYTES)
        return clip, transcript if transcript.strip(BLANK_BYTES) else None

    def _check_new(self, new: NewVoice) -> None:
        """Check all of a new voice that can be checked without its clip."""
        check_name(new.name)
        if new.name == DEFAULT:
            raise InvalidInput(f"{DEFAULT!r} means the voice of {variable('default_voice')}; choose another name")
        if not self._places:
            raise StorageFailed(
                "this worker has no place to keep voices; mount a network volume, or set "
                f"{variable('voices_dir')} or {variable('voices_s3_prefix')}"
            )
        self._check_may_change()
        check_consent(new.consent, required=self._settings.require_consent)
        for store in self._fixed:
            if new.name in store.listing():
                raise VoiceExists(
                    f"voice {new.name!r} {self._whose(store)} and cannot be replaced; choose another name"
                )
        if not new.replace and any(store.find(new.name, verify=True) for store in self._own):
            raise _exists_error(new.name)

    def _check_may_change(self) -> None:
        if self._places and not self._own:
            raise missing_key_error()

    def _unknown_error(self, name: str) -> UnknownVoice:
        names = self.names()
        nearest = nearest_names(name, names)
        hint = f"did you mean {' or '.join(map(repr, nearest))}? " if nearest else ""
        have = f"this worker has {list_some(names, MAX_NAMED) or 'no voices'}"
        keyed = "; one of your own needs its voices_key" if self._places and not self._own else ""
        return UnknownVoice(
            f"there is no voice of this name; {hint}{have}; choose one, or send a reference of your own{keyed}"
        )


def _exists_error(name: str) -> VoiceExists:
    return VoiceExists(f"there is a voice {name!r}; send replace: true, or choose another name")


def _cached_as(store: VersionedVoiceStore, name: str) -> str:
    """Return the name of a prepared reference in memory: those of different owners are different."""
    return f"{store.owner}/{name}"
