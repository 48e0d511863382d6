"""Recognised speech compared with its text: word errors, missing edges, words that came from the reference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import jiwer
from num2words import num2words

from f5_worker.audio.levels import Samples


@dataclass(frozen=True, eq=False)
class RecognizedSpeech:
    """An utterance and what a recogniser wrote of it.

    Attributes:
        text: what was to be said.
        recognized: the recogniser's transcript.
        samples: the audio, `[nw]` at 24 kHz.
    """

    text: str
    recognized: str
    samples: Samples

    @cached_property
    def _aligned(self) -> jiwer.WordOutput:
        said = words(self.text)
        return jiwer.process_words(" ".join(said), " ".join(words(self.recognized, said)))

    @property
    def errors(self) -> int:
        """Return the number of words that are wrong, missing or too many."""
        return self._aligned.substitutions + self._aligned.deletions + self._aligned.insertions

    @property
    def first_word_missing(self) -> bool:
        """Return whether nothing was recognised in place of the first word."""
        return any(chunk.type == "delete" and chunk.ref_start_idx == 0 for chunk in self._aligned.alignments[0])

    @property
    def edge_missing(self) -> bool:
        """Return whether nothing was recognised in place of the first or the last word."""
        length = len(words(self.text))
        deleted = [chunk for chunk in self._aligned.alignments[0] if chunk.type == "delete"]
        return any(chunk.ref_start_idx == 0 or chunk.ref_end_idx == length for chunk in deleted)


def words(text: str, said: Sequence[str] = ()) -> list[str]:
    """Return the words of a text in lower case; numbers are spelled out, as a recogniser may write either.

    Args:
        said: the words that were to be said; a number that can be read in several ways is read as they have it.
    """
    aim = f" {' '.join(said)} "

    def spelled(number: re.Match[str]) -> str:
        readings = [_letters(reading) for reading in _readings(number[0])]
        return f" {next((reading for reading in readings if f' {reading} ' in aim), readings[0])} "

    return _letters(_NUMBER.sub(spelled, text)).split()


# A price, a share, a time, a fraction, a decimal, an ordinal, or digits.
_NUMBER = re.compile(r"[$€£]?\d+(?:,\d{3})+(?:\.\d+)?|[$€£]?\d+(?:[.:/]\d+)?(?:%|st\b|nd\b|rd\b|th\b)?")
_MAX_NUMBER = 15  # characters
_CURRENCIES = {"$": ("dollars", "cents"), "€": ("euros", "cents"), "£": ("pounds", "pence")}
_PARTS = {2: ("half", "halves"), 3: ("third", "thirds"), 4: ("quarter", "quarters"), 10: ("tenth", "tenths")}


def _letters(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def _readings(written: str) -> Iterator[str]:
    """Yield the ways of reading a number, the usual one first."""
    if len(written) > _MAX_NUMBER:  # of a recogniser that repeats itself: one wrong word
        yield "number"
        return
    number = written.replace(",", "").strip("$€£%")
    whole, mark, rest = re.fullmatch(r"(\d+)(?:([.:/])(\d+))?(?:st|nd|rd|th)?", number).groups()  # type: ignore[union-attr]
    count, cardinal = int(whole), num2words(int(whole))
    if currency := _CURRENCIES.get(written[0]):
        yield f"{cardinal} {currency[0]}" + (f" and {num2words(int(rest))} {currency[1]}" if rest else "")
        yield f"{cardinal} {currency[0]} {num2words(int(rest)) if rest else ''}"
    elif written.endswith("%"):
        yield f"{cardinal} percent"
    elif number[-1].isalpha():
        yield num2words(count, to="ordinal")
    elif mark == "/":
        part = _PARTS.get(int(rest), (num2words(int(rest), to="ordinal"),) * 2)
        yield f"{cardinal} {part[count > 1]}"
    elif mark == ".":
        yield f"{cardinal} point {' '.join(num2words(int(digit)) for digit in rest)}"
        yield f"{cardinal} {num2words(int(rest))}"
    elif mark == ":":
        yield f"{cardinal} {num2words(int(rest)) if int(rest) else ''}"
    else:
        yield cardinal
        yield re.sub("^one (?=hundred|thousand|million)", "a ", cardinal)
        yield num2words(count, to="year")
        yield " ".join(num2words(int(digit)) for digit in whole)


def word_error_rate(utterances: Sequence[RecognizedSpeech]) -> float:
    """Return the errors over the words said, of all utterances together."""
    return sum(speech.errors for speech in utterances) / sum(len(words(speech.text)) for speech in utterances)


def first_word_missing_rate(utterances: Sequence[RecognizedSpeech]) -> float:
    """Return the share of utterances whose first word is missing."""
    return sum(speech.first_word_missing for speech in utterances) / len(utterances)


def edge_missing_rate(utterances: Sequence[RecognizedSpeech]) -> float:
    """Return the share of utterances whose first or last word is missing."""
    return sum(speech.edge_missing for speech in utterances) / len(utterances)


def reference_word_rate(utterances: Sequence[tuple[RecognizedSpeech, str]]) -> float:
    """Return the share of recognised words that come from the reference.

    These are two or more in a row as in the reference's transcript, and not as in the text. A single word may be
    misrecognised; two in a row rarely are.

    Args:
        utterances: each with the reference's transcript.
    """
    found = total = 0
    for speech, transcript in utterances:
        recognized = words(speech.recognized)
        foreign = set(pairwise(words(transcript))) - set(pairwise(words(speech.text)))
        indices = {i for at, pair in enumerate(pairwise(recognized)) if pair in foreign for i in (at, at + 1)}
        found += len(indices)
        total += len(recognized)
    return found / total if total else 0.0
