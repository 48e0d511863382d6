"""What a checkpoint has not learned of written text: a property of the model that decides how texts are read for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TextTraits:
    """The parts of written text that a checkpoint has not learned; the text is changed for it.

    Attributes:
        lower_capitals: it never saw whole words in capitals.
        spell_letters: it never heard the names of letters, `B B C`; they are written out for it, in English.
        one_sentence: it never saw two sentences in one segment.
    """

    lower_capitals: bool = False
    spell_letters: bool = False
    one_sentence: bool = False


ALL_LEARNED = TextTraits()
