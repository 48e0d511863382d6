"""A loaded model and its vocoder, as the engine runs them: the only code that calls torch while jobs run.

Legend: n frames, nr of the reference, m mel bands, nw samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from f5_worker.audio.levels import Samples
from f5_worker.engine.types import Segment, WaitForSamples
from f5_worker.errors import OutOfMemory
from f5_worker.log import timed
from f5_worker.models.config import find_model, read_traits
from f5_worker.models.cuda.capture import GraphCapturer
from f5_worker.models.cuda.cudnn import without_cudnn
from f5_worker.models.cuda.download import PendingDownload
from f5_worker.models.cuda.errors import translate_cuda_errors
from f5_worker.models.cuda.upload import upload
from f5_worker.models.f5.checkpoint import load_model, load_vocabulary, load_vocoder
from f5_worker.models.f5.config import HOP_SAMPLES, SAMPLE_RATE, make_segment
from f5_worker.models.f5.cuda.attention_choice import (
    AttentionShape,
    ChosenAttention,
    Measured,
    installed_flash_attn,
    unmeasured,
)
from f5_worker.models.f5.cuda.backend import choose_backend, prepare_kernels
from f5_worker.models.f5.cuda.segment_graphs import SegmentGraphs, graph_lengths
from f5_worker.models.f5.cuda.size_choice import default_frames, unmeasured_frames
from f5_worker.models.f5.cuda.step_graphs import (
    SINGLE_SEGMENT_ROWS,
    StepGraphs,
    can_capture,
    graph_sizes,
)
from f5_worker.models.f5.cuda.tuning import cuda_time_us
from f5_worker.models.f5.mel import log_mel
from f5_worker.models.f5.network import DiT
from f5_worker.models.f5.sampler import FlowState, Schedule, StepBatch, draw_noise, time_points
from f5_worker.models.f5.tokenizer import Vocabulary
from f5_worker.models.f5.vocoder import Vocos
from f5_worker.models.placement import (
    DTYPES,
    Device,
    RunOnDevice,
    count_bytes,
    device_bytes,
    devices_at_start,
    fastest_precision,
    limit_threads,
    name_device,
    name_precision,
    on_device,
)
from f5_worker.settings import Settings

MAX_SCHEDULES = 8  # cached; one of F5TTS_v1_Base for 32 steps in fp16 takes 8.8 MB
MAX_REFERENCES = 64  # mels cached; one of the longest reference takes 0.5 MB


class F5Runner:
    """Turns segments into audio, as a `ModelRunner`. Only the engine's thread calls `begin`, `step` and `finish`.

    All three leave the states that they are given unchanged when they raise:
    OutOfMemory when the device is full (fewer segments, or the next job, may fit),
    GpuLost when the CUDA context is broken for good.

    Attributes:
        load_ms: how long each phase of its loading took.
    """

    engine: Literal["own"] = "own"
    whole_segments = False

    def __init__(self, name: str, directory: Path, vocabulary: Vocabulary, model: DiT, vocoder: Vocos) -> None:
        self.name = name
        self.replicas: tuple[F5Runner, ...] = ()
        self.load_ms: dict[str, float] = {}
        capturer = GraphCapturer() if can_capture(model) else None
        self._step_graphs = StepGraphs(model, capturer) if capturer else None
        self._segment_graphs = SegmentGraphs(model, vocoder, capturer) if capturer else None
        self._graph_frames = default_frames()
        self.directory = directory
        self.vocabulary = vocabulary
        self.traits = read_traits(directory)
        self.model = model
        self.vocoder = vocoder
        self._schedule = lru_cache(MAX_SCHEDULES)(self._make_schedule)
        self._reference_mel = lru_cache(MAX_REFERENCES)(self._make_reference_mel)
        self._batch: tuple[list[FlowState], StepBatch] | None = None
        self._step_issued: torch.cuda.Event | None = None

    @property
    def device(self) -> str:
        """Return the name of the device, such as `cpu` or `NVIDIA L4`."""
        return name_device(self.model.device)

    @property
    def precision(self) -> str:
        """Return the model's precision: `fp32`, `fp16` or `bf16`."""
        return name_precision(self.model.dtype)

    @property
    def n_bytes(self) -> int:
        """Return the memory that the weights and their tables take."""
        return count_bytes(self.model, self.vocoder)

    @property
    def device_bytes(self) -> tuple[int, int] | None:
        """Return the memory of the device that this process has reserved, and all of it; None on a CPU."""
        return device_bytes(self.model.device)

    def begin(self, segment: Segment) -> FlowState:
        """Return the state of a segment before its first step, with all that no step changes computed."""
        with translate_cuda_errors(), torch.inference_mode(), without_cudnn():
            return FlowState.begin(
                (self._segment_graphs or self.model).condition,
                self._reference_mel(_ReferenceKey(segment.reference)),
                upload(torch.tensor(segment.tokens), self.model.device),
                upload(draw_noise(segment.seed, segment.frames), self.model.device),
                self._schedule(segment.nfe, segment.sway_coefficient),
                segment.guidance_scale,
            )

    def step(self, states: Sequence[FlowState]) -> None:
        """Advance each state by one step, in one forward.

        On return the device may still compute this step, but no earlier one.
        """
        with translate_cuda_errors(), torch.inference_mode():
            if self._batch is None or self._batch[0] != list(states):
                self._batch = None  # frees its tensors before those of the new batch are made
                advance = self._step_graphs.advance if self._step_graphs else None
                self._batch = list(states), StepBatch(self.model, states, advance)
            self._batch[1].step()
            self._wait_for_previous_step()

    def finish(self, states: Sequence[FlowState]) -> list[WaitForSamples]:
        """Begin to decode the targets, and return what waits for the audio of each; meanwhile steps are issued."""
        self._batch = None
        with translate_cuda_errors(), torch.inference_mode(), without_cudnn():
            decode = self._segment_graphs.decode if self._segment_graphs else self.vocoder
            return [PendingDownload.begin(samples).wait for samples in decode([state.target for state in states])]

    def generate(self, segment: Segment) -> Samples:
        """Run one segment from begin to finish, where there is no engine: for warming up and measuring."""
        state = self.begin(segment)
        for _ in range(segment.nfe):
            self.step([state])
        return self.finish([state])[0]()

    def warm_up(self, run_on_device: RunOnDevice = lambda work: work()) -> None:
        """Run each kernel once, because the first run is slow."""
        run_on_device(lambda: self.generate(warm_up_segment()))

    @property
    def attention(self) -> dict[str, Measured]:
        """Return the measured attention of each class of rows; empty where there is no choice, or not yet."""
        attend = self.model.backend.attend
        return dict(attend.chosen) if isinstance(attend, ChosenAttention) else {}

    def add_flash_attn(self) -> None:
        """Let `tune` choose a flash-attn that could not be found when the model was loaded."""
        attend = self.model.backend.attend
        if isinstance(attend, ChosenAttention):
            attend.backends = {**attend.backends, **installed_flash_attn()}

    def tune(self, run_on_device: RunOnDevice = lambda work: work()) -> None:
        """Measure which attention and which sizes of graphs are fastest on this device, unless an earlier start did.

        Args:
            run_on_device: runs pieces of a few hundredths of a second; `Engine.run` while jobs run.
        """
        attend, device = self.model.backend.attend, self.model.device
        with on_device(device):  # kernels are compiled in this thread
            if isinstance(attend, ChosenAttention):
                for measure in unmeasured(attend, AttentionShape.of(self.model), device, cuda_time_us):
                    run_on_device(partial(self._capture, measure))
            if self._step_graphs:
                for measure in unmeasured_frames(self._graph_frames, self.model, cuda_time_us):
                    run_on_device(partial(self._capture, measure))

    def capture_graphs(self, limit_s: float, run_on_device: RunOnDevice = lambda work: work()) -> int:
        """Capture CUDA graphs of steps, begins and ends of likely sizes; other sizes work too, slower.

        Args:
            limit_s: begin no capture after so long, nor after one that the device had no room for.
            run_on_device: runs one capture, which takes a fiftieth of a second; `Engine.run` while jobs run.

        Returns:
            Number of captures.
        """
        until_s = time.monotonic() + limit_s
        n_captured = 0
        for capture in self._captures():
            if time.monotonic() > until_s:
                break
            try:
                run_on_device(partial(self._capture, capture))
            except OutOfMemory:
                break
            n_captured += 1
        return n_captured

    def _captures(self) -> Iterator[Callable[[], None]]:
        """Yield the most likely captures first: those that a single segment needs."""
        if self._step_graphs and self._segment_graphs:
            sizes = list(graph_sizes(self._graph_frames.values()))
            capture_step, capture_segment = self._step_graphs.capture, self._segment_graphs.capture
            yield from (partial(capture_step, size) for size in sizes if size.rows == SINGLE_SEGMENT_ROWS)
            yield from (partial(capture_segment, n) for n in graph_lengths())
            yield from (partial(capture_step, size) for size in sizes if size.rows > SINGLE_SEGMENT_ROWS)

    def _capture(self, capture: Callable[[], None]) -> None:
        with translate_cuda_errors(), torch.inference_mode(), without_cudnn():
            capture()

    def _wait_for_previous_step(self) -> None:
        """Wait for the step before the one just issued: so the device has work, and a new segment waits for no more."""
        if self.model.device.type == "cuda":
            previous, self._step_issued = self._step_issued, torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._step_issued.record()
            if previous is not None:
                previous.synchronize()

    def _make_schedule(self, nfe: int, sway_coefficient: float | None) -> Schedule:
        return Schedule.from_times(self.model, time_points(nfe, sway_coefficient))

    def _make_reference_mel(self, key: _ReferenceKey) -> Tensor:
        return log_mel(upload(torch.from_numpy(key.samples), self.model.device))


