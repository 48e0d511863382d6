"""The bucket that a job brings along; nothing here is sent."""

from __future__ import annotations

from typing import Any

import pytest

from f5_worker.api.job_bucket import bucket_from_job
from f5_worker.errors import FetchRefused, InvalidInput
from f5_worker.settings import Settings
from f5_worker.storage.s3_config import BucketConfig, bucket_from_env

KEY, SECRET = "AKIAEXAMPLE000000000", "wJalr/XUtnFEMI+K7MDENG"
B2 = "https://s3.us-west-001.backblazeb2.com"
S3 = {"S3_BUCKET_NAME": "voice", "S3_ACCESS_KEY_ID": KEY, "S3_SECRET_ACCESS_KEY": SECRET, "S3_ENDPOINT_URL": B2}
JOB = {"accessId": KEY, "accessSecret": SECRET, "bucketName": "voice", "endpointUrl": B2}
SETTINGS = Settings()


def test_a_jobs_own_bucket() -> None:
    found = bucket_from_job(JOB, SETTINGS)
    assert found == BucketConfig(B2, "voice", KEY, SECRET, "us-west-001", True, "s3Config", "Backblaze", untrusted=True)
    assert found.untrusted
    operators = bucket_from_env(S3)
    assert operators is not None
    assert not operators.untrusted
    in_url = {**JOB, "bucketName": None, "endpointUrl": f"{B2}/voice"}
    assert bucket_from_job(in_url, SETTINGS) == found


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("s3://voice", "s3Config is not an object; send endpointUrl, bucketName, accessId, accessSecret"),
        ({}, "s3Config lacks endpointUrl, accessId, accessSecret"),
        ({**JOB, "accessSecret": 5}, "s3Config lacks accessSecret"),
        ({**JOB, "bucketName": ""}, "no bucket is named; set s3Config.bucketName"),
        ({**JOB, "endpointUrl": "ftp://x"}, "s3Config.endpointUrl is not a URL"),
    ],
)
def test_a_jobs_own_bucket_that_cannot_be(value: Any, words: str) -> None:
    with pytest.raises(InvalidInput) as error:
        bucket_from_job(value, SETTINGS)
    assert words in str(error.value)
    assert SECRET not in str(error.value)


def test_plain_http_is_the_operators_to_allow() -> None:
    plain = {**JOB, "endpointUrl": "http://host.example"}
    with pytest.raises(FetchRefused, match="only https"):
        bucket_from_job(plain, SETTINGS)
    assert bucket_from_job(plain, Settings(fetch_http=True)).endpoint_url == "http://host.example"
    with pytest.raises(FetchRefused, match="port 9000"):
        bucket_from_job({**JOB, "endpointUrl": "https://host.example:9000"}, SETTINGS)
