"""A dub from its source: `F5_MODEL=f5-tiny python -m bench.dub`.

Two people, who are Piper's voice and the same played faster, hold a dialogue of 40 lines among which are cues of sounds
and music. It is dubbed with other words and without names of speakers, which the original's cues tell. A speaker
embedding (GE2E, resemblyzer) judges whose voice each line has, and Whisper tiny.en what is said. Writes
bench/results/dub.json.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as f5_worker/server/startup.py does

import numpy as np  # noqa: E402
import soxr  # noqa: E402

from bench.recognized_speech import RecognizedSpeech, word_error_rate  # noqa: E402
from bench.record import RESULTS, record  # noqa: E402
from f5_worker.audio.decode import decode  # noqa: E402
from f5_worker.audio.encode import encode  # noqa: E402
from f5_worker.audio.levels import SAMPLE_RATE, Samples, rms  # noqa: E402
from f5_worker.cancellation import JobControl  # noqa: E402
from f5_worker.schema.dub import DubInput  # noqa: E402
from f5_worker.schema.responses import DubResponse, LineResponse  # noqa: E402
from f5_worker.server.startup import load_worker  # noqa: E402
from f5_worker.settings import load_settings  # noqa: E402
from f5_worker.synthesis.context import Worker  # noqa: E402
from f5_worker.synthesis.job import Job  # noqa: E402
from f5_worker.synthesis.response import speak  # noqa: E402
from tests.listen import transcribe  # noqa: E402
from tests.reference.talk import GARDEN, HARBOUR, clock  # noqa: E402
from tests.speak import speak as piper  # noqa: E402

TRANSLATED = (ROOT / "scripts" / "train_tiny" / "sentences.txt").read_text(encoding="utf-8").splitlines()
SPEAKERS = ("Joe", "Ann")
FASTER = 1.28  # how much faster the second voice is played
PAUSES_S = (0.3, 0.5, 0.4, 0.8)
SOUNDS = {7: "♪ la la la ♪", 17: "[door slams]", 27: "..."}  # in place of a pause after so many lines
SOUND_S = 2.0
NFE, SEED = 16, 1
VOICE_BAR, START_BAR_S = 0.9, 0.030
FRAME_S, RANGE_DB = 0.005, 35.0  # a line begins with the first frame that is so far below its mean power, or louder


@dataclass(frozen=True)
class SourceLine:
    """A cue of the original; `speaker`: None for a sound."""

    start_s: float
    end_s: float
    speaker: str | None
    text: str


def make_source(n_lines: int) -> tuple[Samples, list[SourceLine]]:
    """Return a dialogue and its cues, with noise where a cue is a sound."""
    generator = np.random.default_rng(SEED)
    sounds: list[Samples] = [np.zeros(SAMPLE_RATE, np.float32)]
    lines: list[SourceLine] = []

    def add(samples: Samples, speaker: str | None, text: str, pause_s: float) -> None:
        start_s = sum(map(len, sounds)) / SAMPLE_RATE
        lines.append(SourceLine(start_s, start_s + len(samples) / SAMPLE_RATE, speaker, text))
        sounds.extend([samples, np.zeros(round(pause_s * SAMPLE_RATE), np.float32)])

    for index, sentence in enumerate((GARDEN + HARBOUR)[:n_lines]):
        # Now one line of each, now two: a speaker's lines are sometimes alone and sometimes not.
        speaker = SPEAKERS[(index // (1 if index % 8 < 4 else 2)) % 2]
        add(say(sentence, speaker), speaker, sentence, PAUSES_S[index % len(PAUSES_S)])
        if index in SOUNDS:
            noise = generator.normal(0, 0.05, round(SOUND_S * SAMPLE_RATE)).astype(np.float32)
            add(noise, None, SOUNDS[index], 0.5)
    background = generator.normal(0, 0.0003, sum(map(len, sounds))).astype(np.float32)
    return np.concatenate(sounds) + background, lines


def say(sentence: str, speaker: str) -> Samples:
    """Speak a sentence of the original."""
    if speaker == SPEAKERS[0]:
        return piper(sentence).samples
    slow = piper(sentence, speed=1.0 / FASTER).samples
    return np.asarray(soxr.resample(slow, SAMPLE_RATE * FASTER, SAMPLE_RATE), np.float32)


def vtt(lines: Sequence[SourceLine], texts: Sequence[str], *, named: bool) -> str:
    """Return WebVTT with the times of lines and the words of `texts`."""
    cues = [
        f"{clock(line.start_s).replace(',', '.')} --> {clock(line.end_s).replace(',', '.')}\n"
        f"{f'<v {line.speaker}>' if named and line.speaker else ''}{text}\n"
        for line, text in zip(lines, texts, strict=True)
    ]
    return "WEBVTT\n\n" + "\n".join(cues)


def dub(worker: Worker, source: Samples, lines: Sequence[SourceLine]) -> DubResponse:
    """Dub the dialogue through the worker's own path."""
    translated = iter(TRANSLATED)
    other_words = [next(translated) if line.speaker else line.text for line in lines]
    request = {
        "action": "dub",
        "subtitles": vtt(lines, other_words, named=False),
        "source": {
            "audio": base64.b64encode(encode(source, "opus", SAMPLE_RATE)).decode(),
            "subtitles": vtt(lines, [line.text for line in lines], named=True),
        },
        "fit": {},
        "loudness": "source",
        "cue_files": True,
        "nfe_step": NFE,
        "seed": SEED,
        "format": "wav_f32",
    }
    response = speak(Job(DubInput.model_validate(request), worker, JobControl(7_200)))
    assert isinstance(response, DubResponse)
    return response


