"""`make fuzz` with fewer cases: whatever is read is accepted or refused in words, in bounded time."""

from __future__ import annotations

import time

import pytest

from bench.fuzz import DECODERS, Target, only_numbers, run_case, run_target, targets
from f5_worker.errors import InvalidInput

N_CASES = {"decode": 60, "captions": 400, "schema": 400, "text": 100, "address": 400, "fetch": 200}


@pytest.mark.slow
@pytest.mark.parametrize("name", N_CASES)
def test_no_case_fails(name: str) -> None:
    with only_numbers():
        result = run_target(name, targets()[name], range(N_CASES[name]), deadline=time.monotonic() + 60)
    DECODERS.close()
    assert result["failures"] == []
    assert result["cases"] > N_CASES[name] // 4
    assert len(result["outcomes"]) > 1 or name == "text"  # some are refused, some are not


def test_what_is_a_failure() -> None:
    def refuse(case: object) -> None:
        raise InvalidInput("no")

    def crash(case: object) -> None:
        raise ValueError("crash")

    def wait(case: object) -> None:
        time.sleep(0.02)

    def failure(run: object, name: str = "schema") -> str | None:
        return run_case(name, Target(lambda rng: 0, run, max_s=0.01), 7)[2]  # type: ignore[arg-type]

    assert failure(refuse) is None
    assert failure(crash) == "schema --case 7: ValueError: crash"
    assert str(failure(wait)).startswith("schema --case 7: took 0.0 s")
    assert failure(refuse, "fetch") == "fetch --case 7: refused with INVALID_INPUT"
