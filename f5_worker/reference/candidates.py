"""The parts of a recording that may become a reference, with their words: by times, by ear, or by pauses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from f5_worker.asr.whisper import Recogniser, Transcription
from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.errors import ReferenceTooLong, TranscriptMismatch, TranscriptNeeded
from f5_worker.reference.clip import Clip, check_rate, finish
from f5_worker.reference.cue_check import check_times
from f5_worker.reference.match import TextPiece, agreement, edges_agree, heard_share, timed_words
from f5_worker.reference.pauses import cut_at_pause
from f5_worker.reference.select import best_runs
from f5_worker.settings import variable
from f5_worker.text.letters import is_unspaced, spoken_letters
from f5_worker.transcripts.cues import Cue

LISTEN_S = 60.0  # of a longer recording: enough to choose from, and seconds instead of a minute of listening
TRIES = 3  # of the best parts: the first whose words are confirmed is taken
CONFIRMED = 0.95
WRONG_EDGE = 0.1  # a word too many or too few at an edge is worse than several misheard in between
# Mean probability of its words where the recogniser is believed. Measured with tiny.en: 0.84 and more for English,
# in noise at 0 dB too, at most 0.55 for six other languages.
MIN_SURENESS = 0.65
# Unrelated English texts agree by 0.14 to 0.31. Chinese and Japanese have many characters for one sound: a true
# transcript may differ in half of them.
MIN_AGREEMENT, MIN_AGREEMENT_UNSPACED = 0.5, 0.2
MIN_HEARD_SHARE = 0.3  # of the words heard in a long recording, to be found in its transcript

_NO_SPEECH = re.compile(r"\[[^\]]*\]|[♪♫]+")  # how subtitles write sounds and songs


@dataclass(frozen=True, eq=False)
class Choice:
    """A clip that may become the reference, and its words.

    note: what was done to the recording. doubt: what only listening could dispel. agreement: of the words with what
    is heard; None if nobody listened, or could not hear well. language: as detected.
    """

    clip: Clip
    text: str
    note: str | None = None
    doubt: str | None = None
    agreement: float | None = None
    language: str | None = None


def of_text(whole: Clip, text: str, max_s: float, recogniser: Recogniser | None, language: str | None) -> list[Choice]:
    """A plain transcript: all of it for a short recording, what is heard in the best part of a long one.

    Without a recogniser, or where it hears badly, the beginning is taken up to a pause that belongs to a
    punctuation mark for certain.

    Raises:
        TranscriptMismatch: the text cannot be what is said.
        ReferenceTooLong: no part can be cut out with its words.
    """
    check_rate(whole, text)
    if whole.finished_s <= max_s:
        return [Choice(whole, text)]
    if recogniser is not None and can_judge(recogniser, text, language):
        heard = _listen(whole, recogniser, language)
        if heard.mean_word_probability >= MIN_SURENESS:
            pieces = timed_words(text, heard.words)
            _check_heard(heard_share(pieces, heard.words))
            if found := _of_pieces(whole, text, pieces, max_s):
                return found
    part, words = cut_at_pause(whole, text, max_s)
    check_rate(part, words)
    note = (
        f"the recording has {whole.finished_s:.1f} s; its first {part.finished_s:.1f} s and the first "
        f"{len(words.strip())} of {len(text.strip())} characters of its transcript are used"
    )
    return [Choice(part, words, note)]


def of_cues(whole: Clip, cues: Sequence[Cue], max_s: float) -> list[Choice]:
    """A transcript with times: the best runs of lines.

    Raises:
        TranscriptMismatch: times or pace show that it is of another recording.
        ReferenceTooLong: no line begins and ends at a pause.
    """
    text, pieces = _joined(cues)
    check_rate(whole, text, at_least=0.0)  # lines may be of a part only
    doubt = check_times(whole, pieces)
    if found := _of_pieces(whole, text, pieces, max_s):
        return [replace(choice, doubt=doubt) for choice in found]
    check_rate(whole, text)
    if whole.finished_s <= max_s:
        return [Choice(whole, text, doubt=doubt)]
    raise ReferenceTooLong(
        f"the recording has {whole.finished_s:.1f} s, at most {max_s:g} s is used ({variable('reference_max_s')}), "
        f"and none of the transcript's {len(pieces)} lines could be cut out: they begin and end away from the "
        f"recording's {len(whole.pauses())} pauses, or at another pace; send a clip of 5 to 12 s with exactly its words"
    )


def of_sound(whole: Clip, max_s: float, recogniser: Recogniser, language: str | None) -> list[Choice]:
    """No transcript: the words are those that the recogniser hears.

    Raises:
        TranscriptNeeded: it hears none, or is not sure of them.
        ReferenceTooLong: no part begins and ends at pauses between words.
    """
    if whole.finished_s <= max_s:
        heard = recogniser.transcribe(finish(whole), language)
        _check_sure(heard)
        return [Choice(whole, heard.text)]
    heard = _listen(whole, recogniser, language)
    _check_sure(heard)
    text, pieces = _of_words(heard)
    if found := _of_pieces(whole, text, pieces, max_s):
        return found
    raise ReferenceTooLong(
        f"the recording has {whole.finished_s:.1f} s, at most {max_s:g} s is used ({variable('reference_max_s')}), "
        f"and no part of it begins and ends at one of its {len(whole.pauses())} pauses for certain; "
        "send a clip of 5 to 12 s"
    )


def confirmed(choices: Sequence[Choice], recogniser: Recogniser | None, language: str | None) -> Choice:
    """The first choice whose words are heard in its clip, or the one that comes nearest.

    Raises:
        TranscriptMismatch: something else is plainly heard in all of them.
    """
    if recogniser is None or not can_judge(recogniser, choices[0].text, language):
        return choices[0]
    tried: list[tuple[float, Choice]] = []
    for choice in choices[:TRIES]:
        heard = recogniser.transcribe(finish(choice.clip), language)
        if heard.mean_word_probability < MIN_SURENESS:
            continue
        share = agreement(choice.text, heard.text)
        worth = share if edges_agree(choice.text, heard.text) else share - WRONG_EDGE
        tried.append((worth, replace(choice, agreement=share, language=heard.language)))
        if worth >= CONFIRMED:
            break
    if not tried:
        return choices[0]
    _, best = max(tried, key=lambda pair: pair[0])
    needed = MIN_AGREEMENT_UNSPACED if _is_mostly_unspaced(best.text) else MIN_AGREEMENT
    if best.agreement is not None and best.agreement < needed:
        raise TranscriptMismatch(
            f"the transcript agrees with what is heard by {best.agreement:.0%} only, at least {needed:.0%} is needed; "
            "send exactly the words spoken in this clip"
        )
    return best


def can_judge(recogniser: Recogniser, text: str, language: str | None) -> bool:
    """Whether what the recogniser hears says anything about a text: an English one knows only English."""
    if not recogniser.understands(language):
        return False
    letters = [char for char in text if char.isalpha()]
    is_latin = sum(char < "\u0250" for char in letters) >= 0.5 * len(letters)
    return is_latin or not recogniser.is_english_only


def _listen(whole: Clip, recogniser: Recogniser, language: str | None) -> Transcription:
    """What is heard in the stretch of LISTEN_S that has most speech, with times in the whole recording."""
    begins = np.array([begin for begin, _ in whole.regions])
    ends = np.array([end for _, end in whole.regions])
    length = round(LISTEN_S * SAMPLE_RATE)
    spoken = np.concatenate(([0], np.cumsum(ends - begins)))
    last = np.searchsorted(ends, begins + length, side="right")  # the first region that is not all within
    first = int(np.argmax(spoken[last] - spoken[np.arange(len(begins))]))
    part = whole.part(first, max(int(last[first]), first + 1))
    samples = whole.recording[part.begin : min(part.end, part.begin + length)]
    heard = recogniser.transcribe(samples, language)
    begin_s = part.begin / SAMPLE_RATE
    later = (replace(word, start_s=begin_s + word.start_s, end_s=begin_s + word.end_s) for word in heard.words)
    return replace(heard, words=tuple(later))


def _of_pieces(whole: Clip, text: str, pieces: Sequence[TextPiece], max_s: float) -> list[Choice]:
    found = []
    for run in best_runs(whole, text, pieces, max_s)[:TRIES]:
        part, words = whole.part(run.first, run.last), text[run.begin : run.end].strip()
        begin_s, end_s = part.begin / SAMPLE_RATE, part.end / SAMPLE_RATE
        note = None
        if len(part.regions) < len(whole.regions):
            note = (
                f"the recording has {whole.audio.duration_s:.1f} s; its part from {begin_s:.1f} to {end_s:.1f} s and "
                f"the {len(words)} characters that are said in it are used"
            )
        found.append(Choice(part, words, note))
    return found


def _joined(cues: Sequence[Cue]) -> tuple[str, list[TextPiece]]:
    """All lines as one text. A line without words is a sound: an empty piece."""
    text = ""
    pieces: list[TextPiece] = []
    for cue in cues:
        said = " ".join(_NO_SPEECH.sub(" ", cue.text).split())
        if not spoken_letters(said):
            pieces.append(TextPiece(len(text), len(text), cue.start_s, cue.end_s, 0.0))
            continue
        if text and not (is_unspaced(said[0]) or is_unspaced(text[-1])):
            text += " "
        pieces.append(TextPiece(len(text), len(text) + len(said), cue.start_s, cue.end_s, speaker=cue.speaker))
        text += said
    return text, pieces


def _of_words(heard: Transcription) -> tuple[str, list[TextPiece]]:
    text = ""
    pieces: list[TextPiece] = []
    for word in heard.words:
        pieces.append(TextPiece(len(text), len(text) + len(word.text), word.start_s, word.end_s, word.probability))
        text += word.text
    return text, pieces


def _check_heard(share: float) -> None:
    if share < MIN_HEARD_SHARE:
        raise TranscriptMismatch(
            f"only {share:.0%} of the words heard in the recording are in the transcript; "
            "send the recording and the transcript that belong together"
        )


def _check_sure(heard: Transcription) -> None:
    if heard.mean_word_probability < MIN_SURENESS:
        what = (
            f"is not sure of the words it hears ({heard.mean_word_probability:.0%})"
            if heard.words
            else "hears no words"
        )
        raise TranscriptNeeded(f"the clip came without its words and the recogniser {what}; send its transcript")


def _is_mostly_unspaced(text: str) -> bool:
    return sum(map(is_unspaced, text)) > 0.3 * len(text)
