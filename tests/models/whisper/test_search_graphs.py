"""Steps on buffers that stay in place find what steps with a growing cache find."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from f5_worker.models.whisper import runner, search_graphs
from f5_worker.models.whisper.network import Whisper
from f5_worker.models.whisper.runner import WhisperRunner
from f5_worker.models.whisper.search import BeamSearch, DecodedClip, ExpectedTokens, SearchOptions
from f5_worker.models.whisper.search_graphs import ReplayedSteps
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
    stand_in_capture,
)

OPTIONS = SearchOptions(
    (START, SPECIAL_IDS["en"], NO_TIMESTAMPS), 5, END, SPECIAL_IDS["nospeech"], SUPPRESS, SUPPRESS_AT_START,
    max_length=40,
)  # fmt: skip
LONG = replace(OPTIONS, suppress=(*SUPPRESS, END), max_length=140)  # never ends, and outgrows the smaller cache
PREFIXES = [ExpectedTokens(), ExpectedTokens((40, 7, 9)), ExpectedTokens((11, 120, 5, 63, 90, 8, 150, 19, 33, 71))]
CLIPS = [clip(seconds, seed) for seed, seconds in enumerate((1.2, 0.4, 2.0))]


def graphed(captures: list[int] | None = None) -> WhisperRunner:
    whisper = small_runner()
    whisper.use_graphs(stand_in_capture([] if captures is None else captures))
    return whisper


def search(whisper: WhisperRunner, options: SearchOptions, n_clips: int = 3, prefixes: Any = ()) -> BeamSearch:
    return whisper.search(whisper.encode_windows(CLIPS[:n_clips]), options, prefixes)


def finish(whisper: WhisperRunner, begun: BeamSearch) -> list[DecodedClip]:
    while not begun.done:
        whisper.advance(begun, 50)
    return begun.transcripts


def assert_equal(found: Sequence[DecodedClip], expected: Sequence[DecodedClip], tolerance: float = 1e-4) -> None:
    assert [one.tokens for one in found] == [one.tokens for one in expected]
    assert [one.score for one in found] == pytest.approx([one.score for one in expected], abs=tolerance)
    silence = [one.no_speech_probability for one in expected]
    assert [one.no_speech_probability for one in found] == pytest.approx(silence, rel=10 * tolerance)


@pytest.fixture(autouse=True)
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (runner, search_graphs):
        monkeypatch.setattr(module, "MAX_FRAMES", 200)


@pytest.fixture
def expected() -> Callable[[SearchOptions, int], list[DecodedClip]]:
    whisper = small_runner()
    return lambda options, *others: finish(whisper, search(whisper, options, *others))


@pytest.mark.parametrize("n_clips", [1, 3])
@pytest.mark.parametrize("options", [OPTIONS, LONG, replace(OPTIONS, beams=1)])
def test_equal_to_steps_that_are_launched(expected: Any, options: SearchOptions, n_clips: int) -> None:
    whisper = graphed()
    begun = search(whisper, options, n_clips)
    assert isinstance(begun._steps, ReplayedSteps)
    assert_equal(finish(whisper, begun), expected(options, n_clips))


@pytest.mark.parametrize("options", [OPTIONS, LONG, replace(OPTIONS, beams=1)])
@pytest.mark.parametrize("prefixes", [PREFIXES, PREFIXES[1:], [PREFIXES[2]]])
def test_behind_prefixes_equal_to_steps_that_are_launched(expected: Any, options: SearchOptions, prefixes: Any) -> None:
    whisper = graphed()
    begun = search(whisper, options, len(prefixes), prefixes)
    assert isinstance(begun._steps, ReplayedSteps)
    found = finish(whisper, begun)
    assert_equal(found, expected(options, len(prefixes), prefixes))
    assert [one.tokens[: len(known.prefix)] for one, known in zip(found, prefixes, strict=True)] == [
        known.prefix for known in prefixes
    ]


def test_a_clip_whose_transcript_is_done_stays_at_the_end_of_the_cache(
    expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_tokens = len(OPTIONS.prompt) + OPTIONS.max_tokens  # of the last clip after ten steps, of the first after twenty
    monkeypatch.setattr(search_graphs, "CACHE_TOKENS", (n_tokens,))
    monkeypatch.setattr(search_graphs, "MAX_FIRST_TOKENS", n_tokens)
    endless = replace(OPTIONS, suppress=(*SUPPRESS, END))
    whisper = graphed()
    begun = search(whisper, endless, 3, PREFIXES)
    assert isinstance(begun._steps, ReplayedSteps)
    assert_equal(finish(whisper, begun), expected(endless, 3, PREFIXES))


def test_a_size_is_captured_once_whatever_the_options_are(expected: Any) -> None:
    captures = list[int]()
    whisper = graphed(captures)
    for options, prefixes in ((LONG, ()), (OPTIONS, PREFIXES), (LONG, ())):
        assert_equal(finish(whisper, search(whisper, options, 3, prefixes)), expected(options, 3, prefixes))
    assert len(captures) == 4  # encoding, the first tokens, and steps with either length of the cache


def test_a_second_search_at_the_same_time_has_its_own_cache(expected: Any) -> None:
    whisper = graphed()
    first = search(whisper, OPTIONS)
    whisper.advance(first, 3)
    second = search(whisper, OPTIONS, 2)
    assert isinstance(second._steps, LaunchedSteps)
    whisper.advance(second, 3)
    assert_equal(finish(whisper, first), expected(OPTIONS, 3))
    assert_equal(finish(whisper, second), expected(OPTIONS, 2))
    assert isinstance(search(whisper, OPTIONS)._steps, ReplayedSteps)  # which the first has given back


@pytest.mark.parametrize(
    "options",
    [
        replace(OPTIONS, prompt=(START,), first_timestamp=NO_TIMESTAMPS + 1, last_initial_timestamp=NO_TIMESTAMPS + 50),
        replace(OPTIONS, prompt=(START,) * 100, max_length=448),
        replace(OPTIONS, beams=11),
    ],
)
def test_what_fits_no_buffer_is_launched(options: SearchOptions) -> None:
    assert isinstance(search(graphed(), options)._steps, LaunchedSteps)


def test_a_prefix_that_fits_no_buffer_is_launched() -> None:
    options = replace(OPTIONS, max_length=448)
    for n_tokens, kind in ((125, ReplayedSteps), (126, LaunchedSteps)):
        assert isinstance(search(graphed(), options, 2, [PREFIXES[0], ExpectedTokens((40,) * n_tokens)])._steps, kind)


def test_a_shorter_window_is_launched() -> None:
    whisper = graphed()
    sound = whisper.encode(whisper.log_mel(CLIPS[0])[:, :100])
    assert isinstance(whisper.search(sound, OPTIONS)._steps, LaunchedSteps)


def test_where_nothing_can_be_captured_the_result_is_the_same(expected: Any, caplog: pytest.LogCaptureFixture) -> None:
    def refuse(compute: Callable[[], torch.Tensor]) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    whisper = small_runner()
    whisper.use_graphs(refuse)
    assert_equal(finish(whisper, search(whisper, OPTIONS)), expected(OPTIONS, 3))
    assert caplog.text.count("a step of the search is not captured") == 1


def test_where_there_is_no_room_for_buffers_steps_are_launched(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def full(*_: Any) -> None:
        attempts.append(1)
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(search_graphs._Buffers, "__init__", full)
    whisper = graphed()
    for _ in range(2):
        assert isinstance(search(whisper, OPTIONS)._steps, LaunchedSteps)
    assert len(attempts) == 1


def test_the_buffers_of_a_large_network_have_room_for_fewer_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    of_clip = 2 * 32 * (100 + 5 * 256) * 2 * 4  # keys and values, steps and tokens, two layers, fp32
    monkeypatch.setattr(search_graphs, "MAX_BUFFER_BYTES", 4 * of_clip - 1)
    whisper = graphed()
    assert isinstance(search(whisper, OPTIONS, 3)._steps, LaunchedSteps)
    begun = search(whisper, OPTIONS, 2)
    assert isinstance(begun._steps, ReplayedSteps)
    assert_equal(finish(whisper, begun), finish(small_runner(), search(small_runner(), OPTIONS, 2)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float16, 0.02)])
@pytest.mark.parametrize("options", [OPTIONS, LONG])
def test_a_replay_on_the_gpu_is_a_launched_step(options: SearchOptions, dtype: torch.dtype, tolerance: float) -> None:
    copy = Whisper(small_whisper().arch)
    copy.load_state_dict(small_whisper().state_dict())
    whisper = WhisperRunner(copy.requires_grad_(False).to("cuda", dtype), small_runner().decoding)
    for n_clips, prefixes in ((3, ()), (1, ()), (3, PREFIXES), (1, PREFIXES[1:2]), (3, ())):
        first = search(whisper, options, n_clips, prefixes)
        assert isinstance(first._steps, ReplayedSteps)
        second = search(whisper, options, n_clips, prefixes)
        assert isinstance(second._steps, LaunchedSteps)
        assert_equal(finish(whisper, first), finish(whisper, second), tolerance)
    assert whisper._search_graphs is not None
    assert len(whisper._search_graphs._graphs._captured) == 2 * (2 + (options is LONG))
