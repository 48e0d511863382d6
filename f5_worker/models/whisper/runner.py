"""A loaded Whisper on its device: the only code that runs it. Only the thread that owns the device calls it.

Legend: b rows, t tokens, n encoder steps, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from f5_worker.audio.levels import Samples
from f5_worker.models.f5.cuda.errors import translate_cuda_errors
from f5_worker.models.f5.cuda.upload import upload
from f5_worker.models.placement import RunOnDevice
from f5_worker.models.whisper.attention import attention_matrix, token_starts
from f5_worker.models.whisper.checkpoint import load_whisper
from f5_worker.models.whisper.config import MAX_FRAMES, SAMPLE_RATE, DecodingConfig, WhisperArch, read_decoding
from f5_worker.models.whisper.mel import log_mel, log_mels
from f5_worker.models.whisper.network import Sound, Whisper
from f5_worker.models.whisper.search import BeamSearch, SearchOptions

STEPS_AT_ONCE = 8  # of a search: a few milliseconds in which other work of the device waits
MAX_LOGIT_COLUMNS = 64  # whose logits, of the whole vocabulary, are in memory at once


@dataclass(frozen=True)
class ForcedText:
    """The tokens that are spoken in a clip.

    Attributes:
        prompt: the tokens before the text, `<|notimestamps|>` the last of them.
        tokens: of the text.
        end: the token after the text, `<|endoftext|>`; those below it are text.
        steps: the encoder steps that the tokens are placed at.
    """

    prompt: tuple[int, ...]
    tokens: tuple[int, ...]
    end: int
    steps: int

    @property
    def n_tokens(self) -> int:
        """Return the tokens that go through the decoder."""
        return len(self.prompt) + len(self.tokens) + 1


@dataclass(frozen=True, eq=False)
class ForcedAlignment:
    """Where the `t` tokens of a text are in its sound.

    Attributes:
        starts: `[t + 1]` the encoder step at which attention moves to each token, and last to the end.
        probabilities: `[t]` of each token, among those of text.
    """

    starts: NDArray[np.int64]
    probabilities: NDArray[np.float32]


class WhisperRunner:
    """Runs one network. Alignments are only begun: the caller waits for them elsewhere, not in the device's thread.

    Raises from all methods: OutOfMemory when the device is full, GpuLost when its context is broken for good.
    """

    def __init__(self, model: Whisper, decoding: DecodingConfig) -> None:
        self.model = model
        self.decoding = decoding

    def log_mel(self, recording: Samples) -> NDArray[np.float32]:
        """Return the log-mel frames `[m, f]` of a recording `[nw]` at 16 kHz of any length."""
        with _inference():
            mel: NDArray[np.float32] = log_mel(recording, self.model.arch.mels, self.model.device).cpu().numpy()
            return mel

    def encode(self, mel: NDArray[np.float32]) -> Sound:
        """Return what the decoder attends to of one log-mel `[m, f]`, f even."""
        with _inference():
            return self._encode(upload(torch.from_numpy(mel)[None], self.model.device), None)

    def encode_clips(self, clips: Sequence[Samples]) -> Sound:
        """Return what the decoder attends to of clips, each `[nw]` at 16 kHz and at most 30 s."""
        with _inference():
            return self._encode(*log_mels(clips, self.model.arch.mels, self.model.device))

    def encode_windows(self, clips: Sequence[Samples]) -> Sound:
        """Return the same of clips padded to Whisper's window, as it was trained."""
        with _inference():
            mel, _ = log_mels(clips, self.model.arch.mels, self.model.device)
            return self._encode(functional.pad(mel, (0, MAX_FRAMES - mel.shape[-1])), None)

    def align(self, clips: Sequence[Samples], texts: Sequence[ForcedText]) -> PendingAlignment:
        """Decode each text against its clip, `[nw]` at 16 kHz of at most 30 s, all in one pass."""
        with _inference():
            return self._align(self.encode_clips(clips), texts)

    def align_encoded(self, sound: Sound, text: ForcedText) -> PendingAlignment:
        """Decode a text against sound that is encoded."""
        with _inference():
            return self._align(sound, [text])

    def advance(self, search: BeamSearch, n_steps: int) -> None:
        """Take so many steps of a search."""
        with _inference():
            search.advance(n_steps)

    def search(self, sound: Sound, options: SearchOptions) -> BeamSearch:
        """Return a search for the transcript of each row of the sound."""
        with _inference():
            return BeamSearch(self.model.decoder, sound, options)

    def token_probabilities(self, sound: Sound, start: int, choices: Sequence[int]) -> list[float]:
        """Return the probabilities of choices for the token after `start`: of languages, for example."""
        with _inference():
            states = self.model.decoder(upload(torch.tensor([[start]]), self.model.device), sound)
            logits = self.model.decoder.logits(states[0, -1])
            chosen: list[float] = logits[upload(torch.tensor(choices), self.model.device)].softmax(-1).tolist()
            return chosen

    def _encode(self, mel: Tensor, frames: Tensor | None) -> Sound:
        states = self.model.encoder(mel.to(self.model.dtype), frames)
        return self.model.decoder.project_sound(states, None if frames is None else frames // 2)

    def _align(self, sound: Sound, texts: Sequence[ForcedText]) -> PendingAlignment:
        heads, device, end = self.decoding.alignment_heads, self.model.device, texts[0].end
        rows = [torch.tensor([*text.prompt, *text.tokens, end]) for text in texts]
        tokens = upload(pad_sequence(rows, batch_first=True, padding_value=end), device)
        queries: list[Tensor] = []
        decoded = self.model.decoder(tokens, sound, queries=queries)
        counts, steps = upload(
            torch.tensor([[text.n_tokens for text in texts], [text.steps for text in texts]]), device
        )
        matrix = attention_matrix(
            torch.stack([queries[layer][:, head] for layer, head in heads], 1),
            torch.stack([sound.layers[layer][0][:, head] for layer, head in heads], 1),
            counts,
            steps,
        )
        probabilities = self._token_probabilities(decoded[:, :-1], tokens[:, 1:], end)
        return PendingAlignment(texts, _Download.begin([matrix, probabilities]))

    def _token_probabilities(self, states: Tensor, tokens: Tensor, end: int) -> Tensor:
        """Return the probability `[b, t]` of each token after its state `[b, t, d]`, among those below `end`."""
        parts = zip(*(torch.split(x, MAX_LOGIT_COLUMNS, 1) for x in (states, tokens)), strict=True)
        found = []
        for part, following in parts:
            logits = self.model.decoder.logits(part)[..., :end]
            chosen = logits.gather(-1, following.clamp(max=end - 1)[..., None])[..., 0]
            found.append((chosen - logits.logsumexp(-1)).exp())
        return torch.cat(found, 1)


@dataclass(frozen=True, eq=False)
class PendingAlignment:
    """A batch whose results are still on the device."""

    _texts: Sequence[ForcedText]
    _values: _Download

    def result(self, index: int) -> ForcedAlignment:
        """Wait for the device, and return the alignment of one text of the batch; any thread may call this."""
        text = self._texts[index]
        matrix, probabilities = (values[index] for values in self._values.wait())
        first = len(text.prompt) - 1  # the token from which the text's first one is predicted
        starts = token_starts(matrix[first : first + len(text.tokens) + 1, : text.steps])
        return ForcedAlignment(starts, probabilities[first : first + len(text.tokens)].copy())


class _Download:
    """Copies from the device that go on while the host does something else."""

    def __init__(self, arrays: list[NDArray[np.float32]], done: torch.cuda.Event | None) -> None:
        self._arrays = arrays
        self._done = done

    @classmethod
    def begin(cls, tensors: Sequence[Tensor]) -> _Download:
        """Queue copies behind the work of the device."""
        if tensors[0].device.type != "cuda":
            return cls([x.float().numpy() for x in tensors], None)
        copies = [torch.empty(x.shape, dtype=torch.float32, pin_memory=True) for x in tensors]
        for copy, x in zip(copies, tensors, strict=True):
            copy.copy_(x, non_blocking=True)
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        done.record()
        return cls([copy.numpy() for copy in copies], done)

    def wait(self) -> list[NDArray[np.float32]]:
        """Return the values once they are there."""
        if self._done is not None:
            with translate_cuda_errors():
                self._done.synchronize()
        return self._arrays


def load_whisper_runner(
    directory: Path, device: str, run_on_device: RunOnDevice = lambda work: work()
) -> WhisperRunner:
    """Load the checkpoint in `directory` onto a device, in fp16 on CUDA, else in fp32; any thread may call this.

    Args:
        run_on_device: runs the part that uses the device; `Engine.run` while jobs run.

    Raises:
        ModelUnavailable: files are missing or damaged, or do not belong together.
        OutOfMemory: the device has no room for it.
    """
    model = load_whisper(directory)
    decoding = read_decoding(directory, model.arch)

    def move_to_device() -> WhisperRunner:
        with translate_cuda_errors():
            model.to(device, torch.float16 if device == "cuda" else torch.float32)
        runner = WhisperRunner(model, decoding)
        runner.align(*_warm_up_batch(model.arch)).result(0)  # the first run of each kernel is slow
        return runner

    runner: WhisperRunner = run_on_device(move_to_device)
    return runner


def _warm_up_batch(arch: WhisperArch) -> tuple[list[Samples], list[ForcedText]]:
    """Return a second of noise with ten tokens."""
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    return [noise], [ForcedText((0,), tuple(range(10)), arch.vocabulary - 1, steps=50)]


@contextmanager
def _inference() -> Iterator[None]:
    """Compute without gradients and, as F5 does, without cuDNN, which plans for each new length."""
    with translate_cuda_errors(), torch.inference_mode(), torch.backends.cudnn.flags(enabled=False):
        yield
