"""A loaded model and its vocoder: the only place that touches torch while jobs run.

Legend: n frames, nr of the reference, m mel bands, nw samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from f5_worker.engine.batcher import Samples, Segment
from f5_worker.engine.config import read_arch
from f5_worker.engine.mel import log_mel
from f5_worker.engine.model import DiT
from f5_worker.engine.sampler import draw_noise, sample, time_points
from f5_worker.engine.uninitialised import Uninitialised
from f5_worker.engine.vocoder import Vocos
from f5_worker.errors import GpuLost, HostUnfit, ModelUnavailable, OutOfMemory, WorkerError
from f5_worker.settings import REPOSITORY, Settings
from f5_worker.text.tokens import Vocabulary

_PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_DERIVED = ("mel_spec.", "transformer.rotary_embed.", "transformer.text_embed.freqs_cis", "initted", "step")


@dataclass(frozen=True)
class Engine:
    """What it takes to turn segments into sound."""

    name: str
    directory: Path
    vocabulary: Vocabulary
    model: DiT
    vocoder: Vocos

    @property
    def device(self) -> str:
        """The device in words, such as `cpu` or `NVIDIA L4`."""
        return torch.cuda.get_device_name(self.model.device) if self.model.device.type == "cuda" else "cpu"

    @property
    def precision(self) -> str:
        return next(name for name, dtype in _PRECISIONS.items() if dtype == self.model.dtype)

    def speak(self, segment: Segment, on_step: Callable[[int], None] = lambda step: None) -> Samples:
        """The target part of a segment as sound, `[nw]` at 24 kHz. Only the batcher's thread calls this.

        Raises:
            OutOfMemory: the device is full; the next job may fit.
            GpuLost: the CUDA context is broken for good.
        """
        with _device_faults_named(), torch.inference_mode():
            mel = self._mel(segment, on_step)
            samples: Samples = self.vocoder(mel.unsqueeze(0)).squeeze(0).cpu().numpy()
            return samples

    def _mel(self, segment: Segment, on_step: Callable[[int], None]) -> Tensor:
        """Mel of the target alone, `[n - nr, m]`."""
        device = self.model.device
        reference = log_mel(torch.from_numpy(segment.reference).to(device))
        mel = sample(
            self.model,
            reference,
            torch.tensor(segment.tokens, device=device),
            draw_noise(segment.seed, segment.frames).to(device),
            time_points(segment.nfe, segment.sway),
            segment.guidance,
            on_step,
        )
        return mel[len(reference) :]


def load_engine(settings: Settings) -> Engine:
    """Load the checkpoint that the settings name onto their device.

    Raises:
        ModelUnavailable: files are missing or do not belong together.
    """
    if settings.cpu_threads:
        torch.set_num_threads(settings.cpu_threads)
    device = _device(settings)
    precision = settings.precision if settings.precision != "auto" else ("fp16" if device == "cuda" else "fp32")
    directory = settings.model_dir or find_model(settings)
    vocabulary = Vocabulary.load(_required(directory, "vocab.txt"))
    model, vocoder = load_model(directory, len(vocabulary)), load_vocoder(directory)
    with _device_faults_named():
        model, vocoder = model.to(device, _PRECISIONS[precision]), vocoder.to(device)
    return Engine(Path(settings.model).name, directory, vocabulary, model, vocoder)


def find_model(settings: Settings) -> Path:
    """The directory of the model that the settings name."""
    places = [REPOSITORY / "models" / settings.model, settings.models_dir / settings.model]
    for place in places:  # an absolute F5_MODEL stands for itself in both
        if place.is_dir():
            return place
    raise ModelUnavailable(
        f"F5_MODEL={settings.model!r} was found neither in {places[0].parent} nor in {places[1].parent}; "
        "start model_cache_init.py instead, which fetches it, or name one that is there, such as f5-tiny"
    )


def load_model(directory: Path, vocabulary_size: int) -> DiT:
    """The transformer in `directory`, on the CPU, in the precision of its file."""
    weights = _read(_required(directory, "model.safetensors"))
    kept = {name: tensor for name, tensor in _plain_names(weights).items() if not name.startswith(_DERIVED)}
    kept = {name.removeprefix("transformer."): tensor for name, tensor in kept.items()}
    rows = len(kept.get("text_embed.text_embed.weight", ())) - 1
    if rows != vocabulary_size:
        raise ModelUnavailable(
            f"model {directory.name!r}: vocab.txt has {vocabulary_size} entries, the checkpoint was made with {rows}; "
            "use the vocab.txt that came with it"
        )
    with Uninitialised():
        model = DiT(read_arch(directory), vocabulary_size)
    try:
        model.load_state_dict(kept, assign=True)
    except RuntimeError as error:
        raise ModelUnavailable(f"model {directory.name!r}: weights and architecture differ: {error}") from None
    return model.eval().requires_grad_(False)


def load_vocoder(directory: Path) -> Vocos:
    """The vocoder in `directory`, on the CPU, fp32."""
    weights = _read(_required(directory, "vocoder.safetensors"))
    try:
        return Vocos.from_weights(weights)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ModelUnavailable(f"model {directory.name!r}: vocoder.safetensors is no Vocos: {error}") from None


def _plain_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("ema_model."): tensor for name, tensor in weights.items()}


def _required(directory: Path, name: str) -> Path:
    path = directory / name
    if not path.is_file():
        raise ModelUnavailable(f"model {directory.name!r} has no {name}; its directory is incomplete")
    return path


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelUnavailable(
            f"{path.name} of model {path.parent.name!r} cannot be read ({error}); copy it there again"
        ) from None


def _device(settings: Settings) -> str:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise HostUnfit("F5_DEVICE=cuda, but torch sees no GPU; give the container one, or set F5_DEVICE=cpu")
    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"


@contextmanager
def _device_faults_named() -> Iterator[None]:
    """Failures of the device leave as what they mean; any other error as it is."""
    try:
        yield
    except RuntimeError as error:
        fault = _device_fault(error)
        if fault is None:
            raise
        raise fault from error


def _device_fault(error: RuntimeError) -> WorkerError | None:
    """What a failure of the device means for the job and for the process; None if it is none."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        torch.cuda.empty_cache()
        return OutOfMemory("the GPU has no room for this job now; send it again, or send a shorter text")
    if "CUDA error" in str(error):  # sticky: every later call in this process fails as well
        return GpuLost("the GPU stopped working; this worker restarts, send the job again")
    return None
