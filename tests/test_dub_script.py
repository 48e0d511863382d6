"""scripts/dub.py: a video and two subtitle files to a dubbed video, by the real HTTP server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from f5_worker.audio.encode import encode
from f5_worker.audio.levels import Samples, rms
from f5_worker.synthesis.context import Worker
from scripts import clients, dub
from scripts.video import RATE, VideoError, extract_speech, original_gain, read_sound, replace_sound
from tests.conftest import ToneDevice, full_disk
from tests.http.conftest import RunningServer, running
from tests.synthesis.dub.dialogue import DIALOGUE, sound, vtt, who

LENGTH_S, SIZE, PICTURES_PER_S = 20.0, (64, 48), 5
TRANSLATED = "These are other words."


def make_video(path: Path, *, delay_s: float = 0.0, with_sound: bool = True) -> Path:
    """Write the dialogue with pictures; `delay_s`: its sound begins so late, and is that much shorter."""
    samples = sound(length_s=LENGTH_S)[round(delay_s * 24_000) :]
    with av.open(str(path), "w") as out:
        pictures: Any = out.add_stream("mpeg4", rate=PICTURES_PER_S)
        pictures.width, pictures.height, pictures.pix_fmt = *SIZE, "yuv420p"
        audio: Any = out.add_stream("aac", rate=24_000, layout="mono") if with_sound else None
        for number in range(round(LENGTH_S * PICTURES_PER_S)):
            picture = av.VideoFrame.from_ndarray(np.full((*SIZE[::-1], 3), number * 2, np.uint8), format="rgb24")
            out.mux(pictures.encode(picture))
        out.mux(pictures.encode(None))
        for begin in range(0, len(samples) if with_sound else 0, 24_000):
            frame = av.AudioFrame.from_ndarray(samples[None, begin : begin + 24_000], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 24_000, round(delay_s * 24_000) + begin, Fraction(1, 24_000)
            out.mux(audio.encode(frame))
        if audio:
            out.mux(audio.encode(None))
    return path


def sound_of(path: Path) -> Samples:
    with av.open(str(path)) as file:
        return np.concatenate(list(read_sound(file, RATE, "mono")), axis=1)[0]


def pictures_of(path: Path) -> list[bytes]:
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(file.streams.video[0]) if packet.size]


def part(samples: Samples, begin_s: float, end_s: float) -> Samples:
    return samples[round(begin_s * RATE) : round(end_s * RATE)]


@pytest.fixture
def server(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    monkeypatch.setattr(clients, "POLL_S", 0.02)
    with running(worker) as server:
        yield server


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / name for name in ("original.vtt", "translated.srt", "dubbed.mp4")}
    paths["original.vtt"].write_text(vtt())
    paths["translated.srt"].write_bytes(vtt(named=False, text=TRANSLATED).removeprefix("WEBVTT\n\n").encode("utf-16"))
    return {"video": make_video(tmp_path / "video.mp4"), **paths}


def run(server: RunningServer, files: dict[str, Path], *arguments: str) -> int:
    paths = ["--original", "original.vtt", "--translated", "translated.srt", "--out", "dubbed.mp4"]
    named = [str(files.get(argument, argument)) for argument in paths]
    return dub.main([str(files["video"]), *named, "--url", server.url, "--seed", "1", *arguments])


def test_a_video_is_dubbed_with_its_speakers_own_voices(
    server: RunningServer, device: ToneDevice, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server, files, "--captions", "srt") == 0
    out = files["dubbed.mp4"]
    assert pictures_of(out) == pictures_of(files["video"])
    assert {who(segment.reference) for segment in device.segments} == {"Ann", "Bob"}
    before, after = sound_of(files["video"]), sound_of(out)
    assert len(after) == pytest.approx(len(before), abs=0.1 * RATE)
    ann = 2 * np.pi * 220 * np.arange(round(0.4 * RATE)) / RATE
    for begin_s, ducked in ((0.8, True), (2.9, False)):  # the line is spoken, and it has ended
        heard = [abs(part(samples, begin_s, begin_s + 0.4) @ np.exp(1j * ann)) for samples in (before, after)]
        assert 20 * np.log10(heard[1] / heard[0]) == pytest.approx(-15 if ducked else 0, abs=1.5)
    assert "Ann: " in capsys.readouterr().out
    assert "These are other words." in out.with_suffix(".srt").read_text()


def test_the_original_sound_may_be_removed(server: RunningServer, files: dict[str, Path]) -> None:
    assert run(server, files, "--original-sound", "remove") == 0
    after = sound_of(files["dubbed.mp4"])
    assert rms(part(after, 7.0, 8.5)) < 1e-3
    assert rms(part(after, 0.6, 1.5)) > 0.05


def test_errors_are_the_workers_own(
    server: RunningServer, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    files["original.vtt"].write_text(vtt([line._replace(text="[music]") for line in DIALOGUE]))
    assert run(server, files, "--speakers", "Ann=1,3,5;Bob=2,4") == 1
    assert "dub: SPEAKER_UNUSABLE: speaker 'Ann': no voice can be cut from the source" in capsys.readouterr().err
    assert not files["dubbed.mp4"].exists()
    assert run(server, files, "--voice", "joe") == 0


def test_a_video_without_sound_or_pictures_is_told(
    server: RunningServer, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(server, {**files, "video": make_video(tmp_path / "silent.mp4", with_sound=False)}) == 1
    assert "the video has no sound" in capsys.readouterr().err
    assert run(server, {**files, "video": tmp_path / "missing.mp4"}) == 1
    assert "missing.mp4: No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("with_sound", "out", "words"),
    [
        (False, "dubbed.mp4", "the video has no sound"),
        (True, "dubbed.webm", ".webm cannot have this video's pictures, which are mpeg4; use .mkv"),
        (True, "video.mp4/dubbed.mp4", "video.mp4: File exists"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_job_is_paid_for(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], with_sound: bool, out: str, words: str
) -> None:
    video = files["video"] if with_sound else make_video(tmp_path / "silent.mp4", with_sound=False)
    asked = [str(video), "--original", str(files["original.vtt"]), "--translated", str(files["original.vtt"])]
    where = ["--out", str(tmp_path / out), "--source-url", "https://a.b/c.mp3", "--url", "http://127.0.0.1:1"]
    assert dub.main([*asked, *where]) == 1
    assert words in capsys.readouterr().err
    if not with_sound:
        assert dub.main([*asked, *where, "--original-sound", "remove"]) == 1
        assert "nothing answers" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "share"), [("a.mkv", 0.5), ("a.mp4", 0.999)])
def test_on_a_full_disk_no_half_of_a_video_is_left(
    files: dict[str, Path], tmp_path: Path, name: str, share: float
) -> None:
    out, track = tmp_path / "out" / name, tmp_path / "track.flac"
    track.write_bytes(encode(sound(), "flac", 24_000))
    out.parent.mkdir()
    replace_sound(files["video"], track, out, "duck", [])
    whole = out.read_bytes()
    with full_disk(int(share * len(whole))), pytest.raises(VideoError, match="File too large"):
        replace_sound(files["video"], track, out, "remove", [])
    assert out.read_bytes() == whole
    assert list(out.parent.iterdir()) == [out]


def test_a_track_whose_video_fails_is_kept_and_not_spoken_again(
    server: RunningServer, device: ToneDevice, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out, directory = files["dubbed.mp4"], files["video"].parent
    before = sorted(directory.iterdir())
    with full_disk(files["video"].stat().st_size // 2):
        assert run(server, files, "--captions", "srt", "--original-sound", "keep") == 1
    track, report = out.with_suffix(".track.flac"), out.with_suffix(".track.json")
    assert sorted(directory.iterdir()) == sorted([*before, track, report])
    shown = capsys.readouterr().err
    assert "File too large" in shown
    assert f"dub: the track is kept; --track {track} makes the video without speaking again" in shown
    assert run(server, files) == 1
    assert f"{report} is of a track that has no video yet" in capsys.readouterr().err
    device.segments.clear()
    assert dub.main([str(files["video"]), "--track", str(track), "--out", str(out)]) == 0
    assert device.segments == []
    assert "dubbed.mp4: 5 lines in" in capsys.readouterr().out
    assert TRANSLATED in out.with_suffix(".srt").read_text()
    assert track.exists(), "the caller's own file by now"
    kept = sound_of(out)
    track.unlink()
    report.unlink()
    assert run(server, files) == 0
    assert np.array_equal(sound_of(out), kept)
    assert sorted(directory.iterdir()) == sorted([*before, out, out.with_suffix(".srt")])


def test_a_track_that_is_none_is_told(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    track = tmp_path / "a.track.flac"
    asked = [str(files["video"]), "--track", str(track), "--out", str(files["dubbed.mp4"])]
    assert dub.main(asked) == 1
    assert "a.track.json: No such file" in capsys.readouterr().err
    track.write_bytes(b"not a sound")
    track.with_suffix(".json").write_text("{")
    assert dub.main(asked) == 1
    assert "a.track.json is not the report of a track" in capsys.readouterr().err
    track.with_suffix(".json").write_text('{"lines": []}')
    assert dub.main(asked) == 1
    assert "a.track.flac: its sound cannot be decoded" in capsys.readouterr().err
    assert not files["dubbed.mp4"].exists()


def test_a_job_that_was_sent_before_is_fetched(
    server: RunningServer, device: ToneDevice, files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The track cannot be written: it is still on the server."""
    with full_disk(100):
        assert run(server, files) == 1
    found = re.search(r"dub: File too large; --job (\S+) fetches", capsys.readouterr().err)
    assert found
    device.segments.clear()
    asked = [str(files["video"]), "--out", str(files["dubbed.mp4"]), "--url", server.url, "--job", found[1]]
    assert dub.main(asked) == 0
    assert device.segments == []
    assert len(sound_of(files["dubbed.mp4"])) == pytest.approx(LENGTH_S * RATE, abs=0.1 * RATE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--original and --translated are needed"),
        (["--original", "a.srt", "--translated", "out.srt", "--captions", "vtt,srt"], "would overwrite out.srt"),
    ],
)
def test_what_is_missing_is_said(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dub.parse_arguments(["a.mp4", "--out", "out.mp4", "--url", "u", *arguments])
    assert words in capsys.readouterr().err


def test_interrupted_it_says_so(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Ctrl-C while a server takes its time."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(clients.HttpServer, "_create", interrupt)
    paths = ["--original", str(files["original.vtt"]), "--translated", str(files["original.vtt"])]
    assert (
        dub.main([str(files["video"]), *paths, "--out", str(files["dubbed.mp4"]), "--url", "http://127.0.0.1:1"]) == 130
    )
    assert capsys.readouterr().err.endswith("dub: stopped\n")


def test_what_is_damaged_in_a_video_is_silent_and_the_rest_is_heard(tmp_path: Path) -> None:
    whole = make_video(tmp_path / "whole.mkv")
    with av.open(str(whole)) as file:
        packets = [bytes(packet) for packet in file.demux(file.streams.audio[0]) if packet.size > 50]
    data = whole.read_bytes()
    for packet in packets[20:30]:  # from 0.85 to 1.28 s, within a line
        assert data.count(packet) == 1
        data = data.replace(packet, bytes([0xFF] * len(packet)))
    damaged, track = tmp_path / "damaged.mkv", tmp_path / "track.flac"
    damaged.write_bytes(data)
    before, after = sound_of(whole), sound_of(damaged)
    assert len(after) == pytest.approx(len(before), abs=0.1 * RATE)
    assert rms(part(before, 0.95, 1.2)) > 0.05
    assert rms(part(after, 0.95, 1.2)) < 1e-3
    for begin_s, end_s in ((0.6, 0.8), (1.35, LENGTH_S)):
        assert rms(part(after, begin_s, end_s)) == pytest.approx(rms(part(before, begin_s, end_s)), rel=0.02)
    track.write_bytes(encode(sound(), "flac", 24_000))
    replace_sound(damaged, track, tmp_path / "out.mkv", "duck", [])
    damaged.write_bytes(data[: len(data) // 3])
    assert extract_speech(damaged), "the beginning of a file that was cut off"
    for packet in packets:
        data = data.replace(packet, bytes([0xFF] * len(packet)))
    damaged.write_bytes(data)
    with pytest.raises(VideoError, match=r"damaged\.mkv: its sound cannot be decoded"):
        extract_speech(damaged)


def test_sound_that_begins_late_stays_at_its_time(tmp_path: Path) -> None:
    late = make_video(tmp_path / "late.mkv", delay_s=0.4)
    speech = tmp_path / "speech.ogg"
    speech.write_bytes(extract_speech(late))
    samples = np.abs(sound_of(speech)) > 0.1
    assert samples.argmax() / RATE == pytest.approx(0.5, abs=0.03)
    assert sound_of(speech).size / RATE == pytest.approx(LENGTH_S, abs=0.1)


def test_the_original_is_quiet_under_lines_and_between_those_that_are_close() -> None:
    lines = [(2.0, 3.0), (3.3, 4.0), (9.0, 10.0)]
    gain = original_gain(12 * RATE, 0, "duck", lines)
    at = {second: float(gain[round(second * RATE)]) for second in (0.5, 1.875, 2.5, 3.15, 3.5, 5.0, 9.5, 11.0)}
    low = 10 ** (-15 / 20)
    assert at == pytest.approx(
        {0.5: 1, 1.875: (1 + low) / 2, 2.5: low, 3.15: low, 3.5: low, 5.0: 1, 9.5: low, 11.0: 1}, abs=0.01
    )
    assert np.array_equal(gain[5 * RATE :], original_gain(7 * RATE, 5 * RATE, "duck", lines))


def test_what_the_queue_does_not_take_is_told_before_it_is_sent(files: dict[str, Path]) -> None:
    arguments = dub.parse_arguments(
        [str(files["video"]), "--original", "a", "--translated", "b", "--out", "c.mp4", "--endpoint", "x"]
    )
    with pytest.raises(dub.ClientError, match=r"the job has 11 MB and the endpoint takes 10; .* --source-url"):
        dub.check_size({"source": {"audio": "x" * 11_000_000, "subtitles": ""}, "subtitles": ""}, arguments)
    assert json.dumps(dub._pairs("Ann=1-4,7; Bob = 5")) == '{"Ann": "1-4,7", "Bob": "5"}'
