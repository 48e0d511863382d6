"""Both layouts of a checkpoint give the same network; a damaged one is refused with what is wrong."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch

from f5_worker.errors import ModelUnavailable
from f5_worker.models.whisper.checkpoint import load_whisper
from f5_worker.models.whisper.config import DecodingConfig, read_decoding
from f5_worker.models.whisper.model_bin import read_model_bin
from tests.models.whisper.small import (
    ARCH,
    HEADS,
    SUPPRESS,
    SUPPRESS_AT_START,
    small_whisper,
    write_ctranslate2,
    write_hugging_face,
)

# The share of a weight's row that rounding may take: half a step of its largest value in 127, or half precision's.
TOLERANCE = {None: 0.0, "int8": 1 / 250, "int16": 1e-3, "float16": 1e-3, "bfloat16": 1e-2, "int8_float16": 1 / 200}


@pytest.mark.parametrize("quantization", TOLERANCE)
def test_ctranslate2s_files_in_each_precision(tmp_path: Path, quantization: str | None) -> None:
    directory = write_ctranslate2(tmp_path / "whisper", small_whisper(), quantization)
    loaded = load_whisper(directory)
    assert loaded.arch == ARCH
    expected = small_whisper().state_dict()
    found = loaded.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        error = (found[name].float() - tensor).abs().max() / tensor.abs().max()
        assert error <= TOLERANCE[quantization], name
    assert read_decoding(directory, ARCH) == DecodingConfig(HEADS, SUPPRESS, SUPPRESS_AT_START)


def test_hugging_faces_files(tmp_path: Path) -> None:
    directory = write_hugging_face(tmp_path / "whisper", small_whisper())
    loaded = load_whisper(directory)
    assert loaded.arch == ARCH
    for name, tensor in small_whisper().state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half()), name
    assert read_decoding(directory, ARCH) == DecodingConfig(HEADS, SUPPRESS, SUPPRESS_AT_START)


def test_without_chosen_heads_those_of_the_upper_half_are_taken(tmp_path: Path) -> None:
    directory = write_hugging_face(tmp_path / "whisper", small_whisper())
    (directory / "generation_config.json").write_text("{}")
    assert read_decoding(directory, ARCH).alignment_heads == tuple((1, head) for head in range(ARCH.decoder_heads))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ({"alignment_heads": [[9, 0]]}, "alignment_heads"),
        ({"alignment_heads": [[-1, 0]]}, "alignment_heads"),
        ({"alignment_heads": [1, 2]}, "not numbers"),
        ({"alignment_heads": [[1e400, 0]]}, "not numbers"),
        ({"suppress_tokens": "all"}, "not numbers"),
        ({"suppress_tokens": [-1]}, "tokens that its network does not have"),
        ({"begin_suppress_tokens": [ARCH.vocabulary]}, "tokens that its network does not have"),
    ],
)
def test_heads_and_tokens_of_another_network_are_refused(
    tmp_path: Path, content: dict[str, object], problem: str
) -> None:
    directory = write_hugging_face(tmp_path / "whisper", small_whisper())
    (directory / "generation_config.json").write_text(json.dumps(content))
    with pytest.raises(ModelUnavailable, match=problem):
        read_decoding(directory, ARCH)


@pytest.mark.parametrize("size", [{"d_model": 33}, {"decoder_layers": 0}, {"encoder_attention_heads": -2}])
def test_sizes_that_no_network_has_are_refused(tmp_path: Path, size: dict[str, int]) -> None:
    directory = write_hugging_face(tmp_path / "whisper", small_whisper())
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | size))
    with pytest.raises(ModelUnavailable, match="not that of a Whisper model"):
        load_whisper(directory)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"[]", b'{"d_model": "wide"}'])
def test_damaged_files_are_the_models_fault(tmp_path: Path, name: str, content: bytes) -> None:
    directory = write_hugging_face(tmp_path / "whisper", small_whisper())
    (directory / name).write_bytes(content)
    if (name, content) == ("generation_config.json", b'{"d_model": "wide"}'):
        return  # names no heads, which is allowed
    with pytest.raises(ModelUnavailable) as caught:
        read_decoding(directory, load_whisper(directory).arch)
    assert str(tmp_path) not in caught.value.message


def test_weights_of_another_size_are_refused(tmp_path: Path) -> None:
    directory = write_hugging_face(tmp_path / "whisper", small_whisper())
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {"encoder_layers": 3}))
    with pytest.raises(ModelUnavailable, match="not those of a Whisper model"):
        load_whisper(directory)


HEADER = struct.pack("<IH", 6, 12) + b"WhisperSpec\0" + struct.pack("<I", 3)


class TestModelBin:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return write_ctranslate2(tmp_path / "whisper", small_whisper(), "int8") / "model.bin"

    @pytest.mark.parametrize("length", [0, 3, 10, 30, 1_000, 50_000])
    def test_a_file_that_ends_too_early(self, path: Path, length: int) -> None:
        path.write_bytes(path.read_bytes()[:length])
        with pytest.raises(ModelUnavailable, match="fetch it again"):
            read_model_bin(path)

    def test_a_file_that_is_not_there_is_told_without_its_place(self, tmp_path: Path) -> None:
        with pytest.raises(ModelUnavailable, match=r"model\.bin") as caught:
            read_model_bin(tmp_path / "model.bin")
        assert str(tmp_path) not in caught.value.message

    def test_a_weight_of_another_rank(self, path: Path) -> None:
        name = b"decoder/embeddings/weight\0"
        content = struct.pack("<IH", 1, len(name)) + name + struct.pack("<BIBI", 1, 1, 0, 4) + bytes(4)
        path.write_bytes(HEADER + content + struct.pack("<I", 0))
        with pytest.raises(ModelUnavailable, match="not those of a Whisper model"):
            load_whisper(path.parent)

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (struct.pack("<I", 7), "version 7"),
            (struct.pack("<IH", 6, 6) + b"Other\0" + struct.pack("<II", 3, 0), "holds a Other"),
            (
                struct.pack("<IH", 6, 12) + b"WhisperSpec\0" + struct.pack("<IIH2sBB", 3, 1, 2, b"x\0", 200, 0),
                "dimensions",
            ),
            (HEADER + struct.pack("<II", 0, 0), None),
        ],
    )
    def test_another_format(self, path: Path, content: bytes, problem: str | None) -> None:
        path.write_bytes(content)
        if problem is None:
            assert read_model_bin(path) == {}
            with pytest.raises(ModelUnavailable, match="not those of a Whisper model"):
                load_whisper(path.parent)
            return
        with pytest.raises(ModelUnavailable, match=problem):
            read_model_bin(path)
