"""scripts/book.py as a user runs it, against an endpoint that speaks tones."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mutagen.mp4 import MP4

from scripts.audiobook import command
from scripts.audiobook.arguments import chapter_numbers, parse_arguments
from scripts.audiobook.command import main
from scripts.audiobook.model import BookError
from tests.audiobook.endpoint import Body, Endpoint, speech
from tests.audiobook.epubs import jpeg, page, write_epub
from tests.conftest import ROOT, full_disk


@pytest.fixture
def book(tmp_path: Path) -> Path:
    pages = {
        "a.xhtml": page("<h1>One</h1><p>The first text.</p><hr/><p>After a break.</p>"),
        "b.xhtml": page("<h1>Two</h1><p>The second text.</p>"),
    }
    return write_epub(tmp_path / "book.epub", pages)


def run(book: Path, *arguments: str) -> int:
    return main([str(book), "--endpoint", "ep", "--voice", "ann", *arguments])


def test_from_a_book_to_its_files(endpoint: Endpoint, book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(book, "--chapters", str(book.parent / "parts"), "--captions", "--cover", str(cover(book))) == 0
    audiobook = MP4(book.with_suffix(".m4b"))
    # 3 and 15 characters of 0.05 s with 1.2 and 1.5 s behind them, 14 with 2 s.
    assert [(mark.title, mark.start) for mark in audiobook.chapters] == [("One", 0.0), ("Two", pytest.approx(6.3))]
    assert audiobook["\xa9ART"] == ["Ann Author"]
    assert "covr" in audiobook
    assert len(list((book.parent / "parts").glob("*.mp3"))) == 2
    assert "The first text." in book.with_suffix(".srt").read_text()
    shown = capsys.readouterr().out
    assert "A Book, by Ann Author" in shown
    assert "about 11 s of audio" in shown
    assert "note: a warning" in shown
    assert {job["voice"] for job in endpoint.jobs if "text" in job} == {"ann"}
    assert {job["language"] for job in endpoint.jobs if "text" in job} == {"en"}


def cover(book: Path) -> Path:
    path = book.parent / "cover.jpg"
    path.write_bytes(jpeg())
    return path


def test_what_is_spoken_is_not_spoken_again(endpoint: Endpoint, book: Path) -> None:
    assert run(book) == 0
    n_jobs, first = len(endpoint.jobs), book.with_suffix(".m4b").read_bytes()
    assert len(endpoint.spoken) == 5
    assert run(book) == 0
    assert len(endpoint.jobs) == n_jobs, "not even a preview"
    assert book.with_suffix(".m4b").read_bytes() == first
    assert run(book, "--voice", "bob", "--only", "2") == 0
    assert endpoint.spoken[5:] == ["Two", "The second text."] or endpoint.spoken[5:] == ["The second text.", "Two"]


def test_pieces_that_failed_are_tried_again_and_only_they(
    endpoint: Endpoint, book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(fields: Body) -> Body:
        is_bad = "action" not in fields and "second" in fields["text"]
        return {"error": "TEXT_UNSPEAKABLE: no"} if is_bad else speech(fields)

    endpoint.work = refuse
    assert run(book) == 1
    assert "The second text." in capsys.readouterr().err
    assert not book.with_suffix(".m4b").exists()
    endpoint.work = speech
    before = len(endpoint.spoken)
    assert run(book) == 0
    assert endpoint.spoken[before:] == ["The second text."]


class Replaced:
    """A worker whose voice is replaced: at once, or once it has spoken so many pieces more."""

    def __init__(self, endpoint: Endpoint, *, told_by: str = "version") -> None:
        self.told_by = told_by
        self.version, self.after, self.refused = 1, math.inf, "none"
        self.by: dict[str, int] = {}  # the versions that spoke the texts
        endpoint.work = self

    def __call__(self, fields: Body) -> Body:
        if fields.get("action") == "voices.get":
            return {"voice": {"name": "ann", "bytes": 5, self.told_by: str(self.version)}}
        if "action" not in fields:
            if self.refused in fields["text"]:
                return {"error": "TEXT_UNSPEAKABLE: no"}
            if not self.after:
                self.version += 1
            self.after -= 1
            self.by[fields["text"]] = self.version
        return speech(fields)


@pytest.mark.parametrize("told_by", ["version", "created_at"])
def test_a_voice_that_was_replaced_meanwhile_speaks_all(
    endpoint: Endpoint, book: Path, capsys: pytest.CaptureFixture[str], told_by: str
) -> None:
    """Workers of before `version` tell when it was added."""
    worker = Replaced(endpoint, told_by=told_by)
    worker.refused = "second"
    assert run(book) == 1
    worker.version, worker.refused = 2, "none"
    assert run(book) == 0
    assert set(worker.by.values()) == {2}
    assert "note: the voice was replaced since; pieces to be spoken again: 4" in capsys.readouterr().out
    n_spoken = len(endpoint.spoken)
    assert run(book, "--only", "2", "--seed", "3") == 0
    assert len(endpoint.spoken) - n_spoken == 2


def test_chapters_that_were_spoken_before_and_after_the_voice_was_replaced_are_not_mixed(
    endpoint: Endpoint, book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Replaced(endpoint)
    assert run(book) == 0
    worker.version = 2
    assert run(book, "--only", "2", "--captions") == 0
    assert worker.by["One"] == 1
    assert worker.by["Two"] == 2
    capsys.readouterr()
    assert run(book) == 0
    assert set(worker.by.values()) == {2}
    assert "note: the voice was replaced since; pieces to be spoken again: 3" in capsys.readouterr().out
    n_jobs = len(endpoint.jobs)
    assert run(book) == 0
    assert len(endpoint.jobs) == n_jobs


def test_a_voice_that_is_replaced_while_it_speaks_speaks_all(
    endpoint: Endpoint, book: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worker = Replaced(endpoint)
    worker.after = 2
    assert run(book) == 1
    assert sorted(worker.by.values()) == [1, 1, 2, 2, 2]
    assert "book: the voice was replaced while it spoke; the same command" in capsys.readouterr().err
    assert not book.with_suffix(".m4b").exists()
    worker.after = math.inf
    assert run(book) == 0
    assert set(worker.by.values()) == {2}


@pytest.mark.parametrize("n_bytes", [10, 5_000], ids=["of a piece", "of the audiobook"])
def test_on_a_full_disk_what_is_there_is_kept(
    endpoint: Endpoint, book: Path, capsys: pytest.CaptureFixture[str], n_bytes: int
) -> None:
    audiobook = book.with_suffix(".m4b")
    audiobook.write_bytes(b"an earlier one")
    if n_bytes > 10:
        assert run(book, "--out", str(book.with_name("other.m4b")), "--work", str(book.parent / "w")) == 0
    with full_disk(n_bytes):
        assert run(book, "--work", str(book.parent / "w")) == 1
    shown = capsys.readouterr().err
    assert "File too large" in shown
    assert "Traceback" not in shown
    assert audiobook.read_bytes() == b"an earlier one"
    assert not [path for path in book.parent.rglob("*") if path.name.endswith(".part")]
    assert run(book, "--work", str(book.parent / "w")) == 0
    assert len(MP4(audiobook).chapters) == 2


def test_a_dry_run_speaks_nothing(endpoint: Endpoint, book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(book, "--dry-run") == 0
    assert endpoint.spoken == []
    assert "about 11 s of audio" in capsys.readouterr().out
    assert main([str(book), "--dry-run"]) == 0
    assert "One" in capsys.readouterr().out
    assert list(book.parent.iterdir()) == [book]


def test_the_fields_of_all_jobs(endpoint: Endpoint, book: Path) -> None:
    fields = book.parent / "fields.json"
    fields.write_text(json.dumps({"pronunciations": [{"written": "text", "spoken": "tekst"}], "voice": "no"}))
    assert run(book, "--fields", str(fields), "--quality", "fast", "--speed", "1.1", "--seed", "3") == 0
    job = [job for job in endpoint.jobs if "seed" in job][-1]
    assert job["pronunciations"] == [{"written": "text", "spoken": "tekst"}]
    assert (job["voice"], job["quality"], job["speed"], job["seed"]) == ("ann", "fast", 1.1, 3)


def test_speed_and_cost_are_told_once_enough_is_spoken(
    endpoint: Endpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MEASURED_S", 10.0)
    path = tmp_path / "long.txt"
    path.write_text("\n\n".join(f"{n:03} " + "word " * 18 + "ends." for n in range(7)))
    arguments = ("--piece-chars", "100", "--price-per-hour", "3600", "--jobs", "1")
    assert run(path, *arguments) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("measured")]
    # 7 pieces of 4.95 s, of which 3 are 10 s; each second takes 0.1 s of a worker, which costs 0.1.
    assert "0.100 s" in line
    assert "about 1.98 at 3600 an hour" in line
    assert run(path, *arguments, "--dry-run") == 0
    assert "about 0.00" in capsys.readouterr().out


def test_errors_are_one_line(endpoint: Endpoint, book: Path, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint.work = lambda fields: {"error": "UNKNOWN_VOICE: there is no voice ann"}
    assert run(book) == 1
    assert main([str(book.parent / "no.epub"), "--dry-run"]) == 1
    bad = book.parent / "bad.json"
    bad.write_text("[]")
    assert run(book, "--fields", str(bad)) == 1
    assert run(book, "--cover", str(bad)) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.startswith("book: ") for line in lines] == [True] * 4
    assert "UNKNOWN_VOICE" in lines[0]


def test_more_jobs_wait_in_a_queue_than_at_a_server() -> None:
    assert parse_arguments(["a.txt", "--voice", "v", "--endpoint", "e"]).jobs == 64
    assert parse_arguments(["a.txt", "--voice", "v", "--url", "u"]).jobs == 8


def test_only() -> None:
    assert chapter_numbers(None, 3) == [1, 2, 3]
    assert chapter_numbers("3, 1-2,2", 3) == [1, 2, 3]
    for wrong in ("0", "4", "3-2", "x", "", "1-4", "²", "9" * 5_000):
        with pytest.raises(BookError, match="--only"):
            chapter_numbers(wrong, 3)


@pytest.mark.parametrize(
    "arguments",
    [
        ["a.epub"],
        ["a.epub", "--url", "u"],
        ["a.epub", "--voice", "v"],
        ["a.txt", "--dry-run", "--jobs", "0"],
        ["a.txt", "--dry-run", "--out", "a.mp3"],
    ],
)
def test_what_is_missing_is_said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(arguments)
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("n\n", 1), ("\x04", 1)])
def test_on_a_terminal_it_asks_before_it_speaks(
    endpoint: Endpoint, book: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int
) -> None:
    """The last one is the end of the input, by Ctrl-D."""
    leader, terminal = os.openpty()
    os.write(leader, typed.encode())
    with open(terminal, encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert run(book) == code
    os.close(leader)
    assert bool(endpoint.spoken) is (code == 0)


@pytest.mark.slow
def test_interrupted_it_goes_on_where_it_was(endpoint: Endpoint, book: Path) -> None:
    """As a program of its own: Ctrl-C while jobs are in progress, then the same command."""
    endpoint.may_finish = 2
    program = [sys.executable, "scripts/book.py", str(book), "--endpoint", "ep", "--voice", "ann", "--jobs", "2"]
    # What a shell starts in the background, and all that this starts, ignores Ctrl-C.
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *program], cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    work = book.with_name("book.m4b.work")
    deadline = time.monotonic() + 60
    while (len(list(work.glob("*.json"))) < 2 or len(endpoint.spoken) < 4) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on from here" in shown
    assert "Traceback" not in shown
    assert len(endpoint.cancelled) == 2
    assert len(list(work.glob("*.json"))) == 2
    assert not book.with_suffix(".m4b").exists()
    endpoint.may_finish, before = 10, len(endpoint.spoken)
    assert subprocess.run(program, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode == 0
    assert len(endpoint.spoken) - before == 3
    assert MP4(book.with_suffix(".m4b")).chapters[1].title == "Two"
