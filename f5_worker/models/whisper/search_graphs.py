"""Steps of a search as replays of CUDA graphs, on buffers that stay in place.

The hundred operations of a step take longer to launch than to compute, and other work of the device waits meanwhile.
Here all that a step needs from the host is one copy: the tokens and scores that were chosen, their positions, and of
each beam the path of its tokens through the cache. The tokens before the search, prompt and prefix, are one pass.
Rules for timestamps are not part of it.

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
from f5_worker.models.whisper.network import FirstTokens, PathCache, Sound, WhisperDecoder
from f5_worker.models.whisper.search import Candidates, SearchOptions
from f5_worker.models.whisper.steps import best_candidates, read_candidates

MAX_CLIPS, MAX_ROWS = 8, 40  # five beams of each clip
MAX_FIRST_TOKENS = 128  # prompt and prefix
CACHE_TOKENS = (64, 256)  # prompt and transcript: about fifteen seconds of English, and the longest
MAX_BUFFER_BYTES = 2**30


class FirstSize(NamedTuple):
    """Clips and beams of each, of the pass before the first step."""

    clips: int
    beams: int


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
        # For the first token of a transcript, and for others.
        self.suppressed = weight.new_zeros(2, decoder.vocabulary, dtype=torch.float32)

    def sound_of(self, n_clips: int) -> Sound:
        """Return the sound of the first clips."""
        return Sound([(key[:n_clips], value[:n_clips]) for key, value in self.sound], None)

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

    def steps(self, sound: Sound, options: SearchOptions, prefixes: Sequence[Sequence[int]]) -> ReplayedSteps | None:
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
            or len(options.prompt) + max(map(len, prefixes)) > MAX_FIRST_TOKENS
            or not self._allocate()
        ):
            return None
        assert self._buffers is not None  # noqa: S101 - allocated
        self._buffers.fill(sound, options)
        steps = ReplayedSteps(self, prefixes, options)
        self._user = weakref.ref(steps)
        return steps

    @property
    def vocabulary(self) -> int:
        """Return the number of tokens of the network."""
        return self._decoder.vocabulary

    def run(self, size: FirstSize | StepSize, packed: Tensor) -> NDArray[np.float32]:
        """Return of each clip what `best_candidates` does; after the first pass the probability of silence too."""
        compute = partial(self._step, size) if isinstance(size, StepSize) else partial(self._begin, size)
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

    def _begin(self, size: FirstSize, packed: Tensor) -> Tensor:
        """Return the result `[b, 4 * k + 1]` of the first pass as `ReplayedSteps` packs it."""
        assert self._buffers is not None  # noqa: S101 - `steps` has seen to it
        n_slots = size.clips * MAX_FIRST_TOKENS
        tokens, slots, last, is_behind_prefix, no_speech = torch.split(
            packed, [n_slots, n_slots, size.clips, size.clips, 1]
        )
        cache = FirstTokens(self._buffers.cache, slots)
        states = self._decoder(tokens.view(size.clips, -1), self._buffers.sound_of(size.clips), cache)
        silence = self._decoder.logits(states[:, 0]).softmax(-1).index_select(1, no_speech)
        logits = self._decoder.logits(states.flatten(0, 1).index_select(0, last))
        logits = logits + self._buffers.suppressed.index_select(0, is_behind_prefix)
        # Only the first beam counts: all are equal.
        scores = logits.new_zeros(size.clips)
        return torch.cat([best_candidates(logits, scores, size.clips, size.beams), silence], 1)

    def _step(self, size: StepSize, packed: Tensor) -> Tensor:
        """Return the result `[b, 4 * k]` of a step as `ReplayedSteps` packs it; a second time it is the same."""
        assert self._buffers is not None  # noqa: S101 - `steps` has seen to it
        n_rows = size.clips * size.beams
        positions, tokens, scores, paths = torch.split(packed, [n_rows, n_rows, n_rows, n_rows * size.tokens])
        cache = PathCache(self._buffers.cache, paths.view(n_rows, size.tokens), positions)
        states = self._decoder(tokens[:, None], self._buffers.sound_of(size.clips), cache)
        logits = self._decoder.logits(states[:, 0]) + self._buffers.suppressed[1]
        return best_candidates(logits, scores.view(torch.float32), size.clips, size.beams)


class ReplayedSteps:
    """`SearchSteps` without timestamps, on the buffers of `SearchGraphs`."""

    def __init__(self, graphs: SearchGraphs, prefixes: Sequence[Sequence[int]], options: SearchOptions) -> None:
        self._graphs, self._options, self._n_clips = graphs, options, len(prefixes)
        self._first = [(*options.prompt, *prefix) for prefix in prefixes]
        self._clips = power_of_two(self._n_clips)
        self._n_rows = self._clips * options.beams
        self._paths = np.zeros((self._n_rows, CACHE_TOKENS[-1]), np.int32)
        self._tokens = np.zeros(self._n_rows, np.int32)
        self._scores = np.zeros(self._n_rows, np.float32)
        self._positions = np.zeros(self._n_rows, np.int32)

    def begin(self) -> tuple[Candidates, Sequence[float]]:
        """Return what may follow prompt and prefix, and the probability of each clip that nothing is spoken."""
        options = self._options
        tokens = np.full((self._clips, MAX_FIRST_TOKENS), options.end, np.int32)
        lengths = np.ones(self._clips, np.int32)
        for clip, first in enumerate(self._first):
            tokens[clip, : len(first)], lengths[clip] = first, len(first)
        first_rows = np.arange(self._clips, dtype=np.int32) * options.beams  # all beams go on from the slots of these
        slots = np.arange(MAX_FIRST_TOKENS, dtype=np.int32) * self._n_rows + first_rows[:, None]
        self._paths[:, :MAX_FIRST_TOKENS] = slots.repeat(options.beams, 0)
        self._positions[:] = lengths.repeat(options.beams)
        last = np.arange(self._clips, dtype=np.int32) * MAX_FIRST_TOKENS + lengths - 1
        is_behind_prefix = (lengths > len(options.prompt)).astype(np.int32)
        numbers = np.array([options.no_speech], np.int32)
        packed = np.concatenate([tokens.ravel(), slots.ravel(), last, is_behind_prefix, numbers])
        values = self._graphs.run(FirstSize(self._clips, options.beams), torch.from_numpy(packed))
        return self._candidates(values[:, :-1]), values[: self._n_clips, -1].tolist()

    def go_on(self, chosen: Candidates, beams: Sequence[Sequence[int]]) -> Candidates:
        """Return what may follow those chosen of each clip."""
        beams_of_clips = [beam for clip in chosen for beam in clip]
        n_rows = len(beams_of_clips)  # the others are of no clip
        scores, origins, tokens = zip(*beams_of_clips, strict=True)
        first_rows = np.arange(n_rows) // self._options.beams * self._options.beams
        self._paths[:n_rows] = self._paths[first_rows + origins]
        self._tokens[:n_rows], self._scores[:n_rows] = tokens, scores
        n_tokens = next(tokens for tokens in CACHE_TOKENS if tokens > self._positions.max())
        rows = np.arange(self._n_rows)
        self._paths[rows, self._positions] = self._positions * self._n_rows + rows
        paths: NDArray[np.int32] = self._paths[:, :n_tokens].ravel()
        packed = np.concatenate([self._positions, self._tokens, self._scores.view(np.int32), paths])
        # A clip that is done stays at the end of the cache while others go on.
        self._positions = np.minimum(self._positions + 1, CACHE_TOKENS[-1] - 1)
        size = StepSize(self._clips, self._options.beams, n_tokens)
        return self._candidates(self._graphs.run(size, torch.from_numpy(packed)))

    def _candidates(self, values: NDArray[np.float32]) -> Candidates:
        return read_candidates(values[: self._n_clips], self._graphs.vocabulary)


def power_of_two(n_clips: int) -> int:
    """Return the clips of the smallest size that has room for so many."""
    return 1 << (n_clips - 1).bit_length()


def _max_clips(decoder: WhisperDecoder) -> int:
    """Return how many clips there are buffers for; those of a large network are bounded."""
    weight = decoder.embedding.weight
    tokens = MAX_FRAMES // 2 + MAX_ROWS // MAX_CLIPS * CACHE_TOKENS[-1]
    bytes_of_clip = len(decoder.layers) * 2 * weight.shape[1] * tokens * weight.element_size()
    return next((n for n in (8, 4, 2, 1) if n * bytes_of_clip <= MAX_BUFFER_BYTES), 0)
