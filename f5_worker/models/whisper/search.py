"""Beam search for the tokens that are spoken: equal to CTranslate2's search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple, Protocol

from f5_worker.models.whisper.config import MAX_TOKENS

AGREED_TOKENS = 3  # in a row, behind which the best transcript goes on as is expected


@dataclass(frozen=True)
class SearchOptions:
    """The options of a search.

    Attributes:
        prompt: the tokens before the transcript.
        end: `<|endoftext|>`; ids below it are text.
        no_speech: `<|nospeech|>`, whose probability at the prompt's first token tells that there is none.
        suppress: never sampled.
        suppress_at_start: not sampled as the first token; it is none behind a prefix.
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


class ExpectedTokens(NamedTuple):
    """Parts that are expected of the transcript of a clip, so that not all of it is searched.

    Attributes:
        prefix: what it begins with.
        rest: what it may end with: once it says AGREED_TOKENS of them in a row, it is taken to say those behind them.
    """

    prefix: tuple[int, ...] = ()
    rest: tuple[int, ...] = ()

    def behind(self, tokens: Sequence[int]) -> tuple[int, ...] | None:
        """Return what is expected behind tokens that agree with it at their end; None if they do not, or not yet."""
        last = tuple(tokens[len(self.prefix) :][-AGREED_TOKENS:])
        ends = range(AGREED_TOKENS, len(self.rest) + 1)
        found = [end for end in ends if self.rest[end - AGREED_TOKENS : end] == last]
        return self.rest[found[0] :] if len(found) == 1 else None


NOTHING_EXPECTED = ExpectedTokens()


@dataclass(frozen=True)
class DecodedClip:
    """The transcript of a clip.

    Attributes:
        tokens: of the text, and timestamps if they were asked for.
        score: the mean log-probability of its tokens and of its end; what was expected and not searched
            counts as certain.
        no_speech_probability: that nothing is spoken.
    """

    tokens: tuple[int, ...]
    score: float
    no_speech_probability: float


@dataclass(eq=False)
class _Clip:
    """The beams of one clip: their tokens so far, all as many, and the finished ones with their scores."""

    expected: ExpectedTokens
    beams: list[list[int]]
    finished: list[tuple[float, tuple[int, ...]]] = field(default_factory=list)
    done: bool = False


class TokenCandidate(NamedTuple):
    """A token that may come next: the total log-probability with it, the beam of its clip that it follows, its id."""

    score: float
    origin: int
    token: int


Candidates = Sequence[Sequence[TokenCandidate]]
"""Twice as many as go on of each clip, the most probable first: half of them may be ends."""


class SearchSteps(Protocol):
    """The passes of a search through the decoder."""

    def begin(self) -> tuple[Candidates, Sequence[float]]:
        """Return what may follow prompt and prefix, and the probability of each clip that nothing is spoken."""
        ...

    def go_on(self, chosen: Candidates, beams: Sequence[Sequence[int]]) -> Candidates:
        """Return what may follow those chosen of each clip; `beams` are the tokens of each row until then."""
        ...


class BeamSearch:
    """A search that goes on step by step, so that it takes its turns with other work of the device.

    Args:
        expected: of each clip; the prefixes are in `steps`, shorter than a transcript may be.
    """

    def __init__(self, steps: SearchSteps, expected: Sequence[ExpectedTokens], options: SearchOptions) -> None:
        self._steps: SearchSteps | None = steps  # until the search is done: others may wait for their buffers
        self._options = options
        self._clips = [_Clip(one, [list(one.prefix)] * options.beams) for one in expected]
        self._chosen: Candidates = ()
        self._no_speech: Sequence[float] | None = None

    @property
    def done(self) -> bool:
        """Return whether all clips have their transcript."""
        return self._steps is None

    @property
    def transcripts(self) -> list[DecodedClip]:
        """Return the best one of each clip, once the search is done."""
        best = [max(clip.finished, key=itemgetter(0)) for clip in self._clips]
        pairs = zip(best, self._no_speech or (), strict=True)
        return [DecodedClip(tokens, score, no_speech) for (score, tokens), no_speech in pairs]

    def advance(self, n_steps: int) -> None:
        """Take up to so many steps, one token each."""
        for _ in range(n_steps):
            if self._steps is None:
                return
            self._step(self._steps)

    def _step(self, steps: SearchSteps) -> None:
        if self._no_speech is None:
            candidates, self._no_speech = steps.begin()
        else:
            candidates = steps.go_on(self._chosen, [beam for clip in self._clips for beam in clip.beams])
        self._chosen = [self._choose(*pair) for pair in zip(self._clips, candidates, strict=True)]
        if all(clip.done for clip in self._clips):
            self._steps = None

    def _choose(self, clip: _Clip, candidates: Sequence[TokenCandidate]) -> Sequence[TokenCandidate]:
        """Return which of a clip's candidates go on; store those that end."""
        options, beams = self._options, self._options.beams
        if clip.done:
            return list(candidates[:beams])
        is_last = len(clip.beams[0]) + 1 == options.max_tokens
        others = (candidate for candidate in candidates[beams:] if candidate.token != options.end)
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
        rest = clip.expected.behind(clip.beams[0])
        if rest is not None:
            tokens = [*clip.beams[0], *rest]
            clip.finished.append((chosen[0].score / len(tokens), tuple(tokens)))
            clip.done = True
        return chosen
