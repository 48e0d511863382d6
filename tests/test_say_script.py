"""scripts/say.py: a text to a file, through an endpoint and the local API, with nothing but requests."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts import clients, say
from tests.audiobook.endpoint import Body, Endpoint, answer, running, speech
from tests.conftest import ROOT, full_disk

# Runs the command as if nothing but requests, and what it requires, were installed, and no worker beside it.
PROGRAM = """
import sys
from tests.used_packages import OnlyThese, requirements_of
finder = OnlyThese(requirements_of(["requests"]))
for name in list(sys.modules):
    if name.split(".")[0] == "f5_worker" or finder.provided_by(name) - finder.packages:
        del sys.modules[name]
sys.meta_path.insert(0, finder)
sys.modules["f5_worker"] = None
import runpy
runpy.run_path("scripts/say.py", run_name="__main__")
"""


def work(fields: Body) -> Body:
    output = speech(fields)
    facts: dict[str, Any] = {"duration_s": 0.3, **output["audio"]}
    return {
        **output,
        "audio": facts,
        "metrics": {"rtf": 0.1},
        "captions": {"srt": {"content": "1\n"}},
        "warnings": ["w"],
    }


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    monkeypatch.setattr(clients, "POLL_S", 0.01)
    with running(monkeypatch) as endpoint:
        endpoint.work = work
        yield endpoint


def run(out: Path, *arguments: str) -> int:
    return say.main(["--endpoint", "ep", "--out", str(out), "--seed", "1", *arguments])


SPEAK = ("--text", "Hello.", "--voice", "ann")


def test_from_a_text_to_its_files(endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "a.flac"
    (tmp_path / "clip.wav").write_bytes(b"clip")
    (tmp_path / "clip.srt").write_bytes("\ufeffWörter".encode())
    clip = ("--reference", str(tmp_path / "clip.wav"), "--transcript", f"@{tmp_path / 'clip.srt'}")
    assert run(out, "--text", "Hello.", *clip, "--captions", "srt,ass") == 0
    assert endpoint.jobs == [
        {
            "text": "Hello.",
            "seed": 1,
            "format": "flac",
            "reference": {"audio": base64.b64encode(b"clip").decode(), "transcript": "Wörter"},
            "captions": {"formats": ["srt", "ass"]},
        }
    ]
    assert out.read_bytes() == base64.b64decode(work(endpoint.jobs[0])["audio"]["base64"])
    assert out.with_suffix(".srt").read_text() == "1\n"
    shown = capsys.readouterr()
    assert shown.out == f"{out}: 0.30 s, seed 1, tones, RTF 0.1\n"
    assert shown.err == "say: warning: w\n"


def test_the_local_api_answers_at_once(endpoint: Endpoint, tmp_path: Path) -> None:
    arguments = ["--url", endpoint.url, "--out", str(tmp_path / "a.flac"), "--seed", "1", *SPEAK]
    assert say.main(arguments) == 0
    assert endpoint.jobs[0]["voice"] == "ann"
    assert (tmp_path / "a.flac").exists()


def test_a_result_that_could_not_be_saved_is_fetched_later(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with full_disk(10):
        assert run(tmp_path / "a.flac", *SPEAK) == 1
    assert "File too large; --job 0 fetches the job's result" in capsys.readouterr().err
    assert run(tmp_path / "a.mp3", "--job", "0") == 1
    assert "a.mp3 is to have" in capsys.readouterr().err
    assert run(tmp_path / "a.flac", "--job", "0") == 0
    assert len(endpoint.jobs) == 1


def test_errors_are_one_line(endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "old.txt").write_bytes("Wörter".encode("cp1252"))
    endpoint.faults.append(answer(429))
    assert run(tmp_path / "a.flac", *SPEAK) == 1
    assert run(tmp_path / "a.flac", "--text", f"@{tmp_path / 'old.txt'}", "--voice", "ann") == 1
    assert run(tmp_path / "a.flac", "--text", f"@{tmp_path / 'no.txt'}", "--voice", "ann") == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("say: ") for line in lines] == [True] * 3
    assert "answered 429" in lines[0]
    assert "old.txt is not in UTF-8" in lines[1]
    assert "no.txt: No such file" in lines[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--endpoint", "e"],
        ["--endpoint", "e", "--text", "a"],
        ["--endpoint", "e", "--text", "a", "--voice", "v", "--job", "1"],
        ["--url", "u", "--job", "1"],
        ["--url", "u", "--text", "a", "--voice", "v", "--transcript", "b"],
        ["--url", "u", "--text", "a", "--voice", "v", "--out", "a.txt"],
    ],
)
def test_what_is_missing_is_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        say.parse_arguments(arguments)
    assert "error" in capsys.readouterr().err


def test_it_needs_nothing_but_requests() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--endpoint" in done.stdout
