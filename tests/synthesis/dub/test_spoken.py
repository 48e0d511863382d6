"""Voices cut out of real speech: what is heard in a clip is what its transcript says, and by its speaker alone."""

from __future__ import annotations

import base64

import numpy as np
import pytest

pytest.importorskip("jiwer", reason="comes with the speech recogniser, which is not installed with the oldest torch")
from bench.dub import SPEAKERS, make_source, vtt
from f5_worker.audio.encode import encode
from f5_worker.errors import ReferenceProblem
from f5_worker.schema.dub import SourceInput
from f5_worker.synthesis.context import Worker
from f5_worker.synthesis.dub.source import cut_voices, read_source_cues
from tests.listen import transcribe, word_error_rate

pytestmark = pytest.mark.model


def test_clips_say_the_words_of_their_transcripts(worker: Worker) -> None:
    samples, lines = make_source(12)
    source = SourceInput(
        audio=base64.b64encode(encode(samples, "opus", 24_000)).decode(),
        subtitles=vtt(lines, [line.text for line in lines], named=True),
    )
    voices = cut_voices(source, read_source_cues(source, worker.settings), set(SPEAKERS), worker)
    for name in SPEAKERS:
        reference = voices[name].reference
        assert not isinstance(reference, ReferenceProblem)
        assert 5.0 <= reference.duration_s <= 12.0
        sentences = [line.text for line in lines if line.speaker == name]
        assert all(any(part in text for text in sentences) for part in reference.transcript.strip(". ").split(". "))
        heard = transcribe(np.pad(reference.samples, 12_000), 24_000)
        assert word_error_rate([reference.transcript], [heard]) <= 0.1, heard
