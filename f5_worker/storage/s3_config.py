"""The configuration of a bucket: from the environment, in three families of names, or from values of a job.

    family   endpoint             bucket           key id                 secret                     region
    S3       S3_ENDPOINT_URL      S3_BUCKET_NAME   S3_ACCESS_KEY_ID       S3_SECRET_ACCESS_KEY       S3_REGION
    BUCKET   BUCKET_ENDPOINT_URL  in the endpoint  BUCKET_ACCESS_KEY_ID   BUCKET_SECRET_ACCESS_KEY
    AWS      AWS_ENDPOINT_URL     S3_BUCKET        AWS_ACCESS_KEY_ID      AWS_SECRET_ACCESS_KEY      AWS_REGION

The first family, in this order, that has all that it needs is used, whole: nothing is borrowed from another. AWS keys
without S3_BUCKET belong to other programs. In the AWS family the endpoint may be missing, which means AWS itself.
BUCKET is the SDK's family; the SDK uploads into a bucket named after the month, here the bucket is in the URL.

The endpoint may hold the bucket, before the host or as its path. A region in the host overrides a variable, since the
host refuses any other; where neither has one, it is `us-east-1`, which most servers accept, and `auto` for Google.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from f5_worker.errors import SettingsInvalid
from f5_worker.settings import Settings, variable

DEFAULT_REGION = "us-east-1"

_AWS = r"s3(?:[.-](?:dualstack\.)?(?P<region>[a-z]{2,4}(?:-[a-z]+)+-\d))?\.amazonaws\.(?:com(?:\.cn)?|eu)"
_BUCKET = r"(?:(?P<bucket>[a-z0-9][a-z0-9.-]*)\.)?"
# Only what the providers document.
_PROVIDERS = {
    "AWS": re.compile(_BUCKET + _AWS),
    "Backblaze": re.compile(_BUCKET + r"s3\.(?P<region>[a-z]{2}-[a-z]+-\d{3})\.backblazeb2\.com"),
    "Wasabi": re.compile(_BUCKET + r"s3(?:\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d))?\.wasabisys\.com"),
    "Cloudflare": re.compile(_BUCKET + r"[0-9a-f]{32}(?:\.(?:eu|fedramp))?\.r2\.cloudflarestorage\.com"),
    "DigitalOcean": re.compile(_BUCKET + r"(?P<region>[a-z]{3}\d)\.digitaloceanspaces\.com"),
    "Google": re.compile(_BUCKET + r"storage\.googleapis\.com"),
    "Scaleway": re.compile(_BUCKET + r"s3\.(?P<region>[a-z]{2}-[a-z]{3})\.scw\.cloud"),
    "RunPod": re.compile(r"s3api-(?P<region>[a-z0-9-]+)\.runpod\.io"),
}
PROVIDER_DOMAINS = (
    "amazonaws.com",
    "backblazeb2.com",
    "wasabisys.com",
    "r2.cloudflarestorage.com",
    "digitaloceanspaces.com",
    "storage.googleapis.com",
    "scw.cloud",
)

_BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")  # no ARN, no path; older buckets have capitals
_REGION = re.compile(r"[A-Za-z0-9-]{1,63}")
_KEY = re.compile(r"[!#-&(-~]+")  # visible ASCII; quotes are a copying error
_BACKBLAZE_KEY = re.compile(r"(?:00[0-9a-f]{23}|[0-9a-f]{12})")  # application key, master key


@dataclass(frozen=True)
class BucketConfig:
    """A bucket and the key to it. `endpoint_url` is None for AWS, whose hosts follow from the region."""

    endpoint_url: str | None
    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str
    path_style: bool
    source: str  # the name of the family
    provider: str | None = None  # if known
    untrusted: bool = False  # a caller chose the endpoint: only public addresses are connected to

    @property
    def can_presign(self) -> bool:
        """Return False for RunPod's volumes, which have no presigned URLs (its docs of the S3-compatible API)."""
        return self.provider != "RunPod"

    @property
    def host(self) -> str:
        """Return the server's host and port, for messages."""
        return urlsplit(self.endpoint_url or f"https://s3.{self.region}.{_aws_domain(self.region)}").netloc


class Family(NamedTuple):
    """The names of one family's variables; empty where it has none."""

    name: str
    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    region: str

    @property
    def variables(self) -> tuple[str, ...]:
        """Return the names that the family has."""
        return tuple(name for name in self[1:] if name)

    @property
    def needed(self) -> tuple[str, ...]:
        """Return the names that must be set."""
        return tuple(name for name in self[1:5] if name and name != "AWS_ENDPOINT_URL")


