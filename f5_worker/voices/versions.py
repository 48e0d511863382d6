"""The voices in one store: find, read, add and delete them while other workers do the same.

A voice that is added gets a version of its own: files that are never written again, and then the small
`<name>.json` that names them. A worker that reads the record reads one version whole or, if its files were deleted,
the record again. There are no locks. A worker that adds a voice checks afterwards whether another's `delete` took a
file that no record named yet, and writes it again; a worker that deletes one continues until nothing, or a whole new
voice, is left, or others have added new ones in every round.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

from pydantic import ValidationError

from f5_worker.errors import StorageFailed
from f5_worker.log import logger
from f5_worker.voices.listing import (
    RECORD_EXTENSION,
    Listing,
    VoiceFiles,
    group_files,
    in_order_of_deletion,
    in_order_of_writing,
    listing_warnings,
)
from f5_worker.voices.naming import clip_name, extension, is_name, upload_names
from f5_worker.voices.record import StoredVoice, VoiceMetadata, VoiceRecord, added_voice, earlier_voice, file_name
from f5_worker.voices.store import Store, StoredFile

MAX_LISTING_AGE_S = 5.0  # how long others' changes to the list, and to files of the earlier layout, may go unseen
ORPHAN_AGE_S = 3_600.0  # older files that no record names are of a worker that died: adding never takes that long
MAX_ROUNDS = 20  # against others who add and delete the same voice within the same milliseconds
BACKOFF_S = 0.002  # longest pause after the first round, twice as long after the second, and so on
MAX_RECORD_BYTES = 100_000


class StaleVersionError(Exception):
    """A file was deleted since the voice was found; find it again."""


class Usage(NamedTuple):
    """The space that voices take: how many there are, and the bytes of all their files."""

    n_voices: int
    n_bytes: int


class VersionedVoiceStore:
    """The voices in one store. All methods raise StorageFailed where the store does.

    Args:
        owner: whose voices these are; empty for those of all callers.
    """

    def __init__(self, store: Store, owner: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.store = store
        self.owner = owner
        self._clock = clock
        self._lock = threading.Lock()
        self._listing: tuple[float, Listing] | None = None
        self._warnings: list[str] = []
        self._n_drops = 0
        self._sizes: dict[str, int] = {}

    def listing(self) -> Mapping[str, VoiceFiles]:
        """Return the files of all voices that are offered, at most MAX_LISTING_AGE_S old."""
        return self._list().voices

    def find(self, name: str, *, verify: bool = False) -> StoredVoice | None:
        """Return the voice that is listed under exactly this name.

        A voice that was added is found as it is now, one of the earlier layout as it was at most MAX_LISTING_AGE_S ago.

        Args:
            verify: pass over a record whose files are not all there; a caller that reads them finds out for itself.
        """
        record, is_whole = self._read_current(name) if verify else (self._read_record(name), True)
        if record is not None and is_whole:
            return added_voice(name, record)
        files = self.listing().get(name)
        if files is None or files.is_added:  # the latter: deleted since it was listed
            return None
        return earlier_voice(name, files)

    def find_spelling(self, name: str) -> StoredVoice | None:
        """Return the voice that was uploaded under this name, or whose name this is in another spelling."""
        full_name = clip_name(name)
        if not is_name(name) and (uploaded := self._find_upload(full_name)) is not None:
            return uploaded
        spellings = self._list().spellings
        listed = spellings.find(name) or spellings.find(full_name)
        return self.find(listed, verify=True) if listed not in (None, name) else None

    def verify(self, voice: StoredVoice) -> None:
        """Raise if a voice's files are not all there.

        Raises:
            StaleVersionError: the voice was replaced or deleted.
        """
        if voice.record is not None and not self._has_files(voice.name, voice.record):
            self._drop_listing()
            raise StaleVersionError

    def usage(self, without: str) -> Usage:
        """Return the space that all voices but one take, as it is now."""
        return self._usage(group_files(self.store.list()), without)

    def _usage(self, voices: Mapping[str, VoiceFiles], without: str) -> Usage:
        counted = [files for name, files in voices.items() if name != without]
        sizes: dict[str, int] = {}
        for files in counted:
            for name, file in files.by_name.items():
                size = self._sizes.get(name)
                if size is None and (stat := file.stat()) is not None:
                    size = stat.size_bytes
                sizes[name] = size or 0
            # Files of a version never change: on a volume that many workers share each size takes about a millisecond.
            self._sizes |= {item.file.name: sizes[item.file.name] for item in files.version_files}
        self._sizes = {name: size for name, size in self._sizes.items() if name in sizes}
        return Usage(sum(files.is_offered for files in counted), sum(sizes.values()))

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

    def add(
        self,
        name: str,
        contents: Mapping[str, bytes],
        metadata: VoiceMetadata,
        *,
        replace: bool,
        check: Callable[[Usage], None] = lambda usage: None,
    ) -> bool:
        """Add a voice: all workers see all of it or nothing. Return False if there is one that is not to be replaced.

        Args:
            contents: the files, by extension.
            check: called with the space that the other voices take, before anything is written; raises to refuse.
        """
        for n_rounds in range(MAX_ROUNDS):
            time.sleep(random.uniform(0, n_rounds * BACKOFF_S))  # noqa: S311 - not a secret
            previous, is_whole = self._read_current(name)
            voices = group_files(self.store.list())
            files = voices.get(name, VoiceFiles())
            if not replace and (is_whole or files.clips):
                return False
            check(self._usage(voices, name))
            if previous is not None and not is_whole:  # beside the new files it would be taken for theirs
                self.store.delete([f"{name}.{RECORD_EXTENSION}"])
            record = self._write_files(name, contents, metadata)
            data = record.model_dump_json(indent=2).encode()
            if not self.store.write(f"{name}.{RECORD_EXTENSION}", data, replace=replace):
                self.store.delete(record.file_names(name))
                return False
            if self._was_added(name, record):
                self.store.delete([*_replaced_files(name, files, previous), *_orphaned_files(voices, name)])
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
            if n_rounds:  # the files of the earlier layout are deleted, and those of another may have got the name
                files = dataclasses.replace(files, clips=[], transcripts=[])
            record = self._read_record(name) if n_rounds else None
            if files.is_empty or (record is not None and _has_all_files(files, record)):  # the latter: added since
                self.store.delete(_orphaned_files(voices))
                break
            was_there |= files.is_offered
            self.store.delete(_all_files(name, files))
        self._drop_listing()
        return was_there  # after the last round, too: others have added only newer voices than the one to delete

    def _list(self) -> Listing:
        with self._lock:
            listing, n_drops = self._listing, self._n_drops
        if listing is None or self._clock() - listing[0] >= MAX_LISTING_AGE_S:
            begun = self._clock()
            voices = group_files(self.store.list())
            self._log_new(listing_warnings(voices))
            listing = begun, Listing({name: files for name, files in voices.items() if self._is_there(name, files)})
            with self._lock:
                if n_drops == self._n_drops:  # else this one may lack what this worker has changed since
                    self._listing = listing
        return listing[1]

    def _is_there(self, name: str, files: VoiceFiles) -> bool:
        """Return True if the files make a voice; among those of several versions only the record tells."""
        if not files.is_added or files.is_certain:
            return files.is_offered
        record = self._read_record(name)
        return record is not None and _has_all_files(files, record)

    def _find_upload(self, original: str) -> StoredVoice | None:
        """Return the voice that was uploaded under this name."""
        for name in upload_names(original):
            record = self._read_record(name)
            if record is not None and record.original == original:
                return added_voice(name, record)
        return None

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
        record = VoiceRecord(
            version=version, files={kind: _sha256(data) for kind, data in contents.items()}, **dict(metadata)
        )
        for kind in in_order_of_writing(contents):
            self.store.write(file_name(name, version, kind), contents[kind])
        return record

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
            self._n_drops += 1

    def _log_new(self, warnings: list[str]) -> None:
        """Log each warning once, not at every listing."""
        with self._lock:
            new, self._warnings = [line for line in warnings if line not in self._warnings], warnings
        for line in new:
            logger.warning("voices: %s", line)


def find_voice(
    name: str, stores: Sequence[VersionedVoiceStore], *, verify: bool = False
) -> tuple[VersionedVoiceStore, StoredVoice] | None:
    """Return the first voice of exactly this name, else the first of which it is another spelling."""
    exact = ((store, store.find(name, verify=verify)) for store in stores)
    spelled = ((store, store.find_spelling(name)) for store in stores)
    return next(((store, voice) for store, voice in chain(exact, spelled) if voice is not None), None)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _has_all_files(files: VoiceFiles, record: VoiceRecord) -> bool:
    return record.files.keys() <= {item.extension for item in files.version_files if item.version == record.version}


def _replaced_files(name: str, files: VoiceFiles, previous: VoiceRecord | None) -> list[str]:
    """Return the names of the files that a new version replaces."""
    old = (item.file for item in files.version_files if previous is not None and item.version == previous.version)
    return [*in_order_of_deletion(file.name for file in old), *files.earlier_names(name)]


def _all_files(name: str, files: VoiceFiles) -> list[str]:
    """Return the names of all files of a voice in the order to delete them: a worker that dies leaves it whole or none.

    The files of the earlier layout that a record hides come before it, since they would be a voice without it; the
    files of versions come after it, since they are none.
    """
    record = [files.record.name] if files.record is not None else []
    versions = in_order_of_deletion(item.file.name for item in files.version_files)
    if files.is_added:
        return [*files.earlier_names(name), *record, *versions]
    return [*record, *versions, *files.earlier_names(name)]


def _orphaned_files(voices: Mapping[str, VoiceFiles], added: str | None = None) -> list[str]:
    """Return old files that no record names: of voices without a record, and of the one that was just added."""
    orphans: Iterable[StoredFile] = (
        item.file
        for name, files in voices.items()
        for item in files.version_files
        if files.record is None or name == added
    )
    return [file.name for file in orphans if (stat := file.stat()) and time.time() - stat.modified_s > ORPHAN_AGE_S]
