"""Voices on a real S3 server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from f5_worker.errors import StorageFailed, UnknownVoice, VoiceExists
from f5_worker.settings import Settings
from f5_worker.storage.s3 import Bucket
from f5_worker.storage.s3_config import bucket_from_env
from f5_worker.voices.library import Library
from f5_worker.voices.places import open_stores
from f5_worker.voices.store_s3 import BucketStore
from tests.s3_server import S3Server, gate, refuse, s3_server
from tests.voices.stores import churn, clip, clip_bytes, new, prepare, settle

pytestmark = pytest.mark.slow

VOICES = 2_500
WORKERS, CHURNS = 4, 8
SETTINGS = Settings(voices_s3_prefix="voices/")


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as running:
        yield running


@pytest.fixture
def bucket(server: S3Server, request: pytest.FixtureRequest) -> Bucket:
    """Return an empty bucket for each test."""
    return connect(server.environ(server.create(f"b{abs(hash(request.node.name))}")))


def connect(environ: dict[str, str]) -> Bucket:
    config = bucket_from_env(environ)
    assert config is not None
    return Bucket(config, SETTINGS)


def open_library(bucket: Bucket) -> Library:
    """Return a library as one worker opens it; each call is another worker."""
    return Library(Path("none"), SETTINGS, stores=open_stores(SETTINGS, bucket), prepare=prepare)


def keys(bucket: Bucket) -> list[str]:
    return [stored.key for stored in bucket.list("")]


def test_objects_come_back_as_they_were_written(bucket: Bucket) -> None:
    store = BucketStore(bucket, "/voices")
    bucket.put("voices/below/ada.wav", b"", "audio/wav")
    bucket.put("elsewhere/ada.wav", b"", "audio/wav")
    assert store.read("ada.wav", 1_000) is None
    assert store.write("ada.wav", b"one")
    assert not store.write("ada.wav", b"two", replace=False)
    assert store.read("ada.wav", 3) == b"one"
    with pytest.raises(StorageFailed, match="more than 2 bytes"):
        store.read("ada.wav", 2)
    (file,) = store.list("ada.")
    assert (file.name, file.stat().size_bytes) == ("ada.wav", 3)
    store.delete(["ada.wav", "nobody.wav"])
    assert store.list() == []
    assert keys(bucket) == ["elsewhere/ada.wav", "voices/below/ada.wav"]


def test_content_types_are_those_of_the_files(server: S3Server, bucket: Bucket) -> None:
    """The earlier worker stored transcripts as audio/wav."""
    open_library(bucket).add(new())
    client = server.client()
    heads = {key.rpartition(".")[2]: client.head_object(Bucket=bucket.config.bucket, Key=key) for key in keys(bucket)}
    assert {kind: head["ContentType"] for kind, head in heads.items()} == {
        "flac": "audio/flac",
        "json": "application/json",
        "npy": "application/octet-stream",
        "txt": "text/plain; charset=utf-8",
    }


def test_workers_share_the_voices_of_a_bucket(bucket: Bucket) -> None:
    mine, other = open_library(bucket), open_library(bucket)
    info = mine.add(new())
    assert (info.source, info.format) == ("bucket", "flac")
    assert clip_bytes(other.load("ada").reference) == clip("one")
    with pytest.raises(VoiceExists):
        other.add(new(content="two"))
    other.add(new(content="two", replace=True))
    assert clip_bytes(mine.load("ada").reference) == clip("two")
    assert mine.get("ada", with_audio=True).audio == clip("two")
    assert len(keys(bucket)) == 4
    other.delete("ada")
    for library in (mine, other):
        with pytest.raises(UnknownVoice):
            library.load("ada")
    assert keys(bucket) == []


def test_the_earlier_layout_is_read_as_it_is_and_can_be_deleted(bucket: Bucket) -> None:
    for key, data in (("Ada.WAV", clip("one")), ("ADA.srt", b"words"), ("bob.wav", clip("two"))):
        bucket.put(f"voices/{key}", data, "audio/wav")
    library = open_library(bucket)
    assert [(info.name, info.has_transcript) for info in library.list()] == [("ada", True), ("bob", False)]
    assert clip_bytes(library.load("ada").reference) == clip("one")
    library.delete("ada")
    assert keys(bucket) == ["voices/bob.wav"]


def test_a_bucket_that_refuses_is_an_error(server: S3Server) -> None:
    with gate(refuse(403, "AccessDenied")) as refusing:
        library = open_library(connect(refusing.environ()))
        with pytest.raises(StorageFailed):
            library.add(new())
        with pytest.raises(StorageFailed):
            library.load("ada")


def test_workers_that_add_and_delete_the_same_voices_leave_a_consistent_library(bucket: Bucket) -> None:
    with ThreadPoolExecutor(WORKERS) as workers:
        faults = list(workers.map(lambda index: churn(open_library(bucket), index, CHURNS), range(WORKERS)))
    assert faults == [[]] * WORKERS
    assert settle(open_library(bucket)) == []
    assert keys(bucket) == []


def test_a_list_of_2500_voices_takes_as_many_requests_as_it_has_pages(server: S3Server) -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]  # the server's own memory: 5,000 requests take it 40 s
    server.create("many")
    for index in range(VOICES):
        for kind in ("wav", "txt"):
            backend.put_object("many", f"voices/voice{index:04}.{kind}", b"x")
    with gate(upstream=server.url) as counting:
        library = open_library(connect(counting.environ("many")))
        infos = library.list()
        assert len(infos) == VOICES
        assert all(info.size_bytes == 1 and info.has_transcript for info in infos)
        assert [request.method for request in counting.seen] == ["GET"] * 5


def test_callers_share_a_bucket_and_are_apart(bucket: Bucket) -> None:
    settings = SETTINGS.model_copy(update={"voices_scope": "per_key"})

    def opened() -> Library:
        return Library(Path("none"), settings, stores=open_stores(settings, bucket), prepare=prepare)

    bucket.put("voices/Иван.wav", clip("shared"), "audio/wav")
    bucket.put("voices/Иван.txt", b"shared", "audio/wav")
    keys_of = [SecretStr("my own secret, 1234"), SecretStr("their own secret, 5678")]
    for key, content in zip(keys_of, ("mine", "theirs"), strict=True):
        opened().of(key).add(new(content=content))
        assert clip_bytes(opened().of(key).load("ada").reference) == clip(content)
        assert clip_bytes(opened().of(key).load("иван").reference) == clip("shared")
    assert opened().names() == ["Иван"]
    assert [info.is_private for info in opened().of(keys_of[0]).list()] == [True, False]
    assert len([key for key in keys(bucket) if key.startswith("voices/by-key/")]) == 8
    opened().of(keys_of[0]).delete("ada")
    assert opened().of(keys_of[1]).names() == ["ada", "Иван"]


def test_the_list_of_all_callers_voices_does_not_read_each_callers(server: S3Server) -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    server.create("owners")
    for index in range(VOICES):
        backend.put_object("owners", f"voices/by-key/{index % 3}/voice{index:04}.wav", b"x")
    backend.put_object("owners", "voices/ada.wav", b"x")
    with gate(upstream=server.url) as counting:
        assert open_library(connect(counting.environ("owners"))).names() == ["ada"]
        assert len(counting.seen) == 1
