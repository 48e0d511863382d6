"""A loaded speaker encoder on its device: the only code that runs it. Only the thread that owns the device calls it.

Legend: w windows, nw samples at 16 kHz, d width of the embedding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f5_worker.audio.levels import Samples
from f5_worker.models.cuda.capture import GraphCapturer
from f5_worker.models.cuda.download import PendingDownload
from f5_worker.models.cuda.errors import translate_cuda_errors
from f5_worker.models.cuda.graphs import PassGraphs
from f5_worker.models.cuda.upload import upload
from f5_worker.models.placement import RunOnDevice
from f5_worker.models.speaker.checkpoint import MELS
from f5_worker.models.speaker.network import SpeakerNetwork, load_speaker_network
from f5_worker.models.spectrogram import HOP_SAMPLES, N_FFT, SAMPLE_RATE, mel_powers

WINDOW_FRAMES = 160  # 1.6 s, as the encoder was trained
WINDOWS_PER_S = 1.3
STEP_FRAMES = round(SAMPLE_RATE / WINDOWS_PER_S / HOP_SAMPLES)
MIN_COVERAGE = 0.75  # of the last window by sound; one with less is left out
MARGIN_SAMPLES = N_FFT // 2  # a frame is centred on its first sample
GRAPH_ROWS = (16, 64)  # windows of the passes that are captured: 13 s and 50 s of sound
MAX_WINDOWS = GRAPH_ROWS[-1]  # of a pass
WINDOW_SAMPLES = (WINDOW_FRAMES - 1) * HOP_SAMPLES + N_FFT


class SpeakerRunner:
    """Runs the network. Embeddings are only begun: the caller waits for them elsewhere, not in the device's thread."""

    def __init__(self, network: SpeakerNetwork) -> None:
        self._network = network
        self._device = next(network.parameters()).device
        self._graphs = None
        if self._device.type == "cuda":
            self._graphs = PassGraphs(self._device, GraphCapturer(), "the speaker encoder")

    def embed(self, windows: NDArray[np.float32]) -> PendingDownload:
        """Embed windows `[w, WINDOW_SAMPLES]`, at most MAX_WINDOWS, as `[w, d]`.

        Raises:
            OutOfMemory, GpuLost: errors of the device.
        """
        with _inference():
            embeddings = None
            if self._graphs is not None:
                batch = _pad_rows(windows)
                embeddings = self._graphs.run(self._embed, len(batch), [batch])
            if embeddings is None:
                embeddings = self._embed(upload(torch.from_numpy(windows), self._device))
            return PendingDownload.begin(embeddings[: len(windows)])

    def _embed(self, waves: Tensor) -> Tensor:
        embeddings: Tensor = self._network(mel_powers(waves, MELS).mT)
        return embeddings


def cut_windows(wave: Samples, n_windows: int) -> Iterator[NDArray[np.float32]]:
    """Yield the overlapping windows of a wave `[nw]`, padded with silence, as batches `[w, WINDOW_SAMPLES]`.

    They are those of Resemblyzer's `embed_utterance`, at least one, each with what its outermost frames have beyond it.

    Args:
        n_windows: of a batch, at most.
    """
    n_frames = len(wave) // HOP_SAMPLES + 1
    step, length = STEP_FRAMES * HOP_SAMPLES, WINDOW_FRAMES * HOP_SAMPLES
    count = max(0, n_frames - WINDOW_FRAMES + STEP_FRAMES) // STEP_FRAMES + 1
    if count > 1 and len(wave) - (count - 1) * step < MIN_COVERAGE * length:
        count -= 1
    behind = max(0, (count - 1) * step + WINDOW_SAMPLES - MARGIN_SAMPLES - len(wave))
    padded = np.pad(wave, (MARGIN_SAMPLES, behind))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW_SAMPLES)[::step][:count]
    for at in range(0, count, n_windows):
        yield windows[at : at + n_windows].copy()


def _pad_rows(windows: NDArray[np.float32]) -> Tensor:
    """Return the windows, and silence up to the rows of a captured pass."""
    batch = torch.zeros(next(rows for rows in GRAPH_ROWS if rows >= len(windows)), WINDOW_SAMPLES)
    batch[: len(windows)] = torch.from_numpy(windows)
    return batch


def load_speaker_runner(path: Path, device: str, run_on_device: RunOnDevice) -> SpeakerRunner:
    """Load the weights from a file that `find_speaker_weights` has found onto a device; any thread may call this.

    Args:
        run_on_device: runs the part that uses the device; `Engine.run` while jobs run.

    Raises:
        OutOfMemory: the device has no room for it.
    """
    network = load_speaker_network(path)

    def move_to_device() -> SpeakerRunner:
        with translate_cuda_errors():
            network.to(device)
        return SpeakerRunner(network)

    runner: SpeakerRunner = run_on_device(move_to_device)
    return runner


@contextmanager
def _inference() -> Iterator[None]:
    """Compute without gradients in full precision, with cuDNN's LSTM where the process uses cuDNN."""
    cudnn = torch.backends.cudnn
    with translate_cuda_errors(), torch.inference_mode(), cudnn.flags(enabled=cudnn.enabled, allow_tf32=False):
        yield
