"""flash-attn from release to proof: each fault of a wheel or a server ends in a working import or in none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn.ensure import FlashAttnOutcome
from tests.boot.flash_attn.release_server import ABORTS, RAISES, SYMBOL, WRONG, Releases, serve
from tests.boot.flash_attn.support import FACTS, TAG, House, filename, import_of, needs_pip, wheel, with_python


@pytest.fixture(scope="module")
def server() -> Iterator[Releases]:
    with serve() as releases:
        yield releases


@pytest.fixture
def house(server: Releases, tmp_path: Path) -> House:
    server.assets.clear()
    server.requests.clear()
    return House(server, tmp_path)


def check_absent(house: House, outcome: FlashAttnOutcome) -> None:
    assert outcome.backend == "sdpa"
    assert "\n" not in outcome.reason
    assert outcome.overlay is None
    assert import_of(outcome, os.environ) == "absent"
    assert not [name for name in house.left() if name.startswith("flash_attn")]
    assert not house.temporaries()


# -- one good wheel ------------------------------------------------------------------------------------


@needs_pip
def test_right_wheel_is_installed_once_and_found_again(house: House) -> None:
    name = filename("2.8.3")
    house.publish({name: wheel()})
    first = house.ensure()
    assert (first.decision, first.backend, first.version, first.filename) == ("wheel", "flash_attn", "2.8.3", name)
    assert import_of(first, os.environ) == "works"
    assert import_of(first, {**os.environ, "PYTHONPATH": "/nonexistent"}) == "works"
    assert house.left() == [name.removesuffix(".whl")]
    assert not house.temporaries()
    json.dumps(asdict(first))

    again = house.ensure()  # neither network nor pip
    assert (again.decision, again.overlay) == ("wheel", first.overlay)
    assert house.releases.requests == [(name, None)]


@pytest.mark.usefixtures("unpacked")
def test_another_container_takes_the_wheel_from_the_volume(house: House, tmp_path: Path) -> None:
    house.publish({filename("2.8.3"): wheel()})
    assert house.ensure().backend == "flash_attn"
    other = house.ensure(overlay_dir=tmp_path / "other")
    assert import_of(other, os.environ) == "works"
    assert len(house.releases.requests) == 1


@pytest.mark.usefixtures("unpacked")
def test_bad_ones_are_dropped_until_one_is_right(house: House) -> None:
    """Raises on import, then a wrong result, then (from the matrix, without a hash) one that is right."""
    raising, wrong, right = filename("2.8.3"), filename("2.8.2"), filename("2.8.3.post1")
    house.publish({raising: wheel(RAISES), wrong: wheel(WRONG, "2.8.2"), right: wheel(version="2.8.3.post1")})
    outcome = house.ensure()
    assert [attempt.candidate for attempt in outcome.attempts] == [raising, wrong, right]
    assert SYMBOL in outcome.attempts[0].result
    assert "is off by" in outcome.attempts[1].result
    assert (outcome.filename, outcome.version) == (right, "2.8.3.post1")
    assert import_of(outcome, os.environ) == "works"
    assert house.left() == [right.removesuffix(".whl")]
    assert not list(house.cache.glob(f"{raising}*.whl"))

    again = house.ensure()  # the notes spare the next start both of them
    assert [a.result for a in again.attempts[:2]] == [f"rejected earlier: {e}" for e in _errors(outcome)]
    assert len(house.releases.requests) == 3


def _errors(outcome: FlashAttnOutcome) -> list[str]:
    return [attempt.result.removeprefix("failed its proof: ") for attempt in outcome.attempts[:2]]


# -- wheels that do not serve --------------------------------------------------------------------------


@needs_pip
def test_wheel_for_another_interpreter(house: House) -> None:
    """The earlier worker's log, word for word, when the facts lie about the interpreter."""
    house.facts = with_python(FACTS, "3.10.4", "cp310") if TAG != "cp310" else with_python(FACTS, "3.11.4", "cp311")
    name = filename("2.8.3", str(house.facts.python_tag))
    house.publish({name: wheel(tag=str(house.facts.python_tag))})
    outcome = house.ensure()
    assert outcome.attempts[0].result == f"{name} is not a supported wheel on this platform."
    check_absent(house, outcome)