FAMILIES = (
    Family("S3", "S3_ENDPOINT_URL", "S3_BUCKET_NAME", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_REGION"),
    Family("BUCKET", "BUCKET_ENDPOINT_URL", "", "BUCKET_ACCESS_KEY_ID", "BUCKET_SECRET_ACCESS_KEY", ""),
    Family("AWS", "AWS_ENDPOINT_URL", "S3_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"),
)


def bucket_from_env(environ: Mapping[str, str]) -> BucketConfig | None:
    """Return the operator's bucket; None when no family has a variable set.

    Raises:
        SettingsInvalid: no family is complete, or it contradicts itself; every variable is named.
    """
    given = _given(environ)
    started = [family for family in FAMILIES if _is_started(family, given)]
    if not started:
        return None
    complete = [family for family in started if all(name in given for name in family.needed)]
    if not complete:
        raise SettingsInvalid([_incomplete(family, given) for family in started])
    family = complete[0]
    values = {name: given.get(variable, "") for name, variable in family._asdict().items() if name != "name"}
    try:
        return _config(family.name, family, **values)
    except ValueError as error:
        raise SettingsInvalid(error.args) from None


def bucket_for(settings: Settings, environ: Mapping[str, str]) -> BucketConfig | None:
    """Return the operator's bucket, which some settings need.

    Raises:
        SettingsInvalid: as `bucket_from_env`, or a setting needs a bucket and there is none.
    """
    config = bucket_from_env(environ)
    needs = [variable("delivery")] if settings.delivery == "s3" else []
    needs += [variable("voices_s3_prefix")] if settings.voices_s3_prefix is not None else []
    if config is None and needs:
        names = ", ".join(FAMILIES[0].needed)
        raise SettingsInvalid([f"{name} needs a bucket, and none is configured ({names})" for name in needs])
    return config


def bucket_warnings(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield warnings about these variables: a mixture of families, a region that the host overrides.

    Raises:
        SettingsInvalid: see `bucket_from_env`.
    """
    config = bucket_from_env(environ)
    if config is None:
        return
    given = _given(environ)
    used = next(family for family in FAMILIES if family.name == config.source)
    others = [family for family in FAMILIES if family is not used and _is_started(family, given)]
    if ignored := [name for family in others for name in family.variables if name in given]:
        yield f"{', '.join(ignored)} not used: the bucket is given by {', '.join(used.needed)}"
    region = given.get(used.region, config.region)
    if region.lower() != config.region.lower():
        yield f"{used.region}={region} not used: {config.host} is {config.region}"


def bucket_from_values(family: Family, values: Mapping[str, str], *, untrusted: bool) -> BucketConfig:
    """Return the bucket that one family's values name; a missing value is empty.

    Args:
        values: by the fields of `Family`.
        untrusted: a caller chose them, so only public addresses are connected to.

    Raises:
        ValueError: one argument for each fault, by the family's own names; no value is quoted.
    """
    return replace(_config(family.name, family, **values), untrusted=untrusted)


def _aws_domain(region: str) -> str:
    return {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}.get(region.partition("-")[0], "amazonaws.com")


def _given(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are set; an empty value means "not set", as an endpoint's form sends it."""
    names = {name for family in FAMILIES for name in family.variables}
    return {name: environ[name].strip() for name in names if environ.get(name, "").strip()}


def _is_started(family: Family, given: Mapping[str, str]) -> bool:
    """Return True if any variable of the family is set; of AWS only S3_BUCKET counts."""
    own_names = ("S3_BUCKET",) if family.name == "AWS" else family.variables
    return any(name in given for name in own_names)


def _incomplete(family: Family, given: Mapping[str, str]) -> str:
    missing = [name for name in family.needed if name not in given]
    found = [name for name in family.variables if name in given]
    return f"{', '.join(missing)} missing, but {', '.join(found)} given; a bucket needs {', '.join(family.needed)}"


def _config(
    source: str, names: Family, *, endpoint: str, bucket: str, access_key: str, secret_key: str, region: str
) -> BucketConfig:
    """Check one family's values together.

    Raises:
        ValueError: one argument for each fault.
    """
    parsed, faults = _parse_endpoint(endpoint, names.endpoint)
    for name, value in ((names.access_key, access_key), (names.secret_key, secret_key)):
        if not _KEY.fullmatch(value):
            faults.append(f"{name} holds spaces, quotes or other characters that no key has; copy it again")
    if region and not _REGION.fullmatch(region):
        faults.append(f"{names.region} is not a region; write one such as {DEFAULT_REGION}")
    parsed, fault = _with_bucket(parsed, bucket, names)
    faults += [fault] if fault else []
    if parsed.provider == "AWS" and _BACKBLAZE_KEY.fullmatch(access_key):
        faults.append(
            f"{names.access_key} is a key of Backblaze, but without its endpoint it goes to AWS; "
            f"set {names.endpoint} to https://s3.<region>.backblazeb2.com"
        )
    if faults:
        raise ValueError(*faults)
    return BucketConfig(
        endpoint_url=parsed.url,
        bucket=parsed.bucket,
        access_key=access_key,
        secret_key=secret_key,
        region=parsed.region or region or ("auto" if parsed.provider == "Google" else DEFAULT_REGION),
        path_style=parsed.provider != "AWS",
        source=source,
        provider=parsed.provider,
    )


@dataclass(frozen=True)
class _Endpoint:
    """The parts of an endpoint's URL: `url` without the bucket, None for AWS."""

    url: str | None
    path: str = ""
    bucket: str = ""
    region: str = ""
    provider: str | None = None


def _parse_endpoint(endpoint: str, name: str) -> tuple[_Endpoint, list[str]]:
    """Return the parts of an endpoint, and its faults. No endpoint means AWS."""
    if not endpoint:
        return _Endpoint(None, provider="AWS"), []
    # Consoles show the endpoint without a scheme.
    url = endpoint if "://" in endpoint else f"https://{endpoint}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or parts.scheme not in ("https", "http") or re.search(r"[\s\\]", url):
        return _Endpoint(None), [f"{name} is not a URL; write https://host"]
    if "@" in parts.netloc or parts.query or parts.fragment:
        return _Endpoint(None), [f"{name} holds a user, a query or a fragment; write https://host only"]
    path = unquote(parts.path).strip("/")
    for provider, pattern in _PROVIDERS.items():
        if match := pattern.fullmatch(host):
            return _known_endpoint(provider, match, parts.scheme, host, port, path), []
    return _Endpoint(f"{parts.scheme}://{parts.netloc}", path), []


def _known_endpoint(
    provider: str, match: re.Match[str], scheme: str, host: str, port: int | None, path: str
) -> _Endpoint:
    found = match.groupdict()
    bucket, region = found.get("bucket") or "", found.get("region") or ""
    if provider == "RunPod":
        region = region.upper()  # the data centre, as its documentation writes it
    elif provider == "Cloudflare":
        region = "auto"
    bare_host = host[len(bucket) + 1 :] if bucket else host
    url = None if provider == "AWS" else f"{scheme}://{bare_host}" + (f":{port}" if port else "")
    return _Endpoint(url, path, bucket, region, provider)


def _with_bucket(endpoint: _Endpoint, bucket: str, names: Family) -> tuple[_Endpoint, str]:
    """Return the endpoint with its bucket, from the URL or the variable, and the fault, if any."""
    advice = f"set {names.bucket}" if names.bucket else f"write {names.endpoint} as https://host/bucket"
    base, _, last = endpoint.path.rpartition("/")
    if endpoint.bucket and bucket and endpoint.bucket != bucket:
        fault = f"{names.endpoint} names the bucket {endpoint.bucket}, {names.bucket} {bucket}; write one of them"
        return endpoint, fault
    if endpoint.bucket or not endpoint.path:
        bucket, base = endpoint.bucket or bucket, endpoint.path
    elif not bucket:
        bucket = last
        if base:
            return endpoint, f"{names.endpoint} has a path of several parts, any of which may be the bucket; {advice}"
    elif bucket != last:
        base = endpoint.path  # servers behind a path, such as https://host/storage/v1/s3
    if not bucket:
        return endpoint, f"no bucket is named; {advice}"
    if not _BUCKET_NAME.fullmatch(bucket):
        return endpoint, f"{names.bucket or names.endpoint} is not a bucket's name; {advice}"
    url = f"{endpoint.url}/{base}" if endpoint.url and base else endpoint.url
    return replace(endpoint, url=url, bucket=bucket), ""
