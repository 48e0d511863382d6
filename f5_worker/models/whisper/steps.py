"""Steps of a search, each launched by itself, with Whisper's rules for timestamps.

Legend: b clips, k beams of each, v vocabulary. Rows of the decoder are b * k, the beams of a clip one after another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from f5_worker.models.cuda.upload import upload
from f5_worker.models.whisper.network import Sound, TokenCache, WhisperDecoder
from f5_worker.models.whisper.search import Candidates, SearchOptions, TokenCandidate


def best_candidates(logits: Tensor, scores: Tensor, n_clips: int, beams: int) -> Tensor:
    """Return `[b, 4 * k]` fp32 of `logits [r, v]`: scores, then where they are in the logits of a clip's rows.

    Args:
        logits: of as many rows for each clip, one after another.
        scores: `[r]` total log-probability of each row until now.
    """
    totals = logits.log_softmax(-1) + scores[:, None]
    best, indices = totals.view(n_clips, -1).topk(2 * beams)
    return torch.cat([best, indices.float()], -1)  # exact: they are below 2 ** 24


def read_candidates(values: NDArray[np.float32], vocabulary: int) -> Candidates:
    """Return the candidates of each clip from what `best_candidates` returns."""
    scores, indices = np.split(values, 2, axis=1)
    origins, tokens = np.divmod(indices.astype(np.int64), vocabulary)
    rows = zip(scores.tolist(), origins.tolist(), tokens.tolist(), strict=True)
    return [list(map(TokenCandidate, *row)) for row in rows]


class LaunchedSteps:
    """`SearchSteps` with a cache that grows; rules for timestamps apply where they are asked for."""

    def __init__(
        self, decoder: WhisperDecoder, sound: Sound, options: SearchOptions, prefixes: Sequence[Sequence[int]]
    ) -> None:
        self._prefixes, self._device = prefixes, sound.layers[0][0].device
        self._decoder, self._sound, self._options = decoder, sound, options
        self._cache = TokenCache(decoder, len(prefixes) * options.beams, len(options.prompt) + options.max_tokens)
        no_timestamps = () if options.first_timestamp is None else (options.first_timestamp - 1,)
        self._forbidden, self._forbidden_at_start = (
            upload(torch.tensor(tokens, dtype=torch.int64), self._device)
            for tokens in ([*options.suppress, *no_timestamps], options.suppress_at_start)
        )

    def begin(self) -> tuple[Candidates, Sequence[float]]:
        """Return what may follow prompt and prefix, and the probability of each clip that nothing is spoken."""
        options = self._options
        rows = [(*options.prompt, *prefix) for prefix in self._prefixes for _ in range(options.beams)]
        longest = max(map(len, rows))
        padded = torch.tensor([[*row, *[options.end] * (longest - len(row))] for row in rows])
        states = self._decoder(upload(padded, self._device), self._sound, self._cache)
        lengths = upload(torch.tensor([[len(row)] for row in rows]), self._device)
        if longest > min(map(len, rows)):
            self._cache.cut(lengths)
        first = self._decoder.logits(states[:: options.beams, 0]).softmax(-1)
        no_speech: list[float] = first[:, options.no_speech].tolist()
        last = torch.take_along_dim(states, lengths[..., None] - 1, 1)[:, 0]
        logits = self._decoder.logits(last).index_fill(-1, self._forbidden, -math.inf)
        at_start = logits.index_fill(-1, self._forbidden_at_start, -math.inf)
        logits = torch.where(lengths > len(options.prompt), logits, at_start)
        if options.first_timestamp is not None:
            columns = torch.arange(logits.shape[-1], device=self._device)
            is_allowed = (columns >= options.first_timestamp) & (columns <= options.last_initial_timestamp)
            logits = logits.masked_fill(~is_allowed, -math.inf)
        # Only the first beam counts at first: all are equal.
        return self._best(logits, [0.0, *[-math.inf] * (options.beams - 1)] * len(self._prefixes)), no_speech

    def go_on(self, chosen: Candidates, beams: Sequence[Sequence[int]]) -> Candidates:
        """Return what may follow those chosen of each clip; `beams` are the tokens of each row until then."""
        options = self._options
        rows = [number * options.beams + beam.origin for number, clip in enumerate(chosen) for beam in clip]
        self._cache.reorder(upload(torch.tensor(rows), self._device))
        tokens = upload(torch.tensor([[beam.token] for clip in chosen for beam in clip]), self._device)
        states = self._decoder(tokens, self._sound, self._cache)
        logits = self._decoder.logits(states[:, -1]).index_fill(-1, self._forbidden, -math.inf)
        if options.first_timestamp is not None:
            logits = self._with_timestamps(logits, options.first_timestamp, beams)
        return self._best(logits, [beam.score for clip in chosen for beam in clip])

    def _best(self, logits: Tensor, scores: Sequence[float]) -> Candidates:
        scores_there = upload(torch.tensor(scores), self._device)
        best = best_candidates(logits, scores_there, len(self._prefixes), self._options.beams)
        return read_candidates(best.cpu().numpy(), logits.shape[-1])

    def _with_timestamps(self, logits: Tensor, first: int, beams: Sequence[Sequence[int]]) -> Tensor:
        """Apply the rules for timestamps: they come in pairs, except before the end, and never go back."""
        columns = torch.arange(logits.shape[-1], device=self._device)
        is_timestamp = columns >= first
        rules = [_next_timestamp(beam, first) for beam in beams]
        text_ends, earliest = upload(torch.tensor(rules), self._device).T[..., None]
        is_forbidden = (columns < text_ends * self._options.end) | (is_timestamp & (columns < earliest))
        logits = logits.masked_fill(is_forbidden, -math.inf)
        # Where timestamps together are more probable than each other token, one of them comes next.
        log_probabilities = logits.log_softmax(-1)
        together = log_probabilities[:, first:].logsumexp(-1)
        is_due = together > log_probabilities[:, :first].amax(-1)
        return logits.masked_fill(is_due[:, None] & ~is_timestamp, -math.inf)


def _next_timestamp(tokens: Sequence[int], first: int) -> tuple[bool, int]:
    """Return whether text may not follow the tokens of a beam, and the earliest timestamp that may."""
    if tokens[-1] >= first:
        if len(tokens) < 2 or tokens[-2] >= first:
            return False, 2**31  # after a pair, or the first one of all: text
        return True, tokens[-1]  # the second of a pair may be the same
    last = next((token for token in reversed(tokens) if token >= first), None)
    return False, first if last is None else last + 1  # a segment takes time, or the next might begin where it did