class _ReferenceKey:
    """A cache key that identifies a reference by its array, which it keeps alive so that its id stays unique.

    All segments of a job, and all jobs of a stored voice, share one array. To compare contents would cost more than the
    mel does: up to a megabyte would be hashed on the device thread for each segment.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __hash__(self) -> int:
        return id(self.samples)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ReferenceKey) and other.samples is self.samples


def load_runner(settings: Settings) -> F5Runner:
    """Load the checkpoint that the settings name onto their first device.

    Raises:
        ModelUnavailable: files are missing or do not belong together.
        HostUnfit, SettingsInvalid: this machine does not have the device.
    """
    limit_threads(settings)
    directory = settings.model_dir or find_model(settings)
    return load_checkpoint(Path(settings.model).name, directory, settings, devices_at_start(settings)[0])


def load_checkpoint(name: str, directory: Path, settings: Settings, device: Device) -> F5Runner:
    """Load the checkpoint in `directory` onto a device; any thread may call this.

    Raises:
        ModelUnavailable: files are missing or do not belong together.
        HostUnfit: the attention that the settings ask for does not work there.
        OutOfMemory: the device has no room for it.
    """
    precision = fastest_precision(device.name) if settings.precision == "auto" else settings.precision
    load_ms: dict[str, float] = {}
    with ThreadPoolExecutor(1, thread_name_prefix="kernels") as background:
        prepared = background.submit(prepare_kernels) if device.is_gpu else None
        with timed(load_ms, "weights_read"):
            vocabulary = load_vocabulary(directory)
            model, vocoder = load_model(directory, len(vocabulary)), load_vocoder(directory)

        def move_to_device() -> F5Runner:
            with timed(load_ms, "weights_moved"), translate_cuda_errors():
                model.to(device.name, DTYPES[precision])
                vocoder.to(device.name)
            with timed(load_ms, "kernels"):
                if prepared is not None:
                    prepared.result()
                choose_backend(model, settings.attention_backend, flash=settings.flash_attn != "off")
            return F5Runner(name, directory, vocabulary, model, vocoder)

        runner: F5Runner = device.run(move_to_device)
    runner.load_ms = load_ms
    return runner


def warm_up_segment(frames: int = 3 * SAMPLE_RATE // HOP_SAMPLES, nfe: int = 2) -> Segment:
    """Return a segment with a reference of one second of noise; by default its target is two seconds, in two steps."""
    reference = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    return make_segment(reference, tuple(range(20)), frames, nfe=nfe, guidance_scale=2.0, sway_coefficient=-1.0, seed=0)
