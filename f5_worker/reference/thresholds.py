"""Every threshold of reference preparation, selection and judgement, with its unit and the reason for its value.

One frozen dataclass for each step and one instance of it, which the step imports. Unless said otherwise a share is
0..1, a level is in dB of full scale, and letters are Latin letters or their equivalent (`text.letters`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipThresholds:
    """Thresholds of trimming, levelling and cutting a recording (`clip.py`).

    Attributes:
        min_speech_s: shortest speech in a recording that is accepted at all.
        min_loud_db: level of the loud parts below which a recording counts as silent; raising the level of a quieter
            one would clone the noise of the recording.
        max_offset_db: level of an offset, relative to the loud parts, from which it is removed: it counts as background
            of its level. 3 s of recordings without one have at most -38; 1 % of full scale beneath speech is -23.
        target_rms: level that quieter clips are raised to; f5-tts does the same, and the model was trained around it.
        max_gain: largest factor of that, 40 dB. f5-tts divides by the clip's RMS without a bound: NaN for silence.
        peak: the largest sample that raising the level may produce.
        lead_s, tail_s: silence kept before and after the speech; without a tail the last word leaks into the result
            (F5-TTS #58, #85).
        tail_fade_s: fade-out at the end of the tail.
        soft_lead_s, soft_tail_s: longest soft onset and decay that is kept; what is beyond is background.
        soft_db: sound that is less than this below the loud parts counts as a soft onset or decay.
        min_pause_s: shortest pause in which a recording may be cut.
        min_sound_s: shorter sounds are clicks and lip noise; a pause continues across them.
        min_cut_s: speech that a cut has to leave; shorter clips make poor voices, another recording is better.
        clipped_level: absolute value from which a sample counts as clipped.
        min_chars_per_s, max_chars_per_s: letters per second of speech. People speak 9 to 20; outside these bounds
            clip and transcript do not belong together.
        max_signs_share, max_free_signs: punctuation marks and symbols for each letter, and besides. They are not
            spoken and would count as length. Of 478 sentences in this project's tests none has more than 0.3 for each.
    """

    min_speech_s: float = 1.0
    min_loud_db: float = -60.0
    max_offset_db: float = -36.0
    target_rms: float = 0.1
    max_gain: float = 100.0
    peak: float = 0.99
    lead_s: float = 0.020
    tail_s: float = 0.050
    tail_fade_s: float = 0.010
    soft_lead_s: float = 0.100
    soft_tail_s: float = 0.200
    soft_db: float = 40.0
    min_pause_s: float = 0.150
    min_sound_s: float = 0.080
    min_cut_s: float = 3.0
    clipped_level: float = 0.999
    min_chars_per_s: float = 4.0
    max_chars_per_s: float = 30.0
    max_signs_share: float = 0.5
    max_free_signs: int = 10


@dataclass(frozen=True)
class RecognitionThresholds:
    """Thresholds of transcribing a recording and of believing the recogniser (`candidates.py`).

    Attributes:
        max_transcribed_s: how much of a longer recording is transcribed: enough to choose from, in seconds of
            computing instead of a minute.
        max_candidates: how many of the best parts are tried; the first whose words are confirmed is taken.
        confirmed_agreement: agreement of a candidate's words with the recognised ones from which no other is tried.
        edge_penalty: taken off the agreement if the first or the last word differs: a word too many or too few at an
            edge is worse than several misrecognised ones in between.
        min_word_probability: mean probability of its words from which the recogniser is believed. Measured with
            tiny.en: 0.84 and more for English, in noise at 0 dB too, at most 0.55 for six other languages.
        min_agreement: below, the transcript is refused. Unrelated English texts agree by 0.14 to 0.31.
        min_agreement_unspaced: the same for Chinese and Japanese, which have many characters for one sound: a true
            transcript may differ in half of them.
        unspaced_share: share of Chinese and Japanese characters from which that bound applies.
        min_latin_share: share of Latin letters from which an English-only recogniser can judge a text.
        min_matched_share: of the words recognised in a long recording, this share has to be in its transcript.
    """

    max_transcribed_s: float = 60.0
    max_candidates: int = 3
    confirmed_agreement: float = 0.95
    edge_penalty: float = 0.1
    min_word_probability: float = 0.65
    min_agreement: float = 0.5
    min_agreement_unspaced: float = 0.2
    unspaced_share: float = 0.3
    min_latin_share: float = 0.5
    min_matched_share: float = 0.3


@dataclass(frozen=True)
class MatchingThresholds:
    """Thresholds of pairing written and recognised words (`match.py`).

    Attributes:
        max_numeral_words: longest stretch that one number is written or read as; "1984" may be recognised as
            "nineteen hundred and eighty-four".
        max_written_letters: for each letter of what is heard, where that may be a number; "12/24/2024" and "Dec 24".
        min_similarity: share of letters that two spellings of one word have in common: Catherine, Kathryn.
    """

    max_numeral_words: int = 8
    max_written_letters: float = 2.0
    min_similarity: float = 0.6


@dataclass(frozen=True)
class PauseThresholds:
    """Parameters of matching pauses to punctuation marks where there are no times (`pauses.py`).

    Attributes:
        min_certainty: probability that a pause belongs to a mark from which the recording is cut there; a wrong cut is
            worse than a refusal.
        pace_variance_s: variance in s^2 for each second of speech: it strays from the text's even pace by 0.25 s in
            1 s, by 0.5 s in 4 s.
        edge_variance_s2: variance in s^2 of a pause and the place of its mark, known to 0.14 s.
        stop_pause_probability, mark_pause_probability: how often a full stop, and any other mark, is spoken as a pause.
        breaths_per_s: pauses without a mark for each second of speech.
        max_pauses, max_breaks: how many of each are considered: half a minute of speech.
    """

    min_certainty: float = 0.97
    pace_variance_s: float = 0.0625
    edge_variance_s2: float = 0.02
    stop_pause_probability: float = 0.95
    mark_pause_probability: float = 0.6
    breaths_per_s: float = 0.12
    max_pauses: int = 24
    max_breaks: int = 40


@dataclass(frozen=True)
class SelectionThresholds:
    """Thresholds of choosing a part of a long recording where times are known (`select.py`).

    Attributes:
        preferred_min_s, preferred_max_s: length of a clip that the model copies best.
        snap_s: how far a time may be from its pause; subtitles are off by some 0.1 s, and many are shown a little
            early or long.
        snap_unmarked_s: the same where no punctuation asks for a pause: one near by may belong to the next word.
        min_owner_lead_s: how much nearer to a pause than any other bound its own has to be; with less it is not
            certain to which of them the pause belongs.
        max_pace_ratio: a span this much faster or slower than the others has words too many or too few.
        min_confidence: mean confidence of the words of a span.
        max_pieces: in a span: more than the words, or the Chinese characters, of 12 s.
        quiet_percentile: percentile of the frames' power that counts as the background.
        frame_s: length of these frames.
    """

    preferred_min_s: float = 5.0
    preferred_max_s: float = 11.5
    snap_s: float = 0.35
    snap_unmarked_s: float = 0.10
    min_owner_lead_s: float = 0.08
    max_pace_ratio: float = 1.6
    min_confidence: float = 0.7
    max_pieces: int = 200
    quiet_percentile: float = 5.0
    frame_s: float = 0.010


@dataclass(frozen=True)
class SelectionCosts:
    """Costs that rank the parts of a recording (`select.py`). They add up, 0 is best.

    Attributes:
        good_snr_db: signal-to-noise ratio from which noise costs nothing; more is not heard.
        snr_db_per_cost: how much less than that costs 1.
        good_pause_s: pause at either end that costs nothing.
        short_lead_pause, short_tail_pause: for each second that the pause before, or after, is shorter.
        max_inner_pause_s: longest pause within a clip that costs nothing; the model copies longer ones. Each second
            more costs 1.
        good_length_s: length from which a clip costs nothing.
        short_clip: for each second that it is shorter.
        odd_pace: times the log of its pace over the usual one.
        uncertain_words: times 1 less the mean confidence of the words.
        cut_sentence_end, cut_sentence_begin: if the text does not end, or begin, with its sentence.
        digits: if the text has digits, which can be read aloud in several ways.
    """

    good_snr_db: float = 40.0
    snr_db_per_cost: float = 20.0
    good_pause_s: float = 0.3
    short_lead_pause: float = 0.5
    short_tail_pause: float = 1.0
    max_inner_pause_s: float = 1.0
    good_length_s: float = 8.0
    short_clip: float = 0.1
    odd_pace: float = 2.0
    uncertain_words: float = 2.0
    cut_sentence_end: float = 0.5
    cut_sentence_begin: float = 0.25
    digits: float = 0.3


@dataclass(frozen=True)
class CueThresholds:
    """Thresholds of refusing subtitles whose times are those of another recording (`cue_check.py`).

    Attributes:
        beyond_s: how much longer than the recording the last line may be shown.
        near_s: how far the bound of a line may be from its pause.
        true_share: of the bounds that chance leaves over, subtitles that belong to a recording meet at least this
            share: they are off by some 0.1 s, and many a line ends within a sentence.
        n_shifts: how many shifts the same lines are tried at to measure chance.
        min_chance_share, max_chance_share: bounds of the share that is met by chance, so that its logarithm exists.
        refused_log_ratio, doubtful_log_ratio: log of how much likelier chance is than a transcript of this recording.
            Of spoken sentences, transcripts with exact, inexact, gapless, overlong and cut lines never came above -3;
            of transcripts of other recordings nine in ten are above the doubtful one.
    """

    beyond_s: float = 1.0
    near_s: float = 0.15
    true_share: float = 0.35
    n_shifts: int = 200
    min_chance_share: float = 0.02
    max_chance_share: float = 0.98
    refused_log_ratio: float = 1.5
    doubtful_log_ratio: float = -1.0


@dataclass(frozen=True)
class TurnThresholds:
    """Bounds on what of a long recording is looked at for one speaker (`turns.py`).

    Attributes:
        margin_s: of the recording before and after a turn, in which the pauses around it are found.
        pause_s: of the pauses around a turn that stay where it is joined with others, as far as they are that long.
        max_gap_s: silence within a turn.
        max_turn_s: a longer turn is taken as several; a clip has 12 s.
        max_speaker_s: of all turns of a speaker, as much as is transcribed of a long recording.
        max_overlap_s: for how long a line may be shown beside another one and still be alone: times are inexact.
    """

    margin_s: float = 0.6
    pause_s: float = 0.3
    max_gap_s: float = 1.5
    max_turn_s: float = 20.0
    max_speaker_s: float = 60.0
    max_overlap_s: float = 0.25


@dataclass(frozen=True)
class ReportThresholds:
    """Thresholds of measuring and judging a clip (`report.py`).

    A value outside a `good_`, `max_`, `slow_` or `fast_` bound is a reason; outside a `min_` or `bad_` one the clip is
    a poor one.

    Attributes:
        max_clipped_share, bad_clipped_share: share of clipped samples.
        good_sample_rate: in Hz.
        good_bandwidth_hz: a telephone ends at 3,400 Hz, wide-band telephony at 7,000 Hz.
        good_clip_s, min_clip_s: length of the clip.
        good_snr_db, min_snr_db: level of the speech over its background.
        max_snr_db: largest ratio that is reported.
        max_silence_share, bad_silence_share: share of the clip that is silent.
        slow_chars_per_s, fast_chars_per_s: letters per second of speech.
        good_agreement: of the transcript with the recognised words.
        min_background_s: pauses needed to measure the background.
        frame_s: length of the frames whose power is measured.
        spectrum_samples, max_spectra: length of the spectra that are averaged, and how many at most.
        min_voice_hz: lower frequencies are rumble.
        bandwidth_range_db: what is this far below the strongest part of the spectrum is not sound.
    """

    max_clipped_share: float = 0.001
    bad_clipped_share: float = 0.02
    good_sample_rate: int = 16_000
    good_bandwidth_hz: float = 6_000.0
    good_clip_s: float = 3.0
    min_clip_s: float = 1.5
    good_snr_db: float = 20.0
    min_snr_db: float = 10.0
    max_snr_db: float = 90.0
    max_silence_share: float = 0.35
    bad_silence_share: float = 0.6
    slow_chars_per_s: float = 7.0
    fast_chars_per_s: float = 24.0
    good_agreement: float = 0.85
    min_background_s: float = 0.2
    frame_s: float = 0.010
    spectrum_samples: int = 2_048
    max_spectra: int = 1_000
    min_voice_hz: float = 80.0
    bandwidth_range_db: float = 60.0


CLIP = ClipThresholds()
RECOGNITION = RecognitionThresholds()
MATCHING = MatchingThresholds()
PAUSES = PauseThresholds()
SELECTION = SelectionThresholds()
COSTS = SelectionCosts()
CUES = CueThresholds()
TURNS = TurnThresholds()
REPORT = ReportThresholds()
