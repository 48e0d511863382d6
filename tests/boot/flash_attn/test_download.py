"""Download from a server that is slow, unreachable, or breaks the connection."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn.download import DownloadFailed, fetch, main
from f5_worker.boot.flash_attn.wheels import Wheel
from f5_worker.storage import files
from tests.boot.flash_attn.release_server import Asset, Releases
from tests.boot.flash_attn.support import QUICK

NAME = "flash_attn-2.8.3+cu12torch2.4cxx11abiFALSE-cp311-cp311-linux_x86_64.whl"
BODY = bytes(range(256)) * 32


@pytest.fixture
def releases(server: Releases) -> Releases:
    server.assets.clear()
    server.requests.clear()
    return server


def listed(releases: Releases, body: bytes = BODY) -> Wheel:
    url = f"{releases.url}/v2.8.3/{NAME.replace('+', '%2B')}"
    return Wheel(NAME, url, hashlib.sha256(body).hexdigest(), "2.8.3")


def unlisted(releases: Releases) -> Wheel:
    return replace(listed(releases), sha256=None)


def nothing_left(directory: Path) -> bool:
    return not [path for path in directory.iterdir() if path.suffix in (".part", ".whl", ".sha256")]


@pytest.mark.parametrize(
    ("asset", "message", "requests"),
    [
        (Asset(BODY, status=404), "HTTP 404", 1),
        (Asset(BODY, status=403), "HTTP 403", 1),
        (Asset(BODY, status=503), "HTTP 503, 3 attempts", 3),
        (Asset(BODY, breaks_after=0), "the connection ended after 0 of 8192 bytes, 3 attempts", 3),
        (Asset(BODY, pause_s=0.4), "no data for 0.2 s, 3 attempts", 3),
        (Asset(BODY + b"!"), "its sha256 is", 1),
        (Asset(bytes(2 << 20)), "2097152 bytes, at most 1048576 are accepted", 1),
        (Asset(bytes(2 << 20), announce=False), "more than 1048576 bytes", 1),
    ],
    ids=["404", "403", "503", "truncated", "stalls", "wrong hash", "too large", "endless"],
)
def test_faults(releases: Releases, tmp_path: Path, asset: Asset, message: str, requests: int) -> None:
    releases.assets[NAME] = asset
    limits = replace(QUICK, read_s=0.2 if asset.pause_s else QUICK.total_s, max_bytes=1 << 20)
    with pytest.raises(DownloadFailed, match=message) as failed:
        fetch(listed(releases), tmp_path, limits)
    assert (failed.value.absent, failed.value.is_late) == (asset.status == 404, False)
    assert len(releases.requests) == requests
    assert nothing_left(tmp_path)


def test_no_server(releases: Releases, tmp_path: Path) -> None:
    wheel = replace(listed(releases), url="http://127.0.0.1:9/x.whl")
    with pytest.raises(DownloadFailed, match="ConnectionRefusedError"):
        fetch(wheel, tmp_path, QUICK)


def test_no_space(releases: Releases, tmp_path: Path) -> None:
    releases.assets[NAME] = Asset(BODY)
    with pytest.raises(DownloadFailed, match=r"do not fit: \d+ are free"):
        fetch(listed(releases), tmp_path, replace(QUICK, spare_bytes=1 << 60))
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("hashed", [True, False])
def test_a_broken_connection_is_resumed(releases: Releases, tmp_path: Path, hashed: bool) -> None:
    releases.assets[NAME] = Asset(BODY, breaks_after=3000, max_breaks=2)
    wheel = listed(releases) if hashed else unlisted(releases)
    assert fetch(wheel, tmp_path, QUICK).read_bytes() == BODY
    assert [wanted for _, wanted in releases.requests] == [None, "bytes=3000-", "bytes=6000-"]


def test_server_that_cannot_resume_starts_over(releases: Releases, tmp_path: Path) -> None:
    releases.assets[NAME] = Asset(BODY, breaks_after=3000, max_breaks=2, resumable=False)
    assert fetch(listed(releases), tmp_path, QUICK).read_bytes() == BODY


@pytest.mark.parametrize("kept", [BODY[:700], b"x" * 700, b"x" * 9000], ids=["good", "other", "too long"])
def test_the_partial_file_of_a_killed_download_is_continued(releases: Releases, tmp_path: Path, kept: bytes) -> None:
    releases.assets[NAME] = Asset(BODY)
    orphan = files.temporary_beside(tmp_path / NAME)
    orphan.write_bytes(kept)
    os.utime(orphan, (0, time.time() - 600))
    assert fetch(listed(releases), tmp_path, QUICK).read_bytes() == BODY
    assert releases.requests[0][1] == f"bytes={len(kept)}-"
    assert len(releases.requests) == (1 if kept == BODY[:700] else 2)
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.parametrize("hashed", [True, False])
def test_what_a_download_that_came_too_late_has_is_continued(releases: Releases, tmp_path: Path, hashed: bool) -> None:
    releases.assets[NAME] = Asset(BODY, pause_s=0.1)
    wheel = listed(releases) if hashed else unlisted(releases)
    with pytest.raises(DownloadFailed, match=r"not complete after 0\.4 s") as failed:
        fetch(wheel, tmp_path, replace(QUICK, total_s=0.4))
    assert failed.value.is_late
    assert nothing_left(tmp_path) == (not hashed)  # without a hash the rest may be of another file
    releases.assets[NAME] = Asset(BODY)
    assert main(json.dumps({"wheel": asdict(wheel), "directory": str(tmp_path), "limits": asdict(QUICK)})) == 0
    assert (tmp_path / NAME).read_bytes() == BODY
    wanted = releases.requests[1][1]
    assert wanted is None if not hashed else wanted not in (None, "bytes=0-")


def test_one_process_at_a_time_downloads_for_the_next_start(releases: Releases, tmp_path: Path) -> None:
    request = json.dumps({"wheel": asdict(listed(releases)), "directory": str(tmp_path), "limits": asdict(QUICK)})
    with files.lease(tmp_path / f"{NAME}.lease", wait_s=0):
        (tmp_path / f"{NAME}.lease").write_text("another-host 1")
        assert main(request) == 0
    assert not releases.requests
    assert main(request) == 1  # HTTP 404


def test_the_partial_file_of_a_running_download_is_not_touched(releases: Releases, tmp_path: Path) -> None:
    releases.assets[NAME] = Asset(BODY)
    other = files.temporary_beside(tmp_path / NAME)
    other.write_bytes(BODY[:700])
    fetch(listed(releases), tmp_path, QUICK)
    assert other.exists()


@pytest.mark.parametrize("hashed", [True, False])
def test_a_damaged_cache_is_fetched_again(releases: Releases, tmp_path: Path, hashed: bool) -> None:
    releases.assets[NAME] = Asset(BODY)
    wheel = listed(releases) if hashed else unlisted(releases)
    path = fetch(wheel, tmp_path, QUICK)
    assert fetch(wheel, tmp_path, QUICK) == path
    assert len(releases.requests) == 1
    path.write_bytes(b"half")
    assert fetch(wheel, tmp_path, QUICK).read_bytes() == BODY
    assert len(releases.requests) == 2
