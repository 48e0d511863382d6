"""The sound of a video: taken out, and put back with a dubbed track; its pictures are copied as they are."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

import av
import av.error
import numpy as np
from numpy.typing import NDArray

from f5_worker.storage.files import replacing

Sound: TypeAlias = NDArray[np.float32]  # [c, nw]

SPEECH_RATE, SPEECH_BITS_PER_S = 24_000, 32_000  # of what is sent: mono, opus
RATE, BITS_PER_S = 48_000, 192_000  # of the video's new sound: stereo
GAP_S = 0.05  # a frame that is so far from the end of the one before begins at its own time
DUCKED_DB, RAMP_S = -15.0, 0.25  # the original sound under a line, and how long it takes to get there
Original: TypeAlias = Literal["duck", "remove", "keep"]  # what becomes of the original sound
FORMATS = {
    ".mp4": ("mp4", "aac"),
    ".m4v": ("ipod", "aac"),
    ".mov": ("mov", "aac"),
    ".mkv": ("matroska", "aac"),
    ".webm": ("webm", "libopus"),
}  # by suffix: the container, and the codec of the sound


class VideoError(Exception):
    """A video that cannot be read or written, in one line."""


def check_video(video: Path, out: Path, original: Original) -> None:
    """Raise if `replace_sound` could not write a copy of a video, whatever the track.

    Raises:
        VideoError: it cannot be read, has no pictures, no sound to keep, or pictures that `out` cannot have.
    """
    with _open(video) as source, av.open(io.BytesIO(), "w", format=FORMATS[out.suffix.lower()][0]) as target:
        if original != "remove":
            _audio_stream(source)
        _add_streams(source, target, out)


def extract_speech(video: Path) -> bytes:
    """Return the sound of a video, or of an audio file, as mono Opus in Ogg, from its time 0 on.

    Raises:
        VideoError: it cannot be read, or has no sound.
    """
    file = io.BytesIO()
    try:
        with _open(video) as source, av.open(file, "w", format="ogg") as out:
            stream: Any = out.add_stream("libopus", rate=SPEECH_RATE, layout="mono")
            stream.bit_rate = SPEECH_BITS_PER_S
            for packet in _encoded(stream, read_sound(source, SPEECH_RATE, "mono"), SPEECH_RATE, "mono"):
                out.mux(packet)
    except av.error.FFmpegError as error:
        raise VideoError(f"{video}: {error.strerror}") from None
    return file.getvalue()


def replace_sound(
    video: Path,
    track: Path,
    out: Path,
    original: Original,
    spoken_s: Sequence[tuple[float, float]],
) -> None:
    """Write a copy of a video with a track for its sound, or over it; it gets its name when it is whole.

    Args:
        track: an audio file.
        original: what becomes of the original sound: quieter while lines are spoken, gone, or as it is.
        spoken_s: when lines are spoken.

    Raises:
        VideoError: one of the files cannot be read or written.
        OSError: there is no directory for it, or no space.
    """
    form, _ = FORMATS[out.suffix.lower()]
    try:
        with (
            replacing(out) as beside,
            _open(video) as pictures,
            _open(video) as sounds,
            _open(track) as voice,
            av.open(str(beside), "w", format=form) as target,
        ):
            stream, sound = _add_streams(pictures, target, out)
            under = read_sound(sounds, RATE, "stereo") if original != "remove" else iter(())
            mixed = _mixed(under, read_sound(voice, RATE, "mono"), original, spoken_s)
            packets = _encoded(sound, mixed, RATE, "stereo")
            ahead = next(packets, None)
            for packet in pictures.demux(pictures.streams.video[0]):
                if packet.dts is None:
                    continue
                while ahead is not None and ahead.dts * ahead.time_base <= packet.dts * packet.time_base:
                    target.mux(ahead)
                    ahead = next(packets, None)
                packet.stream = stream
                target.mux(packet)
            for packet in chain(() if ahead is None else (ahead,), packets):
                target.mux(packet)
    except av.error.FFmpegError as error:
        raise VideoError(f"{out} cannot be written from {video} and {track}: {error.strerror}") from None


def _add_streams(source: Any, target: Any, out: Path) -> tuple[Any, Any]:
    """Begin a file with the pictures of another one, as they are, and sound; return both streams."""
    if not source.streams.video:
        raise VideoError("the video has no pictures")
    copied = source.streams.video[0]
    try:
        pictures = target.add_stream_from_template(copied)
        sound = target.add_stream(FORMATS[out.suffix.lower()][1], rate=RATE, layout="stereo")
        sound.bit_rate = BITS_PER_S
        target.start_encoding()
    except ValueError:
        codec = copied.codec_context.name
        raise VideoError(f"{out.suffix} cannot have this video's pictures, which are {codec}; use .mkv") from None
    return pictures, sound


def _audio_stream(source: Any) -> Any:
    if not source.streams.audio:
        raise VideoError("the video has no sound")
    return source.streams.audio[0]


def read_sound(source: Any, rate: int, layout: str) -> Iterator[Sound]:
    """Yield the sound of a file from its time 0 on, without gaps: `[c, nw]` in parts.

    Raises:
        VideoError: it has none that can be decoded.
    """
    stream = _audio_stream(source)
    resampler = av.AudioResampler("fltp", layout, rate)
    begin_s = max(0, source.start_time or 0) / av.time_base
    n_channels, n = len(av.AudioLayout(layout).channels), 0
    for frame in _frames(source, stream):
        late_s = (n / rate if frame.time is None else frame.time - begin_s) - n / rate
        if late_s > GAP_S:
            yield np.zeros((n_channels, round(late_s * rate)), np.float32)
            n += round(late_s * rate)
        elif late_s < -GAP_S:  # before time 0, or once more
            continue
        frame.pts = None
        for part in resampler.resample(frame):
            n += part.samples
            yield part.to_ndarray()
    if not n:
        raise VideoError(f"{source.name}: its sound cannot be decoded")
    for part in resampler.resample(None):
        yield part.to_ndarray()


def _frames(source: Any, stream: Any) -> Iterator[Any]:
    """Yield what can be decoded: a packet that is damaged is silent, as in players."""
    for packet in source.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue
        yield from frames


def original_gain(n: int, begin: int, original: str, spoken_s: Sequence[tuple[float, float]]) -> Sound:
    """Return what the original sound is multiplied with, from sample `begin` on: `[n]`."""
    if original != "duck" or not spoken_s:
        return np.ones(n, np.float32)
    times_s, gains = [], []
    for start_s, end_s in _merged(spoken_s):
        times_s += [start_s - RAMP_S, start_s, end_s, end_s + RAMP_S]
        gains += [1.0, 10.0 ** (DUCKED_DB / 20.0), 10.0 ** (DUCKED_DB / 20.0), 1.0]
    return np.interp((begin + np.arange(n)) / RATE, times_s, gains).astype(np.float32)


def _merged(spoken_s: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return when anyone speaks; pauses in which the original could not get louder and quieter again are none."""
    merged: list[tuple[float, float]] = []
    for start_s, end_s in sorted(spoken_s):
        if merged and start_s - merged[-1][1] < 2 * RAMP_S:
            merged[-1] = merged[-1][0], max(merged[-1][1], end_s)
        else:
            merged.append((start_s, end_s))
    return merged


