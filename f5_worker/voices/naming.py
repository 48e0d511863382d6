"""Tell by their names alone which files belong to which voice.

A voice that was added is `<name>.json` with the files of one version, `<name>.<version>.<extension>`. Files of the
earlier layout, put there by the earlier worker or by a person, are `<any name>.wav` with `<any name>.srt`, `.vtt`,
`.csv` or `.txt`; they are offered under a name that is made from the file's.
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

from f5_worker.audio.formats import INPUT_EXTENSIONS
from f5_worker.schema.requests import VOICE_NAME
from f5_worker.voices.store import StoredFile

# Preferred first: those with times. Clips have INPUT_EXTENSIONS, also preferred first: those that lost least.
TRANSCRIPT_EXTENSIONS = ("srt", "vtt", "ass", "ssa", "ttml", "dfxp", "smi", "sbv", "lrc", "csv", "tsv", "txt")
# The files of a version besides the clip: the record, the transcript of whatever kind, and the prepared samples.
RECORD_EXTENSION = "json"
ADDED_TRANSCRIPT_EXTENSION = "txt"
SAMPLES_EXTENSION = "npy"
MAX_NAME_CHARS = 64

_NAME = re.compile(VOICE_NAME)
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
        """Return True if there is a record and a clip for it."""
        return self.record is not None and any(item.extension in INPUT_EXTENSIONS for item in self.version_files)

    @property
    def is_offered(self) -> bool:
        """Return True if the files make a voice."""
        return self.is_added or bool(self.clips)

    @property
    def is_empty(self) -> bool:
        """Return True if there is no file at all."""
        return self.record is None and not self.names

    @property
    def names(self) -> list[str]:
        """Return the names of all files except the record."""
        files = (*(item.file for item in self.version_files), *self.clips, *self.transcripts)
        return [file.name for file in files]

    def listed_clip(self) -> tuple[StoredFile, bool]:
        """Return the clip of a voice that is offered, and whether it has a transcript.

        While the voice is replaced, the clip is that of the old or of the new version.
        """
        if not self.is_added:
            return self.clips[0], bool(self.transcripts)
        clip = next(item for item in self.version_files if item.extension in INPUT_EXTENSIONS)
        version = [item for item in self.version_files if item.version == clip.version]
        return clip.file, any(item.extension in TRANSCRIPT_EXTENSIONS for item in version)


def is_name(name: str) -> bool:
    """Return True if a voice may have this name."""
    return _NAME.fullmatch(name) is not None


def name_from_file(file: str) -> str:
    """Return the name under which a file's voice is offered, always a valid one: `My Voice.WAV` -> `my_voice`."""
    file = file.replace("\\", "/").rpartition("/")[2]
    stem = file.rpartition(".")[0] if extension(file) in (*INPUT_EXTENSIONS, *TRANSCRIPT_EXTENSIONS) else file
    plain = "".join(char for char in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(char)).lower()
    mapped = re.sub(r"[^a-z0-9_-]", "-", re.sub(r"\s", "_", plain.strip()))
    if not any(char.isalnum() for char in mapped):  # of another script altogether
        return "voice-" + hashlib.sha256(stem.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return mapped.lstrip("-_")[:MAX_NAME_CHARS]


def extension(file: str) -> str:
    """Return the extension of a file's name in small letters, without the dot."""
    return file.rpartition(".")[2].lower() if "." in file else ""


def group_files(files: Iterable[StoredFile]) -> dict[str, VoiceFiles]:
    """Return each voice's files by its name, whether they make a voice or not."""
    voices: defaultdict[str, VoiceFiles] = defaultdict(VoiceFiles)
    for file in files:
        stem, kind = file.name.rpartition(".")[0], extension(file.name)
        if match := _VERSIONED.fullmatch(file.name):
            voices[match["name"]].version_files.append(VersionFile(match["version"], file))
        elif file.name.endswith(f".{RECORD_EXTENSION}") and is_name(stem):
            voices[stem].record = file
        elif kind in INPUT_EXTENSIONS:
            voices[name_from_file(file.name)].clips.append(file)
        elif kind in TRANSCRIPT_EXTENSIONS:
            voices[name_from_file(file.name)].transcripts.append(file)
    for name, voice in voices.items():
        voice.clips.sort(key=lambda file: (_stem(file) != name, _stem(file), _rank(file, INPUT_EXTENSIONS)))
        stem = _stem(voice.clips[0]) if voice.clips else name
        voice.transcripts.sort(key=lambda file: (_stem(file) != stem, _rank(file, TRANSCRIPT_EXTENSIONS), file.name))
    return dict(voices)


def listing_warnings(voices: Mapping[str, VoiceFiles]) -> list[str]:
    """Return for the operator which files of a listing are not offered."""
    offered = [name for name, voice in voices.items() if voice.is_offered]
    warnings: list[str] = []
    for name, voice in sorted(voices.items()):
        stems = list(dict.fromkeys(map(_stem, voice.clips)))
        if voice.is_added and stems:
            warnings.append(f"voice {name!r} was added; the recording {_quoted(stems)} of the same name is not used")
        elif len(stems) > 1:
            warnings.append(f"{_quoted(stems)} are all voice {name!r}; only the first is used, rename the others")
        elif voice.transcripts and not voice.is_offered:
            nearest = difflib.get_close_matches(name, offered, n=1)
            hint = f"; is it that of {nearest[0]!r}? Name it like its clip" if nearest else ""
            warnings.append(f"transcript {_stem(voice.transcripts[0])!r} has no clip{hint}")
    return warnings


def _stem(file: StoredFile) -> str:
    return file.name.rpartition(".")[0]


def _rank(file: StoredFile, extensions: Sequence[str]) -> int:
    return extensions.index(extension(file.name))


def _quoted(stems: Sequence[str]) -> str:
    return ", ".join(map(repr, stems))
