"""The search finds what CTranslate2's finds, with and without timestamps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from f5_worker.models.whisper.network import Whisper
from f5_worker.models.whisper.runner import WhisperRunner
from f5_worker.models.whisper.search import (
    AGREED_TOKENS,
    NOTHING_EXPECTED,
    BeamSearch,
    Candidates,
    DecodedClip,
    ExpectedTokens,
    SearchOptions,
    TokenCandidate,
)
from f5_worker.models.whisper.steps import LaunchedSteps
from tests.models.whisper.small import (
    END,
    NO_TIMESTAMPS,
    SPECIAL_IDS,
    START,
    SUPPRESS,
    SUPPRESS_AT_START,
    clip,
    small_runner,
    small_whisper,
    write_ctranslate2,
)

FIRST = NO_TIMESTAMPS + 1


def mel_of(runner: WhisperRunner, seed: int) -> np.ndarray[Any, Any]:
    return runner.log_mel(clip(1.2, seed))[:, :120]


def options(beams: int, *, timestamps: bool, max_length: int = 40) -> SearchOptions:
    return SearchOptions(
        prompt=(START,) if timestamps else (START, NO_TIMESTAMPS),
        beams=beams,
        end=END,
        no_speech=SPECIAL_IDS["nospeech"],
        suppress=SUPPRESS,
        suppress_at_start=SUPPRESS_AT_START,
        first_timestamp=FIRST if timestamps else None,
        last_initial_timestamp=FIRST + 50,
        max_length=max_length,
    )


def found(runner: WhisperRunner, seed: int, wanted: SearchOptions, prefix: tuple[int, ...] = ()) -> DecodedClip:
    return finished(runner, runner.search(runner.encode(mel_of(runner, seed)), wanted, [ExpectedTokens(prefix)]))[0]


def finished(runner: WhisperRunner, search: BeamSearch) -> list[DecodedClip]:
    while not search.done:
        runner.advance(search, 7)
    return search.transcripts


class ForcedSteps(LaunchedSteps):
    """Steps from the first token on, of which those of each clip's prefix are the only ones that may follow."""

    def __init__(self, runner: WhisperRunner, sound: Any, wanted: SearchOptions, prefixes: Sequence[Sequence[int]]):
        super().__init__(runner.model.decoder, sound, wanted, [()] * len(prefixes))
        self.forced, self.beams, self.n_steps = prefixes, wanted.beams, 0

    def _best(self, logits: torch.Tensor, scores: Sequence[float]) -> Candidates:
        self.n_steps += 1
        pairs = zip(super()._best(logits, scores), self.forced, strict=True)
        return [self.only(prefix) if len(prefix) >= self.n_steps else best for best, prefix in pairs]

    def only(self, prefix: Sequence[int]) -> Sequence[TokenCandidate]:
        token = TokenCandidate(0.0, 0, prefix[self.n_steps - 1])
        return [token, *[token._replace(score=-math.inf)] * (2 * self.beams - 1)]


@pytest.fixture(scope="module", params=[0, 1])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[WhisperRunner, Any]:
    import ctranslate2

    directory = write_ctranslate2(tmp_path_factory.mktemp("ct2") / "whisper", small_whisper(request.param), None)
    reference = ctranslate2.models.Whisper(str(directory), device="cpu", compute_type="float32", intra_threads=1)
    return small_runner(request.param), reference


@pytest.mark.parametrize("timestamps", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_equal_to_ctranslate2s(pair: tuple[WhisperRunner, Any], seed: int, timestamps: bool) -> None:
    import ctranslate2

    runner, reference = pair
    wanted = options(5, timestamps=timestamps)
    ours = found(runner, seed, wanted)
    features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel_of(runner, seed)[None]))
    (theirs,) = reference.generate(
        features, [list(wanted.prompt)], beam_size=5, max_length=40, return_scores=True, return_no_speech_prob=True,
        suppress_blank=True, suppress_tokens=list(SUPPRESS), max_initial_timestamp_index=50,
    )  # fmt: skip
    assert list(ours.tokens) == theirs.sequences_ids[0]
    assert ours.score == pytest.approx(theirs.scores[0], abs=1e-4)
    assert ours.no_speech_probability == pytest.approx(theirs.no_speech_prob, abs=1e-5)