def _mixed(
    under: Iterator[Sound], voice: Iterator[Sound], original: str, spoken_s: Sequence[tuple[float, float]]
) -> Iterator[Sound]:
    """Yield the original sound with the voice over it, as long as the longer of the two."""
    n, ahead = 0, np.zeros((1, 0), np.float32)
    for part in under:
        while ahead.shape[1] < part.shape[1] and (more := next(voice, None)) is not None:
            ahead = np.concatenate([ahead, more], axis=1)
        over, ahead = ahead[:, : part.shape[1]], ahead[:, part.shape[1] :]
        mixed = part * original_gain(part.shape[1], n, original, spoken_s)
        mixed[:, : over.shape[1]] += over
        n += part.shape[1]
        yield np.clip(mixed, -1.0, 1.0)
    for part in chain((ahead,), voice):
        yield np.clip(np.repeat(part, 2, axis=0), -1.0, 1.0)


def _encoded(stream: Any, parts: Iterator[Sound], rate: int, layout: str) -> Iterator[Any]:
    """Yield the packets of a sound."""
    n = 0
    for part in parts:
        if not part.shape[1]:
            continue
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, n, Fraction(1, rate)
        n += part.shape[1]
        yield from stream.encode(frame)
    yield from stream.encode(None)


def _open(video: Path) -> Any:
    try:
        return av.open(str(video))
    except (av.error.FFmpegError, OSError) as error:
        raise VideoError(f"{video}: {error.strerror or type(error).__name__}") from None
