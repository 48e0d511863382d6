"""A batch whose worker is killed at any moment is gone on with by the next one, under the real SDK."""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from f5_worker.text.seed import segment_seed
from tests.e2e.fake_api import Body, FakeApi
from tests.e2e.worker_process import WorkerProcess

N_KILLS = int(os.environ.get("RESUME_KILLS", 3))  # each takes half a minute; make chaos asks for 20
SEED, ANSWER_S = 20, 120.0
WORDS = "amber birch cedar delta ember fjord grove heath".split()
ITEMS = [
    {"id": f"line-{number}", "text": f"Number {number} is {WORDS[number % 8]} and {WORDS[number // 8]}."}
    for number in range(40)
]
FAST = {"voice": "joe", "nfe_step": 4, "cfg_strength": 0.0, "speed": 2.0}
JOB: Body = {"action": "batch", "resume_key": "book", "items": ITEMS, "defaults": FAST}

# The worker, which notes in a file which segments begin and are finished; a kill loses no note.
NOTES_SEGMENTS = """
import os, sys
import handler
from f5_worker.models.f5.runner import F5Runner
file, begin, finish = os.open(sys.argv[1], os.O_CREAT | os.O_APPEND | os.O_WRONLY), F5Runner.begin, F5Runner.finish
def note(what, seed):
    os.write(file, f"{os.getpid()} {what} {seed}\\n".encode())
def noted_begin(self, segment):
    note("begun", segment.seed)
    state = begin(self, segment)
    seeds[id(state)] = segment.seed
    return state
def noted_finish(self, states):
    audio = finish(self, states)
    for state in states:
        note("finished", seeds.pop(id(state)))
    return audio
seeds = {}
F5Runner.begin, F5Runner.finish = noted_begin, noted_finish
handler.main()
"""


class Workers:
    """Workers on one directory of finished items, one after another."""

    def __init__(self, home: Path) -> None:
        self._home, self.parts, self.notes = home, home / "parts", home / "notes"
        self._running = ExitStack()

    def start(self) -> None:
        self._api = self._running.enter_context(FakeApi())
        program = ("-u", "-c", NOTES_SEGMENTS, str(self.notes))
        overrides = {"F5_RESUME_DIR": str(self.parts)}
        self._worker = WorkerProcess(self._home, self._api, program=program, overrides=overrides)
        self._running.enter_context(self._worker).ready()

    def kill(self) -> None:
        self._running.close()  # SIGKILL to the whole group

    def submit(self) -> str:
        return self._api.submit(JOB)

    def wait(self, job_id: str) -> dict[str, Any]:
        output = self._api.wait(job_id, ANSWER_S)["output"]
        assert (output["succeeded"], output["failed"]) == (40, 0)
        return dict(output)

    def clear(self) -> None:
        shutil.rmtree(self.parts, ignore_errors=True)
        os.truncate(self.notes, 0)


def counted(notes: Path, what: str, seeds: set[int]) -> Counter[int]:
    """How often the segment of each seed has begun, or was finished."""
    lines = (line.split() for line in notes.read_text().splitlines())
    return Counter(int(seed) for _, done, seed in lines if done == what and int(seed) in seeds)


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_a_killed_worker_loses_one_item_at_most_and_no_byte_is_another(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    workers.start()
    began = time.monotonic()
    whole = workers.wait(workers.submit())
    whole_s = time.monotonic() - began
    seeds = {segment_seed(item["result"]["seed"], 0) for item in whole["items"]}
    assert len(seeds) == 40
    worst: Counter[str] = Counter()
    for number in range(N_KILLS):
        workers.clear()
        workers.submit()
        time.sleep(random.Random(SEED + number).uniform(0.0, whole_s))
        workers.kill()
        workers.start()
        reply = workers.wait(workers.submit())
        n_found = sum("resumed" in item for item in reply["items"])
        for item, before in zip(reply["items"], whole["items"], strict=True):
            assert item["result"]["audio"] == before["result"]["audio"], f"kill {number}: {item['id']} is another"
        for what in ("begun", "finished"):
            twice = sum(count > 1 for count in counted(workers.notes, what, seeds).values())
            worst[what] = max(worst[what], twice)
        print(f"kill {number}: {n_found} of 40 found", file=sys.stderr)
    workers.kill()
    print(f"twice at most: {dict(worst)}; the whole takes {whole_s:.1f} s", file=sys.stderr)
    assert max(worst.values()) <= 1
