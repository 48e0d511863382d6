"""The voices in one store: find, read, add and delete them while other workers do the same.

A voice that is added gets a version of its own: files that are never written again, and then the small
`<name>.json` that names them. A worker that reads the record reads one version whole or, if its files were deleted,
the record again. There are no locks. A worker that adds a voice checks afterwards whether another's `delete` took a
file that no record named yet, and writes it again; a worker that deletes one continues until nothing, or a whole new
voice, is left, or others have added new ones in every round.
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

from f5_worker.audio.formats import INPUT_EXTENSIONS
from f5_worker.errors import StorageFailed
from f5_worker.log import logger
from f5_worker.schema.requests import VoiceDefaultsInput
from f5_worker.voices.cache import PreparedReference
from f5_worker.voices.naming import (
    ADDED_TRANSCRIPT_EXTENSION,
    RECORD_EXTENSION,
    SAMPLES_EXTENSION,
    VoiceFiles,
    extension,
    group_files,
    is_name,
    listing_warnings,
)
from f5_worker.voices.store import FileStat, Store, StoredFile

MAX_LISTING_AGE_S = 5.0  # how long others' changes to the list, and to files of the earlier layout, may go unseen
ORPHAN_AGE_S = 3_600.0  # older files that no record names are of a worker that died: adding never takes that long
MAX_ROUNDS = 20  # against others who add and delete the same voice within the same milliseconds
BACKOFF_S = 0.002  # longest pause after the first round, twice as long after the second, and so on
MAX_RECORD_BYTES = 100_000

_FILES = frozenset((*INPUT_EXTENSIONS, ADDED_TRANSCRIPT_EXTENSION, SAMPLES_EXTENSION))


class VoiceMetadata(BaseModel):
    """The facts of a voice that was added.

    Attributes:
        consent: the statement that came with it.
        clip_bytes: size of the clip as it was sent.
    """

    model_config = ConfigDict(frozen=True)

    created_at: AwareDatetime
    consent: str | None
    defaults: VoiceDefaultsInput
    clip_bytes: int
    prepared: PreparedReference


class VoiceRecord(VoiceMetadata):
    """The content of `<name>.json`. `files` are the sha256 of `<name>.<version>.<extension>`, by extension.

    They are the clip as it was sent, `txt` if it came with a transcript, and `npy`, the prepared samples, so that
    no worker has to transcribe and cut the clip again.
    """

    version: str = Field(pattern=r"^[0-9a-f]{12}$")
    files: dict[str, str]

    @field_validator("files")
    @classmethod
    def _complete(cls, files: dict[str, str]) -> dict[str, str]:
        if not files.keys() <= _FILES or SAMPLES_EXTENSION not in files or not files.keys() & set(INPUT_EXTENSIONS):
            raise ValueError("the files are not those of a voice")
        return files

    @property
    def clip_extension(self) -> str:
        """Return the clip's extension."""
        return next(kind for kind in INPUT_EXTENSIONS if kind in self.files)

    def file_names(self, name: str) -> list[str]:
        """Return the names of the version's files."""
        return [_file_name(name, self.version, kind) for kind in self.files]


class StaleVersionError(Exception):
    """A file was deleted since the voice was found; find it again."""


@dataclass(frozen=True)
class StoredVoice:
    """One version of a voice in a store.

    Attributes:
        key: equal for equal contents, never used again for others.
        clip, transcript, samples: names of files; `samples` is what `prepare` made from the two.
        clip_stat: of the clip.
        record: None for the earlier layout.
    """

    name: str
    key: str
    clip: str
    transcript: str | None
    clip_stat: FileStat
    samples: str | None = None
    record: VoiceRecord | None = None

    @property
    def defaults(self) -> VoiceDefaultsInput:
        """Return the voice's defaults; none for the earlier layout."""
        return self.record.defaults if self.record else VoiceDefaultsInput()


