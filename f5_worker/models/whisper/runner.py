"""A loaded Whisper on its device: the only code that runs it. Only one thread calls it.

Legend: b rows, t tokens, n encoder steps, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from f5_worker.audio.levels import Samples
from f5_worker.models.cuda.capture import CaptureGraph, GraphCapturer
from f5_worker.models.cuda.cudnn import without_cudnn
from f5_worker.models.cuda.download import PendingDownload
from f5_worker.models.cuda.errors import translate_cuda_errors
from f5_worker.models.cuda.graphs import PassGraphs
from f5_worker.models.cuda.streams import priority_stream
from f5_worker.models.cuda.upload import upload
from f5_worker.models.placement import RunOnDevice
from f5_worker.models.spectrogram import HOP_SAMPLES, SAMPLE_RATE
from f5_worker.models.whisper.attention import attention_matrix, token_starts
from f5_worker.models.whisper.checkpoint import load_whisper
from f5_worker.models.whisper.config import MAX_FRAMES, DecodingConfig, WhisperArch, read_decoding
from f5_worker.models.whisper.graphs import SIZES_OF_ONE_CLIP, BatchSize, graph_size
from f5_worker.models.whisper.mel import log_mel, log_mels, n_frames, pad_clips
from f5_worker.models.whisper.network import Sound, Whisper
from f5_worker.models.whisper.search import NOTHING_EXPECTED, BeamSearch, ExpectedTokens, SearchOptions
from f5_worker.models.whisper.search_graphs import SearchGraphs, power_of_two
from f5_worker.models.whisper.steps import LaunchedSteps

STEPS_AT_ONCE = 8  # of a search: a few milliseconds in which other work of Whisper waits
MAX_LOGIT_TOKENS = 256  # of all rows, whose logits, of the whole vocabulary, are in memory at once


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
    """The times of the `t` tokens of a text in its sound.

    Attributes:
        attention: `[t + 1, n]` of each token and of the end, at each encoder step.
        probabilities: `[t]` of each token, among those of text.
    """

    attention: NDArray[np.float32]
    probabilities: NDArray[np.float32]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Return the encoder step `[t + 1]` at which attention moves to each token, and last to the end."""
        return token_starts(self.attention)