@pytest.mark.usefixtures("unpacked")
def test_wheel_that_kills_the_process(house: House) -> None:
    house.publish({filename("2.8.3"): wheel(ABORTS)})
    outcome = house.ensure(mode="require")
    assert "killed by SIGABRT" in outcome.attempts[0].result
    assert outcome.fatal
    check_absent(house, outcome)


@pytest.mark.usefixtures("unpacked")
def test_a_sick_host_does_not_condemn_the_wheel(house: House, tmp_path: Path) -> None:
    house.publish({filename("2.8.3"): wheel()})
    proof = tmp_path / "sick.py"
    proof.write_text('print(\'{"ok": false, "stage": "torch", "error": "CUDA error: unknown error"}\')')
    sick = house.ensure(proof=proof)
    assert "CUDA error" in sick.reason
    assert len(sick.attempts) == 1  # another file would do no better
    check_absent(house, sick)
    assert house.ensure().backend == "flash_attn"


@pytest.mark.usefixtures("unpacked")
def test_404_is_not_asked_again_until_it_expires(house: House) -> None:
    manifest = house.manifest()
    house.ensure(manifest=manifest)
    asked = len(house.releases.requests)
    assert asked >= 2
    house.publish({filename("2.8.3"): wheel()})
    assert "HTTP 404" in house.ensure(manifest=manifest).attempts[0].result
    assert len(house.releases.requests) == asked
    for note in house.cache.glob("*.note"):
        content = json.loads(note.read_text())
        note.write_text(json.dumps(content | {"until": time.time() - 1}))
    assert house.ensure().backend == "flash_attn"


# -- surroundings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "options", "reason"),
    [
        (replace(FACTS, torch=None, torch_error="torch is not installed"), {}, "torch is not installed"),
        (replace(FACTS, cuda_available=False, devices=(), cuda_error="no driver"), {}, "no driver"),
        (replace(FACTS, devices=(replace(FACTS.devices[0], capability="7.5"),)), {}, "this GPU has 7.5"),
        (FACTS, {"wanted": False}, "gains nothing"),
        (FACTS, {"mode": "off"}, "off"),
        (FACTS, {"seconds_left": 10.0}, "no time is left"),
    ],
)
def test_nothing_is_asked_for_in_vain(house: House, facts: object, options: dict[str, object], reason: str) -> None:
    house.facts = facts  # type: ignore[assignment]
    outcome = house.ensure(**options)
    assert reason in outcome.reason
    assert outcome.backend == "sdpa"
    assert not outcome.fatal
    assert not house.releases.requests


@pytest.mark.usefixtures("unpacked")
def test_unusable_cache_directory(house: House, tmp_path: Path) -> None:
    """A volume that is not there or not writable costs a line, not flash-attn."""
    house.publish({filename("2.8.3"): wheel()})
    (tmp_path / "file").write_text("")
    outcome = house.ensure(cache_dir=tmp_path / "file" / "cache")
    assert outcome.backend == "flash_attn"
    assert outcome.attempts[0].result.startswith("not usable (Not a directory)")


@needs_pip
def test_eight_processes_race_on_one_cache(house: House) -> None:
    name = filename("2.8.3")
    house.publish({name: wheel()})
    code = (
        "import sys, json; from pathlib import Path; from dataclasses import asdict;"
        "from tests.boot.flash_attn.support import *;"
        "house = House(Releases(sys.argv[1]), Path(sys.argv[2]));"
        "house.publish({filename('2.8.3'): wheel()});"
        "print(json.dumps(asdict(house.ensure())))"
    )
    command = [sys.executable, "-c", code, house.releases.url, str(house.root)]
    root = Path(__file__).resolve().parents[3]
    racers = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    outcomes = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    assert {outcome["filename"] for outcome in outcomes} == {name}
    assert len({outcome["overlay"] for outcome in outcomes}) == 1
    assert house.left() == [name.removesuffix(".whl")]
    assert house.releases.count(name) == 1
    assert not house.temporaries()