class VersionedVoiceStore:
    """The voices in one store. All methods raise StorageFailed where the store does."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._listing: tuple[float, dict[str, VoiceFiles]] | None = None
        self._warnings: list[str] = []

    def listing(self) -> Mapping[str, VoiceFiles]:
        """Return the files of all voices that are offered, at most MAX_LISTING_AGE_S old."""
        with self._lock:
            listing = self._listing
        if listing is None or self._clock() - listing[0] >= MAX_LISTING_AGE_S:
            begun = self._clock()
            voices = group_files(self.store.list())
            self._log_new(listing_warnings(voices))
            listing = begun, {name: files for name, files in voices.items() if files.is_offered}
            with self._lock:
                self._listing = listing
        return listing[1]

    def find(self, name: str) -> StoredVoice | None:
        """Return the voice as it is now, or for the earlier layout as it was at most MAX_LISTING_AGE_S ago."""
        record = self._read_record(name)
        if record is not None:
            return _added_voice(name, record)
        files = self.listing().get(name)
        if files is None or files.is_added:  # the latter: deleted since it was listed
            return None
        return _earlier_voice(name, files)

    def read(self, voice: StoredVoice, file: str, max_bytes: int) -> bytes:
        """Read one of a voice's files.

        Raises:
            StaleVersionError: the voice was replaced or deleted.
            ReferenceTooLarge: the file has more than `max_bytes`.
        """
        data = self.store.read(file, max_bytes)
        if data is None:
            self._drop_listing()
            raise StaleVersionError
        if voice.record is not None and _sha256(data) != voice.record.files[extension(file)]:
            raise StorageFailed(f"the voice {voice.name!r} is damaged, a file is not what was added; add it again")
        return data

    def add(self, name: str, contents: Mapping[str, bytes], metadata: VoiceMetadata, *, replace: bool) -> bool:
        """Add a voice: all workers see all of it or nothing. Return False if there is one that is not to be replaced.

        Args:
            contents: the files, by extension.
        """
        for n_rounds in range(MAX_ROUNDS):
            time.sleep(random.uniform(0, n_rounds * BACKOFF_S))  # noqa: S311 - not a secret
            previous, is_whole = self._read_current(name)
            voices = group_files(self.store.list())
            files = voices.get(name, VoiceFiles())
            if not replace and (is_whole or files.clips):
                return False
            record = self._write_files(name, contents, metadata)
            data = record.model_dump_json(indent=2).encode()
            # A record without its files is not a voice: it may be overwritten in any case.
            may_replace = replace or previous is not None
            if not self.store.write(f"{name}.{RECORD_EXTENSION}", data, replace=may_replace):
                self.store.delete(record.file_names(name))
                return False
            if self._was_added(name, record):
                self.store.delete([*_replaced_files(files, previous), *_orphaned_files(voices, name)])
                self._drop_listing()
                return True
            self.store.delete(record.file_names(name))
        raise StorageFailed(f"other workers keep adding and deleting the voice {name!r}; try again")

    def delete(self, name: str) -> bool:
        """Delete all files of a voice, of all versions and of the earlier layout. Return False if there was none."""
        was_there = False
        for n_rounds in range(MAX_ROUNDS):
            voices = group_files(self.store.list())
            files = voices.get(name, VoiceFiles())
            record = self._read_record(name) if n_rounds else None
            if files.is_empty or (record is not None and _has_all_files(files, record)):  # the latter: added since
                self.store.delete(_orphaned_files(voices))
                break
            was_there |= files.is_offered
            if files.record is not None:  # first: without it the others are not a voice
                self.store.delete([files.record.name])
            self.store.delete(files.names)
        self._drop_listing()
        return was_there  # after the last round, too: others have added only newer voices than the one to delete

    def _read_record(self, name: str) -> VoiceRecord | None:
        if not is_name(name):  # only a valid name ever becomes part of a file's name
            return None
        data = self.store.read(f"{name}.{RECORD_EXTENSION}", MAX_RECORD_BYTES)
        if data is None:
            return None
        try:
            return VoiceRecord.model_validate_json(data)
        except ValidationError:
            logger.warning("the record of voice %r cannot be read; add the voice again", name)
            return None

    def _write_files(self, name: str, contents: Mapping[str, bytes], metadata: VoiceMetadata) -> VoiceRecord:
        """Write the files under names that no record has had before: others may delete files of an earlier attempt."""
        version = secrets.token_hex(6)
        for kind, data in contents.items():
            self.store.write(_file_name(name, version, kind), data)
        return VoiceRecord(
            version=version, files={kind: _sha256(data) for kind, data in contents.items()}, **dict(metadata)
        )

    def _was_added(self, name: str, record: VoiceRecord) -> bool:
        """Return True if a version is whole, or was until a later add or delete took its place."""
        current = self._read_record(name)
        if current is None or current.version != record.version:
            self.store.delete(record.file_names(name))
            return True
        return self._has_files(name, record)

    def _read_current(self, name: str) -> tuple[VoiceRecord | None, bool]:
        """Return the record, and whether its files are all there. Once deleted they do not come back."""
        record = self._read_record(name)
        while record is not None and not self._has_files(name, record):
            before, record = record, self._read_record(name)
            if record is not None and record.version == before.version:
                return record, False
        return record, record is not None

    def _has_files(self, name: str, record: VoiceRecord) -> bool:
        listed = {file.name for file in self.store.list(f"{name}.{record.version}.")}
        return listed.issuperset(record.file_names(name))

    def _drop_listing(self) -> None:
        with self._lock:
            self._listing = None

    def _log_new(self, warnings: list[str]) -> None:
        """Log each warning once, not at every listing."""
        with self._lock:
            new, self._warnings = [line for line in warnings if line not in self._warnings], warnings
        for line in new:
            logger.warning("voices: %s", line)


def _file_name(name: str, version: str, kind: str) -> str:
    return f"{name}.{version}.{kind}"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _has_all_files(files: VoiceFiles, record: VoiceRecord) -> bool:
    return record.files.keys() <= {item.extension for item in files.version_files if item.version == record.version}


def _added_voice(name: str, record: VoiceRecord) -> StoredVoice:
    has_transcript = ADDED_TRANSCRIPT_EXTENSION in record.files
    return StoredVoice(
        name=name,
        key=record.version,
        clip=_file_name(name, record.version, record.clip_extension),
        transcript=_file_name(name, record.version, ADDED_TRANSCRIPT_EXTENSION) if has_transcript else None,
        clip_stat=FileStat(record.clip_bytes, record.created_at.timestamp()),
        samples=_file_name(name, record.version, SAMPLES_EXTENSION),
        record=record,
    )


def _earlier_voice(name: str, files: VoiceFiles) -> StoredVoice | None:
    """Return a voice of the earlier layout; its key follows the names, sizes and times of its files."""
    clip, transcript = files.clips[0], next(iter(files.transcripts), None)
    clip_stat = clip.stat()
    if clip_stat is None:
        return None
    stats = [(file.name, file.stat()) for file in (clip, transcript) if file is not None]
    return StoredVoice(name, repr(stats), clip.name, transcript.name if transcript else None, clip_stat)


def _replaced_files(files: VoiceFiles, previous: VoiceRecord | None) -> list[str]:
    """Return the names of the files that a new version replaces."""
    old = [item.file for item in files.version_files if previous is not None and item.version == previous.version]
    return [file.name for file in (*old, *files.clips, *files.transcripts)]


def _orphaned_files(voices: Mapping[str, VoiceFiles], added: str | None = None) -> list[str]:
    """Return old files that no record names: of voices without a record, and of the one that was just added."""
    orphans: Iterable[StoredFile] = (
        item.file
        for name, files in voices.items()
        for item in files.version_files
        if files.record is None or name == added
    )
    return [file.name for file in orphans if (stat := file.stat()) and time.time() - stat.modified_s > ORPHAN_AGE_S]
