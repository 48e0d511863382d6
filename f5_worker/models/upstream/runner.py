"""Checkpoints that the own network does not implement, run by f5-tts' classes: E2-TTS, MMDiT, BigVGAN.

Legend: n frames, nr of the reference, m mel bands, nw samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from f5_worker.audio.levels import Samples
from f5_worker.engine.types import Segment, WaitForSamples
from f5_worker.log import timed
from f5_worker.models.config import ModelConfig, read_config, read_traits
from f5_worker.models.cuda.download import PendingDownload
from f5_worker.models.cuda.errors import translate_cuda_errors
from f5_worker.models.f5.checkpoint import load_vocabulary
from f5_worker.models.f5.runner import warm_up_segment
from f5_worker.models.f5.tokenizer import Vocabulary
from f5_worker.models.placement import (
    DTYPES,
    Device,
    Precision,
    RunOnDevice,
    count_bytes,
    device_bytes,
    name_device,
    name_precision,
)
from f5_worker.models.upstream.checkpoint import load_cfm, load_vocoder
from f5_worker.settings import Settings

if TYPE_CHECKING:
    from f5_worker.models.f5.cuda.attention_choice import Measured


@dataclass(eq=False)
class UpstreamState:
    """A segment and, once it was sampled, the mel that follows its reference, `[1, n - nr, m]`."""

    segment: Segment
    target: Tensor | None = None


class UpstreamRunner:
    """Turns segments into audio as f5-tts does, as a `ModelRunner`: by `CFM.sample`, one segment at a time.

    A seed gives what f5-tts gives for it, which on a GPU is other noise than on a CPU.

    Args:
        cfm: f5-tts' `CFM`.
        vocoder: `vocos.Vocos` or `BigVGAN`, in fp32.

    Attributes:
        load_ms: as of `F5Runner`.
    """

    engine: Literal["upstream"] = "upstream"
    whole_segments = True
    # f5-tts draws from torch's one generator: with several devices at once a seed would not fix what is drawn.
    replicas: tuple[UpstreamRunner, ...] = ()

    def __init__(self, name: str, directory: Path, vocabulary: Vocabulary, cfm: Any, vocoder: Any) -> None:
        self.name = name
        self.load_ms: dict[str, float] = {}
        self.directory = directory
        self.vocabulary = vocabulary
        self.traits = read_traits(directory)
        self.cfm = cfm
        self.vocoder = vocoder
        self._decode = getattr(vocoder, "decode", vocoder)

    @property
    def device(self) -> str:
        """Return the name of the device, such as `cpu` or `NVIDIA L4`."""
        return name_device(self.cfm.device)

    @property
    def precision(self) -> str:
        """Return the model's precision: `fp32`, `fp16` or `bf16`."""
        return name_precision(next(self.cfm.parameters()).dtype)

    @property
    def n_bytes(self) -> int:
        """Return the memory that the weights and their tables take."""
        return count_bytes(self.cfm, self.vocoder)

    @property
    def device_bytes(self) -> tuple[int, int] | None:
        """Return the memory of the device that this process has reserved, and all of it; None on a CPU."""
        return device_bytes(self.cfm.device)

    @property
    def attention(self) -> Mapping[str, Measured]:
        """Return nothing: f5-tts attends with torch's own kernel, whatever the rows."""
        return {}

    def begin(self, segment: Segment) -> UpstreamState:
        """Return the state of a segment before it is sampled."""
        return UpstreamState(segment)

    def step(self, states: Sequence[UpstreamState]) -> None:
        """Take each segment, which is one at a time under the engine, through all its steps."""
        for state in states:
            with translate_cuda_errors(), torch.inference_mode():
                state.target = self._sample(state.segment)

    def finish(self, states: Sequence[UpstreamState]) -> list[WaitForSamples]:
        """Begin to decode the targets, and return what waits for the audio of each."""
        with translate_cuda_errors(), torch.inference_mode():
            mels = [state.target.transpose(1, 2) for state in states if state.target is not None]
            return [PendingDownload.begin(self._decode(mel).flatten()).wait for mel in mels]

    def generate(self, segment: Segment) -> Samples:
        """Run one segment from begin to finish, where there is no engine: for warming up and measuring."""
        state = self.begin(segment)
        self.step([state])
        return self.finish([state])[0]()

    def warm_up(self, run_on_device: RunOnDevice = lambda work: work()) -> None:
        """Run each kernel once, because the first run is slow."""
        run_on_device(lambda: self.generate(warm_up_segment()))

    def _sample(self, segment: Segment) -> Tensor:
        """Return the target's mel, `[1, n - nr, m]` fp32."""
        samples = torch.from_numpy(segment.reference).unsqueeze(0).to(self.cfm.device)
        reference = self.cfm.mel_spec(samples).transpose(1, 2)
        try:
            mel, _ = self.cfm.sample(
                cond=reference,
                text=torch.tensor([segment.tokens], device=self.cfm.device),
                duration=segment.frames,
                steps=segment.nfe,
                cfg_strength=segment.guidance_scale,
                sway_sampling_coef=segment.sway_coefficient,
                seed=segment.seed,
            )
        finally:
            self.cfm.transformer.clear_cache()  # of the text: `sample` leaves it behind when it fails
        target: Tensor = mel[:, reference.shape[1] :].float()
        return target


def load_checkpoint(name: str, directory: Path, settings: Settings, device: Device) -> UpstreamRunner:
    """Load the checkpoint in `directory` onto a device; any thread may call this.

    Raises:
        ModelUnavailable: f5-tts is not installed; files are missing or do not belong together.
        OutOfMemory: the device has no room for it.
    """
    config = read_config(directory)
    precision = _usual_precision(device, config) if settings.precision == "auto" else settings.precision
    load_ms: dict[str, float] = {}
    with timed(load_ms, "weights_read"):
        vocabulary = load_vocabulary(directory)
        cfm, vocoder = load_cfm(directory, config, len(vocabulary)), load_vocoder(directory, config)

    def move_to_device() -> UpstreamRunner:
        with timed(load_ms, "weights_moved"), translate_cuda_errors():
            cfm.to(device.name, DTYPES[precision])
            vocoder.to(device.name)
        return UpstreamRunner(name, directory, vocabulary, cfm, vocoder)

    runner: UpstreamRunner = device.run(move_to_device)
    runner.load_ms = load_ms
    return runner


def _usual_precision(device: Device, config: ModelConfig) -> Precision:
    """Return what f5-tts chooses: fp16 on CUDA, except for BigVGAN's mels, and else fp32."""
    return "fp16" if device.is_gpu and config.mel_spec_type == "vocos" else "fp32"
