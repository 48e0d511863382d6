"""Alignment: equal to faster-whisper's on the same weights, and in a batch to each text alone."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from f5_worker.errors import OutOfMemory
from f5_worker.models.cuda.capture import GraphCapturer
from f5_worker.models.cuda.graphs import PassGraphs
from f5_worker.models.placement import Device
from f5_worker.models.whisper import batching, runner
from f5_worker.models.whisper.batching import AlignmentBatcher, TranscriptBatcher
from f5_worker.models.whisper.graphs import BatchSize, graph_size
from f5_worker.models.whisper.network import Whisper
from f5_worker.models.whisper.runner import (
    ForcedAlignment,
    ForcedText,
    PendingAlignment,
    PendingProbabilities,
    WhisperRunner,
    load_whisper_runner,
)
from f5_worker.models.whisper.search import ExpectedTokens, SearchOptions
from tests.models.whisper.small import (
    END,
    NO_TIMESTAMPS,
    SPECIAL_IDS,
    START,
    clip,
    forced,
    small_runner,
    small_whisper,
    stand_in_capture,
    write_ctranslate2,
    write_hugging_face,
)

LENGTHS_S = (2.0, 0.5, 1.213, 1.995)
TOKENS = (30, 6, 11, 20)
CLIPS = [clip(seconds, seed) for seed, seconds in enumerate(LENGTHS_S)]
TEXTS = [forced(samples, n, seed) for seed, (samples, n) in enumerate(zip(CLIPS, TOKENS, strict=True))]


def assert_equal(found: ForcedAlignment, expected: ForcedAlignment, tolerance: float = 1e-4) -> None:
    np.testing.assert_array_equal(found.starts, expected.starts)
    np.testing.assert_allclose(np.log(found.probabilities), np.log(expected.probabilities), atol=tolerance)


def test_a_batch_is_each_text_alone() -> None:
    runner = small_runner()
    together = runner.align(CLIPS, TEXTS)
    for index, (samples, text) in enumerate(zip(CLIPS, TEXTS, strict=True)):
        assert_equal(together.result(index), runner.align([samples], [text]).result(0))


@pytest.mark.parametrize("quantization", [None, "int8"])
def test_equal_to_ctranslate2s(tmp_path: Path, quantization: str | None) -> None:
    import ctranslate2

    directory = write_ctranslate2(tmp_path / "whisper", small_whisper(), quantization)
    reference = ctranslate2.models.Whisper(str(directory), device="cpu", compute_type="float32", intra_threads=1)
    runner = load_whisper_runner(directory, "cpu")
    for samples, text in zip(CLIPS, TEXTS, strict=True):
        frames = -(-len(samples) // 160)
        mel = np.pad(runner.log_mel(samples)[:, :frames], ((0, 0), (0, frames % 2)))
        features = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel[None]))
        (theirs,) = reference.align(features, [text.prompt[0]], [list(text.tokens)], frames)
        tokens, steps = np.array(theirs.alignments).T
        starts = np.array([steps[tokens == token].min() for token in range(len(text.tokens) + 1)])
        found = runner.align([samples], [text]).result(0)
        np.testing.assert_array_equal(found.starts, starts)
        np.testing.assert_allclose(np.log(found.probabilities), np.log(theirs.text_token_probs), atol=1e-3)


def test_both_layouts_give_the_same_runner(tmp_path: Path) -> None:
    theirs = load_whisper_runner(write_hugging_face(tmp_path / "hf", small_whisper()), "cpu")
    ours = load_whisper_runner(write_ctranslate2(tmp_path / "ct2", small_whisper(), "float16"), "cpu")
    assert ours.decoding == theirs.decoding
    assert_equal(ours.align(CLIPS, TEXTS).result(0), theirs.align(CLIPS, TEXTS).result(0))


class TestBatches:
    class Device:
        """The thread that owns the device, as the engine has it; it may be kept busy."""

        def __init__(self) -> None:
            self._thread = ThreadPoolExecutor(1)
            self.thread_names: set[str] = set()

        def run(self, work: Callable[[], Any]) -> Any:
            def call() -> Any:
                self.thread_names.add(threading.current_thread().name)
                return work()

            return self._thread.submit(call).result()

    class Runner(WhisperRunner):
        """Records the batches; fails for those larger than it has room for."""

        def __init__(self, max_rows: int = 100) -> None:
            super().__init__(small_whisper(), small_runner().decoding)
            self.max_rows = max_rows
            self.batches: list[int] = []
            self.begun = threading.Event()
            self.go_on = threading.Event()
            self.go_on.set()

        def align(self, clips: Any, texts: Any) -> PendingAlignment:
            self._record(texts)
            return super().align(clips, texts)

        def score(self, clip: Any, texts: Any) -> PendingProbabilities:
            self._record(texts)
            return super().score(clip, texts)

        def _record(self, texts: Any) -> None:
            self.batches.append(len(texts))
            self.begun.set()
            assert self.go_on.wait(20)
            if len(texts) > self.max_rows:
                raise OutOfMemory("full")

    def align_while_busy(self, runner: Runner, device: Device) -> list[ForcedAlignment]:
        """Align all texts, those after the first while the device is busy with the first."""
        batcher = AlignmentBatcher(runner, device.run)
        runner.go_on.clear()
        with ThreadPoolExecutor(len(CLIPS)) as threads:
            pending = [threads.submit(batcher.align, CLIPS[0], TEXTS[0])]
            assert runner.begun.wait(20)
            pending += [
                threads.submit(batcher.align, clip, text) for clip, text in zip(CLIPS[1:], TEXTS[1:], strict=True)
            ]
            while len(batcher._waiting) < len(CLIPS) - 1:
                pass
            runner.go_on.set()
            return [future.result(20) for future in pending]

    @pytest.mark.parametrize(("max_texts", "batches"), [(100, [16, 5]), (5, [16, 8, 4, 4, 8, 4, 4, 5])])
    def test_texts_of_a_clip_share_passes(self, max_texts: int, batches: list[int]) -> None:
        runner = self.Runner(max_texts)
        texts = [replace(TEXTS[0], tokens=tuple(range(3, 5 + n))) for n in range(21)]
        found = AlignmentBatcher(runner, self.Device().run).score(CLIPS[0], texts)
        assert runner.batches == batches
        for probabilities, text in zip(found, texts, strict=True):
            alone = small_runner().align(CLIPS[:1], [text]).result(0).probabilities
            np.testing.assert_allclose(np.log(probabilities), np.log(alone), atol=1e-4)

    def test_a_text_without_room_is_an_error(self) -> None:
        with pytest.raises(OutOfMemory):
            AlignmentBatcher(self.Runner(max_rows=0), self.Device().run).score(CLIPS[0], TEXTS[:3])

    def test_texts_that_wait_together_share_a_pass(self) -> None:
        runner, device = self.Runner(), self.Device()
        found = self.align_while_busy(runner, device)
        assert runner.batches == [1, 3]
        assert len(device.thread_names) == 1
        for alignment, samples, text in zip(found, CLIPS, TEXTS, strict=True):
            assert_equal(alignment, small_runner().align([samples], [text]).result(0))

    def test_a_batch_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batching, "MAX_CPU_BATCH_STEPS", 2 * TEXTS[3].steps)
        runner = self.Runner()
        self.align_while_busy(runner, self.Device())
        assert sum(runner.batches) == len(CLIPS)
        assert max(runner.batches) == 2

    def test_what_does_not_fit_is_tried_in_halves(self) -> None:
        runner = self.Runner(max_rows=1)
        found = self.align_while_busy(runner, self.Device())
        assert sorted(runner.batches) == [1, 1, 1, 1, 2, 3]
        assert_equal(found[3], small_runner().align([CLIPS[3]], [TEXTS[3]]).result(0))

    def test_an_error_is_that_of_its_texts(self) -> None:
        runner = self.Runner(max_rows=0)
        batcher = AlignmentBatcher(runner, self.Device().run)
        with pytest.raises(OutOfMemory):
            batcher.align(CLIPS[0], TEXTS[0])
        runner.max_rows = 1
        assert len(batcher.align(CLIPS[0], TEXTS[0]).starts) == TOKENS[0] + 1


class TestTranscripts:
    OPTIONS = SearchOptions((START, NO_TIMESTAMPS), 2, END, SPECIAL_IDS["nospeech"], max_length=16)
    SHORT = replace(OPTIONS, max_length=8)

    @pytest.fixture(autouse=True)
    def short_windows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runner, "MAX_FRAMES", 200)

    class Runner(WhisperRunner):
        """Has room for so many clips; counts the clips of its searches and the pieces of its work."""

        def __init__(self, max_clips: int = 100) -> None:
            super().__init__(small_whisper(), small_runner().decoding)
            self.max_clips = max_clips
            self.searches: list[int] = []
            self.n_pieces = 0

        def encode_windows(self, clips: Any) -> Any:
            self.searches.append(len(clips))
            if len(clips) > self.max_clips:
                raise OutOfMemory("full")
            return super().encode_windows(clips)

        def advance(self, search: Any, n_steps: int) -> None:
            self.n_pieces += 1
            super().advance(search, 3)

    def alone(self, options: SearchOptions) -> list[tuple[int, ...]]:
        batcher = TranscriptBatcher(self.Runner(), lambda work: work())
        return [batcher.transcribe(samples, options).tokens for samples in CLIPS]

    def together(
        self,
        runner: Runner,
        options: Sequence[SearchOptions],
        expected: Sequence[ExpectedTokens] = (ExpectedTokens(),) * 4,
    ) -> list[tuple[int, ...]]:
        """Transcribe all clips at once: all wait before the device has time for the first."""
        batcher = TranscriptBatcher(runner, TestBatches.Device().run)
        with ThreadPoolExecutor(len(CLIPS)) as threads:
            with batcher._turn:
                pending = [
                    threads.submit(batcher.transcribe, *pair) for pair in zip(CLIPS, options, expected, strict=True)
                ]
                while len(batcher._waiting) < len(CLIPS):
                    pass
            return [future.result(20).tokens for future in pending]

    def test_clips_that_wait_together_share_a_search(self) -> None:
        runner = self.Runner()
        assert self.together(runner, [self.OPTIONS] * 4) == self.alone(self.OPTIONS)
        assert runner.searches == [4]
        assert runner.n_pieces == 3  # eight tokens, three at a time

    def test_clips_of_which_different_things_are_expected_share_a_search(self) -> None:
        expected = [ExpectedTokens(prefix) for prefix in ((), (40,), (40, 7, 9), (11, 12))]
        batcher = TranscriptBatcher(self.Runner(), lambda work: work())
        alone = [batcher.transcribe(*each) for each in zip(CLIPS, [self.OPTIONS] * 4, expected, strict=True)]
        runner = self.Runner()
        assert self.together(runner, [self.OPTIONS] * 4, expected) == [found.tokens for found in alone]
        assert runner.searches == [4]

    def test_what_is_asked_for_in_another_way_has_its_own(self) -> None:
        runner = self.Runner()
        found = self.together(runner, [self.OPTIONS, self.SHORT] * 2)
        assert found[::2] == self.alone(self.OPTIONS)[::2]
        assert found[1::2] == self.alone(self.SHORT)[1::2]

    def test_what_does_not_fit_is_tried_in_halves(self) -> None:
        runner = self.Runner(max_clips=1)
        assert self.together(runner, [self.OPTIONS] * 4) == self.alone(self.OPTIONS)
        assert runner.searches == [4, 2, 1, 1, 1, 1]

    def test_an_error_is_raised_and_the_next_clip_is_served(self) -> None:
        runner = self.Runner(max_clips=0)
        batcher = TranscriptBatcher(runner, TestBatches.Device().run)
        with pytest.raises(OutOfMemory):
            batcher.transcribe(CLIPS[0], self.OPTIONS)
        runner.max_clips = 1
        assert batcher.transcribe(CLIPS[0], self.OPTIONS).tokens == self.alone(self.OPTIONS)[0]


def test_a_window_is_thirty_seconds() -> None:
    sound = small_runner().encode_windows(CLIPS[:2])
    assert sound.layers[0][0].shape[2] == 1_500
    assert sound.mask is None


def test_padding_to_the_size_of_a_graph_changes_nothing() -> None:
    whisper = small_runner()
    size = graph_size(BatchSize(len(CLIPS), 200, max(text.n_tokens for text in TEXTS)))
    assert size == (4, 512, 51)
    padded = [*CLIPS[:3]], [*TEXTS[:3]]  # and a row without a text
    with torch.inference_mode():
        found = whisper._align_batch(*runner._pack(*padded, size)).numpy()
    assert np.isfinite(found).all()
    for index, (samples, text) in enumerate(zip(*padded, strict=True)):
        alone = whisper.align([samples], [text])
        values = alone._values.wait()[0]
        np.testing.assert_allclose(found[index, : text.n_tokens, : text.steps], values[:, : text.steps], atol=1e-3)
        np.testing.assert_allclose(found[index, : text.n_tokens - 1, -1], values[:-1, -1], rtol=1e-3)


class TestGraphs:
    """On the CPU, with what stands for a capture."""

    def graphs(self, captures: list[int]) -> PassGraphs:
        return PassGraphs(torch.device("cpu"), stand_in_capture(captures), "alignment")

    def test_each_size_is_captured_once_and_has_the_result_of_each_batch(self) -> None:
        whisper, captures = small_runner(), list[int]()
        whisper._graphs = self.graphs(captures)
        for samples, text in zip(CLIPS, TEXTS, strict=True):
            assert_equal(whisper.align([samples], [text]).result(0), small_runner().align([samples], [text]).result(0))
        assert len(captures) == 1
        together = whisper.align(CLIPS, TEXTS)
        assert_equal(together.result(2), small_runner().align(CLIPS[2:3], TEXTS[2:3]).result(0))
        assert len(captures) == 2

    def test_so_is_each_number_of_texts_of_a_clip(self) -> None:
        whisper, captures = small_runner(), list[int]()
        whisper._text_graphs = self.graphs(captures)
        for samples, texts in ((CLIPS[0], TEXTS), (CLIPS[3], TEXTS[1:]), (CLIPS[0], TEXTS * 2)):
            expected = small_runner().score(samples, texts).result()
            for ours, theirs in zip(whisper.score(samples, texts).result(), expected, strict=True):
                np.testing.assert_allclose(np.log(ours), np.log(theirs), atol=1e-4)
        assert len(captures) == 2  # four texts, and eight

    def test_where_nothing_can_be_captured_it_works_without(self, caplog: pytest.LogCaptureFixture) -> None:
        def refuse(compute: Callable[[], torch.Tensor]) -> Any:
            raise RuntimeError("operation not permitted when stream is capturing")

        whisper = small_runner()
        whisper._graphs = PassGraphs(torch.device("cpu"), refuse, "alignment")
        for _ in range(2):
            assert_equal(whisper.align(CLIPS, TEXTS).result(1), small_runner().align(CLIPS, TEXTS).result(1))
        assert caplog.text.count("is not captured") == 1

    def test_a_graph_for_which_memory_is_short_is_not_tried_again(self) -> None:
        captures = list[int]()
        capture = self.graphs(captures)._capture

        def short_of_memory(compute: Callable[[], torch.Tensor]) -> Any:
            found = capture(compute)
            if len(found[1]) > 1:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return found

        whisper = small_runner()
        whisper._graphs = PassGraphs(torch.device("cpu"), short_of_memory, "alignment")
        for _ in range(2):
            assert_equal(whisper.align(CLIPS, TEXTS).result(1), small_runner().align(CLIPS, TEXTS).result(1))
        assert len(captures) == 1
        whisper.align(CLIPS[:1], TEXTS[:1])
        assert len(captures) == 2  # smaller ones still are

    def test_a_runner_is_freed_with_its_last_user(self) -> None:
        whisper = small_runner()
        # As a graph, what replays the pass refers to none of the objects that computed it.
        whisper._graphs = PassGraphs(torch.device("cpu"), lambda compute: (lambda: None, compute()), "alignment")
        whisper.align(CLIPS, TEXTS).result(0)
        gone = weakref.ref(whisper)
        gc.disable()  # whose time may be long after the memory is needed
        try:
            del whisper
            assert gone() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("frames", range(20, 3_001, 20))
def test_the_batches_that_are_taken_fit_a_graph(frames: int) -> None:
    text = ForcedText((START, NO_TIMESTAMPS), (1,) * (frames // 25), END, frames // 2)
    waiting = deque(batching._Request(CLIPS[0], text) for _ in range(batching.MAX_BATCH_ROWS + 1))
    batch = batching._take_batch(waiting, batching.MAX_BATCH_STEPS)
    assert graph_size(BatchSize(len(batch), frames, text.n_tokens)) is not None
    assert len(batch) == (8 if frames <= 1_536 else 4)


def test_what_fits_no_graph() -> None:
    assert graph_size(BatchSize(1, 512, 200)) == (1, 2_048, 204)  # many tokens in little sound: a larger one
    assert graph_size(BatchSize(1, 512, 400)) is None
    assert graph_size(BatchSize(9, 20, 1)) is None


def test_a_padded_vocabulary_has_the_same_logits() -> None:
    states = torch.randn(2, 3, small_whisper().arch.width)
    expected = small_whisper().decoder.logits(states)
    copy = Whisper(small_whisper().arch)
    copy.load_state_dict(small_whisper().state_dict())
    for _ in range(2):  # a second time nothing is added
        copy.decoder.pad_vocabulary()
    assert len(copy.decoder.embedding.weight) == 1_712
    torch.testing.assert_close(copy.decoder.logits(states), expected)
    assert expected.shape[-1] == 1_710


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
class TestOnTheGpu:
    def on_gpu(self, dtype: torch.dtype) -> WhisperRunner:
        copy = Whisper(small_whisper().arch)
        copy.load_state_dict(small_whisper().state_dict())
        return WhisperRunner(copy.requires_grad_(False).to("cuda", dtype), small_runner().decoding)

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.float16, 0.1)])
    def test_it_aligns_as_the_cpu_does(self, dtype: torch.dtype, tolerance: float) -> None:
        expected, whisper = small_runner().align(CLIPS, TEXTS), self.on_gpu(dtype)
        found = [whisper.align([samples], [text]) for samples, text in zip(CLIPS, TEXTS, strict=True)]
        together = whisper.align(CLIPS, TEXTS)
        for _ in range(2):  # captured, and replayed
            for ours, theirs in zip(
                whisper.score(CLIPS[0], TEXTS).result(), small_runner().score(CLIPS[0], TEXTS).result(), strict=True
            ):
                np.testing.assert_allclose(np.log(ours), np.log(theirs), atol=tolerance)
        for index in range(len(CLIPS)):
            theirs = expected.result(index)
            for ours in (together.result(index), found[index].result(0)):
                assert np.mean(ours.starts == theirs.starts) >= 0.8
                np.testing.assert_allclose(np.log(ours.probabilities), np.log(theirs.probabilities), atol=tolerance)

    def test_it_finds_the_transcripts_that_the_cpu_does(self) -> None:
        options = replace(TestTranscripts.OPTIONS, beams=5)
        expected, found = (
            TranscriptBatcher(runner, lambda work: work()).transcribe(CLIPS[0], options)
            for runner in (small_runner(), self.on_gpu(torch.float32))
        )
        assert found.tokens == expected.tokens
        assert found.score == pytest.approx(expected.score, abs=1e-3)

    def test_beside_the_work_of_another_thread_it_finds_the_same(self) -> None:
        """On its own stream: neither memory nor the workspaces of products are shared with what runs at the time."""
        options, device = replace(TestTranscripts.OPTIONS, beams=5), Device("cuda", lambda work: work()).beside()
        whisper = device.run(lambda: self.on_gpu(torch.float16))
        alignments, transcripts = AlignmentBatcher(whisper, device.run), TranscriptBatcher(whisper, device.run)

        def find() -> tuple[list[bytes], tuple[int, ...], float]:
            aligned = [alignments.align(clip, text) for clip, text in zip(CLIPS, TEXTS, strict=True)]
            scored = alignments.score(CLIPS[0], TEXTS)
            found = transcripts.transcribe(CLIPS[0], options)
            probabilities = [*(one.probabilities for one in aligned), *scored]
            return [one.tobytes() for one in probabilities], found.tokens, found.score

        alone = find()
        a, b = (torch.randn(2_048, 8_192, device="cuda", dtype=torch.float16) for _ in range(2))
        product = a @ b.T
        replay, captured = GraphCapturer()(lambda: a @ b.T)
        is_over = threading.Event()

        def work() -> None:
            while not is_over.is_set():
                replay()
                assert torch.equal(captured, product)
                assert torch.equal(a @ b.T, product)

        with ThreadPoolExecutor(1) as other:
            done = other.submit(work)
            try:
                beside = [find() for _ in range(30)]
            finally:
                is_over.set()
            done.result()
        assert set(map(repr, beside)) == {repr(alone)}
