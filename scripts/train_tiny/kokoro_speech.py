"""Speak held-out texts with Kokoro in one of the voices that a model was trained on, at its own pace.

    python -m scripts.train_tiny.kokoro_speech --model kokoro.onnx --styles styles.npz --vocab kokoro-vocab.json \
        --config joe.json --voice ff_siwis --language fr --texts scripts/train_tiny/held_out/fr/*.txt --out spoken/

Writes spoken/<file of the text>-<line>.flac: what a recogniser makes of it is its own error (bench/quality_french.py).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import soundfile

from scripts.train_tiny.phonemes import Phonemizer, piper_ids
from scripts.train_tiny.prose import VOCABS
from scripts.train_tiny.synth import Kokoro


def main() -> None:
    """Speak the texts and write them as audio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "styles", "vocab", "config", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--voice", required=True)
    parser.add_argument("--language", choices=list(VOCABS), required=True)
    parser.add_argument("--texts", type=Path, nargs="+", required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    kokoro, phonemizer = Kokoro(args.model, args.styles, args.vocab, [args.voice]), Phonemizer(args.language)
    id_map = json.loads(args.config.read_text())["phoneme_id_map"]
    for path in args.texts:
        for index, text in enumerate(path.read_text().splitlines()):
            item = phonemizer.item(text)
            if item is None or (ids := piper_ids(item.phonemes, id_map)) is None:
                raise ValueError(f"no phonemes for {text!r}")
            record = {"text": text, "phonemes": item.phonemes, "char_start": item.char_start, "ids": ids}
            spoken = kokoro.speak_as(record, args.voice)
            if spoken is None:
                raise ValueError(f"Kokoro cannot speak {text!r}")
            soundfile.write(args.out / f"{path.stem}-{index:03}.flac", spoken.wav, spoken.rate_hz)


if __name__ == "__main__":
    main()
