"""`make soak` with 60 jobs: every kind comes at least twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.soak import missed, run_leg
from bench.soak_jobs import files_server

N_JOBS = 60


@pytest.mark.e2e
@pytest.mark.slow
def test_sixty_mixed_jobs(tmp_path: Path) -> None:
    with files_server() as url:
        leg = run_leg(N_JOBS, url, tmp_path, streaming=False)
    assert missed(leg, slope=False) == [], leg["faults"]
    assert leg["jobs"] >= N_JOBS
    assert leg["outcomes"]["ok"] > N_JOBS // 2
