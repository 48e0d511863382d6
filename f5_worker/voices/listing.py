"""Tell by their names alone which files belong to which voice.

A voice that was added is `<name>.json` with the files of one version, `<name>.<version>.<extension>`. Files of the
earlier layout, put there by the earlier worker or by a person, are `<any name>.wav` with `<any name>.srt`, `.vtt`,
`.csv` or `.txt`; each clip's name is that of a voice, see naming.py.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from f5_worker.audio.formats import INPUT_EXTENSIONS
from f5_worker.voices.naming import TRANSCRIPT_EXTENSIONS, Spellings, extension, is_name, listed_name, listed_names
from f5_worker.voices.store import StoredFile

# The files of a version besides the clip: the record, the transcript of whatever kind, and the prepared samples.
RECORD_EXTENSION = "json"
ADDED_TRANSCRIPT_EXTENSION = "txt"
SAMPLES_EXTENSION = "npy"

_VERSIONED = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9_-]*)\.(?P<version>[0-9a-f]{12})"
    rf"\.({'|'.join(INPUT_EXTENSIONS)}|{ADDED_TRANSCRIPT_EXTENSION}|{SAMPLES_EXTENSION})"
)


class VersionFile(NamedTuple):
    """A file of one version of a voice that was added."""

    version: str
    file: StoredFile

    @property
    def extension(self) -> str:
        """Return the file's extension."""
        return extension(self.file.name)


@dataclass
class VoiceFiles:
    """The files of one voice in a store.

    Attributes:
        record: `<name>.json`.
        version_files: the files that it names, and those of versions that were current or are being added.
        clips, transcripts: of the earlier layout, best first.
    """

    record: StoredFile | None = None
    version_files: list[VersionFile] = field(default_factory=list)
    clips: list[StoredFile] = field(default_factory=list)
    transcripts: list[StoredFile] = field(default_factory=list)

    @property
    def is_added(self) -> bool:
        """Return True if there is a record and a whole version for it.

        A version that has clip and samples has all its files. Written in the order clip, transcript, samples they are
        deleted in the order samples, clip, transcript, also by a worker that saw the first ones only.
        """
        return self.record is not None and any(map(_is_whole, self.versions.values()))

    @property
    def is_certain(self) -> bool:
        """Return True if there is one version at most: else only the record tells which one is the voice."""
        return len(self.versions) <= 1

    @property
    def is_offered(self) -> bool:
        """Return True if the files make a voice."""
        return self.is_added or bool(self.clips)

    @property
    def is_empty(self) -> bool:
        """Return True if there is no file at all."""
        return not self.by_name

    @property
    def versions(self) -> Mapping[str, Sequence[VersionFile]]:
        """Return the files of each version."""
        versions: defaultdict[str, list[VersionFile]] = defaultdict(list)
        for item in self.version_files:
            versions[item.version].append(item)
        return versions

    @property
    def by_name(self) -> Mapping[str, StoredFile]:
        """Return all files by their names."""
        record = [self.record] if self.record is not None else []
        files = (*record, *(item.file for item in self.version_files), *self.clips, *self.transcripts)
        return {file.name: file for file in files}

    def earlier_names(self, name: str) -> list[str]:
        """Return the names of the earlier layout's files in the order to delete them: the best clip is the last one.

        Until that is deleted, the voice is what it was. Files that an added voice hides are its own only if they have
        exactly its name: `Ada.wav` is not deleted with the `ada` that was added beside it.
        """
        if self.is_added and self.clips and _stem(self.clips[0]) != name:
            return []
        return [file.name for file in (*reversed(self.clips), *self.transcripts)]

    def listed_clip(self) -> tuple[StoredFile, bool]:
        """Return the clip of a voice that is offered, and whether it has a transcript.

        While the voice is replaced, the clip is that of the old or of the new version.
        """
        if not self.is_added:
            return self.clips[0], bool(self.transcripts)
        version = next(filter(_is_whole, self.versions.values()))
        clip = next(item for item in version if item.extension in INPUT_EXTENSIONS)
        return clip.file, any(item.extension in TRANSCRIPT_EXTENSIONS for item in version)


