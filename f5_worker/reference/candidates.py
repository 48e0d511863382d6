"""Find the parts of a recording that may become a reference, with their words: by times, recogniser or pauses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from f5_worker.asr.whisper import Recogniser, Transcription
from f5_worker.audio.levels import SAMPLE_RATE
from f5_worker.errors import ReferenceTooLong, ReferenceTooShort, TranscriptMismatch, TranscriptNeeded
from f5_worker.reference.clip import Clip, check_speaking_rate, render_clip
from f5_worker.reference.cue_check import check_times
from f5_worker.reference.match import TextPiece, agreement, edges_agree, join_cues, matched_share, timed_words
from f5_worker.reference.pauses import cut_at_pause
from f5_worker.reference.select import rank_spans
from f5_worker.reference.thresholds import CLIP, RECOGNITION
from f5_worker.settings import variable
from f5_worker.text.scripts import is_latin, is_unspaced

if TYPE_CHECKING:
    from f5_worker.transcripts.cues import Cue


@dataclass(frozen=True, eq=False)
class Candidate:
    """A clip that may become the reference, and its words.

    Attributes:
        cut_warning: which part of the recording and of its transcript is used; None for all of it.
        times_warning: why the transcript's times may be of another recording; does not matter where `agreement` is
            known.
        agreement: of the words with the recognised ones, 0..1; None where they were not compared.
        language: as detected.
    """

    clip: Clip
    text: str
    cut_warning: str | None = None
    times_warning: str | None = None
    agreement: float | None = None
    language: str | None = None


def candidates_from_text(
    whole: Clip, text: str, max_s: float, recogniser: Recogniser | None, language: str | None
) -> list[Candidate]:
    """Return candidates with a plain transcript, best first.

    That is all of a short recording, or the best parts of a long one with the words that the recogniser finds in them.
    Without a recogniser, or where it is not sure, it is the beginning up to a pause that certainly belongs to a
    punctuation mark.

    Raises:
        TranscriptMismatch: the recording cannot have this text.
        ReferenceTooLong: no part can be cut out with its words.
    """
    check_speaking_rate(whole, text)
    if whole.rendered_s <= max_s:
        return [Candidate(whole, text)]
    if recogniser is not None and can_check_text(recogniser, text, language):
        transcription = _transcribe_densest_part(whole, recogniser, language)
        if transcription.mean_word_probability >= RECOGNITION.min_word_probability:
            pieces = timed_words(text, transcription.words)
            _check_matched_share(matched_share(pieces, transcription.words))
            if candidates := _cut_best_spans(whole, text, pieces, max_s):
                return candidates
    part, words = cut_at_pause(whole, text, max_s)
    check_speaking_rate(part, words)
    warning = (
        f"the recording has {whole.rendered_s:.1f} s; its first {part.rendered_s:.1f} s and the first "
        f"{len(words.strip())} of {len(text.strip())} characters of its transcript are used"
    )
    return [Candidate(part, words, warning)]


def candidates_from_cues(whole: Clip, cues: Sequence[Cue], max_s: float) -> list[Candidate]:
    """Return candidates with a transcript that has times: the best runs of its lines.

    Raises:
        TranscriptMismatch: times or pace show that it is of another recording.
        ReferenceTooLong: no line begins and ends at a pause.
    """
    text, pieces = join_cues(_close_open_cues(cues, whole.audio.duration_s))
    check_speaking_rate(whole, text, min_chars_per_s=0.0)  # lines may be of a part only
    times_warning = check_times(whole, pieces)
    if candidates := _cut_best_spans(whole, text, pieces, max_s):
        return [replace(candidate, times_warning=times_warning) for candidate in candidates]
    check_speaking_rate(whole, text)
    if whole.rendered_s <= max_s:
        return [Candidate(whole, text, times_warning=times_warning)]
    raise ReferenceTooLong(
        f"the recording has {whole.rendered_s:.1f} s, at most {max_s:g} s is used ({variable('reference_max_s')}), "
        f"and none of the transcript's {len(pieces)} lines could be cut out: they begin and end away from the "
        f"recording's {len(whole.pauses())} pauses, or have another pace; send a clip of 5 to 12 s with exactly its "
        "words"
    )


def candidates_from_turns(whole: Clip, cues: Sequence[Cue], max_s: float) -> list[Candidate]:
    """Return candidates out of a recording in which all that is said is one speaker's: the best runs of its lines.

    Raises:
        TranscriptMismatch: times show that they are of another recording.
        ReferenceTooShort: no line, or lines of too little speech, begin and end at pauses.
    """
    text, pieces = join_cues(cues)
    times_warning = check_times(whole, pieces)
    for min_speech_s in (CLIP.min_cut_s, CLIP.min_speech_s):  # people with few words have no better clip
        if candidates := _cut_best_spans(whole, text, pieces, max_s, min_speech_s):
            return [replace(candidate, cut_warning=None, times_warning=times_warning) for candidate in candidates]
    raise ReferenceTooShort(
        f"none of the {len(pieces)} lines looked at begins and ends at a pause of the recording, is spoken at a usual "
        f"pace and has {CLIP.min_speech_s:g} s of speech"
    )


def candidates_from_speech(whole: Clip, max_s: float, recogniser: Recogniser, language: str | None) -> list[Candidate]:
    """Return candidates without a transcript: the recogniser writes the words.

    Raises:
        TranscriptNeeded: it hears none, or is not sure of them.
        ReferenceTooLong: no part begins and ends at pauses between words.
    """
    if whole.rendered_s <= max_s:
        transcription = recogniser.transcribe(render_clip(whole), language)
        _check_word_probability(transcription)
        return [Candidate(whole, transcription.text)]
    transcription = _transcribe_densest_part(whole, recogniser, language)
    _check_word_probability(transcription)
    text, pieces = _join_words(transcription)
    if candidates := _cut_best_spans(whole, text, pieces, max_s):
        return candidates
    raise ReferenceTooLong(
        f"the recording has {whole.rendered_s:.1f} s, at most {max_s:g} s is used ({variable('reference_max_s')}), "
        f"and no part of it certainly begins and ends at one of its {len(whole.pauses())} pauses; "
        "send a clip of 5 to 12 s"
    )


def choose_confirmed(candidates: Sequence[Candidate], recogniser: Recogniser | None, language: str | None) -> Candidate:
    """Return the first candidate whose words the recogniser confirms, or the one that agrees best.

    The very first is returned where there is no recogniser or where it cannot judge.

    Raises:
        TranscriptMismatch: all of them clearly have other words.
    """
    if recogniser is None or not can_check_text(recogniser, candidates[0].text, language):
        return candidates[0]
    scored: list[tuple[float, Candidate]] = []
    for candidate in candidates[: RECOGNITION.max_candidates]:
        transcription = recogniser.transcribe(render_clip(candidate.clip), language)
        if transcription.mean_word_probability < RECOGNITION.min_word_probability:
            continue
        share = agreement(candidate.text, transcription.text)
        score = share if edges_agree(candidate.text, transcription.text) else share - RECOGNITION.edge_penalty
        scored.append((score, replace(candidate, agreement=share, language=transcription.language)))
        if score >= RECOGNITION.confirmed_agreement:
            break
    if not scored:
        return candidates[0]
    _, best = max(scored, key=lambda pair: pair[0])
    is_unspaced_text = _is_mostly_unspaced(best.text)
    needed = RECOGNITION.min_agreement_unspaced if is_unspaced_text else RECOGNITION.min_agreement
    if best.agreement is not None and best.agreement < needed:
        raise TranscriptMismatch(
            f"the transcript agrees with what is heard by {best.agreement:.0%} only, at least {needed:.0%} is needed; "
            "send exactly the words spoken in this clip"
        )
    return best


def can_check_text(recogniser: Recogniser, text: str, language: str | None) -> bool:
    """Return True if the recogniser knows the language of a text; an English one knows no other."""
    if not recogniser.understands(language):
        return False
    letters = [char for char in text if char.isalpha()]
    is_mostly_latin = sum(map(is_latin, letters)) >= RECOGNITION.min_latin_share * len(letters)
    return is_mostly_latin or not recogniser.is_english_only


def _transcribe_densest_part(whole: Clip, recogniser: Recogniser, language: str | None) -> Transcription:
    """Transcribe the stretch of `max_transcribed_s` that has most speech; its times are those in the recording."""
    begins = np.array([begin for begin, _ in whole.regions])
    ends = np.array([end for _, end in whole.regions])
    length = round(RECOGNITION.max_transcribed_s * SAMPLE_RATE)
    speech_until = np.concatenate(([0], np.cumsum(ends - begins)))
    last = np.searchsorted(ends, begins + length, side="right")  # the first region that is not all within
    first = int(np.argmax(speech_until[last] - speech_until[np.arange(len(begins))]))
    part = whole.cut(first, max(int(last[first]), first + 1))
    samples = whole.recording[part.begin : min(part.end, part.begin + length)]
    transcription = recogniser.transcribe(samples, language)
    begin_s = part.begin / SAMPLE_RATE
    words = (replace(word, start_s=begin_s + word.start_s, end_s=begin_s + word.end_s) for word in transcription.words)
    return replace(transcription, words=tuple(words))


def _cut_best_spans(
    whole: Clip, text: str, pieces: Sequence[TextPiece], max_s: float, min_speech_s: float = CLIP.min_cut_s
) -> list[Candidate]:
    candidates = []
    for span in rank_spans(whole, text, pieces, max_s, min_speech_s)[: RECOGNITION.max_candidates]:
        part, words = whole.cut(span.first, span.last), text[span.begin : span.end].strip()
        warning = None
        if len(part.regions) < len(whole.regions):
            begin_s, end_s = part.begin / SAMPLE_RATE, part.end / SAMPLE_RATE
            warning = (
                f"the recording has {whole.audio.duration_s:.1f} s; its part from {begin_s:.1f} to {end_s:.1f} s and "
                f"the {len(words)} characters spoken in it are used"
            )
        candidates.append(Candidate(part, words, warning))
    return candidates


def _close_open_cues(cues: Sequence[Cue], length_s: float) -> list[Cue]:
    """Return the cues, those whose file does not say when they end until the next begins or the recording ends."""
    ends_s = [*(cue.start_s for cue in cues[1:]), length_s]
    return [
        replace(cue, end_s=max(cue.start_s, end_s)) if cue.is_open else cue
        for cue, end_s in zip(cues, ends_s, strict=True)
    ]


def _join_words(transcription: Transcription) -> tuple[str, list[TextPiece]]:
    text = ""
    pieces: list[TextPiece] = []
    for word in transcription.words:
        pieces.append(TextPiece(len(text), len(text) + len(word.text), word.start_s, word.end_s, word.probability))
        text += word.text
    return text, pieces


def _check_matched_share(share: float) -> None:
    if share < RECOGNITION.min_matched_share:
        raise TranscriptMismatch(
            f"only {share:.0%} of the words heard in the recording are in the transcript; "
            "send the recording and the transcript that belong together"
        )


def _check_word_probability(transcription: Transcription) -> None:
    probability = transcription.mean_word_probability
    if probability < RECOGNITION.min_word_probability:
        reason = f"is not sure of the words it hears ({probability:.0%})" if transcription.words else "hears no words"
        raise TranscriptNeeded(f"the clip came without its words and the recogniser {reason}; send its transcript")


def _is_mostly_unspaced(text: str) -> bool:
    return sum(map(is_unspaced, text)) > RECOGNITION.unspaced_share * len(text)
