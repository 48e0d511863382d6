"""`make chaos` with a few kills, and some of its scenes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.chaos import Counts, Volume, check_promises, kill_boots, kill_workers
from bench.chaos_scenes import SCENES, NotPlayed
from tests.e2e.conftest import StartRig
from tests.s3_server import s3_server

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_kills(tmp_path: Path) -> None:
    counts = Counts()
    (tmp_path / "boots").mkdir()
    kill_boots(1, tmp_path / "boots", counts)
    with s3_server() as s3:
        s3.create()
        kill_workers(2, tmp_path, s3.environ(), counts)
    assert (counts.boot_kills, counts.worker_kills, counts.voices_checked) == (1, 2, 9)
    assert (counts.corrupt, counts.phantom, counts.lost) == ([], [], [])


def test_a_broken_promise_is_found(start_rig: StartRig, tmp_path: Path) -> None:
    rig = start_rig(F5_VOICES_DIR=str(tmp_path / "voices"))
    rig.worker.ready()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "torn.json").write_text('{"audio":')
    volume, counts = Volume(tmp_path, {}), Counts()
    volume.voices["ann"] = {1.5}  # was added, and is not there
    volume.saved["job"] = b"RIFF"
    check_promises("here", rig.api, volume, counts)
    assert counts.lost == ["here: ann has None, not one of {1.5}", "here: the result of job is not there"]
    assert counts.corrupt == ["here: .json of 9 bytes"]


@pytest.mark.parametrize("name", ["disk full", "API answers garbage"])
def test_scene(name: str, tmp_path: Path) -> None:
    try:
        SCENES[name](tmp_path)
    except NotPlayed as error:
        pytest.skip(str(error))
