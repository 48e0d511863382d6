"""Print how text is read aloud, without a model: a line of stdin to a line of JSON.

echo "It cost 5,20 €." | python scripts/preview.py --language de
{"spoken": "It cost fünf Euro zwanzig Cent.", "language": "de"}
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from f5_worker.text.language import language_by_script  # noqa: E402
from f5_worker.text.reading import ReadingOptions, read  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--language", help="ISO 639-1; otherwise told by the script, or English")
    language = parser.parse_args().language
    sys.stdin.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    for line in sys.stdin:
        text = line.removesuffix("\n")
        own = language or language_by_script(text) or "en"
        reading = read(text, options=ReadingOptions(language=own, by_script=language is None))
        spoken = " ".join(passage.text.text for passage in reading.passages)
        print(json.dumps({"spoken": spoken, "language": own}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
