"""Uploads, reads and presigned URLs of a bucket go to one address: that of its region. Nothing here is sent."""

from __future__ import annotations

import io
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from f5_worker.settings import Settings
from f5_worker.storage import s3_transport
from f5_worker.storage.s3 import Bucket
from f5_worker.storage.s3_config import bucket_from_env

pytestmark = pytest.mark.slow  # botocore takes 1 s to load

KEY = "output/job 1 é.wav"
PATH = "/output/job%201%20%C3%A9.wav"
R2 = "0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com"
SUPABASE = "https://abcdefghijklmnopqrst.storage.supabase.co/storage/v1/s3"

AWS_HOSTS = {
    "us-east-1": "s3.us-east-1.amazonaws.com",
    "us-west-2": "s3.us-west-2.amazonaws.com",
    "eu-west-1": "s3.eu-west-1.amazonaws.com",
    "eu-central-1": "s3.eu-central-1.amazonaws.com",
    "ap-southeast-2": "s3.ap-southeast-2.amazonaws.com",
    "me-south-1": "s3.me-south-1.amazonaws.com",
    "af-south-1": "s3.af-south-1.amazonaws.com",
    "il-central-1": "s3.il-central-1.amazonaws.com",
    "mx-central-1": "s3.mx-central-1.amazonaws.com",
    "us-gov-west-1": "s3.us-gov-west-1.amazonaws.com",
    "cn-north-1": "s3.cn-north-1.amazonaws.com.cn",
    "eusc-de-east-1": "s3.eusc-de-east-1.amazonaws.eu",
    "xx-future-9": "s3.xx-future-9.amazonaws.com",
}


class Wire:
    """Answers requests as the S3 of the region `home` does; of no region in particular if None."""

    def __init__(self) -> None:
        self.home: str | None = None
        self.requests: list[AWSPreparedRequest] = []

    def send(self, session: object, request: AWSPreparedRequest) -> AWSResponse:
        self.requests.append(request)
        authorization = request.headers["Authorization"].decode()
        if self.home is None or f"/{self.home}/s3/" in authorization:
            return answer(request, 200, {"ETag": '"00"'}, b"")
        return answer(request, 301, {"x-amz-bucket-region": self.home}, b"")


class Raw(io.BytesIO):
    def stream(self, size: int) -> Iterator[bytes]:
        yield self.getvalue()


def answer(request: AWSPreparedRequest, status: int, headers: dict[str, str], data: bytes) -> AWSResponse:
    return AWSResponse(request.url, status, headers, Raw(data))


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    wire = Wire()
    monkeypatch.setattr(s3_transport.URLLib3Session, "send", lambda session, request: wire.send(session, request))
    return wire


def bucket(endpoint: str, name: str, region: str = "") -> Bucket:
    environ = {"S3_BUCKET": name, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE000000000", "AWS_SECRET_ACCESS_KEY": "secret"}
    config = bucket_from_env(environ | {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": region})
    assert config is not None
    return Bucket(config, Settings())


def addresses(bucket: Bucket, wire: Wire) -> set[str]:
    """Return the addresses of an upload, a read and a presigned URL, each signed for the bucket's region."""
    bucket.put(KEY, b"x", "audio/wav")
    bucket.get(KEY, 1_000)
    url = urlsplit(bucket.url(KEY) or "")
    scope = f"/{bucket.config.region}/s3/aws4_request"
    assert parse_qs(url.query)["X-Amz-Credential"][0].endswith(scope)
    for request in wire.requests[-2:]:
        assert scope in request.headers["Authorization"].decode()
    return {request.url for request in wire.requests[-2:]} | {url._replace(query="").geturl()}


@pytest.mark.parametrize(("region", "host"), AWS_HOSTS.items())
def test_aws_is_asked_in_the_buckets_region(region: str, host: str, wire: Wire) -> None:
    assert addresses(bucket("", "voice", region), wire) == {f"https://voice.{host}{PATH}"}
    assert bucket("", "voice", region).config.host == host


@pytest.mark.parametrize("endpoint", ["https://s3.eu-west-1.amazonaws.com", "https://voice.s3.eu-west-1.amazonaws.com"])
def test_an_endpoint_of_aws_names_the_region(endpoint: str, wire: Wire) -> None:
    assert addresses(bucket(endpoint, "voice"), wire) == {f"https://voice.s3.eu-west-1.amazonaws.com{PATH}"}


@pytest.mark.parametrize("name", ["my.voice", "My_Voice", "under_score"])
def test_a_name_that_no_certificate_covers_is_in_the_path(name: str, wire: Wire) -> None:
    assert addresses(bucket("", name, "eu-west-1"), wire) == {f"https://s3.eu-west-1.amazonaws.com/{name}{PATH}"}


@pytest.mark.parametrize("name", ["voice", "my.voice"])
def test_without_a_region_the_first_answer_tells_it(name: str, wire: Wire) -> None:
    wire.home = "me-central-1"
    found = bucket("", name)
    (address,) = addresses(found, wire)
    assert urlsplit(address).hostname in ("s3.me-central-1.amazonaws.com", "voice.s3.me-central-1.amazonaws.com")
    assert found.config.region == "me-central-1"
    assert len(wire.requests) == 3  # the refused upload, the upload, the read


@pytest.mark.parametrize("name", ["voice", "my.voice"])
@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        (f"https://{R2}", "auto"),
        ("https://s3.us-west-004.backblazeb2.com", "us-west-004"),
        ("https://storage.googleapis.com", "auto"),
        (SUPABASE, "us-east-1"),
        ("http://minio:9000", "us-east-1"),
        ("https://nyc3.digitaloceanspaces.com", "nyc3"),
        ("https://s3.eu-central-2.wasabisys.com", "eu-central-2"),
        ("https://s3.fr-par.scw.cloud", "fr-par"),
    ],
)
def test_other_servers_are_asked_at_their_own_host(endpoint: str, region: str, name: str, wire: Wire) -> None:
    found = bucket(endpoint, name)
    assert found.config.region == region
    assert addresses(found, wire) == {f"{endpoint}/{name}{PATH}"}


@pytest.mark.parametrize("endpoint", ["https://storage.googleapis.com", SUPABASE, "http://minio:9000"])
def test_a_region_that_is_set_counts_where_the_host_has_none(endpoint: str, wire: Wire) -> None:
    assert bucket(endpoint, "voice", "europe-west4").config.region == "europe-west4"
