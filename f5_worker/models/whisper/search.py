"""Beam search for the tokens that are spoken, by Whisper's rules for timestamps: equal to CTranslate2's search.

Legend: b clips, k beams of each, v vocabulary. Rows of the decoder are b * k, the beams of a clip one after another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import torch
from torch import Tensor

from f5_worker.models.cuda.upload import upload
from f5_worker.models.whisper.config import MAX_TOKENS
from f5_worker.models.whisper.network import Sound, TokenCache, WhisperDecoder


@dataclass(frozen=True)
class SearchOptions:
    """The options of a search.

    Attributes:
        prompt: the tokens before the transcript.
        end: `<|endoftext|>`; ids below it are text.
        no_speech: `<|nospeech|>`, whose probability at the prompt's first token tells that there is none.
        suppress: never sampled.
        suppress_at_start: not sampled as the first token.
        first_timestamp: the id of `<|0.00|>`; None for a transcript without timestamps.
        last_initial_timestamp: the latest that a transcript may begin with.
        max_length: of prompt and transcript together, which may have half of it.
    """

    prompt: tuple[int, ...]
    beams: int
    end: int
    no_speech: int
    suppress: tuple[int, ...] = ()
    suppress_at_start: tuple[int, ...] = ()
    first_timestamp: int | None = None
    last_initial_timestamp: int = 0
    max_length: int = MAX_TOKENS

    @property
    def max_tokens(self) -> int:
        """Return the length of the longest transcript."""
        return min(self.max_length // 2, self.max_length - len(self.prompt) + 1)


@dataclass(frozen=True)
class DecodedClip:
    """The transcript of a clip.

    Attributes:
        tokens: of the text, and timestamps if they were asked for.
        score: the mean log-probability of its tokens and of its end.
        no_speech_probability: that nothing is spoken.
    """

    tokens: tuple[int, ...]
    score: float
    no_speech_probability: float


@dataclass(eq=False)
class _Clip:
    """The beams of one clip: their tokens so far, and the finished ones with their scores."""

    beams: list[list[int]]
    finished: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)
    done: bool = False


class BeamSearch:
    """A search that goes on step by step, so that it takes its turns with other work of the device.

    Attributes:
        done: all clips have their transcript.
    """

    def __init__(self, decoder: WhisperDecoder, sound: Sound, options: SearchOptions) -> None:
        n_clips, self._device = len(sound.layers[0][0]), sound.layers[0][0].device
        self._decoder, self._options = decoder, options
        self._sound = sound
        self._cache = TokenCache(decoder, n_clips * options.beams, len(options.prompt) + options.max_tokens)
        self._clips = [_Clip([[] for _ in range(options.beams)]) for _ in range(n_clips)]
        # Only the first beam counts at first: all are equal.
        self._scores = upload(torch.tensor([0.0, *[-math.inf] * (options.beams - 1)] * n_clips), self._device)
        self._tokens = upload(torch.tensor([options.prompt] * (n_clips * options.beams)), self._device)
        no_timestamps = () if options.first_timestamp is None else (options.first_timestamp - 1,)
        self._forbidden, self._forbidden_at_start = (
            upload(torch.tensor(tokens, dtype=torch.int64), self._device)
            for tokens in ([*options.suppress, *no_timestamps], options.suppress_at_start)
        )
        self._n_steps = 0
        self.done = False
        self._no_speech: list[float] = []

    @property
    def transcripts(self) -> list[DecodedClip]:
        """Return the best one of each clip, once the search is done."""
        best = [max(clip.finished, key=itemgetter(0)) for clip in self._clips]
        pairs = zip(best, self._no_speech, strict=True)
        return [DecodedClip(tokens, score, no_speech) for (score, tokens), no_speech in pairs]

    def advance(self, n_steps: int) -> None:
        """Take up to so many steps, one token each."""
        for _ in range(n_steps):
            if self.done:
                return
            self._step()

    def _step(self) -> None:
        states = self._decoder(self._tokens, self._sound, self._cache)
        beams = self._options.beams
        if not self._n_steps:
            first = self._decoder.logits(states[::beams, 0]).softmax(-1)
            self._no_speech = first[:, self._options.no_speech].tolist()
        log_probabilities = self._masked(self._decoder.logits(states[:, -1])).log_softmax(-1)
        totals = (log_probabilities + self._scores[:, None]).view(len(self._clips), -1)
        # Twice as many as go on: half of them may be ends.
        scores, indices = totals.topk(2 * beams, dim=-1)
        vocabulary = log_probabilities.shape[-1]
        candidates = [
            [(score, index // vocabulary, index % vocabulary) for score, index in zip(*row, strict=True)]
            for row in zip(scores.tolist(), indices.tolist(), strict=True)
        ]
        self._n_steps += 1
        chosen = [self._choose(*pair) for pair in zip(self._clips, candidates, strict=True)]
        self.done = all(clip.done for clip in self._clips)
        if not self.done:
            rows = [number * beams + origin for number, beam in enumerate(chosen) for _, origin, _ in beam]
            self._cache.reorder(upload(torch.tensor(rows), self._device))
            self._scores = upload(torch.tensor([score for beam in chosen for score, _, _ in beam]), self._device)
            self._tokens = upload(torch.tensor([[token] for beam in chosen for _, _, token in beam]), self._device)

    def _choose(self, clip: _Clip, candidates: Sequence[tuple[float, int, int]]) -> list[tuple[float, int, int]]:
        """Return which of a clip's candidates `(score, beam, token)` go on; store those that end."""
        options, beams = self._options, self._options.beams
        if clip.done:
            return list(candidates[:beams])
        is_last = self._n_steps == options.max_tokens
        others = (candidate for candidate in candidates[beams:] if candidate[2] != options.end)
        chosen = []
        for candidate in candidates[:beams]:
            score, origin, token = candidate
            if token == options.end or is_last:
                tokens = clip.beams[origin] + ([] if token == options.end else [token])
                clip.finished.append((score / len(tokens) if tokens else -math.inf, tuple(tokens)))
                candidate = next(others, candidate)
            chosen.append(candidate)
        clip.done = is_last or len(clip.finished) >= beams
        clip.beams = [[*clip.beams[origin], token] for _, origin, token in chosen]
        return chosen

    def _masked(self, logits: Tensor) -> Tensor:
        """Return logits `[b * k, v]` without the tokens that may not come next."""
        options = self._options
        logits = logits.index_fill(-1, self._forbidden, -math.inf)
        if not self._n_steps:
            logits = logits.index_fill(-1, self._forbidden_at_start, -math.inf)
        return logits if options.first_timestamp is None else self._with_timestamps(logits, options.first_timestamp)

    def _with_timestamps(self, logits: Tensor, first: int) -> Tensor:
        """Apply the rules for timestamps: they come in pairs, except before the end, and never go back."""
        columns = torch.arange(logits.shape[-1], device=self._device)
        is_timestamp = columns >= first
        if not self._n_steps:
            return logits.masked_fill(~is_timestamp | (columns > self._options.last_initial_timestamp), -math.inf)
        rules = [_next_timestamp(beam, first) for clip in self._clips for beam in clip.beams]
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
