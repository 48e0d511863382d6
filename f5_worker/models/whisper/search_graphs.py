"""Steps of a search as replays of CUDA graphs, on buffers that stay in place.

The hundred operations of a step take longer to launch than to compute, and other work of the device waits meanwhile.
Here all that a step needs from the host is one copy: the tokens and scores that were chosen, the position, and of each
beam the path of its tokens through the cache. Rules for timestamps are not part of it.

Legend: b clips, k beams of each, v vocabulary.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f5_worker.models.cuda.errors import translate_cuda_error
from f5_worker.models.cuda.graphs import PassGraphs
from f5_worker.models.cuda.memory import require_room
from f5_worker.models.cuda.upload import upload
from f5_worker.models.whisper.config import MAX_FRAMES
from f5_worker.models.whisper.network import PathCache, Sound, WhisperDecoder
from f5_worker.models.whisper.search import Candidates, SearchOptions
from f5_worker.models.whisper.steps import best_candidates, read_candidates

MAX_CLIPS, MAX_ROWS = 8, 40  # five beams of each clip
CACHE_TOKENS = (64, 256)  # prompt and transcript: about fifteen seconds of English, and the longest
MAX_BUFFER_BYTES = 2**30
N_NUMBERS = 3  # position, whether it is behind the first token, and the token of silence


class StepSize(NamedTuple):
    """Clips, beams of each, and tokens of the cache."""

    clips: int
    beams: int
    tokens: int


class _Buffers:
    """Device memory of a search: keys and values of the sound and of the tokens, and the suppressed tokens.

    It is zero at first: what is masked counts for nothing only if it is a number.
    """

    def __init__(self, decoder: WhisperDecoder, max_clips: int) -> None:
        weight = decoder.embedding.weight
        width = weight.shape[1]
        sound = (2, max_clips, decoder.heads, MAX_FRAMES // 2, width // decoder.heads)
        slots = MAX_ROWS // MAX_CLIPS * max_clips * CACHE_TOKENS[-1]
        self.sound = [weight.new_zeros(sound) for _ in decoder.layers]
        self.cache = [weight.new_zeros(slots, 2 * width) for _ in decoder.layers]
        # For the first token, and for others.
        self.suppressed = weight.new_zeros(2, decoder.vocabulary, dtype=torch.float32)

    def fill(self, sound: Sound, options: SearchOptions) -> None:
        """Take over the sound and the options of a search."""
        for buffer, layer in zip(self.sound, sound.layers, strict=True):
            for static, x in zip(buffer, layer, strict=True):
                static[: len(x)].copy_(x)
        always, at_start = (
            upload(torch.tensor(tokens, dtype=torch.int64), self.suppressed.device)
            for tokens in (options.suppress, options.suppress_at_start)
        )
        self.suppressed.zero_().index_fill_(1, always, -math.inf)
        self.suppressed[0].index_fill_(0, at_start, -math.inf)


class SearchGraphs:
    """The buffers of one search at a time, and the graphs of its steps, by size."""

    def __init__(self, decoder: WhisperDecoder, graphs: PassGraphs) -> None:
        self._decoder, self._graphs = decoder, graphs
        self._max_clips = _max_clips(decoder)
        self._buffers: _Buffers | None = None
        self._user: weakref.ref[ReplayedSteps] | None = None

    def steps(self, sound: Sound, options: SearchOptions) -> ReplayedSteps | None:
        """Return the steps of a search; None if it does not fit, or another search has the buffers."""
        n_clips, _, n_steps, _ = sound.layers[0][0].shape
        n_rows = power_of_two(n_clips) * options.beams
        is_free = self._user is None or self._user() is None
        if (
            not is_free
            or options.first_timestamp is not None
            or sound.mask is not None
            or n_steps != MAX_FRAMES // 2
            or power_of_two(n_clips) > self._max_clips
            or n_rows > MAX_ROWS // MAX_CLIPS * self._max_clips
            or len(options.prompt) + options.max_tokens > CACHE_TOKENS[-1]
            or not self._allocate()
        ):
            return None
        assert self._buffers is not None  # noqa: S101 - allocated
        self._buffers.fill(sound, options)
        steps = ReplayedSteps(self, n_clips, options)
        self._user = weakref.ref(steps)
        return steps

    @property
    def vocabulary(self) -> int:
        """Return the number of tokens of the network."""
        return self._decoder.vocabulary

    def run(self, size: StepSize, packed: Tensor) -> NDArray[np.float32]:
        """Take a step; return of each clip what `best_candidates` does, and the probability of silence."""
        compute = partial(self._step, size)
        result = self._graphs.run(compute, size, [packed])
        if result is None:
            result = compute(upload(packed, self._decoder.embedding.weight.device))
        values: NDArray[np.float32] = result.cpu().numpy()
        return values

    def _allocate(self) -> bool:
        if self._buffers is None and self._max_clips:
            try:
                require_room()
                self._buffers = _Buffers(self._decoder, self._max_clips)
            except torch.cuda.OutOfMemoryError as error:  # a search without them takes less, and not for good
                self._max_clips = 0
                translate_cuda_error(error)  # frees what the attempt took
        return self._buffers is not None

    def _step(self, size: StepSize, packed: Tensor) -> Tensor:
        """Return the result `[b, 4 * k + 1]` of a step as `ReplayedSteps` packs it; a second time it is the same."""
        assert self._buffers is not None  # noqa: S101 - `steps` has seen to it
        n_rows = size.clips * size.beams
        numbers, tokens, scores, paths = torch.split(packed, [N_NUMBERS, n_rows, n_rows, n_rows * size.tokens])
        position, is_behind_first, no_speech = torch.split(numbers, 1)
        cache = PathCache(self._buffers.cache, paths.view(n_rows, size.tokens), position)
        sound = Sound([(key[: size.clips], value[: size.clips]) for key, value in self._buffers.sound], None)
        logits = self._decoder.logits(self._decoder(tokens[:, None], sound, cache)[:, 0])
        silence = logits[:: size.beams].softmax(-1).index_select(1, no_speech)
        logits = logits + self._buffers.suppressed.index_select(0, is_behind_first)
        return torch.cat([best_candidates(logits, scores.view(torch.float32), size.beams), silence], 1)


class ReplayedSteps:
    """`SearchSteps` without timestamps, on the buffers of `SearchGraphs`."""

    def __init__(self, graphs: SearchGraphs, n_clips: int, options: SearchOptions) -> None:
        self._graphs, self._n_clips, self._options = graphs, n_clips, options
        self._clips = power_of_two(n_clips)
        self._n_rows = self._clips * options.beams
        self._paths = np.zeros((self._n_rows, CACHE_TOKENS[-1]), np.int32)
        self._tokens = np.zeros(self._n_rows, np.int32)
        self._scores = np.zeros(self._n_rows, np.float32)
        self._position = 0

    def begin(self) -> tuple[Candidates, Sequence[float]]:
        """Return what may follow the prompt, and the probability of each clip that nothing is spoken."""
        self._scores.reshape(self._clips, -1)[:, 1:] = -math.inf  # only the first beam counts: all are equal
        no_speech: list[float] = []
        for token in self._options.prompt:
            self._tokens[:] = token
            values = self._run(is_behind_first=False)
            no_speech = no_speech or values[: self._n_clips, -1].tolist()
        return self._candidates(values), no_speech

    def go_on(self, chosen: Candidates, beams: Sequence[Sequence[int]]) -> Candidates:
        """Return what may follow those chosen of each clip."""
        beams_of_clips = [beam for clip in chosen for beam in clip]
        n_rows = len(beams_of_clips)  # the others are of no clip
        scores, origins, tokens = zip(*beams_of_clips, strict=True)
        first_rows = np.arange(n_rows) // self._options.beams * self._options.beams
        self._paths[:n_rows] = self._paths[first_rows + origins]
        self._tokens[:n_rows], self._scores[:n_rows] = tokens, scores
        return self._candidates(self._run(is_behind_first=True))

    def _run(self, *, is_behind_first: bool) -> NDArray[np.float32]:
        size = StepSize(
            self._clips, self._options.beams, next(tokens for tokens in CACHE_TOKENS if tokens > self._position)
        )
        self._paths[:, self._position] = self._position * self._n_rows + np.arange(self._n_rows)
        numbers = np.array([self._position, is_behind_first, self._options.no_speech], np.int32)
        paths: NDArray[np.int32] = self._paths[:, : size.tokens].ravel()
        packed = np.concatenate([numbers, self._tokens, self._scores.view(np.int32), paths])
        self._position += 1
        return self._graphs.run(size, torch.from_numpy(packed))

    def _candidates(self, values: NDArray[np.float32]) -> Candidates:
        return read_candidates(values[: self._n_clips, :-1], self._graphs.vocabulary)


def power_of_two(n_clips: int) -> int:
    """Return the clips of the smallest size that has room for so many."""
    return 1 << (n_clips - 1).bit_length()


def _max_clips(decoder: WhisperDecoder) -> int:
    """Return how many clips there are buffers for; those of a large network are bounded."""
    weight = decoder.embedding.weight
    tokens = MAX_FRAMES // 2 + MAX_ROWS // MAX_CLIPS * CACHE_TOKENS[-1]
    bytes_of_clip = len(decoder.layers) * 2 * weight.shape[1] * tokens * weight.element_size()
    return next((n for n in (8, 4, 2, 1) if n * bytes_of_clip <= MAX_BUFFER_BYTES), 0)
