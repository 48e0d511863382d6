"""Files in a bucket, and the errors when something fails: a real S3 server on loopback, and a faulty proxy for it."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from f5_worker.cancellation import JobControl
from f5_worker.errors import FetchRefused, JobCancelled, JobTimeout, StorageFailed
from f5_worker.settings import Settings
from f5_worker.storage import s3 as module
from f5_worker.storage.s3 import Bucket
from f5_worker.storage.s3_config import BucketConfig, bucket_from_env
from tests import s3_server
from tests.s3_server import BUCKET, Gate, S3Server, gate

pytestmark = pytest.mark.slow  # the server takes 1 to 2 s to start, botocore 1 s to load

SETTINGS = Settings(s3_timeout_s=30)
CLIP = bytes(range(256)) * 8_000  # 2 MB: more than a socket holds
LIMIT = 10_000_000


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server.s3_server() as running:
        running.create()
        yield running


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES_S", (0.01, 0.01, 0.01))


@pytest.fixture
def bucket(server: S3Server) -> Bucket:
    return connect(server)


def connect(place: S3Server | Gate | dict[str, str], **settings: Any) -> Bucket:
    """The bucket there; `settings` may be below what operators may set."""
    environ = place if isinstance(place, dict) else place.environ()
    return Bucket(configured(environ), SETTINGS.model_copy(update=settings))


def configured(environ: dict[str, str]) -> BucketConfig:
    config = bucket_from_env(environ)
    assert config is not None
    return config


def failure(act: Callable[[], object]) -> str:
    with pytest.raises(StorageFailed) as error:
        act()
    return str(error.value)


def test_a_file_comes_back_as_it_was_written(bucket: Bucket) -> None:
    bucket.put("output/job 1 é.wav", CLIP, "audio/wav")
    assert bucket.get("output/job 1 é.wav", LIMIT) == CLIP
    bucket.put("output/job 1 é.wav", b"", "audio/wav")
    assert bucket.get("output/job 1 é.wav", LIMIT) == b""


def test_the_metadata_of_a_file(bucket: Bucket) -> None:
    bucket.put("facts", b"12345", "text/plain")
    stored = bucket.head("facts")
    assert stored is not None
    assert (stored.key, stored.size_bytes) == ("facts", 5)
    assert stored.modified.tzinfo is not None
    assert [stored] == list(bucket.list("fac"))
    bucket.put("facts", b"54321", "text/plain")
    changed = bucket.head("facts")
    assert changed is not None
    assert changed.etag != stored.etag


def test_a_file_that_is_not_there_is_none(bucket: Bucket) -> None:
    assert bucket.get("nowhere", LIMIT) is None
    assert bucket.head("nowhere") is None
    assert list(bucket.list("nowhere")) == []
    bucket.delete(["nowhere"])


def test_no_more_is_read_than_is_allowed(bucket: Bucket) -> None:
    bucket.put("large", CLIP, "audio/wav")
    assert len(bucket.get("large", len(CLIP)) or b"") == len(CLIP)
    assert f"more than {len(CLIP) - 1} bytes" in failure(lambda: bucket.get("large", len(CLIP) - 1))
    assert bucket.head("large") is not None  # and the next request is not disturbed


def test_all_of_2500_files_are_listed_and_only_what_was_named_is_deleted(server: S3Server, bucket: Bucket) -> None:
    keys = [f"many/{number:04}.txt" for number in range(2_500)]
    server.fill(keys)
    assert [stored.key for stored in bucket.list("many/")] == keys
    bucket.delete([keys[0], keys[1_000], keys[2_499]])
    assert [stored.key for stored in bucket.list("many/")] == keys[1:1_000] + keys[1_001:2_499]


def test_a_bucket_that_keeps_versions_keeps_none_of_what_was_deleted(server: S3Server) -> None:
    client, name = server.client(), server.create("versions")
    client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    bucket = connect(server.environ(name))
    for content in (b"1", b"2"):
        bucket.put("voice.wav", content, "audio/wav")
    bucket.put("voice.wav.txt", b"words", "text/plain")
    bucket.delete(["voice.wav", "voice.wav"])
    bucket.probe()
    left = client.list_object_versions(Bucket=name)
    assert [version["Key"] for version in left["Versions"]] == ["voice.wav.txt"]
    assert "DeleteMarkers" not in left


def test_an_endless_list_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty_page(request: Any) -> None:
        page = b"<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>1</NextContinuationToken>"
        request.reply(200, page + b"</ListBucketResult>", {"Content-Type": "application/xml"})

    monkeypatch.setattr(module, "MAX_LISTED_KEYS", 5)
    with gate(empty_page) as before:
        assert "more than 5 files" in failure(lambda: list(connect(before).list("a")))
        assert len(before.seen) == 6


def test_pages_are_requested_as_they_are_needed(server: S3Server) -> None:
    server.fill(f"few/{number}" for number in range(3))
    with gate(upstream=server.url) as before:
        listing = connect(before).list("few/")
        assert before.seen == []
        assert len(list(listing)) == 3
        assert len(before.seen) == 1


def test_a_signed_url_gives_the_file_with_its_type_and_says_how_long(bucket: Bucket) -> None:
    bucket.put("signed/a b.srt", CLIP, "application/x-subrip; charset=utf-8")
    url = bucket.url("signed/a b.srt")
    assert url is not None
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == CLIP
        assert answer.headers["Content-Type"] == "application/x-subrip; charset=utf-8"
    assert urlsplit(url).path == f"/{BUCKET}/signed/a%20b.srt"  # the bucket in the path
    assert parse_qs(urlsplit(url).query)["X-Amz-Expires"] == ["3600"]
    short = connect_again(bucket, s3_url_ttl_s=60).url("signed/a b.srt")
    assert parse_qs(urlsplit(short or "").query)["X-Amz-Expires"] == ["60"]


def connect_again(bucket: Bucket, **settings: Any) -> Bucket:
    return Bucket(bucket.config, SETTINGS.model_copy(update=settings))


def test_a_public_bucket_has_plain_urls_but_a_jobs_own_is_signed(bucket: Bucket) -> None:
    public = connect_again(bucket, s3_public_url="https://files.example/voice/")
    assert public.url("output/a b.wav") == "https://files.example/voice/output/a%20b.wav"
    own = Bucket(replace(bucket.config, source="s3Config", untrusted=True), public._settings)
    assert "X-Amz-Signature" in (own.url("output/a b.wav") or "")


def test_where_nothing_can_be_signed_there_is_no_url(bucket: Bucket) -> None:
    assert Bucket(replace(bucket.config, provider="RunPod"), SETTINGS).url("a") is None


def test_the_probe_leaves_nothing_behind(server: S3Server, bucket: Bucket) -> None:
    bucket.probe("probed/")
    assert list(bucket.list("probed/")) == []
    with gate(upstream=server.url) as before:
        connect(before).probe("probed/")
        assert [seen.method for seen in before.seen] == ["PUT", "GET", "DELETE"]


def test_a_key_that_may_not_delete_passes_the_probe(server: S3Server) -> None:
    def guard(request: Any) -> None:
        request.gate.faults.insert(0, guard)
        s3_server.refuse(403, "AccessDenied")(request) if request.command == "DELETE" else request.forward()

    with gate(guard, upstream=server.url) as before:
        connect(before).probe()
        assert "does not allow it to delete" not in failure(lambda: connect(before).get("large", 10))
        assert before.seen[2].method == "DELETE"


def test_a_public_bucket_is_not_read_by_the_probe(server: S3Server) -> None:
    with gate(upstream=server.url) as before:
        connect(before, s3_public_url="https://files.example").probe()
        assert [seen.method for seen in before.seen] == ["PUT", "DELETE"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (s3_server.refuse(403, "InvalidAccessKeyId"), "does not know the access key id"),
        (s3_server.refuse(403, "SignatureDoesNotMatch"), "the secret key does not belong to the key id"),
        (s3_server.refuse(403, "AccessDenied"), "does not allow it to write"),
        (s3_server.page(403), "refuses to write without saying why"),
        (s3_server.refuse(404, "NoSuchBucket"), "has no such bucket"),
        (s3_server.refuse(400, "EntityTooLarge"), "does not accept a file of this size"),
        (s3_server.refuse(400, "AuthorizationHeaderMalformed"), "refuses the region us-east-1"),
        (s3_server.refuse(418, "Teapot"), "answered 418 Teapot"),
        (s3_server.refuse(400, "{secret}"), "answered 400, but not as S3 does"),
        (s3_server.page(404), "has no such address; check the endpoint"),
        (s3_server.page(301, Location="https://www.example.com"), "redirects elsewhere"),
        (s3_server.page(302, Location="https://www.example.com"), "redirects elsewhere"),
    ],
)
def test_refusals_are_told_apart_at_the_first_try(fault: Callable[[Any], None], words: str) -> None:
    with gate(fault) as before:
        assert words in failure(connect(before).probe)
        assert len(before.seen) == 1
        assert urlsplit(before.url).netloc in failure(connect(before).probe)


def test_a_missing_bucket_of_a_real_server(server: S3Server) -> None:
    assert "bucket nowhere: it has no such bucket" in failure(connect(server.environ("nowhere")).probe)


@pytest.mark.parametrize(("ahead_s", "words"), [(7_200, "s behind"), (-7_200, "s ahead")])
def test_a_wrong_clock_is_measured(ahead_s: float, words: str) -> None:
    with gate(s3_server.refuse(403, "RequestTimeTooSkewed", clock_s=ahead_s)) as before:
        said = failure(connect(before).probe)
    assert words in said
    measured_s = int(said.partition("ours is ")[2].split()[0])
    assert measured_s == pytest.approx(7_200, abs=60)


def test_a_web_page_is_not_taken_for_a_bucket() -> None:
    with gate(s3_server.page()) as before:
        assert "does not answer as S3 does" in failure(lambda: connect(before).head("a"))
    for fault in (s3_server.page(), s3_server.page(**{"Content-Type": "application/xml"})):
        with gate(fault) as before:
            for act in (
                lambda: connect(before).get("a", LIMIT),
                lambda: list(connect(before).list("a")),
                connect(before).probe,
            ):
                before.seen.clear()
                assert "answers with a web page (status 200) instead of as S3 does; check the endpoint" in failure(act)
                assert len(before.seen) == 1


def test_a_web_page_that_is_stored_in_the_bucket_is_a_file(bucket: Bucket) -> None:
    bucket.put("page", b"<!DOCTYPE html><html></html>", "text/html")
    assert bucket.get("page", LIMIT) == b"<!DOCTYPE html><html></html>"


def test_a_server_that_forgets_is_found_by_the_probe() -> None:
    with gate(s3_server.accept, s3_server.refuse(404, "NoSuchKey")) as before:
        assert "does not give back what was written" in failure(connect(before).probe)


def test_a_server_that_does_not_answer() -> None:
    assert "does not accept connections" in failure(connect(s3_server.environ("http://127.0.0.1:9")).probe)
    mistyped = s3_server.environ("https://s3.us-west-001.backblaze-b2.invalid")
    assert "is not known" in failure(connect(mistyped).probe)
    with gate(s3_server.page()) as before:
        secure = s3_server.environ(before.url.replace("http:", "https:"))
        assert "has no TLS that is accepted" in failure(connect(secure).probe)


def test_the_providers_name_is_suggested_for_one_mistyped() -> None:
    from f5_worker.storage.s3_errors import _suggestion

    assert _suggestion("s3.us-west-001.backblaze-b2.com") == " (did you mean backblazeb2.com?)"
    assert _suggestion("minio.internal") == ""


def test_an_upload_that_dies_is_sent_again(server: S3Server) -> None:
    with gate(s3_server.die(100_000), s3_server.die(0), upstream=server.url) as before:
        connect(before).put("died", CLIP, "audio/wav")
        assert len(before.seen) == 3
    assert connect(server).get("died", LIMIT) == CLIP


def test_a_download_that_dies_is_asked_for_again(server: S3Server, bucket: Bucket) -> None:
    bucket.put("read", CLIP, "audio/wav")
    with gate(s3_server.die_halfway, upstream=server.url) as before:
        assert connect(before).get("read", LIMIT) == CLIP
        assert len(before.seen) == 2


@pytest.mark.parametrize(
    "fault",
    [s3_server.refuse(503, "SlowDown"), s3_server.refuse(500, "InternalError"), s3_server.page(502), s3_server.die(0)],
)
def test_transient_errors_are_retried_but_not_forever(server: S3Server, fault: Callable[[Any], None]) -> None:
    with gate(fault, upstream=server.url) as before:
        connect(before).put("tried", b"x", "text/plain")
        assert len(before.seen) == 2
    with gate(fault) as before:
        assert failure(lambda: connect(before).put("tried", b"x", "text/plain"))
        assert len(before.seen) == 4


def test_a_server_that_stalls_once_is_asked_again(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.5)
    with gate(s3_server.stall, upstream=server.url) as before:
        connect(before).put("stalled", CLIP, "audio/wav")
        assert len(before.seen) == 2
    assert connect(server).get("stalled", LIMIT) == CLIP


@pytest.mark.parametrize("fault", [s3_server.stall, s3_server.drip])
def test_a_server_that_stalls_or_drips_costs_no_more_than_the_time_allowed(fault: Callable[[Any], None]) -> None:
    with gate(fault) as before:
        slow = connect(before, s3_timeout_s=0.5)
        for act in (
            lambda: slow.put("a", CLIP, "audio/wav"),
            lambda: slow.get("a", LIMIT),
            lambda: slow.head("a"),
            lambda: list(slow.list("a")),
            lambda: slow.delete(["a"]),
        ):
            begun = time.monotonic()
            assert "longer than 0.5 s (F5_S3_TIMEOUT_S)" in failure(act)
            assert time.monotonic() - begun < 10  # without the bound: for as long as the gate stands


@pytest.mark.parametrize("fault", [s3_server.stall, s3_server.drip])
def test_an_operation_ends_with_its_job(fault: Callable[[Any], None]) -> None:
    with gate(fault) as before:
        slow = connect(before)
        for timeout_s, error in ((0.5, JobTimeout), (60.0, JobCancelled)):
            control = JobControl(timeout_s)
            cancel = threading.Timer(0.5 if error is JobCancelled else 20.0, control.cancel)
            cancel.start()
            begun = time.monotonic()
            with pytest.raises(error):
                control.run(lambda: slow.put("a", CLIP, "audio/wav"))
            assert time.monotonic() - begun < 10
            cancel.cancel()


def test_a_name_that_is_not_looked_up_ends_with_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()

    def hang(*args: Any, **kwargs: Any) -> list[Any]:
        answered.wait(60)
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    slow = connect(s3_server.environ("https://s3.example.com"))
    with pytest.raises(JobTimeout):
        JobControl(0.5).run(lambda: slow.put("a", CLIP, "audio/wav"))
    assert "longer than 0.5 s" in failure(
        lambda: connect(s3_server.environ("https://s3.example.com"), s3_timeout_s=0.5).probe()
    )
    answered.set()


def test_the_right_region_is_learned_and_urls_are_signed_for_it() -> None:
    elsewhere = s3_server.refuse(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1")
    with gate(elsewhere, s3_server.accept) as before:
        bucket = connect(before)
        bucket.put("a", b"x", "text/plain")
        assert ["us-east-1" in before.seen[0].headers["Authorization"], len(before.seen)] == [True, 2]
        assert "/eu-west-1/s3/" in before.seen[1].headers["Authorization"]
        assert "%2Feu-west-1%2Fs3%2F" in (bucket.url("a") or "")


def test_a_server_that_redirects_from_region_to_region_is_abandoned() -> None:
    faults = [s3_server.refuse(301, "PermanentRedirect", x_amz_bucket_region=f"eu-west-{n}") for n in (1, 2, 3)]
    with gate(*faults) as before:
        assert "from region eu-west-1 to eu-west-2" in failure(connect(before).probe)
        assert len(before.seen) == 2


def test_servers_that_refuse_checksums_are_served(server: S3Server) -> None:
    with gate(s3_server.refuse_checksums, upstream=server.url) as before:
        bucket = connect(before)
        bucket.probe()
        bucket.put("plain", CLIP, "audio/wav")
        assert bucket.get("plain", LIMIT) == CLIP
        bucket.delete(["plain"])


def test_the_environment_of_other_programs_changes_nothing(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "other",
        "AWS_SESSION_TOKEN": "other",
        "AWS_REGION": "eu-north-1",
        "AWS_PROFILE": "missing",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_supported",
    }.items():
        monkeypatch.setenv(name, value)
    module._session.cache_clear()
    with gate(upstream=server.url) as before:
        connect(before).put("alone", b"x", "text/plain")
        assert f"{s3_server.ACCESS_KEY}/" in before.seen[0].headers["Authorization"]
        assert "us-east-1" in before.seen[0].headers["Authorization"]
        assert not [name for name in before.seen[0].headers if "token" in name.lower() or "checksum" in name.lower()]


def own(url: str, **settings: Any) -> Bucket:
    """Return a job's own bucket at `url`."""
    config = replace(configured(s3_server.environ(url)), source="s3Config", untrusted=True)
    return Bucket(config, SETTINGS.model_copy(update=settings))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "10.0.0.1"])
def test_a_jobs_own_bucket_is_not_at_a_private_address(host: str) -> None:
    with gate(s3_server.accept) as before:
        bucket = own(f"http://{host}:{urlsplit(before.url).port}")
        with pytest.raises(FetchRefused, match="not at a public address"):
            bucket.put("a", b"x", "text/plain")
        assert before.seen == []


def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def resolve(host: str, port: int, *args: Any, **kwargs: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with gate(s3_server.accept) as before:
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
        place = f"bucket.example:{urlsplit(before.url).port}"
        own(f"http://{place}", fetch_private=True).put("a", b"x", "text/plain")
        assert before.seen[0].headers["Host"] == place
    assert [host for host in asked if host != "127.0.0.1"] == ["bucket.example"]


def test_a_jobs_own_bucket_cannot_send_without_end() -> None:
    def endless(request: Any) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not request.gate.closing.is_set():
            request.wfile.write(bytes(1 << 20))

    with gate(endless) as before:
        assert f"more than {module.MAX_ANSWER_BYTES} bytes" in failure(lambda: connect(before).put("a", b"x", "a/b"))
