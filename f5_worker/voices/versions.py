"""The voices in one store: found, read whole, added and deleted while other workers do the same.

A voice that is added gets a version of its own: files that are never written again, and then the small
`<name>.json` that names them. Whoever reads the record reads one version whole or, when its files are gone,
the record again. Nobody waits for a lock: who added a voice looks afterwards if another's `delete` took a file
that no record named yet, and writes it again; who deletes goes on until nothing, or a whole new voice, is left,
or others have added new ones in every round.
"""

from __future__ import annotations

import hashlib
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator

from f5_worker.errors import StorageFailed
from f5_worker.log import logger
from f5_worker.schema.requests import VoiceDefaultsInput
from f5_worker.voices.cache import Prepared
from f5_worker.voices.naming import CLIPS, PREPARED, RECORD, Entry, extension, is_name, read_listing, remarks
from f5_worker.voices.store import FileStat, Store, StoredFile

LISTING_S = 5.0  # how long others' changes to the list, and to files of the earlier layout, may go unseen
LEFTOVER_S = 3_600.0  # older files that no record names are of a worker that died: no adding takes that long
ROUNDS = 20  # against others who add and delete the same voice within the same milliseconds
BACKOFF_S = 0.002  # longest pause after the first round, twice as long after the second, and so on
MAX_RECORD_BYTES = 100_000
TRANSCRIPT = "txt"

_FILES = frozenset((*CLIPS, TRANSCRIPT, PREPARED))


class VoiceMetadata(BaseModel):
    """What is known of a voice that was added.

    Attributes:
        consent: the statement that came with it.
        clip_bytes: of the clip as it was sent.
    """

    model_config = ConfigDict(frozen=True)

    created_at: AwareDatetime
    consent: str | None
    defaults: VoiceDefaultsInput
    clip_bytes: int
    prepared: Prepared


class VoiceRecord(VoiceMetadata):
    """`<name>.json`. `files` are the sha256 of `<name>.<version>.<extension>`, by extension.

    They are the clip as it was sent, `txt` if it came with a transcript, and `npy`, the prepared samples, so
    that no worker has to listen to and cut the clip again.
    """

    version: str = Field(pattern=r"^[0-9a-f]{12}$")
    files: dict[str, str]

    @field_validator("files")
    @classmethod
    def _complete(cls, files: dict[str, str]) -> dict[str, str]:
        if not files.keys() <= _FILES or PREPARED not in files or not files.keys() & set(CLIPS):
            raise ValueError("the files are not those of a voice")
        return files

    @property
    def clip(self) -> str:
        """The clip's extension."""
        return next(kind for kind in CLIPS if kind in self.files)

    def names(self, name: str) -> list[str]:
        return [_file(name, self.version, kind) for kind in self.files]


class StaleVersionError(Exception):
    """A file was deleted since the voice was found; find it again."""


@dataclass(frozen=True)
class Found:
    """One version of a voice.

    Attributes:
        key: equal for equal contents, never used again for others.
        clip, transcript, samples: names of files; `samples` is what `prepare` made of the two.
        record: None for the earlier layout.
    """

    name: str
    key: str
    clip: str
    transcript: str | None
    facts: FileStat
    samples: str | None = None
    record: VoiceRecord | None = None

    @property
    def defaults(self) -> VoiceDefaultsInput:
        return self.record.defaults if self.record else VoiceDefaultsInput()


