"""A few seconds of bench/http_load.py: nothing is lost, wrong or left behind. `make bench-http` is the whole of it."""

from __future__ import annotations

import asyncio

import pytest

from bench import http_load


@pytest.mark.slow
def test_clients_of_all_kinds_are_answered_and_leave_nothing_behind() -> None:
    load = asyncio.run(http_load.steady(8, 0.15))
    assert (load["lost"], load["wrong"], load["left_behind"]) == (0, 0, 0), load
    assert len(load["outcomes"]) >= 5


@pytest.mark.slow
def test_a_full_queue_refuses_and_says_when_to_try_again() -> None:
    full = asyncio.run(http_load.full_queue(24))
    assert full["statuses"] == {"200": 24}
    assert list(full["refusals"]) == ["with Retry-After"]
    assert full["left_behind"] == 0


@pytest.mark.slow
def test_slow_readers_hold_up_no_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_load, "N_SLOW", 8)  # twice the places
    monkeypatch.setattr(http_load, "SLOW_S", 2.0)
    slow = asyncio.run(http_load.slow_readers())
    assert slow["others"] > 0
    assert slow["mib_each"] < 60
    assert slow["left_behind"] == 0
