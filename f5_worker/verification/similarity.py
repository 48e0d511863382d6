"""How alike two voices are: the embeddings of a speaker encoder, compared.

The encoder is loaded when first needed, and kept: it has 6 MB. Beside models on GPUs it runs on the first of them, as
work of the engine that owns it.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import soxr
from numpy.typing import NDArray

from f5_worker import cancellation
from f5_worker.audio.levels import SAMPLE_RATE, Samples, rms, speech_regions
from f5_worker.errors import ModelUnavailable
from f5_worker.log import logger
from f5_worker.models.speaker.checkpoint import WIDTH, find_speaker_weights
from f5_worker.settings import Settings

if TYPE_CHECKING:
    from f5_worker.models.placement import Device, RunOnDevice
    from f5_worker.models.speaker.runner import SpeakerRunner

Embedding: TypeAlias = NDArray[np.float32]

ENCODER_RATE = 16_000
LEVEL_DB = -20.0  # of speech, as usual recordings have it
KEPT_S = 0.060  # of the silence around each stretch of speech
SOFTEST_DB = 25.0  # of speech, below its loud parts
MIN_SPEECH_S = 1.6  # the encoder's window; less says little, see `embed`
MAX_CACHED = 64  # embeddings of the references used last


class SpeakerEncoder:
    """GE2E's speaker encoder. Many threads may use it.

    Args:
        weights: a file that `find_speaker_weights` has found.
        device: its name, such as `cpu` or `cuda`.
        run_on_device: runs what uses the device, a short piece at a time.
    """

    def __init__(self, weights: Path, device: str = "cpu", run_on_device: RunOnDevice = lambda work: work()) -> None:
        self._weights, self._device, self._run_on_device = weights, device, run_on_device
        self._lock = threading.Lock()
        self._runner: SpeakerRunner | None = None
        self._cache: OrderedDict[str, Embedding] = OrderedDict()

    def embed(self, samples: Samples) -> Embedding:
        """Embed the voice in a signal `[nw]` at 24 kHz as a vector of length 1, or of zeros if there is no sound.

        Less speech than the encoder's window of 1.6 s says little about the voice: the parts of a clip were as similar
        to the whole as 0.88 at 1.6 s, 0.72 at 1.0 s and 0.56 at 0.7 s, and to other voices up to 0.72 at any length.

        Raises:
            OutOfMemory, GpuLost: errors of the device.
        """
        return self._embed_speech(extract_speech(samples))

    def _embed_speech(self, speech: Samples) -> Embedding:
        from f5_worker.models.speaker.runner import MAX_WINDOWS, cut_windows

        if not len(speech):
            return np.zeros(WIDTH, np.float32)
        runner, begun = self._loaded_runner(), []
        for windows in cut_windows(speech, MAX_WINDOWS):
            cancellation.check()
            begun.append(self._run_on_device(partial(runner.embed, windows)))
        mean = np.concatenate([embeddings.wait() for embeddings in begun]).mean(0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)

    def embed_reference(self, samples: Samples) -> Embedding:
        """Embed a reference as `embed` does, once: its embedding is cached."""
        key = hashlib.sha256(samples.tobytes()).hexdigest()
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        embedding = self.embed(samples)
        with self._lock:
            self._cache[key] = embedding
            while len(self._cache) > MAX_CACHED:
                self._cache.popitem(last=False)
        return embedding

    def compare(self, samples: Samples, reference: Samples) -> float | None:
        """Return how alike the voices of two signals are; None if the first has too little speech to tell.

        Raises:
            OutOfMemory, GpuLost: errors of the device.
        """
        speech = extract_speech(samples)
        if len(speech) < MIN_SPEECH_S * ENCODER_RATE:
            return None
        return similarity(self._embed_speech(speech), self.embed_reference(reference))

    def _loaded_runner(self) -> SpeakerRunner:
        from f5_worker.models.speaker.runner import load_speaker_runner

        with self._lock:
            if self._runner is None:
                self._runner = load_speaker_runner(self._weights, self._device, self._run_on_device)
            return self._runner


def similarity(a: Embedding, b: Embedding) -> float:
    """Return the cosine of the angle between two embeddings: 1 for the same voice, 0 if one has no sound."""
    return float(np.dot(a, b))


def extract_speech(samples: Samples) -> Samples:
    """Return what the encoder hears of a signal `[nw]` at 24 kHz: its speech at 16 kHz and one level, without pauses.

    Resemblyzer raises soft clips to -30 dB and leaves loud ones as they are. But the encoder takes the level for a part
    of the voice: a clip at a fiftieth of its level would be as similar to itself as 0.91.
    """
    wave = np.asarray(soxr.resample(samples, SAMPLE_RATE, ENCODER_RATE), np.float32)
    kept = round(KEPT_S * ENCODER_RATE)
    is_speech = np.zeros(len(wave), bool)
    for begin, end in speech_regions(wave, ENCODER_RATE, softest_db=SOFTEST_DB):
        is_speech[max(0, begin - kept) : end + kept] = True
    speech = wave[is_speech]
    return speech * np.float32(10.0 ** (LEVEL_DB / 20.0) / rms(speech)) if len(speech) else speech


def speaker_encoder_from(settings: Settings, device: Device | None = None) -> SpeakerEncoder | None:
    """Open the speaker encoder that the settings name; return None if it is off or cannot be used, as boot reports.

    Args:
        device: of the models; None for the CPU.
    """
    try:
        weights = find_speaker_weights(settings)
    except ModelUnavailable as error:
        logger.error("voices are not compared: %s", error.message)
        return None
    if weights is None:
        return None
    # On a CPU it runs beside the engine, whose steps take long there.
    if device is None or not device.is_gpu:
        return SpeakerEncoder(weights)
    return SpeakerEncoder(weights, device.name, device.run)