class VersionedVoiceStore:
    """The voices in one store. All methods raise StorageFailed where the store does."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._listed: tuple[float, dict[str, Entry]] | None = None
        self._remarks: list[str] = []

    def listing(self) -> Mapping[str, Entry]:
        """All voices that are offered, at most LISTING_S old."""
        with self._lock:
            listed = self._listed
        if listed is None or self._clock() - listed[0] >= LISTING_S:
            begun = self._clock()
            entries = read_listing(self.store.list())
            self._remark(remarks(entries))
            listed = begun, {name: entry for name, entry in entries.items() if entry.is_offered}
            with self._lock:
                self._listed = listed
        return listed[1]

    def find(self, name: str) -> Found | None:
        """The voice as it is now, or for the earlier layout as it was LISTING_S ago."""
        record = self._record(name)
        if record is not None:
            return _found_added(name, record)
        entry = self.listing().get(name)
        if entry is None or entry.is_added:  # the latter: deleted since it was listed
            return None
        return _found_early(name, entry)

    def read(self, found: Found, file: str, max_bytes: int) -> bytes:
        """One of its files.

        Raises:
            StaleVersionError: another version has taken its place, or none.
            ReferenceTooLarge: more than `max_bytes`.
        """
        data = self.store.read(file, max_bytes)
        if data is None:
            self._forget()
            raise StaleVersionError
        if found.record is not None and _sha256(data) != found.record.files[extension(file)]:
            raise StorageFailed(f"the voice {found.name!r} is damaged, a file is not what was added; add it again")
        return data

    def add(self, name: str, contents: Mapping[str, bytes], details: VoiceMetadata, *, replace: bool) -> bool:
        """Keep a voice: all workers see all of it or nothing. False if there is one that is not to be replaced.

        Args:
            contents: the files, by extension.
        """
        for turn in range(ROUNDS):
            time.sleep(random.uniform(0, turn * BACKOFF_S))  # noqa: S311 - not a secret
            previous, is_whole = self._current(name)
            entries = read_listing(self.store.list())
            entry = entries.get(name, Entry())
            if not replace and (is_whole or entry.clips):
                return False
            record = self._write(name, contents, details)
            data = record.model_dump_json(indent=2).encode()
            # A record without its files is no voice: it may be written over in any case.
            if not self.store.write(f"{name}.{RECORD}", data, replace=replace or previous is not None):
                self.store.delete(record.names(name))
                return False
            if self._stands(name, record):
                self.store.delete([*_outdated(entry, previous), *_leftovers(entries, name)])
                self._forget()
                return True
            self.store.delete(record.names(name))
        raise StorageFailed(f"the voice {name!r} is being added and deleted by others all the time; try again")

    def delete(self, name: str) -> bool:
        """Delete all that belongs to a voice, of all versions and of the earlier layout. False if there was none."""
        was_there = False
        for turn in range(ROUNDS):
            entries = read_listing(self.store.list())
            entry = entries.get(name, Entry())
            record = self._record(name) if turn else None
            if entry.is_empty or (record is not None and _lists(entry, record)):  # the latter: added since
                self.store.delete(_leftovers(entries))
                break
            was_there |= entry.is_offered
            if entry.record is not None:  # first: without it the others are no voice
                self.store.delete([entry.record.name])
            self.store.delete(entry.files)
        self._forget()
        return was_there  # after the last round, too: what others add is newer than what was to go

    # -- parts of these ------------------------------------------------------------------------------------

    def _record(self, name: str) -> VoiceRecord | None:
        if not is_name(name):  # nothing else is ever made part of a file's name
            return None
        data = self.store.read(f"{name}.{RECORD}", MAX_RECORD_BYTES)
        if data is None:
            return None
        try:
            return VoiceRecord.model_validate_json(data)
        except ValidationError:
            logger.warning("the record of voice %r cannot be read; add the voice again", name)
            return None

    def _write(self, name: str, contents: Mapping[str, bytes], details: VoiceMetadata) -> VoiceRecord:
        """The files, under names that no record has named before: a sweeper may delete what was one's own once."""
        version = secrets.token_hex(6)
        for kind, data in contents.items():
            self.store.write(_file(name, version, kind), data)
        return VoiceRecord(
            version=version, files={kind: _sha256(data) for kind, data in contents.items()}, **dict(details)
        )

    def _stands(self, name: str, record: VoiceRecord) -> bool:
        """Whether what was added is there, or was until another add or delete came after it."""
        current = self._record(name)
        if current is None or current.version != record.version:
            self.store.delete(record.names(name))
            return True
        return self._has_files(name, record)

    def _current(self, name: str) -> tuple[VoiceRecord | None, bool]:
        """The record, and whether its files are all there. Once gone they do not come back, another record may."""
        record = self._record(name)
        while record is not None and not self._has_files(name, record):
            before, record = record, self._record(name)
            if record is not None and record.version == before.version:
                return record, False
        return record, record is not None

    def _has_files(self, name: str, record: VoiceRecord) -> bool:
        there = {file.name for file in self.store.list(f"{name}.{record.version}.")}
        return there.issuperset(record.names(name))

    def _forget(self) -> None:
        with self._lock:
            self._listed = None

    def _remark(self, found: list[str]) -> None:
        """Each once, not at every listing."""
        with self._lock:
            new, self._remarks = [line for line in found if line not in self._remarks], found
        for line in new:
            logger.warning("voices: %s", line)


def _file(name: str, version: str, kind: str) -> str:
    return f"{name}.{version}.{kind}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _lists(entry: Entry, record: VoiceRecord) -> bool:
    return record.files.keys() <= {item.extension for item in entry.versions if item.version == record.version}


def _found_added(name: str, record: VoiceRecord) -> Found:
    return Found(
        name=name,
        key=record.version,
        clip=_file(name, record.version, record.clip),
        transcript=_file(name, record.version, TRANSCRIPT) if TRANSCRIPT in record.files else None,
        facts=FileStat(record.clip_bytes, record.created_at.timestamp()),
        samples=_file(name, record.version, PREPARED),
        record=record,
    )


def _found_early(name: str, entry: Entry) -> Found | None:
    clip, text = entry.clips[0], next(iter(entry.texts), None)
    facts = clip.facts()
    if facts is None:
        return None
    looks = [(file.name, file.facts()) for file in (clip, text) if file is not None]
    return Found(name, repr(looks), clip.name, text.name if text else None, facts)


def _outdated(entry: Entry, previous: VoiceRecord | None) -> list[str]:
    """What a new version has taken the place of."""
    old = [item.file for item in entry.versions if previous is not None and item.version == previous.version]
    return [file.name for file in (*old, *entry.clips, *entry.texts)]


def _leftovers(entries: Mapping[str, Entry], added: str | None = None) -> list[str]:
    """Old files that no record names: of voices without a record, and of the one that was just added anew."""
    files: Iterable[StoredFile] = (
        item.file for name, entry in entries.items() for item in entry.versions if entry.record is None or name == added
    )
    return [file.name for file in files if (facts := file.facts()) and time.time() - facts.modified_s > LEFTOVER_S]
