"""Voices are told apart as Resemblyzer does, whatever the level and the pauses of their clips."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from f5_worker.audio.levels import SAMPLE_RATE, Samples, rms
from f5_worker.engine.engine import Engine
from f5_worker.models.placement import Device
from f5_worker.models.speaker import runner
from f5_worker.settings import Settings
from f5_worker.verification import similarity as module
from f5_worker.verification.similarity import SpeakerEncoder, extract_speech, similarity, speaker_encoder_from
from tests.audio.signals import noise, silence
from tests.conftest import ToneDevice
from tests.speakers import resemblyzer_weights, voices, write_random


def at_level(samples: Samples) -> Samples:
    return samples * np.float32(10.0 ** (module.LEVEL_DB / 20.0) / rms(samples))


def table(embed: Callable[[Samples], Any]) -> Any:
    """How alike the first and second halves of all voices' clips are: `[voice, voice]`."""
    halves = [np.array_split(clip, 2) for clip in voices().values()]
    first, second = (np.stack([embed(half[part]) for half in halves]) for part in (0, 1))
    return first @ second.T


def test_a_voice_is_more_like_itself_than_like_any_other() -> None:
    found = table(SpeakerEncoder(resemblyzer_weights()).embed)
    own, others = np.diag(found), found[~np.eye(len(found), dtype=bool)]
    assert own.min() > 0.75
    assert others.max() < 0.7


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package's imports
@pytest.mark.slow
def test_similarities_are_those_of_resemblyzers_whole_path() -> None:
    encoder = SpeakerEncoder(resemblyzer_weights())
    from resemblyzer import VoiceEncoder, preprocess_wav

    package = VoiceEncoder("cpu", verbose=False)
    ours = table(encoder.embed).ravel()
    theirs = table(lambda samples: package.embed_utterance(preprocess_wav(at_level(samples), SAMPLE_RATE))).ravel()
    assert np.corrcoef(ours, theirs)[0, 1] > 0.99
    assert np.abs(ours - theirs).max() < 0.06


def test_neither_level_nor_pauses_change_the_voice() -> None:
    encoder, clip = SpeakerEncoder(resemblyzer_weights()), voices()["george"]
    start, end = np.array_split(clip, 2)
    whole = encoder.embed(clip)
    assert similarity(whole, encoder.embed(clip * np.float32(0.02))) > 0.99
    paused = np.concatenate([silence(1.0), start, silence(2.0), end, silence(1.0)])
    assert similarity(whole, encoder.embed(paused)) > 0.98


def test_what_the_encoder_hears_is_speech_at_its_rate_and_level() -> None:
    clip = voices()["joe"]
    for gain in (0.01, 1.0, 2.0):
        speech = extract_speech(np.concatenate([silence(1.0), clip * np.float32(gain), silence(3.0)]))
        assert 0.7 < len(speech) / 16_000 / (len(clip) / SAMPLE_RATE) <= 1.0
        assert rms(speech) == pytest.approx(0.1, rel=1e-3)
    for nothing in (silence(2.0), silence(0.0), np.zeros(1, np.float32)):
        assert not len(extract_speech(nothing))


def test_silence_is_like_nothing(tmp_path: Path) -> None:
    encoder = SpeakerEncoder(write_random(tmp_path / "ge2e"))
    nothing, sound = encoder.embed(silence(2.0)), encoder.embed(noise(2.0))
    assert similarity(sound, sound) == pytest.approx(1.0)
    assert similarity(nothing, sound) == similarity(nothing, nothing) == 0.0


def test_long_speech_is_embedded_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def run(work: Callable[[], Any]) -> Any:
        found = work()
        sizes.append(len(found.wait()) if hasattr(found, "wait") else 0)
        return found

    path, sound = write_random(tmp_path / "ge2e"), noise(8.0)
    whole = SpeakerEncoder(path).embed(sound)
    monkeypatch.setattr(runner, "MAX_WINDOWS", 4)
    pieces = SpeakerEncoder(path, run_on_device=run).embed(sound)
    assert sizes == [0, 4, 4, 1]  # first it is loaded
    np.testing.assert_allclose(pieces, whole, atol=1e-6)


def test_it_runs_in_the_devices_thread_and_is_loaded_once(tmp_path: Path) -> None:
    engine, names = Engine(ToneDevice(), 8_192), list[str]()

    def run(work: Callable[[], Any]) -> Any:
        def call() -> Any:
            names.append(threading.current_thread().name)
            return work()

        return engine.run(call)

    encoder = SpeakerEncoder(write_random(tmp_path / "ge2e"), "cpu", run)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda seed: encoder.embed(noise(1.0, seed=seed)), range(8)))
    engine.close()
    assert names == ["device"] * 9
    assert len({embedding.tobytes() for embedding in found}) == 8


def test_references_are_embedded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CACHED", 2)
    encoder, embedded = SpeakerEncoder(write_random(tmp_path / "ge2e")), list[int]()
    original = encoder.embed
    monkeypatch.setattr(encoder, "embed", lambda samples: embedded.append(len(samples)) or original(samples))
    clips = [noise(seconds) for seconds in (1.0, 2.0, 3.0)]
    for index in (0, 1, 0, 2, 0, 1):
        np.testing.assert_array_equal(encoder.embed_reference(clips[index]), original(clips[index]))
    assert embedded == [len(clips[index]) for index in (0, 1, 2, 1)]  # the least recently used goes first


def test_it_is_off_or_left_out_where_it_cannot_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert speaker_encoder_from(Settings()) is None
    with caplog.at_level(logging.ERROR):
        assert speaker_encoder_from(Settings(speaker_model=str(tmp_path))) is None
    assert "voices are not compared: neither model.safetensors nor pretrained.pt is in" in caplog.text
    write_random(tmp_path / "ge2e")

    def never(work: Callable[[], Any]) -> Any:
        raise AssertionError("a CPU is not the engine's alone")

    encoder = speaker_encoder_from(Settings(speaker_model="ge2e", models_dir=tmp_path), Device("cpu", never))
    assert encoder is not None
    assert encoder.embed(noise(1.0)).any()
