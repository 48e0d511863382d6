"""What a checkpoint has learned of written text: a property of the model that decides how texts are read for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextTraits:
    """The languages of a checkpoint, and how its texts differ from those of f5-tts' own; a text is changed for it.

    Attributes:
        languages: ISO 639-1 codes of those it speaks, the main one first; empty where nothing says so.
        characters: its tokens are the characters of a text; f5-tts' have a space in a word after an accent, `pré paré`.
        guillemets: it learned « »; for others they are straight quotes.
        lower_capitals: it never saw whole words in capitals.
        spell_letters: it never heard the names of letters, `B B C`; they are written out for it, in English and French.
        one_sentence: it never saw two sentences in one segment.
    """

    languages: tuple[str, ...] = ()
    characters: bool = False
    guillemets: bool = False
    lower_capitals: bool = False
    spell_letters: bool = False
    one_sentence: bool = False


UPSTREAM = TextTraits()