@pytest.mark.parametrize("prefix", [(40,), (11, 120, 5, 63)])
def test_behind_a_prefix_it_is_equal_to_ctranslate2s(pair: tuple[WhisperRunner, Any], prefix: tuple[int, ...]) -> None:
    import ctranslate2

    runner, reference = pair
    wanted = options(5, timestamps=False)
    for seed in range(3):
        ours = found(runner, seed, wanted, prefix)
        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel_of(runner, seed)[None]))
        (theirs,) = reference.generate(
            features, [[*wanted.prompt, *prefix]], beam_size=5, max_length=40, return_scores=True,
            suppress_blank=False, suppress_tokens=list(SUPPRESS),
        )  # fmt: skip
        assert list(ours.tokens) == theirs.sequences_ids[0]
        assert ours.tokens[: len(prefix)] == prefix
        assert ours.score == pytest.approx(theirs.scores[0], abs=1e-4)


PREFIXES = ((), (40, 7, 9), (11,), (11, 120, 5, 63, 90, 8, 150))


@pytest.mark.parametrize("beams", [1, 5])
@pytest.mark.parametrize("prefixes", [PREFIXES, PREFIXES[1:2] * 4, [prefix[:3] for prefix in PREFIXES[:3]]])
def test_behind_prefixes_it_is_a_search_whose_first_tokens_are_forced(
    beams: int, prefixes: Sequence[tuple[int, ...]]
) -> None:
    runner, wanted = small_runner(), options(beams, timestamps=False)
    wanted = replace(wanted, suppress_at_start=())  # no first token is forced by it in either
    with torch.inference_mode():
        mels = np.stack([mel_of(runner, seed) for seed in range(len(prefixes))])
        states = runner.model.encoder(torch.from_numpy(mels), torch.tensor([120] * len(prefixes)))
        sound = runner.model.decoder.project_sound(states, None)
    forced = BeamSearch(ForcedSteps(runner, sound, wanted, prefixes), [NOTHING_EXPECTED] * len(prefixes), wanted)
    behind = runner.search(sound, wanted, list(map(ExpectedTokens, prefixes)))
    expected, ours = (finished(runner, search) for search in (forced, behind))
    assert [one.tokens for one in ours] == [one.tokens for one in expected]
    assert [one.tokens[: len(prefix)] for one, prefix in zip(ours, prefixes, strict=True)] == list(prefixes)
    assert [one.score for one in ours] == pytest.approx([one.score for one in expected], abs=1e-4)
    silence = [one.no_speech_probability for one in expected]
    assert [one.no_speech_probability for one in ours] == pytest.approx(silence, abs=1e-5)


def test_what_a_transcript_may_not_begin_with_may_follow_a_prefix() -> None:
    runner, wanted = small_runner(), options(5, timestamps=False)
    all_but_one = replace(wanted, suppress_at_start=tuple(set(range(runner.model.arch.vocabulary)) - {9}))
    assert found(runner, 0, all_but_one).tokens[0] == 9
    assert found(runner, 0, all_but_one, (40,)) == found(runner, 0, wanted, (40,))
    assert found(runner, 0, wanted, (40,)).tokens[1] != 9


