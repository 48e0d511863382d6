"""The tables of formats: complete, known to FFmpeg, and equal to what the contracts name."""

from __future__ import annotations

from typing import get_args

import av
import numpy as np
import pytest

from f5_worker.api.openai import SpeechInput
from f5_worker.audio.decode import decode
from f5_worker.audio.encode import Encoder, encode
from f5_worker.audio.formats import (
    AUDIO_FORMATS,
    INPUT_CONTAINERS,
    INPUT_EXTENSIONS,
    MIME_BY_EXTENSION,
    OPENAI_FORMATS,
    input_labels,
)
from f5_worker.audio.sniff import locate
from f5_worker.schema.requests import AudioFormatName
from tests.audio.signals import tone
from tests.conftest import TINY

VOICE = TINY / "voices" / "joe.wav"


def test_the_contracts_name_the_formats_of_the_table() -> None:
    assert get_args(AudioFormatName) == tuple(AUDIO_FORMATS)
    openai_names = get_args(SpeechInput.model_fields["response_format"].annotation)
    assert sorted(openai_names) == sorted(OPENAI_FORMATS)


def test_openais_names_are_ours_but_for_pcm() -> None:
    assert {name for name, ours in OPENAI_FORMATS.items() if name != ours} == {"pcm"}
    assert OPENAI_FORMATS["pcm"] == "pcm_s16le"


@pytest.mark.parametrize("name", AUDIO_FORMATS)
def test_each_format_has_an_encoder(name: str) -> None:
    codec = AUDIO_FORMATS[name].codec
    assert av.codec.Codec(codec.name, "w").type == "audio"
    assert codec.container in av.formats_available
    assert AUDIO_FORMATS[name].mime == MIME_BY_EXTENSION[AUDIO_FORMATS[name].extension]


@pytest.mark.parametrize(
    "name", ["opus", *(pytest.param(name, marks=pytest.mark.slow) for name in AUDIO_FORMATS if name != "opus")]
)
@pytest.mark.parametrize("streaming", [pytest.param(False, marks=pytest.mark.slow), True])
def test_no_file_is_larger_than_the_bound(name: str, streaming: bool) -> None:
    random = np.random.default_rng(0)
    noise = random.uniform(-0.9, 0.9, 24_000).astype(np.float32)
    clicks = (random.random(24_000) < 1e-3).astype(np.float32)  # Opus unconstrained takes 1.9 times its rate for these
    voice = decode(VOICE.read_bytes(), max_bytes=10**6, max_s=60).samples
    for sample_rate in AUDIO_FORMATS[name].sample_rates[:: 3 if name == "opus" else 5]:
        for samples in (noise, clicks, noise[:1_000], voice):
            encoder = Encoder(name, sample_rate, streaming=streaming)
            n_bytes = len(encoder.write(samples) + encoder.close())
            assert n_bytes <= AUDIO_FORMATS[name].max_bytes(sample_rate, len(samples) / 24_000)


def test_of_pcm_the_size_is_known_but_for_the_header() -> None:
    for name, rate in (("wav", 44_100), ("wav_f32", 44_100), ("pcm_s16le", 44_100), ("ulaw", 8_000), ("alaw", 8_000)):
        n_bytes = len(encode(tone(0.3), name, rate))
        assert AUDIO_FORMATS[name].is_pcm
        assert 0 <= AUDIO_FORMATS[name].max_bytes(rate, 0.3) - n_bytes <= 100


@pytest.mark.parametrize("name", [name for name in AUDIO_FORMATS if name not in ("pcm_s16le", "ulaw", "alaw")])
def test_each_encoded_file_is_of_an_input_container(name: str) -> None:
    container = INPUT_CONTAINERS[locate(encode(tone(0.3), name, 24_000)).demuxer]
    assert AUDIO_FORMATS[name].extension in container.extensions
    assert AUDIO_FORMATS[name].mime == container.mime


def test_each_input_container_has_its_own_extensions() -> None:
    assert all(demuxer in av.formats_available for demuxer in INPUT_CONTAINERS)
    assert all(container.extension in container.extensions for container in INPUT_CONTAINERS.values())
    assert len(set(INPUT_EXTENSIONS)) == len(INPUT_EXTENSIONS)


def test_the_input_formats_in_a_message() -> None:
    assert input_labels() == "WAV, FLAC, AIFF, M4A/MP4/3GP, Ogg (Opus, Vorbis), WebM/Matroska, MP3, AAC or AMR"
