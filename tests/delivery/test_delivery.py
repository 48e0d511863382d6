"""Where a result goes, and that it is there."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from f5_worker.delivery.artifacts import Artifact, audio_artifact, caption_artifact, safe_id
from f5_worker.delivery.bucket import store
from f5_worker.delivery.choose import AudioEncoding, DeliveryChoice, check_bucket, choose, deliver, delivery_mode
from f5_worker.delivery.inline import embed
from f5_worker.errors import InvalidInput, ResultTooLarge, StorageFailed
from f5_worker.schema.requests import AudioFormatName, CaptionFormat
from f5_worker.server.limits import RESPONSE_BYTES_PER_S, JsonLimit
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket, key_prefix
from f5_worker.storage.s3_config import bucket_from_env
from tests import s3_server
from tests.conftest import FakeBucket

SETTINGS = Settings(s3_prefix="results")
WAV = AudioEncoding("wav", 24_000, 100.0)
SOUND_BYTES = 6_400_000  # in base64
MP3_BYTES_PER_S, OPUS_BYTES_PER_S = RESPONSE_BYTES_PER_S["mp3"], RESPONSE_BYTES_PER_S["opus"]
ASK = {"audio_bytes": SOUND_BYTES, "has_bucket": False, "allow_reencode": False}
FILES = [Artifact("output/a.wav", b"RIFF" * 9, "audio/wav"), caption_artifact("a", "srt", '1\n00:00 "né"\n')]


def ask(mode: str = "auto", audio: AudioEncoding = WAV, max_bytes: int = 5_000_000, **changed: Any) -> DeliveryChoice:
    asked = {"response_bytes": SOUND_BYTES + 10_000} | ASK | changed
    return choose(mode, audio, JsonLimit(max_bytes), **asked)  # type: ignore[arg-type]


def test_inline_while_it_fits() -> None:
    exactly = SOUND_BYTES + 10_000
    for delivery in ("auto", "inline"):
        assert ask(delivery, max_bytes=exactly, has_bucket=True, allow_reencode=True) == DeliveryChoice(to_bucket=False)
    assert ask(max_bytes=exactly - 1, has_bucket=True, allow_reencode=True) == DeliveryChoice(to_bucket=True)


def test_else_the_bucket_else_smaller_else_words() -> None:
    assert ask(has_bucket=True, allow_reencode=True).to_bucket
    assert ask(allow_reencode=True) == DeliveryChoice(to_bucket=False, reencode=AudioEncoding("mp3", 24_000, 100.0))
    with pytest.raises(ResultTooLarge, match=r"6.4 MB, more than the 5.0 MB.*ask for format 'mp3', about 2.2 MB"):
        ask()


def test_inline_alone_never_goes_to_the_bucket_and_s3_never_into_the_reply() -> None:
    assert ask("inline", has_bucket=True, allow_reencode=True).reencode is not None
    with pytest.raises(ResultTooLarge):
        ask("inline", has_bucket=True)
    assert ask("s3", has_bucket=True, response_bytes=100).to_bucket
    check_bucket("s3", has_bucket=True)
    check_bucket("auto", has_bucket=False)
    with pytest.raises(InvalidInput, match="has no bucket"):
        check_bucket("s3", has_bucket=False)


@pytest.mark.parametrize(
    ("sound", "room_bytes", "smaller"),
    [
        (WAV, 100 * MP3_BYTES_PER_S, AudioEncoding("mp3", 24_000, 100.0)),
        (WAV, 100 * MP3_BYTES_PER_S - 1, AudioEncoding("opus", 24_000, 100.0)),
        (WAV, 100 * OPUS_BYTES_PER_S - 1, None),
        (replace(WAV, sample_rate=44_100), 1_200_000, AudioEncoding("opus", 48_000, 100.0)),
        (replace(WAV, sample_rate=22_050), 1_200_000, AudioEncoding("opus", 24_000, 100.0)),
        (replace(WAV, sample_rate=44_100), 2_300_000, AudioEncoding("mp3", 44_100, 100.0)),
        (replace(WAV, format="mp3"), 1_200_000, AudioEncoding("opus", 24_000, 100.0)),
        (replace(WAV, format="opus"), 1_000_000, None),
    ],
)
def test_smaller_is_the_best_that_fits_beside_the_rest(
    sound: AudioEncoding, room_bytes: int, smaller: AudioEncoding | None
) -> None:
    limits = {"max_bytes": room_bytes + 10_000, "allow_reencode": True}
    if smaller is None:
        with pytest.raises(ResultTooLarge):
            ask(audio=sound, **limits)
    else:
        assert ask(audio=sound, **limits).reencode == smaller


def test_what_is_no_smaller_is_not_tried() -> None:
    short_aac = {"audio": replace(WAV, format="aac"), "audio_bytes": 1_600_000, "response_bytes": 2_300_000}
    assert ask(**short_aac, max_bytes=2_200_000, allow_reencode=True).reencode == AudioEncoding("opus", 24_000, 100.0)


def test_the_job_decides_then_its_bucket_then_the_operator() -> None:
    operator = Settings(delivery="inline")
    assert delivery_mode("auto", operator, own_bucket=True) == "auto"
    assert delivery_mode(None, operator, own_bucket=True) == "s3"
    assert delivery_mode(None, operator, own_bucket=False) == "inline"


def test_names_and_types() -> None:
    assert audio_artifact("j1", "opus", b"") == Artifact("output/j1.opus", b"", "audio/ogg")
    assert audio_artifact("j1", "wav_f32", b"").name == "output/j1.wav"
    assert caption_artifact("j1", "vtt", "é") == Artifact("timings/j1.vtt", "é".encode(), "text/vtt; charset=utf-8")
    for name in CaptionFormat.__args__:
        assert caption_artifact("j1", name, "").content_type.endswith("; charset=utf-8")
    assert {audio_artifact("j", format, b"").content_type.split("/")[0] for format in AudioFormatName.__args__} == {
        "audio"
    }


def test_ids_that_could_be_paths_or_each_other_are_replaced() -> None:
    assert safe_id("sync-7b1c_2-u1") == "sync-7b1c_2-u1"
    for unsafe in ("../../etc/passwd", "a/b", "", "a" * 65, "a\n", "ä", "a.b", "%2e"):
        replaced = safe_id(unsafe)
        assert safe_id(replaced) == replaced != unsafe
        assert safe_id(unsafe) != replaced


def test_what_is_embedded_is_whole_and_measured_to_the_byte() -> None:
    sound, text = embed(FILES)
    assert sound.data == FILES[0].data
    assert (text.text, text.data, text.url, text.key) == ('1\n00:00 "né"\n', None, None, None)
    for artifact in (*FILES, Artifact("x", b"12", "audio/wav"), Artifact("x", b"", "audio/wav")):
        (inside,) = embed([artifact])
        written = json.dumps(inside.text if artifact.is_text else base64.b64encode(inside.data or b"").decode())
        assert JsonLimit(1).file_bytes([artifact]) == len(written)
    assert JsonLimit(1).file_bytes(FILES) == sum(JsonLimit(1).file_bytes([artifact]) for artifact in FILES)


def test_files_are_stored_under_the_prefix_with_their_types() -> None:
    bucket = FakeBucket(SETTINGS)
    sound, text = deliver(FILES, bucket, SETTINGS)
    assert bucket.files == {f"results/{file.name}": (file.data, file.content_type) for file in FILES}
    assert (sound.key, sound.n_bytes) == ("results/output/a.wav", 36)
    assert sound.url == "https://h/b/results/output/a.wav?signed"
    assert (text.key, text.text, text.data) == ("results/timings/a.srt", None, None)


def test_without_a_bucket_the_files_are_in_the_reply() -> None:
    assert deliver(FILES, None, SETTINGS) == embed(FILES)


def test_a_jobs_own_bucket_does_not_get_the_operators_prefix() -> None:
    assert [file.key for file in store(FILES, FakeBucket(SETTINGS, untrusted=True), SETTINGS)] == [
        file.name for file in FILES
    ]


def test_a_signed_url_says_when_it_ends_and_others_do_not() -> None:
    before = time.time()
    ends = datetime.fromisoformat(
        (store(FILES, FakeBucket(SETTINGS), SETTINGS)[0].expires_at or "").replace("Z", "+00:00")
    )
    assert -1 <= (ends - datetime.fromtimestamp(before, UTC)).total_seconds() - SETTINGS.s3_url_ttl_s < 60
    public = Settings(s3_public_url="https://files.example")
    assert store(FILES, FakeBucket(public), public)[0].expires_at is None
    volume = store(FILES, FakeBucket(SETTINGS, provider="RunPod"), SETTINGS)[0]
    assert (volume.key, volume.url, volume.expires_at) == ("results/output/a.wav", None, None)


@pytest.mark.parametrize("prefix", ["results", "results/", "/results/"])
def test_prefixes_are_folders(prefix: str) -> None:
    assert key_prefix(prefix) == "results/"
    assert key_prefix("") == key_prefix("/") == ""


@pytest.mark.slow
def test_results_in_a_real_bucket() -> None:
    with s3_server.s3_server() as server:
        server.create()
        config = bucket_from_env(server.environ())
        assert config is not None
        delivered = deliver(FILES, Bucket(config, SETTINGS), SETTINGS)
        for file, found in zip(FILES, delivered, strict=True):
            with urllib.request.urlopen(found.url or "") as answer:
                assert answer.read() == file.data
                assert answer.headers["Content-Type"] == file.content_type


@pytest.mark.slow
def test_a_bucket_that_fails_ends_the_job_and_nothing_is_left_here(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with s3_server.gate(s3_server.refuse(403, "AccessDenied")) as before:
        config = bucket_from_env(before.environ())
        assert config is not None
        with pytest.raises(StorageFailed):
            deliver(FILES, Bucket(config, SETTINGS), SETTINGS)
    assert list(tmp_path.iterdir()) == []