class TestRest:
    """The search is over where its tokens agree with those that are expected behind the stretch in doubt."""

    OPTIONS = options(5, timestamps=False, max_length=60)
    PREFIX = (40, 7, 9)

    def searched(self, rest: tuple[int, ...]) -> tuple[DecodedClip, int]:
        """Return the transcript, and how many steps it took."""
        runner = small_runner()
        search = runner.search(runner.encode(mel_of(runner, 0)), self.OPTIONS, [ExpectedTokens(self.PREFIX, rest)])
        n_steps = 0
        while not search.done:
            runner.advance(search, 1)
            n_steps += 1
        return search.transcripts[0], n_steps

    @pytest.fixture
    def best(self) -> list[tuple[int, ...]]:
        """The best beam after each step of a search of which no rest is expected."""
        runner, beams = small_runner(), []
        sound = runner.encode(mel_of(runner, 0))
        search = runner.search(sound, self.OPTIONS, [ExpectedTokens(self.PREFIX)])
        while not search.done:
            runner.advance(search, 1)
            beams.append(tuple(search._clips[0].beams[0]))
        return beams

    def test_it_is_taken_for_what_is_spoken(self, best: list[tuple[int, ...]]) -> None:
        n_steps = AGREED_TOKENS + 2
        agreed = best[n_steps - 1][-AGREED_TOKENS:]
        assert not any(beam[len(self.PREFIX) :][-AGREED_TOKENS:] == agreed for beam in best[: n_steps - 1])
        ours, taken = self.searched((1, 2, *agreed, 150, 151))
        assert taken == n_steps
        assert ours.tokens == (*best[n_steps - 1], 150, 151)
        assert self.searched(agreed)[0].tokens == best[n_steps - 1]

    def test_of_what_is_said_twice_in_it_the_search_goes_on(self, best: list[tuple[int, ...]]) -> None:
        agreed = best[AGREED_TOKENS + 1][-AGREED_TOKENS:]
        assert self.searched((*agreed, 150, *agreed, 151)) == self.searched(())

    @pytest.mark.parametrize("rest", [(1, 2), (1, 2, 3, 4)])
    def test_what_does_not_agree_changes_nothing(self, rest: tuple[int, ...]) -> None:
        assert self.searched(rest) == self.searched(())

    def test_the_prefix_agrees_with_nothing(self) -> None:
        assert ExpectedTokens((1, 2, 3), (1, 2, 3, 4)).behind((1, 2, 3)) is None
        assert ExpectedTokens((1, 2, 3), (3, 5, 6, 4)).behind((1, 2, 3, 5, 6)) is None
        assert ExpectedTokens((1, 2), (3, 5, 6, 4)).behind((1, 2, 3, 5, 6)) == (4,)


def test_the_rules_for_timestamps_hold_for_each_transcript() -> None:
    for seed in range(4):
        tokens = found(small_runner(seed), seed, options(3, timestamps=True)).tokens
        stamps = [token for token in tokens if token >= FIRST]
        assert stamps == sorted(stamps)
        assert FIRST <= tokens[0] <= FIRST + 50
        assert not set(tokens) & {*SUPPRESS, NO_TIMESTAMPS}


def test_several_clips_at_once_have_the_transcripts_of_each_alone() -> None:
    runner = small_runner()
    wanted = options(2, timestamps=False)
    mels = [mel_of(runner, seed) for seed in range(3)]
    with torch.inference_mode():
        states = runner.model.encoder(torch.from_numpy(np.stack(mels)), torch.tensor([120] * 3))
        sound = runner.model.decoder.project_sound(states, None)
    results = finished(runner, runner.search(sound, wanted))
    assert [result.tokens for result in results] == [found(runner, seed, wanted).tokens for seed in range(3)]


def test_a_transcript_that_does_not_end_is_cut() -> None:
    runner = endless(small_whisper())
    result = found(runner, 0, options(2, timestamps=False))
    assert len(result.tokens) == 20
    assert math.isfinite(result.score)
    assert options(1, timestamps=True, max_length=448).max_tokens == 224


def endless(model: Whisper) -> WhisperRunner:
    """Return a runner of a network that never says that a transcript is over."""
    runner = small_runner()

    class Endless(type(model.decoder)):  # type: ignore[misc]
        def logits(self, states: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = super().logits(states)
            return logits.index_fill(-1, torch.tensor([END]), -100.0)

    copy = Whisper(model.arch)
    copy.load_state_dict(model.state_dict())
    copy.decoder.__class__ = Endless
    return WhisperRunner(copy.eval().requires_grad_(False), runner.decoding)
