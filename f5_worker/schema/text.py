"""What requests say of their text: its language, its markup, its dialogue, and how words are pronounced."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator

from f5_worker.errors import SettingsInvalid
from f5_worker.schema.voices import AnyVoiceName
from f5_worker.text.markup.pronunciations import Pronunciation

LANGUAGE = r"^[a-z]{2,3}$"
Language = Annotated[str, Field(pattern=LANGUAGE)]
MAX_PRONUNCIATIONS = 100  # of a request, and of a voice
MAX_WORKER_PRONUNCIATIONS = 1_000
MAX_TEXT_VOICES = 32


class PronunciationInput(BaseModel):
    """The pronunciation of a word, or of several in a row."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    written: str = Field(min_length=1, max_length=100, description="The word as it is written.")
    spoken: str = Field(max_length=300, description="What is said instead, spelled as it sounds; empty: nothing.")
    language: Language | None = Field(None, description="Only in texts of this language.")
    voice: AnyVoiceName | None = Field(None, description="Only in this voice.")
    case_sensitive: bool = Field(False, description="Only where capitals are as in `written`.")

    @field_validator("written")
    @classmethod
    def _has_letters(cls, written: str) -> str:
        if not written.strip():
            raise ValueError("has no letters")
        return written

    def to_pronunciation(self) -> Pronunciation:
        """Return it as the text's reading takes it."""
        return Pronunciation(**self.model_dump())


Pronunciations = Annotated[tuple[PronunciationInput, ...], Field(max_length=MAX_PRONUNCIATIONS, strict=False)]


def load_pronunciations(path: Path) -> tuple[Pronunciation, ...]:
    """Load the pronunciations of all jobs, a JSON list of `PronunciationInput`.

    Raises:
        SettingsInvalid: the file cannot be read, or has what a request may not have.
    """
    kind = Annotated[list[PronunciationInput], Field(max_length=MAX_WORKER_PRONUNCIATIONS)]
    try:
        entries = TypeAdapter(kind).validate_json(path.read_bytes())
    except OSError as error:
        raise SettingsInvalid([f"F5_PRONUNCIATIONS: the file cannot be read ({error.strerror})"]) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise SettingsInvalid([f"F5_PRONUNCIATIONS: {place}: {first['msg']}"]) from None
    return tuple(entry.to_pronunciation() for entry in entries)


class SpokenTextFields(BaseModel):
    """The fields that decide how words are read."""

    model_config = ConfigDict(defer_build=True)

    language: Language | None = Field(
        None, description="Language of the text: `en`; absent: the voice's or the model's."
    )
    normalize: bool = Field(True, description="Write out numbers, dates, units and abbreviations before speaking.")
    pronunciations: Pronunciations = Field(
        (), description="How words are said: `[{written, spoken, language, voice, case_sensitive}]`, up to 100."
    )


class MarkupFields(BaseModel):
    """The fields that decide what of a text is spoken, and by whom."""

    model_config = ConfigDict(defer_build=True)

    markup: Literal["auto", "plain"] = Field(
        "auto", description="`auto`: Markdown, tags and directives are read as what they mean; `plain`: as characters."
    )
    directions: Literal["skip", "speak"] = Field(
        "skip", description="Stage directions, `*smiles*` and `[laughs]`: left out, or `speak` them."
    )
    voices: dict[str, AnyVoiceName] = Field(
        default_factory=dict,
        max_length=MAX_TEXT_VOICES,
        description="Voices of a dialogue whose lines begin `Ann: `: `{speaker: voice}`.",
    )