@dataclass(frozen=True)
class Listing:
    """The voices that a store has to offer, by their listed names."""

    voices: Mapping[str, VoiceFiles]

    @cached_property
    def spellings(self) -> Spellings:
        """Return all spellings of their names."""
        return Spellings({_stem(files.clips[0]) if files.clips else name: name for name, files in self.voices.items()})


def in_order_of_writing(kinds: Iterable[str]) -> list[str]:
    """Return the extensions of a version's files in the order to write them; see `VoiceFiles.is_added`."""
    return sorted(kinds, key=lambda kind: {ADDED_TRANSCRIPT_EXTENSION: 1, SAMPLES_EXTENSION: 2}.get(kind, 0))


def in_order_of_deletion(names: Iterable[str]) -> list[str]:
    """Return the names of versions' files in the order to delete them; see `VoiceFiles.is_added`."""
    return sorted(names, key=lambda name: {SAMPLES_EXTENSION: 0, ADDED_TRANSCRIPT_EXTENSION: 2}.get(extension(name), 1))


def group_files(files: Iterable[StoredFile]) -> dict[str, VoiceFiles]:
    """Return each voice's files by its listed name, whether they make a voice or not."""
    voices: defaultdict[str, VoiceFiles] = defaultdict(VoiceFiles)
    clips: defaultdict[str, list[StoredFile]] = defaultdict(list)
    transcripts: defaultdict[str, list[StoredFile]] = defaultdict(list)
    for file in files:
        stem, kind = _stem(file), extension(file.name)
        if match := _VERSIONED.fullmatch(file.name):
            voices[match["name"]].version_files.append(VersionFile(match["version"], file))
        elif file.name.endswith(f".{RECORD_EXTENSION}") and is_name(stem):
            voices[stem].record = file
        elif kind in INPUT_EXTENSIONS:
            clips[stem].append(file)
        elif kind in TRANSCRIPT_EXTENSIONS:
            transcripts[stem].append(file)
    names = listed_names(clips)
    for stem, name in names.items():
        voices[name].clips = sorted(clips[stem], key=lambda file: _rank(file, INPUT_EXTENSIONS))
    spellings = Spellings(names)
    for stem, found in transcripts.items():
        voices[spellings.find(stem) or listed_name(stem)].transcripts += found
    for voice in voices.values():
        stem = _stem(voice.clips[0]) if voice.clips else ""
        voice.transcripts.sort(key=lambda file: (_stem(file) != stem, _rank(file, TRANSCRIPT_EXTENSIONS), file.name))
    return dict(voices)


def listing_warnings(voices: Mapping[str, VoiceFiles]) -> list[str]:
    """Return for the operator which files of a listing are not offered, or under a name that is not expected."""
    offered = [name for name, voice in voices.items() if voice.is_offered]
    warnings: list[str] = []
    for name, voice in sorted(voices.items()):
        stem = _stem(voice.clips[0]) if voice.clips else None
        if voice.is_added and stem is not None:
            warnings.append(f"voice {name!r} was added; the recording {stem!r} of the same name is not used")
        elif stem is not None and name != listed_name(stem):
            warnings.append(
                f"the recording {stem!r} is found only by exactly this name: {listed_name(stem)!r} is that of another"
            )
        elif voice.transcripts and not voice.is_offered:
            nearest = difflib.get_close_matches(name, offered, n=1)
            hint = f"; is it that of {nearest[0]!r}? Name it like its clip" if nearest else ""
            warnings.append(f"transcript {_stem(voice.transcripts[0])!r} has no clip{hint}")
    return warnings


def _is_whole(version: Sequence[VersionFile]) -> bool:
    kinds = {item.extension for item in version}
    return SAMPLES_EXTENSION in kinds and not kinds.isdisjoint(INPUT_EXTENSIONS)


def _stem(file: StoredFile) -> str:
    return file.name.rpartition(".")[0]


def _rank(file: StoredFile, extensions: Sequence[str]) -> int:
    return extensions.index(extension(file.name))
