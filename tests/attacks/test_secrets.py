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
LOGGERS = ("", "boto3", "botocore", "urllib3", "s3transfer", "f5_worker")


def configured(url: str) -> BucketConfig:
    config = bucket_from_env(s3_server.environ(url))
    assert config is not None
    return config


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Return everything that was logged, with all libraries at DEBUG before their first use."""
    monkeypatch.setattr(logger, "propagate", True)
    monkeypatch.setattr(module, "PAUSES_S", (0.01, 0.01))
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name or None)
    caplog.handler.setFormatter(logging.Formatter("%(name)s %(message)s"))
    return lambda: caplog.text


def secrets_in(text: str) -> list[str]:
    marks = (ACCESS_KEY, SECRET_KEY, "X-Amz-Signature", "Signature=", "AWS4-HMAC-SHA256", "X-Amz-Credential")
    return [mark for mark in marks if mark.lower() in text.lower()]


def use_every_method(bucket: Bucket) -> str:
    """Use every method of the bucket; return the errors with everything that a traceback would show."""
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
def test_failures_tell_no_secret(fault: Callable[[Any], None], logged: Callable[[], str]) -> None:
    with gate(fault) as before:
        said = use_every_method(Bucket(configured(before.url), SETTINGS))
    assert before.seen
    assert said
    assert secrets_in(said) == []
    assert secrets_in(logged()) == []


def test_success_tells_no_secret(logged: Callable[[], str], caplog: pytest.LogCaptureFixture) -> None:
    with s3_server.s3_server() as server:
        server.create()
        caplog.clear()  # of what the test's own client said
        bucket = Bucket(configured(server.url), SETTINGS)
        assert use_every_method(bucket) == ""
    assert secrets_in(logged()) == []


def test_a_server_that_does_not_answer_tells_no_secret(logged: Callable[[], str]) -> None:
    said = use_every_method(Bucket(configured("http://127.0.0.1:9"), SETTINGS))
    assert "does not accept connections" in said
    assert secrets_in(said + logged()) == []


def test_reprs_tell_no_secret() -> None:
    config = configured("http://127.0.0.1:9")
    for thing in (config, Bucket(config, SETTINGS), replace(config, source="s3Config"), [config], {"bucket": config}):
        assert secrets_in(repr(thing)) == []
        assert secrets_in(f"{thing}") == []
