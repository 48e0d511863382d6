"""flash-attn from the release to its verification: after any fault, the import works or the package is absent."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from f5_worker.boot.flash_attn.install_run import FlashAttnOutcome
from tests.boot.flash_attn.release_server import ABORTS, RAISES, RIGHT, SYMBOL, WRONG, Releases
from tests.boot.flash_attn.support import FACTS, TAG, Container, filename, import_of, needs_pip, wheel, with_python


@pytest.fixture
def container(server: Releases, tmp_path: Path) -> Container:
    server.assets.clear()
    server.requests.clear()
    return Container(server, tmp_path)


def check_absent(container: Container, outcome: FlashAttnOutcome) -> None:
    assert outcome.backend == "sdpa"
    assert "\n" not in outcome.reason
    assert outcome.overlay is None
    assert import_of(outcome, os.environ) == "absent"
    assert not [name for name in container.overlay_names() if name.startswith("flash_attn")]
    assert not container.temporaries()


@needs_pip
def test_right_wheel_is_installed_once_and_found_again(container: Container) -> None:
    name = filename("2.8.3")
    container.publish({name: wheel()})
    first = container.ensure()
    assert (first.decision, first.backend, first.version, first.filename) == ("wheel", "flash_attn", "2.8.3", name)
    assert import_of(first, os.environ) == "works"
    assert import_of(first, {**os.environ, "PYTHONPATH": "/nonexistent"}) == "works"
    assert container.overlay_names() == [name.removesuffix(".whl")]
    assert not container.temporaries()
    json.dumps(asdict(first))

    again = container.ensure()  # neither network nor pip
    assert (again.decision, again.overlay) == ("wheel", first.overlay)
    assert container.releases.requests == [(name, None)]


@pytest.mark.usefixtures("unpacked")
def test_another_container_takes_the_wheel_from_the_volume(container: Container, tmp_path: Path) -> None:
    container.publish({filename("2.8.3"): wheel()})
    assert container.ensure().backend == "flash_attn"
    other = container.ensure(overlay_dir=tmp_path / "other")
    assert import_of(other, os.environ) == "works"
    assert len(container.releases.requests) == 1


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="2.8.3.post1 has no wheel for torch 2.4 and this Python")
@pytest.mark.usefixtures("unpacked")
def test_faulty_wheels_are_rejected_until_one_is_right(container: Container) -> None:
    """The first raises on import, the second has wrong results, the third (from the matrix, no hash) is right."""
    raising, wrong, right = filename("2.8.3"), filename("2.8.2"), filename("2.8.3.post1")
    container.publish({raising: wheel(RAISES), wrong: wheel(WRONG, "2.8.2"), right: wheel(version="2.8.3.post1")})
    outcome = container.ensure()
    assert [attempt.candidate for attempt in outcome.attempts] == [raising, wrong, right]
    assert SYMBOL in outcome.attempts[0].result
    assert "is off by" in outcome.attempts[1].result
    assert (outcome.filename, outcome.version) == (right, "2.8.3.post1")
    assert import_of(outcome, os.environ) == "works"
    assert container.overlay_names() == [right.removesuffix(".whl")]
    assert not list(container.cache.glob(f"{raising}*.whl"))

    again = container.ensure()  # because of the notes, the next start tries neither of them
    assert [a.result for a in again.attempts[:2]] == [f"rejected earlier: {e}" for e in _errors(outcome)]
    assert len(container.releases.requests) == 3


@pytest.mark.usefixtures("unpacked")
def test_a_disk_that_fails_does_not_end_the_start(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    container.publish({filename("2.8.3"): wheel()})
    monkeypatch.setattr("f5_worker.boot.flash_attn.proof._identity", fail)
    outcome = container.ensure()
    assert (outcome.backend, import_of(outcome, os.environ)) == ("sdpa", "absent")
    assert outcome.attempts[0].result == "installed, but cannot be read: Input/output error"


@pytest.mark.usefixtures("unpacked")
def test_a_rejected_wheel_that_cannot_be_removed_stays_rejected(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    container.publish({filename("2.8.3"): wheel(RAISES)})
    monkeypatch.setattr("f5_worker.boot.flash_attn.obtain.files.remove_tree", fail)
    assert container.ensure().backend == "sdpa"
    again = container.ensure()
    assert (again.backend, import_of(again, os.environ)) == ("sdpa", "absent")
    assert again.attempts[0].result.startswith("rejected earlier: ")


def _errors(outcome: FlashAttnOutcome) -> list[str]:
    return [attempt.result.removeprefix("failed verification: ") for attempt in outcome.attempts[:2]]


@needs_pip
def test_wheel_for_another_interpreter(container: Container) -> None:
    """The same message as in the earlier worker's log, if the facts are wrong about the interpreter."""
    container.facts = with_python(FACTS, "3.10.4", "cp310") if TAG != "cp310" else with_python(FACTS, "3.11.4", "cp311")
    name = filename("2.8.3", str(container.facts.python_tag))
    container.publish({name: wheel(tag=str(container.facts.python_tag))})
    outcome = container.ensure()
    assert outcome.attempts[0].result == f"{name} is not a supported wheel on this platform."
    check_absent(container, outcome)


