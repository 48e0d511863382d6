"""Embeddings are Resemblyzer's on the same weights, and equal on the CPU and the GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from f5_worker.audio.levels import Samples
from f5_worker.models.cuda.graphs import PassGraphs
from f5_worker.models.speaker import runner as module
from f5_worker.models.speaker.checkpoint import MELS
from f5_worker.models.speaker.runner import MAX_WINDOWS, SpeakerRunner, cut_windows, load_speaker_runner
from f5_worker.models.spectrogram import mel_powers
from tests.models.whisper.small import clip
from tests.speakers import resemblyzer_weights, write_random

# Samples at 16 kHz: none, less than a frame, one window, and on both sides of where a window more begins.
LENGTHS = (0, 1, 161, 16_000, 25_600, 31_519, 31_520, 31_521, 43_839, 43_840, 72_007)


def on(device: str, path: Path) -> SpeakerRunner:
    return load_speaker_runner(path, device, lambda work: work())


def windows_of(wave: Samples) -> NDArray[np.float32]:
    (windows,) = cut_windows(wave, MAX_WINDOWS)
    return windows


def embeddings(runner: SpeakerRunner, wave: Samples) -> Any:
    return runner.embed(windows_of(wave)).wait()


@pytest.mark.slow  # the package takes seconds to import
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package's imports
class TestBesideResemblyzer:
    @pytest.mark.parametrize("length", LENGTHS)
    def test_the_windows_and_their_embeddings_are_its(self, length: int) -> None:
        path = resemblyzer_weights()
        from resemblyzer import VoiceEncoder

        wave = clip(5.0, seed=length)[:length]
        _, expected, places = VoiceEncoder("cpu", verbose=False).embed_utterance(wave, return_partials=True)
        found = embeddings(on("cpu", path), wave)
        assert len(found) == len(places)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_the_mel_frames_are_its(self) -> None:
        resemblyzer_weights()
        from resemblyzer.audio import wav_to_mel_spectrogram

        wave = clip(1.6, seed=1)
        found = mel_powers(torch.from_numpy(windows_of(wave)), MELS)[0].T.numpy()
        expected = wav_to_mel_spectrogram(wave)[:160]
        assert expected.max() > 0.01
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)


def test_windows_of_a_clip_share_a_batch_and_do_not_depend_on_it(tmp_path: Path) -> None:
    runner, windows = on("cpu", write_random(tmp_path / "ge2e")), windows_of(clip(4.0))
    together = runner.embed(windows).wait()
    assert together.shape == (4, 256)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-6)
    for window, embedding in zip(windows, together, strict=True):
        np.testing.assert_allclose(runner.embed(window[None]).wait()[0], embedding, atol=1e-6)


class TestCapturedPasses:
    """On a CPU, where what stands for the capture computes at each replay."""

    @staticmethod
    def captured(path: Path) -> tuple[SpeakerRunner, list[int]]:
        captures: list[int] = []

        def capture(compute: Callable[[], torch.Tensor]) -> tuple[Callable[[], None], torch.Tensor]:
            result = compute()
            captures.append(len(result))

            def replay() -> None:
                result.copy_(compute())

            return replay, result

        runner = on("cpu", path)
        runner._graphs = PassGraphs(torch.device("cpu"), capture, "test")
        return runner, captures

    def test_a_pass_is_captured_once_for_each_size_and_finds_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "GRAPH_ROWS", (2, 4))
        path = write_random(tmp_path / "ge2e")
        plain, (runner, captures) = on("cpu", path), self.captured(path)
        for n_windows in (1, 2, 3, 2, 4):
            windows = np.stack([windows_of(clip(1.6, seed))[0] for seed in range(n_windows)])
            found = runner.embed(windows).wait()
            np.testing.assert_allclose(found, plain.embed(windows).wait(), atol=1e-6)
        assert captures == [2, 4]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("seconds", [0.5, 1.6, 12.0, 49.0])
def test_the_gpu_finds_what_the_cpu_does(seconds: float, tmp_path: Path) -> None:
    path, wave = write_random(tmp_path / "ge2e"), clip(seconds)
    np.testing.assert_allclose(embeddings(on("cuda", path), wave), embeddings(on("cpu", path), wave), atol=1e-4)
