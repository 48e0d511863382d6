"""Which files belong to which voice, by their names alone.

A voice that was added is `<name>.json` with the files of one version, `<name>.<version>.<extension>`. What the
earlier worker, or a person, put there is `<any name>.wav` with `<any name>.srt`, `.vtt`, `.csv` or `.txt`; it is
offered under a name that is made of the file's.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from f5_worker.schema.requests import VOICE_NAME
from f5_worker.voices.store import StoredFile

# Preferred first: of a clip the one that lost least, of a transcript the one with times.
CLIPS = ("wav", "flac", "aiff", "aif", "m4a", "mp4", "opus", "ogg", "webm", "mka", "mp3", "aac")
TEXTS = ("srt", "vtt", "csv", "txt")
RECORD = "json"
PREPARED = "npy"
MAX_NAME_CHARS = 64

_NAME = re.compile(VOICE_NAME)
_VERSIONED = re.compile(rf"(?P<name>[a-z0-9][a-z0-9_-]*)\.(?P<version>[0-9a-f]{{12}})\.({'|'.join(CLIPS)}|txt|npy)")


class Version(NamedTuple):
    """A file of a voice that was added."""

    version: str
    file: StoredFile

    @property
    def extension(self) -> str:
        return extension(self.file.name)


@dataclass
class Entry:
    """The files of one voice.

    Attributes:
        record: `<name>.json`.
        versions: the files that it names, and those of versions that were or are about to be.
        clips, texts: of the earlier layout, best first.
    """

    record: StoredFile | None = None
    versions: list[Version] = field(default_factory=list)
    clips: list[StoredFile] = field(default_factory=list)
    texts: list[StoredFile] = field(default_factory=list)

    @property
    def is_added(self) -> bool:
        return self.record is not None and any(item.extension in CLIPS for item in self.versions)

    @property
    def is_offered(self) -> bool:
        return self.is_added or bool(self.clips)

    def listed(self) -> tuple[StoredFile, bool]:
        """Of a voice that is offered: the clip, and whether it has a transcript; while it is replaced, of either."""
        if not self.is_added:
            return self.clips[0], bool(self.texts)
        clip = next(item for item in self.versions if item.extension in CLIPS)
        return clip.file, any(item.version == clip.version and item.extension in TEXTS for item in self.versions)

    @property
    def is_empty(self) -> bool:
        return self.record is None and not self.files

    @property
    def files(self) -> list[str]:
        """The names of all but the record."""
        return [file.name for file in (*(item.file for item in self.versions), *self.clips, *self.texts)]


def is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def name_from_file(file: str) -> str:
    """The name under which a file's voice is offered: `My Voice.WAV` -> `my_voice`; always a valid one."""
    file = file.replace("\\", "/").rpartition("/")[2]
    stem = file.rpartition(".")[0] if extension(file) in (*CLIPS, *TEXTS) else file
    plain = "".join(char for char in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(char)).lower()
    mapped = re.sub(r"[^a-z0-9_-]", "-", re.sub(r"\s", "_", plain.strip()))
    if not any(char.isalnum() for char in mapped):  # of another script altogether
        return "voice-" + hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return mapped.lstrip("-_")[:MAX_NAME_CHARS]


def extension(file: str) -> str:
    return file.rpartition(".")[2].lower() if "." in file else ""


def read_listing(files: Iterable[StoredFile]) -> dict[str, Entry]:
    """Each voice's files, whether they make a voice or not."""
    entries: defaultdict[str, Entry] = defaultdict(Entry)
    for file in files:
        stem, kind = file.name.rpartition(".")[0], extension(file.name)
        if match := _VERSIONED.fullmatch(file.name):
            entries[match["name"]].versions.append(Version(match["version"], file))
        elif file.name.endswith(f".{RECORD}") and is_name(stem):
            entries[stem].record = file
        elif kind in CLIPS:
            entries[name_from_file(file.name)].clips.append(file)
        elif kind in TEXTS:
            entries[name_from_file(file.name)].texts.append(file)
    for name, entry in entries.items():
        entry.clips.sort(key=lambda file: (_stem(file) != name, _stem(file), CLIPS.index(extension(file.name))))
        stem = _stem(entry.clips[0]) if entry.clips else name
        entry.texts.sort(key=lambda file: (_stem(file) != stem, TEXTS.index(extension(file.name)), file.name))
    return dict(entries)


def remarks(entries: Mapping[str, Entry]) -> list[str]:
    """What is in a listing and not offered, in words for the operator."""
    offered = [name for name, entry in entries.items() if entry.is_offered]
    found: list[str] = []
    for name, entry in sorted(entries.items()):
        stems = list(dict.fromkeys(map(_stem, entry.clips)))
        if entry.is_added and stems:
            found.append(f"voice {name!r} was added; the recording {_quoted(stems)} of the same name is not used")
        elif len(stems) > 1:
            found.append(f"{_quoted(stems)} are all voice {name!r}; only the first is used, rename the others")
        elif entry.texts and not entry.is_offered:
            near = difflib.get_close_matches(name, offered, n=1)
            hint = f"; is it that of {near[0]!r}? Name it like its clip" if near else ""
            found.append(f"transcript {_stem(entry.texts[0])!r} has no clip{hint}")
    return found


def _stem(file: StoredFile) -> str:
    return file.name.rpartition(".")[0]


def _quoted(stems: Sequence[str]) -> str:
    return ", ".join(map(repr, stems))
