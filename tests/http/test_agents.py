"""Voice agents' plug-ins for ElevenLabs with only the address changed: `make agents` installs them and runs this."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.http.agents import AGENTS, SENTENCES
from tests.http.conftest import RunningServer

PYTHON = os.environ.get("AGENTS_PYTHON")


@pytest.mark.slow
@pytest.mark.skipif(not PYTHON, reason="make agents sets AGENTS_PYTHON, an environment with pipecat and livekit")
@pytest.mark.parametrize("agent", AGENTS)
def test_an_agent_speaks_with_the_times_of_its_words(server: RunningServer, agent: str) -> None:
    script = Path(__file__).with_name("agents.py")
    run = subprocess.run(
        [str(PYTHON), str(script), agent, server.address], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr
    heard = json.loads(run.stdout)
    assert heard["errors"] == []
    assert [word.strip() for word in heard["words"]] == " ".join(SENTENCES).split()
    times_s = heard["times_s"]
    assert times_s == sorted(times_s)
    seconds = heard["n_bytes"] / 48_000
    assert 2 < seconds < 8
    assert 0.8 * seconds < times_s[-1] - times_s[0] < seconds  # the times are of all of the audio
