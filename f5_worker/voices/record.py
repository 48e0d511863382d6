"""What is stored of a voice besides its files: the record, and the voice as one version of it."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from f5_worker.audio.formats import INPUT_EXTENSIONS
from f5_worker.schema.requests import VoiceDefaultsInput
from f5_worker.voices.cache import PreparedReference
from f5_worker.voices.listing import ADDED_TRANSCRIPT_EXTENSION, SAMPLES_EXTENSION, VoiceFiles, in_order_of_deletion
from f5_worker.voices.naming import clip_name
from f5_worker.voices.store import FileStat

_FILES = frozenset((*INPUT_EXTENSIONS, ADDED_TRANSCRIPT_EXTENSION, SAMPLES_EXTENSION))


class VoiceMetadata(BaseModel):
    """The facts of a voice that was added.

    Attributes:
        consent: the statement that came with it; the operator's, and the holder's of the voice's key, to read.
        original: the name under which it was uploaded, where that is not the voice's.
        clip_bytes: size of the clip as it was sent.
    """

    model_config = ConfigDict(frozen=True)

    created_at: AwareDatetime
    consent: str | None
    defaults: VoiceDefaultsInput
    clip_bytes: int
    prepared: PreparedReference
    original: str | None = None


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
        """Return the names of the version's files, in the order to delete them."""
        return in_order_of_deletion(file_name(name, self.version, kind) for kind in self.files)


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

    def is_of(self, original: str) -> bool:
        """Return True if this is the voice of a file of that name, uploaded or put there."""
        if self.record is None:
            return clip_name(self.clip) == original
        return (self.record.original or self.name) == original


def added_voice(name: str, record: VoiceRecord) -> StoredVoice:
    """Return the voice of a record."""
    has_transcript = ADDED_TRANSCRIPT_EXTENSION in record.files
    return StoredVoice(
        name=name,
        key=record.version,
        clip=file_name(name, record.version, record.clip_extension),
        transcript=file_name(name, record.version, ADDED_TRANSCRIPT_EXTENSION) if has_transcript else None,
        clip_stat=FileStat(record.clip_bytes, record.created_at.timestamp()),
        samples=file_name(name, record.version, SAMPLES_EXTENSION),
        record=record,
    )


def earlier_voice(name: str, files: VoiceFiles) -> StoredVoice | None:
    """Return a voice of the earlier layout; its key follows the names, sizes and times of its files."""
    clip, transcript = files.clips[0], next(iter(files.transcripts), None)
    clip_stat = clip.stat()
    if clip_stat is None:
        return None
    stats = [(file.name, file.stat()) for file in (clip, transcript) if file is not None]
    return StoredVoice(name, repr(stats), clip.name, transcript.name if transcript else None, clip_stat)


def file_name(name: str, version: str, kind: str) -> str:
    """Return the name of one of a version's files."""
    return f"{name}.{version}.{kind}"
