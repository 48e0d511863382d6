"""A recording as requests carry it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.errors import FetchRefused, InvalidInput, ReferenceTooLarge
from f5_worker.schema import sources
from f5_worker.schema.sources import read_audio_source
from f5_worker.settings import Settings

CLIP = bytes(range(256)) * 40
SETTINGS = Settings(fetch_http=True)


@pytest.mark.parametrize("render", [str.lower, str.upper, lambda scheme: f" {scheme}"])
def test_a_source_may_be_a_url(render: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sources, "fetch", lambda url, settings, *, max_bytes: asked.append(url) or CLIP)
    source = render("http") + "://host.example/clip"
    assert read_audio_source(source, SETTINGS) == CLIP
    assert asked == [source.strip()]


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "data:audio/wav;base64,",
        "data:;base64,",
        "DATA:audio/webm;codecs=opus;BASE64,",
        "\n data:a/b;base64,",
    ],
)
def test_a_source_may_be_base64(prefix: str) -> None:
    assert read_audio_source(prefix + base64.b64encode(CLIP).decode(), SETTINGS) == CLIP
    assert read_audio_source(prefix + base64.encodebytes(CLIP).decode(), SETTINGS) == CLIP


@pytest.mark.parametrize("n_bytes", [1, 2, 3, 30, 31, 32, 100])
def test_it_is_decoded_in_slices(n_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SLICE_CHARS", 10)
    data = bytes(range(n_bytes))
    text = base64.b64encode(data).decode()
    for sent in (text, " \n".join(text), text + "\n", base64.encodebytes(data).decode()):
        assert read_audio_source(sent, SETTINGS) == data
    for broken in (text + "=", text[:-1] + "*", "=" + text, text[:2] + "*" + text[2:], text.rstrip("=") + "==="):
        with pytest.raises(InvalidInput, match="neither base64"):
            read_audio_source(broken, SETTINGS)


@pytest.mark.parametrize("size", [999, 1_000, 1_001, 1_002])
def test_the_size_is_known_before_decoding(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(reference_max_bytes=1_000)
    text = base64.b64encode(bytes(size)).decode()
    if size <= 1_000:
        assert len(read_audio_source(text, settings)) == size
        return
    monkeypatch.setattr(base64, "b64decode", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(ReferenceTooLarge, match=rf"has {size} bytes, at most 1000 \(F5_REFERENCE_MAX_BYTES\)"):
        read_audio_source(text, settings)


@pytest.mark.parametrize(
    "source",
    ["", " ", "clip.wav", "/etc/passwd", "AAA", "AA=A", "AAAA====", "AA-_", "ÄÄÄÄ", "../a", "=", "🙂"],
)
def test_anything_else_is_neither(source: str) -> None:
    with pytest.raises(InvalidInput, match="neither base64 nor a data URL nor an https URL"):
        read_audio_source(source, SETTINGS)


@pytest.mark.parametrize("source", ["data:audio/wav,abc", "data:", "data:audio/wav;base64;AAAA"])
def test_other_data_urls_are_explained(source: str) -> None:
    with pytest.raises(InvalidInput, match="data:audio/"):
        read_audio_source(source, SETTINGS)


@pytest.mark.parametrize("source", ["file:///etc/passwd", "ftp://example.com/a", "s3://bucket/a", "concat://a"])
def test_other_schemes_are_refused(source: str) -> None:
    with pytest.raises(FetchRefused, match="only https and http URLs"):
        read_audio_source(source, SETTINGS)


@given(st.text(max_size=60))
def test_any_text_is_bytes_or_an_error_of_the_caller(text: str) -> None:
    with suppress(InvalidInput, FetchRefused):
        assert read_audio_source(text, SETTINGS)


def test_a_long_text_holds_the_interpreter_only_in_slices() -> None:
    """An address that was searched in 33 million letters held every thread for 0.4 s."""
    started = time.thread_time()
    with pytest.raises(ReferenceTooLarge):
        read_audio_source("A" * 40_000_000, SETTINGS)
    assert time.thread_time() - started < 0.25
