"""A loaded model and its vocoder: the only place that touches torch while jobs run.

Legend: n frames, nr of the reference, m mel bands, nw samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from f5_worker.models.f5.cuda.backend import choose_backend
from f5_worker.audio.levels import Samples
from f5_worker.engine.types import Segment
from f5_worker.models.f5.checkpoint import find_model, load_model, load_vocoder, required
from f5_worker.models.f5.config import HOP_SAMPLES, SAMPLE_RATE, make_segment
from f5_worker.models.f5.cuda.errors import translate_cuda_errors
from f5_worker.models.f5.cuda.step_graphs import ALONE, CudaRecorder, StepGraphs, recordable, sizes
from f5_worker.models.f5.mel import log_mel
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.sampler import StepBatch, FlowState, Schedule, draw_noise, time_points
from f5_worker.models.f5.cuda.segment_graphs import SegmentGraphs, lengths
from f5_worker.models.f5.cuda.upload import upload
from f5_worker.models.f5.vocoder import Vocos
from f5_worker.errors import HostUnfit
from f5_worker.settings import Settings
from f5_worker.models.f5.tokenizer import Vocabulary

OnDevice = Callable[[Callable[[], Any]], Any]
"""Calls what it is given, in the thread that owns the device, and returns its result."""

_PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CPU_FACTS = Path("/proc/cpuinfo")
BF16_FLAGS = {"avx512_bf16", "amx_bf16"}
MAX_SCHEDULES = 8  # tables kept; one of F5TTS_v1_Base for 32 steps in fp16 takes 8.8 MB
MAX_REFERENCES = 64  # mels kept; one of the longest reference takes 0.5 MB


class F5Runner:
    """What it takes to turn segments into sound. Only the engine's thread calls `begin`, `step` and `finish`.

    All three leave what they were given as it was when they raise:
    OutOfMemory when the device is full (fewer segments, or the next job, may fit),
    GpuLost when the CUDA context is broken for good.
    """

    def __init__(self, name: str, directory: Path, vocabulary: Vocabulary, model: DiT, vocoder: Vocos) -> None:
        self.name = name
        record = CudaRecorder() if recordable(model) else None
        self._steps = StepGraphs(model, record) if record else None
        self._segments = SegmentGraphs(model, vocoder, record) if record else None
        self.directory = directory
        self.vocabulary = vocabulary
        self.model = model
        self.vocoder = vocoder
        self._schedule = lru_cache(MAX_SCHEDULES)(self._make_schedule)
        self._reference = lru_cache(MAX_REFERENCES)(self._make_reference)
        self._crew: tuple[list[FlowState], StepBatch] | None = None
        self._step_issued: torch.cuda.Event | None = None

    @property
    def device(self) -> str:
        """The device in words, such as `cpu` or `NVIDIA L4`."""
        return torch.cuda.get_device_name(self.model.device) if self.model.device.type == "cuda" else "cpu"

    @property
    def precision(self) -> str:
        return next(name for name, dtype in _PRECISIONS.items() if dtype == self.model.dtype)

    @property
    def n_bytes(self) -> int:
        """Memory that the weights and their tables take."""
        modules = (self.model, self.vocoder)
        return sum(tensor.nbytes for module in modules for tensor in chain(module.parameters(), module.buffers()))

    def begin(self, segment: Segment) -> FlowState:
        """A segment before its first step: everything that no step changes is computed here."""
        with translate_cuda_errors(), torch.inference_mode(), _of_any_length():
            return FlowState.begin(
                (self._segments or self.model).condition,
                self._reference(_Clip(segment.reference)),
                upload(torch.tensor(segment.tokens), self.model.device),
                upload(draw_noise(segment.seed, segment.frames), self.model.device),
                self._schedule(segment.nfe, segment.sway_coefficient),
                segment.guidance_scale,
            )

    def step(self, flows: Sequence[FlowState]) -> None:
        """The next step of each, in one forward. The device may still be at it on return, but at no earlier one."""
        with translate_cuda_errors(), torch.inference_mode():
            if self._crew is None or self._crew[0] != list(flows):
                self._crew = None  # its tensors make room for the new crew's
                self._crew = list(flows), StepBatch(self.model, flows, self._steps.advance if self._steps else None)
            self._crew[1].step()
            self._keep_pace()

    def finish(self, flows: Sequence[FlowState]) -> list[Samples]:
        """The targets' sound, each `[nw]` at 24 kHz."""
        self._crew = None
        with translate_cuda_errors(), torch.inference_mode(), _of_any_length():
            sounds = self._segments.sounds if self._segments else self.vocoder
            return [sound.cpu().numpy() for sound in sounds([flow.target for flow in flows])]

    def speak(self, segment: Segment) -> Samples:
        """One segment from text to sound, where there is no engine: warming up, measuring."""
        flow = self.begin(segment)
        for _ in range(segment.nfe):
            self.step([flow])
        return self.finish([flow])[0]

    def warm_up(self, on_device: OnDevice = lambda work: work()) -> None:
        """Run each kernel once: the first run is slow, and no job should pay."""
        on_device(lambda: self.speak(_second_of_noise()))

    def record(self, limit_s: float, on_device: OnDevice = lambda work: work()) -> int:
        """Record steps, begins and ends of likely sizes (graphs.py, segment_graphs.py); others work as well, slower.

        Args:
            limit_s: begin no recording after so long.
            on_device: runs what touches the device, a fiftieth of a second at a time; `Engine.run` while jobs run.

        Returns:
            Number of recordings.
        """
        until = time.monotonic() + limit_s
        recorded = 0
        for recording in self._recordings():
            if time.monotonic() > until:
                break
            on_device(partial(self._make, recording))
            recorded += 1
        return recorded

    def _recordings(self) -> Iterator[Callable[[], None]]:
        """The most likely first: what a segment alone needs."""
        if self._steps and self._segments:
            yield from (partial(self._steps.record, size) for size in sizes() if size.rows == ALONE)
            yield from (partial(self._segments.record, n) for n in lengths())
            yield from (partial(self._steps.record, size) for size in sizes() if size.rows > ALONE)

    def _keep_pace(self) -> None:
        """Wait for the step before the one just issued: the device has work, and a newcomer waits for no more of it."""
        if self.model.device.type == "cuda":
            before, self._step_issued = self._step_issued, torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._step_issued.record()
            if before is not None:
                before.synchronize()

    def _make(self, recording: Callable[[], None]) -> None:
        with translate_cuda_errors(), torch.inference_mode(), _of_any_length():
            recording()

    def _make_schedule(self, nfe: int, sway_coefficient: float | None) -> Schedule:
        return Schedule.of(self.model, time_points(nfe, sway_coefficient))

    def _make_reference(self, clip: _Clip) -> Tensor:
        return log_mel(upload(torch.from_numpy(clip.samples), self.model.device))


