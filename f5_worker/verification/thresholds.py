"""Every threshold of judging speech, with its unit and the reason for its value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VerificationThresholds:
    """Thresholds of judging a segment (`check.py`).

    Chosen with Whisper tiny.en, the least of the recognisers, on 186 good utterances of Piper (f5-tiny's sentences and
    those of bench/timing.py, in four speeds, and 24 with rare names and numbers) and on 240 planted faults in them
    (bench/planted_faults.py); what is said of good speech below is of those. bench/verify.py measures with other
    sentences, where more good speech exceeds the bounds of added sound (bench/results/verify.json).

    Attributes:
        doubtful_probability: a word's least token probability, below which it may not be what is said. Three in four
            of the good utterances have no such word, and so need no search; of the faults, 1 in 50.
        silent_probability: the same of words that are missing if there is not enough sound for them either. None of
            the 2,000 good words is so unlikely and so silent. Words that the search did not find at all are missing
            below it, too.
        neighbour_excess_s: sound of a neighbour beyond its share, from which it may have got that of such a word.
        doubtful_excess_s: sound of a word beyond the share of its letters, and sound after the last word, from which
            other words may be spoken there. Good speech: at most 0.31 s in 99.5 %.
        added_lead_s, added_tail_s, added_s: the same before the first word, after the last and at any other, from
            which they certainly are. Good speech: at most 0.26, 0.39 and 0.41 s.
        doubtful_surplus_s: sound of up to five words in a row beyond their share, from which words may be said twice
            there. Good speech: at most 0.36 s in 98 %.
        added_surplus_s: the same, from which they certainly are. Good speech: at most 0.46 s.
        min_covered_share: share of the sound that a word's letters take, below which it is doubtful; and missing if it
            is not likely either.
        min_letters: shorter words have too little sound to say so.
        periodic: the greatest autocorrelation of a frame, from which it is voiced; white noise has at most 0.3.
        noise_s: longest stretch of sound without a voiced frame. Good speech: at most 0.22 s.
        doubtful_noise_s: the same where a word is doubtful.
        min_voiced_share: of the sound; less is a whisper, in which noise cannot be told from speech.
        max_letter_distance: share of letters in which two spellings of a word differ.
        max_sound_distance: share of their sounds (metaphone) in which what is written and what is heard may differ
            where a small recogniser is in doubt: Cholmondeley and Comundelli.
        similar_weight: how much of that share counts as an error.
        rival_excess_s: sound before the first word, or after the last, from which words of the reference are tried.
        min_rival_log_ratio: natural log of how much likelier another text is, with words said twice or words of the
            reference. Good speech: below -1.8 in all but one of 49 in doubt.
        surplus_rival_log_ratio: the same where words have `doubtful_surplus_s`, which also speaks for the other text.
    """

    doubtful_probability: float = 0.3
    silent_probability: float = 0.5
    neighbour_excess_s: float = 0.15
    doubtful_excess_s: float = 0.3
    added_lead_s: float = 0.3
    added_tail_s: float = 0.42
    added_s: float = 0.42
    doubtful_surplus_s: float = 0.34
    added_surplus_s: float = 0.48
    min_covered_share: float = 0.2
    min_letters: float = 3.0
    periodic: float = 0.35
    noise_s: float = 0.3
    doubtful_noise_s: float = 0.24
    min_voiced_share: float = 0.4
    max_letter_distance: float = 0.25
    max_sound_distance: float = 0.5
    similar_weight: float = 0.5
    rival_excess_s: float = 0.2
    min_rival_log_ratio: float = -1.8
    surplus_rival_log_ratio: float = -5.0


VERIFICATION = VerificationThresholds()
