"""The search finds what CTranslate2's finds, with and without timestamps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from f5_worker.models.whisper.network import Whisper
from f5_worker.models.whisper.runner import WhisperRunner
from f5_worker.models.whisper.search import DecodedClip, SearchOptions
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


def found(runner: WhisperRunner, seed: int, wanted: SearchOptions) -> DecodedClip:
    search = runner.search(runner.encode(mel_of(runner, seed)), wanted)
    while not search.done:
        runner.advance(search, 7)
    return search.transcripts[0]


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
    search = runner.search(sound, wanted)
    while not search.done:
        runner.advance(search, 50)
    assert [result.tokens for result in search.transcripts] == [found(runner, seed, wanted).tokens for seed in range(3)]


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
