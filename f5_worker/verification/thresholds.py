"""Every threshold of judging speech, with its unit and the reason for its value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VerificationThresholds:
    """Thresholds of judging a segment (`check.py`).

    Chosen with Whisper tiny.en, the least of the recognisers, on 567 good utterances of Piper in four speeds and 652
    planted faults of six kinds (bench/planted_faults.py; the sentences are TUNING in bench/verify.py); what is said of
    good speech and of faults is of most of these. `python bench/verify.py` measures them on other sentences.

    Log ratios are natural logs of how much likelier the recogniser, forced to decode it, finds another text than the
    segment's own. Where the sound speaks for a fault as well, less of it is enough.

    Attributes:
        doubtful_probability: a word's least token probability, below which it may not be what is said.
        doubtful_excess_s: sound of a word beyond the share of its letters, and sound after the last word, from which
            other words may be spoken there.
        doubtful_surplus_s: sound of up to five words in a row beyond their share, from which words may be said twice
            there. With these three, 49 % of good utterances are in doubt and need a search, and all faults are.
        min_covered_share: share of the sound that a word's letters take, below which it is doubtful.
        min_letters: shorter words have too little sound to say so.
        added_lead_s, added_tail_s: sound before the first word and after the last, from which other words certainly
            are spoken there. Good speech: at most 0.23 and 0.39 s.
        added_surplus_s: the same of `doubtful_surplus_s`. Good speech: at most 0.76 s.
        periodic: the greatest autocorrelation of a frame, from which it is voiced; white noise has at most 0.3.
        noise_s: longest stretch of sound without a voiced frame. Good speech: at most 0.25 s, noise at least 0.29 s.
        min_voiced_share: of the sound; less is a whisper, in which noise cannot be told from speech.
        cut_probability, cut_share: a last word's probability and its share of the sound, below which it is cut off.
        silent_s: a pause where the text has no punctuation, from which words may be missing there. Piper makes none
            above 0.12 s, people do.
        silent_probability: that of a word beside such a pause, below which words are missing.
        max_letter_distance: share of letters in which two spellings of a word differ.
        max_sound_distance: share of their sounds (metaphone) in which what is written and what is heard may differ
            where a small recogniser is in doubt: Cholmondeley and Comundelli.
        similar_weight: how much of that share counts as an error.
        doubtful_log_ratio: of the transcript as a whole against the text, from which a segment is spoken again although
            no difference is certain by itself: the evidence of several adds up. Good speech: 5 % are above it.
        misheard_log_ratio: of the transcript against itself with the words of the text in place of others, from which
            the text is not what is said. Good speech: at most 6.0, but for words that sound similar.
        unheard_log_ratio, unheard_log_ratio_per_word: the same where words of the text are not in the transcript, and
            for each of them. The least of the faults: 6.3.
        few_letters, unheard_short_log_ratio: the same of words of few letters, which are often not heard: "to", "or".
        added_log_ratio: the same where the transcript has more words than the text.
        rival_lead_s, rival_tail_s: sound before the first word, and after the last, from which words of the reference
            are tried there.
        lead_log_ratio: of the text with words of the reference before it. Good speech: at most -11.8; most leaks are
            above 0.
        tail_log_ratio, log_ratio_per_tail_s: of the text with such words after it, which alone says little ("The" is
            as likely after any text), less so much for each second of sound there. Good speech: at most 7.2, once 9.6.
        rival_beyond_s: `excess_s` and surplus together, from which words are tried twice.
        repeated_log_ratio, log_ratio_per_s: of the text with words said twice, less so much for each second of that
            sound. Good speech: at most 3.1.
        omitted_log_ratio, log_ratio_of_cover, log_ratio_of_probability: of the text without words, and so much more
            for what they have of their share of the sound, and for their probability.
        greatest_log_ratio: above which that is not tried. Good speech: 95 % at most 3.8, once 11.1.
    """

    doubtful_probability: float = 0.15
    doubtful_excess_s: float = 0.3
    doubtful_surplus_s: float = 0.4
    min_covered_share: float = 0.2
    min_letters: float = 3.0
    added_lead_s: float = 0.36
    added_tail_s: float = 0.42
    added_surplus_s: float = 1.0
    periodic: float = 0.35
    noise_s: float = 0.28
    min_voiced_share: float = 0.4
    cut_probability: float = 1e-4
    cut_share: float = 0.6
    silent_s: float = 0.24
    silent_probability: float = 0.15
    max_letter_distance: float = 0.25
    max_sound_distance: float = 0.5
    similar_weight: float = 0.5
    doubtful_log_ratio: float = 5.0
    misheard_log_ratio: float = 6.5
    unheard_log_ratio: float = 6.0
    few_letters: int = 3
    unheard_short_log_ratio: float = 10.5
    unheard_log_ratio_per_word: float = 2.0
    added_log_ratio: float = 2.0
    rival_lead_s: float = 0.05
    rival_tail_s: float = 0.32
    lead_log_ratio: float = -9.0
    tail_log_ratio: float = 8.2
    log_ratio_per_tail_s: float = 25.0
    rival_beyond_s: float = 0.3
    repeated_log_ratio: float = 3.2
    log_ratio_per_s: float = 10.0
    omitted_log_ratio: float = 3.8
    log_ratio_of_cover: float = 17.0
    log_ratio_of_probability: float = 13.0
    greatest_log_ratio: float = 12.0


VERIFICATION = VerificationThresholds()