class WhisperRunner:
    """Runs one network. Alignments are only begun: the caller waits for them elsewhere, not in this thread.

    On a GPU it computes on a stream of its own, at the same time as other models.

    Raises from all methods: OutOfMemory when the device is full, GpuLost when its context is broken for good.
    """

    def __init__(self, model: Whisper, decoding: DecodingConfig) -> None:
        self.model = model
        self.decoding = decoding
        self._graphs: PassGraphs | None = None
        self._text_graphs: PassGraphs | None = None
        self._window_graphs: PassGraphs | None = None
        self._search_graphs: SearchGraphs | None = None
        if model.device.type == "cuda":
            model.decoder.pad_vocabulary()
            self.use_graphs(GraphCapturer())
        self._stream = priority_stream(model.device)

    def use_graphs(self, capture: CaptureGraph) -> None:
        """Capture what is computed again and again."""
        device = self.model.device
        self._graphs = PassGraphs(device, capture, "alignment")
        self._text_graphs = PassGraphs(device, capture, "the texts of a clip")
        self._window_graphs = PassGraphs(device, capture, "the encoding of windows")
        steps = PassGraphs(device, capture, "a step of the search")
        self._search_graphs = SearchGraphs(self.model.decoder, steps)

    def log_mel(self, recording: Samples) -> NDArray[np.float32]:
        """Return the log-mel frames `[m, f]` of a recording `[nw]` at 16 kHz of any length."""
        with self._computing():
            mel: NDArray[np.float32] = log_mel(recording, self.model.arch.mels, self.model.device).cpu().numpy()
            return mel

    def encode(self, mel: NDArray[np.float32]) -> Sound:
        """Return what the decoder attends to of one log-mel `[m, f]`, f even."""
        with self._computing():
            return self._encode(upload(torch.from_numpy(mel)[None], self.model.device), None)

    def encode_windows(self, clips: Sequence[Samples]) -> Sound:
        """Return the same of clips `[nw]` at 16 kHz, padded to Whisper's window of 30 s, as it was trained."""
        rows = power_of_two(len(clips)) if self._window_graphs else len(clips)
        frames = max(n_frames(len(clip)) for clip in clips)
        with self._computing():
            sound = upload(pad_clips(clips, rows, frames), self.model.device)
            waves = functional.pad(sound, (0, (MAX_FRAMES - frames) * HOP_SAMPLES))
            lengths = torch.tensor([len(clip) for clip in clips] + [0] * (rows - len(clips)))
            states = (
                self._window_graphs.run(self._encode_batch, rows, (waves, lengths)) if self._window_graphs else None
            )
            if states is None:
                states = self._encode_batch(waves, upload(lengths, self.model.device))
            return self.model.decoder.project_sound(states[: len(clips)], None)

    def align(self, clips: Sequence[Samples], texts: Sequence[ForcedText]) -> PendingAlignment:
        """Decode each text against its clip, `[nw]` at 16 kHz of at most 30 s, all in one pass."""
        frames = max(n_frames(len(clip)) for clip in clips)
        exact = BatchSize(len(clips), max(2, frames + frames % 2), max(text.n_tokens for text in texts))
        size = (graph_size(exact) if self._graphs else None) or exact
        batch = _pack(clips, texts, size)
        with self._computing():
            aligned = self._graphs.run(self._align_batch, size, batch) if self._graphs and size is not exact else None
            if aligned is None:
                aligned = self._align_batch(*(upload(x, self.model.device) for x in batch))
            return PendingAlignment(texts, PendingDownload.begin(aligned))

    def score(self, clip: Samples, texts: Sequence[ForcedText]) -> PendingProbabilities:
        """Decode several texts against one clip, `[nw]` at 16 kHz of at most 30 s, which is encoded once.

        Attention is not followed: that takes longer than all else.
        """
        frames = n_frames(len(clip))
        exact = BatchSize(len(texts), max(2, frames + frames % 2), max(text.n_tokens for text in texts))
        size = (graph_size(exact, SIZES_OF_ONE_CLIP) if self._text_graphs else None) or exact
        numbers = torch.tensor([[len(clip)], [texts[0].end]])
        batch = pad_clips([clip], 1, size.frames), numbers, _padded_tokens(texts, size)
        with self._computing():
            graphs = self._text_graphs if size is not exact else None
            scored = graphs.run(self._score_batch, size, batch) if graphs else None
            if scored is None:
                scored = self._score_batch(*(upload(x, self.model.device) for x in batch))
            return PendingProbabilities(texts, PendingDownload.begin(scored))

    def align_encoded(self, sound: Sound, text: ForcedText) -> PendingAlignment:
        """Decode a text against sound that is encoded."""
        with self._computing():
            tokens = upload(torch.tensor([[*text.prompt, *text.tokens, text.end]]), self.model.device)
            counts = upload(torch.tensor([[text.n_tokens], [text.steps], [text.end]]), self.model.device)
            return PendingAlignment([text], PendingDownload.begin(self._align(sound, tokens, *counts)))

    def advance(self, search: BeamSearch, n_steps: int) -> None:
        """Take so many steps of a search."""
        with self._computing():
            search.advance(n_steps)

    def search(self, sound: Sound, options: SearchOptions, expected: Sequence[ExpectedTokens] = ()) -> BeamSearch:
        """Return a search for the transcript of each row of the sound; without `expected`, of all of it."""
        expected = expected or [NOTHING_EXPECTED] * len(sound.layers[0][0])
        prefixes = [one.prefix for one in expected]
        with self._computing():
            replayed = self._search_graphs.steps(sound, options, prefixes) if self._search_graphs else None
            steps = replayed or LaunchedSteps(self.model.decoder, sound, options, prefixes)
            return BeamSearch(steps, expected, options)

    def token_probabilities(self, sound: Sound, start: int, choices: Sequence[int]) -> list[float]:
        """Return the probabilities of choices for the token after `start`: of languages, for example."""
        with self._computing():
            states = self.model.decoder(upload(torch.tensor([[start]]), self.model.device), sound)
            logits = self.model.decoder.logits(states[0, -1])
            chosen: list[float] = logits[upload(torch.tensor(choices), self.model.device)].softmax(-1).tolist()
            return chosen

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """Compute on the own stream, without gradients and without cuDNN."""
        with translate_cuda_errors(), torch.cuda.stream(self._stream), torch.inference_mode(), without_cudnn():
            yield

    def _encode_batch(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Return the encoder's states of padded clips, as from `pad_clips`."""
        mel, _ = log_mels(waves, lengths, self.model.arch.mels)
        states: Tensor = self.model.encoder(mel.to(self.model.dtype), None)
        return states

    def _encode(self, mel: Tensor, frames: Tensor | None) -> Sound:
        states = self.model.encoder(mel.to(self.model.dtype), frames)
        return self.model.decoder.project_sound(states, None if frames is None else frames // 2)

    def _align_batch(self, waves: Tensor, numbers: Tensor, tokens: Tensor) -> Tensor:
        """Return what `_align` does of a batch as `_pack` makes it; nothing here waits for the device."""
        lengths, *counts = numbers
        return self._align(self._encode(*log_mels(waves, lengths, self.model.arch.mels)), tokens, *counts)

    def _score_batch(self, waves: Tensor, numbers: Tensor, tokens: Tensor) -> Tensor:
        """Return the probability `[b, t]` of what follows each token of b texts of one clip."""
        length, end = numbers
        sound = self._encode(*log_mels(waves, length, self.model.arch.mels))
        return self._token_probabilities(self.model.decoder(tokens, sound), tokens, end)

    def _align(self, sound: Sound, tokens: Tensor, counts: Tensor, steps: Tensor, ends: Tensor) -> Tensor:
        """Return the attention `[b, t, n]` of each token, and as the last of n + 1 columns its probability.

        Args:
            tokens: `[b, t]` prompt, text and end of each row, and more ends.
            counts, steps: `[b]` tokens and encoder steps of each row.
            ends: `[b]` the token after the text; those below it are text.
        """
        heads = self.decoding.alignment_heads
        queries: list[Tensor] = []
        decoded = self.model.decoder(tokens, sound, queries=queries)
        matrix = attention_matrix(
            torch.stack([queries[layer][:, head] for layer, head in heads], 1),
            torch.stack([sound.layers[layer][0][:, head] for layer, head in heads], 1),
            counts,
            steps,
        )
        return torch.cat([matrix, self._token_probabilities(decoded, tokens, ends)[..., None]], -1)

    def _token_probabilities(self, states: Tensor, tokens: Tensor, ends: Tensor) -> Tensor:
        """Return the probability `[b, t]` of what follows each token, whose state is `[b, t, d]`, among text."""
        following = torch.cat([tokens[:, 1:], tokens[:, -1:]], 1)
        n_columns = max(1, MAX_LOGIT_TOKENS // len(tokens))
        parts = zip(*(torch.split(x, n_columns, 1) for x in (states, following)), strict=True)
        is_text = torch.arange(self.model.arch.vocabulary, device=tokens.device) < ends[:, None, None]
        found = []
        for part, next_tokens in parts:
            logits = self.model.decoder.logits(part).masked_fill(~is_text, -torch.inf)
            chosen = logits.gather(-1, next_tokens[..., None])[..., 0]
            found.append((chosen - logits.logsumexp(-1)).exp())
        return torch.cat(found, 1)


def _pack(clips: Sequence[Samples], texts: Sequence[ForcedText], size: BatchSize) -> tuple[Tensor, Tensor, Tensor]:
    """Return waves, numbers and tokens of a batch, on the host; rows without a text have one token and one step."""
    end = texts[0].end
    numbers = torch.tensor([0, 1, 1, end]).repeat(size.rows, 1)
    for row, (clip, text) in enumerate(zip(clips, texts, strict=True)):
        numbers[row] = torch.tensor([len(clip), text.n_tokens, text.steps, end])
    return pad_clips(clips, size.rows, size.frames), numbers.T.contiguous(), _padded_tokens(texts, size)


def _padded_tokens(texts: Sequence[ForcedText], size: BatchSize) -> Tensor:
    """Return `[b, t]` prompt, text and end of each row, and more ends."""
    tokens = torch.full((size.rows, size.tokens), texts[0].end)
    for row, text in zip(tokens, texts, strict=False):
        row[: text.n_tokens] = torch.tensor([*text.prompt, *text.tokens, text.end])
    return tokens


@dataclass(frozen=True, eq=False)
class PendingAlignment:
    """A batch whose results are still on the device."""

    _texts: Sequence[ForcedText]
    _values: PendingDownload

    def result(self, index: int) -> ForcedAlignment:
        """Wait for the device, and return the alignment of one text of the batch; any thread may call this."""
        text = self._texts[index]
        first = len(text.prompt) - 1  # the token from which the text's first one is predicted
        rows = self._values.wait()[index, first : first + len(text.tokens) + 1]
        return ForcedAlignment(rows[:, : text.steps], rows[:-1, -1])


@dataclass(frozen=True, eq=False)
class PendingProbabilities:
    """The probabilities of the tokens of several texts, which are still on the device."""

    _texts: Sequence[ForcedText]
    _values: PendingDownload

    def result(self) -> list[NDArray[np.float32]]:
        """Wait for the device, and return `[t]` of each text; any thread may call this."""
        first = [len(text.prompt) - 1 for text in self._texts]
        rows = zip(self._values.wait(), self._texts, first, strict=False)
        return [row[at : at + len(text.tokens)] for row, text, at in rows]


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
            model.to(device, torch.float32 if device == "cpu" else torch.float16)
        runner = WhisperRunner(model, decoding)
        runner.align(*_warm_up_batch(model.arch)).result(0)  # the first run of each kernel is slow
        return runner

    runner: WhisperRunner = run_on_device(move_to_device)
    return runner


def _warm_up_batch(arch: WhisperArch) -> tuple[list[Samples], list[ForcedText]]:
    """Return a second of noise with ten tokens."""
    noise = np.random.default_rng(0).normal(0, 0.1, SAMPLE_RATE).astype(np.float32)
    return [noise], [ForcedText((0,), tuple(range(10)), arch.vocabulary - 1, steps=50)]
