"""The tables of formats: complete, known to FFmpeg, and equal to what the contracts name."""

from __future__ import annotations

from typing import get_args

import av
import pytest

from f5_worker.api.openai import SpeechInput
from f5_worker.audio.decode import sniff
from f5_worker.audio.encode import encode
from f5_worker.audio.formats import (
    AUDIO_FORMATS,
    INPUT_CONTAINERS,
    INPUT_EXTENSIONS,
    MIME_BY_EXTENSION,
    OPENAI_FORMATS,
    input_labels,
)
from f5_worker.schema.requests import AudioFormatName
from tests.audio.signals import tone


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


@pytest.mark.parametrize("name", [name for name in AUDIO_FORMATS if name != "pcm_s16le"])
def test_each_encoded_file_is_of_an_input_container(name: str) -> None:
    container = INPUT_CONTAINERS[sniff(encode(tone(0.3), name, 24_000))]
    assert AUDIO_FORMATS[name].extension in container.extensions
    assert AUDIO_FORMATS[name].mime == container.mime


def test_each_input_container_has_its_own_extensions() -> None:
    assert all(demuxer in av.formats_available for demuxer in INPUT_CONTAINERS)
    assert all(container.extension in container.extensions for container in INPUT_CONTAINERS.values())
    assert len(set(INPUT_EXTENSIONS)) == len(INPUT_EXTENSIONS)


def test_the_input_formats_in_a_message() -> None:
    assert input_labels() == "WAV, FLAC, AIFF, M4A/MP4, Ogg (Opus, Vorbis), WebM/Matroska, MP3 or AAC"