class _Clip:
    """A reference as a key: the same array, which the key keeps alive, so that no other can take its identity.

    All segments of a job, and all jobs of a kept voice, share one array. To compare contents would cost more than
    the mel does: it means to hash up to a megabyte on the device's thread for each segment.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __hash__(self) -> int:
        return id(self.samples)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Clip) and other.samples is self.samples


def _of_any_length() -> AbstractContextManager[None]:
    """Convolutions without cuDNN, which plans, and in half precision compiles, anew for each length: 0.2 s on an H200.

    torch's own kernels for them take no longer.
    """
    return torch.backends.cudnn.flags(enabled=False)


def load_runner(settings: Settings) -> F5Runner:
    """Load the checkpoint that the settings name onto their device.

    Raises:
        ModelUnavailable: files are missing or do not belong together.
        HostUnfit: there is no such device.
    """
    if settings.cpu_threads:
        torch.set_num_threads(settings.cpu_threads)
    return load_checkpoint(Path(settings.model).name, settings.model_dir or find_model(settings), settings)


def load_checkpoint(
    name: str,
    directory: Path,
    settings: Settings,
    on_device: OnDevice = lambda work: work(),
) -> F5Runner:
    """Load the checkpoint in `directory`; any thread may.

    Args:
        on_device: runs what touches the device; `Engine.run` while jobs run.

    Raises:
        ModelUnavailable, HostUnfit: as `load_runner`.
        OutOfMemory: the device has no room for it.
    """
    device = _device(settings)
    precision = _fast_precision(device) if settings.precision == "auto" else settings.precision
    vocabulary = Vocabulary.load(required(directory, "vocab.txt"))
    model, vocoder = load_model(directory, len(vocabulary)), load_vocoder(directory)

    def move() -> F5Runner:
        with translate_cuda_errors():
            model.to(device, _PRECISIONS[precision])
            vocoder.to(device)
        choose_backend(model, flash=settings.flash_attn != "off")
        return F5Runner(name, directory, vocabulary, model, vocoder)

    runner: F5Runner = on_device(move)
    return runner


def _device(settings: Settings) -> str:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise HostUnfit("F5_DEVICE=cuda, but torch sees no GPU; give the container one, or set F5_DEVICE=cpu")
    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _fast_precision(device: str) -> str:
    """fp16 on CUDA; bf16 on a CPU that multiplies it natively, which takes it 0.7 of the time of fp32."""
    if device == "cuda":
        return "fp16"
    try:
        flags = CPU_FACTS.read_text("ascii", "replace").split()
    except OSError:  # not Linux
        return "fp32"
    return "fp32" if BF16_FLAGS.isdisjoint(flags) else "bf16"


def _second_of_noise() -> Segment:
    """A reference of a second, spoken on for two, in two steps."""
    reference = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    frames = 3 * SAMPLE_RATE // HOP_SAMPLES
    return make_segment(reference, tuple(range(20)), frames, nfe=2, guidance_scale=2.0, sway_coefficient=-1.0, seed=0)