@pytest.mark.usefixtures("unpacked")
def test_wheel_that_kills_the_process(container: Container) -> None:
    container.publish({filename("2.8.3"): wheel(ABORTS)})
    outcome = container.ensure(mode="require")
    assert "killed by SIGABRT" in outcome.attempts[0].result
    assert outcome.fatal
    check_absent(container, outcome)


@pytest.mark.usefixtures("unpacked")
def test_a_faulty_host_does_not_reject_the_wheel(container: Container, tmp_path: Path) -> None:
    container.publish({filename("2.8.3"): wheel()})
    verifier = tmp_path / "faulty.py"
    verifier.write_text('print(\'{"ok": false, "stage": "torch", "error": "CUDA error: unknown error"}\')')
    outcome = container.ensure(verifier=verifier)
    assert "CUDA error" in outcome.reason
    assert len(outcome.attempts) == 1  # another file would not work either
    check_absent(container, outcome)
    assert container.ensure().backend == "flash_attn"


@pytest.mark.usefixtures("unpacked")
def test_after_a_404_the_file_is_not_requested_until_the_note_expires(container: Container) -> None:
    manifest = container.manifest()
    container.ensure(manifest=manifest)
    asked = len(container.releases.requests)
    assert asked >= 2
    container.publish({filename("2.8.3"): wheel()})
    assert "HTTP 404" in container.ensure(manifest=manifest).attempts[0].result
    assert len(container.releases.requests) == asked
    for note in container.cache.glob("*.note"):
        content = json.loads(note.read_text())
        note.write_text(json.dumps(content | {"until": time.time() - 1}))
    assert container.ensure().backend == "flash_attn"


@pytest.mark.parametrize(
    ("facts", "options", "reason"),
    [
        (replace(FACTS, torch=None, torch_error="torch is not installed"), {}, "torch is not installed"),
        (replace(FACTS, cuda_available=False, devices=(), cuda_error="no driver"), {}, "no driver"),
        (replace(FACTS, devices=(replace(FACTS.devices[0], capability="7.5"),)), {}, "this GPU has 7.5"),
        (FACTS, {"unused": "F5_ATTENTION=triton does not use it"}, "F5_ATTENTION=triton"),
        (FACTS, {"mode": "off"}, "off"),
    ],
)
def test_nothing_is_requested_if_it_cannot_be_used(
    container: Container, facts: object, options: dict[str, object], reason: str
) -> None:
    container.facts = facts  # type: ignore[assignment]
    outcome = container.ensure(**options)
    assert reason in outcome.reason
    assert outcome.backend == "sdpa"
    assert not outcome.fatal
    assert not container.releases.requests


@pytest.mark.usefixtures("unpacked")
@pytest.mark.parametrize("seconds_left", [10.0, 30.3])
def test_without_time_it_is_downloaded_for_the_next_start(container: Container, seconds_left: float) -> None:
    """At once, or after a slow server took the time."""
    name = filename("2.8.3")
    container.publish({name: wheel(f"{RIGHT}# {'x' * 8_000}")})
    container.releases.assets[name].pause_s = 0.4
    outcome = container.ensure(seconds_left=seconds_left)
    assert "it is being downloaded for the next start (process " in outcome.reason
    assert outcome.reason.startswith(f"no time is left for {name}: ")
    check_absent(container, outcome) if seconds_left == 10.0 else None
    container.releases.assets[name].pause_s = 0.0
    until = time.monotonic() + 30
    while not (container.cache / name).exists() and time.monotonic() < until:
        time.sleep(0.05)
    asked = len(container.releases.requests)
    again = container.ensure()
    assert (again.decision, import_of(again, os.environ)) == ("wheel", "works")
    assert len(container.releases.requests) == asked


@pytest.mark.usefixtures("unpacked")
def test_unusable_cache_directory(container: Container, tmp_path: Path) -> None:
    """Without a writable volume, flash-attn is still installed."""
    container.publish({filename("2.8.3"): wheel()})
    (tmp_path / "file").write_text("")
    outcome = container.ensure(cache_dir=tmp_path / "file" / "cache")
    assert outcome.backend == "flash_attn"
    assert outcome.attempts[0].result.startswith("not usable (Not a directory)")


@needs_pip
def test_eight_processes_race_on_one_cache(container: Container) -> None:
    name = filename("2.8.3")
    container.publish({name: wheel()})
    code = (
        "import sys, json; from pathlib import Path; from dataclasses import asdict;"
        "from tests.boot.flash_attn.support import *;"
        "container = Container(Releases(sys.argv[1]), Path(sys.argv[2]));"
        "container.publish({filename('2.8.3'): wheel()});"
        "print(json.dumps(asdict(container.ensure())))"
    )
    command = [sys.executable, "-c", code, container.releases.url, str(container.root)]
    root = Path(__file__).resolve().parents[3]
    processes = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    outcomes = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert {outcome["filename"] for outcome in outcomes} == {name}
    assert len({outcome["overlay"] for outcome in outcomes}) == 1
    assert container.overlay_names() == [name.removesuffix(".whl")]
    assert container.releases.count(name) == 1
    assert not container.temporaries()
