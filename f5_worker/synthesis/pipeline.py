"""The path of a job through all stages.

request -> prepare -> plan -> engine -> assemble -> postprocess -> encode
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import replace

from f5_worker.alignment.timeline import Word
from f5_worker.audio.formats import AUDIO_FORMATS
from f5_worker.audio.levels import SAMPLE_RATE, Samples
from f5_worker.schema.dub import DubInput
from f5_worker.schema.requests import SynthesizeInput
from f5_worker.synthesis.dub.track import prepare_track
from f5_worker.synthesis.encoding import AudioChunk, ChunkEncoder
from f5_worker.synthesis.job import Job
from f5_worker.synthesis.postprocess import needs_whole_audio, postprocess, silence
from f5_worker.synthesis.prepare import Speech, prepare_text
from f5_worker.synthesis.result import Recording, Result
from f5_worker.synthesis.size import check_size, check_time, estimate, mode_of

LONG_S = 30.0  # a shorter file is encoded once it is spoken, when the device has gone on to other jobs
PIECE_S = 5.0  # encoded at a time where the audio is complete before it is encoded

PREPARE: Mapping[type, Callable[..., AbstractContextManager[Speech]]] = {
    SynthesizeInput: prepare_text,
    DubInput: prepare_track,
}


def run(job: Job) -> Iterator[AudioChunk | Result]:
    """Yield the chunks of a streaming job's encoded file, then the job's result.

    Each chunk is yielded as soon as it is spoken, unless the whole audio has to be known first (trimming, loudness, a
    dubbed track): then it is yielded in pieces afterwards. Audio that is too large for a stream is not yielded. A long
    file of a job that does not stream is encoded as it is spoken, too.

    Raises:
        WorkerError: any that a caller can cause, or that the device does; chunks that were yielded stay valid.
    """
    request = job.request
    with job.worker.encoders.open(
        request.format, request.sample_rate, streaming=job.streaming, on_cpu_s=job.stopwatch.add_encoding
    ) as encoder:
        yield from _run(job, ChunkEncoder(encoder, job.stopwatch))


def _run(job: Job, encoder: ChunkEncoder) -> Iterator[AudioChunk | Result]:
    request = job.request
    early = job.streaming and not needs_whole_audio(request)
    with PREPARE[type(request)](job, request, early=early) as speech, closing(speech.parts) as parts:
        in_chunks = check_size(job, speech)
        check_time(job, speech)
        job.admit(estimate(job, speech))
        incremental = in_chunks and early
        as_spoken = incremental or _is_long_file(job, speech)
        recording = Recording(job, speech, keeps_samples=not incremental or mode_of(job) == "s3")
        job.control.enter("speaking")
        if as_spoken:
            yield from encoder.write(silence(request.pad_start_s))
        for part in parts:
            recording.add(part)
            if as_spoken:
                known = recording.take_words(request.pad_start_s) if incremental else []
                yield from encoder.write(part.samples, known)
            job.control.check()
        job.control.on_spoken()
        spoken = recording.finish()
    job.control.enter("finishing the audio")
    with job.stopwatch.stage("post_ms"):
        result = replace(postprocess(request, spoken), in_chunks=in_chunks)
    if as_spoken:
        yield from encoder.write(silence(request.pad_end_s))
    elif in_chunks:
        for samples, words in _pieces(result):
            job.control.check()
            yield from encoder.write(samples, words)
    if in_chunks:
        yield from encoder.close()
    elif as_spoken:
        (whole,) = encoder.close()
        result = replace(result, file=whole.data)
    job.control.enter("delivering the result")
    yield result


def _is_long_file(job: Job, speech: Speech) -> bool:
    """Return whether a whole file is encoded as it is spoken, so that its caller need not wait for that in the end."""
    request = job.request
    can_begin = not job.streaming and not needs_whole_audio(request)
    return can_begin and not AUDIO_FORMATS[request.format].is_pcm and speech.duration_s > LONG_S


def _pieces(result: Result) -> Iterator[tuple[Samples, Sequence[Word]]]:
    """Cut complete audio into pieces, each with the words that begin in it."""
    words = result.timeline.words if result.timeline else ()
    starts_s = [word.start_s for word in words]
    step, n_taken = round(PIECE_S * SAMPLE_RATE), 0
    for begin in range(0, len(result.samples), step):
        n_begun = bisect_left(starts_s, (begin + step) / SAMPLE_RATE)
        yield result.samples[begin : begin + step], words[n_taken:n_begun]
        n_taken = n_begun
