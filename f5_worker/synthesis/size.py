"""How large a response will be and how long its audio takes, told before it is spoken.

The queue drops a result that is larger than it carries, and for a stream it counts all items together.
"""

from __future__ import annotations

from collections.abc import Sequence

from f5_worker.alignment.words import word_spans
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.delivery.choose import DeliveryMode, check_bucket, delivery_mode
from f5_worker.delivery.inline import ResponseLimit, too_large
from f5_worker.errors import JobWillNotFit
from f5_worker.schema.actions import SpeechRequest
from f5_worker.schema.dub import DubInput
from f5_worker.synthesis.job import Estimate, Job
from f5_worker.synthesis.prepare import Speech

# What a response has for each word and each character besides its letters: names of fields, times, punctuation.
WORD_BYTES = 90
CAPTION_WORD_BYTES = 50  # a cue of its own in srt
JSON_WORD_BYTES = 110  # in a caption file inside a response
CHARACTER_BYTES = 26
FIXED_BYTES = 8_000  # fields that hold no part of the text
# Segments are trimmed before they are joined: this share of the estimated length is spoken in any case.
CERTAIN_SHARE = 0.6


def mode_of(job: Job) -> DeliveryMode:
    """Return where the job's result goes."""
    return delivery_mode(job.request.delivery, job.worker.settings, own_bucket=job.own_bucket is not None)


def check_size(job: Job, speech: Speech) -> bool:
    """Return whether the audio of a job is sent in chunks: it streams, and all chunks together fit.

    If they do not fit, the bucket takes the file.

    Raises:
        InvalidInput: the bucket is asked for and there is none.
        ResultTooLarge: there is no bucket for what does not fit, or it may not be used.
    """
    request, limit, mode = job.request, job.limit, mode_of(job)
    check_bucket(mode, has_bucket=job.bucket is not None)
    can_store = mode != "inline" and job.bucket is not None
    lengths_s = _file_lengths_s(request, speech)
    duration_s = sum(lengths_s)
    size_bytes = _encoded_bytes(request, limit, lengths_s) + text_bytes(request, speech.text, limit)
    if job.streaming:
        if size_bytes <= limit.max_bytes or can_store:
            return size_bytes <= limit.max_bytes
        raise too_large(size_bytes, limit, duration_s, request.format)
    if estimate(job, speech).response_bytes > limit.max_bytes:
        raise too_large(size_bytes, limit, duration_s, request.format)
    return False


def check_time(job: Job, speech: Speech) -> None:
    """Raise if the device could not do a job in its time at the highest speed that was measured.

    Raises:
        JobWillNotFit
    """
    left_s = job.control.left_s()
    if speech.device_s is not None and speech.device_s > left_s:
        raise JobWillNotFit(
            f"about {speech.duration_s:.0f} s of speech take at least {speech.device_s:.0f} s by this worker's highest "
            f"measured speed, and the job has {left_s:.0f} s (F5_JOB_TIMEOUT_S); "
            "send the text in parts or a lower quality, or ask the operator for more time"
        )


def estimate(job: Job, speech: Speech) -> Estimate:
    """Return what a job that does not stream takes in any case."""
    request, limit = job.request, job.limit
    if mode_of(job) != "inline" and job.bucket is not None:
        return Estimate(response_bytes=0.0, device_s=speech.device_s)
    lengths_s = _file_lengths_s(request, speech)
    encoded_bytes = _encoded_bytes(request, limit, lengths_s)
    smallest_bytes = min([encoded_bytes, *_reencoded_bytes(request, limit, sum(lengths_s))])
    return Estimate(response_bytes=CERTAIN_SHARE * smallest_bytes, device_s=speech.device_s)


def text_bytes(request: SpeechRequest, text: str, limit: ResponseLimit) -> int:
    """Return a bound of what a response, streamed or not, holds besides audio."""
    letters_bytes = limit.json_bytes({"text": text})
    size_bytes = FIXED_BYTES + 3 * letters_bytes  # the segments, each with its fields
    if not request.wants_times:
        return size_bytes
    n_words = len(word_spans(text))
    if request.timings is not None:  # in the chunks, and again in the last item
        size_bytes += 2 * (letters_bytes + n_words * WORD_BYTES)
    if request.timings == "characters":
        size_bytes += letters_bytes + len(text) * CHARACTER_BYTES
    for format in set(request.captions.formats) if request.captions is not None else ():
        size_bytes += 2 * letters_bytes + n_words * (JSON_WORD_BYTES if format == "json" else CAPTION_WORD_BYTES)
    return size_bytes


def _file_lengths_s(request: SpeechRequest, speech: Speech) -> list[float]:
    """Return the lengths of all audio files: the whole, and lines that are files of their own."""
    has_lines = isinstance(request, DubInput) and request.cue_files
    lines_s = [line.end_s - line.start_s for line in speech.lines if has_lines]
    return [request.pad_start_s + speech.duration_s + request.pad_end_s, *lines_s]


def _encoded_bytes(request: SpeechRequest, limit: ResponseLimit, lengths_s: Sequence[float]) -> int:
    encoding = AUDIO_FORMATS[request.format]
    return sum(limit.audio_bytes(encoding.max_bytes(request.sample_rate, length_s)) for length_s in lengths_s)


def _reencoded_bytes(request: SpeechRequest, limit: ResponseLimit, duration_s: float) -> list[int]:
    return [round(rate * duration_s) for rate in limit.bytes_per_s.values()] if request.allow_reencode else [2**63]