def samples_of(file: bytes | None) -> Samples:
    """Decode a file of the response."""
    return decode(file or b"", max_bytes=10**9, max_s=14_400).samples


def nearest_voices(said: Sequence[Samples], source: Samples, lines: Sequence[SourceLine]) -> list[str]:
    """Return the speaker of the original whose speech is nearest to each utterance."""
    from resemblyzer import VoiceEncoder, preprocess_wav

    encoder = VoiceEncoder("cpu", verbose=False)

    def embedding(samples: Samples) -> Any:
        return encoder.embed_utterance(preprocess_wav(samples, SAMPLE_RATE))

    own = [
        embedding(np.concatenate([_stretch(source, line) for line in lines if line.speaker == name]))
        for name in SPEAKERS
    ]
    print(f"the two voices of the original: {float(own[0] @ own[1]):.3f}", file=sys.stderr)
    return [SPEAKERS[int(np.argmax(np.stack(own) @ embedding(samples)))] for samples in said]


def onset_s(track: Samples, line: LineResponse) -> float:
    """Return when the sound of a line begins, after the time of its cue."""
    frame = round(FRAME_S * SAMPLE_RATE)
    sound = track[round(line.slot_start_s * SAMPLE_RATE) : round(line.end_s * SAMPLE_RATE)]
    powers = np.mean(np.square(sound[: len(sound) // frame * frame].reshape(-1, frame)), axis=1)
    return float(np.argmax(powers >= rms(sound) ** 2 * 10.0 ** (-RANGE_DB / 10.0))) * FRAME_S


def _stretch(samples: Samples, line: SourceLine) -> Samples:
    return samples[round(line.start_s * SAMPLE_RATE) : round(line.end_s * SAMPLE_RATE)]


def measure(worker: Worker, n_lines: int) -> dict[str, Any]:
    """Measure all figures, each with its bar."""
    source, lines = make_source(n_lines)
    response = dub(worker, source, lines)
    track = samples_of(response.audio.data)
    said = [samples_of(file.data) for file in (response.cue_files or {}).values()]
    spoken = [line for line in lines if line.speaker]
    right = [line.speaker for line in spoken]
    nearest = nearest_voices(said, source, lines)
    starts_s = [onset_s(track, line) for line in response.lines]
    silent = [line for line in lines if not line.speaker]
    texts = [line.text for line in response.lines]
    speech = [RecognizedSpeech(t, transcribe(s, SAMPLE_RATE), s) for t, s in zip(texts, said, strict=True)]
    share = float(np.mean([one == other for one, other in zip(nearest, right, strict=True)]))
    n_silent = sum(not _stretch(track, line).any() for line in silent)
    named = sum([line.speaker for line in response.lines][at] == right[at] for at in range(len(response.lines)))
    steps = [line.fit for line in response.lines]
    return {
        "model": worker.models.default.name,
        "device": worker.models.default.device,
        "nfe": NFE,
        "source_s": round(len(source) / SAMPLE_RATE, 1),
        "bars": [
            _row("right voice nearest", share, VOICE_BAR, len(said), met=share >= VOICE_BAR),
            _row("latest start after its cue, s", max(starts_s), START_BAR_S, len(starts_s),
                 met=max(starts_s) <= START_BAR_S),
            _row("lines spoken", len(said), len(spoken), len(spoken), met=len(said) == len(spoken)),
            _row("cues of sounds that are silent", n_silent, len(silent), len(silent), met=n_silent == len(silent)),
            _row("speaker found by time", named, len(spoken), len(spoken), met=named == len(spoken)),
        ],
        "word_error_rate": round(word_error_rate(speech), 3),
        "fit": {step: steps.count(step) for step in ("slot", "gap", "speed", "overrun")},
        "clips": [
            {"speaker": speaker.speaker, "clip_s": speaker.clip_s, "verdict": speaker.verdict}
            for speaker in response.speakers or ()
        ],
    }  # fmt: skip


def _row(what: str, value: float, bar: float, of: int, *, met: bool) -> dict[str, Any]:
    return {"what": what, "value": round(value, 3), "bar": bar, "met": bool(met), "of": of}


def main() -> None:
    """Measure the model that the settings name and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    worker = load_worker(load_settings())
    try:
        result = measure(worker, args.lines)
    finally:
        worker.engine.close()
    record("dub", result, args.out)
    if not all(row["met"] for row in result["bars"]):
        sys.exit("a bar is not met")


if __name__ == "__main__":
    main()
