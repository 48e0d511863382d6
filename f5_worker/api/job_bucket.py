"""A job's own bucket, as RunPod carries it: `s3Config {accessId, accessSecret, bucketName, endpointUrl}`."""

from __future__ import annotations

from collections.abc import Mapping

from f5_worker.errors import InvalidInput
from f5_worker.settings import Settings
from f5_worker.storage import fetch
from f5_worker.storage.s3_config import BucketConfig, Family, bucket_from_values

FIELD = "s3Config"
_FIELDS = {"endpoint": "endpointUrl", "bucket": "bucketName", "access_key": "accessId", "secret_key": "accessSecret"}
_FAMILY = Family(FIELD, **{name: f"{FIELD}.{field}" for name, field in _FIELDS.items()}, region="")


def bucket_from_job(value: object, settings: Settings) -> BucketConfig:
    """Return the configuration of a job's own bucket.

    Raises:
        InvalidInput: a field is missing or cannot be used; no value is quoted.
        FetchRefused: an endpoint that this worker does not call; its address is checked when it is called.
    """
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{FIELD} is not an object; send {', '.join(_FIELDS.values())}")
    texts = {name: _text(value.get(field)) for name, field in _FIELDS.items()}
    if missing := [_FIELDS[name] for name, text in texts.items() if not text and name != "bucket"]:
        raise InvalidInput(f"{FIELD} lacks {', '.join(missing)}; send {', '.join(_FIELDS.values())}")
    try:
        config = bucket_from_values(_FAMILY, {**texts, "region": ""}, untrusted=True)
    except ValueError as error:
        raise InvalidInput("; ".join(error.args)) from None
    fetch.check_url(config.endpoint_url or f"https://{config.host}", settings)
    return config


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""
