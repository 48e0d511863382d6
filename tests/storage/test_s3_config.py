"""Which bucket the variables, or a job, mean; nothing here is sent."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from f5_worker.errors import SettingsInvalid
from f5_worker.settings import Settings
from f5_worker.storage.s3_config import BucketConfig, bucket_for, bucket_from_env, bucket_warnings

KEY, SECRET = "AKIAEXAMPLE000000000", "wJalr/XUtnFEMI+K7MDENG"
B2 = "https://s3.us-west-001.backblazeb2.com"
S3 = {"S3_BUCKET_NAME": "voice", "S3_ACCESS_KEY_ID": KEY, "S3_SECRET_ACCESS_KEY": SECRET, "S3_ENDPOINT_URL": B2}
AWS = {"S3_BUCKET": "voice", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
SDK = {"BUCKET_ENDPOINT_URL": f"{B2}/voice", "BUCKET_ACCESS_KEY_ID": KEY, "BUCKET_SECRET_ACCESS_KEY": SECRET}


def config(environ: dict[str, str]) -> BucketConfig:
    found = bucket_from_env(environ)
    assert found is not None
    return found


def faults(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsInvalid) as error:
        bucket_from_env(environ)
    return str(error.value)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"},  # somebody else's
        {name: " " for name in S3 | AWS | SDK},  # an endpoint's form sends what was left empty
    ],
)
def test_no_bucket_is_no_fault(environ: dict[str, str]) -> None:
    assert bucket_from_env(environ) is None
    assert list(bucket_warnings(environ)) == []


@pytest.mark.parametrize(("environ", "source"), [(S3, "S3"), (SDK, "BUCKET"), (AWS | {"AWS_ENDPOINT_URL": B2}, "AWS")])
def test_each_family_names_the_same_bucket(environ: dict[str, str], source: str) -> None:
    expected = BucketConfig(B2, "voice", KEY, SECRET, "us-west-001", True, source, "Backblaze")
    assert config(environ) == expected
    assert list(bucket_warnings(environ)) == []


def test_without_an_endpoint_it_is_aws() -> None:
    found = config(AWS | {"AWS_REGION": "eu-central-1"})
    assert (found.endpoint_url, found.region, found.path_style) == (None, "eu-central-1", False)
    assert found.host == "s3.eu-central-1.amazonaws.com"


def test_of_several_families_the_first_complete_one_is_taken_whole_and_the_rest_is_reported() -> None:
    both = AWS | SDK | {"S3_REGION": "eu-west-1"}  # S3 is begun by S3_REGION, and far from complete
    assert config(both).source == "BUCKET"
    (warning,) = bucket_warnings(both)
    for name in ("S3_REGION", "S3_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "BUCKET_ENDPOINT_URL"):
        assert name in warning
    assert config(both | S3).source == "S3"


@pytest.mark.parametrize("family", [S3, SDK, AWS])
def test_what_is_missing_is_named(family: dict[str, str]) -> None:
    for missing in family:
        rest = {name: value for name, value in family.items() if name != missing}
        if missing == "S3_BUCKET":  # nothing is left that is ours
            assert bucket_from_env(rest) is None
            continue
        said = faults(rest)
        assert said.startswith(f"SETTINGS_INVALID: {missing} missing, but ")
        assert KEY not in said
        assert SECRET not in said


def test_halves_of_two_families_make_no_bucket_and_both_are_named() -> None:
    said = faults({"S3_BUCKET": "voice", "S3_ACCESS_KEY_ID": KEY, "S3_SECRET_ACCESS_KEY": SECRET})
    assert "S3_ENDPOINT_URL, S3_BUCKET_NAME missing" in said
    assert "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY missing" in said


R2 = "0123456789abcdef0123456789abcdef.r2.cloudflarestorage.com"


@pytest.mark.parametrize(
    ("url", "endpoint", "region"),
    [
        ("https://s3.amazonaws.com", None, "us-east-1"),
        ("https://s3.eu-west-1.amazonaws.com/", None, "eu-west-1"),
        ("https://voice.s3.eu-west-1.amazonaws.com", None, "eu-west-1"),
        ("https://voice.s3.amazonaws.com", None, "us-east-1"),  # the SDK takes this for a region "amazonaws.com"
        ("https://s3.eu-west-1.amazonaws.com/voice", None, "eu-west-1"),
        ("https://s3-ap-southeast-2.amazonaws.com", None, "ap-southeast-2"),
        ("https://s3.us-gov-west-1.amazonaws.com", None, "us-gov-west-1"),
        ("https://s3.cn-north-1.amazonaws.com.cn", None, "cn-north-1"),
        (B2, B2, "us-west-001"),
        ("s3.us-west-001.backblazeb2.com", B2, "us-west-001"),  # as Backblaze's console shows it
        ("https://voice.s3.us-west-001.backblazeb2.com", B2, "us-west-001"),
        ("https://s3.wasabisys.com", "https://s3.wasabisys.com", "us-east-1"),
        ("https://s3.eu-central-2.wasabisys.com", "https://s3.eu-central-2.wasabisys.com", "eu-central-2"),
        (f"https://{R2}", f"https://{R2}", "auto"),
        (f"https://{R2}/voice", f"https://{R2}", "auto"),
        (f"https://voice.{R2}", f"https://{R2}", "auto"),
        ("https://nyc3.digitaloceanspaces.com", "https://nyc3.digitaloceanspaces.com", "nyc3"),
        ("https://voice.nyc3.digitaloceanspaces.com", "https://nyc3.digitaloceanspaces.com", "nyc3"),
        ("https://voice.storage.googleapis.com", "https://storage.googleapis.com", "auto"),
        ("https://s3.fr-par.scw.cloud", "https://s3.fr-par.scw.cloud", "fr-par"),
        ("https://s3.eusc-de-east-1.amazonaws.eu", None, "eusc-de-east-1"),
        ("https://s3api-eur-is-1.runpod.io/", "https://s3api-eur-is-1.runpod.io", "EUR-IS-1"),
        ("http://minio:9000", "http://minio:9000", "us-east-1"),
        ("http://minio:9000/voice", "http://minio:9000", "us-east-1"),
        ("http://[fd00::1]:9000", "http://[fd00::1]:9000", "us-east-1"),
        ("https://x.example.co/storage/v1/s3", "https://x.example.co/storage/v1/s3", "us-east-1"),
        ("https://x.example.co/storage/v1/s3/voice", "https://x.example.co/storage/v1/s3", "us-east-1"),
    ],
)
def test_endpoints(url: str, endpoint: str | None, region: str) -> None:
    found = config(S3 | {"S3_ENDPOINT_URL": url})
    assert (found.endpoint_url, found.bucket, found.region) == (endpoint, "voice", region)
    assert found.path_style == (endpoint is not None)


@pytest.mark.parametrize("url", [f"{B2}/voice", f"voice.{B2[8:]}", "http://minio:9000/voice/"])
def test_the_sdks_family_has_the_bucket_in_the_url(url: str) -> None:
    assert config(SDK | {"BUCKET_ENDPOINT_URL": url}).bucket == "voice"


def test_only_runpods_volumes_have_no_signed_urls() -> None:
    assert config(S3).can_presign
    assert not config(S3 | {"S3_ENDPOINT_URL": "https://s3api-us-ks-2.runpod.io"}).can_presign


def test_a_region_that_the_host_tells_counts_and_the_other_is_reported() -> None:
    environ = AWS | {"AWS_ENDPOINT_URL": B2, "AWS_REGION": "us-east-1"}
    assert config(environ).region == "us-west-001"
    assert list(bucket_warnings(environ)) == [
        "AWS_REGION=us-east-1 not used: s3.us-west-001.backblazeb2.com is us-west-001"
    ]
    assert list(bucket_warnings(S3 | {"S3_ENDPOINT_URL": "http://minio:9000", "S3_REGION": "here"})) == []


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        (SDK | {"BUCKET_ENDPOINT_URL": B2}, "no bucket is named; write BUCKET_ENDPOINT_URL as https://host/bucket"),
        (SDK | {"BUCKET_ENDPOINT_URL": "https://h/a/b"}, "a path of several parts"),
        (S3 | {"S3_ENDPOINT_URL": f"https://other.{B2[8:]}"}, "names the bucket other, S3_BUCKET_NAME voice"),
        (S3 | {"S3_ENDPOINT_URL": "ftp://host"}, "S3_ENDPOINT_URL is not a URL"),
        (S3 | {"S3_ENDPOINT_URL": "https://ho st"}, "S3_ENDPOINT_URL is not a URL"),
        (S3 | {"S3_ENDPOINT_URL": "https://[::1"}, "S3_ENDPOINT_URL is not a URL"),
        (S3 | {"S3_ENDPOINT_URL": "https://host:port"}, "S3_ENDPOINT_URL is not a URL"),
        (S3 | {"S3_ENDPOINT_URL": f"https://{KEY}:{SECRET[-12:]}@host"}, "S3_ENDPOINT_URL holds a user"),
        (S3 | {"S3_ENDPOINT_URL": f"https://host?x={SECRET}"}, "S3_ENDPOINT_URL holds a user"),
        (S3 | {"S3_BUCKET_NAME": "arn:aws:s3:::voice"}, "S3_BUCKET_NAME is not a bucket's name"),
        (S3 | {"S3_BUCKET_NAME": "../voice"}, "S3_BUCKET_NAME is not a bucket's name"),
        (S3 | {"S3_REGION": "eu west"}, "S3_REGION is not a region"),
        (S3 | {"S3_SECRET_ACCESS_KEY": f'"{SECRET}"'}, "S3_SECRET_ACCESS_KEY holds spaces, quotes"),
        (S3 | {"S3_ACCESS_KEY_ID": f"{KEY} x"}, "S3_ACCESS_KEY_ID holds spaces, quotes"),
        (AWS | {"AWS_ACCESS_KEY_ID": "0012c0ffee12c0ffee0000001"}, "is a key of Backblaze"),
    ],
)
def test_what_cannot_be_is_said_and_no_key_is_quoted(environ: dict[str, str], words: str) -> None:
    said = faults(environ)
    assert words in said
    assert SECRET[-12:] not in said
    assert KEY not in said


def test_all_faults_are_told_at_once() -> None:
    said = faults(S3 | {"S3_ENDPOINT_URL": "ftp://x", "S3_REGION": "?", "S3_SECRET_ACCESS_KEY": "'x'"})
    assert [name for name in ("S3_ENDPOINT_URL", "S3_REGION", "S3_SECRET_ACCESS_KEY") if name not in said] == []


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_any_text_gives_a_bucket_or_words(endpoint: str, bucket: str, key: str) -> None:
    environ = {"S3_ENDPOINT_URL": endpoint, "S3_BUCKET_NAME": bucket, "S3_ACCESS_KEY_ID": key}
    with suppress(SettingsInvalid):
        assert config(environ | {"S3_SECRET_ACCESS_KEY": SECRET}).bucket


def test_keys_do_not_show() -> None:
    assert KEY not in repr(config(S3))
    assert SECRET not in repr(config(S3))


@pytest.mark.parametrize(
    ("fields", "name"), [({"delivery": "s3"}, "F5_DELIVERY"), ({"voices_s3_prefix": "v/"}, "F5_VOICES_S3_PREFIX")]
)
def test_settings_that_need_a_bucket_say_so(fields: dict[str, Any], name: str) -> None:
    assert bucket_for(Settings(), {}) is None
    with pytest.raises(SettingsInvalid, match=f"{name} needs a bucket, and none is configured .S3_ENDPOINT_URL"):
        bucket_for(Settings(**fields), {})
