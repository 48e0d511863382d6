"""From a written text to what is spoken: the one way that jobs, `preview` and scripts/preview.py take.

script   what is shown, who speaks it, where it pauses (`text.markup`)
passages the words of each voice as the model reads them: plain characters, pronunciations, numbers in words
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from f5_worker.text.chunk import LINE, rank_of_end
from f5_worker.text.markup.capitals import lower_capitals, spell_letters
from f5_worker.text.markup.pronunciations import Pronunciation, apply_pronunciations
from f5_worker.text.markup.script import Passage, Script, ScriptOptions, read_script
from f5_worker.text.normalize import has_speech, plain_text, written_out
from f5_worker.text.powers import read_powers
from f5_worker.text.spans import SourceMappedText
from f5_worker.text.traits import UPSTREAM, TextTraits


@dataclass(frozen=True)
class ReadingOptions:
    """The options of reading a text.

    Attributes:
        language: ISO 639-1; says how numbers are read.
        by_script: a sentence in the script of another language is read as that.
        expand: write out numbers, units and abbreviations.
        pronunciations: words that are said otherwise; of entries for the same words the first counts.
        traits: of the model.
    """

    language: str = "en"
    by_script: bool = False
    expand: bool = True
    pronunciations: Sequence[Pronunciation] = ()
    traits: TextTraits = UPSTREAM


class SpokenText:
    """A text as it is spoken; its sentences are made when they are asked for, since a number takes milliseconds.

    Args:
        plain: with its numbers in figures.
        sentences: with them in words, and with the places in the script's text that they are from.
    """

    def __init__(self, plain: SourceMappedText, sentences: Iterable[SourceMappedText]) -> None:
        self.plain = plain
        self._made, self._coming = list[SourceMappedText](), iter(sentences)

    def __iter__(self) -> Iterator[SourceMappedText]:
        at = 0
        while True:
            if at == len(self._made):
                coming = next(self._coming, None)
                if coming is None:
                    return
                self._made.append(coming)
            yield self._made[at]
            at += 1

    @cached_property
    def whole(self) -> SourceMappedText:
        """Return all sentences as one text."""
        return SourceMappedText.join(self)


@dataclass(frozen=True)
class SpokenPassage:
    """A passage as it is spoken.

    Attributes:
        sentences: its text.
        language: as which it was read, ISO 639-1.
        pause_s: the silence after it that the text asks for; None where its end decides.
        end_rank: what it ends with, an index of `chunk.PAUSES_S`.
    """

    sentences: SpokenText
    language: str
    voice: str | None = None
    speaker: str | None = None
    pause_s: float | None = None
    end_rank: int = LINE

    @property
    def text(self) -> SourceMappedText:
        """Return its text, with the places in the script's text that it is from."""
        return self.sentences.whole


@dataclass(frozen=True)
class Reading:
    """A script as it is spoken. lead_s: the silence before the first passage."""

    passages: tuple[SpokenPassage, ...]
    lead_s: float = 0.0


def read_passages(script: Script, options: Callable[[str | None], ReadingOptions]) -> Reading:
    """Return what is spoken of a script; pauses around what is not spoken add up.

    Args:
        options: how the text of a voice is read, by its name.
    """
    passages, lead_s = list[SpokenPassage](), 0.0
    for passage in script.passages:
        if script.has_words(passage):
            chosen = options(passage.voice)
            text = _speak(_source(script, passage), chosen)
            if has_speech(text.plain.text):
                is_last = passage is script.passages[-1]
                rank = LINE if is_last else rank_of_end(script.text.text[passage.begin : passage.end])
                spoken = SpokenPassage(text, chosen.language, passage.voice, passage.speaker, passage.pause_s, rank)
                passages.append(spoken)
                continue
        if passage.pause_s is not None and passages:
            passages[-1] = replace(passages[-1], pause_s=(passages[-1].pause_s or 0.0) + passage.pause_s)
        else:
            lead_s += passage.pause_s or 0.0
    return Reading(tuple(passages), lead_s)


def read(text: str, script_options: ScriptOptions | None = None, options: ReadingOptions | None = None) -> Reading:
    """Return what is spoken of a text, whatever the voice.

    Raises:
        InvalidInput: see `read_script`.
    """
    chosen = options or ReadingOptions()
    return read_passages(read_script(text, script_options), lambda voice: chosen)


def read_line(text: str, options: ReadingOptions) -> SpokenPassage:
    """Return what is spoken of a text without markup, such as a line of subtitles."""
    return SpokenPassage(_speak(SourceMappedText.of(text), options), options.language)


def _speak(source: SourceMappedText, options: ReadingOptions) -> SpokenText:
    plain = plain_text(source, guillemets=options.traits.guillemets)
    text = apply_pronunciations(plain, options.pronunciations, options.language)
    if options.traits.lower_capitals:
        text = lower_capitals(text, options.language)
    if options.expand:
        text = read_powers(text, options.language)
    return SpokenText(text, _sentences(text, options))


def _sentences(text: SourceMappedText, options: ReadingOptions) -> Iterator[SourceMappedText]:
    written = written_out(text, options.language, by_script=options.by_script) if options.expand else [text]
    for sentence in written:
        yield spell_letters(sentence, options.language) if options.traits.spell_letters else sentence


def _source(script: Script, passage: Passage) -> SourceMappedText:
    """Return a passage with what is said instead of its words, and the places in the script's text."""
    shown = script.text.text[passage.begin : passage.end]
    source = SourceMappedText(shown, tuple((at, at + 1) for at in range(passage.begin, passage.end)))
    return source.replace((begin - passage.begin, end - passage.begin, said) for begin, end, said in passage.said)
