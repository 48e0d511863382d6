"""Keys, signatures and signed URLs: in no log, no message and no repr, whatever a server or another library does."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from f5_worker.errors import WorkerError
from f5_worker.log import logger
from f5_worker.settings import Settings
from f5_worker.storage import s3 as module
from f5_worker.storage.s3 import Bucket
from f5_worker.storage.s3_config import BucketConfig, bucket_from_env
from tests import s3_server
from tests.s3_server import ACCESS_KEY, SECRET_KEY, gate

pytestmark = pytest.mark.slow  # loads botocore

SETTINGS = Settings(s3_timeout_s=30)
LOUD = ("", "boto3", "botocore", "urllib3", "s3transfer", "f5_worker")


def configured(url: str) -> BucketConfig:
    config = bucket_from_env(s3_server.environ(url))
    assert config is not None
    return config


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Everything that was logged, with all libraries as loud as they can be made before the first use."""
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(module, "PAUSES_S", (0.01, 0.01))
    for name in LOUD:
        caplog.set_level(logging.DEBUG, logger=name or None)
    caplog.handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    return lambda: caplog.text


def secrets_in(text: str) -> list[str]:
    marks = (ACCESS_KEY, SECRET_KEY, "X-Amz-Signature", "Signature=", "AWS4-HMAC-SHA256", "X-Amz-Credential")
    return [mark for mark in marks if mark.lower() in text.lower()]


def act_in_every_way(bucket: Bucket) -> str:
    """Use all of the bucket; return what the errors say, with everything that a traceback would show."""
    said = []
    for act in (
        lambda: bucket.put("a", b"x" * 100_000, "audio/wav"),
        lambda: bucket.get("a", 1_000_000),
        lambda: bucket.head("a"),
        lambda: list(bucket.list("a")),
        lambda: bucket.delete(["a"]),
        lambda: bucket.url("a"),
        bucket.probe,
    ):
        try:
            act()
        except WorkerError as error:
            said += [str(error), repr(error), "".join(traceback.format_exception(error))]
    return "\n".join(said)


FAULTS = [
    s3_server.refuse(403, "SignatureDoesNotMatch"),  # its body quotes the key id and what was signed
    s3_server.refuse(403, SECRET_KEY),
    s3_server.refuse(301, "PermanentRedirect", x_amz_bucket_region="eu-west-1"),
    s3_server.page(302, Location=f"http://{ACCESS_KEY}:{SECRET_KEY[-4:]}@127.0.0.1/?X-Amz-Signature=1"),
    s3_server.page(),
    s3_server.die(0),
]


@pytest.mark.parametrize("fault", FAULTS)
def test_failures_tell_no_secret(fault: Callable[[Any], None], heard: Callable[[], str]) -> None:
    with gate(fault) as before:
        said = act_in_every_way(Bucket(configured(before.url), SETTINGS))
    assert before.seen
    assert said
    assert secrets_in(said) == []
    assert secrets_in(heard()) == []


def test_success_tells_no_secret(heard: Callable[[], str], caplog: pytest.LogCaptureFixture) -> None:
    with s3_server.s3_server() as server:
        server.create()
        caplog.clear()  # of what the test's own client said
        bucket = Bucket(configured(server.url), SETTINGS)
        assert act_in_every_way(bucket) == ""
    assert secrets_in(heard()) == []


def test_nobody_there_tells_no_secret(heard: Callable[[], str]) -> None:
    said = act_in_every_way(Bucket(configured("http://127.0.0.1:9"), SETTINGS))
    assert "takes no connection" in said
    assert secrets_in(said + heard()) == []


def test_reprs_tell_no_secret() -> None:
    config = configured("http://127.0.0.1:9")
    for thing in (config, Bucket(config, SETTINGS), replace(config, source="s3Config"), [config], {"bucket": config}):
        assert secrets_in(repr(thing)) == []
        assert secrets_in(f"{thing}") == []
